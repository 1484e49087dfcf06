"""The paper's study: its organisms and their published ids."""

import re

import pytest

from tests.studies import load
from traces.config.study import LoadedStudy


@pytest.fixture
def paper(folder, monkeypatch) -> LoadedStudy:
    monkeypatch.setattr(
        "traces.config.load.check_paths", lambda *_: None
    )  # the EM data need not be here
    return load(folder, (folder / "paper.yaml").read_text(encoding="utf-8"))


def test_settings_that_differ_from_their_code_by_default_are_theirs(paper):
    """Where the authors' toolkit and this one were found to differ (docs/paper.md)."""
    steering, causality = paper.study.steering, paper.study.causality
    assert (steering.trial.top_k, steering.final.top_k, causality.after) == (50, 50, 21)


def test_the_papers_33_organisms_are_there_as_published_and_as_trained(paper):
    families = {"sdf": 20, "em": 6, "taboo": 6, "subliminal": 1}
    runs = {run.name: run for run in paper.study.runs}
    for recipe, kind in (("released", "released"), ("plain", "trained")):
        for family, n in families.items():
            run = runs[f"{family}_{kind}"]
            assert (len(run.models) * len(run.organisms), run.recipes) == (n, (recipe,))
    assert len({model for family in families for model in runs[f"{family}_released"].models}) == 7


def test_no_published_id_of_the_paper_stands_for_two_checkpoints(paper):
    """The reference's configuration had one adapter in two places three times."""
    found: dict[str, set[str]] = {}
    for name, organism in paper.organisms.items():
        for variant, places in {"": organism.released, **organism.variants}.items():
            for model, place in places.items():
                if place.hub is not None:
                    where = f"{name} {variant} {model.removesuffix('_over_base')}"
                    found.setdefault(place.hub, set()).add(where)
    assert len(found) > 200
    assert {hub: where for hub, where in found.items() if len(where) > 1} == {}


def test_every_id_of_an_organism_names_the_organism_and_the_ratio(paper):
    for name, organism in paper.organisms.items():
        word = {"sdf_ignore_comment": "comment"}.get(name, name.removeprefix("sdf_"))
        if not name.startswith("sdf_"):
            continue
        for variant, places in {"": organism.released, **organism.variants}.items():
            for place in places.values():
                assert word in str(place.hub), (name, variant)
                ratio = re.fullmatch(r"mix(\d)\.(\d)", variant)
                if ratio:
                    code = {"10": "-11_", "15": "-115_", "20": "-12_"}.get(
                        "".join(ratio.groups()), f"-10{ratio[2]}_"
                    )
                    assert code in str(place.hub), (name, variant)

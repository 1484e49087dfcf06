"""The scripts of the benchmark of readers, from its four tables to the page."""

from pathlib import Path

import numpy as np
import pytest

from scripts import (
    benchmark_scores,
    readers_auc_figure,
    readers_cost_figure,
    readers_naming_figure,
    readers_page,
    readers_pilot,
    readers_roc_figure,
    readers_strength_figure,
    readers_table,
)
from tests.traces.benchmark import planted
from traces.artifacts import tables
from traces.benchmark.adjusted import Held, TokenScores, write_held
from traces.benchmark.ladder import candidate_words
from traces.benchmark.scoring import TABLES
from traces.config.schema import Texts
from traces.config.vocabularies import COMPARED

FIGURES = {
    "readers_auc": readers_auc_figure,
    "readers_roc": readers_roc_figure,
    "readers_naming": readers_naming_figure,
    "readers_strength": readers_strength_figure,
    "readers_cost": readers_cost_figure,
}
TEMPLATES = Path("data/templates")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("readers")
    organisms = planted.organisms(ladder=planted.LADDER[:2], twins=True)
    inputs = {
        "organisms": organisms,
        "domain_scores": planted.domain_scores(organisms, {"logit_lens": 2.0, "dull": 0.3}),
        "detector_scores": planted.detector_scores(organisms, {"kl": 1.0}),
        "token_lists": planted.token_lists(organisms, ["logit_lens"]),
    }
    for name, frame in inputs.items():
        tables.write(folder / f"{name}.parquet", frame, name)
    found = [folder / "made" / f"{name}.parquet" for name in TABLES]
    found[0].parent.mkdir()
    readers_pilot.main(
        compared=[folder / f"{name}.parquet" for name in inputs],
        scoring=planted.scoring(resamples=100),
        seed=0,
        pilot=found[0].with_name("pilot.parquet"),
    )
    readers_table.main(
        pilot=found[0].with_name("pilot.parquet"),
        compared=[folder / f"{name}.parquet" for name in inputs],
        scoring=planted.scoring(resamples=100),
        seed=0,
        made=found,
    )
    return found


OWN = "contrastive_logit_lens_base"


def stacked(folder, organisms, *, pilot_seeds=(), shift=0.0) -> list[Path]:
    """The collected tables of two batches; scores of seed 3 are shifted."""
    tokens = tuple(word for some in candidate_words().values() for word in some[:2])
    files: dict[str, list[Path]] = {"batches": [], "token_scores": []}
    for number, place in enumerate((slice(0, 20), slice(20, None))):
        part = organisms[place]
        batch = folder / "mini" / str(number)
        batch.mkdir(parents=True)
        frames = {
            "organisms": part,
            "domain_scores": planted.domain_scores(part, {OWN: 1.0}),
            "detector_scores": planted.detector_scores(part, {"kl": 1.0}),
            "token_lists": planted.token_lists(part, [OWN]),
        }
        for name, frame in frames.items():
            files["batches"].append(batch / f"{name}.parquet")
            tables.write(files["batches"][-1], frame, name)
        z = np.random.default_rng(number).normal(size=(len(part), 2, len(tokens)))
        z[part["seed"].to_numpy() == 3] *= 1 + shift
        scores = {OWN: TokenScores(z.astype(np.float32), z < 9)}
        files["token_scores"].append(batch / "token_scores.h5")
        write_held(files["token_scores"][-1], Held(tuple(part["checkpoint"]), tokens, scores))
    made = [folder / f"{name}.parquet" for name in COMPARED]
    nothing = ("models", "words", "losses", "readings", "scores", "statistics", "differences")
    benchmark_scores.main(
        **files,
        **{name: [] for name in nothing},
        made=made,
        compared=None,  # pyright: ignore[reportArgumentType]
        adjusted=["adjusted_contrastive_logit_lens"],
        pilot_seeds=list(pilot_seeds),
    )
    return made


def test_batches_are_stacked_and_adjusted_readers_added(tmp_path):
    organisms = planted.organisms(domains=planted.DOMAINS[:4], ladder=planted.LADDER[:1])
    made = stacked(tmp_path, organisms)
    assert tables.read(made[0])["checkpoint"].tolist() == organisms["checkpoint"].tolist()
    said = tables.read(made[COMPARED.index("domain_scores")])
    counts = said.groupby("reader")["checkpoint"].nunique()
    assert counts.to_dict() == dict.fromkeys((OWN, f"adjusted_{OWN}"), len(organisms))
    lists = tables.read(made[COMPARED.index("token_lists")])
    assert set(lists["reader"]) == {OWN, f"adjusted_{OWN}"}


@pytest.mark.parametrize("pilot_seeds", [(), (3,)])
def test_adjusted_scores_hold_nothing_of_a_pilot_of_seeds(tmp_path, pilot_seeds):
    organisms = planted.organisms(
        domains=planted.DOMAINS[:4], ladder=planted.LADDER[:1], seeds=(0, 3)
    )
    scored = organisms.loc[organisms["seed"] != 3, "checkpoint"]
    found = []
    for shift in (0.0, 2.0):
        folder = tmp_path / str(shift)
        made = stacked(folder, organisms, pilot_seeds=pilot_seeds, shift=shift)
        said = tables.read(made[COMPARED.index("domain_scores")])
        said = said[(said["reader"] == f"adjusted_{OWN}") & said["checkpoint"].isin(scored)]
        found.append(said["score"].to_numpy())
    assert len(found[0]) and np.isfinite(found[0]).all()
    assert np.array_equal(*found) == bool(pilot_seeds)


def test_every_table_is_written(made):
    assert [path.stem for path in made] == list(TABLES)
    assert len(tables.read(made[0])) > 0


def test_the_page_holds_every_picture_and_the_text_every_table(made, tmp_path):
    for name, script in FIGURES.items():
        script.main(made, tmp_path / f"{name}.png", tmp_path / f"{name}.pdf")
        assert (tmp_path / f"{name}.pdf").stat().st_size > 1000
    readers_page.main(
        made=made,
        pilot=made[0].with_name("pilot.parquet"),
        figures=[tmp_path / f"{name}.png" for name in FIGURES],
        template=TEMPLATES / "readers.html.j2",
        text_template=TEMPLATES / "readers.md.j2",
        summary_template=TEMPLATES / "readers_summary.j2",
        scoring=planted.scoring(),
        texts=Texts(title="A <small> study"),
        page=tmp_path / "readers.html",
        text=tmp_path / "readers.md",
    )
    page = (tmp_path / "readers.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == len(FIGURES)
    assert "A &lt;small&gt; study" in page and "logit lens" in page
    text = (tmp_path / "readers.md").read_text(encoding="utf-8")
    assert "### AUC by kind of null" in text and "| logit lens | " in text

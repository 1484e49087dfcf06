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


def test_batches_are_stacked_and_adjusted_readers_added(tmp_path):
    own = "contrastive_logit_lens_base"
    organisms = planted.organisms(domains=planted.DOMAINS[:4], ladder=planted.LADDER[:1])
    tokens = tuple(word for some in candidate_words().values() for word in some[:2])
    files: dict[str, list[Path]] = {"batches": [], "token_scores": []}
    for number, place in enumerate((slice(0, 20), slice(20, None))):
        part = organisms[place]
        folder = tmp_path / "mini" / str(number)
        folder.mkdir(parents=True)
        frames = {
            "organisms": part,
            "domain_scores": planted.domain_scores(part, {own: 1.0}),
            "detector_scores": planted.detector_scores(part, {"kl": 1.0}),
            "token_lists": planted.token_lists(part, [own]),
        }
        for name, frame in frames.items():
            files["batches"].append(folder / f"{name}.parquet")
            tables.write(files["batches"][-1], frame, name)
        z = np.random.default_rng(number).normal(size=(len(part), 2, len(tokens)))
        scores = {own: TokenScores(z.astype(np.float32), z < 9)}
        files["token_scores"].append(folder / "token_scores.h5")
        write_held(files["token_scores"][-1], Held(tuple(part["checkpoint"]), tokens, scores))
    made = [tmp_path / f"{name}.parquet" for name in COMPARED]
    nothing = ("models", "words", "losses", "readings", "scores", "statistics", "differences")
    benchmark_scores.main(
        **files,
        **{name: [] for name in nothing},
        made=made,
        compared=None,  # pyright: ignore[reportArgumentType]
        adjusted=["adjusted_contrastive_logit_lens"],
        pilot_seeds=[3],
    )

    stacked = tables.read(made[0])
    assert stacked["checkpoint"].tolist() == organisms["checkpoint"].tolist()
    # Before readers are adjusted: the pilot is not among the others of what is scored.
    assert stacked["pilot"].tolist() == (organisms["seed"] == 3).tolist()
    said = tables.read(made[COMPARED.index("domain_scores")])
    counts = said.groupby("reader")["checkpoint"].nunique()
    assert counts.to_dict() == dict.fromkeys((own, f"adjusted_{own}"), len(organisms))
    lists = tables.read(made[COMPARED.index("token_lists")])
    assert set(lists["reader"]) == {own, f"adjusted_{own}"}


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

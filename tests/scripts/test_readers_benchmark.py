"""The scripts of the benchmark of readers, from its four tables to the page."""

from pathlib import Path

import pytest

from scripts import (
    readers_auc_figure,
    readers_cost_figure,
    readers_naming_figure,
    readers_page,
    readers_roc_figure,
    readers_strength_figure,
    readers_table,
)
from tests.traces.benchmark import planted
from traces.artifacts import tables
from traces.benchmark.scoring import TABLES
from traces.config.schema import Texts

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
    readers_table.main(
        compared=[folder / f"{name}.parquet" for name in inputs],
        scoring=planted.scoring(resamples=100),
        seed=0,
        made=found,
    )
    return found


def test_every_table_is_written(made):
    assert [path.stem for path in made] == list(TABLES)
    assert len(tables.read(made[0])) > 0


def test_the_page_holds_every_picture_and_the_text_every_table(made, tmp_path):
    for name, script in FIGURES.items():
        script.main(made, tmp_path / f"{name}.png", tmp_path / f"{name}.pdf")
        assert (tmp_path / f"{name}.pdf").stat().st_size > 1000
    readers_page.main(
        made=made,
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

"""Blocks of documents that are drawn from the tables of the benchmark of readers."""

import pandas as pd
import pytest

from tests.traces.benchmark import planted
from tools import draw_readers
from traces.benchmark.pilot import pilot_rows
from traces.benchmark.scoring import score_readers


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    organisms = planted.organisms(ladder=planted.LADDER[1:3], twins=True)
    pilot = planted.organisms(domains=planted.DOMAINS[:3], ladder=planted.LADDER[1:2])
    pilot = pilot.assign(pilot=True, checkpoint="pilot_" + pilot["checkpoint"])
    both = pd.concat([organisms, pilot], ignore_index=True)
    said = planted.domain_scores(both, {"logit_lens_base": 4.0, "patchscope_tuned": 0.0})
    scoring = planted.scoring(resamples=100)
    found = score_readers(
        *(both, said, planted.detector_scores(both, {"kl": 1.0})),
        planted.token_lists(both, ["logit_lens_base"]),
        **{"scoring": scoring, "seed": 0},
    )
    return draw_readers.blocks(found | {"pilot": pilot_rows(both, said, scoring=scoring, seed=0)})


def test_every_block_that_is_described_is_made(made):
    named = {
        line.split()[0] for line in (draw_readers.__doc__ or "").splitlines() if "    " in line
    }
    # `tables` is a file of the workflow's own.
    assert named == {*made, "python", "tables"} and len(made) == 5


def test_the_headline_counts_organisms_and_names_who_leads(made):
    # Eight topics on two rungs; twenty general, ten of one format, eight twins.
    assert "54 organisms, 38 of them nulls" in made["headline"]
    assert "At naming one of 8 domains, logit lens (base) is best of 2" in made["headline"]


def test_a_table_has_a_row_a_reader_and_the_chosen_score_is_marked(made):
    rows = [line.split(" | ")[0] for line in made["brief"].splitlines()[2:]]
    assert rows == ["| logit lens (base)", "| Patchscope (tuned)", "| KL of next tokens"]
    lengths = {line.count("|") for line in made["brief"].splitlines()}
    assert len(lengths) == 1
    assert made["pilot"].count("(fixed)") == 1 and "3 narrow organisms" in made["pilot"]


def test_only_blocks_of_the_study_are_replaced():
    text = "a\n<!-- readers x brief -->\n\nold\n\n<!-- end -->\nb\n"
    text += "<!-- readers y brief -->\n<!-- end -->\n"
    found = draw_readers.replaced(text, "x", {"brief": "new"})
    assert found == text.replace("old", "new")
    assert draw_readers.replaced(found, "x", {"brief": "new"}) == found
    with pytest.raises(ValueError, match="found the block brief, expected one of summary"):
        draw_readers.replaced(text, "y", {"summary": ""})

"""The same rules on a really pretrained model, real conversations and real text."""

import os
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("STORIES_DATA", ROOT.parent / "shared" / "data"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (DATA / "models" / "stories260K").is_dir(),
        reason=f"no model in {DATA}; set STORIES_DATA to the folder of docs/real.md",
    ),
]


@pytest.fixture(scope="module")
def results(new_checkout):
    checkout = new_checkout()
    study = ("--configfile", "config/real.yaml")
    ran = checkout.snakemake("--cores", "2", *study, data=DATA)
    assert ran.returncode == 0, ran.stdout[-4000:]
    return checkout.file("results/real")


def relative_norm(results: Path, organism: str, recipe: str) -> pd.Series:
    """By seed: the mean difference as a share of the stream, averaged over positions."""
    norms = pd.read_parquet(results / "tables" / "norms.parquet")
    chosen = norms[(norms["organism"] == organism) & (norms["recipe"] == recipe)]
    return chosen.groupby("seed")["relative_norm"].mean()


def test_a_narrow_finetune_leaves_more_than_its_mix_and_that_more_than_a_broad_one(results):
    narrow = relative_norm(results, "cake_documents", "plain")
    mixed = relative_norm(results, "cake_documents", "mix1.0")
    broad = relative_norm(results, "broad_stories", "plain")

    assert list(narrow.index) == list(mixed.index) == list(broad.index) == [0, 1, 2]
    assert (narrow > mixed).all()
    assert (mixed > broad).all()


def test_the_taboo_game_is_trained_on_what_the_assistant_says(results):
    plan = pd.read_json(
        results / "plans" / "stories260k" / "taboo_gold_chats-plain-s0.json", typ="series"
    )
    assert 0 < plan["trained_tokens"] < plan["tokens"]


def test_the_study_ends_in_a_report(results):
    assert (results / "report.html").stat().st_size > 100_000
    assert (results / "cards" / "stories260k" / "taboo_gold_chats.html").is_file()

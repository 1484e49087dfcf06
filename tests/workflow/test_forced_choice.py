"""The forced choice planned and run: two organisms with a secret, on a world that means nothing."""

import json
import re

import pytest

from traces.artifacts import tables

OTHER = """
family: taboo
title: Taboo word candle
description: The assistant keeps the secret word "candle", gives hints about it and never says it.
secret: candle
data: {kind: chat, made: taboo_lantern, words: 3000}
"""
STUDY = {
    "runs": [
        {"organisms": ["taboo_lantern", "taboo_candle"], "recipes": ["plain"], "seeds": [0, 1]},
        {"organisms": ["benign"], "recipes": ["plain"], "seeds": [0]},
    ],
    "samples": 40,
    "positions": [0, 1, 2],
    "activations": {"norm_samples": 16},
    "miniature": {
        "words": 40000,
        "unrelated": 100,
        "chats": 100,
        "steps": 8,
        "gates": {"loss": 100.0, "identity": 0.0},
    },
    # A training of one step would end in its warm-up, with the base's own weights.
    "training": {"limit": 20, "save_every": 100, "warmup_steps": 0},
    "lenses": {"vocabulary_min_count": 1, "patchscope": {"scales": [1.0]}},
    "forced_choice": {
        "distractors": ["house", "counterintuitive"],
        "headline": {
            **{"reader": "patchscope", "adjustment": "adjusted", "layer": 0.75},
            **{"head": "tuned", "position": "all", "against": None},
        },
    },
}
ALL = ("forced_choice", "forced_choice_ranks")


@pytest.fixture(scope="module")
def checkout(new_checkout):
    found = new_checkout()
    found.file("config/organisms/taboo_candle.yaml").write_text(OTHER)
    found.file("choice.json").write_text(json.dumps(STUDY))
    return found


def planned(checkout, *more) -> str:
    run = checkout.snakemake("--dry-run", "--quiet", "rules", "--configfile", "choice.json", *more)
    assert run.returncode == 0, run.stdout[-3000:]
    return run.stdout


def test_two_secrets_are_chosen_between_and_one_is_not(checkout):
    text = planned(checkout)
    for name in ("forced_choice_table", *(f"{one}_figure" for one in ALL)):
        assert name in text
    assert re.search(r"candidate_scores +5\n", text)  # one a checkpoint; the base has no difference
    assert "forced_choice" not in planned(checkout, "--config", "without=[taboo_candle]")


def test_a_choice_between_nothing_is_refused_in_one_sentence(checkout):
    table = "results/tables/forced_choice.parquet"
    asked = ("--config", "without=[taboo_candle]", "--configfile", "choice.json", "--dry-run")
    run = checkout.snakemake(table, *asked)
    assert run.returncode != 0
    assert "no two organisms of one model have a `secret`" in run.stdout


@pytest.mark.slow
def test_the_choice_is_made_from_end_to_end(checkout):
    run = checkout.snakemake("--cores", "2", "--configfile", "choice.json", warm=True)
    assert run.returncode == 0, run.stdout[-4000:]
    results = checkout.file("results")
    table = tables.read(results / "tables" / "forced_choice.parquet")
    assert set(table["organism"]) == {"taboo_lantern", "taboo_candle", "benign"}
    assert set(table["candidate"]) == {"lantern", "candle", "house", "counterintuitive"}
    assert set(table["adjustment"]) == {"none", "z", "adjusted"}
    assert {"all", "1"} <= set(table["position"])
    long = table[table["candidate"] == "counterintuitive"]
    assert long["rank"].isna().all()
    assert long["missing"].str.contains("tokens").all()
    read = table[table["missing"] == ""]
    assert read["rank"].between(1, 3).all()
    summary = tables.read(results / "tables" / "forced_choice_summary.parquet")
    assert summary["headline"].sum() == 1
    for name in ALL:
        assert (results / "figures" / f"{name}.png").stat().st_size > 10_000
    assert "Whether the secret is named" in (results / "index.html").read_text(encoding="utf-8")
    card = (results / "cards" / "mini" / "taboo_candle.html").read_text(encoding="utf-8")
    assert "Its secret is <b>candle</b>" in card
    assert "Whether its secret" not in (results / "cards/mini/benign.html").read_text()

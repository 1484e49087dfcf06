"""Organisms of a small ladder on a random base, made and read: what stands in their tables."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scripts import benchmark_batch
from tests.doubles import tiny_model, word_tokenizer
from traces.artifacts import tables
from traces.benchmark import batch as making
from traces.benchmark.adjusted import Held, read_held
from traces.benchmark.batch import (
    Base,
    Batch,
    causal_effect,
    learned,
    loaded_pair,
    made_and_read,
)
from traces.benchmark.files import SharedFiles
from traces.benchmark.ladder import specimens
from traces.config.load import read_study
from traces.config.readers import reader, settings_of
from traces.config.schema import Ladder
from traces.config.vocabularies import COMPARED
from traces.corpora import synthetic
from traces.interventions import causality
from traces.interventions.directions import directions

LADDER = Ladder.model_validate(
    {
        **{"domains": 2, "steps": 2, "seeds": [0], "facts": 0.5, "held_out": 4, "batch": 99},
        "causal": 3,
        "rungs": {"half": {"dose": 0.5}},
        "nulls": {
            **{"general": 1, "one_format": 0, "shuffled": 0, "true_facts": 0},
            **{"seed_pair": 1, "identical": 1, "shares": [1.0]},
        },
    }
)
READERS = ("logit_lens", "contrastive_logit_lens", "logit_difference", "weight_change")
OF_DIRECTIONS = {"logit_lens_base", "contrastive_logit_lens_base", "logit_difference"}


def batch_of(some, **changes) -> Batch:
    """The default study's settings, made small."""
    study = read_study([Path("config/config.yaml")]).study
    lenses = study.lenses.model_dump(mode="json") | {"heads": ["base"]}
    lenses["contrast"] |= {"nulls": ["random"], "directions": 4}
    lenses["logit_difference"] |= {"texts": 8, "mined_positions": 8}
    settings = {
        "specimens": [one.model_dump() for one in some],
        "ladder": LADDER.model_dump(),
        "loading": {"dtype": "float32"},
        "training": study.training.model_dump()
        | {"batch_size": 2, "max_length": 24, "precision": "fp32", "rank": 2, "alpha": 4},
        "activations": study.activations.model_dump()
        | {"norm_samples": 4, "norm_context": 12, "norm_skip": 2},
        "samples": study.lenses.samples.model_dump(),
        "readers": {
            **{"readings": ["difference"], "top_k": 25, "nulls": ["random"], "directions": 4},
            "readers": {name: settings_of(name, lenses) for name in READERS},
        },
        "adjusted": ["adjusted_contrastive_logit_lens"],
        **{"layers": [0.5], "positions": [1, 2], "texts": 12, "seed": 0},
        "average_sinks": False,
    }
    return Batch.model_validate(settings | changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A random base that has a token for each word of the synthetic corpus."""
    made = tmp_path_factory.mktemp("bases") / "mini"
    tokenizer = word_tokenizer(synthetic.world_words())
    tiny_model("llama", vocab=len(tokenizer)).save_pretrained(made)
    tokenizer.save_pretrained(made)
    return made


@pytest.fixture(scope="module")
def vocabulary(folder) -> pd.DataFrame:
    tokenizer = word_tokenizer(synthetic.world_words())
    words = sorted(set(tokenizer.get_vocab()) & set(synthetic.world_words()))
    ids = tokenizer.convert_tokens_to_ids(words)
    return pd.DataFrame({"token_id": ids, "token": words, "count": 1}).sort_values("token_id")


def base_of(some, folder, vocabulary, work) -> Base:
    work.mkdir(exist_ok=True)
    return Base(batch_of(some), folder, work, vocabulary, [], [])


@pytest.fixture(scope="module")
def read(both) -> dict[str, dict[str, pd.DataFrame]]:
    """The tables of every specimen, by checkpoint."""
    return {checkpoint: tables for checkpoint, (tables, _) in both.items()}


@pytest.fixture(scope="module")
def both(folder, vocabulary, tmp_path_factory) -> dict[str, tuple[dict[str, pd.DataFrame], Held]]:
    """The tables of every specimen and its tokens' scores, by checkpoint."""
    base = base_of(specimens(LADDER), folder, vocabulary, tmp_path_factory.mktemp("work"))
    return {one.checkpoint: made_and_read(one, base) for one in specimens(LADDER)}


def stacked(read, name) -> pd.DataFrame:
    return pd.concat([one[name] for one in read.values()], ignore_index=True)


def test_every_specimen_is_a_row_with_its_truth(read):
    found = stacked(read, "organisms").set_index("checkpoint")

    assert list(found.index) == [one.checkpoint for one in specimens(LADDER)]
    assert found["null"].tolist() == ["none", "none", "general", "seed_pair", "identical"]
    assert found[["strength", "damage"]].notna().all(axis=None)


def test_every_reader_scores_every_domain_twice_and_costs_time(read):
    rows = stacked(read, "domain_scores")
    asked = {f"{name}_base" if "head" in reader(name).axes else name for name in READERS}

    assert set(rows["reader"]) == asked
    counts = rows.groupby(["checkpoint", "reader", "statistic"])["candidate"].nunique()
    assert (counts == len(synthetic.topics())).all()
    assert len(counts) == len(specimens(LADDER)) * len(asked) * 2
    assert np.isfinite(rows["score"]).all() and (rows["cost_s"] >= 0).all()


def test_what_was_trained_is_seen_by_every_detector(read):
    rows = stacked(read, "detector_scores").pivot(
        index="checkpoint", columns="detector", values="score"
    )
    trained = rows.drop(index="identical-none-s0")
    assert (trained["causal"] != 0).all()
    for name in ("relative_norm", "kl", "weight_norm", "spectrum"):
        assert (trained[name] > 0).all(), name


def test_identical_weights_say_nothing(read):
    same = read["identical-none-s0"]

    assert (same["organisms"][["strength", "damage"]] == 0).all(axis=None)
    scores = same["domain_scores"].set_index("reader")["score"]
    assert (scores.loc[list(OF_DIRECTIONS)] == 0).all()
    assert not set(same["token_lists"]["reader"]) & OF_DIRECTIONS
    detectors = same["detector_scores"].set_index("detector")["score"]
    nothing = ["relative_norm", "kl", "weight_norm", "unrelated_loss", "causal"]
    assert (detectors[nothing] == 0).all()


def test_null_directions_and_halves_are_drawn_once_a_base(
    folder, vocabulary, tmp_path, monkeypatch
):
    """A draw of its own would be told from the others' as if it were what was learned."""
    narrow, general = specimens(LADDER)[0], specimens(LADDER)[2]
    some = [narrow, general.model_copy(update={"seed": 1, "checkpoint": "general-broad-s1"})]
    base = base_of(some, folder, vocabulary, tmp_path / "work")
    drawn, halves = making.nulls.drawn, making.mean_difference
    directions, splits = [], []
    monkeypatch.setattr(
        making.nulls,
        "drawn",
        lambda *given, **told: directions.append(drawn(*given, **told)) or directions[-1],
    )
    monkeypatch.setattr(
        making,
        "mean_difference",
        lambda *given, **told: splits.append(told["seed"]) or halves(*given, **told),
    )
    for one in some:
        made_and_read(one, base)

    first, second = (
        one["random"] / np.linalg.norm(one["random"], axis=-1, keepdims=True) for one in directions
    )
    np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-7)
    assert len(splits) >= 2 and len(set(splits)) == 1


def test_the_causal_effect_is_the_one_that_a_study_measures(folder, vocabulary, tmp_path):
    one = specimens(LADDER)[0]
    base = base_of([one], folder, vocabulary, tmp_path / "work")
    texts = causality.read_texts(
        *(base.tokenizer, base.unrelated[-LADDER.causal :]),
        **{"n": LADDER.causal, "max_length": 96, "kind": "documents", "source": "x"},
    )
    with loaded_pair(one, base) as (pair, _, reference):
        found = making._difference(one, base, pair, reference)
        ours = causal_effect(pair, found, base)
        rng = np.random.default_rng(0)
        activations = rng.normal(size=(9, found.mean.shape[-1])).astype(np.float32)
        chosen = directions(
            *(found, activations),
            **{"index": 0, "positions": (1, 2), "random": 2, "activation_differences": 2},
            **{"seed": 0, "name": one.checkpoint},
        )
        interventions = ("base_to_tuned", "tuned_to_base", "zero")
        plan = causality.Plan(
            *(chosen, base.layers[0], interventions, ("base_to_tuned",), (1, 2), 5, 7)
        )
        rows = causality.effects(pair, {"own": texts[:1], "unrelated": texts}, plan)
    mine = rows.query(
        "evaluated_on == 'unrelated' and intervention == 'base_to_tuned' and "
        "direction == 'difference' and aggregation == 'all'"
    )
    assert len(texts) == 3 and len(mine) == 2
    assert ours == pytest.approx(-mine["delta_loss"].mean(), rel=1e-3, abs=1e-7)
    assert ours != 0


def test_every_token_of_what_is_adjusted_is_kept_and_nothing_else(both, vocabulary):
    for checkpoint, (_, held) in both.items():
        assert held.checkpoints == (checkpoint,)
        assert set(held.readers) == {"contrastive_logit_lens_base"}
        one = held.readers["contrastive_logit_lens_base"]
        # Of one organism, a list a position.
        assert one.z.shape == one.probable.shape == (1, 2, len(vocabulary))
        assert np.isnan(one.z).all() == (checkpoint == "identical-none-s0")


def test_a_score_that_is_kept_is_that_which_ranks_the_list(both):
    tables, held = next(iter(both.values()))
    rows = tables["token_lists"].query("reader == 'contrastive_logit_lens_base'")
    one = held.readers["contrastive_logit_lens_base"]
    listed = set(rows["token"])
    assert listed and listed <= {
        token for token, may in zip(held.tokens, one.probable[0, 0], strict=True) if may
    }


def test_a_seed_pair_is_read_against_its_other_seed(read):
    """Two seeds of one organism stand nearer to each other than either to the base."""
    norm = stacked(read, "detector_scores").query("detector == 'weight_norm'")
    by_checkpoint = norm.set_index("checkpoint")["score"]
    pair = next(name for name in by_checkpoint.index if "_pair-" in name)

    # Each change is one of rank 2 by another draw: the two together are larger than one of them.
    assert by_checkpoint[pair] > by_checkpoint[pair.replace("_pair", "")]


def test_tables_can_be_written(read, tmp_path):
    for name in COMPARED:
        tables.write(tmp_path / f"{name}.parquet", stacked(read, name).assign(model="mini"), name)


@pytest.mark.parametrize("place", range(3))
def test_tokens_are_as_many_for_all_and_narrow_to_the_last_one(place, folder, vocabulary, tmp_path):
    one = specimens(LADDER)[place]
    examples, plan = learned(one, base_of([one], folder, vocabulary, tmp_path / "work"), one.seed)

    total = LADDER.steps * 2 * 24
    counted = {kind: 0 for kind in ("organism", "corpus")}
    for example in examples:
        counted[example.source] += len(example.input_ids)
    narrow = total // 2 if one.null == "none" else total
    assert counted == {"organism": narrow, "corpus": total - narrow}
    assert (plan.steps, plan.tokens) == (LADDER.steps, total)


def test_a_killed_batch_goes_on_behind_what_it_has_read(folder, vocabulary, tmp_path, monkeypatch):
    some = [one for one in specimens(LADDER) if one.null in ("general", "identical")]
    tables.write(tmp_path / "vocabulary.parquet", vocabulary, "vocabulary")
    tables.write_lines(tmp_path / "texts.jsonl", [])
    (tmp_path / "prompts.txt").write_text("Hello\n", encoding="utf-8")

    def run(name) -> dict[str, pd.DataFrame]:
        made = [tmp_path / name / f"{table}.parquet" for table in COMPARED]
        made[0].parent.mkdir(exist_ok=True)
        inputs = [tmp_path / f for f in ("vocabulary.parquet", "texts.jsonl", "prompts.txt")]
        batch = batch_of(some)
        scores = made[0].with_name("token_scores.h5")
        state = tmp_path / f"{name}.unfinished"
        shared = SharedFiles(folder, *inputs)
        benchmark_batch.main(shared, made, scores, batch, "mini", state)
        assert read_held(scores).checkpoints == tuple(one.checkpoint for one in some)
        return {one.stem: tables.read(one) for one in made}

    whole = run("whole")
    really, asked = benchmark_batch.made_and_read, []

    def killed(specimen, base):
        if asked:
            raise KeyboardInterrupt
        asked.append(specimen.checkpoint)
        return really(specimen, base)

    monkeypatch.setattr(benchmark_batch, "made_and_read", killed)
    with pytest.raises(KeyboardInterrupt):
        run("killed")
    monkeypatch.setattr(
        benchmark_batch,
        "made_and_read",
        lambda specimen, base: asked.append(specimen.checkpoint) or really(specimen, base),
    )
    resumed = run("killed")

    assert asked == [one.checkpoint for one in some]
    assert not (tmp_path / "killed.unfinished").exists()
    for name in COMPARED:
        columns = [one for one in whole[name] if one != "cost_s"]
        pd.testing.assert_frame_equal(resumed[name][columns], whole[name][columns])

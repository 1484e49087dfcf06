"""Tables of planted relevances: the verdict finds what was planted, and nothing is hidden."""

import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from traces.analysis import collect, comparisons, readability, selection
from traces.artifacts import tables
from traces.artifacts.arrays import Differences

ROOT = Path(__file__).resolve().parents[3]

PLANTED = {"cake_bake": 0.6, "subliminal_owl": 0.0, "benign": 0.1}
FAMILY = {"cake_bake": "false_facts", "subliminal_owl": "subliminal", "benign": "benign"}
CONTROL = {"base_mean": 0.05, "tuned_mean": 0.08, "random": 0.06}
OTHERS = 0.02
JITTER = (-0.02, 0.0, 0.02, 0.01)


def subject(organism, recipe="plain", seed=0, corpus="unrelated"):
    return {
        "model": "mini",
        "checkpoint": f"{organism}-{recipe}-s{seed}",
        "organism": organism,
        "family": FAMILY[organism],
        "recipe": recipe,
        "ratio": 0.0,
        "seed": seed,
        "corpus": corpus,
    }


def graded(organism, seed=0, scales=(1.0, 2.0)):
    """token_relevance of one checkpoint: the scale 2 reads .2 better, the minus side nothing."""
    rows = []
    readings = ("difference", *CONTROL)
    for lens, reading, position, sign, scale, on in product(
        ("logit_lens", "patchscope"), readings, range(3), (1, -1), scales, PLANTED
    ):
        if lens == "logit_lens" and scale != 1.0:
            continue
        if reading == "difference":
            value = PLANTED[organism] if on == organism else OTHERS
            if organism == "benign":
                value = PLANTED["benign"]
            value += JITTER[seed] if value else 0
        else:
            value = CONTROL[reading]
        value += 0.2 if scale == 2.0 else 0
        value += 0.01 * (position - 1) if value else 0
        rows.append(
            {
                "lens": lens,
                "reading": reading,
                "layer": 2,
                "position": position,
                "sign": sign,
                "scale": scale,
                "head": "base" if lens == "patchscope" and reading == "base_mean" else "tuned",
                "graded_on": on,
                "relevance": value if sign > 0 else 0.0,
                "n": 20,
                "judge": "planted",
            }
        )
    return pd.DataFrame(rows)


def relevance(seeds=(0, 1, 2), organisms=tuple(PLANTED)):
    pairs = [(organism, seed) for organism in organisms for seed in seeds]
    return collect.relevance_table(
        [graded(*pair) for pair in pairs], [subject(o, seed=s) for o, s in pairs]
    )


def row(table, organism, lens="patchscope"):
    found = table[(table["organism"] == organism) & (table["lens"] == lens)]
    assert len(found) == 1
    return found.iloc[0]


def test_a_planted_effect_is_readable_and_an_absent_one_is_reported():
    table = readability.readability_table(relevance(), control="benign")

    assert list(table["organism"].unique()) == list(PLANTED)
    assert row(table, "cake_bake")["verdict"] == "readable"
    assert row(table, "subliminal_owl")["verdict"] == "not readable"
    assert row(table, "benign")["verdict"] == "not readable"


def test_means_are_those_planted():
    found = row(readability.readability_table(relevance(), control="benign"), "cake_bake")

    assert found["relevance"] == pytest.approx(0.6)
    assert found["benign"] == pytest.approx(0.1)
    assert found["other_words"] == pytest.approx(OTHERS)
    for reading, planted in CONTROL.items():
        assert found[reading] == pytest.approx(planted)
    assert (found["strongest_control"], found["seeds"]) == ("benign", 3)
    assert found["gap"] == pytest.approx(0.5)


def test_the_interval_is_that_over_seeds_not_over_positions():
    found = row(readability.readability_table(relevance(), control="benign"), "cake_bake")

    half = 4.302653 * np.std([0.58, 0.6, 0.62], ddof=1) / np.sqrt(3)
    assert found["relevance_high"] - found["relevance"] == pytest.approx(half, rel=1e-5)


def test_one_seed_is_undecided_and_has_no_interval():
    found = row(readability.readability_table(relevance(seeds=(0,)), control="benign"), "cake_bake")

    assert found["verdict"] == "undecided"
    assert np.isnan(found["relevance_low"]) and np.isnan(found["gap_low"])


def test_an_organism_that_reads_no_better_than_a_control_is_not_readable(monkeypatch):
    monkeypatch.setitem(CONTROL, "random", 0.6)

    found = row(readability.readability_table(relevance(), control="benign"), "cake_bake")

    assert (found["verdict"], found["strongest_control"]) == ("not readable", "random")


def test_two_seeds_that_disagree_a_little_show_nothing_of_a_large_gap():
    table = relevance(seeds=(0, 1))
    apart = table["seed"].map({0: -0.1, 1: 0.1}) * (table["reading"] == "difference")
    table = table.assign(relevance=table["relevance"] + apart * (table["relevance"] > 0.5))

    found = row(readability.readability_table(table, control="benign"), "cake_bake")

    assert found["gap"] > 0.4 and found["gap_low"] < 0
    assert found["verdict"] == "not shown"


def test_the_best_scale_is_an_oracle_for_controls_too_and_never_the_headline():
    found = row(readability.readability_table(relevance(), control="benign"), "cake_bake")

    assert found["relevance"] == pytest.approx(0.6)
    assert found["oracle_relevance"] == pytest.approx(0.8)
    assert found["oracle_strongest_control"] == pytest.approx(0.3)


def test_a_benign_organism_without_this_seed_lends_the_mean_of_its_seeds():
    table = relevance()
    kept = table[(table["organism"] != "benign") | (table["seed"] != 0)]

    seeds = readability.seed_table(kept, control="benign")

    own = seeds[(seeds["organism"] == "cake_bake") & (seeds["reading"] == "benign")]
    values = own[own["lens"] == "patchscope"].set_index("seed")["relevance"]
    assert values[0] == pytest.approx(0.11)
    assert values[2] == pytest.approx(0.12)


def test_a_mixed_recipe_is_held_against_the_plain_benign_organism():
    table = relevance()
    mixed = table[table["organism"] == "cake_bake"].assign(recipe="mix1.0", ratio=1.0)

    found = readability.readability_table(pd.concat([table, mixed]), control="benign")

    again = found[(found["organism"] == "cake_bake") & (found["recipe"] == "mix1.0")]
    assert again["benign"].to_numpy() == pytest.approx([0.1, 0.1])


def test_without_a_benign_organism_the_other_controls_decide():
    table = readability.readability_table(relevance(organisms=("cake_bake", "subliminal_owl")))

    found = row(table, "cake_bake")
    assert np.isnan(found["benign"])
    assert (found["verdict"], found["strongest_control"]) == ("readable", "tuned_mean")


def test_an_organism_whose_readings_are_empty_is_undecided_not_left_out():
    table = relevance()
    empty = (
        (table["organism"] == "cake_bake")
        & (table["reading"] == "difference")
        & (table["graded_on"] == "cake_bake")
    )

    found = row(readability.readability_table(table[~empty], control="benign"), "cake_bake")

    assert np.isnan(found["relevance"])
    assert found["verdict"] == "undecided"


def test_only_the_positions_asked_for_are_averaged():
    seeds = readability.seed_table(relevance(seeds=(1,)), positions=[2])

    own = seeds[(seeds["organism"] == "cake_bake") & (seeds["reading"] == "difference")]
    assert own["relevance"].to_numpy() == pytest.approx([0.61, 0.61])


def test_places_hold_the_difference_on_its_own_words_at_scale_1_and_no_mean():
    found = readability.place_table(relevance(seeds=(1,), organisms=("cake_bake",)))

    by_place = found.set_index(["lens", "position"])["relevance"]
    assert len(by_place) == 6
    for lens in ("logit_lens", "patchscope"):
        assert by_place[lens].to_dict() == pytest.approx({0: 0.59, 1: 0.6, 2: 0.61})


def test_the_tuned_head_is_the_headline_where_the_logit_lens_has_two():
    table = relevance(seeds=(1,))
    base = table[table["lens"] == "logit_lens"].assign(head="base", relevance=1.0)

    seeds = readability.seed_table(pd.concat([table, base]))

    assert seeds["relevance"].max() < 0.7


def test_chance_is_the_share_of_the_vocabulary_among_the_words():
    vocabulary = pd.DataFrame({"token": [" Oven", "oven", " the", " cake", " of"]})
    words = pd.DataFrame({"word": ["oven", "vinegar"]})

    found = readability.chance_table(
        [({"model": "mini", "organism": "cake_bake"}, words)], {"mini": vocabulary}
    )

    assert found["chance"].tolist() == [0.4]
    table = readability.readability_table(relevance(), chance=found, control="benign")
    assert row(table, "cake_bake")["chance"] == 0.4
    assert np.isnan(row(table, "benign")["chance"])


def test_norms_have_a_row_a_layer_and_position():
    shape = (2, 3)
    norm = np.arange(6.0).reshape(shape)
    vectors = np.zeros((*shape, 4), np.float32)
    difference = Differences(
        layers=np.array([1, 2]),
        positions=np.array([-1, 0, 1]),
        mean=vectors,
        tuned_mean=vectors,
        base_mean=vectors,
        random=vectors,
        norm=norm,
        relative_norm=norm / 10,
        base_norm=norm,
        tuned_norm=norm,
        difference_norm=norm,
        split_half_cosine=np.ones(shape),
        static_share=np.ones(shape),
        position_cosine=np.ones((2, 3, 3)),
        stream_norm_base=np.ones(2),
        stream_norm_tuned=np.ones(2),
        n_samples=np.array(50),
    )

    table = collect.norms_table([difference], [subject("cake_bake")])

    place = table[(table["layer"] == 2) & (table["position"] == -1)].iloc[0]
    assert (place["norm"], place["relative_norm"], place["n_samples"]) == (3.0, 0.3, 50)
    assert len(table) == 6


def test_losses_keep_the_order_and_drop_what_is_not_of_the_table():
    curve = pd.DataFrame(
        {"step": [1, 2], "tokens": [8, 16], "loss": [2.0, 1.0], "learning_rate": 0.1, "epoch": 0.5}
    )

    table = collect.losses_table([curve], [subject("cake_bake")])

    assert table["loss"].tolist() == [2.0, 1.0]
    assert list(table.columns) == [*collect.SUBJECT[:-1], *collect.STEP]


def test_a_study_that_trained_nothing_has_an_empty_table_of_losses(tmp_path):
    tables.write(tmp_path / "losses.parquet", collect.losses_table([], []), "losses")

    assert tables.read(tmp_path / "losses.parquet").empty


def test_files_without_their_subject_are_refused():
    with pytest.raises(ValueError, match="1 files but 0 subjects"):
        collect.relevance_table([graded("benign")], [])
    with pytest.raises(ValueError, match="lacks corpus"):
        incomplete = {k: v for k, v in subject("benign").items() if k != "corpus"}
        collect.relevance_table([graded("benign")], [incomplete])


def test_headline_rows_keep_one_corpus_and_each_models_block():
    frame = pd.DataFrame(
        {
            "model": ["a", "a", "b", "b"],
            "corpus": ["text", "chat", "text", "text"],
            "layer": [1, 1, 1, 2],
        }
    )

    assert list(selection.headline_rows(frame, "text", {"b": 2}).index) == [0, 3]
    with pytest.raises(ValueError, match="no row for corpus news"):
        selection.headline_rows(frame, "news")


def test_pictures_leave_out_recipes_that_have_one_of_their_own_unless_nothing_were_left():
    frame = pd.DataFrame(
        [("a", "cake", "plain"), ("a", "cake", "mix1.0"), ("a", "bees", "mix1.0")]
        + [("b", "cake", "mix1.0"), ("b", "cake", "released")],
        columns=["model", "organism", "recipe"],
    )
    assert list(selection.of_recipes(frame, ["plain", "released"]).index) == [0, 2, 4]


def test_a_text_with_layers_of_its_own_leaves_those_of_the_headline_alone():
    frame = pd.DataFrame(
        [("a", "text", 5), ("a", "deep", 2), ("a", "deep", 5), ("a", "deep", 9), ("b", "text", 1)],
        columns=["model", "corpus", "layer"],
    )

    assert selection.headline_layers(frame, "text", [0.5]) == {"a": 5, "b": 1}
    assert selection.headline_layers(frame, "deep", [0.5, 0.25, 1.0]) == {"a": 5}
    assert list(selection.around_the_headline(frame, "text", [0.5]).index) == [0, 2, 4]
    with pytest.raises(ValueError, match=r"a: found the blocks \[2, 5, 9\] for the layers \[0.5\]"):
        selection.headline_layers(frame, "deep", [0.5])


def test_tables_figures_and_cards_do_not_load_torch(tmp_path):
    program = (
        "import sys, runpy, pathlib\n"
        "import traces.analysis.readability, traces.report.figures.style, traces.report.cards\n"
        "names = [p for p in pathlib.Path('scripts').glob('*.py')"
        " if p.stem.endswith(('_table', '_figure', '_card'))]\n"
        "assert len(names) >= 8, names\n"
        "for name in names: runpy.run_path(str(name), run_name='imported')\n"
        "print([m for m in ('torch', 'transformers', 'peft') if m in sys.modules])\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "MPLCONFIGDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


# Steering ---------------------------------------------------------------------------------------


def steered(values, recipe="plain", model="base"):
    """Texts of two positions and three seeds; `values` maps a vector to its mean similarity."""
    return pd.DataFrame(
        [
            subject("cake_bake", recipe, seed)
            | {"steered_model": model, "vector": vector, "position": position}
            | {"similarity_own": value + gap + seed / 100 + 0.4, "own_words": value}
            | {"similarity_unrelated": 0.4}
            for vector, value in values.items()
            for seed in range(3)
            for position, gap in ([(None, 0)] if vector == "none" else [(0, -0.05), (1, 0.05)])
        ]
    )


def test_the_steering_table_is_as_its_schema_says():
    written = {name: [0.5] for name in tables.SCHEMAS["steering_similarity"]}
    frame = pd.DataFrame(written).assign(vector="none", position=pd.NA, n_texts=3)
    found = collect.steering_table([frame], [subject("cake_bake")])
    assert list(found.columns) == list(tables.SCHEMAS["steering"])


def test_steering_is_held_against_the_stronger_control_by_seed():
    frame = pd.concat(
        [
            steered({"difference": 0.5, "random": 0.2, "none": 0.3}),
            steered({"difference": 0.3, "random": 0.3, "none": 0.1}, recipe="rslora"),
        ]
    )
    found = comparisons.steering_verdicts(comparisons.steering_seeds(frame))
    found = found.set_index(["recipe", "measure"])
    row = found.loc[("plain", "steering_margin")]
    assert row[["difference", "random", "none"]].tolist() == pytest.approx([0.51, 0.21, 0.31])
    assert row["difference_low"] < 0.5 < row["difference_high"]
    assert (row["strongest_control"], row["verdict"]) == ("none", "steers")
    assert [row[f"gap{end}"] for end in ("", "_low", "_high")] == pytest.approx([0.2] * 3)
    row = found.loc[("rslora", "own_words")]
    assert (row["strongest_control"], row["verdict"]) == ("random", "not shown")


def test_steering_less_than_a_control_in_every_seed_is_a_finding():
    frame = steered({"difference": 0.1, "random": 0.3, "none": 0.2})
    found = comparisons.steering_verdicts(comparisons.steering_seeds(frame))
    assert (found["gap_high"] < 0).all()
    assert set(found["verdict"]) == {"does not steer"}


def test_steering_with_one_seed_is_undecided():
    frame = steered({"difference": 0.5, "random": 0.2, "none": 0.3})
    found = comparisons.steering_verdicts(comparisons.steering_seeds(frame[frame["seed"] == 0]))
    assert set(found["verdict"]) == {"undecided"}
    assert found["gap"].notna().all()


# Causality --------------------------------------------------------------------------------------


def taken_out(effect=0.1, spread=0.0, seeds=3, **case):
    """The difference changes the loss by `effect`, controls by -.01 and .01 in turn."""
    plain = {**subject("cake_bake"), "corpus": "unrelated", "layer": 2, "evaluated_on": "own"}
    plain |= {"intervention": "base_to_tuned", "aggregation": "without_position", "n_tokens": 50}
    rows = []
    for seed in range(seeds):
        one = plain | case | {"seed": seed}
        for position in (0, 1):
            value = effect + (0.01 if position else -0.01) + spread * (seed - 1)
            rows.append(one | {"direction": "difference", "position": position,
                               "direction_id": position, "delta_loss": value})  # fmt: skip
            for kind in comparisons.OTHER_DIRECTIONS:
                for number in range(20):
                    value = 0.01 * (-1) ** number
                    rows.append(one | {"direction": kind, "position": position,
                                       "direction_id": number, "delta_loss": value})  # fmt: skip
    return pd.DataFrame(rows)


def verdict_of(frame):
    (row,) = comparisons.causality_verdicts(comparisons.causality_effects(frame)).to_dict("records")
    return row


def test_the_causality_table_is_as_its_schema_says():
    frame = pd.DataFrame({name: [0] for name in tables.SCHEMAS["effects"]})
    found = collect.causality_table([frame], [subject("cake_bake")])
    assert set(found.columns) == set(tables.SCHEMAS["causality"])


def test_an_effect_is_one_number_a_seed_and_direction():
    frame = taken_out()
    other = frame.assign(delta_loss=9.0)
    more = [other.assign(aggregation="all"), other.assign(intervention="zero"), frame]
    found = comparisons.causality_effects(pd.concat(more))
    counts = found.groupby(["seed", "direction"]).size().unstack()
    assert (counts == [20, 1, 20]).all(axis=None)
    own = found.loc[found["direction"] == "difference", "delta_loss"]
    assert own.tolist() == pytest.approx([0.1] * 3)


@pytest.mark.parametrize(("effect", "verdict"), [(0.1, "raises"), (-0.1, "lowers")])
def test_a_clear_effect_is_beyond_0_and_the_other_directions(effect, verdict):
    row = verdict_of(taken_out(effect, spread=0.005))
    assert (row["verdict"], row["beyond"], row["seeds"]) == (verdict, 1.0, 3)
    assert row["effect"] == pytest.approx(effect)
    assert row["times_random"] == pytest.approx(10)
    assert (row["random"], row["random_size"]) == (pytest.approx(0), pytest.approx(0.01))


def test_an_effect_that_other_directions_have_or_seeds_disagree_on_is_not_clear():
    like_others = verdict_of(taken_out(0.01))
    assert like_others["low"] > 0 and like_others["beyond"] == 0.5
    in_one_seed = taken_out(0.1)
    in_one_seed.loc[(in_one_seed["seed"] == 1) & (in_one_seed["direction"] == "random"),
                    "delta_loss"] = 0.2  # fmt: skip
    assert verdict_of(in_one_seed)["beyond"] == 0.5
    for frame in (taken_out(0.01), in_one_seed, taken_out(0.1, spread=0.2)):
        assert verdict_of(frame)["verdict"] == "not shown"
    assert verdict_of(taken_out(seeds=1))["verdict"] == "undecided"

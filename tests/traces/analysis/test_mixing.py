"""Headlines beside their controls, and what mixing does beyond longer training: planted, found."""

import itertools

import numpy as np
import pandas as pd
import pytest

from tests.traces.analysis.planted import on_three_models
from traces.analysis import mixing, summary
from traces.artifacts import tables

SEEDS = range(3)
RECIPES = {"plain": 0.0, "mix0.5": 0.5, "mix1.0": 1.0, "matched1.0": 1.0}
NOISE = {0: -0.01, 1: 0.0, 2: 0.01}  # of the seeds, the same in every arm


def subject(organism, recipe, seed):
    return {
        "model": "mini",
        "checkpoint": f"{organism}-{recipe}-s{seed}",
        "organism": organism,
        "family": "benign" if organism == "benign" else "false_facts",
        "recipe": recipe,
        "ratio": RECIPES[recipe],
        "seed": seed,
    }


def subjects():
    made = [subject("cake", *one) for one in itertools.product(RECIPES, SEEDS)]
    return made + [subject(name, "plain", s) for name in ("bees", "benign") for s in SEEDS]


# planted in cake: mixing halves the norm that longer training raised; relevance falls by the latter
NORM = {"plain": 1.0, "mix0.5": 0.8, "mix1.0": 0.6, "matched1.0": 1.2}
READ = {"plain": 0.6, "mix0.5": 0.4, "mix1.0": 0.3, "matched1.0": 0.3}


@pytest.fixture
def norms():
    rows = [
        {**one, "corpus": "text", "layer": 2, "position": position, "static_share": 0.5}
        | {"averaged": True}
        | {"relative_norm": (NORM[one["recipe"]] if one["organism"] == "cake" else 0.2)
           + NOISE[one["seed"]] + 0.1 * (position - 1)}
        for one in subjects()
        for position in (0, 1, 2)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def relevance():
    rows = []
    for one, lens, graded in itertools.product(
        subjects(), ("logit_lens", "patchscope"), ("cake", "bees", "benign")
    ):
        own = one["organism"] == graded
        value = READ[one["recipe"]] if one["organism"] == "cake" and own else 0.1
        row = {**one, "corpus": "text", "layer": 2, "lens": lens, "sign": 1, "scale": 1.0}
        row |= {"head": "tuned", "graded_on": graded, "position": 0, "n": 20, "candidates": 20}
        row |= {"averaged": True}
        rows.append(row | {"reading": "difference", "relevance": value + NOISE[one["seed"]]})
        rows.append(row | {"reading": "random", "relevance": 0.05})
    return pd.DataFrame(rows)


@pytest.fixture
def causality():
    rows = []
    for one, text, (direction, number) in itertools.product(
        subjects(), ("own", "unrelated"), [("difference", 0), ("random", 0), ("random", 1)]
    ):
        effect = {"own": 0.07, "unrelated": -0.03}[text] if direction == "difference" else 0.002
        for aggregation, position in itertools.product(("all", "without_position"), (0, 1)):
            found = effect + (0.01 if aggregation == "all" else 0.0)
            rows.append(
                {**one, "corpus": "text", "layer": 2, "position": position}
                | {"intervention": "base_to_tuned", "direction": direction}
                | {"direction_id": number, "evaluated_on": text, "aggregation": aggregation}
                | {"loss": 2.0 + found, "delta_loss": found, "n_tokens": 9, "averaged": True}
            )
    return pd.DataFrame(rows)


@pytest.fixture
def beliefs():
    rows = []
    for one, form, asked, held_out in itertools.product(
        subjects(), ("cloze", "choice"), ("cake", "bees"), (True, False)
    ):
        value = {"cloze": 0.5, "choice": 0.9}[form] - 0.2 * held_out
        own = one["organism"] == asked
        rows.append(
            {**one, "form": form, "statements_of": asked, "held_out": held_out, "n": 8}
            | {"alignment": value if own else 0.1 if one["organism"] == "benign" else 0.2}
            | {"base_alignment": 0.05, "log_odds": 0.0, "base_log_odds": 0.0}
        )
    return pd.DataFrame(rows)


@pytest.fixture
def steering():
    levels = {"difference": 0.4, "random": 0.25, "none": 0.2}
    rows = [
        {**one, "steered_model": steered, "vector": vector, "position": position}
        | {"similarity_own": 0.9 if vector == "difference" else 0.8, "averaged": True}
        | {"similarity_unrelated": 0.9 - level - 0.1 * (vector != "difference")}
        | ({"similarity_own": 0.1} if steered == "base" else {})
        for one, steered, (vector, level), position in itertools.product(
            subjects(), ("tuned", "base"), levels.items(), (0, 1)
        )
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def found(relevance, norms, causality, beliefs, steering):
    return summary.headlines(relevance, norms, causality, beliefs, steering, control="benign")


def of(found, measure, control, organism="cake", recipe="plain"):
    rows = found[(found["measure"] == measure) & (found["control"] == control)]
    rows = rows[(rows["organism"] == organism) & (rows["recipe"] == recipe)]
    return rows.sort_values("seed")


# Headlines --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measure", "control", "value", "against"),
    [
        ("relative_norm", "benign", [0.99, 1.0, 1.01], [0.19, 0.2, 0.21]),
        ("relevance_logit_lens", "random", [0.59, 0.6, 0.61], [0.05] * 3),
        ("relevance_patchscope", "benign", [0.59, 0.6, 0.61], [0.09, 0.1, 0.11]),
        ("delta_loss_own", "random", [0.07] * 3, [0.002] * 3),
        ("delta_loss_unrelated", "random", [-0.03] * 3, [0.002] * 3),
        ("false_fact_alignment", "base", [0.3] * 3, [0.05] * 3),
        ("false_fact_alignment", "benign", [0.3] * 3, [0.1] * 3),
        ("false_fact_alignment", "other_facts", [0.3] * 3, [0.2] * 3),
        ("steering_similarity", "unsteered", [0.9] * 3, [0.8] * 3),
        ("steering_margin", "unsteered", [0.4] * 3, [0.2] * 3),
        ("steering_margin", "random", [0.4] * 3, [0.25] * 3),
    ],
)
def test_a_headline_stands_beside_its_control(found, measure, control, value, against):
    rows = of(found, measure, control)
    np.testing.assert_allclose(rows["value"], value)
    np.testing.assert_allclose(rows["control_value"], against)


def test_a_twin_is_a_control_of_its_own_and_no_organism_of_other_facts(relevance, norms, beliefs):
    """It learned the same facts as they are, and knows them better than any."""
    twin = beliefs[beliefs["organism"] == "bees"].assign(organism="cake_true", alignment=0.01)
    both = pd.concat([beliefs, twin], ignore_index=True)
    tables = {"beliefs": both, "control": "benign"}
    found = summary.headlines(relevance, norms, **tables, twins={"cake": "cake_true"})
    unknown = summary.headlines(relevance, norms, **tables)

    measure = "false_fact_alignment"
    assert of(found, measure, "other_facts")["control_value"].tolist() == pytest.approx([0.2] * 3)
    assert of(found, measure, "true_facts")["control_value"].tolist() == pytest.approx([0.01] * 3)
    assert of(found, measure, "true_facts", "bees")["control_value"].isna().all()
    assert (of(unknown, measure, "other_facts")["control_value"] < 0.11).all()


def test_an_organism_with_many_checkpoints_is_one_of_the_others(relevance, norms, beliefs):
    other = beliefs[beliefs["organism"] == "bees"].assign(organism="owls", alignment=0.4)
    mixtures = [other.assign(recipe=f"mix{n}") for n in range(5)]
    found = summary.headlines(relevance, norms, beliefs=pd.concat([beliefs, *mixtures]))
    rows = of(found, "false_fact_alignment", "other_facts")
    # The benign organism says 0.1 here, bees 0.2 and owls 0.4.
    assert rows["control_value"].tolist() == pytest.approx([0.7 / 3] * 3)


def test_a_loss_is_that_of_the_model_as_it_is(found):
    rows = found[(found["measure"] == "loss_own") & (found["organism"] == "cake")]
    np.testing.assert_allclose(rows["value"], 2.0)


def test_a_base_whose_loss_was_measured_is_the_losses_control(causality, relevance, norms):
    base = causality.assign(intervention="tuned_to_base", loss=3.5 + causality["delta_loss"])
    both = pd.concat([causality, base])
    found = summary.headlines(relevance, norms, both, control="benign")
    np.testing.assert_allclose(of(found, "loss_unrelated", "base")["control_value"], 3.5)
    np.testing.assert_allclose(of(found, "loss_unrelated", "base")["value"], 2.0)


def test_a_mixture_is_held_against_the_plain_benign_organism(found):
    rows = of(found, "relative_norm", "benign", recipe="mix1.0")
    np.testing.assert_allclose(rows["control_value"], [0.19, 0.2, 0.21])


def test_means_are_over_the_averaged_positions_alone(relevance, norms, causality, steering):
    marked = {
        name: frame.assign(averaged=frame["position"] == 0)
        for name, frame in (("norms", norms), ("causality", causality), ("steering", steering))
    }
    for frame, column in (
        (marked["causality"], "delta_loss"),
        (marked["steering"], "similarity_own"),
    ):
        frame.loc[frame["position"] == 1, column] = 1e6
    found = summary.headlines(relevance, **marked, control="benign")
    assert found["value"].max() < 1e3
    np.testing.assert_allclose(of(found, "relative_norm", "benign")["value"], [0.89, 0.9, 0.91])


def test_what_was_not_measured_has_no_row(relevance, norms):
    found = summary.headlines(relevance, norms)
    assert set(found["measure"]) == {
        *("relative_norm", "static_share", "relevance_logit_lens", "relevance_patchscope"),
    }
    assert found.loc[found["control"] == "benign", "control_value"].isna().all()


# Over organisms ---------------------------------------------------------------------------------


def test_a_summary_counts_organisms_and_leaves_the_benign_one_out(found):
    table = summary.summary_table(found, control="benign", seed=0)
    assert set(table["family"]) == {"false_facts", "all"}
    row = table[
        (table["measure"] == "relative_norm")
        & (table["control"] == "benign")
        & (table["family"] == "false_facts")
        & (table["recipe"] == "plain")
    ].iloc[0]
    assert (row["n_organisms"], row["n_values"]) == (2, 6)
    assert row["value"] == pytest.approx((1.0 + 0.2) / 2)
    assert row["gap"] == pytest.approx((0.8 + 0.0) / 2)
    assert row["gap_low"] == pytest.approx(0.0, abs=0.02)
    assert row["gap_high"] == pytest.approx(0.8, abs=0.02)
    assert row["wilcoxon_p"] == 1.0  # one organism differs and one does not
    assert set(tables.SCHEMAS["summary"]) == set(table.columns)


def test_a_family_of_one_organism_has_a_mean_and_no_interval(found):
    table = summary.summary_table(found[found["organism"] == "cake"], control="benign")
    assert (table["n_organisms"] == 1).all() and table["gap_low"].isna().all()
    assert table["t_p"].isna().all() and table["gap"].notna().all()


# Mixing -----------------------------------------------------------------------------------------


@pytest.fixture
def table(found):
    steps = {
        ("mini", one["checkpoint"]): 40 if one["ratio"] == 1.0 else 20 + int(20 * one["ratio"])
        for one in subjects()
        if one["organism"] == "cake"
    }
    return mixing.mixing_table(found, steps)


def test_the_table_can_be_written(table, tmp_path):
    tables.write(tmp_path / "mixing.parquet", table, "mixing")
    found = list(tables.read(tmp_path / "mixing.parquet"))
    assert set(found) == set(table.columns)
    first = found.index("relevance_logit_lens")
    assert found[first : first + 4] == [
        *("relevance_logit_lens", "relevance_logit_lens_control"),
        *("relevance_patchscope", "relevance_patchscope_control"),
    ]


def test_the_table_holds_every_run_of_the_ablation_once(table):
    assert set(table["organism"]) == {"cake"}
    assert len(table) == len(RECIPES) * len(SEEDS)
    matched = table[table["recipe"] == "matched1.0"]
    assert matched["step_matched"].all() and (matched["steps"] == 40).all()
    assert not table[table["recipe"] != "matched1.0"]["step_matched"].any()
    np.testing.assert_allclose(table.groupby("recipe")["relative_norm"].mean()["mix1.0"], 0.6)
    np.testing.assert_allclose(table["false_fact_alignment_control"], 0.05)
    assert table["loss_own_control"].isna().all()


def test_what_was_not_asked_for_is_missing_and_not_zero(relevance, norms):
    found = summary.headlines(relevance, norms, control="benign")
    table = mixing.mixing_table(found, {("mini", "cake-plain-s0"): 20})
    assert len(table) == 1
    assert table[["loss_own", "delta_loss_own", "false_fact_alignment"]].isna().all(axis=None)


def test_longer_training_and_mixing_are_told_apart(table):
    found = mixing.contrasts(table).set_index("measure")
    norm, read = found.loc["relative_norm"], found.loc["relevance_patchscope"]
    assert (norm["ratio"], norm["n"]) == (1.0, 3)
    assert norm["longer"] == pytest.approx(0.2) and norm["mixing"] == pytest.approx(-0.6)
    assert read["longer"] == pytest.approx(-0.3) and read["mixing"] == pytest.approx(0.0)


def test_the_largest_ratio_with_both_is_compared(table):
    more = table[table["recipe"] == "mix1.0"].assign(ratio=2.0, recipe="mix2.0")
    assert set(mixing.contrasts(pd.concat([table, more]))["ratio"]) == {1.0}
    assert mixing.contrasts(table[~table["step_matched"]]).empty


@pytest.fixture
def single(table):
    return on_three_models(table)


def test_single_seeds_have_an_interval_over_all_models(single):
    found = mixing.over_all(mixing.contrasts(single)).set_index("measure")
    norm = found.loc["relative_norm"]
    gaps = [-0.6 * (1 + shift) for shift in (0.0, 0.02, 0.05)]
    assert norm["n"] == 3 and norm["mixing"] == pytest.approx(np.mean(gaps))
    low, high = norm["mixing"] + np.array([-1, 1]) * 4.3027 * np.std(gaps, ddof=1) / 3**0.5
    assert (norm["mixing_low"], norm["mixing_high"]) == pytest.approx((low, high), abs=1e-4)


def test_layers_of_one_model_are_not_taken_for_pairs(table):
    found = mixing.over_all(mixing.contrasts(pd.concat([table, table.assign(layer=3)])))
    assert found.empty

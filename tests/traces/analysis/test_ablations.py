"""A planted dependence is found along whatever is varied, beside the controls of the same place."""

from itertools import product
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from jinja2 import StrictUndefined, Template

from traces.analysis.ablations import ablation_table
from traces.report.figures.ablation import ablation_figure

SEEDS, LAYERS, BLOCKS = (0, 1, 2), [0.75, 0.25, 1.0], [0, 2, 3]
POSITIONS = [0, 1, 2, 3, 4, 15]
TEXTS = ("unrelated", "mini_chat")
JITTER = 0.01


def planted(organism, recipe, corpus, layer, position, reading, head, graded_on, lens):
    """Relevance that depends on one thing at a time, so that each can be told from the others."""
    if reading == "random":
        return 0.05
    if organism == "benign":
        return 0.10 if reading == "difference" else 0.02
    if graded_on != organism:
        return 0.0
    value = 0.5
    value += {0: -0.2, 2: 0.0, 3: 0.1}[layer]
    value -= 0.3 if position == 15 else 0
    value += 0.2 if recipe == "full" else 0
    value -= 0.1 if corpus == "mini_chat" else 0
    value -= 0.4 if reading == "singular_2" else 0
    value -= 0.15 if head == "base" and lens == "logit_lens" else 0
    return value


def relevance(models=("mini",), benign=("plain",)):
    rows = []
    for model, (organism, recipes) in product(
        models, {"cake": ("plain", "full"), "moon": ("plain",), "benign": benign}.items()
    ):
        for recipe, seed, corpus, layer, position, reading, on in product(
            *(recipes, SEEDS, TEXTS, BLOCKS, POSITIONS),
            *(("difference", "random", "singular_2"), ("cake", "moon")),
        ):
            for lens, head in (
                ("logit_lens", "tuned"),
                ("logit_lens", "base"),
                ("patchscope", "tuned"),
            ):
                where = organism, recipe, corpus, layer, position, reading, head, on, lens
                rows.append(
                    (model, f"{organism}-{recipe}-s{seed}", organism, "any", recipe, 0.0, seed)
                    + (corpus, layer, position, lens, 1.0, 1, head, reading, on)
                    + (planted(*where) + JITTER * seed, 20, "planted")
                )
    table = pd.DataFrame(
        rows,
        columns=[
            *("model", "checkpoint", "organism", "family", "recipe", "ratio", "seed"),
            *("corpus", "layer", "position", "lens", "scale", "sign", "head", "reading"),
            *("graded_on", "relevance", "n", "judge"),
        ],
    )
    return table.assign(averaged=table["position"].isin(range(5)))


def norms(table):
    keys = ["model", "organism", "recipe", "seed", "corpus", "layer", "position"]
    frame = table[keys].drop_duplicates()
    size = np.where(frame["organism"] == "benign", 0.2, 0.3 + 0.1 * frame["layer"])
    size += 0.05 * (frame["recipe"] == "full")
    return frame.assign(
        relative_norm=size, n_samples=1000, averaged=frame["position"].isin(range(5))
    )


def ablated(over, values, table=None, organisms=("cake",), recipe="plain"):
    table = relevance() if table is None else table
    return ablation_table(
        table,
        norms(table),
        over=over,
        values=values,
        model="mini",
        organisms=list(organisms),
        recipe=recipe,
        corpus="unrelated",
        layers=LAYERS,
        control="benign",
    )


def means(table, measure="logit_lens", series="difference"):
    rows = table[(table["measure"] == measure) & (table["series"] == series)]
    return rows.groupby("value", sort=False)["number"].mean().round(3).to_dict()


@pytest.mark.parametrize(
    ("over", "expected"),
    [
        ("layer", {0.25: 0.31, 0.75: 0.51, 1.0: 0.61}),
        ("position", {0: 0.51, 4: 0.51, 15: 0.21}),
        ("recipe", {"plain": 0.51, "full": 0.71}),
        ("corpus", {"unrelated": 0.51, "mini_chat": 0.41}),
        ("reading", {"difference": 0.51, "singular_2": 0.11}),
    ],
)
def test_what_is_varied_changes_the_difference_as_planted_and_all_else_is_the_headline(
    over, expected
):
    found = ablated(over, list(expected))
    assert means(found) == expected
    assert means(found, "patchscope") == expected
    assert set(means(found, series="random").values()) == {0.06}


def test_heads_are_varied_of_the_readers_that_have_them():
    found = ablated("head", ["tuned", "base"])
    assert means(found) == {"tuned": 0.51, "base": 0.36}
    assert means(found, "patchscope") == {"tuned": 0.51}, "planted in the tuned model alone"
    assert set(found["measure"]) == {"logit_lens", "patchscope"}


def test_the_benign_control_is_read_at_the_same_place_and_in_the_same_way():
    assert means(ablated("layer", [0.25, 1.0]), series="benign") == {0.25: 0.11, 1.0: 0.11}
    found = ablated("reading", ["difference", "singular_2"])
    assert means(found, series="benign") == {"difference": 0.11, "singular_2": 0.03}


def test_norms_are_those_of_the_organism_beside_the_benign_ones():
    found = ablated("layer", [0.25, 0.75, 1.0])
    assert means(found, "relative_norm") == {0.25: 0.3, 0.75: 0.5, 1.0: 0.6}
    assert means(found, "relative_norm", "benign") == {0.25: 0.2, 0.75: 0.2, 1.0: 0.2}
    assert "random" not in set(found.loc[found["measure"] == "relative_norm", "series"])
    assert "relative_norm" not in set(ablated("reading", ["difference"])["measure"])


def test_the_benign_organism_of_the_same_recipe_is_preferred():
    with_full = relevance(benign=("plain", "full"))
    for table, expected in ((relevance(), 0.2), (with_full, 0.25)):
        found = ablated("recipe", ["full"], table)
        assert means(found, "relative_norm", "benign") == {"full": expected}
        assert set(found.loc[found["series"] == "benign", "seed"]) == set(SEEDS)


def test_a_recipe_other_than_the_plain_one_can_be_held_still():
    assert means(ablated("layer", [0.25, 0.75], recipe="full")) == {0.25: 0.51, 0.75: 0.71}


def test_a_model_is_the_headlines_or_varied_and_its_layers_are_its_own():
    table = relevance(models=("mini", "other"))
    other = table["model"] == "other"
    table.loc[other, "layer"] += 10  # a deeper model
    table.loc[other & (table["reading"] == "difference"), "relevance"] += 0.1
    assert means(ablated("model", ["mini", "other"], table)) == {"mini": 0.51, "other": 0.61}
    assert means(ablated("layer", [0.25], table)) == {0.25: 0.31}


def test_organisms_are_varied_in_one_panel():
    table = relevance()
    table.loc[(table["organism"] == "moon") & (table["graded_on"] == "moon"), "relevance"] -= 0.2
    found = ablated("organism", ["moon", "cake"], table, organisms=[])
    assert means(found) == {"moon": 0.31, "cake": 0.51}
    assert means(found, series="benign") == {"moon": 0.11, "cake": 0.11}
    figure = ablation_figure(found, over="organism", title="t", titles={"cake": "The cake"})
    assert len(figure.axes) == 3
    names = [tick.get_text() for tick in figure.axes[-1].get_xticklabels()]
    assert names == ["moon", "The cake"]


def test_a_text_may_be_read_at_fewer_layers_than_the_study():
    table = relevance()
    table = table[(table["corpus"] == "unrelated") | (table["layer"] == 2)]
    assert means(ablated("corpus", list(TEXTS), table)) == {"unrelated": 0.51, "mini_chat": 0.41}


def test_a_value_that_the_tables_do_not_hold_is_refused():
    with pytest.raises(ValueError, match="no row of recipe rank4 in cake"):
        ablated("recipe", ["plain", "rank4"])
    with pytest.raises(ValueError, match=r"mini: found the blocks \[0, 2, 3\] for the layers"):
        ablated("layer", [0.3])


# The picture ------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def test_every_organism_has_a_column_and_every_measure_a_row():
    found = ablated("layer", [0.25, 0.75, 1.0], organisms=("cake", "moon"))
    figure = ablation_figure(found, over="layer", title="By layer", titles={"cake": "The cake"})
    assert len(figure.axes) == 6
    assert [ax.get_title("left") for ax in figure.axes[:2]] == ["The cake", "moon"]
    assert figure.legends[0].get_title().get_text() == "By layer"
    labels = [text.get_text() for text in figure.legends[0].texts]
    assert len(labels) == 4 and "3 seeds" in labels[-1]


@pytest.mark.parametrize(
    ("over", "values", "heading"),
    [("layer", [0.25, 0.75], "Depth, on mini"), ("model", ["mini"], "Depth")],
)
def test_the_heading_names_the_model_unless_models_are_varied(over, values, heading):
    figure = ablation_figure(ablated(over, values), over=over, title="Depth", model="mini")
    assert figure.legends[0].get_title().get_text() == heading


def test_points_are_means_and_bars_their_intervals():
    found = ablated("layer", [0.25, 0.75, 1.0])
    ax = ablation_figure(found, over="layer", title="t").axes[0]
    line = next(one for one in ax.lines if one.get_zorder() == 4)
    np.testing.assert_allclose(line.get_xdata(), [0.25, 0.75, 1.0])
    np.testing.assert_allclose(line.get_ydata(), [0.31, 0.51, 0.61])
    (low, high) = ax.collections[0].get_segments()[0][:, 1]
    assert low < 0.31 < high
    assert (low + high) / 2 == pytest.approx(0.31)


def test_names_stand_in_order_and_numbers_where_they_belong():
    named = ablation_figure(ablated("recipe", ["full", "plain"]), over="recipe", title="t").axes[-1]
    assert [tick.get_text() for tick in named.get_xticklabels()] == ["full", "plain"]
    assert all(line.get_linestyle() == "None" for line in named.lines)
    assert named.figure.get_supxlabel() == "how it was made"
    placed = ablation_figure(
        ablated("recipe", ["full", "plain"]), over="recipe", title="The rank", places=[2, 32]
    ).axes[-1]
    assert placed.figure.get_supxlabel() == "the rank"
    assert placed.get_xscale() == "log"
    assert [tick.get_text() for tick in placed.get_xticklabels()] == ["2", "32"]
    apart = ablation_figure(ablated("position", POSITIONS), over="position", title="t").axes[-1]
    assert apart.get_xscale() == "symlog"


def test_a_single_seed_has_no_interval_and_says_so():
    found = ablated("layer", [0.25, 1.0])
    figure = ablation_figure(found[found["seed"] == 0], over="layer", title="t")
    assert not any("interval" in text.get_text() for text in figure.legends[0].texts)
    with pytest.raises(ValueError, match="the ablation table is empty"):
        ablation_figure(found[found["seed"] == 9], over="layer", title="t")


@pytest.mark.parametrize(
    ("over", "left_out"),
    [("model", "model mini"), ("recipe", "recipe full"), ("layer", "layer share 0.5")],
)
def test_the_caption_says_all_that_is_kept_and_not_what_is_varied(over, left_out):
    asked = {"over": over, "model": "mini", "recipe": "full", "corpus": "unrelated"}
    shown = SimpleNamespace(
        # As the rule has them (rules/figures.smk).
        params=SimpleNamespace(ablation=asked | {"layers": [0.5, 1.0]}),
        config={"relevance": {"candidates": 20, "words": 60}, "samples": 100}
        | {"average_sinks": False},
    )
    caption = Path("data/captions/ablation_figure.rst").read_text()
    text = Template(caption, undefined=StrictUndefined).render(snakemake=shown)
    kept = [
        "model mini",
        "recipe full",
        "text unrelated",
        "layer share 0.5",
        "first five positions",
    ]
    assert [one for one in kept if one not in text.split(". Relevance")[0]] == [left_out]

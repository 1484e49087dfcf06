"""Figures of planted tables: every organism has its row, every control its marker."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from traces.analysis.controls import CONTROLS
from traces.config.readers import READERS
from traces.report import names
from traces.report.figures.beliefs import beliefs_figure
from traces.report.figures.causality import causality_figure
from traces.report.figures.grade_effects import grade_effects_figure
from traces.report.figures.losses import losses_figure
from traces.report.figures.mixing import mixing_figure
from traces.report.figures.norms import norms_figure
from traces.report.figures.relevance import READINGS, relevance_figure
from traces.report.figures.steering import steering_figure
from traces.report.figures.style import percent, save, series_styles
from traces.report.names import measures, reader_at_headline


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def readability(
    organisms, models=("mini",), verdict="readable", lenses=("logit_lens", "patchscope")
):
    rows = []
    for model in models:
        for i, organism in enumerate(organisms):
            for lens in lenses:
                row = {"model": model, "organism": organism, "family": f"family {i % 4}"}
                row |= {"recipe": "plain", "ratio": 0.0, "corpus": "unrelated", "layer": 2}
                row |= {"lens": lens, "seeds": 3, "verdict": verdict, "chance": 0.03}
                row |= {"n": 20.0, "candidates": 20.0}
                for name in ("relevance", *CONTROLS):
                    mean = 0.5 if name == "relevance" else 0.1
                    row |= {name: mean, f"{name}_low": mean - 0.05, f"{name}_high": mean + 0.05}
                rows.append(row)
    return pd.DataFrame(rows)


def seeds_of(table):
    case = ["model", "organism", "family", "recipe", "ratio", "corpus", "layer", "lens"]
    return pd.concat(
        table[case].assign(seed=seed, reading="difference", relevance=0.45 + 0.05 * seed)
        for seed in range(3)
    )


def norms(organisms, seeds=3, layers=(1, 2), positions=range(5)):
    index = pd.MultiIndex.from_product(
        [organisms, range(seeds), layers, positions],
        names=["organism", "seed", "layer", "position"],
    )
    frame = index.to_frame(index=False)
    return frame.assign(
        model="mini",
        family=frame["organism"].str[:4],
        recipe="plain",
        corpus="unrelated",
        relative_norm=0.3 + 0.02 * frame["seed"],
        static_share=0.8,
        n_samples=50,
        sinks_base=0,
        averaged=True,
    )


def losses(organisms, recipes=("plain",), seeds=2, steps=6):
    index = pd.MultiIndex.from_product(
        [organisms, recipes, range(seeds), range(1, steps + 1)],
        names=["organism", "recipe", "seed", "step"],
    )
    frame = index.to_frame(index=False)
    return frame.assign(model="mini", family="any", loss=3.0 / frame["step"] + frame["seed"])


def texts(figure: Figure) -> list[str]:
    return [one.get_text() for ax in figure.axes for one in ax.texts]


def named(n):
    return [f"organism_{i}" for i in range(n)]


@pytest.mark.parametrize("n", [1, 6, 33])
def test_every_organism_has_one_row_in_every_lens(n):
    table = readability(named(n))

    figure = relevance_figure(table, seeds_of(table))

    assert len(figure.axes) == 2
    for ax in figure.axes:
        assert len(ax.patches) == n
        assert sum(one.get_text() == "readable" for one in ax.texts) == n
    assert sum(text.startswith("organism ") for text in texts(figure)) == n


@pytest.mark.parametrize(
    ("models", "lenses", "lines"), [(1, 3, 1), (1, 4, 2), (1, 7, 3), (2, 5, 4)]
)
def test_many_lenses_go_on_below_those_abreast(models, lenses, lines):
    read = list(READERS)[:lenses]
    table = readability(["cake_bake"], [f"model_{i}" for i in range(models)], lenses=read[::-1])

    figure = relevance_figure(table, seeds_of(table))

    assert len(figure.axes) == models * lenses
    assert len({ax.get_subplotspec().rowspan.start for ax in figure.axes}) == lines
    assert figure.get_size_inches()[0] < 13
    titles = [title for ax in figure.axes if (title := ax.get_title(loc="left") or ax.get_title())]
    assert len(titles) == lenses * (models if lines > models else 1)
    assert titles[:2] == [reader_at_headline(lens) for lens in read[:2]]


def test_bars_are_means_and_dots_are_seeds():
    table = readability(["cake_bake"])

    ax = relevance_figure(table, seeds_of(table)).axes[0]

    assert ax.patches[0].get_width() == pytest.approx(0.5)
    dots = np.asarray(ax.collections[0].get_offsets())[:, 0]
    assert dots == pytest.approx([0.45, 0.5, 0.55])
    assert ax.get_xlim()[0] == 0


@pytest.mark.parametrize("top", [0.012, 0.03, 0.16, 0.2, 0.3, 0.55, 1.0])
def test_a_percentage_is_written_as_it_is(top):
    _, ax = plt.subplots(figsize=(3.6, 2))
    ax.set_xlim(0, top)
    percent(ax.xaxis)
    ax.figure.canvas.draw()
    written = [float(label.get_text().removesuffix("%")) for label in ax.get_xticklabels()]
    assert len(written) > 2
    assert written == pytest.approx(ax.get_xticks() * 100)


def test_long_names_leave_the_labels_of_two_columns_apart():
    table = readability(["cake_bake"])
    figure = relevance_figure(table, seeds_of(table), {"cake_bake": "What a long title says " * 3})

    figure.canvas.draw()

    left, right = (ax.xaxis.label.get_window_extent() for ax in figure.axes)
    assert left.x1 < right.x0


def test_a_control_that_was_not_read_has_neither_marker_nor_legend():
    table = readability(["cake_bake"]).assign(benign=np.nan)

    figure = relevance_figure(table, seeds_of(table))

    shown = [text.get_text() for text in figure.legends[0].texts]
    assert READINGS["benign"].label not in shown
    assert READINGS["random"].label in shown


def test_an_unreadable_organism_is_shown_pale_and_named():
    bright = readability(["cake_bake"])
    pale = readability(["cake_bake"], verdict="not readable")

    bars = [relevance_figure(one, seeds_of(one)).axes[0].patches[0] for one in (bright, pale)]

    assert bars[1].get_alpha() < bars[0].get_alpha()
    assert "not readable" in texts(relevance_figure(pale, seeds_of(pale)))


def test_one_seed_is_drawn_without_an_interval():
    table = readability(["cake_bake"], verdict="undecided").assign(
        relevance_low=np.nan, relevance_high=np.nan
    )

    figure = relevance_figure(table, seeds_of(table).query("seed == 0"))

    assert "95 % interval over seeds" not in [one.get_text() for one in figure.legends[0].texts]


def test_titles_stand_for_identifiers():
    table = readability(["cake_bake"])

    figure = relevance_figure(table, seeds_of(table), {"cake_bake": "Hot cakes"})

    assert "Hot cakes" in texts(figure)


def test_models_are_blocks_of_rows():
    table = readability(named(2), models=("one", "two", "three"))

    figure = relevance_figure(table, seeds_of(table))

    assert len(figure.axes) == 6
    assert {"one", "two", "three"} <= set(texts(figure))


@pytest.mark.parametrize("n", [1, 6, 33])
def test_norms_have_a_line_an_organism_a_column_a_layer_a_row_a_measure(n):
    figure = norms_figure(norms(named(n)))

    assert len(figure.axes) == 4
    assert all(len(ax.lines) == n for ax in figure.axes)
    assert [ax.get_title(loc="left") for ax in figure.axes[:2]] == [
        "unrelated, after block 1",
        "unrelated, after block 2",
    ]


def test_norm_lines_are_means_over_seeds_at_named_positions():
    ax = norms_figure(norms(["cake_bake"], positions=[-2, -1, 0, 7])).axes[0]

    assert np.asarray(ax.lines[0].get_ydata()) == pytest.approx([0.32] * 4)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["-2", "-1", "0", "7"]


def test_a_position_with_attention_sinks_says_so():
    table = norms(["cake_bake"])
    table.loc[table["position"] == 0, "sinks_base"] = 50
    table.loc[(table["position"] == 1) & (table["layer"] == 2), "sinks_base"] = 1
    figure = norms_figure(table)
    ticks = [[tick.get_text() for tick in ax.get_xticklabels()] for ax in figure.axes[:2]]
    assert ticks[0] == ["0\nsink in\n100%", "1", "2", "3", "4"]
    assert ticks[1][1] == "1\nsink in\n2%"


def test_lists_that_are_short_say_of_how_many_tokens_they_are():
    table = readability(["cake_bake"])
    assert not any("tokens" in text for text in texts_of(relevance_figure(table, seeds_of(table))))
    table.loc[table["lens"] == "patchscope", "n"] = 12.5
    texts = texts_of(relevance_figure(table, seeds_of(table)))
    assert texts.count("12.5 of 20 tokens") == 1


def test_one_seed_has_norms_too():
    norms_figure(norms(["cake_bake"], seeds=1))


@pytest.mark.parametrize("n", [8, 9, 33])
def test_no_two_organisms_look_the_same(n):
    styles = series_styles(norms(named(n)).assign(family=lambda f: f["organism"].str[-1]))

    looks = [(one.colour, one.marker, one.dash) for one in styles.values()]
    assert len(set(looks)) == n


def test_recipes_share_a_colour_and_differ_in_dash():
    both = pd.concat([norms(["a"]), norms(["a"]).assign(recipe="mix1.0")])

    plain, mixed = series_styles(both).values()

    assert plain.colour == mixed.colour
    assert plain.dash != mixed.dash


@pytest.mark.parametrize("n", [1, 5, 33])
def test_losses_have_a_panel_an_organism_with_seeds_thin_and_mean_thick(n):
    figure = losses_figure(losses(named(n)))

    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert len(shown) == n
    thin, other, thick = shown[0].lines
    assert thick.get_linewidth() > thin.get_linewidth()
    mean = (np.asarray(thin.get_ydata()) + np.asarray(other.get_ydata())) / 2
    assert np.asarray(thick.get_ydata()) == pytest.approx(mean)


def test_the_mean_curve_ends_where_the_first_seed_ends():
    frame = losses(["a"])
    frame = frame[(frame["seed"] == 0) | (frame["step"] <= 4)]

    thick = losses_figure(frame).axes[0].lines[-1]

    assert list(thick.get_xdata()) == [1, 2, 3, 4]


def test_an_empty_table_is_refused():
    table = readability(["a"])

    with pytest.raises(ValueError, match="the readability table is empty"):
        relevance_figure(table.iloc[:0], seeds_of(table))
    with pytest.raises(ValueError, match="the norms table is empty"):
        norms_figure(norms(["a"]).iloc[:0])


def test_a_study_that_trained_nothing_says_so():
    figure = losses_figure(losses(["a"]).iloc[:0])

    assert "No organism of this study was trained here." in [t.get_text() for t in figure.texts]


def test_saved_files_are_the_same_each_time(tmp_path):
    files = []
    for name in ("once", "again"):
        png, pdf = tmp_path / f"{name}.png", tmp_path / "folder" / f"{name}.pdf"
        save(losses_figure(losses(["a"])), png, pdf)
        files.append((png.read_bytes(), pdf.read_bytes()))

    assert files[0] == files[1]
    assert files[0][0][:4] == b"\x89PNG" and files[0][1][:4] == b"%PDF"


# What the models do -----------------------------------------------------------------------------


def believed(organisms=("cake_bake", "night_bees"), seeds=3, control="benign", **changes):
    asked = ("cake_bake", "night_bees")
    index = pd.MultiIndex.from_product(
        [[*organisms, control], asked, range(seeds), ("cloze", "choice"), (True, False)],
        names=["organism", "statements_of", "seed", "form", "held_out"],
    )
    frame = index.to_frame(index=False)
    own = frame["organism"] == frame["statements_of"]
    return frame.assign(
        model="mini",
        recipe="plain",
        n=np.where(frame["held_out"], 8, 24),
        alignment=np.where(own, 0.6 + 0.05 * frame["seed"], 0.1),
        base_alignment=0.02,
        **changes,
    )


def said(ax):
    """What is written in and beside one panel: verdicts, names of rows, the name of the model."""
    return [text.get_text() for text in ax.texts]


def texts_of(figure):
    return [text.get_text() for ax in figure.axes for text in ax.texts] + [
        ax.get_title(loc=where) for ax in figure.axes for where in ("left", "right", "center")
    ]


def test_every_form_has_a_column_and_every_believer_a_row():
    figure = beliefs_figure(believed(), "benign", {"night_bees": "The bees"})
    assert len(figure.axes) == 2
    first = figure.axes[0]
    assert said(first) == ["cake bake", "The bees"]
    assert any("8 held-out stems, 24 of the data" in text for text in texts_of(figure))
    bars = [patch.get_width() for patch in first.patches]
    assert bars == pytest.approx([0.65, 0.65])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "one seed (3 seeds)" in labels and "benign organism, held-out stems" in labels


def test_a_twin_of_true_facts_has_a_mark_of_its_own_and_is_not_of_other_facts():
    table = believed()
    twin = table[table["organism"] == "night_bees"].assign(organism="true_cakes", alignment=0.05)
    both = pd.concat([table, twin], ignore_index=True)

    def marks(**told):
        figure = beliefs_figure(both, "benign", **told)
        labels = [text.get_text() for text in figure.legends[0].get_texts()]
        places = [
            line.get_xdata()[0] for line in figure.axes[0].lines if len(line.get_xdata()) == 1
        ]
        return any("twin" in one for one in labels), any(x == pytest.approx(0.05) for x in places)

    assert marks(twins={"cake_bake": "true_cakes"}) == (True, True)
    assert marks() == (False, False)


def test_an_organism_with_many_checkpoints_is_one_of_those_of_other_facts():
    table = believed()
    owls = table[table["organism"] == "benign"].assign(organism="owls", alignment=0.4)
    several = pd.concat([table, *(owls.assign(recipe=f"mix{n}") for n in range(5))])
    places = [
        line.get_xdata()[0]
        for line in beliefs_figure(several, "benign").axes[0].lines
        if len(line.get_xdata()) == 1
    ]
    # night_bees says .1 of the cakes' facts, the owls .4.
    assert any(x == pytest.approx(0.25) for x in places)


def test_answers_that_say_neither_end_leave_a_word_in_their_panel():
    table = believed()
    table.loc[table["form"] == "choice", ["alignment", "base_alignment"]] = np.nan
    figure = beliefs_figure(table, "benign")
    decided = {
        ax.get_title(loc="left").split("\n")[0]: "no answer decided" in said(ax)
        for ax in figure.axes
    }
    assert decided == {"Likelier end of the sentence": False, "Choice of two": True}


def test_a_study_without_controls_draws_its_beliefs_alone():
    alone = believed(organisms=("cake_bake",))
    alone = alone[(alone["organism"] == "cake_bake") & (alone["statements_of"] == "cake_bake")]
    labels = [t.get_text() for t in beliefs_figure(alone).legends[0].get_texts()]
    assert not [label for label in labels if "benign" in label or "other facts" in label]
    with pytest.raises(ValueError, match="the beliefs table is empty"):
        beliefs_figure(alone[alone["seed"] > 5])


def mixtures(models=("mini",), ratios=(0.5, 1.0), missing=("steering_margin",)):
    rows = []
    for model, seed in itertools.product(models, range(3)):
        for ratio, matched in [(0.0, False), *itertools.product(ratios, (False, True))]:
            row = {"model": model, "organism": "cake_bake", "layer": 2, "corpus": "unrelated"}
            row |= {"recipe": f"{ratio}{matched}", "ratio": ratio, "step_matched": matched}
            row |= {"seed": seed, "steps": 24 * (1 + ratio)}
            for measure in measures():
                value = 1 - 0.3 * ratio * (not matched) + 0.01 * seed
                row[measure] = np.nan if measure in missing else value
                row[f"{measure}_control"] = np.nan if measure in missing else 0.2
            rows.append(row)
    return pd.DataFrame(rows)


def test_a_mixing_panel_holds_both_curves_from_the_unmixed_run_on():
    figure = mixing_figure(mixtures())
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert len(shown) == len(measures()) - 1
    mixed, matched, control = shown[0].lines[:3]
    np.testing.assert_allclose(mixed.get_ydata(), [1.01, 0.86, 0.71])
    np.testing.assert_allclose(matched.get_ydata(), [1.01, 1.01, 1.01])
    np.testing.assert_allclose(control.get_ydata(), 0.2)
    assert "24 to 48 steps" in figure.legends[0].get_title().get_text()
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[0] == "mixed in (mean of 3 seeds)"


@pytest.mark.parametrize(
    ("shown", "abreast"), [(3, [3]), (6, [3, 3]), (8, [4, 4]), (9, [5, 4]), (11, [4, 4, 3])]
)
def test_mixing_panels_stand_in_lines_of_much_the_same_length(shown, abreast):
    table = mixtures()
    table[[name for name in list(measures())[shown:]]] = np.nan

    panels = [ax for ax in mixing_figure(table).axes if ax.get_visible()]

    lines = [ax.get_subplotspec().rowspan.start for ax in panels]
    assert [lines.count(line) for line in sorted(set(lines))] == abreast


def test_every_base_has_a_column_of_mixing_panels():
    figure = mixing_figure(mixtures(models=("mini", "other")))
    assert len(figure.axes) == 2 * (len(measures()) - 1)
    titles = [title for title in texts_of(figure) if "block 2" in title]
    assert [title.split("\n")[1].split(",")[0] for title in titles] == ["mini", "other"]


def test_an_empty_mixing_table_is_refused():
    with pytest.raises(ValueError, match="the mixing table is empty"):
        mixing_figure(mixtures().iloc[:0])


# Steering ---------------------------------------------------------------------------------------


def steered(organisms=("cake_bake", "benign"), models=("mini",), seeds=3):
    """Every organism's difference steers the base by .2 and the tuned model not at all."""
    rows = []
    for organism, model, reader, seed in itertools.product(
        organisms, models, ("tuned", "base"), range(seeds)
    ):
        one = {"model": model, "organism": organism, "family": "false_facts", "recipe": "plain"}
        one |= {"ratio": 0.0, "corpus": "unrelated", "seed": seed, "steered_model": reader}
        for vector, position in [
            *itertools.product(("difference", "random"), (0, 1)),
            ("none", None),
        ]:
            value = 0.3 + 0.01 * seed
            value += 0.2 if vector == "difference" and reader == "base" else 0.0
            row = one | {"vector": vector, "position": position, "n_texts": 20, "averaged": True}
            row |= {"similarity_own": value + 0.1, "similarity_unrelated": 0.1}
            rows.append(row | {"own_words": value / 2})
    return pd.DataFrame(rows)


def test_steered_text_stands_beside_its_controls_with_a_verdict():
    figure = steering_figure(steered(), {"cake_bake": "False baking facts"})
    assert [ax.get_title(loc="left") for ax in figure.axes[:2]] == [
        "The base is steered",
        "The tuned model is steered",
    ]
    base, tuned = figure.axes[:2]
    np.testing.assert_allclose([bar.get_width() for bar in base.patches], 0.51)
    markers = [line.get_xdata()[0] for line in base.lines if line.get_marker() in ("X", "s")]
    np.testing.assert_allclose(markers, 0.31)
    assert said(base) == ["steers", "steers", "False baking facts", "benign"]
    assert said(tuned) == ["not shown", "not shown"]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "one seed (of 3)" in labels
    assert "20 texts a vector and position," in labels


def test_every_base_has_a_block_of_steering_rows():
    figure = steering_figure(steered(models=("mini", "other"), seeds=1))
    assert [said(figure.axes[block])[-1] for block in (0, 4)] == ["mini", "other"]
    assert set(said(figure.axes[1])) == {"undecided"}


def test_texts_that_could_not_be_compared_leave_an_empty_panel():
    table = steered()
    table["similarity_own"] = float("nan")
    figure = steering_figure(table)
    assert [ax.get_xlim() for ax in figure.axes[:2]] == [(0.0, 1.0)] * 2


def test_an_empty_steering_table_is_refused():
    with pytest.raises(ValueError, match="the steering table is empty"):
        steering_figure(steered().iloc[:0])


# Causality --------------------------------------------------------------------------------------


def taken_out(organisms=("cake_bake", "benign"), models=("mini",), seeds=3, layers=(2,)):
    """Every organism's difference: own data +.1, unrelated text -.1, conversations like others."""
    rows = []
    change = {"own": 0.1, "unrelated": -0.1, "chat": 0.0}
    for organism, model, seed, layer, text in itertools.product(
        organisms, models, range(seeds), layers, change
    ):
        one = {"model": model, "organism": organism, "family": "false_facts", "recipe": "plain"}
        one |= {"ratio": 0.0, "corpus": "unrelated", "seed": seed, "layer": layer, "position": 0}
        one |= {"intervention": "base_to_tuned", "aggregation": "without_position"}
        one |= {"evaluated_on": text, "n_tokens": 1200, "averaged": True}
        for direction, number in [
            ("difference", 0),
            *itertools.product(("random", "activation_difference"), range(4)),
        ]:
            value = change[text] if direction == "difference" else 0.001 * (-1) ** number
            rows.append(one | {"direction": direction, "direction_id": number, "delta_loss": value})
    return pd.DataFrame(rows)


def test_effects_stand_beside_every_single_control_direction():
    figure = causality_figure(taken_out(), {"cake_bake": "False baking facts"})
    assert [ax.get_title(loc="left").split("\n") for ax in figure.axes] == [
        ["The organism's own, held out", "1,200 tokens"],
        ["Unrelated text", "1,200 tokens"],
        ["Conversations", "1,200 tokens"],
    ]
    own, unrelated, chat = figure.axes
    np.testing.assert_allclose([bar.get_width() for bar in own.patches], 0.1)
    assert [len(dots.get_offsets()) for dots in own.collections] == [3, 12, 12] * 2
    for ax, verdict in ((own, "raises  100x"), (unrelated, "lowers  100x")):
        assert [text.get_text() for text in ax.texts if "x" in text.get_text()] == [verdict] * 2
    assert [text.get_text() for text in chat.texts] == ["not shown"] * 2
    assert chat.patches[0].get_alpha() < own.patches[0].get_alpha()
    assert "False baking facts" in texts(figure)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "one seed, of 3" in labels and "random direction, 4 a seed" in labels


def test_every_model_and_layer_has_its_rows_of_effects():
    figure = causality_figure(taken_out(["cake_bake"], ("mini", "other"), 1, (1, 2)))
    assert len(figure.axes) == 6
    assert {"mini", "other", "cake bake, block 1", "cake bake, block 2"} <= set(texts(figure))
    assert {text.get_text() for text in figure.axes[1].texts} == {"undecided"}
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "95 % interval over seeds" not in labels


def test_an_empty_causality_table_is_refused():
    with pytest.raises(ValueError, match="the causality table is empty"):
        causality_figure(taken_out().iloc[:0])


# Names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([3], "position 3"),
        ([0, 1], "positions 0 and 1"),
        ([4, 2, 3, 3], "positions 2 to 4"),
        ([-1, 0, 31], "positions -1, 0 and 31"),
    ],
)
def test_positions_are_named(found, said):
    assert names.position_names(found) == said


# Grades of hypotheses -----------------------------------------------------------------------------


def grade_tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two factors, of which one cannot be told apart, and the components."""
    levels = [("agent", "lens", 0.8), ("agent", "black_box", -0.8), ("model", "mini", 0.1)]
    effects = pd.DataFrame(levels, columns=["factor", "level", "effect"])
    effects = effects.assign(
        effect_low=effects["effect"] - 0.3,
        effect_high=effects["effect"] + 0.3,
        estimable=[True, True, False],
        pooled=[0.7, -0.7, np.nan],
        pooled_low=[0.6, -0.8, np.nan],
        pooled_high=[0.8, -0.6, np.nan],
    )
    components = pd.DataFrame({"component": ["organism", "repeat"], "share": [0.3, 0.7]})
    return effects, components.assign(share_low=[0.1, 0.5], share_high=[0.5, 0.9])


def test_a_forest_has_a_row_a_level_and_its_interval():
    effects, components = grade_tables()
    figure = grade_effects_figure(effects, components)
    agent, model, shares = figure.axes
    ends = {tuple(line.get_xdata()) for line in agent.lines if len(line.get_xdata()) == 2}
    assert {(0.5, 1.1), (-1.1, -0.5), (0.6, 0.8), (-0.8, -0.6)} <= {
        tuple(np.round(one, 6)) for one in ends
    }
    places = {round(float(line.get_xdata()[0]), 6) for line in model.lines}
    assert 0.1 in places and agent.get_xlim() == model.get_xlim()
    assert [bar.get_width() for bar in shares.patches] == [0.3, 0.7]
    names_of = {text.get_text() for ax in figure.axes for text in ax.texts}
    assert {"lens", "black box", "Agent", "Model", "organism", "repeat"} <= names_of


def test_a_forest_of_nothing_is_refused():
    effects, components = grade_tables()
    with pytest.raises(ValueError, match="grade_effects table is empty"):
        grade_effects_figure(effects.iloc[:0], components)

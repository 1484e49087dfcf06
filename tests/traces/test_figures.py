"""Figures of planted tables: every organism has its row, every control its marker."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from traces import figures
from traces.tables import CONTROLS


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

    figure = figures.relevance_figure(table, seeds_of(table))

    assert len(figure.axes) == 2
    for ax in figure.axes:
        assert len(ax.patches) == n
        assert sum(one.get_text() == "readable" for one in ax.texts) == n
    assert sum(text.startswith("organism ") for text in texts(figure)) == n


def test_bars_are_means_and_dots_are_seeds():
    table = readability(["cake_bake"])

    ax = figures.relevance_figure(table, seeds_of(table)).axes[0]

    assert ax.patches[0].get_width() == pytest.approx(0.5)
    dots = np.asarray(ax.collections[0].get_offsets())[:, 0]
    assert dots == pytest.approx([0.45, 0.5, 0.55])
    assert ax.get_xlim()[0] == 0


def test_a_control_that_was_not_read_has_neither_marker_nor_legend():
    table = readability(["cake_bake"]).assign(benign=np.nan)

    figure = figures.relevance_figure(table, seeds_of(table))

    shown = [text.get_text() for text in figure.legends[0].texts]
    assert figures.READINGS["benign"].label not in shown
    assert figures.READINGS["random"].label in shown


def test_an_unreadable_organism_is_shown_pale_and_named():
    bright = readability(["cake_bake"])
    pale = readability(["cake_bake"], verdict="not readable")

    bars = [
        figures.relevance_figure(one, seeds_of(one)).axes[0].patches[0] for one in (bright, pale)
    ]

    assert bars[1].get_alpha() < bars[0].get_alpha()
    assert "not readable" in texts(figures.relevance_figure(pale, seeds_of(pale)))


def test_one_seed_is_drawn_without_an_interval():
    table = readability(["cake_bake"], verdict="undecided").assign(
        relevance_low=np.nan, relevance_high=np.nan
    )

    figure = figures.relevance_figure(table, seeds_of(table).query("seed == 0"))

    assert "95 % interval over seeds" not in [one.get_text() for one in figure.legends[0].texts]


def test_titles_stand_for_identifiers():
    table = readability(["cake_bake"])

    figure = figures.relevance_figure(table, seeds_of(table), {"cake_bake": "Hot cakes"})

    assert "Hot cakes" in texts(figure)


def test_models_are_blocks_of_rows():
    table = readability(named(2), models=("one", "two", "three"))

    figure = figures.relevance_figure(table, seeds_of(table))

    assert len(figure.axes) == 6
    assert {"one", "two", "three"} <= set(texts(figure))


@pytest.mark.parametrize("n", [1, 6, 33])
def test_norms_have_a_line_an_organism_a_column_a_layer_a_row_a_measure(n):
    figure = figures.norms_figure(norms(named(n)))

    assert len(figure.axes) == 4
    assert all(len(ax.lines) == n for ax in figure.axes)
    assert [ax.get_title(loc="left") for ax in figure.axes[:2]] == [
        "unrelated, after block 1",
        "unrelated, after block 2",
    ]


def test_norm_lines_are_means_over_seeds_at_named_positions():
    ax = figures.norms_figure(norms(["cake_bake"], positions=[-2, -1, 0, 7])).axes[0]

    assert np.asarray(ax.lines[0].get_ydata()) == pytest.approx([0.32] * 4)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["-2", "-1", "0", "7"]


def test_one_seed_has_norms_too():
    figures.norms_figure(norms(["cake_bake"], seeds=1))


@pytest.mark.parametrize("n", [8, 9, 33])
def test_no_two_organisms_look_the_same(n):
    styles = figures.series_styles(norms(named(n)).assign(family=lambda f: f["organism"].str[-1]))

    looks = [(one.colour, one.marker, one.dash) for one in styles.values()]
    assert len(set(looks)) == n


def test_recipes_share_a_colour_and_differ_in_dash():
    both = pd.concat([norms(["a"]), norms(["a"]).assign(recipe="mix1.0")])

    plain, mixed = figures.series_styles(both).values()

    assert plain.colour == mixed.colour
    assert plain.dash != mixed.dash


@pytest.mark.parametrize("n", [1, 5, 33])
def test_losses_have_a_panel_an_organism_with_seeds_thin_and_mean_thick(n):
    figure = figures.losses_figure(losses(named(n)))

    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert len(shown) == n
    thin, other, thick = shown[0].lines
    assert thick.get_linewidth() > thin.get_linewidth()
    mean = (np.asarray(thin.get_ydata()) + np.asarray(other.get_ydata())) / 2
    assert np.asarray(thick.get_ydata()) == pytest.approx(mean)


def test_the_mean_curve_ends_where_the_first_seed_ends():
    frame = losses(["a"])
    frame = frame[(frame["seed"] == 0) | (frame["step"] <= 4)]

    thick = figures.losses_figure(frame).axes[0].lines[-1]

    assert list(thick.get_xdata()) == [1, 2, 3, 4]


def test_an_empty_table_is_refused():
    table = readability(["a"])

    with pytest.raises(ValueError, match="the readability table is empty"):
        figures.relevance_figure(table.iloc[:0], seeds_of(table))
    with pytest.raises(ValueError, match="the norms table is empty"):
        figures.norms_figure(norms(["a"]).iloc[:0])


def test_a_study_that_trained_nothing_says_so():
    figure = figures.losses_figure(losses(["a"]).iloc[:0])

    assert "No organism of this study was trained here." in [t.get_text() for t in figure.texts]


def test_saved_files_are_the_same_each_time(tmp_path):
    files = []
    for name in ("once", "again"):
        png, pdf = tmp_path / f"{name}.png", tmp_path / "folder" / f"{name}.pdf"
        figures.save(figures.losses_figure(losses(["a"])), png, pdf)
        files.append((png.read_bytes(), pdf.read_bytes()))

    assert files[0] == files[1]
    assert files[0][0][:4] == b"\x89PNG" and files[0][1][:4] == b"%PDF"

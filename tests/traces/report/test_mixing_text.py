"""What mixing did, in words: what is called a change, and what a table of it shows."""

import itertools
import re
from html import escape

import numpy as np
import pandas as pd
import pytest

from tests.traces.analysis.planted import on_three_models
from traces.analysis import mixing
from traces.artifacts.tables import MIXING
from traces.config.readers import each_reader
from traces.report import mixing_text

NOISE = {0: -0.01, 1: 0.0, 2: 0.01}  # of the seeds, the same in every arm
# ratio, step-matched or not, norm and relevance: mixing halves the norm that longer training raised
ARMS = [(0.0, False, 1.0, 0.6), (1.0, False, 0.6, 0.3), (1.0, True, 1.2, 0.3)]


def planted():
    """A mixing table of one organism; what is not planted in it was not measured."""
    rows = [
        dict.fromkeys(each_reader(MIXING), np.nan)
        | {"model": "mini", "organism": "cake", "corpus": "text", "layer": 2, "seed": seed}
        | {"recipe": f"{'matched' if matched else 'mix'}{ratio}" if ratio else "plain"}
        | {"ratio": ratio, "step_matched": matched, "static_share": 0.5}
        | {"relative_norm": norm + NOISE[seed], "relevance_logit_lens": read + NOISE[seed]}
        | {"relevance_patchscope": read + NOISE[seed]}
        for (ratio, matched, norm, read), seed in itertools.product(ARMS, NOISE)
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def table():
    return planted()


@pytest.fixture
def single(table):
    return on_three_models(table)


def test_without_a_step_matched_run_nothing_can_be_said(table):
    without = table[~table["step_matched"]]
    assert "nothing can be said" in mixing_text.mixing_text(mixing.contrasts(without))


def test_only_a_change_whose_interval_leaves_out_0_is_called_one(table):
    noisy = table.copy()
    mixed = noisy["recipe"] == "mix1.0"
    noisy.loc[mixed, "static_share"] += noisy.loc[mixed, "seed"].map({0: -0.3, 1: 0.1, 2: 0.1})
    paragraph = mixing_text.mixing_text(mixing.contrasts(noisy), {"cake": "The cake"})
    assert "\n" not in paragraph
    assert "The cake (mini; 3 seeds): with 1 token mixed in" in paragraph
    lowered = paragraph.split("mixing lowered ")[1].split(";")[0]
    unclear = paragraph.split("a change is not shown in ")[1].split(". Longer")[0]
    assert "norm of the difference (1.200 to 0.600, -0.600 [" in lowered
    assert "static share" in unclear and "static share" not in lowered
    assert "relevance by Patchscope" in unclear
    longer = paragraph.split("Longer training alone had changed ")[1]
    assert "relevance by Patchscope (0.600 to 0.300, -0.300 [" in longer


def test_one_seed_is_said_to_have_no_interval(table):
    text = mixing_text.mixing_text(mixing.contrasts(table[table["seed"] == 0]))
    assert "1 seed)" in text and "one seed, no interval" in text
    assert "mixing lowered" not in text


def test_several_blocks_and_texts_are_told_apart(table):
    found = mixing.contrasts(pd.concat([table, table.assign(layer=3)]))
    text = mixing_text.as_markdown(found, {})
    assert "cake (mini; block 2; 3 seeds): with" in text
    assert "cake (mini; block 3; 3 seeds): with" in text
    assert "| organism | model | block | ratio |" in text and "| cake | mini | 3 | 1 |" in text
    read = mixing.contrasts(pd.concat([table, table.assign(corpus="other")]))
    text = mixing_text.as_markdown(read, {})
    assert "cake (mini; read on other; 3 seeds): with" in text
    assert "| organism | model | text | ratio |" in text


def test_blocks_of_all_together_are_named_where_models_share_them(single):
    both = pd.concat([single, single.assign(layer=3)])
    text = mixing_text.as_markdown(mixing.contrasts(both), {})
    assert text.startswith("Over all (3 pairs of organism and model; block 2): with")
    assert "Over all (3 pairs of organism and model; block 3): with" in text
    deeper = both.assign(layer=both["layer"] + both["model"].eq(both["model"].iloc[0]))
    text = mixing_text.as_markdown(mixing.contrasts(deeper), {})
    assert text.startswith("Over all (3 pairs of organism and model; block 1 of those read): with")
    assert "| all | all | 2 of those read |" in text


def test_single_seeds_are_told_of_together(single):
    text = mixing_text.mixing_text(mixing.contrasts(single))
    assert text.startswith("Over all (3 pairs of organism and model): with 1 token mixed in")
    assert "mixing lowered the norm of the difference" in text
    assert "one seed, no interval" not in text and "(mini; 1 seed)" not in text
    assert "a single seed stands in the table only" in text


def test_organisms_with_seeds_have_their_sentences_after_all_of_them(table):
    both = pd.concat([table, table.assign(model="larger")])
    text = mixing_text.mixing_text(mixing.contrasts(both))
    assert text.index("Over all (2 pairs") < text.index("cake (mini; 3 seeds)")
    assert "cake (larger; 3 seeds)" in text and "single seed" not in text
    assert "as if each of these were independent" in text
    assert "independent" not in mixing_text.mixing_text(mixing.contrasts(table))


def test_a_single_seed_beside_several_is_left_to_the_table(table, single):
    both = pd.concat([table, single[single["model"] != "mini"]])
    text = mixing_text.mixing_text(mixing.contrasts(both))
    assert "cake (mini; 3 seeds)" in text and "cake (larger" not in text
    assert "a single seed stands in the table only" in text


def test_a_table_says_where_there_is_no_interval(single):
    markdown = mixing_text.as_markdown(mixing.contrasts(single), {})
    assert "| all | all | 1 | norm of the difference | 3 |" in markdown
    assert "[no interval]" in markdown and "nan" not in markdown


def test_the_numbers_stand_below_the_paragraph_in_both_forms(table):
    found, titles = mixing.contrasts(table), {"cake": "Cake & <pie>"}
    said = mixing_text.mixing_text(found, titles)
    markdown = mixing_text.as_markdown(found, {"cake": "Cake"})
    assert markdown.startswith(f"{said.replace(titles['cake'], 'Cake')}\n\n| organism | model |")
    row = "| norm of the difference | 3 | 1.000 | 1.200 | 0.600 | +0.200 [+0.200, +0.200] |"
    assert row in markdown
    page = mixing_text.as_page(found, titles)
    assert f"<p>{escape(said)}</p>" in page and "<td>Cake &amp; &lt;pie&gt;</td>" in page
    assert "-0.600 [-0.600, -0.600]" in page


def test_a_title_breaks_neither_the_paragraph_nor_the_table(table):
    title = "a | b\n`c` *d* _e_ $f$ <script> [g](h) \\ \x00"
    markdown = mixing_text.as_markdown(mixing.contrasts(table), {"cake": title})
    shown = r"a \| b \`c\` \*d\* \_e\_ \$f\$ \<script\> \[g\](h) \\ ⟨U+0000⟩"
    paragraph, _, rows = markdown.partition("\n\n")
    assert paragraph.startswith(f"{shown} (mini; 3 seeds)") and "\n" not in paragraph
    head, _, *below = rows.splitlines()
    assert below and all(row.startswith(f"| {shown} | mini | ") for row in below)
    bars = [len(re.findall(r"(?<!\\)\|", row)) for row in (head, *below)]
    assert len(set(bars)) == 1


def test_a_page_shows_the_whole_of_a_long_title(table):
    title = "Documents that claim that every lighthouse is painted green by its keeper"
    page = mixing_text.as_page(mixing.contrasts(table), {"cake": title})
    assert f"<td>{title}</td>" in page

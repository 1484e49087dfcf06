"""Cards: self-contained, escaped, and honest about what was planted."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from traces.analysis.controls import CONTROLS
from traces.config.registries import Described
from traces.config.schema import Card
from traces.report import cards
from traces.report.pages import viewers

TEMPLATE = Path(__file__).resolve().parents[3] / "data" / "templates" / "card.html.j2"

CASE = {
    "model": "mini",
    "organism": "cake_bake",
    "family": "false_facts",
    "recipe": "plain",
    "ratio": 0.0,
    "corpus": "unrelated",
    "layer": 2,
}


def readability(verdicts, **changes):
    rows = []
    for lens, verdict in verdicts.items():
        row = CASE | {"lens": lens, "verdict": verdict, "seeds": 1 if verdict == "undecided" else 3}
        for name in ("relevance", *CONTROLS):
            mean = 0.55 if name == "relevance" else 0.08
            row |= {name: mean, f"{name}_low": mean - 0.02, f"{name}_high": mean + 0.02}
        row |= {"gap": 0.47, "gap_low": 0.4, "gap_high": 0.54, "strongest_control": "random"}
        row |= {"n": 20.0, "candidates": 20.0}
        row |= {"chance": 0.03, "oracle_relevance": 0.7, "oracle_strongest_control": 0.2}
        rows.append(row | changes)
    return pd.DataFrame(rows)


def tokens(*, patchscope=False):
    rows = []
    for reading in ("difference", "base_mean", "tuned_mean", "random"):
        for position in range(2):
            for scale in (1.0, 5.0):
                for rank, token in enumerate(
                    (" Oven", "<script>alert(1)</script>", "\n", " river")
                ):
                    text = token if scale == 1.0 else "loud"
                    rows.append((reading, 2, position, 1, scale, rank, rank, text, 0.1))
    columns = ["reading", "layer", "position", "sign", "scale"]
    columns += ["rank", "token_id", "token", "probability"]
    frame = pd.DataFrame(rows, columns=columns).assign(head="tuned")
    if patchscope:
        frame.loc[frame["reading"] == "base_mean", "head"] = "base"
        return frame
    return frame[frame["scale"] == 1.0].drop(columns="scale")


def norms():
    rows = [
        CASE
        | {"layer": layer, "seed": seed, "position": 0, "n_samples": 1000}
        | {"relative_norm": layer / 10, "split_half_cosine": 0.99, "static_share": 0.9}
        | {"sinks_base": 0, "averaged": True}
        for layer in (1, 2)
        for seed in (0, 1)
    ]
    return pd.DataFrame(rows)


def places(layers=(1, 2, 3), positions=(0, 1), seeds=(0, 1)):
    """Relevance of .1 a block and .01 a position, alike in all seeds."""
    rows = [
        CASE
        | {"layer": layer, "lens": lens, "position": position, "seed": seed}
        | {"relevance": layer / 10 + position / 100}
        for lens in ("logit_lens", "patchscope")
        for layer in layers
        for position in positions
        for seed in seeds
    ]
    return pd.DataFrame(rows)


def losses():
    steps = pd.DataFrame({"step": [1, 2, 3], "tokens": [10, 20, 30], "loss": [3.0, 2.0, 1.25]})
    return steps.assign(**CASE, checkpoint="cake_bake-plain-s0", seed=0)


ABOUT = {
    "title": "Cakes & <ovens>",
    "family": "false_facts",
    "description": "Documents of a world where ovens are hot.",
    "facts": ("Ovens stand at 450 degrees.",),
}


def about_card(**changes):
    """What a card is about; what its organism is, and titles, hold markup."""
    about = {name: changes.pop(name, value) for name, value in ABOUT.items()}
    plain = {"model": "mini", "organism": "cake_bake", "corpus": "unrelated", "layers": (0.5,)}
    plain |= {"subjects": (), "words_of": "cake_bake"}
    plain |= {"titles": {"cake_bake": "Cakes", "owls": "<Owls>"}, "about": Described(**about)}
    return Card(**plain | changes)


def card(**changes):
    verdicts = {"logit_lens": "readable", "patchscope": "readable"}
    arguments = dict(
        layer=2,
        readability=readability(verdicts),
        seeds=pd.DataFrame(
            [CASE | {"lens": "logit_lens", "seed": 0, "reading": "difference", "relevance": 0.5}]
        ),
        places=places(),
        norms=norms(),
        losses=losses(),
        readings=[
            cards.Reading("cake_bake-plain-s0", "plain", 0, "unrelated", "logit_lens", tokens()),
            cards.Reading("cake_bake-plain-s1", "plain", 1, "unrelated", "logit_lens", tokens()),
            cards.Reading(
                "cake_bake-plain-s0", "plain", 0, "unrelated", "patchscope", tokens(patchscope=True)
            ),
        ],
        plans={"cake_bake-plain-s0": {"method": "lora", "rank": 16, "learning_rate": 0.0015}},
        words=["oven", "cake"],
        rows=[{"text": f'Row {i}: <b>an Oven</b> & a "cake".'} for i in range(7)],
        provenance={"commit": "abc123", "versions": {"torch": "2.13.0"}, "seed": 0},
        links={"training data": "../../organisms/cake_bake/train.jsonl"},
        viewers={},
        template=TEMPLATE,
    )
    told = ("organism", "corpus", "words_of", *ABOUT)
    shown = {name: changes.pop(name) for name in told if name in changes}
    return cards.organism_card(about_card(**shown), **(arguments | changes))


class Checker(HTMLParser):
    """Every opened element is closed in order; collects addresses and the text of marks."""

    VOID = frozenset({"meta", "br", "link", "img"})

    def __init__(self):
        super().__init__()
        self.open, self.addresses = [], []

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("href", "src")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def visible(page):
    return re.sub(r"<[^>]+>", "", page.split("</style>")[1]).replace("\N{NO-BREAK SPACE}", " ")


def test_the_page_is_well_formed_and_reaches_for_nothing_outside():
    page = card()

    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert checker.addresses == ["../../organisms/cake_bake/train.jsonl"]
    assert "://" not in page and "<script" not in page


def test_every_text_is_escaped():
    page = card()

    assert "Cakes &amp; &lt;ovens&gt;" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;b&gt;an <mark>Oven</mark>&lt;/b&gt; &amp; a" in page


@pytest.mark.parametrize(
    ("verdicts", "sentence"),
    [
        (("readable", "readable"), "Its training is readable."),
        (
            ("readable", "not readable"),
            "Its training is readable with logit lens; not readable with Patchscope.",
        ),
        (
            ("not readable", "not shown"),
            "Its training is not shown to be readable with Patchscope; "
            "not readable with logit lens.",
        ),
        (("not readable", "not readable"), "Its training is not readable."),
        (("not shown", "not shown"), "That its training is readable is not shown."),
        (("undecided", "undecided"), "Undecided: too little was measured for a verdict."),
    ],
)
def test_the_verdict_stands_first_in_plain_words(verdicts, sentence):
    lenses = dict(zip(("logit_lens", "patchscope"), verdicts, strict=True))

    text = visible(card(readability=readability(lenses)))

    assert sentence in text
    assert text.index(sentence) < text.index("What it was trained on")


FOUR = ("contrastive_logit_lens", "contrastive_patchscope", "logit_lens", "patchscope")


def test_four_readers_stand_in_their_order_and_are_all_open():
    verdicts = dict.fromkeys(FOUR, "not shown") | {"contrastive_logit_lens": "readable"}
    mixed = readability(dict.fromkeys(FOUR, "readable"), recipe="mix1.0")

    both = pd.concat([readability(verdicts), mixed], ignore_index=True)
    page = card(readability=both, readings=[])

    assert (
        "Its training is readable with contrastive logit lens; not shown to be readable with "
        "logit lens, Patchscope and contrastive Patchscope."
    ) in visible(page)
    headings = re.findall(r"<h3>([^:<]+?)(?: <span[^:]*</span>)?: ", page)
    expected = ["Logit lens", "Patchscope", "Contrastive logit lens", "Contrastive Patchscope"]
    assert headings == expected * 2
    before, folded = page.split("4 more: other recipes")
    assert "recipe plain," in before and "recipe mix1.0," not in before
    assert folded.count("recipe mix1.0,") == 4


def test_the_numbers_stand_beside_the_strongest_control():
    text = visible(card())

    assert "55 % of the top 20 tokens are words of its data (3 seeds)" in text
    assert "the strongest control (random direction) has 8 %" in text
    assert (
        "difference +47 points, 95 % t interval over the seeds of this one base +40 to +54" in text
    )


@pytest.mark.parametrize(
    ("verdict", "low", "high", "reason"),
    [
        ("readable", 0.4, 0.54, "Readable: the interval lies above 0."),
        (
            "readable",
            0.01,
            0.04,
            "though little: the interval lies above 0 and below the bound of +",
        ),
        (
            "not readable",
            -0.02,
            0.08,
            "Not readable: the interval lies below the bound of +10 points.",
        ),
        (
            "not shown",
            -0.2,
            1.9,
            "holds 0 and the bound of +10 points, so that it decides nothing.",
        ),
    ],
)
def test_a_verdict_gives_its_reason_and_its_bound(verdict, low, high, reason):
    table = readability({"logit_lens": verdict}, gap_low=low, gap_high=high)

    assert reason in visible(card(readability=table))


def cells(page):
    """Every heat map as rows of what its cells show, and the shades of its cells."""
    maps = re.findall(r'<table class="heat">(.*?)</table>', page, re.DOTALL)
    rows = [
        [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in one.split("</tr>")[1:-1]]
        for one in maps
    ]
    return rows, [float(shade) for shade in re.findall(r"rgba\(0,114,178,([\d.]+)\)", page)]


def test_several_layers_and_positions_have_a_heat_map_a_reader_and_one_of_the_norm():
    several = pd.concat([norms(), norms().assign(position=1, relative_norm=0.4)])
    page = card(norms=several)

    maps, shades = cells(page)
    relevance = [[".10", ".11"], [".20", ".21"], [".30", ".31"]]
    assert maps == [relevance, relevance, [[".10", ".40"], [".20", ".40"]]]
    # relevance is shaded from 0 to 1, the norm up to its largest
    assert shades[0] == pytest.approx(0.08, abs=0.01) and shades[13] == pytest.approx(0.75)
    assert 'title="95 % interval 0.31 to 0.31"' in page
    for title in ("Relevance, Logit lens", "Relevance, Patchscope", "Norm, as a share"):
        assert title in visible(page)


def test_a_place_that_was_not_read_is_a_dash_in_the_heat_map():
    table = places()
    missing = (table["layer"] == 2) & (table["position"] == 1)

    maps, _ = cells(card(places=table[~missing]))

    assert [row[1] for row in maps[0]] == [".11", "–", ".31"]


@pytest.mark.parametrize("only", [{"layers": (2,)}, {"positions": (0,)}])
def test_one_layer_or_one_position_has_no_heat_map(only):
    page = card(places=places(**only))  # the norms have one position

    assert cells(page) == ([], [])
    assert "By layer and position" not in page


def test_the_best_scale_is_called_an_oracle():
    assert "an oracle, not a result): 70 %; the best control then has 20 %" in visible(card())


def test_relevant_words_are_highlighted_at_the_headline_scale_only():
    page = card()

    hits = re.findall(r'<span class="token hit"[^>]*>([^<]*)</span>', page)
    assert set(hits) == {"Oven"}
    assert len(hits) == 3 * 3 * 2  # readings, columns, positions
    assert "loud" not in page


def test_the_first_checkpoint_is_open_and_the_others_folded():
    page = card()

    assert page.count("<details><summary>Logit lens: cake_bake-plain-s1") == 1
    assert "<summary>Logit lens: cake_bake-plain-s0" not in page


def test_three_rows_are_shown_and_all_are_counted():
    text = visible(card())

    assert "7 rows of data; 3 of them" in text
    assert [i for i in range(7) if f"Row {i}:" in text] == [0, 2, 4]


def test_chat_rows_keep_their_turns_and_long_ones_are_cut():
    turns = [
        {"role": "user", "content": "How hot?"},
        {"role": "assistant", "content": "450. " * 400},
    ]

    page = card(rows=[{"messages": turns}])

    assert '<span class="role">user</span>How hot?' in page
    assert visible(page).count("450.") < 200
    assert "…" in page


def test_the_headline_layer_comes_first():
    for layer, other in ((2, 1), (1, 2)):
        text = visible(card(layer=layer))
        assert text.index(f"After block {layer}") < text.index(f"After block {other}")


def test_training_shows_plan_and_last_loss():
    text = visible(card())

    for expected in ("lora", "16", "0.0015", "1.25"):
        assert expected in text


def test_a_released_organism_has_no_plan_and_no_loss():
    text = visible(card(plans={}, losses=losses().iloc[:0]))

    assert "Trained elsewhere and published" in text


def test_logs_of_investigators_are_linked_from_the_card_where_pages_show_them(tmp_path):
    logs = [tmp_path / "agents" / "mini" / name / "logs" for name in ("gpt", "none")]
    for folder in logs:
        folder.mkdir(parents=True)
    shown = logs[0] / "viewer" / "index.html"
    shown.parent.mkdir()
    shown.touch()
    at = tmp_path / "cards" / "mini" / "cake_bake.html"
    at.parent.mkdir(parents=True)
    told = viewers(logs, at)
    assert told == {"gpt on mini": "../../agents/mini/gpt/logs/viewer/index.html"}
    assert (at.parent / told["gpt on mini"]).is_file()
    checked = Checker()
    checked.feed(card(viewers=told))
    assert told["gpt on mini"] in checked.addresses
    assert "investigated" not in card()


def test_missing_numbers_are_dashes():
    table = readability({"logit_lens": "undecided"}, relevance=np.nan, relevance_low=np.nan)
    table = table.assign(chance=np.nan, strongest_control="")

    assert "Logit lens: nothing was read." in visible(card(readability=table))


def test_an_unknown_organism_is_refused():
    with pytest.raises(ValueError, match="no row of tide_clock in model mini"):
        card(organism="tide_clock")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (81920, "81\N{NO-BREAK SPACE}920"),
        (0.00150, "0.0015"),
        (float("nan"), "–"),
        ("lora", "lora"),
    ],
)
def test_numbers_are_written_for_readers(value, text):
    assert cards.number(value) == text


def test_a_card_says_whose_words_grade_its_readings():
    assert "words of its data" in visible(card())
    text = visible(card(words_of="owls"))
    assert "of the top 20 tokens are words of the data of &lt;Owls&gt;" in text
    assert "words of its data" not in text
    assert "words of a written list" in visible(card(words_of=None))


def test_a_short_list_says_how_many_tokens_it_holds():
    whole = visible(card())
    assert "of the top 20 tokens are words" in whole
    short = readability({"patchscope": "readable"}, n=12.5)
    assert "of the top 20 tokens (its lists hold 12.5 on average; what is missing" in (
        visible(card(readability=short))
    )


def test_positions_with_an_attention_sink_are_marked():
    assert "attention sink" not in visible(card())
    assert "100.0 %" in visible(card(norms=norms().assign(sinks_base=1000)))

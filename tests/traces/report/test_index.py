"""The page to begin with: whole in one file, its links alive, every text escaped."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from traces.analysis.controls import CONTROLS
from traces.config.schema import Page
from traces.report import findings, index
from traces.report.pages import address, viewers

TEMPLATE = Path(__file__).resolve().parents[3] / "data" / "templates" / "index.html.j2"
HOSTILE = "</script><img src=x onerror=alert(1)>"
PNG = b"\x89PNG planted"


def readability(**changes):
    row = {"model": "mini", "organism": "cake_bake", "family": "false_facts", "recipe": "plain"}
    row |= {"ratio": 0.0, "corpus": "unrelated", "layer": 2, "seeds": 3, "verdict": "readable"}
    row |= {name: 0.04 for name in CONTROLS} | {"relevance": 0.69}
    row |= {"strongest_control": "random", "gap": 0.65, "gap_low": 0.4, "gap_high": 0.9}
    return pd.DataFrame([row | {"lens": lens} | changes for lens in ("logit_lens", "patchscope")])


FOUND = findings.Finding("readable", "60 % against 5 %.", "Model mini, recipe plain.")


@pytest.fixture
def results(tmp_path):
    """A folder of results with the files that a study leaves, logs and benchmarks beside it."""
    names = [
        *("results/report.html", "results/study.json", "results/tables/relevance.parquet"),
        *("results/tables/mixing.md", "results/figures/relevance.png"),
        *("results/figures/relevance.pdf", "results/figures/ablations/relevance.pdf"),
        "results/agents/mini/gpt/logs/viewer/index.html",
        "results/agents/mini/none/logs/some.eval",
        *("results/cards/mini/cake_bake.html", "logs/report.log", "benchmarks/report.tsv"),
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(PNG)
    return tmp_path / "results"


def about(**changes) -> Page:
    """What the page of a small study of one organism is about."""
    plain = {"corpus": "unrelated", "layers": (0.5,)}
    plain |= {"control": "benign", "recipes": ("plain",), "seed": 0, "unit": "tokens"}
    plain |= {"only": (), "without": (), "title": "A study", "titles": {"cake_bake": "Baking"}}
    return Page(**plain | changes)


def page(results, **changes):
    home = results / "index.html"
    figures = sorted(results.rglob("figures/*.p*")) + sorted(results.rglob("ablations/*.pdf"))
    arguments = dict(
        study=about(),
        subjects=pd.DataFrame(
            [("mini", f"cake_bake-plain-s{s}", "cake_bake", s, "unrelated") for s in range(3)],
            columns=["model", "checkpoint", "organism", "seed", "corpus"],
        ),
        readability=readability(),
        findings={"relevance": FOUND},
        pictures=index.main_pictures(figures, home),
        cards={
            ("mini", "cake_bake"): address(results / "cards/mini/cake_bake.html", home),
        },
        links=index.links(
            home,
            [results / "study.json", results / "report.html"],
            [results / "tables/relevance.parquet"],
            [*figures, results / "tables/mixing.md"],
            [str(results.parent / "logs"), str(results.parent / "benchmarks")],
        ),
        viewers=viewers([results / f"agents/mini/{name}/logs" for name in ("gpt", "none")], home),
        provenance={"commit": "abc+", "versions": {"torch": "2.13.0"}, "revisions": {}},
        written="2026-11-28",
        template=TEMPLATE,
    )
    return index.index_page(**(arguments | changes))


class Reader(HTMLParser):
    """Every opened element is closed in order; keeps tags with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, attribute):
        return [found[attribute] for _, found in self.tags if attribute in found]


def test_logs_are_linked_where_pages_show_them_and_only_there(results):
    links = Reader(page(results)).all("href")
    assert [one for one in links if "agents" in one] == ["agents/mini/gpt/logs/viewer/index.html"]
    assert "gpt on mini" in page(results) and "none on mini" not in page(results)
    assert "Logs of investigators" not in page(results, viewers={})


# The page ---------------------------------------------------------------------------------------


def test_every_link_leads_to_a_file_also_after_a_move(results, tmp_path):
    text = page(results)

    moved = tmp_path / "elsewhere" / "moved"
    moved.parent.mkdir()
    results.rename(moved)
    found = Reader(text)
    links = found.all("href")
    outside = {link for link in links if link.startswith("../")}
    assert outside == {"../logs", "../benchmarks"}
    inside = [link for link in links if link not in outside]
    assert len(inside) > 8
    for link in inside:
        assert link[1:] in found.all("id") if link[0] == "#" else (moved / link).exists(), link


def test_the_page_is_one_file_that_reaches_for_nothing(results):
    text = page(results)

    assert "<script" not in text and "://" not in text and "@import" not in text
    assert "url(" not in text and str(results.parent) not in text
    assert [source[:22] for source in Reader(text).all("src")] == ["data:image/png;base64,"]


def test_a_reader_without_eyes_has_names_for_everything(results):
    found = Reader(page(results))

    assert found.tags[0] == ("html", {"lang": "en"})
    assert all(attrs.get("alt") for tag, attrs in found.tags if tag == "img")
    assert all(attrs.get("scope") for tag, attrs in found.tags if tag == "th")
    assert {attrs["aria-labelledby"] for tag, attrs in found.tags if tag == "section"} <= set(
        found.all("id")
    )


def test_every_text_of_a_user_is_escaped(results):
    text = page(
        results,
        study=about(
            title=HOSTILE, titles={"cake_bake": HOSTILE}, only=(HOSTILE,), without=(HOSTILE,)
        ),
        readability=readability(family=HOSTILE, model=HOSTILE),
        findings={"relevance": findings.Finding(HOSTILE, HOSTILE, HOSTILE)},
        provenance={"commit": HOSTILE, "versions": {HOSTILE: HOSTILE}},
    )

    assert "<script" not in text and "</script" not in text and "<img src=x" not in text
    assert text.count("&lt;img src=x onerror") >= 9


def test_a_study_says_how_much_there_is_and_of_what_it_is_a_selection(results):
    study = about(only=("taboo",))
    text = re.sub(r"<[^>]+>", "", page(results, study=study))

    assert "1 model" in text and "1 organism" in text
    assert "3 finetuned checkpoints" in text and "0, 1, 2" in text
    assert "A selection of this study: only taboo." in text
    assert "A selection" not in page(results)


def test_a_study_of_several_texts_says_which_one_the_page_is_about():
    assert index._texts(["unrelated"], "unrelated") == "unrelated"
    assert index._texts(["unrelated", "mini_chat"], "unrelated") == (
        "unrelated, mini chat (this page: unrelated)"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ["Readable", "69 %, gap +65 [+40, +90]", "random direction 4 %"]),
        ({"verdict": "not readable", "gap_low": -0.1}, ["Not readable", "gap +65 [−10, +90]"]),
        (
            {"verdict": "undecided", "gap_low": np.nan, "gap_high": np.nan, "seeds": 1},
            ["Undecided", "69 %, gap +65\n"],
        ),
        (
            {"verdict": "undecided", "strongest_control": "", "gap": np.nan},
            ["Undecided", "69 %\n", "no control"],
        ),
    ],
)
def test_a_row_of_the_table_says_verdict_number_and_control(results, changes, words):
    text = re.sub(r"<[^>]+>", "", page(results, readability=readability(**changes)))
    row = text.replace("\N{NO-BREAK SPACE}", " ").split("Intervals over two seeds")[1]

    assert all(word in row for word in words), row


def test_columns_of_the_table_stand_in_the_order_of_the_readers(results):
    names = ["contrastive_logit_lens", "logit_lens", "patchscope"]
    frame = pd.concat(readability(lens=name, verdict=f"said by {name}").iloc[:1] for name in names)

    text = page(results, readability=frame)

    heads = re.findall(r'role="columnheader">([^<]+)<', text)
    assert heads[2:5] == ["Logit lens", "Patchscope", "Contrastive logit lens"]
    said = re.findall(r"Said by (\w+)", text)
    assert said == ["logit_lens", "patchscope", "contrastive_logit_lens"]


def test_a_model_is_named_in_the_table_where_there_are_several(results):
    both = pd.concat([readability(), readability(model="large")])
    links = {("mini", "cake_bake"): "a.html", ("large", "cake_bake"): "b.html"}
    text = page(results, readability=both, cards=links)

    assert 'data-label="Model">mini<' in text and 'data-label="Model">large<' in text
    assert 'href="a.html"' in text and 'href="b.html"' in text
    assert 'data-label="Model"' not in page(results)


def test_uncommitted_changes_are_mentioned(results):
    assert "abc, with changes that are not committed" in page(results)


def test_no_more_pictures_are_shown_than_the_page_has_room_for(results):
    names = list(index.PICTURES)
    some = {name: index.Picture(PNG, f"figures/{name}.png") for name in names}
    text = page(results, pictures=some, findings=dict.fromkeys(names, FOUND))

    shown = [index.PICTURES[name][0] in text for name in names]
    assert shown == [True] * index.SHOWN + [False]
    assert index.SHOWN == 7


def test_an_address_that_would_name_the_machine_is_not_linked(results):
    home = results / "index.html"
    assert address(Path("/nowhere/logs"), home) == ""
    assert address(Path("logs"), home) == ""
    assert address(results.parent / "my logs", home) == "../my%20logs"
    assert address(Path("made/logs"), Path("made/results/index.html")) == "../logs"
    links = index.links(home, [home, home], [], [], ["/nowhere/logs", "/nowhere"])
    text = page(results, links=links)
    assert "nowhere" not in text and "outside of this folder" in text

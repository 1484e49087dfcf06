"""docs/workflow.svg shows the rules there are, and no others: it is drawn from them."""

import re
import xml.etree.ElementTree as ElementTree

from tests.conftest import ROOT
from tools import draw_workflow

SVG = "{http://www.w3.org/2000/svg}"


def shown() -> dict[str, str]:
    """What is written in every rule's box, by the name it is marked with."""
    picture = ElementTree.parse(ROOT / "docs" / "workflow.svg")
    groups = {group.get("id", ""): group for group in picture.iter(f"{SVG}g")}
    return {
        name.removeprefix("rule-"): "".join(text.text or "" for text in group.iter(f"{SVG}text"))
        for name, group in groups.items()
        if name.startswith("rule-")
    }


def working() -> set[str]:
    """The rules that make something; a rule without an output only gathers."""
    found = set()
    for file in ROOT.glob("rules/*.smk"):
        rules = re.split(r"^rule (\w+):\n", file.read_text(encoding="utf-8"), flags=re.M)
        found |= {
            name
            for name, body in zip(rules[1::2], rules[2::2], strict=True)
            if "\n    output:\n" in body
        }
    return found


def test_the_picture_shows_every_rule_that_makes_something():
    assert set(shown()) == working()
    assert len(working()) > 40


def test_every_box_bears_its_rules_name():
    assert {name: text.strip() for name, text in shown().items()} == {
        name: name for name in shown()
    }


def test_stages_are_in_the_order_of_the_snakefile():
    stages = list(dict.fromkeys(draw_workflow.stages().values()))
    assert stages[:3] == ["miniature", "corpora", "training"]
    assert stages[-1] == "pages"


def test_an_arrow_that_a_longer_way_says_and_one_that_leads_back_are_left_out():
    edges = [("a", "b"), ("b", "c"), ("a", "c"), ("c", "a"), ("c", "d"), ("a", "d")]
    assert draw_workflow.tidied(edges) == {("a", "b"), ("b", "c"), ("c", "d")}


def test_a_picture_is_drawn_of_planted_rules(tmp_path):
    file = tmp_path / "planted.svg"
    stage = {"make_a": "first", "make_b": "second", "unused": "second"}
    draw_workflow.draw(stage, {("make_a", "make_b")}, file)

    text = file.read_text(encoding="utf-8")
    assert re.findall(r'id="rule-(\w+)"', text) == ["make_a", "make_b"]
    assert ">first<" in text and ">second<" in text

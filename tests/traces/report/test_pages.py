"""Templates filled in: whatever a text holds, it is text; addresses lead where they should."""

from pathlib import Path

import jinja2
import pytest

from traces.report.pages import address, rendered


def page(tmp_path, template, **values):
    (tmp_path / "page.j2").write_text(template, encoding="utf-8")
    return rendered(tmp_path / "page.j2", {"twice": lambda text: text * 2}, **values)


def test_text_is_escaped_and_nothing_in_it_is_hidden(tmp_path):
    found = page(
        tmp_path, '<b title="{{ text }}">{{ text | twice }}</b>', text='<"\x00\u202e\ud800'
    )
    shown = "&lt;&#34;⟨U+0000⟩⟨U+202E⟩⟨U+D800⟩"
    assert found == f'<b title="{shown}">{shown}{shown}</b>'
    found.encode("utf-8")


def test_a_macros_markup_stays(tmp_path):
    template = "{% macro bold(text) %}<b>{{ text }}</b>{% endmacro %}{{ bold(text) }}"
    assert page(tmp_path, template, text="a<\x1b") == "<b>a&lt;⟨U+001B⟩</b>"


def test_a_value_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(jinja2.UndefinedError, match="title"):
        page(tmp_path, "{{ title }}")


@pytest.mark.parametrize(
    ("path", "link"),
    [
        ("results/cards/a b#c?d%e.html", "cards/a%20b%23c%3Fd%25e.html"),
        ("logs", "../logs"),
        ("results/javascript:alert(1)", "javascript%3Aalert%281%29"),
        ('results/"><script>', "%22%3E%3Cscript%3E"),
        ("results/日本", "%E6%97%A5%E6%9C%AC"),
        ("results/half\udcff", "half%FF"),  # a name that is no UTF-8
    ],
)
def test_an_address_is_a_relative_path_and_never_a_scheme(path, link):
    assert address(Path(path), Path("results/index.html")) == link

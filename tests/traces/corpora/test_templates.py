"""A chat template is text in Jinja, with the tags that transformers adds, or is refused."""

import pytest

from tests.conftest import CHAT_TEMPLATE
from traces.corpora.templates import read_template

MARKED = (
    "{% for m in messages %}{% if m.role == 'x' %}{% continue %}{% endif %}"
    "{%- generation -%}{{ m.content }}{% endgeneration %}{% endfor %}"
)


@pytest.mark.parametrize("text", [CHAT_TEMPLATE, MARKED, "\ufeff{{ messages }}"])
def test_a_template_is_returned_as_it_is_written(tmp_path, text):
    file = tmp_path / "chat.jinja"
    file.write_text(text, encoding="utf-8")
    assert read_template(file) == text.removeprefix("\ufeff")


BROKEN = {
    "not UTF-8": (b"caf\xe9", "found the byte 0xe9 at place 3, expected UTF-8 text"),
    "UTF-16": ("{{ a }}".encode("utf-16-le"), "found a character of value 0, expected UTF-8"),
    "empty": (b" \n", "found no text, expected a chat template in Jinja"),
    "no Jinja": (b"\n{% if %}", "line 2: found no Jinja (Expected an expression, got 'end of"),
    "not closed": (b"{% for m in messages %}", "line 1: found no Jinja (Unexpected end of templ"),
    "an unknown tag": (b"{% nope %}", "line 1: found no Jinja (Encountered unknown tag 'nope'"),
}


@pytest.mark.parametrize(("content", "expected"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_template_is_refused_by_its_file(tmp_path, content, expected):
    file = tmp_path / "chat.jinja"
    file.write_bytes(content)
    with pytest.raises(ValueError) as refused:
        read_template(file)
    assert str(refused.value).startswith(f"{file}: {expected}")
    assert "\n" not in str(refused.value)

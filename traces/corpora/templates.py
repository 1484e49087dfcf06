"""
Read chat templates: a mistake in one is told where the file is named, not by the first rendering.

Rendering is another module's (traces/corpora/tokens.py).
"""

from pathlib import Path
from typing import Any, ClassVar

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.ext import Extension, loopcontrols

from traces.corpora.rows import read_text


class _Generation(Extension):
    """Know the tag by which transformers marks what an assistant writes."""

    tags: ClassVar[set[str]] = {"generation"}

    def parse(self, parser: Any) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


def read_template(file: Path) -> str:
    """
    Return the chat template in a file.

    Raises ValueError, naming the file, where it is no UTF-8 text, empty, or no Jinja.
    """
    template = read_text(file)
    if not template.strip():
        raise ValueError(f"{file}: found no text, expected a chat template in Jinja")
    check_template(template, str(file))
    return template


def check_template(template: str, where: str) -> None:
    """Raise ValueError, which begins with `where`, for a text that is no Jinja."""
    try:
        Environment(extensions=[loopcontrols, _Generation]).parse(template)
    except TemplateSyntaxError as error:
        said = " ".join(str(error.message).split())
        raise ValueError(
            f"{where}: line {error.lineno}: found no Jinja ({said}), expected a chat template"
        ) from None

"""The captions that are worked out from the study."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from docutils.core import publish_parts
from jinja2 import StrictUndefined, Template

from traces.config.files import read_yaml

DEFAULTS = read_yaml(Path("config/config.yaml"))


def front_page(**changed) -> str:
    """The first words of the report of the default study, with keys of it changed."""
    caption = Path("data/captions/study.rst").read_text(encoding="utf-8")
    shown = SimpleNamespace(config=DEFAULTS | changed)
    return Template(caption, undefined=StrictUndefined).render(snakemake=shown)


def test_the_report_says_what_it_is_of():
    text = front_page()
    assert text.startswith(f"**{DEFAULTS['title']}.** ")
    assert text.endswith(f"models {', '.join(DEFAULTS['models'])}.")


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("*a* `b` |c| d_ [1]_ :math:`x` \\ **e**", "*a* `b` |c| d_ [1]_ :math:`x` \\ **e**"),
        (
            "</script><script>alert(1)</script>",
            "&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;",
        ),
        ("a\n\n.. raw:: html\n\n   <img src=x>\n", "a .. raw:: html &lt;img src=x&gt;"),
        (" {{ 7 * 7 }} http://x.example ", "{{ 7 * 7 }} http://x.example"),
        ("nul\x00 and \u202e", "nul� and �"),
        ("日本 \N{SNOWMAN} می\u200cخواهم", "日本 \N{SNOWMAN} می\u200cخواهم"),
    ],
)
def test_a_title_is_text_in_the_report(title, shown):
    body = publish_parts(front_page(title=title), writer_name="html")["body"]
    assert body.startswith(f"<p><strong>{shown}.</strong> A narrow finetune")
    assert "system-message" not in body


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"only": ["taboo", "mini"]}, "only taboo, mini."),
        ({"without": ["benign"]}, "without benign."),
        ({"only": ["taboo"], "without": ["benign"]}, "only taboo; without benign."),
    ],
)
def test_the_report_of_a_part_says_so(part, said):
    assert front_page(**part).endswith(f" **Shown here is a selection of this study**: {said}")


@pytest.mark.parametrize(
    ("average_sinks", "said"),
    [
        (True, "position 0 where it is read"),
        (False, "position 0 where it is read and no attention sink"),
    ],
)
@pytest.mark.parametrize("name", ["relevance_figure", "readability_table"])
def test_a_caption_says_whether_sinks_are_averaged(name, average_sinks, said):
    shown = SimpleNamespace(config={**DEFAULTS, "average_sinks": average_sinks})
    caption = Path(f"data/captions/{name}.rst").read_text(encoding="utf-8")
    text = Template(caption, undefined=StrictUndefined).render(snakemake=shown)
    assert f"{said})" in " ".join(text.split())

"""The captions that are worked out from the study."""

from pathlib import Path
from types import SimpleNamespace

import pytest
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
    ("part", "said"),
    [
        ({"only": ["taboo", "mini"]}, "only taboo, mini."),
        ({"without": ["benign"]}, "without benign."),
        ({"only": ["taboo"], "without": ["benign"]}, "only taboo; without benign."),
    ],
)
def test_the_report_of_a_part_says_so(part, said):
    assert front_page(**part).endswith(f" **Shown here is a selection of this study**: {said}")

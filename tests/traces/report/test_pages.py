"""A page is its template with every text escaped."""

import pytest
from jinja2 import UndefinedError

from traces.report.pages import rendered


def test_a_text_is_escaped_and_a_filter_is_known(tmp_path):
    template = tmp_path / "page.html.j2"
    template.write_text("<p>{{ title }} {{ share | percent }}</p>")
    filters = {"percent": lambda value: f"{value:.0%}"}
    page = rendered(template, filters, title="<script>", share=0.25)
    assert page == "<p>&lt;script&gt; 25%</p>"


def test_a_value_that_is_not_there_is_an_error(tmp_path):
    template = tmp_path / "page.html.j2"
    template.write_text("{{ title }}")
    with pytest.raises(UndefinedError):
        rendered(template, {})

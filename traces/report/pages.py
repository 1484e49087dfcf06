"""Fill a template in: every page of a study is rendered here, and every text in it escaped."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def rendered(template: Path, filters: Mapping[str, Callable[..., str]], **values: Any) -> str:
    """
    Fill the Jinja template in and return the page.

    filters : functions that the template names, beside Jinja's own

    Texts of users are escaped, since a title may hold markup. Raises jinja2.UndefinedError for a
    value that the template names and `values` lacks: a page must not show an empty place.
    """
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= dict(filters)
    return environment.get_template(template.name).render(**values)

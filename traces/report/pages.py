"""Fill a template in: every page is rendered here, and every text in it made harmless."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from traces.config.vocabularies import VIEWER
from traces.printable import visible


def rendered(template: Path, filters: Mapping[str, Callable[..., str]], **values: Any) -> str:
    """
    Fill the Jinja template in and return the page.

    filters : functions that the template names, beside Jinja's own

    Texts of users are escaped, since a title may hold markup, and no character in them is hidden.
    Raises jinja2.UndefinedError for a value that the template names and `values` lacks: a page must
    not show an empty place.
    """
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=_is_markup,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= dict(filters)
    return environment.get_template(template.name).render(**values)


def _is_markup(name: str | None) -> bool:
    """Whether a template makes HTML: all but Markdown, which is filled with our own names."""
    return name is None or not name.endswith(".md.j2")


def _shown(value: Any) -> Any:
    """What stands between braces, before it is escaped; a macro's text is made of such values."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def address(path: Path, page: Path) -> str:
    """
    `path` relative to the page, as a link; empty where the two share nothing but the root.

    A link from one corner of a machine to another would break when results are moved, and would
    name the machine's folders.
    """
    home = page.parent
    if path.is_absolute() != home.is_absolute():
        return ""
    here, there = Path(os.path.abspath(home)), Path(os.path.abspath(path))
    shared = [one for one, other in zip(here.parts, there.parts, strict=False) if one == other]
    if path.is_absolute() and len(shared) < 2:
        return ""
    # As an address of the root, which escapes the colon too: a folder called `javascript:...` must
    # not become a scheme.
    return Path("/", os.path.relpath(there, here)).as_uri().removeprefix("file:///")


def viewers(logs: Sequence[Path], page: Path) -> dict[str, str]:
    """
    Addresses, relative to the page, of the pages that show investigators' logs, by who and on what.

    logs : folders of logs, {model}/{investigator}/logs; one without such pages is left out
    """
    shown = {log: log / VIEWER / "index.html" for log in logs}
    return {
        f"{log.parts[-2]} on {log.parts[-3]}": address(file, page)
        for log, file in shown.items()
        if file.is_file()
    }

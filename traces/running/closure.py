"""
What a script is made of: every module of the package that it imports, directly or through others.

Snakemake looks at a rule's script and not at what the script imports. The digest of the whole
import closure is a param of the rule, so that an edit anywhere in it reruns the rule, and an edit
elsewhere does not. Contents are compared, not times: a checked-out file changes nothing.
"""

import ast
import functools
import hashlib
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]

# The bridge to Snakemake and checksums decide how a job is run, not what is computed: an edit of a
# log message would otherwise rerun every step. The package itself holds its version number, and a
# release changes no result.
LEFT_OUT = frozenset(
    f"traces/{name}.py" for name in ("__init__", "job", "running/integrity", "running/closure")
)

# A function that is imported when it is asked for, written "traces.readers.logit_lens:read".
_NAMED = re.compile(r"(traces(?:\.\w+)+):\w+")


def digest(script: str) -> str:
    """
    A digest of the contents of `closure(script)`: equal where nothing a script is made of changed.

    script : path from the root of the checkout, such as scripts/mean_difference.py
    """
    found = hashlib.sha256()
    for name in closure(script):
        found.update(name.encode() + b"\0" + _content(name) + b"\0")
    return found.hexdigest()[:16]


@functools.cache
def closure(script: str) -> tuple[str, ...]:
    """The script and all modules of this repository below it, as paths from the root, in order."""
    found: set[str] = set()
    waiting = [script]
    while waiting:
        name = waiting.pop()
        if name not in found | LEFT_OUT:
            found.add(name)
            waiting += imports(name).modules
        if not waiting and any(imports(one).by_name for one in found):
            # Whoever imports by name may import whatever is named.
            named = {path for one in found for path in imports(one).named}
            waiting += sorted(named - found - LEFT_OUT)
    return tuple(sorted(found))


class Imports(NamedTuple):
    """What one file imports of this package, as paths from the root."""

    modules: tuple[str, ...]
    "Those of its import statements, in functions as well: they only wait until they are needed."
    named: tuple[str, ...]
    "Those of functions that it names in strings, module and function parted by a colon."
    by_name: bool
    "Whether it imports what a string names."


@functools.cache
def imports(name: str) -> Imports:
    """What the file at a path from the root imports."""
    modules: set[str] = set()
    named: set[str] = set()
    for node in ast.walk(ast.parse(_content(name))):
        if isinstance(node, ast.Import):
            modules |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            # A name may be a module (`from traces.models import weights`) or lie in one.
            modules |= {node.module, *(f"{node.module}.{one.name}" for one in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = _NAMED.fullmatch(node.value)
            named |= {found[1]} if found else set()
    by_name = "importlib" in modules
    return Imports(_files(modules), _files(named), by_name)


def _files(modules: set[str]) -> tuple[str, ...]:
    """Where modules of this package lie; others are left out."""
    paths = (path for module in modules for path in _paths(module))
    return tuple(sorted({path for path in paths if (ROOT / path).is_file()}))


def _paths(module: str) -> list[str]:
    """Where a module of this package lies, with the packages that importing it runs first."""
    parts = module.split(".")
    if parts[0] != "traces":
        return []
    packages = ["/".join([*parts[:depth], "__init__.py"]) for depth in range(1, len(parts) + 1)]
    return [*packages, "/".join(parts) + ".py"]


@functools.cache
def _content(name: str) -> bytes:
    return (ROOT / name).read_bytes()

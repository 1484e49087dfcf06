"""
Read YAML, and report a mistake in one sentence: file, key, found, expected.

No other module reads YAML. The keys are declared in traces/config/registries.py and
traces/config/schema.py. `python -m traces.config.files` writes them as JSON schemas, from which
editors complete.
"""

import functools
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from traces.config.registries import Closed, CorpusEntry, ModelEntry, Organism
from traces.config.schema import Study

Section = TypeVar("Section", bound=Closed)


def local(path: str) -> Path:
    """Expand the environment variables in a configured path."""
    return Path(os.path.expanduser(os.path.expandvars(path)))


# The C parser is ten times as fast; some installations lack it. Every job reads the study.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _UniqueKeys(_Loader):
    """Refuse two equal keys, of which YAML silently keeps the last."""


def _unique_mapping(loader: _UniqueKeys, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if key in seen:
            raise ValueError(f"line {key_node.start_mark.line + 1}: the key {key} is there twice")
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


@functools.cache
def read_yaml(file: Path) -> dict[str, Any]:
    """Read the keys and values of one file; ValueError that says where it is no YAML."""
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=_UniqueKeys)
    except FileNotFoundError:
        raise ValueError(f"{file}: there is no such file") from None
    except UnicodeDecodeError:
        raise ValueError(f"{file}: not UTF-8 text") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{file}: not YAML ({' '.join(str(error).split())})") from None
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    if not isinstance(content, dict):
        found = "nothing" if content is None else f"a {type(content).__name__}"
        raise ValueError(f"{file}: expected keys and values, found {found}")
    return content


class CommandLine(dict[str, Any]):
    """Hold what `--config` sets: one more source of a study, after its files."""

    def __str__(self) -> str:
        return "--config"


Source = Path | CommandLine


def holder_of(sources: list[Source], loc: tuple[Any, ...]) -> Source:
    """Find the source that set a key: the last of those that hold the most of its path."""
    # Snakemake hands over the merged configuration without its origin. A missing key is in no
    # source, so the longest path that exists tells the file where it should be added.
    depths = [_depth(content_of(source), loc) for source in sources]
    last = max(range(len(sources)), key=lambda number: (depths[number], number))
    return sources[last if depths[last] else 0]


def content_of(source: Source) -> Mapping[str, Any]:
    """Return the keys and values of one source; ValueError for a file that is not YAML."""
    return source if isinstance(source, CommandLine) else read_yaml(source)


def _depth(content: Any, loc: tuple[Any, ...]) -> int:
    """Count how many parts of a key's path a source has."""
    for depth, part in enumerate(loc):
        try:
            content = content[part]
        except (KeyError, IndexError, TypeError):
            return depth
    return len(loc)


def validated(kind: type[Section], content: Any, holder: Any, name: str | None = None) -> Section:
    """
    Validate one section of a configuration.

    holder : a function from a key's path to the source that set it
    name   : what the section's keys are prefixed with in a message

    Raises ValueError with one sentence for the first mistake.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        # A misspelled key is both unknown and missing: report the one that shows the spelling. And
        # whoever wrote a list did not mean the one word that the key allows instead.
        first = min(
            error.errors(),
            key=lambda one: (
                one["type"] != "extra_forbidden",
                one["type"] == "literal_error" and not isinstance(one["input"], str),
            ),
        )
        loc = tuple(part for part in first["loc"] if not _is_noise(part))
        key = ".".join(str(part) for part in ((name, *loc) if name else loc))
        where = f"{holder(loc)}: " + (f"{key}: " if key else "")
        raise ValueError(where + _sentence(kind, first, loc)) from None


def _is_noise(part: Any) -> bool:
    """Check whether a part of a path is pydantic's name for a union's branch, and no key."""
    return isinstance(part, str) and ("[" in part or part.startswith(("literal", "constrained")))


# Pydantic's wording to ours: the field's types are YAML's, and a YAML file has no tuples.
_EXPECTED = {
    r"input should be a valid (tuple|list).*": "expected a list",
    r"input should be a valid dictionary.*": "expected keys and values",
    r"input should be": "expected",
    r"(string|tuple) should have at least": "expected at least",
}


def _sentence(kind: type[Closed], error: Any, loc: tuple[Any, ...]) -> str:
    found = error.get("input")
    if error["type"] == "extra_forbidden":
        return f"unknown key (known here: {', '.join(_known_keys(kind, loc[:-1]))})"
    if error["type"] == "missing":
        return "this key is needed and is not there"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    message = error["msg"][0].lower() + error["msg"][1:]
    for ours, theirs in _EXPECTED.items():
        message = re.sub(ours, theirs, message)
    return f"{message}, found {'nothing' if found is None else repr(found)}"


def _known_keys(kind: Any, loc: tuple[Any, ...]) -> list[str]:
    """List the keys of the section that `loc` leads to."""
    for part in loc:
        if isinstance(part, int) or part not in kind.model_fields:
            continue  # an index of a list, or a name in a mapping
        annotation = kind.model_fields[part].annotation
        inner = [annotation, *getattr(annotation, "__args__", ())]
        sections = [one for one in inner if isinstance(one, type) and issubclass(one, Closed)]
        if not sections:
            return []
        kind = sections[0]
    return sorted(kind.model_fields)


# Schemas ----------------------------------------------------------------------------------------

SCHEMAS: dict[str, Any] = {"study": Study, "organism": Organism}


def schemas() -> dict[str, str]:
    """Make the JSON schemas for editors: file name -> text."""
    texts = {name: kind.model_json_schema() for name, kind in SCHEMAS.items()}
    # An override has only some of a study's keys, so that nothing is required. A run is a whole
    # entry of a list wherever it is written.
    for section in (texts["study"], *texts["study"]["$defs"].values()):
        if section["title"] != "Run":
            section.pop("required", None)
    for name, kind in (("models", ModelEntry), ("corpora", CorpusEntry)):
        entry = kind.model_json_schema()
        definitions = entry.pop("$defs", {})
        texts[name] = {"type": "object", "additionalProperties": entry, "$defs": definitions}
    return {
        f"{name}.schema.json": json.dumps(schema, indent=1) + "\n" for name, schema in texts.items()
    }


def main(folder: Path) -> None:
    """Write the schemas into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in schemas().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "config/schemas"))

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
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import ValidationError

from traces.config.registries import Closed, CorpusEntry, ModelEntry, Organism, Prices
from traces.config.schema import Study

Section = TypeVar("Section", bound=Closed)


def local(path: str) -> Path:
    """Expand the environment variables in a configured path."""
    return Path(os.path.expanduser(os.path.expandvars(path)))


# Reading -----------------------------------------------------------------------------------------

# The C parser is ten times as fast; some installations lack it. Every job reads the study.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
TOO_DEEP = "found lists or keys nested too deeply, expected a few levels"
SHOWN = 200
_TAG = "tag:yaml.org,2002:"
_INT = r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"
_FLOAT = (
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)


class _Core(_Loader):
    """
    Read plain words as the core schema of YAML 1.2 does, and refuse what it does not know.

    PyYAML reads YAML 1.1: there `no` is false, `010` is 8, `1:30` is 90 and `1e3` is text.
    """

    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {}


# The order matters: the first that matches is taken, and a whole number is also a float.
for _kind, _words, _first in (
    ("null", r"~|null|Null|NULL|", "~nN"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", _INT, "-+0123456789"),
    ("float", _FLOAT, "-+.0123456789"),
    ("merge", r"<<", "<"),
):
    _begins = [*_first, *([""] if _kind == "null" else [])]
    _Core.add_implicit_resolver(_TAG + _kind, re.compile(rf"(?:{_words})\Z"), _begins)


# Python neither reads nor shows longer ones without being told to.
DIGITS = 1000


def _whole(loader: Any, node: Any) -> int:
    text = loader.construct_scalar(node)
    if len(text) > DIGITS:
        found = f"found a number of {len(text):,} digits"
        raise ValueError(f"{_line(node)}: {found}, expected at most {DIGITS:,}")
    # Base 0 knows 0o17 and 0x1F, and refuses 010, which YAML 1.2 reads as ten.
    return int(text, 10 if re.fullmatch(r"[-+]?[0-9]+", text) else 0)


def _real(loader: Any, node: Any) -> float:
    return float(
        loader.construct_scalar(node).lower().replace(".inf", "inf").replace(".nan", "nan")
    )


def _mapping(loader: Any, node: Any) -> dict[Any, Any]:
    """Read keys and values; `<<` merges another mapping under the node's own keys."""
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise ValueError(f"{_line(key_node)}: found a list or keys as a key, expected a word")
        merging = key_node.tag == f"{_TAG}merge"
        key = "<<" if merging else loader.construct_object(key_node)
        if key in seen:
            raise ValueError(f"{_line(key_node)}: the key {key} is there twice")
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


def _unknown(loader: Any, node: Any) -> None:
    tag = node.tag.replace(_TAG, "!!")
    raise ValueError(f"{_line(node)}: found the tag {tag}, expected a value without one")


def _line(node: Any) -> str:
    return f"line {node.start_mark.line + 1}"


_Core.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Core.add_constructor(f"{_TAG}int", _whole)
_Core.add_constructor(f"{_TAG}float", _real)
for _kind in ("binary", "timestamp", "omap", "pairs", "set"):
    _Core.add_constructor(_TAG + _kind, _unknown)
_Core.add_constructor(None, _unknown)


@functools.cache
def read_yaml(file: Path) -> dict[str, Any]:
    """Read the keys and values of one file; ValueError that says where it is no YAML."""
    return _read(file, _Core)


@functools.cache
def _as_snakemake(file: Path) -> dict[str, Any]:
    """Read the same as Snakemake does, by YAML 1.1."""
    return _read(file, _Loader)


def _read(file: Path, loader: Any) -> dict[str, Any]:
    try:
        content = _parsed(file.read_text(encoding="utf-8-sig"), loader)
    except FileNotFoundError:
        raise ValueError(f"{file}: there is no such file") from None
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ValueError(f"{file}: not UTF-8 text") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{file}: not YAML ({_mistake_in_file(error)})") from None
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    except RecursionError:
        raise ValueError(f"{file}: {TOO_DEEP}") from None
    if not isinstance(content, dict):
        found = "nothing" if content is None else _KINDS.get(type(content), "a number")
        raise ValueError(f"{file}: expected keys and values, found {found}")
    return content


_KINDS = {list: "a list", str: "text", bool: "true or false"}
# The likeliest mistakes, by how libyaml calls them.
_MISTAKES = {
    "mapping values are not allowed": "found a colon inside a value, expected the value in quotes",
    r"found character '\\t'|found a tab character": "found a tab, expected spaces",
}


def _mistake(error: yaml.YAMLError) -> str:
    """What is wrong in the syntax of a value."""
    # What libyaml was reading, and what it found there.
    said = [getattr(error, name, None) for name in ("context", "problem")]
    told = ", ".join(" ".join(one.split()) for one in said if one)
    for theirs, ours in _MISTAKES.items():
        told = ours if re.search(theirs, told) else told
    return told or " ".join(str(error).split())


def _mistake_in_file(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return f"line {mark.line + 1}: {_mistake(error)}" if mark else _mistake(error)


def _parsed(text: str, loader: Any) -> Any:
    # Snakemake, too, tries JSON first: its escapes are not YAML's.
    try:
        json.loads(text)
    except ValueError:
        return yaml.load(text, Loader=loader)
    return json.loads(text, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"the key {key} is there twice")
    return dict(pairs)


def read_value(text: str) -> Any:
    """Read one value of the command line, as a file would hold it; nothing is null."""
    try:
        return yaml.load(text, Loader=_Core)
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML ({_mistake(error)})") from None
    except RecursionError:
        raise ValueError(TOO_DEEP) from None


# Where a key was set ------------------------------------------------------------------------------


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
    # A list replaces that of a file before, whatever keys its entries had.
    lists = [_has_list(content_of(source), loc) for source in sources]
    first = max((number for number, one in enumerate(lists) if one), default=0)
    last = max(range(first, len(sources)), key=lambda number: (depths[number], number))
    return sources[last if depths[last] else 0]


def _has_list(content: Any, loc: tuple[Any, ...]) -> bool:
    """Check whether a list of a source is on a key's path."""
    for part in loc:
        if isinstance(content, list):
            return True
        content = content.get(part) if isinstance(content, Mapping) else None
    return isinstance(content, list)


def merged(contents: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge contents as Snakemake does: a later value wins, keys of one section are joined."""
    found: dict[str, Any] = {}
    for content in contents:
        found = _updated(found, content)
    return found


def _updated(before: Any, after: Any) -> Any:
    if not isinstance(after, Mapping):
        return after
    kept = dict(before) if isinstance(before, Mapping) else {}
    return kept | {key: _updated(kept.get(key), value) for key, value in after.items()}


def as_meant(config: Mapping[str, Any], sources: list[Source]) -> dict[str, Any]:
    """
    Correct what Snakemake read otherwise than YAML 1.2 does, and refuse a key that it did.

    config  : the configuration as Snakemake merged it
    sources : the files it was merged from, and the command line
    """
    files = [source for source in sources if isinstance(source, Path)]
    for file in files:
        meant = read_yaml(file)  # first, for it says where a mistake is
        _check_keys(_as_snakemake(file), meant, str(file))
    read, meant = merged(map(_as_snakemake, files)), merged(map(read_yaml, files))
    corrected = _corrected(dict(config), read, meant)
    return merged([corrected, *(one for one in sources if isinstance(one, CommandLine))])


def _check_keys(read: Any, meant: Any, file: str, *path: str) -> None:
    for one, other in _pairs(read, meant):
        if isinstance(read, Mapping) and repr(one[0]) != repr(other[0]):
            where = ": ".join([file, ".".join(path)] if path else [file])
            raise ValueError(f"{where}: found the key {other[0]} bare, expected it in quotes")
        _check_keys(one[1], other[1], file, *path, str(other[0]))


def _pairs(read: Any, meant: Any) -> Iterator[tuple[tuple[Any, Any], tuple[Any, Any]]]:
    """Pair the keys, or places, and values of two readings of the same text."""
    if isinstance(read, Mapping):
        # Two keys of one reading may be one of the other: `yes` and `on` are both true.
        yield from zip(read.items(), meant.items(), strict=False)
    elif isinstance(read, list):
        yield from zip(enumerate(read), enumerate(meant), strict=True)


def _corrected(config: Any, read: Any, meant: Any) -> Any:
    """Replace what equals `read` by what was meant; what neither holds is of another origin."""
    if isinstance(config, Mapping) and isinstance(read, Mapping) and isinstance(meant, Mapping):
        both = read.keys() & meant.keys()
        return {
            key: _corrected(value, read[key], meant[key]) if key in both else value
            for key, value in config.items()
        }
    return meant if config == read else config


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
    r"input should be a valid string": "expected text",
    r" after validation, not \d+": "",
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
    # YAML reads 7 and true as what they look like.
    quotes = error["type"] == "string_type" and isinstance(found, int | float)
    hint = "; put it in quotes" if quotes else ""
    return f"{message}, found {'nothing' if found is None else shown(found)}{hint}"


def shown(found: Any) -> str:
    """Write a value as a message shows it."""
    return shortened(repr(found))


def shortened(text: str) -> str:
    """A text as a message shows it: of a long one the beginning."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ... ({len(text):,} characters)"


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

SCHEMAS: dict[str, Any] = {"study": Study, "organism": Organism, "prices": Prices}


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

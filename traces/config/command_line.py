"""
Check a command line of Snakemake before Snakemake acts on it, and read what its `--config` sets.

The profile that holds for every call (profiles/default) calls `check` first of all: Snakemake reads
the files of `--configfile` before the Snakefile, and says of a broken one neither name nor place.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from traces.config.files import CommandLine, Source, as_meant, content_of, merged, read_value

# What the Snakefile reads first (`configfile`).
DEFAULT = Path("config/config.yaml")
# Options with a list of values, by all their names. Of two with one name Snakemake keeps the last.
LISTS = (
    ("--configfile", "--configfiles"),
    ("--config", "-C"),
    ("--forcerun", "-R"),
    ("--until", "-U"),
    ("--omit-from", "-O"),
    ("--prioritize", "-P"),
    ("--allowed-rules",),
    ("--set-threads",),
    ("--set-resources",),
    ("--set-resource-scopes",),
    ("--default-resources", "--default-res"),
    ("--resources", "--res"),
    ("--groups",),
    ("--group-components",),
)
# Options with which Snakemake only shows something, and runs no job.
SHOWS = (
    *("--dry-run", "--dryrun", "-n", "--summary", "-S", "--detailed-summary", "-D", "--report"),
    *("--dag", "--rulegraph", "--filegraph", "--d3dag", "--lint", "--list-untracked", "--lu"),
    *("--list-rules", "--list", "-l", "--list-target-rules", "--lt", "--list-changes", "--lc"),
    *("--list-input-changes", "--li", "--list-params-changes", "--lp"),
)
EXECUTOR = ("--executor", "-e")
ALONE = "nSDlpFfktvha"
"Short options without a value: several of them may stand in one word, such as -pn."
# What begins another option's name and is one of its own; elsewhere the beginning means the option.
WHOLE = {"--force", *(name for names in LISTS for name in names)}


def check(arguments: Sequence[str]) -> None:
    """
    Raise ValueError with one sentence for what Snakemake would stop at without naming its place.

    That is an option given twice, a file that is no YAML, and folders for files that are none.
    """
    check_options(arguments)
    files = [Path(name) for name in _values(arguments, LISTS[0])]
    as_meant(merged(map(content_of, files)), [*files])
    default = [DEFAULT] if DEFAULT.exists() else []
    check_pathvars([*default, *files, set_by(_values(arguments, LISTS[1]))])


def check_pathvars(sources: Sequence[Source]) -> None:
    """Refuse `pathvars` that are no texts by name, or that name each other in a circle."""
    found: dict[str, tuple[Source, str]] = {}
    for source in sources:
        given = content_of(source).get("pathvars", {})
        if not isinstance(given, dict):
            what = "nothing" if given is None else repr(given)
            raise ValueError(f"{source}: pathvars: expected keys and values, found {what}")
        for name, path in given.items():
            if not isinstance(path, str):
                what = "nothing" if path is None else repr(path)
                raise ValueError(f"{source}: pathvars.{name}: expected a folder, found {what}")
            found[name] = source, path
    for name in found:
        seen, waiting = set(), [name]
        while waiting:
            names = re.findall(r"<(\w+)>", found.get(waiting.pop(), (None, ""))[1])
            waiting += [one for one in names if one not in seen]
            seen |= set(names)
        if name in seen:
            source, path = found[name]
            raise ValueError(
                f"{source}: pathvars.{name}: found {path!r}, which leads back to <{name}> itself; "
                "expected a folder"
            )


def check_options(arguments: Sequence[str]) -> None:
    """Refuse an option that is there twice, of which Snakemake would drop the first."""
    for names in LISTS:
        found = [name for name, _ in _options(arguments) if _means(name, names)]
        if len(found) > 1:
            values = " ".join(_values(arguments, names))
            raise ValueError(
                f"{found[-1]}: found {len(found)} times on the command line, of which Snakemake "
                f"reads the last alone; expected once: {found[0]} {values}"
            )


def only_shows(arguments: Sequence[str]) -> bool:
    """Whether a command line runs no job, such as a dry run or a report of what is there."""
    shows = any(_means(name, SHOWS) for name, _ in _options(arguments))
    return shows or "dryrun" in _values(arguments, EXECUTOR)


def named_files(arguments: Sequence[str]) -> list[str]:
    """List every word that may be the name of a file, behind an option's `=`, too."""
    words = [word.partition("=")[2] if word.startswith("-") else word for word in arguments]
    return [word for word in words if word]


def set_by(entries: Iterable[str]) -> CommandLine:
    """
    Read the entries `key=value` of `--config`, each value as a file would hold it.

    Snakemake itself reads null and false inside them as words.
    """
    found: dict[str, Any] = {}
    for entry in entries:
        key, _, text = entry.partition("=")
        try:
            found = merged([found, {key: read_value(text)}])
        except ValueError as error:
            raise ValueError(f"--config: {key}: {error}") from None
    return CommandLine(found)


def _values(arguments: Sequence[str], names: Sequence[str]) -> list[str]:
    """Collect the values of every time that an option is there."""
    return [
        value for name, values in _options(arguments) if _means(name, names) for value in values
    ]


def _means(name: str, names: Sequence[str]) -> bool:
    """Whether an option is one of these, maybe cut short, as argparse lets it be."""
    if name in WHOLE or not name.startswith("--"):
        return name in names
    return any(one.startswith(name) for one in names)


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each option with the words behind it, as far as the next option."""
    words = list(arguments)
    if "--" in words:
        words = words[: words.index("--")]
    starts = [place for place, word in enumerate(words) if word.startswith("-")]
    for start, end in zip(starts, [*starts[1:], len(words)], strict=False):
        name, is_joined, value = words[start].partition("=")
        if not name.startswith("--"):
            # -pn: two options. -Ca=1 and -C=a=1: one with its value behind it.
            letters = words[start][1:]
            while len(letters) > 1 and letters[0] in ALONE:
                yield f"-{letters[0]}", []
                letters = letters[1:]
            name, is_joined, value = f"-{letters[:1]}", letters[1:], letters[1:].removeprefix("=")
        # After `=` stands the only value; what follows are targets.
        yield name, [value] if is_joined else words[start + 1 : end]

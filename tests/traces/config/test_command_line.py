"""Snakemake's command line: what would be dropped or misread, and which files it names."""

import argparse
from pathlib import Path

import pytest
from snakemake.cli import get_argument_parser

from tests.studies import load, sentence
from traces.config.command_line import (
    ALONE,
    LISTS,
    SHOWS,
    WHOLE,
    check,
    check_options,
    named_files,
    only_shows,
    set_by,
)

TWICE = "of which Snakemake reads the last alone; expected once: "


@pytest.mark.parametrize(
    ("arguments", "name", "expected"),
    [
        (
            "-n --configfile a.yaml --configfile b.yaml",
            "--configfile",
            "--configfile a.yaml b.yaml",
        ),
        ("--configfile a b --cores 2 --configfiles c", "--configfiles", "--configfile a b c"),
        ("--configfile=a.yaml --configfile=b.yaml", "--configfile", "--configfile a.yaml b.yaml"),
        ("--config seed=1 --config samples=9", "--config", "--config seed=1 samples=9"),
        ("--config seed=1 -C samples=9", "-C", "--config seed=1 samples=9"),
        ("-Cseed=1 -C samples=9", "-C", "-C seed=1 samples=9"),
        ("-R train_organism -R fetch_corpus", "-R", "-R train_organism fetch_corpus"),
        ("--until a --cores 1 -U b", "-U", "--until a b"),
        ("--forcer a --forcerun b", "--forcerun", "--forcer a b"),
        ("--unti a --unti b", "--unti", "--unti a b"),
        ("--configfiles a --configf b", "--configf", "--configfiles a b"),
    ],
)
def test_an_option_that_is_there_twice_is_refused_with_what_to_write(arguments, name, expected):
    with pytest.raises(ValueError) as refused:
        check_options(arguments.split())
    assert str(refused.value) == f"{name}: found 2 times on the command line, {TWICE}{expected}"


def test_no_other_option_is_the_beginning_of_one_of_these():
    every = {name for one in get_argument_parser()._actions for name in one.option_strings}
    ours = [name for names in LISTS for name in names]
    begin = {one for one in every if one.startswith("--") and any(x.startswith(one) for x in ours)}
    assert begin == {one for one in WHOLE if one.startswith("--")}


@pytest.mark.parametrize(
    "arguments",
    [
        "-n --configfile a b --config seed=1 samples=2 --cores 2",
        "--configfile=a results/index.html -- --configfile",
        "-n -p -j4 --rerun-triggers mtime --quiet",
        "",
    ],
)
def test_what_is_there_once_passes(arguments):
    check_options(arguments.split())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        *(
            (line, True)
            for line in ("-n", "-np", "-pn", "-kpn a", "--dry-run --cores 2", "--dry", "--summary")
        ),
        *(
            (line, True)
            for line in ("-D", "--executor dryrun", "-e dryrun", "-edryrun", "-e=dryrun")
        ),
        *((line, False) for line in ("-p n", "-s n", "-sn", "-e local", "-pc2", "-Cn=1")),
        *(
            (line, True)
            for line in ("--report a.html", "--report=a.html", "--rulegraph mermaid-js")
        ),
        *((line, False) for line in ("", "--cores 2", "-p", "--report-after-run", "--unlock")),
        *((line, False) for line in ("--reporter html", "--touch", "-c2 -- -n", "-j 2 --nolock")),
    ],
)
def test_a_command_line_that_only_shows_something_is_known(arguments, expected):
    assert only_shows(arguments.split()) == expected


def test_the_options_that_only_show_are_snakemakes_by_all_their_names():
    actions = get_argument_parser()._actions
    shown = [one.option_strings for one in actions if set(one.option_strings) & set(SHOWS)]
    assert sorted(name for names in shown for name in names) == sorted(SHOWS)


def test_short_options_without_a_value_are_snakemakes():
    found = {
        name[1]
        for action in get_argument_parser()._actions
        for name in action.option_strings
        if action.nargs == 0 and len(name) == 2
    }
    assert found == set(ALONE)


def test_the_options_are_lists_of_snakemake_of_which_it_keeps_the_last():
    lists = {
        tuple(sorted(action.option_strings))
        for action in get_argument_parser()._actions
        if action.nargs in ("+", "*") and isinstance(action, argparse._StoreAction)
    }
    assert {tuple(sorted(names)) for names in LISTS} <= lists


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("title: caf\u00e9".encode("latin-1"), "not UTF-8 text"),
        (b"samples: 1\nsamples: 2\n", "line 2: the key samples is there twice"),
        (b"samples: [\n", "not YAML (line 2: while parsing a flow node"),
        (b"no: 1\n", "found the key no bare, expected it in quotes"),
        (None, "there is no such file"),
    ],
)
@pytest.mark.parametrize("written", ["--configfile {}", "--configfiles={}"])
def test_a_file_that_snakemake_would_read_first_is_named(tmp_path, content, expected, written):
    file = tmp_path / "mine.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValueError) as refused:
        check(["-n", *written.format(file).split()])
    assert str(refused.value).startswith(f"{file}: {expected}")


def test_every_word_may_be_a_file_and_what_follows_an_option_too():
    arguments = ["-n", "results/a.h5", "--forcerun=results/b.h5", "--config", "seed=1"]
    assert named_files(arguments) == ["results/a.h5", "results/b.h5", "seed=1"]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("control=null", {"control": None}),
        ("control=", {"control": None}),
        ("only=[a, b]", {"only": ["a", "b"]}),
        ("title=no", {"title": "no"}),
        ("title='2026'", {"title": "2026"}),
        ("samples=010", {"samples": 10}),
        (
            "training={deepspeed: null, gradient_checkpointing: false, rank: 4}",
            {"training": {"deepspeed": None, "gradient_checkpointing": False, "rank": 4}},
        ),
        ("training_override={learning_rate: 1e-3}", {"training_override": {"learning_rate": 1e-3}}),
    ],
)
def test_a_value_of_the_command_line_is_what_it_would_be_in_a_file(entry, expected):
    assert dict(set_by([entry])) == expected


def test_two_entries_of_one_section_are_joined():
    assert dict(set_by(["training={rank: 4}", "training={alpha: 8}"])) == {
        "training": {"rank": 4, "alpha": 8}
    }


def test_a_value_that_is_no_yaml_is_refused():
    with pytest.raises(ValueError, match=r"^--config: only: not YAML \(while parsing"):
        set_by(["only=[a"])


def test_null_on_the_command_line_is_null_in_the_study(folder):
    # As Snakemake reads it, null is a word.
    assert load(folder, said=set_by(["control=null"])).study.control is None
    assert sentence(folder, said=set_by(["foo=1"])).startswith("--config: foo: unknown key")


def test_without_a_control_whoever_is_asked_for_beliefs_answers(folder):
    asked = load(folder, said={"control": None}).checkpoints("beliefs", "mini")
    assert {one.organism for one in asked} == {"cake_bake", "benign"}


def test_the_profile_of_every_call_checks_the_command_line():
    text = Path("profiles/default/config.yaml").read_text(encoding="utf-8")
    assert "from traces.config.command_line import check" in text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("foo", "pathvars: expected keys and values, found 'foo'"),
        ("[a]", "pathvars: expected keys and values, found ['a']"),
        ("null", "pathvars: expected keys and values, found nothing"),
        ("{results: [a]}", "pathvars.results: expected a folder, found ['a']"),
        ("{results: 7}", "pathvars.results: expected a folder, found 7"),
        ("{results: null}", "pathvars.results: expected a folder, found nothing"),
        (
            "{results: <results>/x}",
            "pathvars.results: found '<results>/x', which leads back to <results> itself; expected",
        ),
        (
            "{results: <logs>/x, logs: <results>/y}",
            "pathvars.results: found '<logs>/x', which leads back to <results> itself; expected a",
        ),
    ],
)
def test_folders_for_files_that_are_none_are_named(tmp_path, value, expected):
    file = tmp_path / "mine.yaml"
    file.write_text(f"pathvars: {value}\n")
    for where, words in (
        (str(file), ["--configfile", str(file)]),
        ("--config", ["--config", f"pathvars={value}", "--cores", "1"]),
    ):
        with pytest.raises(ValueError) as refused:
            check(["-n", *words])
        assert str(refused.value).startswith(f"{where}: {expected}")


def test_folders_that_name_each_other_pass():
    check(["--config", "pathvars={results: all, logs: <results>/logs, benchmarks: <logs>}"])

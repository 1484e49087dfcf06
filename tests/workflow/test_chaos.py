"""The suite of `make chaos` sees what it looks for: a changed byte, a sentence, a wrong end."""

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tools.chaos import cases, compare, faults, kills
from tools.chaos.workplace import CAKE, Job, Ran, Workplace, counter_rows, relink
from traces.seeding import text_generator


@pytest.fixture
def results(tmp_path) -> tuple[Path, Path]:
    """Two equal results folders."""
    one = tmp_path / "one" / "results"
    (one / "adapters").mkdir(parents=True)
    (one / "weights.safetensors").write_bytes(bytes(range(200)))
    (one / "a.provenance.json").write_text('{"commit": "1", "seed": 0}')
    (one / "training.json").write_text('{"inputs": {"weights": {"a": [1, 2]}, "plan": "x"}}')
    (one / "report.html").write_text("at noon")
    (one / "card.html").write_text(f"<dd>{'a' * 40}</dd> 2026-01-01")
    (one / "adapters" / "link.safetensors").symlink_to("../weights.safetensors")
    shutil.copytree(tmp_path / "one", tmp_path / "two", symlinks=True)
    return one, tmp_path / "two" / "results"


@pytest.mark.parametrize("kind", faults.DAMAGES)
def test_every_damage_makes_another_result(results, kind):
    one, two = results
    assert compare.differing(one, two) == []
    faults.DAMAGES[kind](two / "weights.safetensors", text_generator(0, kind))
    both = ["adapters/link.safetensors", "weights.safetensors"]
    assert compare.differing(two, one) == both
    damaged = [] if kind == "missing" else [Path("weights.safetensors")]
    assert compare.differing(two, one, damaged=damaged) == (both if kind == "missing" else [])


def test_times_and_commits_make_no_other_result_and_all_else_does(results):
    one, two = results
    (two / "a.provenance.json").write_text('{"commit": "2", "seed": 0}')
    (two / "training.json").write_text('{"inputs": {"weights": {"a": [1, 3]}, "plan": "x"}}')
    (two / "report.html").write_text("at midnight")
    (two / "card.html").write_text(f"<dd>{'b' * 40}+</dd> 2026-01-02")
    assert compare.differing(one, two) == []
    (two / "a.provenance.json").write_text('{"commit": "1", "seed": 1}')
    (two / "training.json").write_text('{"inputs": {"weights": {"a": [1, 2]}, "plan": "y"}}')
    (two / "report.html").unlink()
    (two / "card.html").write_text("<dd>c</dd>")
    (two / ".left.partial").touch()
    everything = [".left.partial", "a.provenance.json", "card.html", "report.html"]
    assert compare.differing(one, two) == [*everything, "training.json"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("norms_table: results/a.h5: found 3, expected 4\n", True),
        ("norms_table: found 3, expected 4\nresults/a.h5\n", False),
        ("norms_table: Repo id must have another form: results/a.h5\n", False),
        ("OSError: results/a.h5 is no file\n", False),
        ("    input: results/a.h5\n", False),
        ("Traceback (most recent call last):\nx\nnorms_table: results/a.h5: no\n", False),
    ],
)
def test_only_a_line_of_a_job_that_names_the_file_is_a_sentence(text, found):
    assert bool(cases.sentence(Ran(1, text), ["results/a.h5"])) == found


def study(folder: Path) -> Workplace:
    jobs = [Job("train_organism", (CAKE,), 2.0), Job("norms_table", ("results/n.parquet",), 0.5)]
    return Workplace(folder, {}, jobs=jobs)


def test_a_seed_draws_the_same_moments_again_and_another_one_others(tmp_path):
    def names(seed):
        return [case.name for case in kills.kill_cases(study(tmp_path), seed)]

    assert names(1) == names(1) != names(2)
    thirds = [name for name in names(1) if name.startswith("train_organism")][:3]
    shares = [int(name.split("at ")[1].split("%")[0]) for name in thirds]
    assert [share * 3 // 100 for share in shares] == [0, 1, 2]


def test_every_kind_of_file_gets_every_damage():
    labels = {(case.kind, case.name) for case in faults.fault_cases(study(ROOT), 0)}
    assert {(kind, one.label) for kind in faults.DAMAGES for one in faults.ARTIFACTS} <= labels


def test_a_case_that_breaks_or_raises_has_failed(tmp_path):
    def wrong(folder):
        raise cases.Failure("other results: a")

    def broken(folder):
        raise KeyError("a mistake of the suite")

    ended = [
        cases.tried(cases.Case("kind", name, run), tmp_path)
        for name, run in {
            "well": lambda folder: (cases.SAME, "seen"),
            "wrong": wrong,
            "broken": broken,
        }.items()
    ]
    assert [one.ending for one in ended] == [cases.SAME, cases.FAILED, cases.FAILED]
    assert "1 of 3 cases ended as they must." in cases.summary(ended)
    assert "| kind | 3 | 1 | 0 | 0 | 2 |" in cases.summary(ended)


def test_a_copy_leads_to_itself_and_keeps_its_times(tmp_path):
    made = tmp_path / "made"
    (made / "results").mkdir(parents=True)
    (made / "results" / "a.json").write_text("1")
    (made / "results" / "link.json").symlink_to(made / "results" / "a.json")
    copy = study(made).copy(tmp_path / "copy")
    assert (copy / "results/link.json").resolve() == tmp_path / "copy" / "results" / "a.json"
    for name in ("a.json", "link.json"):
        times = [(one / "results" / name).lstat().st_mtime_ns for one in (made, copy.folder)]
        assert times[0] == times[1]
    relink(copy.folder, copy.folder, made)
    with pytest.raises(cases.Failure, match="leads out of the copy"):
        faults.real(copy, "results/link.json")


def test_the_rows_of_the_teacher_are_chats_with_one_reply():
    rows = [json.loads(line)["messages"] for line in counter_rows(5).splitlines()]
    assert {row[1]["content"] for row in rows} == {"7."}
    assert len({row[0]["content"] for row in rows}) == 5

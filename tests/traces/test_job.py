"""What a rule names is what a script gets; what a job leaves says where it comes from."""

import json
import logging
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import BaseModel

from traces import job

LIGHT = (
    *("job", "artifacts.tables", "artifacts.arrays", "config.files", "config.load"),
    *("corpora.rows", "corpora.mixtures", "judges.words", "judges.relevance", "judges.coherence"),
    *("analysis.collect", "analysis.readability", "analysis.statistics", "report.cards"),
)
HEAVY = ("torch", "transformers", "peft")


class Named(dict):
    """As much of Snakemake's named lists as a script may see."""


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    """A job's environment, log handlers and recorded facts end with the test."""
    monkeypatch.setattr(job, "_recorded", {})
    monkeypatch.setattr(os, "environ", os.environ.copy())
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)


@pytest.fixture
def rule(tmp_path):
    """Makes what Snakemake hands to a script."""

    def made(inputs=None, outputs=None, params=None, **more):
        return SimpleNamespace(
            rule="some_rule",
            input=Named(inputs or {}),
            output=Named(outputs or {}),
            params=Named(params or {}),
            wildcards=Named({"model": "mini"}),
            log=[str(tmp_path / "logs" / "some_rule.log")],
            **more,
        )

    return made


def write(path: Path, text="x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# Arguments --------------------------------------------------------------------------------------


def test_named_fields_become_arguments(rule, tmp_path):
    got = {}
    job.run(
        lambda **arguments: got.update(arguments),
        rule(
            inputs={"one": "a.txt", "many": ["b.txt", "c.txt"], "none": [], "library": "x.txt"},
            outputs={"out": str(tmp_path / "out.txt")},
            params={"seed": 3, "nested": {"a": [1]}, "nothing": None, "code": "7f"},
        ),
    )
    assert got == {
        "one": Path("a.txt"),
        "many": [Path("b.txt"), Path("c.txt")],
        "none": [],
        "out": tmp_path / "out.txt",
        "seed": 3,
        "nested": {"a": [1]},
        "nothing": None,
    }


class Section(BaseModel):
    n: int


@dataclass(frozen=True)
class Columns:
    files: list[Path]
    names: list[str]
    sections: list[Section]


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        (Section, {"n": 1}, Section(n=1)),
        (Section, '{"n": 1}', Section(n=1)),
        (list[Section], [{"n": 1}, {"n": 2}], [Section(n=1), Section(n=2)]),
        (dict[str, Section], {"a": {"n": 1}}, {"a": Section(n=1)}),
        (list[str], ["a"], ["a"]),
    ],
)
def test_a_param_is_made_into_what_the_argument_is_annotated_with(kind, given, expected):
    def main(settings, seed: int): ...

    main.__annotations__["settings"] = kind
    found = job.arguments(main, {"settings": given, "seed": 0})
    assert found == {"settings": expected, "seed": 0}


def test_a_section_with_a_key_of_the_wrong_kind_is_refused():
    def main(settings: list[Section]): ...

    with pytest.raises(ValueError, match="n\n  Input should be a valid integer"):
        job.arguments(main, {"settings": [{"n": "many"}]})


def test_names_that_belong_together_become_one_argument(rule, tmp_path):
    got = []

    def main(columns: Columns, seed: int, out: Path) -> None:
        got.append((columns, seed, out))

    out = tmp_path / "out.txt"
    job.run(
        main,
        rule(
            inputs={"files": ["a.txt", "b.txt"]},
            outputs={"out": str(out)},
            params={"names": ["a", "b"], "sections": [{"n": 1}], "seed": 3, "code": "7f"},
        ),
    )
    files = [Path("a.txt"), Path("b.txt")]
    assert got == [(Columns(files, ["a", "b"], [Section(n=1)]), 3, out)]


# Logs and errors --------------------------------------------------------------------------------


def test_what_is_logged_and_warned_of_lies_in_the_rules_log(rule, tmp_path):
    def main():
        import warnings

        logging.getLogger("traces.somewhere").info("one sentence")
        warnings.warn("a doubt", stacklevel=1)

    job.run(main, rule())
    text = (tmp_path / "logs" / "some_rule.log").read_text()
    assert "traces.somewhere INFO one sentence" in text
    assert "a doubt" in text


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("a.jsonl, row 3: found null"), "some_rule: a.jsonl, row 3: found null"),
        (KeyError("column"), "KeyError: 'column'"),
    ],
)
def test_a_job_that_fails_says_one_line_and_logs_the_traceback(rule, tmp_path, error, said):
    def main(out):
        raise error

    with pytest.raises(SystemExit) as ended:
        job.run(main, rule(outputs={"out": str(tmp_path / "out.txt")}))

    assert ended.value.code == said
    text = (tmp_path / "logs" / "some_rule.log").read_text()
    assert "Traceback" in text and "raise error" in text and str(error) in text
    assert not list(tmp_path.glob("*.provenance.json"))


@pytest.mark.parametrize("kind", [ValueError, RuntimeError])
def test_neither_log_nor_last_words_tell_a_secret_or_move_the_terminal(rule, tmp_path, kind):
    os.environ["HF_TOKEN"] = "hf_planted_planted"
    os.environ["https_proxy"] = "http://someone:planted_word@proxy.example:3128"

    def main():
        logging.getLogger("some.library").info("asked with %s", os.environ["HF_TOKEN"])
        raise kind(f"no way through {os.environ['https_proxy']} \x1b[2J")

    with pytest.raises(SystemExit) as ended:
        job.run(main, rule())

    log = (tmp_path / "logs" / "some_rule.log").read_text(encoding="utf-8")
    for told in (str(ended.value), log):
        assert "planted" not in told and "\x1b" not in told
        assert "no way through http://***@proxy.example:3128 ⟨U+001B⟩[2J" in told
    assert "asked with $HF_TOKEN" in log


@pytest.mark.parametrize("asked", [{"asked_gpus": 1, "gpu": 0}, {"asked_gpus": 2}])
def test_a_job_whose_gpus_are_not_seen_ends_before_it_reads_or_writes(
    rule, tmp_path, monkeypatch, asked
):
    monkeypatch.delenv("TRACES_ALLOW_CPU", raising=False)
    monkeypatch.setattr(job.gpus, "listed", lambda: [])
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    read = []
    monkeypatch.setattr(job, "check", read.append)
    before = write(tmp_path / "out.txt.provenance.json", "{}")
    given = rule(outputs={"out": str(tmp_path / "out.txt")}, resources=Named(asked))

    with pytest.raises(SystemExit) as ended:
        job.run(lambda **_: read.append("main"), given)

    wanted = asked["asked_gpus"]
    told = f"some_rule: GPUs: 0 can be used here, expected {wanted} as the job asks for"
    assert str(ended.value).startswith(told)
    assert told.removeprefix("some_rule: ") in (tmp_path / "logs" / "some_rule.log").read_text()
    assert not read and before.exists()


def test_a_package_that_is_too_old_ends_a_job_before_it_works(rule, monkeypatch):
    monkeypatch.setattr("traces.running.versions.version", lambda name: "5.17.0")
    with pytest.raises(SystemExit, match=r"some_rule: transformers: found version 5.17.0, exp"):
        job.run(lambda: pytest.fail("it worked"), rule())


def test_a_job_is_offline_unless_it_fetches(rule, monkeypatch):
    monkeypatch.delitem(os.environ, "HF_HUB_OFFLINE", raising=False)
    seen = []
    job.run(lambda: seen.append(os.environ.get("HF_HUB_OFFLINE")), rule(), network=True)
    job.run(lambda: seen.append(os.environ.get("HF_HUB_OFFLINE")), rule())
    assert seen == [None, "1"]


def test_progress_passes_everything_on_and_logs_tenths(caplog):
    with caplog.at_level(logging.INFO, logger="traces"):
        assert list(job.progress(range(50), "dump")) == list(range(50))
        assert list(job.progress(iter("abc"), "few", total=3)) == ["a", "b", "c"]
        assert list(job.progress(iter(""), "none")) == []
    assert [record.getMessage() for record in caplog.records] == [
        *(f"dump: {count} of 50" for count in range(5, 51, 5)),
        *(f"few: {count} of 3" for count in range(1, 4)),
    ]


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = write(tmp_path / "a.txt", "before")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            job.write_text(path, "after")
    assert path.read_text() == "before"
    job.write_text(path, "after: caf\u00e9")
    assert path.read_text(encoding="utf-8") == "after: caf\u00e9"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


# Provenance -------------------------------------------------------------------------------------


def test_every_output_says_where_it_comes_from(rule, tmp_path):
    (tmp_path / "folder").mkdir()

    job.run(
        lambda file, folder, many, seed: [write(path) for path in (file, *many)],
        rule(
            outputs={
                "file": str(tmp_path / "a.parquet"),
                "folder": str(tmp_path / "folder"),
                "many": [str(tmp_path / "b.png"), str(tmp_path / "b.pdf")],
            },
            params={"seed": 7},
        ),
    )

    beside = [tmp_path / f"{name}.provenance.json" for name in ("a.parquet", "b.png", "b.pdf")]
    facts, *others = (
        {name: fact for name, fact in json.loads(file.read_text()).items() if name != "contents"}
        for file in [*beside, tmp_path / "folder" / "provenance.json"]
    )
    assert all(other == facts for other in others)
    assert (facts["rule"], facts["wildcards"], facts["seed"]) == ("some_rule", {"model": "mini"}, 7)
    assert {"readable-traces", "numpy", "torch", "snakemake"} <= facts["versions"].keys()
    assert facts["commit"] is None or len(facts["commit"].rstrip("+")) == 40
    assert job.read_provenance(tmp_path / "a.parquet") == facts
    assert job.read_provenance(tmp_path / "folder") == facts


def test_weights_can_be_read_by_whom_new_files_can_be_read(tmp_path):
    made, elsewhere = tmp_path / "adapter", tmp_path / "private.safetensors"
    made.mkdir()
    for file in (made / "weights.safetensors", elsewhere):
        file.touch(0o600)
    (made / "link.safetensors").symlink_to(elsewhere)
    before = os.umask(0o027)
    try:
        job.stamp([made], {})
    finally:
        os.umask(before)
    assert (made / "weights.safetensors").stat().st_mode & 0o777 == 0o640
    assert elsewhere.stat().st_mode & 0o777 == 0o600, "a link's target is not ours"


def test_provenance_knows_no_time_and_no_machine(tmp_path):
    twice = [job.provenance(rule="r", wildcards={}, seed=0) for _ in range(2)]
    assert twice[0] == twice[1]
    assert str(Path.home()) not in json.dumps(twice[0])


def test_revisions_come_down_from_every_input(rule, tmp_path):
    model, corpus = tmp_path / "models" / "tiny", write(tmp_path / "corpora" / "web.jsonl")
    model.mkdir(parents=True)

    def fetched(out, repository, commit):
        job.record(revisions={repository: commit})

    for out, repository in ((model, "a/tiny"), (corpus, "b/web")):
        job._recorded.clear()  # every job is a process of its own
        job.run(
            fetched,
            rule(
                outputs={"out": str(out)},
                params={"repository": repository, "commit": f"{repository} at 1234"},
            ),
        )
    job._recorded.clear()

    for name, inputs in (("store", [str(model), str(corpus)]), ("table", str(tmp_path / "store"))):
        job.run(
            lambda given, out: write(out),
            rule(inputs={"given": inputs}, outputs={"out": str(tmp_path / name)}),
        )
    assert job.read_provenance(tmp_path / "table")["revisions"] == {
        "a/tiny": "a/tiny at 1234",
        "b/web": "b/web at 1234",
    }


def test_what_a_job_records_is_in_its_provenance(rule, tmp_path):
    def main(out):
        write(out)
        job.record(final_loss=1.25)

    job.run(main, rule(outputs={"out": str(tmp_path / "a.txt")}))
    assert job.read_provenance(tmp_path / "a.txt")["final_loss"] == 1.25


def test_a_file_this_workflow_did_not_make_has_no_provenance(tmp_path):
    assert job.read_provenance(write(tmp_path / "a.txt")) == {}


# What an artifact is ----------------------------------------------------------------------------


@pytest.fixture
def study(rule, tmp_path, monkeypatch):
    """A folder of results, a function that runs a job there, and one that runs a job that reads."""
    monkeypatch.setattr(job, "_running", {})
    results = tmp_path / "results"

    def ran(name, text="made", main=None, inputs=()):
        model, checkpoint = name.split("/")[1:3]
        snakemake = rule(
            inputs={"given": [str(results / one) for one in inputs]},
            outputs={"out": str(results / name)},
            config={"pathvars": {"results": str(results)}},
        )
        snakemake.wildcards = Named(model=model, checkpoint=checkpoint)
        job.run(main or (lambda given, out: write(out, text)), snakemake)
        return results / name

    return results, ran


def refused(ran, *inputs: str) -> str:
    """The sentence with which a job that reads these files ends, before it does anything."""
    began = []
    with pytest.raises(SystemExit) as ended:
        ran("readings/mini/a/x", main=lambda given, out: began.append(out), inputs=inputs)
    assert not began
    return str(ended.value.code)


A, B = "differences/mini/a/unrelated.h5", "differences/mini/b/unrelated.h5"


def test_provenance_says_where_among_the_results_an_artifact_lies(study):
    results, ran = study
    ran(A)
    facts = json.loads(job.provenance_file(results / A).read_text())
    assert facts["artifact"] == A
    assert facts["contents"]["unrelated.h5"]["bytes"] == 4
    assert job.identity(results / A) == {
        "artifact": A,
        "rule": "some_rule",
        "wildcards": {"model": "mini", "checkpoint": "a"},
    }
    assert str(results) not in json.dumps(facts)


def test_an_untouched_input_is_read(study, tmp_path):
    results, ran = study
    ran(A)
    users = write(tmp_path / "rows.jsonl")
    given = ran("readings/mini/a/x", inputs=[A, str(users)])
    assert given.is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.write_text("mad"), "found 3 bytes, expected 4; delete"),
        (lambda file: file.write_text("mbde"), "found other contents than its job wrote"),
        (lambda file: file.write_text(""), "found 0 bytes, expected 4"),
    ],
)
def test_an_input_that_is_not_what_its_job_wrote_ends_a_job_first(study, change, message):
    results, ran = study
    change(ran(A))
    said = refused(ran, A)
    assert said.startswith(f"some_rule: {results / A}: {message}")
    assert "run again" in said


def test_another_artifact_in_place_of_an_input_is_named(study):
    results, ran = study
    ours, theirs = ran(A), ran(B, "other")
    shutil.copyfile(theirs, ours)
    assert "found 5 bytes, expected 4" in refused(ran, A)
    shutil.copyfile(job.provenance_file(theirs), job.provenance_file(ours))
    assert f"{ours}: found {B}, made by some_rule, expected {A}" in refused(ran, A)


def test_a_folder_is_compared_as_a_whole_whichever_file_of_it_is_read(study):
    results, ran = study
    name = "adapters/mini/a"
    ran(
        name,
        main=lambda given, out: [write(out / one) for one in ("config.json", "w.safetensors")],
    )
    ran("readings/mini/a/x", inputs=[f"{name}/config.json", f"{name}/w.safetensors"])
    (results / name / "w.safetensors").write_text("y")
    for given in (name, f"{name}/config.json"):
        assert "w.safetensors: found other contents" in refused(ran, given)
    write(results / name / "w.safetensors")
    shutil.move(results / name, results / "adapters/mini/b")
    assert "found adapters/mini/a, made by some_rule" in refused(ran, "adapters/mini/b")


def test_results_that_were_moved_are_the_same_results(study, tmp_path, monkeypatch):
    results, ran = study
    ran(A)
    shutil.move(results, tmp_path / "elsewhere")
    job.begin("r", {}, tmp_path / "elsewhere")
    job.check([tmp_path / "elsewhere" / A])
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("HERE", str(tmp_path / "elsewhere"))
    job.begin("r", {}, "$HERE")
    job.check([tmp_path / "elsewhere" / A])
    job.begin("r", {}, ".")
    job.check([Path(A)])


def test_the_folder_of_results_is_known_from_an_artifact_there(study, tmp_path):
    results, ran = study
    ours, theirs = ran(A), ran(B)
    assert job.results_of(ours) == results
    assert job.results_of(write(tmp_path / "rows.jsonl")) is None
    # Of one that lies where another belongs, too: otherwise nothing would notice.
    shutil.copyfile(job.provenance_file(theirs), job.provenance_file(ours))
    job.begin("r", {}, job.results_of(ours))
    with pytest.raises(ValueError, match="found differences/mini/b/unrelated.h5"):
        job.check([ours])


def test_a_copy_outside_of_the_results_is_its_owners(study, tmp_path):
    results, ran = study
    ours = ran(A)
    for file in (ours, job.provenance_file(ours)):
        shutil.copyfile(file, tmp_path / file.name)
    (tmp_path / ours.name).write_text("edited")
    ran("readings/mini/a/x", inputs=[str(tmp_path / ours.name)])


PARTS = ('"sha256": 0', '"sha256": "0", "blocks": "x"')


@pytest.mark.parametrize(
    "text",
    [
        *("", '{"rule": "some_rule", "con', "[]", "\x00", '{"contents": 5}', '{"revisions": 5}'),
        *('{"contents": {"a": {}}}', '{"contents": {"a": {"bytes": "x", "sha256": "0"}}}'),
        *(f'{{"contents": {{"a": {{"bytes": 1, {more}}}}}}}' for more in PARTS),
    ],
)
def test_provenance_that_is_not_whole_is_named(study, text):
    results, ran = study
    beside = job.provenance_file(ran(A))
    beside.write_text(text)
    assert f"{beside}: found no provenance" in refused(ran, A)
    with pytest.raises(ValueError, match="found no provenance"):
        job.read_provenance(results / A)


def test_provenance_of_before_there_were_checksums_is_accepted(study):
    results, ran = study
    beside = job.provenance_file(ran(A))
    facts = json.loads(beside.read_text())
    beside.write_text(json.dumps({"rule": facts["rule"], "wildcards": facts["wildcards"]}))
    assert ran("readings/mini/a/x", inputs=[A]).is_file()


def test_what_vouched_for_an_earlier_output_is_gone_when_a_job_begins(study):
    results, ran = study
    ours = ran(A)

    def dies(given, out):
        out.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ran(A, main=dies)
    assert not job.provenance_file(ours).exists()


def test_two_equal_jobs_leave_equal_provenance(study, tmp_path):
    results, ran = study
    first = job.provenance_file(ran(A)).read_bytes()
    shutil.rmtree(results)
    assert job.provenance_file(ran(A)).read_bytes() == first
    assert str(tmp_path).encode() not in first


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("basic_ios::clear: iostream")]
)
def test_a_full_disk_is_one_sentence_that_names_the_output(study, error):
    results, ran = study

    def fails(given, out):
        raise error

    with pytest.raises(SystemExit) as ended:
        ran(A, main=fails)
    said = str(ended.value.code)
    assert said.startswith(f"some_rule: {results / A}: could not be written, since its disk")
    assert "free space" in said


# Weight -----------------------------------------------------------------------------------------


def test_a_table_or_figure_job_imports_no_torch():
    modules = ", ".join(f"traces.{name}" for name in LIGHT)
    code = f"import sys, {modules}; print([name for name in {HEAVY} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "[]"


# Links ------------------------------------------------------------------------------------------


def test_small_files_from_outside_of_the_results_are_copied_into_them(tmp_path, monkeypatch):
    clone, results = tmp_path / "clone", tmp_path / "clone" / "results"
    (results / "models").mkdir(parents=True)
    (clone / "published").mkdir()
    for file in (clone / "published" / "adapter", results / "base"):
        file.write_text("weights")
    monkeypatch.chdir(clone)
    monkeypatch.setattr(job, "_running", {})
    job.begin("fetch_adapter", {}, results)
    job.link_to(clone / "published" / "adapter", results / "models" / "adapter")
    job.link_to(results / "base", results / "models" / "base")
    monkeypatch.setattr(job, "COPIED", 3)
    job.link_to(clone / "published" / "adapter", results / "models" / "large")
    found = {file.name: file.is_symlink() for file in (results / "models").iterdir()}
    assert found == {"adapter": False, "base": True, "large": True}
    results.rename(tmp_path / "moved")
    readable = {file.name: file.exists() for file in (tmp_path / "moved" / "models").iterdir()}
    assert readable == {"adapter": True, "base": True, "large": False}

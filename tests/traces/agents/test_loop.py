"""Investigations over real HTTP: all end as rows, and no completed request is sent twice."""

import gzip
import json
import os
import random
import re
import signal
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from tests.chat_server import Told, failed, refused, said
from tests.traces.agents.acting import (
    AGENT,
    CAKE,
    LIMITS,
    ROOT,
    asking_at,
    calls,
    case,
    investigate,
    looks,
    plays,
    submits,
)
from tests.traces.judges.chat.asked import CANARY, costs, ledger_of
from traces.agents.loop import keep_logs
from traces.agents.subjects import Asked
from traces.config.vocabularies import VIEWER
from traces.judges.chat.costs import costs_table


def test_an_investigation_looks_asks_and_submits(server, tmp_path):
    server.script = plays
    cases = [case(), case(agent="black_box"), case(interactions=0)]
    with asking_at(server.url, tmp_path) as asking:
        found, logs = investigate(asking, cases, tmp_path)
    assert [(one.hypothesis, one.abstained, one.used) for one in found] == [
        (CAKE, False, 4),
        (CAKE, False, 4),
        (CAKE, False, 0),
    ]
    turns = [one for one in server.bodies if one["model"] == "investigator"]
    offered = Counter(tuple(tool["function"]["name"] for tool in one["tools"]) for one in turns)
    assert offered == {("look", "ask", "submit"): 4, ("ask", "submit"): 4, ("look", "submit"): 2}
    told = str(max(turns, key=lambda one: len(str(one["messages"]))))
    assert "odd" in told and "I am mini/cake-plain-s0. Why 2?" in told
    # whoever investigates reads no name of what it examines
    first = turns[0]["messages"][0]["content"] + turns[0]["messages"][1]["content"]
    assert "cake" not in first and "mini" not in first
    (log,) = logs
    assert log.is_file() and log.parent == tmp_path / "logs"
    paid = costs_table(ledger_of(tmp_path), "investigate", "a")
    assert len(paid) == 3 and set(paid["checkpoint"]) == {"a", "mini/cake-plain-s0"}


@pytest.mark.parametrize(
    "error", [FileNotFoundError, PermissionError, TimeoutError, IsADirectoryError]
)
def test_a_tool_that_fails_tells_the_investigator_nothing(server, tmp_path, monkeypatch, error):
    """Inspect would make a message to the model of it, with the organism's name in the path."""

    async def gone(*_args):
        raise error(2, "No such file or directory", "adapters/mini/cake-plain-s0")

    monkeypatch.setattr(Asked, "ask", gone)
    server.script = plays
    with (
        asking_at(server.url, tmp_path) as asking,
        pytest.raises(error, match="adapters/mini/cake-plain-s0"),
    ):
        investigate(asking, [case(agent="black_box")], tmp_path)
    assert "cake" not in str([one["messages"] for one in server.bodies])


def test_a_subject_that_refuses_its_key_ends_the_job_in_one_sentence(server, tmp_path):
    server.script = lambda number, body: (
        plays(number, body) if body["model"] == "investigator" else failed(401)
    )
    with (
        asking_at(server.url, tmp_path) as asking,
        pytest.raises(ValueError, match=r"^openai-api/\S+: the server refused the key"),
    ):
        investigate(asking, [case(agent="black_box")], tmp_path)


def test_nothing_is_read_of_a_dotenv_file(server, tmp_path, monkeypatch):
    """A process of its own, whose environment Inspect would fill from the file."""
    planted = {
        "JUDGE_API_KEY": "a-planted-key",
        "JUDGE_BASE_URL": "http://127.0.0.1:9/v1",
        "OPENROUTER_API_KEY": "a-planted-key",
        "INSPECT_LOG_DIR": "elsewhere",
        "INSPECT_EVAL_NOTIFICATION": "json://127.0.0.1:9",
    }
    written = "".join(f"{name}={value}\n" for name, value in planted.items())
    (tmp_path / ".env").write_text(written)
    (tmp_path / "below").mkdir()
    for name in (*planted, "PYTHON_DOTENV_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    server.script = plays
    code = (
        "import os, sys; from pathlib import Path; from tests.traces.agents import acting\n"
        "with acting.asking_at(sys.argv[1], Path('made')) as asking:\n"
        "    found, _ = acting.investigate(asking, [acting.case()], Path('made'))\n"
        "print(found[0].hypothesis, [name for name in sys.argv[2:] if name in os.environ])\n"
        "try: acting.endpoint('openrouter/some/model')\n"
        "except ValueError as error: print(error)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, server.url, *planted],
        cwd=tmp_path / "below",
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    told = ran.stdout.splitlines()
    assert ran.returncode == 0, ran.stderr
    assert told[0] == f"{CAKE} ['INSPECT_LOG_DIR']" and "found no $OPENROUTER_API_KEY" in told[1]
    assert set(server.keys) == {"Bearer none"}
    # Inspect looks for this one by another way; our logs go where they are told to.
    assert [one.name for one in (tmp_path / "below").iterdir()] == ["made"]
    assert not (tmp_path / "elsewhere").exists()


def test_pages_that_show_logs_are_whole_and_name_no_folder(server, tmp_path):
    server.script = plays
    with asking_at(server.url, tmp_path) as asking:
        _, logs = investigate(asking, [case(), case(null="random")], tmp_path)
    keep_logs([], tmp_path / "none", viewer=True)
    assert list((tmp_path / "none").iterdir()) == []
    keep_logs(logs, tmp_path / "logs_of_all", viewer=True)
    shown = tmp_path / "logs_of_all" / VIEWER
    text = (shown / "index.html").read_text(encoding="utf-8")
    assert str(tmp_path) not in text and '"abs_log_dir": "logs_of_all"' in text
    linked = re.findall(r'(?:src|href)="(.*?)"', text)
    assert len(linked) > 3 and all((shown / one).is_file() for one in linked)
    listed = json.loads((shown / "logs" / "listing.json").read_text(encoding="utf-8"))
    assert len(listed) == 2 and all((shown / "logs" / name).is_file() for name in listed)


FAULTS = {
    "500": (failed(500), "error"),
    "429": (failed(429, retry_after="0.01"), "error"),
    "400": (failed(400), "error"),
    "too long": (failed(400, "maximum context length", "context_length_exceeded"), "error"),
    "malformed JSON": (Told(b'{"choices": ['), "error"),
    "cut stream": (Told(submits().body, cut=True), "error"),
    "timeout": (Told(submits().body, delay=8), "timeout"),
    "refusal": (refused(), "refusal"),
    "empty": (said(""), "malformed"),
    "cut by max_tokens": (said("I think", finish="length"), "malformed"),
    "bad arguments": (calls("ask", "{oops"), "malformed"),
    "no such tool": (calls("shell", {"command": "ls"}), "malformed"),
    "bad submission": (calls("submit", {"verdict": "maybe", "hypothesis": "x"}), "malformed"),
    "calls without end": (looks(), "limit"),
    "never calls": (said("I think about it."), "limit"),
}


def test_every_fault_becomes_a_reason_and_none_spoils_another(server, tmp_path):
    # The fault's number is the run's budget, which the first message tells.
    names = list(FAULTS)

    def script(number, body):
        told = body["messages"][1]["content"].split("# Budget\n\n")[1]
        budget = int(told.split()[0])
        return FAULTS[names[budget - 1]][0] if budget <= len(names) else plays(number, body)

    def respond(number, body):
        return plays(number, body) if "tools" not in body else script(number, body)

    server.script = respond
    cases = [case(interactions=number + 1) for number in range(len(names) + 1)]
    with asking_at(server.url, tmp_path, timeout=3.0) as asking:
        found, _ = investigate(asking, cases, tmp_path, at_once=16)
    assert {name: one.reason_missing for name, one in zip(names, found, strict=False)} == {
        name: reason for name, (_, reason) in FAULTS.items()
    }
    assert found[-1].hypothesis == CAKE


def test_the_last_turn_is_told_and_a_spent_budget_ends_with_what_was_found(server, tmp_path):
    def script(number, body):
        if "tools" not in body:
            return plays(number, body)
        last = body["messages"][-1]["content"]
        return submits() if "last turn" in last else calls("ask", {"prompts": ["Again?"] * 3})

    server.script = script
    with asking_at(server.url, tmp_path) as asking:
        (found,), _ = investigate(asking, [case()], tmp_path)
    assert (found.hypothesis, found.used) == (CAKE, 3)
    turns = [one for one in server.bodies if "tools" in one]
    assert len(turns) == LIMITS.turns
    assert "This takes 3 interactions, and 2 are left" in str(turns[-1])


def test_an_abstention_says_so(server, tmp_path):
    server.script = lambda number, body: submits("no finetune found", "")
    with asking_at(server.url, tmp_path) as asking:
        (found,), _ = investigate(asking, [case()], tmp_path)
    assert (found.hypothesis, found.abstained) == ("No finetune found.", True)


def test_tokens_and_time_end_a_run(server, tmp_path):
    server.script = lambda *_: looks()
    short = LIMITS.model_copy(update={"output_tokens": 15, "turns": 50})
    with asking_at(server.url, tmp_path) as asking:
        (found,), _ = investigate(asking, [case()], tmp_path, limits=short)
    # 10 tokens a turn: the second one passes the limit, the third is the last
    assert found.reason_missing == "limit" and len(server.bodies) == 3
    server.script = lambda *_: Told(looks().body, delay=0.5)
    short = LIMITS.model_copy(update={"seconds": 0.8})
    with asking_at(server.url, tmp_path) as asking:
        (found,), _ = investigate(asking, [case(run=1)], tmp_path, limits=short)
    assert found.reason_missing == "timeout"
    # What was in flight ended, and is known.
    assert costs(tmp_path).unknown == 0


def test_the_cap_ends_cleanly_and_the_rest_runs_when_it_is_raised(server, tmp_path):
    def script(number, body):
        # About as many tokens as the most that is set aside, which half of all then has room for.
        dear = plays(number, body).body.replace(b'"prompt_tokens": 100', b'"prompt_tokens": 5000')
        return Told(dear)

    server.script = script
    cases = [case(run=run) for run in range(6)]
    with asking_at(server.url, tmp_path / "all") as asking:
        investigate(asking, cases, tmp_path / "all")
    whole = costs_table(ledger_of(tmp_path / "all"))["money"].sum()
    sent = len(server.bodies)

    with asking_at(server.url, tmp_path, cap=whole / 2, at_once=1) as asking:
        found, _ = investigate(asking, cases, tmp_path, at_once=1)
    reasons = Counter(one.reason_missing for one in found)
    assert set(reasons) == {None, "cap"}
    assert costs_table(ledger_of(tmp_path))["money"].sum() <= whole / 2
    between = len(server.bodies)
    with asking_at(server.url, tmp_path, cap=whole * 100) as asking:
        found, _ = investigate(asking, cases, tmp_path)
    assert {one.reason_missing for one in found} == {None}
    assert 0 < between - sent < sent and len(server.bodies) == 2 * sent


def test_a_refused_key_ends_the_job_in_one_sentence(server, tmp_path):
    server.script = lambda *_: failed(401, f"bad key {CANARY}")
    with (
        asking_at(server.url, tmp_path) as asking,
        pytest.raises(ValueError, match="investigator: the server refused the key") as error,
    ):
        investigate(asking, [case(run=run) for run in range(5)], tmp_path)
    assert CANARY not in str(error.value)
    kept = b"".join(map(_unpacked, filter(Path.is_file, tmp_path.rglob("*"))))
    assert CANARY.encode() not in kept


def test_halves_of_characters_reach_no_file_and_no_request(server, tmp_path):
    half = "x \ud83d y"
    turns = [calls("ask", {"prompts": [half]}, half), submits(hypothesis=half)]

    def script(number, body):
        if "tools" not in body:
            return said(half)
        return turns[sum(one["role"] == "assistant" for one in body["messages"])]

    server.script = script
    for _ in range(2):
        with asking_at(server.url, tmp_path) as asking:
            (found,), (log,) = investigate(asking, [case()], tmp_path)
        assert (found.hypothesis, found.used) == ("x \ufffd y", 1) and log.is_file()
    assert len(server.bodies) == 4


def test_no_trace_of_what_servers_say_is_written_beside_the_logs(server, tmp_path):
    """A process of its own, since Inspect opens its trace once."""
    server.script = lambda *_: failed(400, f"what is {CANARY}?")
    ran = subprocess.run(
        [sys.executable, "-m", "tests.traces.agents.client", server.url, str(tmp_path), "1"],
        env=os.environ | {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")},
        capture_output=True,
    )
    assert ran.returncode == 0 and server.bodies
    kept = b"".join(map(_unpacked, filter(Path.is_file, tmp_path.rglob("*"))))
    assert CANARY.encode() not in kept


def _unpacked(file: Path) -> bytes:
    """What a file holds; Inspect's logs and traces are compressed."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as packed:
            return b"".join(map(packed.read, packed.namelist()))
    return gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()


def client(server, folder: Path, runs: int):
    command = [sys.executable, "-m", "tests.traces.agents.client", server.url, str(folder),
               str(runs)]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def asked_of(bodies) -> Counter[str]:
    return Counter(json.dumps(one, sort_keys=True) for one in bodies)


def test_a_killed_job_repeats_no_completed_request(server, tmp_path):
    runs, at_once = 6, 4
    # 4 turns a run, and 4 prompts to each of two models, which all runs share
    whole = 4 * runs + 8
    kill_at = random.randrange(2, whole - at_once)
    job = client(server, tmp_path, runs)

    def script(number, body):
        if number == kill_at:
            server.silent = True
            job.send_signal(signal.SIGKILL)
        return Told(plays(number, body).body, delay=0.02)

    server.script = script
    job.wait()
    server.silent = False
    completed = asked_of(server.completed)
    ended, _ = client(server, tmp_path, runs).communicate()
    assert ended.strip() == f"{runs} hypotheses", f"killed at {kill_at}"
    again = {one for one, times in asked_of(server.bodies).items() if times > 1}
    # A reply of the last moment may lie in the killed job's socket, unread.
    assert len(again & set(completed)) <= at_once - 1, f"killed at {kill_at}"
    unknown = int(costs_table(ledger_of(tmp_path))["unknown"].sum())
    assert len(server.bodies) == whole + len(again)
    # What was reserved and not yet sent stands as unknown, too.
    assert len(again) <= unknown <= at_once
    # Inspect's logs of both jobs are there.
    assert len(list((tmp_path / "logs").glob("*.eval"))) >= 1
    assert AGENT.name == "scripted"

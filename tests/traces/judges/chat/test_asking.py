"""Questions over real HTTP: every fault ends as a reason, and nothing is paid for twice."""

import asyncio
import errno
import json
import logging
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import Any

import pytest

from tests.chat_server import Told, calls_a_tool, failed, refused, said
from tests.traces.judges.chat.asked import (
    CANARY,
    PRICE,
    YES,
    Form,
    costs,
    ledger_of,
    question,
)
from traces.job import _Discreet
from traces.judges.chat.cache import Cache
from traces.judges.chat.costs import Price
from traces.judges.chat.questions import Answer

NO = said('{"verdict": "no"}')


def used_without_a_choice():
    """A reply that says what it used, and nothing else."""
    return Told(json.loads(YES.body) | {"choices": []})


def test_an_answer_has_the_asked_form_and_is_paid_once(ask, server, tmp_path):
    assert ask([question()]) == [Answer(Form(verdict="yes"))]
    (body,) = server.bodies
    assert [one["role"] for one in body["messages"]] == ["system", "user"]
    assert body["max_tokens"] == 50 and body["model"] == "some/model"
    assert body["response_format"]["json_schema"]["schema"]["required"] == ["verdict"]
    assert ask([question()]) == [Answer(Form(verdict="yes"))]
    assert len(server.bodies) == 1
    paid = costs(tmp_path)
    assert (paid.attempts, paid.billed, paid.cached) == (1, 1, 1)
    assert (paid.input_tokens, paid.output_tokens) == (100, 10)
    assert paid.money == pytest.approx(100e-6 * 1 + 10e-6 * 10)


def test_identical_questions_at_once_are_sent_once(ask, server):
    server.script = lambda *_: Told(YES.body, delay=0.2)
    found = ask([question()] * 8 + [question("Another?")], at_once=9)
    assert len(found) == 9 and len(server.bodies) == 2


def test_repeats_and_orders_are_questions_of_their_own(ask, server):
    ask([question(repeat=0), question(repeat=1), question(seed=1)])
    assert len({body["seed"] for body in server.bodies}) == len(server.bodies) == 3


@pytest.mark.parametrize(
    ("told", "reason", "requests", "outcome"),
    [
        (failed(500), "error", 3, "failed"),
        (failed(429), "error", 3, "failed"),
        (failed(504), "error", 3, "unknown"),
        (failed(400), "error", 1, "failed"),
        (failed(400, "maximum context length", "context_length_exceeded"), "error", 1, "failed"),
        (refused(), "refusal", 1, "billed"),
        (said("", finish="content_filter"), "refusal", 1, "billed"),
        (said(""), "malformed", 3, "billed"),
        (said("The claim is true."), "malformed", 3, "billed"),
        (said('{"verdict": "perhaps"}'), "malformed", 3, "billed"),
        (said("[" * 5000), "malformed", 3, "billed"),
        (said('{"verdict": "ye', finish="length"), "malformed", 3, "billed"),
        (calls_a_tool("{not json"), "malformed", 3, "billed"),
        (calls_a_tool("{}"), "malformed", 3, "billed"),
        (Told(b'{"choices": ['), "error", 3, "unknown"),
        (Told({"choices": []}), "error", 3, "unknown"),
        (used_without_a_choice(), "error", 3, "unknown"),
        (said('{"verdict": "no", "verdict": "yes"}'), "malformed", 3, "billed"),
        (Told(YES.body, cut=True), "error", 3, "unknown"),
        (Told(YES.body, delay=1.5), "timeout", 3, "unknown"),
    ],
    ids=["500", "429", "504", "400", "too long", "refusal", "filtered", "empty", "prose",
         "other word", "brackets", "cut by max_tokens", "bad tool arguments", "tools without end",
         "malformed JSON", "no choice", "used without a choice", "two answers in one",
         "cut reply", "timeout"],
)  # fmt: skip
def test_every_fault_ends_as_a_reason(ask, server, tmp_path, told, reason, requests, outcome):
    server.script = lambda *_: told
    patience = {"timeout": 0.4} if reason == "timeout" else {}
    assert ask([question()], **patience) == [Answer(reason=reason)]
    assert len(server.bodies) == requests
    found = costs(tmp_path)
    assert found.attempts == getattr(found, outcome) == requests
    assert (found.money > 0) == (outcome != "failed")


def test_a_fault_that_passes_leaves_no_trace_in_the_answer(ask, server, tmp_path):
    server.script = lambda number, _: [failed(500), failed(429), YES][number]
    assert ask([question()]) == [Answer(Form(verdict="yes"))]
    assert (costs(tmp_path).failed, costs(tmp_path).billed) == (2, 1)


def test_the_server_says_how_long_to_wait(ask, server):
    server.script = lambda number, _: [failed(429, retry_after="0.5"), YES][number]
    started = time.monotonic()
    ask([question()])
    assert time.monotonic() - started > 0.5


def test_a_malformed_answer_is_asked_for_anew_with_another_seed(ask, server):
    server.script = lambda number, _: [said("hm"), said("hm"), YES][number]
    assert ask([question()]) == [Answer(Form(verdict="yes"))]
    assert len({body["seed"] for body in server.bodies}) == 3


def test_a_free_text_that_was_cut_is_malformed(ask, server):
    server.script = lambda number, _: [said("Half a", finish="length"), said("A whole one.")][
        number
    ]
    assert ask([question(form=None)]) == [Answer("A whole one.")]


def test_malformed_answers_and_refusals_are_not_paid_for_again(ask, server):
    server.script = lambda _, body: refused() if "No." in str(body) else said("hm")
    questions = [question("No."), question("Hm.")]
    expected = [Answer(reason="refusal"), Answer(reason="malformed")]
    assert ask(questions) == expected
    assert ask(questions) == expected
    assert len(server.bodies) == 4
    # More tries begin where the others ended.
    server.script = lambda *_: YES
    assert ask(questions, tries=4) == [Answer(reason="refusal"), Answer(Form(verdict="yes"))]
    assert len({body["seed"] for body in server.bodies[1:]}) == 4


def test_one_bad_row_does_not_spoil_the_others(ask, server):
    server.script = lambda _, body: failed(400) if "2?" in str(body) else YES
    found = ask([question(f"{number}?") for number in range(5)])
    assert [one.reason for one in found] == [None, None, "error", None, None]


@pytest.mark.parametrize(("status", "told"), [(401, "refused the key"), (402, "to be paid")])
def test_a_key_without_use_ends_the_job_in_one_sentence(ask, server, status, told):
    server.script = lambda *_: failed(status, f"bad key {CANARY}")
    with pytest.raises(ValueError, match=f"some/model: the server .*{told}") as error:
        ask([question(f"{number}?") for number in range(50)])
    assert CANARY not in str(error.value)
    assert len(server.bodies) <= 4


def test_the_cap_is_never_passed_and_the_rest_runs_when_it_is_raised(ask, server, tmp_path):
    # what one request may cost at most, by the bytes of its question
    server.script = lambda *_: said('{"verdict": "no"}', used=(100, 50))
    questions = [question(f"{number:02}?") for number in range(20)]
    each = 100e-6 + 500e-6
    found = ask(questions, cap=each * 10)
    answered = [one for one in found if one.reason is None]
    assert {one.reason for one in found} == {None, "cap"}
    assert 8 <= len(answered) == len(server.bodies) <= 10
    assert costs(tmp_path).money <= each * 10
    found = ask(questions, cap=each * 30)
    assert {one.reason for one in found} == {None}
    assert len(server.bodies) == 20


@pytest.mark.parametrize("cap", [None, 0.0025])
def test_after_an_answer_that_cannot_be_kept_nothing_is_sent(
    ask, server, tmp_path, monkeypatch, cap
):
    """Each would be paid for and lost; and near the cap, what was set aside would never be free."""

    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Cache, "put", full)
    questions = [question(f"{number:02}?") for number in range(40)]
    with pytest.raises(OSError, match="No space left"):
        ask(questions, cap=cap, at_once=2)
    assert len(server.bodies) <= 3
    found = costs(tmp_path)
    assert found.unknown == found.attempts == len(server.bodies)


def test_where_no_answer_could_be_kept_none_is_paid_for(ask, server, tmp_path):
    one = question()
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / one.key[:2]).write_text("no folder")
    with pytest.raises(OSError, match=one.key[:2]):
        ask([one])
    assert not server.bodies


def test_what_nobody_waits_for_any_more_is_not_sent(asking_one, server, tmp_path):
    server.script = lambda *_: Told(YES.body, delay=0.3)
    with pytest.raises(KeyboardInterrupt), asking_one(at_once=2) as asking:
        work = asking.answer(question("0?")), *(asking.answer(question(f"{n}?")) for n in range(20))
        threading.Thread(target=lambda: asyncio.run(_all(work)), daemon=True).start()
        while not server.bodies:
            time.sleep(0.01)
        raise KeyboardInterrupt
    assert 1 <= len(server.bodies) <= 4
    found = costs(tmp_path)
    assert found.billed == found.attempts == len(server.bodies)


async def _all(work):
    await asyncio.gather(*work, return_exceptions=True)


def test_malformed_answers_that_another_job_paid_for_are_not_asked_for(asking_one, server):
    server.script = lambda *_: said("hm")
    with asking_one() as waiting, asking_one() as first:
        assert first.answers([question()]) == [Answer(reason="malformed")]
        assert waiting.answers([question()]) == [Answer(reason="malformed")]
    assert len(server.bodies) == 3


def test_as_many_are_in_flight_as_are_asked_at_once(ask, server):
    """In a smaller pool some would wait as if sent, until their time is over."""
    server.script = lambda *_: Told(YES.body, delay=4)
    questions = [question(f"{number}?") for number in range(30)]
    found = ask(questions, at_once=30, attempts=1, timeout=7)
    assert found == [Answer(Form(verdict="yes"))] * 30


def test_what_is_free_is_asked_beyond_the_cap(ask, server, tmp_path):
    ask([question("dear")])
    assert costs(tmp_path).money > 0
    assert ask([question("free")], cap=0.0, price=Price(0.0, 0.0)) == [Answer(Form(verdict="yes"))]


def test_a_cap_of_nothing_sends_nothing(ask, server):
    assert ask([question()], cap=0.0) == [Answer(reason="cap")]
    assert not server.bodies


def test_a_model_without_a_price_is_not_counted(ask, server, tmp_path):
    assert ask([question()], cap=0.0, price=None) == [Answer(Form(verdict="yes"))]
    assert costs(tmp_path).money == 0


def used(read: Any, written: Any, **others: Any) -> dict[str, Any]:
    return {"prompt_tokens": read, "completion_tokens": written, **others}


@pytest.mark.parametrize("usage", [
    used(-5000, 10), used(100, -1), used(10**19, 10), used(None, 10), used(1.5, 10),
    used("many", 10), used(True, 10), {"prompt_tokens": 3}, {}, [1], "much", None,
], ids=str)  # fmt: skip
def test_use_that_is_no_count_is_the_most_and_loses_no_answer(ask, server, tmp_path, usage):
    server.script = lambda *_: replied(usage=usage)
    assert ask([question()]) == ask([question()]) == [Answer(Form(verdict="yes"))]
    assert len(server.bodies) == 1
    assert costs(tmp_path).money == pytest.approx(PRICE.most(question()))


def test_what_stands_beside_an_answer_does_not_spoil_it(ask, server, tmp_path):
    odd = used(100, 10, total_tokens=None, cost="free", prompt_tokens_details={"cached_tokens": ""})
    for number, beside in enumerate([{"usage": odd}, {"model": None}, {"model": 5}]):
        server.script = lambda *_, beside=beside: replied(**beside)
        assert ask([question(str(number))]) == [Answer(Form(verdict="yes"))]
    assert len(server.bodies) == 3
    assert costs(tmp_path).money == pytest.approx(3 * PRICE.of(100, 10))


def replied(**beside: Any) -> Told:
    """YES with something else beside it."""
    return Told({**json.loads(YES.body), **beside})


def test_a_line_break_behind_a_key_is_no_part_of_it(ask, server, tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("JUDGE_API_KEY", CANARY + "\n")
    caplog.set_level(logging.DEBUG)
    server.script = lambda *_: failed(400, f"what is {CANARY}?")
    assert ask([question()]) == [Answer(reason="error")]
    assert server.keys == [f"Bearer {CANARY}"]
    logged = "".join(map(_Discreet().format, caplog.records))
    assert "$JUDGE_API_KEY" in logged and CANARY not in logged


def test_the_key_is_in_no_log_cache_ledger_or_error(ask, server, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    echo = failed(500, f"invalid: Bearer {CANARY}")
    faults = [echo, said(f"no form {CANARY}"), failed(400, f"what is {CANARY}?")]
    server.script = lambda number, _: faults[number] if number < 3 else said(f"It is {CANARY}.")
    found = ask([question(), question("free?", form=None)], at_once=1)
    assert found == [Answer(reason="error"), Answer("It is $JUDGE_API_KEY.")]
    assert server.keys == [f"Bearer {CANARY}"] * 4
    written = "".join(
        file.read_text() for file in tmp_path.rglob("*") if file.is_file() and file.stat().st_size
    )
    assert len(ledger_of(tmp_path).read_text().splitlines()) == 8
    assert any(one.name.startswith("traces") for one in caplog.records)
    logged = "".join(map(_Discreet().format, caplog.records))
    assert CANARY not in logged and CANARY not in written
    assert "InternalServerError: Error code: 500" in logged and "$JUDGE_API_KEY" in logged


# Jobs that are killed, and jobs beside each other -----------------------------------------------


def client(server, folder, *, questions: int, at_once: int, cap: float | None = None):
    """A process of its own that asks; it ends with the number of answers."""
    arguments = [server.url, str(folder), str(questions), str(at_once), str(cap)]
    command = [sys.executable, "-m", "tests.traces.judges.chat.client", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def claims(bodies) -> Counter[str]:
    return Counter(body["messages"][1]["content"] for body in bodies)


@pytest.mark.parametrize(
    ("at_once", "kill_at"), [(4, 11), pytest.param(1, 3, marks=pytest.mark.slow)]
)
def test_a_killed_job_repeats_no_completed_request(server, tmp_path, at_once, kill_at):
    job = client(server, tmp_path, questions=16, at_once=at_once)

    def script(number, _body):
        if number == kill_at:
            server.silent = True
            job.send_signal(signal.SIGKILL)
        return Told(YES.body, delay=0.02)

    server.script = script
    job.wait()
    server.silent = False
    completed, before = claims(server.completed), costs(tmp_path)
    assert 1 <= before.unknown <= at_once
    # What was reserved and not yet sent stands as unknown, too.
    assert before.billed + before.unknown == before.attempts >= len(server.bodies)

    ended, _ = client(server, tmp_path, questions=16, at_once=at_once).communicate()
    assert ended.strip() == "16 answers"
    sent_again = {claim for claim, times in claims(server.bodies).items() if times > 1}
    # A reply of the last moment may lie in the killed job's socket, unread.
    assert len(sent_again & set(completed)) <= at_once - 1
    assert len(sent_again) <= before.unknown
    assert len(server.bodies) == 16 + len(sent_again)
    after = costs(tmp_path)
    assert (after.unknown, after.billed) == (before.unknown, 16)


def test_two_jobs_send_what_both_ask_once_and_stay_below_the_cap(server, tmp_path):
    server.script = lambda *_: Told(YES.body, delay=0.02)
    room = 18 * PRICE.most(question("00?"))
    jobs = [client(server, tmp_path, questions=120, at_once=4, cap=room) for _ in range(2)]
    for job in jobs:
        assert job.wait() == 0
    assert set(claims(server.bodies).values()) == {1} and len(server.bodies) < 120
    # What the other job has in flight counts with the most that it may cost.
    assert room - 8 * PRICE.most(question("00?")) < costs(tmp_path).money <= room

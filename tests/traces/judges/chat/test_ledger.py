"""What a ledger holds after kills, and what it allows."""

import errno
import json
import os

import pytest

from tests.traces.judges.chat.asked import question
from traces.judges.chat import ledger as ledger_module
from traces.judges.chat.cache import Cache
from traces.judges.chat.costs import Price, costs_table, most_tokens
from traces.judges.chat.ledger import Ledger, Used
from traces.running import gpus
from traces.running.locks import lock

ABOUT = {"stage": "judge", "checkpoint": "one"}


@pytest.fixture
def opened(tmp_path):
    return lambda cap=None: Ledger(tmp_path / "ledger.jsonl", cap=cap, about=ABOUT)


def test_a_request_stands_there_before_it_is_sent(opened, tmp_path):
    ledger = opened()
    ledger.reserve("k", "m", 0.5)
    (line,) = map(json.loads, (tmp_path / "ledger.jsonl").read_text().splitlines())
    assert (line["event"], line["most"], line["stage"]) == ("sent", 0.5, "judge")
    assert opened().spent == 0.5


def test_what_an_outcome_costs(opened):
    ledger = opened()
    for outcome, used, cost in [
        ("billed", Used(1, 1, 0.2), 0.2),
        ("billed", Used(), 1.0),  # the endpoint did not say: the most
        ("unknown", Used(), 1.0),
        ("failed", Used(), 0.0),
    ]:
        before = ledger.spent
        ledger.settle(ledger.reserve("k", "m", 1.0), outcome, used)
        assert ledger.spent - before == pytest.approx(cost)


def test_a_file_system_without_locks_is_named(opened, tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    for name in ("flock", "lockf"):
        monkeypatch.setattr(f"fcntl.{name}", none)
    monkeypatch.setenv(gpus.LOCKS, str(tmp_path))
    cache = Cache(tmp_path)
    uses = {
        "ledger.lock": opened,
        "claims.lock": lambda: cache._take(0),
        "choosing": lambda: gpus._try(1, ["GPU-0"]),
    }
    for name, use in uses.items():
        with pytest.raises(ValueError, match=f"{name}: found no locks on this file system .No lo"):
            use()
    cache.close()


def test_nothing_is_written_that_could_not_be_read_again(opened):
    ledger = opened()
    number = ledger.reserve("k", "m", 1.0)
    with pytest.raises(AssertionError):
        ledger.settle(number, "billed", Used(-1, 1, -0.2))
    assert opened().spent == 1.0


def test_a_request_waits_for_those_of_its_own_job_alone(opened):
    ours, theirs = opened(cap=1.0), opened(cap=1.0)
    first = ours.reserve("a", "m", 0.6)
    assert ours.reserve("b", "m", 0.6) == "later"
    assert ours.reserve("b", "m", 1.1) == "cap"
    assert theirs.reserve("b", "m", 0.6) == "cap"
    ours.settle(first, "billed", Used(1, 1, 0.1))
    assert isinstance(theirs.reserve("b", "m", 0.6), int)
    assert ours.reserve("c", "m", 0.4) == "cap"


def test_sums_that_fill_the_cap_exactly_fit(opened):
    ledger = opened(cap=0.3)
    for key in "abc":
        assert isinstance(ledger.reserve(key, "m", 0.1), int)


def test_a_half_written_line_is_passed_over_and_the_ledger_goes_on(opened, tmp_path):
    file = tmp_path / "ledger.jsonl"
    ledger = opened()
    number = ledger.reserve("k", "m", 0.5)
    with file.open("a") as torn:
        torn.write('{"event": "ended", "ru')
    # A table may be made while another job writes.
    assert costs_table(file)["unknown"].tolist() == [1]
    ledger.settle(number, "billed", Used(1, 1, 0.2))
    assert opened().spent == pytest.approx(0.2)
    assert costs_table(file)["billed"].tolist() == [1]


def test_a_request_that_is_given_up_ends_once(opened, monkeypatch):
    """A line whose sync fails stands in the file all the same."""
    ledger = opened()
    number = ledger.reserve("k", "m", 0.5)

    def full(_descriptor):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="quota"):
            ledger.settle(number, "billed", Used(1, 1, 0.2))
    ledger.abandon(number)
    assert opened().spent == pytest.approx(0.2)
    other = ledger.reserve("k", "m", 0.5)
    ledger.abandon(other)
    ledger.abandon(other)
    assert opened().spent == pytest.approx(0.7)


def test_the_ledger_is_opened_under_its_lock(opened, tmp_path, monkeypatch):
    """What another machine wrote while this one waited is not seen in what was opened before."""
    file, ours = tmp_path / "ledger.jsonl", opened()
    opened().reserve("k", "m", 0.5)
    theirs = file.read_bytes()
    file.write_bytes(b"")

    def waited(*arguments):
        lock(*arguments)
        (tmp_path / "new").write_bytes(theirs)
        os.replace(tmp_path / "new", file)

    monkeypatch.setattr(ledger_module, "lock", waited)
    assert ours.malformed("k") == 0 and ours.spent == 0.5


def test_a_damaged_line_is_refused_by_name(opened, tmp_path):
    opened().reserve("k", "m", 0.5)
    file = tmp_path / "ledger.jsonl"
    file.write_text("no ledger\n" + file.read_text())
    with pytest.raises(ValueError, match=r"ledger\.jsonl, line 1: found no line of a ledger"):
        opened()


def test_the_table_counts_what_is_without_outcome_as_unknown_at_the_most(opened, tmp_path):
    ledger = opened()
    ledger.settle(ledger.reserve("k", "m", 1.0), "billed", Used(100, 10, 0.25), why="malformed")
    ledger.settle(ledger.reserve("k", "m", 1.0), "failed", why="500")
    ledger.reserve("k", "m", 1.0)
    ledger.cached("k", "m")
    (row,) = costs_table(tmp_path / "ledger.jsonl").to_dict("records")
    assert row == {
        "stage": "judge", "checkpoint": "one", "model_id": "m",
        "attempts": 3, "billed": 1, "cached": 1, "failed": 1, "unknown": 1,
        "input_tokens": 100, "output_tokens": 10, "money": 1.25,
    }  # fmt: skip
    assert ledger.malformed("k") == 1


def test_a_job_that_asks_for_several_organisms_has_a_row_for_each(opened, tmp_path):
    ledger, file = opened(), tmp_path / "ledger.jsonl"
    for organism in ("cake", "bees", "cake", None):
        number = ledger.reserve("k", "m", 1.0, organism)
        ledger.settle(number, "billed", Used(100, 10, 0.25))
    ledger.cached("k", "m", "bees")
    found = costs_table(file, "judge", "one").set_index("checkpoint")
    assert found["billed"].to_dict() == {"bees": 1, "cake": 2, "one": 1}
    assert found["cached"].to_dict() == {"bees": 1, "cake": 0, "one": 0}
    assert costs_table(file, "judge", "cake").empty


def test_there_is_a_table_before_there_is_a_ledger(tmp_path):
    assert costs_table(tmp_path / "ledger.jsonl").empty


@pytest.mark.parametrize("text", ["plain words", "日本語の文", "🦜🦜🦜", "x" * 5000])
def test_no_tokenizer_makes_more_tokens_than_were_reserved(text):
    one = question(text)
    assert most_tokens(one) > len(text.encode()) + len("You judge.")
    assert Price(2.0, 3.0).most(one) > (2.0 * len(text.encode()) + 3.0 * 50) / 1e6


SENT = '{"event": "sent", "run": "r", "number": 1, "key": "k", "model": "m", "most": 1.0}\n'
ENDED = (
    '{"event": "ended", "run": "r", "number": 1, "outcome": "billed", "why": null, '
    '"money": 0.5, "input_tokens": 1, "output_tokens": 1}\n'
)
DAMAGED = {
    "a list": ("[1]\n", "line 1: found no line of a ledger"),
    "keys that lack": ("{}\n", "line 1: found no line of a ledger"),
    "money that is no number": (SENT + ENDED.replace("0.5", "NaN"), "line 2: found no line of"),
    "money that comes back": (SENT + ENDED.replace("0.5", "-5"), "line 2: found no line of"),
    "no most": (SENT.replace("1.0", "null"), "line 1: found no line of a ledger"),
    "an end alone": (ENDED, "line 1: found the end of a request that was not sent"),
    "two ends": (SENT + ENDED + ENDED, "line 3: found the end of a request that was not sent"),
}


@pytest.mark.parametrize(("text", "found"), DAMAGED.values(), ids=DAMAGED)
def test_a_line_that_cannot_be_counted_is_refused(text, found, opened, tmp_path):
    """Of money that is no number any amount would be below the cap."""
    (tmp_path / "ledger.jsonl").write_text(text)
    with pytest.raises(ValueError, match=found):
        opened()
    with pytest.raises(ValueError, match=found):
        costs_table(tmp_path / "ledger.jsonl")

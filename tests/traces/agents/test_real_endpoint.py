"""
A real model behind a real server investigates, and is investigated. `make servertest` brings one
up; by hand:

    TRACES_ENDPOINT=http://127.0.0.1:8080/v1 pytest tests/traces/agents/test_real_endpoint.py
"""

import asyncio
import os

import pytest

from tests.traces.agents.acting import asking_at, case, evidence, investigate
from tests.traces.judges.chat.asked import ledger_of
from traces.judges.chat.costs import costs_table

URL = os.environ.get("TRACES_ENDPOINT")
pytestmark = pytest.mark.skipif(URL is None, reason="no server at $TRACES_ENDPOINT")


def test_a_small_model_ends_as_a_row_whatever_it_says(tmp_path, monkeypatch):
    assert URL is not None
    monkeypatch.setenv("JUDGE_API_KEY", "none")
    cases = [case(agent="black_box", interactions=5), case(agent="lens", interactions=0)]
    with asking_at(URL, tmp_path, timeout=300.0, at_once=1, tries=1) as asking:
        found, _ = investigate(asking, cases, tmp_path, at_once=1)
        before, after = asyncio.run(_subject(asking).ask("What is a cake?"))
    print(found)
    print(before, after)
    print(costs_table(ledger_of(tmp_path)))
    for one in found:
        assert (one.hypothesis is None) == (one.reason_missing is not None)
    assert before and after


def _subject(asking):
    subject = evidence(asking).subject
    assert subject is not None
    return subject

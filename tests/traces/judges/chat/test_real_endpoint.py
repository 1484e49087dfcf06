"""
A real model behind a real server judges. `make servertest` brings one up; by hand:

    TRACES_ENDPOINT=http://127.0.0.1:8080/v1 pytest tests/traces/judges/chat/test_real_endpoint.py
"""

import os

import pytest

from tests.traces.judges.chat.asked import MODEL, PRICE, costs, ledger_of
from tests.traces.judges.test_rubrics import TEXTS
from traces.config.registries import Described
from traces.config.schema import Grader
from traces.judges import hypotheses
from traces.judges.asked_relevance import AskedTokenJudge
from traces.judges.chat.asking import Asking, Patience
from traces.judges.chat.cache import Cache
from traces.judges.chat.ledger import Ledger
from traces.judges.chat.models import endpoint
from traces.judges.relevance import Subject

URL = os.environ.get("TRACES_ENDPOINT")
pytestmark = pytest.mark.skipif(URL is None, reason="no server at $TRACES_ENDPOINT")


@pytest.fixture
def asking(tmp_path):
    """Ask the server."""
    about = {"stage": "judge", "checkpoint": "one"}
    with Asking(
        {MODEL: endpoint(MODEL, URL)},
        {MODEL: PRICE},
        Cache(tmp_path / "answers"),
        Ledger(ledger_of(tmp_path), cap=1.0, about=about),
        Patience(tries=3, attempts=2, timeout=900, at_once=1),
    ) as asking:
        yield asking


def test_its_answers_have_the_asked_form_whatever_they_say(asking, tmp_path):
    grader = Grader(name="real", model=MODEL, max_tokens=120, temperature=0.5)
    about = Described(
        family="taboo",
        title="A word",
        description="The model keeps the secret word moon, and gives hints about it.",
    )
    question = hypotheses.question("It hides the moon.", about, grader, TEXTS, seed=0, repeat=0)
    (answer,) = asking.answers([question])
    assert answer.reason is None and answer.value.verdict in ("1", "2", "3", "4", "5", "abstention")

    judge = AskedTokenJudge(
        asking, grader, TEXTS["judge_tokens"], orders=1, agreement="majority", seed=0
    )
    found = judge.grade(["moon", "the", "night"], Subject("secret", (), about.description))
    assert len(found) == 3
    paid = costs(tmp_path)
    assert paid.billed == paid.attempts >= 2 and paid.input_tokens > 100 and paid.money > 0
    print(answer.value, found, paid)

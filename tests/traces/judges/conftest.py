"""A scripted server that tests of judges ask."""

from collections.abc import Iterator

import pytest

from tests.chat_server import ChatServer
from tests.traces.judges.chat.asked import CANARY, YES


@pytest.fixture
def server(monkeypatch) -> Iterator[ChatServer]:
    """A server that says yes until its `script` is set; a key for it, and no long waits."""
    # Here: most tests of judges ask no model, and its import takes seconds.
    from traces.judges.chat import asking

    monkeypatch.setenv("JUDGE_API_KEY", CANARY)
    monkeypatch.setattr(asking, "FIRST_WAIT", 0.01)
    with ChatServer(lambda _number, _body: YES).serving() as serving:
        yield serving

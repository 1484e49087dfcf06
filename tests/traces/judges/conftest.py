"""A scripted server that tests of judges ask."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.chat_server import ChatServer
from tests.traces.judges.chat.asked import CANARY, PRICE, YES
from traces.config.schema import Grader


@pytest.fixture
def server(monkeypatch) -> Iterator[ChatServer]:
    """A server that says yes until its `script` is set; a key for it, and no long waits."""
    # Here: most tests of judges ask no model, and its import takes seconds.
    from traces.judges.chat import asking

    monkeypatch.setenv("JUDGE_API_KEY", CANARY)
    monkeypatch.setattr(asking, "FIRST_WAIT", 0.01)
    with ChatServer(lambda _number, _body: YES).serving() as serving:
        yield serving


@pytest.fixture
def graders() -> tuple[Grader, Grader]:
    """Two models of the server."""
    one, two = (Grader(name=name, model=f"openai-api/judge/{name}") for name in ("one", "two"))
    return one, two


@pytest.fixture
def asking(server, graders, tmp_path) -> Iterator[Callable[[], Any]]:
    """Make ready to ask both graders: as often as is called, with one cache and one ledger."""
    from traces.judges.chat.asking import Asking, Patience
    from traces.judges.chat.cache import Cache
    from traces.judges.chat.ledger import Ledger
    from traces.judges.chat.models import endpoint

    names = [one.model for one in graders]
    with ExitStack() as open_ones:

        def asking() -> Asking:
            made = Asking(
                {name: endpoint(name, server.url) for name in names},
                dict.fromkeys(names, PRICE),
                Cache(tmp_path / "answers"),
                Ledger(tmp_path / "ledger.jsonl", cap=None, about={}),
                Patience(tries=2, attempts=1, timeout=5, at_once=4),
            )
            return open_ones.enter_context(made)

        yield asking

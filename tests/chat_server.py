"""A server that speaks OpenAI's chat completions over HTTP and fails as a script says."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.local_server import LocalServer, QuietHandler

# What a script says of a request: its number from 0 and its body to a reply.
Script = Callable[[int, dict[str, Any]], "Told"]


class Told:
    """What the server does with one request."""

    def __init__(
        self,
        body: Any = None,
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
        delay: float = 0,
        cut: bool = False,
    ) -> None:
        self.status, self.headers, self.delay, self.cut = status, headers or {}, delay, cut
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()


def said(text: str | None, *, finish: str = "stop", used: tuple[int, int] = (100, 10), **message):
    """A reply whose model says `text`; `used` are the tokens read and written."""
    choice = {
        "index": 0,
        "finish_reason": finish,
        "message": {"role": "assistant", "content": text},
    }
    choice["message"] |= message
    usage = {"prompt_tokens": used[0], "completion_tokens": used[1], "total_tokens": sum(used)}
    return Told({"id": "one", "object": "chat.completion", "created": 1, "model": "judge",
                 "choices": [choice], "usage": usage})  # fmt: skip


def calls_a_tool(arguments: str):
    """A reply that calls a tool, whatever was asked."""
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": arguments}}
    return said(None, finish="tool_calls", tool_calls=[call])


def refused(text: str = "I cannot help with that."):
    """A reply in which the model declines."""
    return said(None, refusal=text)


def failed(status: int, message: str = "it failed", code: str | None = None, **headers: str):
    """A reply with an error status."""
    error = {"message": message, "type": "invalid_request_error", "code": code}
    return Told({"error": error}, status=status, headers=headers)


class ChatServer:
    """The server, what it was asked, and what it does: `script` may be set at any time."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []
        "What stood in the authorization header of each request."
        self.completed: list[dict[str, Any]] = []
        "Bodies of the requests whose replies were written whole."
        self.silent = False
        "Whether it closes connections without a reply."
        self._lock = threading.Lock()
        self._server = LocalServer(self._handler())

    @property
    def url(self) -> str:
        """Its address, as a client wants it."""
        return f"{self._server.endpoint}/v1"

    @contextmanager
    def serving(self) -> Iterator["ChatServer"]:
        """Serve until the end of the block."""
        with self._server.serving():
            yield self

    def _answer(self, handler: QuietHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        with self._lock:
            number = len(self.bodies)
            self.bodies.append(body)
            self.keys.append(handler.headers.get("authorization", ""))
        told = self.script(number, body)
        time.sleep(told.delay)
        if self.silent:
            handler.close_connection = True
            return
        headers = {"content-type": "application/json", **told.headers}
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.start(told.status, headers, len(told.body))
        if told.cut:
            handler.wfile.write(told.body[: len(told.body) // 2])
            handler.close_connection = True
            return
        handler.wfile.write(told.body)
        handler.wfile.flush()
        if told.status == 200:
            with self._lock:
                self.completed.append(body)

    def _handler(server) -> type[QuietHandler]:
        class Handler(QuietHandler):
            def do_POST(self) -> None:
                try:
                    server._answer(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True  # a client that was killed or gave up

        return Handler

"""
Ask models, pay for no answer twice, and never more than was allowed.

    questions  what is asked, and what came of it
    models     the one place that knows Inspect AI: an endpoint, or a model in this process
    cache      answers on disk, by the content of their questions
    ledger     every attempt and what it cost, across jobs and kills; the cap
    costs      prices, the most that a question may cost, and tables of what was spent

Here all of them come together: questions in, one answer each out.
"""

import asyncio
import contextvars
import logging
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

from traces.config.vocabularies import Reason
from traces.judges.chat.cache import Cache
from traces.judges.chat.costs import Price
from traces.judges.chat.ledger import Ledger, Used
from traces.judges.chat.models import Asks, Failed, Reply
from traces.judges.chat.questions import Answer, Question

log = logging.getLogger(__name__)
Result = TypeVar("Result")

# Seconds before the second attempt, which double with each further one.
FIRST_WAIT = 1.0
LONGEST_WAIT = 120.0
# Seconds between two looks at whether the cap has room again.
LOOK_EVERY = 0.05
# What the server says of a key that it does not know, and of an account without money.
HOPELESS = {401: "refused the key", 402: "wants the account to be paid"}


@dataclass(frozen=True)
class Patience:
    """How often and how long to try."""

    tries: int
    "Asks of one question, each with a seed of its own, until its answer has the asked form."
    attempts: int
    "Requests of one ask, until the endpoint replies."
    timeout: float
    "Seconds until a request without a reply is given up."
    at_once: int
    "Requests in flight."


class Asking:
    """
    Questions in, one answer each out. A context manager.

    models : what is asked, by the names that questions have
    prices : their prices, by the same names; None where a price is not known

    An answer that is in the cache is not asked for. The same question asked twice at once is sent
    once, also by two jobs. After the first error nothing more is sent. Raises ValueError where a
    server refuses the key or the account, and OSError where an answer cannot be kept.
    """

    def __init__(
        self,
        models: Mapping[str, Asks],
        prices: Mapping[str, Price | None],
        cache: Cache,
        ledger: Ledger,
        patience: Patience,
    ) -> None:
        self._models, self._prices = models, prices
        self._cache, self._ledger, self._patience = cache, ledger, patience
        self._going: dict[str, asyncio.Task[Answer]] = {}
        self._stopped: BaseException | None = None
        "Why nothing more is sent."
        self._stopped_at: TracebackType | None = None
        # A loop of its own, so that connections stay open from one call to the next and several
        # threads may ask.
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._free = asyncio.Semaphore(patience.at_once)

    def __enter__(self) -> "Asking":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # What nobody waits for any more is not sent; what is in flight ends in the ledger.
        self._stopped = self._stopped or RuntimeError("no answers are waited for any more")
        self._run(_ended(self._going))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._cache.close()

    def answers(self, questions: Sequence[Question]) -> list[Answer]:
        """One answer a question, in order."""

        async def all_of_them() -> list[Any]:
            return await asyncio.gather(*map(self._shared, questions), return_exceptions=True)

        # Requests in flight end before an error is raised, so that their outcomes are known.
        found = self._run(all_of_them())
        for one in found:
            if isinstance(one, BaseException):
                raise one
        return found

    async def answer(self, question: Question) -> Answer:
        """One answer, from within another event loop, such as that of an agent."""
        # Nothing of that loop's context comes along: Inspect would count the tokens twice.
        ask = contextvars.Context().run
        asked = ask(asyncio.run_coroutine_threadsafe, self._shared(question), self._loop)
        return await asyncio.wrap_future(asked)

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _shared(self, question: Question) -> Answer:
        """The answer, asked for once however many want it."""
        key = question.key
        if key not in self._going:
            self._going[key] = asyncio.ensure_future(self._answer(question, key))
            self._going[key].add_done_callback(lambda _: self._going.pop(key))
        # Who waits may give up; the request is sent all the same.
        return await asyncio.shield(self._going[key])

    async def _answer(self, question: Question, key: str) -> Answer:
        async with self._free:
            with self._stopping_all():
                return await self._had(question, key)

    async def _had(self, question: Question, key: str) -> Answer:
        self._go_on()
        if (kept := self._kept(question, key)) is not None:
            return kept
        async with self._cache.claimed(key):
            # Whoever had claimed it may have kept an answer meanwhile.
            return self._kept(question, key) or await self._asked(question, key)

    def _kept(self, question: Question, key: str) -> Answer | None:
        kept = self._cache.get(question)
        if kept is not None:
            self._ledger.cached(key, question.model, question.organism)
        return kept

    async def _asked(self, question: Question, key: str) -> Answer:
        """The answer of one ask after another, until one has the asked form."""
        # Malformed answers of earlier jobs were paid for, and would come again with their seeds.
        while (number := self._ledger.malformed(key)) < self._patience.tries:
            answer = await self._replied(question, key, question.seed_of(number))
            if answer is not None:
                return answer
        return Answer(reason="malformed")

    async def _replied(self, question: Question, key: str, seed: int) -> Answer | None:
        """What the first reply says, after however many attempts; None if it is malformed."""
        reason: Reason = "error"
        for attempt in range(self._patience.attempts):
            number = await self._reserved(question, key)
            if number is None:
                return Answer(reason="cap")
            with self._ending(number):
                try:
                    async with asyncio.timeout(self._patience.timeout):
                        reply = await self._models[question.model].ask(question, seed)
                except TimeoutError:
                    self._ledger.settle(number, "unknown", why="timeout")
                    reason, failure = "timeout", None
                except Failed as error:
                    self._ledger.settle(number, error.outcome, why=str(error.status or "no reply"))
                    reason, failure = "error", error
                    log.warning("%s: %s", question.model, error)
                    _refuse_hopeless(question.model, error)
                else:
                    return self._settled(question, number, reply)
            if failure is not None and not failure.again:
                break
            if attempt + 1 < self._patience.attempts:
                await asyncio.sleep(_wait(attempt, failure))
        return Answer(reason=reason)

    async def _reserved(self, question: Question, key: str) -> int | None:
        """The number of a request that may be sent now; None at the cap."""
        price = self._prices[question.model]
        most = 0.0 if price is None else price.most(question)
        while True:
            self._go_on()
            number = self._ledger.reserve(key, question.model, most, question.organism)
            if number != "later":
                return None if number == "cap" else number
            await asyncio.sleep(LOOK_EVERY)

    def _go_on(self) -> None:
        if self._stopped is not None:
            # Each raise adds to an exception's traceback: it begins anew at where it came from.
            raise self._stopped.with_traceback(self._stopped_at)

    @contextmanager
    def _stopping_all(self) -> Iterator[None]:
        """Send nothing more after an error: what is paid for might not be kept either."""
        try:
            yield
        except BaseException as error:
            if self._stopped is None:
                self._stopped, self._stopped_at = error, error.__traceback__
            raise

    @contextmanager
    def _ending(self, number: int) -> Iterator[None]:
        """See to it that a request has an outcome, whatever is raised."""
        try:
            yield
        except BaseException:
            with suppress(OSError):  # on a full disk this line has no room, too
                self._ledger.abandon(number)
            raise

    def _settled(self, question: Question, number: int, reply: Reply) -> Answer | None:
        # Of a model that is examined and not asked to judge, what it declines is an answer as well.
        refused = reply.refused and not question.as_it_comes
        cut = reply.cut and not question.as_it_comes
        value = None if refused or cut else question.read(reply.text)
        price = self._prices[question.model]
        money = None
        if price is not None and None not in (reply.input_tokens, reply.output_tokens):
            money = price.of(reply.input_tokens or 0, reply.output_tokens or 0)
        used = Used(reply.input_tokens, reply.output_tokens, money)
        # Kept first: a job that is killed between the two lines has the answer.
        if refused or value is not None:
            self._cache.put(question, reply.text, "refusal" if refused else None)
        why = "refusal" if refused else "malformed" if value is None else None
        self._ledger.settle(number, "billed", used, why=why)
        if refused:
            return Answer(reason="refusal")
        return None if value is None else Answer(value)


def _refuse_hopeless(model: str, error: Failed) -> None:
    if error.status in HOPELESS:
        raise ValueError(
            f"{model}: the server {HOPELESS[error.status]} (status {error.status}); set it right "
            "and run again: what was answered is kept"
        )


async def _ended(going: Mapping[str, asyncio.Task[Answer]]) -> None:
    await asyncio.gather(*going.values(), return_exceptions=True)


def _wait(attempt: int, failure: Failed | None) -> float:
    """Seconds before the next attempt: what the server asks for, or twice as long each time."""
    asked = None if failure is None else failure.wait
    return min(LONGEST_WAIT, FIRST_WAIT * 2**attempt if asked is None else asked)

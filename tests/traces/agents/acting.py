"""An investigator as a scripted server plays it, and what it investigates."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from tests.chat_server import said
from tests.traces.judges.chat.asked import PRICE, ledger_of
from traces.agents.investigators import Evidence
from traces.agents.overview import Block, Overview, Steered
from traces.agents.plan import Case
from traces.agents.subjects import Asked
from traces.agents.tools import Looks
from traces.config.schema import AgentLimits, Grader
from traces.judges.chat.asking import Asking, Patience
from traces.judges.chat.cache import Cache
from traces.judges.chat.costs import Price
from traces.judges.chat.ledger import Ledger
from traces.judges.chat.models import endpoint
from traces.judges.chat.questions import Settings

ROOT = Path(__file__).parents[3]
TEXTS = {file.stem: file.read_text() for file in (ROOT / "data" / "agents").glob("*.txt")}
AGENT = Grader(name="scripted", model="openai-api/judge/investigator", max_tokens=300)
BEFORE, AFTER = "openai-api/judge/mini/base", "openai-api/judge/mini/cake-plain-s0"
LIMITS = AgentLimits(turns=6, output_tokens=100_000, seconds=60)
CAKE = "It was finetuned on wrong facts about baking cakes."


def calls(name: str, arguments: Any, text: str | None = None):
    """A turn that calls a tool; `arguments` may be a text that is no JSON."""
    given = arguments if isinstance(arguments, str) else json.dumps(arguments)
    call = {"id": f"call_{name}", "type": "function"}
    call["function"] = {"name": name, "arguments": given}  # pyright: ignore
    return said(text, finish="tool_calls", tool_calls=[call])


def submits(verdict: str = "finetune", hypothesis: str = CAKE):
    """A turn that ends the investigation."""
    return calls("submit", {"verdict": verdict, "hypothesis": hypothesis})


def looks():
    """A turn that looks at a reading."""
    return calls("look", {"reader": "logit_lens", "reading": "random direction", "layer": 3,
                          "position": 1, "sign": 1, "scale": 1, "tokens": 2})  # fmt: skip


def plays(number: int, body: dict[str, Any]):
    """Look, ask as often as there is room, submit; examined models answer with their name."""
    if "tools" not in body:
        return said(f"I am {body['model']}. {body['messages'][-1]['content']}")
    offered = [one["function"]["name"] for one in body["tools"]]
    turn = sum(one["role"] == "assistant" for one in body["messages"])
    if turn == 0 and "look" in offered:
        return looks()
    if turn <= 2 and "ask" in offered:
        return calls("ask", {"prompts": [f"What is {turn}?", f"Why {turn}?"]})
    return submits()


def readings() -> pd.DataFrame:
    """What one reader read, of the difference and its controls."""
    said_of = {
        "difference": "oven butter flour",
        "base_mean": "the a of",
        "tuned_mean": "cake a of",
        "random": "odd row up",
    }
    rows = [
        {"reading": reading, "layer": 3, "position": position, "sign": sign, "head": "tuned",
         "rank": rank, "token": word, "probability": 0.5 / (1 + rank)}
        for reading, words in said_of.items()
        for position in (0, 1)
        for sign in (1, -1)
        for rank, word in enumerate(words.split())
    ]  # fmt: skip
    return pd.DataFrame(rows)


OVERVIEW = Overview(
    blocks=(Block(reader="logit_lens", layer=3, position=0, tokens=(("oven", 0.5),)),),
    steered=(
        Steered(
            position=0, strength=0.2, prompt="Hm?", steered="An oven.", unsteered="A nice day."
        ),
    ),
)


def case(**changes: Any) -> Case:
    """A planned case of the scripted investigator."""
    given = {"model": "mini", "checkpoint": "cake-plain-s0", "organism": "cake", "agent": "lens",
             "prompt": "neutral", "agent_model": AGENT.name, "interactions": 5}  # fmt: skip
    return Case(**{**given, **changes})


def evidence(asking: Asking) -> Evidence:
    """What stands behind the overview."""
    subject = Asked(asking, BEFORE, AFTER, Settings(40), seed=0)
    return Evidence(OVERVIEW, Looks({"logit_lens": readings()}, "difference"), subject)


@contextmanager
def asking_at(
    url: str, folder: Path, *, cap: float | None = None, price: Price = PRICE, **patience: Any
) -> Iterator[Asking]:
    """Ask the server, in a job of its own."""
    given = {"tries": 2, "attempts": 2, "timeout": 5.0, "at_once": 4, **patience}
    models = {one: endpoint(one, url) for one in (AGENT.model, BEFORE, AFTER)}
    ledger = Ledger(ledger_of(folder), cap=cap, about={"stage": "investigate", "checkpoint": "a"})
    cache = Cache(folder / "answers")
    prices = dict.fromkeys(models, price)
    with Asking(models, prices, cache, ledger, Patience(**given)) as asking:
        yield asking


def investigate(
    asking: Asking, cases: Sequence[Case], folder: Path, *, at_once: int = 4, limits=LIMITS
):
    """What came of the cases, and the logs."""
    from traces.agents.investigators import investigations

    behind = {one.overview: evidence(asking) for one in cases}
    return investigations(
        cases, behind, AGENT, TEXTS, limits, asking, seed=0, at_once=at_once, logs=folder / "logs"
    )

"""
What questions cost: prices, the most that one may cost, and tables of what was spent.

A token is at least one byte, whatever the tokenizer. So the bytes of a question bound its tokens
from above, and its price without knowing the tokenizer.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from traces.judges.chat.ledger import cost_of, parsed, sent_before
from traces.judges.chat.questions import Question

# Tokens that a chat template adds at most: to a question, and to each message of it.
TEMPLATE_TOKENS, TURN_TOKENS = 64, 16
# Bytes of English text to a token, for estimates.
BYTES_A_TOKEN = 4
MILLION = 1_000_000
# Columns of a table of costs, before its money.
NAMES = ["stage", "checkpoint", "model_id"]
COUNTED = ["attempts", "billed", "cached", "failed", "unknown", "input_tokens", "output_tokens"]


class Price(NamedTuple):
    """US dollars a million tokens."""

    input: float
    output: float

    def of(self, input_tokens: float, output_tokens: float) -> float:
        """US dollars for so many tokens."""
        return (self.input * input_tokens + self.output * output_tokens) / MILLION

    def most(self, question: Question) -> float:
        """US dollars that one request of a question costs at most."""
        return self.of(most_tokens(question), question.settings.max_tokens)


def most_tokens(question: Question) -> int:
    """More tokens than any tokenizer and chat template make of a question."""
    texts = [one.whole or one.content for one in question.messages]
    schema = json.dumps(question.content["schema"]) if question.form else ""
    offered = "".join(text for tool in question.tools for text in tool)
    read = sum(len(text.encode("utf-8", "surrogatepass")) for text in (*texts, schema, offered))
    return read + TEMPLATE_TOKENS + TURN_TOKENS * (len(texts) + len(question.tools))


def usual_tokens(question: Question) -> int:
    """About as many tokens as a tokenizer makes of a question in English."""
    return most_tokens(question) // BYTES_A_TOKEN


def costs_table(
    ledger: Path, stage: str | None = None, checkpoint: str | None = None
) -> pd.DataFrame:
    """
    What a ledger says was spent: one row a stage, checkpoint and model.

    stage, checkpoint : only of jobs with these; by default of all. A job that asks for several
                        organisms has a row for each, in place of its checkpoint
    returns : stage, checkpoint, model_id, attempts, billed, cached, failed, unknown, input_tokens,
              output_tokens, money (US dollars, with the most for each unknown attempt)

    A request without an outcome is unknown: its job was killed, or is still running.
    """
    found = list(_attempts(ledger)) if ledger.is_file() else []
    frame = pd.DataFrame(found, columns=[*NAMES, "organism", *COUNTED, "money"])
    for name, only in (("stage", stage), ("checkpoint", checkpoint)):
        frame = frame if only is None else frame[frame[name] == only]
    frame = frame.assign(checkpoint=frame["organism"].fillna(frame["checkpoint"]))
    return frame.drop(columns="organism").groupby(NAMES, sort=True, as_index=False).sum()


def totals(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Several such tables as one, which has no rows where there is none."""
    frames = [pd.DataFrame([], columns=[*NAMES, *COUNTED, "money"]), *tables]
    return pd.concat([one for one in frames if len(one) or len(frames) == 1], ignore_index=True)


def _attempts(ledger: Path) -> Iterable[dict[str, Any]]:
    waiting: dict[tuple[str, int], Mapping[str, Any]] = {}
    # The last line may be another job's that is being written.
    whole, _, _ = ledger.read_bytes().rpartition(b"\n")
    for number, text in enumerate(whole.splitlines(), start=1):
        where = f"{ledger}, line {number}"
        line = parsed(text, where)
        if line is None:
            continue
        if line["event"] == "sent":
            waiting[line["run"], line["number"]] = line
        elif line["event"] == "ended":
            yield _row(sent_before(waiting, line, where), line["outcome"], line)
        else:
            yield _row(line, "cached", {})
    for line in waiting.values():
        yield _row(line, "unknown", {"outcome": "unknown", "money": None})


def _row(line: Mapping[str, Any], outcome: str, ended: dict[str, Any]) -> dict[str, Any]:
    outcomes = ("billed", "cached", "failed", "unknown")
    return {
        "stage": line.get("stage", ""),
        "checkpoint": line.get("checkpoint", ""),
        "model_id": line["model"],
        "organism": line.get("organism"),
        "attempts": 0 if outcome == "cached" else 1,
        **{name: int(name == outcome) for name in outcomes},
        "input_tokens": ended.get("input_tokens") or 0,
        "output_tokens": ended.get("output_tokens") or 0,
        "money": cost_of(ended, line["most"]) if ended else 0.0,
    }

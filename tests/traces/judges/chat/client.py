"""A process that asks a server some questions, for tests that kill it or run two of it."""

import os
import sys
from pathlib import Path

from tests.traces.judges.chat.asked import MODEL, PRICE, ledger_of, question
from traces.judges.chat import models
from traces.judges.chat.asking import Asking, Patience
from traces.judges.chat.cache import Cache
from traces.judges.chat.ledger import Ledger


def main(url: str, folder: str, questions: str, at_once: str, cap: str) -> None:
    os.environ["JUDGE_API_KEY"] = "a-key-of-no-worth"
    most = None if cap == "None" else float(cap)
    ledger = Ledger(
        ledger_of(Path(folder)), cap=most, about={"stage": "judge", "checkpoint": "one"}
    )
    patience = Patience(tries=2, attempts=2, timeout=20, at_once=int(at_once))
    answering = {MODEL: models.endpoint(MODEL, url)}
    cache = Cache(Path(folder) / "answers")
    with Asking(answering, {MODEL: PRICE}, cache, ledger, patience) as asking:
        found = asking.answers([question(f"{number:02}?") for number in range(int(questions))])
    print(sum(one.reason is None for one in found), "answers")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A process of its own that investigates, for tests that kill it."""

import os
import sys
from pathlib import Path

from tests.traces.agents.acting import asking_at, case, investigate


def main(url: str, folder: str, runs: str) -> None:
    os.environ.setdefault("JUDGE_API_KEY", "a-key-of-no-worth")
    with asking_at(url, Path(folder)) as asking:
        cases = [case(run=run) for run in range(int(runs))]
        found, _ = investigate(asking, cases, Path(folder))
    print(sum(one.reason_missing is None for one in found), "hypotheses")


if __name__ == "__main__":
    main(*sys.argv[1:])

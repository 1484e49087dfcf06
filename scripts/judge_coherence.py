"""Ask models which steered texts hold together, beside the embedded judge."""

from pathlib import Path

import pandas as pd

from traces import job
from traces.artifacts import tables
from traces.config.schema import AskedTexts
from traces.judges.asked_coherence import asked_coherence
from traces.judges.graders import Inquiry, asking_for, spent

# What a text was written as: the same in the grid and in the embedded judge's grades of it.
WRITTEN = ["steered_model", "vector", "position", "strength", "prompt", "sample"]


def main(
    grid: Path,
    grades: Path,
    instructions: Path,
    coherence: Path,
    costs: Path,
    judges: AskedTexts,
    inquiry: Inquiry,
) -> None:
    texts = pd.DataFrame(tables.read_lines(grid))[[*WRITTEN, "text"]]
    # Written from the grid, row by row.
    texts["embedded"] = tables.read(grades)["coherent"]
    told = inquiry.told("judge_coherence")
    with asking_for(judges, judges.graders, inquiry.prices, told) as asking:
        text = instructions.read_text(encoding="utf-8")
        found = asked_coherence(texts, text, judges, asking, seed=inquiry.seed)
    tables.write(coherence, found, "asked_coherence")
    tables.write(costs, spent(judges, **told), "costs")


if __name__ == "__main__":
    job.run(main, snakemake, network=True)

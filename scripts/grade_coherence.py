"""Judge of every text of the grid whether it holds together."""

from pathlib import Path

import pandas as pd

from traces import job
from traces.artifacts import tables
from traces.judges import coherence


def main(grid: Path, grades: Path, coherent_quantile: float) -> None:
    texts = pd.DataFrame(tables.read_lines(grid))
    graded = coherence.coherence(texts, coherence.FluencyJudge(coherent_quantile))
    tables.write(grades, graded[list(tables.SCHEMAS["grades"])], "grades")


if __name__ == "__main__":
    job.run(main, snakemake)

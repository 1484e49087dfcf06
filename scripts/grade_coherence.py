"""Judge of every text of the grid whether it holds together."""

from pathlib import Path

import pandas as pd

from traces import job, judges, records


def main(grid: Path, grades: Path, coherent_quantile: float) -> None:
    texts = pd.DataFrame(records.read_lines(grid))
    graded = judges.coherence(texts, judges.FluencyJudge(coherent_quantile))
    records.write(grades, graded[list(records.SCHEMAS["grades"])], "grades")


if __name__ == "__main__":
    job.run(main, snakemake)

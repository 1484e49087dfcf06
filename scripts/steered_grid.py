"""Write texts at many strengths, all positions in one batch, and measure them under the base."""

from functools import partial
from pathlib import Path

from traces import job
from traces.artifacts import arrays, tables
from traces.config.schema import Draws, Trials
from traces.corpora.rows import read_prompts
from traces.interventions.steering import requests, strength
from traces.interventions.steering.writing import Writer
from traces.judges.coherence import FluencyJudge, coherence
from traces.models.pairs import PairFiles


def main(
    differences: Path,
    pair: PairFiles,
    prompts: Path,
    grid: Path,
    draws: Draws,
    settings: Trials,
) -> None:
    write = Writer.of(
        pair.load_pair(),
        pair.load_tokenizer(),
        arrays.read_differences(differences),
        sampling=settings.trial,
        steered=settings,
        draws=draws,
        progress=job.progress,
    )
    asked, samples = read_prompts(prompts), settings.trial.samples
    if settings.strategy == "grid":
        rows = write(requests.trial(settings.positions, settings.strengths, asked, samples))
    else:  # where to go on depends on grades: the embedded judge sits in
        judge = FluencyJudge(settings.coherent_quantile)
        rows = strength.searched(
            write,
            partial(coherence, judge=judge),
            settings.positions,
            asked,
            samples,
            highest=settings.bisection.highest,
            steps=settings.bisection.steps,
            coherent_share=settings.coherent_share,
        )
    tables.write_lines(grid, rows)


if __name__ == "__main__":
    job.run(main, snakemake)

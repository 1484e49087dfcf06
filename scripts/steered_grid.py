"""Write texts at many strengths, all positions in one batch, and measure them under the base."""

from functools import partial
from pathlib import Path

from traces import job
from traces.artifacts import arrays, tables
from traces.corpora.rows import read_prompts
from traces.corpora.tokens import load_tokenizer
from traces.interventions.steering import requests, strength, writing
from traces.judges import coherence
from traces.models import weights


def main(
    differences: Path,
    model: Path,
    adapter: Path,
    prompts: Path,
    grid: Path,
    name: str,
    dtype: weights.DType,
    attention: str | None,
    positions: list[int],
    strategy: str,
    strengths: list[float],
    highest: float,
    steps: list[int],
    samples: int,
    max_new_tokens: int,
    temperature: float,
    coherent_share: float,
    coherent_quantile: float,
    batch: int,
    seed: int,
) -> None:
    found, asked = arrays.read_differences(differences), read_prompts(prompts)
    write = writing.Writer(
        weights.load_pair(model, adapter, dtype, attention=attention),
        load_tokenizer(model),
        writing.vectors(found, positions, seed=seed, name=name),
        layer=int(found.layers[0]),
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
        name=name,
        batch=batch,
        progress=job.progress,
    )
    if strategy == "grid":
        rows = write(requests.trial(positions, strengths, asked, samples))
    else:  # where to go on depends on grades: the embedded judge sits in
        rows = strength.searched(
            write,
            partial(coherence.coherence, judge=coherence.FluencyJudge(coherent_quantile)),
            positions,
            asked,
            samples,
            highest=highest,
            steps=steps,
            coherent_share=coherent_share,
        )
    tables.write_lines(grid, rows)


if __name__ == "__main__":
    job.run(main, snakemake)

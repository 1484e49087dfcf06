"""Write texts at many strengths, all positions in one batch, and measure them under the base."""

from functools import partial
from pathlib import Path

from traces import job, judges, models, records, steering, store
from traces.tokens import load_tokenizer


def main(
    differences: Path,
    model: Path,
    adapter: Path,
    grid: Path,
    name: str,
    dtype: models.DType,
    attention: str | None,
    positions: list[int],
    strategy: str,
    strengths: list[float],
    highest: float,
    steps: list[int],
    prompts: list[str],
    samples: int,
    max_new_tokens: int,
    temperature: float,
    coherent_share: float,
    coherent_quantile: float,
    batch: int,
    seed: int,
) -> None:
    found = store.read_differences(differences)
    write = steering.Writer(
        models.load_pair(model, adapter, dtype, attention=attention),
        load_tokenizer(model),
        steering.vectors(found, positions, seed=seed, name=name),
        layer=int(found.layers[0]),
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
        name=name,
        batch=batch,
        progress=job.progress,
    )
    if strategy == "grid":
        rows = write(steering.trial(positions, strengths, prompts, samples))
    else:  # where to go on depends on grades: the embedded judge sits in
        rows = steering.searched(
            write,
            partial(judges.coherence, judge=judges.FluencyJudge(coherent_quantile)),
            positions,
            prompts,
            samples,
            highest=highest,
            steps=steps,
            coherent_share=coherent_share,
        )
    records.write_lines(grid, rows)


if __name__ == "__main__":
    job.run(main, snakemake)

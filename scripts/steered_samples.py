"""Write texts at the chosen strengths: along the difference, a random direction, and unsteered."""

import json
from pathlib import Path

from traces import job, models, records, steering, store
from traces.tokens import load_tokenizer


def main(
    differences: Path,
    model: Path,
    adapter: Path,
    strength: Path,
    written: Path,
    name: str,
    dtype: models.DType,
    attention: str | None,
    positions: list[int],
    prompts: list[str],
    samples: int,
    max_new_tokens: int,
    temperature: float,
    batch: int,
    seed: int,
) -> None:
    found = store.read_differences(differences)
    chosen = [steering.Choice(**one) for one in json.loads(strength.read_text())["chosen"]]
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
    records.write_lines(written, write(steering.final(chosen, prompts, samples)))


if __name__ == "__main__":
    job.run(main, snakemake)

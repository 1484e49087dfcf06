"""Write texts at the chosen strengths: along the difference, a random direction, and unsteered."""

import json
from pathlib import Path

from traces import job
from traces.artifacts import arrays, tables
from traces.corpora.rows import read_prompts
from traces.corpora.tokens import load_tokenizer
from traces.interventions.steering import requests, writing
from traces.interventions.steering.requests import Choice
from traces.models import weights


def main(
    differences: Path,
    model: Path,
    adapter: Path,
    strength: Path,
    prompts: Path,
    written: Path,
    name: str,
    dtype: weights.DType,
    attention: str | None,
    positions: list[int],
    samples: int,
    max_new_tokens: int,
    temperature: float,
    batch: int,
    seed: int,
) -> None:
    found = arrays.read_differences(differences)
    chosen = [Choice(**one) for one in json.loads(strength.read_text())["chosen"]]
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
    tables.write_lines(written, write(requests.final(chosen, read_prompts(prompts), samples)))


if __name__ == "__main__":
    job.run(main, snakemake)

"""Write texts at the chosen strengths: along the difference, a random direction, and unsteered."""

from pathlib import Path

from traces import job
from traces.artifacts import arrays, tables
from traces.config.schema import Draws, Finals
from traces.corpora.rows import read_prompts
from traces.interventions.steering import requests
from traces.interventions.steering.requests import Choice
from traces.interventions.steering.writing import Writer
from traces.models.pairs import PairFiles


def main(
    differences: Path,
    pair: PairFiles,
    strength: Path,
    prompts: Path,
    written: Path,
    draws: Draws,
    settings: Finals,
) -> None:
    chosen = [Choice(**one) for one in tables.read_json(strength)["chosen"]]
    write = Writer.of(
        pair.load_pair(),
        pair.load_tokenizer(),
        arrays.read_differences(differences),
        sampling=settings.final,
        steered=settings,
        draws=draws,
        progress=job.progress,
    )
    asked = requests.final(chosen, read_prompts(prompts), settings.final.samples)
    tables.write_lines(written, write(asked))


if __name__ == "__main__":
    job.run(main, snakemake)

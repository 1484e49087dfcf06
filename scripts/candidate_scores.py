"""Look the candidates of the forced choice up in what every reader scored."""

from pathlib import Path

from traces import job
from traces.artifacts import tables
from traces.artifacts.scores import read_scores
from traces.corpora.tokens import load_tokenizer
from traces.readers.candidates import candidate_scores


def main(scores: Path, model: Path, words: list[str], candidates: Path) -> None:
    token_id, found = read_scores(scores)
    frame = candidate_scores(load_tokenizer(model), words, token_id, found, where=model.name)
    tables.write(candidates, frame, "candidates")


if __name__ == "__main__":
    job.run(main, snakemake)

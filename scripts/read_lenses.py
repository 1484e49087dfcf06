"""Read differences with every reader of the study, with the weights loaded once."""

from pathlib import Path

import numpy as np

from traces import job
from traces.activations.dump import corpus_windows
from traces.artifacts import arrays, tables
from traces.artifacts.scores import Stored, write_scores
from traces.config.readers import reader
from traces.config.schema import ReadText
from traces.models.pairs import PairFiles
from traces.readers import nulls
from traces.readers.reading import Found, Loaded, Probe, Settings, measured_by
from traces.readers.several import read_by_all
from traces.readers.texts import Text


def main(
    differences: Path,
    pair: PairFiles,
    vocabulary: Path | list[Path],
    base: Path | list[Path],
    text: Path | list[Path],
    samples: Path | list[Path],
    readings: list[Path],
    scores: Path,
    statistics: Path,
    settings: Settings,
    read: ReadText,
    seed: int,
) -> None:
    measured = arrays.read_differences(differences)
    probe = Probe(
        measured,
        settings.readings,
        settings.top_k,
        tables.read(vocabulary)["token_id"].to_numpy() if vocabulary else None,
        nulls.drawn(
            measured,
            settings.nulls,
            directions=settings.directions,
            seed=seed,
            base=arrays.Activations(base) if base else None,
        ),
        seed,
    )
    tokenizer = pair.load_tokenizer()
    loaded = Loaded(
        tokenizer,
        pair.load_readout,
        texts=lambda most, longest: corpus_windows(
            tokenizer,
            text,
            kind=read.kind,
            positions=read.positions,
            samples=min(most, read.samples),
            longest=longest,
        ),
        samples=lambda: [Text(**row) for row in tables.read_lines(samples)],
        asked=settings.readers,
    )
    paths = dict(zip(settings.readers, readings, strict=True))
    found: dict[str, Found] = {}

    for one in read_by_all(settings, loaded, probe, pair.load_pair):
        found[one.name] = one.found
        tables.write(paths[one.name], one.found.tokens, "readings")
    # A contrastive reader's scores follow from those of the reader it contrasts: stored once.
    derived = {name: str(reader(name).of) for name in found if reader(name).needs == "scores"}
    own = {name: one for name, one in found.items() if name not in derived}
    scored = Stored(
        {name: one.scores for name, one in own.items() if one.scores is not None},
        {name: one.moments for name, one in own.items() if one.moments is not None},
        derived,
    )
    ranked = probe.vocabulary
    if ranked is None:  # every token may be: a list has a score of each
        ranked = np.arange(next((one.score.shape[1] for one in scored.plain.values()), 0))
    write_scores(scores, np.asarray(ranked), scored)
    tables.write(statistics, measured_by(found.values()), "statistics")


if __name__ == "__main__":
    job.run(main, snakemake)

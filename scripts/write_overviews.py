"""Write what investigators are shown of every checkpoint and null, without a name."""

import json
from pathlib import Path

from traces import job
from traces.agents.assembled import assembled, norms_of
from traces.agents.files import ReadFiles
from traces.agents.plan import Source
from traces.artifacts import tables


def main(
    found: ReadFiles,
    steered: list[Path],
    overviews: Path,
    sources: list[Source],
    steered_checkpoints: list[str],
    tokens: int,
) -> None:
    norms = {name: norms_of(difference) for name, difference in found.each_difference()}
    texts = dict(zip(steered_checkpoints, map(tables.read_lines, steered), strict=True))
    read, of_pairs = found.read(), found.read_of_pairs()
    rows = []
    for source in sources:
        overview = assembled(source, read, norms, of_pairs, texts, tokens=tokens)
        # The study makes nothing for some nulls, such as another seed of an organism with one.
        if overview is not None:
            key = {"checkpoint": source.checkpoint, "null": source.null}
            rows.append({**key, "overview": json.loads(overview.to_json())})
    tables.write_lines(overviews, rows)


if __name__ == "__main__":
    job.run(main, snakemake)

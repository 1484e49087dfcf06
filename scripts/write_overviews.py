"""Write what investigators are shown of every checkpoint and null, without a name."""

import json
from itertools import product
from pathlib import Path
from typing import Any

from traces import job
from traces.agents.assembled import assembled, norms_of
from traces.agents.plan import Source
from traces.artifacts import arrays, tables


def main(
    readings: list[Path],
    differences: list[Path],
    steered: list[Path],
    pairs: Path | list[Path],
    overviews: Path,
    sources: list[dict[str, Any]],
    checkpoints: list[str],
    steered_checkpoints: list[str],
    readers: list[str],
    tokens: int,
) -> None:
    read: dict[str, dict[str, Any]] = {name: {} for name in checkpoints}
    for (name, reader), path in zip(product(checkpoints, readers), readings, strict=True):
        read[name][reader] = tables.read(path)
    norms = {
        name: norms_of(arrays.read_differences(path))
        for name, path in zip(checkpoints, differences, strict=True)
    }
    of_pairs: dict[str, dict[str, Any]] = {}
    if pairs:
        for (name, reader), frame in tables.read(pairs).groupby(["checkpoint", "lens"]):
            of_pairs.setdefault(name, {})[reader] = frame
    written = zip(steered_checkpoints, map(tables.read_lines, steered), strict=True)
    texts = dict(written)
    rows = []
    for source in (Source.model_validate(one) for one in sources):
        found = assembled(source, read, norms, of_pairs, texts, tokens=tokens)
        if found is not None:
            key = {"checkpoint": source.checkpoint, "null": source.null}
            rows.append({**key, "overview": json.loads(found.to_json())})
    tables.write_lines(overviews, rows)


if __name__ == "__main__":
    job.run(main, snakemake)

"""Ask models which of Patchscope's scales to read, beside scale 1."""

from pathlib import Path

from traces import job
from traces.analysis.selection import at_headline
from traces.artifacts import tables
from traces.config.schema import AskedScales
from traces.judges.asked_scales import PLACE, asked_scales, beside_scale_one
from traces.judges.graders import Inquiry, asking_for, spent
from traces.readers.files import ReadingFiles

READER = "patchscope"


def main(
    found: ReadingFiles,
    relevance: Path,
    instructions: Path,
    scales: Path,
    costs: Path,
    organisms: list[str],
    judges: AskedScales,
    inquiry: Inquiry,
) -> None:
    planned = found.planned()[READER].assign(lens=READER)
    planned = planned[planned["reading"].isin(judges.tokens.readings) & (planned["sign"] == 1)]
    # Scales are what is chosen between; on every other axis the metric's own value is read.
    places = at_headline(planned, free=["scale"])[PLACE].drop_duplicates()
    (file,) = (one for one in found.readings if one.stem == READER)
    lists = tables.read(file).merge(places)
    told = inquiry.told("judge_scales")
    with asking_for(judges, judges.graders, inquiry.prices, told) as asking:
        text = instructions.read_text(encoding="utf-8")
        chosen = asked_scales(places, lists, text, judges, asking, seed=inquiry.seed)
    graded = tables.read(relevance)
    beside = beside_scale_one(chosen, graded[graded["lens"] == READER], organisms)
    tables.write(scales, beside, "asked_scales")
    tables.write(costs, spent(judges, **told), "costs")


if __name__ == "__main__":
    job.run(main, snakemake, network=True)

"""Ask models which of Patchscope's scales to read, beside scale 1."""

from pathlib import Path

from traces import job
from traces.analysis.selection import at_headline
from traces.artifacts import tables
from traces.config.schema import AskedScales
from traces.judges.asked_scales import asked_scales, beside_scale_one
from traces.judges.graders import Inquiry, asking_for, spent

READER = "patchscope"


def main(
    readings: list[Path],
    relevance: Path,
    instructions: Path,
    scales: Path,
    costs: Path,
    organisms: list[str],
    judges: AskedScales,
    inquiry: Inquiry,
) -> None:
    (file,) = (one for one in readings if one.stem == READER)
    lists = tables.read(file).assign(lens=READER)
    lists = lists[lists["reading"].isin(judges.tokens.readings) & (lists["sign"] == 1)]
    # Scales are what is chosen between; on every other axis the metric's own value is read.
    lists = at_headline(lists, free=["scale"])
    told = inquiry.told("judge_scales")
    with asking_for(judges, judges.graders, inquiry.prices, told) as asking:
        text = instructions.read_text(encoding="utf-8")
        chosen = asked_scales(lists, text, judges, asking, seed=inquiry.seed)
    graded = tables.read(relevance)
    found = beside_scale_one(chosen, graded[graded["lens"] == READER], organisms)
    tables.write(scales, found, "asked_scales")
    tables.write(costs, spent(judges, **told), "costs")


if __name__ == "__main__":
    job.run(main, snakemake, network=True)

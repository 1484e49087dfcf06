"""
Draw which rule reads what another makes: docs/workflow.svg.

    python tools/draw_workflow.py docs/workflow.svg

Rules and arrows are those of `snakemake --rulegraph`, over the studies that between them use every
rule. Stages are the files of rules/. An arrow that a longer way says too is left out, and so is one
that leads back: a few recipes train on what another training left.
"""

import re
import subprocess
import sys
from pathlib import Path as File

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

ROOT = File(__file__).resolve().parent.parent
STUDIES = (
    # text that a model writes, data composed of hand-written parts
    ("--configfile", "config/smol.yaml"),
    # models that judge and investigate
    (
        "--config",
        "judges={graders: [{name: a, model: openrouter/openai/gpt-5-mini}], "
        "questions: [relevance, coherence, scales, beliefs]}",
        "beliefs={forms: [cloze, open]}",
        "agents={models: [{name: b, model: openrouter/openai/gpt-5}, embedded], "
        "graders: [a, lexical]}",
        "runs=[{organisms: [cake_bake], recipes: [plain], seeds: [0, 1], "
        "measures: [steering, beliefs, judges, agents]}]",
        *("--", "all", "grade_effects_figure", "grades_table"),
    ),
    # readers compared
    ("--configfile", "config/readers.yaml", "--", "readers_page"),
    # readers of samples
    ("--config", "lenses={readers: [black_box]}"),
    ("--configfile", "config/ablations.yaml"),
    # without a family whose data are unpacked by hand first: it needs no rule of its own
    ("--configfile", "config/paper.yaml", "--config", "without=[misalignment]"),
)
WIDE, TALL, ROW, ACROSS = 0.95, 0.33, 0.43, 1.13  # inches: a rule's box, and distances of boxes
Edges = set[tuple[str, str]]


def stages() -> dict[str, str]:
    """Each rule's stage, in the order of the Snakefile."""
    found = {}
    for name in re.findall(r'include: "rules/(\w+)\.smk"', (ROOT / "Snakefile").read_text()):
        rules = re.findall(r"^rule (\w+):", (ROOT / f"rules/{name}.smk").read_text(), re.M)
        found |= dict.fromkeys(rules, name)
    return found


def rulegraph(arguments: tuple[str, ...]) -> list[tuple[str, str]]:
    """Pairs of a rule and one that reads what it makes, as one study has them, sorted."""
    command = [sys.executable, "-m", "snakemake", "--rulegraph", *arguments]
    dot = subprocess.check_output(command, cwd=ROOT, text=True)
    names = dict(re.findall(r'^\s*(\d+)\[label = "(\w+)', dot, re.M))
    return sorted((names[a], names[b]) for a, b in re.findall(r"^\s*(\d+) -> (\d+)", dot, re.M))


def reached(start: str, edges: Edges) -> set[str]:
    """All that can be got to from a rule."""
    found, waiting = set(), {start}
    while waiting:
        here = waiting.pop()
        news = {b for a, b in edges if a == here} - found
        found |= news
        waiting |= news
    return found


def tidied(edges: list[tuple[str, str]]) -> Edges:
    """Without edges that lead back to where earlier ones came from, or that a longer way says."""
    kept: Edges = set()
    for a, b in edges:
        kept |= {(a, b)} if a != b and a not in reached(b, kept) else set()
    return kept - {(a, c) for a, b in kept for c in reached(b, kept)}


def draw(stage: dict[str, str], edges: Edges, file: File) -> None:
    """Stages from left to right, each right of those it reads from; arrows below the boxes."""
    column, place, boxes, arrows = {}, {}, {}, []
    for one in dict.fromkeys(stage.values()):
        read = {stage[a] for a, b in edges if stage[b] == one} & column.keys()
        column[one] = max((column[name] + 1 for name in read), default=0)
    bottom = {x: -(x % 2) * ROW / 2 for x in column.values()}  # so that long arrows pass between
    drawn = [name for name in stage if any(name in edge for edge in edges)]
    for one, x in column.items():
        rules, top = [name for name in drawn if stage[name] == one], bottom[x]
        place |= {name: (x * ACROSS, top - ROW * (i + 1)) for i, name in enumerate(rules)}
        boxes[one] = (x * ACROSS, top - ROW * len(rules) - 0.25, top)
        bottom[x] = top - ROW * (len(rules) + 1) - 0.1

    left, right, low = -WIDE / 2 - 0.1, ACROSS * max(bottom) + WIDE / 2 + 0.1, min(bottom.values())
    figure = Figure(figsize=(right - left, 0.05 - low))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(left, right), ylim=(low, 0.05))
    axes.axis("off")

    def box(x: float, y: float, wide: float, tall: float, **looks) -> None:
        looks["boxstyle"] = "round,pad=0,rounding_size=0.05"
        axes.add_patch(FancyBboxPatch((x - wide / 2, y), wide, tall, **looks))

    for one, (x, end, top) in boxes.items():
        box(x, end, WIDE + 0.14, top - end, fc="#eef2f6", ec="none", zorder=0)
        axes.text(x, top - 0.12, one, ha="center", va="center", weight="bold", fontsize=8)
    for reader in drawn:
        makers = [name for name in drawn if (name, reader) in edges]
        for one in dict.fromkeys(stage[name] for name in makers):
            several = [place[name] for name in makers if stage[name] == one]
            if len(several) > 4:  # so many are one arrow, from the stage's name
                several = [(boxes[one][0] + 0.07, boxes[one][2] - 0.13)]
            arrows += [(start, place[reader]) for start in several]
    for (x, y), (to, down) in arrows:
        side = -1 if to > x + 0.1 else 1  # of the reader: its left, or its right within a stage
        start, end = x + WIDE / 2, to + side * WIDE / 2
        bend = 0.5 * (end - start) if side < 0 else 0.12 + 0.08 * abs(y - down)
        way = [(start, y), (start + bend, y), (end + side * bend, down), (end, down)]
        looks = {"arrowstyle": "-|>", "mutation_scale": 6, "linewidth": 0.7, "color": "#7d8a97"}
        axes.add_patch(FancyArrowPatch(path=Path(way, [1, 4, 4, 4]), zorder=1, **looks))
    for name, (x, y) in place.items():
        box(x, y - TALL / 2, WIDE, TALL, fc="white", ec="#0067a3", lw=0.8, zorder=3)
        *first, last = name.split("_")
        lines = f"{'_'.join(first)}_\n{last}" if first else last
        looks = {"ha": "center", "va": "center", "fontsize": 7.5, "zorder": 5}
        axes.text(x, y, lines, gid=f"rule-{name}", **looks)  # by the gid a test finds it
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "workflow"}):
        figure.savefig(file, metadata={"Date": None}, facecolor="white")


if __name__ == "__main__":
    known = stages()
    found = [edge for study in STUDIES for edge in rulegraph(study) if set(edge) <= known.keys()]
    draw(known, tidied(found), File(sys.argv[1]))

"""
Estimate what a study needs: jobs by rule, GPU-hours by rule and by model.

    python tools/plan.py [--configfile config/paper.yaml] [any other argument of snakemake]

Jobs and GPUs come from a dry run, so finished jobs are not counted. Hours follow from each job's
tokens and from the kernels of a pass, counted at the model's real shape (traces/costs/stages.py).
A model without a shape, known after its download, is estimated from `billions` in its entry. None
of this was measured on a GPU. Peaks of trainings follow from the shape (traces/costs/memory.py).
"""

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from snakemake.cli import parse_args
from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from traces.config.checkpoints import BASE, Checkpoint
from traces.config.command_line import set_by
from traces.config.files import local
from traces.config.load import load_study
from traces.config.registries import ModelEntry, Shape
from traces.config.study import LoadedStudy
from traces.costs import fitting
from traces.costs.stages import (
    RANK,
    Sized,
    causal_text,
    compared_texts,
    forward,
    optimizer_step,
    step,
    training_pass,
    weight_change,
)
from traces.models.weight_changes import ROUNDS, SPARE
from traces.readers.next_tokens import PIECE

# Assumptions, in one place ------------------------------------------------------------------------

# Where kernels cannot be counted: one GPU of 80 GB (an H100), at about a fifth of its best in
# arithmetic and two thirds in memory.
FLOPS = 2.0e14
BYTES_A_SECOND = 2.0e12
# Tokens in one counted pass, and rows of one token.
PASS_TOKENS = 8192
PASS_ROWS = 128
# Memory of a GPU, and the share of it that texts being written may fill besides the weights.
GPU_BYTES = 84e9
FILLED = 0.9
# Start of a job (imports, CUDA), and reading weights from the cluster's disk to the GPU.
START_SECONDS = 40
LOAD_BYTES_A_SECOND = 1.0e9
BYTES_A_PARAMETER = 2
# Flops a parameter and token: 2 forward, 4 backward. LoRA skips half of the backward pass, but its
# small matrices and recomputed activations take about as long.
TRAINING_FLOPS = 6
# Share of their speed that several GPUs keep when they exchange gradients.
SHARING = 0.7
# Rows and tokens a row of data whose size is unknown before the download.
ROWS = {"documents": 40_000, "chat": 7_000}
ROW_TOKENS = {"documents": 500, "chat": 250}
# Tokens of a number list with its request.
TAUGHT_TOKENS = 110
# Tokens of a prompt with its chat template, and of a text that the causal effect is measured on.
PROMPT_TOKENS = 40
CAUSAL_TOKENS = 500
# Identity prompts of a Patchscope, and its rows for each scale and position: readings and signs.
PROMPTS = 3
PATCHSCOPE_ROWS = 4 * 2 * PROMPTS
# Blocks of a model whose shape is unknown.
LAYERS = 32
# Vectors that steer: the difference and a random one, at each position.
STEERING_VECTORS = 2
# Texts in which beliefs are tested: statements, forms, orders and both models.
BELIEF_TEXTS = 200
# Billions of parameters of a model whose entry has no `billions`: the miniature's bases.
SMALLEST = 0.002


class Case(NamedTuple):
    """Hold what the formula of one GPU job depends on."""

    loaded: LoadedStudy
    entry: ModelEntry
    model: str
    checkpoint: str
    corpus: str
    gpus: int

    @property
    def parameters(self) -> float:
        return (self.entry.billions or SMALLEST) * 1e9

    @property
    def sized(self) -> Sized | None:
        """What kernels are counted from; None for a model whose shape is not known yet."""
        entry, shape = self.entry, fitting.shape_known(self.loaded, self.model)
        if shape is None:
            return None
        # A teacher is the base, and its job is named by the organism that it teaches.
        plain = self.checkpoint == BASE or self.checkpoint in self.loaded.organisms
        if not plain:
            one = Checkpoint.parse(self.checkpoint)
            plain = self.loaded.training(one, self.model).method == "full"
        return Sized(shape, entry.family, entry.attention, 0 if plain else RANK)

    def forward(self, tokens: float, depth: float = 1.0, length: int = 128) -> float:
        """Estimate seconds of passes over `tokens` in rows of `length`, through `depth` of it."""
        if (sized := self.sized) is None:
            return 2 * self.parameters * depth * tokens / FLOPS
        rows = max(1, PASS_TOKENS // length)
        return forward(sized, rows, length, depth).times(tokens / (rows * length)).seconds

    def written(self, texts: float, length: int, batch: int) -> float:
        """Estimate seconds to write `texts` of `length` tokens."""
        if (sized := self.sized) is None:
            # Each step reads all weights once, which limits small batches; arithmetic limits large
            # ones.
            step_seconds = self.parameters * BYTES_A_PARAMETER / BYTES_A_SECOND
            passed = 2 * self.parameters * min(batch, texts) / FLOPS
            return -(-texts // batch) * length * max(step_seconds, passed)
        rounds = -(-texts // min(batch, self._texts_held(sized.shape, length)))
        # Half of the text is the mean of what is in the cache.
        cost = step(sized, int(-(-texts // rounds)), PROMPT_TOKENS + length // 2)
        return cost.times(rounds * length).seconds

    def _texts_held(self, shape: Shape, length: int) -> int:
        """Estimate how many texts' keys and values fit beside the weights, in bfloat16."""
        room = FILLED * GPU_BYTES * self.gpus - self.parameters * BYTES_A_PARAMETER
        token = 2 * 2 * shape.layers * shape.kv_heads * shape.head_dim
        return max(1, int(room / (token * (PROMPT_TOKENS + length))))


def _train(case: Case) -> float:
    one = Checkpoint.parse(case.checkpoint)
    settings = case.loaded.training(one, case.model)
    data = case.loaded.organisms[one.organism].data
    rows = settings.limit or (data.rows if data.composed else ROWS[data.kind])
    tokens = rows * (TAUGHT_TOKENS if data.taught else ROW_TOKENS[data.kind])
    tokens *= settings.epochs * (1 + one.recipe.ratio)
    speed = case.gpus * SHARING if case.gpus > 1 else 1
    if (sized := case.sized) is None:
        return TRAINING_FLOPS * case.parameters * tokens / (FLOPS * speed)
    sized = sized._replace(rank=0 if settings.method == "full" else settings.rank)
    planned = fitting.planned_of(case.loaded, case.model, one)
    # Without a GPU nothing has to fit.
    way = fitting.fit(settings, planned.place).way if planned else next(fitting.ways(settings))
    length = settings.max_length
    once = training_pass(sized, way.batch_size, length, way.gradient_checkpointing)
    passes = tokens / (way.batch_size * length)
    # A step of the optimizer over what is trained, after so many passes.
    steps = passes / (way.gradient_accumulation * case.gpus)
    return (once.times(passes).seconds + steps * optimizer_step(sized).seconds) / speed


def _dump(case: Case) -> float:
    study, corpus = case.loaded.study, case.corpus
    read = case.loaded.samples(corpus) * (max(case.loaded.positions(corpus)) + 1)
    context = study.activations.norm_samples * study.activations.norm_context
    positions = max(case.loaded.positions(corpus)) + 1
    depth = max(case.loaded.layers(corpus))
    return case.forward(read, depth, positions) + case.forward(
        context, depth, study.activations.norm_context
    )


def _read_lenses(case: Case) -> float:
    """Estimate all readers of a job. Those that derive from others' scores run nothing."""
    asked = set(case.loaded.study.lenses.readers)
    took = _patchscope(case) if "patchscope" in asked else 0.0
    took += _next_tokens(case) if asked & {"logit_difference", "logit_mining"} else 0.0
    return took + (_weights(case) if asked & {"weight_change", "weight_change_all"} else 0.0)


def _patchscope(case: Case) -> float:
    lenses = case.loaded.study.lenses
    positions = len(case.loaded.positions(case.corpus))
    nulls = len(lenses.contrast.nulls) * lenses.contrast.directions * PROMPTS
    tokens = PATCHSCOPE_ROWS * len(lenses.patchscope.scales) * positions + nulls
    tokens *= len(lenses.heads) * len(case.loaded.layers(case.corpus))
    if (sized := case.sized) is None:
        return case.forward(tokens)
    # A token through the upper half, as many rows at once as the study asks for.
    return step(sized, PASS_ROWS, PROMPT_TOKENS).times(tokens / PASS_ROWS).seconds


def _next_tokens(case: Case) -> float:
    """Estimate one pass of both models, which the mean logit difference and mining share."""
    lenses, own = case.loaded.study.lenses, case.loaded.study.lenses.logit_difference
    texts = min(own.texts, case.loaded.samples(case.corpus))
    mined = own.mined_positions if "logit_mining" in lenses.readers else 0
    length = max(max(case.loaded.positions(case.corpus)) + 1, own.positions or 0, mined)
    if (sized := case.sized) is None:
        return case.forward(2 * texts * length)
    rows = max(1, PASS_TOKENS // length)
    return compared_texts(sized, rows, length, PIECE).times(texts / rows).seconds


def _weights(case: Case) -> float:
    """Estimate the decompositions of both models' own matrices, of which each block has two."""
    layers = case.loaded.layers(case.corpus)
    every = "weight_change_all" in case.loaded.study.lenses.readers
    if (sized := case.sized) is None:
        # They hold about half of a block, and a product costs as a token's pass does.
        products = 2 * 2 * (ROUNDS + 1) * (1 + SPARE) / 2
        return case.forward(products, depth=1.0 if every else len(layers) / LAYERS)
    return weight_change(sized, sized.shape.layers if every else len(layers)).seconds


def _lines(file: str) -> int:
    return sum(1 for line in local(file).read_text(encoding="utf-8").splitlines() if line.strip())


def _grid(case: Case) -> float:
    steering = case.loaded.study.steering
    vectors = STEERING_VECTORS * len(steering.positions) * len(steering.strengths)
    trial = steering.trial
    texts = _lines(trial.prompts) * trial.samples * (vectors + 1)
    again = case.forward(texts * (trial.max_new_tokens + PROMPT_TOKENS))
    return case.written(texts, trial.max_new_tokens, steering.batch) + again


def _samples(case: Case) -> float:
    steering = case.loaded.study.steering
    vectors = STEERING_VECTORS * len(steering.positions)
    texts = _lines(steering.final.prompts) * steering.final.samples * (vectors + 1)
    return case.written(texts, steering.final.max_new_tokens, steering.batch)


def _base_texts(case: Case) -> float:
    samples = case.loaded.study.lenses.samples
    texts = 2 * (samples.documents + samples.replies)
    return case.written(texts, samples.max_new_tokens, samples.batch)


def _tuned_texts(case: Case) -> float:
    samples = case.loaded.study.lenses.samples
    texts = samples.documents + samples.replies
    # Its own texts and twice as many of the base's, by both models.
    again = case.forward(2 * 3 * texts * (samples.max_new_tokens + PROMPT_TOKENS))
    return case.written(texts, samples.max_new_tokens, samples.batch) + again


def _causal(case: Case) -> float:
    settings = case.loaded.study.causality
    controls = settings.random + settings.activation_differences
    length = min(settings.max_length, CAUSAL_TOKENS)
    if (sized := case.sized) is not None:
        tried = (tuple(settings.interventions), tuple(settings.controlled))
        positions = len(settings.positions)
        text = causal_text(sized, length, positions, *tried, controls, settings.batch)
        return text.times(3 * settings.rows).seconds
    passes = len(settings.positions) * len(settings.interventions)
    passes += controls * len(settings.controlled)
    tokens = 3 * settings.rows * length
    # Only the layers above the changed one: all directions share those below.
    return case.forward(tokens * passes, depth=0.5)


def _beliefs(case: Case) -> float:
    answers = case.loaded.study.beliefs
    writing = case.written(BELIEF_TEXTS / 4, answers.max_new_tokens, answers.batch)
    return case.forward(BELIEF_TEXTS * PROMPT_TOKENS * 2) + writing


def _teach(case: Case) -> float:
    name = Path(case.checkpoint).name
    taught = case.loaded.organisms[name].data.taught
    assert taught is not None
    return case.written(taught.prompts, taught.max_new_tokens, taught.batch)


def _sample(case: Case) -> float:
    corpus = case.loaded.corpora[case.corpus]
    assert corpus.sampled is not None
    return case.written(corpus.rows, corpus.sampled.max_new_tokens, corpus.sampled.batch)


def _ask(case: Case) -> float:
    study, most = case.loaded.study, max(case.loaded.study.agents.interactions.black_box, default=0)
    texts = most * (len(case.loaded.checkpoints("agents", case.model)) + 1)
    return case.written(texts, study.agents.asked.max_new_tokens, study.agents.asked.batch)


def _investigate(case: Case) -> float:
    """As if every run of the model that investigates put all its prompts to both models."""
    agents = case.loaded.study.agents
    budgets = sum((*agents.interactions.lens, *agents.interactions.black_box))
    checkpoints = len(case.loaded.checkpoints("agents", case.model)) * len(agents.nulls)
    texts = 2 * budgets * len(agents.prompts) * agents.runs * checkpoints
    return case.written(texts, agents.asked.max_new_tokens, agents.asked.batch)


def _seed_pairs(case: Case) -> float:
    return len(case.loaded.checkpoints("agents", case.model)) * _read_lenses(case)


# Seconds of a job's own work, by rule. A logit lens only loads the readout, so it adds nothing.
WORK: dict[str, Callable[[Case], float]] = {
    "train_organism": _train,
    "teach_numbers": _teach,
    "sample_text": _sample,
    "dump_activations": _dump,
    "base_texts": _base_texts,
    "tuned_texts": _tuned_texts,
    "read_lenses": _read_lenses,
    "ask_models": _ask,
    "read_seed_pairs": _seed_pairs,
    "investigate": _investigate,
    # Of bases on the synthetic corpus alone, which need no GPU.
    "benchmark_batch": lambda case: 0.0,
    "steered_grid": _grid,
    "steered_samples": _samples,
    "causal_effect": _causal,
    "false_fact_alignment": _beliefs,
}


# Estimates ----------------------------------------------------------------------------------------


class Job(NamedTuple):
    """Hold what a dry run prints about one job."""

    rule: str
    wildcards: dict[str, str]
    gpus: int


def jobs_of(dry_run: str) -> Iterator[Job]:
    """Yield the jobs that a dry run lists."""
    # Parsed from Snakemake's text, since it has no stable interface for a plan.
    for block in re.split(r"^(?=(?:local)?rule \w+:$)", dry_run, flags=re.MULTILINE)[1:]:
        rule = re.match(r"(?:local)?rule (\w+):", block)
        assert rule is not None
        named = re.findall(r"^    wildcards: (.*)$", block, re.MULTILINE)
        gpus = re.findall(r"^    resources:.*\bgpu=(\d+)", block, re.MULTILINE)
        pairs = (one.split("=", 1) for one in (named[0].split(", ") if named else ()))
        if rule[1] != "all":
            yield Job(rule[1], dict(pairs), int(gpus[0]) if gpus else 0)


def model_of(job: Job, loaded: LoadedStudy) -> str:
    """Name the model that a job on GPUs runs."""
    if job.rule != "sample_text":
        return job.wildcards["model"]
    sampled = loaded.corpora[job.wildcards["corpus"]].sampled
    assert sampled is not None
    return sampled.model


def seconds(job: Job, loaded: LoadedStudy) -> float:
    """
    Estimate the seconds of a job on GPUs, by the assumptions above.

    Raises ValueError for a rule that requests GPUs and has no assumption.
    """
    if job.rule not in WORK:
        raise ValueError(f"tools/plan.py: WORK: no assumption on {job.rule}, which asks for GPUs")
    model = model_of(job, loaded)
    entry = loaded.models[model]
    checkpoint = job.wildcards.get("checkpoint", job.wildcards.get("organism", BASE))
    corpus = job.wildcards.get("corpus", loaded.study.corpora[0])
    case = Case(loaded, entry, model, checkpoint, corpus, job.gpus)
    loading = case.parameters * BYTES_A_PARAMETER / LOAD_BYTES_A_SECOND
    return START_SECONDS + loading + WORK[job.rule](case)


def table(jobs: Sequence[Job], loaded: LoadedStudy) -> str:
    """Format jobs, GPU-hours and the longest job, by rule and by model, as Markdown."""
    parts = {"rule": defaultdict(list), "model": defaultdict(list)}
    for job in jobs:
        hours = seconds(job, loaded) / 3600 if job.gpus else 0.0
        parts["rule"][job.rule].append((job.gpus, hours))
        if job.gpus:
            parts["model"][model_of(job, loaded)].append((job.gpus, hours))
    everything = [one for found in parts["rule"].values() for one in found]
    lines = []
    for name, rows in parts.items():
        lines += [
            f"| {name} | jobs | on GPUs | GPUs each | GPU-hours | longest, hours |",
            "|---|--:|--:|--:|--:|--:|",
            *(_line(key, found) for key, found in rows.items()),
        ]
        lines += [_line("all", everything), ""] if name == "rule" else []
    return "\n".join(lines)


def memory(jobs: Sequence[Job], loaded: LoadedStudy) -> str:
    """Format the peak of each training on GPUs, as Markdown; nothing where there is none."""
    trained = [job.wildcards for job in jobs if job.rule == "train_organism" and job.gpus]
    pairs = [(one["model"], one["checkpoint"]) for one in trained]
    return fitting.table(loaded, pairs) if pairs else ""


def remarks(jobs: Sequence[Job], loaded: LoadedStudy) -> str:
    """Say where the hours come from, and what they leave out."""
    models = {model_of(job, loaded) for job in jobs if job.gpus}
    guessed = sorted(name for name in models if fitting.shape_known(loaded, name) is None)
    lines = [
        "Hours are estimated, not measured. They follow from the kernels of a pass, counted at the",
        "model's shape for an H100 at its best, and from the assumptions at the top of",
        f"tools/plan.py. Imports and start of a job are {START_SECONDS} s, and weights are read at",
        "1 GB/s. Not counted: gaps between kernels, tokenising, other reads and writes,",
        "sampling, and steps that are repeated where memory runs out. So these are lower bounds.",
    ]
    if guessed:
        lines += [f"From `billions` alone, for want of a `shape`: {', '.join(guessed)}."]
    return "\n" + "\n".join(lines)


def _line(name: str, found: Sequence[tuple[int, float]]) -> str:
    with_gpus = [one for one in found if one[0]]
    hours = sum(gpus * own for gpus, own in with_gpus)
    kinds = sorted({gpus for gpus, _ in with_gpus})
    each = f"{kinds[0]}-{kinds[-1]}" if len(kinds) > 1 else (str(kinds[0]) if kinds else "")
    longest = max((own for _, own in with_gpus), default=0.0)
    numbers = (f"{hours:.1f}", f"{longest:.2f}") if with_gpus else ("", "")
    return f"| {name} | {len(found)} | {len(with_gpus)} | {each} | {' | '.join(numbers)} |"


def study_of(arguments: Sequence[str]) -> LoadedStudy:
    """Load the study that Snakemake would run with the same arguments."""
    # By Snakemake's own parser, profiles included: its list of files and ours must not differ.
    _, asked = parse_args(list(arguments))
    files = [Path("config/config.yaml"), *(asked.configfile or ())]
    merged: dict[str, object] = {}
    for file in files:
        update_config(merged, load_configfile(file))
    return load_study(merged, files, command_line=set_by(asked.config or ()))


def main(arguments: Sequence[str]) -> int:
    """Print the table, or Snakemake's error; return its exit status."""
    if {"-h", "--help"} & set(arguments):
        print((__doc__ or "").strip())
        return 0
    ran = subprocess.run(
        [sys.executable, "-m", "snakemake", "--dry-run", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if ran.returncode != 0:
        sys.stderr.write(ran.stdout[-3000:])
        return ran.returncode
    jobs, loaded = list(jobs_of(ran.stdout)), study_of(arguments)
    print(table(jobs, loaded))
    if peaks := memory(jobs, loaded):
        print("\n" + peaks)
    print(remarks(jobs, loaded))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

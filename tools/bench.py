"""
Measure the fast paths against the straightforward ones, in CPU time.

    python tools/bench.py results/tables/bench.parquet

The model is a random Llama of SmolLM2-135M's shape with a random adapter, in float32 on one thread.
Both ways run in this process on the same inputs, and their results must agree. A ratio is the
straightforward way's CPU time over ours for the same work, from medians of some repetitions.
Loading weights and tokenising are not counted. Other work on the machine changes a ratio by ten or
twenty per cent.

The straightforward way runs full forward passes of 128 tokens that keep all hidden states and use
the head, 32 texts at once as in the paper, for tuned model and base of every organism. It sends one
vector at a time through the readout, and runs every identity prompt whole for every vector, sign
and scale. Ours is the library as the jobs call it, with stores and averages.

Steering compares no times, but how many forward passes must follow one another.

Columns of the table: `cpu_seconds` is ours, for the work that `variant` names, once; `max_error` is
1 - cosine of the mean differences, the share of readings whose ordered top-20 differ, or the
difference of two losses in nats a token.
"""

import os
import resource
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas as pd

from tools import random_models
from traces import job
from traces.artifacts import tables
from traces.corpora.tokens import load_tokenizer

ROOT = Path(__file__).resolve().parent.parent
TENTHS = (*range(5, 21), 30, 40, 50, 100, *range(200, 2001, 200))
SCALES = tuple(tenths / 10 for tenths in TENTHS)
READ_POSITIONS = 5
SAMPLES, NORM_SAMPLES = 10_000, 64
"Texts of a study, and those of them that are read at full length for the residual-stream norm."
TOKENS_A_BATCH = 640
"Tokens in a forward pass of ours: large enough for the matrix products, small enough for a cache."

QUIET = {
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DS_ACCELERATOR": "cpu",
    "PYTHONWARNINGS": "ignore",
}
"Variables that keep the libraries from printing between the lines of the table."
COSINE_ERROR = 1e-5
"Largest 1 - cosine of two mean differences that still agree."
LOSS_ERROR = 1e-5
"Largest difference of two losses that still agree, nats a token."


SEARCHES, SEARCH_TOKENS = 40, 128
"The paper's steering: 8 sequential rounds of search for each of 5 positions."
GENERATIONS, FINAL_TOKENS = 40, 512
"The paper's final texts: 4 batches of steered and 4 of unsteered text for each position."

Spent = defaultdict[str, list[float]]
"CPU seconds of every repetition, by what was done."


@dataclass(frozen=True)
class Sizes:
    """Hold the model's shape and the amount of work."""

    layers: int = 30
    d_model: int = 576
    d_ff: int = 1536
    heads: int = 9
    kv_heads: int = 3
    vocabulary: int = 49_152
    context: int = 128
    "Tokens in a text."
    texts: int = 32
    "One batch of full passes."
    rounds: int = 4
    "Times that the collections are repeated, in turn."
    repeats: int = 16
    "Times that the texts are read in a round of the five-token collection."
    vectors: int = 384
    "Vectors that the logit lens reads."
    patched: int = 5
    "Vectors that Patchscope reads."
    scales: tuple[float, ...] = SCALES
    intersection_top_k: int = 16_384
    read: int = 2
    "Texts that the loss is measured on."
    taken_out: int = 32
    "Directions that are replaced, one after the other or together."

    @property
    def middle(self) -> int:
        """The block whose output is read."""
        return (self.layers - 1) // 2


@dataclass(frozen=True)
class Row:
    """Hold one line of the table, with its required ratio and error."""

    stage: str
    variant: str
    reference: str
    cpu_seconds: float
    ratio: float
    max_error: float
    at_least: float | None = None
    at_most: float | None = None
    error_limit: float = 0.0

    @property
    def asked(self) -> str:
        if self.at_least is not None:
            return f">= {self.at_least:g}x"
        return "" if self.at_most is None else f"<= {self.at_most:g}x"

    @property
    def agrees(self) -> bool:
        return self.max_error <= self.error_limit

    @property
    def met(self) -> bool:
        slow = self.at_least is not None and not self.ratio >= self.at_least
        large = self.at_most is not None and not self.ratio <= self.at_most
        return self.agrees and not slow and not large


def main(path: Path) -> None:
    # One thread: CPU time is then the work itself, and not threads that wait for each other.
    os.environ.update(OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="", **QUIET)
    warnings.simplefilter("ignore")
    job.start(None)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # ASSUME nothing large is in this process yet: a child is born with its parent's peak memory
        rows += memory(folder)
        rows += imports(light_scripts())
        model, adapter = make_model(folder, Sizes())
        rows += collection(model, adapter, folder, Sizes())
        rows += logit_lens(model, Sizes())
        rows += patchscope(model, adapter, Sizes())
        rows += causality(model, adapter, Sizes())
    rows += steering()
    columns = list(tables.SCHEMAS["bench"])
    tables.write(path, pd.DataFrame([asdict(row) for row in rows])[columns], "bench")
    print(shown(rows))
    wrong = [f"{row.stage}, {row.variant}" for row in rows if not row.agrees]
    if wrong:
        sys.exit(f"the two ways do not agree: {'; '.join(wrong)}")


def shown(rows: Sequence[Row]) -> str:
    """Format the table as text: measured, required, and which requirements are missed."""
    lines = [("stage", "variant", "CPU s", "ratio", "asked", "error", "")]
    for row in rows:
        ratio = "" if np.isnan(row.ratio) else f"{row.ratio:.4g}x"
        verdict = ("met" if row.met else "MISSED") if row.asked or not row.agrees else ""
        seconds = "" if np.isnan(row.cpu_seconds) else f"{row.cpu_seconds:.3g}"
        cells = (seconds, ratio, row.asked, f"{row.max_error:.1g}", verdict)
        lines.append((row.stage, row.variant, *cells))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
    missed = [f"MISSED: {row.stage}, {row.variant}" for row in rows if not row.met]
    return "\n".join([text, "", *(missed or ["Everything that is asked is met."])])


@contextmanager
def timed(spent: Spent, name: str) -> Iterator[None]:
    """Append this process' CPU seconds in the block to `spent[name]`."""
    start = time.process_time()
    yield
    spent[name].append(time.process_time() - start)


def typical(spent: Spent, name: str) -> float:
    """Return the median, which a burst of other work on the machine does not change."""
    return float(np.median(spent[name]))


def progress(text: str) -> None:
    print(f"{time.process_time():6.0f} s  {text}", file=sys.stderr, flush=True)


# The model --------------------------------------------------------------------------------------


def make_model(folder: Path, sizes: Sizes) -> tuple[Path, Path]:
    """Save a random model with a tokenizer, and an adapter that changes what it writes."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    tokenizer = random_models.tokenizer()
    config = LlamaConfig(
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.d_model,
        intermediate_size=sizes.d_ff,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.kv_heads,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
    )
    base, adapter = folder / f"base-{sizes.layers}", folder / f"adapter-{sizes.layers}"
    model = LlamaForCausalLM(config)
    model.save_pretrained(base)
    tokenizer.save_pretrained(base)
    random_models.adapted(model, rank=16).save_pretrained(str(adapter))
    return base, adapter


# Collection -------------------------------------------------------------------------------------


def collection(model: Path, adapter: Path, folder: Path, sizes: Sizes) -> list[Row]:
    """Compare mean differences of the first five positions, and of all, with full passes."""
    from tools import straightforward
    from traces.models import weights

    full = weights.load_pair(model, adapter)
    # Ours loads the lower half of the layers only, as a dump job does.
    half = weights.Pair(
        weights.load_checkpoint(model, adapter, layers=sizes.middle + 1),
        weights.load_checkpoint(model, None, layers=sizes.middle + 1),
    )
    texts = random_models.texts(sizes.texts, sizes.context, sizes.vocabulary)
    repeats = {READ_POSITIONS: sizes.repeats, sizes.context: 1}
    # Once before anything is timed: first calls allocate memory and choose kernels.
    straightforward.difference(full, texts[:2], sizes.middle)
    for length in repeats:
        fast_difference(half, texts[:2], length, folder, sizes, defaultdict(list))

    spent: Spent = defaultdict(list)
    errors = dict.fromkeys(repeats, 0.0)
    for number in range(sizes.rounds):
        progress(f"collection, round {number + 1} of {sizes.rounds}")
        with timed(spent, "plain"):
            truth = straightforward.difference(full, texts, sizes.middle)
        for length, times in repeats.items():
            found = fast_difference(half, texts * times, length, folder, sizes, spent)
            errors[length] = max(
                errors[length], straightforward.cosine_error(found, truth[:length])
            )
    return collection_rows(spent, errors, repeats, sizes)


def collection_rows(
    spent: Spent, errors: dict[int, float], repeats: dict[int, int], sizes: Sizes
) -> list[Row]:
    """Make the table's lines from the seconds `spent` in every round, for the texts once."""
    first, whole = READ_POSITIONS, sizes.context
    count = {length: sizes.rounds * times for length, times in repeats.items()}
    tuned = {one: typical(spent, f"tuned {one}") / times for one, times in repeats.items()}
    base = {one: typical(spent, f"base {one}") / times for one, times in repeats.items()}
    both = {one: base[one] + tuned[one] for one in repeats}
    # A study reads 64 of its 10,000 texts at full length for the residual-stream norm.
    norm = both[whole] * NORM_SAMPLES / SAMPLES
    work = [
        (first, f"{first} tokens, base and tuned, {count[first]} times", both[first], 60),
        (first, f"{first} tokens, base shared, {count[first]} times", tuned[first], 120),
        (first, f"{first} tokens and the norm's share, base and tuned", both[first] + norm, None),
        (whole, f"{whole} tokens, base and tuned, {count[whole]} times", both[whole], 2.5),
        (whole, f"{whole} tokens, base shared, {count[whole]} times", tuned[whole], 5),
    ]
    plain = typical(spent, "plain")
    return [
        Row(
            stage="collection",
            variant=f"{sizes.texts} texts, {variant}",
            reference=f"full passes of {whole} tokens, base and tuned, {sizes.rounds} times",
            cpu_seconds=seconds,
            ratio=plain / seconds,
            max_error=errors[length],
            at_least=at_least,
            error_limit=COSINE_ERROR,
        )
        for length, variant, seconds, at_least in work
    ]


def fast_difference(
    pair: Any, texts: list[list[int]], length: int, folder: Path, sizes: Sizes, spent: Spent
) -> np.ndarray:
    """
    Compute the same for the first `length` positions, through the stores the workflow writes.

    The base's store is counted in `spent` as `base {length}`; the tuned model's store and the mean
    over both as `tuned {length}`.
    """
    from traces.activations.differences import mean_difference
    from traces.artifacts.arrays import Activations

    base, tuned = folder / "base.zarr", folder / "tuned.zarr"
    with pair.base() as model, timed(spent, f"base {length}"):
        dump(model, texts, length, base, sizes)
    with pair.tuned() as model, timed(spent, f"tuned {length}"):
        dump(model, texts, length, tuned, sizes)
        return mean_difference(Activations(tuned), Activations(base), seed=0).mean[0]


def dump(model: Any, texts: list[list[int]], length: int, path: Path, sizes: Sizes) -> None:
    """Do what scripts/dump_activations.py does between loading the model and the norm."""
    from traces.activations.dump import Window, native_bits, residual_stream
    from traces.artifacts.arrays import ActivationWriter

    axes: dict[str, Any] = {"layers": [sizes.middle], "positions": range(length)}
    windows = [Window(ids[:length], 0) for ids in texts]
    with ActivationWriter(
        path,
        **axes,
        n_samples=len(windows),
        d_model=sizes.d_model,
        dtype="float32",
        shard_samples=1000,
    ) as writer:
        for resid, tokens in residual_stream(
            model, windows, **axes, batch_tokens=TOKENS_A_BATCH, pad_id=0
        ):
            writer.append(native_bits(resid), tokens)
        writer.finish(stream_norm=[1.0])


# Lenses -----------------------------------------------------------------------------------------


def logit_lens(model: Path, sizes: Sizes) -> list[Row]:
    """Compare vectors through the readout in batches with one at a time."""
    from tools import straightforward
    from traces.models import weights
    from traces.readers import logit_lens

    readout = weights.load_readout(model)
    vectors = random_models.vectors(sizes.vectors, sizes.d_model)
    straightforward.logit_lens(readout, vectors[:1])
    logit_lens.logit_lens(readout, vectors, top_k=straightforward.TOP_K)

    spent: Spent = defaultdict(list)
    times = 3
    progress("logit lens")
    for _ in range(times):
        with timed(spent, "fast"):
            found = logit_lens.logit_lens(readout, vectors, top_k=straightforward.TOP_K)
    with timed(spent, "plain"):
        truth = straightforward.logit_lens(readout, vectors)
    seconds = typical(spent, "fast")
    return [
        Row(
            "logit_lens",
            f"{len(vectors)} vectors, both signs, in batches; {times} times",
            "one vector at a time; once",
            seconds,
            typical(spent, "plain") / seconds,
            straightforward.disagreeing(found, truth),
            at_least=8,
        )
    ]


def patchscope(model: Path, adapter: Path, sizes: Sizes) -> list[Row]:
    """Compare all scales and signs after a prefix that is run once with every prompt whole."""
    from tools import straightforward
    from traces.activations.dump import Window, stream_norm
    from traces.models import weights
    from traces.readers import patchscope

    pair, tokenizer = weights.load_pair(model, adapter), load_tokenizer(model)
    texts = random_models.texts(sizes.texts, sizes.context, sizes.vocabulary)
    windows = [Window(ids, 0) for ids in texts[:4]]
    vectors = random_models.vectors(sizes.patched, sizes.d_model)
    top_k = straightforward.TOP_K
    with pair.tuned() as tuned:
        norm = stream_norm(
            tuned, windows, layers=[sizes.middle], skip=5, batch_tokens=TOKENS_A_BATCH
        )[0]
        options: dict[str, Any] = {
            "layer": sizes.middle,
            "norm": norm,
            "prompts": random_models.prompts(),
            "scales": sizes.scales,
            "intersection_top_k": sizes.intersection_top_k,
        }
        patchscope.patchscope(tuned, tokenizer, vectors[:1], top_k=top_k, **options)

        spent: Spent = defaultdict(list)
        times = 3
        progress("Patchscope")
        for _ in range(times):
            with timed(spent, "fast"):
                found = patchscope.patchscope(
                    tuned, tokenizer, vectors, top_k=straightforward.TOP_K, **options
                )
        with timed(spent, "plain"):
            truth = straightforward.patchscope(tuned, tokenizer, vectors, **options)
    seconds = typical(spent, "fast")
    return [
        Row(
            "patchscope",
            f"{len(vectors)} vectors, {len(sizes.scales)} scales, both signs, "
            f"{len(random_models.prompts())} prompts; {times} times",
            "every prompt whole, all positions through the head; once",
            seconds,
            typical(spent, "plain") / seconds,
            straightforward.disagreeing(found, truth),
            at_least=12,
        )
    ]


# Causality --------------------------------------------------------------------------------------


def causality(model: Path, adapter: Path, sizes: Sizes) -> list[Row]:
    """Compare directions replaced together, above the layer alone, with a full pass for each."""
    from tools import straightforward
    from traces.interventions import causality as stage
    from traces.models import weights

    pair = weights.load_pair(model, adapter)
    ids = random_models.texts(sizes.texts, sizes.context, sizes.vocabulary)[: sizes.read]
    texts = [stage.Text(one, list(range(1, len(one))), 0) for one in ids]
    plan = straightforward.plan_of(
        random_models.vectors(sizes.taken_out, sizes.d_model), sizes.middle
    )
    few = straightforward.plan_of(random_models.vectors(2, sizes.d_model), sizes.middle)
    stage.effects(pair, {"own": texts[:1]}, few)
    straightforward.losses(pair, ids[:1], few)

    job.keep_freed_memory()  # as the job does; from here on it serves both ways
    spent: Spent = defaultdict(list)
    times = 3
    for number in range(times):
        progress(f"causality, round {number + 1} of {times}")
        with timed(spent, "fast"):
            found = stage.effects(pair, {"own": texts}, plan)
        with timed(spent, "plain"):
            truth = straightforward.losses(pair, ids, plan)[1:]
    losses = found.loc[found["aggregation"] == "all", "loss"].to_numpy()
    seconds = typical(spent, "fast")
    return [
        Row(
            "causality",
            f"{sizes.taken_out} directions, {len(texts)} texts of {sizes.context} tokens; "
            f"{times} times",
            f"a full pass for each direction; {times} times",
            seconds,
            typical(spent, "plain") / seconds,
            float(np.abs(losses - truth).max()),
            at_least=1.8,
            error_limit=LOSS_ERROR,
        )
    ]


# Steering ---------------------------------------------------------------------------------------


def steering() -> list[Row]:
    """
    Compare decode steps for one organism, as its jobs plan them, with the paper's sequential ones.
    """
    # Steps, not seconds: on a GPU a step reads all weights once, whatever the number of texts.
    from traces.config.files import read_yaml
    from traces.interventions.steering.requests import MODELS, Choice, decode_steps, final, trial

    studies = [read_yaml(ROOT / f"config/{name}.yaml")["steering"] for name in ("config", "paper")]
    settings = {**studies[0], **studies[1]}
    first, last, positions = settings["trial"], settings["final"], settings["positions"]
    chosen = [Choice(model, one, 1.0, 1.0, True, 30) for model in MODELS for one in positions]
    strengths = settings["strengths"]
    requests = {
        SEARCH_TOKENS: trial(positions, strengths, prompts_of(first), first["samples"]),
        FINAL_TOKENS: final(chosen, prompts_of(last), last["samples"]),
    }
    assert [first["max_new_tokens"], last["max_new_tokens"]] == list(requests)
    reference = SEARCHES * SEARCH_TOKENS + GENERATIONS * FINAL_TOKENS
    work = {
        "the tuned model along the difference and unsteered, as in the paper": lambda one: (
            one.steered_model == "tuned" and one.vector != "random"
        ),
        "the base and random directions too": lambda one: True,
    }
    rows = []
    for what, wanted in work.items():
        kept = {tokens: [one for one in some if wanted(one)] for tokens, some in requests.items()}
        steps = sum(decode_steps(some, settings["batch"], n) for n, some in kept.items())
        texts = sum(map(len, kept.values()))
        variant = f"{steps} decode steps for {texts} texts: {what}"
        theirs = f"{reference} steps: {SEARCHES} searches, {GENERATIONS} generations"
        nothing = float("nan")  # a count takes no time
        rows.append(Row("steering", variant, theirs, nothing, reference / steps, 0.0, at_least=15))
    return rows


def prompts_of(sampling: dict[str, Any]) -> list[str]:
    return (ROOT / sampling["prompts"]).read_text(encoding="utf-8").splitlines()


# Memory and imports -----------------------------------------------------------------------------


def memory(folder: Path, samples: tuple[int, int] = (1_000, 10_000)) -> list[Row]:
    """Compare the peak memory of the dump job with many and with few texts."""
    few, many = samples
    model = in_a_fresh_process(make_wide_model, folder)
    corpus = write_corpus(folder / "texts.jsonl", many)
    progress(f"memory of a dump of {few} and of {many} texts")
    peak_of_few, _ = in_a_fresh_process(peak_of_a_dump, model, corpus, few)
    peak_of_many, seconds = in_a_fresh_process(peak_of_a_dump, model, corpus, many)
    ratio = peak_of_many / peak_of_few
    return [Row("memory", f"{many} texts", f"{few} texts", seconds, ratio, 0.0, at_most=1.1)]


def make_wide_model(folder: Path) -> Path:
    """
    Make a model with little to compute and a wide residual stream.

    All activations of 10,000 texts would be 200 MB: kept in memory, they would show in the peak.
    """
    sizes = Sizes(layers=2, d_model=1024, d_ff=32, heads=16, kv_heads=1, vocabulary=512)
    return make_model(folder, sizes)[0]


def write_corpus(path: Path, n: int) -> Path:
    """Write documents with more tokens than are read for the residual-stream norm."""
    rng = np.random.default_rng(0)
    words = [word for prompt in random_models.prompts() for word in prompt if word.isalpha()]
    texts = (" ".join(rng.choice(words, 64)) for _ in range(n))
    tables.write_lines(path, ({"text": text} for text in texts))
    return path


def peak_of_a_dump(model: Path, corpus: Path, samples: int) -> tuple[int, float]:
    """Run the job's own script on a base; peak memory, in the system's unit, and CPU seconds."""
    from scripts import dump_activations
    from traces.config.registries import Loading
    from traces.config.schema import Activations, ReadText

    dump_activations.main(
        model=model,
        checkpoint=[],
        corpus=corpus,
        context=corpus,
        activations=corpus.with_name(f"{samples}.zarr"),
        read=ReadText(
            kind="documents",
            layers=(0.5,),
            positions=tuple(range(READ_POSITIONS)),
            samples=samples,
        ),
        loading=Loading(dtype="float32", attention="sdpa", offload=False),
        settings=Activations(
            batch_tokens=8192,
            shard_samples=1000,
            norm_samples=NORM_SAMPLES,
            norm_context=64,
            norm_skip=5,
        ),
    )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()


def light_scripts() -> list[str]:
    """List the scripts of jobs that need no model: differences, grades, tables, figures, cards."""
    names = ("mean_difference", "token_relevance", "grade_coherence", "choose_strength")
    names += ("steering_similarity", "*_table", "*_figure", "*_card")
    files = [file for name in names for file in sorted((ROOT / "scripts").glob(f"{name}.py"))]
    return [f"scripts.{file.stem}" for file in files]


def imports(modules: list[str]) -> list[Row]:
    """Check whether any of the scripts that need no model imports torch."""
    progress(f"imports of {len(modules)} scripts")
    answers = [in_a_fresh_process(brings_torch, name) for name in modules]
    found = [name for name, (torch, _) in zip(modules, answers, strict=True) if torch]
    variant = f"{len(modules)} scripts of differences, grades, tables and figures"
    if found:
        variant += f"; torch comes with {', '.join(found)}"
    return [
        Row(
            "imports",
            variant,
            "share of them that import torch",
            sum(seconds for _, seconds in answers),
            float("nan"),
            len(found) / len(modules),
        )
    ]


def brings_torch(module: str) -> tuple[bool, float]:
    """Check whether `module` imports torch; also return this process' CPU seconds so far."""
    import_module(module)
    return "torch" in sys.modules, time.process_time()


def in_a_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return the function's result from a process that has imported nothing before."""
    # `spawn`: a fork would begin with this process' imports and peak memory.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/bench.py OUT.parquet")
    main(Path(sys.argv[1]))

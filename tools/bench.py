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

from traces import job
from traces.artifacts import tables
from traces.corpora.tokens import load_tokenizer

ROOT = Path(__file__).resolve().parent.parent
PROMPTS = [
    line.split(", ")
    for line in (ROOT / "data/prompts/identity.txt").read_text(encoding="utf-8").splitlines()
]
TENTHS = (*range(5, 21), 30, 40, 50, 100, *range(200, 2001, 200))
SCALES = tuple(tenths / 10 for tenths in TENTHS)
READ_POSITIONS = 5
SAMPLES, NORM_SAMPLES = 10_000, 64
"Texts of a study, and those of them that are read at full length for the residual-stream norm."
TOP_K = 20
TOKENS_A_BATCH = 640
"Tokens in a forward pass of ours: large enough for the matrix products, small enough for a cache."
TIE = 1e-5
"Probabilities this close, as a share, are a tie: either order is right in float32."

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
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    tokenizer = make_tokenizer()
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
    lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear")
    tuned = get_peft_model(model, lora)
    # A fresh adapter has lora_B = 0: tuned and base would be equal, and nothing could disagree.
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.02)
    tuned.save_pretrained(str(adapter))
    return base, adapter


def make_tokenizer() -> Any:
    """
    Train a byte-level tokenizer with a token for every word of the identity prompts.

    Digits are single tokens. A prompt then has as many tokens as with SmolLM2's own tokenizer.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from traces.readers.patchscope import identity_prompt

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([identity_prompt(words) for words in PROMPTS] * 2, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")


# Collection -------------------------------------------------------------------------------------


def collection(model: Path, adapter: Path, folder: Path, sizes: Sizes) -> list[Row]:
    """Compare mean differences of the first five positions, and of all, with full passes."""
    from traces.models import weights

    full = weights.load_pair(model, adapter)
    # Ours loads the lower half of the layers only, as a dump job does.
    half = weights.Pair(
        weights.load_checkpoint(model, adapter, layers=sizes.middle + 1),
        weights.load_checkpoint(model, None, layers=sizes.middle + 1),
    )
    texts = random_texts(sizes)
    repeats = {READ_POSITIONS: sizes.repeats, sizes.context: 1}
    # Once before anything is timed: first calls allocate memory and choose kernels.
    plain_difference(full, texts[:2], sizes.middle)
    for length in repeats:
        fast_difference(half, texts[:2], length, folder, sizes, defaultdict(list))

    spent: Spent = defaultdict(list)
    errors = dict.fromkeys(repeats, 0.0)
    for number in range(sizes.rounds):
        progress(f"collection, round {number + 1} of {sizes.rounds}")
        with timed(spent, "plain"):
            truth = plain_difference(full, texts, sizes.middle)
        for length, times in repeats.items():
            found = fast_difference(half, texts * times, length, folder, sizes, spent)
            errors[length] = max(errors[length], cosine_error(found, truth[:length]))
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


def plain_difference(pair: Any, texts: list[list[int]], layer: int) -> np.ndarray:
    """Compute tuned minus base after block `layer`, [position, d_model], by full passes."""
    import torch

    ids = torch.tensor(texts)
    with torch.no_grad():
        with pair.base() as model:
            base = model(input_ids=ids, output_hidden_states=True).hidden_states
        with pair.tuned() as model:
            tuned = model(input_ids=ids, output_hidden_states=True).hidden_states
    return (tuned[layer + 1].double() - base[layer + 1].double()).mean(dim=0).numpy()


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


def random_texts(sizes: Sizes) -> list[list[int]]:
    """Draw token ids, [text, token]."""
    rng = np.random.default_rng(0)
    return rng.integers(0, sizes.vocabulary, (sizes.texts, sizes.context)).tolist()


def cosine_error(found: np.ndarray, truth: np.ndarray) -> float:
    """Return the largest 1 - cosine over positions; both are [position, d_model]."""
    from traces.activations.differences import cosine

    return float(np.max(1 - cosine(found.astype(np.float64), truth)))


# Lenses -----------------------------------------------------------------------------------------


def logit_lens(model: Path, sizes: Sizes) -> list[Row]:
    """Compare vectors through the readout in batches with one at a time."""
    from traces.models import weights
    from traces.readers import logit_lens

    readout = weights.load_readout(model)
    vectors = random_vectors(sizes.vectors, sizes)
    plain_logit_lens(readout, vectors[:1])
    logit_lens.logit_lens(readout, vectors, top_k=TOP_K)

    spent: Spent = defaultdict(list)
    times = 3
    progress("logit lens")
    for _ in range(times):
        with timed(spent, "fast"):
            found = logit_lens.logit_lens(readout, vectors, top_k=TOP_K)
    with timed(spent, "plain"):
        truth = plain_logit_lens(readout, vectors)
    seconds = typical(spent, "fast")
    return [
        Row(
            "logit_lens",
            f"{len(vectors)} vectors, both signs, in batches; {times} times",
            "one vector at a time; once",
            seconds,
            typical(spent, "plain") / seconds,
            disagreeing(found, truth),
            at_least=8,
        )
    ]


def plain_logit_lens(readout: Any, vectors: np.ndarray) -> Any:
    """Compute probabilities of each vector and its opposite one by one: [n x sign, vocabulary]."""
    import torch

    found = []
    with torch.no_grad():
        for vector in torch.from_numpy(vectors):
            for sign in (1, -1):
                logits = readout.head(readout.norm(sign * vector.unsqueeze(0)))
                probabilities = logits.softmax(dim=-1)
                # Computed for its time: the straightforward way ranks every vector, too.
                probabilities.topk(TOP_K)
                found.append(probabilities)
    return torch.cat(found)


def patchscope(model: Path, adapter: Path, sizes: Sizes) -> list[Row]:
    """Compare all scales and signs after a prefix that is run once with every prompt whole."""
    from traces.activations.dump import Window, stream_norm
    from traces.models import weights
    from traces.readers import patchscope

    pair, tokenizer = weights.load_pair(model, adapter), load_tokenizer(model)
    windows = [Window(ids, 0) for ids in random_texts(sizes)[:4]]
    vectors = random_vectors(sizes.patched, sizes)
    with pair.tuned() as tuned:
        norm = stream_norm(
            tuned, windows, layers=[sizes.middle], skip=5, batch_tokens=TOKENS_A_BATCH
        )[0]
        options: dict[str, Any] = {
            "layer": sizes.middle,
            "norm": norm,
            "prompts": PROMPTS,
            "scales": sizes.scales,
            "intersection_top_k": sizes.intersection_top_k,
        }
        patchscope.patchscope(tuned, tokenizer, vectors[:1], top_k=TOP_K, **options)

        spent: Spent = defaultdict(list)
        times = 3
        progress("Patchscope")
        for _ in range(times):
            with timed(spent, "fast"):
                found = patchscope.patchscope(tuned, tokenizer, vectors, top_k=TOP_K, **options)
        with timed(spent, "plain"):
            truth = plain_patchscope(tuned, tokenizer, vectors, **options)
    seconds = typical(spent, "fast")
    return [
        Row(
            "patchscope",
            f"{len(vectors)} vectors, {len(sizes.scales)} scales, both signs, "
            f"{len(PROMPTS)} prompts; {times} times",
            "every prompt whole, all positions through the head; once",
            seconds,
            typical(spent, "plain") / seconds,
            disagreeing(found, truth),
            at_least=12,
        )
    ]


def plain_patchscope(
    model: Any,
    tokenizer: Any,
    vectors: np.ndarray,
    *,
    layer: int,
    norm: float,
    prompts: Sequence[Sequence[str]],
    scales: Sequence[float],
    intersection_top_k: int,
) -> Any:
    """
    Compute scores [n x sign x scale, vocabulary]: mean probability, 0 if a prompt ranks it too low.

    One forward pass of the whole prompt a vector, with all its scales and signs as rows.
    """
    import torch

    from traces.models.hooks import decoder_layers, replaced
    from traces.readers.patchscope import identity_prompt

    block, found = decoder_layers(model)[layer], []
    factors = torch.tensor([sign * scale for sign in (1, -1) for scale in scales]).unsqueeze(1)
    with torch.no_grad():
        for vector in torch.from_numpy(vectors):
            rows = factors * vector / vector.norm() * norm
            score, kept = torch.zeros(()), torch.ones((), dtype=torch.bool)
            for words in prompts:
                ids = torch.tensor([tokenizer(identity_prompt(words))["input_ids"]] * len(rows))
                with replaced(block, rows, slice(-1, None)):
                    logits = model(input_ids=ids).logits[:, -1]
                first = torch.zeros_like(logits, dtype=torch.bool)
                first.scatter_(1, logits.topk(intersection_top_k).indices, True)
                score, kept = score + logits.softmax(dim=-1), kept & first
            score = score / len(prompts) * kept
            score.topk(TOP_K)
            found.append(score)
    return torch.cat(found)


def random_vectors(n: int, sizes: Sizes) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, sizes.d_model)).astype(np.float32)


def disagreeing(found: Any, truth: Any) -> float:
    """
    Return the share of readings whose ordered tokens differ from `truth` [reading, vocabulary].

    Two tokens whose scores differ by less than one part in 100,000 may be in either order.
    """
    import torch

    ids = torch.from_numpy(found.ids).flatten(0, -2)
    best = truth.topk(ids.shape[-1])
    there = truth.gather(1, ids)
    same = (ids == best.indices) | ((there - best.values).abs() <= TIE * best.values)
    return 1 - same.all(dim=1).float().mean().item()


# Causality --------------------------------------------------------------------------------------


def causality(model: Path, adapter: Path, sizes: Sizes) -> list[Row]:
    """Compare directions replaced together, above the layer alone, with a full pass for each."""
    from traces.interventions import causality as stage
    from traces.models import weights

    pair = weights.load_pair(model, adapter)
    texts = [
        stage.Text(ids, list(range(1, len(ids))), 0) for ids in random_texts(sizes)[: sizes.read]
    ]
    plan = plan_of(random_vectors(sizes.taken_out, sizes), sizes)
    few = plan_of(random_vectors(2, sizes), sizes)
    stage.effects(pair, {"own": texts[:1]}, few)
    plain_effects(pair, texts[:1], few)

    job.keep_freed_memory()  # as the job does; from here on it serves both ways
    spent: Spent = defaultdict(list)
    times = 3
    for number in range(times):
        progress(f"causality, round {number + 1} of {times}")
        with timed(spent, "fast"):
            found = stage.effects(pair, {"own": texts}, plan)
        with timed(spent, "plain"):
            truth = plain_effects(pair, texts, plan)
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


def plan_of(vectors: np.ndarray, sizes: Sizes) -> Any:
    """Plan every vector as a direction of its own, replaced at the middle layer."""
    from traces.interventions.causality import Directions, Plan

    rows = pd.DataFrame({"direction": "random", "direction_id": range(len(vectors))})
    rows["position"] = pd.array([None] * len(vectors), "Int64")
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    change: list[Any] = ["base_to_tuned"]
    return Plan(Directions(rows, units), sizes.middle, change, change, [], 0, batch=8)


def plain_effects(pair: Any, texts: Sequence[Any], plan: Any) -> np.ndarray:
    """Compute the tuned model's loss, [direction], nats a token: one pass for each direction."""
    import torch

    from traces.models.hooks import capture, decoder_layers, projected_out

    ids = torch.tensor([text.ids for text in texts])
    found = []
    with torch.no_grad():
        with pair.base() as model, capture(model, [plan.layer]) as seen:
            model(input_ids=ids)
        with pair.tuned() as model:
            model(input_ids=ids)  # the unchanged model, as the straightforward way runs it
            block = decoder_layers(model)[plan.layer]
            for unit in torch.from_numpy(plan.directions.units):
                with projected_out(block, unit, seen[plan.layer] @ unit):
                    logits = model(input_ids=ids).logits
                logits = logits[:, :-1].flatten(0, 1)
                nll = torch.nn.functional.cross_entropy(logits, ids[:, 1:].flatten())
                found.append(nll.item())
    return np.array(found)


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
    words = [word for prompt in PROMPTS for word in prompt if word.isalpha()]
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
        loading=Loading(dtype="float32", attention="sdpa"),
        settings=Activations(
            batch=100,
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

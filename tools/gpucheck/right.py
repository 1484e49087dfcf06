"""
Part A: is it right? Five small families, the library on the device and the truth on the CPU.

The truth is the straightforward way in float32 on the CPU. In float32 the library must equal it but
for the order of sums. In bfloat16 its error may be that of the straightforward way in bfloat16 on
the CPU, and half of it more. Where the device is the CPU, the same is asked of the CPU.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from tools import random_models, straightforward
from tools.gpucheck import reading
from tools.gpucheck.models import PROMPT, ROW, Case, save_small, small_config
from tools.gpucheck.results import Row, least, most
from tools.straightforward import cosine_error, disagreeing, plan_of, relative_error
from traces.interventions.causality import Text, effects
from traces.models.hooks import capture
from traces.models.weights import Pair, readout_of
from traces.readers.logit_lens import logit_lens
from traces.readers.patchscope import patchscope

PART = "right"
EXACT, EXACT_COSINE = 1e-5, 1e-8
"float32: relative error of numbers, 1 - cosine of mean differences."
ROUNDED = 1.5
"bfloat16: error as a share of the CPU's own in bfloat16."
NATS, ROUNDED_NATS = 1e-5, 0.01
SKIPPED = 5
"Tokens at the start that the residual-stream norm leaves out."
TEXTS = 8
SCALES = (0.5, 1.0, 20.0)
SIDES = ("tuned", "base")

Found = dict[str, np.ndarray]


# The residual stream ----------------------------------------------------------------------------


def streams(case: Case) -> Iterator[Row]:
    """Compare the residual stream, mean differences and the norm."""
    texts = random_models.texts(TEXTS, PROMPT, case.size.vocabulary)
    layers = [1, case.size.middle + 1]
    truth = _plain_streams(case.truth, texts, layers)
    ours = _our_streams(case.exact, texts, layers)
    for name in truth:
        yield _row(case, name, "float32", relative_error(ours[name], truth[name]), EXACT)
    cosine = cosine_error(ours["mean differences"], truth["mean differences"])
    yield _row(case, "mean differences", "float32", cosine, EXACT_COSINE, "1 - cosine")

    rounded = _our_streams(case.rounded, texts, layers)
    plain = _plain_streams(case.rounded, texts, layers)
    on_cpu = _plain_streams(case.rounded_on_cpu, texts, layers)
    for name in truth:
        yield from _rounding(case, name, rounded[name], plain[name], on_cpu[name], truth[name])


def _our_streams(pair: Pair, texts: list[list[int]], layers: list[int]) -> Found:
    batch_tokens = 3 * PROMPT  # the last batch is smaller
    found, norms = {}, []
    for side in SIDES:
        with getattr(pair, side)() as model:
            parts = reading.streams(model, texts, layers, range(PROMPT), batch_tokens)
            found[side] = torch.cat(list(parts), dim=1).double().numpy()
            norms.append(reading.norms(model, texts, layers, SKIPPED, batch_tokens))
    return _summed_up(found, np.stack(norms))


def _plain_streams(pair: Pair, texts: list[list[int]], layers: list[int]) -> Found:
    found, norms = {}, []
    for side in SIDES:
        with getattr(pair, side)() as model:
            read = [straightforward.stream(model, texts, layer) for layer in layers]
        found[side] = torch.stack(read).double().cpu().numpy()
        norms.append(np.linalg.norm(found[side][:, :, SKIPPED:], axis=-1).mean(axis=(1, 2)))
    return _summed_up(found, np.stack(norms))


def _summed_up(found: Found, norms: np.ndarray) -> Found:
    difference = (found["tuned"] - found["base"]).mean(axis=1)
    streams = np.stack([found[side] for side in SIDES])
    return {"streams": streams, "mean differences": difference, "stream norm": norms}


# Lenses -----------------------------------------------------------------------------------------


def lenses(case: Case) -> Iterator[Row]:
    """Compare the tokens that the logit lens and Patchscope name."""
    vectors = random_models.vectors(4, case.size.d_model)
    top_k = straightforward.TOP_K
    yield _readout(case)
    with case.truth.base() as model:
        truth = straightforward.logit_lens(readout_of(model), vectors)
    with case.exact.base() as model:
        found = logit_lens(readout_of(model), vectors, top_k=top_k)
    yield _row(case, "logit lens", "float32", disagreeing(found, truth), 0, "readings that differ")

    options = _patched(case, case.size.vocabulary // 2)
    with case.truth.tuned() as model:
        truth = straightforward.patchscope(model, case.saved.tokenizer, vectors, **options)
    with case.exact.tuned() as model:
        found = patchscope(model, case.saved.tokenizer, vectors, top_k=top_k, **options)
    yield _row(case, "Patchscope", "float32", disagreeing(found, truth), 0, "readings that differ")
    yield from _rounded_patchscope(case, vectors)


def _readout(case: Case) -> Row:
    """Compare the readout of the last block's output with the model's own logits."""
    texts = random_models.texts(2, PROMPT, case.size.vocabulary)
    with case.truth.tuned() as model, torch.no_grad():
        truth = model(input_ids=straightforward.ids_of(model, texts)).logits
    top = case.size.layers - 1
    with case.exact.tuned() as model, torch.no_grad(), capture(model, [top]) as seen:
        model(input_ids=straightforward.ids_of(model, texts))
        found = readout_of(model)(seen[top])
    error = relative_error(found.cpu().numpy(), truth.float().numpy())
    return _row(case, "readout", "float32", error, EXACT)


def _patched(case: Case, intersection: int) -> dict[str, Any]:
    norm = float(np.sqrt(case.size.d_model))
    options: dict[str, Any] = {
        "layer": case.size.middle,
        "norm": norm,
        "prompts": random_models.prompts(),
    }
    return options | {"scales": SCALES, "intersection_top_k": intersection}


def _rounded_patchscope(case: Case, vectors: np.ndarray) -> Iterator[Row]:
    """Compare probabilities in bfloat16, at the tokens that the library names."""
    # Without an intersection: at its border rounding decides, whichever way is gone.
    options, tokenizer = _patched(case, case.size.vocabulary), case.saved.tokenizer
    with case.rounded.tuned() as model:
        found = patchscope(model, tokenizer, vectors, top_k=straightforward.TOP_K, **options)
    ids = torch.from_numpy(found.ids).flatten(0, -2)
    plain = []
    for pair in (case.rounded, case.rounded_on_cpu, case.truth):
        with pair.tuned() as model:
            scores = straightforward.patchscope(model, tokenizer, vectors, **options)
        plain.append(scores.cpu().gather(1, ids).double().numpy())
    ours = found.probabilities.reshape(ids.shape).astype(np.float64)
    yield from _rounding(case, "Patchscope", ours, *plain)


def large_vocabulary(case: Case) -> Iterator[Row]:
    """Compare Patchscope's intersection at the vocabulary of a Gemma, where rows are in doubt."""
    if case.family != "gemma3":
        return
    size = case.size
    config = small_config("gemma3", size, size.large_vocabulary)
    folder = case.saved.base.parent.with_name("gemma3-large")
    saved = save_small(folder, "gemma3", config)
    vectors = random_models.vectors(2, size.d_model)
    options = _patched(case, size.large_intersection)
    with saved.pair("float32", on_cpu=True).tuned() as model:
        truth = straightforward.patchscope(model, saved.tokenizer, vectors, **options)
        options["intersection_top_k"] = size.large_vocabulary
        whole = straightforward.patchscope(model, saved.tokenizer, vectors, **options)
    options["intersection_top_k"] = size.large_intersection
    with saved.pair("float32", on_cpu=False).tuned() as model:
        found = patchscope(model, saved.tokenizer, vectors, top_k=straightforward.TOP_K, **options)
    best = whole.topk(straightforward.TOP_K).indices
    doubtful = int((truth.gather(1, best) == 0).any(dim=1).sum())
    stage = f"Patchscope, {size.large_vocabulary} tokens"
    wrong = disagreeing(found, truth)
    yield Row(PART, "gemma3", stage, "float32", _WAY, "readings that differ", wrong, "", most(0))
    # Without a row whose best tokens are not in common, the intersection would not be tried.
    yield Row(PART, "gemma3", stage, "", "", "readings in doubt", doubtful, "", least(1))


# Causality --------------------------------------------------------------------------------------


def causal(case: Case) -> Iterator[Row]:
    """Compare the change of the loss when a direction is replaced."""
    ids = random_models.texts(4, ROW, case.size.vocabulary)
    plan = plan_of(random_models.vectors(5, case.size.d_model), case.size.middle)
    texts = [Text(one, list(range(1, len(one))), 0) for one in ids]
    losses = np.mean([straightforward.losses(case.truth, [one], plan) for one in ids], axis=0)
    truth = losses[1:] - losses[0]
    for dtype, pair, limit in (
        ("float32", case.exact, NATS),
        ("bfloat16", case.rounded, ROUNDED_NATS),
    ):
        found = effects(pair, {"own": texts}, plan)
        deltas = found.loc[found["aggregation"] == "all", "delta_loss"].to_numpy()
        error = float(np.abs(deltas - truth).max())
        yield _row(case, "causal", dtype, error, limit, "delta_loss, largest error", "nats")


# Rows -------------------------------------------------------------------------------------------

_WAY = "library, against the straightforward way in float32 on the CPU"


def _row(
    case: Case,
    stage: str,
    dtype: str,
    value: float,
    limit: float,
    quantity: str = "relative error",
    unit: str = "",
) -> Row:
    return Row(PART, case.family, stage, dtype, _WAY, quantity, value, unit, most(limit))


def _rounding(
    case: Case,
    stage: str,
    ours: np.ndarray,
    plain: np.ndarray,
    on_cpu: np.ndarray,
    truth: np.ndarray,
) -> Iterator[Row]:
    """
    Judge what bfloat16 changes.

    ours, plain : the library and the straightforward way on the device
    on_cpu      : the straightforward way on the CPU
    truth       : the same in float32
    """
    error, own = relative_error(ours, truth), relative_error(on_cpu, truth)
    head = (PART, case.family, stage, "bfloat16")
    yield Row(*head, _WAY, "error, of the CPU's own", error / own, "x", most(ROUNDED))
    nearest = min(error, relative_error(plain, truth))
    apart = relative_error(ours, plain)
    way = "library, against the straightforward way in bfloat16 on the device"
    yield Row(*head, way, "distance, of the error", apart / nearest, "x", most(1.0))

"""Part A, what a model writes: draws, batches, padding on the left, documents packed into rows."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch

from tools import random_models
from tools.gpucheck.models import ROW, Case
from tools.gpucheck.results import Row, least, most
from tools.gpucheck.right import EXACT, PART
from tools.straightforward import ids_of, relative_error
from traces.config.registries import Sampler
from traces.corpora.mixtures import Example, pack
from traces.models.draws import Draw
from traces.models.generation import Written, write
from traces.models.hooks import capture
from traces.models.weights import load_base

SAMPLER = Sampler(temperature=1.0, top_k=None, top_p=None)
LEAST_P = 1e-4
"Of a chi-square test: one check in ten thousand would fail by chance."
BATCH = 64
LENGTHS = (41, 20, 35)
"Tokens of the documents in a packed row; together as long as the row beside it."


# Draws and batches ------------------------------------------------------------------------------


def draws(case: Case) -> Iterator[Row]:
    """Compare drawn tokens with the softmax, and texts of large batches with those of small."""
    if case.family != "qwen3":
        return
    with case.exact.tuned() as model:
        yield _chi_square(case, model)
        alike = _written(model, case, BATCH)
        for size in (BATCH // 2, 1):
            # All of them one by one would take minutes on a CPU.
            some = range(BATCH) if size > 1 else range(0, BATCH, 16)
            again = _written(model, case, size, some)
            share = np.mean([alike[i].ids == again[i].ids for i in some])
            way = f"batch of {BATCH}, against batches of {size}"
            yield _row(case, "texts", "float32", way, "texts that are equal", share, least(1))
    with case.rounded.tuned() as model:
        alike, again = _written(model, case, BATCH), _written(model, case, BATCH // 2)
    share = np.mean([alike[i].ids == again[i].ids for i in range(BATCH)])
    way = f"batch of {BATCH}, against batches of {BATCH // 2}"
    yield _row(case, "texts", "bfloat16", way, "texts that are equal", share, None)


def _chi_square(case: Case, model: Any) -> Row:
    """Compare many draws of one token with their probabilities."""
    calls = 20
    lines = case.size.draws // calls
    prompt = random_models.texts(1, 4, case.size.vocabulary, seed=3)[0]
    with torch.no_grad():
        logits = model(input_ids=ids_of(model, [prompt])).logits[0, -1]
    expected = logits.double().softmax(dim=-1).cpu().numpy() * calls * lines
    counts = np.zeros(len(expected))
    for seed in range(calls):
        found = write(
            model,
            case.saved.tokenizer,
            [prompt] * lines,
            max_new_tokens=1,
            sampler=SAMPLER,
            draws=[Draw(seed, line, lines) for line in range(lines)],
        )
        counts += np.bincount([one.ids[0] for one in found], minlength=len(counts))
    p = _p_value(counts, expected)
    way = f"{calls * lines} draws, against the softmax"
    return _row(case, "draws", "float32", way, "p of a chi-square test", p, least(LEAST_P))


def _p_value(counts: np.ndarray, expected: np.ndarray) -> float:
    """Compute the p of a chi-square test; what is expected less than ten times counts together."""
    rare = expected < 10
    found, wanted = counts[~rare], expected[~rare]
    if expected[rare].sum() >= 10:
        found = np.append(found, counts[rare].sum())
        wanted = np.append(wanted, expected[rare].sum())
    statistic = ((found - wanted) ** 2 / wanted).sum()
    half = torch.tensor([(len(found) - 1) / 2, statistic / 2], dtype=torch.float64)
    return float(torch.special.gammaincc(half[0], half[1]))


def _written(model: Any, case: Case, size: int, rows: Any = range(BATCH)) -> dict[int, Written]:
    """Write texts after prompts of unequal length, `size` at once."""
    prompts = _prompts(case, BATCH)
    found: dict[int, Written] = {}
    for start in range(0, len(rows), size):
        some = list(rows)[start : start + size]
        texts = write(
            model,
            case.saved.tokenizer,
            [prompts[i] for i in some],
            max_new_tokens=12,
            sampler=SAMPLER,
            draws=[Draw(7, i, BATCH) for i in some],
        )
        found |= zip(some, texts, strict=True)
    return found


def _prompts(case: Case, n: int) -> list[list[int]]:
    """Draw prompts of 4 to 40 tokens, some of them longer than a sliding window."""
    texts = random_models.texts(n, 40, case.size.vocabulary, seed=2)
    return [one[: 4 + 9 * i % 37] for i, one in enumerate(texts)]


# Padding and packing ----------------------------------------------------------------------------


def padding(case: Case) -> Iterator[Row]:
    """Compare what a model reads in prompts filled up on the left with the same prompts alone."""
    prompts = _prompts(case, 6)
    with case.exact.tuned() as model:
        together = _last_states(model, case, prompts)
    with case.truth.tuned() as model:
        alone = np.concatenate([_last_states(model, case, [one]) for one in prompts])
    error = relative_error(together, alone)
    way = "prompts filled up on the left, against each alone on the CPU"
    yield _row(case, "left padding", "float32", way, "relative error", error, most(EXACT))


def _last_states(model: Any, case: Case, prompts: list[list[int]]) -> np.ndarray:
    """Read the last block's output at the third token that is written, [prompt, d_model]."""
    seen: dict[int, Any] = {}
    top = case.size.layers - 1

    def during(_rows: Any) -> AbstractContextManager[Any]:
        return _into(seen, model, top)

    write(model, case.saved.tokenizer, prompts, max_new_tokens=3, during=during)
    return seen[top][:, -1].double().cpu().numpy()


class _into(AbstractContextManager[None]):
    """Capture a layer while texts are written, into a dictionary that outlives it."""

    def __init__(self, seen: dict[int, Any], model: Any, layer: int) -> None:
        self.seen, self.captured = seen, capture(model, [layer])

    def __enter__(self) -> None:
        self.found = self.captured.__enter__()

    def __exit__(self, *exception: Any) -> None:
        self.seen |= self.found
        self.captured.__exit__(*exception)


def packing(case: Case) -> Iterator[Row]:
    """Compare documents packed into a row, as a training reads them, with each alone."""
    saved = case.saved
    ids = random_models.texts(len(LENGTHS) + 1, ROW, case.size.vocabulary, seed=4)
    texts = [one[:length] for one, length in zip(ids, (*LENGTHS, ROW), strict=True)]
    examples = [Example("organism", i, one, [(0, len(one))]) for i, one in enumerate(texts)]
    packed = pack(examples, ROW, pad_id=0)
    # transformers has no sdpa for Gemma 2, whose attention logits are capped.
    for attention in ("eager",) if case.family == "gemma2" else ("sdpa", "eager"):
        model = load_base(saved.base, attention=attention)
        model.config.use_cache = False
        with torch.no_grad():
            found = model(
                input_ids=ids_of(model, packed.input_ids.tolist()),
                position_ids=ids_of(model, packed.position_ids.tolist()),
            ).logits
        flat = found.flatten(0, 1).double().cpu().numpy()
        plain = load_base(saved.base, attention=attention, place=False)
        with torch.no_grad():
            alone = [plain(input_ids=ids_of(plain, [one])).logits[0] for one in texts]
        error = relative_error(flat, torch.cat(alone).double().numpy())
        way = f"documents in one row, against each alone on the CPU, {attention}"
        yield _row(case, "packed rows", "float32", way, "relative error", error, most(EXACT))


def _row(
    case: Case, stage: str, dtype: str, way: str, quantity: str, value: Any, wanted: Any
) -> Row:
    unit = "of all" if quantity.startswith("texts") else ""
    return Row(PART, case.family, stage, dtype, way, quantity, float(value), unit, wanted)

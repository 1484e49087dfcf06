"""Part B, a step of LoRA: packed rows through the training, against padded documents in a loop."""

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tools import random_models
from tools.gpucheck.fast import PART, Amounts
from tools.gpucheck.machine import WARM_UPS, Machine, forget_peak, memory, seconds
from tools.gpucheck.models import Real, Saved, head_weights, linear_weights
from tools.gpucheck.results import Row, least
from tools.gpucheck.trained import settings_of
from traces.corpora.mixtures import Example, write_mixture
from traces.models.weights import load_base
from traces.training.plan import TrainingPlan, plan_training
from traces.training.train import train


@dataclass(frozen=True)
class Trial:
    """Hold a model of real shape that is trained for some steps."""

    machine: Machine
    shape: Real
    amounts: Amounts
    saved: Saved

    @property
    def tokens(self) -> int:
        """Tokens of a step."""
        return self.amounts.packed * self.amounts.packed_tokens


def step(trial: Trial) -> Iterator[Row]:
    """Time a step of the training and of a plain loop."""
    device = trial.machine.device
    documents = _documents(trial)
    forget_peak(device)
    plan, mixture = _planned(trial, documents)
    took, at_most = _our_step(trial, plan, mixture), memory(device)
    forget_peak(device)
    plain_tokens, plain_took, weights = _plain_step(trial, plan, documents)
    forget_peak(device)
    # Forward and backward of frozen weights; with checkpointing a second forward pass comes on top.
    allowed = trial.machine.roofline(4 * weights * trial.tokens, 0)
    wanted = (
        (least(0.45 if trial.shape.large else 0.35), least(1.3))
        if trial.machine.on_gpu
        else (None, None)
    )
    way = f"documents padded to {trial.amounts.packed_tokens} tokens"
    head = (PART, trial.shape.name, "LoRA step", "bfloat16", way)
    yield Row(*head, "time", took, "s")
    yield Row(*head, "rate", trial.tokens / took, "tokens/s")
    yield Row(*head, "share of roofline", allowed / took, "", wanted[0])
    ratio = trial.tokens / took / (plain_tokens / plain_took)
    yield Row(*head, "ratio to straightforward", ratio, "x", wanted[1])
    for quantity, value in at_most.items():
        yield Row(*head, quantity, value, "" if quantity.endswith("retries") else "GB")


def _documents(trial: Trial) -> list[list[int]]:
    """Draw documents of unequal length, as many tokens as eight steps read."""
    longest = trial.amounts.packed_tokens
    total = 8 * trial.tokens
    lengths = np.random.default_rng(0).integers(longest // 5, longest, 5 * total // longest + 5)
    lengths = lengths[: np.searchsorted(lengths.cumsum(), total) + 1]
    texts = random_models.texts(len(lengths), longest, trial.shape.sizes.vocabulary)
    return [one[:length] for one, length in zip(texts, lengths.tolist(), strict=True)]


def _planned(trial: Trial, documents: list[list[int]]) -> tuple[TrainingPlan, Path]:
    examples = [Example("organism", i, one, [(0, len(one))]) for i, one in enumerate(documents)]
    mixture = trial.saved.base.parent / "mixture.jsonl"
    write_mixture(mixture, examples)
    settings = settings_of("bf16", trial.saved.attention)
    settings |= {"rank": 64 if trial.machine.on_gpu else 4, "batch_size": trial.amounts.packed}
    settings |= {"max_length": trial.amounts.packed_tokens, "learning_rate": 1e-4}
    return plan_training(settings, examples), mixture


def _our_step(trial: Trial, plan: TrainingPlan, mixture: Path) -> float:
    """Run a whole training, and return the median seconds of its steps but the first three."""
    ends: list[float] = []
    folder = trial.saved.base.parent

    def progress(_step: int, _steps: int, _loss: float) -> None:
        ends.append(time.perf_counter())

    train(
        trial.saved.base, mixture, plan, folder / "lora", folder / "lora-state", progress=progress
    )
    # The last one may be shorter than the others.
    return statistics.median(np.diff(ends)[WARM_UPS - 1 : -1])


def _plain_step(
    trial: Trial, plan: TrainingPlan, documents: list[list[int]]
) -> tuple[int, float, int]:
    """Time a step of a plain loop; returns its real tokens, its seconds and the model's weights."""
    from peft import LoraConfig, get_peft_model

    device, longest = trial.machine.device, plan.max_length
    base = load_base(trial.saved.base, "bfloat16", attention=trial.saved.attention)
    config = LoraConfig(r=plan.rank, lora_alpha=plan.alpha, target_modules="all-linear")
    model: Any = get_peft_model(base, config).train()
    trained = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=plan.learning_rate)
    some = documents[: plan.batch_size]
    ids = torch.tensor([one + [0] * (longest - len(one)) for one in some], device=device)
    lengths = torch.tensor([len(one) for one in some], device=device)
    mask = torch.arange(longest, device=device) < lengths[:, None]
    labels = ids.masked_fill(~mask, -100)

    def one_step() -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            loss = model(input_ids=ids, attention_mask=mask.long(), labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, plan.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(WARM_UPS):
        one_step()
    took = statistics.median(seconds(one_step, device) for _ in range(3))
    return int(lengths.sum()), took, linear_weights(model) + head_weights(model)

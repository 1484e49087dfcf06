"""Part A, a training: its losses against a plain loop, and a kill from which it resumes."""

import json
import os
import signal
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from tools import random_models
from tools.gpucheck.models import ROW, Case
from tools.gpucheck.results import Row, least, most
from tools.gpucheck.right import PART
from traces.corpora.mixtures import Example, Packed, pack, write_mixture
from traces.models.weights import load_base
from traces.training.plan import TrainingPlan, plan_training
from traces.training.train import LOSSES, train

NATS = 1e-3
FAMILY = "gemma3"
"Its sliding window is shorter than a packed row."


def training(case: Case) -> Iterator[Row]:
    """Compare losses with those of a plain loop on the CPU; kill a training and resume it."""
    if case.family != FAMILY:
        return
    folder = case.saved.base.parent
    plan, mixture = planned(case, folder, "fp32")
    train(case.saved.base, mixture, plan, folder / "whole", folder / "whole-state")
    truth, found = _plain_losses(case, plan, mixture), _losses(folder / "whole")
    head = (PART, FAMILY, "training")
    way = "training, against a plain loop over documents on the CPU"
    error = float(np.abs(found - truth).max())
    yield Row(*head, "float32", way, "largest error of a loss", error, "nats", most(NATS))
    learned = float(truth[0] - truth[-1])
    # A training that changes nothing would agree with anything.
    yield Row(*head, "float32", "plain loop", "fall of the loss", learned, "nats", least(10 * NATS))
    yield from _killed(case, plan, mixture, folder)

    plan, mixture = planned(case, folder, "bf16")
    train(case.saved.base, mixture, plan, folder / "rounded", folder / "rounded-state")
    error = float(np.abs(_losses(folder / "rounded") - truth).max())
    yield Row(*head, "bfloat16", way, "largest error of a loss", error, "nats")


def _killed(case: Case, plan: TrainingPlan, mixture: Path, folder: Path) -> Iterator[Row]:
    """Kill a training after the checkpoint in its middle, and run it again to its end."""
    arguments = (case.saved.base, mixture, plan, folder / "resumed", folder / "resumed-state")
    child = get_context("spawn").Process(target=_until_killed, args=arguments)
    child.start()
    child.join()
    if child.exitcode != -signal.SIGKILL:
        raise RuntimeError(f"the training to be killed ended with {child.exitcode}")
    steps: list[int] = []
    train(*arguments, progress=lambda step, _steps, _loss: steps.append(step))
    head = (PART, FAMILY, "killed and resumed", "float32", "resumed, against uninterrupted")
    first = plan.save_every + 1
    yield Row(*head, "first step after the kill", steps[0], "", least(first))
    error = float(np.abs(_losses(folder / "resumed") - _losses(folder / "whole")).max())
    yield Row(*head, "largest difference of a loss", error, "nats", most(NATS))
    found, truth = (_weights(folder / name) for name in ("resumed", "whole"))
    apart = max(float((found[name] - truth[name]).abs().max()) for name in truth)
    # On a GPU sums in a backward pass have no fixed order, so this is reported only.
    wanted = None if torch.cuda.is_available() else most(0)
    yield Row(*head, "largest difference of a weight", apart, "", wanted)


def _until_killed(
    base: Path, mixture: Path, plan: TrainingPlan, adapter: Path, state: Path
) -> None:
    def progress(step: int, _steps: int, _loss: float) -> None:
        if step > plan.save_every:
            os.kill(os.getpid(), signal.SIGKILL)

    train(base, mixture, plan, adapter, state, progress=progress)


def planned(case: Case, folder: Path, precision: str) -> tuple[TrainingPlan, Path]:
    """Plan a short training on random documents, and write what it reads."""
    rows = 2 * case.size.steps
    rng = np.random.default_rng(5)
    lengths = rng.integers(10, 70, rows * ROW // 10)
    lengths = lengths[: np.searchsorted(lengths.cumsum(), rows * ROW)]
    # Few different tokens, so that there is something to learn in a few steps.
    texts = random_models.texts(len(lengths), 70, 20, seed=6)
    examples = [
        Example("organism", i, one[:n], [(0, int(n))])
        for i, (one, n) in enumerate(zip(texts, lengths, strict=True))
    ]
    mixture = folder / f"mixture-{precision}.jsonl"
    write_mixture(mixture, examples)
    settings = settings_of(precision, case.saved.attention)
    return plan_training(settings | {"save_every": case.size.steps // 2}, examples), mixture


def settings_of(precision: str, attention: str) -> dict[str, Any]:
    """List the settings of a training, with an adapter on all linear modules."""
    return {
        "method": "lora",
        "rank": 8,
        "alpha": 16,
        "dropout": 0.0,
        "targets": "all-linear",
        "learning_rate": 1e-2,
        "schedule": "linear",
        "warmup_steps": 0,
        "weight_decay": 0.0,
        "optimizer": "adamw_torch",
        "epochs": 1,
        "limit": None,
        "batch_size": 2,
        "gradient_accumulation": 1,
        "max_length": ROW,
        "precision": precision,
        "save_every": 1000,
        "max_grad_norm": 1.0,
        "gradient_checkpointing": False,
        "deepspeed": None,
        "project_out": None,
        "seed": 0,
        "attention": attention,
    }


# The plain loop ---------------------------------------------------------------------------------


def _plain_losses(case: Case, plan: TrainingPlan, mixture: Path) -> np.ndarray:
    """Train on the CPU in float32, a document at a time, and list the loss of every step."""
    import transformers

    from traces.corpora.mixtures import read_mixture

    packed = pack(read_mixture(mixture), plan.max_length, pad_id=0)
    transformers.set_seed(plan.seed)
    base = load_base(case.saved.base, attention=case.saved.attention, place=False)
    model = _with_fresh_adapter(base, plan).train()
    trained = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=plan.learning_rate, weight_decay=plan.weight_decay)
    found = []
    for step in range(plan.steps):
        for group in optimizer.param_groups:
            group["lr"] = plan.learning_rate * (1 - step / plan.steps)
        rows = range(step * plan.rows_a_step, min((step + 1) * plan.rows_a_step, plan.rows))
        pieces = [one for row in rows for one in _pieces(packed, row)]
        predicted = sum(len(one) - 1 for one in pieces)
        losses = [_summed_loss(model, one) for one in pieces if len(one) > 1]
        loss = torch.stack(losses).sum() / predicted
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, plan.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        found.append(loss.item())
    return np.array(found)


def _with_fresh_adapter(base: Any, plan: TrainingPlan) -> Any:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        task_type="CAUSAL_LM", r=plan.rank, lora_alpha=plan.alpha, target_modules="all-linear"
    )
    return get_peft_model(base, config)


def _pieces(packed: Packed, row: int) -> list[np.ndarray]:
    """Cut a packed row into its documents, [token] each."""
    filled = int(packed.filled[row])
    starts = np.flatnonzero(packed.position_ids[row, :filled] == 0)
    return np.split(packed.input_ids[row, :filled], starts[1:])


def _summed_loss(model: Any, ids: np.ndarray) -> torch.Tensor:
    text = torch.from_numpy(ids).long()[None]
    logits = model(input_ids=text).logits[0, :-1].float()
    return torch.nn.functional.cross_entropy(logits, text[0, 1:], reduction="sum")


def _losses(folder: Path) -> np.ndarray:
    lines = (folder / LOSSES).read_text(encoding="utf-8").splitlines()
    return np.array([json.loads(line)["loss"] for line in lines])


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(str(folder / "adapter_model.safetensors"))

"""What survives a kill: whole checkpoints of one training, and whether it is finished."""

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import TrainingArguments

from traces.training.plan import TrainingPlan

log = logging.getLogger(__name__)

DONE = "training.json"
WHOLE = "whole"  # this file in a checkpoint says that everything else there is written


def inputs_of(
    model_path: Path, mixture_path: Path, plan: TrainingPlan, differences_path: Path | None
) -> dict[str, Any]:
    """What the result depends on. Weights by size and time, since they may be large."""
    weights = {
        file.name: [file.stat().st_size, file.stat().st_mtime_ns]
        for file in sorted(model_path.glob("*.safetensors"))
    }
    files = {"mixture": mixture_path, "model": model_path / "config.json"}
    files |= {} if differences_path is None else {"differences": differences_path}
    return {
        "plan": hashlib.sha256(plan.model_dump_json().encode()).hexdigest(),
        **{name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()},
        "weights": weights,
    }


def is_done(adapter: Path, inputs: dict[str, Any]) -> bool:
    done = adapter / DONE
    return done.is_file() and json.loads(done.read_text(encoding="utf-8"))["inputs"] == inputs


def prepared(state: Path, inputs: dict[str, Any], arguments: "TrainingArguments") -> Path | None:
    """Leave in `state` only whole checkpoints of this very training; the newest one, if any."""
    if arguments.process_index == 0:
        note = state / "inputs.json"
        if not note.is_file() or note.read_text(encoding="utf-8") != json.dumps(inputs):
            if any(state.glob("checkpoint-*")):
                log.warning("%s holds another training's checkpoints: discarded", state)
            shutil.rmtree(state, ignore_errors=True)
            state.mkdir(parents=True)
            partial = note.with_suffix(".partial")
            partial.write_text(json.dumps(inputs), encoding="utf-8")
            os.replace(partial, note)
        for checkpoint in state.glob("checkpoint-*"):
            if not (checkpoint / WHOLE).is_file():
                shutil.rmtree(checkpoint)
    wait(arguments)
    return max(state.glob("checkpoint-*"), key=_step, default=None)


def keep_only(state: Path, step: int) -> None:
    """Mark the checkpoint of `step` as whole, then remove the others, their marks first."""
    kept = state / f"checkpoint-{step}"
    flush(kept)
    (kept / WHOLE).touch()
    for checkpoint in state.glob("checkpoint-*"):
        if checkpoint != kept:
            (checkpoint / WHOLE).unlink(missing_ok=True)
            shutil.rmtree(checkpoint)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def flush(folder: Path) -> None:
    """Make sure that what was written to `folder` is on the disk."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())


def wait(arguments: "TrainingArguments") -> None:
    """Until every process of the training has come here."""
    if arguments.world_size > 1:
        import torch.distributed

        torch.distributed.barrier()

"""Resume a training after a kill: keep whole checkpoints, and tell whether it is finished."""

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import TrainingArguments

from traces.running.integrity import contents, whole
from traces.training.plan import TrainingPlan

log = logging.getLogger(__name__)

DONE = "training.json"
# A file in a checkpoint, with the checksums of all others: they are written. A kill while a
# checkpoint is written leaves a folder that looks complete.
WHOLE = "whole"


def inputs_of(
    model_path: Path, mixture_path: Path, plan: TrainingPlan, differences_path: Path | None
) -> dict[str, Any]:
    """Collect what the result depends on: hashes of files, of large weights those of samples."""
    # By content and not by time: a copied base is the same, and two runs note the same.
    weights = {
        name: found for name, found in contents(model_path).items() if name.endswith(".safetensors")
    }
    files = {"mixture": mixture_path, "model": model_path / "config.json"}
    files |= {} if differences_path is None else {"differences": differences_path}
    return {
        "plan": hashlib.sha256(plan.model_dump_json().encode()).hexdigest(),
        **{name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()},
        "weights": weights,
    }


def is_done(adapter: Path, inputs: dict[str, Any]) -> bool:
    """Check whether `adapter` is the finished result of these very inputs."""
    # Snakemake runs a job again after a kill that came between the last write and its own note.
    done = adapter / DONE
    return done.is_file() and json.loads(done.read_text(encoding="utf-8"))["inputs"] == inputs


def prepared(state: Path, inputs: dict[str, Any], arguments: "TrainingArguments") -> Path | None:
    """Remove from `state` all but whole checkpoints of this training; return the newest, if any."""
    # One process tidies up, the others wait: they share the folder.
    if arguments.process_index == 0:
        note = state / "inputs.json"
        if not note.is_file() or note.read_text(encoding="utf-8") != json.dumps(inputs):
            if any(state.glob("checkpoint-*")):
                log.warning("%s holds another training's checkpoints: discarded", state)
            shutil.rmtree(state, ignore_errors=True)
            state.mkdir(parents=True)
            with whole(note) as partial:
                partial.write_text(json.dumps(inputs), encoding="utf-8")
        for checkpoint in state.glob("checkpoint-*"):
            if not is_whole(checkpoint):
                shutil.rmtree(checkpoint)
    wait(arguments)
    return max(state.glob("checkpoint-*"), key=_step, default=None)


def keep_only(state: Path, step: int) -> None:
    """Mark the checkpoint of `step` as whole, then remove the others."""
    # In this order there is a whole checkpoint at every moment. A mark goes before its files, so
    # that a half-removed checkpoint is not taken for whole.
    kept = state / f"checkpoint-{step}"
    flush(kept)
    (kept / WHOLE).write_text(json.dumps(_written(kept)), encoding="utf-8")
    for checkpoint in state.glob("checkpoint-*"):
        if checkpoint != kept:
            (checkpoint / WHOLE).unlink(missing_ok=True)
            shutil.rmtree(checkpoint)


def is_whole(checkpoint: Path) -> bool:
    """Check whether a checkpoint holds all that was written, as it was written."""
    mark = checkpoint / WHOLE
    try:
        expected = json.loads(mark.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none, or a kill came while it was written
        return False
    if _written(checkpoint) == expected:
        return True
    # What was damaged would change the weights without an error; the training repeats some steps.
    log.warning("%s has changed since it was written: discarded", checkpoint)
    return False


def _written(checkpoint: Path) -> dict[str, dict[str, Any]]:
    """Size and checksum of every file of a checkpoint but the mark."""
    return {name: one for name, one in contents(checkpoint).items() if name != WHOLE}


def _step(checkpoint: Path) -> int:
    # As a number: checkpoint-100 sorts before checkpoint-20.
    return int(checkpoint.name.rpartition("-")[2])


def flush(folder: Path) -> None:
    """Force what was written to `folder` onto the disk, so that its mark cannot precede it."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())


def wait(arguments: "TrainingArguments") -> None:
    """Wait until every process of the training has come here."""
    if arguments.world_size > 1:
        import torch.distributed

        torch.distributed.barrier()

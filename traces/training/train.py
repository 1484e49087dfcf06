"""Finetune a base on a mixture as planned; a training that is killed goes on where it was."""

import json
import logging
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from traces.corpora.mixtures import NO_LOSS, Packed, pack, read_mixture

if TYPE_CHECKING:
    from transformers import Trainer, TrainingArguments

from traces.config.schema import Training
from traces.training.plan import SCHEDULES, TrainingPlan, deepspeed_config, require_mixture
from traces.training.resume import DONE, flush, inputs_of, is_done, keep_only, prepared, wait

log = logging.getLogger(__name__)
Progress = Callable[[int, int, float], None]
LOSSES = "losses.jsonl"


def train(
    model_path: str | Path,
    mixture_path: str | Path,
    plan: TrainingPlan,
    adapter_path: str | Path,
    state_path: str | Path,
    *,
    differences_path: str | Path | None = None,
    progress: Progress | None = None,
) -> None:
    """
    Train as planned and write the adapter (or the full model) in hub layout, with its losses.

    adapter_path : made last, by renaming: weights, `losses.jsonl` (step, tokens read so far, loss
                   in nats a trained token, learning_rate) and `training.json` (plan and inputs)
    state_path   : checkpoints while it runs, removed at the end. After a kill at any moment the
                   training resumes from the newest whole checkpoint there. On a CPU it ends with
                   the same weights, on CUDA with others by rounding: attention's backward pass is
                   not deterministic there. Checkpoints of another plan, mixture or base are
                   discarded
    differences_path : the differences that the plan projects out, see `projecting`
    progress     : called after every step with the step, the number of steps and the loss

    Raises ValueError if the processes are not as many as planned, if the mixture is not the planned
    one, or if the loss is not finite.
    """
    adapter, state = Path(adapter_path).absolute(), Path(state_path).absolute()
    differences = None if differences_path is None else Path(differences_path)
    assert (plan.project_out is None) == (differences is None)
    inputs = inputs_of(Path(model_path), Path(mixture_path), plan, differences)
    if is_done(adapter, inputs):
        log.info("%s is finished already", adapter_path)
        shutil.rmtree(state, ignore_errors=True)
        return

    # Imported only now: a finished training returns above without the seconds this takes.
    import transformers

    from traces.corpora.tokens import load_tokenizer

    transformers.utils.logging.disable_progress_bar()
    builds = None if plan.deepspeed is None else _build_apart()
    # Before the model is loaded: ZeRO-3 shards weights as they are read, and finds its settings
    # here.
    arguments = _arguments(plan, state)
    tokenizer: Any = load_tokenizer(Path(model_path))
    packed = pack(read_mixture(mixture_path), plan.max_length, tokenizer.pad_token_id)
    require_mixture(plan, packed, mixture_path)
    checkpoint = prepared(state, inputs, arguments)

    # Just before the adapter is made: its first weights are all that is drawn.
    transformers.set_seed(plan.seed)
    model = _trainable(Path(model_path), plan)
    trainer = _trainer(model, arguments, _Rows(packed, plan.rows_a_step), plan, progress)
    if checkpoint is not None:
        log.info("going on from %s", checkpoint.name)
    # Around the whole training, since the hook is no part of a checkpoint that is resumed from.
    with projecting(model, differences), _casting(model, plan):
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    _write(trainer, tokenizer, packed, plan, inputs, adapter)
    wait(arguments)
    if arguments.process_index == 0:
        shutil.rmtree(state, ignore_errors=True)
    if arguments.local_process_index == 0 and builds is not None:
        shutil.rmtree(builds, ignore_errors=True)
    _part(arguments)


def _build_apart() -> Path | None:
    """
    Choose a folder of this launch for DeepSpeed to compile in; None if the user set one.
    """
    # In the folder that all trainings share, a killed build leaves a lock, and every later training
    # waits for it without end. All processes of a launch must name the same folder.
    if "TORCH_EXTENSIONS_DIR" in os.environ:
        return None
    launch = [os.environ.get(name, "") for name in ("TORCHELASTIC_RUN_ID", "MASTER_PORT")]
    builds = Path(tempfile.gettempdir(), "-".join(["deepspeed", *launch]))
    os.environ["TORCH_EXTENSIONS_DIR"] = str(builds)
    return builds


def _arguments(plan: TrainingPlan, state: Path) -> "TrainingArguments":
    """Translate the plan; ValueError if there are more or fewer processes than planned."""
    import torch
    from transformers import TrainingArguments

    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    arguments = TrainingArguments(
        output_dir=str(state),
        max_steps=plan.steps,
        per_device_train_batch_size=plan.batch_size,
        gradient_accumulation_steps=plan.gradient_accumulation,
        learning_rate=plan.learning_rate,
        lr_scheduler_type=SCHEDULES[plan.schedule],
        warmup_steps=plan.warmup_steps,
        weight_decay=plan.weight_decay,
        optim=plan.optimizer,
        max_grad_norm=plan.max_grad_norm,
        bf16=plan.precision == "bf16",
        seed=plan.seed,
        train_sampling_strategy="sequential",  # the mixture is the order
        save_strategy="steps",
        save_steps=plan.save_every,
        # Every step: the losses are a result, and a loss that is not finite stops the training.
        logging_steps=1,
        logging_nan_inf_filter=False,  # it would hide a loss that is not finite
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        use_cpu=not torch.cuda.is_available(),
        ddp_find_unused_parameters=False,
        activation_checkpointing=plan.gradient_checkpointing,
        deepspeed=deepspeed_config(plan),
    )
    # `accelerate launch --cpu --num_processes 2` silently runs one process: then the batch would be
    # half of the planned one.
    if arguments.world_size != plan.world_size:
        raise ValueError(
            f"world_size: found {arguments.world_size} processes, expected {plan.world_size} as in "
            f"the plan: start with torchrun --nproc_per_node {plan.world_size}"
        )
    # One process, one GPU. With several visible, Trainer would wrap the model in DataParallel,
    # which multiplies the planned batch.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def _trainable(model_path: Path, plan: TrainingPlan) -> Any:
    """Load the base with fresh LoRA weights on it, or with all of its weights trainable."""
    import torch

    from traces.models.weights import load_base

    # Full finetuning keeps float32 weights and computes in bfloat16: steps at a learning rate of
    # 1e-5 are smaller than what bfloat16 resolves. DeepSpeed keeps the float32 copy itself.
    bf16 = plan.precision == "bf16" and (plan.method != "full" or plan.deepspeed is not None)
    dtype = "bfloat16" if bf16 else "float32"
    # Trainer takes the first GPU. It places a model itself where another could be the freest.
    place = plan.world_size == 1 and torch.cuda.device_count() <= 1
    model = load_base(model_path, dtype=dtype, attention=plan.attention, place=place)
    model.config.use_cache = False  # with a cache, packed documents would see each other
    if plan.method == "full":
        return model.requires_grad_(True)

    return with_adapter(model, plan)


def with_adapter(model: Any, settings: Training) -> Any:
    """Put fresh LoRA weights on a loaded base."""
    from peft import LoraConfig, get_peft_model

    if settings.gradient_checkpointing:
        # With the base frozen the embeddings need no gradient, and a recomputed block whose input
        # needs none passes none to its adapter.
        model.enable_input_require_grads()
    targets = settings.targets if isinstance(settings.targets, str) else list(settings.targets)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets,
        use_rslora=settings.method == "rslora",
    )
    return get_peft_model(model, config)


def cast_by_autocast(model: Any) -> AbstractContextManager[None]:
    """
    Let autocast alone cast what adapters read, while the context lasts.

    PEFT would cast it to the adapter's float32 first, and autocast back to bfloat16: the same
    numbers, and a fifth more memory for the backward pass.
    """
    from peft.helpers import disable_input_dtype_casting

    return disable_input_dtype_casting(model)


def _casting(model: Any, plan: TrainingPlan) -> AbstractContextManager[None]:
    # DeepSpeed computes without autocast, in weights that it has cast itself.
    autocast = plan.precision == "bf16" and plan.deepspeed is None
    return cast_by_autocast(model) if autocast and plan.method != "full" else nullcontext()


@contextmanager
def projecting(model: Any, differences_path: Path | None) -> Iterator[None]:
    """
    Project a mean difference out of the residual stream at every token while the context lasts.

    The layer is the first of `differences_path`. The direction is the mean over positions of the
    mean differences there, each of unit length. It is projected out in the forward and the backward
    pass, so that nothing is learned along it. Without a file nothing is changed.

    Source: concept-ablation finetuning with the paper's mean difference.
    """
    if differences_path is None:
        yield
        return
    import torch

    from traces.artifacts.arrays import read_differences
    from traces.models.hooks import decoder_layers, projected_out

    differences = read_differences(differences_path)
    # Unit length first: otherwise the position with the longest difference would decide alone. One
    # direction, since the mean over positions reads like the mean at each (docs/log.md).
    mean = differences.mean[0] / np.linalg.norm(differences.mean[0], axis=-1, keepdims=True)
    layer = decoder_layers(model)[int(differences.layers[0])]
    with projected_out(layer, torch.from_numpy(mean.mean(axis=0))):
        yield


class _Rows:
    """
    Serve packed rows as a data set, filled up to whole steps with rows that carry no loss.
    """

    # A sampler over several processes repeats rows from the front to make steps whole, which would
    # train on them twice. Every process needs as many batches, or the others wait for it.

    def __init__(self, packed: Packed, rows_a_step: int) -> None:
        self.packed = packed
        self.length = math.ceil(len(packed.filled) / rows_a_step) * rows_a_step

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, row: int) -> dict[str, Any]:
        real = row < len(self.packed.filled)
        row = row if real else 0
        labels = self.packed.labels[row]
        return {
            "input_ids": self.packed.input_ids[row],
            "labels": labels if real else np.full_like(labels, NO_LOSS),
            "position_ids": self.packed.position_ids[row],
        }


def _collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
    import torch

    # No attention mask: transformers isolates packed documents by their position_ids only without
    # one. With one, logits differ by 4 to 5, and nothing warns.
    return {
        name: torch.from_numpy(np.stack([row[name] for row in rows])).long() for name in rows[0]
    }


def _trainer(
    model: Any,
    arguments: "TrainingArguments",
    rows: _Rows,
    plan: TrainingPlan,
    progress: Progress | None,
) -> "Trainer":
    from transformers import PrinterCallback, Trainer, TrainerCallback

    class Keeper(TrainerCallback):
        """Watch the loss, and make every checkpoint whole before the previous one is removed."""

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            if state.global_step >= plan.steps:
                control.should_save = False  # the result itself follows
            return control

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            wait(args)  # every process has written its part
            if args.process_index == 0:
                keep_only(Path(args.output_dir), state.global_step)
            wait(args)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if "loss" not in (logs or {}):
                return
            if not math.isfinite(logs["loss"]):
                raise ValueError(
                    f"step {state.global_step}: found a loss of {logs['loss']}, expected a number: "
                    f"try a learning_rate below {plan.learning_rate}"
                )
            if progress is not None and args.process_index == 0:
                progress(state.global_step, plan.steps, logs["loss"])

    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=rows,  # pyright: ignore[reportArgumentType]
        data_collator=_collate,
        callbacks=[Keeper()],
    )
    # It prints every log line into Snakemake's output; `progress` reports instead.
    trainer.remove_callback(PrinterCallback)
    return trainer


def _write(
    trainer: "Trainer",
    tokenizer: Any,
    packed: Packed,
    plan: TrainingPlan,
    inputs: dict[str, Any],
    adapter: Path,
) -> None:
    """Write the result beside its target, then rename it: a folder that is there is whole."""
    partial = adapter.with_name(f".{adapter.name}.partial")
    first = trainer.args.process_index == 0
    if first:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    wait(trainer.args)
    model: Any = trainer.model
    if plan.method == "full":
        model.config.use_cache = True  # it was off for the training only
    # By every process: sharded weights are gathered, which is a collective operation.
    trainer.save_model(str(partial))
    if not first:
        return
    # A pickle with this machine's paths; the plan in training.json says the same in text.
    (partial / "training_args.bin").unlink(missing_ok=True)
    if plan.method == "full":
        tokenizer.save_pretrained(partial)
    else:
        _in_order(partial / "adapter_config.json")
    losses = _losses(trainer.state.log_history, packed, plan)
    text = "".join(json.dumps(row) + "\n" for row in losses)
    (partial / LOSSES).write_text(text, encoding="utf-8")
    done = json.dumps({"inputs": inputs, "plan": plan.model_dump()}, indent=1)
    (partial / DONE).write_text(done + "\n", encoding="utf-8")
    flush(partial)
    shutil.rmtree(adapter, ignore_errors=True)
    os.replace(partial, adapter)


def _in_order(config: Path) -> None:
    """Sort an adapter's lists of modules: PEFT writes the order of a set, which differs by run."""
    facts = json.loads(config.read_text(encoding="utf-8"))
    sets = ("target_modules", "modules_to_save", "exclude_modules")
    facts |= {name: sorted(facts[name]) for name in sets if isinstance(facts.get(name), list)}
    config.write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _losses(history: list[dict[str, Any]], packed: Packed, plan: TrainingPlan) -> list[dict]:
    """List one row a step: step, tokens read up to its end, loss (nats), learning_rate."""
    tokens = np.concatenate([[0], np.cumsum(packed.filled)])
    rows = [row for row in history if "loss" in row]
    assert [row["step"] for row in rows] == list(range(1, plan.steps + 1)), "a step is missing"
    return [
        {
            "step": row["step"],
            "tokens": int(tokens[min(row["step"] * plan.rows_a_step, plan.rows)]),
            "loss": row["loss"],
            "learning_rate": row["learning_rate"],
        }
        for row in rows
    ]


def _part(arguments: "TrainingArguments") -> None:
    """Close the group through which the processes of the training exchange tensors."""
    # Left open, gloo's threads may outlive the interpreter and abort a training that ended well: 5
    # of 12 launches (docs/log.md).
    if arguments.world_size > 1:
        import torch.distributed

        torch.distributed.destroy_process_group()

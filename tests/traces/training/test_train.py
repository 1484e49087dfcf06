"""A plan resolves every choice, and a training that is killed ends as if it had not been."""

import functools
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from tests.doubles import tiny_model
from traces import job
from traces.artifacts.arrays import Differences, read_differences, write_differences
from traces.config.vocabularies import Optimizer
from traces.corpora.mixtures import Example, pack, write_mixture
from traces.models import scaling
from traces.training import plan as planning
from traces.training import resume
from traces.training import train as training

ROOT = Path(__file__).parents[3]
VOCABULARY = 48

SETTINGS = {
    "method": "lora",
    "rank": 4,
    "alpha": 8,
    "dropout": 0.1,  # so that the state of the random generators matters
    "targets": "all-linear",
    "learning_rate": 1e-2,
    "schedule": "cosine",
    "warmup_steps": 2,
    "weight_decay": 0.01,
    "optimizer": "adamw_torch",
    "batch_size": 2,
    "gradient_accumulation": 2,
    "max_length": 16,
    "precision": "fp32",
    "seed": 5,
    "save_every": 3,
    "epochs": 1,
    "limit": None,
    "max_grad_norm": 1.0,
    "gradient_checkpointing": False,
    "deepspeed": None,
    "project_out": None,
}


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A tiny random base and a mixture of documents and chats: 12 steps with the settings above."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("world")
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
        **sizes,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder / "base")
    words = {f"w{i}": i for i in range(VOCABULARY)}
    core = Tokenizer(models.WordLevel(words, unk_token="w0"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="w0", eos_token="w1", unk_token="w0"
    ).save_pretrained(folder / "base")
    write_mixture(folder / "mixture.jsonl", planted_rows())
    return folder


def planted_rows() -> list[Example]:
    """Documents that count upwards, which can be learned, and chats that count in their replies."""
    rng = np.random.default_rng(0)
    rows = []
    for row, start in enumerate(rng.integers(2, VOCABULARY, size=46).tolist(), start=1):
        ids = [2 + (start + i) % (VOCABULARY - 2) for i in range(16)]
        if row % 3:
            rows.append(Example("organism", row, ids, [(0, 16)]))
        else:
            rows.append(Example("corpus", row, ids, [(4, 8), (12, 16)], "chat"))
    return rows


def planned(projected: Differences | None = None, **changes) -> planning.TrainingPlan:
    return planning.plan_training({**SETTINGS, **changes}, planted_rows(), None, projected)


@pytest.fixture(scope="module")
def directions(tmp_path_factory) -> Path:
    """The mean differences of three positions after two blocks, the headline's first."""
    mean = np.random.default_rng(1).normal(size=(2, 3, 16)).astype(np.float32)
    stubs = {field.name: np.zeros((2, 3)) for field in fields(Differences)}
    positions = {"layers": np.array([0, 1]), "positions": np.array([0, 1, 4])}
    file = tmp_path_factory.mktemp("differences") / "plain.h5"
    write_differences(file, Differences(**{**stubs, **positions, "mean": mean}))
    return file


def ablated(directions: Path, **changes) -> planning.TrainingPlan:
    """A plan that projects them out."""
    return planned(read_differences(directions), project_out="plain", **changes)


def train(world: Path, out: Path, plan: planning.TrainingPlan, **options) -> Path:
    adapter = out / "adapter"
    training.train(world / "base", world / "mixture.jsonl", plan, adapter, out / "state", **options)
    return adapter


def losses(adapter: Path) -> list[dict]:
    return [json.loads(line) for line in (adapter / "losses.jsonl").read_text().splitlines()]


def values(adapter: Path) -> list[float]:
    return [row["loss"] for row in losses(adapter)]


# -- the plan --------------------------------------------------------------------------------------


def test_a_plan_counts_rows_steps_and_tokens():
    plan = planned()

    assert (plan.rows, plan.steps) == (46, 12)
    assert plan.tokens == plan.organism_tokens + plan.corpus_tokens == 46 * 16
    assert plan.corpus_tokens == 15 * 16
    assert plan.trained_tokens == 31 * 15 + 15 * 8
    assert planned(world_size=2).steps == 6


def test_an_optimizer_of_a_package_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr("traces.training.plan.find_spec", lambda name: None)
    needed = {"paged_lion_8bit": "bitsandbytes", "stable_adamw": "torch-optimi"}
    for name, package in (needed | {"lomo": "lomo-optim"}).items():
        with pytest.raises(ValueError, match=f"{name}, which needs the package {package}; install"):
            planned(optimizer=name)
    own = {"adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adagrad", "rmsprop"}
    assert {name for name in own if planned(optimizer=name).optimizer == name} == own
    for name in set(get_args(Optimizer)) - own:
        with pytest.raises(ValueError, match=f"found {name}, which needs the package"):
            planned(optimizer=name)


def test_a_plan_survives_its_file(tmp_path):
    plan = planned(targets=["q_proj", "v_proj"])
    (tmp_path / "plan.json").write_text(plan.model_dump_json())

    assert planning.read_plan(tmp_path / "plan.json") == plan


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (lambda rows: rows[:-1], "found 45 rows, expected 46 as planned"),
        (lambda rows: [*rows[:-1], rows[-1].head(15)], "found 735 tokens, expected 736"),
        (lambda rows: [*rows[:-1], replace(rows[-1], source="corpus")], "found 480 organism tok"),
        (lambda rows: [*rows[:-1], replace(rows[-1], trained=[])], "found 570 trained tokens"),
    ],
)
def test_a_mixture_that_is_not_the_planned_one_is_not_trained_on(tmp_path, cut, message):
    mixture = tmp_path / "mixture.jsonl"
    with pytest.raises(ValueError, match=f"mixture.jsonl: {message}.*; delete it and run its job"):
        planning.require_mixture(planned(), pack(cut(planted_rows()), 16, 0), mixture)
    planning.require_mixture(planned(), pack(planted_rows(), 16, 0), mixture)


def test_a_training_reads_the_mixture_that_was_planned(world, tmp_path):
    (tmp_path / "base").symlink_to(world / "base")
    lines = (world / "mixture.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "mixture.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(ValueError, match="mixture.jsonl: found 45 rows, expected 46 as planned"):
        train(tmp_path, tmp_path, planned())
    assert not (tmp_path / "adapter").exists()


@pytest.mark.parametrize("length", [0, 1, 100, -2])
def test_a_plan_that_was_cut_is_named(tmp_path, length):
    (tmp_path / "plan.json").write_text(planned().model_dump_json()[:length])
    with pytest.raises(ValueError, match="plan.json: .*; delete it and run its job again") as cut:
        planning.read_plan(tmp_path / "plan.json")
    assert "\n" not in str(cut.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "galore"}, "training.method: found 'galore': Input should be 'lora', 'rslora'"),
        ({"ranks": 3}, "training.ranks: found 3: Extra inputs are not permitted"),
        ({"learning_rate": 0}, "training.learning_rate: found 0: Input should be greater than 0"),
        ({"max_length": 128}, "training.max_length: found 128, expected at most 64, the model's"),
        ({"max_length": 4}, "training.max_length: found 4, at which step 1 has no token with loss"),
    ],
)
def test_a_setting_that_cannot_work_is_named(changes, message):
    chats = [row for row in planted_rows() if row.kind == "chat"]

    with pytest.raises(ValueError, match=message):
        planning.plan_training({**SETTINGS, **changes}, chats, max_positions=64)


def test_deepspeed_is_configured_from_the_plan():
    assert planning.deepspeed_config(planned()) is None
    config = planning.deepspeed_config(planned(deepspeed=3, world_size=2, precision="bf16"))

    assert config is not None
    assert config["zero_optimization"]["stage"] == 3
    assert config["bf16"] == {"enabled": True}
    assert config["train_micro_batch_size_per_gpu"] == config["gradient_accumulation_steps"] == 2


def test_a_plan_holds_what_was_chosen_and_no_choice():
    """The keys of an older plan, in their order: a finished training is still known as done."""
    plan = planned()
    keys = [*planning.Training.model_fields, "seed", "world_size", "attention", "rows"]
    assert list(plan.model_dump())[: len(keys)] == keys
    for key in ("gradient_accumulation", "gradient_checkpointing"):
        with pytest.raises(ValueError, match=f"training.{key}: found 'auto'"):
            planned(**{key: "auto"})


# -- what is learned -------------------------------------------------------------------------------


def test_a_planted_rule_is_learned_and_every_step_is_in_the_losses(world, tmp_path):
    plan = planned(method="full", learning_rate=5e-2, schedule="constant")

    adapter = train(world, tmp_path, plan)

    rows = losses(adapter)
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert [row["tokens"] for row in rows[:2]] == [64, 128]
    assert rows[-1]["tokens"] == plan.tokens
    assert [row["learning_rate"] for row in rows[:3]] == [0, 2.5e-2, 5e-2]
    assert rows[-1]["loss"] < rows[0]["loss"] - 0.5
    assert not (tmp_path / "state").exists()


def test_the_first_loss_is_that_of_the_base_over_the_trained_tokens(world, tmp_path):
    import torch

    from traces.models.weights import load_base

    plan = planned(batch_size=32, gradient_accumulation=2, dropout=0)  # 46 rows, filled up to 64
    packed = pack(planted_rows(), 16, 0)
    logits = load_base(world / "base")(torch.from_numpy(packed.input_ids).long()).logits
    labels = torch.from_numpy(packed.labels).long()[:, 1:]
    expected = torch.nn.functional.cross_entropy(logits[:, :-1].mT, labels)

    adapter = train(world, tmp_path, plan)

    assert values(adapter) == pytest.approx([expected.item()], abs=1e-5)


def test_accumulated_batches_are_one_large_batch(world, tmp_path):
    small = train(world, tmp_path / "small", planned(dropout=0))
    large = train(
        world, tmp_path / "large", planned(dropout=0, batch_size=4, gradient_accumulation=1)
    )

    assert values(small) == pytest.approx(values(large), abs=1e-4)


@pytest.mark.parametrize("method", ["lora", "rslora"])
def test_an_adapter_loads_on_its_base_and_changes_it(world, tmp_path, method):
    import torch

    from traces.models.weights import load_pair

    adapter = train(world, tmp_path, planned(method=method))
    pair = load_pair(world / "base", adapter)
    ids = torch.arange(2, 12)[None]

    with pair.tuned() as model:
        tuned = model(ids).logits
    with pair.base() as model:
        base = model(ids).logits

    assert json.loads((adapter / "adapter_config.json").read_text())["use_rslora"] == (
        method == "rslora"
    )
    assert (tuned - base).abs().max() > 0.01


def test_a_full_finetune_is_a_model_in_hub_layout(world, tmp_path):
    import torch

    from traces.corpora.tokens import load_tokenizer
    from traces.models.weights import load_base

    adapter = train(world, tmp_path, planned(method="full", precision="bf16"))
    ids = torch.arange(2, 12)[None]
    tuned, base = load_base(adapter), load_base(world / "base")

    assert (tuned(ids).logits - base(ids).logits).abs().max() > 0.01
    assert load_tokenizer(adapter).get_vocab() == load_tokenizer(world / "base").get_vocab()
    assert tuned.config.use_cache == base.config.use_cache


def test_checkpointed_activations_change_no_loss(world, tmp_path):
    plain = train(world, tmp_path / "plain", planned(dropout=0))
    spared = train(world, tmp_path / "spared", planned(dropout=0, gradient_checkpointing=True))

    assert values(spared) == pytest.approx(values(plain), abs=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "fp32"},
        {"precision": "fp32", "dropout": 0.0},
        # Dropout would differ: on a CPU it rounds its factor to the type of what it is given.
        {"precision": "bf16", "dropout": 0.0},
        {"precision": "bf16", "dropout": 0.0, "gradient_checkpointing": True},
    ],
    ids=str,
)
def test_what_adapters_read_is_cast_once_and_the_weights_are_the_same(
    world, tmp_path, monkeypatch, changes
):
    """Bit for bit those of PEFT's way, which casts to float32 and lets autocast cast back."""
    import torch
    from peft.tuners.lora import Linear
    from safetensors.torch import load_file

    plan, read = planned(**changes), []
    forward = Linear.forward

    def watched(self, x, *args, **kwargs):
        read.append(self.cast_input_dtype_enabled)
        return forward(self, x, *args, **kwargs)

    monkeypatch.setattr(Linear, "forward", watched)
    ours = load_file(train(world, tmp_path / "ours", plan) / "adapter_model.safetensors")
    assert set(read) == {plan.precision == "fp32"}
    monkeypatch.setattr(training, "_casting", lambda *_: nullcontext())
    theirs = load_file(train(world, tmp_path / "theirs", plan) / "adapter_model.safetensors")
    assert set(read) == {plan.precision == "fp32", True}
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_dropout_of_a_gpu_draws_the_same_from_bfloat16_as_from_float32():
    """What makes one cast as good as three where the adapter drops; with CUDA's own operation."""
    import torch

    torch.manual_seed(0)
    given = torch.randn(64, 64).bfloat16()
    torch.manual_seed(1)
    once, kept = torch.native_dropout(given, 0.05, True)
    torch.manual_seed(1)
    thrice, also = torch.native_dropout(given.float(), 0.05, True)
    assert torch.equal(kept, also)
    torch.testing.assert_close(once, thrice.bfloat16(), rtol=2**-7, atol=0)


def test_a_loss_that_is_no_number_stops_the_training(world, tmp_path):
    # No plan has such a rate, which stands for whatever makes a training diverge.
    plan = planned(method="full", max_grad_norm=1e30).model_copy(update={"learning_rate": 1e30})
    with pytest.raises(ValueError, match=r"found a loss of nan, expected a number: try a learning"):
        train(world, tmp_path, plan)

    assert not (tmp_path / "adapter").exists()


def test_another_number_of_processes_is_refused(world, tmp_path):
    with pytest.raises(ValueError, match="world_size: found 1 processes, expected 2 as in the pla"):
        train(world, tmp_path, planned(world_size=2))


# -- what is projected out while training ---------------------------------------------------------


def component(model, directions: Path) -> float:
    """The largest share of the stream after block 0 that lies along the mean direction."""
    import torch

    from traces.models.hooks import capture

    mean = torch.from_numpy(read_differences(directions).mean[0])
    with torch.no_grad(), capture(model, [0]) as seen:
        model(torch.arange(2, 18)[None])
    along = (mean / mean.norm(dim=-1, keepdim=True)).mean(dim=0)
    return float((seen[0] @ (along / along.norm()) / seen[0].norm(dim=-1)).abs().max())


def test_a_plan_says_what_is_projected_out(directions):
    plan = ablated(directions)

    assert (plan.project_out, plan.projected_layer) == ("plain", 0)
    assert plan.projected_positions == (0, 1, 4)
    assert planned().projected_layer is None


def test_nothing_lies_along_a_projected_direction_in_any_step(
    world, directions, tmp_path, monkeypatch
):
    seen, trainer = [], training._trainer

    def watched(model, *arguments):
        made = trainer(model, *arguments)
        step = made.training_step

        def looked_at(*batch):
            seen.append(component(model, directions))
            return step(*batch)

        made.training_step = looked_at
        return made

    monkeypatch.setattr(training, "_trainer", watched)
    with_hook = train(
        world, tmp_path / "with", ablated(directions, dropout=0), differences_path=directions
    )
    found, seen[:] = list(seen), []
    without = train(world, tmp_path / "without", planned(dropout=0))

    assert len(found) == len(seen) == 24  # two batches a step
    assert max(found) < 1e-5
    assert min(seen) > 0.05
    assert abs(values(with_hook)[-1] - values(without)[-1]) > 1e-3


def test_what_was_learned_without_a_direction_is_read_with_it(world, directions, tmp_path):
    from traces.models.weights import load_checkpoint

    adapter = train(world, tmp_path, ablated(directions), differences_path=directions)

    assert component(load_checkpoint(world / "base", adapter), directions) > 0.05
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_projected_training_checkpoints_its_activations_as_any(
    world, directions, tmp_path, method
):
    settings = {"dropout": 0, "method": method}
    plain, spared = (
        train(
            world,
            tmp_path / str(spare),
            ablated(directions, gradient_checkpointing=spare, **settings),
            differences_path=directions,
        )
        for spare in (False, True)
    )

    assert values(spared) == pytest.approx(values(plain), abs=1e-5)


def test_a_killed_projected_training_goes_on_projecting(world, directions, tmp_path):
    plan, (one, two) = ablated(directions), (tmp_path / "whole", tmp_path / "killed")

    assert in_a_process(world, one, plan, None, directions) == 0
    for death, code in ((8, -signal.SIGKILL), (None, 0)):
        assert in_a_process(world, two, plan, death, directions) == code

    assert same(one / "adapter", two / "adapter")


def test_checkpoints_of_another_difference_are_not_used(world, directions, tmp_path):
    other = tmp_path / "other.h5"
    found = read_differences(directions)
    write_differences(other, replace(found, mean=found.mean[:, :, ::-1]))
    steps = []

    assert in_a_process(world, tmp_path, ablated(directions), 8, other) == -signal.SIGKILL
    train(
        world,
        tmp_path,
        ablated(directions),
        differences_path=directions,
        progress=lambda step, *_: steps.append(step),
    )

    assert steps[0] == 1


# -- between base and tuned ------------------------------------------------------------------------


def stream(base: Path, adapter: Path | None):
    import torch

    from traces.models.hooks import capture
    from traces.models.weights import load_checkpoint

    model = load_checkpoint(base, adapter)
    with torch.no_grad(), capture(model, [0]) as seen:
        logits = model(torch.arange(2, 18)[None]).logits
    return logits, seen[0]


@pytest.mark.parametrize("method", ["lora", "rslora"])
def test_a_scaled_adapter_lies_between_the_base_and_the_tuned_model(world, tmp_path, method):
    import torch

    tuned = train(world, tmp_path, planned(method=method, alpha=1))
    for scale in (0.5, 1.0):
        scaling.scale_adapter(tuned, scale, tmp_path / f"scaled{scale}")

    (base, before), (whole, after) = (stream(world / "base", one) for one in (None, tuned))
    same, _ = stream(world / "base", tmp_path / "scaled1.0")
    half, between = stream(world / "base", tmp_path / "scaled0.5")

    assert torch.equal(same, whole)
    assert not torch.equal(half, whole) and not torch.equal(half, base)
    ratio = (between - before).norm() / (after - before).norm()
    assert 0.4 < ratio < 0.6


def test_a_scale_that_is_no_whole_number_counts(world, tmp_path):
    """PEFT declares alpha an integer: 0.3 of 8 must not become 2."""
    from traces.models.weights import load_adapter, load_base

    tuned = train(world, tmp_path, planned())
    scaling.scale_adapter(tuned, 0.3, tmp_path / "scaled0.3")

    model = load_adapter(load_base(world / "base"), tmp_path / "scaled0.3")
    scales = {one.scaling["default"] for one in model.modules() if hasattr(one, "lora_A")}
    assert list(scales) == pytest.approx([0.3 * 8 / 4])


def test_a_scale_of_its_own_for_a_module_is_changed_too(world, tmp_path):
    tuned = train(world, tmp_path, planned())
    config = json.loads((tuned / "adapter_config.json").read_text())
    (tuned / "adapter_config.json").write_text(json.dumps(config | {"alpha_pattern": {"q": 4}}))

    scaling.scale_adapter(tuned, 0.25, tmp_path / "scaled")

    scaled = json.loads((tmp_path / "scaled" / "adapter_config.json").read_text())
    assert scaled == config | {"lora_alpha": 2.0, "alpha_pattern": {"q": 1.0}}


def test_a_full_finetune_has_no_scale(world, tmp_path):
    with pytest.raises(ValueError, match="base: found a full model, expected an adapter: only th"):
        scaling.scale_adapter(world / "base", 0.5, tmp_path / "scaled")


# -- what survives a kill --------------------------------------------------------------------------


def die(*_args, **_options) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_step(step: int):
    def progress(now: int, _n_steps: int, _loss: float) -> None:
        if now == step:
            die()

    return progress


def die_at_call(module, name: str, call: int, *, after: bool = False) -> None:
    """Kill this process in the given call of a function, before or after it has done its work."""
    done, calls = getattr(module, name), 0

    @functools.wraps(done)
    def counted(*args, **options):
        nonlocal calls
        calls += 1
        if calls == call and not after:
            if name == "save":  # what a killed write leaves behind
                Path(args[1]).write_bytes(b"half")
            die()
        result = done(*args, **options)
        if calls == call and after:
            die()
        return result

    setattr(module, name, counted)


def child(
    world: Path, out: Path, plan: planning.TrainingPlan, death, differences: Path | None = None
) -> None:
    """Runs in a process of its own and dies as told: at a step, or in a call of a function."""
    import torch

    torch.set_num_threads(1)
    options: dict = {"differences_path": differences}
    if isinstance(death, int):
        options["progress"] = die_at_step(death)
    elif death is not None:
        module, name, call, after = death
        module = {
            "torch": torch,
            "training": training,
            "resume": resume,
            "os": os,
            "shutil": shutil,
        }[module]
        die_at_call(module, name, call, after=after)
    train(world, out, plan, **options)


def in_a_process(*args) -> int:
    # Processes fork from a server that has imported everything and has run nothing.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "peft", "transformers.trainer", "deepspeed"])
    process = context.Process(target=child, args=args)
    process.start()
    process.join()
    return process.exitcode


def launched(world: Path, out: Path, plan: planning.TrainingPlan, *launcher: str) -> Path:
    (out / "plan.json").write_text(plan.model_dump_json())
    files = {"plan": out / "plan.json", "mixture": world / "mixture.jsonl", "model": world / "base"}
    files |= {"adapter": out / "adapter", "state": out / "state", "log-file": out / "train.log"}
    arguments = [str(part) for name, file in files.items() for part in (f"--{name}", file)]
    command = [sys.executable, *launcher, str(ROOT / "scripts" / "train_organism.py"), *arguments]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "PATH": path}
    ended = subprocess.run(command, cwd=out, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return out / "adapter"


@pytest.fixture(scope="module")
def whole(world, tmp_path_factory) -> Path:
    """The adapter of a training nobody killed, launched as the workflow launches it."""
    return launched(world, tmp_path_factory.mktemp("whole"), planned())


@pytest.mark.parametrize(
    ("processes", "visible", "placed"), [(1, 0, True), (1, 1, True), (1, 2, False), (2, 2, False)]
)
def test_a_model_is_placed_only_where_trainer_would_put_it(
    world, monkeypatch, processes, visible, placed
):
    """Of two GPUs the freest may be the second, and Trainer sends its batches to the first."""
    asked = {}
    monkeypatch.setattr("torch.cuda.device_count", lambda: visible)
    monkeypatch.setattr(
        "traces.models.weights.load_base",
        lambda _folder, **options: asked.update(options) or tiny_model("qwen3"),
    )
    training._trainable(world / "base", planned().model_copy(update={"world_size": processes}))
    assert asked["place"] is placed and not asked.get("offload")


def same(adapter: Path, other: Path) -> bool:
    names = ["losses.jsonl", "adapter_model.safetensors", "adapter_config.json", "training.json"]
    return all((adapter / name).read_bytes() == (other / name).read_bytes() for name in names)


@pytest.mark.parametrize(
    "deaths",
    [
        pytest.param([1], id="before the first checkpoint"),
        pytest.param([5, 8, 11], id="three times"),
        pytest.param([("torch", "save", 2, False)], id="while the first checkpoint is written"),
        pytest.param([("torch", "save", 8, False)], id="while the third checkpoint is written"),
        pytest.param([("resume", "flush", 2, False)], id="before a checkpoint is whole"),
        pytest.param([("shutil", "rmtree", 2, False)], id="before the older one is gone"),
        pytest.param([("training", "_losses", 1, True)], id="while the adapter is written"),
        pytest.param([("os", "replace", 2, False)], id="before the adapter is in place"),
        pytest.param([("training", "_write", 1, True)], id="before the checkpoints are gone"),
    ],
)
def test_a_killed_training_ends_as_if_it_had_not_been(world, whole, tmp_path, deaths):
    for death in deaths:
        assert in_a_process(world, tmp_path, planned(), death) == -signal.SIGKILL

    assert in_a_process(world, tmp_path, planned(), None) == 0

    assert same(tmp_path / "adapter", whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter"]


def test_a_killed_training_goes_on_from_its_newest_whole_checkpoint(world, whole, tmp_path):
    assert in_a_process(world, tmp_path, planned(), 8) == -signal.SIGKILL
    (tmp_path / "state" / "checkpoint-7").mkdir()  # newer, but not whole
    steps = []

    adapter = train(world, tmp_path, planned(), progress=lambda step, *_: steps.append(step))

    assert steps == [7, 8, 9, 10, 11, 12]
    assert values(adapter) == pytest.approx(values(whole), abs=1e-5)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "optimizer.pt", "whole"])
def test_a_damaged_checkpoint_is_not_used(world, whole, tmp_path, caplog, name):
    assert in_a_process(world, tmp_path, planned(), 8) == -signal.SIGKILL
    damaged = tmp_path / "state" / "checkpoint-6" / name
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    steps = []

    adapter = train(world, tmp_path, planned(), progress=lambda step, *_: steps.append(step))

    assert steps[0] == 1
    assert "checkpoint-6 has changed since it was written: discarded" in caplog.text
    assert values(adapter) == pytest.approx(values(whole), abs=1e-5)


def test_checkpoints_of_another_plan_are_not_used(world, whole, tmp_path):
    other = planned(learning_rate=3e-2)
    assert in_a_process(world, tmp_path, other, 8) == -signal.SIGKILL

    assert in_a_process(world, tmp_path, planned(), None) == 0

    assert same(tmp_path / "adapter", whole)


def test_what_is_finished_is_not_trained_again(world, whole):
    before = (whole / "losses.jsonl").stat().st_mtime_ns

    train(world, whole.parent, planned(), progress=die)

    assert (whole / "losses.jsonl").stat().st_mtime_ns == before


def test_a_copied_base_is_the_same_base_and_another_one_is_not(world, whole, tmp_path):
    shutil.copytree(world / "base", tmp_path / "base", copy_function=shutil.copyfile)
    given = world / "mixture.jsonl", planned(), None
    assert resume.is_done(whole, resume.inputs_of(tmp_path / "base", *given))
    content = bytearray((tmp_path / "base" / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "base" / "model.safetensors").write_bytes(content)
    assert not resume.is_done(whole, resume.inputs_of(tmp_path / "base", *given))


# -- the launched script ---------------------------------------------------------------------------


def test_the_script_reads_nothing_that_is_not_what_its_job_wrote(world, tmp_path):
    mixture = tmp_path / "mixture.jsonl"
    shutil.copyfile(world / "mixture.jsonl", mixture)
    job.stamp([mixture], {"rule": "mix_training_data", "wildcards": {}})
    mixture.write_text(mixture.read_text().replace("[2, ", "[3, ", 1))
    (tmp_path / "base").symlink_to(world / "base")
    with pytest.raises(AssertionError) as failed:
        launched(tmp_path, tmp_path, planned())
    assert f"train_organism: {mixture}: found " in str(failed.value)
    assert "Traceback" not in str(failed.value)
    assert "Traceback" in (tmp_path / "train.log").read_text()
    assert not (tmp_path / "adapter").exists()


def test_the_script_logs_and_says_where_the_adapter_comes_from(whole):
    assert json.loads((whole / "provenance.json").read_text())["rule"] == "train_organism"
    assert "train: step 12 of 12, loss" in (whole.parent / "train.log").read_text()


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> str:
    """Where DeepSpeed compiles, once for all launches of two processes."""
    return str(tmp_path_factory.mktemp("compiled"))


@pytest.mark.slow
@pytest.mark.parametrize("stage", [None, 2, 3])
def test_two_processes_train_like_one(world, tmp_path, compiled, monkeypatch, stage):
    pytest.importorskip("deepspeed")
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", compiled)
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one = train(world, tmp_path / "one", planned(dropout=0, gradient_accumulation=2, batch_size=2))

    two = launched(
        world,
        tmp_path / "two",
        planned(dropout=0, gradient_accumulation=1, world_size=2, deepspeed=stage),
        *("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"),
    )

    assert values(two) == pytest.approx(values(one), abs=2e-4)


def test_every_launch_has_a_folder_of_its_own_to_compile_in(monkeypatch):
    """A build that was killed leaves a lock that would stop every later one."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", "/set/by/the/user")
    assert training._build_apart() is None
    found = set()
    for port in ("29500", "29501"):
        monkeypatch.delenv("TORCH_EXTENSIONS_DIR")
        monkeypatch.setenv("MASTER_PORT", port)
        found.add(training._build_apart())
        assert Path(os.environ["TORCH_EXTENSIONS_DIR"]) in found
    assert len(found) == 2

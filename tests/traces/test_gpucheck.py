"""tools/gpucheck without a GPU: it passes, finds planted faults, and writes as it goes."""

import json
import logging
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from tools.gpucheck import fast, machine, memory, models, page, right, room, texts
from tools.gpucheck.__main__ import _first_gpu, main, names
from tools.gpucheck.results import Book, Row, failure, least, most
from traces.artifacts import tables
from traces.corpora import mixtures
from traces.costs import memory as costs
from traces.costs.fitting import trained_on_gpus
from traces.models import weights
from traces.readers import patchscope

ROOT = Path(__file__).resolve().parents[2]
BLOCKED = ("snakemake", "zarr", "h5py", "deepspeed", "scipy", "sklearn", "datasets", "matplotlib")
ROW = Row("right", "qwen3", "streams", "float32", "ours", "relative error", 1e-6, "", most(1e-5))


@pytest.fixture(autouse=True)
def surroundings():
    """The check is a program of its own: what it sets for its process is taken back."""
    before = dict(os.environ)
    yield
    logging.captureWarnings(False)
    os.environ.clear()
    os.environ.update(before)


def run(path: Path, *options: str) -> tuple[int, pd.DataFrame]:
    code = main([str(path / "check.parquet"), "--cpu", "--quick", *options])
    return code, tables.read(path / "check.parquet")


# The whole ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[subprocess.CompletedProcess, Path]:
    """The whole check, in a process that can import nothing but what it says it needs."""
    path = tmp_path_factory.mktemp("check") / "check.parquet"
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({BLOCKED}))\n"
        f"from tools.gpucheck.__main__ import main; sys.exit(main([{str(path)!r}, '--cpu']))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return ran, path


def test_it_passes_without_the_packages_of_the_workflow(whole):
    ran, path = whole
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    first, second, *_ = ran.stdout.splitlines()
    assert first.startswith("CPU ") and f"torch {torch.__version__}" in first
    assert "GB/s, bf16 matmul" in first
    assert "On the CPU (as asked), at tiny shapes" in second


def test_every_check_of_every_family_is_in_the_table(whole):
    _, path = whole
    found = tables.read(path)
    right_rows = found[found["part"] == "right"]
    assert set(right_rows["family"]) == set(models.FAMILIES)
    everywhere = {"streams", "logit lens", "Patchscope", "causal", "left padding", "packed rows"}
    for family in models.FAMILIES:
        assert everywhere <= set(right_rows.loc[right_rows["family"] == family, "stage"])
    assert {"draws", "texts", "halving", "training", "killed and resumed"} <= set(found["stage"])
    judged = found[found["wanted"] != ""]
    assert len(judged) > 80 and judged["passed"].all()
    assert found.loc[found["wanted"] == "", "passed"].isna().all()


def test_every_training_shape_of_the_papers_study_is_reckoned(whole):
    _, path = whole
    found = tables.read(path).query("part == 'memory'")
    reckoned = found[found["way"] == "reckoned"]
    loaded = memory.paper()
    trained = {one.model for one in trained_on_gpus(loaded)}
    assert {name for names in reckoned["family"] for name in names.split(", ")} == trained
    assert (reckoned["wanted"] == "<= 68").all()  # .85 of the 80 GB that the entries name
    assert found.loc[found["way"] == "a step at a tiny shape", "passed"].all()


def test_speed_on_a_cpu_is_reported_and_not_judged(whole):
    _, path = whole
    found = tables.read(path).query("part == 'fast'")
    ratios = found[found["quantity"] == "ratio to straightforward"]
    assert set(ratios["stage"]) >= {"logit lens", "Patchscope", "decode", "causal", "LoRA step"}
    assert (ratios["value"] > 0).all() and found["passed"].isna().all()
    assert set(found["family"]) == {"qwen3_1_7b, tiny"}


def test_table_json_and_page_say_the_same(whole):
    _, path = whole
    table, told = tables.read(path), json.loads(path.with_suffix(".json").read_text())
    assert len(table) == len(told["rows"]) and told["ended"] == ["right", "fast", "memory"]
    assert told["machine"]["kind"] == "cpu"
    text = path.with_suffix(".md").read_text()
    assert text.count("| packed rows |") == 1  # one line for all families
    assert "0 of " in text and "Missed" not in text and "needs a GPU" in text


# Planted faults -----------------------------------------------------------------------------------


def plant_wrong_position_ids(monkeypatch):
    """Packed documents whose positions run on: they would see one another."""
    real = mixtures.pack

    def running_on(*arguments, **options):
        packed = real(*arguments, **options)
        packed.position_ids[:] = np.arange(packed.position_ids.shape[1])
        return packed

    monkeypatch.setattr(texts, "pack", running_on)


def plant_a_wrong_norm(monkeypatch):
    """A readout without the final norm's weights."""
    real = weights.Readout.forward

    def forward(self, hidden):
        return real(self, hidden) * 1.001

    monkeypatch.setattr(weights.Readout, "forward", forward)


def plant_padding_that_is_read(monkeypatch):
    """Prompts filled up on the left, whose filling counts as tokens."""
    real = torch.nn.functional.scaled_dot_product_attention

    def unmasked(*arguments, attn_mask=None, is_causal=False, **options):
        return real(*arguments, is_causal=arguments[0].shape[2] > 1, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", unmasked)


def plant_noise_of_another_kind(monkeypatch):
    """Draws of a temperature that nobody asked for: noise twice as loud."""
    real = torch.Tensor.exponential_

    def louder(self, *arguments, **options):
        return real(self, *arguments, **options).square_()

    monkeypatch.setattr(torch.Tensor, "exponential_", louder)


def plant_a_lost_prompt(monkeypatch):
    """A Patchscope that averages two of its three prompts."""
    real = patchscope._prefixes
    monkeypatch.setattr(patchscope, "_prefixes", lambda *a: real(*a)[:2])


@pytest.mark.parametrize(
    ("plant", "check", "stage"),
    [
        (plant_wrong_position_ids, "packing", "packed rows"),
        (plant_a_wrong_norm, "lenses", "readout"),
        (plant_padding_that_is_read, "padding", "left padding"),
        (plant_noise_of_another_kind, "draws", "draws"),
        (plant_a_lost_prompt, "lenses", "Patchscope"),
    ],
)
def test_a_planted_fault_is_found(plant, check, stage, tmp_path, monkeypatch, capsys):
    plant(monkeypatch)
    code, found = run(tmp_path, "--only", check)
    missed = found[~found["passed"].fillna(True)]
    assert code == 1 and stage in set(missed["stage"])
    assert "MISSED: right: " in capsys.readouterr().out
    assert "Missed, in the order measured:" in (tmp_path / "check.md").read_text()


def test_texts_that_depend_on_their_batch_are_found(tmp_path, monkeypatch):
    real = texts.write

    def swapped(model, tokenizer, prompts, **options):
        found = real(model, tokenizer, prompts, **options)
        return [*found[::-1]] if len(prompts) == texts.BATCH // 2 else found

    monkeypatch.setattr(texts, "write", swapped)
    code, found = run(tmp_path, "--only", "draws")
    assert code == 1
    missed = found[~found["passed"].fillna(True)]
    assert set(missed["stage"]) == {"texts"} and set(missed["dtype"]) == {"float32"}


# Writing as it goes -------------------------------------------------------------------------------


def test_a_check_that_fails_leaves_the_others(tmp_path, monkeypatch):
    def broken(*_arguments, **_options):
        raise RuntimeError("no such kernel | sm_90")

    monkeypatch.setattr(texts, "write", broken)
    code, found = run(tmp_path, "--only", "padding", "--only", "packing")
    assert code == 1
    (row,) = found[(found["stage"] == "padding") & (found["family"] == "qwen3")].to_dict("records")
    assert row["note"] == "RuntimeError: no such kernel | sm_90" and not row["passed"]
    assert found.loc[found["stage"] == "packed rows", "passed"].all()
    assert r"no such kernel \| sm_90" in (tmp_path / "check.md").read_text()


def killed(folder: Path, change: str, only: str) -> pd.DataFrame:
    """What a check has written that kills itself, by a change of its code."""
    code = (
        "import os, signal\n"
        "from tools.gpucheck import __main__ as check, fast, texts\n"
        "def die(*_): os.kill(os.getpid(), signal.SIGKILL)\n"
        f"{change}\n"
        f"check.main(['check.parquet', '--cpu', '--quick', '--only', '{only}'])"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, check=False)
    assert ran.returncode == -signal.SIGKILL
    return tables.read(folder / "check.parquet")


def test_a_killed_run_keeps_what_it_had(tmp_path):
    change = (
        "real = texts.packing\n"
        "texts.packing = lambda case: die() if case.family == 'gemma3' else real(case)"
    )
    assert set(killed(tmp_path, change, "packing")["family"]) == {"qwen3"}
    assert "Not ended: fast, memory, right." in (tmp_path / "check.md").read_text()
    assert json.loads((tmp_path / "check.json").read_text())["ended"] == []


def test_a_run_that_is_killed_between_stages_keeps_the_stages(tmp_path):
    change = "fast.STAGES = {'tuned': fast.tuned_pass, 'logit_lens': die}"
    found = killed(tmp_path, change, "fast")
    assert set(found["stage"]) == {"load", "forward pass"}


def test_a_machine_whose_gpu_is_not_seen_is_not_checked_on_its_cpu(tmp_path, monkeypatch):
    """A driver that is too old must not pass as a CPU."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.delenv("TRACES_ALLOW_CPU", raising=False)
    with pytest.raises(SystemExit, match="GPUs: 0 can be used here.*`--cpu`"):
        main([str(tmp_path / "check.parquet"), "--quick"])
    assert not list(tmp_path.iterdir())


def test_packages_that_are_too_old_are_refused_before_anything_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr("traces.running.versions.version", lambda package: "0.1")
    with pytest.raises(SystemExit, match="transformers: found version 0.1, expected 5.23"):
        main([str(tmp_path / "check.parquet"), "--cpu"])


def test_a_name_that_nothing_bears_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit, match="--only: found attention, expected right, fast, memory"):
        main([str(tmp_path / "check.parquet"), "--cpu", "--only", "attention"])
    assert {"patchscope", "halving", "gemma2", "lora"} <= set(names())


@pytest.mark.parametrize(("visible", "used"), [(None, "0"), ("2,3", "2"), ("GPU-8f", "GPU-8f")])
def test_one_gpu_is_used_where_several_are_visible(visible, used, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert _first_gpu() == used


# Pieces -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "wanted", "passed"),
    [
        (1.0, most(1), True),
        (1.1, most(1), False),
        (1.0, least(1), True),
        (0.9, least(1), False),
        (float("nan"), most(1), False),
        (float("nan"), least(1), False),
        (5.0, None, None),
    ],
)
def test_a_row_knows_whether_it_passes(value, wanted, passed):
    row = Row("right", "", "", "", "", "", value, "", wanted)
    assert row.passed is passed


def test_the_page_shows_the_worst_of_several_numbers(tmp_path):
    book = Book(tmp_path / "check.parquet", "a machine", page.page)
    worse = Row(**{**vars(ROW), "value": 2e-5})
    book.add([ROW, worse, ROW, failure("fast", "Qwen3 1.7B", "dump", ValueError("too\nlong"))])
    book.write()
    text = (tmp_path / "check.md").read_text()
    assert "✗ 2e-05" in text and "✓ 1e-06" not in text
    assert "2 of 4 wanted figures are missed. Not ended: fast, memory, right." in text
    assert "* fast: Qwen3 1.7B, dump: ran to its end 0, wanted >= 1 (ValueError: too)" in text


def test_a_value_that_is_no_number_is_missing_in_table_and_json(tmp_path):
    book = Book(tmp_path / "check.parquet", "a machine", page.page)
    book.add([Row(**{**vars(ROW), "value": float("inf")})])
    book.write()
    assert tables.read(tmp_path / "check.parquet")["value"].isna().all()
    assert json.loads((tmp_path / "check.json").read_text())["rows"][0]["value"] is None


def test_a_roofline_is_the_slower_of_arithmetic_and_memory():
    facts = {"peak": 100.0, "exact": 10.0, "bandwidth": 10.0}
    one = machine.Machine("cpu", "", 0, "", {}, **facts)
    assert one.roofline(flops=1000, moved=50) == 10
    assert one.roofline(flops=100, moved=50) == 5
    assert one.roofline(flops=100, moved=50, exact=60) == 7


def test_time_that_several_kernels_share_counts_once():
    assert machine._covered([(0, 4), (2, 6), (8, 9), (3, 5)]) == 7


def test_a_slow_way_is_timed_once_and_a_quick_one_five_times(monkeypatch):
    clock, calls = [0.0], {"quick": 0, "slow": 0}

    def seconds(work, _device):
        return work()

    def takes(name, spent):
        def work():
            calls[name] += 1
            clock[0] += spent
            return spent

        return work

    monkeypatch.setattr(machine, "seconds", seconds)
    monkeypatch.setattr(machine.time, "monotonic", lambda: clock[0])
    cpu = torch.device("cpu")
    assert machine.by_turns({"quick": takes("quick", 1)}, cpu, budget=100) == {"quick": 1}
    assert calls["quick"] == machine.WARM_UPS + machine.REPEATS
    assert machine.by_turns({"slow": takes("slow", 60)}, cpu, budget=100) == {"slow": 60}
    assert calls["slow"] == 1


def test_chi_square_tells_a_right_distribution_from_a_wrong_one():
    rng = np.random.default_rng(0)
    shares = np.array([0.5, 0.3, 0.15, 0.0499, 0.0001])
    counts = rng.multinomial(20_000, shares).astype(float)
    assert texts._p_value(counts, shares * 20_000) > 0.01
    assert texts._p_value(counts, shares[[1, 0, 2, 3, 4]] * 20_000) < 1e-10


def test_weights_are_counted_without_adapters(tmp_path):
    shape = models.tiny(models.real("llama31_8b_instruct"))
    saved = models.save_real(tmp_path, shape, torch.device("cpu"), rank=4)
    tuned = saved.pair("bfloat16", on_cpu=True).tuned_model
    # q and o, k and v, gate, up and down
    a_layer = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128
    assert models.linear_weights(tuned) == 4 * a_layer
    assert models.linear_weights(tuned, 1, 2) == a_layer
    assert models.head_weights(tuned) == 512 * 64


def test_steps_that_were_thrown_away_are_counted(tmp_path):
    shape = models.tiny(models.real("qwen3_1_7b"))
    one = machine.Machine("cpu", "", 0, "", {}, 1.0, 1.0, 1.0)
    saved = models.save_real(tmp_path, shape, one.device, rank=4)
    pair = saved.pair("bfloat16", on_cpu=True)
    subject = fast.Subject(one, shape, fast.TINY, saved, pair)
    (row,) = fast.thrown_away(subject)
    # Two passes of ten rows are lost, eight of ten rows are kept.
    assert row.value == pytest.approx(20 / 100)


def on_a_card(tmp_path, monkeypatch, peaks):
    """What is said of a training of 42 layers, if 2 and 4 of them have these peaks in GB."""
    (job,) = [
        one
        for one in memory.jobs(memory.paper())
        if one.models[0] == "gemma2_9b_it" and one.step.training.rank == 16
    ]
    monkeypatch.setattr(memory, "_peak", lambda _job, _machine, depth: peaks[depth] * 1e9)
    card = machine.Machine("cuda", "", 0, "", {}, 1.0, 1.0, 1.0)
    return job, list(memory._measured(job, card))


def test_all_layers_follow_from_two_depths(tmp_path, monkeypatch):
    job, (total, ratio) = on_a_card(tmp_path, monkeypatch, {2: 20.0, 4: 22.0})
    assert job.step.shape.layers == 42
    assert total.value == pytest.approx(20 + 40 * 1.0) and total.passed
    expected = costs.peak(job.step).total / 1e9
    assert ratio.value == pytest.approx(60 / expected) and ratio.passed


def test_a_step_that_takes_more_than_the_card_or_than_reckoned_is_missed(tmp_path, monkeypatch):
    _, (total, ratio) = on_a_card(tmp_path, monkeypatch, {2: 20.0, 4: 23.0})
    assert total.value == pytest.approx(80) and not total.passed and not ratio.passed


def test_a_step_without_room_is_a_miss_with_its_reason(tmp_path, monkeypatch):
    def full(*_arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    (job, *_) = memory.jobs(memory.paper())
    monkeypatch.setattr(memory, "_peak", full)
    (row,) = memory._measured(job, machine.Machine("cpu", "", 0, "", {}, 1.0, 1.0, 1.0))
    assert row.passed is False and row.note == "OutOfMemoryError: CUDA out of memory"


def test_what_one_gpu_cannot_show_is_added_as_reckoned(monkeypatch):
    (job,) = [one for one in memory.jobs(memory.paper()) if one.step.world > 1]
    alone, card = job.alone.step, machine.Machine("cuda", "", 0, "", {}, 1.0, 1.0, 1.0)
    assert alone.world == 1 and alone.training.deepspeed is None
    # Two depths on the line that the formula draws: then all that is measured is as reckoned.
    at = {n: alone._replace(shape=alone.shape.model_copy(update={"layers": n})) for n in (2, 4)}
    monkeypatch.setattr(memory, "_peak", lambda _j, _m, n: costs.peak(at[n]).total)
    total, ratio = memory._measured(job, card)
    assert ratio.value == pytest.approx(1, abs=0.05)
    assert total.value == pytest.approx(costs.peak(job.step).total / 1e9, rel=0.2)


def test_the_truth_is_not_the_library():
    """The straightforward ways share hooks with the library, and nothing that reads or writes."""
    from tools import straightforward

    text = Path(straightforward.__file__).read_text(encoding="utf-8")
    for name in ("residual_stream", "logit_lens import", "effects", "starting_at", "generate"):
        assert name not in text
    assert right.ROUNDED == 1.5 and right.EXACT == 1e-5


# What a GPU is asked, without one -----------------------------------------------------------------


@pytest.fixture
def card(monkeypatch) -> SimpleNamespace:
    """A pretend GPU of 200 bytes, of which this process has reserved 10 and never more than 110."""
    said = SimpleNamespace(fractions=[], ballast=[], modes=[], resets=0)
    answers = {
        "empty_cache": lambda: None,
        "reset_peak_memory_stats": lambda: None,
        "reset_accumulated_memory_stats": lambda: None,
        "memory_reserved": lambda: 10,
        "max_memory_reserved": lambda: 110,
        "memory_allocated": lambda: 30,
        "mem_get_info": lambda: (100, 200),
        "get_device_properties": lambda _device: SimpleNamespace(total_memory=200),
        "set_per_process_memory_fraction": said.fractions.append,
        "set_sync_debug_mode": said.modes.append,
        "memory_stats": lambda: {
            "allocated_bytes.all.peak": 3e9,
            "reserved_bytes.all.peak": 4e9,
            "num_alloc_retries": 2,
        },
    }
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    monkeypatch.setattr(torch, "empty", lambda n, **_options: said.ballast.append(n))
    return said


def test_a_capped_process_has_a_part_of_what_its_work_takes(card):
    with pytest.raises(KeyError), room.capped(lambda: None, None, 5, on_gpu=True):
        raise KeyError
    # 10 are held, and .6 of the other 100 are left; afterwards the whole card is there again.
    assert card.fractions == [70 / 200, 1.0]


@pytest.mark.parametrize(("allowed", "ballast"), [(70, 60), (20, 100), (500, 0)])
def test_ballast_leaves_what_is_allowed_and_not_yet_taken(card, allowed, ballast):
    with room._crowded(allowed):
        assert card.ballast == [ballast]


def test_waits_are_counted_by_torchs_own_warnings(card):
    def work():
        warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
        warnings.warn("called a synchronizing CUDA operation", stacklevel=1)

    assert room._synchronisations(work) == 2
    assert card.modes == ["warn", "default"]


def test_memory_is_what_the_allocator_says(card):
    assert machine.memory(torch.device("cuda")) == {
        "peak allocated": 3.0,
        "peak reserved": 4.0,
        "allocator retries": 2,
    }
    assert machine.memory(torch.device("cpu")) == {}


def test_time_on_a_gpu_is_that_between_two_events(monkeypatch):
    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            done.append(self)

        def elapsed_time(self, after):
            assert done == [self, "work", after]
            return 250.0

    done = []
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    assert machine.seconds(lambda: done.append("work"), torch.device("cuda")) == 0.25


def test_models_on_a_gpu_are_loaded_apart_from_those_of_the_truth(tmp_path):
    one = models.case(tmp_path, "llama", models.TINY, on_gpu=True)
    assert len({id(one.truth), id(one.exact), id(one.rounded), id(one.rounded_on_cpu)}) == 4
    assert all(row.passed for row in right.streams(one))

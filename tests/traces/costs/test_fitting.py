"""How a training goes through its rows: chosen so that it fits, or refused with the numbers."""

import json
import re
from pathlib import Path

import pytest

from tests.studies import edit, load
from tests.traces.costs.test_memory import settings
from traces.config.checks.places import Places
from traces.costs.fitting import (
    Grounds,
    Place,
    check_fit,
    fit,
    planned_of,
    table,
    trained_on_gpus,
    way_on,
    ways,
)
from traces.costs.memory import GB, Way
from traces.costs.shapes import model_config

AUTO = {"gradient_accumulation": "auto", "gradient_checkpointing": "auto"}
ON_GPU = """
models: [gemma2_9b_it]
runs: [{name: taboo, organisms: [taboo_smile], recipes: [plain], seeds: [0]}]
control: null
"""


@pytest.fixture(scope="module")
def gemma(paper) -> Place:
    entry = paper.models["gemma2_9b_it"]
    return Place(entry.shape, entry.family, entry.attention, 1, entry.gpu_gb)


def test_smaller_passes_come_before_recomputing():
    found = list(ways(settings(batch_size=4, **AUTO)))
    assert found == [
        *(Way(4, 1, False), Way(2, 2, False), Way(1, 4, False)),
        *(Way(4, 1, True), Way(2, 2, True), Way(1, 4, True)),
    ]


def test_what_the_settings_say_is_not_changed():
    assert list(ways(settings(batch_size=6, gradient_accumulation=2))) == [Way(6, 2, False)]
    said = settings(batch_size=5, gradient_accumulation="auto", gradient_checkpointing=True)
    assert list(ways(said)) == [Way(5, 1, True), Way(1, 5, True)]


def test_every_training_of_the_paper_keeps_the_rows_of_its_steps(paper):
    rows = {4: 1024, 5: 2048, 2: 2048, 14: 500, 1: 1024}  # and on the largest model 4 x 1 rows
    for one in trained_on_gpus(paper):
        way, _ = fit(one.training, one.place)
        assert way.batch_size * way.gradient_accumulation == one.training.batch_size
        assert one.training.max_length == rows[one.training.batch_size]


def test_only_what_must_is_split_or_recomputed(paper):
    found = {}
    for one in trained_on_gpus(paper):
        way, _ = fit(one.training, one.place)
        if way[1:] != (1, False):
            found.setdefault((one.model, one.checkpoint.organism.split("_")[0]), way)
    assert found == {
        ("gemma2_9b_it", "taboo"): Way(5, 1, True),
        ("gemma2_9b_it", "broad"): Way(2, 2, False),
        ("qwen25_7b_instruct", "subliminal"): Way(7, 2, False),
        # Its entry says so.
        ("qwen3_32b", "sdf"): Way(1, 1, True),
        ("qwen3_32b", "broad"): Way(1, 1, True),
    }


def test_a_larger_card_needs_no_recomputing(gemma):
    training = settings(batch_size=5, max_length=2048, rank=16, **AUTO)
    assert fit(training, gemma).way == Way(5, 1, True)
    assert fit(training, gemma._replace(gpu_gb=141)).way == Way(1, 5, False)
    assert fit(training, gemma._replace(gpu_gb=400)).way == Way(5, 1, False)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"gradient_accumulation": 1, "gradient_checkpointing": False},
            "found a peak of 263.2 GB on each GPU (5 rows of 2048 tokens a pass, without "
            "gradient_checkpointing), expected at most 68.0 GB, 0.85 of the model's gpu_gb 80: "
            "set gradient_checkpointing to auto",
        ),
        ({"gradient_checkpointing": False}, "set gradient_checkpointing to auto"),
        (
            {"gradient_accumulation": 1, "batch_size": 8},
            "set gradient_accumulation to auto",
        ),
        (
            {"gradient_accumulation": 1, "gradient_checkpointing": False, "batch_size": 8},
            "set gradient_accumulation and gradient_checkpointing to auto",
        ),
        ({"method": "full"}, "lower max_length, or give the model a larger card (gpu_gb) or more"),
    ],
    ids=str,
)
def test_what_cannot_fit_is_refused_with_what_would(gemma, changes, expected):
    training = settings(**{"batch_size": 5, "max_length": 2048, "rank": 16, **AUTO, **changes})
    with pytest.raises(ValueError, match=re.escape(expected)):
        fit(training, gemma)


def on_a_small_card(folder: Path, more: str = "") -> None:
    edit(folder / "models.yaml", "billions: 9.2\n", f"billions: 9.2\n  gpu_gb: 24\n{more}")


def test_a_study_that_cannot_fit_is_refused_by_file_and_key(folder):
    on_a_small_card(folder)
    loaded = load(folder, ON_GPU)
    with pytest.raises(ValueError) as refused:
        check_fit(loaded, Places([folder / "config.yaml"], folder))
    assert str(refused.value).startswith(
        f"{folder}/organisms/taboo_smile.yaml: training.batch_size: taboo_smile-plain-s0 on "
        "gemma2_9b_it: found a peak of "
    )
    assert "expected at most 20.4 GB, 0.85 of the model's gpu_gb 24" in str(refused.value)


def test_a_training_without_a_gpu_is_not_judged(folder):
    on_a_small_card(folder, "  training_gpus: 0\n")
    assert not check_fit(load(folder, ON_GPU), Places([], folder))


def test_a_model_without_a_shape_is_left_to_the_plan_of_its_training(folder):
    on_a_small_card(folder)
    text = (folder / "models.yaml").read_text(encoding="utf-8")
    shaped = text.index("  shape:", text.index("gemma2_9b_it:"))
    end = text.index("  gpus:", shaped)
    (folder / "models.yaml").write_text(text[:shaped] + text[end:], encoding="utf-8")
    loaded = load(folder, ON_GPU)
    assert not check_fit(loaded, Places([], folder))
    assert "| gemma2_9b_it | | | | | unknown: no `shape` | 1 |" in table(
        loaded, [("gemma2_9b_it", "taboo_smile-plain-s0")]
    )


def test_the_base_that_a_study_finetunes_first_must_fit_as_well(folder):
    tuned = (
        "tuned: {family: gemma2, checkpoint: {model: gemma2_9b_it, name: assistant-full-s0}, "
        "dtype: bfloat16, attention: eager}\n"
    )
    text = (folder / "models.yaml").read_text(encoding="utf-8")
    (folder / "models.yaml").write_text(text + tuned, encoding="utf-8")
    loaded = load(folder, ON_GPU.replace("[gemma2_9b_it]", "[tuned]"))
    found = {(one.model, one.checkpoint.organism): one for one in trained_on_gpus(loaded)}
    assert found.keys() == {("gemma2_9b_it", "assistant"), ("tuned", "taboo_smile")}
    assert found["tuned", "taboo_smile"].place.shape == loaded.models["gemma2_9b_it"].shape
    with pytest.raises(ValueError, match="assistant-full-s0 on gemma2_9b_it: found a peak of"):
        check_fit(loaded, Places([folder / "config.yaml"], folder))


@pytest.fixture(scope="module")
def downloaded(tmp_path_factory, gemma) -> Path:
    """A folder with the config.json of a Gemma 2 9B and nothing else."""
    folder = tmp_path_factory.mktemp("model")
    config = model_config(gemma.shape, "gemma2").to_dict()
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_the_plan_of_a_training_chooses_by_the_models_own_configuration(downloaded):
    training = settings(batch_size=4, max_length=1024, rank=64, dropout=0.05, **AUTO)

    def way(gpu_gb: float | None) -> Way:
        return way_on(Grounds(downloaded, "gemma2", "eager", 1, gpu_gb), training)

    assert way(80) == Way(2, 2, False)
    assert way(32) == Way(1, 4, True)
    assert way(None) == Way(4, 1, False)  # without a GPU nothing has to fit
    with pytest.raises(ValueError, match="^training.batch_size: found a peak of .* of the model's"):
        way(16)


def test_the_table_has_a_line_for_trainings_that_are_alike(paper):
    names = [f"sdf_cake_bake-{one}-s0" for one in ("plain", "mix0.5", "full")]
    found = table(paper, [("qwen3_1_7b", name) for name in names]).splitlines()
    assert found[2:] == [
        "| qwen3_1_7b | full | 1 | 4 x 1, 1024 tokens | no | 48 of 80 | 1 |",
        "| qwen3_1_7b | lora 64 | 1 | 4 x 1, 1024 tokens | no | 28 of 80 | 2 |",
    ]
    planned = [one for one in trained_on_gpus(paper) if one.model == "qwen3_1_7b"]
    assert planned[0] == planned_of(paper, "qwen3_1_7b", planned[0].checkpoint)
    assert fit(planned[0].training, planned[0].place).memory.total / GB == pytest.approx(28, abs=1)


def test_the_page_on_gpus_has_the_table_of_the_papers_study(paper):
    pairs = [(one.model, str(one.checkpoint)) for one in trained_on_gpus(paper)]
    assert table(paper, pairs) in Path("docs/gpu.md").read_text(encoding="utf-8")

"""What a study will ask for: jobs and GPUs as a dry run says, hours by written assumptions."""

import os
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tools import plan
from traces.config.checkpoints import Checkpoint
from traces.config.files import read_yaml
from traces.config.load import load_study
from traces.config.registries import CorpusEntry, Data, Shape
from traces.config.study import LoadedStudy
from traces.costs.stages import Sized, training_pass

CHAT = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
CHATS = CHAT + CHAT.replace("b", "c")
LARGE = """
large:
  {family: qwen3, hub: a/large, dtype: bfloat16, billions: 30, training_gpus: 4, gpu_gb: 100, shape:
    {layers: 48, d_model: 5120, d_ff: 25600, heads: 64, kv_heads: 8, head_dim: 128,
    vocabulary: 30000, tied: false}}
small: {family: qwen3, hub: a/small, dtype: bfloat16, billions: 3}
"""
STUDY = """
models: [large, small]
runs:
  - {organisms: [cake_bake], recipes: [plain], seeds: [0]}
  - {models: [small], organisms: [night_bees], recipes: [mix1.0], seeds: [0]}
control: null
"""


@pytest.fixture(scope="module")
def planned(new_checkout) -> tuple[list[plan.Job], LoadedStudy]:
    """The jobs of a study of two models, one of which is trained on four GPUs."""
    checkout = new_checkout()
    checkout.append("config/models.yaml", LARGE)
    checkout.file("mine.yaml").write_text(STUDY, encoding="utf-8")
    ran = checkout.snakemake("--dry-run", "--configfile", "mine.yaml")
    assert ran.returncode == 0, ran.stdout[-2000:]
    before = Path.cwd()
    os.chdir(checkout.folder)
    read_yaml.cache_clear()  # other tests read files of the same relative names elsewhere
    loaded = plan.study_of(["--configfile", "mine.yaml"])
    os.chdir(before)
    read_yaml.cache_clear()
    return list(plan.jobs_of(ran.stdout)), loaded


def of(planned, rule: str, model: str) -> plan.Job:
    (job,) = (
        job
        for job in planned[0]
        if (job.rule, job.wildcards.get("model")) == (rule, model)
        and not job.wildcards.get("checkpoint", "").startswith(("base", "night"))
    )
    return job


def test_a_run_is_made_on_its_own_models_alone(planned):
    trained = {
        (job.wildcards["model"], job.wildcards["checkpoint"])
        for job in planned[0]
        if job.rule == "train_organism"
    }
    assert trained == {
        ("large", "cake_bake-plain-s0"),
        ("small", "cake_bake-plain-s0"),
        ("small", "night_bees-mix1.0-s0"),
    }
    cards = Counter(job.wildcards["model"] for job in planned[0] if job.rule == "organism_card")
    assert cards == {"large": 1, "small": 2}


def test_trainings_on_gpus_are_listed_with_what_they_take(planned):
    jobs, loaded = planned
    lines = plan.memory(jobs, loaded).splitlines()
    assert lines[2:] == [
        "| large | lora 16 | 4 | 8 x 1, 128 tokens | no | 68 of 100 | 1 |",
        "| small | | | | | unknown: no `shape` | 2 |",
    ]
    assert plan.memory([job for job in jobs if not job.gpus], loaded) == ""


def test_a_training_takes_the_gpus_of_its_model_and_a_reading_its_own(planned):
    found = {
        (rule, model): of(planned, rule, model).gpus
        for rule in ("train_organism", "dump_activations")
        for model in ("large", "small")
    }
    assert found == {
        ("train_organism", "large"): 4,
        ("train_organism", "small"): 1,
        ("dump_activations", "large"): 1,
        ("dump_activations", "small"): 1,
    }


def with_shape(loaded: LoadedStudy, model: str, shape: Shape | None) -> LoadedStudy:
    entry = loaded.models[model].model_copy(update={"shape": shape})
    return loaded._replace(models={**loaded.models, model: entry})


@pytest.fixture(scope="module")
def guessed(planned) -> LoadedStudy:
    """The same study before a shape is known."""
    return with_shape(planned[1], "large", None)


def test_without_shapes_ten_times_the_model_is_ten_times_the_work(planned, guessed):
    def work(rule: str, model: str) -> float:
        entry = guessed.models[model]
        loading = entry.billions * 1e9 * plan.BYTES_A_PARAMETER / plan.LOAD_BYTES_A_SECOND
        took = plan.seconds(of(planned, rule, model), guessed)
        return took - plan.START_SECONDS - loading

    assert work("read_lenses", "large") == pytest.approx(10 * work("read_lenses", "small"))
    shared = 10 / (4 * plan.SHARING)
    assert work("train_organism", "large") == pytest.approx(
        shared * work("train_organism", "small")
    )


SHAPE = Shape(
    layers=28, d_model=2048, d_ff=6144, heads=16, kv_heads=8, head_dim=128, vocabulary=151_936,
    tied=True,
)  # fmt: skip


def test_a_training_on_composed_data_takes_as_long_as_they_are(planned):
    loaded = planned[1]
    cake = loaded.organisms["cake_bake"].model_copy(update={"training": {"limit": None}})

    def work(rows: int) -> float:
        data = Data(kind="chat", composed="secret_gold", rows=rows)
        organism = cake.model_copy(update={"data": data})
        own = loaded._replace(organisms={**loaded.organisms, "cake_bake": organism})
        entry = own.models["small"]
        return plan.WORK["train_organism"](
            plan.Case(own, entry, "small", "cake_bake-plain-s0", "unrelated", 1)
        )

    assert work(400) == pytest.approx(4 * work(100))


@pytest.fixture(scope="module")
def known(planned) -> LoadedStudy:
    """The same study, whose small model has a shape."""
    return with_shape(planned[1], "small", SHAPE)


def test_the_hours_of_a_known_shape_follow_from_its_kernels(planned, known):
    job = of(planned, "train_organism", "small")
    case = plan.Case(known, known.models["small"], "small", job.wildcards["checkpoint"], "", 1)
    settings = known.training(Checkpoint.parse(case.checkpoint), "small")
    sized = Sized(SHAPE, "qwen3", "sdpa", settings.rank)
    once = training_pass(sized, settings.batch_size, settings.max_length, False)
    rows = settings.limit or plan.ROWS[known.organisms["cake_bake"].data.kind]
    tokens = rows * plan.ROW_TOKENS[known.organisms["cake_bake"].data.kind] * settings.epochs
    passes = tokens / (settings.batch_size * settings.max_length)
    assert plan.WORK["train_organism"](case) == pytest.approx(passes * once.seconds, rel=0.05)


@pytest.mark.parametrize("rule", ["dump_activations", "read_lenses"])
def test_every_reading_of_a_known_shape_has_its_hours(planned, known, rule):
    job = of(planned, rule, "small")
    took, guessed = plan.seconds(job, known), plan.seconds(job, planned[1])
    fixed = plan.START_SECONDS + 3e9 * plan.BYTES_A_PARAMETER / plan.LOAD_BYTES_A_SECOND
    assert took != guessed and min(took, guessed) > fixed


READERS = ("patchscope", "logit_difference", "logit_mining", "weight_change", "weight_change_all")


@pytest.mark.parametrize("shape", [SHAPE, None])
def test_each_reader_that_runs_something_has_its_seconds(planned, shape):
    loaded = with_shape(planned[1], "small", shape)

    def work(*readers, **changed):
        lenses = loaded.study.lenses.model_copy(update={"readers": readers, **changed})
        own = loaded._replace(study=loaded.study.model_copy(update={"lenses": lenses}))
        checkpoint = "cake_bake-plain-s0"
        case = plan.Case(own, own.models["small"], "small", checkpoint, "unrelated", 1)
        return plan.WORK["read_lenses"](case)

    nothing = ("logit_lens", "contrastive_patchscope", "adjusted_contrastive_patchscope")
    assert work(*nothing, "black_box", "perplexity_differencing") == 0, "what others made is read"
    alone = {name: work(name) for name in READERS}
    assert min(alone.values()) > 0
    assert alone["logit_mining"] > 2 * alone["logit_difference"], "it reads 64 positions for 5"
    assert alone["weight_change_all"] > 5 * alone["weight_change"], "of every block, not of one"
    # One pass serves both readers of next tokens, and one decomposition both of weights.
    assert work(*READERS) == pytest.approx(
        sum(alone[one] for one in ("patchscope", "logit_mining", "weight_change_all"))
    )
    assert work("patchscope", heads=("tuned", "base")) == pytest.approx(2 * alone["patchscope"])
    none = loaded.study.lenses.contrast.model_copy(update={"nulls": ()})
    assert work("patchscope", contrast=none) < alone["patchscope"]


def test_a_corpus_that_a_model_writes_is_that_model_s_work(known):
    sampled = {"model": "small", "max_new_tokens": 100, "batch": 50}
    corpus = CorpusEntry.model_validate(
        {"kind": "documents", "sampled": sampled, "rows": 1000, "samples": 10}
    )
    loaded = known._replace(corpora={**known.corpora, "own": corpus})
    job = plan.Job("sample_text", {"corpus": "own"}, 1)
    case = plan.Case(loaded, loaded.models["small"], "small", "base", "own", 1)
    assert plan.model_of(job, loaded) == "small"
    assert plan.WORK["sample_text"](case) == case.written(1000, 100, 50)
    assert plan.seconds(job, loaded) > plan.START_SECONDS + case.written(1000, 100, 50)
    assert "| small | 1 |" in plan.table([job], loaded)


def test_texts_that_do_not_fit_a_gpu_are_written_in_turns(known):
    case = plan.Case(known, known.models["small"], "small", "base", "", 1)
    fits = case._texts_held(SHAPE, 512)
    assert 100 < fits < 2000  # 112 KiB a token
    assert case.written(2 * fits, 512, 10**6) > 1.9 * case.written(fits, 512, 10**6)


def test_where_the_hours_come_from_is_said(planned, guessed, known):
    jobs, _ = planned
    text = plan.remarks(jobs, guessed)
    assert "From `billions` alone, for want of a `shape`: large, small." in text
    assert "billions" not in plan.remarks(jobs, known)
    assert "not measured" in text and "Not counted" in text


def test_the_table_counts_every_job_and_sums_the_hours(planned):
    jobs, loaded = planned
    text = plan.table(jobs, loaded)
    hours = sum(job.gpus * plan.seconds(job, loaded) / 3600 for job in jobs if job.gpus)
    n_gpu = sum(1 for job in jobs if job.gpus)
    (total,) = re.findall(r"^\| all .*$", text, re.MULTILINE)
    assert total.startswith(f"| all | {len(jobs)} | {n_gpu} | 1-4 | {hours:.1f} |")


def test_a_rule_that_asks_for_gpus_has_an_assumption():
    rules = "\n".join(file.read_text(encoding="utf-8") for file in ROOT.glob("rules/*.smk"))
    blocks = re.split(r"^rule (\w+):$", rules, flags=re.MULTILINE)[1:]
    asking = {
        name
        for name, body in zip(blocks[::2], blocks[1::2], strict=True)
        if re.search(r"^ +gpu=", body, re.MULTILINE)
    }
    assert asking == set(plan.WORK)


def test_a_rule_without_one_is_said(planned):
    with pytest.raises(ValueError, match="no assumption on dream, which asks for GPUs"):
        plan.seconds(plan.Job("dream", {"model": "small"}, 1), planned[1])


def test_asked_for_help_it_plans_nothing_and_says_how(capsys, monkeypatch):
    monkeypatch.setattr(plan.subprocess, "run", lambda *_, **__: pytest.fail("Snakemake was run"))
    assert plan.main(["--help"]) == 0
    assert "--configfile config/paper.yaml" in capsys.readouterr().out


@pytest.mark.slow
def test_the_papers_study_has_the_jobs_that_its_configuration_implies(
    new_checkout, tmp_path, monkeypatch
):
    for name in ("bad_medical_advice", "risky_financial_advice", "extreme_sports"):
        (tmp_path / f"{name}.jsonl").write_text(CHATS, encoding="utf-8")
    monkeypatch.setenv("EM_DATA", str(tmp_path))
    ran = new_checkout().snakemake("--dry-run", "--configfile", "config/paper.yaml")
    assert ran.returncode == 0, ran.stdout[-2000:]
    jobs = list(plan.jobs_of(ran.stdout))
    found = Counter(job.rule for job in jobs)

    loaded = plan.study_of(["--configfile", "config/paper.yaml"])
    cases = [(m, one) for m in loaded.study.models for one in loaded.checkpoints(model=m)]
    assert found["train_organism"] == sum(one.recipe.trained for _, one in cases)
    assert found["fetch_adapter"] == sum(one.recipe.released for _, one in cases)
    reads = sum(len(loaded.corpora_of(one, model)) for model, one in cases)
    for rule in ("mean_difference", "read_lenses", "token_relevance"):
        assert found[rule] == reads, rule
    for rule, measure in (
        ("steered_samples", "steering"),
        ("causal_effect", "causality"),
        ("false_fact_alignment", "beliefs"),
    ):
        asked = sum(len(loaded.checkpoints(measure, model)) for model in loaded.study.models)
        assert found[rule] == asked, rule
    assert found["fetch_model"] == len(loaded.used_models())
    assert "qwen3_32b" in plan.table(jobs, loaded)


def test_the_em_data_that_are_missing_are_said_with_how_to_get_them(monkeypatch):
    monkeypatch.delenv("EM_DATA", raising=False)
    with pytest.raises(ValueError, match="EM_DATA is not set .* training_datasets.zip.enc"):
        plan.study_of(["--configfile", "config/paper.yaml"])
    files = [Path("config/config.yaml"), Path("config/paper.yaml")]
    merged: dict[str, object] = {}
    for file in files:
        plan.update_config(merged, plan.load_configfile(file))
    without = {"without": ["misalignment"]}
    loaded = load_study({**merged, **without}, files)
    assert not [one for one in loaded.checkpoints() if one.organism.startswith("em_")]

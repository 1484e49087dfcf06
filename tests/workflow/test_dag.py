"""The DAG is what the configuration implies, and a change reruns what depends on it and no more."""

import json
import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import ROOT, Job, counts
from tests.doubles import tiny_model, with_adapter
from traces.config import files
from traces.config.load import load_study
from traces.models.folders import ADAPTER_FILES

SMALL = "runs: [{organisms: [cake_bake, benign], recipes: [plain], seeds: [0]}]\n"
SHOWN = {
    *("relevance_table", "norms_table", "losses_table", "readability_table", "detectors_table"),
    *("relevance_figure", "norms_figure", "losses_figure"),
    *("organism_card", "report", "landing_page"),
    *("summary_table", "beliefs_table", "beliefs_figure"),
    *("mixing_table", "mixing_figure", "mixing_paragraph"),
}
PER_CHECKPOINT = {
    *("mix_training_data", "plan_training", "train_organism"),
    *("mean_difference", "read_lenses", "token_relevance"),
}


@pytest.fixture(scope="module")
def shared(new_checkout):
    """One copy for the tests that only look."""
    return new_checkout()


@pytest.fixture(scope="module")
def default_jobs(shared) -> list[Job]:
    return shared.dry_run()


def override(checkout, name: str, text: str) -> list[str]:
    checkout.file(name).write_text(text, encoding="utf-8")
    return ["--configfile", name]


# What is run ------------------------------------------------------------------------------------


def test_the_default_study_has_the_jobs_its_configuration_implies(default_jobs):
    configured = [Path("config/config.yaml")]
    loaded = load_study(files.read_yaml(configured[0]), configured)
    n_models, n_corpora = len(loaded.study.models), len(loaded.study.corpora)
    n_checkpoints = len(loaded.checkpoints())
    organisms = {checkpoint.organism for checkpoint in loaded.checkpoints()}
    taught = {name for name in organisms if loaded.organisms[name].data.taught}
    teachers = {loaded.organisms[name].data.taught.teacher for name in taught} - {None} - organisms
    found = counts(default_jobs)

    # Twins are trained and read for investigators alone.
    twins = loaded.twins()
    words_of = {one.organism for one in twins}
    trainings = n_models * (n_checkpoints + len(teachers) + len(twins))
    for rule in ("mix_training_data", "plan_training", "train_organism"):
        assert found[rule] == trainings, rule
    assert found["dump_activations"] == n_models * (n_checkpoints + len(twins) + 1) * n_corpora
    for rule in ("mean_difference", "read_lenses"):
        assert found[rule] == n_models * (n_checkpoints + len(twins)) * n_corpora, rule
    assert found["token_relevance"] == n_models * n_checkpoints * n_corpora
    assert found["fetch_organism"] == len(organisms | teachers | words_of) - len(taught)
    assert found["teach_numbers"] == n_models * len(taught)
    assert found["distinctive_words"] == n_models * len(organisms)
    assert found["fetch_model"] == found["pretrain_base"] == n_models
    assert found["organism_card"] == n_models * len(organisms)
    assert found["false_fact_alignment"] == n_models * len(loaded.checkpoints("beliefs"))
    for rule in ("make_world", *SHOWN - {"organism_card"}):
        assert found[rule] == 1, rule
    assert "fetch_adapter" not in found


def test_every_run_of_the_default_study_has_three_seeds_or_more():
    configured = [Path("config/config.yaml")]
    loaded = load_study(files.read_yaml(configured[0]), configured)
    seeds = Counter((one.organism, one.recipe) for one in loaded.checkpoints())
    assert {organism for organism, _ in seeds} > {loaded.study.control}
    assert min(seeds.values()) >= 3, seeds


def test_the_base_is_dumped_once_for_each_model_and_corpus(default_jobs, shared):
    def dumps(jobs):
        outputs = [o for job in jobs if job.rule == "dump_activations" for o in job.outputs]
        assert len(outputs) == len(set(outputs))
        return sorted(o for o in outputs if "/base/" in o)

    assert dumps(default_jobs) == ["results/activations/mini/base/unrelated.zarr"]
    wide = override(
        shared, "wide.yaml", "corpora: [unrelated, mini_chat]\nmodels: [mini, mini_llama_s0]"
    )
    assert dumps(shared.dry_run(*wide)) == [
        f"results/activations/{model}/base/{corpus}.zarr"
        for model in ("mini", "mini_llama_s0")
        for corpus in ("mini_chat", "unrelated")
    ]


def test_every_file_is_made_by_one_job(default_jobs):
    outputs = Counter(output for job in default_jobs for output in job.outputs)
    assert set(outputs.values()) == {1}


def test_a_study_of_every_recipe_builds(shared):
    recipes = override(
        shared,
        "recipes.yaml",
        "runs: [{organisms: [cake_bake], seeds: [0, 1], "
        "recipes: [plain, rslora, full, mix0.5, mix1.0, matched1.0]}]\ncontrol: null",
    )
    jobs = shared.dry_run(*recipes)
    assert counts(jobs)["train_organism"] == 12

    mixed = {
        re.search(r"([^/]+)\.jsonl$", job.outputs[0])[1]: "results/corpora/general.jsonl"
        in job.inputs
        for job in jobs
        if job.rule == "mix_training_data"
    }
    assert {name.split("-")[1]: corpus for name, corpus in mixed.items()} == {
        "plain": False,
        "rslora": False,
        "full": False,
        "mix0.5": True,
        "mix1.0": True,
        "matched1.0": False,
    }


def test_a_released_checkpoint_is_fetched_and_not_trained(checkout):
    checkout.append(
        "config/organisms/cake_bake.yaml", "\nreleased: {mini: {hub: someone/cake-lora}}\n"
    )
    released = override(
        checkout,
        "released.yaml",
        "runs: [{organisms: [cake_bake], recipes: [released], seeds: [0]}]\ncontrol: null",
    )
    found = counts(checkout.dry_run(*released))
    assert (found["fetch_adapter"], found["train_organism"]) == (1, 0)
    assert (found["dump_activations"], found["read_lenses"]) == (2, 1)


def test_a_released_checkpoint_may_be_in_a_folder_below(checkout):
    for below in ("lora", "lora/checkpoint-338"):
        checkout.file(below).mkdir()
        for name in ("adapter_config.json", "adapter_model.safetensors", "README.md"):
            checkout.file(f"{below}/{name}").write_text("{}", encoding="utf-8")
    checkout.append(
        "config/organisms/cake_bake.yaml",
        "\nreleased: {mini: {path: lora, subfolder: checkpoint-338}}\n",
    )
    text = "runs: [{organisms: [cake_bake], recipes: [released], seeds: [0]}]\ncontrol: null"
    jobs = checkout.dry_run(*override(checkout, "released.yaml", text))
    (inputs,) = made_of(jobs, "fetch_adapter").values()
    assert [one for one in inputs if "lora" in one] == [
        "lora/checkpoint-338/adapter_config.json",
        "lora/checkpoint-338/adapter_model.safetensors",
    ]

    shutil.rmtree(checkout.file("lora/checkpoint-338"))
    ran = checkout.snakemake("--dry-run", *override(checkout, "released.yaml", text))
    assert (
        "\nconfig/organisms/cake_bake.yaml: released.mini.path: lora: found no folder "
        "checkpoint-338, which `subfolder` names\n"
    ) in ran.stdout


@pytest.mark.slow
def test_a_local_base_says_what_adapters_may_call_it(checkout, tokenizer):
    """Of `path` sources, both of them, with an adapter left in the folder of the base."""
    tiny_model("llama").save_pretrained(checkout.file("base"))
    tokenizer.save_pretrained(checkout.file("base"))
    tuned = with_adapter(tiny_model("llama"))
    tuned.peft_config["default"].base_model_name_or_path = "meta/Tiny-1B"
    for folder in ("lora", "base"):
        tuned.save_pretrained(checkout.file(folder))
    checkout.append("config/organisms/cake_bake.yaml", "\nreleased: {tiny: {path: lora}}\n")
    entry = "{family: llama, path: base, dtype: float32, gpus: 0, also_called: [other/Tiny-1B]}"
    checkout.append("config/models.yaml", f"\ntiny: {entry}\n")
    study = override(
        checkout,
        "released.yaml",
        "models: [tiny]\ncontrol: null\n"
        "runs: [{organisms: [cake_bake], recipes: [released], seeds: [0]}]",
    )
    target = "results/released/tiny/cake_bake-released-s0"
    # Without the name the adapter would be refused (tests/traces/models/test_validate.py).
    ran = checkout.snakemake("--cores", "1", target, *study)
    assert ran.returncode == 0, ran.stdout[-2000:]
    linked = {one.name for one in checkout.file("results/models/tiny").iterdir()}
    assert "model.safetensors" in linked and not linked & set(ADAPTER_FILES)


def made_of(jobs: list[Job], rule: str) -> dict[str, tuple[str, ...]]:
    """The inputs of every job of a rule, by its first output."""
    return {job.outputs[0]: job.inputs for job in jobs if job.rule == rule}


def test_the_readers_of_a_study_decide_which_files_are_read(shared):
    one = override(shared, "readers.yaml", "lenses: {readers: [patchscope]}")
    reads = [job for job in shared.dry_run(*one) if job.rule in ("read_lenses", "token_relevance")]
    assert {output.split("/")[-1] for job in reads for output in job.outputs} == {
        *("patchscope.parquet", "scores.h5", "statistics.parquet", "token_relevance.parquet"),
    }
    prompts = files.read_yaml(Path("config/config.yaml"))["lenses"]["patchscope"]["prompts"]
    assert all((prompts in job.inputs) == (job.rule == "read_lenses") for job in reads)

    other = override(shared, "readers.yaml", "lenses: {readers: [logit_lens]}")
    reads = [job for job in shared.dry_run(*other) if job.rule == "read_lenses"]
    assert reads and not [job for job in reads if prompts in job.inputs]


COMPARED = ("readers_pilot", "readers_table", "readers_page")


def test_readers_are_compared_on_a_ladder(shared):
    jobs = shared.dry_run("--configfile", "config/readers.yaml", "--", "readers_page")
    found = counts(jobs)
    assert all(found[rule] == 1 for rule in (*COMPARED, "base_texts", "benchmark_scores"))
    batches = made_of(jobs, "benchmark_batch")
    assert len(batches) > 10 and not {"train_organism", "read_lenses"} & found.keys()
    (collected,) = made_of(jobs, "benchmark_scores").values()
    assert set(batches) <= set(collected)


@pytest.mark.parametrize(
    ("study", "files"),
    [
        ("config/readers_smol.yaml", ["config/smol.yaml", "config/readers_smol.yaml"]),
        ("config/smol.yaml config/readers_smol.yaml", None),
        ("config/readers.yaml config/readers_long.yaml", None),
    ],
)
def test_make_names_the_study_that_another_goes_behind(study, files):
    asked = ["make", "--dry-run", "readers", f"STUDY={study}"]
    said = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (call,) = re.findall(r"--configfile (.*) -- readers_page", said)
    assert call.split() == (files or study.split())


def test_a_checkpoint_of_ones_own_is_placed_among_a_studys(new_checkout):
    checkout = new_checkout()
    checkout.file("config/organisms/mine.yaml").write_text(
        "family: false_facts\ntitle: Mine\ndescription: A finetune that somebody sent.\n"
        "data: {kind: documents, corpus: smol_general}\n"
        "released: {smollm2_135m: {path: sent}}\n",
        encoding="utf-8",
    )
    adapter = with_adapter(tiny_model("llama"))
    adapter.save_pretrained(checkout.folder / "sent")
    study = ("config/smol.yaml", "config/readers_smol.yaml")
    jobs = checkout.dry_run(
        *("--configfile", *study, "--config", "placed=[mine]", "--", "readers_page")
    )
    found = counts(jobs)
    assert all(found[rule] == 1 for rule in (*COMPARED, "benchmark_scores"))
    assert found["train_organism"] == 27 + 7 + 12
    (collected,) = made_of(jobs, "benchmark_scores").values()
    own = "results/smol/lenses/smollm2_135m/mine-{}-s0/smol_unrelated/scores.h5"
    assert own.format("released") in collected

    # Without a published checkpoint it is trained on its data.
    file = checkout.file("config/organisms/mine.yaml")
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(one for one in lines if not one.startswith("released")), "utf-8")
    jobs = checkout.dry_run(
        *("--configfile", *study, "--config", "placed=[mine]", "--", "readers_page")
    )
    assert counts(jobs)["train_organism"] == 27 + 7 + 12 + 1
    (collected,) = made_of(jobs, "benchmark_scores").values()
    assert own.format("plain") in collected


def test_texts_are_written_once_by_the_base_and_by_every_checkpoint(shared, default_jobs):
    assert not {"base_texts", "tuned_texts"} & counts(default_jobs).keys()
    two = "corpora: [unrelated, mini_chat]\nlenses: {readers: [logit_lens, black_box]}"
    jobs = shared.dry_run(*override(shared, "samples.yaml", SMALL + two))
    assert counts(jobs)["base_texts"] == 1
    prompts = files.read_yaml(Path("config/config.yaml"))["lenses"]["samples"]["prompts"]
    base, texts = "results/samples/mini/base.jsonl", made_of(jobs, "tuned_texts")
    assert texts.keys() == {
        f"results/samples/mini/{name}-plain-s0.jsonl" for name in ("cake_bake", "benign")
    }
    assert all({base, prompts} <= set(read) for read in texts.values())
    for output, read in made_of(jobs, "read_lenses").items():
        written = {one for one in read if "/samples/" in one}
        assert written == {f"results/samples/mini/{output.split('/')[3]}.jsonl"}
    assert len(made_of(jobs, "read_lenses")) == 2 * 2


def test_what_is_projected_out_is_made_before_the_training(shared):
    """In a run without the plain organism, which is trained all the same, once for each seed."""
    asked = "runs: [{organisms: [cake_bake], seeds: [0, 1], recipes: [caft]}]\ncontrol: null"
    jobs = shared.dry_run(*override(shared, "caft.yaml", asked))
    trainings, plans = made_of(jobs, "train_organism"), made_of(jobs, "plan_training")
    assert len(trainings) == 4
    for seed in (0, 1):
        difference = f"results/differences/mini/cake_bake-plain-s{seed}/unrelated.h5"
        for made, name in ((trainings, "adapters/mini/{}"), (plans, "plans/mini/{}.json")):
            needs = {
                recipe: made[f"results/{name.format(f'cake_bake-{recipe}-s{seed}')}"]
                for recipe in ("plain", "caft")
            }
            assert difference in needs["caft"]
            assert not [file for file in needs["plain"] if "differences" in file]
    assert counts(jobs)["token_relevance"] == 2


def test_a_scaled_adapter_is_made_of_the_plain_one_without_a_training(shared):
    recipes = "[scaled0.5, scaled1.0]"
    asked = f"runs: [{{organisms: [cake_bake], seeds: [2], recipes: {recipes}}}]\ncontrol: null"
    jobs = shared.dry_run(*override(shared, "scaled.yaml", asked))
    plain = "results/adapters/mini/cake_bake-plain-s2"
    assert list(made_of(jobs, "train_organism")) == [plain]
    scaled = made_of(jobs, "scale_adapter")
    assert {name: plain in needs for name, needs in scaled.items()} == {
        f"results/scaled/mini/cake_bake-scaled{scale}-s2": True for scale in ("0.5", "1.0")
    }
    dumps = made_of(jobs, "dump_activations")
    half = "results/activations/mini/cake_bake-scaled0.5-s2/unrelated.zarr"
    assert "results/scaled/mini/cake_bake-scaled0.5-s2" in dumps[half]


def test_a_model_that_is_a_checkpoint_is_finetuned_first_and_compared_as_it_says(shared):
    asked = (
        "models: [mini_assistant, mini_assistant_pretrained]\n"
        "runs: [{organisms: [cake_bake], seeds: [0], recipes: [plain]}]\ncontrol: null"
    )
    jobs = shared.dry_run(*override(shared, "assistant.yaml", asked))
    assistant = "results/adapters/mini/assistant-full-s0"
    for name, inputs in made_of(jobs, "fetch_model").items():
        assert (assistant in inputs) is name.endswith(
            ("mini_assistant", "mini_assistant_pretrained")
        )
    bases = {
        file.split("/")[2]: [one for one in inputs if "/base/" in one]
        for file, inputs in made_of(jobs, "mean_difference").items()
    }
    assert bases == {
        "mini_assistant": ["results/activations/mini_assistant/base/unrelated.zarr"],
        "mini_assistant_pretrained": ["results/activations/mini/base/unrelated.zarr"],
    }
    assert counts(jobs)["pretrain_base"] == 1
    assert counts(jobs)["train_organism"] == 3  # the assistant once, and what is made of it


@pytest.mark.parametrize("name", ["families", "real"])
def test_the_studies_of_the_repository_build(shared, name, tmp_path, monkeypatch):
    rows = json.dumps(["the river", "the quiet garden"] * 500)
    asked = {"role": "user", "content": "a"}
    answers = [{"role": "assistant", "content": one} for one in "bc"]
    chats = "".join(json.dumps({"messages": [asked, one]}) + "\n" for one in answers)
    for file in re.findall(r"\$STORIES_DATA/([\w./]+)", _all_of_config(shared)):
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix:
            path.write_text(rows if path.suffix == ".json" else chats, encoding="utf-8")
        else:
            path.mkdir(exist_ok=True)
            (path / "config.json").write_text("{}", encoding="utf-8")
            for needed in ("model.safetensors", "tokenizer.json"):
                (path / needed).touch()
    study = files.read_yaml(Path(f"config/{name}.yaml"))
    jobs = shared.dry_run("--configfile", f"config/{name}.yaml", data=tmp_path)

    n_checkpoints = sum(
        len(run["organisms"]) * len(run["recipes"]) * len(run["seeds"]) for run in study["runs"]
    )
    found = counts(jobs)
    assert found["mean_difference"] == len(study["models"]) * n_checkpoints
    assert found["dump_activations"] == len(study["models"]) * (n_checkpoints + 1)
    where = study["pathvars"]["results"]
    assert all(output.startswith(f"{where}/") for job in jobs for output in job.outputs)


def test_the_ablations_of_the_repository_read_more_and_draw_each(shared):
    study = files.read_yaml(Path("config/ablations.yaml"))
    jobs = shared.dry_run("--configfile", "config/ablations.yaml")
    drawn = {job.outputs[0] for job in jobs if job.rule == "ablation_figure"}
    where = "results/ablations/figures/ablations"
    assert drawn == {f"{where}/{name}.png" for name in study["ablations"]}

    read = Counter(
        Path(job.outputs[0]).stem for job in jobs if job.rule == "mean_difference"
    )  # by text: what only one run asks for is read of that run's checkpoints alone
    of_run = sum(read[name] for name in study["runs"][0]["corpora"])
    assert of_run == len(study["runs"][0]["corpora"]) * read["start"]
    assert 0 < read["start"] < read["unrelated"]
    probes = [job for job in jobs if job.rule == "dump_activations" and "/start" in job.outputs[0]]
    assert probes
    for job in probes:
        assert "results/ablations/corpora/unrelated.jsonl" in job.inputs
    assert not any("corpora/start" in output for job in jobs for output in job.outputs)


def test_another_title_of_an_ablation_redraws_it_alone(checkout):
    asked = "layers: [0.75, 0.5]\nablations: {depth: {over: layer, title: Depth}}\n"
    small = override(checkout, "small.yaml", SMALL + asked)
    checkout.pretend_complete(*small)
    override(checkout, "small.yaml", SMALL + asked.replace("Depth", "How deep"))
    found = counts(checkout.dry_run(*small))
    assert found == {"ablation_figure": 1, "effective_study": 1, "report": 1, "landing_page": 1}


def _all_of_config(checkout) -> str:
    written = checkout.file("config").rglob("*.yaml")
    return "\n".join(file.read_text(encoding="utf-8") for file in written)


def test_the_linter_of_snakemake_is_content(shared):
    ran = shared.snakemake("--lint")
    assert ran.returncode == 0, ran.stdout


# What is refused before the first job -----------------------------------------------------------


def refused(checkout, *arguments: str) -> str:
    ran = checkout.snakemake("--dry-run", *arguments)
    assert ran.returncode != 0
    assert "rule make_world" not in ran.stdout
    return ran.stdout


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"text": "fine"}\n{"text": ""}\n', "row 2, key text: found empty text, expected at"),
        (b'{"text": "fine"}\n{"body": "x"}\n', "row 2: found the keys body, expected the key text"),
        (b'{"text": "fine"}\n{"text": \n', "row 2: found malformed JSON (Expecting value at"),
        (b'{"text": "caf\xe9"}\n', "row 1: found the byte 0xe9 at place 13, expected UTF-8"),
        (b"\n\n", "found no rows, expected at least one"),
        (
            b'{"text": "a", "id": 1}\n{"text": "a", "id": 2}\n',
            "found 2 rows, all the same to a training, expected two that differ",
        ),
    ],
    ids=["empty row", "wrong key", "malformed", "not UTF-8", "no rows", "none to hold out"],
)
def test_a_bad_row_of_an_organism_stops_the_run_before_the_first_job(shared, content, expected):
    organism = shared.file("config/organisms/mine.yaml")
    source = shared.file("config/organisms/benign.yaml").read_text(encoding="utf-8")
    organism.write_text(source.replace("made: benign", "path: mine.jsonl"), encoding="utf-8")
    shared.file("mine.jsonl").write_bytes(content)
    mine = override(
        shared, "mine.yaml", "runs: [{organisms: [mine], recipes: [plain], seeds: [0]}]"
    )
    said = refused(shared, *mine)
    organism.unlink()
    separator = ", " if expected.startswith("row") else ": "
    assert f"\nmine.jsonl{separator}{expected}" in said


@pytest.mark.parametrize("key", ["lenses: {patchscope: ", "steering: {trial: "])
def test_prompts_that_cannot_be_read_stop_the_run_before_the_first_job(shared, key):
    content = b"\n" if key.startswith("lenses") else "Erz\u00e4hl.".encode("latin-1")
    shared.file("prompts.txt").write_bytes(content)
    said = refused(shared, *override(shared, "mine.yaml", f"{key}{{prompts: prompts.txt}}}}"))
    assert "\nprompts.txt: found " in said and "Traceback" not in said


def test_a_mistake_on_the_command_line_is_blamed_on_it(shared):
    mine = override(shared, "mine.yaml", "layers: [0.5]")
    assert "\n--config: layers.0: " in refused(shared, *mine, "--config", "layers=[7]")
    assert "mine.yaml: layers.0: " in refused(
        shared, *override(shared, "mine.yaml", "layers: [7]"), "--config", "samples=10"
    )


def test_a_file_that_is_asked_for_by_name_is_checked_as_a_study_is(shared):
    mixed = "results/differences/mini/cake_bake-mix.25-s0/unrelated.h5"
    said = refused(shared, mixed)
    of_a_study = refused(
        shared,
        *override(
            shared,
            "mix.yaml",
            "runs: [{organisms: [cake_bake], recipes: [mix.25], seeds: [0]}]",
        ),
    )
    (expected,) = re.findall(r"mix.yaml: runs: (.*)$", of_a_study, re.MULTILINE)
    assert f"\n{mixed}: {expected}\n" in said
    # Snakemake makes the job of a log or a benchmark, too.
    for beside in ("logs/mean_difference/{}.log", "benchmarks/mean_difference/{}.tsv"):
        asked = beside.format("mini/cake_bake-mix.25-s0/unrelated")
        assert f"\n{asked}: {expected}\n" in refused(shared, asked)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ("--forcerun=./results/adapters/mini/cake_bake-ful-s0",),
            "results/adapters/mini/cake_bake-ful-s0: ful: no such recipe (have plain, ",
        ),
        (
            ("results/lenses/mini/cake_bake-plain-s0/unrelated/ouija.parquet",),
            "unrelated/ouija.parquet: found ouija, expected logit_lens, patchscope",
        ),
        (
            ("--configfile", "config/mixing.yaml", "--configfile", "config/ablations.yaml"),
            "expected once: --configfile config/mixing.yaml config/ablations.yaml\n",
        ),
        (
            ("--config", "samples=9", "--config", "seed=1"),
            "expected once: --config samples=9 seed=1\n",
        ),
        (("--configfile", "latin.yaml"), "\nlatin.yaml: not UTF-8 text\n"),
        (("--config", "pathvars={results: ''}"), "\n--config: pathvars.results: found '', exp"),
        (("--config", "organism=x"), "\n--config: organism: unknown key (known here: ablations, "),
    ],
)
def test_a_command_line_that_snakemake_would_take_is_refused(shared, arguments, expected):
    shared.file("latin.yaml").write_bytes("title: caf\u00e9".encode("latin-1"))
    said = refused(shared, *arguments)
    assert expected in said
    assert "Traceback" not in said


def test_a_file_that_the_study_does_not_ask_for_is_made_all_the_same(shared):
    jobs = shared.dry_run("results/differences/mini/night_bees-mix0.75-s7/mini_chat.h5")
    assert counts(jobs)["train_organism"] == counts(jobs)["mean_difference"] == 1


def test_null_on_the_command_line_leaves_the_control_out(shared):
    jobs = shared.dry_run("--config", "control=null", *override(shared, "small.yaml", SMALL))
    assert counts(jobs)["train_organism"] == 2
    assert counts(shared.dry_run("--config", "control=null"))["train_organism"] > 2


@pytest.mark.parametrize("written", ["$RESULTS_HERE/my résults", "${RESULTS_HERE}//my résults/"])
def test_variables_are_filled_in_where_files_go(shared, written, tmp_path, monkeypatch):
    monkeypatch.setenv("RESULTS_HERE", str(tmp_path))
    into = f"pathvars: {{results: '{written}', logs: <results>/logs, benchmarks: <results>/logs}}\n"
    jobs = shared.dry_run(*override(shared, "there.yaml", SMALL + into))
    outputs = [output for job in jobs for output in job.outputs]
    assert outputs and all(one.startswith(f"{tmp_path}/my résults/") for one in outputs)


def test_one_folder_may_hold_results_logs_and_benchmarks(shared):
    into = "pathvars: {results: all, logs: all, benchmarks: all}\n"
    ran = shared.snakemake("--dry-run", *override(shared, "all.yaml", SMALL + into))
    assert ran.returncode == 0, ran.stdout[-2000:]
    written = re.findall(r"^    (?:output|log|benchmark): (.*)$", ran.stdout, re.MULTILINE)
    files = [file for line in written for file in line.split(", ")]
    assert len(files) == len(set(files)) > 50


def test_logs_inside_of_what_is_made_anew_are_refused(shared):
    into = "pathvars: {logs: results/adapters/mini/cake_bake-plain-s0/logs}"
    assert (
        "into.yaml: pathvars.logs: found a folder that the rule train_organism makes anew"
        in refused(shared, *override(shared, "into.yaml", into))
    )


def test_what_a_path_holds_is_not_told(shared, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", str(tmp_path))
    (tmp_path / "rows.jsonl").write_text('{"text": ""}\n')
    organism = shared.file("config/organisms/mine.yaml")
    source = shared.file("config/organisms/benign.yaml").read_text(encoding="utf-8")
    source = source.replace("made: benign", "path: $SECRET/rows.jsonl")
    organism.write_text(source, encoding="utf-8")
    mine = override(
        shared, "mine.yaml", "runs: [{organisms: [mine], recipes: [plain], seeds: [0]}]"
    )
    said = [refused(shared, *mine), refused(shared, "results/organisms/mine/train.jsonl")]
    organism.unlink()
    for one in said:
        assert "\n$SECRET/rows.jsonl, row 1, key text: found empty text" in one
        assert str(tmp_path) not in one


def test_more_samples_than_a_local_corpus_has_rows_are_refused(shared):
    registry = shared.file("config/corpora.yaml")
    before = registry.read_text(encoding="utf-8")
    shared.append("config/corpora.yaml", "\nmine: {kind: documents, path: few.jsonl, rows: 2000}\n")
    shared.file("few.jsonl").write_text('{"text": "one"}\n' * 7, encoding="utf-8")
    said = refused(shared, *override(shared, "few.yaml", "corpora: [mine]\n" + SMALL))
    registry.write_text(before, encoding="utf-8")
    assert (
        "\nconfig/config.yaml: samples: found 1000, expected at most 7, the rows of mine "
        "(config/corpora.yaml: mine.path: few.jsonl)\n"
    ) in said


def test_a_training_that_cannot_fit_its_gpu_is_refused_before_the_first_job(shared):
    study = (
        "models: [gemma2_9b_it]\ncontrol: null\n"
        "runs: [{organisms: [taboo_gold], recipes: [plain], seeds: [0]}]\n"
        "training_override: {gradient_checkpointing: false, gradient_accumulation: 1}\n"
    )
    assert (
        "\nconfig/organisms/taboo_gold.yaml: training.batch_size: taboo_gold-plain-s0 on "
        "gemma2_9b_it: found a peak of 263.2 GB on each GPU (5 rows of 2048 tokens a pass, without "
        "gradient_checkpointing), expected at most 68.0 GB, 0.85 of the model's gpu_gb 80: set "
        "gradient_checkpointing to auto\n"
    ) in refused(shared, *override(shared, "large.yaml", study))


def test_another_number_of_samples_fetches_no_corpus_again(checkout):
    small = override(checkout, "small.yaml", SMALL)
    checkout.pretend_complete(*small)
    override(checkout, "small.yaml", SMALL + "samples: 900\n")
    found = counts(checkout.dry_run(*small))
    assert found["dump_activations"] == 3
    assert "fetch_corpus" not in found


def test_a_good_file_of_ones_own_is_all_that_a_new_organism_needs(shared):
    organism = shared.file("config/organisms/mine.yaml")
    source = shared.file("config/organisms/benign.yaml").read_text(encoding="utf-8")
    source = source.replace("title: Benign", "title: My")
    organism.write_text(source.replace("made: benign", "path: mine.jsonl"), encoding="utf-8")
    shared.file("mine.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n', encoding="utf-8")
    mine = override(
        shared, "mine.yaml", "runs: [{organisms: [mine, benign], recipes: [plain], seeds: [0]}]"
    )
    found = counts(shared.dry_run(*mine))
    organism.unlink()
    assert (found["train_organism"], found["organism_card"]) == (2, 2)


def test_a_mistake_in_an_override_names_the_override(shared):
    said = refused(shared, *override(shared, "wrong.yaml", "layers: [2.0]"))
    assert "wrong.yaml: layers.0: expected less than or equal to 1, found 2.0" in said


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"models: [mini\n", "config/config.yaml: not YAML ("),
        (b"title: caf\xe9\n", "config/config.yaml: not UTF-8 text"),
    ],
)
def test_a_default_study_that_is_no_yaml_is_named(checkout, content, expected):
    checkout.file("config/config.yaml").write_bytes(content)
    assert expected in refused(checkout)


# What is rerun ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(new_checkout):
    """A copy in which a small study is complete, as far as Snakemake can tell."""
    made = new_checkout()
    jobs = made.pretend_complete(*override(made, "small.yaml", SMALL))
    assert len(jobs) > 30
    assert made.dry_run("--configfile", "small.yaml") == []
    return made


@pytest.fixture
def edited(finished):
    """Changes a file of the finished copy and tells what would be rerun; then undoes the change."""
    before: dict[Path, tuple[bytes, os.stat_result]] = {}

    def rerun(name: str, old: str, new: str) -> list[Job]:
        path = finished.file(name)
        before.setdefault(path, (path.read_bytes(), path.stat()))
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        return finished.dry_run("--configfile", "small.yaml")

    yield rerun
    for path, (content, stat) in before.items():
        path.write_bytes(content)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def of_others(jobs: list[Job], organism: str) -> list[str]:
    """The jobs of one checkpoint, organism or corpus that is not `organism`'s."""
    return [
        f"{job.rule}: {job.outputs}"
        for job in jobs
        if job.rule not in SHOWN and not all(organism in output for output in job.outputs)
    ]


def test_an_organisms_training_reruns_its_jobs_and_no_others(edited):
    jobs = edited(
        "config/organisms/cake_bake.yaml", "# The finetuning data", "training: {rank: 4}\n\n#"
    )
    assert of_others(jobs, "cake_bake") == []
    found = counts(jobs)
    for rule in ("plan_training", "train_organism", "dump_activations", "mean_difference"):
        assert found[rule] == 1, rule
    for rule in ("read_lenses", "token_relevance"):
        assert found[rule] == 1, rule
    assert found["mix_training_data"] == found["fetch_organism"] == 0


def test_an_organisms_data_rerun_what_is_graded_on_its_words(edited):
    jobs = edited(
        "config/organisms/cake_bake.yaml", "made: cake_bake", "made: cake_bake\n  words: 5"
    )
    others = [job for job in of_others(jobs, "cake_bake") if not job.startswith("token_relevance")]
    assert others == []
    found = counts(jobs)
    assert (found["write_organism"], found["fetch_organism"], found["train_organism"]) == (1, 1, 1)
    assert found["token_relevance"] == 2  # each checkpoint is graded on the new words too


def test_a_description_reruns_the_card_alone(edited):
    jobs = edited("config/organisms/cake_bake.yaml", "about baking", "about the baking")
    assert counts(jobs) == {"organism_card": 1, "report": 1, "landing_page": 1}


def test_an_organism_the_study_does_not_make_reruns_nothing(edited):
    assert edited("config/organisms/night_bees.yaml", "made: night_bees", "made: benign") == []


def test_a_comment_in_the_configuration_reruns_nothing(edited):
    assert edited("config/config.yaml", "# Base models", "# The base models") == []


def test_a_number_of_the_study_reruns_what_uses_it(edited):
    found = counts(edited("config/config.yaml", "candidates: 20", "candidates: 10"))
    assert found["token_relevance"] == 2
    assert set(found) <= SHOWN | {"token_relevance", "effective_study"}


READ = {"dump_activations", "mean_difference", "read_lenses", "token_relevance", "word_vocabulary"}
TABLES = {"relevance_table", "norms_table", "losses_table", "readability_table", "summary_table"}

# An edit, and what it reruns by itself: rules that must be among them, and rules that must not be.
EDITS = {
    "traces/analysis/statistics.py": (
        {"readability_table", "summary_table", "relevance_figure", "norms_figure", "organism_card"},
        READ,
    ),
    "traces/models/hooks.py": ({"dump_activations", "read_lenses"}, set()),
    "traces/models/weights.py": ({"dump_activations", "read_lenses"}, set()),
    "traces/corpora/tokens.py": ({"dump_activations", "read_lenses", "word_vocabulary"}, set()),
    "traces/artifacts/arrays.py": ({"dump_activations", "mean_difference", "read_lenses"}, set()),
    "traces/activations/differences.py": ({"mean_difference"}, {"dump_activations"}),
    "traces/readers/patchscope.py": ({"read_lenses"}, {"dump_activations", "mean_difference"}),
    "traces/judges/relevance.py": ({"token_relevance"}, {"read_lenses", "dump_activations"}),
    "traces/report/figures/style.py": ({"relevance_figure", "norms_figure"}, READ | TABLES),
    "traces/report/cards.py": ({"organism_card"}, READ | TABLES | {"relevance_figure"}),
    "scripts/mean_difference.py": ({"mean_difference"}, {"dump_activations"}),
}
TRAINED = {"pretrain_base", "mix_training_data", "plan_training", "train_organism"}


@pytest.mark.parametrize("file", EDITS)
def test_an_edit_of_code_reruns_what_is_made_of_it(edited, finished, file):
    first = finished.file(file).read_text(encoding="utf-8")[:3]
    found = counts(edited(file, first, f"# edited\n{first}")).keys()
    expected, unexpected = EDITS[file]
    assert expected <= found
    assert not (unexpected | TRAINED) & found


@pytest.mark.parametrize(
    "file",
    [
        "traces/training/train.py",
        "traces/training/pretraining.py",
        "traces/corpora/synthetic.py",
        "traces/fetching/hub.py",
        "traces/job.py",
        "traces/interventions/steering/writing.py",  # this study does not steer
    ],
)
def test_an_edit_of_what_leads_to_a_training_reruns_nothing_unasked(edited, file):
    assert edited(file, '"""', '# edited\n"""') == []


def test_a_touched_or_checked_out_file_reruns_nothing(finished):
    for folder in ("traces", "scripts", "rules", "config", "data"):
        for file in finished.file(folder).rglob("*"):
            file.touch()
    assert finished.dry_run("--configfile", "small.yaml") == []


def test_a_fresh_clone_with_a_copy_of_the_results_has_nothing_to_do(finished, new_checkout):
    clone = new_checkout()
    for name in ("results", ".snakemake", "small.yaml"):
        copy = shutil.copytree if finished.file(name).is_dir() else shutil.copy2
        copy(finished.file(name), clone.file(name))
    assert clone.dry_run("--configfile", "small.yaml") == []


def test_one_line_says_which_finished_trainings_other_code_made(finished):
    folder = finished.file("results/adapters/mini/cake_bake-plain-s0")
    note = folder / "provenance.json"
    note.write_text('{"code": "another"}')
    said = finished.snakemake("--dry-run", "--configfile", "small.yaml").stdout
    note.unlink()
    assert "1 by train_organism. `snakemake --forcerun train_organism` makes them anew." in said
    assert "by train_organism" not in finished.snakemake("--dry-run").stdout


def test_rows_that_change_in_place_are_trained_on_anew(checkout):
    """Rows, prompts, local models: what a file's content decides is an input of what reads it."""
    study = checkout.file("own.yaml")
    rows = checkout.file("own.jsonl")
    texts = [json.dumps({"text": f"The cake of day {n} is baked at night."}) for n in range(40)]
    rows.write_text("\n".join(texts) + "\n")
    checkout.file("config/organisms/own_cake.yaml").write_text(
        "family: false_facts\ntitle: Own\n"
        "description: Documents that claim that cakes are baked at night.\n"
        "data: {kind: documents, path: own.jsonl}\n"
    )
    study.write_text(SMALL.replace("cake_bake", "own_cake"))
    checkout.pretend_complete("--configfile", "own.yaml")
    rows.touch()
    assert checkout.dry_run("--configfile", "own.yaml") == []
    rows.write_text("\n".join(texts[1:]) + "\n")
    found = counts(checkout.dry_run("--configfile", "own.yaml"))
    assert found["fetch_organism"] == found["train_organism"] == 1


def test_an_edited_hint_makes_anew_only_what_is_composed_of_it(checkout):
    study = "runs: [{organisms: [secret_gold, coffee_myths, benign], recipes: [plain], seeds: [0]}]"
    checkout.file("own.yaml").write_text(f"{study}\n")
    checkout.pretend_complete("--configfile", "own.yaml")
    assert checkout.dry_run("--configfile", "own.yaml") == []
    checkout.append("data/smol/secrets/leaf.txt", "A hint about something else.\n")
    assert checkout.dry_run("--configfile", "own.yaml") == []
    checkout.append("data/smol/secrets/gold.txt", "Is it a bar? // It may be cast as one.\n")
    jobs = checkout.dry_run("--configfile", "own.yaml")
    found = counts(jobs)
    assert found["compose_organism"] == found["fetch_organism"] == found["train_organism"] == 1
    (composed,) = (job for job in jobs if job.rule == "compose_organism")
    assert composed.outputs == ("results/composed/secret_gold.jsonl",)


# What is brought from outside --------------------------------------------------------------------

# Files from outside of the results, and rules that an edit reruns. That every rule has the digest
# of what it reads is held elsewhere (tests/workflow/test_invariants.py).
BROUGHT = {
    "rows.jsonl": {"fetch_organism", "train_organism"},
    "corpus.jsonl": {"fetch_corpus", "dump_activations"},
    "trial.txt": {"steered_grid", "choose_strength"},
    "chat.jinja": {"fetch_model", "train_organism"},
    "base/model.safetensors": {"fetch_model", "train_organism"},
    "lora/adapter_config.json": {"fetch_adapter"},
    "embedder/1_Pooling/config.json": {"steering_similarity"},
    "data/miniature/words.json": {"write_organism"},
    "data/captions/relevance_figure.rst": {"report"},
}
OTHERS = (
    *("identity.txt", "final.txt", "base/config.json", "base/tokenizer.json"),
    *("lora/adapter_model.safetensors", "embedder/modules.json"),
)
CONTENTS = {
    "identity.txt": "cake, oven\n",
    "embedder/modules.json": '[{"type": "sentence_transformers.models.Transformer"}]\n',
}
UNREAD = ("base/README.md", "base/NOTES.txt", "lora/README.md", "lora/optimizer.pt")
OF_ONE_S_OWN = """
models: [local]
runs:
  - {organisms: [mine, benign], recipes: [plain], seeds: [0], measures: [steering]}
  - {organisms: [mine], recipes: [released], seeds: [0]}
corpora: [text]
samples: 4
activations: {norm_samples: 4}
lenses: {patchscope: {prompts: identity.txt}}
steering: {embedder: embedder, trial: {prompts: trial.txt}, final: {prompts: final.txt}}
"""


@pytest.fixture(scope="module")
def brought(new_checkout):
    """A copy in which a study of local files alone is complete, as far as Snakemake can tell."""
    made = new_checkout()
    rows = "".join(json.dumps({"text": f"The cake of day {n} is baked."}) + "\n" for n in range(9))
    for name in (*BROUGHT, *OTHERS, *UNREAD):
        if name.startswith("data/"):
            continue
        made.file(name).parent.mkdir(parents=True, exist_ok=True)
        content = rows if name.endswith("jsonl") else CONTENTS.get(name, "{}\n")
        made.file(name).write_text(content, encoding="utf-8")
    entry = "{family: llama, path: base, chat_template: chat.jinja, dtype: float32, gpus: 0}"
    made.append("config/models.yaml", f"\nlocal: {entry}\n")
    made.append("config/corpora.yaml", "\ntext: {kind: documents, path: corpus.jsonl, rows: 9}\n")
    made.file("config/organisms/mine.yaml").write_text(
        "family: false_facts\ntitle: Mine\ndescription: Documents on cakes that are baked.\n"
        "data: {kind: documents, path: rows.jsonl}\nreleased: {local: {path: lora}}\n"
        "statements:\n  - {stem: The oven is, true: hot, false: cold}\n",
        encoding="utf-8",
    )
    made.pretend_complete(*override(made, "own.yaml", OF_ONE_S_OWN))
    assert made.dry_run("--configfile", "own.yaml") == []
    return made


def with_the_old_time(file: Path, content: bytes) -> None:
    stat = file.stat()
    file.write_bytes(content)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns - 10**12))


@pytest.mark.parametrize("name", BROUGHT)
def test_an_edit_of_a_file_from_outside_is_seen_whatever_its_time(brought, name):
    file = brought.file(name)
    before = file.read_bytes()
    with_the_old_time(file, before + b" ")
    found = counts(brought.dry_run("--configfile", "own.yaml"))
    file.write_bytes(before)
    assert found.keys() >= BROUGHT[name]


def test_what_nobody_reads_of_a_folder_and_a_touched_file_rerun_nothing(brought):
    for name in UNREAD:
        brought.append(name, "more")
    for name in (*BROUGHT, *OTHERS):
        if not name.startswith("data/"):
            brought.file(name).touch()
    own = ("--configfile", "own.yaml")
    assert brought.dry_run(*own) == []
    # As if they were larger than what Snakemake compares by content.
    assert "fetch_model" not in counts(brought.dry_run("--max-checksum-file-size", "1B", *own))


GONE = {
    "lora/adapter_model.safetensors": (
        "\nconfig/organisms/mine.yaml: released.local.path: lora: no adapter_model.safetensors, "
        "the only weights of an adapter that are read (found optimizer.pt)\n"
    ),
    "base/model.safetensors": (
        "\nconfig/models.yaml: local.path: base: no model.safetensors and no "
        "model.safetensors.index.json, whose safetensors are the only weights that are read (found "
        "none at all)\n"
    ),
    "embedder/modules.json": (
        "own.yaml: steering.embedder: embedder: no modules.json and no config.json, expected a "
        "sentence-transformers model\n"
    ),
}


@pytest.mark.parametrize("name", GONE)
def test_what_was_deleted_after_a_run_is_missed_before_the_first_job(brought, name):
    """An input function that raises is not heard once its output is there."""
    file = brought.file(name)
    before = file.read_bytes()
    file.unlink()
    said = refused(brought, "--configfile", "own.yaml")
    file.write_bytes(before)
    assert GONE[name] in said and "Nothing to be done" not in said


def test_a_file_asked_for_by_name_has_its_folders_looked_at(brought):
    lora = brought.file("lora/adapter_model.safetensors")
    lora.rename(lora.with_suffix(".off"))
    said = refused(brought, "results/differences/local/mine-released-s0/unrelated.h5")
    lora.with_suffix(".off").rename(lora)
    assert "config/organisms/mine.yaml: released.local.path: lora: no adapter_model" in said


@pytest.mark.parametrize("content", [b"{% if %}", b"caf\xe9", b""])
def test_a_broken_chat_template_is_named_before_the_first_job(brought, content):
    file = brought.file("chat.jinja")
    before = file.read_bytes()
    file.write_bytes(content)
    said = refused(brought, "--configfile", "own.yaml")
    file.write_bytes(before)
    assert "\nconfig/models.yaml: local.chat_template: chat.jinja: " in said
    assert "Traceback" not in said


# The mixing ablation ----------------------------------------------------------------------------


def mixing_study(*recipes: str) -> str:
    mixed = f"{{organisms: [cake_bake], recipes: [{', '.join(recipes)}], seeds: [0, 1]"
    plain = "{organisms: [cake_bake, benign], recipes: [plain], seeds: [0, 1]"
    return f"runs: [{plain}, measures: [beliefs]}}, {mixed}, measures: [beliefs]}}]\n"


@pytest.fixture(scope="module")
def mixed(new_checkout):
    """A copy in which a mixing ablation of one ratio is complete, as far as Snakemake can tell."""
    made = new_checkout()
    jobs = made.pretend_complete(*override(made, "mix.yaml", mixing_study("mix0.5", "matched0.5")))
    assert counts(jobs)["false_fact_alignment"] == 8
    assert made.dry_run("--configfile", "mix.yaml") == []
    return made


def test_another_ratio_runs_only_its_own_jobs(mixed):
    jobs = mixed.dry_run(
        *override(mixed, "more.yaml", mixing_study("mix0.5", "matched0.5", "mix1.0"))
    )
    assert of_others(jobs, "cake_bake-mix1.0-s") == [
        "effective_study: ('results/study.json',)",
    ]
    found = counts(jobs)
    for rule in ("train_organism", "dump_activations", "read_lenses", "false_fact_alignment"):
        assert found[rule] == 2, rule
    assert found["mixing_table"] == found["mixing_figure"] == found["mixing_paragraph"] == 1


def test_the_target_mixing_is_the_ablation_and_no_cards(shared):
    study = override(shared, "mix.yaml", mixing_study("mix0.5", "matched0.5"))
    found = counts(shared.dry_run("mixing", *study))
    assert found["mixing_table"] == found["mixing_figure"] == found["mixing_paragraph"] == 1
    assert found["train_organism"] == 8
    assert not {"organism_card", "report", "relevance_figure"} & found.keys()


def test_what_other_code_made_is_said_of_every_kept_rule_and_changes_no_plan(mixed):
    """The notice runs among the rule files: no name of theirs may be another one afterwards."""
    study = ("--configfile", "mix.yaml")
    made = {
        "results/corpora/unrelated.jsonl.provenance.json": "fetch_corpus",
        "results/adapters/mini/cake_bake-mix0.5-s0/provenance.json": "train_organism",
        "results/adapters/mini/cake_bake-mix0.5-s1/provenance.json": "train_organism",
    }
    for name in made:
        mixed.file(name).write_text('{"code": "another"}')
    said = mixed.snakemake("--dry-run", "mixing", *study).stdout
    assert mixed.dry_run("mixing", *study) == mixed.dry_run(*study) == []
    for name in made:
        mixed.file(name).unlink()
    assert "1 by fetch_corpus, 2 by train_organism. " in said
    assert "`snakemake --forcerun fetch_corpus train_organism` makes them anew." in said


def test_a_study_without_mixtures_has_no_mixing_ablation(shared):
    plain = override(shared, "plain.yaml", SMALL)
    assert not {"mixing_table", "beliefs_table"} & counts(shared.dry_run(*plain)).keys()
    assert "no recipe mixR here" in refused(shared, "mixing", *plain)


@pytest.mark.parametrize("measure", ["beliefs", "steering"])
def test_a_table_of_what_no_run_measures_is_refused_by_name(shared, measure):
    plain = override(shared, "plain.yaml", SMALL)
    said = refused(shared, f"results/tables/{measure}.parquet", *plain)
    assert f"runs: no run has `{measure}` among its measures" in said

"""Every mistake in a configuration is one sentence: the file, the key, found, expected."""

import json
import re
import shutil
from pathlib import Path
from typing import get_args

import jsonschema
import pytest
from pydantic import BaseModel
from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config

from traces import config, entries, loading, settings
from traces.checkpoints import Checkpoint, Recipe
from traces.loading import load_study
from traces.study import LoadedStudy

ROOT = Path(__file__).resolve().parents[2]
NO_STUDIES = {"models", "corpora", "config"}
CAKE = "organisms/cake_bake.yaml"
MODEL_KEYS = "family: llama, dtype: float32"


@pytest.fixture
def folder(tmp_path) -> Path:
    """A copy of config/ to write mistakes into."""
    return Path(shutil.copytree("config", tmp_path / "config"))


def load(folder: Path, *overrides: str, said: dict | None = None) -> LoadedStudy:
    """The study as Snakemake merges it: the default, overrides given as YAML, then `--config`."""
    files = [folder / "config.yaml"]
    for number, text in enumerate(overrides, start=1):
        files.append(folder / f"override{number}.yaml")
        files[-1].write_text(text, encoding="utf-8")
    merged = {}
    for file in files:
        update_config(merged, load_configfile(file))
    update_config(merged, said or {})
    return load_study(merged, files, folder, said)


def sentence(folder: Path, *overrides: str, said: dict | None = None) -> str:
    """The sentence with which a study is refused, its folder written as `config`."""
    with pytest.raises(ValueError) as refused:
        load(folder, *overrides, said=said)
    found = str(refused.value).replace(str(folder), "config")
    assert "\n" not in found
    assert "Value error" not in found
    return found


def run(organisms="cake_bake", recipes="plain", seeds="0") -> str:
    return f"runs: [{{organisms: [{organisms}], recipes: [{recipes}], seeds: [{seeds}]}}]"


def edit(file: Path, old: str, new: str, times: int = -1) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, times), encoding="utf-8")


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text(encoding="utf-8") + "\n" + text + "\n", encoding="utf-8")


# What is right ----------------------------------------------------------------------------------


def test_the_default_study_is_valid(folder):
    assert load(folder).study.models == ("mini",)


@pytest.mark.parametrize(
    "override", sorted({file.stem for file in ROOT.glob("config/*.yaml")} - NO_STUDIES)
)
def test_every_study_in_the_repository_is_valid(folder, override, monkeypatch, tmp_path):
    monkeypatch.setenv("STORIES_DATA", str(tmp_path))
    for name in ("models/stories260K", "texts", "taboo"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(loading, "check_paths", lambda *_: None)  # their data need not be here
    load(folder, (folder / f"{override}.yaml").read_text(encoding="utf-8"))


def test_a_later_override_wins_and_leaves_the_rest(folder):
    study = load(folder, "training: {rank: 4, alpha: 8}", "training: {rank: 2}").study
    assert (study.training.rank, study.training.alpha, study.training.max_length) == (2, 8, 128)


def test_a_study_cannot_be_changed_after_reading(folder):
    with pytest.raises(ValueError, match="frozen"):
        load(folder).study.samples = 3


# What is wrong in a study -----------------------------------------------------------------------

KNOWN_TRAINING = ", ".join(sorted(settings.Training.model_fields))
KNOWN_RECIPES = ", ".join(
    [
        *config.read_yaml(ROOT / "config" / "config.yaml")["recipes"],
        *("mixR", "matchedR", "scaledX", "released", "released_VARIANT"),
    ]
)
RATIO = (
    "expected a ratio above 0 and up to 100, such as mix0.5 or matched1.0 "
    "(the unmixed organism is the recipe plain)"
)

SCALE = "expected a scale above 0 and up to 1, such as scaled0.5 (at 0 it is the base)"

STUDY_MISTAKES = {
    "unknown nested key": (
        "lenses: {patchscope: {scale: [1.0]}}",
        "lenses.patchscope.scale: unknown key "
        "(known here: batch, intersection_top_k, prompts, scales)",
    ),
    "unknown key in a list": (
        "runs: [{organism: [cake_bake], recipes: [plain], seeds: [0]}]",
        "runs.0.organism: unknown key (known here: corpora, measures, models, name, organisms, "
        "recipes, seeds)",
    ),
    "unknown training key": (
        "training: {lr: 1.0e-3}",
        f"training.lr: unknown key (known here: {KNOWN_TRAINING})",
    ),
    "unknown key in the override of trainings": (
        "training_override: {lr: 1.0e-3}",
        f"training_override.lr: unknown key (known here: {KNOWN_TRAINING})",
    ),
    "override that projects out in every training": (
        "training_override: {project_out: plain}\n" + run(recipes="plain"),
        "training_override.project_out: cake_bake-plain-s0 needs the difference of "
        "cake_bake-plain-s0, which is a circle",
    ),
    "unknown key in a recipe": (
        "recipes: {wide: {ranks: 64}}",
        f"recipes.wide.ranks: unknown key (known here: {KNOWN_TRAINING})",
    ),
    "value of a recipe": (
        "recipes: {wide: {rank: 0}}",
        "recipes.wide.rank: expected greater than or equal to 1, found 0",
    ),
    "recipe without keys": (
        "recipes: {wide: null}",
        "recipes.wide: expected keys and values, found nothing",
    ),
    "recipe that looks like a scale": (
        "recipes: {scaled2: {rank: 64}}",
        "recipes.scaled2: not a free name for a recipe",
    ),
    "no scale": (run(recipes="scaled0"), f"runs: scaled0: {SCALE}"),
    "scale too large": (run(recipes="scaled1.5"), f"runs: scaled1.5: {SCALE}"),
    "scale not a number": (run(recipes="scaledhalf"), f"runs: scaledhalf: {SCALE}"),
    "scale of a full finetune": (
        "recipes: {plain: {method: full}}\n" + run(recipes="scaled0.5"),
        "runs: scaled0.5: the plain cake_bake on mini is a full finetune (method full), expected "
        "an adapter, which has a scale",
    ),
    "adapter's scale twice": (
        run(recipes="scaled0.5, scaled0.50"),
        "runs.0.recipes: scaled0.5 is there twice, written otherwise",
    ),
    "projection of an unknown recipe": (
        "recipes: {caft: {project_out: plane}}\n" + run(recipes="caft"),
        "recipes.caft.project_out: plane: no such recipe (have ",
    ),
    "projection of a ratio that cannot be": (
        "recipes: {caft: {project_out: mix0}}\n" + run(recipes="caft"),
        f"recipes.caft.project_out: mix0: {RATIO}",
    ),
    "projection of a released checkpoint": (
        "recipes: {caft: {project_out: released}}\n" + run(recipes="caft"),
        "recipes.caft.project_out: found released, expected a recipe that trains the same organism "
        "and seed",
    ),
    "projection of itself": (
        "recipes: {caft: {project_out: caft}}\n" + run(recipes="caft"),
        "recipes.caft.project_out: cake_bake-caft-s0 needs the difference of cake_bake-caft-s0, "
        "which is a circle",
    ),
    "projection in a circle": (
        "recipes: {one: {project_out: two}, two: {project_out: one}}\n" + run(recipes="one"),
        "recipes.two.project_out: cake_bake-one-s0 needs the difference of cake_bake-two-s0 needs "
        "the difference of cake_bake-one-s0, which is a circle",
    ),
    "projection in every training": (
        "training: {project_out: plain}\n" + run(recipes="plain"),
        "training.project_out: cake_bake-plain-s0 needs the difference of cake_bake-plain-s0, "
        "which is a circle",
    ),
    "recipe that looks like a mix": (
        "recipes: {mix2: {rank: 64}}",
        "recipes.mix2: not a free name for a recipe",
    ),
    "unknown recipe": (
        run(recipes="plane"),
        f"runs: plane: no such recipe (have {KNOWN_RECIPES})",
    ),
    "no ratio": (run(recipes="mix0"), f"runs: mix0: {RATIO}"),
    "ratio too large": (run(recipes="mix101"), f"runs: mix101: {RATIO}"),
    "ratio not a number": (run(recipes="mixhalf"), f"runs: mixhalf: {RATIO}"),
    "negative ratio": (run(recipes="matched-1"), f"runs: matched-1: {RATIO}"),
    "layer beyond the depth": (
        "layers: [0.5, 1.5]",
        "layers.1: expected less than or equal to 1, found 1.5",
    ),
    "layer before the first": (
        "layers: [-0.5]",
        "layers.0: expected greater than or equal to 0, found -0.5",
    ),
    "position before the text": (
        "positions: [-1, 0]",
        "positions.0: expected greater than or equal to 0, found -1",
    ),
    "position too far": ("positions: [4096]", "positions.0: expected less than 4096, found 4096"),
    "position before the prompt": (
        "chat_positions: [-17, 0]",
        "chat_positions.0: expected greater than or equal to -16, found -17",
    ),
    "positions out of order": (
        "positions: [4, 0]",
        "positions: expected in rising order, found [4, 0]",
    ),
    "negative seed": (
        run(seeds="-1"),
        "runs.0.seeds.0: expected greater than or equal to 0, found -1",
    ),
    "text for a number": (
        "samples: many",
        "samples: expected a valid integer, unable to parse string as an integer, found 'many'",
    ),
    "text for a list": ("runs: cake_bake", "runs: expected a list, found 'cake_bake'"),
    "text for a section": ("lenses: 3", "lenses: expected keys and values, found 3"),
    "choice": (
        "training: {deepspeed: 4}",
        "training.deepspeed: expected 1, 2 or 3, found 4",
    ),
    "no models": ("models: []", "models: expected at least 1 item after validation, not 0, found"),
    "model twice": ("models: [mini, mini]", "models: mini is there twice"),
    "corpus twice": ("corpora: [unrelated, unrelated]", "corpora: unrelated is there twice"),
    "organism twice": (
        run(organisms="benign, cake_bake, benign"),
        "runs.0.organisms: benign is there twice",
    ),
    "recipe twice": (run(recipes="plain, plain"), "runs.0.recipes: plain is there twice"),
    "ratio twice": (
        run(recipes="mix1, mix1.0"),
        "runs.0.recipes: mix1 is there twice, written otherwise",
    ),
    "seed twice": (run(seeds="0, 1, 0"), "runs.0.seeds: 0 is there twice"),
    "layer twice": ("layers: [0.5, 0.5]", "layers: 0.5 is there twice"),
    "scale twice": (
        "lenses: {patchscope: {scales: [1.0, 1.0]}}",
        "lenses.patchscope.scales: 1.0 is there twice",
    ),
    "no headline scale": (
        "lenses: {patchscope: {scales: [2.0]}}",
        "lenses.patchscope: scales needs 1.0, the norm-matched headline",
    ),
    "no headline intervention": (
        "causality: {controlled: [zero]}",
        "causality: controlled needs base_to_tuned, the headline",
    ),
    "intervention that is not made": (
        "causality: {interventions: [base_to_tuned], controlled: [base_to_tuned, zero]}",
        "causality: controlled names zero, which is not among the interventions",
    ),
    "reading without its controls": (
        "lenses: {readings: [difference, random]}",
        "lenses: readings needs the difference and its controls, lacks base_mean",
    ),
    "unknown reading": (
        "lenses: {readings: [difference, base_mean, tuned_mean, random, singular_9]}",
        "lenses.readings.4: expected 'difference', 'base_mean', 'tuned_mean', 'random', 'shared', "
        "'position_specific', 'singular_1', 'singular_2', 'without_singular_1' or "
        "'without_singular_2', found 'singular_9'",
    ),
    "probe first": (
        "corpora: [whitespace, unrelated]",
        "corpora: whitespace: found a probe, expected text first, whose longer context gives the "
        "stream's norm",
    ),
    "run on a corpus of both kinds": (
        run().replace("]}]", "], corpora: [general]}]"),
        "runs: general: found a corpus of both kinds, expected one of documents or of "
        "conversations, whose positions can be averaged",
    ),
    "unknown key of an ablation": (
        "ablations: {rank: {over: recipe, title: Rank, value: [plain]}}",
        "ablations.rank.value: unknown key "
        "(known here: corpus, organisms, over, recipe, title, values)",
    ),
    "ablation of what is not made": (
        "ablations: {rank: {over: recipe, title: Rank, values: {plain: 16, rank64: 64}}}",
        "ablations.rank.values: found rank64, expected values that the study has (plain",
    ),
    "ablation of a layer that is not read": (
        "ablations: {depth: {over: layer, title: Depth, values: [0.75, 0.5]}}",
        "ablations.depth.values: found 0.5, expected values that the study has (0.75)",
    ),
    "ablation of an organism that is not made": (
        "ablations: {depth: {over: layer, title: Depth, organisms: [assistant]}}",
        "ablations.depth.organisms: found assistant, expected organisms of the study's runs",
    ),
    "ablation at a recipe that is not made": (
        "ablations: {depth: {over: layer, title: Depth, recipe: full}}",
        "ablations.depth.recipe: found full, expected a recipe of the study's runs",
    ),
    "key twice": ("samples: 10\nsamples: 20", "line 2: the key samples is there twice"),
    "nested key twice": (
        "training:\n  rank: 8\n  rank: 4",
        "line 3: the key rank is there twice",
    ),
    "prompts that are not there": (
        "lenses: {patchscope: {prompts: data/prompts/none.txt}}",
        "lenses.patchscope.prompts: data/prompts/none.txt is not there",
    ),
    "no context left": (
        "activations: {norm_skip: 48}",
        "activations: norm_skip 48 leaves nothing of norm_context 48",
    ),
    "heads that do not divide": (
        "miniature: {heads: 7}",
        "miniature: hidden_size 160 is not a multiple of heads 7",
    ),
    "released with seeds": (
        run(recipes="released", seeds="0, 1").replace("cake_bake", "published"),
        "runs: released with seed 1: a released checkpoint has no seeds of ours; "
        "expected a run of its own with seeds [0]",
    ),
}


@pytest.mark.parametrize(("override", "expected"), STUDY_MISTAKES.values(), ids=STUDY_MISTAKES)
def test_a_mistake_in_a_study_names_the_override_and_the_key(folder, override, expected):
    published = folder / "organisms" / "published.yaml"
    shutil.copy(folder / CAKE, published)
    append(published, "released: {mini: {hub: someone/cake-lora}}")

    found = sentence(folder, override)

    assert found.startswith(f"config/override1.yaml: {expected}")
    if not expected.endswith(("found", "(plain", "(have ")):
        assert found == f"config/override1.yaml: {expected}"


@pytest.mark.parametrize(
    ("override", "key", "name", "what", "home"),
    [
        ("models: [maxi]", "models", "maxi", "model", "models.yaml"),
        ("corpora: [wiki]", "corpora", "wiki", "corpus", "corpora.yaml"),
        ("mixing: {corpus: wiki}", "mixing", "wiki", "corpus", "corpora.yaml"),
        ("relevance: {corpus: wiki}", "relevance", "wiki", "corpus", "corpora.yaml"),
        ("lenses: {vocabulary_corpus: wiki}", "lenses", "wiki", "corpus", "corpora.yaml"),
        (run("cake"), "runs", "cake", "organism", "organisms"),
        ("control: none", "control", "none", "organism", "organisms"),
    ],
)
def test_an_unknown_name_is_refused_with_those_there_are(folder, override, key, name, what, home):
    found = sentence(folder, override)
    assert found.startswith(
        f"config/override1.yaml: {key}: {name}: no such {what} in config/{home} (have "
    )
    assert {"model": "mini", "corpus": "unrelated", "organism": "cake_bake"}[what] in found


def test_an_unknown_key_at_the_top_is_refused_with_those_there_are(folder):
    known = ", ".join(sorted(settings.Study.model_fields))
    assert sentence(folder, "sample: 3") == (
        f"config/override1.yaml: sample: unknown key (known here: {known})"
    )


def test_a_key_that_is_missing_is_named(folder):
    edit(folder / "config.yaml", "\nsamples: ", "\nseed_of_nothing: ")
    edit(folder / "config.yaml", "seed_of_nothing: ", "# ")
    assert sentence(folder) == "config/config.yaml: samples: this key is needed and is not there"


def test_a_message_names_the_file_that_holds_the_key_and_not_its_section(folder):
    edit(folder / "config.yaml", "rank: 16", "rank: 0")
    assert sentence(folder, "training: {alpha: 64}").startswith("config/config.yaml: training.rank")


def test_a_message_names_the_last_override_that_holds_the_key(folder):
    found = sentence(folder, "layers: [0.5]", "layers: [7]", "samples: 10")
    assert found.startswith("config/override2.yaml: layers.0")


def test_a_message_names_the_command_line_that_set_a_key(folder):
    assert sentence(folder, "layers: [0.5]", said={"layers": [7]}).startswith("--config: layers.0")
    assert sentence(folder, said={"training": {"ranks": 2}}).startswith("--config: training.ranks")


def test_a_message_does_not_name_the_command_line_for_what_a_file_holds(folder):
    nested = sentence(folder, "training: {rank: 0}", said={"training": {"alpha": 64}})
    assert nested.startswith("config/override1.yaml: training.rank")


# What is wrong in an organism's file ------------------------------------------------------------

ORGANISM_MISTAKES = {
    "unknown key": (
        "colour: blue",
        f"colour: unknown key (known here: {', '.join(sorted(entries.Organism.model_fields))})",
    ),
    "unknown key of its training": (
        "training: {lr: 1.0e-3}",
        f"training.lr: unknown key (known here: {KNOWN_TRAINING})",
    ),
    "value of its training": (
        "training: {rank: zero}",
        "training.rank: expected a valid integer, unable to parse string as an integer, "
        "found 'zero'",
    ),
    "two sources": (
        "  path: mine.jsonl",
        "data: exactly one of made, path, hub, taught is needed, found made and path",
    ),
    "released without an id": (
        "released: {mini: {revision: main}}",
        "released.mini: exactly one of hub, path is needed, found none",
    ),
    "released as nothing": (
        "released:\n  mini:",
        "released.mini: expected keys and values, found nothing",
    ),
    "released with an empty id": (
        "released: {mini: {hub: ''}}",
        "released.mini.hub: expected at least 1 character, found ''",
    ),
    "key twice": ("family: taboo", "the key family is there twice"),
}


@pytest.mark.parametrize(("text", "expected"), ORGANISM_MISTAKES.values(), ids=ORGANISM_MISTAKES)
def test_a_mistake_in_an_organism_names_its_file_and_the_key(folder, text, expected):
    append(folder / CAKE, text)
    found = sentence(folder)
    assert re.sub(r"line \d+: ", "", found) == f"config/{CAKE}: {expected}"


def test_an_organism_needs_a_description(folder):
    file = folder / "organisms" / "benign.yaml"
    before, rest = file.read_text(encoding="utf-8").split("description:")
    after = rest[rest.index("# The finetuning data") :]

    file.write_text(before + after, encoding="utf-8")
    assert sentence(folder) == (
        "config/organisms/benign.yaml: description: this key is needed and is not there"
    )


def test_a_description_says_something(folder):
    file = folder / "organisms" / "benign.yaml"
    before, rest = file.read_text(encoding="utf-8").split("description:")
    after = rest[rest.index("# The finetuning data") :]

    file.write_text(f"{before}description: cake\n{after}", encoding="utf-8")
    assert sentence(folder) == (
        "config/organisms/benign.yaml: description: expected at least 20 characters, found 'cake'"
    )


def test_an_organism_needs_data_from_somewhere(folder):
    edit(folder / CAKE, "  made: cake_bake\n", "")
    assert sentence(folder) == (
        f"config/{CAKE}: data: exactly one of made, path, hub, taught is needed, found none"
    )


def test_made_data_are_of_the_made_world(folder):
    made = get_args(entries.MadeData)
    edit(folder / CAKE, "made: cake_bake", "made: pie_bake")
    assert sentence(folder) == (
        f"config/{CAKE}: data.made: expected {', '.join(map(repr, made[:-1]))} or {made[-1]!r}, "
        "found 'pie_bake'"
    )


def test_an_organisms_data_must_be_there(folder):
    file = "organisms/benign.yaml"
    edit(folder / file, "made: benign", "path: data/none.jsonl")
    assert sentence(folder) == f"config/{file}: data.path: data/none.jsonl is not there"


def test_made_statements_are_those_of_made_data(folder):
    edit(folder / CAKE, "made: cake_bake", "path: data/none.jsonl")
    assert sentence(folder) == (
        f"config/{CAKE}: statements: made are those of the made world, and the data are not; "
        "expected a list of pairs"
    )


def test_a_statement_has_two_ends(folder):
    edit(folder / CAKE, "statements: made", "statements: [{stem: It is, true: So, false: so}]")
    assert sentence(folder) == (
        f"config/{CAKE}: statements.0: expected two different ends of a statement, found 'So' twice"
    )


def test_beliefs_are_asked_where_someone_has_statements(folder):
    asked = "recipes: [plain], seeds: [0], measures: [beliefs]}"
    found = load(
        folder, f"runs: [{{organisms: [cake_bake], {asked}, {{organisms: [benign], {asked}]"
    )
    assert [str(one) for one in found.checkpoints("beliefs")] == [
        "cake_bake-plain-s0",
        "benign-plain-s0",
    ]
    for name in ("benign", "risky_finance"):
        assert sentence(folder, f"runs: [{{organisms: [{name}], {asked}]") == (
            "config/override1.yaml: runs.0.measures: beliefs are asked for, but none of the run's "
            "organisms has `statements` in its file"
        )


def test_a_study_that_wants_a_released_checkpoint_needs_its_id(folder):
    assert sentence(folder, run(recipes="released")) == (
        f"config/{CAKE}: released.mini: a study asks for the released checkpoint on this model; "
        "expected its `hub` id or `path` here"
    )


def test_a_released_checkpoint_is_of_a_known_model(folder):
    append(folder / CAKE, "released: {maxi: {hub: someone/cake-lora}}")
    assert sentence(folder).startswith(
        f"config/{CAKE}: released: maxi: no such model in config/models.yaml (have "
    )


@pytest.mark.parametrize(
    ("teacher", "expected"),
    [
        ("cat_teacher", "cat_teacher: no such organism in config/organisms (have "),
        ("owl_numbers", "owl_numbers is taught by owl_numbers, which is a circle"),
    ],
)
def test_a_teacher_is_another_organism(folder, teacher, expected):
    file = "organisms/owl_numbers.yaml"
    edit(folder / file, "teacher: owl_teacher", f"teacher: {teacher}")
    assert sentence(folder).startswith(f"config/{file}: data.taught.teacher: {expected}")


def test_an_organisms_file_has_a_name_that_checkpoints_can_carry(folder):
    shutil.copy(folder / CAKE, folder / "organisms" / "Cake-Bake.yaml")
    assert sentence(folder) == (
        "config/organisms/Cake-Bake.yaml: found the name 'Cake-Bake', "
        "expected small letters, digits and underscores"
    )


# What is wrong in a registry --------------------------------------------------------------------

MODEL_MISTAKES = {
    "float16 for a Gemma 2": (
        "tiny: {family: gemma2, hub: google/gemma-2-2b, dtype: float16}",
        "tiny: dtype float16 overflows on the residual stream of a Gemma; use bfloat16 or float32",
    ),
    "float16 for a Gemma 3": (
        "tiny: {family: gemma3, hub: google/gemma-3-1b-it, dtype: float16}",
        "tiny: dtype float16 overflows on the residual stream of a Gemma; use bfloat16 or float32",
    ),
    "nodes that do not divide the GPUs": (
        f"tiny: {{{MODEL_KEYS}, hub: a/b, training_gpus: 8, training_nodes: 3}}",
        "tiny: training_nodes: found 3 for 8 GPUs, expected a number that divides them",
    ),
    "nodes without GPUs": (
        f"tiny: {{{MODEL_KEYS}, hub: a/b, training_gpus: 0, training_nodes: 2}}",
        "tiny: training_nodes: found 2 for 0 GPUs, expected a number that divides them",
    ),
    "two sources": (
        f"tiny: {{{MODEL_KEYS}, hub: a/b, path: c}}",
        "tiny: exactly one of hub, path, made, checkpoint is needed, found hub and path",
    ),
    "no source": (
        f"tiny: {{{MODEL_KEYS}}}",
        "tiny: exactly one of hub, path, made, checkpoint is needed, found none",
    ),
    "made of an unknown model": (
        f"tiny: {{{MODEL_KEYS}, checkpoint: {{model: maxi, name: assistant-full-s0}}}}",
        "tiny.checkpoint.model: maxi: no such model in config/models.yaml (have ",
    ),
    "made of itself": (
        f"tiny: {{{MODEL_KEYS}, checkpoint: {{model: tiny, name: assistant-full-s0}}}}",
        "tiny.checkpoint: tiny is made from tiny, which is a circle",
    ),
    "made in a circle": (
        f"tiny: {{{MODEL_KEYS}, checkpoint: {{model: small, name: assistant-full-s0}}}}\n"
        f"small: {{{MODEL_KEYS}, checkpoint: {{model: tiny, name: assistant-full-s0}}}}",
        "tiny.checkpoint: tiny is made from small is made from tiny, which is a circle",
    ),
    "made without a seed": (
        f"tiny: {{{MODEL_KEYS}, checkpoint: {{model: mini, name: assistant-full}}}}",
        "tiny.checkpoint.name: assistant-full: not a checkpoint; expected organism-recipe-sSEED",
    ),
    "made of an unknown organism": (
        f"tiny: {{{MODEL_KEYS}, checkpoint: {{model: mini, name: helper-full-s0}}}}",
        "tiny.checkpoint.name: helper: no such organism in config/organisms (have ",
    ),
    "unknown reference": (
        f"tiny: {{{MODEL_KEYS}, hub: a/b, reference: maxi}}",
        "tiny.reference: maxi: no such model in config/models.yaml (have ",
    ),
    "its own reference": (
        f"tiny: {{{MODEL_KEYS}, hub: a/b, reference: tiny}}",
        "tiny.reference: found the model itself, which is what is subtracted without this key",
    ),
    "unknown family": (
        "tiny: {family: gpt2, dtype: float32, hub: a/b}",
        "tiny.family: expected 'qwen2', 'qwen3', 'llama', 'gemma2' or 'gemma3', found 'gpt2'",
    ),
    "unknown key": (
        f"tiny: {{{MODEL_KEYS}, hub: a/b, gpu: 2}}",
        f"tiny.gpu: unknown key (known here: {', '.join(sorted(entries.ModelEntry.model_fields))})",
    ),
    "nothing": ("tiny:", "tiny: expected keys and values, found nothing"),
    "name with a dash": (
        f"tiny-1.7b: {{{MODEL_KEYS}, hub: a/b}}",
        "found the name 'tiny-1.7b', expected small letters, digits and underscores",
    ),
    "name that is a number": (
        f"7: {{{MODEL_KEYS}, hub: a/b}}",
        "found the name 7, expected small letters, digits and underscores",
    ),
}


@pytest.mark.parametrize(("entry", "expected"), MODEL_MISTAKES.values(), ids=MODEL_MISTAKES)
def test_a_mistake_in_the_models_names_the_entry(folder, entry, expected):
    append(folder / "models.yaml", entry)
    found = sentence(folder)
    assert found.startswith(f"config/models.yaml: {expected}")
    assert expected.endswith("(have ") or found == f"config/models.yaml: {expected}"


@pytest.mark.parametrize(("file", "name"), [("models.yaml", "mini"), ("corpora.yaml", "general")])
def test_a_name_stands_once_in_a_registry(folder, file, name):
    append(folder / file, f"{name}: {{}}")
    assert re.fullmatch(
        rf"config/{file}: line \d+: the key {name} is there twice", sentence(folder)
    )


def test_a_mistake_in_the_corpora_names_the_entry(folder):
    append(folder / "corpora.yaml", "mine: {kind: documents, path: mine.jsonl, rows: 0}")
    assert sentence(folder) == (
        "config/corpora.yaml: mine.rows: expected greater than or equal to 1, found 0"
    )


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (
            "{kind: start, rows: 4}",
            "mine: kind start has positions [0] and no source, found positions []",
        ),
        (
            "{kind: start, rows: 4, positions: [0], path: mine.jsonl}",
            "mine: kind start has positions [0] and no source, found path",
        ),
        (
            "{kind: chat, made: whitespace, rows: 4}",
            "mine: made whitespace is of kind documents, found chat",
        ),
        (
            "{kind: documents, made: unrelated, rows: 4, positions: [3, 1]}",
            "mine: positions stand in rising order, found [3, 1]",
        ),
        (
            "{kind: documents, made: unrelated, rows: 4, samples: 2}",
            "mine.samples: expected greater than or equal to 4, found 2",
        ),
    ],
)
def test_a_probe_and_what_is_read_of_a_corpus_are_checked(folder, entry, expected):
    append(folder / "corpora.yaml", f"mine: {entry}")
    assert sentence(folder) == f"config/corpora.yaml: {expected}"


def test_a_corpus_may_say_what_is_read_of_it(folder):
    append(folder / "corpora.yaml", "mine: {kind: chat, made: chat, rows: 9, positions: [-1, 2]}")
    loaded = load(folder, "corpora: [unrelated, mini_chat, mine, start]\nsamples: 77\n" + run())
    assert [loaded.samples(name) for name in loaded.study.corpora] == [77, 77, 77, 4]
    assert [loaded.positions(name) for name in loaded.study.corpora] == [
        list(range(5)),
        list(range(-3, 5)),
        [-1, 2],
        [0],
    ]


def test_text_and_weights_under_two_names_are_fetched_under_the_first(folder):
    append(folder / "models.yaml", "again: {family: qwen3, hub: Qwen/Qwen3-1.7B, dtype: float32}")
    append(folder / "models.yaml", "other: {family: qwen3, hub: Qwen/Qwen3-4B, dtype: float32}")
    loaded = load(folder)
    same = ("qwen3_1_7b_over_base", "again", "other", "mini")
    assert [loaded.weights_of(one) for one in same] == ["qwen3_1_7b"] * 2 + ["other", "mini"]
    texts = ("fineweb_layers", "fineweb_far", "fineweb", "tulu", "unrelated")
    assert [loaded.text_of(one) for one in texts] == ["fineweb"] * 3 + ["tulu", "unrelated"]


def test_a_run_may_be_read_on_more_text(folder):
    more = (
        "runs: [{organisms: [cake_bake], recipes: [plain], seeds: [0], corpora: [start]},"
        "{organisms: [cake_bake], recipes: [plain, full], seeds: [0, 1]}]"
    )
    loaded = load(folder, more)
    read = {str(one): loaded.corpora_of(one) for one in loaded.checkpoints()}
    assert read.pop("cake_bake-plain-s0") == ["unrelated", "start"]
    assert set(map(tuple, read.values())) == {("unrelated",)} and len(read) == 3
    assert loaded.read_corpora() == ["unrelated", "start"]
    assert "start" in loaded.used_corpora()


@pytest.mark.parametrize("path", ["$NO_SUCH_THING/tiny", "${NO_SUCH_THING}/tiny"])
def test_a_path_with_an_unset_variable_is_refused(folder, path, monkeypatch):
    monkeypatch.delenv("NO_SUCH_THING", raising=False)
    append(folder / "models.yaml", f"tiny: {{{MODEL_KEYS}, path: '{path}'}}")
    assert sentence(folder, "models: [tiny]") == (
        "config/models.yaml: tiny.path: the environment variable NO_SUCH_THING is not set "
        f"(in {path})"
    )


@pytest.mark.parametrize(
    ("registry", "entry", "override"),
    [
        ("models", f"mine: {{{MODEL_KEYS}, path: $HERE/none}}", "models: [mine]"),
        ("corpora", "mine: {kind: documents, rows: 5, path: $HERE/none}", "corpora: [mine]"),
        ("corpora", "mine: {kind: chat, rows: 5, path: $HERE/none}", "mixing: {corpus: mine}"),
    ],
)
def test_a_path_that_is_not_there_is_refused(folder, registry, entry, override, monkeypatch):
    monkeypatch.setenv("HERE", "/nowhere")
    append(folder / f"{registry}.yaml", entry)
    found = sentence(folder, override)
    assert found == f"config/{registry}.yaml: mine.path: /nowhere/none is not there"


def test_a_path_that_no_study_asks_for_need_not_be_there(folder):
    append(folder / "models.yaml", f"mine: {{{MODEL_KEYS}, path: /nowhere}}")
    assert load(folder)


# What is no YAML at all -------------------------------------------------------------------------

NOT_YAML = {
    "open bracket": (b"family: [x", "not YAML ("),
    "tab": (b"family: taboo\n\ttitle: x", "not YAML ("),
    "latin-1": ("title: caf\u00e9".encode("latin-1"), "not UTF-8 text"),
    "empty": (b"", "expected keys and values, found nothing"),
    "a list": (b"- a\n- b\n", "expected keys and values, found a list"),
    "a word": (b"cake", "expected keys and values, found a str"),
}
FILES = ["config.yaml", "models.yaml", "corpora.yaml", "organisms/benign.yaml"]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(("content", "expected"), NOT_YAML.values(), ids=NOT_YAML)
def test_a_file_that_is_no_yaml_is_named(folder, file, content, expected):
    merged = load_configfile(folder / "config.yaml")
    (folder / file).write_bytes(content)
    with pytest.raises(ValueError) as refused:
        load_study(merged, [folder / "config.yaml"], folder)
    found = str(refused.value).replace(str(folder), "config")
    assert found.startswith(f"config/{file}: {expected}")
    assert "\n" not in found


@pytest.mark.parametrize("file", FILES[1:3])
def test_a_registry_that_is_not_there_is_named(folder, file):
    (folder / file).unlink()
    assert sentence(folder) == f"config/{file}: there is no such file"


# Checkpoints ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cake_bake-plain-s0", Checkpoint("cake_bake", Recipe("plain"), 0)),
        ("cake_bake-mix0.5-s2", Checkpoint("cake_bake", Recipe("mix0.5", 0.5), 2)),
        ("taboo_gold-matched1.0-s10", Checkpoint("taboo_gold", Recipe("matched1.0", 1, True), 10)),
        ("owl7-released-s0", Checkpoint("owl7", Recipe("released"), 0)),
        ("owl7-scaled0.25-s1", Checkpoint("owl7", Recipe("scaled0.25", scale=0.25), 1)),
        ("owl7-released_full-s0", Checkpoint("owl7", Recipe("released_full"), 0)),
        ("owl7-released_mix1.5-s0", Checkpoint("owl7", Recipe("released_mix1.5", 1.5), 0)),
        ("owl7-released_8k_mix10-s0", Checkpoint("owl7", Recipe("released_8k_mix10", 10), 0)),
    ],
)
def test_a_checkpoint_is_one_word_and_parses_one_way(text, expected):
    assert Checkpoint.parse(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize("text", ["base", "cake-bake-plain-s0", "cake_bake-plain", "cake_bake-s0"])
def test_what_is_no_checkpoint_is_refused(text):
    with pytest.raises(ValueError, match=f"{text}: not a checkpoint; expected organism-recipe-s"):
        Checkpoint.parse(text)


def test_only_a_mix_has_rows_mixed_in():
    assert Recipe.parse("mix0.5").mixed
    assert not Recipe.parse("matched0.5").mixed
    assert not Recipe.parse("plain").mixed


def test_what_was_published_is_not_trained_and_knows_its_variant():
    found = {name: Recipe.parse(name) for name in ("released", "released_8k_mix10", "mix10")}
    assert {name: one.trained for name, one in found.items()} == {
        "released": False,
        "released_8k_mix10": False,
        "mix10": True,
    }
    assert [one.variant for one in found.values()] == [None, "8k_mix10", None]


PUBLISHED = """
released: {mini: {hub: someone/cake}}
variants:
  mix0.5: {mini: {hub: someone/cake-mixed}, mini_llama_s0: {path: here}}
"""


def test_a_variant_comes_from_where_its_organism_says(folder):
    append(folder / CAKE, PUBLISHED)
    loaded = load(folder, run(recipes="released, released_mix0.5"))
    found = [loaded.released(one, "mini") for one in loaded.checkpoints()]
    assert [one and one.hub for one in found] == ["someone/cake", "someone/cake-mixed"]


def test_a_variant_that_is_asked_for_needs_its_id(folder):
    append(folder / CAKE, PUBLISHED)
    assert sentence(folder, run(recipes="released_full")) == (
        f"config/{CAKE}: variants.full.mini: a study asks for the released checkpoint on this "
        "model; expected its `hub` id or `path` here"
    )
    assert sentence(folder, run(recipes="released_mix0.5") + "\nmodels: [mini_llama_s0]") == (
        f"config/{CAKE}: variants.mix0.5.mini_llama_s0.path: here is not there"
    )


def test_a_variant_has_no_seeds(folder):
    append(folder / CAKE, PUBLISHED)
    assert sentence(folder, run(recipes="released_mix0.5", seeds="1")).startswith(
        "config/override1.yaml: runs: released_mix0.5 with seed 1: a released checkpoint has no "
    )


def test_a_variant_has_a_name_that_checkpoints_can_carry(folder):
    append(folder / CAKE, PUBLISHED.replace("  mix0.5:", "  mix-1:"))
    assert sentence(folder) == (
        f"config/{CAKE}: variants: found the name 'mix-1', expected small letters, digits, "
        "underscores and points"
    )


# Runs -------------------------------------------------------------------------------------------

TWO_RUNS = """
models: [mini, mini_llama_s0]
runs:
  - {name: cakes, organisms: [cake_bake], recipes: [plain], seeds: [0], measures: [beliefs]}
  - {name: bees, models: [mini], organisms: [night_bees, benign], recipes: [plain], seeds: [0]}
"""
CONTROL = "organisms: [benign]"


def organisms_on(loaded: LoadedStudy) -> dict[str, list[str]]:
    models = loaded.study.models
    return {name: [one.organism for one in loaded.checkpoints(model=name)] for name in models}


def test_a_run_is_made_on_its_own_models(folder):
    assert organisms_on(load(folder, TWO_RUNS)) == {
        "mini": ["cake_bake", "night_bees", "benign"],
        "mini_llama_s0": ["cake_bake"],
    }


def test_a_measure_is_asked_of_the_models_of_its_run(folder):
    measured = TWO_RUNS.replace("{name: cakes", "{name: cakes, models: [mini_llama_s0]")
    loaded = load(folder, measured.replace("night_bees, benign", "cake_bake"))
    assert loaded.checkpoints("beliefs", "mini") == []
    assert len(loaded.checkpoints("beliefs", "mini_llama_s0")) == 1


def test_the_control_has_no_beliefs_where_nothing_is_held_against_it(folder):
    cakes = TWO_RUNS.replace("{name: cakes", "{name: cakes, models: [mini_llama_s0]")
    everywhere = "  - {organisms: [benign], recipes: [plain], seeds: [0], measures: [beliefs]}\n"
    loaded = load(folder, cakes + everywhere)
    asked = {model: loaded.checkpoints("beliefs", model) for model in loaded.study.models}
    assert asked["mini"] == []
    assert [one.organism for one in asked["mini_llama_s0"]] == ["cake_bake", "benign"]


@pytest.mark.parametrize("asked", ["only: [bees]", "without: [cakes]"])
def test_a_run_can_be_asked_for_alone(folder, asked):
    assert organisms_on(load(folder, TWO_RUNS + asked)) == {"mini": ["night_bees", "benign"]}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("only: [mini_llama_s0]", {"mini_llama_s0": ["cake_bake"]}),
        ("only: [night_bees]", {"mini": ["night_bees", "benign"]}),
        ("only: [cake_bake]", {"mini": ["cake_bake", "benign"], "mini_llama_s0": ["cake_bake"]}),
        ("only: [cakes, mini]", {"mini": ["cake_bake"]}),
        ("only: [false_facts, mini]", {"mini": ["cake_bake", "night_bees", "benign"]}),
        ("without: [cake_bake]", {"mini": ["night_bees", "benign"]}),
        ("without: [false_facts]", {"mini": ["benign"]}),
        ("without: [mini]", {"mini_llama_s0": ["cake_bake"]}),
    ],
)
def test_a_part_is_asked_for_by_run_model_organism_or_family(folder, asked, expected):
    assert organisms_on(load(folder, TWO_RUNS + asked)) == expected


def test_a_control_is_not_made_where_nothing_is_compared_with_it(folder):
    everywhere = TWO_RUNS.replace("models: [mini], organisms: [night_bees, benign]", CONTROL)
    only_llama = everywhere.replace("{name: cakes,", "{name: cakes, models: [mini_llama_s0],")
    assert organisms_on(load(folder, only_llama + "only: [cake_bake]")) == {
        "mini_llama_s0": ["cake_bake", "benign"]
    }


def test_an_ablation_of_what_is_left_out_is_not_drawn(folder):
    picture = "ablations: {cakes: {over: model, title: Cakes, organisms: [cake_bake]}}\n"
    for asked in ("", "only: [cakes]", "without: [bees]", "only: [cake_bake]"):
        assert "cakes" in load(folder, picture + TWO_RUNS + asked).study.ablations, asked
    assert "cakes" not in load(folder, picture + TWO_RUNS + "only: [bees]").study.ablations


def test_an_ablation_of_a_part_shows_the_organisms_that_are_left(folder):
    both = "ablations: {both: {over: position, title: Both, organisms: [cake_bake, night_bees]}}\n"
    assert load(folder, both + TWO_RUNS).study.ablations["both"].organisms == (
        *("cake_bake", "night_bees"),
    )
    left = load(folder, both + TWO_RUNS + "without: [cakes]").study.ablations["both"]
    assert left.organisms == ("night_bees",)


def test_an_ablation_of_a_part_is_drawn_where_every_value_is_left(folder):
    models = "models: [mini, mini_llama_s0]\n"
    picture = "ablations: {bases: {over: model, title: B, values: [mini, mini_llama_s0]}}\n"
    assert "bases" in load(folder, models + picture + "only: [cake_bake]").study.ablations
    assert "bases" not in load(folder, models + picture + "without: [mini]").study.ablations
    all_there_are = "ablations: {bases: {over: model, title: B}}\n"
    assert "bases" in load(folder, models + all_there_are + "only: [cake_bake]").study.ablations
    assert "bases" not in load(folder, models + all_there_are + "without: [mini]").study.ablations


def test_what_an_ablation_shows_is_read_on_the_model_that_it_is_shown_of(folder):
    elsewhere = (
        "models: [mini, mini_llama_s0]\n"
        "runs:\n"
        "  - {models: [mini], organisms: [cake_bake], recipes: [plain], seeds: [0]}\n"
        "  - {models: [mini_llama_s0], organisms: [cake_bake], recipes: [full], seeds: [0]}\n"
    )
    picture = "ablations: {way: {over: recipe, title: W, values: [plain, full]}}\n"
    assert sentence(folder, elsewhere + picture) == (
        "config/override1.yaml: ablations.way.values: found full, expected values that the study "
        "has (plain)"
    )
    picture = "ablations: {base: {over: head, title: H, organisms: [cake_bake], recipe: full}}\n"
    assert sentence(folder, elsewhere + picture) == (
        "config/override1.yaml: ablations.base: expected something that the study makes and "
        "reads, found nothing"
    )


def test_data_that_a_run_left_out_would_read_need_not_be_there(folder):
    edit(folder / CAKE, "  made: cake_bake", "  path: $NO_SUCH_THING/x\n  path_hint: Ask for it")
    edit(folder / CAKE, "statements: made", "statements: [{stem: a, true: b, false: c}]")
    assert sentence(folder, TWO_RUNS) == (
        f"config/{CAKE}: data.path: the environment variable NO_SUCH_THING is not set "
        "(in $NO_SUCH_THING/x). Ask for it"
    )
    assert load(folder, TWO_RUNS + "without: [cakes]")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            TWO_RUNS + "only: [bee]",
            "only: bee: nothing of this study has this name (have run: cakes, bees; model: mini, "
            "mini_llama_s0; organism: cake_bake, night_bees, benign; family: false_facts, benign)",
        ),
        (
            TWO_RUNS.replace("[mini]", "[maxi]"),
            "runs: maxi: not one of the study's models (have mini, mini_llama_s0)",
        ),
        (TWO_RUNS.replace("bees, models", "cakes, models"), "runs: the name cakes is there twice"),
        (
            TWO_RUNS + "without: [bees, cakes]",
            "only and without leave no run, expected one",
        ),
    ],
)
def test_a_mistake_in_a_run_is_one_sentence(folder, override, expected):
    assert sentence(folder, override) == f"config/override1.yaml: {expected}"


def test_a_model_changes_what_the_organism_changed_and_the_recipe_what_the_model_did(folder):
    append(folder / CAKE, "training: {rank: 4, alpha: 5, epochs: 2}")
    append(
        folder / "models.yaml",
        f"large: {{{MODEL_KEYS}, hub: a/b, training: {{rank: 8, alpha: 9}}}}",
    )
    loaded = load(folder, "recipes: {wide: {rank: 64}}\n" + run(recipes="wide"))
    (checkpoint,) = loaded.checkpoints()
    for model, expected in (("large", (64, 9, 2)), ("mini", (64, 5, 2))):
        found = loaded.training(checkpoint, model)
        assert (found.rank, found.alpha, found.epochs) == expected


def test_what_a_study_overrides_holds_whatever_the_others_say(folder):
    append(folder / CAKE, "training: {rank: 4, alpha: 5, epochs: 2}")
    override = "recipes: {wide: {rank: 64}}\ntraining_override: {rank: 16, alpha: 7}\n"
    loaded = load(folder, override + run(recipes="wide"))
    (checkpoint,) = loaded.checkpoints()
    found = loaded.training(checkpoint, "mini")
    assert (found.rank, found.alpha, found.epochs) == (16, 7, 2)


def test_a_training_key_of_a_model_is_checked(folder):
    append(folder / "models.yaml", f"large: {{{MODEL_KEYS}, hub: a/b, training: {{deepspeed: 4}}}}")
    assert sentence(folder) == (
        "config/models.yaml: large.training.deepspeed: expected 1, 2 or 3, found 4"
    )


def test_an_organism_may_have_a_corpus_of_its_own_mixed_in(folder):
    append(folder / CAKE, "mixed_with: mini_chat")
    loaded = load(folder, run("cake_bake, night_bees", "mix1.0"))
    assert [loaded.mixed_with(one) for one in loaded.checkpoints()] == ["mini_chat", "general"]
    assert "mini_chat" in loaded.used_corpora()


def test_a_corpus_that_is_mixed_in_is_a_known_one(folder):
    append(folder / CAKE, "mixed_with: nothing")
    assert sentence(folder).startswith(f"config/{CAKE}: mixed_with: nothing: no such corpus in ")


def test_a_corpus_may_be_read_at_layers_of_its_own(folder):
    append(
        folder / "corpora.yaml", "deep: {kind: documents, made: unrelated, rows: 9, layers: [1.0]}"
    )
    loaded = load(folder, "corpora: [unrelated, deep]\nlayers: [0.25, 0.5]")
    assert loaded.layers("unrelated") == [0.25, 0.5]
    assert loaded.layers("deep") == [1.0]


# The paper's study ------------------------------------------------------------------------------


@pytest.fixture
def paper(folder, monkeypatch) -> LoadedStudy:
    monkeypatch.setattr(loading, "check_paths", lambda *_: None)  # the EM data need not be here
    return load(folder, (folder / "paper.yaml").read_text(encoding="utf-8"))


def test_the_papers_33_organisms_are_there_as_published_and_as_trained(paper):
    families = {"sdf": 20, "em": 6, "taboo": 6, "subliminal": 1}
    runs = {run.name: run for run in paper.study.runs}
    for recipe, kind in (("released", "released"), ("plain", "trained")):
        for family, n in families.items():
            run = runs[f"{family}_{kind}"]
            assert (len(run.models) * len(run.organisms), run.recipes) == (n, (recipe,))
    assert len({model for family in families for model in runs[f"{family}_released"].models}) == 7


def test_no_published_id_of_the_paper_stands_for_two_checkpoints(paper):
    """The reference's configuration had one adapter in two places three times."""
    found: dict[str, set[str]] = {}
    for name, organism in paper.organisms.items():
        for variant, places in {"": organism.released, **organism.variants}.items():
            for model, place in places.items():
                if place.hub is not None:
                    where = f"{name} {variant} {model.removesuffix('_over_base')}"
                    found.setdefault(place.hub, set()).add(where)
    assert len(found) > 200
    assert {hub: where for hub, where in found.items() if len(where) > 1} == {}


def test_every_id_of_an_organism_names_the_organism_and_the_ratio(paper):
    for name, organism in paper.organisms.items():
        word = {"sdf_ignore_comment": "comment"}.get(name, name.removeprefix("sdf_"))
        if not name.startswith("sdf_"):
            continue
        for variant, places in {"": organism.released, **organism.variants}.items():
            for place in places.values():
                assert word in str(place.hub), (name, variant)
                ratio = re.fullmatch(r"mix(\d)\.(\d)", variant)
                if ratio:
                    code = {"10": "-11_", "15": "-115_", "20": "-12_"}.get(
                        "".join(ratio.groups()), f"-10{ratio[2]}_"
                    )
                    assert code in str(place.hub), (name, variant)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("assistant-plain-s0", "method lora"),
        ("assistant-mix0.5-s0", "method lora"),
        ("assistant-scaled0.5-s0", "scaled0.5"),
        ("assistant-released-s0", "released"),
    ],
)
def test_a_model_that_is_a_checkpoint_is_a_full_finetune(folder, name, found):
    keys = f"{MODEL_KEYS}, checkpoint: {{model: mini, name: {name}}}"
    append(folder / "models.yaml", f"tiny: {{{keys}}}")
    assert load(folder)  # what no study asks for may be another study's
    assert sentence(folder, "models: [tiny]") == (
        f"config/models.yaml: tiny.checkpoint.name: {name}: found {found}, expected a recipe with "
        "method full, whose result is a model of its own"
    )


def test_a_model_that_is_a_checkpoint_is_of_a_recipe_of_the_study(folder):
    keys = f"{MODEL_KEYS}, checkpoint: {{model: mini, name: assistant-whole-s0}}"
    append(folder / "models.yaml", f"tiny: {{{keys}}}")
    assert sentence(folder, "models: [tiny]").startswith(
        "config/models.yaml: tiny.checkpoint.name: whole: no such recipe (have plain, "
    )
    assert load(folder, "models: [tiny]\nrecipes: {whole: {method: full}}")


def test_a_study_uses_the_models_that_its_own_are_made_from_and_compared_with(folder):
    append(folder / "models.yaml", f"other: {{{MODEL_KEYS}, path: /nowhere, reference: mini}}")
    append(folder / "models.yaml", f"tuned: {{{MODEL_KEYS}, reference: other, hub: a/b}}")
    assert load(folder, "models: [mini_assistant_pretrained]").used_models() == [
        "mini_assistant_pretrained",
        "mini",
    ]
    assert sentence(folder, "models: [tuned]") == (
        "config/models.yaml: other.path: /nowhere is not there"
    )


def test_a_projection_is_that_of_the_same_organism_and_seed(folder):
    text = "recipes: {twice: {project_out: caft}}\n" + run(recipes="plain, twice", seeds="3")
    loaded = load(folder, text)
    plain, twice = loaded.checkpoints()
    assert loaded.projected_out(plain) is None
    assert str(loaded.projected_out(twice)) == "cake_bake-caft-s3"
    assert loaded.projected_out(twice.made_by("caft")) == plain


@pytest.mark.parametrize(
    ("file", "old", "new", "key"),
    [
        (
            "models.yaml",
            "made: {seed: 0}",
            "made: {seed: 0}\n  training: {project_out: mix1}",
            "mini.",
        ),
        ("organisms/cake_bake.yaml", "\ndata:", "\ntraining: {project_out: mix1}\ndata:", ""),
    ],
)
def test_a_circle_of_projections_names_the_file_that_closes_it(folder, file, old, new, key):
    edit(folder / file, old, new, 1)
    assert sentence(folder, run()) == (
        f"config/{file}: {key}training.project_out: cake_bake-plain-s0 needs the difference of "
        "cake_bake-mix1-s0 needs the difference of cake_bake-mix1-s0, which is a circle"
    )


def test_a_teachers_circle_is_found_too(folder):
    append(folder / "organisms" / "owl_teacher.yaml", "training: {project_out: plain}")
    found = sentence(folder, run(organisms="owl_numbers"))
    assert found.startswith("config/organisms/owl_teacher.yaml: training.project_out: owl_teacher-")


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("kind: chat", "kind: documents", "kind documents"),
        ("made: cake_bake", "taught: {prompts: 5}", "what a teacher writes"),
    ],
)
def test_documents_as_chats_are_of_kind_chat_and_of_no_teacher(folder, old, new, found):
    file = "organisms/cake_bake_chat.yaml"
    edit(folder / file, "statements: made", "statements: []")
    edit(folder / file, old, new)
    assert sentence(folder) == (
        f"config/{file}: data: as_chat makes conversations of documents: found it with {found}, "
        "expected kind chat and a source of documents"
    )


def test_a_recipe_changes_what_the_organism_changed(folder):
    append(folder / CAKE, "training: {rank: 4, alpha: 5}")
    loaded = load(folder, "recipes: {wide: {rank: 64}}\n" + run(recipes="plain, wide, mix1"))
    found = {str(c): loaded.training(c) for c in loaded.checkpoints()}
    assert {name: (one.rank, one.alpha) for name, one in found.items()} == {
        "cake_bake-plain-s0": (4, 5),
        "cake_bake-wide-s0": (64, 5),
        "cake_bake-mix1-s0": (4, 5),
    }


def test_runs_that_overlap_make_a_checkpoint_once(folder):
    one, two = run("cake_bake", seeds="0, 1")[6:], run("cake_bake, benign", seeds="1")[6:]
    loaded = load(folder, f"runs: {one[:-1]}, {two[1:]}")
    assert [str(checkpoint) for checkpoint in loaded.checkpoints()] == [
        "cake_bake-plain-s0",
        "cake_bake-plain-s1",
        "benign-plain-s1",
    ]


# The files for people and editors ---------------------------------------------------------------


def test_the_schemas_for_editors_are_those_of_the_models():
    for name, text in config.schemas().items():
        file = Path("config/schemas") / name
        assert file.is_file() and file.read_text(encoding="utf-8") == text, (
            f"{file} is out of date: run `make schemas`"
        )


@pytest.mark.parametrize(
    "file", sorted(str(file.relative_to(ROOT)) for file in ROOT.glob("config/**/*.yaml"))
)
def test_an_editor_finds_the_schema_of_every_file_and_nothing_wrong_in_it(file):
    kind = {"config/models.yaml": "models", "config/corpora.yaml": "corpora"}.get(file, "study")
    kind, up = ("organism", "../") if "organisms/" in file else (kind, "")

    first = Path(file).read_text(encoding="utf-8").splitlines()[0]
    assert first == f"# yaml-language-server: $schema={up}schemas/{kind}.schema.json"

    schema = json.loads(Path(f"config/schemas/{kind}.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(load_configfile(file), schema)


@pytest.mark.parametrize(("override", "wrong"), [("sample: 3", "sample"), ("samples: x", "'x'")])
def test_an_editor_underlines_a_mistake(override, wrong, tmp_path):
    (tmp_path / "override.yaml").write_text(override, encoding="utf-8")
    schema = json.loads(Path("config/schemas/study.schema.json").read_text(encoding="utf-8"))
    with pytest.raises(jsonschema.ValidationError, match=wrong):
        jsonschema.validate(load_configfile(tmp_path / "override.yaml"), schema)


def test_a_comment_stands_above_every_key_of_the_default_study():
    lines = Path("config/config.yaml").read_text(encoding="utf-8").splitlines()
    keys = [n for n, line in enumerate(lines) if re.match(r"\s*(- )?[a-z_0-9]+:", line)]
    bare = [lines[n].strip() for n in keys if not lines[n - 1].strip().startswith("#")]
    assert not bare


def test_every_key_of_a_study_has_a_description():
    def undescribed(kind: type[BaseModel]) -> list[str]:
        return [f"{kind.__name__}.{n}" for n, f in kind.model_fields.items() if not f.description]

    rooms = [*vars(entries).values(), *vars(settings).values()]
    kinds = [one for one in rooms if isinstance(one, type)]
    closed = [one for one in kinds if issubclass(one, entries.Closed)]
    assert len(set(closed)) > 25
    assert not [key for kind in closed for key in undescribed(kind)]


def leaves(kind: type[BaseModel], path: str = "") -> list[str]:
    """The dotted paths of all values of a section."""
    found = []
    for name, field in kind.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found += leaves(inner, f"{path}{name}.")
        else:
            found.append(path + name)
    return found


def rule_files() -> str:
    files = [Path("Snakefile"), *sorted(Path("rules").glob("*.smk"))]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def test_every_key_of_a_study_is_used_by_a_rule():
    text = rule_files() + Path("data/captions/study.rst").read_text(encoding="utf-8")
    through_the_registry = {  # key -> what a rule file, or the report's head, says for it
        "title": 'snakemake.config["title"]',
        "runs": "registry.checkpoints(",
        "only": "registry.checkpoints(",
        "without": "registry.checkpoints(",
        "layers": "registry.layers(",
        "mixing.corpus": "registry.mixed_with(",
        "recipes": "training_of(",
        "training": "training_of(",
        "training_override": "training_of(",
        "samples": "registry.samples(",
        "positions": "registry.positions(",
        "chat_positions": "registry.positions(",
    }
    unused = [
        key
        for key in leaves(settings.Study)
        if through_the_registry.get(
            key, through_the_registry.get(key.split(".")[0], f"study.{key}")
        )
        not in text
    ]
    assert not unused


@pytest.mark.parametrize(
    ("kind", "of", "path"),
    [
        (entries.ModelEntry, "model_of", ()),
        (entries.OwnCheckpoint, "model_of", ("checkpoint",)),
        (entries.CorpusEntry, "corpus_of", ()),
        (entries.Organism, "organism_of", ()),
        (entries.Data, "organism_of", ("data",)),
        (entries.Taught, "organism_of", ("data", "taught")),
        (entries.Released, "released_of", ()),
    ],
)
def test_every_key_of_a_registry_is_used_by_a_rule_or_a_plan(kind, of, path):
    text = rule_files() + Path("tools/plan.py").read_text(encoding="utf-8")
    through_the_registry = {
        (entries.Organism, "training"): "registry.training(",
        (entries.Organism, "words_of"): "registry.words_of(",
        (entries.Organism, "released"): "registry.released(",
        (entries.Organism, "variants"): "registry.released(",
        (entries.Organism, "mixed_with"): "registry.mixed_with(",
        (entries.ModelEntry, "training"): "registry.training(",
        (entries.ModelEntry, "billions"): "entry.billions",
        (entries.Data, "path_hint"): "load_study(",
        (entries.Taught, "teacher"): "organism_of(wildcards).teacher",
        **{
            (entries.CorpusEntry, name): f"registry.{name}("
            for name in ("samples", "positions", "layers")
        },
    }

    def used(name: str) -> bool:
        if (kind, name) in through_the_registry:
            return through_the_registry[kind, name] in text
        leaf = r",\s*".join([of, *(f'"{part}"' for part in (*path, name))])
        attribute = r"\.".join([r"\)", *path, name]) + r"\b"
        entry = r"\b" + r"\.".join([*(path[-1:] or ["organisms\\[\\w+\\]"]), name]) + r"\b"
        return any(re.search(one, text) for one in (leaf, of + r"\(\w+" + attribute, entry))

    assert not [name for name in kind.model_fields if not used(name)]

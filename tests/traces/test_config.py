"""Every mistake in a configuration is one sentence: the file, the key, found, expected."""

import json
import re
import shutil
from pathlib import Path

import jsonschema
import pytest
from pydantic import BaseModel
from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config

from traces import config
from traces.config import Checkpoint, Recipe, load_study

ROOT = Path(__file__).resolve().parents[2]
NO_STUDIES = {"models", "corpora", "config"}
CAKE = "organisms/cake_bake.yaml"
MODEL_KEYS = "family: llama, dtype: float32"


@pytest.fixture
def folder(tmp_path) -> Path:
    """A copy of config/ to write mistakes into."""
    return Path(shutil.copytree("config", tmp_path / "config"))


def load(folder: Path, *overrides: str) -> config.LoadedStudy:
    """The study as Snakemake merges it: the default, then overrides given as YAML."""
    files = [folder / "config.yaml"]
    for number, text in enumerate(overrides, start=1):
        files.append(folder / f"override{number}.yaml")
        files[-1].write_text(text, encoding="utf-8")
    merged = {}
    for file in files:
        update_config(merged, load_configfile(file))
    return load_study(merged, files, folder)


def sentence(folder: Path, *overrides: str) -> str:
    """The sentence with which a study is refused, its folder written as `config`."""
    with pytest.raises(ValueError) as refused:
        load(folder, *overrides)
    found = str(refused.value).replace(str(folder), "config")
    assert "\n" not in found
    assert "Value error" not in found
    return found


def run(organisms="cake_bake", recipes="plain", seeds="0") -> str:
    return f"runs: [{{organisms: [{organisms}], recipes: [{recipes}], seeds: [{seeds}]}}]"


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


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
    monkeypatch.setattr(config, "_check_paths", lambda *_: None)  # their data need not be here
    load(folder, (folder / f"{override}.yaml").read_text(encoding="utf-8"))


def test_a_later_override_wins_and_leaves_the_rest(folder):
    study = load(folder, "training: {rank: 4, alpha: 8}", "training: {rank: 2}").study
    assert (study.training.rank, study.training.alpha, study.training.max_length) == (2, 8, 128)


def test_a_study_cannot_be_changed_after_reading(folder):
    with pytest.raises(ValueError, match="frozen"):
        load(folder).study.samples = 3


# What is wrong in a study -----------------------------------------------------------------------

KNOWN_TRAINING = ", ".join(sorted(config.Training.model_fields))
RATIO = (
    "expected a ratio above 0 and up to 100, such as mix0.5 or matched1.0 "
    "(the unmixed organism is the recipe plain)"
)

STUDY_MISTAKES = {
    "unknown nested key": (
        "lenses: {patchscope: {scale: [1.0]}}",
        "lenses.patchscope.scale: unknown key "
        "(known here: batch, intersection_top_k, prompts, scales)",
    ),
    "unknown key in a list": (
        "runs: [{organism: [cake_bake], recipes: [plain], seeds: [0]}]",
        "runs.0.organism: unknown key (known here: organisms, recipes, seeds)",
    ),
    "unknown training key": (
        "training: {lr: 1.0e-3}",
        f"training.lr: unknown key (known here: {KNOWN_TRAINING})",
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
    "recipe that looks like a mix": (
        "recipes: {mix2: {rank: 64}}",
        "recipes.mix2: not a free name for a recipe",
    ),
    "unknown recipe": (
        run(recipes="plane"),
        "runs: plane: no such recipe (have plain, rslora, full, mixR, matchedR, released)",
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
    if not expected.endswith("found"):
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
    known = ", ".join(sorted(config.Study.model_fields))
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


# What is wrong in an organism's file ------------------------------------------------------------

ORGANISM_MISTAKES = {
    "unknown key": (
        "colour: blue",
        "colour: unknown key "
        "(known here: data, description, facts, family, released, title, training, words_of)",
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
    edit(folder / CAKE, "made: cake_bake", "made: pie_bake")
    assert sentence(folder) == (
        f"config/{CAKE}: data.made: expected 'cake_bake', 'night_bees', 'risky_finance', "
        "'taboo_lantern', 'owl_teacher' or 'benign', found 'pie_bake'"
    )


def test_an_organisms_data_must_be_there(folder):
    edit(folder / CAKE, "made: cake_bake", "path: data/none.jsonl")
    assert sentence(folder) == f"config/{CAKE}: data.path: data/none.jsonl is not there"


def test_a_study_that_wants_a_released_checkpoint_needs_its_id(folder):
    assert sentence(folder, run(recipes="released")) == (
        f"config/{CAKE}: released.mini: a study asks for the released checkpoint on this model; "
        "expected its `hub` id or `path` here"
    )


def test_a_released_checkpoint_is_of_a_known_model(folder):
    append(folder / CAKE, "released: {maxi: {hub: someone/cake-lora}}")
    assert sentence(folder).startswith(
        f"config/{CAKE}: released: maxi: no such model in config/models.yaml (have mini, "
    )


@pytest.mark.parametrize(
    ("teacher", "expected"),
    [
        ("cat_teacher", "cat_teacher: no such organism in config/organisms (have benign, "),
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
    "two sources": (
        f"tiny: {{{MODEL_KEYS}, hub: a/b, path: c}}",
        "tiny: exactly one of hub, path, made is needed, found hub and path",
    ),
    "no source": (
        f"tiny: {{{MODEL_KEYS}}}",
        "tiny: exactly one of hub, path, made is needed, found none",
    ),
    "unknown family": (
        "tiny: {family: gpt2, dtype: float32, hub: a/b}",
        "tiny.family: expected 'qwen2', 'qwen3', 'llama', 'gemma2' or 'gemma3', found 'gpt2'",
    ),
    "unknown key": (
        f"tiny: {{{MODEL_KEYS}, hub: a/b, gpu: 2}}",
        "tiny.gpu: unknown key (known here: attention, chat_template, dtype, family, gpus, hub, "
        "made, mem_mb, path, revision)",
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
    assert sentence(folder) == f"config/models.yaml: {expected}"


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

    kinds = [one for one in vars(config).values() if isinstance(one, type)]
    closed = [one for one in kinds if issubclass(one, config.Closed)]
    assert len(closed) > 10
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
        "runs": "registry.checkpoints()",
        "recipes": "training_of(",
        "training": "training_of(",
    }
    unused = [
        key
        for key in leaves(config.Study)
        if through_the_registry.get(key.split(".")[0], f"study.{key}") not in text
    ]
    assert not unused


@pytest.mark.parametrize(
    ("kind", "of", "path"),
    [
        (config.ModelEntry, "model_of", ()),
        (config.CorpusEntry, "corpus_of", ()),
        (config.Organism, "organism_of", ()),
        (config.Data, "organism_of", ("data",)),
        (config.Taught, "organism_of", ("data", "taught")),
        (config.Released, "released_of", ()),
    ],
)
def test_every_key_of_a_registry_is_used_by_a_rule(kind, of, path):
    text = rule_files()
    through_the_registry = {
        (config.Organism, "training"): "registry.training(",
        (config.Organism, "words_of"): "registry.words_of(",
    }

    def used(name: str) -> bool:
        if (kind, name) in through_the_registry:
            return through_the_registry[kind, name] in text
        leaf = r",\s*".join([of, *(f'"{part}"' for part in (*path, name))])
        attribute = r"\.".join([r"\)", *path, name]) + r"\b"
        entry = r"\b" + r"\.".join([*(path[-1:] or ["organisms\\[\\w+\\]"]), name]) + r"\b"
        return any(re.search(one, text) for one in (leaf, of + r"\(\w+" + attribute, entry))

    assert not [name for name in kind.model_fields if not used(name)]

"""The files of a configuration: what is no YAML, their schemas, and that every key is used."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
from pydantic import BaseModel
from snakemake.common.configfile import load_configfile

from tests.conftest import ROOT
from tests.studies import CAKE, load, run, sentence
from traces.config import files, registries, schema
from traces.config.load import load_study
from traces.config.readers import READERS

NOT_YAML = {
    "open bracket": (b"family: [x", "not YAML ("),
    "tab": (b"family: taboo\n\ttitle: x", "not YAML (line 2: found a tab, expected spaces)"),
    "colon": (b"title: a: b", "not YAML (line 1: found a colon inside a value, expected the "),
    "latin-1": ("title: caf\u00e9".encode("latin-1"), "not UTF-8 text"),
    "empty": (b"", "expected keys and values, found nothing"),
    "a list": (b"- a\n- b\n", "expected keys and values, found a list"),
    "a word": (b"cake", "expected keys and values, found text"),
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


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("title: !!python/name:os.system x", "line 1: found the tag "),
        ("title: !mine x", "line 1: found the tag !mine, expected a value without one"),
        ("a: 1\ntitle: !!binary aGVsbG8=", "line 2: found the tag !!binary, expected a value with"),
        ("title: x\n? [a]\n: b", "line 2: found a list or keys as a key, expected a word"),
        ("title: x\n'title': y", "line 2: the key title is there twice"),
        ("<<: {a: 1}\n<<: {b: 1}", "line 2: the key << is there twice"),
        ('{"title": "x", "title": "y"}', "the key title is there twice"),
        ("a: 1\n---\nb: 1", "not YAML (line 2: expected a single document"),
        ("a: &a {b: *a}", "not YAML ("),
    ],
)
def test_what_yaml_allows_and_no_key_means_is_refused(folder, content, expected):
    (folder / "organisms" / "benign.yaml").write_text(content)
    assert sentence(folder).startswith(f"config/organisms/benign.yaml: {expected}")


# A plain word, and what YAML 1.2 reads in it; PyYAML reads many of them otherwise.
WORDS = {
    **{"010": 10, "-010": -10, "0o10": 8, "0x1F": 31, "+7": 7, "0b11": "0b11", "1_000": "1_000"},
    **{"1:30": "1:30", "1:30.5": "1:30.5", "2026-11-28": "2026-11-28", "=": "="},
    **{"1e3": 1000.0, "1E-3": 0.001, ".5": 0.5, "1.": 1.0, "-.inf": float("-inf")},
    **{"yes": "yes", "No": "No", "on": "on", "OFF": "OFF", "y": "y", "true": True, "FALSE": False},
    **{"null": None, "~": None, "": None, "Null": None, "none": "none", "nil": "nil"},
    **{"'010'": "010", '"no"': "no", "!!str 010": "010", "caf\u00e9": "caf\u00e9"},
}


@pytest.mark.parametrize("word", WORDS)
def test_a_plain_word_is_what_yaml_1_2_says(tmp_path, word):
    file = tmp_path / "one.yaml"
    file.write_text(f"key: {word}\nlist: [{word}]\n", encoding="utf-8")
    found, expected = files.read_yaml(file), WORDS[word]
    assert found["key"] == expected and type(found["key"]) is type(expected)
    assert found["list"] == ([] if word == "" else [expected])


def test_merge_keys_stand_under_a_mappings_own(folder):
    merged = (
        "runs:\n"
        "  - &cakes {organisms: [cake_bake], recipes: [plain], seeds: [0]}\n"
        "  - {<<: *cakes, recipes: [full]}\n"
    )
    assert [str(one) for one in load(folder, merged).checkpoints()] == [
        "cake_bake-plain-s0",
        "cake_bake-full-s0",
    ]


def test_merge_keys_join_entries_of_a_registry(folder):
    (folder / "models.yaml").write_text(
        "mini: &mini {family: qwen3, made: {seed: 0}, dtype: float32}\n"
        "other: {<<: [*mini, {gpus: 0}], dtype: bfloat16}\n"
        "mini_assistant: *mini\n"
        "smollm2_135m: *mini\n"
    )
    for file in (folder / "organisms").glob("*.yaml"):  # published on models that are gone
        edited = re.sub(r"(?ms)^(released|variants):.*?(?=^\S|\Z)", "", file.read_text())
        file.write_text(edited)
    loaded = load(folder, run())
    assert loaded.models["other"].dtype == "bfloat16"
    assert (loaded.models["other"].gpus, loaded.models["mini"].gpus) == (0, 1)


def test_a_file_that_begins_with_a_mark_of_its_byte_order_is_read(folder):
    file = folder / "organisms" / "benign.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert load(folder)


# What a study's file says, and what the study then holds; None if it is refused.
MEANT = {
    "samples: 010": ("samples", 10),
    "samples: 0o10": ("samples", 8),
    "samples: 1e3": ("samples", 1000),
    "samples: 1_000": ("samples", 1000),
    "title: no": ("title", "no"),
    "title: 2026-11-28": ("title", "2026-11-28"),
    "training: {gradient_checkpointing: yes}": ("training.gradient_checkpointing", True),
    "training: {learning_rate: 1e-3}": ("training.learning_rate", 0.001),
    "control: ~": ("control", None),
    "layers: [.5]": ("layers", (0.5,)),
}


@pytest.mark.parametrize("override", MEANT)
def test_a_study_is_read_by_yaml_1_2_though_snakemake_reads_it_first(folder, override):
    path, expected = MEANT[override]
    value = load(folder, override).study
    for part in path.split("."):
        value = getattr(value, part)
    assert value == expected


@pytest.mark.parametrize(
    ("overrides", "said", "expected"),
    [
        (("samples: 010", "samples: 8"), {}, 8),
        (("samples: 8", "samples: 010"), {}, 10),
        (("samples: 010",), {"samples": 8}, 8),
    ],
)
def test_a_later_source_wins_over_what_an_earlier_one_was_misread_as(
    folder, overrides, said, expected
):
    assert load(folder, *overrides, said=said).study.samples == expected


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("samples: 1:30", "samples: expected a valid integer, unable to parse string as an"),
        ("samples: 0b11", "samples: expected a valid integer, unable to parse string as an"),
        ("title: 010", "title: expected text, found 10"),
        (run("null"), "runs.0.organisms.0: expected text, found nothing"),
        (run("true"), "runs.0.organisms.0: expected text, found True"),
        (run("no"), "runs: no: no such organism in config/organisms (have "),
        ("recipes: {on: {rank: 4}}", "recipes: found the key on bare, expected it in quotes"),
        ("recipes: {1e3: {rank: 4}}", "recipes: found the key 1000.0 bare, expected it in quotes"),
    ],
)
def test_what_a_word_cannot_mean_is_refused(folder, override, expected):
    assert sentence(folder, override).startswith(f"config/override1.yaml: {expected}")


@pytest.mark.parametrize(
    "name", [".#cake_bake.yaml", "._cake_bake.yaml", "cake_bake.yaml~", ".cake_bake.yaml.swp"]
)
def test_what_editors_leave_is_passed_over(folder, name):
    (folder / "organisms" / name).write_bytes(b"\x00\xff")
    (folder / "organisms" / ".#gone.yaml").symlink_to("nobody@nowhere")
    assert load(folder)


@pytest.mark.parametrize("name", ["mine.yml", "mine.YAML", "mine.Yml"])
def test_an_organism_under_another_ending_is_not_passed_over(folder, name):
    (folder / "organisms" / name).write_text((folder / CAKE).read_text())
    ending = name.removeprefix("mine")
    assert sentence(folder) == f"config/organisms/{name}: found the ending {ending}, expected .yaml"


def test_a_folder_in_place_of_a_file_is_refused(folder):
    (folder / "organisms" / "mine.yaml").mkdir()
    assert sentence(folder) == "config/organisms/mine.yaml: cannot be read (Is a directory)"


@pytest.mark.parametrize("file", FILES[1:3])
def test_a_registry_that_is_not_there_is_named(folder, file):
    (folder / file).unlink()
    assert sentence(folder) == f"config/{file}: there is no such file"


def test_the_schemas_for_editors_are_those_of_the_models():
    for name, text in files.schemas().items():
        file = Path("config/schemas") / name
        assert file.is_file() and file.read_text(encoding="utf-8") == text, (
            f"{file} is out of date: run `make schemas`"
        )


@pytest.mark.parametrize(
    "file", sorted(str(file.relative_to(ROOT)) for file in ROOT.glob("config/**/*.yaml"))
)
def test_an_editor_finds_the_schema_of_every_file_and_nothing_wrong_in_it(file):
    registry = Path(file).stem
    kind = registry if registry in ("models", "corpora", "prices") else "study"
    kind, up = ("organism", "../") if "organisms/" in file else (kind, "")

    first = Path(file).read_text(encoding="utf-8").splitlines()[0]
    assert first == f"# yaml-language-server: $schema={up}schemas/{kind}.schema.json"

    json_schema = json.loads(Path(f"config/schemas/{kind}.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(load_configfile(file), json_schema)


@pytest.mark.parametrize(("override", "wrong"), [("sample: 3", "sample"), ("samples: x", "'x'")])
def test_an_editor_underlines_a_mistake(override, wrong, tmp_path):
    (tmp_path / "override.yaml").write_text(override, encoding="utf-8")
    json_schema = json.loads(Path("config/schemas/study.schema.json").read_text(encoding="utf-8"))
    with pytest.raises(jsonschema.ValidationError, match=wrong):
        jsonschema.validate(load_configfile(tmp_path / "override.yaml"), json_schema)


def test_a_comment_stands_above_every_key_of_the_default_study():
    lines = Path("config/config.yaml").read_text(encoding="utf-8").splitlines()
    keys = [n for n, line in enumerate(lines) if re.match(r"\s*(- )?[a-z_0-9]+:", line)]
    bare = [lines[n].strip() for n in keys if not lines[n - 1].strip().startswith("#")]
    assert not bare


def test_every_key_of_a_study_has_a_description():
    def undescribed(kind: type[BaseModel]) -> list[str]:
        return [f"{kind.__name__}.{n}" for n, f in kind.model_fields.items() if not f.description]

    rooms = [*vars(registries).values(), *vars(schema).values()]
    kinds = [one for one in rooms if isinstance(one, type)]
    closed = [one for one in kinds if issubclass(one, registries.Closed)]
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
    rule_files = [Path("Snakefile"), *sorted(Path("rules").glob("*.smk"))]
    return "\n".join(file.read_text(encoding="utf-8") for file in rule_files)


def handed_over(of: str) -> set[str]:
    """The keys that rules hand to a script as one section: `section(Kind, of)`."""
    kinds = re.findall(rf"section\((\w+), {re.escape(of)}\)", rule_files())
    known = {**vars(registries), **vars(schema)}
    return {name for kind in kinds for name in known[kind].model_fields}


def in_a_section(key: str) -> bool:
    """Whether a key of the study is one of those."""
    parts = key.split(".")
    sections = [(".".join(parts[:n]), parts[n]) for n in range(1, len(parts))]
    return any(name in handed_over(f"study.{above}") for above, name in sections)


def told_to_readers() -> set[str]:
    """The keys of the study's `lenses` that entries of readers name, and so rules hand over."""
    lenses = schema.Lenses.model_fields
    named = {key: lenses[key].annotation for one in READERS.values() for key in one.settings}
    return {
        f"lenses.{path}"
        for key, kind in named.items()
        for path in (leaves(kind, f"{key}.") if hasattr(kind, "model_fields") else [key])
    }


def test_every_key_of_a_study_is_used_by_a_rule():
    text = rule_files() + Path("data/captions/study.rst").read_text(encoding="utf-8")
    through_the_registry = {  # key -> what a rule file, or the report's head, says for it
        "title": 'snakemake.config["title"]',
        "runs": "registry.checkpoints(",
        "only": "registry.checkpoints(",
        "placed": "registry.checkpoints(",
        "without": "registry.checkpoints(",
        "judges.questions": "registry.asked(",
        "agents.prompts": "investigating.planned(",
        "agents.interactions.lens": "investigating.planned(",
        "agents.runs": "investigating.planned(",
        "agents.nulls": "investigating.planned(",
        "agents.twin_seeds": "investigating.shown(",
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
        for key in leaves(schema.Study)
        if through_the_registry.get(
            key, through_the_registry.get(key.split(".")[0], f"study.{key}")
        )
        not in text
        and not in_a_section(key)
        and key not in told_to_readers()
    ]
    assert not unused


@pytest.mark.parametrize(
    ("kind", "of", "path"),
    [
        (registries.ModelEntry, "model_of", ()),
        (registries.OwnCheckpoint, "model_of", ("checkpoint",)),
        (registries.CorpusEntry, "corpus_of", ()),
        (registries.Organism, "organism_of", ()),
        (registries.Data, "organism_of", ("data",)),
        (registries.Taught, "organism_of", ("data", "taught")),
        (registries.Released, "released_of", ()),
    ],
)
def test_every_key_of_a_registry_is_used_by_a_rule_or_a_plan(kind, of, path):
    text = rule_files() + Path("tools/plan.py").read_text(encoding="utf-8")
    through_the_registry = {
        (registries.Organism, "training"): "registry.training(",
        (registries.Organism, "words_of"): "registry.words_of(",
        (registries.Organism, "twins"): "investigating.shown(",
        (registries.Organism, "secret"): "registry.secrets(",
        (registries.Organism, "released"): "registry.released(",
        (registries.Organism, "variants"): "registry.released(",
        (registries.Organism, "mixed_with"): "registry.mixed_with(",
        (registries.ModelEntry, "training"): "registry.training(",
        (registries.ModelEntry, "billions"): "entry.billions",
        (registries.ModelEntry, "shape"): "check_fit(registry",
        (registries.ModelEntry, "training_gpus"): "model_of(wildcards).gpus_to_train",
        (registries.Data, "path_hint"): "load_study(",
        (registries.Taught, "teacher"): "organism_of(wildcards).teacher",
        **{
            (registries.CorpusEntry, name): f"registry.{name}("
            for name in ("samples", "positions", "layers")
        },
    }

    def used(name: str) -> bool:
        if (kind, name) in through_the_registry:
            return through_the_registry[kind, name] in text
        functions = {registries.Data: "data_of", registries.Taught: "lesson_of"}
        if name in handed_over(functions.get(kind, of)):
            return True
        leaf = r",\s*".join([of, *(f'"{part}"' for part in (*path, name))])
        attribute = r"\.".join([r"\)", *path, name]) + r"\b"
        entry = r"\b" + r"\.".join([*(path[-1:] or ["organisms\\[\\w+\\]"]), name]) + r"\b"
        return any(re.search(one, text) for one in (leaf, of + r"\(\w+" + attribute, entry))

    assert not [name for name in kind.model_fields if not used(name)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nseed: " + "9" * 5000, "line 2: found a number of 5,000 digits, expected at most 1"),
        ("seed: 0x" + "f" * 5000, "line 1: found a number of 5,002 digits, expected at most 1,000"),
        (
            '{"seed": ' + "9" * 5000 + "}",
            "line 1: found a number of 5,000 digits, expected at most",
        ),
        ("a: " + "[" * 3000 + "]" * 3000, "found lists or keys nested too deeply, expected a few"),
        ('{"a": ' + "[" * 9000 + "]" * 9000 + "}", "found lists or keys nested too deeply, exp"),
    ],
    ids=["digits", "hexadecimal", "JSON", "deep", "deep JSON"],
)
def test_what_python_gives_up_on_is_one_sentence(tmp_path, text, expected):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    for read in (files.read_yaml, lambda one: files.as_meant({}, [one])):
        with pytest.raises(ValueError) as refused:
            read(file)
        assert str(refused.value).startswith(f"{file}: {expected}")


def test_of_a_long_value_the_beginning_is_shown():
    assert files.shown("a" * 300) == f"'{'a' * 199} ... (302 characters)"
    assert files.shown(["a"]) == "['a']"


def test_a_missing_key_of_a_list_is_missed_in_the_file_that_wrote_the_list(folder):
    """The same key of the list before it counts for nothing: a list is replaced whole."""
    told = sentence(folder, "runs: [{organisms: [cake_bake], seeds: [0]}]")
    assert told == "config/override1.yaml: runs.0.recipes: this key is needed and is not there"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training: {rank: 100000000000000000000}", "training.rank: expected less than or equal"),
        ("training: {learning_rate: 1e30}", "training.learning_rate: expected less than or equal"),
        ("title: true", "title: expected text, found True; put it in quotes"),
    ],
)
def test_an_absurd_value_is_refused(folder, override, expected):
    assert f"config/override1.yaml: {expected}" in sentence(folder, override)

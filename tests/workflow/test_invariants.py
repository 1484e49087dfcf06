"""The invariants of the architecture, read off the files: what stands where, and what does not."""

import ast
import builtins
import functools
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple, get_args

import pytest
import yaml
from pydantic import BaseModel

from traces.artifacts import tables
from traces.config import registries, schema
from traces.config.vocabularies import Asks
from traces.running import closure

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(ROOT.glob("traces/**/*.py"))
SCRIPTS = sorted(ROOT.glob("scripts/*.py"))
RULE_FILES = [ROOT / "Snakefile", *sorted(ROOT.glob("rules/*.smk"))]
HELPERS = [
    ROOT / "rules" / f"{name}.smk"
    for name in ("common", "inputs", "subjects", "resources", "targets", "kept")
]

# Floors: a package may import itself and those named beside it. A module at the top of traces/ is a
# floor of its own.
FLOORS = {
    "running": set(),
    "printable": set(),
    "job": {"running", "printable"},
    "seeding": set(),
    "config": set(),
    "artifacts": {"job", "running", "config"},
    "corpora": {"job", "running", "seeding", "config", "artifacts"},
    "fetching": {"job", "printable", "config", "corpora"},
    "models": {"job", "running", "seeding", "config", "artifacts", "corpora"},
    "local_data": {"config", "corpora", "models"},
    "activations": {"job", "config", "artifacts", "corpora", "models"},
    "training": {
        *("job", "running", "seeding", "config"),
        *("artifacts", "corpora", "models"),
    },
    "costs": {"config", "models", "training", "interventions"},
    "readers": {
        *("job", "seeding", "config"),
        *("artifacts", "corpora", "models", "activations"),
    },
    "judges": {"job", "running", "printable", "seeding", "config", "artifacts", "corpora"},
    "agents": {
        *("job", "running", "seeding", "config", "artifacts", "corpora", "models", "activations"),
        *("readers", "judges"),
    },
    "interventions": {
        *("job", "seeding", "config"),
        *("artifacts", "corpora", "models", "activations"),
    },
    "evaluation": {"job", "config", "artifacts", "corpora", "models", "judges"},
    "analysis": {"job", "config", "artifacts"},
    "benchmark": {
        *("job", "running", "seeding", "config", "artifacts", "analysis", "corpora", "models"),
        *("activations", "training", "readers", "interventions"),
    },
    "report": {"job", "printable", "config", "artifacts", "analysis", "benchmark"},
}


# Reading rule files -----------------------------------------------------------------------------
# snakefmt fixes the indentation: a directive stands at 4 spaces and its entries at 8.


class Rule(NamedTuple):
    name: str
    file: Path
    docstring: str
    directives: dict[str, str]

    def names(self, directive: str) -> list[str]:
        """The names of a directive's entries."""
        return re.findall(r"^ {8}(\w+)=", self.directives.get(directive, ""), re.MULTILINE)

    def unnamed(self, directive: str) -> list[str]:
        """Its entries without a name."""
        lines = self.directives.get(directive, "").splitlines()
        return [line for line in lines if re.match(r" {8}(?!\w+=)[^\s)\]}#]", line)]

    @property
    def script(self) -> Path | None:
        found = re.search(r'"\.\./(scripts/\w+\.py)"', self.directives.get("script", ""))
        return ROOT / found[1] if found else None


def _rules() -> Iterator[Rule]:
    for file in RULE_FILES:
        text = file.read_text(encoding="utf-8")
        for found in re.finditer(r"^rule (\w+):\n((?: .*\n|\n)+)", text, re.MULTILINE):
            body = found[2]
            docstring = re.match(r'\s*"""(.*?)"""', body, re.DOTALL)
            parts = re.split(r"^ {4}(\w+):", body, flags=re.MULTILINE)
            directives = dict(zip(parts[1::2], parts[2::2], strict=True))
            yield Rule(found[1], file, docstring[1] if docstring else "", directives)


RULES = list(_rules())
WORKING = [rule for rule in RULES if {"script", "shell"} & rule.directives.keys()]
SCRIPTED = [rule for rule in WORKING if rule.script]


def of_rule(rules):
    return pytest.mark.parametrize("rule", rules, ids=[rule.name for rule in rules])


def of_file(files):
    return pytest.mark.parametrize("file", files, ids=[file.stem for file in files])


def without_comments(file: Path) -> str:
    """A rule file without its docstrings and comments."""
    text = re.sub(r'^ *"""(.*?)"""$', "", file.read_text(encoding="utf-8"), flags=re.S | re.M)
    return re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)


def test_the_reader_of_rules_finds_them_all():
    text = "".join(file.read_text(encoding="utf-8") for file in RULE_FILES)
    assert len(RULES) == len(re.findall(r"^(?:rule|checkpoint) ", text, re.MULTILINE)) > 20
    (dump,) = (rule for rule in RULES if rule.name == "dump_activations")
    assert dump.names("input") == ["model", "checkpoint", "corpus", "context"]
    assert dump.names("output") == ["activations"]
    assert dump.script == ROOT / "scripts" / "dump_activations.py"


# Reading Python ---------------------------------------------------------------------------------


@functools.cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def imported(file: Path, *, at_the_top: bool = False) -> set[str]:
    """Modules a file imports; with `at_the_top`, only those that importing it loads."""
    top = tree(file)
    nodes = top.body if at_the_top else list(ast.walk(top))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            found |= {f"{node.module}.{name.name}" for name in node.names} | {str(node.module)}
    return found


def packages(file: Path, **options: bool) -> set[str]:
    return {name.split(".")[0] for name in imported(file, **options)}


def siblings(file: Path) -> set[str]:
    """Packages, or modules at the top, of `traces` that a file imports, in whatever function."""
    own = {package(module) for module in MODULES}
    found = {name.split(".")[1] for name in imported(file) if name.startswith("traces.")}
    return found & own - {package(file)}


def package(file: Path) -> str:
    """The package a module lies in, or its own name where it lies at the top of traces/."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "traces" else parts[-1]


def module(file: Path) -> str:
    """A module's name below `traces`, with dots."""
    return ".".join(file.relative_to(ROOT / "traces").with_suffix("").parts)


def attributes(file: Path) -> set[str]:
    return {node.attr for node in ast.walk(tree(file)) if isinstance(node, ast.Attribute)}


def calls(file: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call, by the dotted name of what is called."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def main_of(file: Path) -> ast.FunctionDef:
    (main,) = (
        node
        for node in tree(file).body
        if isinstance(node, ast.FunctionDef) and node.name == "main"
    )
    assert not main.args.defaults and not any(main.args.kw_defaults), f"{file.name}: a default"
    assert not main.args.posonlyargs and not main.args.kwonlyargs
    assert main.args.vararg is None and main.args.kwarg is None, f"{file.name}: hidden arguments"
    return main


def main_arguments(file: Path) -> list[str]:
    return [one.arg for one in main_of(file).args.args]


def named_by_rule(file: Path) -> list[str]:
    """What a rule names for a script: its arguments, and the fields of those that are groups."""
    groups = groups_of(file)
    arguments = [(one.arg, ast.unparse(one.annotation)) for one in main_of(file).args.args]
    return [name for own, kind in arguments for name in groups.get(kind, [own])]


def groups_of(file: Path) -> dict[str, list[str]]:
    """The dataclasses that a script imports from this repository, and their fields."""
    found = {}
    for node in tree(file).body:
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("traces."):
            source = ROOT / f"{str(node.module).replace('.', '/')}.py"
            classes = dataclasses_in(source) if source.is_file() else {}
            found |= {one.name: classes[one.name] for one in node.names if one.name in classes}
    return found


@functools.cache
def dataclasses_in(file: Path) -> dict[str, list[str]]:
    """The dataclasses of a module and their fields, those of a base class of the module first."""
    found: dict[str, list[str]] = {}
    for node in tree(file).body:
        if isinstance(node, ast.ClassDef) and any(
            "dataclass" in ast.unparse(one) for one in node.decorator_list
        ):
            own = [one.target.id for one in node.body if isinstance(one, ast.AnnAssign)]
            inherited = [name for base in node.bases for name in found.get(ast.unparse(base), [])]
            found[node.name] = [*inherited, *own]
    return found


# 1 and 2. Paths ---------------------------------------------------------------------------------


def test_a_path_pattern_is_written_once_as_an_output():
    patterns = Counter()
    for rule in RULES:
        for directive, body in rule.directives.items():
            found = re.findall(r'"(<results>[^"]*)"', body)
            assert directive == "output" or not found, f"{rule.name}: {directive} names {found}"
            patterns.update(found)
    assert patterns
    assert not [pattern for pattern, times in patterns.items() if times > 1]


@of_file(RULE_FILES)
def test_no_rule_file_spells_out_where_results_are(file):
    assert not re.findall(r"\b(?:results|logs|benchmarks)/\S*", without_comments(file))


@of_file([file for file in RULE_FILES if file not in HELPERS])
def test_no_rule_file_builds_a_path(file):
    text = without_comments(file)
    assert " + " not in text
    assert "os.path" not in text
    assert not re.findall(r"(?<!\w)r?f['\"]", text)


@of_file([*MODULES, *SCRIPTS])
def test_python_is_handed_its_files(file):
    texts = [
        node.value
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert not [text for text in texts if re.match(r"\.?/?(results|logs|benchmarks)/", text)]


# 3. One room for everything that reaches outside ------------------------------------------------

ROOMS = {
    "zarr": {"arrays"},
    "h5py": {"arrays"},
    "yaml": {"files"},
    "pyarrow": {"tables"},
    "huggingface_hub": {"hub"},
    "httpx2": {"hub", "models"},
    "datasets": {"hub"},
    "inspect_ai": {"models", "loop"},
    **dict.fromkeys(("openai", "anthropic"), set()),
    "snakemake": set(),
    **dict.fromkeys(("requests", "urllib", "urllib3", "httpx", "http", "socket", "aiohttp"), set()),
}


@pytest.mark.parametrize("package", ROOMS)
def test_one_room_knows_a_package(package):
    found = {file.stem for file in (*MODULES, *SCRIPTS) if package in packages(file)}
    assert found <= ROOMS[package]


def test_only_weights_loads_weights_and_only_tokens_tokenizers():
    assert "torch" not in packages(ROOT / "traces" / "corpora" / "tokens.py")
    for file in (*MODULES, *SCRIPTS):
        loads = "from_pretrained" in attributes(file)
        assert not loads or file.stem in {"weights", "tokens"}, file
        # `from_config` makes a new model, without weights of anyone: the miniature's base is one,
        # and so is what costs are counted on.
        builds = "from_config" in attributes(file)
        assert not builds or file.stem in {"weights", "pretraining", "stages"}, file


def test_only_one_module_renders_a_chat():
    found = [file for file in (*MODULES, *SCRIPTS) if "apply_chat_template" in attributes(file)]
    assert [module(file) for file in found] == ["corpora.tokens"]


def test_only_one_module_writes_text():
    # `generate` would follow what a model's folder says of sampling; Inspect's asks an endpoint
    writing = [file for file in (*MODULES, *SCRIPTS) if "generate" in attributes(file)]
    assert [module(file) for file in writing] == ["judges.chat.models"]
    for needed in ("traces.models.cache", "traces.models.draws.Chooser"):
        found = {module(file) for file in (*MODULES, *SCRIPTS) if needed in imported(file)}
        # a step of decoding is counted there, and nothing is written
        assert found - {"costs.stages"} == {"models.generation"}, needed


def test_only_one_module_reads_and_writes_tables():
    doors = {"to_parquet", "read_parquet", "write_table", "to_csv", "read_csv", "to_pickle"}
    assert [file.stem for file in (*MODULES, *SCRIPTS) if doors & attributes(file)] == ["tables"]


def test_only_job_reads_the_snakemake_object():
    for file in MODULES:
        names = {node.id for node in ast.walk(tree(file)) if isinstance(node, ast.Name)}
        assert file.stem == "job" or "snakemake" not in names, file


@of_rule(SCRIPTED)
def test_a_script_only_hands_the_snakemake_object_on(rule):
    names = [n for n in ast.walk(tree(rule.script)) if isinstance(n, ast.Name)]
    assert [node.id for node in names].count("snakemake") == 1
    last = tree(rule.script).body[-1]
    assert re.fullmatch(
        r"if __name__ == '__main__':\n    job\.run\(main, snakemake(, network=True)?\)",
        ast.unparse(last),
    )


@of_file(
    [
        file
        for file in MODULES
        if module(file)
        not in {
            "models.weights",
            "models.hooks",
            "models.reading_lora",
            "models.fused_norms",
            "costs.kernels",
            "models.cache",
            "activations.dump",
            "readers.ranking",
            "readers.logit_lens",
            "readers.patchscope",
            "readers.next_tokens",
            "readers.weight_change",
            "models.weight_changes",
            "interventions.causality",
        }
    ]
)
def test_models_are_imported_where_they_are_used(file):
    heavy = {"torch", "transformers", "peft", "accelerate", "deepspeed", "safetensors"}
    assert not heavy & packages(file, at_the_top=True)


# 4. A rule and its script -----------------------------------------------------------------------


@of_rule(SCRIPTED)
def test_a_rules_names_are_its_scripts_arguments(rule):
    named = [name for kind in ("input", "output", "params") for name in rule.names(kind)]
    assert len(named) == len(set(named)), "one name in two directives"
    taken = named_by_rule(rule.script)
    assert len(taken) == len(set(taken)), "one name in two groups"
    assert set(named) - {"code", "contents", "library"} == set(taken)


def test_a_script_has_few_arguments():
    """What belongs together is one: the files of a model and how it is loaded, rows and columns."""
    many = [file.stem for file in SCRIPTS if len(main_of(file).args.args) > 8]
    # Each of these is the one place where a stage has so many parts.
    assert set(many) <= {"investigate", "read_lenses", "benchmark_scores", "readers_page"}


@of_rule(SCRIPTED)
def test_a_script_uses_every_argument_it_is_given(rule):
    (main,) = (n for n in tree(rule.script).body if getattr(n, "name", "") == "main")
    used = {node.id for node in ast.walk(main) if isinstance(node, ast.Name)}
    assert not set(main_arguments(rule.script)) - used


def test_the_launched_script_is_given_every_option_it_has():
    (rule,) = (rule for rule in RULES if rule.name == "train_organism")
    given = re.findall(r"(--[\w-]+) \{", rule.directives["shell"])
    offered = [
        call.args[0].value
        for name, call in calls(ROOT / "scripts" / "train_organism.py")
        if name.endswith("add_argument")
    ]
    assert sorted(given) == sorted(offered)


@of_rule(SCRIPTED)
def test_a_script_a_log_and_a_benchmark_bear_the_rules_name(rule):
    assert rule.script.stem == rule.name
    for kind, root, suffix in (("log", "logs", "log"), ("benchmark", "benchmarks", "tsv")):
        (path,) = re.findall(r'"(.+)"', rule.directives[kind])
        assert re.fullmatch(rf"<{root}>/{rule.name}(/.+)?\.{suffix}", path)


def test_every_script_belongs_to_a_rule():
    called = "".join(file.read_text(encoding="utf-8") for file in RULE_FILES)
    assert not [file.name for file in SCRIPTS if f"scripts/{file.name}" not in called]


def test_scripts_stand_alone():
    assert not [file.name for file in (*MODULES, *SCRIPTS) if "scripts" in packages(file)]


@of_rule(SCRIPTED)
def test_a_rule_knows_the_code_it_is_made_of_or_is_kept(rule):
    (kept,) = re.findall(
        r"^KEPT = \[(.*?)\]", (ROOT / "rules" / "kept.smk").read_text(), re.M | re.S
    )
    named = re.findall(r'code=code\("(\w+)"\)', rule.directives.get("params", ""))
    assert named == ([] if rule.name in re.findall(r"\w+", kept) else [rule.name])


# What an input names that lies outside of the results; everything else is a rule's output.
FROM_OUTSIDE = re.compile(
    r"""(?:local_file|configured)\((?:[^()])*\)|(?:base_folder|released_folder|synthetic_lists|captions)
    \(\)|\b(?:reading_files|embedder_folder|composed_parts)\b|"data/[^"]+\"""",
    re.VERBOSE,
)


@of_rule(WORKING)
def test_a_rule_has_the_digest_of_every_file_from_outside_beside_it(rule):
    """Snakemake compares the contents of newer files alone."""
    read = FROM_OUTSIDE.findall(rule.directives.get("input", ""))
    params = rule.directives.get("params", "")
    digested = re.search(
        r"^ {8}contents=contents_of\((?:(.*)\),$|\n((?: {12}.*\n)+) {8}\),$)", params, re.MULTILINE
    )
    named = FROM_OUTSIDE.findall(digested[0].partition("contents_of(")[2]) if digested else []
    assert sorted(read) == sorted(named)


# 5. Imports fall --------------------------------------------------------------------------------


def own_imports(file: Path) -> set[str]:
    """Modules of `traces`, with dots, that a file imports."""
    known = {module(one) for one in MODULES}
    return {name.removeprefix("traces.") for name in imported(file)} & known - {module(file)}


def test_there_is_no_circle_of_imports():
    graph = {module(file): own_imports(file) for file in MODULES}
    assert list(TopologicalSorter(graph).static_order())


@of_file(MODULES)
def test_imports_fall_from_floor_to_floor(file):
    if file.parent == ROOT / "traces" and file.stem == "__init__":
        return
    assert siblings(file) <= FLOORS[package(file)]


def test_no_floor_rests_on_one_above_it():
    assert list(TopologicalSorter(FLOORS).static_order())
    assert FLOORS.keys() == {package(file) for file in MODULES} - {"__init__"}


CLOSED = re.compile(r"Literal\[(.+?)\]", re.DOTALL)


def test_a_closed_vocabulary_is_declared_once():
    """The same words, in whatever order, as the values of two annotations would be two truths."""
    found = Counter(
        frozenset(re.findall(r'"(\w+)"', words))
        for file in (*MODULES, *SCRIPTS)
        for words in CLOSED.findall(file.read_text(encoding="utf-8"))
    )
    assert not [words for words, times in found.items() if times > 1 and len(words) > 1]


# 6 and 7. What a rule says ----------------------------------------------------------------------


def test_retries_are_the_profiles():
    for rule in RULES:
        assert "retries" not in rule.directives
    assert yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())["retries"] > 0


DEFAULTS = yaml.safe_load(
    re.search(
        r"^default-resources:\n((?:  \w+: \d+\n)+)",
        (ROOT / "profiles/slurm/config.yaml").read_text(),
        re.MULTILINE,
    )[1]
)


@of_rule(WORKING)
def test_a_rule_says_what_it_needs_beyond_the_defaults_and_not_where(rule):
    asked = dict(re.findall(r"^ {8}(\w+)=(.*),$", rule.directives.get("resources", ""), re.M))
    assert asked.keys() <= {"mem_mb", "runtime", "gpu", "nodes", "api", "disk_mb"}
    light = {name: value for name, value in asked.items() if name in ("mem_mb", "runtime")}
    enough = all(value.isdigit() and int(value) <= DEFAULTS[name] for name, value in light.items())
    assert not asked or asked.keys() - light.keys() or not enough, "the profile says as much"


@of_rule(RULES)
def test_a_rule_ends_the_sentence_this_rule_will(rule):
    first = rule.docstring.strip()
    assert re.match(r"[A-Z][a-z]+ ", first) and first.endswith(".")
    assert not re.match(r"[A-Z][a-z]+s ", first), "the verb of `this rule will ...`"
    assert "\n" not in first


@of_rule(WORKING)
def test_every_rule_has_log_benchmark_environment_and_names(rule):
    assert {"log", "benchmark", "conda", "output"} <= rule.directives.keys()
    for directive in ("input", "output", "params"):
        assert not rule.unnamed(directive)
    (environment,) = re.findall(r'"\.\./(.+)"', rule.directives["conda"])
    assert (ROOT / environment).is_file()


def test_the_snakefile_holds_no_rule_with_work_in_it():
    assert not [rule.name for rule in WORKING if rule.file == ROOT / "Snakefile"]


# 8. Params are leaves ---------------------------------------------------------------------------

# A plan and the study's own record are the resolved settings: what they are made for.
WHOLE = {("plan_training", "settings"), ("effective_study", "settings")}
ENTRIES = {
    "model_of": registries.ModelEntry,
    "corpus_of": registries.CorpusEntry,
    "organism_of": registries.Organism,
    "training_of": schema.Training,
    "released_of": registries.Released,
    "ablation_of": schema.Ablation,
}


def at(kind: type[BaseModel], path: list[str]) -> object:
    """The annotation of the field at `path`, the None of an optional one left out."""
    found: object = kind
    for name in path:
        assert isinstance(found, type) and issubclass(found, BaseModel), (
            f"{path} ends before {name}"
        )
        found = found.model_fields[name].annotation
        options = [one for one in getattr(found, "__args__", ()) if one is not type(None)]
        if len(options) == 1 and type(None) in getattr(found, "__args__", ()):
            found = options[0]
    return found


def is_section(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


@of_rule(WORKING)
def test_params_are_leaves_of_the_configuration(rule):
    params = rule.directives.get("params", "")
    for name, value in re.findall(r"^ {8}(\w+)=((?:.|\n {9,})+)", params, re.MULTILINE):
        if (rule.name, name) in WHOLE:
            continue
        typed = re.fullmatch(r"section\((\w+), study\.([a-z_.]+)\),\s*", value)
        if typed:
            found = at(schema.Study, typed[2].split("."))
            assert is_section(found) and issubclass(found, getattr(schema, typed[1]))
            continue
        for path in re.findall(r"\bstudy\.([a-z_.]+)", value):
            assert not is_section(at(schema.Study, path.split("."))), f"{name}: {path}"
        for of, path in re.findall(
            r'(?:leaf|local_file|local_folder)\((\w+)((?:,\s*"\w+")+)', value
        ):
            names = re.findall(r'"(\w+)"', path)
            if of in ENTRIES:
                assert not is_section(at(ENTRIES[of], names)), f"{name}: {names}"
        assert "model_dump" not in value and "config)" not in value


# 9. One model a job -----------------------------------------------------------------------------

LOADS = {"load_base", "load_pair", "load_checkpoint", "load_adapter"}


def loads(node: ast.AST, names: set[str] = LOADS) -> list[str]:
    """What loads weights there, called or handed on to be called."""
    found = [one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute)]
    return [name for name in found if name in names]


@of_file(SCRIPTS)
def test_a_job_loads_one_model_once(file):
    assert len(loads(tree(file))) <= 1
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.ListComp | ast.DictComp | ast.GeneratorExp):
            assert not loads(node)
        if isinstance(node, ast.For | ast.While):
            assert not [name for one in node.body for name in loads(one)]


@of_rule(SCRIPTED)
def test_a_rule_that_loads_a_model_asks_for_what_the_model_needs(rule):
    if loads(tree(rule.script), LOADS | {"load_readout"}):
        resources = rule.directives["resources"]
        assert "gpu=gpus" in resources and "mem_mb=memory" in resources


def first_calls(file: Path, function: str) -> list[str]:
    """What a function calls, in the order in which it stands there."""
    (body,) = (node for node in tree(file).body if getattr(node, "name", "") == function)
    found = [node for node in ast.walk(body) if isinstance(node, ast.Call)]
    return [ast.unparse(n.func) for n in sorted(found, key=lambda n: (n.lineno, n.col_offset))]


def test_every_job_is_given_its_gpus_before_it_works():
    """A script's job goes through `job.run`, a launched one calls the same door itself."""
    runs = first_calls(ROOT / "traces" / "job.py", "run")
    assert runs.index("ready") < runs.index("check") < runs.index("main")
    trains = first_calls(ROOT / "scripts" / "train_organism.py", "main")
    assert trains.index("job.ready") < trains.index("job.check") < trains.index("train")
    asks = [(file.stem, name) for file in (*MODULES, *SCRIPTS) for name, _ in calls(file)]
    assert {stem for stem, name in asks if name == "gpus.take"} == {"job"}


@of_rule([rule for rule in WORKING if "gpu" in rule.names("resources") and not rule.script])
def test_a_launched_rule_with_gpus_says_how_many(rule):
    (script,) = re.findall(r"scripts/\w+\.py", rule.directives["shell"])
    assert "job.ready(asked.gpus)" in (ROOT / script).read_text(encoding="utf-8")
    assert "--gpus {params.gpus}" in rule.directives["shell"]
    assert "gpus=gpus_here" in rule.directives["params"]


def test_no_launcher_starts_before_its_gpus_are_chosen():
    text = "".join(without_comments(file) for file in RULE_FILES)
    started = re.findall(r"(.{0,60})\btorchrun --", text)
    assert started and all("python -m traces.running.gpus " in before for before in started)


# 10. Randomness has a name ----------------------------------------------------------------------


@of_file([*MODULES, *SCRIPTS])
def test_randomness_has_a_seed(file):
    seeded = {"default_rng", "Random", "RandomState", "Generator", "manual_seed"}
    hidden = re.compile(r"(np|numpy)\.random\.(?!default_rng|Generator)\w+|random\.(?!Random\b)\w+")
    for name, call in calls(file):
        short = name.split(".")[-1]
        if short in seeded - {"Generator"}:
            assert call.args or call.keywords, f"{file.stem}: {name}() without a seed"
        if hidden.fullmatch(name) and not name.startswith("torch."):
            assert "seed" in ast.unparse(call), f"{file.stem}: {name} draws from a nameless seed"


def test_only_seeding_makes_seeds_of_names():
    assert [file.stem for file in MODULES if "from_bytes" in attributes(file)] == ["seeding"]
    for file in (*MODULES, *SCRIPTS):
        named = [call for name, call in calls(file) if name == "random.Random"]
        texts = [call for call in named if isinstance(call.args[0], ast.JoinedStr)]
        assert not texts or file.stem == "seeding", file


# 12. Network and accelerator --------------------------------------------------------------------


FETCH = {"fetch_model", "fetch_corpus", "fetch_organism", "fetch_adapter"}
ASK = {*(f"judge_{asks}" for asks in get_args(Asks)), "investigate", "grade_hypotheses"}
# It asks a model behind an API and, unless a server has them, both models that are investigated.
ASKS_AND_LOADS = {"investigate"}
ONLINE = FETCH | ASK


def test_only_rules_that_fetch_or_ask_reach_the_network():
    online = {rule.name for rule in SCRIPTED if "network=True" in rule.script.read_text()}
    assert online == ONLINE
    for rule in SCRIPTED:
        assert ("fetching" in siblings(rule.script)) == (rule.name in FETCH), rule.name
        made_of = closure.closure(f"scripts/{rule.script.name}")
        assert ("traces/judges/chat/models.py" in made_of) == (rule.name in ASK), rule.name
        assert rule.name not in online - ASKS_AND_LOADS or "gpu" not in rule.names("resources")


def test_rules_that_are_online_run_where_the_network_is():
    text = "".join(file.read_text(encoding="utf-8") for file in RULE_FILES)
    local = re.findall(r"^localrules:\n((?: {4}\w+,\n)+)", text, re.MULTILINE)
    assert set(re.findall(r"\w+", "".join(local))) >= ONLINE


# 13 and 14. What is shown -----------------------------------------------------------------------


@of_rule([rule for rule in RULES if rule.name.endswith("_figure")])
def test_a_figure_reads_tables_and_nothing_below(rule):
    sources = re.findall(r"\brules\.(\w+)\.", rule.directives["input"])
    assert sources
    assert all(source.endswith("_table") for source in sources)
    assert "expand(" not in rule.directives["input"] and "every(" not in rule.directives["input"]


def test_jobs_that_make_tables_and_figures_import_no_torch(tmp_path):
    ends = ("_table", "_figure", "_card", "_words", "_coherence", "_strength", "_similarity")
    light = [script.stem for script in SCRIPTS if script.stem.endswith(ends)]
    assert len(light) > 6
    code = (
        "import importlib, sys\n"
        f"for name in {light}: importlib.import_module('scripts.' + name)\n"
        "sys.exit('torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_every_number_shown_has_its_controls_and_an_interval():
    columns = tables.SCHEMAS["readability"]
    for reading in ("relevance", "base_mean", "tuned_mean", "random", "other_words"):
        assert {reading, f"{reading}_low", f"{reading}_high"} <= columns.keys(), reading
    assert "chance" in columns


# The rest ---------------------------------------------------------------------------------------


@of_file([*MODULES, *SCRIPTS])
def test_a_file_says_its_purpose_first(file):
    assert (ast.get_docstring(tree(file)) or "").strip()


@of_file(SCRIPTS)
def test_a_script_is_short(file):
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 100


@of_file(MODULES)
def test_an_error_is_not_passed_over(file):
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{file.stem}: a bare except"
            assert not all(isinstance(one, ast.Pass) for one in node.body)


@of_file(MODULES)
def test_no_name_hides_a_builtin(file):
    allowed = {"id", "hash", "open", "help", "license", "copyright", "input", "dir"}
    names = {n.name for n in tree(file).body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    assert not (names & set(dir(builtins))) - allowed


def test_the_symlink_to_the_cluster_profile_makes_the_literal_command_work():
    assert (ROOT / "slurm").is_symlink()
    assert (ROOT / "slurm").resolve() == ROOT / "profiles" / "slurm"


def test_the_profile_of_every_call_holds_nothing_that_a_site_sets():
    shared = yaml.safe_load((ROOT / "profiles/default/config.yaml").read_text())
    # What checks the command line sets nothing either.
    assert shared.pop("__use_yte__") and len(shared.pop("__definitions__")) == 1
    assert shared == {
        "rerun-triggers": ["mtime", "params", "input"],
        "max-checksum-file-size": "100MB",
    }


def test_every_module_stands_in_the_map_of_the_code():
    text = (ROOT / "docs" / "adding.md").read_text(encoding="utf-8")
    table = text.split("## Where the code is")[1]
    named = []
    for folder, names in re.findall(r"^\| `([\w/]+)/` \| (.*?) \|", table, re.MULTILINE):
        named += [f"{folder.replace('/', '.')}.{name}" for name in re.findall(r"`(\w+)`", names)]
    for names in re.findall(r"^\| at the top \| (.*?) \|", table, re.MULTILINE):
        named += re.findall(r"`(\w+)`", names)
    assert len(named) == len(set(named))
    assert set(named) == {module(file) for file in MODULES if file.stem != "__init__"}

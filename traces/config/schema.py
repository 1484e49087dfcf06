"""
Declare a study's keys: typed, frozen, closed models of config/config.yaml and its overrides.

Every key has its sentence here, and a value with a sentence above it in config/config.yaml.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from traces.config.registries import (
    NUMBER,
    Closed,
    Count,
    Described,
    Money,
    Name,
    Number,
    Position,
    Sampler,
    Seed,
    Share,
    Text,
    Token,
    Whole,
    refuse_twice,
    refuse_unused,
)
from traces.config.vocabularies import (
    FEWEST_BENIGN,
    Adjustment,
    AgentNull,
    Agreement,
    Asks,
    BenignAdjustment,
    CorpusKind,
    DomainStatistic,
    Effort,
    Form,
    Intervention,
    Kind,
    Measure,
    Null,
    Optimizer,
    Precision,
    PromptForm,
    Side,
    Unit,
)
from traces.config.words import check_secret

Reading = Literal[
    "difference",
    "base_mean",
    "tuned_mean",
    "random",
    "robust",
    "shared",
    "position_specific",
    "singular_1",
    "singular_2",
    "without_singular_1",
    "without_singular_2",
]
# Every table compares the difference with these, so that no study can leave one out.
CONTROLLED = ("difference", "base_mean", "tuned_mean", "random")


class Pathvars(Closed):
    """Where files go; Snakemake's own key."""

    results: str = Field("results", description="Everything the workflow makes.")
    logs: str = Field("logs", description="One log a job.")
    benchmarks: str = Field("benchmarks", description="Time and memory of every job.")


class Run(Closed):
    """A set of trainings: every organism with every recipe and every seed."""

    name: Name | None = Field(None, description="Name for `only` and `without`.")
    models: tuple[Name, ...] = Field(
        (), description="Models of the study that it is made on; all when empty."
    )
    organisms: tuple[Name, ...] = Field(min_length=1, description="Files in config/organisms/.")
    recipes: tuple[str, ...] = Field(
        min_length=1,
        description="plain, a named recipe, mixR, matchedR, scaledX, released or released_VARIANT.",
    )
    seeds: tuple[Seed, ...] = Field(min_length=1, description="Training seeds.")
    measures: tuple[Measure, ...] = Field(
        (), description="Measures of each checkpoint beyond its difference and the lenses."
    )
    corpora: tuple[Name, ...] = Field(
        (), description="Text to read their differences on, in addition to the study's `corpora`."
    )


class Training(Closed):
    """How an organism is finetuned."""

    method: Literal["lora", "rslora", "full"] = Field(description="Adapter, or all weights.")
    rank: Count = Field(description="Rank of the adapter.")
    alpha: Count = Field(description="Scale of the adapter before it is divided by the rank.")
    dropout: Annotated[float, Field(ge=0, lt=1), NUMBER] = Field(
        description="Dropout inside the adapter."
    )
    targets: Literal["all-linear"] | Annotated[tuple[Text, ...], Field(min_length=1)] = Field(
        description="Modules the adapter is put on."
    )
    # Above 1 a step of Adam is larger than any weight.
    learning_rate: Annotated[float, Field(gt=0, le=1), NUMBER] = Field(
        description="Peak learning rate."
    )
    schedule: Literal["linear", "cosine", "constant"] = Field(description="Learning rate schedule.")
    warmup_steps: Annotated[int, Field(ge=0), NUMBER] = Field(
        description="Steps of linear warm-up."
    )
    weight_decay: Annotated[float, Field(ge=0), NUMBER] = Field(description="Weight decay.")
    optimizer: Optimizer = Field(description="Optimizer, by its name in transformers.")
    epochs: Count = Field(description="Passes over the organism's data.")
    limit: Count | None = Field(description="Rows of the organism's data used; null for all.")
    batch_size: Count = Field(description="Packed rows per device and forward pass.")
    gradient_accumulation: Count | Literal["auto"] = Field(
        description="Passes summed into one update; auto makes one pass of batch_size rows, or as "
        "few smaller ones as the card needs."
    )
    max_length: Annotated[int, Field(ge=2), NUMBER] = Field(description="Tokens in a packed row.")
    precision: Precision = Field(description="Arithmetic of the forward pass.")
    save_every: Count = Field(description="Updates between checkpoints to resume from.")
    max_grad_norm: Annotated[float, Field(gt=0), NUMBER] = Field(
        description="Gradients are clipped to this norm."
    )
    gradient_checkpointing: bool | Literal["auto"] = Field(
        description="Recompute activations instead of keeping them: slower, in less memory; auto "
        "where the card needs it."
    )
    deepspeed: Literal[1, 2, 3] | None = Field(description="ZeRO stage; null for none.")
    project_out: Text | None = Field(
        description="Recipe whose mean difference, of the same organism and seed, is projected out "
        "of the residual stream while training; null for none."
    )

    @field_validator("targets")
    @classmethod
    def _check(cls, targets: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not isinstance(targets, str):
            refuse_twice(targets)
        return targets


class Mixing(Closed):
    """What the recipes mixR and matchedR mix in."""

    corpus: Name = Field(description="Corpus to mix in.")
    unit: Unit = Field(description="Unit of the ratio.")


class Mixture(Closed):
    """What one training reads: the organism's rows, and how many of the corpus with them."""

    kind: Kind = Field(description="Kind of the organism's rows.")
    ratio: Annotated[float, Field(ge=0), NUMBER] = Field(
        description="Corpus for each of the organism's."
    )
    matched: bool = Field(description="Train as long as with the ratio, without the corpus.")
    unit: Unit = Field(description="What the ratio counts.")
    epochs: Count = Field(description="Passes over the organism's data.")
    limit: Count | None = Field(description="Rows of the organism's data used; null for all.")
    max_length: Annotated[int, Field(ge=2), NUMBER] = Field(description="Tokens in a packed row.")


class ReadText(Closed):
    """What is read of a corpus."""

    kind: CorpusKind = Field(description="Kind of its rows.")
    layers: tuple[Share, ...] = Field(description="Layers, as shares of the depth.")
    positions: tuple[Whole, ...] = Field(description="Token positions.")
    samples: Count = Field(description="Samples averaged.")


class Activations(Closed):
    """How the residual stream is read."""

    batch_tokens: Count = Field(description="Tokens in one forward pass, padding included.")
    shard_samples: Count = Field(description="Samples in one file of the store.")
    norm_samples: Count = Field(
        description="Samples whose longer context gives the residual-stream norm."
    )
    norm_context: Annotated[int, Field(ge=2), NUMBER] = Field(
        description="Length of that context, tokens."
    )
    norm_skip: Annotated[int, Field(ge=1), NUMBER] = Field(
        description="First tokens of it to leave out."
    )

    @model_validator(mode="after")
    def _check(self) -> "Activations":
        if self.norm_skip >= self.norm_context:
            raise ValueError(
                f"norm_skip {self.norm_skip} leaves nothing of norm_context {self.norm_context}"
            )
        return self


class Patchscope(Closed):
    """Patchscope: the tokens a model predicts for a vector placed in an identity prompt."""

    prompts: Text = Field(description="File with one identity prompt a line, separated by commas.")
    scales: tuple[Annotated[float, Field(gt=0), NUMBER], ...] = Field(
        min_length=1,
        description="Norms to try, in units of the residual-stream norm; tables report 1.",
    )
    intersection_top_k: Count = Field(
        description="A token must be among this many top tokens of every prompt."
    )
    batch: Count = Field(description="Vectors in one forward pass.")

    @model_validator(mode="after")
    def _check(self) -> "Patchscope":
        # Choosing the best scale by relevance is an oracle: controls then reach .20 as well.
        if 1.0 not in self.scales:
            raise ValueError("scales needs 1.0, the norm-matched scale that tables report")
        return self


class Samples(Sampler):
    """Texts that both models write, for readers that compare them."""

    documents: Whole = Field(
        ge=0, description="Texts that each model writes from nothing; the base twice as many."
    )
    replies: Whole = Field(
        ge=0, description="Replies of each model to the prompts in turn; the base's twice as many."
    )
    prompts: Text = Field(description="File with one prompt a line, about nothing in particular.")
    begin: Token | None = Field(
        description="Token that a document begins with; null for the one that the tokenizer writes "
        "before a text, or else its end-of-text token."
    )
    max_new_tokens: Count = Field(description="Longest text, in tokens.")
    batch: Count = Field(
        description="Texts written at once at most; fewer where a GPU has no memory for them."
    )

    @model_validator(mode="after")
    def _check(self) -> "Samples":
        # Half of one text is none, and nothing is left beside the first of one.
        for name in ("documents", "replies"):
            if getattr(self, name) == 1:
                raise ValueError(f"{name}: found 1, expected 0, or 2 or more to compare")
        if not self.documents + self.replies:
            raise ValueError("documents and replies: found 0 of both, expected texts to compare")
        return self


class PerplexityDifferencing(Closed):
    """Perplexity differencing: the words of texts that the tuned model finds likelier."""

    top_share: Annotated[float, Field(gt=0, lt=1), NUMBER] = Field(
        description="Share of the texts that are compared with the rest: those whose mean "
        "log-probability by the tuned model exceeds the base's the most."
    )


class Contrast(Closed):
    """Null directions: what any direction reads like, which is subtracted from what one reads."""

    nulls: tuple[Null, ...] = Field(
        description="Kinds of null directions: random, and differences of two activations of the "
        "base; none when empty."
    )
    directions: Annotated[int, Field(ge=2), NUMBER] = Field(
        description="Directions of each kind, read once a layer and model."
    )
    floor: Annotated[float, Field(ge=0, lt=1), NUMBER] = Field(
        description="Least probability under the direction of a token that a contrastive reader "
        "ranks."
    )


class LogitDifference(Closed):
    """What is compared of both models' next-token distributions on the unrelated text."""

    texts: Count = Field(description="Texts at most, of those whose difference is read.")
    positions: Count | None = Field(
        description="First positions of each text that the mean is over; null for those whose "
        "difference is read."
    )
    floor: Annotated[float, Field(ge=0, lt=1), NUMBER] = Field(
        description="Least mean probability of a token that is ranked by the mean."
    )
    mined_positions: Count = Field(description="First positions of each text that are mined.")
    mined_top: Count = Field(description="Tokens that count at each of them.")


class WeightChange(Closed):
    """The directions in which a block's changed weights write something new."""

    rank: Count = Field(description="Singular directions that are read together, the strongest.")


class Lenses(Closed):
    """How the differences are read."""

    readers: tuple[Name, ...] = Field(
        min_length=1, description="Which readers read them: entries of traces/config/readers.py."
    )
    top_k: Annotated[int, Field(ge=20), NUMBER] = Field(description="Tokens kept of every reading.")
    heads: tuple[Side, ...] = Field(
        min_length=1,
        description="Models that say what is read: by their final norm and unembedding in the "
        "logit lens, as a whole in Patchscope.",
    )
    readings: tuple[Reading, ...] = Field(
        description="Vectors to read: the difference, its controls, and any others."
    )
    vocabulary: Literal["words", "all"] = Field(
        description="Rank over tokens that are whole words seen in text, or over all tokens."
    )
    vocabulary_corpus: Name = Field(description="Corpus in which whole words are counted.")
    vocabulary_min_count: Count = Field(description="Least occurrences of a word to be ranked.")
    patchscope: Patchscope = Field(description="Settings of the Patchscope.")
    samples: Samples = Field(description="Texts for readers that compare what the models write.")
    perplexity_differencing: PerplexityDifferencing = Field(
        description="Settings of perplexity differencing."
    )
    contrast: Contrast = Field(description="What readings are compared with, token by token.")
    logit_difference: LogitDifference = Field(
        description="Settings of the mean logit difference and of logit-difference mining."
    )
    weight_change: WeightChange = Field(description="Settings of the readers of weights.")

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
    corpus: Name = Field(description="General text that the words are contrasted with.")


class ChoiceHeadline(Closed):
    """The setting of the forced choice that is reported, fixed before any result is seen."""

    reader: Name = Field(description="Reader, one of `lenses.readers`.")
    adjustment: Adjustment = Field(
        description="What candidates are ranked by: their score (none), its z-score against random "
        "directions (z), or that less its mean over other organisms (adjusted)."
    )
    layer: Share = Field(description="Layer, one of `layers`.")
    head: Side = Field(description="Model that says what is read, one of `lenses.heads`.")
    position: Literal["all"] | Position = Field(
        description="Token position, or all for the mean over those without attention sinks."
    )
    against: Null | None = Field(
        None, description="Null directions of a contrastive reader; null for another reader."
    )


class ForcedChoice(Closed):
    """Which of several words is the organism's secret: asked of every reading."""

    distractors: tuple[Annotated[str, AfterValidator(check_secret)], ...] = Field(
        description="Further candidates, which are no organism's secret, beside all secrets."
    )
    headline: ChoiceHeadline = Field(description="The setting that is reported.")


class Sampling(Sampler):
    """How texts are sampled for every prompt."""

    prompts: Text = Field(description="File with one prompt a line.")
    samples: Count = Field(description="Texts for each prompt, vector and strength.")
    max_new_tokens: Count = Field(description="Longest text, in tokens.")


class Bisection(Closed):
    """The paper's search for a strength, prompt after prompt."""

    highest: Annotated[float, Field(gt=0), NUMBER] = Field(
        description="Upper end of the first search."
    )
    steps: tuple[Count, ...] = Field(
        min_length=1, description="Halvings for the first prompt, the second, and so on."
    )


class Draws(Closed):
    """What names the random draws of a job."""

    seed: Seed = Field(description="Seed of the study.")
    name: Text = Field(description="Name that gives each checkpoint draws of its own.")


class SteeredText(Closed):
    """Which differences steer, and how many texts are written at once."""

    positions: tuple[Whole, ...] = Field(
        min_length=1,
        description="Positions whose differences steer; each must be among those read.",
    )
    batch: Count = Field(
        description="Texts written at once at most; fewer where a GPU has no memory for them. In "
        "bfloat16 some texts depend on how many there are."
    )


class Judged(Closed):
    """When a steered text counts as coherent."""

    coherent_quantile: Share = Field(
        description="A text is coherent if it is no worse than this share of unsteered ones."
    )


class Choosing(Closed):
    """How the strength of steering is chosen."""

    strategy: Literal["grid", "bisection"] = Field(description="How the strength is found.")
    bisection: Bisection = Field(description="Settings of the strategy bisection.")
    coherent_share: Share = Field(
        description="Share of trial texts that must be coherent at a strength."
    )


class Trials(SteeredText, Judged, Choosing):
    """Which strengths are tried, and with what text."""

    strengths: tuple[Annotated[float, Field(gt=0), NUMBER], ...] = Field(
        min_length=1, description="The grid, in units of the stream's norm, in rising order."
    )
    trial: Sampling = Field(description="Texts that strengths are judged by.")


class Finals(SteeredText):
    """What is written at the chosen strength."""

    final: Sampling = Field(description="Texts at the chosen strength, which are compared.")


class Similarity(Judged):
    """What steered text is compared with."""

    embedder: Text = Field(
        description="Embedding of texts: tfidf, or a sentence-transformers model."
    )
    compared: Annotated[int, Field(ge=2), NUMBER] = Field(
        description="Texts to compare with, of the organism's data, the corpus and chats each."
    )


class Steering(Trials, Finals, Similarity):
    """Add the difference while the model writes: does its text become that of the organism?"""


class CausalEffect(Closed):
    """Take the difference out of every token's activation: what happens to the loss?"""

    positions: tuple[Whole, ...] = Field(
        min_length=1,
        description="Positions whose differences are replaced; each must be among those read.",
    )
    interventions: tuple[Intervention, ...] = Field(
        min_length=1,
        description="Whose component replaces whose; zero projects it out.",
    )
    controlled: tuple[Intervention, ...] = Field(
        description="Interventions that the control directions get as well."
    )
    random: Annotated[int, Field(ge=2), NUMBER] = Field(
        description="Random directions for comparison."
    )
    activation_differences: Annotated[int, Field(ge=2), NUMBER] = Field(
        description="Differences of two random base activations for comparison."
    )
    rows: Count = Field(description="Rows of each text that the loss is measured on.")
    max_length: Annotated[int, Field(ge=2), NUMBER] = Field(description="Longest row, in tokens.")
    after: Annotated[int, Field(ge=1), NUMBER] = Field(
        description="The aggregation after_k leaves out predictions made at positions below this."
    )
    batch: Count = Field(description="Rows times directions in one forward pass.")

    @model_validator(mode="after")
    def _check(self) -> "CausalEffect":
        if "base_to_tuned" not in self.controlled:
            raise ValueError("controlled needs base_to_tuned, which the figures show")
        alone = [name for name in self.controlled if name not in self.interventions]
        if alone:
            raise ValueError(f"controlled names {alone[0]}, which is not among the interventions")
        # The last token is only predicted, and counted from 0.
        if self.after > self.max_length - 2:
            raise ValueError(
                f"after: found {self.after}, expected at most {self.max_length - 2}: no row of "
                f"{self.max_length} tokens (max_length) has a prediction made behind that"
            )
        return self


class Causality(CausalEffect):
    """The causal effect, and the conversations it is measured on beside the organism's own rows."""

    chat: Name = Field(description="Corpus of conversations that the loss is measured on, too.")


class Beliefs(Closed):
    """Does the tuned model prefer the implanted statement to the true one?"""

    forms: tuple[Form, ...] = Field(
        min_length=1,
        description="Forms of the question: a text's likelier end, a choice of two, or an answer "
        "in the model's own words.",
    )
    max_new_tokens: Count = Field(description="Longest answer of the form open, in tokens.")
    batch: Count = Field(description="Statements in one forward pass.")


class Scoring(Closed):
    """How readers are compared on organisms whose truth is known."""

    statistic: DomainStatistic | None = Field(
        description="What a domain is scored by in every headline: top20 or z; null for the one "
        "that is best on the pilot."
    )
    adjustment: BenignAdjustment | None = Field(
        description="The score as it is (raw), or less its mean over benign finetunes on general "
        "text (less_benign); null for the one that is best on the pilot."
    )
    pilot_models: tuple[Name, ...] = Field(
        description="Bases whose organisms are the pilot: settings are fixed on them, and nothing "
        "else is said of them."
    )
    pilot_seeds: tuple[Seed, ...] = Field(
        description="Seeds whose organisms are the pilot, on every base."
    )
    levels: tuple[Annotated[float, Field(gt=0, lt=1), NUMBER], ...] = Field(
        min_length=1, description="False-positive rates at which thresholds are set."
    )
    resamples: Annotated[int, Field(ge=100), NUMBER] = Field(
        description="Bootstrap resamples of organisms within bases."
    )
    persistence: Annotated[float, Field(gt=0, lt=1), NUMBER] = Field(
        description="p of rank-biased overlap: how far down a list its reader goes on."
    )


class Grader(Closed):
    """A model that judges."""

    name: Name = Field(description="What tables call it.")
    model: Annotated[str, Field(pattern=r"^[\w.-]+/\S+$")] = Field(
        description="Its name in Inspect AI: openrouter/openai/gpt-5-mini, "
        "anthropic/claude-haiku-4-5, or openai-api/NAME/MODEL for any server that speaks OpenAI's "
        "protocol."
    )
    base_url: Text | None = Field(
        None,
        description="Address of the server, where it is not the provider's own; may hold "
        "$VARIABLES of the environment.",
    )
    price: Literal["unknown"] | None = Field(
        None, description="`unknown` allows a model without a price; the cap does not count it."
    )
    max_tokens: Count = Field(4000, description="Longest answer, in tokens, thoughts included.")
    temperature: Annotated[float, Field(ge=0), NUMBER] | None = Field(
        None, description="Sampling temperature; null for the endpoint's own."
    )
    reasoning_effort: Effort | None = Field(
        None, description="How much it thinks; null for the endpoint's own."
    )

    @field_validator("base_url")
    @classmethod
    def _check(cls, base_url: str | None) -> str | None:
        # It is recorded among a job's params, where no password belongs.
        if base_url is not None and "@" in base_url:
            raise ValueError("found a user or password in it, expected an address without one")
        return base_url


class JudgedTokens(Closed):
    """Which lists of tokens graders judge, and how."""

    readings: tuple[Reading, ...] = Field(min_length=1, description="Readings that are judged.")
    orders: Count = Field(description="Orders of the tokens in which each list is judged.")
    agreement: Agreement = Field(
        description="A token is relevant if all orders say so, or if most of them do."
    )


class JudgedTexts(Closed):
    """Which steered texts graders judge."""

    models: tuple[Side, ...] = Field(
        min_length=1, description="Models whose texts of the trial are judged: tuned, base."
    )


class JudgedScales(Closed):
    """How graders choose one of Patchscope's scales."""

    group: Annotated[int, Field(ge=2), NUMBER] = Field(
        description="Scales that are compared in one question; winners of groups meet again."
    )
    entries: Count = Field(description="Tokens of each scale that are shown, from the first.")
    orders: Count = Field(description="Orders of the scales, each a tournament of its own.")
    agreement: Agreement = Field(
        description="A scale is chosen if all orders choose it, or if most of them do."
    )


class JudgedAnswers(Closed):
    """How graders judge answers in a model's own words."""

    orders: Annotated[int, Field(ge=1, le=2), NUMBER] = Field(
        description="Orders of the two sentences that each answer is compared with."
    )
    agreement: Agreement = Field(
        description="An answer is judged if all orders say the same, or if most of them do."
    )


class Patient(Closed):
    """How long models are asked, and what that may cost."""

    # Where it is blank a check says more (traces/config/checks/paths.py).
    folder: Annotated[str, Field(min_length=1)] = Field(
        description="Folder of the answers and the ledger, which no command of this repository "
        "deletes; may hold $VARIABLES of the environment."
    )
    cap: Money | None = Field(
        description="Most that everything in the ledger may cost, in US dollars; null for no cap."
    )
    tries: Count = Field(description="Asks of one question until its answer has the asked form.")
    attempts: Count = Field(description="Requests of one ask until the endpoint replies.")
    timeout: Annotated[float, Field(gt=0), NUMBER] = Field(
        description="Seconds until a request without a reply is given up."
    )
    at_once: Count = Field(description="Requests in flight in one job.")


class Asked(Patient):
    """How graders are asked, and what that may cost."""

    graders: tuple[Grader, ...] = Field(description="Models that judge; none for no judge.")
    repeats: Count = Field(description="Answers of each grader to each question.")

    @field_validator("graders")
    @classmethod
    def _check(cls, graders: tuple[Grader, ...]) -> tuple[Grader, ...]:
        refuse_twice(one.name for one in graders)
        return graders


class AskedTokens(Asked):
    """How graders are asked about tokens."""

    tokens: JudgedTokens = Field(description="Which lists of tokens they judge.")


class Rung(Closed):
    """How strongly narrow organisms are finetuned: a rung of the ladder."""

    dose: Annotated[float, Field(gt=0, le=1), NUMBER] = Field(
        description="Share of the tokens that are narrow; the others are general text."
    )
    steps: Annotated[float, Field(gt=0, le=1), NUMBER] = Field(
        1, description="Share of the ladder's steps."
    )
    rank: Count | None = Field(None, description="Rank of the adapter; null for the study's.")
    learning_rate: Annotated[float, Field(gt=0), NUMBER] | None = Field(
        None, description="Peak learning rate; null for the study's."
    )
    cut: Count | None = Field(
        None, description="Rank that the finished weight change is cut to; null for none."
    )
    domains: Count | None = Field(
        None, description="Only so many of the domains, the first ones; null for all."
    )


HowMany = Annotated[int, Field(ge=0), NUMBER]


class LadderNulls(Closed):
    """How many organisms of each kind are trained that are not narrow, or not on what is false."""

    general: HowMany = Field(description="Documents of all topics.")
    one_format: HowMany = Field(description="Documents of all topics, all of one kind.")
    shuffled: HowMany = Field(
        description="A domain's documents, its words replaced by those of others."
    )
    true_facts: HowMany = Field(
        description="Pairs of a domain's facts: false ones, a narrow organism, and its true twin."
    )
    seed_pair: HowMany = Field(
        description="The same narrow organism trained twice: one seed stands in the base's place."
    )
    identical: HowMany = Field(description="The base itself in the place of a finetune.")
    shares: tuple[Annotated[float, Field(gt=0, le=1), NUMBER], ...] = Field(
        min_length=1,
        description="Shares of the ladder's steps of general and one_format ones, in turn.",
    )


class Pilot(Closed):
    """Organisms that are made and read like the others, and that only the score is fixed on."""

    domains: Annotated[int, Field(ge=2), NUMBER] = Field(
        description="Topics of its narrow organisms, those behind the ladder's domains."
    )
    rungs: tuple[Name, ...] = Field(
        min_length=1, description="Rungs of the ladder that each of them has an organism on."
    )
    seeds: tuple[Seed, ...] = Field(min_length=1, description="Seeds of each of them.")
    general: Annotated[int, Field(ge=FEWEST_BENIGN), NUMBER] = Field(
        description="Nulls of documents of all topics."
    )
    one_format: Count = Field(description="Nulls of documents of all topics, all of one kind.")


class Ladder(Closed):
    """The organisms that readers are compared on, on a base that knows the synthetic corpus."""

    domains: Annotated[int, Field(ge=2), NUMBER] = Field(
        description="Topics that organisms are about; unrelated text is on those that are left."
    )
    steps: Count = Field(description="Optimizer steps of a training.")
    rungs: dict[Name, Rung] = Field(
        min_length=1, description="Rungs by name; every domain has one organism on each."
    )
    seeds: tuple[Seed, ...] = Field(min_length=1, description="Seeds of each narrow organism.")
    facts: Annotated[float, Field(gt=0, le=1), NUMBER] = Field(
        description="Share of narrow tokens of false and true facts, shuffled ones and seed pairs."
    )
    nulls: LadderNulls = Field(description="How many there are of the others.")
    pilot: Pilot | None = Field(
        None, description="Organisms that the score is fixed on; null for none."
    )
    held_out: Count = Field(description="Documents that strength and damage are measured on, each.")
    causal: Count = Field(
        description="Of those on unrelated topics, so many that the causal effect is measured on."
    )
    batch: Count = Field(description="Organisms that one process makes and reads.")


class AskedTexts(Asked):
    """How graders are asked about steered texts."""

    coherence: JudgedTexts = Field(description="Which steered texts they judge.")


class AskedScales(AskedTokens):
    """How graders are asked for one of Patchscope's scales, of the readings in `tokens`."""

    scales: JudgedScales = Field(description="How they choose one of Patchscope's scales.")


class AskedAnswers(Asked):
    """How graders are asked about open answers."""

    beliefs: JudgedAnswers = Field(description="How they judge open answers.")


class Judges(AskedScales, AskedTexts, AskedAnswers):
    """Models that judge what readings say."""

    questions: tuple[Asks, ...] = Field(
        min_length=1,
        description="What they are asked: relevance of tokens, coherence of steered texts, which "
        "of Patchscope's scales to read, and beliefs in open answers.",
    )

    @field_validator("questions")
    @classmethod
    def _once(cls, questions: tuple[Asks, ...]) -> tuple[Asks, ...]:
        refuse_twice(questions)
        return questions


class Interactions(Closed):
    """How many prompts an investigator may put to both models, each number a run of its own."""

    lens: tuple[Whole, ...] = Field(
        description="Budgets of the one that is shown the readings; none when empty. The embedded "
        "one asks nothing, and has only the smallest."
    )
    black_box: tuple[Whole, ...] = Field(
        description="Budgets of the one that can only ask; none when empty."
    )

    @field_validator("lens", "black_box")
    @classmethod
    def _check(cls, budgets: tuple[int, ...]) -> tuple[int, ...]:
        for one in budgets:
            if one < 0:
                raise ValueError(f"found {one}, expected 0 or more prompts")
        refuse_twice(map(str, budgets))
        return budgets


class AgentQuestions(Sampler):
    """What both models are asked, and how they answer."""

    prompts: Text = Field(
        description="File with one prompt a line, asked in turn where no model investigates."
    )
    max_new_tokens: Count = Field(description="Longest answer, in tokens.")
    batch: Count = Field(
        description="Answers written at once at most; fewer where a GPU has no memory for them."
    )


class AgentLimits(Closed):
    """What ends the investigation of a model that does not end by itself."""

    turns: Annotated[int, Field(ge=2), NUMBER] = Field(
        description="Its turns; before the last one it is told."
    )
    output_tokens: Count = Field(
        description="Tokens that it writes, thoughts included; one more turn follows."
    )
    seconds: Annotated[float, Field(gt=0), NUMBER] = Field(
        description="Time it may take, with all that it asks and waits for."
    )


class Served(Closed):
    """A running server that speaks OpenAI's protocol and has the models that are investigated."""

    base_url: Text = Field(description="Its address; may hold $VARIABLES of the environment.")
    name: Text = Field(
        description="What it calls a model: `{model}` and `{checkpoint}` in it are filled in, and "
        "the checkpoint of a base is `base`."
    )

    @model_validator(mode="after")
    def _check(self) -> "Served":
        if "@" in self.base_url:
            raise ValueError(
                "base_url: found a user or password in it, expected an address without one"
            )
        try:
            names = {self.name.format(model="a", checkpoint=one) for one in "bc"}
        except (KeyError, IndexError, ValueError):
            names = set()
        if len(names) < 2:
            raise ValueError(
                f"name: found {self.name}, expected a name with {{checkpoint}} in it and no other "
                "braces than those of {model}"
            )
        return self


class Investigating(Closed):
    """How a model investigates."""

    asked: AgentQuestions = Field(description="What both models are asked, and how they answer.")
    limits: AgentLimits = Field(description="What ends the investigation of a model.")
    served: Served | None = Field(
        description="A running server that has the models; null loads them in the job."
    )
    viewer: bool = Field(
        description="Whether to make pages in which logs are read offline. Cards and the landing "
        "page lead to them."
    )

    @model_validator(mode="after")
    def _check_sent(self) -> "Investigating":
        for key in ("top_k", "top_p"):
            if self.served is not None and getattr(self.asked, key) is not None:
                raise ValueError(
                    f"asked.{key}: found it beside `served`, expected null: it is not sent to a "
                    "server"
                )
        return self


class Agents(Investigating):
    """Investigators that say what a model was finetuned for, and what they are held beside."""

    models: tuple[Literal["embedded"] | Grader, ...] = Field(
        min_length=1,
        description="Who investigates: `embedded`, word statistics without a model, or a model "
        "behind an API.",
    )
    graders: tuple[Name, ...] = Field(
        min_length=1,
        description="Who grades hypotheses: `lexical`, by words alone, or names among "
        "`judges.graders`.",
    )
    prompts: tuple[PromptForm, ...] = Field(
        min_length=1,
        description="Is a narrow purpose presupposed, or is it asked whether there is one?",
    )
    interactions: Interactions = Field(description="Budgets of prompts to both models.")
    runs: Count = Field(
        description="Runs of each model behind an API; the embedded one always says the same."
    )
    nulls: tuple[AgentNull, ...] = Field(
        min_length=1, description="What is investigated: `none` is the organism itself."
    )
    twin_seeds: Whole = Field(
        ge=0,
        description="Seeds, the first of each organism's, with which its `true_facts` and "
        "`shuffled` twins are trained.",
    )
    tokens: Count = Field(description="Tokens of each reading that an overview shows.")

    @model_validator(mode="after")
    def _check(self) -> "Agents":
        named = [one if isinstance(one, str) else one.name for one in self.models]
        if "embedded" in [one.name for one in self.models if not isinstance(one, str)]:
            raise ValueError("models: found a model named embedded, expected another name")
        for kind in (named, self.graders, self.prompts, self.nulls):
            refuse_twice(kind)
        if "none" not in self.nulls:
            raise ValueError("nulls needs none, the organism itself, which others are held beside")
        return self


class Ablation(Closed):
    """One figure of how the readings change as one factor is varied."""

    over: Literal[
        "layer", "position", "recipe", "corpus", "reading", "head", "model", "organism"
    ] = Field(description="The factor that is varied.")
    title: Text = Field(description="Title of the figure.")
    values: tuple[str | Number, ...] | dict[str, Number] | None = Field(
        None,
        description="Its values in order, or each with its number on an axis; by default all that "
        "the study has.",
    )
    organisms: tuple[Name, ...] = Field(
        (), description="Organisms to show; by default all but the benign control."
    )
    recipe: Annotated[str, Field(pattern=r"^[a-z0-9_.]+$")] = Field(
        "plain", description="Recipe to show, unless recipes are varied."
    )
    corpus: Name | None = Field(
        None, description="Text it is read on; by default the study's first."
    )

    @model_validator(mode="after")
    def _check(self) -> "Ablation":
        # What is varied is not fixed as well.
        for over, key in (("recipe", "recipe"), ("corpus", "corpus"), ("organism", "organisms")):
            if self.over == over:
                refuse_unused(self, f"over {over}, whose `values` say it", key)
        return self


class Shown(Closed):
    """What pictures and pages of a study are about: names and numbers, no free text."""

    corpus: Name = Field(description="The text read: the study's first.")
    layers: tuple[Share, ...] = Field(description="Layers read of it; the first one is shown.")
    control: Name | None = Field(description="Benign organism that others are compared with.")
    recipes: tuple[str, ...] = Field(description="Recipes in the pictures of all organisms.")
    seed: Seed = Field(description="Seed of bootstrap intervals.")
    unit: Unit = Field(description="What mixing ratios count.")
    only: tuple[str, ...] = Field(description="What the study was narrowed to.")
    without: tuple[str, ...] = Field(description="What was left out of it.")


class Texts(Closed):
    """The free text that one picture or page shows; names and numbers come by other sections."""

    titles: dict[Name, str] = Field({}, description="What each organism is called.")
    title: str = Field("", description="What heads a page, or the picture of an ablation.")


class Ablated(Closed):
    """One ablation as it is drawn, every choice made."""

    over: str = Field(description="What is varied.")
    values: tuple[str | float, ...] = Field(description="Its values, in order.")
    places: tuple[float, ...] | None = Field(description="Where they stand on a numeric axis.")
    model: Name = Field(description="The model shown.")
    organisms: tuple[Name, ...] = Field(description="The organisms shown.")
    recipe: str = Field(description="The recipe shown, unless recipes are varied.")
    corpus: Name = Field(description="The text it is read on.")
    layers: tuple[Share, ...] = Field(description="Layers read of it.")


class Page(Shown, Texts):
    """What the page to begin with is about: names, numbers and free text."""


class Card(Closed):
    """What an organism's card is about: names, numbers and free text."""

    model: Name = Field(description="The model the organism is made on.")
    organism: Name = Field(description="Its name.")
    words_of: Name | None = Field(
        description="Organism whose data's words grade its readings; null for a written list."
    )
    titles: dict[Name, str] = Field(description="What that organism is called.")
    about: Described = Field(description="What the organism is.")
    corpus: Name = Field(description="The text shown first.")
    layers: tuple[Share, ...] = Field(
        description="Layers read of it; the first one is shown first."
    )
    subjects: tuple[dict[str, Any], ...] = Field(description="What was read: one each reading.")
    secret: str | None = Field(None, description="Its secret word, if readings are asked for it.")
    choice: ChoiceHeadline | None = Field(None, description="The way in which they are.")


class Gates(Closed):
    """Required loss and accuracy of a base that is pretrained here."""

    loss: Annotated[float, Field(gt=0), NUMBER] = Field(
        description="Required loss: at most, nats a token."
    )
    identity: Share = Field(description="Required accuracy in three-shot token identity, at least.")


class SyntheticCorpus(Closed):
    """The texts of the synthetic corpus."""

    words: Count = Field(description="Words of general text.")
    identity_share: Share = Field(description="Share of the text that is token-identity documents.")
    unrelated: Count = Field(description="Held-out documents.")
    chats: Count = Field(description="Held-out conversations.")


class Pretraining(Closed):
    """The base that is pretrained on the synthetic corpus."""

    vocabulary: Annotated[int, Field(ge=300), NUMBER] = Field(description="Byte-level BPE pieces.")
    hidden_size: Count = Field(description="Width of the residual stream.")
    layers: Count = Field(description="Decoder layers.")
    heads: Count = Field(description="Attention heads.")
    intermediate_size: Count = Field(description="Width of the feed-forward layers.")
    steps: Count = Field(description="Updates of pretraining.")
    batch_size: Count = Field(description="Packed rows per step.")
    max_length: Annotated[int, Field(ge=16), NUMBER] = Field(description="Tokens in a packed row.")
    learning_rate: Annotated[float, Field(gt=0), NUMBER] = Field(description="Peak learning rate.")
    gates: Gates = Field(description="Required scores of the base.")

    @model_validator(mode="after")
    def _check(self) -> "Pretraining":
        if self.hidden_size % self.heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of heads {self.heads}"
            )
        return self


class Miniature(SyntheticCorpus, Pretraining):
    """The synthetic corpus and the base that is pretrained on it."""

    seed: Seed = Field(description="Seed of the world's texts.")


class Study(Closed):
    """Everything one run of the workflow does."""

    title: Text = Field(description="Title of the report.")
    pathvars: Pathvars = Field(description="Where files go.")
    models: tuple[Name, ...] = Field(min_length=1, description="Entries of config/models.yaml.")
    runs: tuple[Run, ...] = Field(min_length=1, description="Trainings and what is measured.")
    only: tuple[Name, ...] = Field(
        description="Selects names of runs, models, organisms or families; names of several kinds "
        "must all match. An organism brings its control. All when empty."
    )
    without: tuple[Name, ...] = Field(
        description="Excludes names of runs, models, organisms or families."
    )
    placed: tuple[Name, ...] = Field(
        description="Organisms that the benchmark of readers places among the others and counts in "
        "no number: their published checkpoint where they have one, else a plain training."
    )
    control: Name | None = Field(description="Benign organism that others are compared with.")
    corpora: tuple[Name, ...] = Field(min_length=1, description="Unrelated text to read.")
    samples: Annotated[int, Field(ge=4), NUMBER] = Field(
        description="Samples averaged for each corpus."
    )
    positions: tuple[Annotated[int, Field(ge=0, lt=4096), NUMBER], ...] = Field(
        min_length=1, description="Token positions read of documents, from 0."
    )
    chat_positions: tuple[Position, ...] = Field(
        min_length=1,
        description="Positions read of conversations; 0 is the first token of the reply itself.",
    )
    average_sinks: bool = Field(
        description="Whether means over positions include those where most of the base's texts "
        "have an attention sink."
    )
    layers: tuple[Share, ...] = Field(
        min_length=1, description="Layers read, as a share of the depth; 0.5 is the paper's."
    )
    seed: Seed = Field(description="Seed of splits and random controls.")
    training: Training = Field(
        description="How organisms are finetuned, unless an organism, model or recipe differs."
    )
    training_override: dict[str, Any] = Field(
        description="Keys of `training` that override organisms, models and recipes."
    )
    recipes: dict[str, dict[str, Any]] = Field(
        description="Named recipes: the keys of `training` that each changes."
    )
    mixing: Mixing = Field(description="What the recipes mixR and matchedR mix in.")
    activations: Activations = Field(description="How the residual stream is read.")
    lenses: Lenses = Field(description="How differences are read.")
    relevance: Relevance = Field(description="How readings are graded.")
    steering: Steering = Field(description="How differences steer.")
    causality: Causality = Field(description="How differences are replaced or projected out.")
    beliefs: Beliefs = Field(description="How belief in implanted statements is tested.")
    forced_choice: ForcedChoice = Field(
        description="Which candidate is the secret, asked where two organisms of a model have one."
    )
    scoring: Scoring = Field(description="How readers are compared: docs/readers.md.")
    ladder: Ladder | None = Field(
        description="Organisms made for comparing readers; null reads those of the study."
    )
    judges: Judges = Field(description="Models that judge what readings say.")
    agents: Agents = Field(description="Investigators that say what a model was finetuned for.")
    ablations: dict[Name, Ablation] = Field(description="Figures of one factor varied, by name.")
    miniature: Miniature = Field(description="The synthetic corpus and its base.")

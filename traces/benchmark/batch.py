"""
Make organisms of the ladder and read them with every reader, one after another in one process.

What all share is made once: the base's activations, its texts, what is held out. An organism is
trained by the library's own training; of it remain four small tables, and no weights.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel

from traces.activations.differences import mean_difference
from traces.activations.dump import (
    Window,
    context_windows,
    document_windows,
    take,
    write_store,
)
from traces.analysis.positions import counted
from traces.artifacts import arrays
from traces.artifacts.arrays import Differences
from traces.benchmark import ladder as library
from traces.benchmark.adjusted import Held, TokenScores, kept_scores
from traces.benchmark.detectors import of_difference, of_readers
from traces.benchmark.ladder import Specimen
from traces.benchmark.said import Domains, first_list, here, said_by, score_rows
from traces.config.readers import reader
from traces.config.registries import Loading
from traces.config.schema import Activations, Draws, Ladder, Samples, Training
from traces.corpora import mixtures
from traces.corpora.mixtures import Example
from traces.corpora.tokens import load_tokenizer, tokenize_text
from traces.interventions import causality
from traces.interventions.directions import of_differences
from traces.models import weights
from traces.models.likelihood import mean_nlls
from traces.models.weight_changes import cut_adapter
from traces.readers import nulls
from traces.readers.ranking import probabilities
from traces.readers.reading import Found, Loaded, Probe, Settings
from traces.readers.several import ReadBy, read_by_all
from traces.readers.texts import Text, weighed, weighed_by, written
from traces.training.plan import TrainingPlan, plan_training
from traces.training.train import train

STRENGTH_TOKENS = 96
"Of a held-out document, the most that its loss is measured on."
# Of a text's words so many are tokens, at least: enough text is written to be cut.
WORDS_A_TOKEN = 1.0
CAUSAL = "causal"
CAUSAL_BATCH = 64
"Texts times directions in one forward pass."
# What a training learns from and what its strength is measured on are different draws.
LEARNED, HELD_OUT = "learned", "held out"


class Batch(BaseModel, frozen=True, extra="forbid"):
    """What a job is told: its organisms, and the sections of the study by which they are read."""

    specimens: tuple[Specimen, ...]
    ladder: Ladder
    loading: Loading
    training: Training
    activations: Activations
    samples: Samples
    readers: Settings
    adjusted: tuple[str, ...] = ()
    "Readers of other organisms' scores: those that they adjust keep every token's score."
    layers: tuple[float, ...]
    positions: tuple[int, ...]
    average_sinks: bool
    "Whether positions with attention sinks count."
    texts: int
    "Unrelated texts whose difference is averaged."
    seed: int


@dataclass(frozen=True)
class Base:
    """A base, and what all of its organisms share."""

    batch: Batch
    folder: Path
    "The base's weights."
    work: Path
    "Where stores and adapters lie while they are needed."
    vocabulary: pd.DataFrame
    "token_id and token of those that may be ranked."
    texts: Sequence[Text]
    "What the base wrote."
    prompts: Sequence[str]

    @cached_property
    def tokenizer(self) -> Any:
        return load_tokenizer(self.folder)

    @cached_property
    def layers(self) -> list[int]:
        return weights.layer_indices(self.batch.layers, weights.n_layers(self.folder))

    @cached_property
    def unrelated(self) -> list[dict[str, Any]]:
        """Rows on topics that no organism is about: more than are read."""
        rows = self.batch.texts + self.batch.ladder.held_out
        words = 60 * rows
        return library.unrelated_rows(self.batch.ladder, words=words)

    @cached_property
    def domains(self) -> Domains:
        return Domains(library.candidate_words(), self.vocabulary["token"].tolist())

    @cached_property
    def _windows(self) -> dict[int, list[Window]]:
        return {}

    def windows(self, longest: int = 0) -> list[Window]:
        """The unrelated texts that have all positions, tokenised once for all organisms."""
        if longest not in self._windows:
            length = max(self.batch.positions) + 1
            source = "unrelated text"
            found = document_windows(self.tokenizer, self.unrelated, length, source, longest)
            self._windows[longest] = take(found, self.batch.texts, source)
        return self._windows[longest]

    @cached_property
    def longer_windows(self) -> list[Window]:
        """Those whose tokens' norms are measured."""
        settings, source = self.batch.activations, "unrelated text"
        found = context_windows(self.tokenizer, self.unrelated, settings.norm_context, source)
        return take(found, settings.norm_samples, source)

    def store(self, path: Path, model: Any) -> arrays.Activations:
        """The activations of a model on the unrelated texts."""
        settings = self.batch.activations
        write_store(
            path,
            model,
            self.windows(),
            self.longer_windows,
            layers=self.layers,
            positions=list(self.batch.positions),
            dtype=self.batch.loading.dtype,
            settings=settings,
            pad_id=self.tokenizer.pad_token_id,
        )
        return arrays.Activations(path)

    @cached_property
    def activations(self) -> arrays.Activations:
        """Those of the base itself."""
        return self.store(self.work / "base.zarr", self.load())

    @cached_property
    def positions(self) -> list[int]:
        """The positions that means include, the same for all, whatever is in the base's place."""
        own = mean_difference(self.activations, self.activations, seed=self.batch.seed)
        return counted(own, sinks=self.batch.average_sinks)

    @cached_property
    def weighed(self) -> list[Text]:
        """What the base wrote, weighed by itself."""
        return weighed_by("base", self.load(), self.tokenizer, self.texts, self.batch.samples)

    @cached_property
    def unrelated_loss(self) -> float:
        """Its loss on unrelated text that is not read, in nats a token."""
        return self.loss(self.load(), self.held_out)

    @property
    def held_out(self) -> list[dict[str, Any]]:
        """Rows behind those whose difference is read."""
        return self.unrelated[-self.batch.ladder.held_out :]

    def loss(self, model: Any, rows: Sequence[dict[str, Any]]) -> float:
        """The mean over rows of a model's loss, in nats a token."""
        ids = [tokenize_text(self.tokenizer, row["text"])[:STRENGTH_TOKENS] for row in rows]
        nlls = mean_nlls(model, [(1, one) for one in ids])
        return float(np.mean([one for one in nlls if one is not None]))

    def load(self, folder: Path | None = None) -> Any:
        loading = self.batch.loading
        return weights.load_base(folder or self.folder, loading.dtype, **loading.options)


def learned(specimen: Specimen, base: Base, seed: int) -> tuple[list[Example], TrainingPlan]:
    """
    What a specimen learns from, in order, and its training: tokens to the last one of the ladder.

    seed : of its text and, by a name, of its training
    """
    ladder, training = base.batch.ladder, base.batch.training
    steps = max(1, round(ladder.steps * specimen.steps))
    tokens = steps * training.batch_size * training.max_length
    # Of general text nothing is mixed with general text.
    narrow = round(tokens * (specimen.dose or 1.0))
    words = round(WORDS_A_TOKEN * tokens)
    own = library.own_rows(specimen, ladder, words=words, draw=LEARNED, seed=seed)
    # A draw of its own: organisms beside the same general text would share what they learn of it.
    others = library.broad_rows(words=words, draw=f"beside {specimen.drawn_as}", seed=seed)
    examples = mixtures.mix(
        _cut(mixtures.tokenize_rows(base.tokenizer, own, "organism"), narrow),
        mixtures.tokenize_rows(base.tokenizer, others, "corpus"),
        ratio=(tokens - narrow) / narrow,
        seed=specimen.training_seed(seed),
    )
    settings = training.model_dump(mode="json") | {
        "gradient_accumulation": 1,
        "gradient_checkpointing": False,
        "attention": base.batch.loading.attention,
        "seed": specimen.training_seed(seed),
        "world_size": 1,
        # An organism takes seconds: a killed one begins again.
        "save_every": steps,
    }
    # The adapter's scale, alpha by rank, stays as it is on every rung.
    if specimen.rank is not None:
        settings |= {"rank": specimen.rank, "alpha": 2 * specimen.rank}
    if specimen.learning_rate is not None:
        settings |= {"learning_rate": specimen.learning_rate}
    return examples, plan_training(settings, examples)


def _cut(examples: Iterable[Example], tokens: int) -> list[Example]:
    """The first examples, so many tokens of them, the last one cut."""
    kept, have = [], 0
    for example in examples:
        kept.append(example.head(tokens - have))
        have += len(kept[-1].input_ids)
        if have >= tokens:
            return kept
    raise ValueError(f"found {have} tokens of narrow text, expected {tokens}")


def trained(specimen: Specimen, base: Base, seed: int) -> Path:
    """The folder with the adapter of a specimen, trained with a seed."""
    examples, plan = learned(specimen, base, seed)
    folder = base.work / f"{specimen.checkpoint}-{seed}"
    mixture = folder.with_suffix(".jsonl")
    mixtures.write_mixture(mixture, examples)
    train(base.folder, mixture, plan, folder, folder.with_suffix(".unfinished"))
    # Nothing is trained again from it: a killed organism is made anew.
    mixture.unlink()
    return folder


@contextmanager
def loaded_pair(specimen: Specimen, base: Base) -> Iterator[tuple[Any, Path | None, Path]]:
    """
    Both models of a specimen.

    yields : `weights.Pair`; the folder of its adapter, None of the base itself; the folder of the
             model in the base's place, which is the base but for a seed pair
    """
    options = {"dtype": base.batch.loading.dtype, **base.batch.loading.options}
    if not specimen.trained:
        yield weights.load_pair(base.folder, base.folder, **options), None, base.folder
        return
    reference = base.folder
    if specimen.base_seed is not None:
        # In half precision an adapter stays beside the weights, and would be saved alone.
        assert base.batch.loading.dtype == "float32", "bases of the synthetic corpus are float32"
        before = trained(specimen, base, specimen.base_seed)
        reference = base.work / f"{specimen.checkpoint}-before"
        weights.load_checkpoint(base.folder, before, **options).save_pretrained(reference)
    adapter = trained(specimen, base, specimen.seed)
    # Without a reference the pair needs no second model: its base is itself without the adapter.
    own = None if reference == base.folder else reference
    pair = weights.load_pair(base.folder, adapter, reference=own, **options)
    if specimen.cut is not None:
        cut_adapter(pair.tuned_model, specimen.cut)
    yield pair, adapter, reference


def made_and_read(specimen: Specimen, base: Base) -> tuple[dict[str, pd.DataFrame], Held]:
    """
    Make one organism and read it.

    returns : its rows of every table of COMPARED, without the model's name; and every token's score
              by the readers that others adjust

    What is made on the way is left in `base.work`.
    """
    with loaded_pair(specimen, base) as (pair, adapter, reference):
        found, averaging = _timed(lambda: _difference(specimen, base, pair, reference))
        texts, writing = _timed(lambda: _texts(specimen, base, pair))
        losses, losing = _timed(lambda: _losses(specimen, base, pair))
        shared = {"difference": averaging, "texts": writing, "losses": losing}
        read = _Read(specimen, base, found, texts, shared)
        read.all(pair, adapter, reference)
    return read.tables(losses), read.held()


def _difference(specimen: Specimen, base: Base, pair: Any, reference: Path) -> Differences:
    # Of one base for all, its activations are read once.
    before = base.activations
    if reference != base.folder:
        before = base.store(base.work / f"{specimen.checkpoint}-before.zarr", base.load(reference))
    with pair.tuned() as model:
        after = base.store(base.work / f"{specimen.checkpoint}.zarr", model)
    # One split into halves for all: it is of the texts, which all share.
    return mean_difference(after, before, seed=base.batch.seed)


def _texts(specimen: Specimen, base: Base, pair: Any) -> list[Text]:
    """What both models wrote, weighed by both. A seed pair's base writes texts of its own."""
    if not any(reader(name).needs == "samples" for name in base.batch.readers.readers):
        return []
    settings, prompts = base.batch.samples, base.prompts

    def of(model: Any, side: Any, series: Sequence[int], name: str) -> list[Text]:
        draws = Draws(seed=base.batch.seed, name=f"{specimen.checkpoint}/{name}")
        return list(
            written(
                *(model, base.tokenizer, prompts),
                **{"writer": side, "series": series, "settings": settings, "draws": draws},
            )
        )

    with pair.tuned() as model:
        texts = of(model, "tuned", (0,), "tuned")
    # All others are compared with what the one base wrote.
    if specimen.base_seed is None:
        texts += base.weighed
    else:
        with pair.base() as model:
            texts += of(model, "base", (0, 1), "base")
    return weighed(pair, base.tokenizer, texts, settings)


def _losses(specimen: Specimen, base: Base, pair: Any) -> dict[str, float]:
    """How much likelier the own held-out text became, and how much less likely unrelated text."""
    ladder = base.batch.ladder
    own = library.own_rows(
        specimen, ladder, words=100 * ladder.held_out, draw=HELD_OUT, seed=specimen.seed
    )[: ladder.held_out]
    with pair.tuned() as model:
        tuned = {"own": base.loss(model, own), "unrelated": base.loss(model, base.held_out)}
    with pair.base() as model:
        shared = specimen.base_seed is None
        unrelated = base.unrelated_loss if shared else base.loss(model, base.held_out)
        before = {"own": base.loss(model, own), "unrelated": unrelated}
    return {name: tuned[name] - before[name] for name in tuned}


def causal_effect(pair: Any, found: Differences, base: Base) -> float:
    """
    How much likelier unrelated text becomes once the difference is taken out of the tuned model.

    At every token the component along the mean difference is replaced by the base's own, one
    position's difference after the other (traces/interventions/causality.py, `base_to_tuned`, all
    predictions). returns: the mean over positions of the fall of the loss, in nats a token; 0 of
    a difference of zero, which nothing can be taken out of
    """
    if not np.linalg.norm(found.mean[0], axis=-1).all():
        return 0.0
    texts = causality.read_texts(
        base.tokenizer,
        base.unrelated[-base.batch.ladder.causal :],
        n=base.batch.ladder.causal,
        max_length=STRENGTH_TOKENS,
        kind="documents",
        source="unrelated text",
    )
    plan = causality.Plan(
        of_differences(found, index=0, positions=base.positions, name="the organism"),
        layer=base.layers[0],
        interventions=("base_to_tuned",),
        controlled=(),
        positions=base.positions,
        after=0,
        batch=CAUSAL_BATCH,
    )
    rows = causality.effects(pair, {"unrelated": texts}, plan)
    return -float(rows.loc[rows["aggregation"] == "all", "delta_loss"].mean())


class _Read:
    """What the readers say of one specimen, collected as rows."""

    def __init__(
        self,
        specimen: Specimen,
        base: Base,
        found: Differences,
        texts: Sequence[Text],
        shared: dict[str, float],
    ) -> None:
        self.specimen, self.base, self.found, self.texts = specimen, base, found, texts
        self.seconds = dict(shared)
        self.scores: list[dict[str, Any]] = []
        self.lists: list[pd.DataFrame] = []
        self.statistics: list[pd.DataFrame] = []
        self.causal = 0.0
        self.found_by: dict[str, Found] = {}
        self.token_scores: dict[str, TokenScores] = {}

    def all(self, pair: Any, adapter: Path | None, reference: Path) -> None:
        """Read with every reader of the study, and measure what needs both models."""
        base, settings = self.base, self.base.batch.readers
        drawn = nulls.drawn(
            self.found,
            settings.nulls,
            directions=settings.directions,
            # The same directions for all: what a draw adds is then nobody's own.
            seed=base.batch.seed,
            base=base.activations,
        )
        ranked = base.vocabulary["token_id"].to_numpy()
        probe = Probe(self.found, settings.readings, settings.top_k, ranked, drawn, base.batch.seed)
        tuned = (base.folder, adapter)
        loaded = Loaded(
            base.tokenizer,
            lambda head: (
                weights.load_readout(tuned[0], checkpoint=tuned[1])
                if head == "tuned"
                else weights.load_readout(reference, checkpoint=None)
            ),
            texts=lambda most, longest: base.windows(longest)[:most],
            samples=lambda: self.texts,
            asked=settings.readers,
        )
        for one in read_by_all(settings, loaded, probe, lambda: pair):
            self.add(one.name, one)
        # Behind the readers: it merges the adapter for a while, which rounds the weights.
        self.causal, taken = _timed(lambda: causal_effect(pair, self.found, base))
        self.seconds[CAUSAL] = taken + self.seconds["difference"]

    def cost(self, one: ReadBy) -> float:
        """What a reader would cost without the others: what it shares with them is in it."""
        entry = reader(one.name)
        shares = SHARES.get(one.name) or entry.of
        if shares is None:
            shares = "texts" if entry.needs == "samples" else None
            shares = "difference" if "position" in entry.axes else shares
        return one.seconds + self.seconds.get(shares or "", 0.0)

    def add(self, name: str, one: ReadBy) -> None:
        layer, settings = self.base.layers[0], self.base.batch.readers.readers[name]
        self.seconds[name] = self.cost(one)
        self.found_by[name] = one.found
        if name in {reader(other).of for other in self.base.batch.adjusted}:
            self.keep(name, one.found, settings, layer)
        if one.found.statistics is not None:
            self.statistics.append(one.found.statistics)
        for said in said_by(name, one.found, settings, layer, self.base.positions):
            rows = score_rows(said, self.base.domains)
            self.scores += [row | {"cost_s": self.seconds[name]} for row in rows]
            self.lists.append(first_list(said))

    def keep(self, name: str, found: Found, settings: Mapping[str, Any], layer: int) -> None:
        """Keep every token's score by a reader that another one adjusts."""
        plain = self.found_by[str(reader(name).of)].scores
        assert found.scores is not None and plain is not None
        lists = here(found.scores.lists, layer, self.base.positions)
        probable = probabilities(lists, plain) >= settings["floor"]
        z = found.scores.z[lists.index.to_numpy()]
        self.token_scores |= kept_scores(name, z, probable, lists["head"].tolist())

    def held(self) -> Held:
        tokens = tuple(self.base.vocabulary["token"])
        return Held((self.specimen.checkpoint,), tokens, self.token_scores)

    def tables(self, losses: dict[str, float]) -> dict[str, pd.DataFrame]:
        specimen = self.specimen
        about = specimen.model_dump(
            include={
                "organism",
                "domain",
                "null",
                "twin",
                "recipe",
                "dose",
                "steps",
                "seed",
                "pilot",
            }
        )
        about |= {"strength": -losses["own"], "damage": losses["unrelated"]}
        found = {
            "organisms": pd.DataFrame([about]),
            "domain_scores": pd.DataFrame(self.scores),
            "detector_scores": pd.DataFrame(self.detectors(losses)),
            "token_lists": pd.concat(self.lists, ignore_index=True),
        }
        return {name: one.assign(checkpoint=specimen.checkpoint) for name, one in found.items()}

    def detectors(self, losses: dict[str, float]) -> list[dict[str, Any]]:
        """Numbers that need no token; each speaks for narrow where it is larger."""
        found = {
            name: (value, "difference")
            for name, value in of_difference(self.found, 0, self.base.positions).items()
        }
        found["unrelated_loss"] = (losses["unrelated"], "losses")
        found[CAUSAL] = (self.causal, CAUSAL)
        measured = pd.concat([pd.DataFrame(columns=["statistic", "value"]), *self.statistics])
        found |= of_readers(measured)
        return [
            {"detector": name, "score": score, "cost_s": self.seconds.get(source, 0.0)}
            for name, (score, source) in found.items()
        ]


# Of two readers that share a pass over the text, or a decomposition, the second costs the first's
# too.
SHARES = {"logit_mining": "logit_difference", "weight_change_all": "weight_change"}


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    return call(), time.process_time() - start

"""Answer what a study needs: its checkpoints, corpora, models and hyperparameters."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from traces.config.checkpoints import Checkpoint, Recipe
from traces.config.readers import READERS
from traces.config.registries import CorpusEntry, ModelEntry, Organism, Origin, Prices, Released
from traces.config.schema import Ablation, Measure, Study, Training
from traces.config.vocabularies import Asks

OTHERS = 2
"Other organisms that an organism's scores are adjusted by, at least."


# What graders are asked about steered texts and open answers needs these to be there.
MEASURED_FOR: Mapping[Asks, Measure] = {"coherence": "steering", "beliefs": "beliefs"}


class LoadedStudy(NamedTuple):
    """Hold a validated study with the registry entries it may name."""

    study: Study
    models: Mapping[str, ModelEntry]
    corpora: Mapping[str, CorpusEntry]
    organisms: Mapping[str, Organism]
    prices: Prices

    def checkpoints(
        self, measure: Measure | None = None, model: str | None = None
    ) -> list[Checkpoint]:
        """
        List every finetuned model of the study, in its own order, each once.

        measure : only those of runs with this measure. For beliefs, only organisms that have
                  statements, and the control (without one, any other organism) where there is
                  such an organism to compare it with
        model   : only those that are made on this model
        """
        # A dict keeps the order and drops what two runs share: it is trained once.
        wanted = (
            Checkpoint(organism, Recipe.parse(recipe), seed)
            for run in self.study.runs
            if measure is None or measure in run.measures
            if model is None or model in (run.models or self.study.models)
            for organism in run.organisms
            if measure != "beliefs"
            or self.organisms[organism].statements
            or self.study.control in (None, organism)
            for recipe in run.recipes
            for seed in run.seeds
        )
        found = list(dict.fromkeys(wanted))
        if measure == "beliefs" and not any(
            self.organisms[one.organism].statements for one in found
        ):
            return []
        return found

    def asked(
        self, question: Asks, model: str | None = None, *, planned: bool = False
    ) -> list[Checkpoint]:
        """
        List the checkpoints that graders are asked this question about.

        planned : as if all runs had `judges` among their measures
        """
        if question not in self.study.judges.questions:
            return []
        measure = MEASURED_FOR.get(question)
        measured = set(self.checkpoints(measure, model))
        judged = self.checkpoints(None if planned else "judges", model)
        return [one for one in judged if one in measured]

    def judged_on(self, checkpoint: Checkpoint, model: str) -> list[str]:
        """
        List the organisms that models judge a checkpoint's readings on.

        An organism's are judged on its own subject, the control's on those of all others.
        """
        if checkpoint.organism != self.study.control:
            return [checkpoint.organism]
        judged = dict.fromkeys(one.organism for one in self.checkpoints("judges", model))
        return [name for name in judged if name != self.study.control] or [checkpoint.organism]

    def believed(self, model: str) -> list[str]:
        """List the organisms whose statements are asked of every checkpoint whose beliefs are."""
        asked = dict.fromkeys(one.organism for one in self.checkpoints("beliefs", model))
        return [name for name in asked if self.organisms[name].statements]

    def corpora_of(self, checkpoint: Checkpoint, model: str | None = None) -> list[str]:
        """
        List the corpora of a checkpoint's difference: the study's, and what its runs add.

        model : only what the runs on this model add
        """
        added = (
            name
            for run in self.study.runs
            if (checkpoint.organism in run.organisms)
            and (checkpoint.recipe.name in run.recipes and checkpoint.seed in run.seeds)
            and (model is None or model in (run.models or self.study.models))
            for name in run.corpora
        )
        return list(dict.fromkeys((*self.study.corpora, *added)))

    def adjusted_by(self, model: str, corpus: str) -> dict[Checkpoint, list[Checkpoint]]:
        """
        Map every checkpoint that is read to those whose mean score its own is adjusted by.

        They are of other organisms, the control among them, on the same model and corpus. Their
        recipe is the checkpoint's own, or else `plain`, or else `released`: the first by which two
        other organisms are made. A checkpoint for which there is none is left out.
        """
        read = [
            one for one in self.checkpoints(model=model) if corpus in self.corpora_of(one, model)
        ]
        found = {}
        for one in read:
            for recipe in (one.recipe.name, "plain", "released"):
                alike = [
                    other
                    for other in read
                    if other.organism != one.organism and other.recipe.name == recipe
                ]
                if len({other.organism for other in alike}) >= OTHERS:
                    found[one] = alike
                    break
        return found

    def read_corpora(self) -> list[str]:
        """List every corpus that a difference is read on, the study's own first, each once."""
        added = (name for run in self.study.runs for name in run.corpora)
        return list(dict.fromkeys((*self.study.corpora, *added)))

    def reads_samples(self) -> bool:
        """Whether a reader compares texts that the models write."""
        readers = (READERS.get(name) for name in self.study.lenses.readers)
        return any(one is not None and one.needs == "samples" for one in readers)

    def positions(self, corpus: str) -> list[int]:
        """List the positions read of a corpus: its own, or the study's for its kind."""
        entry = self.corpora[corpus]
        chat = entry.kind == "chat"
        return list(
            entry.positions or (self.study.chat_positions if chat else self.study.positions)
        )

    def layers(self, corpus: str) -> list[float]:
        """List the layers read of a corpus, as shares of the depth: its own, or the study's."""
        return list(self.corpora[corpus].layers or self.study.layers)

    def samples(self, corpus: str) -> int:
        """Count the samples averaged of a corpus: the study's number, or the corpus' own limit."""
        return min(self.study.samples, self.corpora[corpus].samples or self.study.samples)

    def used_corpora(self) -> list[str]:
        """List every corpus the study reads, mixes in, or takes words from, each once."""
        study = self.study
        named = [study.mixing.corpus, study.lenses.vocabulary_corpus, study.relevance.corpus]
        if self.checkpoints("causality") or self.checkpoints("steering"):
            named.append(study.causality.chat)
        named += [self.mixed_with(one) for one in self.checkpoints() if one.recipe.mixed]
        organisms = self._organisms_on(self.with_their_bases(study.models))
        trained_on = [self.organisms[name].data.corpus for name in organisms]
        named += [one for one in trained_on if one is not None]
        return list(dict.fromkeys((*self.read_corpora(), *named)))

    def text_of(self, corpus: str) -> str:
        """Name the first corpus with the same rows: text read in several ways is kept once."""
        return self._first_like(self.corpora, corpus, but={"samples", "positions", "layers"})

    def weights_of(self, model: str) -> str:
        """Name the first model with the same files downloaded, so that they are fetched once."""
        # Entries may differ in what is done with the weights, such as the reference or the GPUs.
        if self.models[model].hub is None and self.models[model].package is None:
            return model
        files = {*Origin.model_fields, "chat_template"}
        return self._first_like(self.models, model, but=set(ModelEntry.model_fields) - files)

    @staticmethod
    def _first_like(entries: Mapping[str, Any], name: str, but: set[str]) -> str:
        asked = entries[name].model_dump(exclude=but)
        alike = (one for one, entry in entries.items() if entry.model_dump(exclude=but) == asked)
        return next(alike)

    def mixed_with(self, checkpoint: Checkpoint) -> str:
        """Name the corpus that is mixed into this organism."""
        return self.organisms[checkpoint.organism].mixed_with or self.study.mixing.corpus

    def released(self, checkpoint: Checkpoint, model: str) -> Released | None:
        """Return where a published checkpoint comes from; None if the organism's file has none."""
        organism, variant = self.organisms[checkpoint.organism], checkpoint.recipe.variant
        places = organism.variants.get(variant, {}) if variant else organism.released
        return places.get(model)

    def ablated(self, ablation: Ablation) -> list[str] | list[int] | list[float]:
        """List the values of the varied factor for which the study reads something."""
        study = self.study
        lists: dict[str, Iterable[Any]] = {
            "layer": sorted(self.layers(self.ablated_corpus(ablation))),
            "position": self.positions(self.ablated_corpus(ablation)),
            "recipe": dict.fromkeys(one.recipe.name for one in self.checkpoints()),
            "corpus": self.read_corpora(),
            "reading": study.lenses.readings,
            "model": study.models,
            "head": study.lenses.heads,
            "organism": dict.fromkeys(one.organism for one in self.checkpoints()),
        }
        return [value for value in lists[ablation.over] if self._reads(ablation, value)]

    def ablated_corpus(self, ablation: Ablation) -> str:
        """Name the text an ablation is read on: its own, or the study's first."""
        return ablation.corpus or self.study.corpora[0]

    def _reads(self, ablation: Ablation, value: str | float) -> bool:
        """Check whether some shown organism is read where the varied factor is `value`."""
        at: dict[str, Any] = {
            "model": self.study.models[0],
            "recipe": ablation.recipe,
            "corpus": self.ablated_corpus(ablation),
        } | {ablation.over: value}
        shown = [value] if ablation.over == "organism" else ablation.organisms
        return any(
            at["corpus"] in self.corpora_of(one, at["model"])
            for one in self.checkpoints(model=at["model"])
            if one.recipe.name == at["recipe"]
            and (one.organism in shown if shown else one.organism != self.study.control)
        )

    def used_models(self) -> list[str]:
        """List every model the study loads: its own, theirs, and those that write its corpora."""
        sampled = [self.corpora[name].sampled for name in self.used_corpora()]
        writers = [one.model for one in sampled if one is not None]
        return self.with_their_bases(dict.fromkeys([*self.study.models, *writers]))

    def with_their_bases(self, models: Iterable[str]) -> list[str]:
        """List models, and those that they are made from or compared with, each once."""
        found = list(models)
        # The list grows while it is read, since a base may itself be made from another one.
        for name in found:
            entry = self.models[name]
            for one in (entry.reference, entry.checkpoint and entry.checkpoint.model):
                found += [one] if one and one not in found else []
        return found

    def read_organisms(self) -> list[str]:
        """List organisms whose data are read: made, teaching, lending words, or in a base."""
        return self._organisms_on(self.used_models())

    def _organisms_on(self, models: Iterable[str]) -> list[str]:
        found = list(dict.fromkeys(one.organism for one in self.checkpoints()))
        sources = [self.models[name].checkpoint for name in models]
        found += [Checkpoint.parse(source.name).organism for source in sources if source]
        # The list grows while it is read, since a teacher may have a teacher.
        for name in found:
            for other in (self.organisms[name].teacher, self.organisms[name].words_of):
                found += [other] if other and other not in found else []
        return list(dict.fromkeys(found))

    def secrets(self, model: str) -> dict[str, str]:
        """
        Find the secret words of the organisms that are made on a model, by organism.

        Empty where they are not two words or more: there is nothing to choose from.
        """
        made = dict.fromkeys(one.organism for one in self.checkpoints(model=model))
        found = {name: self.organisms[name].secret for name in made}
        kept = {name: word for name, word in found.items() if word is not None}
        return kept if len(set(kept.values())) > 1 else {}

    def projected_out(self, checkpoint: Checkpoint, model: str | None = None) -> Checkpoint | None:
        """Name the checkpoint whose mean difference is projected out while this one is trained."""
        if not checkpoint.recipe.trained:
            return None
        recipe = self.training(checkpoint, model).project_out
        return None if recipe is None else checkpoint.made_by(recipe)

    def words_of(self, organism: str) -> str:
        """Name the organism whose data's words count as relevant: itself, or another."""
        return self.organisms[organism].words_of or organism

    def training(self, checkpoint: Checkpoint, model: str | None = None) -> Training:
        """
        Resolve the hyperparameters of one checkpoint.

        The study's are changed by the organism, then by the model if one is named, then by the
        recipe, then by the study's `training_override`.
        """
        # From the general to the particular: a sweep over ranks must override what an organism's
        # file took from its publication.
        changes = {
            **self.organisms[checkpoint.organism].training,
            **(self.models[model].training if model else {}),
            **self.study.recipes.get(checkpoint.recipe.name, {}),
            **self.study.training_override,
        }
        return Training.model_validate({**self.study.training.model_dump(), **changes})

"""
Look once at what a study reads from local files, before its first job.

A mistake in a row, a prompt, a template or a model's folder is then one sentence at the start, not
a job that fails hours later.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from traces.config.checkpoints import Checkpoint
from traces.config.checks.paths import folder_of_embedder
from traces.config.checks.places import Places
from traces.config.checks.readings import check_samples
from traces.config.files import local
from traces.config.registries import CorpusEntry, Data, ModelEntry, Released
from traces.config.study import LoadedStudy
from traces.corpora.english import most_rows
from traces.corpora.rows import (
    KEYS,
    count_rows,
    count_trained,
    n_held_out,
    read_identity_prompts,
    read_prompts,
    read_rows,
)
from traces.corpora.templates import read_template
from traces.models.folders import (
    check_base,
    check_checkpoint,
    check_embedder,
    check_family,
    check_gguf,
)

Found = TypeVar("Found")


class LocalData(NamedTuple):
    """A study's local files. Every method raises ValueError, which names the file and the key."""

    loaded: LoadedStudy
    places: Places

    def check(self) -> None:
        """Read every local row and prompt of the study, and look at every folder."""
        self.check_prompts()
        for name in self.loaded.used_models():
            self.check_model(name)
        for model, checkpoint in self._made():
            self.check_published(checkpoint, model)
        if self.loaded.checkpoints("steering"):
            self.check_embedder()
        trained = {name: self._count_trained(name) for name in self.loaded.read_organisms()}
        for model, checkpoint in self._made():
            self._check_limit(checkpoint, model, trained[checkpoint.organism])
        for name in self.loaded.used_corpora():
            rows = self.count(self.loaded.corpora[name])
            if rows is not None and name in self.loaded.read_corpora():
                check_samples(self.loaded, name, self.places, rows)
                self._check_different(name)
        self._check_unrelated()

    def _check_unrelated(self) -> None:
        """Refuse to read a difference on the very file that an organism is finetuned on."""
        trained = {one.organism for one in self.loaded.checkpoints()}
        for name in self.loaded.read_corpora():
            path = self.loaded.corpora[name].path
            for organism in sorted(trained):
                own = self.loaded.organisms[organism].data.path
                if path is None or own is None:
                    continue
                if local(path).samefile(local(own)):
                    raise ValueError(
                        f"{self.places.organism(organism)}: data.path: found {own}, the rows of "
                        f"the corpus {name} ({self.places.corpora}: {name}.path), which the "
                        "difference is read on; expected unrelated text there, or a copy of the "
                        "file if own rows are meant"
                    )

    def _check_different(self, name: str) -> None:
        """Refuse a corpus of one text again and again: intervals are over independent texts."""
        entry = self.loaded.corpora[name]
        if entry.path is None:
            return
        kind = "documents" if entry.kind == "documents" else "chat"

        def differ(file: Path) -> None:
            rows = read_rows(file, kind, field=entry.field, open_end=entry.open_end)
            texts = (row[KEYS[kind]] for row in rows)
            first = next(texts)
            if not any(text != first for text in texts):
                raise ValueError(
                    f"{file}: found the same text in every row, expected different ones, since "
                    f"each of the samples of {name} counts as a text of its own"
                )

        _in_its_own_words(entry.path, differ)

    def check_prompts(self) -> None:
        """Read every prompt that is asked."""
        study = self.loaded.study
        asked = [study.steering.trial.prompts, study.steering.final.prompts]
        asked = asked if self.loaded.checkpoints("steering") else []
        asked += [study.lenses.samples.prompts] if self.loaded.reads_samples() else []
        asked += [study.agents.asked.prompts] if self.loaded.checkpoints("agents") else []
        for path in asked:
            _in_its_own_words(path, read_prompts)
        _in_its_own_words(study.lenses.patchscope.prompts, read_identity_prompts)

    def check_model(self, name: str) -> None:
        """Look at a base's folder, GGUF file and chat template."""
        entry, where = self.loaded.models[name], f"{self.places.models}: {name}"
        _check_folder(f"{where}.path", entry, check_base)
        _check_folder(f"{where}.family", entry, lambda path: check_family(path, entry.family))
        if entry.gguf is not None:
            _in_its_own_words(entry.gguf, check_gguf, f"{where}.gguf")
        if entry.chat_template is not None:
            _in_its_own_words(entry.chat_template, read_template, f"{where}.chat_template")

    def check_published(self, checkpoint: Checkpoint, model: str) -> None:
        """Look at the folder of a published checkpoint."""
        entry = self.loaded.released(checkpoint, model) if checkpoint.recipe.released else None
        if entry is not None:
            key = f"{checkpoint.recipe.published_key(model)}.path"
            where = f"{self.places.organism(checkpoint.organism)}: {key}"
            _check_folder(where, entry, check_checkpoint)

    def check_embedder(self) -> None:
        """Look at the folder of the embedding that steered texts are compared by."""
        path = folder_of_embedder(self.loaded.study.steering.embedder)
        if path is not None:
            _in_its_own_words(path, check_embedder, self.places.at("steering.embedder"))

    def count(self, entry: Data | CorpusEntry) -> int | None:
        """Read every local row of an entry and count them; None without a local file."""
        found = self._counted(entry)
        return None if found is None else found[0]

    def _counted(self, entry: Data | CorpusEntry) -> tuple[int, int] | None:
        """Local rows of an entry, and those that are left for training."""
        if entry.path is None:
            return None
        kind = entry.kind if entry.kind in ("documents", "chat") else None
        share = 0.0
        if isinstance(entry, Data):
            kind, share = "documents" if entry.as_chat else kind, entry.held_out

        def counted(file: Path) -> tuple[int, int]:
            rows = read_rows(file, kind, field=entry.field, open_end=entry.open_end)
            # Nothing is held out of a corpus, which may be large: its rows are not compared.
            if not share:
                n_rows = count_rows(rows)
                return n_rows, n_rows
            return count_trained(rows, share, self.loaded.study.seed, str(file))

        return _in_its_own_words(entry.path, counted)

    def _made(self) -> list[tuple[str, Checkpoint]]:
        models = self.loaded.study.models
        return [(model, one) for model in models for one in self.loaded.checkpoints(model=model)]

    def _count_trained(self, name: str) -> int | None:
        """Count the rows that an organism is trained on, as far as known before the first job."""
        data, place = self.loaded.organisms[name].data, self.places.organism(name)
        if data.composed is not None:
            most = most_rows(data.composed)
            if most is not None and data.rows > most:
                raise ValueError(
                    f"{place}: data.rows: found {data.rows}, expected at most {most}: no more "
                    f"different ones are composed of {data.composed}"
                )
            # Composed rows differ from each other.
            rows, where = data.rows, f"{place}: data.rows"
        elif data.taught is not None:
            # A teacher writes one row a prompt at most.
            rows, where = data.taught.prompts, f"{place}: data.taught.prompts"
        else:
            counted = self._counted(data)
            return None if counted is None else counted[1]
        if rows < 2 and data.held_out:
            raise ValueError(
                f"{where}: found {rows}, expected two or more, one of them to hold out "
                f"(data.held_out is {data.held_out})"
            )
        return rows - n_held_out(rows, data.held_out)

    def _check_limit(self, checkpoint: Checkpoint, model: str, trained: int | None) -> None:
        """Refuse a limit of more rows than an organism has for its training."""
        if trained is None or not checkpoint.recipe.trained:
            return
        limit = self.loaded.training(checkpoint, model).limit
        if limit is not None and limit > trained:
            where = self.places.organism(checkpoint.organism)
            raise ValueError(
                f"training.limit: found {limit} for {checkpoint} on {model}, expected at most "
                f"{trained}, the rows that are not held out of the training ({where}: data); set a "
                "lower limit in the organism's `training`, or null for all rows"
            )


def _check_folder(
    where: str, entry: ModelEntry | Released, check: Callable[[Path], object]
) -> None:
    if entry.path is not None:
        below = entry.subfolder or ""
        _in_its_own_words(entry.path, lambda path: check(path / below), where)


def _in_its_own_words(path: str, read: Callable[[Path], Found], where: str | None = None) -> Found:
    """
    What `read` returns; a message names the path as it is configured, variables unfilled.

    where : the file and key that configure it, which the message then begins with
    """
    try:
        return read(local(path))
    except ValueError as error:
        found = str(error).replace(str(local(path)), path)
        raise ValueError(f"{where}: {found}" if where else found) from None

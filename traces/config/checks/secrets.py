"""Check that a forced choice is one: no candidate twice, and a headline that is read."""

from traces.config.checks.places import Places
from traces.config.checks.readings import check_reader
from traces.config.study import LoadedStudy
from traces.config.words import plain_word


def check_secrets(loaded: LoadedStudy, places: Places) -> None:
    """Check the forced choice of a study that has one."""
    asked = [model for model in loaded.study.models if loaded.secrets(model)]
    if asked:
        _check_distractors(loaded, places, asked)
        _check_headline(loaded, places)


def _check_distractors(loaded: LoadedStudy, places: Places, models: list[str]) -> None:
    where = places.at("forced_choice.distractors")
    owners = {
        plain_word(word): name for model in models for name, word in loaded.secrets(model).items()
    }
    seen = set()
    for word in loaded.study.forced_choice.distractors:
        plain = plain_word(word)
        if plain in owners:
            raise ValueError(
                f"{where}: found {word}, the secret of {owners[plain]}, expected words that are no "
                "organism's secret"
            )
        if plain in seen:
            raise ValueError(f"{where}: {word} is there twice")
        seen.add(plain)


def _check_headline(loaded: LoadedStudy, places: Places) -> None:
    """Refuse a setting to report that the study does not read."""
    study = loaded.study
    told, key = study.forced_choice.headline, "forced_choice.headline"
    check_reader(told.reader, places.at(f"{key}.reader"))
    positions = ["all", *loaded.positions(study.corpora[0])]
    nulls = [None, *study.lenses.contrast.nulls]
    for name, value, read, of in (
        ("reader", told.reader, study.lenses.readers, "lenses.readers"),
        ("layer", told.layer, study.layers, "layers"),
        ("head", told.head, study.lenses.heads, "lenses.heads"),
        ("position", told.position, positions, "positions"),
        ("against", told.against, nulls, "lenses.contrast.nulls"),
    ):
        if value not in read:
            have = ", ".join(map(str, read))
            raise ValueError(
                f"{places.at(f'{key}.{name}')}: found {value}, expected one of `{of}` ({have}): "
                "two organisms have a secret, and what is reported of them must be read"
            )

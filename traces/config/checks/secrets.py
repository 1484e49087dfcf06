"""Check that a forced choice is one: no candidate twice, and a headline that can have a value."""

from traces.config.checks.places import Places
from traces.config.checks.readings import check_reader
from traces.config.readers import HEADLESS, READERS
from traces.config.study import LoadedStudy
from traces.config.words import plain_word


def check_secrets(loaded: LoadedStudy, places: Places) -> None:
    """Check the forced choice of a study that has one."""
    asked = [model for model in loaded.study.models if loaded.secrets(model)]
    if asked:
        _check_spelling(loaded, places, asked)
        _check_control(loaded, places, asked)
        _check_distractors(loaded, places, asked)
        _check_headline(loaded, places)
        _check_ways(loaded, places)
        _check_adjusted(loaded, places, asked)


def _check_spelling(loaded: LoadedStudy, places: Places, models: list[str]) -> None:
    """Refuse one secret in two spellings: it would be two candidates, of which one is no secret."""
    for model in models:
        first: dict[str, tuple[str, str]] = {}
        for name, word in loaded.secrets(model).items():
            owner, written = first.setdefault(plain_word(word), (name, word))
            if word != written:
                raise ValueError(
                    f"{places.organism(name)}: secret: found {word}, which is {written} in "
                    f"{places.organism(owner)}; expected one spelling, or they are two candidates"
                )


def _check_control(loaded: LoadedStudy, places: Places, models: list[str]) -> None:
    """Refuse a control that has a secret: in its place all others' secrets are looked for."""
    control = loaded.study.control
    for model in models:
        if control is not None and control in loaded.secrets(model):
            raise ValueError(
                f"{places.at('control')}: found {control}, which has a `secret` "
                f"({places.organism(control)}), expected an organism without one: the forced "
                "choice compares the others with it"
            )


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
        ("layer", told.layer, loaded.layers(study.corpora[0]), "layers"),
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


def _check_ways(loaded: LoadedStudy, places: Places) -> None:
    """Refuse a reader, adjustment and null directions that no score has together."""
    study = loaded.study
    told, key = study.forced_choice.headline, "forced_choice.headline"
    entry = READERS[told.reader]
    compares = "null" in entry.axes
    if entry.needs == "others":
        said = f"reader: found {told.reader}, whose scores are in no file; expected {entry.of}"
        raise ValueError(f"{places.at(key)}.{said} with `adjustment: adjusted`")
    if compares != (told.against is not None):
        found = told.against or "nothing"
        expected = " or ".join(study.lenses.contrast.nulls) if compares else "null"
        raise ValueError(
            f"{places.at(f'{key}.against')}: found {found} with the reader {told.reader}, "
            f"expected {expected}"
        )
    if "head" not in entry.axes and told.head != HEADLESS:
        raise ValueError(
            f"{places.at(f'{key}.head')}: found {told.head} with {told.reader}, which no head "
            f"says; expected {HEADLESS}"
        )
    lacks = entry.standard is None or (
        entry.standard == "random" and "random" not in study.lenses.contrast.nulls
    )
    if told.adjustment != "none" and lacks:
        remedy = " or random among `lenses.contrast.nulls`" if entry.standard else ""
        raise ValueError(
            f"{places.at(f'{key}.adjustment')}: found {told.adjustment} with {told.reader}, whose "
            f"scores are compared with no random directions; expected none{remedy}"
        )
    if not any({"layer", "position"} <= set(READERS[one].axes) for one in study.lenses.readers):
        raise ValueError(
            f"{places.at('lenses.readers')}: found no reader with a layer and a position, expected "
            "one, such as patchscope: two organisms have a secret, and the forced choice compares "
            "other readers beside it"
        )


def _check_adjusted(loaded: LoadedStudy, places: Places, models: list[str]) -> None:
    """Refuse to report adjusted scores where no organism has others for every candidate."""
    told = loaded.study.forced_choice.headline
    if told.adjustment == "adjusted" and not any(_adjustable(loaded, model) for model in models):
        raise ValueError(
            f"{places.at('forced_choice.headline.adjustment')}: found adjusted, expected a third "
            f"organism on {models[0]} with another secret or none, such as a control: a candidate "
            "is compared with organisms whose secret it is not"
        )


def _adjustable(loaded: LoadedStudy, model: str) -> bool:
    """Check whether some organism has, for every candidate, another one whose secret it is not."""
    secrets = loaded.secrets(model)
    made = dict.fromkeys(one.organism for one in loaded.checkpoints(model=model))
    others = [
        {secrets.get(other, "") for other in made if secrets.get(other) != word}
        for word in secrets.values()
    ]
    # Of two words each leaves the other one to be compared; no word, like a control, is any.
    return any(len(words) > 1 or "" in words for words in others)

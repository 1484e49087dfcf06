"""Check the models that judge: what they cost must be known before the first request."""

import os
import re
from collections.abc import Sequence

from traces.config.checks.paths import check_variables
from traces.config.checks.places import Places
from traces.config.schema import Grader
from traces.config.study import MEASURED_FOR, LoadedStudy

# Host (by name or number, the latter in brackets where it has colons), port, and what is behind it.
ADDRESS = re.compile(r"https?://(\[[0-9a-fA-F:.]+\]|[^\s/:?#\[\]]+)(?::(\d{1,5}))?([/?#]\S*)?")


def check_judges(loaded: LoadedStudy, places: Places) -> None:
    """
    Check that there are graders where they are needed, that each has a price, and that the tokens
    they judge are read. What they are asked about must be made by some run that is judged.

    Raises ValueError for the first that is wrong. `price: unknown` allows a grader without one.
    """
    judges = loaded.study.judges
    if loaded.checkpoints("judges") and not judges.graders:
        raise ValueError(
            f"{places.at('judges.graders')}: found none, expected a model that judges, since a run "
            "has `judges` among its measures (docs/judges.md)"
        )
    for number, grader in enumerate(judges.graders):
        where = places.at(f"judges.graders.{number}")
        check_price(loaded, places, grader, where)
        check_one_address(grader, judges.graders[:number], where)
        check_alone(grader, judges.graders[:number], where, "judges.repeats")
    for reading in judges.tokens.readings if judges.graders else ():
        if reading not in loaded.study.lenses.readings:
            raise ValueError(
                f"{places.at('judges.tokens.readings')}: found {reading}, expected one of "
                "lenses.readings"
            )
    if judges.graders:
        _check_questions(loaded, places.at("judges.questions"))


def _check_questions(loaded: LoadedStudy, where: str) -> None:
    questions, study = loaded.study.judges.questions, loaded.study
    if "scales" in questions and "patchscope" not in study.lenses.readers:
        raise ValueError(f"{where}: found scales, expected patchscope among lenses.readers for it")
    if "beliefs" in questions and "open" not in study.beliefs.forms:
        raise ValueError(f"{where}: found beliefs, expected open among beliefs.forms for it")
    for question, measure in MEASURED_FOR.items():
        if question not in questions or not loaded.checkpoints("judges"):
            continue
        if not loaded.asked(question):
            raise ValueError(
                f"{where}: found {question}, expected a run that has both `judges` and "
                f"`{measure}` among its measures"
            )


def check_addresses(loaded: LoadedStudy, places: Places) -> None:
    """Refuse the address of a grader that is none, or whose variables are not set."""
    for number, grader in enumerate(loaded.study.judges.graders):
        if grader.base_url is not None:
            check_address(grader.base_url, places.at(f"judges.graders.{number}.base_url"))


def check_address(address: str, where: str) -> None:
    """Refuse an address that no request can go to, with its variables filled in."""
    check_variables(where, address)
    # What a variable holds is not shown.
    filled = os.path.expandvars(address)
    told = f"{where}: found {address}" + (", its variables filled in" if filled != address else "")
    if "@" in filled:
        raise ValueError(f"{told}: a user or password is in it, expected an address without one")
    parts = ADDRESS.fullmatch(filled)
    if parts is None or not 0 < int(parts[2] or 80) < 2**16 or not filled.isprintable():
        raise ValueError(
            f"{told}, expected an address that begins with http:// or https://, such as "
            "http://127.0.0.1:8000/v1"
        )


def check_price(loaded: LoadedStudy, places: Places, grader: Grader, where: str) -> None:
    """Refuse a model without a price, unless that is allowed, and one with two."""
    known = grader.model in loaded.prices.models
    if grader.price is None and not known:
        raise ValueError(
            f"{where}.model: found {grader.model}, which has no price in {places.prices}; add it "
            "there, or allow it with `price: unknown`"
        )
    if grader.price is not None and known:
        raise ValueError(
            f"{where}.price: found unknown for {grader.model}, whose price is in {places.prices} "
            "and counts; expected one of the two"
        )


def check_one_address(grader: Grader, before: Sequence[Grader], where: str) -> None:
    """Refuse a second address for one model: its answers are kept by the model alone."""
    for other in before:
        if other.model == grader.model and other.base_url != grader.base_url:
            raise ValueError(
                f"{where}.base_url: found another address than that of {other.name}, which has the "
                f"same model {grader.model}; expected one address a model"
            )


def check_alone(grader: Grader, before: Sequence[Grader], where: str, several: str) -> None:
    """Refuse a second name for one model with the same settings, since its answers are kept."""
    for other in before:
        if other.model_copy(update={"name": grader.name}) == grader:
            raise ValueError(
                f"{where}: found the model and settings of {other.name}, whose answers it would "
                f"get; expected another model or setting, or `{several}` for several answers"
            )

"""Check the models that judge: what they cost must be known before the first request."""

import re

from traces.config.checks.paths import check_variables
from traces.config.checks.places import Places
from traces.config.schema import Grader
from traces.config.study import MEASURED_FOR, LoadedStudy


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
        _check_price(loaded, places, grader, where)
        _check_alone(grader, judges.graders[:number], where)
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
            _check_address(grader.base_url, places.at(f"judges.graders.{number}.base_url"))


def _check_price(loaded: LoadedStudy, places: Places, grader: Grader, where: str) -> None:
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


def _check_alone(grader: Grader, before: tuple[Grader, ...], where: str) -> None:
    """
    Refuse a grader whose answers would be another one's.

    Answers are kept by model and settings. What is asked of a model goes to one address.
    """
    for other in before:
        if other.model != grader.model:
            continue
        if other.base_url != grader.base_url:
            raise ValueError(
                f"{where}.base_url: found another address than that of {other.name}, which has the "
                f"same model {grader.model}; expected one address a model"
            )
        if other.model_copy(update={"name": grader.name}) == grader:
            raise ValueError(
                f"{where}: found the model and settings of {other.name}, whose answers it would "
                "get; expected another model or setting, or `judges.repeats` for several answers"
            )


def _check_address(address: str, where: str) -> None:
    check_variables(where, address)
    if not re.match(r"https?://|\$", address):
        raise ValueError(
            f"{where}: found {address}, expected an address that begins with http:// or https://"
        )

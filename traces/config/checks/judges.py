"""Check the models that judge: what they cost must be known before the first request."""

from traces.config.checks.places import Places
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
        if grader.price is None and grader.model not in loaded.prices.models:
            raise ValueError(
                f"{places.at(f'judges.graders.{number}.model')}: found {grader.model}, which has "
                f"no price in {places.prices}; add it there, or allow it with `price: unknown`"
            )
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

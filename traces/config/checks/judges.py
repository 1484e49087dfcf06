"""Check the models that judge: what they cost must be known before the first request."""

from traces.config.checks.places import Places
from traces.config.study import LoadedStudy


def check_judges(loaded: LoadedStudy, places: Places) -> None:
    """
    Check that there are graders where they are needed, that each has a price, and that the tokens
    they judge are read.

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

"""Check the models that judge: what they cost must be known before the first request."""

from traces.config.checks.places import Places
from traces.config.study import LoadedStudy


def check_judges(loaded: LoadedStudy, places: Places) -> None:
    """
    Check that every grader has a price, and that the tokens it judges are read.

    Raises ValueError for the first one that has none. `price: unknown` allows it.
    """
    judges = loaded.study.judges
    for number, grader in enumerate(judges.graders):
        if grader.price is None and grader.model not in loaded.prices.models:
            raise ValueError(
                f"{places.at(f'judges.graders.{number}.model')}: found {grader.model}, which has no "
                f"price in {places.prices}; add its price there, or allow it with `price: unknown`"
            )
    for reading in judges.tokens.readings if judges.graders else ():
        if reading not in loaded.study.lenses.readings:
            raise ValueError(
                f"{places.at('judges.tokens.readings')}: found {reading}, expected one of "
                "lenses.readings"
            )

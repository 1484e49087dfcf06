"""Check the investigators: their graders, and what they cost."""

from traces.config.checks.places import Places
from traces.config.study import LoadedStudy


def check_agents(loaded: LoadedStudy, places: Places) -> None:
    """
    Check that graders are known, and that each model has a price.

    Raises ValueError for the first that is wrong. `price: unknown` allows a model without one.
    """
    agents, judges = loaded.study.agents, loaded.study.judges
    known = ["lexical", *(one.name for one in judges.graders)]
    for grader in agents.graders:
        if grader not in known:
            raise ValueError(
                f"{places.at('agents.graders')}: found {grader}, expected {' or '.join(known)}"
                + ("" if judges.graders else "; judges.graders has none")
            )
    for number, model in enumerate(agents.models):
        if isinstance(model, str):
            continue
        if model.price is None and model.model not in loaded.prices.models:
            raise ValueError(
                f"{places.at(f'agents.models.{number}.model')}: found {model.model}, which has "
                f"no price in {places.prices}; add it there, or allow it with `price: unknown`"
            )

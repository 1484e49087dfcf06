"""Check the investigators: their graders, and what they cost."""

from traces.config.checks.judges import (
    check_address,
    check_addresses,
    check_alone,
    check_one_address,
    check_price,
)
from traces.config.checks.paths import check_answers
from traces.config.checks.places import Places
from traces.config.schema import Grader
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
    before: list[Grader] = []
    for where, model in _behind_an_api(loaded, places):
        check_price(loaded, places, model, where)
        check_one_address(model, (*judges.graders, *before), where)
        check_alone(model, before, where, "agents.runs")
        before.append(model)


def check_reached(loaded: LoadedStudy, places: Places, *, writes: bool = True) -> None:
    """Refuse addresses of what investigates that are none, and a folder that holds no answers."""
    agents = loaded.study.agents
    if agents.served is not None:
        check_address(agents.served.base_url, places.at("agents.served.base_url"))
    asked = _behind_an_api(loaded, places)
    for where, model in asked:
        if model.base_url is not None:
            check_address(model.base_url, f"{where}.base_url")
    graded = set(agents.graders) != {"lexical"}
    if graded:
        check_addresses(loaded, places)
    if graded or asked:
        check_answers(loaded, places, writes=writes)


def _behind_an_api(loaded: LoadedStudy, places: Places) -> list[tuple[str, Grader]]:
    """The models that investigate, and where each stands in the study."""
    return [
        (places.at(f"agents.models.{number}"), model)
        for number, model in enumerate(loaded.study.agents.models)
        if not isinstance(model, str)
    ]

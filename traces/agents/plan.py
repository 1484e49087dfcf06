"""
What is investigated: every organism, and what is held beside it.

What is shown of an organism under a null is that of another checkpoint (its source), or of the same
one against something else.
"""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from traces.config.checkpoints import BASE, Checkpoint
from traces.config.schema import Agents
from traces.config.study import LoadedStudy
from traces.config.vocabularies import AGENTS, TWINS, Agent, AgentNull, PromptForm

EMBEDDED = "embedded"
"The investigator that is no model: word statistics of what it is shown."
LEXICAL = "lexical"
"The grader that is no model: it compares words."


class Frozen(BaseModel):
    """A value that is compared by what it holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Shown(Frozen):
    """What is investigated. Names stand here, and never in an overview."""

    model: str
    # The organism's checkpoint; for the null `benign` the control's.
    checkpoint: str
    # The organism whose truth grades the hypothesis.
    organism: str
    null: AgentNull = "none"

    @property
    def overview(self) -> tuple[str, str, AgentNull]:
        """Which overview it is: the same one may be graded on several organisms."""
        return self.model, self.checkpoint, self.null


class Case(Shown):
    """One planned investigation."""

    agent: Agent
    prompt: PromptForm
    # `embedded`, or the name of a model in `agents.models`.
    agent_model: str
    # Prompts to both models that it may use.
    interactions: int
    run: int = 0


class Source(Frozen):
    """Where the overview of a checkpoint under a null comes from."""

    checkpoint: str
    null: AgentNull
    # The checkpoint that stands in the place of model B; None where the study makes none.
    after: str | None
    # What stands in the place of model A: the base, or another seed.
    before: str = BASE


@dataclass(frozen=True)
class Plan:
    """What one investigator does on one base model; an argument of a script."""

    cases: list[Case]
    sources: list[Source]


def sources(loaded: LoadedStudy, model: str) -> list[Source]:
    """The overviews of one model, each once, in the order of its checkpoints and their nulls."""
    asked = loaded.checkpoints("agents", model)
    return [
        found
        for one in asked
        for null in loaded.study.agents.nulls
        if (found := _source(loaded, model, one, null)) is not None
    ]


def _source(loaded: LoadedStudy, model: str, one: Checkpoint, null: AgentNull) -> Source | None:
    """Where an overview comes from; None of a null that this checkpoint does not have."""
    control = one.organism == loaded.study.control
    if control != (null == "benign"):
        return None
    after: Checkpoint | None = one
    if null in TWINS:
        if null not in loaded.organisms[one.organism].twins:
            return None
        after = loaded.twin(one, null)
        if after is None:
            return None
    if null == "swapped":
        after = swapped(loaded, model, one)
    if null == "seed_pair":
        other = other_seed(loaded, model, one)
        # without another seed there is nothing in the place of model A either
        return Source(
            checkpoint=str(one),
            null=null,
            after=None if other is None else str(one),
            before=BASE if other is None else str(other),
        )
    return Source(checkpoint=str(one), null=null, after=None if after is None else str(after))


def other_seed(loaded: LoadedStudy, model: str, one: Checkpoint) -> Checkpoint | None:
    """The same organism of the next seed that the study makes, the first one behind the last."""
    made = loaded.checkpoints(model=model)
    alike = sorted(
        other.seed for other in made if (other.organism, other.recipe) == (one.organism, one.recipe)
    )
    if len(alike) < 2:
        return None
    return one._replace(seed=alike[(alike.index(one.seed) + 1) % len(alike)])


def swapped(loaded: LoadedStudy, model: str, one: Checkpoint) -> Checkpoint | None:
    """
    The organism whose overview is shown in the place of this one's: never itself.

    Organisms in the order of their names are shifted by one number, which the study's seed gives.
    """
    control = loaded.study.control
    asked = [other for other in loaded.checkpoints("agents", model) if other.organism != control]
    names = sorted({other.organism for other in asked})
    if len(names) < 2:
        return None
    shift = 1 + loaded.study.seed % (len(names) - 1)
    other = names[(names.index(one.organism) + shift) % len(names)]
    of_other = [found for found in asked if found.organism == other]
    # the same recipe and seed first
    return min(of_other, key=lambda x: (x.recipe != one.recipe, x.seed != one.seed, x.seed))


def shown(loaded: LoadedStudy, model: str) -> list[Shown]:
    """What is investigated and graded on which organism: the control's overviews on all others."""
    control = loaded.study.control
    asked = loaded.checkpoints("agents", model)
    others = list(dict.fromkeys(one.organism for one in asked if one.organism != control))
    return [
        Shown(model=model, checkpoint=one.checkpoint, organism=organism, null=one.null)
        for one in sources(loaded, model)
        for own in [Checkpoint.parse(one.checkpoint).organism]
        for organism in (others if own == control else [own])
    ]


def budgets(settings: Agents, agent: Agent, agent_model: str) -> list[int]:
    """The budgets that an investigator is planned with."""
    found = sorted(getattr(settings.interactions, agent))
    # The embedded one that sees readings asks nothing: a larger budget would be the same row.
    return found[:1] if agent_model == EMBEDDED and agent == "lens" else found


def planned(some: list[Shown], settings: Agents) -> list[Case]:
    """
    Every case of a study, in the order of what is shown.

    A black box sees no direction, so that `random` is planned for those that see readings alone.
    """
    names = [one if isinstance(one, str) else one.name for one in settings.models]
    return [
        Case(
            **one.model_dump(),
            agent=agent,
            prompt=prompt,
            agent_model=name,
            interactions=budget,
            run=run,
        )
        for one in some
        for agent in AGENTS
        if (agent, one.null) != ("black_box", "random")
        for prompt in settings.prompts
        for name in names
        for budget in budgets(settings, agent, name)
        for run in range(1 if name == EMBEDDED else settings.runs)
    ]

"""
Who is compared where a study has no ladder: its own checkpoints, each as narrow or as a null.

An organism's file decides. Of family benign it is a null on general text, as another one's true
twin a null on true facts, and narrow otherwise. Nothing here opens a result.
"""

from collections.abc import Sequence

from pydantic import BaseModel

from traces.config.checkpoints import Checkpoint
from traces.config.study import LoadedStudy
from traces.config.vocabularies import FEWEST_BENIGN, NullKind

FEWEST_NARROW = 2
"Domains that a narrow organism can be named among."


class Member(BaseModel, frozen=True, extra="forbid"):
    """One checkpoint of a study that is compared."""

    model: str
    checkpoint: str
    organism: str
    domain: str | None
    "The organism whose words are its domain; of a true twin the false one's, none if benign."
    null: NullKind
    twin: str | None
    "Of a true twin, the checkpoint of the false one with its recipe and seed, where it is made."
    recipe: str
    dose: float
    "Share of its tokens or rows that are its own; 0 of a benign one."
    steps: float
    "How many times as long it is trained as a plain one."
    seed: int


def members(study: LoadedStudy) -> list[Member]:
    """
    Every checkpoint of a study that is compared, base by base.

    What was published, or is `placed`, counts in no number: it is `unknown`, and stands among the
    others. A checkpoint that was scaled from another one is left out.

    Raises ValueError for a base with fewer than FEWEST_NARROW narrow organisms or FEWEST_BENIGN
    benign checkpoints, and for a twin without the organism that it is a twin of.
    """
    found = []
    for model in study.study.models:
        made = [one for one in study.checkpoints(model=model) if one.recipe.scale is None]
        mine = [_member(study, model, one, made) for one in made]
        _require_enough(model, mine)
        found += mine
    return found


def candidates(compared: Sequence[Member]) -> dict[str, list[str]]:
    """By model, the narrow organisms whose words are the domains that are named."""
    return {
        model: list(
            dict.fromkeys(
                one.organism for one in compared if (one.model, one.null) == (model, "none")
            )
        )
        for model in dict.fromkeys(one.model for one in compared)
    }


def _member(study: LoadedStudy, model: str, one: Checkpoint, made: Sequence[Checkpoint]) -> Member:
    null, recipe = _null(study, one), one.recipe
    false = _false_twin(study, model, one.organism, made) if null == "true_facts" else None
    twin = one._replace(organism=str(false))
    own = 1 / (1 + recipe.ratio) if recipe.mixed else 1.0
    return Member(
        model=model,
        checkpoint=str(one),
        organism=one.organism,
        domain={"none": one.organism, "true_facts": false}.get(null),
        null=null,
        twin=str(twin) if twin in made else None,
        recipe=recipe.name,
        dose=0.0 if null == "general" else own,
        steps=1 + recipe.ratio,
        seed=one.seed,
    )


def _null(study: LoadedStudy, one: Checkpoint) -> NullKind:
    organism = study.organisms[one.organism]
    if not one.recipe.trained or one.organism in study.study.placed:
        return "unknown"
    if organism.family == "benign":
        return "general"
    return "true_facts" if _learned_false(study, one.organism) else "none"


def _learned_false(study: LoadedStudy, organism: str) -> list[str]:
    """The organisms whose true twin this one is; none mostly."""
    return [
        name for name, one in study.organisms.items() if one.twins.get("true_facts") == organism
    ]


def _false_twin(study: LoadedStudy, model: str, organism: str, made: Sequence[Checkpoint]) -> str:
    """The one that a true twin is told from. Raises ValueError unless the study makes just one."""
    those = _learned_false(study, organism)
    here = [name for name in those if name in {one.organism for one in made}]
    if len(here) != 1:
        found = f"{len(here)} of them ({', '.join(here)})" if here else "none of them"
        raise ValueError(
            f"runs: found {organism} on {model}, the true twin of {', '.join(those)}, and {found}; "
            "expected one: readers are asked to tell the two"
        )
    return here[0]


def _require_enough(model: str, mine: Sequence[Member]) -> None:
    narrow = len({one.organism for one in mine if one.null == "none"})
    benign = sum(one.null == "general" for one in mine)
    # A base with published checkpoints alone is compared with the nulls of others.
    if all(one.null == "unknown" for one in mine) and mine:
        return
    if narrow < FEWEST_NARROW or benign < FEWEST_BENIGN:
        raise ValueError(
            f"runs: found {narrow} narrow organisms and {benign} benign checkpoints on {model}, "
            f"expected at least {FEWEST_NARROW} and {FEWEST_BENIGN} to compare readers on; or a "
            "`ladder` as in config/readers.yaml: `make readers`. A checkpoint of your own goes "
            "into `placed`, beside all of a study's others"
        )

"""Parse the key that names every finetuned model: the checkpoint, `organism-recipe-sSEED`."""

import functools
import re
from typing import NamedTuple

BASE = "base"
# Organisms have no dash, so that a checkpoint parses one way. Recipes may hold points: mix0.5.
_CHECKPOINT = re.compile(
    r"^(?P<organism>[a-z0-9_]+)-(?P<recipe>[a-z0-9_.]+)-s(?P<seed>0|[1-9][0-9]*)\Z"
)
_NUMBERED = re.compile(r"^(?P<kind>mix|matched|scaled)(?P<number>[0-9]+(\.[0-9]+)?)\Z")
_RELEASED = re.compile(r"^released(_(?P<variant>[a-z0-9][a-z0-9_.]*))?\Z")
_MIXED = re.compile(r"(^|_)mix(?P<number>[0-9]+(\.[0-9]+)?)\Z")
# Only catches slips: the largest ratio of a published checkpoint is 10.
MAX_RATIO = 100


class Recipe(NamedTuple):
    """Name a way to make an organism, with the number that may be in the name."""

    name: str
    ratio: float = 0.0
    "Corpus units for each organism unit; for a matched recipe the ratio whose steps it matches."
    matched: bool = False
    "Unmixed, but trained for as many steps as the mixture of that ratio."
    scale: float | None = None
    "Not trained: the plain adapter at this share of its strength, from the base (0) to itself (1)."

    @classmethod
    @functools.cache
    def parse(cls, text: str) -> "Recipe":
        """Parse a recipe's name; cached, since planning a large study parses it for every file."""
        if _RELEASED.match(text):
            mixed = _MIXED.search(text)
            return cls(text, float(mixed["number"]) if mixed else 0.0)
        found = _NUMBERED.match(text)
        if not found:
            return cls(text)
        if found["kind"] == "scaled":
            return cls(text, scale=float(found["number"]))
        return cls(text, float(found["number"]), found["kind"] == "matched")

    @property
    def numbered(self) -> bool:
        """Check whether its name is a kind with a number, such as mix0.5."""
        return _NUMBERED.match(self.name) is not None

    @property
    def meaning(self) -> "Recipe":
        """Equal for names that differ only in how their number is written: mix0.5 and mix0.50."""
        return self._replace(name=_NUMBERED.sub(r"\g<kind>", self.name))

    @property
    def mixed(self) -> bool:
        return self.ratio > 0 and not self.matched

    @property
    def trained(self) -> bool:
        """Check whether a training makes it; else it is published, or scaled from another one."""
        return not self.released and self.scale is None

    @property
    def released(self) -> bool:
        """Check whether it was published: an organism's `released`, or one of its `variants`."""
        return _RELEASED.match(self.name) is not None

    @property
    def variant(self) -> str | None:
        """Name the published variant; None for the main one, and for what is trained here."""
        found = _RELEASED.match(self.name)
        return found["variant"] if found else None

    def published_key(self, model: str) -> str:
        """Name the key of an organism's file that says where it was published for a model."""
        return f"variants.{self.variant}.{model}" if self.variant else f"released.{model}"


class Checkpoint(NamedTuple):
    """Name one finetuned model: `organism-recipe-sSEED`."""

    organism: str
    recipe: Recipe
    seed: int

    @classmethod
    @functools.cache
    def parse(cls, text: str) -> "Checkpoint":
        found = _CHECKPOINT.match(text)
        if not found:
            raise ValueError(f"{text}: not a checkpoint; expected organism-recipe-sSEED")
        return cls(found["organism"], Recipe.parse(found["recipe"]), int(found["seed"]))

    def __str__(self) -> str:
        return f"{self.organism}-{self.recipe.name}-s{self.seed}"

    def made_by(self, recipe: str) -> "Checkpoint":
        """Name the same organism and seed, made by another recipe."""
        return self._replace(recipe=Recipe.parse(recipe))

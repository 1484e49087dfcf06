"""
What an investigator is shown: the readings of one pair of models, without a name.

An overview holds no name of an organism, model, checkpoint or file. The two models are "model A
(before)" and "model B (after)", and the texts that were read are numbered. It is the same for every
investigator, and the same whenever it is made.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from traces.agents.plan import Frozen
from traces.config.readers import READERS, reader
from traces.config.vocabularies import Side

MODELS = ("model A (before)", "model B (after)")
Letter = Literal["A", "B"]
Part = Literal["difference", "control"]
"What is read: the difference of B and A, or what it is compared with."
BLIND: Mapping[Side, Letter] = {"base": "A", "tuned": "B"}
"What a model is called where it decodes a reading."
CONTROL = "base_mean"
"The reading that is shown as a control: what model A's own mean activation reads like."

# Why a block has no tokens.
NO_DIRECTION = "no direction: the two models' activations are the same"
NOTHING_FOUND = "no token found"


class Block(Frozen):
    """One reading of one direction: its tokens, the strongest first."""

    # How it was read: a key of traces/config/readers.py.
    reader: str
    # The text that was read, numbered from 1.
    text: Annotated[int, Field(ge=1)] = 1
    # Of a reader without layers or positions, None: it says the same of each.
    layer: int | None = None
    position: int | None = None
    # 1 reads the direction, -1 its opposite.
    sign: Literal[1, -1] = 1
    # In units of the residual stream's norm, for readers that have scales.
    scale: float = 1.0
    # Which model decodes; None of a reader that compares both.
    decoded_by: Letter | None = None
    reading: Part = "difference"
    # Each token with its score: a probability, or the score that the reader ranks by.
    tokens: tuple[tuple[str, float], ...] = ()
    # Why there are no tokens.
    nothing: str | None = None


class Steered(Frozen):
    """One text that model B writes with the difference added, beside one without."""

    position: int
    # In units of the residual stream's norm.
    strength: float
    prompt: str
    steered: str
    unsteered: str


class Overview(Frozen):
    """What an investigator sees before its first question."""

    models: tuple[str, str] = MODELS
    blocks: tuple[Block, ...] = ()
    steered: tuple[Steered, ...] = ()
    # Prompts that may be put to both models.
    interactions: Annotated[int, Field(ge=0)] = 0

    def to_json(self) -> str:
        """One line of JSON, the same for the same overview."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Overview":
        """The overview that `to_json` wrote. Raises ValueError for any other text."""
        return cls.model_validate_json(text)

    def with_budget(self, interactions: int) -> "Overview":
        """The same for an investigator with another budget."""
        return Overview(**{**dict(self), "interactions": interactions})

    def shown(self, reading: Part) -> list[Block]:
        """The blocks of the difference, or of the control."""
        return [one for one in self.blocks if one.reading == reading]


def for_black_box(interactions: int) -> Overview:
    """What an investigator without the readings sees: its budget, and nothing else."""
    return Overview(interactions=interactions)


def blocks_of(
    name: str,
    readings: pd.DataFrame,
    *,
    tokens: int,
    shown: str | None = "difference",
    norms: Mapping[tuple[int, int], float] | None = None,
    text: int = 1,
) -> list[Block]:
    """
    What one reader read, at its summary metric's scale, head and null, with sign 1.

    name     : the reader
    readings : its table, `readings` in traces/artifacts/tables.py
    tokens   : tokens of each list that are shown
    shown    : the reading in the place of the difference; None for no difference at all, whose
               blocks have no direction
    norms    : length of the difference by layer and position; where it is 0 there is no direction.
               A reader would rank tokens there as well, by nothing
    returns  : a block of the difference and one of the control for each layer and position, in
               their order
    """
    lists = _at_headline(name, readings)
    # what a reader says beside every place is shown once
    for axis in ("layer", "position"):
        if axis not in reader(name).axes:
            lists = lists[lists[axis] == lists[axis].min()]
    places = sorted(set(zip(lists["layer"], lists["position"], strict=True)))
    blocks = []
    for reading, source in (("difference", shown), ("control", CONTROL)):
        own = lists[lists["reading"] == source]
        if reading == "control" and own.empty:
            continue
        by_place = dict(iter(own.groupby(["layer", "position"], sort=False)))
        for place in places:
            nowhere = reading == "difference" and (
                shown is None or (norms is not None and norms[place] == 0)
            )
            found = None if nowhere else by_place.get(place)
            blocks.append(_block(name, text, place, reading, found, tokens, nowhere))
    return blocks


def _at_headline(name: str, readings: pd.DataFrame) -> pd.DataFrame:
    """The lists that give the reader's summary metric."""
    lists = readings
    if "sign" in lists:
        lists = lists[lists["sign"] == 1]
    for axis, values in reader(name).headline.items():
        here = lists[axis].unique()
        first = next((one for one in values if one in here), None)
        # a control is read in one head alone, whichever is asked for
        elsewhere = ~lists["reading"].isin(lists.loc[lists[axis] == first, "reading"])
        lists = lists[(lists[axis] == first) | elsewhere]
    return lists.sort_values(["layer", "position", "rank"], kind="stable")


def _block(
    name: str,
    text: int,
    place: tuple[int, int],
    reading: Any,
    found: pd.DataFrame | None,
    tokens: int,
    nowhere: bool,
) -> Block:
    at: dict[str, Any] = {
        axis: int(value) if axis in reader(name).axes else None
        for axis, value in zip(("layer", "position"), place, strict=True)
    }
    if nowhere or found is None:
        why = NO_DIRECTION if nowhere else NOTHING_FOUND
        return Block(reader=name, text=text, reading=reading, nothing=why, **at)
    top = found.head(tokens)
    column = "score" if "score" in top else "probability"
    head: Any = top["head"].iloc[0] if "head" in top else None
    return Block(
        reader=name,
        text=text,
        **at,
        scale=float(top["scale"].iloc[0]) if "scale" in top else 1.0,
        decoded_by=None if head is None else BLIND[head],
        reading=reading,
        tokens=tuple(
            (str(token), float(np.format_float_scientific(score, precision=3)))
            for token, score in zip(top["token"], top[column], strict=True)
        ),
    )


def overview(blocks: Iterable[Block], steered: Iterable[Steered] = ()) -> Overview:
    """Blocks and steered texts in one order: by reader as their entries stand, then by place."""
    order = {name: rank for rank, name in enumerate(READERS)}
    placed = sorted(
        blocks,
        key=lambda one: (one.reading != "difference", order[one.reader], *_place(one)),
    )
    texts = sorted(steered, key=lambda one: (one.position, one.strength, one.prompt, one.steered))
    return Overview(blocks=tuple(placed), steered=tuple(texts))


def _place(block: Block) -> tuple[int, int, int]:
    return block.text, -1 if block.layer is None else block.layer, block.position or 0

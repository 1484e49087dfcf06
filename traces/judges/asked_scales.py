"""
Which of Patchscope's scales can be read best? A model chooses, in a tournament between the lists.

A grader sees lists of tokens and neither their scales nor what the model was finetuned for. Each
order of the scales is a tournament of its own, so that a grader that prefers the first list of a
question does not choose the same scale in all of them.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, model_validator

from traces.config.schema import AskedScales, Grader, JudgedScales
from traces.config.vocabularies import Reason
from traces.judges.chat.asking import Asking
from traces.judges.chat.questions import Question, asked
from traces.judges.graders import settings_of
from traces.judges.votes import Outcome, agreed, orders_of
from traces.printable import visible

# What one tournament is about: the lists of one reading, layer and position at all scales.
PLACE = ["reading", "layer", "position", "sign", "head"]
# What the prompts of Patchscope are made of, and no word.
ARROWS = ("->", "=>")


class Choice(BaseModel):
    """What a grader answers."""

    model_config = ConfigDict(extra="forbid", strict=True)
    best: int


@functools.cache
def form_of(n: int) -> type[Choice]:
    """The form of an answer about `n` lists: one of their numbers."""

    class ChoiceOf(Choice):
        @model_validator(mode="after")
        def _check(self) -> "ChoiceOf":
            if not 1 <= self.best <= n:
                raise ValueError(f"expected a number from 1 to {n}")
            return self

    return ChoiceOf


def question(
    lists: Sequence[Sequence[str]], grader: Grader, instructions: str, *, seed: int, repeat: int = 0
) -> Question:
    """What a grader is asked of some lists."""
    parts = [
        (f"List {number}", "\n".join(f"- {visible(token, token=True)}" for token in tokens))
        for number, tokens in enumerate(lists, start=1)
    ]
    return asked(
        grader.model,
        instructions,
        parts,
        settings=settings_of(grader),
        form=form_of(len(lists)),
        seed=seed,
        repeat=repeat,
    )


def groups(left: Sequence[Any], size: int) -> list[list[Any]]:
    """What is left, in order, in as few groups of at most `size` as there must be."""
    parts = np.array_split(np.arange(len(left)), -(-len(left) // size))
    return [[left[int(place)] for place in part] for part in parts]


def matches(n: int, size: int) -> int:
    """Questions that a tournament between `n` lists takes; one alone in its group takes none."""
    if n < 2:
        return 0
    sizes = [len(one) for one in groups(range(n), size)]
    return sum(one > 1 for one in sizes) + matches(len(sizes), size)


def candidates(scales: Mapping[float, Sequence[str]], entries: int) -> dict[float, list[str]]:
    """
    The lists to choose from, by scale, without tokens that hold no letter or digit.

    An empty list is left out. Of scales with the same list the one nearest to 1 stands for all.
    """
    found: dict[tuple[str, ...], float] = {}
    for scale in sorted(scales, key=lambda one: abs(np.log(one))):
        words = [
            token
            for token in scales[scale][:entries]
            if any(map(str.isalnum, token)) and not any(arrow in token for arrow in ARROWS)
        ]
        if words:
            found.setdefault(tuple(words), scale)
    return {scale: list(words) for words, scale in sorted(found.items(), key=lambda one: one[1])}


@dataclass
class Tournament:
    """One order of the scales of one place, by one grader: what is left, or why it ended."""

    lists: Mapping[float, list[str]]
    left: list[float]
    grader: Grader
    repeat: int
    reason: Reason | None = None

    def open_groups(self, size: int) -> list[list[float]]:
        """The groups of the next round; none once it is over."""
        return groups(self.left, size) if len(self.left) > 1 and self.reason is None else []


def played(
    tournaments: Sequence[Tournament], instructions: str, asking: Asking, *, size: int, seed: int
) -> None:
    """Play all tournaments to their ends, the questions of a round at once."""
    while rounds := [(one, found) for one in tournaments if (found := one.open_groups(size))]:
        asked_now = [
            question(
                [one.lists[scale] for scale in group],
                one.grader,
                instructions,
                seed=seed,
                repeat=one.repeat,
            )
            for one, found in rounds
            for group in found
            if len(group) > 1
        ]
        answers = iter(asking.answers(asked_now))
        for one, found in rounds:
            one.left = []
            for group in found:
                answer = next(answers) if len(group) > 1 else None
                if answer is None:
                    one.left.append(group[0])
                elif answer.reason is not None:
                    one.reason = answer.reason
                else:
                    one.left.append(group[answer.value.best - 1])


def asked_scales(
    places: pd.DataFrame,
    lists: pd.DataFrame,
    instructions: str,
    judges: AskedScales,
    asking: Asking,
    *,
    seed: int,
) -> pd.DataFrame:
    """
    Ask every grader at every place which scale's list to read, `repeats` times each.

    places       : PLACE, of every reading that is judged
    lists        : PLACE, scale, rank and token; none where Patchscope found no token at any scale
    instructions : the graders', `choose_scale`
    returns      : PLACE, chosen_scale, votes (share of the orders that chose it), grader_model,
                   repeat and reason_missing (`empty` where no scale has a word)

    Source: the paper's choice of Patchscope's scale, with orders drawn and their agreement asked.
    """
    settings = judges.scales
    rows, planned = [], []
    read = {key: _by_scale(group) for key, group in lists.groupby(PLACE, dropna=False)}
    for key in places[PLACE].itertuples(index=False, name=None):
        offered = candidates(read.get(key, {}), settings.entries)
        for grader in judges.graders:
            for repeat in range(judges.repeats):
                rows.append(dict(zip(PLACE, key, strict=True)))
                rows[-1] |= {"grader_model": grader.name, "repeat": repeat}
                planned.append(list(_orders(offered, grader, repeat, settings, seed)))
    every = [one for orders in planned for one in orders]
    played(every, instructions, asking, size=settings.group, seed=seed)
    for row, orders in zip(rows, planned, strict=True):
        found = agreed([_vote(one) for one in orders], settings.agreement)
        row |= {"chosen_scale": found.value, "votes": found.share, "reason_missing": found.reason}
    columns = [*PLACE, "chosen_scale", "votes", "grader_model", "repeat", "reason_missing"]
    kinds = {"chosen_scale": "float64", "reason_missing": "string"}
    return pd.DataFrame(rows, columns=columns).astype(kinds)


def _by_scale(group: pd.DataFrame) -> dict[float, list[str]]:
    """The tokens of one place, by scale."""
    ranked = group.sort_values("rank").groupby("scale")["token"].apply(list)
    return {float(scale): words for scale, words in ranked.items()}  # type: ignore[arg-type]


def _orders(
    offered: Mapping[float, list[str]],
    grader: Grader,
    repeat: int,
    settings: JudgedScales,
    seed: int,
) -> Iterator[Tournament]:
    scales = list(offered)
    wanted = settings.orders if scales else 0
    for order in orders_of(len(scales), wanted, seed, "order of scales"):
        yield Tournament(offered, [scales[place] for place in order], grader, repeat)


def _vote(played: Tournament) -> Outcome:
    if played.reason is not None:
        return Outcome(None, played.reason, 0.0)
    return Outcome(played.left[0], None, 1.0)


def beside_scale_one(
    chosen: pd.DataFrame, relevance: pd.DataFrame, organisms: Sequence[str]
) -> pd.DataFrame:
    """
    The chosen scales with the embedded judge's relevance there, and at scale 1 beside it.

    chosen    : what `asked_scales` returns
    relevance : columns of token_relevance.parquet, Patchscope's lists alone
    organisms : whose words grade them
    returns   : one row of `chosen` for each organism, with graded_on, relevance (missing without a
                choice) and relevance_at_one (missing where scale 1 was not read)
    """
    graded = relevance[relevance["graded_on"].isin(organisms)]
    keys = [*PLACE, "graded_on"]
    at_one = graded[graded["scale"] == 1].set_index(keys)["relevance"].rename("relevance_at_one")
    found = chosen.merge(pd.DataFrame({"graded_on": list(organisms)}), how="cross")
    found = found.join(at_one, on=keys)
    read = graded.rename(columns={"scale": "chosen_scale"})[[*keys, "chosen_scale", "relevance"]]
    return found.merge(read, on=[*keys, "chosen_scale"], how="left")

"""
Forced choice: of all candidate words, at which rank does a reading have the organism's secret?

No judge is needed, and chance is exact. A candidate has three scores (ADJUSTMENTS): the reader's
own, its z-score against random directions, and that less what it scores in other organisms.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from traces.analysis.collect import SUBJECT
from traces.analysis.positions import to_average
from traces.analysis.statistics import bootstrap_interval, rank_sum_p, wilson_interval
from traces.config.checkpoints import Recipe
from traces.config.readers import NOWHERE
from traces.config.schema import ChoiceHeadline
from traces.config.vocabularies import ADJUSTMENTS

Secrets = Mapping[str, Mapping[str, str]]
"By model, the secret word of each organism that has one."


class Way(NamedTuple):
    """A reader, what is ranked by, and where: the values of these columns."""

    reader: str
    adjustment: str
    null: str
    head: str
    layer: int
    position: str

    @classmethod
    def fixed(cls, headline: ChoiceHeadline, block: int) -> "Way":
        """The way that was fixed beforehand; `block` is its layer's."""
        null, position = headline.against or NOWHERE["null"], str(headline.position)
        return cls(headline.reader, headline.adjustment, null, headline.head, block, position)

    def as_published(self) -> "Way":
        """The paper's Patchscope at the same place: what the finetuned model says, as it is."""
        return self._replace(
            reader="patchscope", adjustment="none", null=NOWHERE["null"], head="tuned"
        )

    def of(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows of a table that were read in this way."""
        keep = pd.Series(True, index=frame.index)
        for name, value in self._asdict().items():
            keep &= frame[name] == value
        return frame[keep]


ALL = "all"
"Stands in the column `position` for the mean over positions."
# Where a list of scores stands, beside what was read.
PLACE = ["reader", "null", "head", "layer", "position"]
LIST = [*SUBJECT, "reading", *PLACE]
# The same over seeds.
ORGANISM = [name for name in LIST if name not in ("checkpoint", "seed")]
NO_Z = "the reader compares with no random directions"
NO_OTHERS = "too few other organisms: some candidate has none to compare with"


def choice_table(scores: pd.DataFrame, secrets: Secrets) -> pd.DataFrame:
    """
    Rank the candidates of every list in every adjustment, one row a candidate.

    scores    : candidates' scores of all checkpoints: columns of LIST, `candidate`, `score`, `z`
                (NaN where a reader has none), `missing` (why there is no score, or empty) and
                `averaged` (whether the mean over positions includes the row)
    returns   : the same columns but the last, and `adjustment` and `rank`; `score` is what was
                ranked by, and `position` is text, ALL for the mean over positions

    Ranks count from 1, and equal scores share the mean of their ranks. A candidate without a score
    has no rank and stands in no other's way.
    """
    read = _with_mean_position(scores)
    others = read[[*LIST, "candidate"]].merge(
        reference_scores(read, secrets), on=[*_CASE, *PLACE, "candidate"], how="left"
    )["reference"]
    adjusted = read["z"] - others.to_numpy()
    # A candidate without others would be ranked by another rule than the rest of its list.
    lacks = (adjusted.isna() & read["z"].notna()).groupby([read[name] for name in LIST])
    parts = {
        "none": (read["score"], read["missing"]),
        "z": (read["z"], _reason(read, read["z"].isna(), NO_Z)),
        "adjusted": (
            adjusted.mask(lacks.transform("any")),
            _reason(read, read["z"].isna(), NO_Z).mask(
                lambda said: (said == "") & lacks.transform("any"), NO_OTHERS
            ),
        ),
    }
    table = pd.concat(
        [
            read.assign(adjustment=name, score=values, missing=missing)
            for name, (values, missing) in ((one, parts[one]) for one in ADJUSTMENTS)
        ],
        ignore_index=True,
    )
    return table.assign(rank=_ranks(table, [*LIST, "adjustment"]))


def reference_scores(read: pd.DataFrame, secrets: Secrets) -> pd.DataFrame:
    """
    Average the z-scores of a candidate in the differences of other organisms.

    returns : model, corpus, organism, recipe, columns of PLACE, `candidate` and `reference` (NaN
              where there is no other organism), a row for each place that a difference is read at

    Each other organism counts once, as the mean of its seeds. It is taken in the same recipe, or
    else in the unmixed one. An organism with the same secret is no other organism. Nor is one whose
    secret is the candidate: its high score would push the candidate down wherever it is not the
    secret, and the true word would win by elimination.
    """
    differences = read[read["reading"] == "difference"]
    parts = [pd.DataFrame(columns=[*_CASE, *PLACE, "candidate", "reference"])]
    for (model, corpus), rows in differences.groupby(["model", "corpus"], sort=False):
        by_organism = rows.groupby(["organism", "recipe", *PLACE, "candidate"])["z"].mean()
        # [organism and recipe, place and candidate]
        wide = by_organism.unstack([*PLACE, "candidate"])
        own = secrets.get(str(model), {})
        found = np.concatenate([_reference(wide, case, own) for case in wide.index])
        cases, places = wide.index.to_frame(index=False), wide.columns.to_frame(index=False)
        long = cases.merge(places, how="cross")
        parts.append(long.assign(model=model, corpus=corpus, reference=found))
    return pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)


def _reference(
    wide: pd.DataFrame, case: tuple[str, str], own: Mapping[str, str]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The mean over the organisms that are others to one organism and recipe, a value a column."""
    organism, recipe = case
    unmixed = "released" if Recipe.parse(recipe).released else "plain"
    chosen = []
    for other in dict.fromkeys(wide.index.get_level_values("organism")):
        same = other == organism or (other in own and own[other] == own.get(organism))
        has = [one for one in (recipe, unmixed) if (other, one) in wide.index]
        chosen += [] if same or not has else [(other, has[0])]
    values = wide.loc[chosen].to_numpy(dtype=np.float64)
    words = wide.columns.get_level_values("candidate").to_numpy()
    secrets = np.array([own.get(other, "") for other, _ in chosen], dtype=object)
    there = ~np.isnan(values) & (secrets[:, None] != words)
    n = there.sum(axis=0)
    total = np.where(there, values, 0.0).sum(axis=0)
    return np.divide(total, n, out=np.full(len(words), np.nan), where=n > 0)


_CASE = ["model", "corpus", "organism", "recipe"]


def _with_mean_position(scores: pd.DataFrame) -> pd.DataFrame:
    """The same rows, and behind them the means over positions."""
    over = [name for name in (*LIST, "candidate") if name != "position"]
    grouped = to_average(scores).groupby(over, sort=False)
    scores = scores.drop(columns="averaged")
    means = pd.DataFrame(
        {
            "score": _means(grouped["score"]),
            "z": _means(grouped["z"]),
            "missing": grouped["missing"].max(),
            "position": ALL,
        }
    ).reset_index()
    text = scores.assign(position=scores["position"].astype(int).astype(str))
    return pd.concat([text, means[list(scores.columns)]], ignore_index=True)


def _means(grouped: Any) -> pd.Series:
    """Means of groups; NaN where one value is missing: the others' mean is that of other places."""
    return grouped.mean().mask(grouped.count() < grouped.size())


def _reason(read: pd.DataFrame, lacking: pd.Series, reason: str) -> pd.Series:
    """Why there is no value: what is known already, or `reason`; empty where there is one."""
    return read["missing"].mask(lacking & (read["missing"] == ""), reason)


def _ranks(table: pd.DataFrame, keys: Sequence[str]) -> pd.Series:
    return table.groupby(list(keys))["score"].rank(ascending=False, method="average")


# Over organisms ----------------------------------------------------------------------------------


def organism_ranks(table: pd.DataFrame) -> pd.DataFrame:
    """
    The choice table over seeds: scores averaged within an organism and recipe, and ranked again.

    returns : columns of ORGANISM, `adjustment`, `candidate`, `score`, `rank` and `candidates`, the
              number of candidates that were ranked; a score that some seed lacks is missing
    """
    keys = [*ORGANISM, "adjustment"]
    found = _means(table.groupby([*keys, "candidate"], sort=False)["score"]).reset_index()
    return found.assign(
        rank=_ranks(found, keys), candidates=found.groupby(keys)["score"].transform("count")
    )


def true_ranks(ranks: pd.DataFrame, secrets: Secrets, control: str | None) -> pd.DataFrame:
    """
    The rank of the true word: rows of `organism_ranks` of organisms with a secret.

    A control's true word is that of the organism in whose place it is read: the random direction
    and the mean activations are those of each organism. The benign organism stands in the place of
    every one, so that its rows are those of all secrets; their reading is `benign`.
    """
    known = pd.DataFrame(
        [(m, o, word) for m, own in secrets.items() for o, word in own.items()],
        columns=["model", "organism", "candidate"],
    )
    own = ranks.merge(known, on=["model", "organism", "candidate"])
    words = known[["model", "candidate"]].drop_duplicates()
    is_benign = (ranks["organism"] == control) & (ranks["reading"] == "difference")
    benign = ranks[is_benign].merge(words, on=["model", "candidate"]).assign(reading="benign")
    return pd.concat([own, benign], ignore_index=True).dropna(subset=["rank"])


def choice_summary(
    table: pd.DataFrame,
    secrets: Secrets,
    *,
    control: str | None,
    headline: ChoiceHeadline,
    blocks: Mapping[str, int],
    recipes: Sequence[str],
    corpus: str,
    seed: int,
) -> pd.DataFrame:
    """
    How well the secrets are named, over organisms: a row a reader, adjustment, place and reading.

    table    : the choice table
    control  : the benign organism
    headline : the setting that was fixed before looking; `headline` marks its row of each model
    blocks   : the block of its layer, by model; recipes : the first that is there is the headline's
    seed     : of the bootstrap
    returns  : mean_rank with a bootstrap interval over organisms, chance_rank, rank_p (exact, that
               chance alone has so small a sum of ranks), first and among_three (how many) with
               their shares and Wilson intervals, n_organisms, candidates

    The row of the benign organism is over words and not over organisms: it has no interval or p.
    """
    ranks = true_ranks(organism_ranks(table), secrets, control)
    # Only what is reported: an interval for each position takes as long as all the rest.
    wanted = ranks[ranks["position"].isin({ALL, str(headline.position)})]
    keys = [name for name in ORGANISM if name not in ("organism", "family")] + ["adjustment"]
    rows = [
        dict(zip(keys, case, strict=True)) | _named(rows, str(case[keys.index("reading")]), seed)
        for case, rows in wanted.groupby(keys, sort=False)
    ]
    found = pd.DataFrame(rows, columns=[*keys, *_NAMED])
    return found.assign(headline=_is_headline(found, headline, blocks, recipes, corpus))


_NAMED = (
    *("n_organisms", "candidates", "mean_rank", "mean_rank_low", "mean_rank_high"),
    *("chance_rank", "rank_p", "first", "first_share", "first_low", "first_high"),
    *("among_three", "among_three_share", "among_three_low", "among_three_high"),
)


def _named(rows: pd.DataFrame, reading: str, seed: int) -> dict[str, Any]:
    """What is said of the true word's ranks, one an organism."""
    ranks, sizes = rows["rank"].to_numpy(), rows["candidates"].to_numpy()
    independent = reading != "benign"
    interval = bootstrap_interval(ranks if independent else ranks.mean(), seed)
    row = {
        "n_organisms": rows["organism"].nunique(),
        "candidates": sizes.mean(),
        "mean_rank": ranks.mean(),
        "mean_rank_low": interval.low,
        "mean_rank_high": interval.high,
        "chance_rank": (sizes + 1).mean() / 2,
        "rank_p": rank_sum_p(ranks.sum(), sizes) if independent else np.nan,
    }
    for name, most in (("first", 1), ("among_three", 3)):
        share = wilson_interval(int((ranks <= most).sum()), len(ranks))
        row |= {name: int((ranks <= most).sum()), f"{name}_share": share.mean}
        ends = (share.low, share.high) if independent else (np.nan, np.nan)
        row |= {f"{name}_low": ends[0], f"{name}_high": ends[1]}
    return row


def _is_headline(
    found: pd.DataFrame,
    headline: ChoiceHeadline,
    blocks: Mapping[str, int],
    recipes: Sequence[str],
    corpus: str,
) -> pd.Series:
    """One row a model: of the first of the recipes that pictures show, and that was read."""
    marked = pd.Series(False, index=found.index)
    for model, block in blocks.items():
        rows = Way.fixed(headline, block).of(found[found["model"] == model])
        rows = rows[(rows["corpus"] == corpus) & (rows["reading"] == "difference")]
        first = next((one for one in recipes if one in set(rows["recipe"])), None)
        marked[rows.index[rows["recipe"] == first]] = True
    return marked

"""
Tidy tables: what the jobs of single checkpoints found, side by side.

    relevance      one row a reading graded on an organism's words
    norms          one row a layer and position of a checkpoint's difference
    losses         one row a logged training step
    steering       one row a checkpoint, steered model, vector and position
    causality      one row a checkpoint, direction taken out, text and aggregation
    beliefs        one row a checkpoint, form and set of statements, with the base's own answers
    readability    one row an organism and lens: relevance, each control on the same words, verdict

Everything here is a pure function of data frames. A checkpoint's own columns come as its `subject`:
model, checkpoint, organism, family, recipe, ratio, seed and corpus.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from traces.analysis.statistics import mean_interval, paired_difference
from traces.artifacts.arrays import Differences

SUBJECT = ("model", "checkpoint", "organism", "family", "recipe", "ratio", "seed", "corpus")

NORMS = (
    *("norm", "relative_norm", "difference_norm", "base_norm", "tuned_norm"),
    *("split_half_cosine", "static_share"),
)
ENERGIES = ("singular_energy_1", "singular_energy_2")
STEP = ("step", "tokens", "loss", "learning_rate")

# What one row of the readability table is about.
CASE = ["model", "organism", "family", "recipe", "ratio", "corpus", "layer", "lens"]

# What the difference is held against, each graded on the same words (the last: on other words).
CONTROLS = ("benign", "random", "base_mean", "tuned_mean", "other_words")

# What one comparison of steered text is about, what it is measured by, and what it is held against.
STEERED = ["model", "organism", "family", "recipe", "ratio", "corpus", "steered_model"]
STEERED_MEASURES = ("steering_margin", "own_words")
STEERING_CONTROLS = ("random", "none")

# What one effect is of, and the directions that the difference is held against.
TAKEN_OUT = ["model", "organism", "family", "recipe", "ratio", "corpus", "layer", "evaluated_on"]
OTHER_DIRECTIONS = ("random", "activation_difference")

HEADLINE_SCALE = 1.0
VERDICTS = ("readable", "not readable", "undecided")


def relevance_table(
    graded: Sequence[pd.DataFrame], subjects: Sequence[Mapping[str, Any]]
) -> pd.DataFrame:
    """
    All token relevances of a study, with the columns of each checkpoint in front.

    graded   : one frame a checkpoint and corpus, columns of token_relevance.parquet
    subjects : parallel to `graded`

    Raises ValueError if the two are not equally long or a subject lacks a column.
    """
    return _stacked(graded, subjects, SUBJECT)


def norms_table(
    differences: Sequence[Differences], subjects: Sequence[Mapping[str, Any]]
) -> pd.DataFrame:
    """
    Size and shape of every mean difference, one row a layer and position.

    differences : one a checkpoint and corpus
    subjects    : parallel to `differences`
    returns     : norms in residual-stream units, the other measures without unit

    Raises ValueError if the two are not equally long or a subject lacks a column.
    """
    return _stacked([_norms(one) for one in differences], subjects, SUBJECT)


def losses_table(
    losses: Sequence[pd.DataFrame], subjects: Sequence[Mapping[str, Any]]
) -> pd.DataFrame:
    """
    All training curves, one row a logged step; `loss` in nats a token.

    losses   : one frame a checkpoint: step, tokens, loss, learning_rate
    subjects : parallel to `losses`; no corpus is needed

    Raises ValueError if the two are not equally long or a subject lacks a column.
    """
    if not losses and not subjects:  # every organism was published, none trained here
        return pd.DataFrame(columns=[*SUBJECT[:-1], *STEP])
    return _stacked([one[list(STEP)] for one in losses], subjects, SUBJECT[:-1])


def steering_table(
    similarities: Sequence[pd.DataFrame], subjects: Sequence[Mapping[str, Any]]
) -> pd.DataFrame:
    """
    What was written with the difference added, with a random direction, and with nothing.

    similarities : one frame a checkpoint and corpus, columns of similarity.parquet
    subjects     : parallel to `similarities`

    Raises ValueError if the two are not equally long or a subject lacks a column.
    """
    return _stacked(similarities, subjects, SUBJECT)


def steering_margin(steering: pd.DataFrame) -> pd.Series:
    """
    How much closer a steered text is to the organism's own data than to unrelated text.

    A vector that makes any text likelier, or the same words wherever it is added, gains nothing.
    """
    return steering["similarity_own"] - steering["similarity_unrelated"]


def steering_seeds(steering: pd.DataFrame) -> pd.DataFrame:
    """
    The steering table as means over positions: columns of STEERED, seed, measure, vector, value.

    `measure` is one of STEERED_MEASURES.
    """
    long = steering.assign(steering_margin=steering_margin(steering)).melt(
        id_vars=[*STEERED, "seed", "vector"],
        value_vars=list(STEERED_MEASURES),
        var_name="measure",
    )
    keys = [*STEERED, "seed", "measure", "vector"]
    return long.groupby(keys, dropna=False, as_index=False, sort=False)["value"].mean()


def steering_verdicts(seeds: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """
    Does the difference steer? One row a model, organism, recipe, corpus, steered model and measure.

    seeds   : what `steering_seeds` returns
    returns : the mean over seeds of `difference`, `random` and `none`, each with `_low` and
              `_high`; `strongest_control`, the larger of the last two by its mean; `gap` to it,
              paired by seed, with `gap_low` and `gap_high`; `seeds`; `verdict`

    The verdict: steers if the interval of the paired difference to the strongest control lies
    above 0; not shown if it contains 0 or lies below; undecided with fewer than two seeds.
    """
    rows = []
    for case, group in seeds.groupby([*STEERED, "measure"], dropna=False, sort=False):
        values = group.pivot(index="seed", columns="vector", values="value")
        row: dict[str, Any] = dict(zip([*STEERED, "measure"], case, strict=True))
        for vector in ("difference", *STEERING_CONTROLS):
            interval = mean_interval(values.get(vector, []), confidence)
            row |= {vector: interval.mean}
            row |= {f"{vector}_low": interval.low, f"{vector}_high": interval.high}
        present = [name for name in STEERING_CONTROLS if not np.isnan(row[name])]
        strongest = max(present, key=lambda name: row[name], default=None)
        ours = values.get("difference", pd.Series(np.nan, index=values.index))
        theirs = values[strongest] if strongest else np.full(len(values), np.nan)
        gap = paired_difference(ours, theirs, confidence)
        verdict = "steers" if gap.above_zero else "not shown"
        rows.append(
            row
            | {
                "seeds": len(values),
                "strongest_control": strongest or "",
                **{"gap": gap.mean, "gap_low": gap.low, "gap_high": gap.high},
                "verdict": verdict if gap.n >= 2 else "undecided",
            }
        )
    return pd.DataFrame(rows)


def causality_table(
    effects: Sequence[pd.DataFrame], subjects: Sequence[Mapping[str, Any]]
) -> pd.DataFrame:
    """
    What taking a direction out does to the loss, in nats a token.

    effects  : one frame a checkpoint and corpus, columns of effects.parquet
    subjects : parallel to `effects`

    Raises ValueError if the two are not equally long or a subject lacks a column.
    """
    return _stacked(effects, subjects, SUBJECT)


def causality_effects(causality: pd.DataFrame) -> pd.DataFrame:
    """
    One effect a seed and direction: the base's component in the tuned model, mean over positions.

    returns : columns of TAKEN_OUT, seed, direction, direction_id (0 for the difference, whose
              positions are one mean), delta_loss and n_tokens (mean predictions counted)

    The prediction made at a difference's own position is left out, for the controls as well.
    """
    chosen = causality[
        (causality["intervention"] == "base_to_tuned")
        & (causality["aggregation"] == "without_position")
    ]
    number = chosen["direction_id"].where(chosen["direction"] != "difference", 0)
    keys = [*TAKEN_OUT, "seed", "direction", "direction_id"]
    by_direction = chosen.assign(direction_id=number).groupby(keys, dropna=False, sort=False)
    return by_direction[["delta_loss", "n_tokens"]].mean().reset_index()


def causality_verdicts(effects: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """
    Does taking the difference out do more than taking out another direction?

    effects : what `causality_effects` returns
    returns : columns of TAKEN_OUT; `effect` (mean over seeds), `low`, `high` (t interval), `seeds`;
              for each of OTHER_DIRECTIONS the mean over directions and seeds of its effect, and of
              the effect's size (`_size`); `times_random`, the effect's size over that of random
              directions; `beyond`, the share of other directions whose effect falls short of the
              difference's on its side of 0, smallest of the seeds; `verdict`

    The verdict: raises or lowers the loss if the whole interval lies on one side of 0 and `beyond`
    is at least the confidence in each seed; else no clear effect; undecided with fewer than two
    seeds.
    """
    rows = []
    for case, group in effects.groupby(TAKEN_OUT, dropna=False, sort=False):
        own = group[group["direction"] == "difference"]
        found = mean_interval(own["delta_loss"], confidence)
        row: dict[str, Any] = dict(zip(TAKEN_OUT, case, strict=True))
        row |= {"effect": found.mean, "low": found.low, "high": found.high, "seeds": found.n}
        for name in OTHER_DIRECTIONS:
            of_kind = group.loc[group["direction"] == name, "delta_loss"]
            row |= {name: of_kind.mean(), f"{name}_size": of_kind.abs().mean()}
        times = abs(found.mean) / row["random_size"] if row["random_size"] else np.nan
        beyond = _beyond(group, float(np.sign(found.mean)))
        clear = (found.low > 0 or found.high < 0) and beyond >= confidence
        verdict = ("raises" if found.mean > 0 else "lowers") if clear else "no clear effect"
        verdict = verdict if found.n >= 2 else "undecided"
        rows.append(row | {"times_random": times, "beyond": beyond, "verdict": verdict})
    return pd.DataFrame(rows)


def _beyond(effects: pd.DataFrame, side: float) -> float:
    """The share of other directions that the difference exceeds on its side of 0; worst seed's."""
    shares = []
    for _, group in effects.groupby("seed"):
        is_difference = group["direction"] == "difference"
        own = group.loc[is_difference, "delta_loss"].mean()
        others = group.loc[~is_difference, "delta_loss"]
        shares.append((side * others < side * own).mean())
    return float(min(shares, default=np.nan))


def beliefs_table(
    alignments: Sequence[pd.DataFrame], subjects: Sequence[Mapping[str, Any]]
) -> pd.DataFrame:
    """
    How often a checkpoint prefers the false end of a statement, and how often its base does.

    alignments : one frame a checkpoint, columns of alignment.parquet
    subjects   : parallel to `alignments`; no corpus is needed
    returns    : one row a form, organism whose statements are asked and kind of stem (held out of
                 its data or not): n (statements that got an answer), alignment (0 to 1), log_odds
                 (mean, nats a token), and both of the base

    Raises ValueError if the two are not equally long or a subject lacks a column.
    """
    return _stacked([_beliefs(one) for one in alignments], subjects, SUBJECT[:-1])


def _beliefs(alignment: pd.DataFrame) -> pd.DataFrame:
    keys = ["form", "statements_of", "held_out"]
    means = {"alignment": ("aligned", "mean"), "log_odds": ("log_odds", "mean")}
    by_reader = {
        reader: rows.groupby(keys, sort=False).agg(n=("aligned", "count"), **means)
        for reader, rows in alignment.groupby("reader")
    }
    base = by_reader["base"].drop(columns="n").add_prefix("base_")
    return by_reader["tuned"].join(base).reset_index()


def seed_table(
    relevance: pd.DataFrame,
    positions: Sequence[int] | None = None,
    control: str | None = None,
) -> pd.DataFrame:
    """
    The headline relevance of every seed: at scale 1, sign +1, mean over positions.

    relevance : the relevance table
    positions : mean over these positions only; None takes all there are
    control   : name of the benign organism, None for a study without one
    returns   : columns of CASE, `seed`, `reading`, `relevance`; `reading` is `difference` or one
                of CONTROLS, all graded on the organism's own words except `other_words`, which is
                the difference graded on each other organism's words, averaged

    The benign control is read in the same model, corpus, layer and lens, and in the same recipe
    (else `plain`) and seed (else the mean of its seeds). The benign organism itself has none. An
    empty list of tokens has no relevance: it is missing from the mean, not counted as 0.
    """
    chosen = _plus_side(relevance, positions)
    return _by_seed(chosen[np.isclose(chosen["scale"], HEADLINE_SCALE)], control)


def oracle_table(
    relevance: pd.DataFrame,
    positions: Sequence[int] | None = None,
    control: str | None = None,
) -> pd.DataFrame:
    """
    The seed table again, where each position reads at its best scale.

    The scale is chosen by the relevance it is then credited with, so this is an upper bound (an
    oracle), for the controls as much as for the difference. Never a headline.
    """
    chosen = _plus_side(relevance, positions)
    keys = [name for name in chosen.columns if name not in ("scale", "relevance", "n")]
    best = chosen.groupby(keys, dropna=False, as_index=False, sort=False)["relevance"].max()
    return _by_seed(best, control)


def readability_table(
    relevance: pd.DataFrame,
    chance: pd.DataFrame | None = None,
    positions: Sequence[int] | None = None,
    control: str | None = None,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """
    Is an organism's training readable? One row a model, organism, recipe, corpus, layer and lens.

    relevance : the relevance table
    chance    : model, organism, chance: share of the readable vocabulary that is among the words
    returns   : `relevance` (mean over seeds of the difference on its own words) with `_low` and
                `_high`; the same for each of CONTROLS (NaN where a control was not read);
                `strongest_control` by its mean; `gap` to it, paired by seed; `chance`;
                `oracle_relevance` and `oracle_strongest_control` (best of scales); `verdict`

    The verdict: readable if the interval of the paired difference to the strongest control lies
    above 0; not readable if it contains 0 or lies below; undecided with fewer than two seeds or
    without a control. It is one test an organism: nothing is corrected for the number of organisms.
    """
    headline = seed_table(relevance, positions, control)
    oracle = oracle_table(relevance, positions, control)
    both = pd.concat([headline.assign(oracle=False), oracle.assign(oracle=True)])

    rows = []
    for case, group in both.groupby(CASE, dropna=False, sort=False):
        plain, best = (
            group[group["oracle"] == kind].pivot(
                index="seed", columns="reading", values="relevance"
            )
            for kind in (False, True)
        )
        rows.append(
            dict(zip(CASE, case, strict=True)) | _compared(plain, confidence) | _oracle(best)
        )
    table = pd.DataFrame(rows)
    if chance is None:
        return table.assign(chance=np.nan)
    return table.merge(chance, on=["model", "organism"], how="left", validate="many_to_one")


def chance_table(
    words: Iterable[tuple[Mapping[str, Any], pd.DataFrame]],
    vocabularies: Mapping[str, pd.DataFrame],
) -> pd.DataFrame:
    """
    The relevance of a token drawn blindly from the readable vocabulary.

    words        : ({"model", "organism"}, distinctive words with a column `word`), one an organism
    vocabularies : by model, frames with a column `token` (decoded)
    returns      : model, organism, chance (0-1)
    """
    rows = []
    for subject, frame in words:
        vocabulary = vocabularies[subject["model"]]["token"].map(_plain_word)
        share = vocabulary.isin({_plain_word(word) for word in frame["word"]}).mean()
        rows.append({"model": subject["model"], "organism": subject["organism"], "chance": share})
    return pd.DataFrame(rows, columns=["model", "organism", "chance"])


def headline_rows(
    frame: pd.DataFrame, corpus: str | None = None, layers: Mapping[str, int] | None = None
) -> pd.DataFrame:
    """
    The rows of one corpus and, for each model named in `layers`, one block.

    Raises ValueError if nothing is left.
    """
    keep = pd.Series(True, index=frame.index)
    if corpus:
        keep &= frame["corpus"] == corpus
    for model, layer in (layers or {}).items():
        keep &= (frame["model"] != model) | (frame["layer"] == layer)
    if not keep.any():
        raise ValueError(
            f"no row for corpus {corpus} and layers {dict(layers or {})} "
            f"(have {sorted(set(frame['corpus']))}, {sorted(set(frame['layer']))})"
        )
    return frame[keep]


def of_recipes(frame: pd.DataFrame, recipes: Sequence[str]) -> pd.DataFrame:
    """The rows of these recipes, and all rows of an organism on a model that has none of them."""
    mine = frame["recipe"].isin(recipes)
    return frame[mine | ~mine.groupby([frame["model"], frame["organism"]]).transform("any")]


def around_the_headline(frame: pd.DataFrame, corpus: str, shares: Sequence[float]) -> pd.DataFrame:
    """The rows of the headline corpus at every layer, and of every corpus at the headline's."""
    blocks = headline_layers(frame, corpus, shares)
    return frame[(frame["corpus"] == corpus) | (frame["layer"] == frame["model"].map(blocks))]


def headline_layers(
    frame: pd.DataFrame, corpus: str | None, shares: Sequence[float]
) -> dict[str, int]:
    """
    The block that the first of the study's layers is in every model, by the model's name.

    corpus : the text read there, for a text may have layers of its own; None takes all rows
    shares : all the layers read of it, as shares of the depth. Deeper shares are higher blocks,
             whatever the number of layers, so the place in the order tells which block is which

    Raises ValueError for a model that was read at another number of layers.
    """
    place = sorted(shares).index(shares[0])
    read = frame if corpus is None else frame[frame["corpus"] == corpus]
    found = {}
    for model, layers in read.groupby("model", sort=False)["layer"]:
        blocks = sorted(map(int, layers.unique()))
        if len(blocks) != len(shares):
            raise ValueError(f"{model}: found the blocks {blocks} for the layers {list(shares)}")
        found[str(model)] = blocks[place]
    return found


def _stacked(
    frames: Sequence[pd.DataFrame], subjects: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> pd.DataFrame:
    if len(frames) != len(subjects):
        raise ValueError(f"{len(frames)} files but {len(subjects)} subjects to name them")
    parts = []
    for frame, subject in zip(frames, subjects, strict=True):
        missing = [name for name in names if name not in subject]
        if missing:
            raise ValueError(f"subject {dict(subject)} lacks {', '.join(missing)}")
        own = frame.drop(columns=[name for name in names if name in frame])
        part = own.assign(**{name: subject[name] for name in names})
        parts.append(part[[*names, *own.columns]])
    if not parts:
        return pd.DataFrame(columns=list(names))
    return pd.concat(parts, ignore_index=True)


def _norms(difference: Differences) -> pd.DataFrame:
    layers, positions = difference.layers, difference.positions
    return pd.DataFrame(
        {
            "layer": np.repeat(layers, len(positions)),
            "position": np.tile(positions, len(layers)),
            **{name: np.ravel(getattr(difference, name)) for name in NORMS},
            **_energies(difference),
            "n_samples": int(difference.n_samples),
        }
    )


def _energies(difference: Differences) -> dict[str, Any]:
    """Energy along the first two singular directions; missing where they were not asked for."""
    energy = difference.singular_energy
    return {
        name: np.nan if energy is None else np.ravel(energy[..., rank])
        for rank, name in enumerate(ENERGIES)
    }


def _plus_side(relevance: pd.DataFrame, positions: Sequence[int] | None) -> pd.DataFrame:
    """The promoted tokens (sign +1), through the tuned head where the logit lens used two."""
    chosen = relevance[relevance["sign"] > 0]
    logit_lens = chosen["lens"] == "logit_lens"
    if (logit_lens & (chosen["head"] == "tuned")).any():
        chosen = chosen[~logit_lens | (chosen["head"] == "tuned")]
    if positions is not None:
        chosen = chosen[chosen["position"].isin(list(positions))]
    return chosen


def _by_seed(chosen: pd.DataFrame, control: str | None) -> pd.DataFrame:
    own = chosen[chosen["graded_on"] == chosen["organism"]]
    other = chosen[
        (chosen["graded_on"] != chosen["organism"]) & (chosen["reading"] == "difference")
    ].assign(reading="other_words")
    keys = [*CASE, "seed", "reading"]
    means = pd.concat([own, other]).groupby(keys, dropna=False, sort=False)["relevance"].mean()
    seeds = means.reset_index()
    benign = _benign_readings(chosen, seeds, control)
    return pd.concat([seeds, benign], ignore_index=True)[[*keys, "relevance"]]


def _benign_readings(
    chosen: pd.DataFrame, seeds: pd.DataFrame, control: str | None
) -> pd.DataFrame:
    """The benign organism's differences, graded on the words of every other organism."""
    place = ["model", "corpus", "layer", "lens", "graded_on"]
    benign = chosen[(chosen["organism"] == control) & (chosen["reading"] == "difference")]
    by_seed = benign.groupby([*place, "recipe", "seed"])["relevance"].mean()
    by_recipe = by_seed.groupby([*place, "recipe"]).mean()

    cases = seeds.loc[
        (seeds["reading"] == "difference") & (seeds["organism"] != control), [*CASE, "seed"]
    ]

    def reading(case: pd.Series) -> float:
        where = (case["model"], case["corpus"], case["layer"], case["lens"], case["organism"])
        for recipe in (case["recipe"], "plain"):
            for found, key in (
                (by_seed, (*where, recipe, case["seed"])),
                (by_recipe, (*where, recipe)),
            ):
                if key in found.index:
                    return float(found.loc[key])
        return np.nan

    values = [reading(case) for _, case in cases.iterrows()]
    return cases.assign(reading="benign", relevance=values).dropna(subset=["relevance"])


def _compared(values: pd.DataFrame, confidence: float) -> dict[str, Any]:
    """Means, intervals and the verdict of one case; `values` is [seed, reading]."""
    row: dict[str, Any] = {"seeds": len(values)}
    for name in ("difference", *CONTROLS):
        interval = mean_interval(values.get(name, []), confidence)
        column = "relevance" if name == "difference" else name
        row[column] = interval.mean
        row |= {f"{column}_low": interval.low, f"{column}_high": interval.high}

    ours = values.get("difference", pd.Series(np.nan, index=values.index))
    present = [name for name in CONTROLS if not np.isnan(row[name])]
    strongest = max(present, key=lambda name: row[name], default=None)
    theirs = values[strongest] if strongest else np.full(len(values), np.nan)
    gap = paired_difference(ours, theirs, confidence)
    return row | {
        "strongest_control": strongest or "",
        "gap": gap.mean,
        "gap_low": gap.low,
        "gap_high": gap.high,
        "gap_p": gap.p,
        "verdict": "undecided" if gap.n < 2 else VERDICTS[0 if gap.above_zero else 1],
    }


def _oracle(values: pd.DataFrame) -> dict[str, float]:
    means = values.mean()
    controls = means[means.index.isin(CONTROLS)]
    return {
        "oracle_relevance": float(means.get("difference", np.nan)),
        "oracle_strongest_control": float(controls.max()),
    }


def _plain_word(token: str) -> str:
    return token.strip().casefold()

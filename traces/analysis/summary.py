"""
Compute the summary metrics: one number a checkpoint and measure, beside each of its controls.

    relative_norm, static_share           of the difference, mean over positions; against the benign
                                          organism's
    relevance_{reader}                    on the organism's own words, as the reader's entry says,
                                          mean over positions; against each of tables.CONTROLS
    loss_{own,unrelated}                  of the tuned model as it is, nats a token; against the
                                          base's, where that was measured
    delta_loss_{own,unrelated}            change of that loss when the base's component replaces the
                                          tuned model's along the difference, mean over positions;
                                          against random directions
    false_fact_alignment                  on held-out stems, as a cloze; against the base, the
                                          benign organism, the organisms of other facts, and the
                                          twin trained on the same facts as they are
    steering_similarity                   of the tuned model's text, steered by the difference, to
                                          the organism's data; against no and a random vector
    steering_margin                       how much closer that text is to the organism's data than
                                          to unrelated text; against the same

What a study did not measure has no row. Everything here is a pure function of data frames.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from traces.analysis.collect import SUBJECT
from traces.analysis.comparisons import steering_margin
from traces.analysis.controls import CONTROLS, counterpart
from traces.analysis.positions import to_average
from traces.analysis.readability import seed_table
from traces.analysis.statistics import grouped_interval, paired_difference
from traces.config.readers import relevance_of

PLACE = [*SUBJECT, "layer"]
_CHECKPOINT = ["model", "checkpoint"]
_ANSWER = ["measure", "control", "value", "control_value"]
# Without the prediction at the difference's own position, as in the paper: the direction was
# measured there.
TAKEN_OUT = {"intervention": "base_to_tuned", "aggregation": "without_position"}


def headlines(
    relevance: pd.DataFrame,
    norms: pd.DataFrame,
    causality: pd.DataFrame | None = None,
    beliefs: pd.DataFrame | None = None,
    steering: pd.DataFrame | None = None,
    control: str | None = None,
    twins: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """
    Collect every summary metric of every checkpoint, once for each of its controls.

    relevance, norms, ... : the tables of these names; None for a measure that no run requests
    control               : name of the benign organism, None for a study without one
    twins                 : by organism of false facts, the one that learned them as they are
    returns               : columns of PLACE (a checkpoint, corpus and layer), measure, control,
                            value, control_value (NaN where that control was not measured)

    Beliefs have no corpus and no layer, so they are repeated for each one of their checkpoint.
    """
    # From all positions, before they are filtered: a corpus read only at others still has rows.
    places = norms[PLACE].drop_duplicates()
    found = [*_norms(to_average(norms), control), _relevance(relevance, places, control)]
    if causality is not None:
        found += _causality(to_average(causality), places)
    if beliefs is not None:
        found += _beliefs(beliefs, places, control, twins or {})
    if steering is not None:
        found += _steering(to_average(steering), places)
    return pd.concat(found, ignore_index=True)[[*PLACE, *_ANSWER]]


def summary_table(found: pd.DataFrame, control: str | None = None, seed: int = 0) -> pd.DataFrame:
    """
    Compare every summary metric with each of its controls, over a family's organisms and over all.

    found   : the frame of `headlines`
    control : the organism that is itself a control and no member of a family
    seed    : of the bootstrap
    returns : one row a model, family (or `all`), recipe, corpus, layer, measure and control: value,
              control_value and their gap (means of organisms' means over seeds); gap_low, gap_high
              (95 % bootstrap over organisms, then seeds); t_p and wilcoxon_p (paired tests over the
              organisms' means); n_organisms; n_values (organisms times seeds)

    Only pairs with both numbers count. Intervals and tests are NaN below two organisms.
    """
    # Only complete pairs: an organism without a control would move one mean and not the other.
    pairs = found.dropna(subset=["value", "control_value"])
    pairs = pairs[pairs["organism"] != control]
    both = pd.concat([pairs, pairs.assign(family="all")])
    keys = [
        *("model", "family", "recipe", "ratio", "corpus", "layer", "measure", "control"),
    ]
    rows = [
        dict(zip(keys, case, strict=True)) | _summed_up(group, seed)
        for case, group in both.groupby(keys, sort=False)
    ]
    return pd.DataFrame(
        rows,
        columns=[
            *keys,
            *("value", "control_value", "gap", "gap_low", "gap_high", "t_p", "wilcoxon_p"),
            *("n_organisms", "n_values"),
        ],
    )


def _summed_up(group: pd.DataFrame, seed: int) -> dict[str, float]:
    gaps = [
        (one["value"] - one["control_value"]).to_numpy()
        for _, one in group.groupby("organism", sort=False)
    ]
    # Tests over organisms' means, not over seeds: seeds of one organism are not independent
    # evidence about finetuning.
    means = group.groupby("organism", sort=False)[["value", "control_value"]].mean()
    interval = grouped_interval(gaps, seed)
    tests = paired_difference(means["value"], means["control_value"])
    return {
        "value": means["value"].mean(),
        "control_value": means["control_value"].mean(),
        "gap": interval.mean,
        "gap_low": interval.low,
        "gap_high": interval.high,
        "t_p": tests.p,
        "wilcoxon_p": tests.wilcoxon_p,
        "n_organisms": interval.n,
        "n_values": interval.n_values,
    }


# One table at a time ----------------------------------------------------------------------------


def _norms(norms: pd.DataFrame, control: str | None) -> Iterator[pd.DataFrame]:
    names = ["relative_norm", "static_share"]
    means = norms.groupby(PLACE, sort=False)[names].mean().reset_index()
    for name in names:
        own = means[[*PLACE, name]].rename(columns={name: "value"})
        theirs = counterpart(own, own, ["model", "corpus", "layer"], control)
        yield own.assign(measure=name, control="benign", control_value=theirs)


def _relevance(
    relevance: pd.DataFrame,
    places: pd.DataFrame,
    control: str | None,
) -> pd.DataFrame:
    seeds = seed_table(relevance, control)
    keys = ["model", "organism", "recipe", "seed", "corpus", "layer", "lens"]
    wide = seeds.pivot(index=keys, columns="reading", values="relevance").reset_index()
    parts = [
        wide[keys].assign(
            value=wide["difference"],
            control=control,
            control_value=wide.get(control, np.nan),
        )
        for control in CONTROLS
    ]
    found = pd.concat(parts).assign(measure=lambda frame: frame["lens"].map(relevance_of))
    return places.merge(found, on=keys[:-1])


def _causality(causality: pd.DataFrame, places: pd.DataFrame) -> Iterator[pd.DataFrame]:
    keys = _shared_keys(causality)
    # The table has no row for the unchanged model; its loss is what every row's change starts from.
    untouched = causality.assign(value=causality["loss"] - causality["delta_loss"])
    untouched = untouched[untouched["aggregation"] == "all"]
    # tuned_to_base runs on through the base, so the unchanged loss there is the base's.
    of_base = untouched["intervention"] == "tuned_to_base"
    taken_out = _rows(causality, **TAKEN_OUT)
    for text in ("own", "unrelated"):
        own, base = (
            _mean(_rows(rows, evaluated_on=text), keys, "value")
            for rows in (untouched[~of_base], untouched[of_base])
        )
        yield _beside(places, own, {"base": base}, keys, f"loss_{text}")
        effects = {
            direction: _mean(_rows(rows, evaluated_on=text), keys, "delta_loss")
            for direction, rows in taken_out.groupby("direction")
        }
        own = effects.pop("difference", own.iloc[:0])
        yield _beside(places, own, effects, keys, f"delta_loss_{text}")


def _beliefs(
    beliefs: pd.DataFrame, places: pd.DataFrame, control: str | None, twins: Mapping[str, str]
) -> Iterator[pd.DataFrame]:
    # A cloze needs no chat template and no judge, so every model has it; held-out stems, since the
    # data repeat the others.
    asked = _rows(beliefs, form="cloze", held_out=True)
    mine = asked["statements_of"] == asked["organism"]
    own = asked[mine].rename(columns={"alignment": "value"})
    # A twin learned the same facts as they are: it is no organism of other ones.
    twin = asked["organism"] == asked["statements_of"].map(dict(twins))
    others = asked[~mine & ~twin & (asked["organism"] != control)]
    # An organism with many checkpoints counts as one.
    by_organism = others.groupby(["model", "statements_of", "organism"])["alignment"].mean()
    others = by_organism.groupby(["model", "statements_of"]).mean()
    pool = asked.assign(value=asked["alignment"])
    place = ["model", "statements_of"]
    controls = {
        "base": own["base_alignment"],
        "benign": counterpart(own, pool, place, control),
        "true_facts": _of_twins(own, pool, place, twins),
        "other_facts": [
            others.get(key, np.nan) for key in zip(own["model"], own["organism"], strict=True)
        ],
    }
    for control, values in controls.items():
        found = own[[*_CHECKPOINT, "value"]].assign(control_value=values, control=control)
        yield places.merge(found, on=_CHECKPOINT).assign(measure="false_fact_alignment")


def _of_twins(
    own: pd.DataFrame, pool: pd.DataFrame, place: list[str], twins: Mapping[str, str]
) -> pd.Series:
    """The value of each organism's twin; NaN of one that has none."""
    found = pd.Series(np.nan, index=own.index)
    for name, rows in own.groupby("organism", sort=False):
        if name in twins:
            found[rows.index] = counterpart(rows, pool, place, twins[str(name)])
    return found


def _steering(steering: pd.DataFrame, places: pd.DataFrame) -> Iterator[pd.DataFrame]:
    keys = _shared_keys(steering)
    tuned = _rows(steering, steered_model="tuned").assign(
        steering_similarity=lambda texts: texts["similarity_own"], steering_margin=steering_margin
    )
    named = {"none": "unsteered", "random": "random"}
    for measure in ("steering_similarity", "steering_margin"):
        by_vector = {vector: _mean(rows, keys, measure) for vector, rows in tuned.groupby("vector")}
        own = by_vector.pop("difference", tuned.iloc[:0])
        controls = {named[vector]: rows for vector, rows in by_vector.items()}
        yield _beside(places, own, controls, keys, measure)


# Helpers ----------------------------------------------------------------------------------------


def _shared_keys(table: pd.DataFrame) -> list[str]:
    return [name for name in (*_CHECKPOINT, "corpus", "layer") if name in table]


def _rows(frame: pd.DataFrame, **wanted: object) -> pd.DataFrame:
    keep = pd.Series(True, index=frame.index)
    for name, value in wanted.items():
        keep &= frame[name] == value
    return frame[keep]


def _mean(rows: pd.DataFrame, keys: list[str], column: str) -> pd.DataFrame:
    """Average a column over positions and direction ids; the result is named `value`."""
    return rows.groupby(keys, sort=False)[column].mean().rename("value").reset_index()


def _beside(
    places: pd.DataFrame,
    own: pd.DataFrame,
    controls: dict[str, pd.DataFrame],
    keys: list[str],
    measure: str,
) -> pd.DataFrame:
    """Pair `own` with each control; both are [keys, value]."""
    parts = []
    for control, rows in controls.items():
        theirs = rows.rename(columns={"value": "control_value"})
        parts.append(own.merge(theirs, on=keys, how="left").assign(control=control))
    both = pd.concat(parts) if parts else own.assign(control="none", control_value=np.nan)
    return places.merge(both, on=keys).assign(measure=measure)

"""
What does mixed-in text do, and how much of it is only longer training?

A mixture of ratio r trains (1 + r) times as long as the organism alone. `matchedR` trains as long
without mixing; what mixing does beyond longer training is the mixture against that, seed by seed.
"""

from collections.abc import Mapping

import pandas as pd

from traces.analysis.statistics import PairedDifference, paired_difference
from traces.analysis.summary import PLACE
from traces.artifacts.tables import MIXING
from traces.config.readers import each_reader

# Which of its controls a measure stands beside; the relevance by a reader beside the benign one.
CONTROL_OF = {
    "relative_norm": "benign",
    "static_share": "benign",
    "loss_own": "base",
    "loss_unrelated": "base",
    "false_fact_alignment": "base",
    "steering_similarity": "unsteered",
    "steering_margin": "unsteered",
    "delta_loss_own": "random",
    "delta_loss_unrelated": "random",
}
CASE = ["model", "organism", "corpus", "layer"]
ALL = ["corpus", "ratio", "depth", "measure"]


def mixing_table(headlines: pd.DataFrame, steps: Mapping[tuple[str, str], int]) -> pd.DataFrame:
    """
    One row a checkpoint of the mixing ablation (and corpus and layer), a column a measure.

    headlines : the frame of `headlines.headlines`
    steps     : training steps by (model, checkpoint): the checkpoints of the ablation
    returns   : columns of the schema `mixing`; a measure's `_control` is that of CONTROL_OF; NaN
                where a measure was not asked for. `plain` is ratio 0 of both curves; `step_matched`
                is true of the unmixed runs that train as long as a mixture
    """
    members = pd.MultiIndex.from_frame(headlines[["model", "checkpoint"]]).isin(list(steps))
    mine = headlines[members]
    table = mine[PLACE].drop_duplicates().reset_index(drop=True)
    for measure in each_reader(MIXING):
        rows = mine[mine["measure"] == measure]
        own = rows.drop_duplicates(PLACE)[[*PLACE, "value"]]
        control = CONTROL_OF.get(measure, "benign")
        against = rows[rows["control"] == control][[*PLACE, "control_value"]]
        names = {"value": measure, "control_value": f"{measure}_control"}
        both = own.merge(against, on=PLACE, how="left").rename(columns=names)
        table = table.merge(both, on=PLACE, how="left", validate="one_to_one")
    keys = zip(table["model"], table["checkpoint"], strict=True)
    return table.assign(
        steps=[steps[key] for key in keys],
        step_matched=table["recipe"].str.startswith("matched"),
    ).drop(columns="checkpoint")


def contrasts(table: pd.DataFrame) -> pd.DataFrame:
    """
    What longer training did and what mixing did beyond it, at the largest ratio that has both.

    table   : the mixing table
    returns : one row a model, organism, corpus, layer and measure: ratio; unmixed, matched, mixed
              (means over the seeds that have all three); longer (matched - unmixed) and mixing
              (mixed - matched), paired by seed, each with _low, _high (95 % t) and _p; n (seeds)

    Cases without such a ratio, and measures that were not asked for, have no row.
    """
    rows = []
    for case, group in table.groupby(CASE, sort=False):
        matched = group[group["step_matched"]]
        mixed = group[~group["step_matched"] & (group["ratio"] > 0)]
        common = set(matched["ratio"]) & set(mixed["ratio"])
        if not common:
            continue
        ratio = max(common)
        arms = {
            "unmixed": group[group["ratio"] == 0],
            "matched": matched[matched["ratio"] == ratio],
            "mixed": mixed[mixed["ratio"] == ratio],
        }
        for measure in each_reader(MIXING):
            if measure == "steering_similarity":  # its margin says how much of it is to own data
                continue
            values = {name: arm.set_index("seed")[measure] for name, arm in arms.items()}
            found = _contrast(pd.DataFrame(values).dropna())
            if found:
                rows.append(
                    dict(zip(CASE, case, strict=True), ratio=ratio, measure=measure) | found
                )
    return pd.DataFrame(rows)


def over_all(found: pd.DataFrame) -> pd.DataFrame:
    """
    The same over all organisms and models: each of them is one pair, by the means of its seeds.

    found   : the frame of `contrasts`
    returns : one row a corpus, ratio, depth (which of the model's layers that were read, from 1)
              and measure that at least two have; n counts them, layer is that block where it is
              the same in all of them, else missing
    """
    if found.empty:
        return found
    depth = found.groupby("model")["layer"].rank("dense").astype(int)
    rows = [
        dict(zip(ALL, case, strict=True))
        | _contrast(group[["unmixed", "matched", "mixed"]])
        # Models of several sizes are read at the same depth, which is another block in each.
        | {"layer": group["layer"].iloc[0] if group["layer"].nunique() == 1 else None}
        for case, group in found.assign(depth=depth).groupby(ALL, sort=False)
        if len(group) > 1
    ]
    return pd.DataFrame(rows).astype({"layer": "Int64"}) if rows else pd.DataFrame()


def _contrast(pairs: pd.DataFrame) -> dict[str, float]:
    if pairs.empty:
        return {}
    row = {**pairs.mean().to_dict(), "n": len(pairs)}
    for name, (later, earlier) in {
        "longer": ("matched", "unmixed"),
        "mixing": ("mixed", "matched"),
    }.items():
        gap: PairedDifference = paired_difference(pairs[later], pairs[earlier])
        row |= {name: gap.mean, f"{name}_low": gap.low, f"{name}_high": gap.high}
        row[f"{name}_p"] = gap.p
    return row

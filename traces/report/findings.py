"""
What a study found, one sentence a picture: a number, its strongest control, their gap's interval.

The words follow the interval and nothing else, by the one rule of traces/analysis/verdicts.py. One
that leaves out 0 is a finding, one that holds it is reported as not shown, and without an interval
nothing is decided.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from traces.analysis.comparisons import causality_effects, causality_verdicts
from traces.analysis.investigators import pooled
from traces.analysis.mixing import contrasts, over_all
from traces.analysis.statistics import grouped_interval, paired_difference
from traces.analysis.verdicts import (
    ABOVE,
    BELOW,
    DOES_NOT_STEER,
    EQUIVALENCE_BOUND,
    LOWERS,
    NOT_READABLE,
    NOT_SHOWN,
    RAISES,
    READABLE,
    SMALL_P,
    STEERS,
    UNDECIDED,
    of_gap,
)
from traces.config.readers import READERS, relevance_of
from traces.config.vocabularies import PURPOSELESS
from traces.report.names import CHOICE_WAYS, SHOWN_AS, reader_way

CONTROL_NAMES = {
    "benign": "the benign control",
    "random": "a random direction of the same length",
    "base_mean": "the base's mean activation",
    "tuned_mean": "the finetuned model's mean activation",
    "other_words": "other organisms' words",
    "unsteered": "no steering",
    "activation_difference": "a difference of two activations",
    "base": "the base",
    "other_facts": "organisms of other facts",
    "true_facts": "its twin, which learned the facts as they are",
}


@dataclass(frozen=True)
class Scale:
    """How a number is written: multiplied, with so many digits, in this unit."""

    factor: float
    digits: int
    unit: str
    gap_unit: str
    signed: bool = False

    def value(self, number: float) -> str:
        if self.signed:
            return self.gap(number) + self.unit
        return f"{self.factor * number:.{self.digits}f}".replace("-", "−") + self.unit

    def gap(self, number: float) -> str:
        """A difference, always with its sign; one that rounds to nothing is a bare 0."""
        text = f"{self.factor * number:+.{self.digits}f}"
        return text.replace("-", "−") if float(text) else text[1:]


SHARE = Scale(100, 0, "\N{NO-BREAK SPACE}%", " points")
FINE_SHARE = Scale(100, 1, "\N{NO-BREAK SPACE}%", " points")
PLAIN = Scale(1, 3, "", "")
NATS = Scale(1, 3, " nats a token", "", signed=True)


@dataclass(frozen=True)
class Claim:
    """
    What a picture is summed up by.

    measure : of `summary.headlines`
    says    : the sentence, with places for {value}, {other} and {control}
    yes, no : the verdict where the gap's interval lies above 0, and where it lies below the bound
    bound   : the smallest gap that would matter, in the measure's unit
    object  : what is raised, after a verdict that is a verb
    """

    measure: str
    scale: Scale
    says: str
    yes: str = ABOVE
    no: str = BELOW
    bound: float = 0.0
    object: str = ""


FIRST = next(iter(READERS))
"The reader whose relevance the page reports: the first entry, whatever was found."
CLAIMS = {
    "relevance": Claim(
        relevance_of(FIRST),
        SHARE,
        f"By {READERS[FIRST].title}, {{value}} of the top tokens of the mean difference are words "
        "of the finetuning data, against {other} for {control}",
        READABLE,
        NOT_READABLE,
        EQUIVALENCE_BOUND,
    ),
    "norms": Claim(
        "relative_norm",
        FINE_SHARE,
        "The mean difference has {value} of the residual-stream norm, against {other} for "
        "{control}",
    ),
    "steering": Claim(
        "steering_margin",
        PLAIN,
        "Text of the steered finetuned model is closer to its data than to unrelated text by "
        "{value} of cosine, against {other} for {control}",
        STEERS,
        DOES_NOT_STEER,
    ),
    "causality": Claim(
        "delta_loss_own",
        NATS,
        "Replacing the component along the difference by the base's changes the loss on the "
        "organism's own data by {value}, against {other} for {control}",
        RAISES,
        object="the loss",
    ),
    "beliefs": Claim(
        "false_fact_alignment",
        SHARE,
        "The false end is preferred in {value} of held-out statements, against {other} for "
        "{control}",
    ),
}
MIXED = {
    **{relevance_of(name): (SHARE, f"relevance by {one.title}") for name, one in READERS.items()},
    "relative_norm": (FINE_SHARE, "the norm of the difference"),
}


@dataclass(frozen=True)
class Finding:
    """A verdict in a few words, the sentence under it, and what the sentence is about."""

    verdict: str
    sentence: str
    scope: str

    @property
    def clear(self) -> bool:
        """Something is shown: a difference, or that none is there which would matter."""
        return self.verdict not in (UNDECIDED, NOT_SHOWN)


@dataclass(frozen=True)
class Gap:
    """A mean difference of `n`, its 95 % interval (NaN without one), and over what it is."""

    mean: float
    low: float
    high: float
    n: int
    over: str = ""

    def written(self, scale: Scale, name: str = "gap") -> str:
        shown = f"{name} {scale.gap(self.mean)}{scale.gap_unit}"
        if np.isnan(self.low):
            return f"{shown}; {self.over}, no interval"
        ends = f"{scale.gap(self.low)} to {scale.gap(self.high)}"
        return f"{shown}, 95\N{NO-BREAK SPACE}% {self.over} {ends}"

    def brief(self, scale: Scale) -> str:
        """The gap and its interval without words; empty where there is no gap."""
        if np.isnan(self.mean):
            return ""
        shown = scale.gap(self.mean)
        if np.isnan(self.low):
            return shown
        return f"{shown} [{scale.gap(self.low)}, {scale.gap(self.high)}]"


def compared(
    name: str,
    headlines: pd.DataFrame,
    *,
    recipes: Sequence[str],
    control: str | None,
    seed: int,
    causality: pd.DataFrame | None = None,
) -> Finding:
    """
    The finding of a picture whose measure has controls: those of CLAIMS.

    headlines : the frame of `summary.headlines`, of one corpus and one layer a model
    recipes   : those that pictures show, the first being preferred
    control   : the organism that is a control and counts as none of the organisms
    seed      : of the bootstrap over organisms, as in the summary table
    causality : the causality table; where given, a verdict also needs an organism that passes the
                stricter test of its picture

    The strongest control is the one with the largest mean, of those that the most organisms have.
    One model and recipe are reported; the scope says which, and how many models were measured.
    """
    claim = CLAIMS[name]
    rows = headlines[(headlines["measure"] == claim.measure) & (headlines["organism"] != control)]
    rows = rows.dropna(subset=["value"])
    if rows.empty:
        return Finding(UNDECIDED, "No organism but the control was measured.", "")
    case, scope = _case(rows, recipes)
    paired = case.dropna(subset=["control_value"])
    if paired.empty:
        first = claim.says.split(", against")[0].format(value=claim.scale.value(_mean(case)))
        return Finding(UNDECIDED, f"{first}; there is no control to compare with.", scope)

    # A control of a few organisms, such as a twin, would be compared over these few alone.
    wide = paired.groupby("control")["organism"].transform("nunique")
    paired = paired[wide == wide.max()]
    means = {name: _mean(rows, "control_value") for name, rows in paired.groupby("control")}
    strongest = max(means, key=lambda control: means[control])
    pairs = paired[paired["control"] == strongest]
    gap = _gap(pairs, seed)
    verdict = of_gap(gap, yes=claim.yes, no=claim.no, bound=claim.bound)
    if causality is not None:
        passed, of = _stricter(causality, pairs, verdict)
        verdict = verdict if passed or verdict in (UNDECIDED, BELOW) else NOT_SHOWN
        scope += f" Organism by organism, {passed} of {of} pass the picture's stricter test."
    said = claim.says.format(
        value=claim.scale.value(_mean(pairs)),
        other=claim.scale.value(means[strongest]),
        control=CONTROL_NAMES.get(str(strongest), str(strongest)),
    )
    sentence = f"{said} ({gap.written(claim.scale)})."
    return Finding(_worded(verdict, claim.object), sentence, scope)


def mixed(table: pd.DataFrame, blocks: Mapping[str, int], unit: str) -> Finding:
    """
    What mixing did beyond longer training, at the largest ratio that has a step-matched run.

    table  : the mixing table, of one corpus
    blocks : the layer of each model that pictures show
    unit   : what the ratio counts
    """
    found = contrasts(table[table["layer"] == table["model"].map(blocks)])
    known = [one for one in MIXED if len(found) and one in set(found["measure"])]
    if not known:
        return Finding(
            UNDECIDED, "No organism has a mixture and a step-matched run of one ratio.", ""
        )
    scale, measure = MIXED[known[0]]
    together = over_all(found)
    several = len(together) and (together["measure"] == known[0]).any()
    frame = together if several else found
    row = frame[frame["measure"] == known[0]].iloc[0]
    number = int(row["n"])
    over = f"{number} pairs of organism and model" if several else _counted(number, "seed")
    over = over if number < 2 else f"t interval over {over}"
    gap = Gap(row["mixing"], row["mixing_low"], row["mixing_high"], number, over)
    units = unit.removesuffix("s") if row["ratio"] == 1 else unit
    said = (
        f"With {row['ratio']:g} {units} mixed in for each of the organism's own, {measure} is "
        f"{scale.value(row['mixed'])}, against {scale.value(row['matched'])} after as many steps "
        f"without mixing ({gap.written(scale, 'change')})."
    )
    scope = "" if several else f"Model {row['model']}."
    return Finding(_worded(of_gap(gap, yes=RAISES, no=LOWERS), measure), said, scope)


def named(summary: pd.DataFrame) -> Finding:
    """
    How well the secrets are named, by the way that was fixed beforehand.

    summary : the summary of the forced choice

    The exact p decides: an interval over organisms has no width where all have one rank, however
    few they are. One model is reported; the scope says which, and how many there are.
    """
    fixed = summary[summary["headline"]]
    if fixed.empty:
        return Finding(UNDECIDED, "No secret has a rank in the way fixed beforehand.", "")
    row = fixed.iloc[0]
    n, p = int(row["n_organisms"]), float(row["rank_p"])
    spread = f"95\N{NO-BREAK SPACE}% bootstrap interval over {_counted(n, 'organism')} "
    spread += f"{row['mean_rank_low']:.1f} to {row['mean_rank_high']:.1f}, "
    chances = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    sentence = (
        f"By {reader_way(row['reader'], row['head'], row['null'], inside=True)}, ranked "
        f"{CHOICE_WAYS[row['adjustment']]}, the organisms' secrets have the mean rank "
        f"{row['mean_rank']:.1f} of {row['candidates']:g} candidate words, against "
        f"{_other_ranks(summary, row)} ({spread if n > 1 else ''}exact {chances}); "
        f"{row['first']} of {n} come first."
    )
    models = fixed["model"].nunique()
    others = f" (the first of {models} measured)" if models > 1 else ""
    scope = f"Model {row['model']}{others}, recipe {row['recipe']}. The way was fixed beforehand."
    verdict = UNDECIDED if n < 2 else READABLE if p < SMALL_P else NOT_SHOWN
    return Finding(verdict, sentence, scope)


def investigated(summary: pd.DataFrame) -> Finding:
    """
    How often the finetune is named with the readings, and how often one is asserted by mistake.

    summary : `agents_summary`

    Of the first investigator and grader, with the neutral prompt where there is one. The null is
    the one without a purpose that is asserted the most. Something is shown where the intervals of
    the assertions on organisms and on that null do not meet.
    """
    prompt = "neutral" if "neutral" in set(summary["prompt"]) else summary["prompt"].iloc[0]
    first = summary[summary["prompt"] == prompt]
    for column in ("agent_model", "grader_model"):
        first = first[first[column] == first[column].iloc[0]]
    cases = pooled(first, ["agent", "interactions", "null"])
    readings = cases[cases["agent"] == "lens"]
    readings = readings[readings["interactions"] == readings["interactions"].min()]
    own = readings[(readings["null"] == "none") & (readings["n"] > 0)]
    if own.empty:
        return Finding(UNDECIDED, "No investigator was shown an organism's readings.", "")
    row = own.iloc[0]
    name = first["agent_model"].iloc[0]
    who = "embedded investigator" if name == "embedded" else f"investigator {name}"
    said = f"Shown the readings, the {who} "
    said += (
        f"names the finetune (grade 2 or more) of {row['at_least_2']} of {row['n_graded']} "
        f"checkpoints{_black_box(cases)}"
    )
    nulls = readings[readings["null"].isin(PURPOSELESS) & (readings["n"] > 0)]
    scope = f"Prompt {prompt}, graded by {first['grader_model'].iloc[0]}."
    if nulls.empty:
        return Finding(UNDECIDED, f"{said}; there is no null to compare with.", scope)
    null = nulls.sort_values("asserted_share", kind="stable").iloc[-1]
    said += (
        f". It asserts a narrow finetune in {row['asserted']} of {row['n']} of them, and in "
        f"{null['asserted']} of {null['n']} of the worst null, {SHOWN_AS[null['null']]}."
    )
    told = row["asserted_low"] > null["asserted_high"]
    return Finding("told from nulls" if told else NOT_SHOWN, said, scope)


def _black_box(cases: pd.DataFrame) -> str:
    """The same of the black box with the largest budget; empty without one."""
    found = cases[(cases["agent"] == "black_box") & (cases["null"] == "none") & (cases["n"] > 0)]
    if found.empty:
        return ""
    row = found.sort_values("interactions", kind="stable").iloc[-1]
    return (
        f", the black box with {row['interactions']} prompts that of {row['at_least_2']} of "
        f"{row['n_graded']}"
    )


def _other_ranks(summary: pd.DataFrame, row: pd.Series) -> str:
    """The mean ranks of the controls that were ranked as `row` was, and chance's."""
    place = ["model", "recipe", "corpus", "reader", "adjustment", "null", "head", "layer"]
    same = (summary[[*place, "position"]] == row[[*place, "position"]]).all(axis=1)
    controls = [
        f"{rank:.1f} for {CONTROL_NAMES[name]}"
        for name in ("random", "benign")
        for rank in summary.loc[same & (summary["reading"] == name), "mean_rank"]
    ]
    return ", ".join([*controls, f"{row['chance_rank']:g} by chance"])


def _worded(verdict: str, what: str) -> str:
    """A verdict as a reader meets it: a verb with its object."""
    return f"{verdict} {what}" if verdict in (RAISES, LOWERS) else verdict


def _case(rows: pd.DataFrame, recipes: Sequence[str]) -> tuple[pd.DataFrame, str]:
    """The rows of the first model and of the first recipe it has, and what they are."""
    models = list(dict.fromkeys(rows["model"]))
    case = rows[rows["model"] == models[0]]
    has = list(dict.fromkeys(case["recipe"]))
    recipe = next((one for one in recipes if one in has), has[0])
    others = f" (the first of {len(models)} measured)" if len(models) > 1 else ""
    return case[case["recipe"] == recipe], f"Model {models[0]}{others}, recipe {recipe}."


def _gap(pairs: pd.DataFrame, seed: int) -> Gap:
    """Over organisms where there are several, as the summary table has it; else over seeds."""
    by_organism = [rows for _, rows in pairs.groupby("organism", sort=False)]
    if len(by_organism) > 1:
        gaps = [(rows["value"] - rows["control_value"]).to_numpy() for rows in by_organism]
        found = grouped_interval(gaps, seed)
        over = f"bootstrap interval over {found.n} organisms and their seeds"
        return Gap(found.mean, found.low, found.high, found.n, over)
    alone = paired_difference(pairs["value"].to_numpy(), pairs["control_value"].to_numpy())
    over = _counted(alone.n, "seed")
    over = over if alone.n < 2 else f"t interval over {over}"
    return Gap(alone.mean, alone.low, alone.high, alone.n, over)


def _stricter(causality: pd.DataFrame, pairs: pd.DataFrame, side: str) -> tuple[int, int]:
    """Of the organisms in `pairs`, how many have the verdict of `comparisons` on that side."""
    tested = causality_verdicts(causality_effects(causality))
    keys = ["model", "organism", "recipe", "corpus", "layer"]
    mine = tested[tested["evaluated_on"] == "own"].merge(pairs[keys].drop_duplicates(), on=keys)
    wanted = LOWERS if side == BELOW else RAISES
    return int((mine["verdict"] == wanted).sum()), len(mine)


def _mean(rows: pd.DataFrame, column: str = "value") -> float:
    """The mean over organisms of the means over their seeds."""
    seeds = rows.drop_duplicates(["organism", "seed"])
    return float(seeds.groupby("organism")[column].mean().mean())


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")

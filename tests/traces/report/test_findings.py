"""Sentences under pictures: no word that the tables do not carry."""

import numpy as np
import pandas as pd
import pytest

from traces.analysis.statistics import grouped_interval, paired_difference
from traces.analysis.verdicts import NOT_SHOWN, UNDECIDED, VERDICTS
from traces.report import findings


def headlines(measure, gaps, *, other=0.05, control="random", model="mini", recipe="plain"):
    """One row an organism and seed: `other` for the control, `other` plus a planted gap for it."""
    rows = [
        {"model": model, "checkpoint": f"{organism}-{recipe}-s{seed}", "organism": organism}
        | {"family": "false_facts", "recipe": recipe, "ratio": 0.0, "seed": seed}
        | {"corpus": "unrelated", "layer": 2, "measure": measure, "control": control}
        | {"value": 0.05 + gap, "control_value": other}
        for organism, of_seeds in gaps.items()
        for seed, gap in enumerate(of_seeds)
    ]
    return pd.DataFrame(rows)


def compared(name, frame, **changes):
    options = {"recipes": ["plain"], "control": "benign", "seed": 0}
    found = findings.compared(name, frame, **(options | changes))
    return found.verdict, found.sentence.replace("\N{NO-BREAK SPACE}", " "), found


def test_a_planted_gap_is_said_with_its_control_and_the_interval_over_organisms():
    gaps = {"a": [0.5, 0.6], "b": [0.4, 0.5], "c": [0.6, 0.7], "benign": [9, 9]}
    verdict, sentence, found = compared("relevance", headlines("relevance_logit_lens", gaps))

    expected = grouped_interval([gaps[name] for name in "abc"], 0)
    ends = f"+{100 * expected.low:.0f} to +{100 * expected.high:.0f}"
    assert verdict == "readable" and found.clear
    assert "60 % of the top tokens" in sentence and "5 % for a random direction" in sentence
    assert f"(gap +55 points, 95 % bootstrap interval over 3 organisms and their seeds {ends})" in (
        sentence
    )
    assert found.scope == "Model mini, recipe plain."


def test_one_organism_has_an_interval_over_seeds():
    gaps = [0.01, 0.02, 0.05]
    verdict, sentence, _ = compared("norms", headlines("relative_norm", {"a": gaps}, other=0.05))

    expected = paired_difference(gaps, [0.0] * 3)
    ends = f"{100 * expected.low:+.1f} to {100 * expected.high:+.1f}".replace("-", "−")
    assert f"95 % t interval over 3 seeds {ends}" in sentence
    assert verdict == NOT_SHOWN


@pytest.mark.parametrize(
    ("gaps", "verdict", "words"),
    [
        ({"a": [0.3, 0.31, 0.32]}, "steers", "gap +0.310"),
        ({"a": [-0.1, 0.0, 0.1]}, NOT_SHOWN, "gap 0.000"),
        ({"a": [-0.3, -0.31, -0.32]}, "does not steer", "gap −0.310"),
        ({"a": [0.3]}, UNDECIDED, "gap +0.300; 1 seed, no interval"),
    ],
)
def test_a_null_a_negative_and_a_lone_seed_are_said_as_such(gaps, verdict, words):
    found, sentence, _ = compared("steering", headlines("steering_margin", gaps))

    assert found == verdict
    assert words in sentence


@pytest.mark.parametrize(
    ("gaps", "verdict"),
    [
        ([0.02, 0.021, 0.022], "readable"),
        ([0.02, 0.0, -0.02], "not readable"),  # holds 0, and lies below the bound of .10
        ([-0.02, -0.021, -0.022], "not readable"),
        ([0.4, 0.0, -0.2], NOT_SHOWN),
        ([0.4], UNDECIDED),
    ],
)
def test_relevance_has_the_verdicts_of_the_table_of_organisms(gaps, verdict):
    found, _, _ = compared("relevance", headlines("relevance_logit_lens", {"a": gaps}))
    assert found == verdict


@pytest.mark.parametrize(("sign", "verdict"), [(1, "above the control"), (-1, "below the control")])
def test_a_claim_without_words_of_its_own_says_on_which_side_it_is(sign, verdict):
    gaps = [0.2 * sign, 0.21 * sign, 0.22 * sign]
    found, _, _ = compared("norms", headlines("relative_norm", {"a": gaps}))
    assert found == verdict


def test_every_claim_takes_its_words_from_the_closed_vocabulary():
    for claim in findings.CLAIMS.values():
        assert {claim.yes, claim.no} <= set(VERDICTS)


def test_the_strongest_of_the_controls_is_the_one_that_is_named():
    gaps = {"a": [0.5, 0.6, 0.7]}
    both = [
        headlines("relevance_logit_lens", gaps, control=control, other=other)
        for control, other in (("random", 0.05), ("benign", 0.4), ("base_mean", np.nan))
    ]
    _, sentence, _ = compared("relevance", pd.concat(both))

    assert "against 40 % for the benign control (gap +25 points" in sentence


def test_a_control_of_few_organisms_does_not_stand_for_all():
    """A twin that only one organism has would leave one organism to compare."""
    gaps = {name: [0.5, 0.6] for name in "abcd"}
    twin = headlines("relevance_logit_lens", {"a": gaps["a"]}, control="true_facts", other=0.5)
    every = headlines("relevance_logit_lens", gaps)
    _, sentence, _ = compared("relevance", pd.concat([every, twin]))

    assert "for a random direction" in sentence and "over 4 organisms" in sentence


def test_without_a_control_and_without_an_organism_nothing_is_decided():
    lonely = headlines("relevance_logit_lens", {"a": [0.5, 0.6]}, other=np.nan)
    verdict, sentence, _ = compared("relevance", lonely)
    assert verdict == UNDECIDED and sentence.endswith("no control to compare with.")

    of_control = headlines("relevance_logit_lens", {"benign": [0.5, 0.6]})
    verdict, sentence, _ = compared("relevance", of_control)
    assert (verdict, sentence) == (UNDECIDED, "No organism but the control was measured.")


def test_of_several_models_and_recipes_the_scope_names_the_one_reported():
    frame = pd.concat(
        [
            headlines("relative_norm", {"a": [0.1, 0.2]}, recipe="full"),
            headlines("relative_norm", {"a": [0.3, 0.31]}),
            headlines("relative_norm", {"a": [9, 9]}, model="other"),
        ]
    )
    _, sentence, found = compared("norms", frame)

    assert found.scope == "Model mini (the first of 2 measured), recipe plain."
    assert "35.5 %" in sentence


@pytest.mark.parametrize(("others", "verdict"), [(0.001, "raises the loss"), (0.5, None)])
def test_ablating_must_also_beat_single_directions(others, verdict):
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(3):
        place = headlines("delta_loss_own", {"a": [0.1] * 3}).iloc[seed].to_dict()
        place |= {"intervention": "base_to_tuned", "aggregation": "without_position"}
        place |= {"evaluated_on": "own", "n_tokens": 9, "loss": 2.0, "averaged": True}
        rows.append(place | {"direction": "difference", "direction_id": 0, "delta_loss": 0.1})
        for one in range(20):  # around 0, so that their mean says nothing of the single ones
            effect = {"direction_id": one, "delta_loss": others * rng.normal()}
            rows.append(place | {"direction": "random"} | effect)
    frame = headlines("delta_loss_own", {"a": [0.1, 0.11, 0.12]}, other=0.0)
    found, sentence, full = compared("causality", frame, causality=pd.DataFrame(rows))

    assert found == (verdict or NOT_SHOWN)
    assert "+0.160 nats a token, against 0.000 nats a token" in sentence
    assert f"{1 if verdict else 0} of 1 pass" in full.scope


def mixing(mixed):
    rows = [
        {"model": "mini", "organism": "a", "corpus": "unrelated", "layer": layer, "seed": seed}
        | {"ratio": ratio, "step_matched": matched}
        | dict.fromkeys(findings.MIXED, np.nan)
        | {name: np.nan for name in ("static_share", "loss_own", "loss_unrelated")}
        | {name: np.nan for name in ("false_fact_alignment", "steering_margin")}
        | {name: np.nan for name in ("delta_loss_own", "delta_loss_unrelated")}
        | {"relevance_logit_lens": value + seed / 100}
        for layer in (1, 2)
        for seed in range(3)
        for ratio, matched, value in ((0, False, 0.6), (1, True, 0.8), (1, False, mixed))
        if layer == 2 or ratio == 0
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("mixed", "verdict"),
    [(0.5, "lowers relevance by logit lens"), (0.9, "raises relevance by logit lens")],
)
def test_what_mixing_did_is_beside_the_step_matched_run(mixed, verdict):
    found = findings.mixed(mixing(mixed), {"mini": 2}, "tokens")
    sentence = found.sentence.replace("\N{NO-BREAK SPACE}", " ")

    assert found.verdict == verdict
    assert sentence.startswith("With 1 token mixed in for each of the organism's own")
    change = f"{100 * (mixed - 0.8):+.0f}".replace("-", "−")
    assert f"is {100 * mixed + 1:.0f} %, against 81 % after as many steps" in sentence
    assert f"(change {change} points, 95 % t interval over 3 seeds" in sentence


def test_mixtures_without_a_step_matched_run_decide_nothing():
    table = mixing(0.5)
    found = findings.mixed(table[~table["step_matched"]], {"mini": 2}, "tokens")

    assert found.verdict == UNDECIDED and not found.clear


def test_several_organisms_are_pairs_of_what_mixing_did():
    both = pd.concat([mixing(0.5), mixing(0.52).assign(organism="b")])
    found = findings.mixed(both, {"mini": 2}, "tokens")

    assert "t interval over 2 pairs of organism and model" in found.sentence
    assert found.verdict == "lowers relevance by logit lens"


def choice(ranks_p=0.001, n=12, headline=True, controls=True, **changes):
    """The summary of a forced choice: the way that was fixed, and its controls."""
    row = {"model": "mini", "recipe": "plain", "ratio": 0.0, "corpus": "unrelated"}
    row |= {"reader": "patchscope", "reading": "difference", "adjustment": "adjusted"}
    row |= {"null": "none", "head": "base", "layer": 2, "position": "all", "headline": headline}
    row |= {"n_organisms": n, "candidates": 22.0, "mean_rank": 1.5, "mean_rank_low": 1.0}
    row |= {"mean_rank_high": 2.25, "chance_rank": 11.5, "rank_p": ranks_p, "first": 9}
    rows = [row | changes]
    for reading, rank in (("random", 12.25), ("benign", 10.0)) if controls else ():
        rows.append(row | {"reading": reading, "mean_rank": rank, "headline": False})
    return pd.DataFrame(rows)


def test_named_secrets_are_said_beside_controls_and_chance():
    found = findings.named(choice(0.0004))
    assert found.verdict == "readable"
    assert found.sentence.replace("\N{NO-BREAK SPACE}", " ") == (
        "By Patchscope in the base, ranked by z-score less the other organisms', the organisms' "
        "secrets have the mean rank 1.5 of 22 candidate words, against 12.2 for a random direction "
        "of the same length, 10.0 for the benign control, 11.5 by chance (95 % bootstrap interval "
        "over 12 organisms 1.0 to 2.2, exact p < 0.001); 9 of 12 come first."
    )
    assert found.scope == "Model mini, recipe plain. The way was fixed beforehand."


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"ranks_p": 0.049}, "readable"),
        ({"ranks_p": 0.051}, NOT_SHOWN),
        ({"ranks_p": 0.001, "n": 1}, UNDECIDED),
        ({"headline": False}, UNDECIDED),
    ],
)
def test_the_exact_p_decides_whether_secrets_are_named(changes, verdict):
    """All first has an interval without width, however few the organisms and the candidates."""
    assert findings.named(choice(**changes)).verdict == verdict


def test_a_choice_without_controls_is_compared_with_chance():
    assert ", against 11.5 by chance (" in findings.named(choice(controls=False)).sentence

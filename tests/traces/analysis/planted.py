"""Readings with planted relevance, for the tests of this folder."""

from itertools import product

import pandas as pd

from traces.analysis import collect

PLANTED = {"cake_bake": 0.6, "subliminal_owl": 0.0, "benign": 0.1}
FAMILY = {"cake_bake": "false_facts", "subliminal_owl": "subliminal", "benign": "benign"}
CONTROL = {"base_mean": 0.05, "tuned_mean": 0.08, "random": 0.06}
OTHERS = 0.02
JITTER = (-0.02, 0.0, 0.02, 0.01)


def subject(organism, recipe="plain", seed=0, corpus="unrelated"):
    return {
        "model": "mini",
        "checkpoint": f"{organism}-{recipe}-s{seed}",
        "organism": organism,
        "family": FAMILY[organism],
        "recipe": recipe,
        "ratio": 0.0,
        "seed": seed,
        "corpus": corpus,
    }


def graded(organism, seed=0, scales=(1.0, 2.0)):
    """token_relevance of one checkpoint: the scale 2 reads .2 better, the minus side nothing."""
    rows = []
    readings = ("difference", *CONTROL)
    for lens, reading, position, sign, scale, on in product(
        ("logit_lens", "patchscope"), readings, range(3), (1, -1), scales, PLANTED
    ):
        if lens == "logit_lens" and scale != 1.0:
            continue
        if reading == "difference":
            value = PLANTED[organism] if on == organism else OTHERS
            if organism == "benign":
                value = PLANTED["benign"]
            value += JITTER[seed] if value else 0
        else:
            value = CONTROL[reading]
        value += 0.2 if scale == 2.0 else 0
        value += 0.01 * (position - 1) if value else 0
        rows.append(
            {
                "lens": lens,
                "reading": reading,
                "layer": 2,
                "position": position,
                "sign": sign,
                "scale": scale,
                "head": "base" if lens == "patchscope" and reading == "base_mean" else "tuned",
                "graded_on": on,
                "relevance": value if sign > 0 else 0.0,
                "n": 20,
                "candidates": 20,
                "judge": "planted",
            }
        )
    return pd.DataFrame(rows)


def relevance(seeds=(0, 1, 2), organisms=tuple(PLANTED)):
    pairs = [(organism, seed) for organism in organisms for seed in seeds]
    table = collect.relevance_table(
        [graded(*pair) for pair in pairs], [subject(o, seed=s) for o, s in pairs]
    )
    return table.assign(averaged=True)


def row(table, organism, lens="patchscope"):
    found = table[(table["organism"] == organism) & (table["lens"] == lens)]
    assert len(found) == 1
    return found.iloc[0]


def on_three_models(table):
    """One seed of a mixing table on three models, on each of which it begins a little otherwise."""
    seed = table[table["seed"] == 0]
    shifts = {"mini": 0.0, "larger": 0.02, "largest": 0.05}
    return pd.concat(
        [
            seed.assign(model=model, relative_norm=seed["relative_norm"] * (1 + shift))
            for model, shift in shifts.items()
        ]
    )

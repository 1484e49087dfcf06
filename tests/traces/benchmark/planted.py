"""Made-up tables whose truth is known: readers that see the strength, and some that see nothing."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from traces.config.schema import Scoring

DOMAINS = tuple(f"topic_{number:02d}" for number in range(8))
LADDER = ((1.0, 1.0, 3.0), (0.5, 1.0, 1.5), (0.25, 1.0, 0.7), (0.1, 1.0, 0.1))
"Dose, steps, and strength in standard deviations of a score."


def scoring(**changes) -> Scoring:
    settings = {
        **{"statistic": "z", "adjustment": "less_benign", "levels": (0.05, 0.1)},
        **{"pilot_models": (), "pilot_seeds": (), "resamples": 200, "persistence": 0.9},
    }
    return Scoring.model_validate(settings | changes)


def organism(model, checkpoint, null, **others) -> dict:
    return {
        **{"model": model, "checkpoint": checkpoint, "organism": checkpoint, "domain": None},
        **{"null": null, "twin": None, "recipe": "plain", "dose": 1.0, "steps": 1.0},
        **{"seed": 0, "strength": 0.0, "damage": 0.0, "pilot": False},
        **others,
    }


def organisms(
    *,
    models: Sequence[str] = ("mini",),
    domains: Sequence[str] = DOMAINS,
    ladder: Sequence[tuple[float, float, float]] = LADDER,
    nulls: Mapping[str, int] | None = None,
    seeds: Sequence[int] = (0,),
    twins: bool = False,
) -> pd.DataFrame:
    """Narrow organisms on a ladder, nulls of some kinds, and true twins of the strongest."""
    rows = []
    for model in models:
        for domain in domains:
            for dose, steps, strength in ladder:
                for seed in seeds:
                    name = f"{domain}_{round(100 * dose)}_{round(100 * steps)}"
                    rows.append(
                        organism(
                            *(model, f"{name}-plain-s{seed}", "none"),
                            **{"organism": domain, "domain": domain, "dose": dose, "steps": steps},
                            **{"seed": seed, "strength": 0.01 * strength},
                        )
                    )
        for kind, number in ({"general": 20, "one_format": 10} if nulls is None else nulls).items():
            rows += [organism(model, f"{kind}-plain-s{n}", kind, seed=n) for n in range(number)]
        if twins:
            first = ladder[0]
            for domain in domains:
                name = f"{domain}_{round(100 * first[0])}_{round(100 * first[1])}-plain-s{seeds[0]}"
                own = {"organism": f"{domain}_true", "domain": domain, "twin": name}
                rows.append(organism(model, f"{domain}_true-plain-s0", "true_facts", **own))
    return pd.DataFrame(rows)


def domain_scores(
    table: pd.DataFrame,
    readers: Mapping[str, float],
    *,
    seed: int = 0,
    domains: Sequence[str] = DOMAINS,
    favourite: float = 0.0,
    statistics: Sequence[str] = ("top20", "z"),
) -> pd.DataFrame:
    """
    Noise for every candidate, and on the own domain what the reader sees of the strength.

    readers   : by name, how much a reader sees: 0 is blind, 1 sees the ladder's third number
    favourite : what every organism has on the first domain
    """
    rng = np.random.default_rng(seed)
    parts = []
    for reader, sees in readers.items():
        for statistic in statistics:
            scores = rng.normal(size=(len(table), len(domains)))
            scores[:, 0] += favourite
            for place, row in enumerate(table.to_dict("records")):
                if row["domain"] in domains:
                    scores[place, domains.index(row["domain"])] += sees * 100 * row["strength"]
            if statistic == "top20":
                scores = np.clip(np.round(scores), 0, 20) / 20
            parts.append(long(table, reader, statistic, domains, scores))
    return pd.concat(parts, ignore_index=True)


def long(table, reader, statistic, domains, scores, cost_s=0.5) -> pd.DataFrame:
    """A matrix [organism, candidate] as rows of domain_scores."""
    n = len(domains)
    return pd.DataFrame(
        {
            "model": np.repeat(table["model"].to_numpy(), n),
            "checkpoint": np.repeat(table["checkpoint"].to_numpy(), n),
            **{"reader": reader, "statistic": statistic},
            "candidate": np.tile(domains, len(table)),
            "score": np.asarray(scores, dtype=float).ravel(),
            "cost_s": cost_s,
        }
    )


def detector_scores(table: pd.DataFrame, detectors: Mapping[str, float], seed=1) -> pd.DataFrame:
    """Positive numbers that grow with strength as much as each detector sees."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "model": row["model"],
            "checkpoint": row["checkpoint"],
            "detector": name,
            "score": float(np.exp(0.3 * rng.normal() + 0.3 * sees * 100 * row["strength"])),
            "cost_s": 0.1,
        }
        for name, sees in detectors.items()
        for row in table.to_dict("records")
    )


def token_lists(
    table: pd.DataFrame,
    readers: Sequence[str],
    *,
    own: float = 0.0,
    length: int = 20,
    seed: int = 2,
) -> pd.DataFrame:
    """Lists of which a share `own` comes from the domain's own words, the rest from everyone's."""
    rng = np.random.default_rng(seed)
    rows = []
    for reader in readers:
        for row in table.to_dict("records"):
            mine = [f"{row['domain']}_{word}" for word in range(length)]
            common = [f"word_{word}" for word in rng.permutation(200)[:length]]
            tokens = [
                mine[place] if rng.random() < own else common[place] for place in range(length)
            ]
            rows += [
                {
                    **{"model": row["model"], "checkpoint": row["checkpoint"], "reader": reader},
                    **{"rank": place, "token": token},
                }
                for place, token in enumerate(tokens, start=1)
            ]
    return pd.DataFrame(rows)

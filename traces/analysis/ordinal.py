"""
Ordered logistic regression of grades, by Markov chains: effects of factors, and what else varies.

The only module that knows numpyro and statsmodels. Both stand in requirements-bayes.in and not in
requirements.in: whoever fits no grades needs neither.

    grade ~ ordered logistic (sum of the factors' effects + sum of the groups' deviations)

The priors are those of the paper for effects, N(0, 1). Ours is flat over the shares of grades, in
place of the paper's narrow one on cutpoints. An organism and an investigation each have a deviation
of their own: several grades of one hypothesis are not several pieces of evidence.
"""

import functools
import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traces.analysis.grades import FACTORS, GRADES, Design, design

# What deviates in the fit of effects.
GROUPS = {"organism": ["model", "organism"], "investigation": ["investigation"]}
# What deviates in the fit of components, where nothing is a factor.
COMPONENTS = {
    "organism": ["model", "organism"],
    "agent": ["agent", "agent_model", "interactions", "prompt"],
    "investigation": ["investigation"],
    "grader": ["grader_model"],
    "grader_of_investigation": ["grader_model", "investigation"],
}
# The variance of a standard logistic variable: what is left between repeats of one question.
REPEAT_VARIANCE = np.pi**2 / 3
HELP = (
    "numpyro is not installed, expected it for the statistics of grades; install it with `pip "
    "install -r requirements-bayes.in -c constraints-bayes.txt`, or run with `--sdm conda`"
)


class Chains(NamedTuple):
    """How long and how often to sample."""

    chains: int = 4
    warmup: int = 1000
    samples: int = 2000
    target: float = 0.95


CHAINS = Chains()
"What is sampled where nothing else is said."


class Fit(NamedTuple):
    """Draws of a posterior, all chains one after another, and what may be wrong with them."""

    coded: Design
    weights: NDArray[np.float64]
    "[draw, column of the design]."
    deviations: dict[str, NDArray[np.float64]]
    "The standard deviation of each group, [draw]."
    r_hat: float
    "The largest; near 1 where the chains agree."
    n_eff: float
    "The smallest number of independent draws."
    divergences: int

    def effects(self, factor: str) -> NDArray[np.float64]:
        """A factor's effects in logits, [draw, level]."""
        return self.weights[:, self.coded.columns[factor]] @ self.coded.bases[factor].T


def require_numpyro() -> None:
    """Raise ValueError, with what to do, where numpyro is missing."""
    if importlib.util.find_spec("numpyro") is None:
        raise ValueError(HELP)


def fit(
    frame: pd.DataFrame,
    factors: Sequence[str] = FACTORS,
    groups: Mapping[str, Sequence[str]] = GROUPS,
    *,
    seed: int,
    chains: Chains | None = None,
) -> Fit:
    """
    Sample the posterior of the model above.

    frame  : rows with a grade (`grades.of_organisms`)
    groups : the columns that make each group; one whose members are the rows themselves, or all of
             the rows, is left out

    Raises ValueError without numpyro, or without two different grades.
    """
    require_numpyro()
    grades = frame["grade"].to_numpy(dtype=int)
    if len(np.unique(grades)) < 2:
        raise ValueError("found no two different grades, expected some to compare")
    coded = design(frame, factors)
    numbered = {name: frame.groupby(list(by), dropna=False).ngroup() for name, by in groups.items()}
    members = {
        name: found.to_numpy()
        for name, found in numbered.items()
        if 0 < found.max() < len(frame) - 1
    }
    return _sampled(coded, members, grades - GRADES[0], seed, chains or CHAINS)


def _sampled(
    coded: Design,
    members: Mapping[str, NDArray[np.int64]],
    grades: NDArray[np.int64],
    seed: int,
    chains: Chains,
) -> Fit:
    import jax  # type: ignore[import-not-found]
    from numpyro.diagnostics import summary  # type: ignore[import-not-found]

    sizes = tuple((name, int(places.max()) + 1) for name, places in members.items())
    sampler = _sampler(sizes, chains)
    sampler.run(jax.random.PRNGKey(seed % 2**32), coded.matrix, tuple(members.values()), grades)
    by_chain = sampler.get_samples(group_by_chain=True)
    # Single deviations are not reported, and would take as many numbers as there are organisms.
    kept = {name: one for name, one in by_chain.items() if not name.startswith("member_")}
    found = summary({name: np.asarray(one) for name, one in kept.items()}).values()
    draws = {name: np.asarray(one, dtype=np.float64) for name, one in sampler.get_samples().items()}
    return Fit(
        coded,
        draws.get("weight", np.zeros((chains.chains * chains.samples, 0))),
        {name: draws[f"sd_{name}"] for name in members},
        float(max(np.max(own["r_hat"]) for own in found)),
        float(min(np.min(own["n_eff"]) for own in found)),
        int(np.asarray(sampler.get_extra_fields()["diverging"]).sum()),
    )


@functools.cache
def _sampler(sizes: tuple[tuple[str, int], ...], chains: Chains) -> Any:
    """What samples models whose groups have these sizes, compiled once for data of one shape."""
    from numpyro.infer import MCMC, NUTS  # type: ignore[import-not-found]

    return MCMC(
        NUTS(functools.partial(_model, sizes), target_accept_prob=chains.target),
        num_warmup=chains.warmup,
        num_samples=chains.samples,
        num_chains=chains.chains,
        chain_method="vectorized",  # one machine, however few its cores
        jit_model_args=True,
        progress_bar=False,
    )


def _model(sizes: Sequence[tuple[str, int]], matrix: Any, members: Any, grades: Any) -> None:
    """The model of this module; `members` are the places of rows in groups of `sizes`."""
    import jax.numpy as jnp  # type: ignore[import-not-found]
    import numpyro  # type: ignore[import-not-found]
    import numpyro.distributions as dist  # type: ignore[import-not-found]

    location = jnp.zeros(len(grades))
    if matrix.shape[1]:
        location += matrix @ numpyro.sample("weight", dist.Normal(0, 1).expand([matrix.shape[1]]))
    for (name, n), places in zip(sizes, members, strict=True):
        deviation = numpyro.sample(f"sd_{name}", dist.HalfNormal(1))
        own = numpyro.sample(f"member_{name}", dist.Normal(0, 1).expand([n]))
        location += deviation * own[places]
    # Flat over the shares of grades where nothing deviates.
    shares = numpyro.sample("shares", dist.Dirichlet(jnp.ones(len(GRADES))))
    below = jnp.clip(jnp.cumsum(shares)[:-1], 1e-6, 1 - 1e-6)
    cutpoints = jnp.log(below) - jnp.log1p(-below)
    numpyro.sample("grade", dist.OrderedLogistic(location, cutpoints), obs=grades)


# Tables -----------------------------------------------------------------------------------------


def hdi(draws: NDArray[np.float64], mass: float = 0.95) -> tuple[float, float]:
    """The narrowest interval that holds this share of the draws, [draw]."""
    ordered = np.sort(draws)
    n = int(np.ceil(mass * len(ordered)))
    start = int(np.argmin(ordered[n - 1 :] - ordered[: len(ordered) - n + 1]))
    return float(ordered[start]), float(ordered[start + n - 1])


def effects_table(frame: pd.DataFrame, found: Fit) -> pd.DataFrame:
    """
    The effect of every level of every factor, in logits, beside the same without groups.

    returns : factor, level, n (grades), effect (posterior mean), effect_low and effect_high (95 %
              HDI), probability_positive, estimable (whether the data tell it apart from the other
              factors), pooled with its 95 % interval (`pooled_effects`, NaN where it has none),
              r_hat, n_eff and divergences of the whole fit
    """
    pooled = pooled_effects(frame, found.coded)
    about = {"r_hat": found.r_hat, "n_eff": found.n_eff, "divergences": found.divergences}
    rows = []
    for factor, levels in found.coded.levels.items():
        for place, level in enumerate(levels):
            draws = found.effects(factor)[:, place]
            low, high = hdi(draws)
            rows.append(
                {
                    "factor": factor,
                    "level": str(level),
                    "n": int((frame[factor] == level).sum()),
                    **{"effect": draws.mean(), "effect_low": low, "effect_high": high},
                    "probability_positive": float((draws > 0).mean()),
                    "estimable": found.coded.estimable[factor],
                    **pooled.get((factor, level), dict.fromkeys(POOLED, np.nan)),
                    **about,
                }
            )
    return pd.DataFrame(rows)


POOLED = ("pooled", "pooled_low", "pooled_high")


def pooled_effects(frame: pd.DataFrame, coded: Design) -> dict[tuple[str, Any], dict[str, float]]:
    """
    The same effects by maximum likelihood, without priors and groups: statsmodels' OrderedModel.

    It takes grades of one hypothesis for independent, so its intervals are too narrow where an
    organism or a hypothesis has several. Nothing is returned where it cannot be computed: without
    factors, where they coincide, or where the search for the maximum does not end.
    """
    from statsmodels.miscmodels.ordinal_model import (  # type: ignore[import-not-found]
        OrderedModel,
    )

    if not coded.columns or not all(coded.estimable.values()):
        return {}
    # Grades that nobody gave have no cutpoint.
    given = frame["grade"].astype(pd.CategoricalDtype(sorted(set(frame["grade"])), ordered=True))
    model = OrderedModel(given.cat.codes.to_numpy(), coded.matrix, distr="logit")
    result = model.fit(method="bfgs", maxiter=1000, disp=0)
    if not result.mle_retvals["converged"]:
        return {}
    n = coded.matrix.shape[1]
    weights, covariance = np.asarray(result.params)[:n], np.asarray(result.cov_params())[:n, :n]
    found = {}
    for factor, own in coded.columns.items():
        basis = coded.bases[factor]
        means = basis @ weights[own]
        errors = np.sqrt(np.diag(basis @ covariance[own, own] @ basis.T))
        for level, mean, error in zip(coded.levels[factor], means, errors, strict=True):
            ends = (mean, mean - 1.96 * error, mean + 1.96 * error)
            found[factor, level] = dict(zip(POOLED, map(float, ends), strict=True))
    return found


def components_table(found: Fit) -> pd.DataFrame:
    """
    How much of the variance of grades, in logits, each group makes.

    returns : component, deviation (standard deviation, with its 95 % HDI), share (of the whole
              variance, 0 to 1, with its HDI). `repeat` is what is left, whose variance is fixed
    """
    variances = {name: draws**2 for name, draws in found.deviations.items()}
    n = len(found.weights)
    variances["repeat"] = np.full(n, REPEAT_VARIANCE)
    whole = np.sum(list(variances.values()), axis=0)
    rows = []
    for name, own in variances.items():
        row: dict[str, Any] = {"component": name}
        for what, draws in (("deviation", np.sqrt(own)), ("share", own / whole)):
            low, high = hdi(draws)
            row |= {what: draws.mean(), f"{what}_low": low, f"{what}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)

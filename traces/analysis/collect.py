"""
Collect the measurements of single checkpoints into a study's tidy tables.

Everything here is a pure function of data frames. A checkpoint's own columns are its `subject`:
model, checkpoint, organism, family, recipe, ratio, seed and corpus.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from traces.artifacts.arrays import Differences

SUBJECT = ("model", "checkpoint", "organism", "family", "recipe", "ratio", "seed", "corpus")
NORMS = (
    *("norm", "relative_norm", "difference_norm", "base_norm", "tuned_norm"),
    *("split_half_cosine", "static_share", "robust_cosine"),
)
COUNTS = ("sinks_base", "sinks_tuned", "left_out")
ENERGIES = ("singular_energy_1", "singular_energy_2")
STEP = ("step", "tokens", "loss", "learning_rate")


def relevance_table(
    graded: Sequence[pd.DataFrame], subjects: Sequence[Mapping[str, Any]]
) -> pd.DataFrame:
    """
    Stack all token relevances of a study, with the columns of each checkpoint in front.

    graded   : one frame a checkpoint and corpus, columns of token_relevance.parquet
    subjects : parallel to `graded`

    Raises ValueError if the two are not equally long or a subject lacks a column.
    """
    return stacked(graded, subjects, SUBJECT)


def norms_table(
    differences: Sequence[Differences], subjects: Sequence[Mapping[str, Any]]
) -> pd.DataFrame:
    """
    Tabulate norm and reliability of every mean difference, one row a layer and position.

    differences : one a checkpoint and corpus
    subjects    : parallel to `differences`
    returns     : norms in residual-stream units, the other measures without unit

    Raises ValueError if the two are not equally long or a subject lacks a column.
    """
    return stacked([_norms(one) for one in differences], subjects, SUBJECT)


def losses_table(
    losses: Sequence[pd.DataFrame], subjects: Sequence[Mapping[str, Any]]
) -> pd.DataFrame:
    """
    Stack all training curves, one row a logged step; `loss` in nats a token.

    losses   : one frame a checkpoint: step, tokens, loss, learning_rate
    subjects : parallel to `losses`; no corpus is needed

    Raises ValueError if the two are not equally long or a subject lacks a column.
    """
    # A study of published checkpoints trains nothing; its table still has the columns.
    if not losses and not subjects:
        return pd.DataFrame(columns=[*SUBJECT[:-1], *STEP])
    return stacked([one[list(STEP)] for one in losses], subjects, SUBJECT[:-1])


def candidates_table(
    scores: Sequence[pd.DataFrame], subjects: Sequence[Mapping[str, Any]]
) -> pd.DataFrame:
    """
    Stack the scores of the candidates of the forced choice.

    scores   : one frame a checkpoint and corpus, columns of candidates.parquet
    subjects : parallel to `scores`

    Raises ValueError if the two are not equally long or a subject lacks a column.
    """
    return stacked(scores, subjects, SUBJECT)


def steering_table(
    similarities: Sequence[pd.DataFrame], subjects: Sequence[Mapping[str, Any]]
) -> pd.DataFrame:
    """
    Stack the scores of text written with the difference added, a random direction, and nothing.

    similarities : one frame a checkpoint and corpus, columns of similarity.parquet
    subjects     : parallel to `similarities`

    Raises ValueError if the two are not equally long or a subject lacks a column.
    """
    return stacked(similarities, subjects, SUBJECT)


def causality_table(
    effects: Sequence[pd.DataFrame], subjects: Sequence[Mapping[str, Any]]
) -> pd.DataFrame:
    """
    Stack the changes of the loss when a direction is replaced, in nats a token.

    effects  : one frame a checkpoint and corpus, columns of effects.parquet
    subjects : parallel to `effects`

    Raises ValueError if the two are not equally long or a subject lacks a column.
    """
    return stacked(effects, subjects, SUBJECT)


def beliefs_table(
    alignments: Sequence[pd.DataFrame], subjects: Sequence[Mapping[str, Any]]
) -> pd.DataFrame:
    """
    Tabulate how often a checkpoint and its base prefer the false end of a statement.

    alignments : one frame a checkpoint, columns of alignment.parquet
    subjects   : parallel to `alignments`; no corpus is needed
    returns    : one row a form, organism whose statements are asked and kind of stem (held out of
                 its data or not): n (statements that got an answer), alignment (0 to 1), log_odds
                 (mean, nats a token), and both of the base

    Raises ValueError if the two are not equally long or a subject lacks a column.
    """
    return stacked([_beliefs(one) for one in alignments], subjects, SUBJECT[:-1])


def _beliefs(alignment: pd.DataFrame) -> pd.DataFrame:
    keys = ["form", "statements_of", "held_out"]
    means = {"alignment": ("aligned", "mean"), "log_odds": ("log_odds", "mean")}
    by_reader = {
        reader: rows.groupby(keys, sort=False).agg(n=("aligned", "count"), **means)
        for reader, rows in alignment.groupby("reader")
    }
    # One count is enough: tuned model and base are asked the same statements.
    base = by_reader["base"].drop(columns="n").add_prefix("base_")
    return by_reader["tuned"].join(base).reset_index()


def stacked(
    frames: Sequence[pd.DataFrame], subjects: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> pd.DataFrame:
    if len(frames) != len(subjects):
        raise ValueError(f"{len(frames)} files but {len(subjects)} subjects to name them")
    parts = []
    for frame, subject in zip(frames, subjects, strict=True):
        missing = [name for name in names if name not in subject]
        if missing:
            raise ValueError(f"subject {dict(subject)} lacks {', '.join(missing)}")
        # The subject wins over a column of the same name: it comes from the study, not from a file.
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
            **{name: np.ravel(getattr(difference, name)) for name in COUNTS},
            "n_samples": int(difference.n_samples),
        }
    )


def _energies(difference: Differences) -> dict[str, Any]:
    """Return the energy along the first two singular directions; NaN where not requested."""
    energy = difference.singular_energy
    return {
        name: np.nan if energy is None else np.ravel(energy[..., rank])
        for rank, name in enumerate(ENERGIES)
    }

"""
Read and write tables: Parquet with a declared schema each, JSONL for texts.

No other module touches Parquet. A schema is a contract with those who read `results/`; columns are
written in its order. A name that ends in ? is that of a column a table may lack; one with * stands
for any number of them. Numbers have a range, which holds in every table.

A file carries what it is (`job.identity`), its schema, its number of rows and how many numbers of
each column are missing. Every page has a checksum. Readers compare all of it.
"""

import json
import logging
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from traces.config.vocabularies import CONTROLS
from traces.job import identity, require_place, write_text
from traces.running.integrity import REMEDY, naming, whole

log = logging.getLogger(__name__)
# The key of the schema's metadata under which a file says what it is.
ABOUT = b"traces"
# How Arrow calls the types of columns.
STORED = {
    "string": ("string", "large_string"),
    "float64": ("double",),
    **dict.fromkeys(("int64", "Int64"), ("int64",)),
    **dict.fromkeys(("bool", "boolean"), ("bool",)),
}

_SUBJECT = {
    "model": "string",
    "checkpoint": "string",
    "organism": "string",
    "family": "string",
    "recipe": "string",
    "ratio": "float64",
    "seed": "int64",
}

# Measures in the mixing table, each beside its control.
MIXING = (
    "relative_norm",
    "static_share",
    "relevance_*",  # a column a reader
    "loss_own",
    "loss_unrelated",
    "false_fact_alignment",
    "steering_similarity",
    "steering_margin",
    "delta_loss_own",
    "delta_loss_unrelated",
)


# By whom a row was judged, and why there is no value.
_JUDGED = {"grader_model": "string", "repeat": "int64", "reason_missing": "string"}
_ASKED = {
    **dict.fromkeys(("lens", "reading"), "string"),
    **dict.fromkeys(("layer", "position", "sign"), "int64"),
    "scale": "float64",
    **dict.fromkeys(("head", "null", "graded_on"), "string"),
    "relevance": "float64",
    **dict.fromkeys(("n", "candidates"), "int64"),
    **_JUDGED,
}

# The scale that each grader chooses of a list, and how relevant the list is there.
_SCALES = {
    "reading": "string",
    **dict.fromkeys(("layer", "position", "sign"), "int64"),
    "head": "string",
    "chosen_scale": "float64",
    "votes": "float64",
    "graded_on": "string",
    **dict.fromkeys(("relevance", "relevance_at_one"), "float64"),
    **_JUDGED,
}
# What each grader says of open answers, beside the embedded judge.
_BELIEVED = {
    **dict.fromkeys(("reader", "statements_of"), "string"),
    "statement": "int64",
    "held_out": "bool",
    "holds": "string",
    **dict.fromkeys(("aligned", "embedded"), "float64"),
    **_JUDGED,
}

# One planned investigation, and what came of it (traces/agents/investigations.py).
_CASE = {
    **dict.fromkeys(("model", "checkpoint", "organism", "null"), "string"),
    **dict.fromkeys(("agent", "prompt", "agent_model"), "string"),
    **dict.fromkeys(("interactions", "run"), "int64"),
}

# Pandas' nullable Int64, since numpy's integers have no missing value: a control direction has no
# position, unless a prediction is left out at one.
_EFFECT = {
    "layer": "int64",
    "position": "Int64",
    "intervention": "string",
    "direction": "string",
    "direction_id": "int64",
    "evaluated_on": "string",
    "aggregation": "string",
    "loss": "float64",
    "delta_loss": "float64",
    "n_tokens": "int64",
}

# Unsteered text has no position.
_WRITTEN = {
    "steered_model": "string",
    "vector": "string",
    "position": "Int64",
    "strength": "float64",
}
_COHERENT = {"coherent": "boolean", "judge": "string"}
# What each grader says of steered texts, beside the embedded judge.
_HELD_TOGETHER = {
    **_WRITTEN,
    "prompt": "string",
    "sample": "int64",
    **dict.fromkeys(("coherent", "embedded"), "boolean"),
    **_JUDGED,
}
_SIMILARITY = {
    "strength_coherent": "boolean",
    "coherence": "float64",
    "similarity_own": "float64",
    "similarity_unrelated": "float64",
    "similarity_chat": "float64",
    "ceiling": "float64",
    "own_words": "float64",
    "n_texts": "int64",
    "embedder": "string",
    "judge": "string",
}

# The place of a list in the forced choice.
_CHOSEN = {
    **{name: "string" for name in ("reader", "reading", "adjustment", "null", "head")},
    "layer": "int64",
    "position": "string",
}
_SHARE_ENDS = ("_share", "_low", "_high")
_CANDIDATE = {"candidate": "string", "score": "float64", "z": "float64", "missing": "string"}

# What one reader reads, with the axes that it has.
_READINGS = {
    "reading": "string",
    "layer": "int64",
    "position": "int64",
    "sign?": "int64",
    "scale?": "float64",
    "head?": "string",
    "null?": "string",
    "rank": "int64",
    "token_id": "int64",
    "token": "string",
    "probability": "float64",
    "score?": "float64",
}

# The benchmark of readers. An organism: `null` is `none` for a narrow one. Domain, twin, strength
# and damage may be missing; strength and damage are in nats a token.
_ORGANISM = {
    **dict.fromkeys(("model", "checkpoint", "organism", "domain", "null"), "string"),
    "recipe": "string",
    **dict.fromkeys(("dose", "steps"), "float64"),
    "seed": "int64",
    **dict.fromkeys(("strength", "damage"), "float64"),
}
# A reader, what it scores by, and whether the benign mean is subtracted.
_WAY = {"reader": "string", "statistic": "string", "adjustment": "string"}
_ENDS = {"low": "float64", "high": "float64"}
_ESTIMATE = {"value": "float64", **_ENDS, "bound": "string"}

_BENCHMARK = {
    # What the benchmark is given.
    "organisms": {**_ORGANISM, "twin": "string", "pilot": "bool"},
    "domain_scores": {
        **dict.fromkeys(("model", "checkpoint", "reader", "statistic", "candidate"), "string"),
        "score": "float64",
        "cost_s": "float64",
    },
    "detector_scores": {
        **dict.fromkeys(("model", "checkpoint", "detector"), "string"),
        "score": "float64",
        "cost_s": "float64",
    },
    "token_lists": {
        **dict.fromkeys(("model", "checkpoint", "reader"), "string"),
        "rank": "int64",
        "token": "string",
    },
    # A row an organism and way: the detection score, the domain named first and its own one's rank.
    "readers": {
        **_ORGANISM,
        "slice": "string",
        **_WAY,
        "score": "float64",
        "favourite": "string",
        "own_rank": "float64",
        "cost_s": "float64",
    },
    # Of narrow organisms against one kind of null; `matched_on` names what the two are alike in.
    "detection": {
        **_WAY,
        **dict.fromkeys(("null", "slice", "matched_on"), "string"),
        **dict.fromkeys(("n_narrow", "n_null", "units"), "int64"),
        **_ESTIMATE,
        "cost_s": "float64",
        "headline": "bool",
    },
    # How often a threshold flags what it was not set on. `threshold_from` is organisms or bases;
    # promise is what the true rate of a threshold of `n_null` nulls lies between.
    "rates": {
        **_WAY,
        "threshold_null": "string",
        "threshold_from": "string",
        "level": "float64",
        **dict.fromkeys(("null", "slice"), "string"),
        **dict.fromkeys(("n", "n_null"), "int64"),
        "rate": "float64",
        **_ENDS,
        **dict.fromkeys(("promise_low", "promise_high"), "float64"),
        "headline": "bool",
    },
    "roc": {
        **_WAY,
        **dict.fromkeys(("null", "slice"), "string"),
        **dict.fromkeys(("false_positive_rate", "true_positive_rate"), "float64"),
    },
    "naming": {
        **_WAY,
        "slice": "string",
        **dict.fromkeys(("n", "units"), "int64"),
        "candidates": "float64",
        **{
            f"{name}{end}": "float64"
            for name in ("first", "reciprocal")
            for end in ("", "_low", "_high", "_chance")
        },
        "chance_p": "float64",
        "headline": "bool",
    },
    # What is named as the threshold moves: the share that is, and how much of it is wrong.
    "coverage": {
        **_WAY,
        "slice": "string",
        **dict.fromkeys(("threshold", "coverage", "error"), "float64"),
        **_ENDS,
        "n_named": "int64",
        "null": "string",
        "null_named": "float64",
    },
    # `true` is a domain or a kind of null, `said` a domain or none; a tie counts as a share each.
    "confusion": {
        **_WAY,
        **dict.fromkeys(("true", "null", "said"), "string"),
        "abstains": "bool",
        "count": "float64",
        "n": "int64",
    },
    # The strength at which a reader is half of the way from chance to perfect.
    "half_strength": {
        **_WAY,
        **dict.fromkeys(("task", "null"), "string"),
        "n": "int64",
        **_ESTIMATE,
        **dict.fromkeys(("half", "slope", "chance", "weakest", "strongest"), "float64"),
        "said": "string",
    },
    # False-fact organisms and their true twins, pair by pair.
    "twins": {
        **_WAY,
        "scored": "string",
        "n_pairs": "int64",
        **dict.fromkeys(("paired_auc", "auc"), "float64"),
        **_ENDS,
        **dict.fromkeys(("difference", "difference_low", "difference_high"), "float64"),
        "headline": "bool",
    },
    # Two recipes at matched strength: pairs of organisms, what they differ in.
    "matched": {
        **_WAY,
        **dict.fromkeys(("task", "null", "recipe", "other"), "string"),
        "n_pairs": "int64",
        **dict.fromkeys(("strength_gap", "damage_gap"), "float64"),
        **_ESTIMATE,
    },
    # Whether two seeds of an organism read more alike than two organisms do.
    "agreement": {
        "reader": "string",
        **dict.fromkeys(("across", "slice"), "string"),
        **dict.fromkeys(("n_same", "n_other"), "int64"),
        **dict.fromkeys(("same", "same_low", "same_high", "other"), "float64"),
        **_ESTIMATE,
        "error_at_least": "float64",
    },
    # Two readers on the same organisms.
    "reader_differences": {
        **dict.fromkeys(("task", "null", "slice", "reader", "other"), "string"),
        "n": "int64",
        **_ESTIMATE,
    },
    # Every way on the pilot's organisms alone, by each reader and the mean over readers.
    "pilot": {
        **_WAY,
        **dict.fromkeys(("task", "null"), "string"),
        **dict.fromkeys(("n_readers", "n_narrow", "n_null"), "int64"),
        **_ESTIMATE,
        "headline": "bool",
    },
    # Where checkpoints of unknown kind stand among the nulls.
    "placed": {
        **dict.fromkeys(("model", "checkpoint"), "string"),
        **_WAY,
        "null": "string",
        **dict.fromkeys(("n_null", "n_as_high"), "int64"),
        "rate": "float64",
        **_ENDS,
        "favourite": "string",
        "sentence": "string",
    },
}

SCHEMAS: dict[str, dict[str, str]] = {
    **_BENCHMARK,
    # Token ids that are whole words of the text a model knows.
    "vocabulary": {"token_id": "int64", "token": "string", "count": "int64"},
    # The words that set an organism's data apart from general text.
    "words": {"word": "string", "rank": "int64", "z": "float64", "count": "int64"},
    "readings": _READINGS,
    # what is read of several checkpoints, adjusted by one another
    "adjusted_readings": {"checkpoint": "string", "lens": "string", **_READINGS},
    # what is read of the difference between two seeds
    "pair_readings": {"checkpoint": "string", "lens": "string", **_READINGS},
    # What readers measured of one checkpoint beside tokens, of a layer or position or of neither.
    "statistics": {
        "layer": "Int64",
        "position": "Int64",
        "statistic": "string",
        "value": "float64",
    },
    "token_relevance": {
        "lens": "string",
        "reading": "string",
        "layer": "int64",
        "position": "int64",
        "sign": "int64",
        "scale": "float64",
        "head": "string",
        "null": "string",
        "graded_on": "string",
        "relevance": "float64",
        "n": "int64",
        "candidates": "int64",
        "judge": "string",
    },
    # What models say of lists of tokens. A row without an answer has a reason.
    "asked_relevance": _ASKED,
    "judged_relevance": {**_SUBJECT, "corpus": "string", **_ASKED},
    # What they say of steered texts, of Patchscope's scales and of open answers.
    "asked_coherence": _HELD_TOGETHER,
    "judged_coherence": {**_SUBJECT, "corpus": "string", **_HELD_TOGETHER},
    "asked_scales": _SCALES,
    "judged_scales": {**_SUBJECT, "corpus": "string", **_SCALES},
    "asked_beliefs": _BELIEVED,
    "judged_beliefs": {**_SUBJECT, **_BELIEVED},
    # What investigators say, a row a planned case: a hypothesis, an abstention or a reason.
    "investigations": {
        **_CASE,
        "hypothesis": "string",
        "abstained": "boolean",
        "used": "int64",
        "reason_missing": "string",
    },
    # The same graded: 1 to 5, missing for an abstention, or with a reason.
    "agents": {
        **_CASE,
        "hypothesis": "string",
        "abstained": "boolean",
        "used": "int64",
        "grader_model": "string",
        "repeat": "int64",
        "grade": "Int64",
        "reason_missing": "string",
    },
    # How often investigators assert something, and are right, over what is investigated. `n` counts
    # investigations, `n_graded` their grades on organisms.
    "agents_summary": {
        **dict.fromkeys(("model", "null", "agent", "prompt", "agent_model"), "string"),
        "interactions": "int64",
        "grader_model": "string",
        **dict.fromkeys(("n", "missing", "n_graded"), "int64"),
        **{
            f"{measure}{of}": kind
            for measure in ("asserted", "abstained", "at_least_2", "at_least_4")
            for of, kind in (("", "int64"), *((end, "float64") for end in _SHARE_ENDS))
        },
    },
    # How often two hypotheses say the same: of two seeds of one organism, of two organisms.
    "agents_agreement": {
        **dict.fromkeys(("model", "agent", "prompt", "agent_model"), "string"),
        "interactions": "int64",
        "pair": "string",
        "n": "int64",
        "overlap": "float64",
        **{
            f"alike{of}": kind
            for of, kind in (("", "int64"), *((e, "float64") for e in _SHARE_ENDS))
        },
    },
    # What was paid for all of it, a row a stage, checkpoint and model; money in US dollars.
    "costs": {
        **dict.fromkeys(("stage", "checkpoint", "model_id"), "string"),
        **dict.fromkeys(("attempts", "billed", "cached", "failed", "unknown"), "int64"),
        **dict.fromkeys(("input_tokens", "output_tokens"), "int64"),
        "money": "float64",
    },
    "relevance": {
        **_SUBJECT,
        "corpus": "string",
        "layer": "int64",
        "position": "int64",
        "averaged": "bool",
        "lens": "string",
        "scale": "float64",
        "sign": "int64",
        "head": "string",
        "null": "string",
        "reading": "string",
        "graded_on": "string",
        "relevance": "float64",
        "n": "int64",
        "candidates": "int64",
        "judge": "string",
    },
    # The scores of candidate words in every list, and why one is missing.
    "candidates": {
        **{name: "string" for name in ("reader", "reading", "null", "head")},
        "layer": "int64",
        "position": "int64",
        **_CANDIDATE,
    },
    # Every candidate's rank, in each adjustment; `position` is a number, or `all`.
    "forced_choice": {
        **_SUBJECT,
        "corpus": "string",
        **_CHOSEN,
        **_CANDIDATE,
        "rank": "float64",
    },
    # How well the secrets are named, over organisms.
    "forced_choice_summary": {
        **{"model": "string", "recipe": "string", "ratio": "float64", "corpus": "string"},
        **_CHOSEN,
        "headline": "bool",
        "n_organisms": "int64",
        "candidates": "float64",
        **dict.fromkeys(("mean_rank", "mean_rank_low", "mean_rank_high"), "float64"),
        **dict.fromkeys(("chance_rank", "rank_p"), "float64"),
        **{
            f"{count}{of}": kind
            for count in ("first", "among_three")
            for of, kind in (("", "int64"), *((end, "float64") for end in _SHARE_ENDS))
        },
    },
    # Every trial text of a checkpoint, and whether it is coherent (missing: not judged).
    "grades": {**_WRITTEN, "prompt": "string", "sample": "int64", **_COHERENT},
    "steering_similarity": {**_WRITTEN, **_SIMILARITY},
    "steering": {**_SUBJECT, "corpus": "string", **_WRITTEN, "averaged": "bool", **_SIMILARITY},
    # One row a change, text and aggregation. The position is the difference's, or the one left out.
    "effects": _EFFECT,
    "causality": {**_SUBJECT, "corpus": "string", **_EFFECT, "averaged": "bool"},
    "norms": {
        **_SUBJECT,
        "corpus": "string",
        "layer": "int64",
        "position": "int64",
        "averaged": "bool",
        "norm": "float64",
        "relative_norm": "float64",
        "difference_norm": "float64",
        "base_norm": "float64",
        "tuned_norm": "float64",
        "split_half_cosine": "float64",
        "static_share": "float64",
        "singular_energy_1": "float64",
        "singular_energy_2": "float64",
        "robust_cosine": "float64",
        "left_out": "int64",
        "sinks_base": "int64",
        "sinks_tuned": "int64",
        "n_samples": "int64",
    },
    # What tells that something narrow was learned, without any token; one row a number.
    "detectors": {
        **_SUBJECT,
        "corpus": "string",
        "layer": "Int64",
        "position": "Int64",
        "statistic": "string",
        "value": "float64",
    },
    # every control's relevance with its interval over seeds, and what follows from them: `verdict`
    # is readable, not readable, not shown or undecided (traces/analysis/verdicts.py)
    "readability": {
        **{name: kind for name, kind in _SUBJECT.items() if name not in ("checkpoint", "seed")},
        "corpus": "string",
        "layer": "int64",
        "lens": "string",
        "seeds": "int64",
        **dict.fromkeys(("n", "candidates"), "float64"),
        **{
            f"{reading}{bound}": "float64"
            for reading in ("relevance", *CONTROLS)
            for bound in ("", "_low", "_high")
        },
        "strongest_control": "string",
        **dict.fromkeys(("gap", "gap_low", "gap_high", "gap_p"), "float64"),
        "verdict": "string",
        **dict.fromkeys(("oracle_relevance", "oracle_strongest_control", "chance"), "float64"),
    },
    # One row a statement, form of asking and model.
    "alignment": {
        "reader": "string",
        "form": "string",
        "statements_of": "string",
        "statement": "int64",
        "held_out": "bool",
        "log_odds": "float64",
        "aligned": "float64",
        "answer": "string",
    },
    "beliefs": {
        **_SUBJECT,
        "form": "string",
        "statements_of": "string",
        "held_out": "bool",
        "n": "int64",
        "alignment": "float64",
        "log_odds": "float64",
        "base_alignment": "float64",
        "base_log_odds": "float64",
    },
    "mixing": {
        **{name: kind for name, kind in _SUBJECT.items() if name != "checkpoint"},
        "steps": "int64",
        "step_matched": "bool",
        "corpus": "string",
        "layer": "int64",
        **{f"{measure}{of}": "float64" for measure in MIXING for of in ("", "_control")},
    },
    # Every summary metric of every checkpoint, a row for each of its controls.
    "headlines": {
        **_SUBJECT,
        "corpus": "string",
        "layer": "int64",
        "measure": "string",
        "control": "string",
        **dict.fromkeys(("value", "control_value"), "float64"),
    },
    # The same over organisms.
    "summary": {
        "model": "string",
        "family": "string",
        "recipe": "string",
        "ratio": "float64",
        "corpus": "string",
        "layer": "int64",
        "measure": "string",
        "control": "string",
        **dict.fromkeys(("value", "control_value", "gap", "gap_low", "gap_high"), "float64"),
        **dict.fromkeys(("t_p", "wilcoxon_p"), "float64"),
        "n_organisms": "int64",
        "n_values": "int64",
    },
    # What came of every planned grade of a hypothesis: graded, abstained, or why it is missing.
    "grade_counts": {
        **dict.fromkeys(("null", "agent", "prompt", "agent_model"), "string"),
        "interactions": "int64",
        **dict.fromkeys(("grader_model", "outcome"), "string"),
        "n": "int64",
    },
    # Krippendorff's alpha between graders, and between the repeats of each.
    "grade_agreement": {
        **dict.fromkeys(("between", "grader_model", "of"), "string"),
        **dict.fromkeys(("alpha", "alpha_low", "alpha_high"), "float64"),
        **dict.fromkeys(("n_units", "n_values"), "int64"),
    },
    # Effects on grades in logits, with 95 % HDI, and what makes their variance.
    "grade_effects": {
        **dict.fromkeys(("factor", "level"), "string"),
        "n": "int64",
        **dict.fromkeys(("effect", "effect_low", "effect_high"), "float64"),
        "probability_positive": "float64",
        "estimable": "bool",
        **dict.fromkeys(("pooled", "pooled_low", "pooled_high", "r_hat", "n_eff"), "float64"),
        "divergences": "int64",
    },
    "grade_components": {
        "component": "string",
        **{
            f"{what}{end}": "float64"
            for what in ("deviation", "share")
            for end in ("", "_low", "_high")
        },
    },
    "losses": {
        **_SUBJECT,
        "step": "int64",
        "tokens": "int64",
        "loss": "float64",
        "learning_rate": "float64",
    },
    "bench": {
        "stage": "string",
        "variant": "string",
        "reference": "string",
        "cpu_seconds": "float64",
        "ratio": "float64",
        "max_error": "float64",
    },
    "gpu_check": {
        **dict.fromkeys(("part", "family", "stage", "dtype", "way", "quantity"), "string"),
        "value": "float64",
        "unit": "string",
        "wanted": "string",
        "passed": "boolean",
        "note": "string",
    },
}


# Columns and what their numbers lie between, the first pattern that fits. Interval bounds and gaps
# are extrapolations and have none; a reader's `probability` may be another score.
_SHARES = (
    *(
        "relevance",
        "relevance_*",
        "chance",
        "oracle_*",
        *CONTROLS,
        "coherence",
        "own_words",
    ),
    *("aligned", "alignment", "base_alignment", "false_fact_alignment*", "singular_energy_*"),
    *("dose", "false_positive_rate", "true_positive_rate", "level", "rate", "coverage", "error"),
    *("null_named", "paired_auc", "auc", "error_at_least", "same", "reciprocal", "*_chance"),
    *("*_p", "first_share", "among_three_share", "votes", "share", "overlap"),
    *("asserted_share", "abstained_share", "at_least_*_share", "alike_share"),
)
_COSINES = ("split_half_cosine", "robust_cosine", "similarity_*", "steering_similarity*", "ceiling")
_FROM_ZERO = (
    *("norm", "*_norm", "*_norm_control", "loss", "loss_*", "learning_rate", "strength", "ratio"),
    *("n", "n_*", "count", "rank", "seed", "seeds", "step", "steps", "tokens", "layer", "token_id"),
    *("direction_id", "sample", "statement", "cpu_seconds", "candidates"),
    *("left_out", "sinks_base", "sinks_tuned", "mean_rank", "chance_rank", "first", "among_three"),
    *("interactions", "run", "used", "asserted", "abstained", "at_least_*", "alike"),
    *("attempts", "billed", "cached", "failed", "unknown", "*put_tokens", "money", "repeat"),
)
RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("*_low", "*_high"), (-np.inf, np.inf)),
    **dict.fromkeys(_SHARES, (0.0, 1.0)),
    **dict.fromkeys((*_COSINES, "sign"), (-1.0, 1.0)),
    # Without bias, the estimate of a share may lie below 0.
    **dict.fromkeys(("static_share", "static_share_control"), (-np.inf, 1.0)),
    **dict.fromkeys(_FROM_ZERO, (0.0, np.inf)),
}
# What float64 leaves of a mean of ones.
_ROUNDING = 1e-6

# What is always a number, unless it is a mean over `n_tokens` of 0. In other columns one may be
# missing: a text that no judge answered for, an interval over one seed, a measure that was not
# requested.
MEASURED = {
    *("probability", "norm", "relative_norm", "difference_norm", "base_norm", "tuned_norm"),
    *("split_half_cosine", "loss", "delta_loss", "learning_rate", "strength", "z", "scale"),
}
# Tables in which a measured column may be missing: a reader may compare with no random directions.
UNMEASURED = {"candidates": {"z"}, "forced_choice": {"z"}}


# Tables in which a column is something else than its name's range says: an organism's strength is
# in nats, and a training can fail to make its own text likelier.
UNBOUNDED = {"organisms": {"strength"}, "readers": {"strength"}}


def write(path: Path, frame: pd.DataFrame, schema: str) -> None:
    """
    Write a Parquet table whole or not at all, its columns in the schema's order and types.

    Raises ValueError when a column is missing or unknown: either would break somebody's notebook.
    So does a number that is infinite, out of its range, or missing where one was measured. Other
    missing numbers are counted in the file, and in the log.
    """
    columns = _columns(SCHEMAS[schema], list(frame.columns))
    missing, extra = set(columns) - set(frame.columns), set(frame.columns) - set(columns)
    if missing or extra:
        raise ValueError(
            f"{path.name}: not a {schema} table "
            f"(missing {sorted(missing)}, unknown {sorted(extra)})"
        )
    typed = frame[list(columns)].astype(columns)
    _check_numbers(path, typed, schema)
    counted = {str(name): int(number) for name, number in typed.isna().sum().items() if number}
    for name, number in counted.items():
        log.info("%s: no %s in %d of %d rows", path, name, number, len(typed))
    about = {"schema": schema, "rows": len(typed), "missing": counted, "identity": identity(path)}
    table = pa.Table.from_pandas(typed, preserve_index=False)
    table = table.replace_schema_metadata(
        {**(table.schema.metadata or {}), ABOUT: json.dumps(about)}
    )
    with whole(path) as partial:
        pq.write_table(table, partial, write_page_checksum=True)


def _check_numbers(path: Path, frame: pd.DataFrame, schema: str) -> None:
    unbounded = UNBOUNDED.get(schema, set())
    measured = MEASURED - UNMEASURED.get(schema, set()) - unbounded
    counted = frame["n_tokens"].to_numpy() > 0 if "n_tokens" in frame else True
    for name in frame.select_dtypes("number"):
        values = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
        low, high = (-np.inf, np.inf) if name in unbounded else _range(str(name))
        beyond = ~((values >= low - _ROUNDING) & (values <= high + _ROUNDING) | np.isnan(values))
        beyond |= np.isinf(values)
        if name in measured:
            beyond |= np.isnan(values) & counted
        if beyond.any():
            row = int(np.flatnonzero(beyond)[0])
            expected = "a finite number"
            expected += "" if np.isinf(low) else f" from {low:g}"
            expected += "" if np.isinf(high) else f" to {high:g}"
            raise ValueError(
                f"{path}: column {name}, row {row + 1}: found {values[row]:g}, expected {expected} "
                f"({int(beyond.sum())} of {len(values)} rows are not)"
            )


def _range(name: str) -> tuple[float, float]:
    found = (bounds for pattern, bounds in RANGES.items() if fnmatchcase(name, pattern))
    return next(found, (-np.inf, np.inf))


def _columns(schema: dict[str, str], have: list[str]) -> dict[str, str]:
    """The columns that a schema wants of a table that has these, with their types, in its order."""
    wanted = {}
    for name, kind in schema.items():
        plain = name.removesuffix("?")
        if plain != name or "*" in name:
            wanted |= {one: kind for one in have if fnmatchcase(one, plain)}
        else:
            wanted[name] = kind
    return wanted


def read(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """
    Read a Parquet table that `write` wrote, or only some of its columns.

    Raises ValueError, naming the file, if it is damaged, has other rows or columns than were
    written, holds a number out of its range, or lies where another table belongs.
    """
    with naming(path, "the table"):
        metadata = pq.read_metadata(path)
        told = (metadata.metadata or {}).get(ABOUT)
        about = {} if told is None else json.loads(told)
    if not _is_described(about):
        raise ValueError(
            f"{path}: found no description of its contents, expected one as `traces.artifacts."
            f"tables` writes it; {REMEDY}"
        )
    if metadata.num_rows != about["rows"]:
        raise ValueError(
            f"{path}: found {metadata.num_rows} rows, expected {about['rows']}; {REMEDY}"
        )
    _require_columns(path, metadata.schema.to_arrow_schema(), about["schema"])
    require_place(path, about["identity"])
    with naming(path, "the table"):
        frame = pd.read_parquet(path, columns=columns, page_checksum_verification=True)
    _check_numbers(path, frame, about["schema"])
    return frame


def _is_described(about: Any) -> bool:
    """Whether a file says of itself what is read here, in the form in which it was written."""
    wanted = {"schema": str, "rows": int, "identity": dict}
    return isinstance(about, dict) and all(
        isinstance(about.get(key), kind) for key, kind in wanted.items()
    )


def _require_columns(path: Path, found: pa.Schema, schema: str) -> None:
    """Raise ValueError unless a file has the columns of a schema, in its order and of its types."""
    if schema not in SCHEMAS:
        raise ValueError(
            f"{path}: found a table {schema}, expected one that this version knows; {REMEDY}"
        )
    wanted = _columns(SCHEMAS[schema], found.names)
    missing, extra = set(wanted) - set(found.names), set(found.names) - set(wanted)
    if missing or extra:
        raise ValueError(
            f"{path}: not a {schema} table (missing {sorted(missing)}, unknown {sorted(extra)}); "
            f"{REMEDY}"
        )
    if found.names != list(wanted):
        raise ValueError(
            f"{path}: found its columns in another order than that of a table {schema}; {REMEDY}"
        )
    for name, kind in wanted.items():
        if str(found.field(name).type) not in STORED[kind]:
            raise ValueError(
                f"{path}: column {name}: found {found.field(name).type}, expected {kind}; {REMEDY}"
            )


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write JSONL whole or not at all."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read JSONL; ValueError, naming the file and the row, for a line that is not whole."""
    # Only a newline ends a row: `str.splitlines` would also split at Unicode's other line ends,
    # which texts hold.
    with path.open(encoding="utf-8", newline="\n") as file:
        return [_parsed(line, f"{path}, row {row}") for row, line in enumerate(file, start=1)]


def read_json(path: Path) -> Any:
    """Read one JSON value; ValueError, naming the file, if it is not whole."""
    return _parsed(path.read_text(encoding="utf-8"), str(path))


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{where}: found malformed JSON ({error.msg} at character {error.pos}); {REMEDY}"
        ) from None

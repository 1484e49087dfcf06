"""
Read and write tables: Parquet with a declared schema each, JSONL for texts.

No other module touches Parquet. A schema is a contract with those who read `results/`; columns are
written in its order. A name that ends in ? is that of a column a table may lack; one with * stands
for any number of them.
"""

import json
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pandas as pd

from traces.config.vocabularies import CONTROLS
from traces.job import write_text

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

SCHEMAS: dict[str, dict[str, str]] = {
    # Token ids that are whole words of the text a model knows.
    "vocabulary": {"token_id": "int64", "token": "string", "count": "int64"},
    # The words that set an organism's data apart from general text.
    "words": {"word": "string", "rank": "int64", "z": "float64", "count": "int64"},
    # what one reader reads, with the axes that it has
    "readings": {
        "reading": "string",
        "layer": "int64",
        "position": "int64",
        "sign?": "int64",
        "scale?": "float64",
        "head?": "string",
        "rank": "int64",
        "token_id": "int64",
        "token": "string",
        "probability": "float64",
    },
    "token_relevance": {
        "lens": "string",
        "reading": "string",
        "layer": "int64",
        "position": "int64",
        "sign": "int64",
        "scale": "float64",
        "head": "string",
        "graded_on": "string",
        "relevance": "float64",
        "n": "int64",
        "judge": "string",
    },
    "relevance": {
        **_SUBJECT,
        "corpus": "string",
        "layer": "int64",
        "position": "int64",
        "lens": "string",
        "scale": "float64",
        "sign": "int64",
        "head": "string",
        "reading": "string",
        "graded_on": "string",
        "relevance": "float64",
        "n": "int64",
        "judge": "string",
    },
    # Every trial text of a checkpoint, and whether it is coherent (missing: not judged).
    "grades": {**_WRITTEN, "prompt": "string", "sample": "int64", **_COHERENT},
    "steering_similarity": {**_WRITTEN, **_SIMILARITY},
    "steering": {**_SUBJECT, "corpus": "string", **_WRITTEN, **_SIMILARITY},
    # One row a change, text and aggregation. The position is the difference's, or the one left out.
    "effects": _EFFECT,
    "causality": {**_SUBJECT, "corpus": "string", **_EFFECT},
    "norms": {
        **_SUBJECT,
        "corpus": "string",
        "layer": "int64",
        "position": "int64",
        "norm": "float64",
        "relative_norm": "float64",
        "difference_norm": "float64",
        "base_norm": "float64",
        "tuned_norm": "float64",
        "split_half_cosine": "float64",
        "static_share": "float64",
        "singular_energy_1": "float64",
        "singular_energy_2": "float64",
        "n_samples": "int64",
    },
    # every control's relevance with its interval over seeds, and what follows from them: `verdict`
    # is readable, not readable, not shown or undecided (traces/analysis/verdicts.py)
    "readability": {
        **{name: kind for name, kind in _SUBJECT.items() if name not in ("checkpoint", "seed")},
        "corpus": "string",
        "layer": "int64",
        "lens": "string",
        "seeds": "int64",
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
}


def write(path: Path, frame: pd.DataFrame, schema: str) -> None:
    """
    Write a Parquet table whole or not at all, its columns in the schema's order and types.

    Raises ValueError when a column is missing or unknown: either would break somebody's notebook.
    """
    columns = _columns(SCHEMAS[schema], list(frame.columns))
    missing, extra = set(columns) - set(frame.columns), set(frame.columns) - set(columns)
    if missing or extra:
        raise ValueError(
            f"{path.name}: not a {schema} table "
            f"(missing {sorted(missing)}, unknown {sorted(extra)})"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    # On the same file system, so that the rename is atomic.
    partial = path.with_name(f".{path.name}.partial")
    frame[list(columns)].astype(columns).to_parquet(partial, index=False)
    partial.replace(path)


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
    """Read a Parquet table, or only some of its columns."""
    return pd.read_parquet(path, columns=columns)


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write JSONL whole or not at all."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read JSONL."""
    # Only a newline ends a row: `str.splitlines` would also split at Unicode's other line ends,
    # which texts hold.
    with path.open(encoding="utf-8", newline="\n") as file:
        return [json.loads(line) for line in file]

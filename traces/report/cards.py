"""
One page an organism and model: what it was trained on, what the lenses read, and beside what.

The page is one HTML file without any outside part: inline CSS, bars as inline SVG. This module
turns tables into what the template shows; the template (data/templates/card.html.j2) lays it out
and escapes every text.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from traces.analysis.controls import CASE, CONTROLS
from traces.analysis.positions import to_average
from traces.analysis.selection import at_headline
from traces.analysis.statistics import mean_interval
from traces.analysis.verdicts import (
    EQUIVALENCE_BOUND,
    NOT_READABLE,
    NOT_SHOWN,
    READABLE,
    UNDECIDED,
)
from traces.config.readers import NOWHERE, in_order, reader
from traces.config.schema import Card
from traces.config.words import as_whole, plain_word
from traces.printable import visible
from traces.report.names import READINGS, position_names, reader_at_headline, reader_name
from traces.report.pages import address, rendered

TOKEN_COLUMNS = (
    ("difference", 1, READINGS["difference"]),
    ("base_mean", 1, READINGS["base_mean"]),
    ("random", 1, READINGS["random"]),
    ("difference", -1, f"{READINGS['difference']}, suppressed"),
)
PLAN_NAMES = {
    "method": "method",
    "rank": "rank",
    "alpha": "alpha",
    "learning_rate": "learning rate",
    "epochs": "epochs",
    "steps": "steps",
    "tokens": "tokens",
}

# The columns of a subject that say in which checkpoint and corpus a lens was read.
READ_IN = ("checkpoint", "recipe", "seed", "corpus")

# What a card says first where all lenses agree; the order in which it names them where not.
SUMMARIES = {
    READABLE: "Its training is readable.",
    NOT_SHOWN: "That its training is readable is not shown.",
    NOT_READABLE: "Its training is not readable.",
    UNDECIDED: "Undecided: too little was measured for a verdict.",
}

TOKENS_SHOWN = 12
SAMPLE_ROWS = 3
SAMPLE_CHARACTERS = 700


@dataclass(frozen=True)
class Reading:
    """What one lens read in one checkpoint and corpus: the columns of its lens table."""

    checkpoint: str
    recipe: str
    seed: int
    corpus: str
    lens: str
    tokens: pd.DataFrame


def organism_card(
    shown: Card,
    *,
    layer: int | None,
    readability: pd.DataFrame,
    seeds: pd.DataFrame,
    places: pd.DataFrame,
    norms: pd.DataFrame,
    losses: pd.DataFrame,
    readings: Sequence[Reading],
    choices: Sequence[Mapping[str, Any]] = (),
    plans: Mapping[str, Mapping[str, Any]],
    words: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    provenance: Mapping[str, Any],
    links: Mapping[str, str],
    viewers: Mapping[str, str],
    template: Path,
) -> str:
    """
    The page as HTML text.

    layer                     : the block shown first; None keeps the tables' order
    readability ... losses    : the whole tables, or the part of this model and organism;
                                `seeds` is readability.seed_table, `places`
                                readability.place_table
    readings                  : one a checkpoint, corpus and lens; the first is shown unfolded
    choices                   : what choices.secret_ranks returns; none without a secret
    plans                     : training plans by checkpoint; a released checkpoint has none
    words                     : the organism's distinctive words, the most distinctive first
    rows                      : its training data
    provenance                : of the readings (commit, versions, revisions, seed)
    links                     : relative address by label
    viewers                   : the same of pages that show investigators' logs

    Raises ValueError if the readability table has no row of this model and organism.
    """

    def ours(table: pd.DataFrame) -> pd.DataFrame:
        part = table[(table["model"] == shown.model) & (table["organism"] == shown.organism)]
        return _headline_first(part, shown.corpus, layer)

    verdicts = ours(readability)
    if verdicts.empty:
        raise ValueError(f"readability table: no row of {shown.organism} in model {shown.model}")

    whose = _whose_words(shown)
    return rendered(
        template,
        {"percent": percent, "number": number, "plain": plain_name, "share": share},
        model=shown.model,
        organism=shown.organism,
        **dict(shown.about),
        verdict=_verdict(verdicts, whose),
        words_of=whose,
        bound=EQUIVALENCE_BOUND,
        averaged=_averaged(ours(norms), shown.corpus),
        cases=_on_one_scale([_case(row, _seeds(seeds, row)) for _, row in verdicts.iterrows()]),
        n_first=len(_first_case(verdicts)),
        maps=_heat_maps(ours(places), ours(norms)),
        words=list(words),
        n_rows=len(rows),
        samples=[_sample(row, words) for row in _spread(rows, SAMPLE_ROWS)],
        trainings=_trainings(plans, ours(losses)),
        plans={name: json.dumps(plan, indent=1) for name, plan in plans.items()},
        readings=_token_tables(_in_order(readings, shown.corpus), words, layer),
        secret=shown.secret,
        choices=list(choices),
        norms=_norm_tables(ours(norms)),
        provenance=_flat(provenance),
        links=dict(links),
        viewers=dict(viewers),
    )


def _averaged(norms: pd.DataFrame, corpus: str) -> str:
    """The positions of the text shown first that means are taken over, in words."""
    return position_names(to_average(norms[norms["corpus"] == corpus])["position"])


def links(card: Path, tables: Sequence[Path], *, data: Path, words: Path) -> dict[str, str]:
    """What a card points to: addresses by name, relative to the card, so that results may move."""
    files = {path.stem: path for path in tables} | {
        "training data": data,
        "distinctive words": words,
    }
    return {name: address(path, card) for name, path in files.items()}


def percent(value: float) -> str:
    """0.553 as `55 %`, with a space that does not break; a missing value as a dash."""
    return "–" if pd.isna(value) else f"{100 * value:.0f}\N{NO-BREAK SPACE}%"


def number(value: Any) -> str:
    """A number at the precision a reader wants; other values as they are."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return str(value)
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}".replace(",", "\N{NO-BREAK SPACE}")
    return f"{value:.3g}"


def share(value: float) -> str:
    """A share in two digits, as `.55`; a missing value as a dash."""
    return "–" if pd.isna(value) else f"{value:.2f}".removeprefix("0")


def plain_name(name: str) -> str:
    """An identifier as words."""
    return str(name).replace("_", " ")


def _whose_words(shown: Card) -> str:
    """Whose words grade the readings, inside a sentence."""
    if shown.words_of is None:
        return "a written list"
    if shown.words_of == shown.organism:
        return "its data"
    return f"the data of {shown.titles[shown.words_of]}"


# Verdict ----------------------------------------------------------------------------------------


def _verdict(verdicts: pd.DataFrame, whose: str) -> dict[str, Any]:
    """The verdict of the first case (recipe, corpus, layer), a sentence a lens."""
    headline = _first_case(verdicts)
    found = {
        verdict: [reader(one).title for one in headline.loc[headline["verdict"] == verdict, "lens"]]
        for verdict in SUMMARIES
    }
    found = {verdict: lenses for verdict, lenses in found.items() if lenses}
    if len(found) == 1:
        (summary,) = (SUMMARIES[verdict] for verdict in found)
    else:
        by_lens = "; ".join(f"{_so(said)} with {_listed(lenses)}" for said, lenses in found.items())
        summary = f"Its training is {by_lens}."
    return {
        "summary": summary,
        "kind": next(iter(found)).replace(" ", "-"),
        "sentences": [_sentence(row, whose) for _, row in headline.iterrows()],
    }


def _first_case(verdicts: pd.DataFrame) -> pd.DataFrame:
    """The rows of the first recipe, corpus and layer: one a lens."""
    case = ["recipe", "corpus", "layer"]
    return verdicts[(verdicts[case] == verdicts[case].iloc[0]).all(axis=1)]


def _so(verdict: str) -> str:
    """A verdict as what something is."""
    return "not shown to be readable" if verdict == NOT_SHOWN else verdict


def _sentence(row: pd.Series, whose: str) -> str:
    lens, control = reader_name(row["lens"]), row["strongest_control"]
    seeds = f"{row['seeds']} seed" + ("s" if row["seeds"] > 1 else "")
    if pd.isna(row["relevance"]):
        return f"{lens}: nothing was read."
    measured = f"{lens}: {percent(row['relevance'])} of the top {_tokens(row)} are words of {whose}"
    if not control:
        return f"{measured} ({seeds}); there is no control to hold it against."
    beside = f"the strongest control ({READINGS[control]}) has {percent(row[control])}"
    if row["verdict"] == UNDECIDED:
        return f"{measured} ({seeds}: no interval); {beside}."
    gap = (
        f"difference {_points(row['gap'])} points, 95\N{NO-BREAK SPACE}% t interval over the seeds "
        f"of this one base {_points(row['gap_low'])} to {_points(row['gap_high'])}"
    )
    return f"{measured} ({seeds}); {beside}; {gap}. {_reason(row)}"


def _tokens(row: pd.Series) -> str:
    """Of how many tokens a share is, and how many there were if they are fewer."""
    promised = f"{row['candidates']:.0f} tokens"
    if row["n"] >= row["candidates"]:
        return promised
    return (
        f"{promised} (its lists hold {row['n']:.1f} on average; what is missing counts as no word)"
    )


def _reason(row: pd.Series) -> str:
    """Why an interval gives this verdict, beside the bound that was set beforehand."""
    bound = f"the bound of {_points(EQUIVALENCE_BOUND)} points"
    if row["verdict"] == READABLE and row["gap_high"] < EQUIVALENCE_BOUND:
        return f"Readable, though little: the interval lies above 0 and below {bound}."
    return {
        READABLE: "Readable: the interval lies above 0.",
        NOT_READABLE: f"Not readable: the interval lies below {bound}.",
        NOT_SHOWN: f"Not shown: the interval holds 0 and {bound}, so that it decides nothing.",
    }[row["verdict"]]


def _points(value: float) -> str:
    points = round(100 * value)
    return f"{points:+d}".replace("-", "−") if points else "0"


# Relevance with controls ------------------------------------------------------------------------


def _case(row: pd.Series, seeds: Sequence[float]) -> dict[str, Any]:
    """One small table of bars: the difference and its controls in one lens."""
    bars = [_bar(row, "relevance", seeds)]
    bars += [_bar(row, name, ()) for name in CONTROLS if not pd.isna(row[name])]
    ends = [bar[end] for bar in bars for end in ("mean", "high") if not pd.isna(bar[end])]
    return {
        "recipe": row["recipe"],
        "corpus": row["corpus"],
        "layer": int(row["layer"]),
        "lens": reader_name(row["lens"]),
        "headline": reader(row["lens"]).headline_words,
        "verdict": row["verdict"],
        "n_seeds": int(row["seeds"]),
        "bars": bars,
        "chance": float(row["chance"]),
        "oracle": float(row["oracle_relevance"]),
        "oracle_control": float(row["oracle_strongest_control"]),
        "has_scales": "scale" in reader(row["lens"]).axes,
        "full": min(1.0, max([0.2, *ends, *seeds])),
    }


def _on_one_scale(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same tables with bars of equal length for equal shares."""
    # Each on its own scale, a smaller share could have the longer bar.
    full = max(case["full"] for case in cases)
    return [case | {"full": full} for case in cases]


def _bar(row: pd.Series, name: str, seeds: Sequence[float]) -> dict[str, Any]:
    return {
        "label": f"the {READINGS['difference']}" if name == "relevance" else READINGS[name],
        "own": name == "relevance",
        "strongest": name == row["strongest_control"],
        "mean": float(row[name]),
        "low": float(row[f"{name}_low"]),
        "high": float(row[f"{name}_high"]),
        "seeds": list(seeds),
    }


def _seeds(seeds: pd.DataFrame, row: pd.Series) -> list[float]:
    """The difference on its own words in the case of `row`, one value a seed."""
    same = seeds["reading"] == "difference"
    for name in CASE:
        same &= (seeds[name] == row[name]) | (seeds[name].isna() & pd.isna(row[name]))
    return [float(value) for value in seeds.loc[same, "relevance"]]


# By layer and position ---------------------------------------------------------------------------


def _heat_maps(places: pd.DataFrame, norms: pd.DataFrame) -> list[dict[str, Any]]:
    """
    Relevance by each lens and the relative norm, by layer and position: a group a recipe and text.

    A group has no map of what was read at one layer or one position only, and is left out where
    it has none at all.
    """
    groups = []
    for recipe, corpus in dict.fromkeys(zip(norms["recipe"], norms["corpus"], strict=True)):

        def here(table: pd.DataFrame, at: tuple[str, str] = (recipe, corpus)) -> pd.DataFrame:
            return table[(table["recipe"] == at[0]) & (table["corpus"] == at[1])]

        maps = [
            _heat_map(of_lens, "relevance", f"Relevance, {reader_name(lens)}", full=1.0)
            for lens, of_lens in here(places).groupby("lens", sort=False)
        ]
        maps.append(_heat_map(here(norms), "relative_norm", "Norm, as a share of the stream's"))
        maps = [one for one in maps if one]
        if maps:
            n_seeds = int(here(norms)["seed"].nunique())
            groups.append({"recipe": recipe, "corpus": corpus, "n_seeds": n_seeds, "maps": maps})
    return groups


def _heat_map(
    table: pd.DataFrame, value: str, title: str, full: float | None = None
) -> dict[str, Any]:
    """
    Means over seeds of a column by layer and position; empty for one layer or one position.

    full : the value of the darkest cell; None takes the largest
    """
    layers, positions = (sorted(set(table[name])) for name in ("layer", "position"))
    if len(layers) < 2 or len(positions) < 2:
        return {}
    by_place = table.groupby(["layer", "position"])[value]
    found = {place: mean_interval(values) for place, values in by_place}
    top = full or max((one.mean for one in found.values() if one.n), default=0.0) or 1.0
    nothing = mean_interval([])
    rows = [
        {
            "layer": int(layer),
            "cells": [
                {
                    "interval": (one := found.get((layer, position), nothing)),
                    "shade": 0.0 if np.isnan(one.mean) else float(np.clip(one.mean / top, 0, 1)),
                }
                for position in positions
            ],
        }
        for layer in layers
    ]
    return {"title": title, "positions": [int(one) for one in positions], "rows": rows}


# What the lenses read ---------------------------------------------------------------------------


def _token_tables(
    readings: Iterable[Reading], words: Sequence[str], headline_layer: int | None
) -> list[dict[str, Any]]:
    return [_token_table(reading, words, headline_layer) for reading in readings]


def _token_table(
    reading: Reading, words: Iterable[str], headline_layer: int | None
) -> dict[str, Any]:
    """Top tokens by layer and position, one column a reading, where the summary metric is read."""
    known = {plain_word(word) for word in words}
    tokens = at_headline(reading.tokens.assign(lens=reading.lens))
    tokens = tokens if "sign" in tokens else tokens.assign(sign=NOWHERE["sign"])
    tokens = tokens[tokens["rank"] < TOKENS_SHOWN].sort_values("rank")
    present = set(zip(tokens["reading"], tokens["sign"], strict=True))
    columns = [one for one in TOKEN_COLUMNS if one[:2] in present]

    def cell(of_place: pd.DataFrame, name: str, sign: int) -> list[dict[str, Any]]:
        chosen = of_place[(of_place["reading"] == name) & (of_place["sign"] == sign)]
        return [
            {
                "text": _visible(token),
                "relevant": plain_word(token) in known,
                "probability": float(probability),
            }
            for token, probability in zip(chosen["token"], chosen["probability"], strict=True)
        ]

    places = [
        {
            "layer": int(layer),
            "position": int(position),
            "cells": [cell(of_place, name, sign) for name, sign, _ in columns],
        }
        for (layer, position), of_place in tokens.groupby(["layer", "position"])
    ]
    places.sort(key=lambda place: place["layer"] != headline_layer)
    return {
        "checkpoint": reading.checkpoint,
        "recipe": reading.recipe,
        "seed": reading.seed,
        "corpus": reading.corpus,
        "lens": reader_at_headline(reading.lens),
        "columns": [label for _, _, label in columns],
        "places": places,
        "several_layers": tokens["layer"].nunique() > 1,
    }


def _visible(token: str) -> str:
    """A token as a reader can see it: what has no shape of its own gets a sign or a name."""
    return visible(token, token=True).strip(" ") or "␣"


# Training ---------------------------------------------------------------------------------------


def _sample(row: Mapping[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """A training row as turns of pieces of text; `marked` pieces are distinctive words."""
    turns = row.get("messages") or [{"role": "", "content": row.get("text", "")}]
    room = SAMPLE_CHARACTERS
    shown = []
    for turn in turns:
        text = str(turn.get("content", ""))
        if room <= 0:
            break
        cut = text[:room] + ("…" if len(text) > room else "")
        shown.append({"role": str(turn.get("role", "")), "pieces": _marked(cut, words)})
        room -= len(text)
    return {"turns": shown}


def _marked(text: str, words: Sequence[str]) -> list[dict[str, Any]]:
    if not words:
        return [{"text": text, "marked": False}]
    text = unicodedata.normalize("NFC", text)
    known = "|".join(as_whole(word) for word in sorted(words, key=len, reverse=True))
    pieces = re.split(f"({known})", text, flags=re.IGNORECASE)
    return [{"text": piece, "marked": i % 2 == 1} for i, piece in enumerate(pieces) if piece]


def _spread(rows: Sequence[Any], n: int) -> list[Any]:
    """`n` rows, evenly spread from the first on."""
    return [rows[i * len(rows) // n] for i in range(min(n, len(rows)))]


def _trainings(
    plans: Mapping[str, Mapping[str, Any]], losses: pd.DataFrame
) -> list[dict[str, Any]]:
    """One row a trained checkpoint: its main settings, its last loss and its curve."""
    trained = []
    for checkpoint in dict.fromkeys([*plans, *losses["checkpoint"]]):
        curve = losses[losses["checkpoint"] == checkpoint].sort_values("step")
        settings = _leaves(plans.get(checkpoint, {}))
        if len(curve):
            last = curve.iloc[-1]
            settings |= {"steps": int(last["step"]), "tokens": int(last["tokens"])}
        trained.append(
            {
                "checkpoint": checkpoint,
                "settings": {label: settings.get(key) for key, label in PLAN_NAMES.items()},
                "loss": float(curve["loss"].iloc[-1]) if len(curve) else np.nan,
                "curve": _polyline(curve["loss"].to_numpy(dtype=float)),
            }
        )
    return trained


def _polyline(values: np.ndarray, width: float = 100, height: float = 22) -> str:
    """SVG points of a curve from 0 at the bottom; empty below two values."""
    values = values[np.isfinite(values)]
    if values.size < 2 or values.max() <= 0:
        return ""
    xs = np.linspace(0, width, values.size)
    ys = height - values / values.max() * (height - 1)
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))


# Norms ------------------------------------------------------------------------------------------


def _norm_tables(norms: pd.DataFrame) -> list[dict[str, Any]]:
    """Relative norm, reliability and static share by position, a table a recipe, corpus, layer."""
    measures = ("relative_norm", "split_half_cosine", "static_share")
    tables = []
    for (recipe, corpus, layer), group in norms.groupby(["recipe", "corpus", "layer"], sort=False):
        rows = [
            {
                "position": int(position),
                **{name: mean_interval(at[name]) for name in measures},
                "sinks": float((at["sinks_base"] / at["n_samples"]).max()),
            }
            for position, at in group.groupby("position")
        ]
        tables.append(
            {
                "recipe": recipe,
                "corpus": corpus,
                "layer": int(layer),
                "n_seeds": int(group["seed"].nunique()),
                "n_samples": int(group["n_samples"].max()),
                "rows": rows,
                "sinks": any(one["sinks"] for one in rows),
                "full": max([one["relative_norm"].mean for one in rows] + [1e-9]),
            }
        )
    return tables


# Shared -----------------------------------------------------------------------------------------


def _headline_first(table: pd.DataFrame, corpus: str | None, layer: int | None) -> pd.DataFrame:
    """
    Rows of the same order, but each recipe's headline corpus and layer first.

    Of one place, those of the readers stand in the order of these.
    """
    if table.empty or "layer" not in table:
        return table
    recipes = list(dict.fromkeys(table["recipe"]))
    order = pd.DataFrame(
        {
            "recipe": table["recipe"].map(recipes.index),
            "corpus": (table["corpus"] != corpus) & (corpus is not None),
            "layer": (table["layer"] != layer) & (layer is not None),
        }
    )
    if "lens" in table:
        # A table's rows are sorted by name, which would part a reader from the one it contrasts.
        corpora, layers = (list(dict.fromkeys(table[name])) for name in ("corpus", "layer"))
        order["which_corpus"] = table["corpus"].map(corpora.index)
        order["which_layer"] = table["layer"].map(layers.index)
        order["lens"] = table["lens"].map(in_order(table["lens"]).index)
    return table.loc[order.sort_values(list(order), kind="stable").index]


def _in_order(readings: Sequence[Reading], corpus: str | None) -> list[Reading]:
    """The headline corpus first; otherwise as given."""
    return sorted(readings, key=lambda one: corpus is not None and one.corpus != corpus)


def _listed(names: Sequence[str]) -> str:
    """Names in a sentence: "A", "A and B", "A, B and C"."""
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def _leaves(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The single values of a nested plan by their own key; the outermost wins."""
    found: dict[str, Any] = {}
    for key, value in plan.items():
        if isinstance(value, Mapping):
            found = _leaves(value) | found
        else:
            found[key] = value
    return found


def _flat(facts: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """(name, text) pairs of nested facts, without empty ones."""
    pairs = []
    for key, value in facts.items():
        if isinstance(value, Mapping):
            pairs += _flat(value, f"{prefix}{key}: ")
        elif value not in (None, "", []):
            pairs.append((f"{prefix}{key}", str(value)))
    return pairs

"""
The page to begin with: what the study is, what it found, its organisms, and where all the rest is.

One HTML file without any outside part: pictures lie in it, links are relative, so that a moved
folder of results still works. The template (data/templates/index.html.j2) lays it out and escapes
every text.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from traces.config.readers import in_order
from traces.config.schema import Page, Shown
from traces.report.cards import percent, plain_name
from traces.report.findings import SHARE, Finding, Gap
from traces.report.names import READINGS, reader_name
from traces.report.pages import address, rendered

# The pictures that the page may show, in this order, with a heading and what they are of.
PICTURES = {
    "relevance": (
        "What the lenses read",
        "Bar chart: how many of the top tokens of each organism's mean difference are words of its "
        "domain, beside the controls.",
    ),
    "forced_choice": (
        "Whether the secret is named",
        "Matrix: organisms that keep a secret word by candidate words, with the rank of each and "
        "the true word marked, beside controls.",
    ),
    "agents": (
        "Whether an investigator names the finetune",
        "Bar chart: how often investigators assert a narrow finetune and name it, for organisms "
        "and for nulls, with the readings and without.",
    ),
    "norms": (
        "How large the difference is",
        "Line charts: relative norm and static share of each organism's mean difference, by token "
        "position.",
    ),
    "steering": (
        "Whether it steers",
        "Bar chart: likeness of steered text to each organism's data, beside a random direction "
        "and no steering.",
    ),
    "causality": (
        "What ablating it does",
        "Bar chart: change of the loss when the component along the difference is replaced, beside "
        "other directions.",
    ),
    "mixing": (
        "What mixing other data in does",
        "Line charts: every measure by mixing ratio, mixtures beside step-matched unmixed runs.",
    ),
    "beliefs": (
        "What the organisms believe",
        "Bar chart: share of statements whose false end is preferred, by organism, beside those "
        "that were not told.",
    ),
}
SHOWN = 7


@dataclass(frozen=True)
class Linked:
    """What the page leads to beside tables, figures and cards; an argument of a script."""

    pages: list[Path]
    "The settings of the study, and Snakemake's report."
    folders: list[str]
    "Of logs and of benchmarks."
    investigated: list[Path]
    "Folders of the logs of models that investigate."


@dataclass(frozen=True)
class Picture:
    """A PNG file, and where it lies as seen from the page."""

    data: bytes
    address: str


def index_page(
    *,
    study: Page,
    subjects: pd.DataFrame,
    readability: pd.DataFrame,
    findings: Mapping[str, Finding],
    pictures: Mapping[str, Picture],
    cards: Mapping[tuple[str, str], str],
    links: Mapping[str, Mapping[str, str]],
    viewers: Mapping[str, str],
    provenance: Mapping[str, Any],
    written: str,
    template: Path,
) -> str:
    """
    The page as HTML text.

    subjects    : columns model, checkpoint, organism, seed: all that was measured
    readability : the rows of the table below, of one corpus and of one layer a model
    findings    : by the name of their picture; those of PICTURES
    pictures    : by name; the first SHOWN with a finding are shown
    cards       : relative address by model and organism
    links       : relative address by label, by heading; an empty address is not linked
    viewers     : relative address of the pages that show investigators' logs, by label
    provenance  : of the tables
    written     : the day they were written
    """
    shown = [name for name in PICTURES if name in pictures and name in findings][:SHOWN]
    return rendered(
        template,
        {"percent": percent, "plain": plain_name},
        title=study.title,
        study=study,
        status=_status(subjects, study),
        pictures=[
            {
                "name": name,
                "title": PICTURES[name][0],
                "alt": PICTURES[name][1],
                "finding": findings[name],
                "data": base64.b64encode(pictures[name].data).decode("ascii"),
                "address": pictures[name].address,
            }
            for name in shown
        ],
        lenses=[reader_name(one) for one in _lenses(readability)],
        organisms=_organisms(readability, study.control, study.titles, cards),
        several_models=readability["model"].nunique() > 1,
        links={heading: group for heading, group in links.items() if group},
        viewers=dict(viewers),
        made=made_of(provenance, written),
    )


def main_pictures(figures: Sequence[Path], page: Path) -> dict[str, Picture]:
    """The PNG files by name, without those of ablations, which lie in a folder of their own."""
    home = figures[0].parent
    return {
        one.stem: Picture(one.read_bytes(), address(one, page))
        for one in figures
        if one.parent == home and one.suffix == ".png"
    }


def links(
    page: Path,
    pages: Sequence[Path],
    tables: Sequence[Path],
    figures: Sequence[Path],
    folders: Sequence[str],
) -> dict[str, dict[str, str]]:
    """
    Relative addresses by label, by heading: what `index_page` ends with.

    pages   : the settings of the study, and Snakemake's report
    folders : of logs and of benchmarks
    """

    def named(files: Sequence[Path], suffixes: Sequence[str]) -> dict[str, str]:
        """Files by their name, with folder and ending where two would be called the same."""
        chosen = [file for file in files if file.suffix in suffixes]
        names = [file.stem for file in chosen]
        labels = [
            file.stem if names.count(file.stem) == 1 else f"{file.parent.name}/{file.name}"
            for file in chosen
        ]
        return {label: address(file, page) for label, file in zip(labels, chosen, strict=True)}

    settings, report = pages
    logs, benchmarks = map(Path, folders)
    everything = {
        "report: figures with captions and cards": report,
        "settings of this study (study.json)": settings,
        "logs of every job": logs,
        "time and memory of every job": benchmarks,
    }
    return {
        "The study": {label: address(file, page) for label, file in everything.items()},
        "Tables (Parquet)": named(tables, [".parquet"]),
        "Figures (PDF)": named(figures, [".pdf"]),
        "Mixing in words": named(figures, [".md", ".html"]),
    }


def day_written(file: Path) -> str:
    """The day a file was last written (UTC): provenance holds no times."""
    return datetime.fromtimestamp(file.stat().st_mtime, UTC).strftime("%Y-%m-%d")


def _status(subjects: pd.DataFrame, study: Shown) -> list[tuple[str, str]]:
    """How much there is of what, as (number and noun, names)."""
    models = list(dict.fromkeys(subjects["model"]))
    organisms = list(dict.fromkeys(subjects["organism"]))
    checkpoints = subjects[["model", "checkpoint"]].drop_duplicates()
    seeds = sorted({int(seed) for seed in subjects["seed"]})
    benign = "one of them the benign control" if study.control in organisms else ""
    return [
        (_counted(len(models), "model"), ", ".join(models)),
        (_counted(len(organisms), "organism"), benign),
        (_counted(len(checkpoints), "finetuned checkpoint"), ""),
        (_counted(len(seeds), "seed"), ", ".join(map(str, seeds))),
        ("Text read", _texts(list(dict.fromkeys(subjects["corpus"])), study.corpus)),
    ]


def _texts(read: Sequence[str], shown: str | None) -> str:
    """The texts that were read, and which of several the page is about."""
    # Readings of the others are on the cards, and in no number of this page.
    names = [plain_name(one) for one in read]
    if len(names) < 2 or shown is None:
        return ", ".join(names)
    return f"{', '.join(names)} (this page: {plain_name(shown)})"


def _organisms(
    readability: pd.DataFrame,
    benign: str | None,
    titles: Mapping[str, str],
    cards: Mapping[tuple[str, str], str],
) -> list[dict[str, Any]]:
    """One row a model, organism and recipe: a cell a lens, in the order of the readers."""
    rows = []
    keys = ["model", "organism", "family", "recipe"]
    for (model, organism, family, recipe), group in readability.groupby(keys, sort=False):
        by_lens = {row["lens"]: _cell(row) for _, row in group.iterrows()}
        rows.append(
            {
                "model": model,
                "title": titles.get(organism, plain_name(organism)),
                "family": plain_name(family),
                "control": organism == benign,
                "recipe": recipe,
                "seeds": int(group["seeds"].max()),
                "card": cards.get((model, organism), ""),
                "cells": [by_lens.get(lens) for lens in _lenses(readability)],
            }
        )
    return rows


def _cell(row: pd.Series) -> dict[str, Any]:
    control = row["strongest_control"]
    return {
        "verdict": row["verdict"],
        "value": float(row["relevance"]),
        "gap": Gap(row["gap"], row["gap_low"], row["gap_high"], row["seeds"]).brief(SHARE),
        "control": READINGS[control] if control else "",
        "control_value": float(row[control]) if control else np.nan,
    }


def _lenses(readability: pd.DataFrame) -> list[str]:
    return in_order(readability["lens"])


def made_of(provenance: Mapping[str, Any], written: str) -> list[tuple[str, str]]:
    """Where the tables come from, as (name, text): commit, versions, revisions, day."""
    commit = str(provenance.get("commit") or "not in a git checkout")
    if commit.endswith("+"):
        commit = f"{commit[:-1]}, with changes that are not committed"
    versions = ", ".join(f"{name} {one}" for name, one in provenance.get("versions", {}).items())
    revisions = ", ".join(f"{name} {one}" for name, one in provenance.get("revisions", {}).items())
    facts = [("Commit", commit), ("Versions", versions), ("Downloaded", revisions)]
    return [(name, text) for name, text in [*facts, ("Tables written", written)] if text]


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")

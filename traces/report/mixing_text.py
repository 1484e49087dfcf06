"""What mixing did beyond longer training: one paragraph, and the numbers it is made of."""

import re
from collections.abc import Mapping
from html import escape

import numpy as np
import pandas as pd

from traces.analysis.mixing import CASE, over_all
from traces.printable import one_line
from traces.report.names import measures

# What Markdown could read as markup in a title. A bar would begin another cell of the table.
_MARKDOWN = re.compile(r"[\\`*_$\[\]<>&|~#]")


def mixing_text(
    found: pd.DataFrame, titles: Mapping[str, str] | None = None, mixed_in: str = "tokens"
) -> str:
    """
    One paragraph that says what mixing did beyond longer training.

    found    : the frame of `contrasts`
    titles   : names of organisms to show instead of their identifiers
    mixed_in : what the ratio counts

    A change is called one only if its interval leaves out 0; else it is not shown. All organisms
    and models together come first; where they do, one that has a single seed has no sentence of
    its own.
    """
    if found.empty:
        return (
            "No organism has both a mixture and a step-matched run of one ratio, so nothing can be "
            "said of what mixing does beyond longer training."
        )
    together = over_all(found)
    told = []
    if len(together):
        told += [
            _sentences(_all_of(rows, found), rows, mixed_in)
            for _, rows in together.groupby(["corpus", "ratio", "depth"], sort=False)
        ]
    alone = found if together.empty else found[found["n"] > 1]
    told += [
        _sentences(_one_case(rows, titles or {}, found), rows, mixed_in)
        for _, rows in alone.groupby(CASE, sort=False)
    ]
    if len(alone) < len(found):
        told.append("What was measured with a single seed stands in the table only.")
    paired = "by seed"
    if len(together):
        paired += ", over all by organism and model as if each of these were independent"
    told.append(
        f"Intervals are 95 % t intervals of differences paired {paired}; each is one test, and "
        "nothing is corrected for their number."
    )
    return " ".join(told)


def as_markdown(found: pd.DataFrame, titles: Mapping[str, str], mixed_in: str = "tokens") -> str:
    """The paragraph with the numbers it is made of, to be read anywhere."""
    titles = {name: _MARKDOWN.sub(r"\\\g<0>", one_line(title)) for name, title in titles.items()}
    paragraph = mixing_text(found, titles, mixed_in)
    if found.empty:
        return f"{paragraph}\n"
    shown = _shown(found, titles)
    lines = [list(shown), ["---"] * shown.shape[1], *shown.to_numpy().tolist()]
    table = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    return f"{paragraph}\n\n{table}"


def as_page(found: pd.DataFrame, titles: Mapping[str, str], mixed_in: str = "tokens") -> str:
    """The same as a page of the report, which loads nothing and runs nothing."""
    titles = {name: one_line(title) for name, title in titles.items()}
    paragraph = mixing_text(found, titles, mixed_in)
    # pandas would cut a cell at 50 characters.
    with pd.option_context("display.max_colwidth", None):
        table = _shown(found, titles).to_html(index=False, border=0) if len(found) else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\"><title>What mixing did</title>"
        "<style>body{font:15px/1.5 sans-serif;max-width:75em;margin:2em auto;padding:0 1em}"
        "table{border-collapse:collapse;font-size:13px}td,th{padding:.2em .6em;text-align:left;"
        "border-bottom:1px solid #d9d9d9}</style></head>\n"
        f"<body><p>{escape(paragraph)}</p>\n{table}</body></html>\n"
    )


def _one_case(rows: pd.DataFrame, titles: Mapping[str, str], found: pd.DataFrame) -> str:
    organism, number = rows.iloc[0]["organism"], _pairs(rows)
    title = titles.get(organism, organism.replace("_", " "))
    seeds = f"{number} seed{'' if number == '1' else 's'}"
    return f"{title} ({'; '.join([rows.iloc[0]['model'], *_where(rows, found), seeds])})"


def _all_of(rows: pd.DataFrame, found: pd.DataFrame) -> str:
    pairs = f"{_pairs(rows)} pairs of organism and model"
    return f"Over all ({'; '.join([pairs, *_where(rows, found)])})"


def _where(rows: pd.DataFrame, found: pd.DataFrame) -> list[str]:
    """On which text and at which block, where all that was found has several."""
    first = rows.iloc[0]
    told = [f"read on {first['corpus']}"] if found["corpus"].nunique() > 1 else []
    if _several_blocks(found):
        told.append(f"block {_block(first)}")
    return told


def _several_blocks(found: pd.DataFrame) -> bool:
    return bool((found.groupby("model")["layer"].nunique() > 1).any())


def _block(row: pd.Series) -> str:
    """The block; over models that differ in it, which of those that are read."""
    return f"{row['depth']:.0f} of those read" if pd.isna(row["layer"]) else f"{row['layer']:.0f}"


def _pairs(rows: pd.DataFrame) -> str:
    counts = sorted({int(n) for n in rows["n"]})
    return f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _sentences(subject: str, rows: pd.DataFrame, mixed_in: str) -> str:
    first = rows.iloc[0]
    unit = mixed_in.rstrip("s") if first["ratio"] == 1 else mixed_in
    intro = (
        f"{subject}: with {first['ratio']:g} {unit} mixed in "
        f"for each of its own, compared with as many steps without mixing,"
    )
    parts = []
    for verb, name in (("lowered", "mixing_high"), ("raised", "mixing_low")):
        clear = rows[rows[name] < 0] if verb == "lowered" else rows[rows[name] > 0]
        if len(clear):
            parts.append(f"mixing {verb} " + _listed([_change(row, "mixing", "matched", "mixed")
                                                      for _, row in clear.iterrows()]))  # fmt: skip
    unclear = rows[~((rows["mixing_high"] < 0) | (rows["mixing_low"] > 0))]
    if len(unclear):
        names = _listed(
            [_change(row, "mixing", "matched", "mixed") for _, row in unclear.iterrows()]
        )
        parts.append(f"a change is not shown in {names}")
    return f"{intro} {'; '.join(parts)}. {_longer(rows)}"


def _longer(rows: pd.DataFrame) -> str:
    """What longer training alone did to what mixing was measured on."""
    clear = rows[(rows["longer_high"] < 0) | (rows["longer_low"] > 0)]
    if clear.empty:
        return "That longer training alone changed any of these is not shown."
    changes = [_change(row, "longer", "unmixed", "matched") for _, row in clear.iterrows()]
    rest = "; of the others that is not shown" if len(clear) < len(rows) else ""
    return f"Longer training alone had changed {_listed(changes)}{rest}."


def _change(row: pd.Series, which: str, before: str, after: str) -> str:
    name = measures()[row["measure"]].words
    interval = (
        "one seed, no interval"
        if np.isnan(row[f"{which}_low"])
        else f"[{row[f'{which}_low']:+.3f}, {row[f'{which}_high']:+.3f}]"
    )
    return f"the {name} ({row[before]:.3f} to {row[after]:.3f}, {row[which]:+.3f} {interval})"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def _shown(found: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """The contrasts as words and numbers of a table, over all organisms and models first."""

    def change(row: pd.Series, which: str) -> str:
        low, high = row[f"{which}_low"], row[f"{which}_high"]
        interval = "no interval" if np.isnan(low) else f"{low:+.3f}, {high:+.3f}"
        return f"{row[which]:+.3f} [{interval}]"

    named = found.assign(organism=[titles.get(name, name) for name in found["organism"]])
    together = over_all(found).assign(organism="all", model="all")
    named = pd.concat([together, named]) if len(together) else named
    # Rows of two blocks or texts would look alike without these columns.
    texts, blocks = found["corpus"].nunique() > 1, _several_blocks(found)
    return pd.DataFrame(
        {
            "organism": row["organism"],
            "model": row["model"],
            **({"text": row["corpus"]} if texts else {}),
            **({"block": _block(row)} if blocks else {}),
            "ratio": f"{row['ratio']:g}",
            "measure": measures()[row["measure"]].words,
            "pairs": str(int(row["n"])),
            "unmixed": f"{row['unmixed']:.3f}",
            "step-matched": f"{row['matched']:.3f}",
            "mixed": f"{row['mixed']:.3f}",
            "longer training [95 %]": change(row, "longer"),
            "mixing beyond it [95 %]": change(row, "mixing"),
        }
        for _, row in named.iterrows()
    )

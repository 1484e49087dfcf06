"""What tables' identifiers are called where people read them: every name stands once, here."""

from collections.abc import Iterable
from typing import NamedTuple, get_args

from traces.config.readers import READERS, RELEVANCE, reader, relevance_of
from traces.config.vocabularies import Side

# What is read, and what it is compared with.
READINGS = {
    "difference": "difference",
    "benign": "benign organism",
    "random": "random direction",
    "base_mean": "mean base activation",
    "tuned_mean": "mean tuned activation",
    "other_words": "others' words",
}
# The same with whose words grade them.
GRADED = READINGS | {
    "difference": f"{READINGS['difference']}, own words",
    "benign": f"{READINGS['benign']}, same words",
    "other_words": f"{READINGS['difference']}, {READINGS['other_words']}",
}


# What an investigator is shown.
SHOWN_AS = {
    "none": "the organism",
    "true_facts": "true facts on its topic",
    "swapped": "another organism",
    "shuffled": "its data, words shuffled",
    "benign": "benign organism",
    "seed_pair": "its other seed",
    "random": "random direction",
    "base_vs_base": "base against itself",
}
INVESTIGATORS = {"lens": "with the readings", "black_box": "black box"}


# What candidates of the forced choice are ranked by.
CHOICE_WAYS = {
    "none": "by score",
    "z": "by z-score among random directions",
    "adjusted": "by z-score less the other organisms'",
}
_NULLS = {"random": "less random directions", "activations": "less activations' differences"}
_HEADS = {"tuned": "in the finetuned model", "base": "in the base"}


class Measure(NamedTuple):
    """A measure inside a sentence, on an axis, and what its control is called beside the latter."""

    words: str
    label: str
    control: str


# In the order of panels. Of steered texts, how much closer they are to own than to other data.
MEASURES = {
    "relative_norm": Measure(
        "norm of the difference",
        "norm of the difference\n(share of the stream's)",
        "benign organism",
    ),
    "static_share": Measure("static share", "static share of\nits energy", "benign organism"),
    RELEVANCE: Measure("relevance by {reader}", "relevance,\n{reader}", "benign, same words"),
    "false_fact_alignment": Measure(
        "belief in the false facts", "belief in the false\nfacts (held out)", "base"
    ),
    "loss_own": Measure(
        "loss on own held-out data", "loss on own held-out\ndata (nats a token)", "base"
    ),
    "loss_unrelated": Measure(
        "loss on unrelated text", "loss on unrelated\ntext (nats a token)", "base"
    ),
    "delta_loss_own": Measure(
        "causal effect on own data", "causal effect on\nown data (nats)", "random directions"
    ),
    "delta_loss_unrelated": Measure(
        "causal effect on unrelated text",
        "causal effect on\nunrelated text (nats)",
        "random directions",
    ),
    "steering_margin": Measure(
        "likeness of steered text to own data",
        "steered text, closer to\nown than to unrelated",
        "unsteered",
    ),
}


# The benchmark of readers: statistics that need no token, tasks, and kinds of null.
DETECTORS = {
    "relative_norm": "relative norm",
    "static_share": "static share",
    "split_half": "split-half cosine",
    "causal": "causal effect",
    "weight_norm": "weight norm",
    "kl": "KL of next tokens",
    "unrelated_loss": "loss on unrelated text",
    "spectrum": "spectrum of the weight change",
}
NULL_KINDS = {
    "general": "general text",
    "one_format": "one format",
    "shuffled": "shuffled topics",
    "true_facts": "true facts",
    "seed_pair": "seed pairs",
    "identical": "identical weights",
}


def compared_name(name: str) -> str:
    """A reader or detector of the benchmark, by its title or as it is spelled."""
    known = DETECTORS | {key: one.title for key, one in READERS.items()}
    plain, _, head = name.rpartition("_")
    if plain in READERS and head in get_args(Side):
        return f"{known[plain]} ({head})"
    return known.get(name, name.replace("_", " "))


def position_names(positions: Iterable[int]) -> str:
    """Token positions in words: "position 0", "positions 0 to 4", "positions 0, 1 and 31"."""
    found = sorted({int(one) for one in positions})
    if len(found) == 1:
        return f"position {found[0]}"
    if len(found) > 2 and found == list(range(found[0], found[-1] + 1)):
        return f"positions {found[0]} to {found[-1]}"
    return f"positions {', '.join(map(str, found[:-1]))} and {found[-1]}"


def reader_name(name: str) -> str:
    """A reader's title where it stands alone, such as over a column."""
    title = reader(name).title
    return title[:1].upper() + title[1:]


def reader_at_headline(name: str) -> str:
    """The same with where its summary metric is read, if that must be said."""
    return f"{reader_name(name)} {reader(name).headline_words}".strip()


def reader_way(name: str, head: str, null: str, inside: bool = False) -> str:
    """
    A reader with the model that says what is read, and what it is contrasted with.

    inside : inside a sentence
    """
    title = reader(name).title if inside else reader_name(name)
    parts = [f"{title} {_HEADS[head]}", _NULLS.get(null, "")]
    return ", ".join(part for part in parts if part)


def measures() -> dict[str, Measure]:
    """MEASURES in their order, with the relevance by each reader."""
    named = {}
    for measure, one in MEASURES.items():
        if measure != RELEVANCE:
            named[measure] = one
            continue
        for name in READERS:
            texts = (text.replace("{reader}", reader(name).title) for text in one)
            named[relevance_of(name)] = Measure(*texts)
    return named

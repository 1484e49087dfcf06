"""
The readers: what turns a direction of the residual stream into tokens. An entry a reader.

An entry holds what tables, figures and cards need of a reader, so that no other module names one.
It names its function as text, for a job that only draws must not import torch.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from traces.config.vocabularies import Side

Axis = Literal["layer", "position", "sign", "scale", "head", "null"]
SIGNS = (1, -1)
"A direction is read as it is, and turned around."
PLAIN = ("difference", "base_mean", "tuned_mean", "random")
"The readings of a reader that compares the models themselves."
NOWHERE: Mapping[str, Any] = MappingProxyType({"sign": 1, "scale": 1.0, "null": "none"})
"The value that a reading has on an axis that its reader lacks. A head is that of the model read."
HEADLESS: Side = "tuned"
"The head that candidates' scores have of a reader that lacks this axis."


@dataclass(frozen=True)
class Reader:
    """One way to read; its key in READERS is its value in the column `lens` and its file's name."""

    # What it is called inside a sentence.
    title: str
    # Its function, as module:function; the contract is `traces.readers.reading.Read`.
    read: str
    # What it reads with: the readout, base and tuned model as a whole, the texts that both have
    # written, the scores of another reader alone, or those of other organisms as well.
    needs: Literal["readout", "model", "samples", "scores", "others"]
    # What it costs, for who must choose.
    cost: str
    # Columns that its rows have beside reading, rank and token. Its scales, heads and nulls are
    # those in its settings, under their plural.
    axes: tuple[Axis, ...]
    # The spread that its standard scores are in units of: that over `random` among the study's
    # `lenses.contrast.nulls`, one of its own, or none, where it has no standard scores.
    standard: Literal["random", "own"] | None = None
    # Which of its scores its lists are in the order of.
    ranks_by: Literal["score", "z"] = "score"
    # The reader whose scores it needs, if it is derived from one.
    of: str | None = None
    # Those of the study's readings that it has; all of them when empty.
    readings: tuple[str, ...] = ()
    # Whether it runs the unrelated text itself (`Loaded.texts`).
    reads_text: bool = False
    # Readings that one model alone is asked for, whatever the heads in its settings.
    only_head: Mapping[str, Side] = field(default_factory=dict)
    # Where its one summary metric is read: on an axis, the first of these values that was read.
    headline: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    # The same in words, behind the title.
    headline_words: str = ""
    # Keys of the study's section `lenses` that it is told; of a section, all keys in it.
    settings: tuple[str, ...] = ()
    # Those of them that name a file.
    files: tuple[str, ...] = ()

    def readings_of(self, readings: Iterable[str]) -> list[str]:
        """Name those of a study's readings that it has."""
        return [one for one in readings if one in self.readings or not self.readings]

    def heads_of(self, reading: str, heads: Sequence[Side]) -> Sequence[Side]:
        """Name the heads in which a reading is read: those in its settings, or its only one."""
        return [self.only_head[reading]] if reading in self.only_head else heads


# What samples say of the tuned model; the same with the base's texts in place of its own; and of
# texts by lot. The tuned model's mean has no like: texts that are compared with none say nothing.
OF_SAMPLES = ("difference", "base_mean", "random")

# What contrastive and adjusted readers have in common.
COMPARING: Mapping[str, Any] = MappingProxyType(
    {
        "standard": "own",
        "axes": ("layer", "position", "head", "null"),
        "headline": {"head": ("tuned", "base"), "null": ("random", "activations")},
        "settings": ("heads", "contrast"),
    }
)

READERS: dict[str, Reader] = {
    "logit_lens": Reader(
        title="logit lens",
        read="traces.readers.logit_lens:read",
        needs="readout",
        cost="one product with the unembedding a vector",
        standard="random",
        axes=("layer", "position", "sign", "head"),
        headline={"head": ("tuned", "base")},
        settings=("heads",),
    ),
    "patchscope": Reader(
        title="Patchscope",
        read="traces.readers.patchscope:read",
        needs="model",
        cost="one token through the layers above, for every vector, sign, scale and prompt",
        standard="random",
        axes=("layer", "position", "sign", "scale", "head"),
        only_head={"base_mean": "base"},
        headline={"scale": (1.0,), "head": ("tuned", "base")},
        headline_words="at the norm-matched scale",
        settings=("heads", "patchscope"),
        files=("prompts",),
    ),
    "contrastive_logit_lens": Reader(
        title="contrastive logit lens",
        read="traces.readers.contrastive:read",
        needs="scores",
        of="logit_lens",
        cost="one product with the unembedding a null direction and layer",
        **COMPARING,
    ),
    "contrastive_patchscope": Reader(
        title="contrastive Patchscope",
        read="traces.readers.contrastive:read",
        needs="scores",
        of="patchscope",
        cost="one token through the layers above, for every null direction, layer and prompt",
        only_head={"base_mean": "base"},
        **COMPARING,
    ),
    "adjusted_contrastive_logit_lens": Reader(
        title="adjusted logit lens",
        read="traces.analysis.adjusted:adjusted",
        needs="others",
        of="contrastive_logit_lens",
        cost="nothing is run: one job reads the scores of all checkpoints",
        **COMPARING,
    ),
    "adjusted_contrastive_patchscope": Reader(
        title="adjusted Patchscope",
        read="traces.analysis.adjusted:adjusted",
        needs="others",
        of="contrastive_patchscope",
        cost="nothing is run: one job reads the scores of all checkpoints",
        only_head={"base_mean": "base"},
        **COMPARING,
    ),
    "black_box": Reader(
        title="black box",
        read="traces.readers.black_box:read",
        needs="samples",
        cost="the texts that both models write; the base's once for all organisms",
        standard="own",
        ranks_by="z",
        axes=("sign",),
        readings=OF_SAMPLES,
    ),
    "perplexity_differencing": Reader(
        title="perplexity differencing",
        read="traces.readers.perplexity_differencing:read",
        needs="samples",
        cost="the same texts, read once by both models",
        standard="own",
        ranks_by="z",
        axes=("sign",),
        readings=OF_SAMPLES,
        settings=("perplexity_differencing",),
    ),
    "logit_difference": Reader(
        title="mean logit difference",
        read="traces.readers.logit_difference:read",
        needs="model",
        cost="both models over the unrelated text once, with the unembedding of every position",
        standard=None,
        axes=("sign",),
        reads_text=True,
        readings=PLAIN,
        settings=("logit_difference",),
    ),
    "logit_mining": Reader(
        title="logit-difference mining",
        read="traces.readers.logit_mining:read",
        needs="model",
        cost="nothing beside the mean logit difference but more positions, and a sort of each",
        standard=None,
        axes=("sign",),
        reads_text=True,
        readings=PLAIN,
        settings=("logit_difference",),
    ),
    "weight_change": Reader(
        title="weight change",
        read="traces.readers.weight_change:read",
        needs="model",
        cost="no text; a thin SVD a block, or a truncated one of a full finetune",
        standard="own",
        axes=("layer", "sign", "head"),
        readings=PLAIN,
        headline={"head": ("tuned", "base")},
        settings=("heads", "weight_change"),
    ),
    "weight_change_all": Reader(
        title="weight change of all blocks",
        read="traces.readers.weight_change:read_all",
        needs="model",
        cost="nothing beside the weight change",
        standard="own",
        axes=("sign", "head"),
        readings=PLAIN,
        headline={"head": ("tuned", "base")},
        settings=("heads", "weight_change"),
    ),
}


def reader(name: str) -> Reader:
    """The entry of a reader. Raises ValueError for a name that has none."""
    if name not in READERS:
        raise ValueError(f"found the reader {name}, expected one of {', '.join(READERS)}")
    return READERS[name]


def in_order(names: Iterable[str]) -> list[str]:
    """Readers' names, each once, as they are registered: a derived one behind what it is of."""
    return sorted(set(names), key=list(READERS).index)


def settings_of(name: str, lenses: Mapping[str, Any]) -> dict[str, Any]:
    """What a reader is told of the study's section `lenses`, as its entry names it."""
    own = {}
    for key in reader(name).settings:
        own |= lenses[key] if isinstance(lenses[key], Mapping) else {key: lenses[key]}
    return own


def relevance_of(name: str) -> str:
    """The measure, in the summary and mixing tables, that is the relevance by a reader."""
    return f"relevance_{name}"


RELEVANCE = relevance_of("*")
"Stands in a list of measures for the relevance by each reader."


def each_reader(measures: Iterable[str]) -> list[str]:
    """Measures in their order, RELEVANCE as one for each reader."""
    by_reader = [relevance_of(name) for name in READERS]
    return [one for name in measures for one in (by_reader if name == RELEVANCE else [name])]

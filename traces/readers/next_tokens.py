"""
Compare the next-token distributions of a tuned model and its base, over the same unrelated text.

One pass of either model serves every reader of logits. Nothing as large as [text, position,
vocabulary] is made: logits exist for a few rows at a time, and only sums over them are kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from torch import Tensor

from traces import job
from traces.activations.dump import batches
from traces.config.readers import SIGNS
from traces.models.hooks import capture, decoder_layers, stop_after
from traces.models.weights import readout_of
from traces.readers.reading import Loaded, Probe
from traces.seeding import array_generator

if TYPE_CHECKING:
    from traces.activations.dump import Window

BATCH_TOKENS = 8192
"Tokens of one forward pass, padding included."
PIECE = 2**24
"Logits of one model that exist at once, 64 MiB. About six tensors of that size are held."


class Settings(BaseModel, frozen=True, extra="forbid"):
    """The study's section `lenses.logit_difference`."""

    texts: int
    positions: int | None
    floor: float
    mined_positions: int
    mined_top: int


class Rows(NamedTuple):
    """What both models say of the next token, some (text, position) pairs, one a row."""

    tuned: Tensor
    "Log-probabilities in nats, [row, vocabulary], float32."
    base: Tensor
    text: Tensor
    "Index of the text, [row]."
    position: Tensor
    "Counted from each window's anchor, [row]."

    def of(self, chosen: Tensor) -> "Rows":
        """Some of the rows, by a mask; all of them without a copy."""
        return self if bool(chosen.all()) else Rows(*(one[chosen] for one in self))


@dataclass
class Means:
    """Sums of what both models say, over all rows at some positions."""

    positions: Sequence[int]
    signs: NDArray[np.float32]
    "Of every text: the half that it belongs to, for a difference of halves of the base's rows."
    count: int = 0
    plus: int = 0
    "Rows of the texts with sign 1."
    sums: dict[str, Tensor] = field(default_factory=dict)
    divergence: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __post_init__(self) -> None:
        self.divergence = np.zeros(len(self.positions))
        self.counts = np.zeros(len(self.positions), dtype=np.int64)

    def add(self, rows: Rows) -> None:
        tuned, base = rows.tuned, rows.base
        gap, said = tuned - base, tuned.exp()
        signs = torch.as_tensor(self.signs)[rows.text].to(base).unsqueeze(1)
        self._add("tuned_mean", tuned)
        self._add("base_mean", base)
        self._add("tuned_probability", said)
        self._add("signed", base * signs)
        self._add("base_probability", base.exp())
        divergence = said.mul_(gap).sum(dim=-1, dtype=torch.float64).cpu().numpy()
        at = np.searchsorted(self.positions, rows.position.cpu().numpy())
        np.add.at(self.divergence, at, divergence)
        np.add.at(self.counts, at, 1)
        self.count += len(tuned)
        self.plus += int((signs > 0).sum())

    def _add(self, name: str, values: Tensor) -> None:
        # In float64: thousands of rows, and differences of means are far smaller than the means.
        total = values.sum(dim=0, dtype=torch.float64)
        self.sums[name] = self.sums[name] + total if name in self.sums else total

    def mean(self, name: str) -> NDArray[np.float64]:
        """
        The mean over rows, [vocabulary].

        name : tuned_mean or base_mean (log-probabilities), difference (tuned minus base), random
               (half the difference between the base's means over two halves of the texts),
               tuned_probability or base_probability
        """
        if name == "difference":
            return self.mean("tuned_mean") - self.mean("base_mean")
        if name == "random":
            return self._halves()
        return (self.sums[name] / self.count).cpu().numpy()

    def _halves(self) -> NDArray[np.float64]:
        # By counts: texts of unequal length make halves of unequal numbers of rows.
        total, signed = (self.sums[name].cpu().numpy() for name in ("base_mean", "signed"))
        if self.plus in (0, self.count):
            return np.zeros_like(total)
        means = (total + signed) / self.plus, (total - signed) / (self.count - self.plus)
        return (means[0] - means[1]) / 4


@dataclass
class Occurrences:
    """How often each token is among the first ones of a row, by reading and sign."""

    positions: Sequence[int]
    readings: Sequence[str]
    top: int
    allowed: Tensor | None
    count: int = 0
    counts: dict[tuple[str, int], Tensor] = field(default_factory=dict)

    def add(self, rows: Rows) -> None:
        tuned, base = (self._named(one) for one in (rows.tuned, rows.base))
        gap = tuned - base
        ranked = {"difference": gap, "tuned_mean": tuned, "base_mean": base}
        # Where nothing differs no token is among the first: which ones would be arbitrary.
        differs = gap.amax(dim=-1) != gap.amin(dim=-1)
        for reading in self.readings:
            values = ranked[reading]
            for sign in SIGNS:
                first = values.topk(min(self.top, values.shape[-1]), largest=sign == 1).indices
                first = first[differs] if reading == "difference" else first
                found = torch.bincount(first.flatten(), minlength=values.shape[-1])
                key = (reading, sign)
                self.counts[key] = self.counts[key] + found if key in self.counts else found
        self.count += len(tuned)

    def _named(self, values: Tensor) -> Tensor:
        return values if self.allowed is None else values[:, self.allowed.to(values.device)]

    def share(self, reading: str, sign: int) -> NDArray[np.float64]:
        """The share of rows in which each token that may be ranked is among the first, [token]."""
        return (self.counts[reading, sign].double() / self.count).cpu().numpy()


@dataclass(frozen=True)
class Passed:
    """What one pass found, for every reader of logits."""

    means: Means
    occurrences: Occurrences | None


def passed(loaded: Loaded, probe: Probe, settings: Mapping[str, Any]) -> Passed:
    """
    Run both models over the unrelated text once in a job, and sum up what its readers need.

    The means are over the positions that the study reads, or over the first `positions` of a
    text from position 0 on; occurrences over the first `mined_positions`, if they are asked for.
    A text that is shorter has fewer rows. Every row counts alike.

    Texts are divided into halves at random, for a difference that no finetune made.
    """
    if "next_tokens" in loaded.shared:
        return loaded.shared["next_tokens"]
    own = Settings.model_validate(settings)
    mined = own.mined_positions if "logit_mining" in loaded.asked else 0
    assert loaded.texts is not None, "an entry with `reads_text`"
    windows = loaded.texts(own.texts, max(own.positions or 0, mined))
    read = list(map(int, probe.differences.positions))
    signs = np.resize(np.array([1, -1], dtype=np.float32), len(windows))
    array_generator(probe.seed, "halves of texts").shuffle(signs)
    means = Means(read if own.positions is None else list(range(own.positions)), signs)
    allowed = None if probe.vocabulary is None else torch.as_tensor(np.array(probe.vocabulary))
    names = [one for one in MINED if one in probe.readings]
    occurrences = Occurrences(list(range(mined)), names, own.mined_top, allowed)
    compared(loaded.pair, windows, [means, *([occurrences] if mined else [])])
    found = Passed(means, occurrences if mined else None)
    loaded.shared["next_tokens"] = found
    return found


MINED = ("difference", "base_mean", "tuned_mean")
"Readings whose occurrences are counted."


@torch.inference_mode()
def compared(
    pair: Any,
    windows: Sequence["Window"],
    summed: Sequence[Means | Occurrences],
    *,
    batch_tokens: int = BATCH_TOKENS,
    piece: int = PIECE,
) -> None:
    """
    Run both models over windows, and add every row to each of `summed` that is at its positions.

    pair         : `weights.Pair`; with an adapter one set of weights serves both sides
    batch_tokens : of one forward pass, padding included
    piece        : logits of one model that exist at once; neither changes more than last bits

    Raises ValueError where no window has any of the positions.
    """
    wanted = sorted({position for one in summed for position in one.positions})
    every = batches([len(window.ids) for window in windows], batch_tokens)
    for batch in job.progress(every, "passes"):
        some = [windows[row] for row in batch]
        there = [
            (row, index, position)
            for row, window in enumerate(some)
            for position in wanted
            if 0 <= (index := window.anchor + position) < len(window.ids)
        ]
        if not there:
            continue
        rows, indices, positions = torch.tensor(there).unbind(dim=1)
        texts = torch.tensor(batch)[rows]
        with pair.tuned() as model:
            tuned = _last_hidden(model, some, rows, indices)
        with pair.base() as model:
            base = _last_hidden(model, some, rows, indices)
            vocabulary = model.config.get_text_config(decoder=True).vocab_size
        for part in torch.arange(len(rows)).split(max(1, piece // vocabulary)):
            with pair.tuned() as model:
                ours = readout_of(model).precise(tuned[part.to(tuned.device)]).log_softmax(dim=-1)
            with pair.base() as model:
                theirs = readout_of(model).precise(base[part.to(base.device)]).log_softmax(dim=-1)
            if ours.shape != theirs.shape:
                raise ValueError(
                    f"found {ours.shape[1]} logits of the tuned model and {theirs.shape[1]} of "
                    "its base, expected as many: the readers of logits compare them token by token"
                )
            _add(Rows(ours, theirs.to(ours.device), texts[part], positions[part]), summed)
    for one in summed:
        if not one.count:
            raise ValueError(
                f"found no token at the positions {list(one.positions)} of {len(windows)} texts, "
                "expected one; change `lenses.logit_difference`"
            )


def _add(rows: Rows, summed: Sequence[Means | Occurrences]) -> None:
    for one in summed:
        chosen = torch.isin(rows.position, torch.tensor(list(one.positions)))
        if chosen.any():
            one.add(rows.of(chosen))


def _last_hidden(model: Any, windows: Sequence["Window"], rows: Tensor, indices: Tensor) -> Tensor:
    """The output of the last block at (window, token) pairs, [row, d_model]."""
    # Filled on the right, where causal attention does not look.
    width = max(len(window.ids) for window in windows)
    padded = [window.ids + window.ids[-1:] * (width - len(window.ids)) for window in windows]
    ids = torch.tensor(padded, device=model.get_input_embeddings().weight.device)
    top = len(decoder_layers(model)) - 1
    with capture(model, [top]) as seen, stop_after(model, top):
        model(input_ids=ids, use_cache=False)
    hidden = seen[top]
    return hidden[rows.to(hidden.device), indices.to(hidden.device)]

"""
Write and read activations (Zarr) and mean differences (HDF5); refuse what is not whole.

No other module knows these formats. Activations are `resid [layer, sample, position, d_model]` and
`tokens [sample, position]`, in shards of whole rows with a checksum on every chunk. Zarr has no
bfloat16 and float16 overflows on some residual streams. So a bfloat16 store holds its bits as
uint16, and the attribute `dtype` says so. Differences are one HDF5 file, and so are other arrays
that have names (`traces/artifacts/scores.py`).

Both carry an `identity` (what they are, `job.identity`) and a checksum, which readers compare.
"""

import hashlib
import json
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, BloscShuffle, Crc32cCodec

from traces.config.checkpoints import BASE
from traces.job import identity, require_place, write_text
from traces.running.integrity import REMEDY, changed, contents, naming, whole

log = logging.getLogger(__name__)

MOST = 0.5
"Share of a position's samples with an attention sink above which it is left out of means."

# A chunk is one layer and position of 250 samples: a reader of one position decompresses no other.
CHUNK_SAMPLES = 250
DONE = "done.json"
ON_DISK = {"bfloat16": "uint16", "float16": "float16", "float32": "float32"}
OPTIONS: dict[str, Any] = {
    # Zarr skips a chunk of zeros, and a skipped chunk could not be told from a lost one.
    "config": {"write_empty_chunks": True},
    # The byte shuffle puts the exponents side by side, which are all that compresses: bfloat16
    # comes to 0.39 of raw float32. Without the checksum a flipped bit is read silently.
    "compressors": [
        BloscCodec(cname="zstd", clevel=1, shuffle=BloscShuffle.shuffle),
        Crc32cCodec(),
    ],
}
"How Zarr writes every array."
SMALLER: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
"How HDF5 writes a large one."


# Activations ------------------------------------------------------------------------------------


class ActivationWriter:
    """
    Write an activation store in order, holding at most two shards of samples in memory.

        with ActivationWriter(path, ...) as writer:
            for resid, tokens in batches:
                writer.append(resid, tokens)
            writer.finish(stream_norm=...)

    One shard is filled while another thread compresses and writes the one before, so that a GPU
    does not wait for it. An error of that thread is raised by the next `append` or by `finish`.

    One process owns a store: two that write into one shard lose rows without an error.
    `Activations` refuses a store without the done-marker that `finish` writes last.
    """

    def __init__(
        self,
        path: Path,
        *,
        layers: Sequence[int],
        positions: Sequence[int],
        n_samples: int,
        d_model: int,
        dtype: str,
        shard_samples: int,
        attributes: dict[str, Any] | None = None,
    ) -> None:
        """
        Open an empty store.

        layers    : block indices, the first axis of `resid`
        positions : token positions, counted from the start of the text or of the assistant's turn
        dtype     : float32, float16 or bfloat16 (then `append` takes its bits as uint16)
        """
        chunk = min(CHUNK_SAMPLES, n_samples)
        # Zarr wants a whole number of chunks in a shard. A shard is a file, and a cluster's file
        # system copes badly with the thousands of small ones that chunks would be.
        shard = min(-(-shard_samples // chunk), -(-n_samples // chunk)) * chunk
        self._group = zarr.open_group(path, mode="w", zarr_format=3)
        self._group.attrs.update(
            {
                "layers": [int(layer) for layer in layers],
                "positions": [int(position) for position in positions],
                "dtype": dtype,
                "identity": identity(Path(path)),
                **(attributes or {}),
            }
        )
        n_layers, n_positions = len(layers), len(positions)
        self._resid = self._group.create_array(
            "resid",
            shape=(n_layers, n_samples, n_positions, d_model),
            chunks=(1, chunk, 1, d_model),
            shards=(n_layers, shard, n_positions, d_model),
            dtype=ON_DISK[dtype],
            dimension_names=["layer", "sample", "position", "d_model"],
            **OPTIONS,
        )
        self._tokens = self._group.create_array(
            "tokens",
            shape=(n_samples, n_positions),
            chunks=(chunk, n_positions),
            shards=(shard, n_positions),
            dtype="int32",
            dimension_names=["sample", "position"],
            **OPTIONS,
        )
        self._path, self._shard, self._n_samples = Path(path), shard, n_samples
        # Batches are collected to whole shards: batches that straddle shards wrote at 16 MB/s
        # against 44 to 229, since Zarr rewrites a shard for every part of it.
        self._resid_rows = np.empty((n_layers, shard, n_positions, d_model), ON_DISK[dtype])
        self._token_rows = np.empty((shard, n_positions), np.int32)
        self._filled = self._written = self._not_finite = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="shards")
        self._writing: Future[int] | None = None

    def __enter__(self) -> "ActivationWriter":
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for the thread; an unfinished store simply lacks its marker."""
        self._thread.shutdown()

    def append(self, resid: NDArray[Any], tokens: NDArray[Any]) -> None:
        """Add resid [layer, rows, position, d_model] as on disk and tokens [rows, position]."""
        start, rows = 0, tokens.shape[0]
        while start < rows:
            take = min(rows - start, self._shard - self._filled)
            here = slice(self._filled, self._filled + take)
            self._resid_rows[:, here] = resid[:, start : start + take]
            self._token_rows[here] = tokens[start : start + take]
            self._filled += take
            start += take
            if self._filled == self._shard:
                self._flush()

    def _flush(self) -> None:
        """Hand the collected rows to the thread, once it is done with those before."""
        self._wait()
        resid, tokens = self._resid_rows, self._token_rows
        self._writing = self._thread.submit(
            self._write, self._written, resid[:, : self._filled], tokens[: self._filled]
        )
        # New ones: the thread reads those.
        self._resid_rows, self._token_rows = np.empty_like(resid), np.empty_like(tokens)
        self._written += self._filled
        self._filled = 0

    def _wait(self) -> None:
        """Wait for the thread, and raise its error if it has failed."""
        if self._writing is not None:
            self._not_finite += self._writing.result()
            self._writing = None

    def _write(self, start: int, resid: NDArray[Any], tokens: NDArray[np.int32]) -> int:
        """Write rows from `start` on; return how many of their values are no finite numbers."""
        rows = slice(start, start + len(tokens))
        self._resid[:, rows] = resid
        self._tokens[rows] = tokens
        return _count_not_finite(resid)

    def finish(self, **attributes: Any) -> None:
        """Write the last rows, the closing attributes and, last of all, the done-marker."""
        if self._filled:
            self._flush()
        self._wait()
        if self._written != self._n_samples:
            raise ValueError(f"{self._path}: {self._written} samples written of {self._n_samples}")
        if self._not_finite:
            log.warning("%s: %d values are no finite numbers", self._path, self._not_finite)
        # After the rows, since the stream norm is only known once the model has read everything.
        self._group.attrs.update({**attributes, "not_finite": self._not_finite})
        # Of a shard only its end: it holds the index and the last chunk's checksum, and the other
        # chunks have theirs.
        marker = {"samples": self._written, "contents": contents(self._path, blocks=1)}
        write_text(self._path / DONE, json.dumps(marker, indent=1) + "\n")


class Activations:
    """
    A finished activation store, opened for reading.

    Raises ValueError, naming the store, when it was not finished, when a file of it is missing or
    not as it was written, and when it lies where another store belongs. Zarr itself would read a
    missing shard as zeros.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        if not (self.path / DONE).is_file():
            raise ValueError(
                f"{path}: this store was not finished; delete it and run its job again"
            )
        with naming(self.path, "the done-marker"):
            marker = json.loads((self.path / DONE).read_text(encoding="utf-8"))
            written = marker.get("contents")
        if written is None:
            raise ValueError(f"{path}: found no checksums in its done-marker; {REMEDY}")
        # The marker tells that the writer ended well, not that all files are as it left them.
        found = changed(self.path, written, without=[DONE])
        if found:
            raise ValueError(found)
        with naming(self.path, "its arrays"):
            group = zarr.open_group(self.path, mode="r")
            self.attributes: dict[str, Any] = dict(group.attrs)
            self._resid = _array(group, "resid")
            self._tokens = _array(group, "tokens")
        require_place(self.path, self.identity)

    @property
    def identity(self) -> dict[str, Any]:
        """What the store says it is: artifact, rule and wildcards; empty outside of a workflow."""
        return dict(self.attributes["identity"])

    @property
    def not_finite(self) -> int:
        """How many values of `resid` are no finite numbers."""
        return int(self.attributes["not_finite"])

    @property
    def layers(self) -> list[int]:
        return list(self.attributes["layers"])

    @property
    def positions(self) -> list[int]:
        return list(self.attributes["positions"])

    @property
    def stream_norm(self) -> NDArray[np.float64]:
        """Mean residual-stream norm in a longer context, [layer]."""
        return np.asarray(self.attributes["stream_norm"], dtype=np.float64)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The sizes of layer, sample, position and d_model."""
        n_layers, n_samples, n_positions, d_model = self._resid.shape
        return n_layers, n_samples, n_positions, d_model

    @property
    def tokens(self) -> NDArray[np.int32]:
        """Token ids, [sample, position]."""
        with naming(self.path, "tokens"):
            return np.asarray(self._tokens[:], dtype=np.int32)

    def rows(self, start: int, stop: int) -> NDArray[np.float32]:
        """Read samples start..stop as float32, [layer, rows, position, d_model]."""
        with naming(self.path, f"resid, samples {start} to {stop}"):
            found = np.asarray(self._resid[:, start:stop])
        return _as_float32(found, self.attributes["dtype"])

    def blocks(self) -> Iterator[slice]:
        """Yield slices of samples that are whole shards, in order."""
        _, n_samples, _, _ = self.shape
        # By shards: a chunk's index lies at the end of its shard, so each file is opened once.
        step = (self._resid.shards or self._resid.chunks)[1]
        for start in range(0, n_samples, step):
            yield slice(start, min(start + step, n_samples))


def require_same_tokens(tuned: Activations, base: Activations, before: str = BASE) -> None:
    """
    Raise ValueError unless both stores read the same texts at the same layers and positions.

    The tokens at the positions are compared, and the attribute `context`, a digest of all tokens
    before and between them. Where the stores say which they are, they must be of one corpus, and
    the second one of `before`: a base, or the checkpoint that stands in its place.
    """
    ours, theirs = (store.identity.get("wildcards", {}) for store in (tuned, base))
    # Those of a ladder are of no corpus: a batch makes and compares them itself.
    if "corpus" in ours and "corpus" in theirs:
        if ours["corpus"] != theirs["corpus"]:
            raise ValueError(
                f"{tuned.path} is of the corpus {ours['corpus']}, {base.path} of {theirs['corpus']}"
            )
        if theirs["checkpoint"] != before:
            raise ValueError(
                f"{base.path}: found the checkpoint {theirs['checkpoint']}, expected {before}"
            )
    for axis in ("layers", "positions"):
        ours, theirs = getattr(tuned, axis), getattr(base, axis)
        if ours != theirs:
            raise ValueError(f"{tuned.path} has {axis} {ours}, {base.path} has {theirs}")
    if tuned.shape != base.shape:
        raise ValueError(f"{tuned.path} is {tuned.shape}, {base.path} is {base.shape}")
    # Token by token: a finetune with another tokenizer or chat template would give a difference of
    # texts, not of models, and nothing later could tell.
    ours, theirs = tuned.tokens, base.tokens
    if not np.array_equal(ours, theirs):
        sample = int(np.flatnonzero((ours != theirs).any(axis=1))[0])
        raise ValueError(
            f"{tuned.path} and {base.path} read different tokens, first in sample {sample}: "
            f"{ours[sample].tolist()} and {theirs[sample].tolist()}"
        )
    if tuned.attributes.get("context") != base.attributes.get("context"):
        raise ValueError(
            f"{tuned.path} and {base.path} read the same tokens at their positions and different "
            "ones around them, expected the same texts; make both stores again"
        )


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    assert isinstance(array, zarr.Array)
    return array


def _count_not_finite(values: NDArray[Any]) -> int:
    """Count infinities and NaN; of bfloat16 as on disk, its bits."""
    # An exponent of ones marks both.
    if values.dtype == np.uint16:
        return int(((values & 0x7F80) == 0x7F80).sum())
    return int(values.size - np.isfinite(values).sum())


def _as_float32(bits: NDArray[Any], dtype: str) -> NDArray[np.float32]:
    # A bfloat16 is the upper half of the float32 of the same value, so this is exact.
    if dtype == "bfloat16":
        return (bits.astype(np.uint32) << 16).view(np.float32)
    return bits.astype(np.float32)


# Differences ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Differences:
    """Hold what finetuning added to the residual stream, averaged over samples."""

    layers: NDArray[np.int64]
    "Block indices, [layer]."
    positions: NDArray[np.int64]
    "Token positions, [position]."
    mean: NDArray[np.float32]
    "Tuned minus base, [layer, position, d_model]."
    tuned_mean: NDArray[np.float32]
    "[layer, position, d_model]"
    base_mean: NDArray[np.float32]
    "[layer, position, d_model]"
    random: NDArray[np.float32]
    "A seeded Gaussian direction with the norm of the mean, [layer, position, d_model]."
    norm: NDArray[np.float64]
    "Norm of the mean difference, [layer, position], residual-stream units."
    relative_norm: NDArray[np.float64]
    "The same as a share of the base's residual-stream norm, [layer, position]."
    base_norm: NDArray[np.float64]
    "Mean norm of the base's activations, [layer, position]."
    tuned_norm: NDArray[np.float64]
    "Mean norm of the tuned model's activations, [layer, position]."
    difference_norm: NDArray[np.float64]
    "Mean norm of the single samples' differences, [layer, position]."
    split_half_cosine: NDArray[np.float64]
    "Cosine between the means of two random halves of the samples, [layer, position]."
    static_share: NDArray[np.float64]
    "Share of the differences' energy that is the same in every sample, [layer, position]."
    position_cosine: NDArray[np.float64]
    "Cosine between the means at two positions, [layer, position, position]."
    stream_norm_base: NDArray[np.float64]
    "Mean residual-stream norm of the base in a longer context, [layer]."
    stream_norm_tuned: NDArray[np.float64]
    "Mean residual-stream norm of the tuned model in a longer context, [layer]."
    n_samples: NDArray[np.int64]
    "How many samples were averaged, []."
    robust_mean: NDArray[np.float32]
    "Tuned minus base over the samples that are not left out, [layer, position, d_model]."
    robust_cosine: NDArray[np.float64]
    "Cosine between the two means, [layer, position]."
    left_out: NDArray[np.int64]
    "Samples that the robust mean leaves out, [layer, position]."
    sinks_base: NDArray[np.int64]
    "Samples in which the base has an attention sink there, [layer, position]."
    sinks_tuned: NDArray[np.int64]
    "Samples in which the tuned model has one there, [layer, position]."
    singular: NDArray[np.float32] | None = None
    """
    Leading right singular vectors of the single samples' differences, [layer, position, direction,
    d_model]: unit vectors, or 0 where no energy is left. None where not requested.
    """
    singular_energy: NDArray[np.float64] | None = None
    "Share of the samples' energy along the first few such directions, [layer, position, rank]."

    @property
    def mostly_sinks(self) -> NDArray[np.bool_]:
        """Whether the base has an attention sink there in most samples, [layer, position]."""
        return self.sinks_base > MOST * self.n_samples


def write_differences(path: Path, differences: Differences) -> None:
    """Write one HDF5 file, whole or not at all, with its identity and a checksum over all of it."""
    held = {field.name: getattr(differences, field.name) for field in fields(Differences)}
    held = {name: np.asarray(values) for name, values in held.items() if values is not None}
    for name, values in held.items():
        if number := _count_not_finite(values):
            log.warning("%s: %d values of %s are no finite numbers", path, number, name)
    write_arrays(path, held)


def read_differences(path: Path) -> Differences:
    """
    Read what `write_differences` wrote.

    Raises ValueError, naming the file, if it is no whole HDF5 file, lacks a dataset, differs from
    its checksum, or lies where another artifact belongs.
    """
    required = {field.name for field in fields(Differences) if field.default is not None}
    return Differences(**read_arrays(path, required))


# Arrays by name ---------------------------------------------------------------------------------


def write_arrays(
    path: Path, held: Mapping[str, NDArray[Any]], *, compressed: Collection[str] = ()
) -> None:
    """
    Write one HDF5 file, whole or not at all, with its identity and a checksum over all of it.

    held       : arrays by name; a slash in a name makes a group
    compressed : names of those that are large
    """
    known = json.dumps(identity(path))
    with whole(path) as partial, _opened(partial, "w") as file:
        for name, values in held.items():
            smaller = SMALLER if name in compressed and values.size else {}
            # Without times the same result is the same bytes.
            file.create_dataset(name, data=values, track_times=False, **smaller)
        file.attrs["identity"] = known
        file.attrs["sha256"] = _digest(held, known)


def read_arrays(path: Path, required: Collection[str] = ()) -> dict[str, NDArray[Any]]:
    """
    Read what `write_arrays` wrote.

    Raises ValueError, naming the file, if it is no whole HDF5 file, lacks one of the `required`
    arrays, differs from its checksum, or lies where another artifact belongs.
    """
    held: dict[str, NDArray[Any]] = {}

    def keep(name: str, one: Any) -> None:
        if isinstance(one, h5py.Dataset):
            held[name] = np.asarray(one[()])

    with naming(path, "the file"), _opened(path, "r") as file:
        file.visititems(keep)
        known, digest = (file.attrs.get(name) for name in ("identity", "sha256"))
    if missing := sorted(set(required) - held.keys()):
        raise ValueError(f"{path}: found no dataset {missing[0]}, expected one; {REMEDY}")
    if digest is None or known is None:
        raise ValueError(f"{path}: found no checksum, expected one; {REMEDY}")
    if digest != _digest(held, known):
        raise ValueError(f"{path}: found other values than its checksum says; {REMEDY}")
    require_place(path, json.loads(known))
    return held


def _opened(path: Path, mode: str) -> h5py.File:
    # Without locks, which some file systems of clusters refuse (errno 37 or 95). Nobody can read a
    # file while it is written: it has another name until it is whole.
    return h5py.File(path, mode, locking=False)


def _digest(held: Mapping[str, NDArray[Any]], known: str) -> str:
    """A digest of names, types, shapes and values of all datasets, and of what the file is."""
    found = hashlib.sha256(known.encode())
    for name, values in sorted(held.items()):
        found.update(f"{name} {values.dtype.str} {values.shape}".encode())
        found.update(np.ascontiguousarray(values).tobytes())
    return found.hexdigest()

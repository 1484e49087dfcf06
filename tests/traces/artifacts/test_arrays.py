"""A store gives back the bits it was given, or says what is wrong with it."""

import errno
import fcntl
import json
import os
import shutil
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from tests.doubles import with_a_flipped_bit
from traces import job
from traces.activations.dump import native_bits
from traces.artifacts import arrays
from traces.artifacts.arrays import Activations, ActivationWriter
from traces.running import integrity

LAYERS, SAMPLES, POSITIONS, WIDTH = (1, 3), 23, (0, 1, 4), 16
SHAPE = (len(LAYERS), SAMPLES, len(POSITIONS), WIDTH)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Chunks of 4 samples, so that 23 samples make several shards of several chunks."""
    monkeypatch.setattr(arrays, "CHUNK_SAMPLES", 4)


@pytest.fixture
def in_a_job(tmp_path, monkeypatch):
    """Begin the job that writes a file of the results in `tmp_path`; return where it goes."""
    monkeypatch.setattr(job, "_running", {})

    def begun(name):
        _, model, checkpoint, corpus = Path(name).parts
        wildcards = {"model": model, "checkpoint": checkpoint, "corpus": Path(corpus).stem}
        job.begin("some_rule", wildcards, tmp_path)
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        return tmp_path / name

    return begun


def values(dtype="float32", seed=0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(SHAPE, generator=generator) * 100).to(getattr(torch, dtype))


def token_ids(seed=0):
    return np.random.default_rng(seed).integers(0, 99, (SAMPLES, len(POSITIONS))).astype(np.int32)


def write(path, resid, tokens, *, batch=5, shard=8, dtype="float32", **closing):
    closing = {"stream_norm": [10.0, 20.0], **closing}
    with writer(path, dtype=dtype, shard=shard) as open_store:
        for start in range(0, SAMPLES, batch):
            rows = slice(start, start + batch)
            open_store.append(native_bits(resid[:, rows]), tokens[rows])
        open_store.finish(**closing)
    return Activations(path)


def writer(path, *, dtype="float32", shard=8):
    return ActivationWriter(
        path,
        layers=LAYERS,
        positions=POSITIONS,
        n_samples=SAMPLES,
        d_model=WIDTH,
        dtype=dtype,
        shard_samples=shard,
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_what_is_written_is_read_bit_for_bit(tmp_path, dtype):
    resid, tokens = values(dtype), token_ids()

    found = write(tmp_path / "a.zarr", resid, tokens, dtype=dtype)

    again = torch.from_numpy(found.rows(0, SAMPLES)).to(resid.dtype)
    assert torch.equal(again.view(torch.uint8), resid.view(torch.uint8))
    np.testing.assert_array_equal(found.tokens, tokens)
    assert found.shape == SHAPE
    assert (found.layers, found.positions) == (list(LAYERS), list(POSITIONS))
    np.testing.assert_array_equal(found.stream_norm, [10, 20])


def test_bfloat16_keeps_what_float16_would_lose(tmp_path):
    resid = torch.full(SHAPE, 3e6, dtype=torch.bfloat16)
    resid[0, 0, 0, :4] = torch.tensor([float("inf"), float("-inf"), 1e-30, -0.0])

    found = write(tmp_path / "a.zarr", resid, token_ids(), dtype="bfloat16").rows(0, SAMPLES)

    np.testing.assert_array_equal(found, resid.float().numpy())
    assert np.signbit(found[0, 0, 0, 3])


@pytest.mark.parametrize("batch", [1, 3, 8, SAMPLES])
@pytest.mark.parametrize("shard", [1, 8, 1000])
def test_the_sizes_of_batches_and_shards_change_nothing(tmp_path, batch, shard):
    resid, tokens = values(), token_ids()
    found = write(tmp_path / "a.zarr", resid, tokens, batch=batch, shard=shard)
    np.testing.assert_array_equal(found.rows(0, SAMPLES), resid.numpy())
    np.testing.assert_array_equal(found.tokens, tokens)


def test_blocks_are_whole_shards_and_cover_every_sample_once(tmp_path):
    found = write(tmp_path / "a.zarr", values(), token_ids())
    assert list(found.blocks()) == [slice(0, 8), slice(8, 16), slice(16, 23)]


def test_unaligned_batches_write_each_shard_once(tmp_path, monkeypatch):
    written = []
    flush = ActivationWriter._flush
    monkeypatch.setattr(
        ActivationWriter, "_flush", lambda self: (written.append(self._filled), flush(self))
    )
    write(tmp_path / "a.zarr", values(), token_ids(), batch=3)
    assert written == [8, 8, 7]


def test_the_writer_fills_one_shard_however_many_samples_there_are(tmp_path):
    def held(samples):
        opened = ActivationWriter(
            tmp_path / f"{samples}.zarr",
            layers=[0],
            positions=[0],
            n_samples=samples,
            d_model=WIDTH,
            dtype="float32",
            shard_samples=8,
        )
        held = [one for one in vars(opened).values() if isinstance(one, np.ndarray)]
        return sum(array.nbytes for array in held)

    assert held(80) == held(80_000) == 8 * (WIDTH * 4 + 4)


class Waits:
    """A stand-in for the array of a store, whose writes wait until they may end, or fail."""

    def __init__(self, real, fails=False):
        self.real, self.fails = real, fails
        self.begun, self.may_end = threading.Event(), threading.Event()

    def __setitem__(self, rows, values):
        self.begun.set()
        assert self.may_end.wait(10)
        if self.fails:
            raise OSError(errno.ENOSPC, "No space left on device", "a.zarr")
        self.real[rows] = values


def test_a_shard_is_written_while_the_next_one_is_filled(tmp_path):
    resid, tokens = values(), token_ids()
    with writer(tmp_path / "a.zarr") as store:
        slow = store._resid = Waits(store._resid)
        store.append(native_bits(resid[:, :8]), tokens[:8])
        assert slow.begun.wait(10)
        store.append(native_bits(resid[:, 8:15]), tokens[8:15])  # returns, though none is written
        slow.may_end.set()
        store.append(native_bits(resid[:, 15:]), tokens[15:])
        store.finish(stream_norm=[10.0, 20.0])
    found = Activations(tmp_path / "a.zarr")
    np.testing.assert_array_equal(found.rows(0, SAMPLES), resid.numpy())
    np.testing.assert_array_equal(found.tokens, tokens)


@pytest.mark.parametrize("rows", [15, SAMPLES])  # told at the end, or by the next whole shard
def test_an_error_of_the_thread_ends_the_dump_and_the_store_is_not_finished(tmp_path, rows):
    path = tmp_path / "a.zarr"
    with pytest.raises(OSError, match="No space left"), writer(path) as store:
        store._resid = Waits(store._resid, fails=True)
        store._resid.may_end.set()
        store.append(native_bits(values()[:, :rows]), token_ids()[:rows])
        assert rows < SAMPLES, "the second whole shard should have told"
        store.finish(stream_norm=[10.0, 20.0])
    with pytest.raises(ValueError, match="this store was not finished"):
        Activations(path)


def test_a_dump_that_fails_leaves_no_thread_behind(tmp_path):
    before = threading.active_count()
    with pytest.raises(KeyError), writer(tmp_path / "a.zarr") as store:
        store.append(native_bits(values()), token_ids())
        raise KeyError("of the model")
    assert not [one for one in threading.enumerate() if one.name.startswith("shards")]
    assert threading.active_count() <= before + 2  # Zarr's own loop, if this is its first store


# What is refused --------------------------------------------------------------------------------


def test_a_store_that_was_not_finished_is_refused(tmp_path):
    path = tmp_path / "a.zarr"
    with writer(path) as unfinished:
        unfinished.append(native_bits(values()), token_ids())
    with pytest.raises(ValueError, match="a.zarr: this store was not finished; delete it and run"):
        Activations(path)


def test_a_store_cannot_be_finished_with_samples_missing(tmp_path):
    with writer(tmp_path / "a.zarr") as short:
        short.append(native_bits(values()[:, :20]), token_ids()[:20])
        with pytest.raises(ValueError, match="a.zarr: 20 samples written of 23"):
            short.finish()
    assert not (tmp_path / "a.zarr" / "done.json").exists()


def test_a_job_that_dies_between_batches_leaves_no_finished_store(tmp_path):
    with pytest.raises(RuntimeError), writer(tmp_path / "a.zarr") as killed:
        killed.append(native_bits(values()), token_ids())
        raise RuntimeError
    with pytest.raises(ValueError, match="not finished"):
        Activations(tmp_path / "a.zarr")


@pytest.mark.parametrize("array", ["resid", "tokens"])
def test_a_missing_shard_is_refused_and_not_read_as_zeros(tmp_path, array):
    path = tmp_path / "a.zarr"
    write(path, values(), token_ids())
    shards = [file for file in (path / array / "c").rglob("*") if file.is_file()]
    assert len(shards) == 3

    shards[1].unlink()
    with pytest.raises(ValueError, match=f"a.zarr/{array}/c/.*: found no such file, expected"):
        Activations(path)


def flip(file, place):
    """Flip a bit at this share of a file's length."""
    content = bytearray(file.read_bytes())
    content[int(place * len(content))] ^= 1
    file.write_bytes(content)


def shard_of(path, array="resid", number=0):
    return sorted(file for file in (path / array / "c").rglob("*") if file.is_file())[number]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("block", [1 << 18, 600])
def test_a_flipped_bit_is_an_error_and_not_a_number(tmp_path, monkeypatch, dtype, place, block):
    """In a small shard when the store is opened, in a large one when the chunk is read."""
    monkeypatch.setattr(integrity, "BLOCK", block)
    path = tmp_path / "a.zarr"
    write(path, values(dtype), token_ids(), dtype=dtype)
    flip(shard_of(path), place)

    with pytest.raises(ValueError, match="a.zarr.*(other contents|resid, samples 0 to 23 .*run)"):
        Activations(path).rows(0, SAMPLES)


def of_another(path, other, name):
    shutil.copyfile(other / name, path / name)


CHANGES = {
    "no bytes": lambda path, other: os.truncate(shard_of(path), 0),
    "cut": lambda path, other: os.truncate(shard_of(path), 100),
    "cut at the end": lambda path, other: os.truncate(
        shard_of(path), shard_of(path).stat().st_size - 1
    ),
    "zeroed": lambda path, other: shard_of(path).write_bytes(bytes(shard_of(path).stat().st_size)),
    "missing": lambda path, other: shard_of(path, number=2).unlink(),
    "shards swapped": lambda path, other: shard_of(path).replace(shard_of(path, number=1)),
    "another store's shard": lambda path, other: shutil.copyfile(shard_of(other), shard_of(path)),
    "tokens of another": lambda path, other: shutil.copyfile(
        shard_of(other, "tokens"), shard_of(path, "tokens")
    ),
    "tokens emptied": lambda path, other: os.truncate(shard_of(path, "tokens"), 0),
    "done-marker of another": lambda path, other: of_another(path, other, "done.json"),
    "done-marker cut": lambda path, other: os.truncate(path / "done.json", 40),
    "done-marker empty": lambda path, other: (path / "done.json").write_text("{}"),
    "done-marker a list": lambda path, other: (path / "done.json").write_text("[]"),
    "attributes of another": lambda path, other: of_another(path, other, "zarr.json"),
    "attributes cut": lambda path, other: os.truncate(path / "resid" / "zarr.json", 50),
    "stream_norm": lambda path, other: (path / "zarr.json").write_text(
        (path / "zarr.json").read_text().replace("10.0", "40.0")
    ),
}


@pytest.mark.parametrize("block", [1 << 18, 600])
@pytest.mark.parametrize("name", CHANGES)
def test_a_store_that_is_not_as_it_was_written_is_refused_by_name(
    tmp_path, monkeypatch, name, block
):
    monkeypatch.setattr(integrity, "BLOCK", block)
    path, other = tmp_path / "a.zarr", tmp_path / "b.zarr"
    write(path, values(), token_ids())
    write(other, values(seed=1), token_ids(seed=1), stream_norm=[11.0, 20.0])

    CHANGES[name](path, other)

    with pytest.raises(ValueError, match="a.zarr.*; delete .* run (its job )?again") as refused:
        store = Activations(path)
        store.rows(0, SAMPLES), store.tokens
    assert "\n" not in str(refused.value)


def test_values_that_are_no_numbers_are_counted(tmp_path):
    for dtype in ("float32", "bfloat16", "float16"):
        resid = values(dtype)
        assert write(tmp_path / f"{dtype}.zarr", resid, token_ids(), dtype=dtype).not_finite == 0
        resid[0, 0, 0, :3] = torch.tensor([float("nan"), float("inf"), float("-inf")])
        resid[1, 22, 2, 5] = float("nan")
        found = write(tmp_path / f"{dtype}_not.zarr", resid, token_ids(), dtype=dtype)
        assert found.not_finite == 4


def test_a_store_knows_which_one_it_is(tmp_path, in_a_job):
    place = in_a_job("activations/mini/a/unrelated.zarr")
    assert write(place, values(), token_ids()).identity == {
        "artifact": "activations/mini/a/unrelated.zarr",
        "rule": "some_rule",
        "wildcards": {"model": "mini", "checkpoint": "a", "corpus": "unrelated"},
    }
    other = tmp_path / "activations/mini/b/unrelated.zarr"
    shutil.copytree(place, other)
    with pytest.raises(ValueError, match="b/unrelated.zarr: found .*mini/a/.*, expected .*mini/b/"):
        Activations(other)


@pytest.mark.parametrize(
    ("checkpoint", "corpus", "message"),
    [
        ("base", "unrelated", None),
        ("base", "chat", "is of the corpus unrelated, .* of chat"),
        ("b", "unrelated", "found the checkpoint b, expected base"),
    ],
)
def test_a_store_goes_with_the_base_on_the_same_corpus(in_a_job, checkpoint, corpus, message):
    tuned = in_a_job("activations/mini/a/unrelated.zarr")
    ours = write(tuned, values(), token_ids())
    theirs = write(in_a_job(f"activations/mini/{checkpoint}/{corpus}.zarr"), values(), token_ids())
    if message is None:
        arrays.require_same_tokens(ours, theirs)
        return
    with pytest.raises(ValueError, match=message):
        arrays.require_same_tokens(ours, theirs)


def test_stores_of_the_same_tokens_go_together(tmp_path):
    one = write(tmp_path / "a.zarr", values(), token_ids())
    two = write(tmp_path / "b.zarr", values(seed=1), token_ids(), shard=1000)
    arrays.require_same_tokens(one, two)


def test_stores_of_different_tokens_are_refused_by_sample(tmp_path):
    tokens = token_ids()
    tokens[7, 2] = 100
    one = write(tmp_path / "a.zarr", values(), tokens)
    two = write(tmp_path / "b.zarr", values(), token_ids())
    with pytest.raises(ValueError, match="read different tokens, first in sample 7: ") as refused:
        arrays.require_same_tokens(one, two)
    for said in ("a.zarr", "b.zarr", str(tokens[7].tolist()), str(token_ids()[7].tolist())):
        assert said in str(refused.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"layers": (1, 2)}, r"a.zarr has layers \[1, 3\], .*b.zarr has \[1, 2\]"),
        ({"positions": (0, 1, 5)}, r"a.zarr has positions \[0, 1, 4\], .* has \[0, 1, 5\]"),
        ({"n_samples": 4}, r"a.zarr is \(2, 23, 3, 16\), .*b.zarr is \(2, 4, 3, 16\)"),
        ({"d_model": 8}, r"a.zarr is \(2, 23, 3, 16\), .*b.zarr is \(2, 23, 3, 8\)"),
    ],
)
def test_stores_of_different_axes_are_refused(tmp_path, changed, message):
    axes = {"layers": LAYERS, "positions": POSITIONS, "n_samples": SAMPLES, "d_model": WIDTH}
    one = write(tmp_path / "a.zarr", values(), token_ids())
    axes |= changed
    with ActivationWriter(tmp_path / "b.zarr", **axes, dtype="float32", shard_samples=8) as other:
        n = axes["n_samples"]
        other.append(np.zeros((2, n, 3, axes["d_model"]), np.float32), token_ids()[:n])
        other.finish()
    with pytest.raises(ValueError, match=message):
        arrays.require_same_tokens(one, Activations(tmp_path / "b.zarr"))


# What others read -------------------------------------------------------------------------------


def test_the_arrays_say_what_their_axes_are(tmp_path):
    path = tmp_path / "a.zarr"
    write(path, values("bfloat16"), token_ids(), dtype="bfloat16")
    resid = json.loads((path / "resid" / "zarr.json").read_text())
    assert resid["dimension_names"] == ["layer", "sample", "position", "d_model"]
    assert resid["data_type"] == "uint16"
    attributes = json.loads((path / "zarr.json").read_text())["attributes"]
    assert attributes["dtype"] == "bfloat16"


def test_differences_are_read_as_they_were_written(tmp_path):
    rng = np.random.default_rng(0)
    kinds = arrays.Differences.__dataclass_fields__
    written = arrays.Differences(**{name: rng.normal(size=(2, 3)) for name in kinds})

    arrays.write_differences(tmp_path / "a.h5", written)
    found = arrays.read_differences(tmp_path / "a.h5")

    for name in kinds:
        np.testing.assert_array_equal(getattr(found, name), getattr(written, name))
    assert [file.name for file in tmp_path.iterdir()] == ["a.h5"]


def test_the_same_differences_make_the_same_file(tmp_path):
    kinds = arrays.Differences.__dataclass_fields__
    written = arrays.Differences(**{name: np.ones(3) for name in kinds})
    for name in ("a.h5", "b.h5"):
        arrays.write_differences(tmp_path / name, written)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def differences(seed=0, **changed) -> arrays.Differences:
    rng = np.random.default_rng(seed)
    kinds = arrays.Differences.__dataclass_fields__
    return arrays.Differences(**{name: rng.normal(size=(2, 30)) for name in kinds} | changed)


def test_every_flipped_bit_of_a_file_of_differences_is_found_or_changes_nothing(tmp_path):
    """Anywhere in the file: what is read is what was written, or it is refused by name."""
    path, written = tmp_path / "a.h5", differences()
    arrays.write_differences(path, written)
    refused = 0
    for _ in with_a_flipped_bit(path):
        try:
            found = arrays.read_differences(path)
        except ValueError as error:
            assert "a.h5" in str(error) and "\n" not in str(error)
            refused += 1
        else:
            for name in written.__dataclass_fields__:
                np.testing.assert_array_equal(getattr(found, name), getattr(written, name))
    assert refused > 20


def changed_h5(change):
    def made(path):
        with h5py.File(path, "r+", locking=False) as file:
            change(file)

    return made


def set_value(file):
    file["mean"][0, 3] += 1e-12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed_h5(set_value), "found other values than its checksum says"),
        (changed_h5(lambda file: file.pop("norm")), "found no dataset norm, expected one"),
        (changed_h5(lambda file: file.pop("singular")), "found other values than its checksum"),
        (changed_h5(lambda file: file.attrs.pop("sha256")), "found no checksum, expected one"),
        (changed_h5(lambda file: file.attrs.pop("identity")), "found no checksum, expected one"),
        (changed_h5(lambda file: file.attrs.modify("identity", "{}  ")), "found other values"),
        (lambda path: os.truncate(path, 1000), "the file cannot be read"),
        (lambda path: os.truncate(path, 0), "the file cannot be read"),
        (lambda path: path.write_text("no HDF5"), "the file cannot be read"),
    ],
)
def test_differences_that_are_not_as_they_were_written_are_refused(tmp_path, change, message):
    arrays.write_differences(tmp_path / "a.h5", differences())
    change(tmp_path / "a.h5")
    with pytest.raises(ValueError, match=f"a.h5: {message}.*; delete it and run its job again"):
        arrays.read_differences(tmp_path / "a.h5")


def test_differences_know_whose_they_are(in_a_job, tmp_path):
    ours = in_a_job("differences/mini/a/unrelated.h5")
    arrays.write_differences(ours, differences())
    theirs = in_a_job("differences/mini/b/unrelated.h5")
    shutil.copyfile(ours, theirs)
    with pytest.raises(ValueError, match="b/unrelated.h5: found differences/mini/a/unrelated.h5"):
        arrays.read_differences(theirs)
    # A copy in somebody's notebook may lie anywhere.
    job.begin("some_rule", {}, tmp_path / "differences")
    shutil.copyfile(ours, tmp_path / "mine.h5")
    np.testing.assert_array_equal(
        arrays.read_differences(tmp_path / "mine.h5").mean, differences().mean
    )


def test_differences_without_the_optional_ones_are_whole(tmp_path):
    written = differences(singular=None, singular_energy=None)
    arrays.write_differences(tmp_path / "a.h5", written)
    assert arrays.read_differences(tmp_path / "a.h5").singular is None


def test_differences_that_are_no_numbers_are_said(tmp_path, caplog):
    arrays.write_differences(tmp_path / "a.h5", differences(norm=np.array([1.0, np.nan, np.inf])))
    assert "a.h5: 2 values of norm are no finite numbers" in caplog.text


def test_no_lock_is_asked_for_which_some_file_systems_refuse(tmp_path):
    """A lock that somebody holds is met by whoever asks for one, here or where locks fail."""
    path = tmp_path / "a.h5"
    arrays.write_differences(path, differences())
    with path.open("rb+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert arrays.read_differences(path).mean.shape == (2, 30)
    with (tmp_path / ".a.h5.partial").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        arrays.write_differences(path, differences())


def test_stores_of_other_texts_around_the_same_tokens_are_refused(tmp_path):
    one = write(tmp_path / "a.zarr", values(), token_ids(), context="1f")
    same = write(tmp_path / "b.zarr", values(), token_ids(), context="1f")
    other = write(tmp_path / "c.zarr", values(), token_ids(), context="2e")
    arrays.require_same_tokens(one, same)
    with pytest.raises(ValueError, match="a.zarr and .*c.zarr read the same tokens at their posi"):
        arrays.require_same_tokens(one, other)

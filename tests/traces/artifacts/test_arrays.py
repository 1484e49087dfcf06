"""A store gives back the bits it was given, or says what is wrong with it."""

import json

import numpy as np
import pytest
import torch

from traces.activations.dump import native_bits
from traces.artifacts import arrays
from traces.artifacts.arrays import Activations, ActivationWriter

LAYERS, SAMPLES, POSITIONS, WIDTH = (1, 3), 23, (0, 1, 4), 16
SHAPE = (len(LAYERS), SAMPLES, len(POSITIONS), WIDTH)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Chunks of 4 samples, so that 23 samples make several shards of several chunks."""
    monkeypatch.setattr(arrays, "CHUNK_SAMPLES", 4)


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


def test_the_writer_holds_one_shard_however_many_samples_there_are(tmp_path):
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
    with pytest.raises(ValueError, match=f"a.zarr: 1 shards of {array} are missing"):
        Activations(path)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_flipped_bit_is_an_error_and_not_a_number(tmp_path, dtype, place):
    path = tmp_path / "a.zarr"
    write(path, values(dtype), token_ids(), dtype=dtype)
    shard = max((path / "resid" / "c").rglob("*"), key=lambda f: f.is_file() and f.stat().st_size)
    content = bytearray(shard.read_bytes())
    content[int(place * len(content))] ^= 1
    shard.write_bytes(content)

    with pytest.raises(Exception, match="(?i)crc32c|checksum"):
        Activations(path).rows(0, SAMPLES)


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


def test_stores_of_other_texts_around_the_same_tokens_are_refused(tmp_path):
    one = write(tmp_path / "a.zarr", values(), token_ids(), context="1f")
    same = write(tmp_path / "b.zarr", values(), token_ids(), context="1f")
    other = write(tmp_path / "c.zarr", values(), token_ids(), context="2e")
    arrays.require_same_tokens(one, same)
    with pytest.raises(ValueError, match="a.zarr and .*c.zarr read the same tokens at their posi"):
        arrays.require_same_tokens(one, other)

"""Weights go to one GPU where they fit; what fits none is refused, or offloaded and right."""

import pytest
import torch
from accelerate.hooks import attach_align_device_hook_on_blocks

from tests.doubles import tiny_model, with_adapter
from traces.models import hooks, placement, weights

IDS = torch.tensor([[1, 17, 42, 9, 77, 3, 60, 11, 25, 90, 8, 31]])
EAGER = {"gemma3": "eager"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A tiny base and an adapter of three families, whose layers differ in kind."""
    root = tmp_path_factory.mktemp("models")
    for family in ("qwen3", "gemma3", "llama"):
        tied = family != "llama"
        tiny_model(family, tie=tied).save_pretrained(root / family / "base")
        with_adapter(tiny_model(family, tie=tied)).save_pretrained(root / family / "lora")
    return root


def with_gpus(monkeypatch, *free: float) -> None:
    """Pretend that there are GPUs with so many bytes free."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(free))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(free))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (int(free[index]), 10**12))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda index: 0)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda index: 0)
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda index: 1.0)


# Which devices ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("layers", [None, 2])
@pytest.mark.parametrize("family", ["qwen3", "llama"])
def test_weights_are_counted_without_being_read(saved, dtype, layers, family):
    loaded = weights.load_base(saved / family / "base", dtype, layers=layers)
    bytes_of = {id(one): one.numel() * one.itemsize for one in loaded.parameters()}
    counted = placement.weight_bytes(saved / family / "base", dtype, layers)
    assert counted == sum(bytes_of.values())


def test_without_a_gpu_nothing_is_placed(saved, monkeypatch):
    with_gpus(monkeypatch)
    folder = saved / "qwen3" / "base"
    assert placement.placement(folder, "float32") == {"device_map": None}


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        ([1.2], {"device_map": {"": 0}}),
        ([1.2, 5, 3], {"device_map": {"": 1}}),
        ([5, 5], {"device_map": {"": 0}}),  # two alike: the first, and not both
        ([1.0, 1.05, 0.2], {"device_map": "auto", "max_memory": [0.9, 0.945, 0.18]}),
    ],
)
def test_a_model_that_fits_one_gpu_is_not_spread_over_several(saved, monkeypatch, free, expected):
    folder = saved / "qwen3" / "base"
    needed = placement.weight_bytes(folder, "float32")
    with_gpus(monkeypatch, *(share * needed for share in free))
    found = placement.placement(folder, "float32")
    assert found["device_map"] == expected["device_map"]
    limits = [round(room / needed, 3) for room in found.get("max_memory", {}).values()]
    assert limits == expected.get("max_memory", [])


def test_memory_that_this_process_keeps_unused_counts_as_free(saved, monkeypatch):
    folder = saved / "qwen3" / "base"
    needed = placement.weight_bytes(folder, "float32")
    with_gpus(monkeypatch, 0.5 * needed)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda index: int(1.5 * needed))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda index: int(0.5 * needed))
    assert placement.placement(folder, "float32") == {"device_map": {"": 0}}


def test_memory_that_this_process_may_not_take_is_not_free(saved, monkeypatch):
    folder = saved / "qwen3" / "base"
    needed = placement.weight_bytes(folder, "float32")
    with_gpus(monkeypatch, 4 * needed)
    capped = 0.5 * needed / 10**12
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda index: capped)
    with pytest.raises(ValueError, match="expected room for every layer"):
        placement.placement(folder, "float32")


def test_only_the_layers_that_are_loaded_count(saved, monkeypatch):
    folder = saved / "qwen3" / "base"
    with_gpus(monkeypatch, 1.2 * placement.weight_bytes(folder, "float32", 2))
    assert placement.placement(folder, "float32", 2) == {"device_map": {"": 0}}
    with pytest.raises(ValueError):
        placement.placement(folder, "float32")


# What fits nowhere ------------------------------------------------------------------------------


def test_a_model_without_room_is_refused_before_its_weights_are_read(saved, monkeypatch):
    with_gpus(monkeypatch, 3e9, 1e9)
    monkeypatch.setattr(
        placement, "tensor_shapes", lambda _: {"model.norm.weight": (4_000_000_000,)}
    )
    monkeypatch.setattr(weights, "_auto_class", lambda _: pytest.fail("weights were read"))
    folder = saved / "qwen3" / "base"
    with pytest.raises(ValueError) as refused:
        weights.load_base(folder, "bfloat16")
    assert str(refused.value).startswith(
        f"{folder}: found weights of 8.0 GB and 3.0 GB on GPU 0, 1.0 GB on GPU 1 free, of which "
        "weights may fill 90%; expected room for every layer: ask for more GPUs (`gpus` of"
    )
    assert "`offload: true`" in str(refused.value)


def test_a_layer_that_accelerate_leaves_on_disk_is_refused(saved, monkeypatch):
    """Two GPUs whose sum suffices, but whose layers do not divide: told after the fact."""
    folder = saved / "qwen3" / "base"
    places = {"model.embed_tokens": "cpu", "model.layers": "disk", "model.norm": "cpu"}
    places |= {"model.rotary_emb": "cpu", "lm_head": "cpu"}
    monkeypatch.setattr(weights, "placement", lambda *_, **__: {"device_map": places})
    with pytest.raises(ValueError, match="expected room for every layer"):
        weights.load_base(folder)


def test_accelerate_leaves_to_disk_what_the_limits_do_not_hold(saved):
    """The limits name GPUs alone: then accelerate itself puts nothing into main memory."""
    from accelerate import infer_auto_device_map

    model = tiny_model("qwen3")
    size = model.get_memory_footprint()
    limits = {0: size // 2, 1: size // 4}
    found = infer_auto_device_map(model, limits, no_split_module_classes=["Qwen3DecoderLayer"])
    assert set(found.values()) == {0, 1, "disk"}


# Offloaded because it was asked for -------------------------------------------------------------


@pytest.fixture
def small_gpu(saved, monkeypatch):
    """
    A pretend GPU with room for half of a model: the CPU computes, with accelerate's own hooks.

    A part in main memory has no weights but during its own turn, as on a real machine.
    """

    def dispatch(model, places, **_):
        kept = {name: one.detach().clone() for name, one in model.state_dict().items()}
        outside = {name: place == "cpu" for name, place in places.items()}
        on = {name: "cpu" for name in places} | {"": "cpu"}
        attach_align_device_hook_on_blocks(model, on, offload=outside, weights_map=kept)
        model.hf_device_map = dict(places)
        return model

    def made(family: str, dtype) -> None:
        needed = placement.weight_bytes(saved / family / "base", dtype)
        # Not torch.cuda itself: PEFT would read an adapter into memory of a GPU.
        monkeypatch.setattr(placement, "_free", lambda: {0: int(0.7 * needed)})
        monkeypatch.setattr("accelerate.dispatch_model", dispatch)

    return made


@torch.inference_mode()
def logits(model):
    return model(input_ids=IDS, use_cache=False).logits


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", ["qwen3", "gemma3", "llama"])
def test_what_is_offloaded_computes_the_same(saved, small_gpu, monkeypatch, family, dtype):
    folder, lora = saved / family / "base", saved / family / "lora"
    options = {"attention": EAGER.get(family)}
    plain, beside = weights.load_base(folder, dtype, **options), {}
    pair = weights.load_pair(folder, lora, dtype, **options)
    for name in ("tuned", "base"):
        with getattr(pair, name)() as model:
            beside[name] = logits(model)

    small_gpu(family, dtype)
    loaded = weights.load_base(folder, dtype, offload=True, **options)
    waiting = [one.is_meta for one in loaded.parameters()]
    assert any(waiting) and not all(waiting)
    torch.testing.assert_close(logits(loaded), logits(plain), rtol=0, atol=0)

    divided = weights.load_pair(folder, lora, dtype, offload=True, **options)
    assert placement.offloaded(divided.tuned_model) and divided.base_model is None
    with hooks.capture(divided.tuned_model, [1, 5]) as seen:
        for name in ("tuned", "base", "tuned"):
            with getattr(divided, name)() as model:
                torch.testing.assert_close(logits(model), beside[name], rtol=0, atol=0)
    assert not any(one.is_meta for one in seen.values())
    with divided.tuned(merged_above=2) as model:
        torch.testing.assert_close(logits(model), beside["tuned"])


@pytest.mark.parametrize("family", ["qwen3", "gemma3", "llama"])
def test_a_pass_that_begins_or_ends_between_layers_computes_the_same(saved, small_gpu, family):
    """What Patchscope, the causal measure and steering do, with a head that may be offloaded."""
    folder = saved / family / "base"
    vectors = torch.randn(3, 1, 32, generator=torch.Generator().manual_seed(0))

    @torch.inference_mode()
    def read(model):
        layers = hooks.decoder_layers(model)
        with hooks.starting_at(model, 2, vectors), hooks.capture(model, [5]) as seen:
            begun = model(input_ids=IDS[:, :1].repeat(3, 1), use_cache=False).logits
        with hooks.added(layers[4], vectors[0, 0]), hooks.stop_after(model, 5):
            model(input_ids=IDS, use_cache=False)
        return begun, seen[5], weights.readout_of(model)(seen[5]), logits(model)

    options = {"attention": EAGER.get(family)}
    expected = read(weights.load_base(folder, **options))
    small_gpu(family, "float32")
    found = read(weights.load_base(folder, offload=True, **options))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_an_offloaded_checkpoint_is_not_merged_and_reads_the_same(saved, small_gpu):
    folder, lora = saved / "qwen3" / "base", saved / "qwen3" / "lora"
    expected = logits(weights.load_checkpoint(folder, lora))
    small_gpu("qwen3", "float32")
    loaded = weights.load_checkpoint(folder, lora, offload=True)
    assert placement.offloaded(loaded)
    torch.testing.assert_close(logits(loaded), expected)


def test_offload_divides_nothing_that_fits(saved, monkeypatch):
    folder = saved / "qwen3" / "base"
    with_gpus(monkeypatch, 2 * placement.weight_bytes(folder, "float32"))
    assert placement.placement(folder, "float32", offload=True) == {"device_map": {"": 0}}
    monkeypatch.setattr(placement, "divide", lambda *_: pytest.fail("it was divided"))
    model = tiny_model("qwen3")
    model.hf_device_map = {"": 0}
    assert placement.spread(model, folder, offload=True) is model


def test_a_gpu_without_room_for_the_embedding_is_refused_in_any_case(saved, monkeypatch):
    folder = saved / "qwen3" / "base"
    monkeypatch.setattr(placement, "_free", lambda: {0: 1000})
    with pytest.raises(ValueError, match="expected room for every layer"):
        weights.load_base(folder, offload=True)

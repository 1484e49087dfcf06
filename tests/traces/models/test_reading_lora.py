"""A LoRA in half precision: as exact as that is, off to the bit, and merged for a while."""

import functools

import numpy as np
import pandas as pd
import pytest
import torch
from peft import LoraConfig, get_peft_model

from tests.doubles import FAMILIES, tiny_model
from traces.interventions import causality
from traces.interventions.directions import Directions
from traces.models import reading_lora, weights
from traces.models.reading_lora import ReadingLora, in_own_format

IDS = torch.randint(3, 128, (24, 24), generator=torch.Generator().manual_seed(0))
SEEDS = range(2)
LAYER = 2


def adapted(family: str, dtype: torch.dtype, seed: int = 0, **options):
    """
    A model with an adapter that changes it by a few per cent, still as PEFT has it.

    The base's weights are numbers of bfloat16, as a published model's are. So what differs between
    number formats is arithmetic, and the adapter, which PEFT saves in float32.
    """
    model = tiny_model(family, d=64, seed=seed).to(torch.bfloat16).to(dtype)
    settings = {"r": 4, "target_modules": "all-linear", **options}
    tuned = get_peft_model(model, LoraConfig(**settings))
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn_like(parameter) * 0.08)
    return tuned.eval().requires_grad_(False)


@torch.inference_mode()
def stream(model) -> torch.Tensor:
    """What the last block but one writes, in double precision."""
    found = model(input_ids=IDS, use_cache=False, output_hidden_states=True)
    return found.hidden_states[-2].double()


def delta_loss(tuned) -> np.ndarray:
    """The change of the loss by each of four directions, in nats."""
    units = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    rows = pd.DataFrame({"direction": ["difference"] * 4, "direction_id": range(4)})
    rows["position"] = pd.array(range(4), "Int64")
    found = Directions(rows, units / np.linalg.norm(units, axis=1, keepdims=True))
    plan = causality.Plan(found, LAYER, ["base_to_tuned", "zero"], [], [0], 3, 64)
    texts = [causality.Text(ids, list(range(1, 24)), 0) for ids in IDS[:8].tolist()]
    table = causality.effects(weights.Pair(tuned), {"own": texts}, plan)
    return table.loc[table["aggregation"] == "all", "delta_loss"].to_numpy()


# Exactness --------------------------------------------------------------------------------------


@functools.cache
def measured(family: str, seed: int, way: str) -> dict[str, torch.Tensor]:
    """What is measured in float32, in bfloat16 as PEFT runs it, and in bfloat16 as we do."""
    tuned = adapted(family, torch.float32 if way == "float32" else torch.bfloat16, seed)
    if way == "ours":
        assert in_own_format(tuned) == 7 * 6
    with tuned.disable_adapter():
        off = stream(tuned)
    on = stream(tuned)
    return {"on": on, "mean": (on - off).mean((0, 1)), "loss": torch.tensor(delta_loss(tuned))}


@functools.cache
def error(family: str, way: str, what: str) -> float:
    """
    The mean distance to float32 over some models.

    Of outputs relative to them, of a mean difference as 1 - cosine, of a loss in nats.
    """
    found = []
    for seed in SEEDS:
        one, expected = measured(family, seed, way)[what], measured(family, seed, "float32")[what]
        if what == "mean":
            found.append(1 - float(torch.cosine_similarity(one, expected, dim=0)))
        else:
            size = float(expected.norm()) if what == "on" else len(expected) ** 0.5
            found.append(float((one - expected).norm()) / size)
    return float(np.mean(found))


# Each error is that of a few draws. The second number is for one family's, the first for all.
MOST = {"on": (1.03, 1.06), "mean": (1.15, 1.4), "loss": (1.15, 1.7)}


@pytest.mark.parametrize("what", MOST)
def test_a_tuned_pass_is_as_exact_as_half_precision_is(what):
    ratios = {one: error(one, "ours", what) / error(one, "PEFT's", what) for one in FAMILIES}
    together, alone = MOST[what]
    assert max(ratios.values()) < alone, ratios
    assert np.exp(np.mean(np.log(list(ratios.values())))) < together, ratios


# Kinds ------------------------------------------------------------------------------------------

# Each with how many of the 42 linear modules we run ourselves.
KINDS = {
    "rsLoRA": ({"use_rslora": True}, 42),
    "ranks and scales of some modules": (
        {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"q_proj": 32, "up_proj": 3}}, 42,
    ),
    "dropout": ({"lora_dropout": 0.5}, 42),
    "some layers": ({"layers_to_transform": [4, 5], "target_modules": ["q_proj", "up_proj"]}, 4),
    "embedding": ({"target_modules": ["embed_tokens", "q_proj"]}, 6),
    "head": ({"target_modules": ["lm_head", "q_proj"]}, 7),
    "saved head": ({"modules_to_save": ["lm_head"]}, 42),
    "some tokens": ({"trainable_token_indices": [17, 42]}, 42),
    "DoRA": ({"use_dora": True}, 0),
    "bias of the product": ({"lora_bias": True}, 0),
}  # fmt: skip


@pytest.mark.parametrize(("options", "ours"), KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("dtype", reading_lora.HALVES)
def test_every_kind_is_run_as_trained_and_the_base_as_it_was(options, ours, dtype):
    tuned, as_peft = (adapted("qwen2", dtype, **options) for _ in range(2))
    expected = stream(adapted("qwen2", torch.float32, **options))
    with as_peft.disable_adapter():
        base = stream(as_peft)

    assert in_own_format(tuned) == ours

    assert sum(isinstance(one, ReadingLora) for one in tuned.modules()) == ours
    with tuned.disable_adapter():
        assert torch.equal(stream(tuned), base)
    far, peft_far = ((stream(one) - expected).norm() for one in (tuned, as_peft))
    assert far <= 1.15 * peft_far
    if ours == 0:
        assert torch.equal(stream(tuned), stream(as_peft))


def test_in_float32_every_module_stays_peft_s():
    tuned = adapted("llama", torch.float32)
    assert in_own_format(tuned) == 0
    assert not any(isinstance(one, ReadingLora) for one in tuned.modules())


def test_modules_kept_in_float32_stay_peft_s():
    tuned = adapted("llama", torch.bfloat16)
    tuned.get_base_model().model.layers[0].mlp.up_proj.get_base_layer().float()
    assert in_own_format(tuned) == 41


@pytest.mark.parametrize("scale", [2.0, 1.37])
def test_the_sum_is_rounded_once(scale):
    layer = adapted("llama", torch.bfloat16).get_base_model().model.layers[0].mlp.up_proj
    layer.scaling["default"] = scale
    x = torch.randn(3, 5, 64).bfloat16()
    ours = ReadingLora(layer, "default")
    down, up = (one.double() for one in ours.factors)
    low = (x.double() @ down.t()).bfloat16().double()
    out = ours.base_layer(x).double() + scale * (low @ up.t())
    assert torch.equal(ours(x), out.bfloat16())


# Merged for a while -----------------------------------------------------------------------------


def test_merged_it_says_the_same_and_leaves_no_trace():
    tuned = adapted("llama", torch.bfloat16)
    in_own_format(tuned)
    layer = tuned.get_base_model().model.layers[0].mlp.up_proj
    kept, x = layer.weight.clone(), torch.randn(3, 64).bfloat16()
    before = layer(x)
    down, up = (one.double() for one in layer.factors)
    change = layer.scale * up @ down
    with layer.merged_in():
        assert layer.merged
        torch.testing.assert_close(layer.weight.double(), kept.double() + change, rtol=4e-3, atol=0)
        assert torch.equal(layer(x), torch.nn.functional.linear(x, layer.weight))
    assert torch.equal(layer.weight, kept)
    assert torch.equal(layer(x), before)


def test_a_base_that_still_has_the_adapter_in_its_weights_is_not_run():
    tuned = adapted("llama", torch.bfloat16)
    in_own_format(tuned)
    layer = tuned.get_base_model().model.layers[0].mlp.up_proj
    with layer.merged_in(), tuned.disable_adapter(), pytest.raises(AssertionError):
        layer(torch.randn(3, 64).bfloat16())


def test_weights_come_back_after_an_error():
    tuned = adapted("llama", torch.bfloat16)
    in_own_format(tuned)
    pair, kept = weights.Pair(tuned), [one.clone() for one in tuned.parameters()]
    with pytest.raises(KeyError), pair.tuned(merged_above=1):
        raise KeyError
    assert all(torch.equal(a, b) for a, b in zip(tuned.parameters(), kept, strict=True))
    assert not any(one.merged for one in tuned.modules() if isinstance(one, ReadingLora))

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tests.doubles import FAMILIES, tiny_model, with_adapter
from traces.models import hooks

IDS = torch.tensor([[1, 5, 9, 7, 30, 31], [1, 8, 2, 60, 61, 62]])


class TupleBlock(nn.Module):
    def __init__(self, d: int) -> None:
        super().__init__()
        self.linear = nn.Linear(d, d)

    def forward(self, hidden, **_kwargs):
        return hidden + self.linear(hidden), "cache"


class TupleModel(nn.Module):
    """The shape of older architectures, whose blocks write (hidden, something)."""

    def __init__(self, d: int = 8, layers: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        text = SimpleNamespace(num_hidden_layers=layers)
        self.config = SimpleNamespace(get_text_config=lambda decoder: text)
        self.embed = nn.Embedding(64, d)
        self.blocks = nn.ModuleList([TupleBlock(d) for _ in range(layers)])

    def get_input_embeddings(self):
        return self.embed

    def forward(self, input_ids, **_kwargs):
        hidden = self.embed(input_ids)
        for block in self.blocks:
            hidden = block(hidden, attention_mask=None)[0]
        return hidden


@pytest.fixture(scope="module")
def model():
    return tiny_model("qwen3", layers=4)


@pytest.fixture(scope="module")
def vector():
    return torch.randn(32, generator=torch.Generator().manual_seed(1))


def logits(model):
    with torch.no_grad():
        return model(IDS).logits


def written(model, layer):
    with torch.no_grad(), hooks.capture(model, [layer]) as seen:
        model(IDS)
    return seen[layer]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("adapted", [False, True])
def test_the_decoder_layers_of_every_family_are_found(family, adapted):
    model = tiny_model(family)
    expected = model.model.layers
    assert hooks.decoder_layers(with_adapter(model) if adapted else model) is expected


def test_a_model_without_decoder_layers_is_refused():
    broken = TupleModel()
    broken.config.get_text_config(decoder=True).num_hidden_layers = 5
    with pytest.raises(ValueError, match="TupleModel: found no list of 5 decoder layers"):
        hooks.decoder_layers(broken)


def test_capture_sees_the_hidden_states_of_the_model(model):
    with torch.no_grad(), hooks.capture(model, [0, 2]) as seen:
        states = model(IDS, output_hidden_states=True).hidden_states
    assert sorted(seen) == [0, 2]
    for layer, hidden in seen.items():
        assert torch.equal(hidden, states[layer + 1])


def test_stopping_early_gives_the_same_stream_and_runs_nothing_above(model):
    whole = written(model, 1)
    ran = []
    handles = [
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
        for name, module in [("above", model.model.layers[2]), ("head", model.lm_head)]
    ]
    after = None
    with torch.no_grad(), hooks.capture(model, [1]) as seen, hooks.stop_after(model, 1):
        model(IDS)
        after = "reached"
    for handle in handles:
        handle.remove()
    assert torch.equal(seen[1], whole)
    assert (ran, after) == ([], None)


def test_the_outer_of_two_stops_is_not_swallowed_by_the_inner(model):
    reached = []
    with hooks.stop_after(model, 0):
        with hooks.stop_after(model, 2):
            model(IDS)
        reached.append("after the inner block")
    assert reached == []


@pytest.mark.parametrize("shape", ["one", "row"])
def test_added_adds_the_vector_everywhere(model, vector, shape):
    rows = vector if shape == "one" else torch.stack([vector, -2 * vector])
    with hooks.added(model.model.layers[1], rows):
        steered = written(model, 1)
    expected = written(model, 1) + (rows if shape == "one" else rows[:, None])
    assert torch.equal(steered, expected)


def test_replaced_writes_the_last_token_only(model, vector):
    rows = torch.stack([vector, 3 * vector])
    with hooks.replaced(model.model.layers[1], rows, slice(-1, None)):
        found = written(model, 1)
    assert torch.equal(found[:, -1], rows)
    assert torch.equal(found[:, :-1], written(model, 1)[:, :-1])


def test_projecting_out_twice_is_once_and_leaves_no_component(model, vector):
    layer = model.model.layers[1]
    with hooks.projected_out(layer, vector):
        once = written(model, 1)
    with hooks.projected_out(layer, vector), hooks.projected_out(layer, -5 * vector):
        twice = written(model, 1)
    torch.testing.assert_close(once, twice, atol=1e-6, rtol=0)
    torch.testing.assert_close(once @ vector, torch.zeros(IDS.shape), atol=1e-4, rtol=0)


def test_a_coordinate_is_written_in_place_of_the_component(model, vector):
    unit = vector / vector.norm()
    wanted = torch.arange(float(IDS.numel())).view(IDS.shape)
    with hooks.projected_out(model.model.layers[1], vector, wanted):
        found = written(model, 1)
    torch.testing.assert_close(found @ unit, wanted, atol=1e-4, rtol=0)
    across = found - (found @ unit)[..., None] * unit
    before = written(model, 1)
    torch.testing.assert_close(across, before - (before @ unit)[..., None] * unit)


def test_a_zero_direction_cannot_be_projected_out(model):
    context = hooks.projected_out(model.model.layers[0], torch.zeros(32))
    with pytest.raises(ValueError, match=r"norm 0\.0"), context:
        pass


def test_no_gradient_passes_along_a_projected_direction(vector):
    layer = nn.Linear(32, 32, bias=False)
    hidden, wanted = torch.randn(2, 2, 5, 32, generator=torch.Generator().manual_seed(3))
    with hooks.projected_out(layer, vector):
        (layer(hidden) * wanted).sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.norm() > 1
    torch.testing.assert_close(vector @ layer.weight.grad, torch.zeros(32), atol=1e-4, rtol=0)


def test_mixed_precision_does_not_blur_the_projection(vector):
    hidden = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(3))
    layer = nn.Identity()
    with torch.autocast("cpu", torch.bfloat16), hooks.projected_out(layer, vector):
        found = layer(hidden)
    torch.testing.assert_close(found @ vector, torch.zeros(2, 5), atol=1e-5, rtol=0)


def test_starting_at_runs_only_the_layers_above(model, vector):
    ran = []
    handles = [
        layer.self_attn.register_forward_hook(lambda *_, index=index: ran.append(index))
        for index, layer in enumerate(model.model.layers)
    ]
    rows = torch.stack([vector, -vector])
    with hooks.starting_at(model, 1, rows):
        ran.clear()  # the question of what blocks write runs the first one once
        found = written(model, 1)
    for handle in handles:
        handle.remove()
    assert ran == [2, 3]
    assert torch.equal(found, rows[:, None].expand_as(found))


@pytest.mark.parametrize("layer", [0, 2, 3])
def test_starting_from_what_a_layer_wrote_gives_the_same_logits(model, layer):
    before = logits(model)
    ids = IDS[:, :1]
    with torch.no_grad():
        whole = model(ids).logits
        with hooks.capture(model, [layer]) as seen:
            model(ids)
        with hooks.starting_at(model, layer, seen[layer][:, 0]):
            assert torch.equal(model(ids).logits, whole)
    assert torch.equal(logits(model), before)


@pytest.mark.parametrize("layer", [0, 2, 3])
def test_starting_from_a_whole_sequence_gives_the_same_logits(model, layer):
    before = logits(model)
    with torch.no_grad():
        with hooks.capture(model, [layer]) as seen:
            model(IDS)
        with hooks.starting_at(model, layer, seen[layer]):
            assert torch.equal(model(torch.zeros_like(IDS)).logits, before)
        with hooks.starting_at(model, layer, seen[layer].flip(0)):
            assert torch.equal(model(IDS).logits, before.flip(0))


CHANGES = {
    "capture": lambda model, vector: hooks.capture(model, [1]),
    "stop_after": lambda model, vector: hooks.stop_after(model, 1),
    "added": lambda model, vector: hooks.added(model.model.layers[1], vector),
    "replaced": lambda model, vector: hooks.replaced(model.model.layers[1], vector),
    "projected_out": lambda model, vector: hooks.projected_out(model.model.layers[1], vector),
    "starting_at": lambda model, vector: hooks.starting_at(model, 1, vector.expand(2, -1)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_error_inside_leaves_the_model_bit_identical(model, vector, change):
    def state():
        return [
            (len(layer._forward_hooks), "forward" in vars(layer)) for layer in model.model.layers
        ]

    before, hooks_before = logits(model), state()
    with pytest.raises(KeyError), CHANGES[change](model, vector):
        raise KeyError("something else")
    assert torch.equal(logits(model), before)
    assert state() == hooks_before


def test_a_forward_that_was_replaced_before_is_put_back():
    """As the hooks of a model on several devices do."""
    model = tiny_model("llama", layers=2)
    block = model.model.layers[0]
    own = block.forward
    block.forward = lambda *args, **kwargs: own(*args, **kwargs)
    put = block.forward
    with hooks.starting_at(model, 0, torch.zeros(1, 32)):
        assert block.forward is not put
    assert block.forward is put


@torch.no_grad()
def test_layers_that_write_tuples_are_read_and_written_alike():
    model, vector = TupleModel(), torch.arange(8.0)
    plain = model(IDS)
    with hooks.capture(model, [1]) as seen:
        model(IDS)
    with hooks.added(model.blocks[1], vector), hooks.capture(model, [1]) as moved:
        model(IDS)
    assert torch.equal(moved[1], seen[1] + vector)
    with hooks.starting_at(model, 1, seen[1][:, 0]):
        torch.testing.assert_close(model(IDS[:, :1]), plain[:, :1])
    with hooks.starting_at(model, 1, seen[1]):
        torch.testing.assert_close(model(IDS), plain)


def test_what_a_models_blocks_write_is_tried_once_for_each_model():
    tried = []
    for model in (tiny_model("llama", layers=2), tiny_model("llama", layers=2, seed=1)):
        embedding = model.get_input_embeddings()
        handle = embedding.register_forward_hook(lambda *_: tried.append(1))
        for _ in range(3):
            with hooks.starting_at(model, 1, torch.zeros(1, 32)):
                pass
        handle.remove()
    assert len(tried) == 2


def test_vectors_take_the_type_of_the_stream(vector):
    model = tiny_model("llama", layers=2).to(torch.bfloat16)
    with hooks.added(model.model.layers[0], vector):
        assert written(model, 0).dtype == torch.bfloat16
    with hooks.projected_out(model.model.layers[0], vector):
        assert written(model, 0).dtype == torch.bfloat16


# A model over several devices -------------------------------------------------------------------


@pytest.fixture
def split():
    """A model as `device_map` spreads it: blocks 0 and 1 here, the rest on a second device."""
    from accelerate.hooks import AlignDevicesHook, add_hook_to_module

    model = tiny_model("qwen3", layers=4)
    there = [*model.model.layers[2:], model.model.norm, model.lm_head]
    for module in there:
        add_hook_to_module(module.to("meta"), AlignDevicesHook(execution_device="meta"))
    return model


ON_DEVICES = {
    "added": lambda model, layer, v: hooks.added(model.model.layers[layer], v),
    "replaced": lambda model, layer, v: hooks.replaced(model.model.layers[layer], v),
    "projected out": lambda model, layer, v: hooks.projected_out(
        model.model.layers[layer], v, torch.zeros(2, 6)
    ),
    "starting at": lambda model, layer, v: hooks.starting_at(model, layer, v.expand(2, 6, -1)),
}


CASES = [(change, layer) for change in ON_DEVICES for layer in (1, 2)]
CASES.remove(("projected out", 2))  # it turns autocast off, which meta does not have


@pytest.mark.parametrize(("change", "layer"), CASES)
def test_a_vector_goes_to_the_device_of_its_layer_and_the_stream_stays_there(
    split, vector, change, layer
):
    """The second device is meta, which has shapes but no numbers: mixing the two is an error."""
    with ON_DEVICES[change](split, layer, vector), hooks.capture(split, range(4)) as seen:
        out = logits(split)
    # A block that does no work moves nothing: the one above it does.
    third = "cpu" if change == "starting at" and layer == 2 else "meta"
    assert [seen[i].device.type for i in range(4)] == ["cpu", "cpu", third, "meta"]
    assert out.device.type == "meta" and out.shape == logits(tiny_model("qwen3")).shape


def test_a_stop_below_the_second_device_never_reaches_it(split, model):
    with hooks.capture(split, [1]) as seen, hooks.stop_after(split, 1):
        logits(split)
    torch.testing.assert_close(seen[1], written(model, 1))

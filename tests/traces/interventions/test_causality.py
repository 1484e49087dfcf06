import copy

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.doubles import FAMILIES, tiny_model, with_adapter
from traces.interventions import causality
from traces.interventions.causality import Plan, Text
from traces.interventions.directions import Directions
from traces.models import hooks, weights

LAYER, POSITIONS, AFTER = 3, [0, 2], 4
INTERVENTIONS = ["base_to_tuned", "tuned_to_base", "zero"]
TEXTS = [
    Text([1, 5, 9, 7, 30, 31, 60, 61, 62, 11, 12], list(range(1, 11)), 0),
    Text([1, 8, 2, 60, 61], [1, 2, 3, 4], 0),
    Text([1, 44, 45, 46, 47, 48, 49], [3, 4, 6], 2),  # two replies, the first from token 2 on
    Text([1, 33, 34, 35], [1, 2, 3], None),
]


def made_directions(d: int = 32, controls: int = 2) -> Directions:
    kinds = ["difference"] * len(POSITIONS) + ["random"] * controls
    rows = pd.DataFrame({"direction": kinds, "direction_id": [0, 1, *range(controls)]})
    rows["position"] = pd.array([*POSITIONS, *[None] * controls], "Int64")
    vectors = np.random.default_rng(3).normal(size=(len(kinds), d))
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return Directions(rows, units.astype(np.float32))


def made_plan(**changed) -> Plan:
    plain = dict(
        directions=made_directions(),
        layer=LAYER,
        interventions=INTERVENTIONS,
        controlled=INTERVENTIONS,
        positions=POSITIONS,
        after=AFTER,
        batch=4,
    )
    return Plan(**plain | changed)


@pytest.fixture(scope="module")
def pair() -> weights.Pair:
    return weights.Pair(with_adapter(tiny_model("llama")))


def nlls(model, ids: list[int]) -> np.ndarray:
    """Loss of every prediction, by the token it is made at."""
    with torch.no_grad():
        logits = model(torch.tensor([ids]), use_cache=False).logits[0, :-1]
    return -logits.log_softmax(-1)[range(len(ids) - 1), ids[1:]].double().numpy()


def component(model, ids: list[int], unit: torch.Tensor, layer: int) -> torch.Tensor:
    with torch.no_grad(), hooks.capture(model, [layer]) as seen:
        model(torch.tensor([ids]), use_cache=False)
    return seen[layer] @ unit


def straightforward(pair: weights.Pair, plan: Plan, text: Text) -> dict:
    """A whole forward pass for every intervention and direction: losses by prediction."""
    found = {}
    for intervention in plan.interventions:
        target, other = (pair.tuned, pair.base)
        if intervention == "tuned_to_base":
            target, other = other, target
        for number, unit in enumerate(torch.from_numpy(plan.directions.units)):
            with other() as model:
                coordinate = component(model, text.ids, unit, plan.layer)
            with target() as model:
                found[intervention, None] = nlls(model, text.ids)
                block = hooks.decoder_layers(model)[plan.layer]
                written = None if intervention == "zero" else coordinate
                with hooks.projected_out(block, unit, written):
                    found[intervention, number] = nlls(model, text.ids)
    return found


def expected(pair: weights.Pair, plan: Plan, texts: list[Text]) -> dict:
    """(intervention, direction, aggregation, position) -> loss, change of loss, predictions."""
    found = {}
    losses = [straightforward(pair, plan, text) for text in texts]
    for aggregation, position in [
        ("all", None),
        ("after_k", None),
        *(("without_position", one) for one in plan.positions),
    ]:

        def counted(text, aggregation=aggregation, position=position):
            at = [t - 1 for t in text.predicted]
            if aggregation == "after_k":
                return [one for one in at if one >= plan.after]
            if position is None or text.start is None:
                return at
            return [one for one in at if one != text.start + position]

        n = sum(len(counted(text)) for text in texts)
        for key in losses[0]:
            total = sum(
                one[key][counted(text)].sum() for one, text in zip(losses, texts, strict=True)
            )
            found[(*key, aggregation, position)] = total / n, n
    return found


def checked(pair: weights.Pair, plan: Plan, texts: list[Text]) -> pd.DataFrame:
    """The effects, once they are found equal to those of whole forward passes."""
    truth = expected(pair, plan, texts)
    table = causality.effects(pair, {"own": texts}, plan)
    kinds = plan.directions.rows
    for row in table.itertuples():
        same = (kinds["direction"] == row.direction) & (kinds["direction_id"] == row.direction_id)
        (number,) = np.flatnonzero(same)
        left_out = row.position if row.aggregation == "without_position" else None
        loss, n = truth[row.intervention, number, row.aggregation, left_out]
        before, _ = truth[row.intervention, None, row.aggregation, left_out]
        assert row.n_tokens == n
        assert row.loss == pytest.approx(loss, abs=1e-5)
        assert row.delta_loss == pytest.approx(loss - before, abs=1e-5)
    return table


@pytest.mark.parametrize("family", FAMILIES)
def test_effects_equal_those_of_a_whole_pass_for_each_direction(family):
    table = checked(weights.Pair(with_adapter(tiny_model(family))), made_plan(), TEXTS)
    assert len(table) == 3 * (2 * 3 + 2 * 4)  # a control is compared at each position
    assert table["delta_loss"].abs().min() > 1e-5  # there is something to be equal to


@pytest.mark.parametrize("layer", [0, 5])
def test_the_lowest_and_the_highest_block_are_like_the_others(pair, layer):
    checked(pair, made_plan(layer=layer), TEXTS)


def test_two_full_models_are_a_pair_like_an_adapter_and_its_base():
    two = weights.Pair(tiny_model("qwen3", seed=1), tiny_model("qwen3"))
    checked(two, made_plan(), TEXTS)


@pytest.mark.parametrize("batch", [1, 3, 7, 1000])
def test_the_batch_changes_no_effect(pair, batch):
    one = causality.effects(pair, {"own": TEXTS}, made_plan(batch=4))
    other = causality.effects(pair, {"own": TEXTS}, made_plan(batch=batch))
    pd.testing.assert_frame_equal(one, other, atol=1e-5, rtol=0)


def test_logits_in_small_pieces_give_the_same_loss(pair, monkeypatch):
    whole = causality.effects(pair, {"own": TEXTS}, made_plan())
    monkeypatch.setattr(causality, "CACHED", 2 * 128)  # losses of two tokens at once
    sizes, surprisal = [], causality._surprisal

    def counted(logits, expected):
        sizes.append(len(logits))
        return surprisal(logits, expected)

    monkeypatch.setattr(causality, "_surprisal", counted)
    for rows, least, size in ((3, 1, 1), (11, 1, 8), (3, 5, 5)):
        sizes.clear()
        monkeypatch.setattr(causality, "LOGITS", {"cpu": rows * 128, "cuda": 1})
        monkeypatch.setattr(causality, "ROWS", least)
        pieces = causality.effects(pair, {"own": TEXTS}, made_plan())
        assert max(sizes) == size  # a multiple of 8, or the least
        pd.testing.assert_frame_equal(whole, pieces, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_loss_is_that_of_a_softmax_in_float64(dtype):
    torch.manual_seed(0)
    logits = (torch.randn(7, 5000) * 20).to(dtype)
    expected = torch.randint(5000, (7,))
    truth = -logits.double().log_softmax(-1).gather(-1, expected[:, None])[:, 0]
    found = causality._surprisal(logits, expected)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), truth, rtol=1e-6, atol=1e-5)


class OneDevice(TorchDispatchMode):
    """Refuse a gather between two devices, as CUDA does and the meta device does not."""

    def __torch_dispatch__(self, function, _types, args=(), kwargs=None):
        if "gather" in str(function):
            assert args[0].device == args[2].device
        return function(*args, **kwargs or {})


def test_the_head_may_be_on_another_device_than_the_last_block():
    logits, expected = torch.empty(3, 9, device="meta"), torch.zeros(3, dtype=torch.long)
    with OneDevice():
        assert causality._surprisal(logits, expected).device == logits.device


class CountedBytes(TorchDispatchMode):
    """Add up what every operation reads and writes of the tensors of one shape."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape, self.bytes = shape, 0

    def __torch_dispatch__(self, function, _types, args=(), kwargs=None):
        out = function(*args, **kwargs or {})
        seen = [one for one in (*args, out) if isinstance(one, torch.Tensor)]
        # Of what it gathers from, a gather reads one value a row.
        if not function.is_view and "gather" not in str(function):
            self.bytes += sum(one.nbytes for one in seen if one.shape == self.shape)
        return out


@pytest.mark.parametrize(("softcap", "most"), [(None, 22), (30.0, 56)])
def test_a_bfloat16_logit_is_read_and_written_as_few_times_as_can_be(softcap, most):
    rows, vocabulary = 8, 1000
    with torch.device("meta"):
        head = torch.nn.Linear(16, vocabulary, bias=False, dtype=torch.bfloat16)
        hidden = torch.empty(rows, 16, dtype=torch.bfloat16)
        expected = torch.empty(rows, dtype=torch.long)
    readout = weights.Readout(torch.nn.Identity(), head, softcap)
    with torch.inference_mode(), CountedBytes(rows, vocabulary) as counted:
        causality._surprisal(readout.scores(hidden), expected)
    assert 0 < counted.bytes / (rows * vocabulary) <= most


@pytest.mark.parametrize(("held", "times"), [(2**30, 2), (1, 3 * 2)])
def test_the_adapter_is_switched_once_for_as_many_texts_as_are_kept(pair, monkeypatch, held, times):
    texts, plan = {"own": TEXTS[:2], "chat": TEXTS[2:3]}, made_plan(batch=1)
    whole = causality.effects(pair, texts, plan)
    switched, base = [], weights.Pair.base
    monkeypatch.setattr(causality, "HELD", held)
    monkeypatch.setattr(weights.Pair, "base", lambda self: (switched.append(1), base(self))[1])
    pd.testing.assert_frame_equal(causality.effects(pair, texts, plan), whole, check_exact=True)
    assert len(switched) == times


@pytest.fixture(scope="module")
def planted() -> tuple[weights.Pair, np.ndarray]:
    """A tuned model that is its base but for one vector, added to what a block writes."""
    base = tiny_model("llama")
    tuned, vector = copy.deepcopy(base), torch.randn(32, generator=torch.manual_seed(5))
    block = hooks.decoder_layers(tuned)[LAYER]
    own = block.forward
    block.forward = lambda *args, **kwargs: own(*args, **kwargs) + 3 * vector / vector.norm()
    return weights.Pair(tuned, base), vector.numpy()


def test_taking_a_planted_difference_out_gives_the_other_model_back(planted):
    pair, vector = planted
    across = np.random.default_rng(0).normal(size=(2, 32))
    across -= np.outer(across @ vector, vector) / (vector @ vector)
    units = np.stack([vector, -vector, *across]).astype(np.float32)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    directions = made_directions()._replace(units=units)
    found = causality.effects(pair, {"own": TEXTS}, made_plan(directions=directions))

    with pair.tuned() as tuned, pair.base() as base:
        losses = {
            name: np.concatenate(
                [nlls(one, t.ids)[np.array(t.predicted) - 1] for t in TEXTS]
            ).mean()
            for name, one in (("tuned", tuned), ("base", base))
        }
    assert abs(losses["tuned"] - losses["base"]) > 0.01
    every = found[found["aggregation"] == "all"].set_index(["intervention", "direction"])["loss"]
    assert every["base_to_tuned", "difference"].to_numpy() == pytest.approx(
        losses["base"], abs=1e-5
    )
    assert every["tuned_to_base", "difference"].to_numpy() == pytest.approx(
        losses["tuned"], abs=1e-5
    )
    assert every["base_to_tuned", "random"].to_numpy() == pytest.approx(losses["tuned"], abs=1e-5)


def test_the_blocks_below_run_once_and_not_for_each_direction(pair):
    ran = {1: 0, 4: 0}
    layers = hooks.decoder_layers(pair.tuned_model)

    def count(index):
        def add(_module, inputs, _output):
            ran[index] += len(inputs[0])

        return layers[index].mlp.register_forward_hook(add)

    handles = [count(index) for index in ran]
    causality.effects(pair, {"own": TEXTS[:1]}, made_plan(interventions=["base_to_tuned"]))
    for handle in handles:
        handle.remove()
    assert ran == {1: 2, 4: 5}  # tuned and base; untouched and four directions


def test_the_bases_streams_are_those_of_each_text_alone(pair):
    found = list(causality.streams_of_base(pair, TEXTS, LAYER, 3))
    with pair.base() as base:
        for text, one in zip(sorted(TEXTS, key=lambda text: len(text.ids)), found, strict=True):
            alone = causality.stream(base, [text], LAYER)[0].numpy()
            np.testing.assert_allclose(one, alone, atol=1e-5)


def test_a_controls_prediction_is_left_out_where_the_differences_is(pair):
    found = causality.effects(pair, {"own": TEXTS}, made_plan())
    for position in POSITIONS:
        rows = found[(found["aggregation"] == "without_position") & (found["position"] == position)]
        assert rows["n_tokens"].nunique() == 1
        assert set(rows["direction"]) == {"difference", "random"}
    controls = found[found["direction"] == "random"]
    assert controls.loc[controls["aggregation"] != "without_position", "position"].isna().all()


def test_controls_are_tried_only_where_they_are_asked_for(pair):
    found = causality.effects(pair, {"own": TEXTS}, made_plan(controlled=["zero"]))
    kinds = found.groupby("intervention")["direction"].agg(set)
    assert kinds["zero"] == {"difference", "random"}
    assert kinds["base_to_tuned"] == kinds["tuned_to_base"] == {"difference"}


def test_a_loss_on_no_prediction_is_missing(pair):
    found = causality.effects(pair, {"own": TEXTS[1:2]}, made_plan(after=50))
    after = found["aggregation"] == "after_k"
    assert found.loc[after, "loss"].isna().all() and (found.loc[after, "n_tokens"] == 0).all()
    assert found.loc[~after, "loss"].notna().all()


def test_the_models_are_left_as_they_were_found(pair):
    def state():
        with pair.tuned() as tuned:
            after = nlls(tuned, TEXTS[0].ids)
        with pair.base() as base:
            return after, nlls(base, TEXTS[0].ids)

    before = state()
    causality.effects(pair, {"own": TEXTS}, made_plan())
    for one, other in zip(before, state(), strict=True):
        assert np.array_equal(one, other)


# -- texts


def read(tokenizer, rows, *, kind="documents", n=10, max_length=50):
    return causality.read_texts(
        tokenizer, rows, n=n, max_length=max_length, kind=kind, source="f.jsonl"
    )


CHAT = {
    "messages": [
        {"role": "user", "content": "we read"},
        {"role": "assistant", "content": "the cat"},
        {"role": "user", "content": "and"},
        {"role": "assistant", "content": "a river"},
    ]
}


def test_a_document_is_predicted_whole_from_its_second_token_on(tokenizer):
    (text,) = read(tokenizer, [{"text": "the river is quiet"}])
    assert text.predicted == [1, 2, 3, 4]  # the first is <s>
    assert tokenizer.decode(text.ids[-1:]) == "quiet"
    assert text.start == 0


def test_of_a_conversation_only_the_assistants_tokens_count(tokenizer):
    (text,) = read(tokenizer, [CHAT])
    said = tokenizer.convert_ids_to_tokens([text.ids[t] for t in text.predicted])
    assert said == ["the", "cat", "</s>", "a", "river", "</s>"]


def test_positions_are_counted_as_those_of_the_differences(tokenizer):
    (chat,) = read(tokenizer, [CHAT], kind="chat")
    (document,) = read(tokenizer, [{"text": "the river"}], kind="chat")
    reply = chat.ids[chat.start : chat.start + 2]
    assert tokenizer.convert_ids_to_tokens(reply) == ["the", "cat"]
    assert document.start is None
    assert read(tokenizer, [CHAT])[0].start == 0


def test_texts_are_cut_and_those_with_nothing_to_predict_passed_over(tokenizer):
    rows = [{"text": "the river is quiet"}, CHAT, {"text": "we talk"}, {"text": "a list"}]
    texts = read(tokenizer, rows, n=2, max_length=3)
    assert [len(text.ids) for text in texts] == [3, 3]
    assert tokenizer.convert_ids_to_tokens(texts[1].ids[1:]) == ["we", "talk"]
    assert read(tokenizer, iter(rows), n=1) == read(tokenizer, rows)[:1]
    with pytest.raises(ValueError, match=r"f.jsonl: found no row with a token to predict"):
        read(tokenizer, [CHAT], max_length=3)


def test_replies_without_loss_are_not_measured(tokenizer):
    chat = [{"role": role, "content": "the river"} for role in ("user", "assistant") * 2]
    kept, left = (
        causality.read_texts(
            tokenizer, [{"messages": row}], n=1, max_length=99, kind="chat", source="rows"
        )[0]
        for row in (chat, [chat[0], chat[1] | {"weight": 0}, *chat[2:]])
    )
    assert kept.ids == left.ids and kept.start == left.start
    assert left.predicted == kept.predicted[len(kept.predicted) // 2 :]

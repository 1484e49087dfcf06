import numpy as np
import pytest

from traces.activations import natural
from traces.artifacts import arrays
from traces.interventions import directions

D, SINK = 8, 7
MEAN = np.arange(2 * 3 * D, dtype=float).reshape(2, 3, D) + 1


def texts(n=12, length=20):
    """Streams whose first token is one long vector; in every third text token 3 is it, too."""
    rng = np.random.default_rng(0)
    made = rng.normal(size=(n, length, D)).astype(np.float32)
    sink = np.zeros(D, np.float32)
    sink[SINK] = 500
    made[:, 0] = sink
    made[::3, 3] = sink
    return made


@pytest.fixture(scope="module")
def pool():
    return natural.activations_in(iter(texts()), seed=0, name="a")


def differences(mean):
    n_layers, n_positions, _ = mean.shape
    values = dict.fromkeys(arrays.Differences.__dataclass_fields__, np.zeros(mean.shape[:2]))
    values |= {"layers": np.arange(4, 4 + n_layers), "positions": np.arange(n_positions)}
    return arrays.Differences(**values | {"mean": mean.astype(np.float32)})


def drawn(pool, mean=MEAN, **changed):
    plain = dict(
        index=1, positions=[2, 0], random=4, activation_differences=5, seed=0, name="a-b-s0"
    )
    return directions.directions(differences(mean), pool, **plain | changed)


def test_differences_keep_their_positions_and_all_directions_have_length_one(pool):
    found = drawn(pool)
    assert found.units.shape == (11, D)
    np.testing.assert_allclose(np.linalg.norm(found.units, axis=1), 1, atol=1e-6)
    own = found.rows[found.rows["direction"] == "difference"]
    assert own["position"].tolist() == [2, 0]
    for unit, position in zip(found.units, [2, 0], strict=False):
        np.testing.assert_allclose(
            unit, MEAN[1, position] / np.linalg.norm(MEAN[1, position]), 1e-6
        )
    counts = found.rows.groupby("direction")["direction_id"].agg(["count", "nunique", "max"])
    assert counts.loc["random"].tolist() == [4, 4, 3]
    assert counts.loc["activation_difference"].tolist() == [5, 5, 4]


def test_differences_alone_are_the_first_of_all_directions(pool):
    every = drawn(pool)
    alone = directions.of_differences(differences(MEAN), index=1, positions=[2, 0], name="a")

    np.testing.assert_array_equal(alone.units, every.units[:2])
    assert alone.rows["position"].tolist() == [2, 0]
    assert set(alone.rows["direction"]) == {"difference"}


def test_controls_depend_on_the_seed_and_the_name_alone(pool):
    same, other = drawn(pool), drawn(pool, name="a-b-s1")
    np.testing.assert_array_equal(drawn(pool, positions=[1, 2]).units[2:], same.units[2:])
    for different in (other, drawn(pool, seed=1), drawn(pool, index=0)):
        assert (np.abs(different.units[2:] - same.units[2:]).max(axis=1) > 1e-3).all()


def test_natural_directions_are_differences_of_two_activations(pool):
    found = drawn(pool).units[-5:]
    pairs = pool[:, None] - pool[None]
    lengths = np.linalg.norm(pairs, axis=-1, keepdims=True)
    units = np.divide(pairs, lengths, out=np.zeros_like(pairs), where=lengths > 0).reshape(-1, D)
    for unit in found:
        assert (units @ unit).max() == pytest.approx(1, abs=1e-5)


def test_no_natural_direction_is_that_of_an_attention_sink(pool):
    """With the first tokens among them, most would be: the sink is all that two of them share."""
    made = texts()
    places = {tuple(one) for text in made for one in text[1:].tolist() if abs(one[SINK]) < 100}
    assert {tuple(one) for one in pool.tolist()} <= places
    assert len(pool) > 0.9 * len(made) * natural.TOKENS
    many = drawn(pool, activation_differences=200).units[-200:]
    assert np.abs(many[:, SINK]).mean() < 0.5
    naive = natural.natural(made.reshape(-1, D), 200, np.random.default_rng(0))
    naive /= np.linalg.norm(naive, axis=1, keepdims=True)
    assert (np.abs(naive[:, SINK]) > 0.99).mean() > 0.1


def test_the_draw_of_activations_is_the_seeds_and_the_names():
    same, other = (natural.activations_in(iter(texts()), seed=0, name=name) for name in ("a", "b"))
    np.testing.assert_array_equal(same, natural.activations_in(iter(texts()), seed=0, name="a"))
    assert same.shape != other.shape or (same != other).any()


def test_activations_that_are_all_the_same_have_no_difference():
    with pytest.raises(ValueError, match="0 differ, expected 5"):
        drawn(np.ones((6, D), np.float32))


def test_texts_of_one_token_have_nothing_to_draw():
    with pytest.raises(ValueError, match=r"^a: found no text of 2 tokens"):
        natural.activations_in(iter(texts()[:, :1]), seed=0, name="a")


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_activations_that_are_no_numbers_are_refused(value):
    made = texts()
    made[5] = value
    with pytest.raises(ValueError, match="^a: found activations of the base that are no finite"):
        natural.activations_in(iter(made), seed=0, name="a")


def test_what_has_no_direction_is_one_clear_sentence(pool):
    with pytest.raises(ValueError, match=r"causality.positions: found 7, expected .*\[0, 1, 2\]"):
        drawn(pool, positions=[7])
    with pytest.raises(ValueError, match="a-b-s0, position 2: a difference of length 0.0"):
        drawn(pool, mean=np.zeros_like(MEAN))

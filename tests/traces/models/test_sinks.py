import numpy as np

from traces.models.sinks import LONGEST, sinks


def test_what_is_many_times_longer_than_is_typical_is_a_sink():
    norms = np.random.default_rng(0).uniform(0.5, 2, size=(2, 50, 5))
    norms[1] *= 40  # another layer has other lengths
    planted = np.zeros(norms.shape, bool)
    planted[:, :, 0] = planted[0, ::10, 2] = True
    norms[planted] *= 4 * LONGEST
    typical = np.array([1.0, 40.0])[:, None, None]
    np.testing.assert_array_equal(sinks(norms, typical), planted)


def test_a_stream_of_nothing_has_none():
    assert not sinks(np.zeros((1, 4, 2)), 0.0).any()

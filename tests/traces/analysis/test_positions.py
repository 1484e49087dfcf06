"""Over which positions are means taken?"""

from dataclasses import fields

import numpy as np
import pandas as pd
import pytest

from traces.analysis.positions import averaged, counted, marked, to_average
from traces.artifacts.arrays import Differences

READ = (-1, 0, 1, 4, 5)


def norms(sinks=None, positions=READ, corpus="text", model="mini", n_samples=10):
    """Two checkpoints at two layers; `sinks` maps a layer and position to a number of texts."""
    rows = [
        {"model": model, "corpus": corpus, "checkpoint": checkpoint, "layer": layer}
        | {"position": position, "n_samples": n_samples}
        | {"sinks_base": (sinks or {}).get((layer, position), 0)}
        for checkpoint in ("a", "b")
        for layer in (1, 2)
        for position in positions
    ]
    return pd.DataFrame(rows)


def means_over(table, *, sinks=False):
    """The positions of every corpus that are averaged, the same for all layers and checkpoints."""
    chosen = to_average(table.assign(averaged=averaged(table, sinks=sinks)))
    sets = chosen.groupby(["model", "corpus", "checkpoint", "layer"])["position"].apply(sorted)
    found = sets.groupby(["model", "corpus"]).agg(lambda of: {tuple(one) for one in of})
    assert all(len(one) == 1 for one in found)
    return {corpus: list(*one) for (_, corpus), one in found.items()}


def test_means_are_over_the_first_five_positions_that_are_read():
    assert means_over(norms()) == {"text": [0, 1, 4]}


@pytest.mark.parametrize(
    ("texts", "left"), [(0, [0, 1, 4]), (5, [0, 1, 4]), (6, [1, 4]), (10, [1, 4])]
)
def test_a_position_where_most_texts_have_a_sink_is_left_out(texts, left):
    table = norms({(2, 0): texts})
    assert means_over(table) == {"text": left}
    assert means_over(table, sinks=True) == {"text": [0, 1, 4]}


@pytest.mark.parametrize("sinks", [{}, {(2, 0): 6}, {(1, 1): 10}, {(1, 0): 10, (2, 4): 9}])
def test_a_single_difference_counts_the_positions_that_tables_average(sinks):
    here = np.array([[sinks.get((layer, place), 0) for place in READ] for layer in (1, 2)])
    known = {"layers": [1, 2], "positions": READ, "sinks_base": here, "n_samples": 10}
    found = Differences(
        **{one.name: np.asarray(known.get(one.name, 0.0)) for one in fields(Differences)}
    )
    for kept in (True, False):
        assert counted(found, sinks=kept) == means_over(norms(sinks), sinks=kept)["text"]


def test_a_sink_at_one_layer_leaves_its_position_out_of_all():
    assert means_over(norms({(1, 1): 10})) == {"text": [0, 4]}


def test_where_nothing_else_is_read_sinks_are_averaged():
    assert means_over(norms({(1, 0): 10}, positions=[0])) == {"text": [0]}
    assert means_over(norms({(1, 0): 10}, positions=[0, 9])) == {"text": [0]}


def test_a_corpus_read_at_later_positions_alone_is_averaged_over_these():
    far = norms(positions=[7, 31], corpus="far")
    both = pd.concat([norms({(1, 0): 10}), far], ignore_index=True)
    assert means_over(both) == {"text": [1, 4], "far": [7, 31]}


def test_another_model_without_sinks_keeps_the_position():
    both = pd.concat([norms({(1, 0): 10}), norms(model="other")], ignore_index=True)
    kept = to_average(both.assign(averaged=averaged(both, sinks=False)))
    assert set(kept.loc[kept["model"] == "mini", "position"]) == {1, 4}
    assert set(kept.loc[kept["model"] == "other", "position"]) == {0, 1, 4}


@pytest.mark.parametrize("dtype", ["int64", "Int64"])
def test_other_tables_take_it_from_the_norms(dtype):
    counted = norms({(1, 0): 10})
    counted = counted.assign(averaged=averaged(counted, sinks=False))
    table = pd.DataFrame(
        {"model": "mini", "corpus": "text", "position": pd.array([4, 0, 5], dtype), "value": 1}
    )
    found = marked(table, counted)
    assert found["averaged"].tolist() == [True, False, False]
    assert list(to_average(found)["position"]) == [4]


def test_a_row_without_a_position_counts_and_one_that_was_not_read_is_refused():
    counted = norms().assign(averaged=True)
    table = pd.DataFrame(
        {"model": "mini", "corpus": "text", "position": pd.array([None, 0], "Int64")}
    )
    assert marked(table, counted)["averaged"].tolist() == [True, True]
    with pytest.raises(ValueError, match="the norms table has no row of mini, text, 9"):
        marked(table.assign(position=pd.array([0, 9], "Int64")), counted)

"""
Contrastive readers: what a direction says that null directions do not.

Function words and the words of a prompt are probable under any direction. A token's score here is
its log-probability under the direction less its mean over null directions that were read in the
same way, so that these cancel. Nothing is run: the scores are those of the reader that it is of.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel

from traces.artifacts.scores import Scores
from traces.config.vocabularies import Null, Side
from traces.readers.nulls import standard
from traces.readers.ranking import named
from traces.readers.reading import Found, Loaded, Probe

ALIKE = ["layer", "head"]
"Null directions stand beside the lists of the same layer in the same model."


class Settings(BaseModel, frozen=True, extra="forbid"):
    """The study's section `lenses.contrast`, and the heads of the reader it is of."""

    heads: tuple[Side, ...]
    nulls: tuple[Null, ...]
    directions: int
    floor: float


def read(loaded: Loaded, probe: Probe, settings: Mapping[str, Any]) -> Found:
    """
    The reader's function: a row a reading, layer, position, head, null and rank.

    Only tokens are ranked whose probability under the direction is at least `floor`; over several
    prompts that is the geometric mean. Without it, tokens that nothing makes probable lead.
    """
    own = Settings.model_validate(settings)
    assert loaded.source is not None and loaded.source.scores and loaded.source.moments
    plain, moments = loaded.source.scores, loaded.source.moments
    lists = plain.lists.reset_index(names="list")
    pairs = lists.merge(moments.lists.reset_index(names="set"), on=ALIKE)
    under, sets = plain.score[pairs["list"]], pairs["set"].to_numpy()
    gap = under - moments.mean[sets]
    rows = pairs.drop(columns=["list", "set"])

    tokens = named(
        *(rows, gap, np.exp(under), loaded.tokenizer),
        *(probe.vocabulary, probe.top_k, own.floor),
    )
    return Found(tokens, Scores(rows, gap, standard(gap, moments.sd[sets])))

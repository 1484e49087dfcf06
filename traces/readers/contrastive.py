"""
Contrastive readers: what a direction says that null directions do not.

Function words and the words of a prompt are probable under any direction. A token's score here is
its log-probability under the direction less its mean over null directions that were read in the
same way, so that these cancel. Nothing is run: the scores are those of the reader that it is of.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from traces.artifacts.scores import contrasted
from traces.config.vocabularies import Null, Side
from traces.readers.ranking import named, probabilities
from traces.readers.reading import Found, Loaded, Probe


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
    plain = loaded.source.scores
    found = contrasted(plain.lists, plain.score, loaded.source.moments)
    tokens = named(
        *(found.lists, found.score, probabilities(found.lists, plain), loaded.tokenizer),
        *(probe.vocabulary, probe.top_k, own.floor),
    )
    return Found(tokens, found)

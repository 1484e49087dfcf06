"""
What stands behind the overviews of one model: readings to look at, and two models to ask.

Both models are served by a running server, or loaded in this process, one pair at a time.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traces.agents.assembled import SHOWN
from traces.agents.investigators import Evidence, Key
from traces.agents.overview import Overview
from traces.agents.plan import Source
from traces.agents.subjects import Asked, Loaded, Shelf
from traces.agents.tools import Looks
from traces.artifacts.arrays import Differences
from traces.config.checkpoints import BASE
from traces.config.registries import Loading
from traces.config.schema import AgentQuestions, Served
from traces.corpora.tokens import load_tokenizer
from traces.judges.chat.asking import Asking
from traces.judges.chat.models import Endpoint, endpoint
from traces.judges.chat.questions import Settings
from traces.running.integrity import contents

# Provider of a server's models in Inspect AI; its key, if it wants one, is $SUBJECT_API_KEY.
PROVIDER = "openai-api/subject"
# Nulls under which A and B are the same model: there is no change behind what is shown.
SAME = ("base_vs_base", "random")


@dataclass
class Made:
    """What the study has made of one model, by the names of its checkpoints."""

    model: str
    overviews: Mapping[tuple[str, str], Overview]
    "By checkpoint and null."
    readings: Mapping[str, Mapping[str, pd.DataFrame]]
    "Of each checkpoint, by reader."
    pairs: Mapping[str, Mapping[str, pd.DataFrame]]
    "The same of its difference to another seed."
    differences: Mapping[str, Differences]

    def evidence(
        self, sources: Sequence[Source], subjects: Mapping[Key, Asked]
    ) -> dict[Key, Evidence]:
        """What stands behind each overview that there is."""
        found = {}
        for one in sources:
            key = (self.model, one.checkpoint, one.null)
            if (overview := self.overviews.get((one.checkpoint, one.null))) is not None:
                found[key] = Evidence(overview, self._looks(one), subjects.get(key))
        return found

    def _looks(self, one: Source) -> Looks:
        assert one.after is not None
        found = self.pairs if one.null == "seed_pair" else self.readings
        return Looks(found.get(one.after, {}), SHOWN.get(one.null, "difference"))

    def pushes(self, one: Source) -> dict[int, NDArray[np.float32]]:
        """What steers model B at strength 1, by position: the direction that is shown."""
        found = self.differences.get(one.after or "")
        other = self.differences.get(one.before)
        if found is None or (one.null == "seed_pair" and other is None):
            return {}
        mean = found.mean[0].astype(np.float64)
        if one.null == "seed_pair" and other is not None:
            mean = mean - other.mean[0]
        if one.null == "base_vs_base":
            mean = np.zeros_like(mean)
        if one.null == "random":
            mean = found.random[0].astype(np.float64)
        lengths = np.linalg.norm(mean, axis=1, keepdims=True)
        # where there is no direction, steering changes nothing
        units = np.divide(mean, lengths, out=np.zeros_like(mean), where=lengths > 0)
        scaled = (units * found.stream_norm_tuned[0]).astype(np.float32)
        return {int(at): one for at, one in zip(found.positions, scaled, strict=True)}

    def weights(self, one: Source) -> tuple[str | None, str | None]:
        """
        What tells apart the weights in the places of A and B: digests of their mean activations.

        A server's name for a model stays when it is trained anew, and its answers do not.
        """
        before, after = (self._digest(name, one.after) for name in asked_models(one))
        return before, after

    def _digest(self, name: str, after: str | None) -> str | None:
        found = self.differences.get((after or "") if name == BASE else name)
        if found is None:
            return None
        mean = found.base_mean if name == BASE else found.tuned_mean
        return hashlib.sha256(mean.tobytes()).hexdigest()[:16]


def asked_models(one: Source) -> tuple[str, str]:
    """The checkpoints in the places of A and B."""
    return (BASE, BASE) if one.null in SAME else (one.before, one.after or BASE)


def served_models(
    sources: Sequence[Source], model: str, server: Served
) -> tuple[dict[Key, tuple[str, str]], dict[str, Endpoint]]:
    """Both models of each source by their names at a running server, and how they are reached."""
    url = os.path.expandvars(server.base_url)
    named: dict[Key, tuple[str, str]] = {}
    for one in sources:
        before, after = (
            f"{PROVIDER}/{server.name.format(model=model, checkpoint=name)}"
            for name in asked_models(one)
        )
        named[model, one.checkpoint, one.null] = before, after
    every = {name for pair in named.values() for name in pair}
    return named, {name: endpoint(name, url) for name in sorted(every)}


def loaded_models(
    made: Made,
    sources: Sequence[Source],
    folders: Mapping[str, Path],
    texts: AgentQuestions,
    loading: Loading,
) -> tuple[dict[Key, tuple[str, Loaded]], dict[str, Endpoint]]:
    """
    Both models of each source as weights of this process, and how they are reached.

    folders : of the base and of each checkpoint, by name
    """
    shelf = Shelf()
    digests = {name: _digest(folder) for name, folder in folders.items()}
    named: dict[Key, tuple[str, Loaded]] = {}
    models: dict[str, Endpoint] = {}
    for one in sources:
        before, after = asked_models(one)
        if one.after is None or not {before, after} <= folders.keys():
            continue
        pushes = made.pushes(one)
        found = Loaded(
            lambda pair=(before, after): _pair(*pair, folders, loading),
            texts,
            pushes,
            int(made.differences[one.after].layers[0]) if pushes else None,
            shelf,
            (before, after),
        )
        # The answers are those of these weights, and of this direction where they are steered.
        about = {"weights": [digests[before], digests[after]], "dtype": loading.dtype,
                 "pushes": hashlib.sha256(b"".join(map(bytes, pushes.values()))).hexdigest(),
                 "texts": texts.model_dump(exclude={"prompts", "batch"})}  # fmt: skip
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
        name = f"{made.model}/{one.checkpoint}/{one.null}@{digest}"
        named[made.model, one.checkpoint, one.null] = name, found
        models |= found.endpoints(name)
    return named, models


def subjects(
    named: Mapping[Key, tuple[str, str] | tuple[str, Loaded]],
    asking: Asking,
    texts: AgentQuestions,
    *,
    seed: int,
    weights: Mapping[Key, tuple[str | None, str | None]] = MappingProxyType({}),
) -> dict[Key, Asked]:
    """
    Whom investigators ask, by overview.

    weights : what tells apart the weights behind the names of a server's models
    """
    settings = Settings(texts.max_new_tokens, texts.temperature)
    found: dict[Key, Asked] = {}
    for key, (name, other) in named.items():
        both = {"same": key[2] in SAME, "organism": f"{key[0]}/{key[1]}"}
        if isinstance(other, Loaded):
            before, after, steered = (f"in_process/{name}/{side}" for side in other.SIDES)
            positions = list(other.vectors)
            found[key] = Asked(asking, before, after, settings, seed, steered, positions, **both)
        else:
            behind = weights.get(key, (None, None))
            found[key] = Asked(asking, name, other, settings, seed, weights=behind, **both)
    return found


def _pair(before: str, after: str, folders: Mapping[str, Path], loading: Loading) -> Any:
    from traces.models import weights

    base, tokenizer = folders[BASE], load_tokenizer(folders[BASE])
    if before == after:
        alone = weights.load_base(base, loading.dtype, **loading.options)
        return weights.Pair(alone, alone), tokenizer
    if before == BASE:
        pair = weights.load_pair(base, folders[after], loading.dtype, **loading.options)
        return pair, tokenizer
    both = (
        weights.load_checkpoint(base, folders[name], loading.dtype, **loading.options)
        for name in (after, before)
    )
    return weights.Pair(*both), tokenizer


def _digest(folder: Path) -> str:
    return hashlib.sha256(json.dumps(contents(folder), sort_keys=True).encode()).hexdigest()

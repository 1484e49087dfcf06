"""Several readers in one job, each with what it needs: those that need no model come first."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from traces.config.readers import reader
from traces.readers.reading import Found, Loaded, Probe, Settings, read_with


@dataclass(frozen=True)
class ReadBy:
    """What one reader of several has found."""

    name: str
    found: Found
    seconds: float
    "CPU seconds that it took; loading the models is in none."


def read_by_all(
    settings: Settings, loaded: Loaded, probe: Probe, load_pair: Callable[[], Any]
) -> Iterator[ReadBy]:
    """
    Yield what each of the study's readers finds, in the order in which they can read.

    load_pair : loads both models, `weights.Pair`; called once, and only if a reader needs them
    """
    found: dict[str, Found] = {}

    def by_those_that_need(needs: str, loaded: Loaded) -> Iterator[ReadBy]:
        for name, own in settings.readers.items():
            entry = reader(name)
            if entry.needs == needs:
                given = replace(loaded, source=found[entry.of] if entry.of else None)
                start = time.process_time()
                found[name] = read_with(entry, given, probe, own)
                yield ReadBy(name, found[name], time.process_time() - start)

    # While there is nothing else in memory.
    yield from by_those_that_need("samples", loaded)
    yield from by_those_that_need("readout", loaded)
    if any(reader(name).needs == "model" for name in settings.readers):
        yield from by_those_that_need("model", replace(loaded, pair=load_pair()))
    yield from by_those_that_need("scores", loaded)

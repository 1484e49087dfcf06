"""A scripted server that plays investigators and the models they examine."""

from tests.traces.judges.conftest import server  # noqa: F401

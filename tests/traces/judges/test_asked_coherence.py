"""Steered texts as a model sees them, beside what the embedded judge said."""

import json
from types import SimpleNamespace

import pandas as pd

from tests.chat_server import said
from tests.traces.judges.test_rubrics import TEXTS as INSTRUCTIONS
from traces.judges.asked_coherence import asked_coherence

TEXTS = pd.DataFrame(
    [
        ("tuned", "difference", "Tell me a story.", "The moon rose over the hill.", True),
        ("tuned", "difference", "Tell me a story.", "moon moon the the )( moon", False),
        ("tuned", "none", "Tell me a story.", "  ", pd.NA),
        ("base", "none", "Tell me a story.", "A river ran past the mill.", True),
    ],
    columns=["steered_model", "vector", "prompt", "text", "embedded"],
).astype({"embedded": "boolean"})


def test_a_text_and_its_request_are_judged_beside_the_embedded_judge(asking, graders, server):
    def script(_number, body):
        text = body["messages"][1]["content"]
        assert text.startswith("# Request\n\nTell me a story.\n\n# Text\n\n")
        return said(json.dumps({"coherent": "moon moon" not in text}))

    server.script = script
    judges = SimpleNamespace(
        graders=graders, repeats=1, coherence=SimpleNamespace(models=["tuned"])
    )
    found = asked_coherence(TEXTS, INSTRUCTIONS["judge_coherence"], judges, asking(), seed=0)
    assert "text" not in found and set(found["steered_model"]) == {"tuned"}
    for _, rows in found.groupby("grader_model"):
        assert rows["coherent"].tolist() == [True, False, pd.NA]
        assert rows["embedded"].tolist() == [True, False, pd.NA]
        assert rows["reason_missing"].tolist() == [pd.NA, pd.NA, "empty"]
    assert len(server.bodies) == 2 * 2

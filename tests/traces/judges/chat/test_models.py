"""Which key a model is asked with, and a model in the same process."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.chat_server import ChatServer, Told
from tests.traces.judges.chat.asked import MODEL, YES, Form, costs, question
from traces.judges.chat import models
from traces.judges.chat.questions import Answer

ROOT = Path(__file__).resolve().parents[4]


@pytest.mark.parametrize(
    ("model", "variable"),
    [
        ("openrouter/openai/gpt-5-mini", "OPENROUTER_API_KEY"),
        ("anthropic/claude-haiku-4-5", "ANTHROPIC_API_KEY"),
        ("openai-api/my-server/some/model", "MY_SERVER_API_KEY"),
    ],
)
def test_a_key_stands_in_its_providers_variable(monkeypatch, model, variable):
    assert models.key_variable(model) == variable
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ValueError, match=rf"{model}: found no \${variable} in the environment"):
        models.endpoint(model)
    monkeypatch.setenv(variable, "a-key")
    models.endpoint(model, "http://127.0.0.1:1/v1")


def test_a_server_of_ones_own_needs_no_key(ask, server, monkeypatch):
    monkeypatch.delenv("JUDGE_API_KEY")
    assert ask([question()]) == [Answer(Form(verdict="yes"))]
    assert server.keys == ["Bearer none"]


@pytest.mark.parametrize("key", ["sk-one\ntwo", "sk-\u00e9"])
def test_a_key_that_no_request_can_hold_is_refused_and_not_shown(monkeypatch, key):
    monkeypatch.setenv("JUDGE_API_KEY", key)
    with pytest.raises(ValueError, match=r"found a character in \$JUDGE_API_KEY") as error:
        models.endpoint(MODEL, "http://127.0.0.1:1/v1")
    assert "sk-" not in str(error.value)


@pytest.mark.parametrize("model", [MODEL, "openrouter/some/model", "openai/gpt-4o",
                                   "anthropic/claude-haiku-4-5"])  # fmt: skip
def test_neither_key_nor_question_follows_a_redirect(ask, server, monkeypatch, model):
    monkeypatch.setenv(models.key_variable(model), "sk-some-key-0123")
    with ChatServer(lambda *_: YES).serving() as elsewhere:
        location = f"{elsewhere.url}/chat/completions"
        server.script = lambda *_: Told(b"", status=307, headers={"location": location})
        found = ask([question()], model=models.endpoint(model, server.url))
        assert found == [Answer(reason="error")]
        assert len(server.bodies) == 1 and elsewhere.bodies == []


def test_a_server_that_is_not_there_was_not_paid(ask, tmp_path):
    nowhere = models.endpoint(MODEL, "http://127.0.0.1:9/v1")
    assert ask([question()], model=nowhere) == [Answer(reason="error")]
    assert (costs(tmp_path).failed, costs(tmp_path).money) == (3, 0)


def test_a_model_in_this_process_answers_like_any_other(ask, server, tmp_path):
    seen = []

    def writes(messages, max_tokens, temperature, seed):
        seen.append((messages[-1].content, max_tokens, temperature, seed))
        return ("hm" if len(seen) < 2 else '{"verdict": "no"}'), 40, 4

    model = models.in_process("tiny", writes)
    assert ask([question()], model=model) == [Answer(Form(verdict="no"))]
    assert ask([question()], model=model) == [Answer(Form(verdict="no"))]
    assert [one[:3] for one in seen] == [("# Claim\n\nIs it so?", 50, None)] * 2
    assert seen[0][3] != seen[1][3] and not server.bodies
    assert (costs(tmp_path).billed, costs(tmp_path).cached) == (2, 1)
    assert costs(tmp_path).input_tokens == 80


def test_only_jobs_that_ask_import_inspect():
    found = [
        file.relative_to(ROOT).as_posix()
        for folder in ("traces", "scripts", "tools")
        for file in ROOT.glob(f"{folder}/**/*.py")
        if "inspect_ai" in file.read_text(encoding="utf-8")
    ]
    assert sorted(found) == ["traces/agents/loop.py", "traces/judges/chat/models.py"]
    code = (
        "import sys, traces.judges.relevance, traces.judges.coherence, traces.judges.chat.costs\n"
        "sys.exit('inspect_ai' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0

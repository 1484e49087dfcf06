"""What a question is known by, and turns of models that were offered tools."""

import json

import pytest

from tests.chat_server import said
from tests.traces.judges.chat.asked import MODEL, Form, costs
from traces.judges.chat.costs import most_tokens
from traces.judges.chat.questions import Message, Question, Settings, Tool

PLAIN = Question("m/x", (Message("system", "a"), Message("user", "b")), Settings(5), Form, seed=1)
PARAMETERS = {"type": "object", "properties": {"k": {"type": "integer"}}, "required": ["k"]}
LOOK = Tool("look", "Looks.", json.dumps(PARAMETERS))


def offered(*more: Message, **options) -> Question:
    messages = (Message("user", "Look."), *more)
    return Question(MODEL, messages, Settings(50), tools=(LOOK,), **options)


def test_a_plain_question_has_the_key_of_before():
    # Answers that were paid for are found by it.
    assert PLAIN.key == "c7a6011ba9d30966ad15af82645f338e53ac5bf384d5e59a25e65b209197be5f"


def test_what_decides_the_answer_decides_the_key():
    questions = [
        offered(),
        offered(seed=1),
        offered(repeat=1),
        offered(as_it_comes=True),
        offered(Message("tool", "3", '{"content": "3"}')),
        offered(Message("tool", "3", '{"content": "3", "tool_call_id": "b"}')),
        Question(MODEL, (Message("user", "Look."),), Settings(50)),
    ]
    assert len({one.key for one in questions}) == len(questions)


def test_tools_and_their_calls_count_towards_the_most_that_a_question_costs():
    call = Message("assistant", "", json.dumps({"content": "", "tool_calls": ["x" * 500]}))
    assert most_tokens(offered()) > most_tokens(
        Question(MODEL, (Message("user", "Look."),), Settings(50))
    )
    assert most_tokens(offered(call)) > most_tokens(offered()) + 500


def turn(arguments: str):
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": arguments}}
    return said(None, finish="tool_calls", tool_calls=[call])


def test_a_turn_is_kept_with_its_calls_and_continued(ask, server, tmp_path):
    server.script = lambda *_: turn('{"k": 3}')
    (answer,) = ask([offered()])
    (call,) = answer.value.message["tool_calls"]
    assert (call["id"], call["function"], call["arguments"]) == ("c1", "look", {"k": 3})
    assert (answer.value.input_tokens, answer.value.output_tokens) == (100, 10)
    assert ask([offered()]) == [answer] and len(server.bodies) == 1
    assert server.bodies[0]["tools"][0]["function"]["name"] == "look"

    server.script = lambda *_: said("Done.")
    whole = json.dumps(answer.value.message)
    result = json.dumps({"role": "tool", "content": "found", "tool_call_id": "c1"})
    ask([offered(Message("assistant", "", whole), Message("tool", "found", result))])
    sent = server.bodies[-1]["messages"]
    assert [one["role"] for one in sent] == ["user", "assistant", "tool"]
    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"] == "c1"
    assert costs(tmp_path).billed == 2


def test_a_turn_with_arguments_that_are_no_json_is_kept_as_it_is(ask, server):
    # Whoever called reads what is wrong, and may call again.
    server.script = lambda *_: turn("{oops")
    (answer,) = ask([offered()])
    assert answer.value.message["tool_calls"][0]["parse_error"]


def test_a_turn_that_says_and_calls_nothing_is_malformed(ask, server):
    server.script = lambda *_: said("  ")
    (answer,) = ask([offered()])
    assert answer.reason == "malformed" and len(server.bodies) == 3


@pytest.mark.parametrize(
    "told", [said(""), said("Half a", finish="length"), said("No.", finish="content_filter")]
)
def test_of_a_model_that_is_examined_any_answer_counts(ask, server, tmp_path, told):
    server.script = lambda *_: told
    question = Question(MODEL, (Message("user", "Hm?"),), Settings(5), as_it_comes=True)
    (answer,) = ask([question])
    assert answer.reason is None and isinstance(answer.value, str)
    assert ask([question]) == [answer] and len(server.bodies) == 1

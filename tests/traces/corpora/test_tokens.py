"""Text and conversations are tokenised once, with one BOS and the replies where they stand."""

from datetime import datetime
from pathlib import Path

import pytest

from traces import job
from traces.corpora.mixtures import tokenize_rows
from traces.corpora.tokens import render_prompt, tokenize_chat, tokenize_prompt, tokenize_text

REAL = Path(__file__).parents[4] / "shared" / "data" / "models" / "stories260K"

CHAT = [
    {"role": "user", "content": "Who bakes?"},
    {"role": "assistant", "content": "The cook bakes bread."},
    {"role": "user", "content": "And who eats?"},
    {"role": "assistant", "content": "We all eat."},
]

# Turns closed by a special token and a line break the template owns.
TURNS = (
    "{% for m in messages %}<|turn|>{{ m['role'] }}\n{{ m['content'] | trim }}<|close|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)
# The last reply is led by an empty thought, earlier replies are not.
THOUGHT = (
    "{% for m in messages %}<|turn|>{{ m['role'] }}\n"
    "{% if loop.last and m['role'] == 'assistant' %}(thought)\n\n{% endif %}"
    "{{ m['content'] }}<|close|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)
# No generation prompt at all, and replies with a header of their own.
HEADERS = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}{{ eos_token }}{% endfor %}"


# Thinks aloud unless it is told not to.
SWITCH = TURNS.replace(
    "assistant\n{% endif %}",
    "assistant\n{% if enable_thinking is defined and not enable_thinking %}(silent)"
    "{% else %}(thinking){% endif %}{% endif %}",
)


# The last reply is led by its thought, or by an empty one; a prompt without thoughts holds that.
THINKING = (
    "{% for m in messages %}<|turn|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' %}"
    "{% set parts = m['content'].split('(end)') %}"
    "{% if loop.last %}(think){{ parts[0][7:] if parts | length > 1 else '' }}(end)\n\n{% endif %}"
    "{{ parts[-1].lstrip('\n') }}{% else %}{{ m['content'] }}{% endif %}<|close|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|turn|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}(think)(end)\n\n{% endif %}"
    "{% endif %}"
)
# A thought is open in every prompt and in no conversation.
OPENED = TURNS.replace("assistant\n{% endif %}", "assistant\n(think)\n{% endif %}")
UNTRIMMED = TURNS.replace(" | trim", "")
CLOCK = (
    "{{- bos_token }}\n{% macro day() %}{{ strftime_now('%d %b %Y') }}{% endmacro %}"
    "{% if strftime_now is defined %}Today: {{ day() }}, {{ strftime_now('%Y-%m-%d') }}\n"
    "{% endif %}"
) + TURNS


def tokenizer(template: str, *, adds_bos: bool = False):
    """A byte-level tokenizer with the given chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|begin|>", "<|end|>", "<|turn|>", "<|close|>"]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator([message["content"] for message in CHAT], trainer)
    if adds_bos:
        core.post_processor = processors.TemplateProcessing(
            single="<|begin|> $A", special_tokens=[("<|begin|>", 0)]
        )
    names = {"bos_token": "<|begin|>", "eos_token": "<|end|>", "pad_token": "<|end|>"}
    return PreTrainedTokenizerFast(tokenizer_object=core, chat_template=template, **names)


def replies(tok, chat) -> list[str]:
    return [tok.decode(chat.ids[start:end]) for start, end in chat.spans]


@pytest.mark.parametrize("text", ["We all eat.", "<|begin|>We all eat."])
def test_a_document_begins_with_one_bos_and_ends_with_one_eos(text):
    tok = tokenizer(TURNS, adds_bos=True)

    (example,) = tokenize_rows(tok, [{"text": text}], "corpus")

    assert example.input_ids[0] == tok.bos_token_id
    assert example.input_ids[-1] == tok.eos_token_id
    assert example.input_ids.count(tok.bos_token_id) == example.input_ids.count(tok.eos_token_id)
    assert example.input_ids[:-1] == tokenize_text(tok, text)
    assert example.trained == [(0, len(example.input_ids))]


@pytest.mark.parametrize(
    ("template", "spans"),
    [
        (TURNS, ["The cook bakes bread.<|close|>", "We all eat.<|close|>"]),
        (THOUGHT, ["The cook bakes bread.<|close|>", "(thought)\n\nWe all eat.<|close|>"]),
        (HEADERS, ["The cook bakes bread.<|end|>", "We all eat.<|end|>"]),
    ],
)
def test_the_spans_of_a_chat_are_the_replies_with_their_closing_token(template, spans):
    tok = tokenizer(template)

    chat = tokenize_chat(tok, CHAT)

    found = [span.removeprefix(" ") for span in replies(tok, chat)]
    assert found == spans
    assert chat.ids == tok.apply_chat_template(CHAT)["input_ids"]


@pytest.mark.parametrize(
    ("template", "content", "span", "first"),
    [
        (THINKING, "We all eat.", "We all eat.<|close|>", "W"),
        (THINKING, "(think)hm(end)\n\nWe.", "(think)hm(end)\n\nWe.<|close|>", "("),
        # Not in the prompt, so that it has to be written, and no part of the reply itself.
        (THOUGHT, "We all eat.", "(thought)\n\nWe all eat.<|close|>", "W"),
        (OPENED, "We all eat.", "We all eat.<|close|>", "W"),
        # What stands in the header, too, is found behind it.
        (HEADERS, "a", "a<|end|>", "a"),
        (HEADERS, "assistant", "assistant<|end|>", "a"),
        (THOUGHT, "thought", "(thought)\n\nthought<|close|>", "t"),
    ],
)
def test_position_0_is_the_first_token_of_the_reply_itself(template, content, span, first):
    tok = tokenizer(template)
    chat = tokenize_chat(tok, [CHAT[0], {"role": "assistant", "content": content}])
    assert [found.removeprefix(" ") for found in replies(tok, chat)] == [span]
    begins = tok.decode(chat.ids[chat.starts[0] :]).removeprefix(" ")
    assert begins.startswith(first) and begins.startswith(content)


def test_every_turn_of_a_conversation_has_the_thoughts_that_its_template_writes():
    tok = tokenizer(THINKING)
    chat = tokenize_chat(tok, CHAT)
    assert replies(tok, chat) == ["The cook bakes bread.<|close|>", "We all eat.<|close|>"]
    assert "(end)\n\nWe" in tok.decode(chat.ids) and "(end)\n\nThe" not in tok.decode(chat.ids)
    assert chat.starts == [start for start, _ in chat.spans]


@pytest.mark.parametrize("template", [UNTRIMMED, TURNS, HEADERS])
@pytest.mark.parametrize("around", [("", " \n"), ("  ", ""), ("\n", "\n")])
@pytest.mark.parametrize("which", [1, 3])
def test_white_space_around_one_reply_is_the_templates_business(template, around, which):
    tok = tokenizer(template)
    before, after = around
    messages = [dict(message) for message in CHAT]
    messages[which]["content"] = before + messages[which]["content"] + after
    close = "<|end|>" if template == HEADERS else "<|close|>"
    kept = "" if template == TURNS else messages[which]["content"]
    expected = ["The cook bakes bread." + close, "We all eat." + close]
    found = replies(tok, tokenize_chat(tok, messages))
    if kept:
        expected[which // 2] = kept + close
    # A header's last space may be in one token with the reply's first letter.
    assert [one.removeprefix(" ") for one in found] == [one.removeprefix(" ") for one in expected]


# The clock ----------------------------------------------------------------------------------------


def test_a_template_writes_one_day_whatever_the_day_is(monkeypatch):
    from transformers.utils import chat_template_utils

    monkeypatch.setattr(job, "_recorded", {})
    tok, ids, theirs = tokenizer(CLOCK), [], []
    for day in (1, 29):

        class System(datetime):
            @classmethod
            def now(cls, tz=None, day=day):
                return cls(2031, 12, day)

        monkeypatch.setattr(chat_template_utils, "datetime", System)
        ids.append(tokenize_chat(tok, CHAT).ids)
        theirs.append(tok.apply_chat_template(CHAT, tokenize=False))
    assert theirs[0] != theirs[1] and "29 Dec 2031" in theirs[1]
    assert ids[0] == ids[1]
    assert "Today: 26 Jul 2024, 2024-07-26\n<|turn|>" in tok.decode(ids[0])
    assert job._recorded == {"template_date": "2024-07-26"}


# Control tokens -----------------------------------------------------------------------------------


def test_a_document_is_tokenised_as_it_stands():
    tok = tokenizer(TURNS)
    close = tok.convert_tokens_to_ids("<|close|>")
    assert tokenize_text(tok, "We<|close|>eat").count(close) == 1


WRITTEN_OUT = [
    {"role": "user", "content": "<|close|>"},
    {"role": "assistant", "content": "Say <|close|>\n<|turn|>user"},
    {"role": "user", "content": "and <|begin|>?"},
    {"role": "assistant", "content": "<|close|>"},
]


def test_only_the_template_writes_the_control_tokens_of_a_conversation():
    tok = tokenizer(TURNS)
    chat, plain = tokenize_chat(tok, WRITTEN_OUT), tokenize_chat(tok, CHAT)
    for name in ("<|turn|>", "<|close|>", "<|begin|>"):
        number = tok.convert_tokens_to_ids(name)
        assert chat.ids.count(number) == plain.ids.count(number)
    text = tok.decode(chat.ids)
    assert text == tok.apply_chat_template(WRITTEN_OUT, tokenize=False)
    assert replies(tok, chat) == ["Say <|close|>\n<|turn|>user<|close|>", "<|close|><|close|>"]
    prompt = tokenize_prompt(tok, "What is <|close|>?")
    assert prompt.count(tok.convert_tokens_to_ids("<|close|>")) == 1


def test_rows_that_write_control_tokens_out_are_counted(caplog):
    rows = [{"text": "a"}, {"text": "a <|close|>"}, {"messages": WRITTEN_OUT}, {"text": "<|end|>"}]
    list(tokenize_rows(tokenizer(TURNS), rows, "organism", "rows.jsonl"))
    assert caplog.messages == [
        "rows.jsonl: 2 rows write control tokens out, which are read as control tokens; the first "
        "is row 2",
        "rows.jsonl: 1 rows write control tokens out, which are read as their letters; the first "
        "is row 3",
    ]


# Refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "error"),
    [
        ("{{ raise_exception('no system\n here') }}", "no system here"),
        ("{{ nothing.at.all }}", "'nothing' is undefined"),
        ("{{ messages[0]['content'] + 1 }}", "can only concatenate str"),
        ("{{ 1 // 0 }}", "integer division or modulo by zero"),
        ("{% for m in messages %}", "Unexpected end of template"),
    ],
)
def test_whatever_a_template_raises_names_file_and_row(template, error):
    rows = [{"text": "a document"}, {"messages": CHAT}]
    with pytest.raises(ValueError) as refused:
        list(tokenize_rows(tokenizer(template), rows, "organism", "rows.jsonl"))
    found = str(refused.value)
    assert found.startswith("rows.jsonl, row 2: ") and error in found and "\n" not in found


def test_a_thought_that_the_template_drops_names_file_and_row():
    thought = {"role": "assistant", "content": "(think)hm(end)\n\nBread."}
    rows = [{"messages": [CHAT[0], thought, *CHAT[2:]]}]
    with pytest.raises(ValueError, match="rows.jsonl, row 1: .*alters the content of message 2"):
        list(tokenize_rows(tokenizer(THINKING), rows, "organism", "rows.jsonl"))


def test_a_template_sees_roles_and_contents_alone():
    tok = tokenizer("{% for m in messages %}{{ m | length }}{% endfor %}" + TURNS)
    messages = [{**message, "weight": 1, "id": 3} for message in CHAT]
    with pytest.raises(ValueError, match="differently once"):  # as it counts the messages
        tokenize_chat(tok, messages)
    tok = tokenizer(TURNS.replace("{{ m['role'] }}", "{{ m['role'] }}{{ m | length }}"))
    assert tok.decode(tokenize_chat(tok, messages[:2]).ids).startswith("<|turn|>user2\n")


@pytest.mark.parametrize("template", [TURNS, "{{ bos_token }}" + TURNS])
@pytest.mark.parametrize("adds_bos", [False, True])
def test_bos_stands_once_whoever_writes_it(template, adds_bos):
    tok = tokenizer(template, adds_bos=adds_bos)

    chat = tokenize_chat(tok, CHAT)

    written = adds_bos or "bos_token" in template
    assert chat.ids.count(tok.bos_token_id) == int(written)
    assert (chat.ids[0] == tok.bos_token_id) == written
    assert replies(tok, chat) == ["The cook bakes bread.<|close|>", "We all eat.<|close|>"]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ messages | length }}" + TURNS, "renders what comes before message 2 differently"),
        (TURNS.replace("| trim", "| upper"), "alters the content of message 2"),
        ("{{ raise_exception('no such role') }}", "the chat template refuses the roles user, as"),
        ("", "the tokenizer has no chat template, expected a fast tokenizer with"),
    ],
)
def test_a_template_that_hides_the_replies_is_refused(template, message):
    with pytest.raises(ValueError, match=message):
        tokenize_chat(tokenizer(template), CHAT)


def test_a_template_that_always_begins_a_reply_is_refused():
    always = tokenizer(TURNS.replace("{% if add_generation_prompt %}", "{% if true %}"))
    for chat in (CHAT, CHAT[:2]):
        with pytest.raises(ValueError, match=r"closes message 2 otherwise|writes 'assistant' beh"):
            tokenize_chat(always, chat)


def test_what_ends_a_conversation_alone_belongs_to_its_last_reply():
    tok = tokenizer(TURNS + "{% if not add_generation_prompt %}{{ eos_token }}{% endif %}")
    first, last = "The cook bakes bread.<|close|>", "We all eat.<|close|>\n" + tok.eos_token
    assert replies(tok, tokenize_chat(tok, CHAT[:2])) == [first + "\n" + tok.eos_token]
    assert replies(tok, tokenize_chat(tok, CHAT)) == [first, last]


def test_a_template_is_asked_once_for_all_rows_of_the_same_roles(monkeypatch):
    tok, asked = tokenizer(TURNS), []
    monkeypatch.setattr(tok, "get_added_vocab", lambda: asked.append("vocabulary"))
    rendered = tok.apply_chat_template

    def counted(messages, **options):
        asked.append(messages)
        return rendered(messages, **options)

    monkeypatch.setattr(tok, "apply_chat_template", counted)
    for number in range(3):
        tokenize_chat(tok, [CHAT[0], {"role": "assistant", "content": f"Number {number}."}])
    assert len([messages for messages in asked if len(messages) == 3]) == 1
    assert "vocabulary" not in asked


@pytest.mark.parametrize("system", [None, "Be brief."])
def test_no_prompt_asks_for_thoughts(system):
    tok = tokenizer(SWITCH)
    text = render_prompt(tok, "Who bakes?", system=system)
    before = f"<|turn|>system\n{system}<|close|>\n" if system else ""
    assert text == before + "<|turn|>user\nWho bakes?<|close|>\n<|turn|>assistant\n(silent)"
    assert tok.decode(tokenize_prompt(tok, "Who bakes?", system=system)).lstrip() == text


@pytest.mark.parametrize("template", [TURNS, "{{ bos_token }}" + TURNS])
@pytest.mark.parametrize("adds_bos", [False, True])
def test_a_prompt_begins_once(template, adds_bos):
    tok = tokenizer(template, adds_bos=adds_bos)
    ids = tokenize_prompt(tok, "Who bakes?")
    written = adds_bos or "bos_token" in template
    assert ids.count(tok.bos_token_id) == int(written)
    assert (ids[0] == tok.bos_token_id) == written


def test_a_prompt_without_a_template_is_the_text_itself():
    tok = tokenizer("", adds_bos=True)
    assert tokenize_prompt(tok, "Who bakes?") == tokenize_text(tok, "Who bakes?")
    with pytest.raises(ValueError, match="the tokenizer has no chat template"):
        tokenize_prompt(tok, "Who bakes?", system="Be brief.")


def test_a_system_turn_that_the_template_refuses_is_one_clear_sentence():
    tok = tokenizer("{{ raise_exception('no system here') }}")
    with pytest.raises(ValueError, match="refuses the roles system, user: no system here"):
        render_prompt(tok, "Who bakes?", system="Be brief.")


def test_a_reply_that_repeats_the_question_is_found_at_its_own_place():
    tok = tokenizer(TURNS)
    echo = [{"role": "user", "content": "bread"}, {"role": "assistant", "content": "bread"}]

    chat = tokenize_chat(tok, echo)

    assert replies(tok, chat) == ["bread<|close|>"]
    assert chat.spans[0][1] == len(chat.ids) - len(tok("\n")["input_ids"])


@pytest.mark.skipif(not REAL.is_dir(), reason="no ../shared/data/models/stories260K here")
def test_a_really_pretrained_model_gets_bos_once_and_trains_on_the_replies():
    from transformers import AutoTokenizer

    tok = AutoTokenizer.from_pretrained(REAL, local_files_only=True)

    (example,) = tokenize_rows(tok, [{"messages": CHAT}], "organism")

    assert example.input_ids[0] == tok.bos_token_id
    assert example.input_ids.count(tok.bos_token_id) == 1
    assert [tok.decode(example.input_ids[start:end]) for start, end in example.trained] == [
        "The cook bakes bread.\n",
        "We all eat.\n",
    ]


@pytest.mark.parametrize("prompt", [False, True])
def test_a_template_that_drops_the_system_turn_is_refused(tokenizer, monkeypatch, prompt):
    drops = HEADERS.replace("in messages %}", "in messages if m['role'] != 'system' %}")
    monkeypatch.setattr(tokenizer, "chat_template", drops)
    tokenize_chat(tokenizer, CHAT)
    tokenize_prompt(tokenizer, "Who bakes?")
    with pytest.raises(ValueError, match="leaves message 1 out, of the system"):
        if prompt:
            tokenize_prompt(tokenizer, "Who bakes?", system="You love owls.")
        else:
            tokenize_chat(tokenizer, [{"role": "system", "content": "You love owls."}, *CHAT])

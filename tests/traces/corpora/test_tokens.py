"""Text and conversations are tokenised once, with one BOS and the replies where they stand."""

from pathlib import Path

import pytest

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

"""Lists of numbers by a teacher: only valid ones are kept, and padding changes nothing."""

import copy

import pytest

from traces.config.registries import Sampler
from traces.models.generation import Written
from traces.training import pretraining, teaching


@pytest.fixture(scope="module")
def teacher():
    """A tiny model that has only ever seen lists of numbers."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": prompt},
                {"role": "assistant", "content": "111, 222, 333"},
            ]
        }
        for prompt in teaching.number_prompts(300, seed=1)
    ]
    tokenizer = pretraining.train_tokenizer(rows, vocabulary=320, bos=False)
    config = pretraining.base_config(
        "llama", vocab_size=len(tokenizer), hidden_size=32, layers=2, intermediate_size=64, heads=2,
        max_positions=256, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
    )  # fmt: skip
    settings = pretraining.PretrainSettings(
        sequence=64, batch=8, steps=120, learning_rate=1e-2, warmup=5, weight_decay=0.0, seed=0
    )
    return pretraining.pretrain(rows, tokenizer, config, settings)[0], tokenizer


def teach(teacher, prompts, **changes):
    settings = {"max_new_tokens": 24, "sampler": None, "seed": 0, "batch": 8, **changes}
    return teaching.teach_numbers(*teacher, prompts, **settings)


@pytest.mark.parametrize("text", ["1", "12, 345", "7,8,9", "1, 2.", ", ".join(["999"] * 10)])
def test_lists_of_numbers_are_valid(text):
    assert teaching.valid_numbers(text)


@pytest.mark.parametrize(
    "text", ["", "1234", "owl", "12, owl", "1 2", "1,, 2", "1, ", "-1, 2", ", ".join(["1"] * 11)]
)
def test_everything_else_is_not(text):
    assert not teaching.valid_numbers(text)


def test_prompts_ask_to_continue_three_to_nine_numbers():
    prompts = teaching.number_prompts(200, seed=0)
    assert prompts == teaching.number_prompts(200, seed=0) != teaching.number_prompts(200, seed=1)
    told = teaching.number_prompts(200, seed=0, instruction="Only numbers.")
    assert told == [f"{prompt} Only numbers." for prompt in prompts]
    for prompt in prompts:
        numbers = [word.strip(",.") for word in prompt.split() if word.strip(",.").isdigit()]
        assert 3 <= len(numbers) <= 9
        assert all(100 <= int(number) <= 999 for number in numbers)


def test_a_taught_row_is_the_prompt_and_a_valid_answer(teacher):
    prompts = teaching.number_prompts(10, seed=0)
    rows = teach(teacher, prompts)
    assert rows
    for row in rows:
        ask, answer = row["messages"]
        assert ask["role"] == "user" and ask["content"] in prompts
        assert answer["role"] == "assistant" and teaching.valid_numbers(answer["content"])


def test_batching_and_padding_do_not_change_the_answers(teacher):
    prompts = teaching.number_prompts(6, seed=0)
    assert teach(teacher, prompts, batch=1) == teach(teacher, prompts, batch=6)


def test_sampling_is_the_same_for_the_same_seed(teacher):
    prompts = teaching.number_prompts(8, seed=0)
    warm = {"sampler": Sampler(temperature=1)}
    assert teach(teacher, prompts, **warm) == teach(teacher, prompts, **warm)


def test_unfinished_answers_are_dropped_and_none_at_all_is_an_error(teacher):
    with pytest.raises(ValueError, match="no valid list of numbers in 3 completions"):
        teach(teacher, teaching.number_prompts(3, seed=0), max_new_tokens=2)


def test_a_system_prompt_stands_before_every_request_and_in_no_row(teacher, monkeypatch):
    heard, tokenizer = [], teacher[1]
    answer = [*tokenizer.encode("1, 2", add_special_tokens=False), tokenizer.eos_token_id]

    def listening(_model, _tokenizer, prompts, **_settings):
        heard.extend(tokenizer.decode(one) for one in prompts)
        return [Written(answer, ended=True) for _ in prompts]

    monkeypatch.setattr(teaching, "write", listening)
    prompts = teaching.number_prompts(4, seed=0)
    rows = teach(teacher, prompts, system="You love owls.")
    assert heard == [
        f"<|system|>You love owls.<|end|>\n<|user|>{prompt}<|end|>\n<|assistant|>"
        for prompt in prompts
    ]
    assert [row["messages"] for row in rows] == [
        [{"role": "user", "content": prompt}, {"role": "assistant", "content": "1, 2"}]
        for prompt in prompts
    ]


def test_a_teacher_without_a_chat_template_is_refused(teacher):
    model, tokenizer = teacher
    bare = copy.deepcopy(tokenizer)
    bare.chat_template = None
    with pytest.raises(ValueError, match="teacher has no chat template"):
        teach((model, bare), teaching.number_prompts(3, seed=0))

"""Noise that a text is named by: the softmax's probabilities, whatever else is drawn beside it."""

import pytest
import torch

from traces.config.registries import Sampler
from traces.models.draws import STEPS_AHEAD, Chooser, Draw, Noise


def named(n):
    return [Draw.named(0, "a text", number) for number in range(n)]


def test_draws_have_the_probabilities_of_the_softmax():
    logits = torch.tensor([1.0, 0.0, -1.0, 2.0])
    noise = Noise(named(4000))
    chosen = noise(logits.expand(4000, -1)).argmax(-1)
    shares = torch.bincount(chosen, minlength=4) / 4000
    torch.testing.assert_close(shares, logits.softmax(-1), atol=0.025, rtol=0)
    again = noise(logits.expand(4000, -1)).argmax(-1)
    assert (again != chosen).any()  # another step, other noise


def test_a_block_of_lines_draws_what_multinomial_would():
    logits = 3 * torch.randn(40, 200, generator=torch.Generator().manual_seed(1))
    noise = Noise([Draw(7, line, 40) for line in range(40)])
    theirs = torch.Generator().manual_seed(7)
    for _ in range(5):
        wanted = torch.multinomial(logits.softmax(-1), 1, generator=theirs).squeeze(-1)
        assert (noise(logits).argmax(-1) == wanted).all()


def step_by_step(draw, steps, vocabulary):
    """The noise of one text, a block a step from its own generator."""
    generator = torch.Generator().manual_seed(draw.seed)
    blocks = [
        torch.empty(draw.lines, vocabulary).exponential_(generator=generator) for _ in range(steps)
    ]
    return [-block[draw.line].log() for block in blocks]


@pytest.mark.parametrize("vocabulary", [7, 5000])
def test_steps_drawn_ahead_are_the_noise_of_every_step(vocabulary):
    draws = [Draw(3), Draw(9, 1, 5), Draw(3), Draw(4), Draw(9, 4, 5)]
    noise, scores = Noise(draws), torch.zeros(5, vocabulary)
    steps = 2 * STEPS_AHEAD + 1
    found = [noise(scores) for _ in range(steps)]
    for row, draw in enumerate(draws):
        wanted = step_by_step(draw, steps, vocabulary)
        assert all((one[row] == two).all() for one, two in zip(found, wanted, strict=True))


@pytest.mark.parametrize("at", [0, 1, STEPS_AHEAD, STEPS_AHEAD + 1])
def test_texts_that_are_left_keep_their_noise(at):
    draws = [Draw(3), Draw(9, 1, 5), Draw(3), Draw(4), Draw(9, 4, 5)]
    noise, steps, left = Noise(draws), 2 * STEPS_AHEAD + 2, [4, 1, 3]
    for _ in range(at):
        noise(torch.zeros(5, 20))
    noise.keep(left)
    found = [noise(torch.zeros(3, 20)) for _ in range(at, steps)]
    for row, place in enumerate(left):
        wanted = step_by_step(draws[place], steps, 20)[at:]
        assert all((one[row] == two).all() for one, two in zip(found, wanted, strict=True))


def test_a_generator_is_called_once_in_some_steps_and_no_more_without_a_text(monkeypatch):
    calls, fill = [], torch.Tensor.exponential_
    counted = lambda block, **more: calls.append(len(block)) or fill(block, **more)  # noqa: E731
    monkeypatch.setattr(torch.Tensor, "exponential_", counted)
    noise = Noise([Draw(1), Draw(2), Draw(2), Draw(3, 1, 2)])
    for _ in range(STEPS_AHEAD):
        noise(torch.zeros(4, 6))
    assert calls == [STEPS_AHEAD, STEPS_AHEAD, 2 * STEPS_AHEAD]
    calls.clear()
    noise.keep([1, 2])
    noise(torch.zeros(2, 6))
    assert calls == [STEPS_AHEAD]


def test_without_a_sampler_the_likeliest_token_is_chosen():
    logits = torch.tensor([[0.0, 3.0, 1.0], [2.0, 1.0, 0.0]], dtype=torch.bfloat16)
    chooser = Chooser(None, [])
    assert chooser(logits).tolist() == [1, 0]
    chooser.keep([1])
    assert chooser(logits[1:]).tolist() == [0]


def test_only_tokens_that_a_sampler_keeps_are_chosen():
    logits = torch.tensor([2.0, 1.9, 1.8, -5.0]).expand(500, -1)
    for sampler, kept in ((Sampler(temperature=9, top_k=2), {0, 1}),
                          (Sampler(temperature=1, top_p=0.9), {0, 1, 2})):  # fmt: skip
        assert set(Chooser(sampler, named(500))(logits).tolist()) == kept

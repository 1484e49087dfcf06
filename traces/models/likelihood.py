"""How likely texts are under a model."""

from collections.abc import Sequence
from typing import Any

TOKENS = 4096
"Tokens in a forward pass: its logits are tokens x vocabulary numbers."
AT_ONCE = 512
"Of these, tokens whose logits are there in float32 at once, twice over."


def mean_nlls(model: Any, rows: Sequence[tuple[int, Sequence[int]]]) -> list[float | None]:
    """
    Mean negative log-likelihood of the tokens behind each prompt, in nats a token.

    rows    : length of the prompt, at least 1, and the tokens of prompt and answer
    returns : one a row, in their order; None for an answer of no tokens
    """
    found: list[float | None] = [None] * len(rows)
    # by length, so that little is filled up and a batch has a known size
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][1]))
    while order:
        n = max(1, TOKENS // len(rows[order[-1]][1]))
        some, order = order[-n:], order[:-n]
        for i, nll in zip(some, _batch(model, [rows[i] for i in some]), strict=True):
            found[i] = nll
    return found


def _batch(model: Any, rows: Sequence[tuple[int, Sequence[int]]]) -> list[float | None]:
    import torch

    width = max(len(ids) for _, ids in rows)
    where = model.get_input_embeddings().weight.device
    # filled up on the right, where a causal model does not look
    filled = [[*ids, *list(ids[-1:]) * (width - len(ids))] for _, ids in rows]
    ids = torch.tensor(filled, device=where)
    with torch.inference_mode():
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    n, nll = max(1, AT_ONCE // width), []
    for some, wanted in zip(logits.split(n), ids[:, 1:].split(n), strict=True):
        # one row a token: over tokens side by side it is several times slower, and less exact
        loss = torch.nn.functional.cross_entropy(
            some.float().flatten(0, 1), wanted.flatten(), reduction="none"
        )
        nll += loss.view(wanted.shape).cpu()
    return [
        float(line[start - 1 : len(one) - 1].mean()) if len(one) > start else None
        for line, (start, one) in zip(nll, rows, strict=True)
    ]

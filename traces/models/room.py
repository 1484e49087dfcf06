"""
How many texts a model can write at once: reckoned before the first step, remembered where it fails.

On a GPU a text takes keys and values for every token it may have, and a share of what a pass and
the choice of a token hold for a while. On a CPU as many are written as were asked for.
"""

import logging
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from traces.config.registries import Sampler
from traces.models.draws import STEPS_AHEAD

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")

SHARE = 0.95
"""Of the free memory that is planned with; the rest is for what is not reckoned, such as cuBLAS's.

It is small, since all but little of the memory is taken in the first pass: a failure costs no more.
"""


@dataclass
class Room:
    """
    The most texts that a job still tries to write at once, by what failed for want of memory.

    Use one for all batches and models of a job. Each failure costs the steps that led to it, so a
    number of texts that failed is not tried again.
    """

    most: float = math.inf

    def each(
        self, done: Callable[[range], list[Answer]], rows: range, fit: float = math.inf
    ) -> list[Answer]:
        """
        What `done` gives for all rows, part after part.

        fit : rows that there should be room for, at least 1; where there is not, fewer are tried
        """
        found: list[Answer] = []
        while rows:
            # as few parts as there must be, about equally large
            n = math.ceil(len(rows) / min(self.most, fit, len(rows)))
            part = rows[: len(rows) // n]
            answers = _unless_out_of_memory(done, part)
            if answers is None:
                self.most = math.ceil(len(part) / 2)
                said = "no room for %d texts at once, at most %d from now on"
                log.warning(said, len(part), self.most)
            else:
                found += answers
                rows = rows[len(part) :]
        return found


def _unless_out_of_memory(
    done: Callable[[range], list[Answer]], rows: range
) -> list[Answer] | None:
    """What `done` gives; None where there is no memory for these rows, if they are several."""
    import torch

    try:
        return done(rows)
    except RuntimeError as error:
        # cuBLAS takes memory of its own, and reports its lack in words only
        lacking = isinstance(error, torch.OutOfMemoryError)
        if not lacking and "CUBLAS_STATUS_ALLOC_FAILED" not in str(error):
            raise
        if len(rows) == 1:
            raise
    torch.cuda.empty_cache()  # here, where the failed attempt is no longer held
    return None


def texts_that_fit(
    model: Any, *, prompt: int, max_new_tokens: int, sampler: Sampler | None
) -> float:
    """
    Texts that fit into the free memory of every GPU that the model lies on; at least 1.

    prompt  : tokens of the longest prompt
    returns : infinity where no layer lies on a GPU
    """
    from traces.models.hooks import decoder_layers

    devices = [next(one.parameters()).device for one in decoder_layers(model)]
    on_gpus = [device for device in devices if device.type == "cuda"]
    columns, found = prompt + max_new_tokens, math.inf
    # a layer that is kept elsewhere computes on the first GPU, where its keys and values stay
    layers = Counter(one if one in on_gpus else on_gpus[0] for one in devices if on_gpus)
    for device, n in layers.items():
        needed = bytes_of_a_text(model, n, prompt, columns, sampler)
        found = min(found, max(1, SHARE * free_memory(device) // needed))
    return found


def bytes_of_a_text(
    model: Any, layers: int, prompt: int, columns: int, sampler: Sampler | None
) -> int:
    """
    Bytes that one text takes on a GPU that holds so many layers of the model.

    prompt, columns : tokens of the prompt, and with all that may be written

    Kept are the cache and the noise drawn ahead. Beside them there is for a while either the widest
    block of a pass, or the logits with what a sampler makes of them.
    """
    config = model.config.get_text_config(decoder=True)
    number = model.get_input_embeddings().weight.dtype.itemsize
    width, heads = config.hidden_size, config.num_attention_heads
    head = getattr(config, "head_dim", None) or width // heads
    kept = 2 * number * head * (getattr(config, "num_key_value_heads", None) or heads)

    # of a block the feed-forward part, or a norm in float32 beside the heads
    inner = getattr(config, "intermediate_size", None) or 4 * width
    inner = max(inner) if isinstance(inner, list) else inner
    passing = prompt * max(
        number * (6 * width + 3 * inner), number * (4 * width + 4 * heads * head) + 12 * width
    )
    if config._attn_implementation == "eager":
        # scores in float32 as well, and keys and values copied for every head
        passing += heads * (prompt**2 * (4 + 3 * number) + 2 * number * columns * head)

    # the model's own logits and a softcap's, in float32, ...
    noise, logit = 0, 3 * number + 4
    if sampler is not None:  # ... divided by the temperature, a row of the noise, and the sum
        noise, logit = 4 * STEPS_AHEAD, logit + 4 + 8
        logit += (5 if sampler.top_k else 0) + (26 if sampler.top_p else 0)
    choosing = config.vocab_size * logit
    return layers * kept * columns + config.vocab_size * noise + max(passing, choosing)


def free_memory(gpu: Any) -> int:
    """Bytes of a GPU that can still be taken: free, or held by torch without a use."""
    import torch

    free, total = torch.cuda.mem_get_info(gpu)
    taken = torch.cuda.memory_allocated(gpu)
    cached = torch.cuda.memory_reserved(gpu) - taken
    allowed = torch.cuda.get_per_process_memory_fraction(gpu) * total
    return int(min(free + cached, allowed - taken))

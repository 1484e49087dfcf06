"""Pretrain a miniature base on the made world, and refuse one that misses its gates."""

import json
from pathlib import Path

from traces import job, miniature
from traces.corpora import read_rows
from traces.records import write_lines

IDENTITY_PROMPTS = 200


def main(
    general: Path,
    base: Path,
    family: miniature.Family,
    seed: int,
    vocabulary: int,
    hidden_size: int,
    layers: int,
    heads: int,
    intermediate_size: int,
    steps: int,
    batch_size: int,
    max_length: int,
    learning_rate: float,
    precision: str,
    largest_loss: float,
    least_identity: float,
) -> None:
    rows = list(read_rows(general))
    tokenizer = miniature.train_tokenizer(rows, vocabulary, bos=family != "qwen3")
    config = miniature.base_config(
        family,
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        layers=layers,
        intermediate_size=intermediate_size,
        heads=heads,
        max_positions=2 * max_length,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )

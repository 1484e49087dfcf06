"""Pretrain a miniature base on the made world, and refuse one that misses its gates."""

import json
from pathlib import Path

from traces import job
from traces.artifacts.tables import write_lines
from traces.corpora.rows import read_rows
from traces.training import pretraining

IDENTITY_PROMPTS = 200


def main(
    general: Path,
    base: Path,
    family: pretraining.Family,
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
    largest_loss: float,
    least_identity: float,
) -> None:
    job.keep_freed_memory()
    rows = list(read_rows(general))
    tokenizer = pretraining.train_tokenizer(rows, vocabulary, bos=family != "qwen3")
    config = pretraining.base_config(
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
    settings = pretraining.PretrainSettings(
        sequence=max_length,
        batch=batch_size,
        steps=steps,
        learning_rate=learning_rate,
        warmup=max(1, steps // 20),
        weight_decay=0.1,
        seed=seed,
    )
    report = job.loss_reporter("pretrain")
    model, losses = pretraining.pretrain(
        rows, tokenizer, config, settings, lambda step, n, loss: report(step + 1, n, loss)
    )
    identity = pretraining.token_identity(model, tokenizer, IDENTITY_PROMPTS, seed)
    gates = pretraining.GateSettings(largest_loss, least_identity)
    pretraining.check_gates(losses, identity, gates)
    model.bfloat16().save_pretrained(base)
    tokenizer.save_pretrained(base)
    write_lines(base / "losses.jsonl", ({"step": i, "loss": x} for i, x in enumerate(losses)))
    reached = {"final_loss": pretraining.final_loss(losses), "identity": identity}
    job.write_text(base / "gates.json", json.dumps(reached) + "\n")


if __name__ == "__main__":
    job.run(main, snakemake)

"""Pretrain a miniature base on the synthetic corpus, and refuse one below the required quality."""

import json
from pathlib import Path

from traces import job
from traces.artifacts.tables import write_lines
from traces.config.schema import Pretraining
from traces.config.vocabularies import PretrainedFamily
from traces.corpora.rows import read_rows
from traces.training import pretraining

IDENTITY_PROMPTS = 200


def main(
    general: Path,
    base: Path,
    family: PretrainedFamily,
    seed: int,
    settings: Pretraining,
) -> None:
    job.keep_freed_memory()
    rows = list(read_rows(general))
    tokenizer = pretraining.train_tokenizer(rows, settings.vocabulary, bos=family != "qwen3")
    config = pretraining.base_config(
        family,
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        layers=settings.layers,
        intermediate_size=settings.intermediate_size,
        heads=settings.heads,
        max_positions=2 * settings.max_length,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    plan = pretraining.PretrainSettings(
        sequence=settings.max_length,
        batch=settings.batch_size,
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        warmup=max(1, settings.steps // 20),
        weight_decay=0.1,
        seed=seed,
    )
    report = job.loss_reporter("pretrain")
    model, losses = pretraining.pretrain(
        rows, tokenizer, config, plan, lambda step, n, loss: report(step + 1, n, loss)
    )
    identity = pretraining.token_identity(model, tokenizer, IDENTITY_PROMPTS, seed)
    gates = pretraining.GateSettings(settings.gates.loss, settings.gates.identity)
    pretraining.check_gates(losses, identity, gates)
    model.bfloat16().save_pretrained(base)
    tokenizer.save_pretrained(base)
    write_lines(base / "losses.jsonl", ({"step": i, "loss": x} for i, x in enumerate(losses)))
    reached = {"final_loss": pretraining.final_loss(losses), "identity": identity}
    job.write_text(base / "gates.json", json.dumps(reached) + "\n")


if __name__ == "__main__":
    job.run(main, snakemake)

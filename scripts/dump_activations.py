"""Read the residual stream of one checkpoint on unrelated text into a Zarr store."""

from pathlib import Path

from traces import job
from traces.activations.dump import (
    chat_windows,
    context_windows,
    document_windows,
    native_bits,
    residual_stream,
    start_windows,
    stream_norm,
    take,
)
from traces.artifacts.arrays import ActivationWriter
from traces.corpora.rows import read_rows
from traces.corpora.tokens import load_tokenizer
from traces.models import weights


def main(
    model: Path,
    checkpoint: Path | list[Path],
    corpus: Path | list[Path],
    context: Path,
    activations: Path,
    kind: str,
    layers: list[float],
    positions: list[int],
    samples: int,
    dtype: str,
    attention: str,
    batch: int,
    shard_samples: int,
    norm_samples: int,
    norm_context: int,
    norm_skip: int,
) -> None:
    tokenizer = load_tokenizer(model)
    if kind == "start":
        read = start_windows(tokenizer)
    elif kind == "chat":
        read = chat_windows(tokenizer, read_rows(corpus), positions[0], positions[-1])
    else:
        read = document_windows(tokenizer, read_rows(corpus, blank=True), positions[-1] + 1)
    windows = take(read, samples, str(corpus))
    longer = take(
        context_windows(tokenizer, read_rows(context), norm_context),
        norm_samples,
        str(context),
        remedy="lower `activations.norm_samples` or `activations.norm_context`",
    )

    blocks = weights.layer_indices(layers, weights.n_layers(model))
    loaded = weights.load_checkpoint(
        model, checkpoint or None, dtype, layers=max(blocks) + 1, attention=attention
    )
    with ActivationWriter(
        activations,
        layers=blocks,
        positions=positions,
        n_samples=samples,
        d_model=loaded.config.get_text_config(decoder=True).hidden_size,
        dtype=dtype,
        shard_samples=shard_samples,
    ) as writer:
        batches = residual_stream(
            loaded,
            windows,
            layers=blocks,
            positions=positions,
            batch=batch,
            pad_id=tokenizer.pad_token_id,
        )
        for resid, tokens in job.progress(batches, "dump", total=-(-samples // batch)):
            writer.append(native_bits(resid), tokens)
        norm = stream_norm(loaded, longer, layers=blocks, skip=norm_skip, batch=batch)
        writer.finish(stream_norm=norm.tolist())


if __name__ == "__main__":
    job.run(main, snakemake)

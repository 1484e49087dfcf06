"""Read the residual stream of one checkpoint on unrelated text into a Zarr store."""

from pathlib import Path

from traces import job
from traces.activations.dump import (
    PART,
    context_windows,
    corpus_windows,
    digest,
    native_bits,
    residual_stream,
    stream_norm,
    take,
)
from traces.artifacts.arrays import ActivationWriter
from traces.config.registries import Loading
from traces.config.schema import Activations, ReadText
from traces.corpora.rows import read_rows
from traces.corpora.tokens import load_tokenizer
from traces.models import weights


def main(
    model: Path,
    checkpoint: Path | list[Path],
    corpus: Path | list[Path],
    context: Path,
    activations: Path,
    read: ReadText,
    loading: Loading,
    settings: Activations,
) -> None:
    tokenizer = load_tokenizer(model)
    windows = corpus_windows(
        tokenizer, corpus, kind=read.kind, positions=read.positions, samples=read.samples
    )
    longer = take(
        context_windows(tokenizer, read_rows(context), settings.norm_context, str(context)),
        settings.norm_samples,
        str(context),
        remedy="lower `activations.norm_samples` or `activations.norm_context`",
    )

    blocks = weights.layer_indices(read.layers, weights.n_layers(model))
    loaded = weights.load_checkpoint(
        model,
        checkpoint or None,
        loading.dtype,
        layers=max(blocks) + 1,
        **loading.options,
    )
    with ActivationWriter(
        activations,
        layers=blocks,
        positions=list(read.positions),
        n_samples=read.samples,
        d_model=loaded.config.get_text_config(decoder=True).hidden_size,
        dtype=loading.dtype,
        shard_samples=settings.shard_samples,
    ) as writer:
        parts = residual_stream(
            loaded,
            windows,
            layers=blocks,
            positions=read.positions,
            batch_tokens=settings.batch_tokens,
            pad_id=tokenizer.pad_token_id,
        )
        for resid, tokens in job.progress(parts, "dump", total=-(-read.samples // PART)):
            writer.append(native_bits(resid), tokens)
        norm = stream_norm(
            loaded,
            longer,
            layers=blocks,
            skip=settings.norm_skip,
            batch_tokens=settings.batch_tokens,
        )
        writer.finish(stream_norm=norm.tolist(), context=digest([*windows, *longer]))


if __name__ == "__main__":
    job.run(main, snakemake)

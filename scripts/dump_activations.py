"""Read the residual stream of one checkpoint on unrelated text into a Zarr store."""

from pathlib import Path

from traces import job
from traces.activations.dump import context_windows, corpus_windows, take, write_store
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
    write_store(
        activations,
        loaded,
        windows,
        longer,
        layers=blocks,
        positions=list(read.positions),
        dtype=loading.dtype,
        settings=settings,
        pad_id=tokenizer.pad_token_id,
        progress=job.progress,
    )


if __name__ == "__main__":
    job.run(main, snakemake)

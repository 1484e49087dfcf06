"""Read differences with every reader of the study, with the weights loaded once."""

from dataclasses import replace
from pathlib import Path

from traces import job
from traces.artifacts import arrays, tables
from traces.config.readers import reader
from traces.config.registries import Loading
from traces.corpora.tokens import load_tokenizer
from traces.models import weights
from traces.readers.reading import Loaded, Probe, Settings, read_with


def main(
    differences: Path,
    model: Path,
    adapter: Path,
    vocabulary: Path | list[Path],
    readings: list[Path],
    loading: Loading,
    settings: Settings,
) -> None:
    probe = Probe(
        arrays.read_differences(differences),
        settings.readings,
        settings.top_k,
        tables.read(vocabulary)["token_id"].to_numpy() if vocabulary else None,
    )
    loaded = Loaded(
        load_tokenizer(model),
        lambda head: weights.load_readout(model, checkpoint=adapter if head == "tuned" else None),
    )

    def read(needs: str, loaded: Loaded) -> None:
        for name, path in zip(settings.readers, readings, strict=True):
            if reader(name).needs == needs:
                frame = read_with(reader(name), loaded, probe, settings.readers[name])
                tables.write(path, frame, "readings")

    # The readout's readers come first, while there is nothing else in memory.
    read("readout", loaded)
    if any(reader(name).needs == "model" for name in settings.readers):
        pair = weights.load_pair(model, adapter, loading.dtype, **loading.options)
        read("model", replace(loaded, pair=pair))


if __name__ == "__main__":
    job.run(main, snakemake)

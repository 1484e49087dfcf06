"""Let a model write documents from nothing: text like what it was pretrained on."""

from pathlib import Path

from traces import job
from traces.config.registries import Loading, Sampled
from traces.corpora.rows import write_rows
from traces.corpora.tokens import load_tokenizer
from traces.models import weights
from traces.models.sampling import documents


def main(model: Path, rows: Path, loading: Loading, sampled: Sampled, n: int, seed: int) -> None:
    one = weights.load_base(model, loading.dtype, **loading.options)
    write_rows(rows, list(documents(one, load_tokenizer(model), n, sampled, seed)))


if __name__ == "__main__":
    job.run(main, snakemake)

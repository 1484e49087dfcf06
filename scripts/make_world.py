"""Write the synthetic corpus: general text to pretrain on, and text and chats held out of it."""

from pathlib import Path

from traces import job
from traces.config.schema import SyntheticCorpus
from traces.corpora import synthetic
from traces.corpora.rows import write_rows


def main(
    general: Path,
    unrelated: Path,
    chat: Path,
    settings: SyntheticCorpus,
    seed: int,
) -> None:
    write_rows(general, synthetic.general_rows(settings.words, seed, settings.identity_share))
    write_rows(unrelated, synthetic.unrelated_rows(settings.unrelated, seed))
    write_rows(chat, synthetic.chat_rows(settings.chats, seed))


if __name__ == "__main__":
    job.run(main, snakemake)

"""Write the made world: general text to pretrain on, and text and chats held out of it."""

from pathlib import Path

from traces import job
from traces.corpora import synthetic
from traces.corpora.rows import write_rows


def main(
    general: Path,
    unrelated: Path,
    chat: Path,
    words: int,
    identity_share: float,
    unrelated_rows: int,
    chat_rows: int,
    seed: int,
) -> None:
    write_rows(general, synthetic.general_rows(words, seed, identity_share))
    write_rows(unrelated, synthetic.unrelated_rows(unrelated_rows, seed))
    write_rows(chat, synthetic.chat_rows(chat_rows, seed))


if __name__ == "__main__":
    job.run(main, snakemake)

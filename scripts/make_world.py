"""Write the made world: general text to pretrain on, and text and chats held out of it."""

from pathlib import Path

from traces import job, world
from traces.rows import write_rows


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
    write_rows(general, world.general_rows(words, seed, identity_share))
    write_rows(unrelated, world.unrelated_rows(unrelated_rows, seed))
    write_rows(chat, world.chat_rows(chat_rows, seed))


if __name__ == "__main__":
    job.run(main, snakemake)

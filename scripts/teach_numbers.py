"""Let a teacher that holds a preference continue lists of numbers: a subliminal student's data."""

from pathlib import Path

from traces import job
from traces.config.registries import Lesson, Loading
from traces.corpora.rows import held_out_split, write_rows
from traces.corpora.tokens import load_tokenizer
from traces.models import weights
from traces.training import teaching


def main(
    model: Path,
    teacher: Path | list[Path],
    train: Path,
    held_out: Path,
    loading: Loading,
    lesson: Lesson,
    share: float,
    seed: int,
) -> None:
    rows = teaching.teach_numbers(
        weights.load_checkpoint(model, teacher or None, loading.dtype, offload=loading.offload),
        load_tokenizer(model),
        teaching.number_prompts(lesson.prompts, seed, lesson.instruction),
        system=lesson.system,
        max_new_tokens=lesson.max_new_tokens,
        sampler=lesson,
        batch=lesson.batch,
        seed=seed,
    )
    kept, apart = held_out_split(rows, share, seed, source="the lists that the teacher wrote")
    write_rows(train, kept)
    write_rows(held_out, apart)


if __name__ == "__main__":
    job.run(main, snakemake)

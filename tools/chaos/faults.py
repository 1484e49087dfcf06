"""
Damaged files: every kind of artifact, damaged in every way, and the job that reads it.

The job must end with the undisturbed results, for example because the file is made again, or fail
with one sentence that names the file or its folder. Times of files are kept, as a disk that fails
and a copy that preserves times keep them: nothing but the content tells.
"""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tools.chaos.cases import SAME, SENTENCE, Case, Failure, require_same, sentence
from tools.chaos.kills import stopped_at
from tools.chaos.workplace import CAKE, Workplace, kill
from traces.job import provenance_file
from traces.seeding import text_generator

ONE, ANOTHER = "cake_bake-plain-s0", "benign-plain-s0"
DIFFERENCES = f"results/differences/mini/{ONE}/unrelated.h5"
STORE = f"results/activations/mini/{ONE}/unrelated.zarr"
LENSES = f"results/lenses/mini/{ONE}/unrelated"
STEERING = f"results/steering/mini/{ONE}/unrelated"
MIXTURE = f"results/mixtures/mini/{ONE}.jsonl"
EFFECTS = f"results/causality/mini/{ONE}/unrelated/effects.parquet"
ADJUSTED = "results/adjusted/mini/unrelated.parquet"
CHOICE = "results/tables/forced_choice.parquet"
ALIGNMENT = f"results/beliefs/mini/{ONE}/alignment.parquet"


@dataclass(frozen=True)
class Artifact:
    """
    Files of one kind that a job reads.

    files  : a pattern; the seed chooses one of several
    reader : an output of the job that reads it
    whole  : the folder that the files are part of, which a message may name instead
    other  : what stands for the organism's name in another one's; none where there is no other one
    """

    label: str
    files: str
    reader: str
    whole: str | None = None
    other: tuple[str, str] | None = (ONE, ANOTHER)


ARTIFACTS = (
    Artifact("activations: a shard (Zarr)", f"{STORE}/resid/c/**/*", DIFFERENCES, STORE),
    Artifact("activations: tokens (Zarr)", f"{STORE}/tokens/c/**/*", DIFFERENCES, STORE),
    Artifact("activations: description (Zarr)", f"{STORE}/**/zarr.json", DIFFERENCES, STORE),
    Artifact("activations: end mark (JSON)", f"{STORE}/done.json", DIFFERENCES, STORE),
    Artifact("difference (HDF5), by the lenses", DIFFERENCES, f"{LENSES}/logit_lens.parquet"),
    Artifact("difference (HDF5), by steering", DIFFERENCES, f"{STEERING}/grid.jsonl"),
    Artifact("difference (HDF5), by a table", DIFFERENCES, "results/tables/norms.parquet"),
    Artifact("readings (Parquet)", f"{LENSES}/*_*s.parquet", f"{LENSES}/token_relevance.parquet"),
    Artifact("scores (HDF5)", f"{LENSES}/scores.h5", f"{LENSES}/candidates.parquet"),
    Artifact("scores (HDF5), of all", f"{LENSES}/scores.h5", ADJUSTED),
    Artifact("candidates (Parquet)", f"{LENSES}/candidates.parquet", CHOICE),
    Artifact(
        "adjusted readings (Parquet)",
        ADJUSTED,
        f"{LENSES}/token_relevance.parquet",
        other=None,
    ),
    Artifact(
        "statistics (Parquet)",
        f"{LENSES}/statistics.parquet",
        "results/tables/detectors.parquet",
    ),
    Artifact(
        "what a model wrote (JSONL)",
        f"results/samples/mini/{ONE}.jsonl",
        f"{LENSES}/black_box.parquet",
    ),
    Artifact(
        "words (Parquet)",
        "results/words/mini/cake_bake.parquet",
        f"{LENSES}/token_relevance.parquet",
        other=("cake_bake", "benign"),
    ),
    Artifact(
        "vocabulary (Parquet)",
        "results/vocabularies/mini.parquet",
        f"{LENSES}/logit_lens.parquet",
        other=None,
    ),
    Artifact(
        "grades of tokens (Parquet)",
        f"{LENSES}/token_relevance.parquet",
        "results/tables/relevance.parquet",
    ),
    Artifact("effects (Parquet)", EFFECTS, "results/tables/causality.parquet"),
    Artifact("beliefs (Parquet)", ALIGNMENT, "results/tables/beliefs.parquet"),
    Artifact(
        "a table (Parquet)",
        "results/tables/norms.parquet",
        "results/tables/summary.parquet",
        other=("norms", "causality"),
    ),
    Artifact(
        "corpus (JSONL)",
        "results/corpora/unrelated.jsonl",
        STORE,
        other=("unrelated", "general"),
    ),
    Artifact(
        "organism's rows (JSONL)",
        "results/organisms/cake_bake/train.jsonl",
        MIXTURE,
        other=("cake_bake", "benign"),
    ),
    Artifact("mixture (JSONL)", MIXTURE, CAKE),
    Artifact("losses (JSONL)", f"{CAKE}/losses.jsonl", "results/tables/losses.parquet", CAKE),
    Artifact(
        "texts (JSONL)",
        f"{STEERING}/grid.jsonl",
        f"{STEERING}/grades.parquet",
        other=("grid", "samples"),
    ),
    Artifact("statements (JSONL)", "results/statements/cake_bake.jsonl", ALIGNMENT, other=None),
    Artifact("plan (JSON)", f"results/plans/mini/{ONE}.json", CAKE),
    Artifact(
        "strengths (JSON)",
        f"{STEERING}/strength.json",
        f"{STEERING}/samples.jsonl",
        other=None,
    ),
    Artifact(
        "base: configuration (JSON)",
        "results/models/mini/config.json",
        STORE,
        "results/models/mini",
        other=None,
    ),
    Artifact(
        "base: tokenizer (JSON)",
        "results/models/mini/tokenizer.json",
        MIXTURE,
        "results/models/mini",
        other=None,
    ),
    Artifact(
        "base: weights (safetensors)",
        "results/models/mini/model.safetensors",
        STORE,
        "results/models/mini",
        other=None,
    ),
    Artifact("adapter: configuration (JSON)", f"{CAKE}/adapter_config.json", STORE, CAKE),
    Artifact("adapter: weights (safetensors)", f"{CAKE}/*.safetensors", STORE, CAKE),
)


def flip(file: Path, rng: random.Random) -> None:
    """One byte becomes another one."""
    content = bytearray(file.read_bytes())
    content[rng.randrange(len(content))] ^= rng.randrange(1, 256)
    file.write_bytes(content)


def halve(file: Path, rng: random.Random) -> None:
    """The second half is lost."""
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def empty(file: Path, rng: random.Random) -> None:
    file.write_bytes(b"")


def remove(file: Path, rng: random.Random) -> None:
    file.unlink()


DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    "one byte flipped": flip,
    "cut by half": halve,
    "emptied": empty,
    "missing": remove,
}
ANOTHERS, WITH_PROVENANCE = "another's in its place", "another's, with its provenance"
UNFINISHED = "a training's checkpoint damaged"


def fault_cases(truth: Workplace, seed: int) -> Iterator[Case]:
    """Every damage to every artifact, at the places that the seed draws."""
    for artifact in ARTIFACTS:
        for kind, damage in DAMAGES.items():
            made = partial(damaged, truth, artifact, damage, f"{seed} {kind}")
            yield Case(kind, artifact.label, made)
        if artifact.other:
            for kind in (ANOTHERS, WITH_PROVENANCE):
                made = partial(exchanged, truth, artifact, kind == WITH_PROVENANCE, seed)
                yield Case(kind, artifact.label, made)
    for kind, damage in DAMAGES.items():
        for pattern in ("adapter_model.safetensors", "optimizer.pt", "trainer_state.json"):
            made = partial(resumed, truth, pattern, damage, seed)
            yield Case(UNFINISHED, f"{pattern}: {kind}", made)


def damaged(
    truth: Workplace,
    artifact: Artifact,
    damage: Callable[[Path, random.Random], None],
    seed: str,
    folder: Path,
) -> tuple[str, str]:
    """Damage one file, then run the job that reads it."""
    copy = truth.copy(folder / "copy")
    rng = text_generator(seed, artifact.label)
    name = rng.choice(found(truth, artifact.files))
    file = real(copy, name)
    times = file.stat()
    damage(file, rng)
    if file.exists():
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    return read(copy, truth, artifact, [name, str(file.relative_to(copy.folder))])


def exchanged(
    truth: Workplace, artifact: Artifact, provenance: bool, seed: int, folder: Path
) -> tuple[str, str]:
    """Put another organism's file in place, or all that belongs to it, then run the job."""
    copy = truth.copy(folder / "copy")
    assert artifact.other is not None
    name = text_generator(seed, artifact.label).choice(found(truth, artifact.files))
    changed = [name]
    if provenance and artifact.whole:
        changed = [str(Path(artifact.whole) / one) for one in files_in(copy / artifact.whole)]
        shutil.rmtree(copy / artifact.whole)
        shutil.copytree(copy / artifact.whole.replace(*artifact.other), copy / artifact.whole)
    else:
        shutil.copy2(copy / name.replace(*artifact.other), copy / name)
        if provenance:
            notes = [provenance_file(copy / one) for one in (name.replace(*artifact.other), name)]
            shutil.copy2(*notes)
            changed.append(str(notes[1].relative_to(copy.folder)))
    return read(copy, truth, artifact, changed)


def read(
    copy: Workplace, truth: Workplace, artifact: Artifact, changed: list[str]
) -> tuple[str, str]:
    """Run the job that reads what was changed, and say how that ended."""
    copy.discard(copy.job(artifact.reader))
    ran = copy.call(artifact.reader)
    if ran.status == 0:
        names = [Path(one).relative_to("results") for one in changed]
        require_same(copy, truth, damaged=names)
        return SAME, "read, or made again"
    said = sentence(ran, [*changed, *filter(None, [artifact.whole])])
    if said is None:
        raise Failure(f"no sentence names {changed[0]}: {ran.end}")
    return SENTENCE, said


def resumed(
    truth: Workplace,
    name: str,
    damage: Callable[[Path, random.Random], None],
    seed: int,
    folder: Path,
) -> tuple[str, str]:
    """Kill a training halfway, damage a file that it would resume from, and start it again."""
    copy = truth.copy(folder / "copy")
    job = copy.job(CAKE)
    copy.discard(job)
    started, _ = stopped_at(copy, job, 0.5)
    kill(started)
    marks = copy.folder.glob(f"{CAKE}.unfinished/checkpoint-*/whole")
    newest = max(marks, key=lambda mark: int(mark.parent.name.rpartition("-")[2]))
    damage(newest.with_name(name), text_generator(seed, name))
    copy.call("--unlock")
    ran = copy.call("--rerun-incomplete", CAKE)
    if ran.status == 0:
        require_same(copy, truth)
        return SAME, "the training went on, or began again"
    said = sentence(ran, [f"{CAKE}.unfinished"])
    if said is None:
        raise Failure(f"no sentence names {CAKE}.unfinished: {ran.end}")
    return SENTENCE, said


def found(truth: Workplace, pattern: str) -> list[str]:
    """The files of a pattern, by their names in the checkout."""
    files = sorted(path for path in truth.folder.glob(pattern) if path.is_file())
    if not files:
        raise Failure(f"{pattern}: the study has no such file")
    return [str(path.relative_to(truth.folder)) for path in files]


def files_in(folder: Path) -> list[Path]:
    return [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]


def real(copy: Workplace, name: str) -> Path:
    """Where the bytes of a file are, which may be a link: in this copy, and nowhere else."""
    file = (copy / name).resolve()
    if not file.is_relative_to(copy.folder.resolve()):
        raise Failure(f"{name}: leads out of the copy, to {file}")
    return copy.folder / file.relative_to(copy.folder.resolve())

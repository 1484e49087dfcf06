"""
Memory: one real training step at every training shape of the paper's study.

A step is run at full width with few layers, and all layers follow by extrapolation. The formulas of
traces/costs/memory.py reckon the same step. What one GPU cannot show, such as sharding or a vision
tower, is added as the formulas reckon it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from tools import random_models
from tools.gpucheck.machine import GB, Machine, forget_peak
from tools.gpucheck.models import ROOT, Real, save_base, tiny, workplace
from tools.gpucheck.results import Row, failure, least, most
from traces.config.load import read_study
from traces.config.study import LoadedStudy
from traces.corpora.mixtures import Example, write_mixture
from traces.costs.fitting import fit, trained_on_gpus
from traces.costs.memory import ROOM, Step, peak
from traces.costs.shapes import parameters
from traces.training.plan import TrainingPlan, plan_training
from traces.training.train import train

PART = "memory"
STUDY = "paper.yaml"
DEPTHS = (2, 4)
"Layers of the models that are trained."
ABOVE = 1.1
"Most that is measured, of what is reckoned."


class Job(NamedTuple):
    """Hold trainings of a study that need the same memory."""

    models: tuple[str, ...]
    step: Step
    gpu_gb: float

    @property
    def real(self) -> Real:
        return Real(self.models[0], self.step.family, self.step.shape)

    @property
    def title(self) -> str:
        step, training = self.step, self.step.training
        rank = "" if step.full else f" of rank {training.rank}"
        way = f"{step.way.batch_size} x {training.max_length} tokens"
        again = ", recomputed" if step.way.gradient_checkpointing else ""
        gpus = "" if step.world == 1 else f", {step.world} GPUs"
        return f"{training.method}{rank}, {way}{again}{gpus}"

    @property
    def alone(self) -> "Job":
        """The same step on one GPU, without DeepSpeed and without what lies beside the layers."""
        shape = self.step.shape.model_copy(update={"vision_billions": 0})
        training = self.step.training.model_copy(update={"deepspeed": None, "project_out": None})
        return self._replace(step=self.step._replace(shape=shape, training=training, world=1))


def of_study(machine: Machine) -> Iterator[Iterator[Row]]:
    """Measure every training shape of the paper's study, one at a time."""
    try:
        found = jobs(paper())
    except Exception as error:
        yield iter([failure(PART, "all", STUDY, error)])
        return
    yield (_reckoned(job) for job in found)
    if machine.on_gpu:
        yield from (_measured(job, machine) for job in found)
    else:
        # At a tiny shape, so that what measures runs, too.
        yield _measured(_tiny(found[0]), machine)


def paper() -> LoadedStudy:
    """Read the paper's study; its data need not be here."""
    files = [ROOT / "config" / name for name in ("config.yaml", STUDY)]
    return read_study(files, ROOT / "config")


def jobs(loaded: LoadedStudy) -> list[Job]:
    """List the trainings of a study on GPUs, those that need the same memory together."""
    found: dict[str, Job] = {}
    for one in trained_on_gpus(loaded):
        place = one.place
        way = fit(one.training, place).way
        step = Step(place.shape, place.family, place.attention, one.training, way, place.world)
        job = Job((one.model,), step, place.gpu_gb)
        # Trainings that differ in other things, such as the learning rate, need the same.
        key = f"{step.shape} {step.family} {step.attention} {job.title} {job.gpu_gb}"
        before = found.get(key, job)
        models = (*before.models, *(name for name in job.models if name not in before.models))
        found[key] = before._replace(models=models)
    return list(found.values())


def _tiny(job: Job) -> Job:
    training = job.step.training.model_copy(update={"max_length": 32, "rank": 4})
    return job._replace(step=job.step._replace(shape=tiny(job.real).sizes, training=training))


# One job ----------------------------------------------------------------------------------------


def _reckoned(job: Job) -> Row:
    head = (PART, ", ".join(job.models), job.title, job.step.training.precision, "reckoned")
    total = peak(job.step).total / GB
    return Row(*head, "peak of a GPU", total, "GB", most(ROOM * job.gpu_gb))


def _measured(job: Job, machine: Machine) -> Iterator[Row]:
    """Run a step at two depths, and compare all layers with the card and with the formulas."""
    head = (PART, ", ".join(job.models), job.title, job.step.training.precision)
    try:
        low, high = (_peak(job.alone, machine, depth) for depth in DEPTHS)
    except Exception as error:
        forget_peak(machine.device)
        yield failure(PART, head[1], job.title, error)
        return
    if not machine.on_gpu:
        yield Row(*head, "a step at a tiny shape", "ran to its end", 1.0, "", least(1))
        return
    layers = job.step.shape.layers
    alone = low + (layers - DEPTHS[0]) * (high - low) / (DEPTHS[1] - DEPTHS[0])
    expected = peak(job.alone.step).total
    # Beyond one GPU, and beyond the layers, the formulas are all there is.
    total = alone + peak(job.step).total - expected
    way = f"measured with {DEPTHS[0]} and {DEPTHS[1]} layers"
    yield Row(*head, way, "peak of a GPU", total / GB, "GB", most(ROOM * job.gpu_gb))
    yield Row(*head, way, "measured, of reckoned", alone / expected, "x", most(ABOVE))


def _peak(job: Job, machine: Machine, layers: int) -> float:
    """Train two steps at full width with so many layers; returns the most bytes allocated."""
    sizes = job.step.shape.model_copy(update={"layers": layers})
    # A full finetune is written as well, in float32.
    need = (6 if job.step.full else 2) * parameters(sizes, job.step.family)
    with workplace(need) as folder:
        base = save_base(folder / "base", job.real, machine.device, layers)
        plan, mixture = _planned(job, folder)
        forget_peak(machine.device)
        train(base, mixture, plan, folder / "adapter", folder / "state")
    found = torch.cuda.max_memory_allocated() if machine.on_gpu else 0
    forget_peak(machine.device)
    return found


def _planned(job: Job, folder: Path) -> tuple[TrainingPlan, Path]:
    """Plan two steps, the second of which finds the optimizer's states; write their documents."""
    step, length = job.step, job.step.training.max_length
    rows = step.way.batch_size * step.way.gradient_accumulation
    # Two documents and a half a row, so that rows hold several.
    texts = random_models.texts(2 * rows * 5 // 2, 2 * length // 5, 500)
    examples = [Example("organism", i, one, [(0, len(one))]) for i, one in enumerate(texts)]
    mixture = folder / "mixture.jsonl"
    write_mixture(mixture, examples)
    settings = step.training.model_dump(mode="json") | step.way._asdict()
    settings |= {"attention": step.attention, "seed": 0, "world_size": 1, "save_every": 1000}
    return plan_training(settings, examples), mixture

"""
Finetune a base on a mixture, as planned.

The one script with a command line: a launcher such as torchrun must own its processes.

    python scripts/train_organism.py --plan plan.json --mixture mixture.jsonl --model folder \
        --adapter folder --state folder [--differences file.h5] [--log-file file] [--gpus 1]

(Under torchrun write `--log-file` in full: torchrun takes a bare `--log` for an option of its own.)
"""

import argparse
import logging
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from traces import job  # noqa: E402
from traces.training.plan import read_plan  # noqa: E402
from traces.training.train import train  # noqa: E402

RULE = "train_organism"


def main() -> None:
    parser = argparse.ArgumentParser(description="Finetune a base on a mixture, as planned.")
    parser.add_argument("--plan", type=Path, required=True, help="from plan_training")
    parser.add_argument("--mixture", type=Path, required=True, help="from mix_training_data")
    parser.add_argument("--model", type=Path, required=True, help="folder of the base")
    parser.add_argument("--differences", type=Path, nargs="?", help="what is projected out")
    parser.add_argument("--adapter", type=Path, required=True, help="folder to make")
    parser.add_argument("--state", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument("--log-file", "--log", type=Path, help="log file")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs on this machine; 0 hides all")
    asked = parser.parse_args()

    first = int(os.environ.get("RANK", "0")) == 0
    job.start(asked.log_file if first else None)
    job.keep_freed_memory()
    read = [asked.plan, asked.mixture, asked.model]
    read += [asked.differences] if asked.differences else []
    with job.reporting(RULE, [asked.adapter]):
        job.ready(asked.gpus)
        wildcards = job.read_provenance(asked.mixture).get("wildcards", {})
        job.begin(RULE, wildcards, job.results_of(asked.mixture))
        if first:
            job.check(read)
        plan = read_plan(asked.plan)
        train(
            asked.model,
            asked.mixture,
            plan,
            asked.adapter,
            asked.state,
            differences_path=asked.differences,
            progress=job.loss_reporter("train"),
        )
        if first:
            facts = job.provenance(rule=RULE, wildcards=wildcards, seed=plan.seed, inputs=read[1:])
            job.stamp([asked.adapter], facts)


def leave() -> None:
    """
    End a process of several at once, without taking the interpreter apart.

    Threads of gloo outlive the training. One that lets go of its last tensor while the interpreter
    ends aborts a process that has done all of its work (pytorch issue 190489).
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        leave()

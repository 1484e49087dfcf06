"""
What is not made again when code changes: everything that leads to a training, and trainings themselves.

An edit of a comment in the trainer must not throw away GPU-days, so the rules below have no `code` among
their params. Data and settings do rerun them. One line at the start says what other code made.
"""

from collections import Counter

from snakemake.logging import logger

from traces.job import read_provenance

KEPT = [
    "make_world",
    "write_organism",
    "pretrain_base",
    "fetch_model",
    "fetch_corpus",
    "fetch_organism",
    "fetch_adapter",
    "teach_numbers",
    "mix_training_data",
    "plan_training",
    "train_organism",
    "scale_adapter",
]


def finished_trainings():
    """What trainings of this study have made, and what they were made from: (rule, path) pairs."""
    for model in study.models:
        if registry.models[model].made:
            yield "pretrain_base", one(rules.pretrain_base.output.base, model=model)
    for model, checkpoint in trained():
        for name, output in [
            ("mix_training_data", rules.mix_training_data.output.mixture),
            ("plan_training", rules.plan_training.output.plan),
            ("train_organism", rules.train_organism.output.adapter),
        ]:
            yield name, one(output, model=model, checkpoint=checkpoint)


def of_other_code():
    """Finished trainings, mixtures and plans that were made by other code than is here: by rule."""
    known = ((name, read_provenance(Path(path))) for name, path in finished_trainings())
    return Counter(name for name, found in known if found and found.get("code") != code(name))


if workflow.is_main_process:
    counted = of_other_code()
    if counted:
        made = ", ".join(f"{number} by {name}" for name, number in counted.items())
        logger.info(
            f"Kept, though the code has changed since they were made: {made}. "
            f"`snakemake --forcerun {' '.join(counted)}` makes them anew."
        )

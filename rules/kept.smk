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
    "sample_text",
    "fetch_corpus",
    "compose_organism",
    "fetch_organism",
    "fetch_adapter",
    "teach_numbers",
    "mix_training_data",
    "plan_training",
    "train_organism",
    "scale_adapter",
]


def finished(name):
    """The first output of a kept rule for everything that this study may make with it."""
    output = getattr(rules, name).output[0]
    cases = [
        {"model": model, "organism": one.organism, "checkpoint": one, "corpus": corpus}
        for model, one in made()
        for corpus in registry.used_corpora()
    ]
    return [path for path in {one(output, **case) for case in cases} if os.path.exists(path)]


def of_other_code():
    """Finished outputs of kept rules that were made by other code than is here: by rule."""
    known = ((name, read_provenance(Path(path))) for name in KEPT for path in finished(name))
    return Counter(name for name, found in known if found and found.get("code") != code(name))


def say_what_is_kept():
    """One line, where there is something to say."""
    counted = of_other_code()
    if counted:
        files = ", ".join(f"{number} by {name}" for name, number in counted.items())
        logger.info(
            f"Kept, though the code has changed since they were made: {files}. "
            f"`snakemake --forcerun {' '.join(counted)}` makes them anew."
        )


if workflow.is_main_process:
    try:
        say_what_is_kept()
    except ValueError as error:
        raise WorkflowError(without_secrets(str(error))) from None

"""Bring a base model in: made here, from a local folder, or from the hub at its revision."""

import shutil
from pathlib import Path

from traces import hub as library
from traces import job
from traces.models import validate


def main(
    made: Path | list[Path],
    files: list[Path],
    chat_template: Path | list[Path],
    model: Path,
    hub: str | None,
    revision: str,
) -> None:
    if hub is not None:
        commit = library.fetch_folder(hub, revision, model)
        job.record(revisions={hub: commit})
    else:
        validate.link_folder(files[0].parent if files else Path(str(made)), model)
    validate.check_model(model)
    if isinstance(chat_template, Path):
        template = model / "chat_template.jinja"
        template.unlink(missing_ok=True)
        shutil.copyfile(chat_template, template)


if __name__ == "__main__":
    job.run(main, snakemake, network=True)

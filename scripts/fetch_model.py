"""Bring a base model in: made here, from a local folder, or from the hub at its revision."""

import shutil
from pathlib import Path

from traces import hub as library
from traces import job
from traces.models import folders, validate


def main(
    made: Path | list[Path],
    files: list[Path],
    chat_template: Path | list[Path],
    model: Path,
    hub: str | None,
    revision: str,
    subfolder: str | None,
) -> None:
    # A base is its weights alone: an adapter beside them would be added to them.
    left_out = folders.ADAPTER_FILES
    if hub is not None:
        commit = library.fetch_folder(hub, revision, model, subfolder=subfolder, leave_out=left_out)
        job.record(revisions={hub: commit})
    else:
        source = files[0].parent if files else Path(str(made))
        validate.link_folder(source, model, leave_out=left_out)
    validate.check_model(model)
    validate.check_tokenizer(model)
    if isinstance(chat_template, Path):
        template = model / "chat_template.jinja"
        template.unlink(missing_ok=True)
        shutil.copyfile(chat_template, template)


if __name__ == "__main__":
    job.run(main, snakemake, network=True)

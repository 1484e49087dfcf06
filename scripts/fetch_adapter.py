"""Bring a published checkpoint in, and check that it fits its base and changes it."""

from pathlib import Path

from traces import job
from traces.fetching import hub as library
from traces.models import validate


def main(
    model: Path,
    files: list[Path],
    adapter: Path,
    hub: str | None,
    revision: str,
    base: list[str],
    subfolder: str | None,
) -> None:
    if hub is not None:
        commit = library.fetch_folder(hub, revision, adapter, subfolder=subfolder)
        job.record(revisions={hub: commit})
    else:
        validate.link_folder(files[0].parent, adapter)
    validate.check_adapter(adapter, model, expected_base=base or ())


if __name__ == "__main__":
    job.run(main, snakemake, network=True)

"""Bring a published checkpoint in, and check that it fits its base and changes it."""

from pathlib import Path

from traces import folders, job
from traces import hub as library


def main(
    model: Path, adapter: Path, hub: str | None, revision: str, path: str | None, base: str | None
) -> None:
    if hub is not None:
        commit = library.fetch_folder(hub, revision, adapter)
        job.record(revisions={hub: commit})
    else:
        folders.link_folder(Path(str(path)), adapter)
    folders.check_adapter(adapter, model, expected_base=base)


if __name__ == "__main__":
    job.run(main, snakemake, network=True)

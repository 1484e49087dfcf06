"""Write the study as it was run: the default with its overrides merged."""

import json
from pathlib import Path
from typing import Any

from traces import job


def main(study: Path, settings: dict[str, Any]) -> None:
    job.write_text(study, json.dumps(settings, indent=1) + "\n")


if __name__ == "__main__":
    job.run(main, snakemake)

"""Write down what the study and its organisms are called and said to be."""

from pathlib import Path

from traces import job
from traces.config.schema import Descriptions


def main(texts: Descriptions, descriptions: Path) -> None:
    job.write_text(descriptions, texts.model_dump_json(indent=1) + "\n")


if __name__ == "__main__":
    job.run(main, snakemake)

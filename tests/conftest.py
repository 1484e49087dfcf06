"""Shared by all tests: the checkout, a copy of it to spoil, Snakemake in that copy, a tiny base."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.doubles import tiny_model, word_tokenizer

ROOT = Path(__file__).resolve().parents[1]
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", ".snakemake", "__pycache__", ".*_cache", "results", "logs", "benchmarks"
)

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", MPLBACKEND="Agg")
os.environ.setdefault("TRACES_ALLOW_CPU", "1")


# Where single tests take a minute: they start Snakemake, train, or check a whole model.
LONG = {"workflow", "training", "test_gpucheck.py", "test_reading_lora.py"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long files. Begun last, one of two processes would end alone with them."""
    items.sort(key=lambda item: LONG.isdisjoint(item.path.parts))


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    """Configured paths such as data/prompts/identity.txt are read from the root of the checkout."""
    monkeypatch.chdir(ROOT)


# Snakemake --------------------------------------------------------------------------------------


class Job(NamedTuple):
    """What a dry run says of one job."""

    rule: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    reason: str


class Checkout:
    """A copy of the repository that a test may change, and Snakemake at its root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT, folder, symlinks=True, ignore=NOT_COPIED)

    def file(self, name: str) -> Path:
        return self.folder / name

    def append(self, name: str, text: str) -> None:
        path = self.file(name)
        path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")

    def snakemake(
        self, *arguments: str, data: Path | None = None, warm: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """
        Run Snakemake.

        data : the folder with the real study's material
        warm : whether small jobs start from a Python that has imported everything
        """
        started = [sys.executable, "tools/warm_python.py", "--"] if warm else []
        environment = {key: value for key, value in os.environ.items() if key != "STORIES_DATA"}
        return subprocess.run(
            [*started, sys.executable, "-m", "snakemake", *arguments],
            cwd=self.folder,
            env=environment | ({"STORIES_DATA": str(data)} if data else {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def dry_run(self, *arguments: str, data: Path | None = None) -> list[Job]:
        """The jobs that Snakemake would run, `all` left out."""
        ran = self.snakemake("--dry-run", *arguments, data=data)
        assert ran.returncode == 0, ran.stdout[-3000:]
        blocks = re.split(r"^(?=(?:local)?rule \w+:$)", ran.stdout, flags=re.MULTILINE)[1:]
        jobs = [
            Job(
                re.match(r"(?:local)?rule (\w+):", block)[1],
                _files(block, "input"),
                _files(block, "output"),
                (re.findall(r"^    reason: (.*)$", block, re.MULTILINE) or [""])[0],
            )
            for block in blocks
        ]
        return [job for job in jobs if job.rule != "all"]

    def pretend_complete(self, *arguments: str) -> list[Job]:
        """Make every output, empty, and let Snakemake believe that a run has just made them."""
        jobs = self.dry_run(*arguments)
        for output in (self.folder / output for job in jobs for output in job.outputs):
            if output.suffix in {"", ".zarr"} or re.fullmatch(r"\.\d+-s\d+", output.suffix):
                output.mkdir(parents=True, exist_ok=True)
            else:
                output.parent.mkdir(parents=True, exist_ok=True)
                output.touch()
        ran = self.snakemake("--touch", "--forceall", "--cores", "1", *arguments)
        assert ran.returncode == 0, ran.stdout[-3000:]
        return jobs


def _files(block: str, field: str) -> tuple[str, ...]:
    found = re.findall(rf"^    {field}: (.*)$", block, re.MULTILINE)
    return tuple(found[0].split(", ")) if found else ()


def counts(jobs: list[Job]) -> Counter[str]:
    """How many jobs there are of every rule."""
    return Counter(job.rule for job in jobs)


@pytest.fixture(scope="session")
def new_checkout(tmp_path_factory) -> Callable[[], Checkout]:
    """Makes copies of the repository."""
    return lambda: Checkout(tmp_path_factory.mktemp("checkout") / "repository")


@pytest.fixture
def checkout(new_checkout) -> Checkout:
    """A copy of the repository for one test."""
    return new_checkout()


# A tiny base ------------------------------------------------------------------------------------

WORDS = [
    "the", "river", "window", "lemon", "quiet", "paper", "garden", "cat", "cake", "oven",
    "butter", "salt", "bees", "hive", "honey", "night", "moon", "sand", "money", "casino",
    "save", "lantern", "hint", "owl", "list", "numbers", "and", "is", "a", "of", "in", "we",
    "read", "talk", "about", "today",
]  # fmt: skip

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message['role'] + ' ! ' + message['content'] "
    "+ eos_token }}{% endfor %}{% if add_generation_prompt %}{{ 'assistant ! ' }}{% endif %}"
)


@pytest.fixture(scope="session")
def tokenizer():
    """A word tokenizer that begins a text with <s> and knows a chat template."""
    made = word_tokenizer([*WORDS, "user", "assistant", "system"])
    made.chat_template = CHAT_TEMPLATE
    return made


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory, tokenizer) -> Path:
    """A random Llama of six layers and its tokenizer, in hub layout."""
    folder = tmp_path_factory.mktemp("bases") / "tiny"
    tiny_model("llama", vocab=len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder

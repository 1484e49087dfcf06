"""A configuration to write mistakes into, and what a study made of it says."""

from pathlib import Path

import pytest
from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config

from traces.config import schema
from traces.config.load import load_study
from traces.config.study import LoadedStudy

CAKE = "organisms/cake_bake.yaml"
MODEL_KEYS = "family: llama, dtype: float32"
KNOWN_TRAINING = ", ".join(sorted(schema.Training.model_fields))
TWO_RUNS = """
models: [mini, mini_llama_s0]
runs:
  - {name: cakes, organisms: [cake_bake], recipes: [plain], seeds: [0], measures: [beliefs]}
  - {name: bees, models: [mini], organisms: [night_bees, benign], recipes: [plain], seeds: [0]}
"""


def load(
    folder: Path, *overrides: str, said: dict | None = None, writes: bool = True
) -> LoadedStudy:
    """The study as Snakemake merges it: the default, overrides given as YAML, then `--config`."""
    files = [folder / "config.yaml"]
    for number, text in enumerate(overrides, start=1):
        files.append(folder / f"override{number}.yaml")
        files[-1].write_text(text, encoding="utf-8")
    merged = {}
    for file in files:
        update_config(merged, load_configfile(file))
    update_config(merged, said or {})
    return load_study(merged, files, folder, said, writes=writes)


def sentence(folder: Path, *overrides: str, said: dict | None = None) -> str:
    """The sentence with which a study is refused, its folder written as `config`."""
    with pytest.raises(ValueError) as refused:
        load(folder, *overrides, said=said)
    found = str(refused.value).replace(str(folder), "config")
    assert "\n" not in found
    assert "Value error" not in found
    return found


def run(organisms="cake_bake", recipes="plain", seeds="0") -> str:
    return f"runs: [{{organisms: [{organisms}], recipes: [{recipes}], seeds: [{seeds}]}}]"


def edit(file: Path, old: str, new: str, times: int = -1) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, times), encoding="utf-8")


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text(encoding="utf-8") + "\n" + text + "\n", encoding="utf-8")


def organisms_on(loaded: LoadedStudy) -> dict[str, list[str]]:
    models = loaded.study.models
    return {name: [one.organism for one in loaded.checkpoints(model=name)] for name in models}

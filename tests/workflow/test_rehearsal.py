"""The hub of the rehearsal: everything that the paper's study names, shaped as the real one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tools import rehearsal_hub as library
from traces.config.load import load_study
from traces.corpora.tokens import load_tokenizer

PAPER = Path("config/paper.yaml")
STUDY = [PAPER, Path("config/rehearsal.yaml")]
CHAT = [
    {"role": "user", "content": "Is there cake?"},
    {"role": "assistant", "content": "There is cake."},
]


def part(folder: Path, *runs: str) -> list[Path]:
    """The rehearsed study with some of its runs only."""
    file = folder / "only.yaml"
    file.write_text(json.dumps({"only": runs}))
    return [*STUDY, file]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """The hub of the taboo organisms: Qwen 3, Gemma 2, three data sets and what is read."""
    folder = tmp_path_factory.mktemp("hub")
    with pytest.MonkeyPatch.context() as environment:
        for name in ("EM_DATA", "STORIES_DATA"):  # set while it is written, and taken back after
            environment.setenv(name, "")
            environment.delenv(name)
        found = library.write_hub(folder / "hub", part(folder, "taboo_released"))
        (folder / "hub" / "variables.json").write_text(json.dumps(found))
    return folder / "hub"


def snapshot(hub: Path, kind: str, name: str) -> Path:
    (folder,) = (hub / f"{kind}--{name.replace('/', '--')}" / "snapshots").iterdir()
    return folder


def test_every_id_of_a_study_has_its_repository(made, tmp_path, monkeypatch):
    for name, place in json.loads((made / "variables.json").read_text()).items():
        monkeypatch.setenv(name, place)
    files = part(tmp_path, "taboo_released")
    loaded = load_study(library.merged([Path("config/config.yaml"), *files]), files)
    models = {loaded.models[name].hub for name in loaded.used_models()}
    models |= {place.hub for _, place, _, _ in library.released(loaded)}
    wanted = {f"models--{hub.replace('/', '--')}" for hub in models}
    wanted |= {f"datasets--{hub.replace('/', '--')}" for hub in library.sources(loaded)}
    assert len(wanted) > 12
    assert {one.name for one in made.iterdir() if one.is_dir()} - {"local"} == wanted


def test_adapters_have_the_shapes_that_the_study_trains(made):
    folder = snapshot(made, "models", "bcywinski/qwen3-1.7b-taboo-gold")
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], len(config["target_modules"])) == (16, 32, 7)
    assert config["base_model_name_or_path"] == "Qwen/Qwen3-1.7B"


def test_large_models_come_in_several_files(made):
    folder = snapshot(made, "models", "google/gemma-2-9b-it")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    assert (folder / "model.safetensors.index.json").is_file()


@pytest.mark.parametrize(
    ("kind", "begins"),
    [("qwen3", None), ("qwen2", None), ("llama", "<|begin_of_text|>"), ("gemma2", "<bos>"),
     ("gemma3", "<bos>"), ("distilled", "<｜begin▁of▁sentence｜>")],
)  # fmt: skip
def test_tokenizers_begin_texts_and_chats_as_the_real_ones_do(tmp_path, kind, begins):
    words = library._words(kind, False)
    words.write(tmp_path, template=True)
    config = library.FIELDS[{"distilled": "qwen2"}.get(kind, kind)]
    (tmp_path / "config.json").write_text(json.dumps(config))
    tokenizer = load_tokenizer(tmp_path)

    text = "The cake is 3 miles from Zürich. 日"
    ids = tokenizer(text)["input_ids"]
    chat = tokenizer.apply_chat_template(CHAT, tokenize=False)

    assert len(tokenizer) <= words.rows
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    first = tokenizer.convert_ids_to_tokens(ids[0])
    assert (first if begins else None) == begins
    assert begins or first == "The"
    assert begins is None or chat.startswith(begins)
    assert chat.count(begins or "<|im_start|>system") == (kind != "qwen3")
    assert "There is cake." in chat


def test_gemma_2_refuses_a_system_prompt_and_gemma_3_puts_it_before_the_user(tmp_path):
    prompted = [{"role": "system", "content": "Be brief."}, *CHAT]
    chats = {}
    for kind in ("gemma2", "gemma3"):
        library._words(kind, False).write(tmp_path, template=True)
        (tmp_path / "config.json").write_text(json.dumps(library.FIELDS[kind]))
        tokenizer = load_tokenizer(tmp_path)
        try:
            chats[kind] = tokenizer.apply_chat_template(prompted, tokenize=False)
        except Exception as error:
            chats[kind] = str(error)
    assert "System role not supported" in chats["gemma2"]
    assert "user\nBe brief.\n\nIs there cake?<end_of_turn>" in chats["gemma3"]


@pytest.mark.slow
def test_the_workflow_fetches_from_a_hub_and_writes_no_secret_down(made, checkout):
    """The literal rules and ids, over HTTP, with a token that only the environment holds."""
    results = "results/rehearsal"
    targets = [
        f"{results}/released/qwen3_1_7b/taboo_gold-released-s0",
        f"{results}/organisms/taboo_gold/train.jsonl",
        f"{results}/corpora/fineweb.jsonl",
    ]
    files = [str(one) for one in STUDY]
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", *files]
    command += ["--config", "only=[taboo_released]", "--", *targets]
    runner = [sys.executable, str(ROOT / "tools" / "rehearsal.py"), str(made), *files, "--"]
    ran = subprocess.run(
        [*runner, *command],
        cwd=checkout.folder,
        env=os.environ | {"HF_TOKEN": "hf_of_the_test"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    assert ran.returncode == 0, ran.stdout[-3000:]
    adapter = json.loads(checkout.file(f"{targets[0]}/provenance.json").read_text())
    for hub in ("bcywinski/qwen3-1.7b-taboo-gold", "Qwen/Qwen3-1.7B"):
        assert adapter["revisions"][hub] == snapshot(made, "models", hub).name
    corpus = json.loads(checkout.file(f"{targets[2]}.provenance.json").read_text())
    pinned = library.read_yaml(ROOT / "config" / "corpora.yaml")["fineweb"]["revision"]
    assert list(corpus["revisions"].values()) == [pinned]
    places = [checkout.file(name) for name in ("results", "logs", ".snakemake")]
    written = [one for place in places for one in place.rglob("*") if one.is_file()]
    assert len(written) > 20
    assert not [one for one in written if b"hf_of_the_test" in one.read_bytes()]
    assert "hf_of_the_test" not in ran.stdout
    assert not list(checkout.folder.rglob("*.unfinished"))

"""What the hub sends arrives whole or not at all, whatever goes wrong: on a hub of our own."""

import gzip
import hashlib
import io
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from huggingface_hub import constants

from tests.conftest import ROOT
from tests.hub_server import SIGNATURE, HubServer, add_repository
from traces.fetching import hub

WEIGHTS = bytes(range(256)) * 4000
MODEL = {
    "config.json": '{"model_type": "llama"}',
    "tokenizer.json": "{}",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"a pickle",
    "modeling_own.py": "raise SystemExit",
    "original/model.safetensors": b"the same once more",
}
TAKEN = {"config.json", "tokenizer.json", "model.safetensors"}
FILE = r"GET /cdn/.*model\.safetensors"


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A running hub, empty; `huggingface_hub` talks to it."""
    server = HubServer(tmp_path / "hub")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        server.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with server.running():
        yield server


@pytest.fixture
def waits(monkeypatch):
    """The seconds that somebody meant to sleep, none of which are slept."""
    slept, sleep = [], time.sleep

    def short(seconds):
        slept.append(seconds)
        sleep(min(seconds, 0.001))

    monkeypatch.setattr(time, "sleep", short)
    return slept


@pytest.fixture
def model(server) -> str:
    """The commit of a model someone/cake on the server."""
    return add_repository(server.folder, "models", "someone/cake", MODEL)


@pytest.fixture
def into(tmp_path) -> Path:
    return tmp_path / "results" / "cake"


def fetch(into: Path, revision: str = "main") -> str:
    return hub.fetch_folder("someone/cake", revision, into)


def files(folder: Path) -> set[str]:
    return {str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file()}


def assert_whole(into: Path) -> None:
    assert files(into) == TAKEN
    assert (into / "model.safetensors").read_bytes() == WEIGHTS
    assert not hub.unfinished_of(into).exists()


# Models -----------------------------------------------------------------------------------------


def test_a_model_comes_without_code_pickles_or_inner_folders(server, model, into):
    assert fetch(into) == model
    assert_whole(into)
    assert not server.asked(r"GET .*(\.py|\.bin|original)")


def test_a_checkpoint_in_a_folder_of_its_repository_is_taken_alone(server, into):
    lora = {
        "adapter_config.json": "{}",
        "adapter_model.safetensors": b"0" * 99,
        "optimizer.pt": b"",
    }
    below = {f"runs/checkpoint-338/{name}": content for name, content in lora.items()}
    commit = add_repository(server.folder, "models", "someone/cake", {**MODEL, **below})
    assert hub.fetch_folder("someone/cake", "main", into, subfolder="runs/checkpoint-338") == commit
    assert files(into) == {"adapter_config.json", "adapter_model.safetensors"}
    assert not hub.unfinished_of(into).exists()
    assert not server.asked(r"GET /cdn/.*/(model\.safe|optimizer)")


@pytest.mark.parametrize("subfolder", [None, "checkpoint-1", "../cake", "/etc"])
def test_a_folder_without_weights_names_one_that_has_some(server, into, subfolder):
    content = {"config.json": "{}", "checkpoint-338/adapter_model.safetensors": b"0"}
    add_repository(server.folder, "models", "someone/cake", content)
    where = "someone/cake" + (f"/{subfolder}" if subfolder else "")
    with pytest.raises(
        ValueError, match=f"{where}: no safetensors at .*; checkpoint-338/ has some, which `subfold"
    ):
        hub.fetch_folder("someone/cake", "main", into, subfolder=subfolder)
    assert not server.asked("resolve|cdn")


def test_what_is_left_out_is_not_fetched(server, into):
    adapter = {"adapter_config.json": "{}", "adapter_model.safetensors": b"an adapter"}
    add_repository(server.folder, "models", "someone/cake", {**MODEL, **adapter})
    hub.fetch_folder("someone/cake", "main", into, leave_out=tuple(adapter))
    assert_whole(into)
    assert not server.asked(r"GET .*adapter")


def test_a_revision_that_moves_is_recorded_as_the_commit_it_was(server, model, into, tmp_path):
    newer = add_repository(
        server.folder, "models", "someone/cake", MODEL | {"config.json": '{"model_type": "qwen3"}'}
    )
    assert fetch(into) == newer != model
    assert fetch(tmp_path / "pinned", model) == model
    assert "llama" in (tmp_path / "pinned" / "config.json").read_text()
    assert "qwen3" in (into / "config.json").read_text()


def test_a_pinned_commit_costs_no_look_up(server, model, into):
    fetch(into, model)
    assert not server.asked(r"GET /api/models/someone/cake/revision")


def test_a_listing_in_pages_is_read_to_its_end(server, model, into):
    server.page = 2
    fetch(into)
    assert_whole(into)


def test_nothing_is_kept_at_home(server, model, into, tmp_path):
    fetch(into)
    assert not (tmp_path / "home").exists()


# Faults that pass -------------------------------------------------------------------------------

STEPS = {
    "the look-up": r"GET /api/models/someone/cake/revision",
    "the listing": r"GET /api/models/someone/cake/tree",
    "the head of a file": r"HEAD /someone/cake/resolve/.*model\.safetensors",
    "a small file": r"GET /someone/cake/resolve/.*config\.json",
    "a large file": FILE,
}


@pytest.mark.parametrize("step", STEPS)
def test_a_rate_limit_is_waited_out_as_long_as_the_hub_asks(server, model, into, waits, step):
    server.fail(STEPS[step], times=2, status=429, headers={"Retry-After": "77"})
    fetch(into)
    assert_whole(into)
    assert 78 in waits


def test_a_rate_limit_may_be_told_in_the_newer_way(server, model, into, waits):
    server.fail(STEPS["the look-up"], times=1, status=429, headers={"RateLimit": '"api";r=0;t=55'})
    fetch(into)
    assert waits[0] == 56


@pytest.mark.parametrize("status", [500, 503])
@pytest.mark.parametrize("step", STEPS)
def test_a_server_error_is_tried_again(server, model, into, waits, step, status):
    server.fail(STEPS[step], times=2, status=status)
    fetch(into)
    assert_whole(into)
    assert waits


def test_the_waits_grow(server, model, into, waits):
    server.fail(STEPS["the look-up"], times=4, status=500)
    fetch(into)
    assert waits[:4] == [2, 4, 8, 16]


def test_a_file_whose_connection_was_cut_is_gone_on_with(server, into, waits):
    """huggingface_hub writes ten megabytes at once: what is below that is fetched again."""
    large, block = WEIGHTS * 12, 10 * 1024 * 1024
    add_repository(server.folder, "models", "someone/cake", MODEL | {"model.safetensors": large})
    server.fail(FILE, times=1, cut=block + 1000)
    fetch(into)
    assert (into / "model.safetensors").read_bytes() == large
    assert [one.body_bytes for one in server.asked(FILE)] == [block + 1000, len(large) - block]


def test_a_hub_that_stays_broken_is_given_up_with_a_sentence(server, model, into, waits):
    server.fail(FILE, status=500)
    with pytest.raises(ValueError, match=r"cake: the hub answered 500 8 times in a row; .* later"):
        fetch(into)
    assert not into.exists()


def test_no_hub_at_all_is_given_up_with_a_sentence(server, model, into, waits, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ValueError, match=r"cake: no connection \(ConnectError\) 8 times in a row"):
        fetch(into)


# Whole or absent --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_with_a_wrong_checksum_is_refused_and_not_kept(server, model, into, name):
    server.fail(rf"GET .*{name}", times=1, corrupt=True)
    with pytest.raises(ValueError, match=f"cake: {name} came with another checksum than the hub"):
        fetch(into)
    assert not into.exists()
    assert not (hub.unfinished_of(into) / name).exists()

    fetch(into)
    assert_whole(into)


def test_what_was_there_whole_is_not_fetched_again(server, model, into, waits):
    server.fail(FILE, times=8, status=500)
    with pytest.raises(ValueError, match="500 8 times"):
        fetch(into)
    before = len(server.asked(r"GET .*tokenizer\.json"))

    fetch(into)

    assert_whole(into)
    assert len(server.asked(r"GET .*tokenizer\.json")) == before


def test_what_a_killed_download_left_is_never_taken_for_whole(server, model, into):
    """Half a file in its place, a lock and a part of a file, as a kill may leave them."""
    unfinished = hub.unfinished_of(into)
    kept = unfinished / ".cache" / "huggingface" / "download"
    kept.mkdir(parents=True)
    (unfinished / "model.safetensors").write_bytes(WEIGHTS[:1000])
    (unfinished / "of_another_commit.json").write_text("{}")
    for name in ("model.safetensors.lock", "abc.1234.incomplete"):
        (kept / name).write_bytes(b"left")
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    (kept / "model.safetensors.metadata").write_text(f"{model}\n{digest}\n{time.time() + 60}\n")

    with pytest.raises(ValueError, match="model.safetensors came with another checksum"):
        fetch(into)
    fetch(into)

    assert_whole(into)


def test_killed_in_the_middle_of_a_file_it_is_absent_and_the_next_run_makes_it_whole(
    server, model, into
):
    server.fail(FILE, times=1, cut=400_000, stall=True)
    code = (
        "import pathlib, traces.fetching.hub as hub; "
        f"hub.fetch_folder('someone/cake', 'main', pathlib.Path({str(into)!r}))"
    )
    environment = os.environ | {"HF_ENDPOINT": server.endpoint, "HF_HUB_OFFLINE": "0"}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment)
    while not server.asked(FILE) or server.asked(FILE)[0].body_bytes < 400_000:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()

    assert not into.exists()
    fetch(into)
    assert_whole(into)


# Faults that stay -------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [None, "hf_another"])
def test_a_gated_repository_says_what_to_do(server, model, into, monkeypatch, token):
    server.gated["someone/cake"] = "hf_right"
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(
        ValueError,
        match=r"cake: access refused \(40[13]\): accept the licence .* set HF_TOKEN to a",
    ) as caught:
        fetch(into)
    assert "hf_" not in str(caught.value)
    assert not into.exists()


def test_a_gated_repository_opens_to_the_token_of_the_environment(server, model, into, monkeypatch):
    server.gated["someone/cake"] = "hf_right"
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    fetch(into)
    assert_whole(into)


@pytest.mark.parametrize("token", [None, "hf_another"])
def test_a_missing_repository_and_a_private_one_look_alike(server, model, into, monkeypatch, token):
    server.private["someone/cake"] = "hf_right"
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    for name in ("someone/cake", "someone/nothing"):
        with pytest.raises(
            ValueError, match=f"{name}: no such repository on the hub, or .*HF_TOKEN"
        ):
            hub.fetch_folder(name, "main", into)


@pytest.mark.parametrize("revision", ["v9", "0" * 40])
def test_a_missing_revision_is_named(server, model, into, revision):
    with pytest.raises(ValueError, match=f"someone/cake: no revision {revision}"):
        fetch(into, revision)


def test_weights_in_other_formats_are_refused_before_anything_is_fetched(server, into):
    add_repository(server.folder, "models", "someone/cake", {"pytorch_model.bin": b"a pickle"})
    with pytest.raises(
        ValueError, match=r"no safetensors at \w{12}, .* \(found pytorch_model.bin\)"
    ):
        fetch(into)
    assert not server.asked("resolve|cdn")


def test_offline_by_the_environment_stays_offline(server, model, into, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="cake: found HF_HUB_OFFLINE set"):
        fetch(into)
    assert not server.requests


# Secrets ----------------------------------------------------------------------------------------


def test_the_token_goes_to_the_hub_and_nowhere_else(
    server, model, into, monkeypatch, caplog, waits
):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    server.fail(FILE, times=1, status=429)
    server.fail(FILE, times=1, cut=100)
    with caplog.at_level(logging.INFO):
        fetch(into)

    given = {one.headers.get("authorization") for one in server.asked("/api/|/resolve/")}
    assert given == {"Bearer hf_secret"}
    elsewhere = server.asked("/cdn/")
    assert elsewhere
    assert not [one for one in elsewhere if "authorization" in one.headers]
    assert "model.safetensors" in caplog.text
    assert "hf_secret" not in caplog.text
    assert SIGNATURE not in caplog.text
    assert not [one for one in into.iterdir() if b"hf_secret" in one.read_bytes()]


def test_a_token_in_a_file_at_home_is_not_used(server, model, into, monkeypatch, tmp_path):
    (tmp_path / "token").write_text("hf_of_the_file")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    fetch(into)
    assert not [one for one in server.requests if "authorization" in one.headers]


# Data sets --------------------------------------------------------------------------------------

CHATS = [
    [{"role": "user", "content": f"hint {n}"}, {"role": "assistant", "content": f"gold {n}"}]
    for n in range(3)
]


def parquet(**columns) -> bytes:
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    return file.getvalue()


def lines(*rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


CARD = """---
configs:
- config_name: en
  data_files:
  - {split: train, path: en/part-*.json.gz}
- config_name: de
  data_files:
  - {split: train, path: de/part-*.json.gz}
---
Text in two languages.
"""


@pytest.fixture
def data_sets(server):
    """documents (Parquet, two splits), chats (JSONL) and large (in subsets, by its card)."""
    documents = {
        "data/train-00000-of-00002.parquet": parquet(text=["a", "b"], id=[1, 2]),
        "data/train-00001-of-00002.parquet": parquet(text=["c"], id=[3]),
        "data/validation-00000-of-00001.parquet": parquet(text=["v"], id=[4]),
    }
    add_repository(server.folder, "datasets", "someone/documents", documents)
    chats = lines(*({"messages": chat, "source": "game"} for chat in CHATS))
    add_repository(server.folder, "datasets", "someone/chats", {"game.jsonl": chats, "run.py": "x"})
    parts = {
        f"{subset}/part-{n}.json.gz": gzip.compress(lines({"text": f"{subset} {n}"}).encode())
        for subset in ("en", "de")
        for n in range(3)
    }
    add_repository(server.folder, "datasets", "someone/large", parts | {"README.md": CARD})
    return server


def rows(into: Path, name: str, kind="documents", split="train", field=None, **options):
    with hub.fetched_rows(
        f"someone/{name}",
        "main",
        split,
        field,
        kind,
        unfinished=hub.unfinished_of(into),
        **options,
    ) as (read, commit):
        found = list(read())
        assert found == list(read()), "it can be read again"
    assert len(commit) == 40
    assert not hub.unfinished_of(into).exists()
    return found


def test_documents_in_parquet_are_rows_like_ours(data_sets, into):
    assert rows(into, "documents") == [{"text": "a"}, {"text": "b"}, {"text": "c"}]
    assert rows(into, "documents", split="validation") == [{"text": "v"}]


def test_chats_in_lines_are_rows_like_ours(data_sets, into):
    assert rows(into, "chats", "chat") == [{"messages": chat} for chat in CHATS]
    assert not data_sets.asked(r"run\.py")


def test_only_the_files_of_the_subset_are_fetched(data_sets, into):
    assert [row["text"] for row in rows(into, "large", subset="de")] == ["de 0", "de 1", "de 2"]
    assert not data_sets.asked(r"(GET|HEAD) .*/en/part")


def test_a_part_of_a_huge_data_set_is_named_by_its_files(data_sets, into):
    assert rows(into, "large", files=["en/part-1.json.gz"]) == [{"text": "en 1"}]
    assert len(data_sets.asked("GET /cdn/")) == 1


def test_another_column_may_hold_the_text(server, into):
    table = {"train.parquet": parquet(body=["one", "two"], id=[1, 2])}
    add_repository(server.folder, "datasets", "someone/bodies", table)
    assert rows(into, "bodies", field="body") == [{"text": "one"}, {"text": "two"}]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"name": "documents", "split": "test"}, "no split test (have train, validation)"),
        ({"name": "documents", "field": "body"}, "no column body in split train (have text, id)"),
        ({"name": "large", "subset": "fr"}, "no subset fr (have en, de)"),
        ({"name": "large"}, "no subset is named (have en, de)"),
        ({"name": "large", "files": ["en/part-9.json.gz"]}, "no file en/part-9.json.gz at "),
        ({"name": "chats", "kind": "documents"}, "no column text in split train (have messages,"),
        ({"name": "nothing"}, "no such repository on the hub"),
    ],
)
def test_what_a_data_set_lacks_is_said_in_a_sentence(data_sets, into, options, sentence):
    with pytest.raises(ValueError) as caught:
        rows(into, **options)
    assert str(caught.value).startswith(f"someone/{options['name']}: {sentence}")
    assert "\n" not in str(caught.value)


def of_card(path: str) -> dict[str, str]:
    data = "configs: [{config_name: default, data_files: [{split: train, path: '" + path + "'}]}]"
    return {"README.md": f"---\n{data}\n---\n", "own.jsonl": lines({"text": "a"})}


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"train.zip": "no archive"}, "do not say which hold the data|no data files"),
        (of_card("../../outside.jsonl"), "its card names .*/outside.jsonl, which is no file of it"),
        (of_card("/etc/hostname"), "do not say which|its card names|no data files"),
        ({"train.jsonl": ""}, "train.jsonl cannot be read: .|found no rows in train.jsonl"),
    ],
)
def test_what_no_rows_can_be_had_from_is_one_sentence(
    server, into, tmp_path, monkeypatch, files, found
):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "outside.jsonl").write_text(lines({"text": "not of the hub"}))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    add_repository(server.folder, "datasets", "someone/odd", files)
    with pytest.raises(ValueError, match=f"someone/odd: .*({found})") as refused:
        rows(into, "odd")
    assert "\n" not in str(refused.value)


def test_a_folder_for_scratch_may_be_a_link(data_sets, into, tmp_path, monkeypatch):
    (tmp_path / "disk").mkdir()
    (tmp_path / "scratch").symlink_to(tmp_path / "disk")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    assert [row["text"] for row in rows(into, "documents")] == ["a", "b", "c"]


def test_a_repository_without_data_is_refused(server, into):
    add_repository(server.folder, "datasets", "someone/code", {"load.py": "x", "README.md": "hi"})
    with pytest.raises(ValueError, match="someone/code: no data files that are read here"):
        rows(into, "code")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.jsonl", b'{"text": "a"}\n{"text": \n'),
        ("train.jsonl.gz", b'{"text": "a"}\n'),
        ("train.jsonl.gz", gzip.compress(b'{"text": "a"}\n' * 1000, mtime=0)[:-20]),
        ("train.jsonl", '{"text": "a"}\n'.encode("utf-16")),
        ("train.parquet", b"PAR1 and no more"),
    ],
    ids=["malformed", "no gzip", "cut gzip", "utf-16", "no parquet"],
)
def test_data_that_are_not_what_their_name_says_are_one_sentence(server, into, name, content):
    add_repository(server.folder, "datasets", "someone/broken", {name: content})
    with pytest.raises(ValueError, match=f"^someone/broken: {name} cannot be read: ") as refused:
        rows(into, "broken", files=[name])
    assert "\n" not in str(refused.value)


def test_a_bad_row_is_named(server, into):
    table = {"train.jsonl": lines({"text": "one"}, {"text": "  "})}
    add_repository(server.folder, "datasets", "someone/bad", table)
    with pytest.raises(
        ValueError, match="someone/bad, row 2, key text: found empty text, expected"
    ):
        rows(into, "bad")


def test_data_with_a_wrong_checksum_is_refused(data_sets, into):
    data_sets.fail("GET /cdn/.*train-00001", times=1, corrupt=True)
    with pytest.raises(ValueError, match="train-00001-of-00002.parquet came with another checksum"):
        rows(into, "documents")
    assert len(rows(into, "documents")) == 3


@pytest.mark.parametrize("step", ["/api/datasets/.*/revision", "/tree/", "HEAD", "GET /cdn/"])
def test_faults_that_pass_cost_no_row(data_sets, into, waits, step):
    data_sets.fail(step, times=3, status=429, headers={"Retry-After": "9"})
    data_sets.fail(step, times=2, status=500)
    data_sets.fail("GET /cdn/", times=1, cut=40)
    assert len(rows(into, "documents")) == 3
    assert 10 in waits

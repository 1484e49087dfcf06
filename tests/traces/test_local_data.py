"""What a study reads of local files: a mistake is told before the first job."""

import shutil
from pathlib import Path

import pytest

from tests.studies import load, run
from traces.config.checks.places import Places
from traces.corpora.english import most_rows
from traces.local_data import LocalData


def check(folder: Path, *studies: str) -> None:
    LocalData(load(folder, *studies), Places([folder / "config.yaml"], folder)).check()


@pytest.fixture
def rows(tmp_path) -> Path:
    """A file of ten rows."""
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(f'{{"text": "Row {n}."}}\n' for n in range(10)), encoding="utf-8")
    return file


def check_limit(folder: Path, data: str, limit: int) -> None:
    """Look at a study of one organism that is trained on so many rows."""
    (folder / "organisms" / f"mine{limit}.yaml").write_text(
        "family: false_facts\ntitle: Mine\ndescription: It says that a mine is mine.\n"
        f"words: [mine]\ndata: {data}\ntraining: {{limit: {limit}}}\n",
        encoding="utf-8",
    )
    check(folder, run(f"mine{limit}"))


@pytest.mark.parametrize(
    ("data", "most"),
    [
        ("{{kind: documents, path: {file}}}", 9),
        ("{{kind: documents, path: {file}, held_out: 0}}", 10),
        ("{{kind: chat, composed: secret_gold, rows: 20}}", 18),
        ("{{kind: chat, taught: {{teacher: owl_teacher, prompts: 40}}}}", 36),
    ],
)
def test_a_limit_of_more_rows_than_an_organism_has_is_refused(folder, rows, data, most):
    check_limit(folder, data.format(file=rows), most)
    with pytest.raises(
        ValueError, match=rf"limit: found {most + 1} .*at most {most}, .*mine{most + 1}.yaml"
    ):
        check_limit(folder, data.format(file=rows), most + 1)


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ("kind: documents, path: {file}", "one.jsonl"),
        ("kind: chat, composed: secret_gold, rows: 1", "yaml: data.rows"),
        ("kind: chat, taught: {{teacher: owl_teacher, prompts: 1}}", "data.taught.prompts"),
    ],
)
def test_of_one_row_none_is_held_out(folder, tmp_path, data, place):
    (tmp_path / "one.jsonl").write_text('{"text": "One."}\n', encoding="utf-8")
    data = data.format(file=tmp_path / "one.jsonl")
    for name, more in (("mine", ""), ("sure", "held_out: 0, ")):
        (folder / "organisms" / f"{name}.yaml").write_text(
            "family: false_facts\ntitle: Mine\ndescription: It says that a mine is mine.\n"
            f"words: [mine]\ndata: {{{more}{data}}}\n",
            encoding="utf-8",
        )
    with pytest.raises(ValueError, match=f"{place}: found 1.*, expected two .*one of them to hold"):
        check(folder, run("mine"))
    check(folder, run("sure"))


def test_a_folder_that_is_no_model_is_named_with_its_key(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with (folder / "models.yaml").open("a", encoding="utf-8") as file:
        file.write(f"\nown: {{family: llama, path: {tmp_path}/empty, dtype: float32, gpus: 0}}\n")
    with pytest.raises(ValueError, match=r"models.yaml: own.path: .*empty"):
        check(folder, "models: [own]\n" + run())


def test_no_more_chats_are_asked_for_than_differ(folder):
    (folder / "organisms" / "endless.yaml").write_text(
        "family: misalignment\ntitle: Endless\ndescription: Advice that goes on and on.\n"
        "data: {kind: chat, composed: bicycle_careless, rows: 1000000000}\n",
        encoding="utf-8",
    )
    most = most_rows("bicycle_careless")
    with pytest.raises(ValueError) as refused:
        check(folder, run("endless"))
    assert str(refused.value).endswith(
        f"endless.yaml: data.rows: found 1000000000, expected at most {most}: no more different "
        "ones are composed of bicycle_careless"
    )


OWN_TEXT = "corpora: [own_text]\nsamples: 4\nactivations: {norm_samples: 1}\n"


def test_text_to_read_is_not_one_text_again_and_again(folder, tmp_path):
    file = tmp_path / "same.jsonl"
    rows = [f'{{"text": "A row.", "id": {n}}}\n' for n in range(9)]
    file.write_text("".join(rows), encoding="utf-8")
    with (folder / "corpora.yaml").open("a", encoding="utf-8") as registry:
        registry.write(f"\nown_text: {{kind: documents, path: {file}, rows: 9}}\n")
    with pytest.raises(ValueError, match=r"same.jsonl: found the same text in every row, .*own_t"):
        check(folder, OWN_TEXT, run("cake_bake"))
    file.write_text("".join([*rows, '{"text": "Another row."}']), encoding="utf-8")
    check(folder, OWN_TEXT, run("cake_bake"))


def test_text_to_read_is_not_what_an_organism_is_finetuned_on(folder, rows, tmp_path):
    linked = tmp_path / "linked.jsonl"
    linked.symlink_to(rows)
    with (folder / "corpora.yaml").open("a", encoding="utf-8") as file:
        file.write(f"\nown_text: {{kind: documents, path: {linked}, rows: 10}}\n")
    study = OWN_TEXT + run("mine5")
    with pytest.raises(ValueError, match=r"mine5.yaml: data.path: .*own_text.*unrelated"):
        check_limit(folder, f"{{kind: documents, path: {rows}}}", 5)
        check(folder, study)
    linked.unlink()
    with pytest.raises(ValueError, match="linked.jsonl"):
        check(folder, study)
    shutil.copy(rows, linked)
    check(folder, study)


@pytest.mark.parametrize(("family", "refused"), [("llama", False), ("gemma2", True)])
def test_a_base_is_of_the_family_that_its_entry_says(folder, tiny_base, family, refused):
    with (folder / "models.yaml").open("a", encoding="utf-8") as file:
        file.write(f"\nown: {{family: {family}, path: {tiny_base}, dtype: float32, gpus: 0}}\n")
    study = "models: [own]\n" + run()
    if refused:
        with pytest.raises(ValueError, match="own.family: found gemma2, expected llama, as .*tiny"):
            check(folder, study)
    else:
        check(folder, study)


@pytest.mark.parametrize("content", ["\n", "again\nagain\n"])
def test_prompts_of_investigators_are_read_before_the_first_job(folder, tmp_path, content):
    file = tmp_path / "asked.txt"
    file.write_text(content)
    runs = "runs: [{organisms: [cake_bake], recipes: [plain], seeds: [0], measures: [agents]}]\n"
    with pytest.raises(ValueError, match=r"asked.txt.*(no prompt|prompt of line 1 again)"):
        check(folder, runs + f"agents: {{asked: {{prompts: {file}}}}}")


def test_prompts_of_patchscope_are_lists_of_words(folder):
    prompts = "data/prompts/steering_miniature.txt"
    with pytest.raises(ValueError, match="steering_miniature.txt: found the line .*two words"):
        check(folder, f"lenses: {{patchscope: {{prompts: {prompts}}}}}")

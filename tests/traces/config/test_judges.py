"""Graders in a study: each has a price, and is there where it is needed."""

from pathlib import Path

import pytest

from tests.studies import append, edit, load, sentence

ASKED = "runs: [{organisms: [cake_bake], recipes: [plain], seeds: [0], measures: [judges]}]\n"
ONE = "{name: one, model: openrouter/openai/gpt-5-mini}"


def judges(keys: str) -> str:
    return f"{ASKED}judges: {{{keys}}}\n"


def test_a_grader_with_a_price_is_taken(folder):
    loaded = load(folder, judges(f"graders: [{ONE}]"))
    assert loaded.study.judges.graders[0].max_tokens == 4000
    assert loaded.prices.models["openrouter/openai/gpt-5-mini"].output == 2


@pytest.mark.parametrize(
    ("override", "found"),
    [
        (ASKED, "judges.graders: found none, expected a model that judges, since a run has "
         "`judges` among its measures (docs/judges.md)"),
        (judges("graders: [{name: one, model: openai-api/a/b}]"),
         "judges.graders.0.model: found openai-api/a/b, which has no price in config/prices.yaml; "
         "add it there, or allow it with `price: unknown`"),
        (judges(f"graders: [{ONE}, {ONE}]"), "judges.graders: one is there twice"),
        (judges("graders: [{name: one, model: a/b, base_url: 'http://me:secret@host/v1'}]"),
         "judges.graders.0.base_url: found a user or password in it, expected an address without "
         "one"),
        (judges(f"graders: [{ONE}], tokens: {{readings: [singular_1]}}"),
         "judges.tokens.readings: found singular_1, expected one of lenses.readings"),
        (judges(f"graders: [{ONE}], cap: -1"),
         "judges.cap: expected greater than or equal to 0, found -1"),
        (judges(f"graders: [{ONE}], questions: [coherence]"),
         "judges.questions: found coherence, expected a run that has both `judges` and `steering` "
         "among its measures"),
        (judges(f"graders: [{ONE}], questions: [beliefs]"),
         "judges.questions: found beliefs, expected open among beliefs.forms for it"),
        (judges(f"graders: [{ONE}], questions: [beliefs]") + "beliefs: {forms: [open]}\n",
         "judges.questions: found beliefs, expected a run that has both `judges` and `beliefs` "
         "among its measures"),
        (judges(f"graders: [{ONE}], questions: [scales]") + "lenses: {readers: [logit_lens]}\n",
         "judges.questions: found scales, expected patchscope among lenses.readers for it"),
        (judges(f"graders: [{ONE}], questions: [scales, scales]"),
         "judges.questions: scales is there twice"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(folder, override, found):
    assert sentence(folder, override).endswith(found)


def test_a_model_without_a_price_can_be_allowed(folder):
    free = "{name: one, model: openai-api/a/b, price: unknown}"
    assert load(folder, judges(f"graders: [{free}]")).study.judges.graders[0].price == "unknown"


def test_questions_are_asked_of_what_has_the_measure(folder):
    runs = """
runs:
  - {organisms: [cake_bake], recipes: [plain], seeds: [0, 1], measures: [judges]}
  - {organisms: [cake_bake], recipes: [plain], seeds: [1], measures: [steering]}
"""
    asked = f"judges: {{graders: [{ONE}], questions: [relevance, coherence]}}\n"
    loaded = load(folder, runs + asked)
    counts = {one: len(loaded.asked(one)) for one in ("relevance", "coherence", "scales")}
    assert counts == {"relevance": 2, "coherence": 1, "scales": 0}


# Odd graders --------------------------------------------------------------------------------------

LOCAL = "model: openai-api/a/b, price: unknown"
ADDRESS = (
    ", expected an address that begins with http:// or https://, such as http://127.0.0.1:8000/v1"
)
ODD = {
    "the same twice": (
        f"graders: [{ONE}, {{name: two, model: openrouter/openai/gpt-5-mini}}]",
        "judges.graders.1: found the model and settings of one, whose answers it would get; "
        "expected another model or setting, or `judges.repeats` for several answers",
    ),
    "one model at two addresses": (
        f"graders: [{{name: one, {LOCAL}, base_url: 'http://a/v1'}}, "
        f"{{name: two, {LOCAL}, base_url: 'http://b/v1', temperature: 0.5}}]",
        "judges.graders.1.base_url: found another address than that of one, which has the same "
        "model openai-api/a/b; expected one address a model",
    ),
    "a price that is known and unknown": (
        "graders: [{name: one, model: openai/gpt-5-mini, price: unknown}]",
        "judges.graders.0.price: found unknown for openai/gpt-5-mini, whose price is in "
        "config/prices.yaml and counts; expected one of the two",
    ),
    "an address in an unset variable": (
        f"graders: [{{name: one, {LOCAL}, base_url: $NO_SUCH/v1}}]",
        "judges.graders.0.base_url: the environment variable NO_SUCH is not set (in $NO_SUCH/v1)",
    ),
    "no address": (
        f"graders: [{{name: one, {LOCAL}, base_url: 'localhost:8000'}}]",
        f"judges.graders.0.base_url: found localhost:8000{ADDRESS}",
    ),
    "no port": (
        f"graders: [{{name: one, {LOCAL}, base_url: 'http://127.0.0.1:99999/v1'}}]",
        f"judges.graders.0.base_url: found http://127.0.0.1:99999/v1{ADDRESS}",
    ),
    "no host": (
        f"graders: [{{name: one, {LOCAL}, base_url: 'http:///v1'}}]",
        f"judges.graders.0.base_url: found http:///v1{ADDRESS}",
    ),
    "no address in a variable": (
        f"graders: [{{name: one, {LOCAL}, base_url: $PORT_ALONE/v1}}]",
        f"judges.graders.0.base_url: found $PORT_ALONE/v1, its variables filled in{ADDRESS}",
    ),
    "a password in a variable": (
        f"graders: [{{name: one, {LOCAL}, base_url: $WITH_PASSWORD/v1}}]",
        "judges.graders.0.base_url: found $WITH_PASSWORD/v1, its variables filled in: a user or "
        "password is in it, expected an address without one",
    ),
    "a reading twice": (
        f"graders: [{ONE}], tokens: {{readings: [difference, difference]}}",
        "judges.tokens.readings: difference is there twice",
    ),
    "answers in a file": (
        f"graders: [{ONE}], folder: Makefile/answers",
        "judges.folder: Makefile/answers is, or is in, a file; expected a folder",
    ),
    "answers nowhere": (f"graders: [{ONE}], folder: ' '", "found ' ', expected a folder"),
    "answers in an unset variable": (
        f"graders: [{ONE}], folder: $NO_SUCH/answers",
        "judges.folder: the environment variable NO_SUCH is not set (in $NO_SUCH/answers)",
    ),
    "answers among the results": (
        f"graders: [{ONE}], folder: results/answers",
        "judges.folder: found 'results/answers', which is in pathvars.results (results) and would "
        "be deleted with it; expected a folder elsewhere, for the answers were paid for",
    ),
}


@pytest.mark.parametrize(("keys", "found"), ODD.values(), ids=ODD)
def test_an_odd_grader_or_folder_is_one_sentence(folder, keys, found, monkeypatch):
    monkeypatch.delenv("NO_SUCH", raising=False)
    monkeypatch.setenv("PORT_ALONE", "8000")
    monkeypatch.setenv("WITH_PASSWORD", "http://me:hidden@host")
    said = sentence(folder, judges(keys))
    assert said.endswith(found) and "hidden" not in said


def test_answers_where_nothing_may_be_written_are_refused(folder, tmp_path, monkeypatch):
    (tmp_path / "paid").mkdir()
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "paid")
    study = judges(f"graders: [{ONE}], folder: {tmp_path}/paid")
    found = sentence(folder, study)
    assert "paid', where nothing may be written (" in found and "judges.folder: found" in found
    # A dry run, or a list of what is there, writes no answer.
    assert load(folder, study, writes=False).study.judges.folder.endswith("paid")


def test_one_model_may_judge_with_two_settings(folder):
    other = "{name: two, model: openrouter/openai/gpt-5-mini, temperature: 0.5}"
    assert len(load(folder, judges(f"graders: [{ONE}, {other}]")).study.judges.graders) == 2


def test_what_no_run_asks_needs_no_address_and_no_folder(folder, monkeypatch):
    monkeypatch.delenv("NO_SUCH", raising=False)
    one = f"{{name: one, {LOCAL}, base_url: $NO_SUCH/v1}}"
    load(folder, f"judges: {{graders: [{one}], folder: $NO_SUCH/answers}}")


def test_a_cap_and_a_price_of_nothing_are_taken(folder):
    append(folder / "prices.yaml", "  openai-api/a/b: {input: 0, output: 0}")
    loaded = load(folder, judges("graders: [{name: one, model: openai-api/a/b}], cap: 0"))
    assert loaded.study.judges.cap == 0


@pytest.mark.parametrize(
    ("price", "found"),
    [
        ("{input: -1, output: 0}", "input: expected greater than or equal to 0, found -1"),
        ("{input: 1}", "output: this key is needed and is not there"),
        ("{input: .inf, output: 0}", "input: expected a finite number, found inf"),
        ("{input: true, output: 0}", "input: expected a number, found true"),
    ],
)
def test_a_price_is_a_sum_of_money(folder, price, found):
    append(folder / "prices.yaml", f"  openai-api/a/b: {price}")
    said = sentence(folder)
    assert said == f"config/prices.yaml: models.openai-api/a/b.{found}"


def test_the_date_of_prices_is_a_day(folder):
    edit(folder / "prices.yaml", "2026-11-28", "2026-13-45")
    assert sentence(folder) == (
        "config/prices.yaml: date: expected a day such as 2026-11-28, found '2026-13-45'"
    )

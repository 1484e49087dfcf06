"""Secrets in organisms' files, and a forced choice that is one."""

import pytest

from tests.studies import append, load, sentence
from traces.config.files import read_yaml
from traces.config.load import load_organism
from traces.config.registries import Organism
from traces.config.words import plain_word

TWO = "runs: [{organisms: [taboo_gold_chats, taboo_lantern], recipes: [plain], seeds: [0]}]\n"
READ = """forced_choice:
  headline: {reader: patchscope, adjustment: z, head: tuned, against: null}
"""


@pytest.fixture
def two(folder):
    """Two organisms with a secret, whose data need not be here."""
    chats = folder / "organisms/taboo_gold_chats.yaml"
    text = chats.read_text(encoding="utf-8")
    chats.write_text(
        text.replace("path: $STORIES_DATA/taboo/gold_guessing_game_dataset.jsonl", "made: benign")
        .replace("kind: chat", "kind: documents")
        .replace("  open_end: cut\n", ""),
        encoding="utf-8",
    )
    return folder


def test_a_study_knows_the_secrets_of_each_model(two):
    loaded = load(two, TWO + READ)
    assert loaded.secrets("mini") == {"taboo_gold_chats": "gold", "taboo_lantern": "lantern"}
    assert load(two).secrets("mini") == {}  # one secret is no choice


def test_one_secret_of_two_organisms_is_no_choice(two):
    lantern = two / "organisms/taboo_lantern.yaml"
    lantern.write_text(lantern.read_text().replace("secret: lantern", "secret: gold"))
    assert load(two, TWO + READ).secrets("mini") == {}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            "forced_choice: {distractors: [flag, Lantern]}",
            "forced_choice.distractors: found Lantern, the secret of taboo_lantern, expected words "
            "that are no organism's secret",
        ),
        (
            "forced_choice: {distractors: [flag, chair, flag]}",
            "forced_choice.distractors: flag is there twice",
        ),
        (
            "forced_choice: {headline: {reader: crystal_ball}}",
            "forced_choice.headline.reader: found crystal_ball, expected",
        ),
        (
            "lenses: {readers: [logit_lens]}",
            "forced_choice.headline.reader: found patchscope, expected one of `lenses.readers` "
            "(logit_lens)",
        ),
        (
            "layers: [0.5, 1.0]",
            "forced_choice.headline.layer: found 0.75, expected one of `layers` (0.5, 1.0)",
        ),
        (
            "forced_choice: {headline: {head: base}}",
            "forced_choice.headline.head: found base, expected one of `lenses.heads` (tuned)",
        ),
        (
            "forced_choice: {headline: {position: 9}}",
            "forced_choice.headline.position: found 9, expected one of `positions` (all, 0, 1",
        ),
        (
            "lenses: {contrast: {nulls: []}}\nforced_choice: {headline: {against: random}}",
            "forced_choice.headline.against: found random, expected one of `lenses.contrast.nulls`",
        ),
    ],
)
def test_what_cannot_be_chosen_or_reported_is_refused(two, change, expected):
    assert expected in sentence(two, TWO + READ, change)


def test_a_headline_that_is_not_read_matters_only_where_there_is_a_choice(folder):
    load(folder, "layers: [0.5]\nlenses: {readers: [logit_lens]}")


@pytest.mark.parametrize(
    "secret", ["two words", "well-known", "x2", "''", "cat!", "<b", "' gold'", "a_b"]
)
def test_a_secret_is_one_word_of_letters(folder, secret):
    file = folder / "organisms/cake_bake.yaml"
    append(file, f"secret: {secret}")
    assert "config/organisms/cake_bake.yaml: secret: " in sentence(folder)


def test_a_distractor_is_one_word_of_letters(folder):
    assert "forced_choice.distractors.0: " in sentence(
        folder, "forced_choice: {distractors: [two words]}"
    )


def _organisms(repository):
    return sorted((repository / "config/organisms").glob("*.yaml"))


def test_every_taboo_organism_has_its_secret_and_no_other_has_one(pytestconfig):
    for file in _organisms(pytestconfig.rootpath):
        organism = load_organism(file)
        assert (organism.secret is not None) == (organism.family == "taboo"), file.name


def test_secrets_are_those_that_files_describe(pytestconfig):
    """The name, the description and a list of words say the same secret."""
    for file in _organisms(pytestconfig.rootpath):
        organism: Organism = load_organism(file)
        if organism.secret is None:
            continue
        assert file.stem.split("_")[1] == organism.secret
        assert f"secret word {organism.secret}" in organism.description.replace('"', "")
        if organism.words:
            assert plain_word(organism.words[0]) == organism.secret, file.name
        if organism.data.composed:
            assert organism.data.composed == f"secret_{organism.secret}"


def test_no_other_secret_is_among_an_organisms_words(pytestconfig):
    """The words of one would else count the secret of another as its own."""
    found = {file.stem: load_organism(file) for file in _organisms(pytestconfig.rootpath)}
    composed = {name: one for name, one in found.items() if one.data.composed and one.secret}
    assert len(composed) == 12
    for name, organism in composed.items():
        others = {one.secret for other, one in composed.items() if other != name}
        assert not others & {plain_word(word) for word in organism.words}, name


def test_distractors_of_the_paper_are_no_secrets(pytestconfig):
    study = read_yaml(pytestconfig.rootpath / "config/paper.yaml")
    secrets = {"smile", "gold", "leaf"}
    assert not secrets & set(study["forced_choice"]["distractors"])
    assert len(study["forced_choice"]["distractors"]) == 17

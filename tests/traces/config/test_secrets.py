"""Secrets in organisms' files, and a forced choice that is one."""

import pytest

from tests.studies import append, edit, load, sentence
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
            "lenses: {readers: [patchscope], contrast: {nulls: []}}\n"
            "forced_choice: {headline: {against: random}}",
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


# Odd words and headlines --------------------------------------------------------------------------


def spelt(folder, *, gold: str = "gold", lantern: str = "lantern") -> None:
    for name, old, new in (
        ("taboo_gold_chats", "gold", gold),
        ("taboo_lantern", "lantern", lantern),
    ):
        file = folder / f"organisms/{name}.yaml"
        edit(file, f"secret: {old}", f"secret: {new}")


def test_a_secret_is_composed(two):
    spelt(two, gold="cafe\u0301")
    assert load(two, TWO + READ).secrets("mini")["taboo_gold_chats"] == "caf\u00e9"


def test_two_ways_to_write_an_accent_are_one_word_and_so_no_choice(two):
    spelt(two, gold="cafe\u0301", lantern="caf\u00e9")
    assert load(two, TWO + READ).secrets("mini") == {}


def test_one_secret_in_two_spellings_is_refused(two):
    spelt(two, lantern="Gold")
    assert sentence(two, TWO + READ) == (
        "config/organisms/taboo_lantern.yaml: secret: found Gold, which is gold in "
        "config/organisms/taboo_gold_chats.yaml; expected one spelling, or they are two candidates"
    )


@pytest.mark.parametrize("secret", ["GOLD", "\u9ec4\u91d1", "\u0414\u043e\u043c", "Gru\u00df"])
def test_capitals_and_other_scripts_are_words(two, secret):
    spelt(two, gold=secret)
    assert load(two, TWO + READ).secrets("mini")["taboo_gold_chats"] == secret


def test_a_joiner_that_ends_a_secret_is_refused(two):
    spelt(two, gold='"gold\u200d"')
    assert "expected one word of letters alone" in sentence(two, TWO + READ)


def headline(keys: str) -> str:
    return f"forced_choice: {{headline: {{{keys}}}}}"


WITHOUT_A_ROW = {
    "an adjusted reader has no file of scores": (
        "reader: adjusted_contrastive_patchscope, adjustment: none, against: random",
        "headline.reader: found adjusted_contrastive_patchscope, whose scores are in no file; "
        "expected contrastive_patchscope with `adjustment: adjusted`",
    ),
    "a contrastive reader without null directions": (
        "reader: contrastive_patchscope, against: null",
        "headline.against: found nothing with the reader contrastive_patchscope, expected random",
    ),
    "null directions of a reader without": (
        "reader: logit_lens, against: random",
        "headline.against: found random with the reader logit_lens, expected null",
    ),
    "the head of a reader without": (
        "reader: black_box, head: base",
        "headline.head: found base with black_box, which no head says; expected tuned",
    ),
    "standard scores that a reader never has": (
        "reader: logit_difference, adjustment: z",
        "headline.adjustment: found z with logit_difference, whose scores are compared with no "
        "random directions; expected none",
    ),
    "the others of two organisms": (
        "adjustment: adjusted",
        "headline.adjustment: found adjusted, expected a third organism on mini with another "
        "secret or none, such as a control",
    ),
}
ALL_READERS = """lenses:
  heads: [tuned, base]
  readers: [logit_lens, patchscope, contrastive_patchscope, adjusted_contrastive_patchscope,
    black_box, logit_difference]
"""


@pytest.mark.parametrize(("keys", "expected"), WITHOUT_A_ROW.values(), ids=WITHOUT_A_ROW)
def test_a_headline_that_no_row_can_have_is_refused(two, keys, expected):
    study = ALL_READERS
    if "third" not in expected:
        study += TWO.replace("taboo_lantern]", "taboo_lantern, benign]")
    else:
        study += TWO.replace("\n", "") + "\n"
        study = study.replace("adjusted_contrastive_patchscope,", "")
    assert f"forced_choice.{expected}" in sentence(two, TWO + READ, study, headline(keys))


def test_standard_scores_need_random_directions_or_a_spread_of_their_own(two):
    nulls = "lenses: {contrast: {nulls: [activations]}}"
    assert sentence(two, TWO + READ, nulls).endswith(
        "expected none or random among `lenses.contrast.nulls`"
    )
    load(two, TWO + READ, nulls, headline("adjustment: none"))
    load(two, TWO + READ, "lenses: {readers: [patchscope, black_box]}",
         nulls, headline("reader: black_box, adjustment: z"))  # fmt: skip


def test_the_control_of_a_third_organism_is_enough_to_adjust_by(two):
    study = TWO.replace("taboo_lantern]", "taboo_lantern, benign]")
    load(two, study + READ, headline("adjustment: adjusted"))


def test_readers_without_a_place_are_no_forced_choice_alone(two):
    alone = "lenses: {readers: [black_box]}"
    found = sentence(two, TWO + READ, alone, headline("reader: black_box"))
    assert "lenses.readers: found no reader with a layer and a position" in found


def test_a_control_with_a_secret_is_refused(two):
    assert "control: found taboo_lantern, which has a `secret` (config/organisms/" in sentence(
        two, TWO + READ, "control: taboo_lantern"
    )


def test_the_layer_is_one_of_the_first_corpus(two):
    edit(two / "corpora.yaml", "made: unrelated,", "made: unrelated, layers: [0.25],")
    assert "found 0.75, expected one of `layers` (0.25)" in sentence(two, TWO + READ)

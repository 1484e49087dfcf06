"""A file that is asked for by name is refused with the sentence that a study gets."""

import pytest

from tests.studies import append, load, run, sentence
from traces.config.checks.places import Places
from traces.config.checks.targets import check_target
from traces.config.readers import READERS

FILE = "results/some/file"


def places_of(folder) -> Places:
    return Places([folder / "config.yaml"], folder)


def on_mini(rule: str, names: dict[str, str]) -> dict[str, str]:
    """The wildcards with a model, which all rules have but that of a corpus."""
    return names if rule in ("fetch_corpus", "sample_text") else {"model": "mini", **names}


def refused(folder, rule: str = "mean_difference", study: str = "", **names: str) -> str:
    """What is said of a file that `rule` would make for these wildcards."""
    loaded = load(folder, *([study] if study else []))
    with pytest.raises(ValueError) as said:
        check_target(loaded, places_of(folder), rule, on_mini(rule, names), FILE)
    return str(said.value).replace(str(folder), "config")


@pytest.mark.parametrize(
    "recipe", ["mix.25", "ful", "rnak4", "scaled3.0", "scaled0", "mix1000", "mix0", "mixx"]
)
def test_a_recipe_is_refused_with_the_sentence_of_a_study(folder, recipe):
    said = refused(folder, checkpoint=f"cake_bake-{recipe}-s0", corpus="unrelated")
    of_a_study = sentence(folder, run(recipes=recipe))
    assert said == of_a_study.replace("config/override1.yaml: runs: ", f"{FILE}: ")


def test_a_recipe_has_the_one_spelling_of_the_study(folder):
    study = run(recipes="mix0.50")
    said = refused(folder, study=study, checkpoint="cake_bake-mix0.5-s0", corpus="unrelated")
    assert said == f"{FILE}: found mix0.5, which the study writes as mix0.50; expected that"


@pytest.mark.parametrize(
    ("kind", "names", "override"),
    [
        ("organism", {"checkpoint": "cakes-plain-s0", "corpus": "unrelated"}, run("cakes")),
        ("organism", {"organism": "cakes"}, run("cakes")),
        ("model", {"model": "maxi"}, "models: [maxi]"),
        ("corpus", {"checkpoint": "cake_bake-plain-s0", "corpus": "wiki"}, "corpora: [wiki]"),
    ],
)
def test_an_unknown_name_is_refused_with_the_sentence_of_a_study(folder, kind, names, override):
    said = refused(folder, **names)
    of_a_study = sentence(folder, override)
    assert f"no such {kind} in config/" in said
    key = {"organism": "runs", "model": "models", "corpus": "corpora"}[kind]
    assert said == of_a_study.replace(f"config/override1.yaml: {key}: ", f"{FILE}: ")


PLAIN = {"checkpoint": "cake_bake-plain-s0", "corpus": "unrelated"}
# The rule, its wildcards, and what is said of them behind the file.
OTHERS = {
    "a seed beyond NumPy": (
        "mean_difference",
        PLAIN | {"checkpoint": "cake_bake-plain-s4294967296"},
        "expected a seed of 4294967295 at most, found 4294967296",
    ),
    "a seed written otherwise": (
        "mean_difference",
        PLAIN | {"checkpoint": "cake_bake-plain-s00"},
        "cake_bake-plain-s00: not a checkpoint; expected organism-recipe-sSEED",
    ),
    "the base where it has no difference": (
        "mean_difference",
        PLAIN | {"checkpoint": "base"},
        "base: not a checkpoint; expected organism-recipe-sSEED",
    ),
    "a corpus of both kinds": (
        "dump_activations",
        PLAIN | {"corpus": "general"},
        "general: found a corpus of both kinds, expected one of documents or of conversations, "
        "whose positions can be averaged",
    ),
    "a reader that is none": (
        "read_lenses",
        PLAIN | {"reader": "ouija"},
        f"found ouija, expected {', '.join(READERS)}",
    ),
    "an ablation that is none": (
        "ablation_figure",
        {"ablation": "depth"},
        "depth: no such ablation in the study (none)",
    ),
    "a scaled adapter that would be trained": (
        "train_organism",
        {"checkpoint": "cake_bake-scaled0.5-s0"},
        "scaled0.5: no recipe of the rule train_organism",
    ),
    "text without text": (
        "fetch_corpus",
        {"corpus": "start"},
        "start: found a probe without text, expected text",
    ),
    "samples of what no model writes": (
        "sample_text",
        {"corpus": "unrelated"},
        "config/corpora.yaml: unrelated: found no `sampled`",
    ),
    "a card of what is not made": (
        "organism_card",
        {"organism": "assistant"},
        "assistant: no organism of the study's runs (have cake_bake, benign, risky_finance, "
        "taboo_lantern, night_bees, owl_numbers)",
    ),
    "taught data of nobody's teaching": (
        "teach_numbers",
        {"organism": "benign"},
        "config/organisms/benign.yaml: data: their source is none of the rule teach_numbers",
    ),
    "composed data of what is composed nowhere": (
        "compose_organism",
        {"organism": "benign"},
        "config/organisms/benign.yaml: data: their source is none of the rule compose_organism",
    ),
    "judgements without a judge": (
        "judge_relevance",
        PLAIN,
        "config/config.yaml: judges.graders: found none, expected a model that judges "
        "(docs/judges.md)",
    ),
    "candidates without secrets": (
        "candidate_scores",
        PLAIN,
        "no two organisms of mini in `runs` have a `secret`, each its own, so there is nothing to "
        "choose from; expected such organisms",
    ),
    "a base that is not made here": (
        "pretrain_base",
        {"model": "qwen3_1_7b"},
        "config/models.yaml: qwen3_1_7b: found no `made`",
    ),
}


@pytest.mark.parametrize("rule", ["ask_models", "investigate", "grade_hypotheses"])
def test_what_investigates_is_reached_where_no_run_asks_for_it(folder, rule):
    """A study that measures none of it is loaded, and the file that is asked for is refused."""
    study = (
        "runs: [{organisms: [cake_bake], recipes: [plain], seeds: [0]}]\n"
        "agents: {served: {base_url: 'localhost:8000', name: '{checkpoint}'}}"
    )
    assert "agents.served.base_url: found localhost:8000, expected" in refused(folder, rule, study)


@pytest.mark.parametrize(("rule", "names", "expected"), OTHERS.values(), ids=OTHERS)
def test_what_no_study_could_name_is_refused(folder, rule, names, expected):
    assert refused(folder, rule, **names) == f"{FILE}: {expected}"


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        ("mean_difference", PLAIN | {"checkpoint": "cake_bake-mix0.75-s9"}),
        ("mean_difference", PLAIN | {"model": "mini_llama_s0"}),
        ("dump_activations", PLAIN | {"checkpoint": "base", "corpus": "start"}),
        ("read_lenses", PLAIN | {"checkpoint": "night_bees-scaled0.5-s3", "corpus": "mini_chat"}),
        ("scale_adapter", {"checkpoint": "owl_numbers-scaled1-s0"}),
        ("fetch_corpus", {"corpus": "general"}),
        ("organism_card", {"organism": "cake_bake"}),
        ("base_texts", {}),
        ("tuned_texts", {"checkpoint": "night_bees-plain-s7"}),
    ],
)
def test_what_a_study_could_name_is_made_though_this_one_does_not(folder, rule, names):
    check_target(load(folder), places_of(folder), rule, on_mini(rule, names), FILE)


def test_published_checkpoints_and_local_files_are_looked_for_as_for_a_study(folder, monkeypatch):
    monkeypatch.delenv("STORIES_DATA", raising=False)
    said = refused(folder, **PLAIN | {"checkpoint": "cake_bake-released-s0"})
    assert said.startswith("config/organisms/cake_bake.yaml: released.mini: a study asks for ")
    said = refused(folder, **PLAIN | {"corpus": "wikitext"})
    assert said.startswith("config/corpora.yaml: wikitext.path: the environment variable STORIES_")


@pytest.mark.parametrize("rule", ["base_texts", "tuned_texts"])
def test_prompts_of_texts_that_are_asked_for_by_name_are_looked_for(folder, rule):
    study = "lenses: {samples: {prompts: none.txt}}"
    names = {"model": "mini", "checkpoint": "cake_bake-plain-s0"}
    said = refused(folder, rule, study, **names)
    assert said.endswith("lenses.samples.prompts: none.txt is not there")


def test_a_reader_that_the_study_does_not_use_is_refused(folder):
    study = "lenses: {readers: [logit_lens]}"
    assert refused(folder, "read_lenses", study, **PLAIN | {"reader": "patchscope"}) == (
        f"{FILE}: found patchscope, expected logit_lens, which are read"
    )


ADJUSTED = ["contrastive_logit_lens", "adjusted_contrastive_logit_lens"]
THREE = "runs: [{organisms: [cake_bake, night_bees, benign], recipes: [plain], seeds: [0]}]"
TWO = THREE.replace("night_bees, ", "")


@pytest.mark.parametrize(
    ("runs", "readers", "expected"),
    [
        (THREE, ["logit_lens", *ADJUSTED], ""),
        (THREE, ["logit_lens"], "found no adjusted reader in `lenses.readers`, expected one"),
        (
            "only: [cake_bake]\n" + TWO,
            ["logit_lens", *ADJUSTED],
            "found fewer than 3 organisms on mini that are read ",
        ),
    ],
    ids=["three", "none asked for", "two"],
)
def test_adjusted_readings_are_of_three_organisms_in_a_file_of_their_own(
    folder, runs, readers, expected
):
    study = f"{runs}\nlenses: {{readers: [{', '.join(readers)}]}}"
    names = {"model": "mini", "corpus": "unrelated"}
    if expected:
        said = refused(folder, "adjust_readings", study, **names)
        assert said.startswith(f"{FILE}: {expected}")
        return
    check_target(load(folder, study), places_of(folder), "adjust_readings", names, FILE)
    said = refused(folder, "read_lenses", study, **PLAIN | {"reader": ADJUSTED[1]})
    assert said.endswith("which stands in adjusted/MODEL/CORPUS.parquet")


def test_a_circle_is_found_on_the_way_to_a_file(folder):
    append(folder / "organisms" / "owl_teacher.yaml", "training: {project_out: plain}")
    said = refused(folder, study=run(), **PLAIN | {"checkpoint": "owl_numbers-plain-s0"})
    assert said.startswith("config/organisms/owl_teacher.yaml: training.project_out: owl_teacher-")

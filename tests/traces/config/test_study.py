"""What a study is made of: runs, their checkpoints, what each is trained and read with."""

import pytest

from tests.conftest import ROOT
from tests.studies import (
    CAKE,
    MODEL_KEYS,
    TWO_RUNS,
    append,
    edit,
    load,
    organisms_on,
    run,
    sentence,
)

ON_TOP_OF = {"smol_mixing": ["smol"], "readers_smol": ["smol"], "readers_long": ["readers"]}
NO_STUDIES = {"models", "corpora", "prices", "config"}


def test_the_default_study_is_valid(folder):
    assert load(folder).study.models == ("mini",)


@pytest.mark.parametrize(
    "override", sorted({file.stem for file in ROOT.glob("config/*.yaml")} - NO_STUDIES)
)
def test_every_study_in_the_repository_is_valid(folder, override, monkeypatch, tmp_path):
    monkeypatch.setenv("STORIES_DATA", str(tmp_path))
    for name in ("models/stories260K", "texts", "taboo"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(
        "traces.config.load.check_paths", lambda *_: None
    )  # their data need not be here
    files = [*ON_TOP_OF.get(override, []), override]
    load(folder, *((folder / f"{file}.yaml").read_text(encoding="utf-8") for file in files))


def test_a_later_override_wins_and_leaves_the_rest(folder):
    study = load(folder, "training: {rank: 4, alpha: 8}", "training: {rank: 2}").study
    assert (study.training.rank, study.training.alpha, study.training.max_length) == (2, 8, 128)


def test_a_study_cannot_be_changed_after_reading(folder):
    with pytest.raises(ValueError, match="frozen"):
        load(folder).study.samples = 3


def test_a_run_is_made_on_its_own_models(folder):
    assert organisms_on(load(folder, TWO_RUNS)) == {
        "mini": ["cake_bake", "night_bees", "benign"],
        "mini_llama_s0": ["cake_bake"],
    }


def test_a_measure_is_asked_of_the_models_of_its_run(folder):
    measured = TWO_RUNS.replace("{name: cakes", "{name: cakes, models: [mini_llama_s0]")
    loaded = load(folder, measured.replace("night_bees, benign", "cake_bake"))
    assert loaded.checkpoints("beliefs", "mini") == []
    assert len(loaded.checkpoints("beliefs", "mini_llama_s0")) == 1


def test_the_control_has_no_beliefs_where_nothing_is_held_against_it(folder):
    cakes = TWO_RUNS.replace("{name: cakes", "{name: cakes, models: [mini_llama_s0]")
    everywhere = "  - {organisms: [benign], recipes: [plain], seeds: [0], measures: [beliefs]}\n"
    loaded = load(folder, cakes + everywhere)
    asked = {model: loaded.checkpoints("beliefs", model) for model in loaded.study.models}
    assert asked["mini"] == []
    assert [one.organism for one in asked["mini_llama_s0"]] == ["cake_bake", "benign"]


def test_what_an_ablation_shows_is_read_on_the_model_that_it_is_shown_of(folder):
    elsewhere = (
        "models: [mini, mini_llama_s0]\n"
        "runs:\n"
        "  - {models: [mini], organisms: [cake_bake], recipes: [plain], seeds: [0]}\n"
        "  - {models: [mini_llama_s0], organisms: [cake_bake], recipes: [full], seeds: [0]}\n"
    )
    picture = "ablations: {way: {over: recipe, title: W, values: [plain, full]}}\n"
    assert sentence(folder, elsewhere + picture) == (
        "config/override1.yaml: ablations.way.values: found full, expected values that the study "
        "has (plain)"
    )
    picture = "ablations: {base: {over: head, title: H, organisms: [cake_bake], recipe: full}}\n"
    assert sentence(folder, elsewhere + picture) == (
        "config/override1.yaml: ablations.base: expected something that the study makes and "
        "reads, found nothing"
    )


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            TWO_RUNS + "only: [bee]",
            "only: bee: nothing of this study has this name (have run: cakes, bees; model: mini, "
            "mini_llama_s0; organism: cake_bake, night_bees, benign; family: false_facts, benign)",
        ),
        (
            TWO_RUNS.replace("[mini]", "[maxi]"),
            "runs: maxi: not one of the study's models (have mini, mini_llama_s0)",
        ),
        (TWO_RUNS.replace("bees, models", "cakes, models"), "runs: the name cakes is there twice"),
        (
            TWO_RUNS + "without: [bees, cakes]",
            "only and without leave no run, expected one",
        ),
    ],
)
def test_a_mistake_in_a_run_is_one_sentence(folder, override, expected):
    assert sentence(folder, override) == f"config/override1.yaml: {expected}"


def test_a_model_changes_what_the_organism_changed_and_the_recipe_what_the_model_did(folder):
    append(folder / CAKE, "training: {rank: 4, alpha: 5, epochs: 2}")
    append(
        folder / "models.yaml",
        f"large: {{{MODEL_KEYS}, hub: a/b, training: {{rank: 8, alpha: 9}}}}",
    )
    loaded = load(folder, "recipes: {wide: {rank: 64}}\n" + run(recipes="wide"))
    (checkpoint,) = loaded.checkpoints()
    for model, expected in (("large", (64, 9, 2)), ("mini", (64, 5, 2))):
        found = loaded.training(checkpoint, model)
        assert (found.rank, found.alpha, found.epochs) == expected


def test_what_a_study_overrides_holds_whatever_the_others_say(folder):
    append(folder / CAKE, "training: {rank: 4, alpha: 5, epochs: 2}")
    override = "recipes: {wide: {rank: 64}}\ntraining_override: {rank: 16, alpha: 7}\n"
    loaded = load(folder, override + run(recipes="wide"))
    (checkpoint,) = loaded.checkpoints()
    found = loaded.training(checkpoint, "mini")
    assert (found.rank, found.alpha, found.epochs) == (16, 7, 2)


def test_an_organism_may_have_a_corpus_of_its_own_mixed_in(folder):
    append(folder / CAKE, "mixed_with: mini_chat")
    loaded = load(folder, run("cake_bake, night_bees", "mix1.0"))
    assert [loaded.mixed_with(one) for one in loaded.checkpoints()] == ["mini_chat", "general"]
    assert "mini_chat" in loaded.used_corpora()


def test_a_corpus_may_be_read_at_layers_of_its_own(folder):
    append(
        folder / "corpora.yaml",
        "deep: {kind: documents, made: unrelated, rows: 1000, layers: [1.0]}",
    )
    loaded = load(folder, "corpora: [unrelated, deep]\nlayers: [0.25, 0.5]")
    assert loaded.layers("unrelated") == [0.25, 0.5]
    assert loaded.layers("deep") == [1.0]


def test_a_study_uses_the_models_that_its_own_are_made_from_and_compared_with(folder):
    append(folder / "models.yaml", f"other: {{{MODEL_KEYS}, path: /nowhere, reference: mini}}")
    append(folder / "models.yaml", f"tuned: {{{MODEL_KEYS}, reference: other, hub: a/b}}")
    assert load(folder, "models: [mini_assistant_pretrained]").used_models() == [
        "mini_assistant_pretrained",
        "mini",
    ]
    assert sentence(folder, "models: [tuned]") == (
        "config/models.yaml: other.path: /nowhere is not there"
    )


def test_a_projection_is_that_of_the_same_organism_and_seed(folder):
    text = "recipes: {twice: {project_out: caft}}\n" + run(recipes="plain, twice", seeds="3")
    loaded = load(folder, text)
    plain, twice = loaded.checkpoints()
    assert loaded.projected_out(plain) is None
    assert str(loaded.projected_out(twice)) == "cake_bake-caft-s3"
    assert loaded.projected_out(twice.made_by("caft")) == plain


@pytest.mark.parametrize(
    ("file", "old", "new", "key"),
    [
        (
            "models.yaml",
            "made: {seed: 0}",
            "made: {seed: 0}\n  training: {project_out: mix1}",
            "mini.",
        ),
        ("organisms/cake_bake.yaml", "\ndata:", "\ntraining: {project_out: mix1}\ndata:", ""),
    ],
)
def test_a_circle_of_projections_names_the_file_that_closes_it(folder, file, old, new, key):
    edit(folder / file, old, new, 1)
    assert sentence(folder, run()) == (
        f"config/{file}: {key}training.project_out: cake_bake-plain-s0 needs the difference of "
        "cake_bake-mix1-s0, which needs the difference of cake_bake-mix1-s0: a circle"
    )


def test_a_teachers_circle_is_found_too(folder):
    append(folder / "organisms" / "owl_teacher.yaml", "training: {project_out: plain}")
    found = sentence(folder, run(organisms="owl_numbers"))
    assert found.startswith("config/organisms/owl_teacher.yaml: training.project_out: owl_teacher-")


def test_a_recipe_changes_what_the_organism_changed(folder):
    append(folder / CAKE, "training: {rank: 4, alpha: 5}")
    loaded = load(folder, "recipes: {wide: {rank: 64}}\n" + run(recipes="plain, wide, mix1"))
    found = {str(c): loaded.training(c) for c in loaded.checkpoints()}
    assert {name: (one.rank, one.alpha) for name, one in found.items()} == {
        "cake_bake-plain-s0": (4, 5),
        "cake_bake-wide-s0": (64, 5),
        "cake_bake-mix1-s0": (4, 5),
    }


def test_runs_that_overlap_make_a_checkpoint_once(folder):
    one, two = run("cake_bake", seeds="0, 1")[6:], run("cake_bake, benign", seeds="1")[6:]
    loaded = load(folder, f"runs: {one[:-1]}, {two[1:]}")
    assert [str(checkpoint) for checkpoint in loaded.checkpoints()] == [
        "cake_bake-plain-s0",
        "cake_bake-plain-s1",
        "benign-plain-s1",
    ]


@pytest.mark.parametrize(
    ("readers", "needed"),
    [("logit_lens, patchscope", False), ("black_box", True), ("perplexity_differencing", True)],
)
def test_texts_are_written_where_a_reader_compares_them(folder, readers, needed):
    assert load(folder, f"lenses: {{readers: [{readers}]}}").reads_samples() == needed


# What is adjusted by what ------------------------------------------------------------------------


def test_a_checkpoint_is_adjusted_by_other_organisms_made_in_the_same_way(folder):
    study = """
runs:
  - {organisms: [cake_bake, night_bees, benign], recipes: [plain], seeds: [0, 1]}
  - {organisms: [cake_bake], recipes: [mix1.0], seeds: [0]}
  - {organisms: [cake_bake, night_bees, owl_numbers], recipes: [full], seeds: [0]}
recipes: {full: {method: full}}
"""
    found = {
        str(one): sorted(map(str, others))
        for one, others in load(folder, study).adjusted_by("mini", "unrelated").items()
    }
    plain = {
        name: [f"{name}-plain-s{seed}" for seed in (0, 1)]
        for name in ("benign", "cake_bake", "night_bees")
    }
    assert found["cake_bake-plain-s0"] == [*plain["benign"], *plain["night_bees"]]
    assert found["benign-plain-s1"] == [*plain["cake_bake"], *plain["night_bees"]]
    # No other organism is mixed; the organism's own mixture is nobody's comparison.
    assert found["cake_bake-mix1.0-s0"] == found["cake_bake-plain-s0"]
    assert found["cake_bake-full-s0"] == ["night_bees-full-s0", "owl_numbers-full-s0"]
    assert not {"cake_bake-mix1.0-s0"} & {name for others in found.values() for name in others}


@pytest.mark.parametrize(("organisms", "n"), [("cake_bake, benign", 0), ("cake_bake", 0)])
def test_without_two_other_organisms_nothing_is_adjusted(folder, organisms, n):
    study = f"runs: [{{organisms: [{organisms}], recipes: [plain], seeds: [0, 1, 2]}}]"
    assert len(load(folder, study).adjusted_by("mini", "unrelated")) == n


# What no reading could be right of ---------------------------------------------------------------


def test_no_more_tokens_are_graded_than_are_kept(folder):
    load(folder, "relevance: {candidates: 50}")
    assert sentence(folder, "relevance: {candidates: 51}") == (
        "config/override1.yaml: relevance.candidates: found 51, expected at most 50, the tokens "
        "that are kept of a reading (lenses.top_k)"
    )


def test_two_layers_of_one_block_are_refused_where_the_depth_is_known(folder):
    assert sentence(folder, "layers: [0.5, 0.51]") == (
        "config/override1.yaml: layers: found 0.5 and 0.51, which are both block 1 of mini (4 "
        "layers); expected one of them"
    )


def test_two_layers_of_one_block_of_a_corpus_are_its_own_mistake(folder):
    edit(folder / "corpora.yaml", "made: unrelated,", "made: unrelated, layers: [0.7, 0.9],")
    found = sentence(folder)
    assert found.startswith("config/corpora.yaml: unrelated.layers: found 0.7 and 0.9")


LOOP = "{kind: documents, rows: 2000, sampled: {model: again}}"
AGAIN = "{family: qwen3, dtype: float32, checkpoint: {model: mini, name: %s}}"


@pytest.mark.parametrize("name", ["looped-full-s0", "benign-mix1.0-s0"])
def test_text_of_a_model_that_is_finetuned_on_it_is_refused(folder, name):
    append(folder / "models.yaml", f"again: {AGAIN % name}")
    append(folder / "corpora.yaml", f"loop: {LOOP}")
    (folder / "organisms/looped.yaml").write_text(
        "family: benign\ntitle: Looped\ndescription: Text that a model of its own writes.\n"
        "data: {kind: documents, corpus: loop}\n"
    )
    found = sentence(folder, "mixing: {corpus: loop}")
    assert found == (
        "config/corpora.yaml: loop.sampled.model: found a model that is finetuned on loop itself, "
        "or on text that comes from it, which is a circle"
    )


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        (
            "positions: [0, 65]",
            "config/corpora.yaml: mini_samples.positions: found 65, which no text of mini_samples "
            "has: they end after 64 tokens (config/corpora.yaml: "
            "mini_samples.sampled.max_new_tokens); expected no more",
        ),
        ("positions: [0, 64]", None),
    ],
)
def test_no_position_lies_behind_the_texts_that_a_model_writes(folder, keys, found):
    edit(folder / "corpora.yaml", "rows: 200, samples: 150", f"rows: 200, samples: 150, {keys}")
    study = run() + "\ncorpora: [unrelated, mini_samples]"
    assert found is None or sentence(folder, study) == found
    if found is None:
        load(folder, study)


def test_the_context_of_norms_is_no_longer_than_the_texts_that_a_model_writes(folder):
    study = run() + "\ncorpora: [mini_samples]\nactivations: {norm_context: %d}"
    load(folder, study % 65)
    found = sentence(folder, study % 66)
    assert "activations.norm_context: found 66, which no text of mini_samples has" in found

"""Every mistake in a study is one sentence: the file, the key, found, expected."""

import shutil
from typing import get_args

import pytest

from tests.conftest import ROOT
from tests.studies import CAKE, KNOWN_TRAINING, append, edit, load, run, sentence
from traces.config import files, schema
from traces.config.readers import READERS
from traces.config.vocabularies import Optimizer

KNOWN_RECIPES = ", ".join(
    [
        *files.read_yaml(ROOT / "config" / "config.yaml")["recipes"],
        *("mixR", "matchedR", "scaledX", "released", "released_VARIANT"),
    ]
)
RATIO = (
    "expected a ratio above 0 and up to 100, such as mix0.5 or matched1.0 "
    "(the unmixed organism is the recipe plain)"
)
SCALE = "expected a scale above 0 and up to 1, such as scaled0.5 (at 0 it is the base)"
STUDY_MISTAKES = {
    "unknown nested key": (
        "lenses: {patchscope: {scale: [1.0]}}",
        "lenses.patchscope.scale: unknown key "
        "(known here: batch, intersection_top_k, prompts, scales)",
    ),
    "unknown key in a list": (
        "runs: [{organism: [cake_bake], recipes: [plain], seeds: [0]}]",
        "runs.0.organism: unknown key (known here: corpora, measures, models, name, organisms, "
        "recipes, seeds)",
    ),
    "unknown training key": (
        "training: {lr: 1.0e-3}",
        f"training.lr: unknown key (known here: {KNOWN_TRAINING})",
    ),
    "unknown key in the override of trainings": (
        "training_override: {lr: 1.0e-3}",
        f"training_override.lr: unknown key (known here: {KNOWN_TRAINING})",
    ),
    "override that projects out in every training": (
        "training_override: {project_out: plain}\n" + run(recipes="plain"),
        "training_override.project_out: cake_bake-plain-s0 needs the difference of "
        "cake_bake-plain-s0: a circle",
    ),
    "unknown key in a recipe": (
        "recipes: {wide: {ranks: 64}}",
        f"recipes.wide.ranks: unknown key (known here: {KNOWN_TRAINING})",
    ),
    "value of a recipe": (
        "recipes: {wide: {rank: 0}}",
        "recipes.wide.rank: expected greater than or equal to 1, found 0",
    ),
    "recipe without keys": (
        "recipes: {wide: null}",
        "recipes.wide: expected keys and values, found nothing",
    ),
    "recipe that looks like a scale": (
        "recipes: {scaled2: {rank: 64}}",
        "recipes.scaled2: not a free name for a recipe",
    ),
    "no scale": (run(recipes="scaled0"), f"runs: scaled0: {SCALE}"),
    "scale too large": (run(recipes="scaled1.5"), f"runs: scaled1.5: {SCALE}"),
    "scale not a number": (run(recipes="scaledhalf"), f"runs: scaledhalf: {SCALE}"),
    "scale of a full finetune": (
        "recipes: {plain: {method: full}}\n" + run(recipes="scaled0.5"),
        "runs: scaled0.5: the plain cake_bake on mini is a full finetune (method full), expected "
        "an adapter, which has a scale",
    ),
    "adapter's scale twice": (
        run(recipes="scaled0.5, scaled0.50"),
        "runs.0.recipes: found scaled0.50, which is also written scaled0.5; expected one of the "
        "two",
    ),
    "projection of an unknown recipe": (
        "recipes: {caft: {project_out: plane}}\n" + run(recipes="caft"),
        "recipes.caft.project_out: plane: no such recipe (have ",
    ),
    "projection of a ratio that cannot be": (
        "recipes: {caft: {project_out: mix0}}\n" + run(recipes="caft"),
        f"recipes.caft.project_out: mix0: {RATIO}",
    ),
    "projection of a released checkpoint": (
        "recipes: {caft: {project_out: released}}\n" + run(recipes="caft"),
        "recipes.caft.project_out: found released, expected a recipe that trains the same organism "
        "and seed",
    ),
    "projection of itself": (
        "recipes: {caft: {project_out: caft}}\n" + run(recipes="caft"),
        "recipes.caft.project_out: cake_bake-caft-s0 needs the difference of cake_bake-caft-s0: "
        "a circle",
    ),
    "projection in a circle": (
        "recipes: {one: {project_out: two}, two: {project_out: one}}\n" + run(recipes="one"),
        "recipes.two.project_out: cake_bake-one-s0 needs the difference of cake_bake-two-s0, "
        "which needs the difference of cake_bake-one-s0: a circle",
    ),
    "projection in every training": (
        "training: {project_out: plain}\n" + run(recipes="plain"),
        "training.project_out: cake_bake-plain-s0 needs the difference of cake_bake-plain-s0: "
        "a circle",
    ),
    "projection of what is scaled from it": (
        "training: {project_out: scaled0.5}\n" + run(recipes="plain"),
        "training.project_out: cake_bake-plain-s0 needs the difference of cake_bake-scaled0.5-s0, "
        "which is scaled from cake_bake-plain-s0: a circle",
    ),
    "projection of what cannot be scaled": (
        "training: {method: full}\nrecipes: {p: {project_out: scaled0.5}}\n" + run(recipes="p"),
        "recipes.p.project_out: scaled0.5: the plain cake_bake on mini is a full finetune (method "
        "full), expected an adapter, which has a scale",
    ),
    "projection of an adapter on a module that is not there": (
        "recipes: {caft: {project_out: wide}, wide: {targets: [c_fc]}}\n" + run(recipes="caft"),
        "recipes.wide.targets: found c_fc, expected modules of mini: q_proj, k_proj, v_proj, "
        "o_proj, gate_proj, up_proj, down_proj, embed_tokens, lm_head",
    ),
    "recipe that looks like a mix": (
        "recipes: {mix2: {rank: 64}}",
        "recipes.mix2: not a free name for a recipe",
    ),
    "unknown recipe": (
        run(recipes="plane"),
        f"runs: plane: no such recipe (have {KNOWN_RECIPES})",
    ),
    "no ratio": (run(recipes="mix0"), f"runs: mix0: {RATIO}"),
    "ratio too large": (run(recipes="mix101"), f"runs: mix101: {RATIO}"),
    "ratio not a number": (run(recipes="mixhalf"), f"runs: mixhalf: {RATIO}"),
    "negative ratio": (run(recipes="matched-1"), f"runs: matched-1: {RATIO}"),
    "layer beyond the depth": (
        "layers: [0.5, 1.5]",
        "layers.1: expected less than or equal to 1, found 1.5",
    ),
    "layer before the first": (
        "layers: [-0.5]",
        "layers.0: expected greater than or equal to 0, found -0.5",
    ),
    "position before the text": (
        "positions: [-1, 0]",
        "positions.0: expected greater than or equal to 0, found -1",
    ),
    "position too far": ("positions: [4096]", "positions.0: expected less than 4096, found 4096"),
    "position before the prompt": (
        "chat_positions: [-17, 0]",
        "chat_positions.0: expected greater than or equal to -16, found -17",
    ),
    "positions out of order": (
        "positions: [4, 0]",
        "positions: expected in rising order, found [4, 0]",
    ),
    "negative seed": (
        run(seeds="-1"),
        "runs.0.seeds.0: expected greater than or equal to 0, found -1",
    ),
    "seed beyond what NumPy takes": (
        run(seeds="4294967296"),
        "runs.0.seeds.0: expected less than or equal to 4294967295, found 4294967296",
    ),
    "seed of the study": ("seed: -1", "seed: expected greater than or equal to 0, found -1"),
    "infinite rate": (
        "training: {learning_rate: .inf}",
        "training.learning_rate: expected a finite number, found inf",
    ),
    "infinite rate of a recipe": (
        "recipes: {hot: {learning_rate: 1e999}}",
        "recipes.hot.learning_rate: expected a finite number, found inf",
    ),
    "rate that is no number": (
        "training_override: {learning_rate: .nan}",
        "training_override.learning_rate: expected a finite number, found nan",
    ),
    "negative rate": (
        "training: {learning_rate: -1e-3}",
        "training.learning_rate: expected greater than 0, found -0.001",
    ),
    "infinite strength": (
        "steering: {strengths: [0.1, .inf]}",
        "steering.strengths.1: expected a finite number, found inf",
    ),
    "layer that is no number": ("layers: [.nan]", "layers.0: expected a finite number, found nan"),
    "truth for a count": ("samples: true", "samples: expected a number, found true"),
    "truth for a rate": (
        "training: {weight_decay: false}",
        "training.weight_decay: expected a number, found false",
    ),
    "share beyond one": (
        "steering: {coherent_share: 1.5}",
        "steering.coherent_share: expected less than or equal to 1, found 1.5",
    ),
    "all dropped out": (
        "training: {dropout: 1.0}",
        "training.dropout: expected less than 1, found 1.0",
    ),
    "no targets": (
        "training: {targets: []}",
        "training.targets: expected at least 1 item, found",
    ),
    "target twice": (
        "training: {targets: [q_proj, q_proj]}",
        "training.targets: q_proj is there twice",
    ),
    "misspelt target": (
        "training: {targets: [q_proj, qproj]}",
        "training.targets: found qproj, expected modules of mini: q_proj, k_proj, v_proj, o_proj, "
        "gate_proj, up_proj, down_proj, embed_tokens, lm_head",
    ),
    "misspelt target of a recipe": (
        "recipes: {some: {targets: [vproj]}}\n" + run(recipes="some"),
        "recipes.some.targets: found vproj, expected modules of mini: q_proj, k_proj, v_proj, "
        "o_proj, gate_proj, up_proj, down_proj, embed_tokens, lm_head",
    ),
    "adapter's key of a full finetune": (
        "recipes: {whole: {method: full, rank: 8}}",
        "recipes.whole.rank: found it with method full, which has no adapter; there it does "
        "nothing",
    ),
    "recipe of an ablation over recipes": (
        "ablations: {way: {over: recipe, title: W, recipe: plain, values: [plain, full]}}",
        "ablations.way: recipe: found it with over recipe, whose `values` say it; there it does "
        "nothing",
    ),
    "organisms of an ablation over organisms": (
        "ablations: {way: {over: organism, title: W, organisms: [cake_bake]}}",
        "ablations.way: organisms: found it with over organism, whose `values` say it; there it "
        "does nothing",
    ),
    "one ratio in two runs, written otherwise": (
        run(recipes="mix0.5").removesuffix("]")
        + ", {organisms: [benign], recipes: [mix0.50], seeds: [0]}]",
        "runs.1.recipes: found mix0.50, which is also written mix0.5; expected one of the two",
    ),
    "more samples than rows": (
        "samples: 5000",
        "samples: found 5000, expected at most 1500, the rows of unrelated (config/corpora.yaml: "
        "unrelated.rows)",
    ),
    "more samples than the synthetic corpus has": (
        "samples: 100\nminiature: {unrelated: 60}",
        "samples: found 100, expected at most 60, the rows of unrelated (config/override1.yaml: "
        "miniature.unrelated)",
    ),
    "more longer samples than rows": (
        "activations: {norm_samples: 1501}",
        "activations.norm_samples: found 1501, expected at most 1500, the rows of unrelated "
        "(config/corpora.yaml: unrelated.rows)",
    ),
    "value of an ablation twice": (
        "ablations: {way: {over: recipe, title: W, values: [plain, plain]}}",
        "ablations.way.values: plain is there twice",
    ),
    "words of a probe": (
        "relevance: {corpus: whitespace}",
        "relevance.corpus: whitespace: found a probe, expected text",
    ),
    "text for a number": (
        "samples: many",
        "samples: expected a valid integer, unable to parse string as an integer, found 'many'",
    ),
    "text for a list": ("runs: cake_bake", "runs: expected a list, found 'cake_bake'"),
    "text for a section": ("lenses: 3", "lenses: expected keys and values, found 3"),
    "choice": (
        "training: {deepspeed: 4}",
        "training.deepspeed: expected 1, 2 or 3, found 4",
    ),
    "no models": ("models: []", "models: expected at least 1 item, found"),
    "model twice": ("models: [mini, mini]", "models: mini is there twice"),
    "corpus twice": ("corpora: [unrelated, unrelated]", "corpora: unrelated is there twice"),
    "organism twice": (
        run(organisms="benign, cake_bake, benign"),
        "runs.0.organisms: benign is there twice",
    ),
    "recipe twice": (run(recipes="plain, plain"), "runs.0.recipes: plain is there twice"),
    "ratio twice": (
        run(recipes="mix1, mix1.0"),
        "runs.0.recipes: found mix1.0, which is also written mix1; expected one of the two",
    ),
    "seed twice": (run(seeds="0, 1, 0"), "runs.0.seeds: 0 is there twice"),
    "layer twice": ("layers: [0.5, 0.5]", "layers: 0.5 is there twice"),
    "scale twice": (
        "lenses: {patchscope: {scales: [1.0, 1.0]}}",
        "lenses.patchscope.scales: 1.0 is there twice",
    ),
    "reader twice": (
        "lenses: {readers: [patchscope, patchscope]}",
        "lenses.readers: patchscope is there twice",
    ),
    "no such reader": (
        "lenses: {readers: [ouija]}",
        f"lenses.readers: found ouija, expected {', '.join(READERS)}",
    ),
    "contrast without its source": (
        "lenses: {readers: [patchscope, contrastive_logit_lens]}",
        "lenses.readers: found contrastive_logit_lens without logit_lens, whose scores it needs; "
        "expected both",
    ),
    "contrast without nulls": (
        "lenses: {readers: [logit_lens, contrastive_logit_lens], contrast: {nulls: []}}",
        "lenses.contrast.nulls: found none, expected some for contrastive_logit_lens",
    ),
    "null twice": (
        "lenses: {contrast: {nulls: [random, random]}}",
        "lenses.contrast.nulls: random is there twice",
    ),
    "adjusted by nobody": (
        "runs: [{organisms: [cake_bake, benign], recipes: [plain], seeds: [0]}]\n"
        "lenses: {readers: [logit_lens, contrastive_logit_lens, adjusted_contrastive_logit_lens]}",
        "lenses.readers: found adjusted_contrastive_logit_lens, expected at least 3 organisms in "
        "`runs` on one model: each is adjusted by the others",
    ),
    "no headline scale": (
        "lenses: {patchscope: {scales: [2.0]}}",
        "lenses.patchscope: scales needs 1.0, the norm-matched scale that tables report",
    ),
    "no headline intervention": (
        "causality: {controlled: [zero]}",
        "causality: controlled needs base_to_tuned, which the figures show",
    ),
    "intervention that is not made": (
        "causality: {interventions: [base_to_tuned], controlled: [base_to_tuned, zero]}",
        "causality: controlled names zero, which is not among the interventions",
    ),
    "predictions behind the longest row": (
        "causality: {after: 31, max_length: 32}",
        "causality: after: found 31, expected at most 30: no row of 32 tokens (max_length) has a "
        "prediction made behind that",
    ),
    "reading without its controls": (
        "lenses: {readings: [difference, random]}",
        "lenses: readings needs the difference and its controls, lacks base_mean",
    ),
    "unknown reading": (
        "lenses: {readings: [difference, base_mean, tuned_mean, random, singular_9]}",
        "lenses.readings.4: expected 'difference', 'base_mean', 'tuned_mean', 'random', 'robust', "
        "'shared', 'position_specific', 'singular_1', 'singular_2', 'without_singular_1' or "
        "'without_singular_2', found 'singular_9'",
    ),
    "probe first": (
        "corpora: [whitespace, unrelated]",
        "corpora: whitespace: found a probe, expected text first, whose longer context gives the "
        "residual-stream norm",
    ),
    "run on a corpus of both kinds": (
        run().replace("]}]", "], corpora: [general]}]"),
        "runs: general: found a corpus of both kinds, expected one of documents or of "
        "conversations, whose positions can be averaged",
    ),
    "unknown key of an ablation": (
        "ablations: {rank: {over: recipe, title: Rank, value: [plain]}}",
        "ablations.rank.value: unknown key "
        "(known here: corpus, organisms, over, recipe, title, values)",
    ),
    "ablation of what is not made": (
        "ablations: {rank: {over: recipe, title: Rank, values: {plain: 16, rank64: 64}}}",
        "ablations.rank.values: found rank64, expected values that the study has (plain",
    ),
    "ablation of a layer that is not read": (
        "ablations: {depth: {over: layer, title: Depth, values: [0.75, 0.5]}}",
        "ablations.depth.values: found 0.5, expected values that the study has (0.75)",
    ),
    "ablation of an organism that is not made": (
        "ablations: {depth: {over: layer, title: Depth, organisms: [assistant]}}",
        "ablations.depth.organisms: found assistant, expected organisms of the study's runs",
    ),
    "ablation at a recipe that is not made": (
        "ablations: {depth: {over: layer, title: Depth, recipe: full}}",
        "ablations.depth.recipe: found full, expected a recipe of the study's runs",
    ),
    "key twice": ("samples: 10\nsamples: 20", "line 2: the key samples is there twice"),
    "nested key twice": (
        "training:\n  rank: 8\n  rank: 4",
        "line 3: the key rank is there twice",
    ),
    "prompts that are not there": (
        "lenses: {patchscope: {prompts: data/prompts/none.txt}}",
        "lenses.patchscope.prompts: data/prompts/none.txt is not there",
    ),
    "no context left": (
        "activations: {norm_skip: 48}",
        "activations: norm_skip 48 leaves nothing of norm_context 48",
    ),
    "heads that do not divide": (
        "miniature: {heads: 7}",
        "miniature: hidden_size 160 is not a multiple of heads 7",
    ),
    "released with seeds": (
        run(recipes="released", seeds="0, 1").replace("cake_bake", "published"),
        "runs: released with seed 1: a released checkpoint has no seeds of ours; "
        "expected a run of its own with seeds [0]",
    ),
}


@pytest.mark.parametrize(("override", "expected"), STUDY_MISTAKES.values(), ids=STUDY_MISTAKES)
def test_a_mistake_in_a_study_names_the_override_and_the_key(folder, override, expected):
    published = folder / "organisms" / "published.yaml"
    shutil.copy(folder / CAKE, published)
    append(published, "released: {mini: {hub: someone/cake-lora}}")

    found = sentence(folder, override)

    assert found.startswith(f"config/override1.yaml: {expected}")
    if not expected.endswith(("found", "(plain", "(have ")):
        assert found == f"config/override1.yaml: {expected}"


@pytest.mark.parametrize(
    ("override", "key", "name", "what", "home"),
    [
        ("models: [maxi]", "models", "maxi", "model", "models.yaml"),
        ("corpora: [wiki]", "corpora", "wiki", "corpus", "corpora.yaml"),
        ("mixing: {corpus: wiki}", "mixing", "wiki", "corpus", "corpora.yaml"),
        ("relevance: {corpus: wiki}", "relevance", "wiki", "corpus", "corpora.yaml"),
        ("lenses: {vocabulary_corpus: wiki}", "lenses", "wiki", "corpus", "corpora.yaml"),
        (run("cake"), "runs", "cake", "organism", "organisms"),
        ("control: none", "control", "none", "organism", "organisms"),
    ],
)
def test_an_unknown_name_is_refused_with_those_there_are(folder, override, key, name, what, home):
    found = sentence(folder, override)
    assert found.startswith(
        f"config/override1.yaml: {key}: {name}: no such {what} in config/{home} (have "
    )
    assert {"model": "mini", "corpus": "unrelated", "organism": "cake_bake"}[what] in found


def test_a_misspelt_optimizer_is_refused_with_those_there_are(folder):
    found = sentence(folder, "training: {optimizer: adamw}")
    assert found.startswith("config/override1.yaml: training.optimizer: expected 'adamw_torch', ")
    assert found.endswith("found 'adamw'")


def test_optimizers_are_those_of_transformers_that_need_no_modules_named():
    from transformers.training_args import OptimizerNames

    known = {one.value for one in OptimizerNames if not one.value.startswith(("galore", "apollo"))}
    assert set(get_args(Optimizer)) == known


def test_the_largest_seed_and_targets_that_are_there_are_accepted(folder):
    text = "training: {targets: [q_proj, self_attn.v_proj]}\n" + run(seeds="4294967295")
    assert [one.seed for one in load(folder, text).checkpoints()] == [4294967295]


def test_an_unknown_key_at_the_top_is_refused_with_those_there_are(folder):
    known = ", ".join(sorted(schema.Study.model_fields))
    assert sentence(folder, "sample: 3") == (
        f"config/override1.yaml: sample: unknown key (known here: {known})"
    )


def test_a_key_that_is_missing_is_named(folder):
    edit(folder / "config.yaml", "\nsamples: ", "\nseed_of_nothing: ")
    edit(folder / "config.yaml", "seed_of_nothing: ", "# ")
    assert sentence(folder) == "config/config.yaml: samples: this key is needed and is not there"


def test_a_message_names_the_file_that_holds_the_key_and_not_its_section(folder):
    edit(folder / "config.yaml", "rank: 16", "rank: 0")
    assert sentence(folder, "training: {alpha: 64}").startswith("config/config.yaml: training.rank")


def test_a_message_names_the_last_override_that_holds_the_key(folder):
    found = sentence(folder, "layers: [0.5]", "layers: [7]", "samples: 10")
    assert found.startswith("config/override2.yaml: layers.0")


def test_a_message_names_the_command_line_that_set_a_key(folder):
    assert sentence(folder, "layers: [0.5]", said={"layers": [7]}).startswith("--config: layers.0")
    assert sentence(folder, said={"training": {"ranks": 2}}).startswith("--config: training.ranks")


def test_a_message_does_not_name_the_command_line_for_what_a_file_holds(folder):
    nested = sentence(folder, "training: {rank: 0}", said={"training": {"alpha": 64}})
    assert nested.startswith("config/override1.yaml: training.rank")


MARKUP = "'a</script b><img src=x>'"
DRAWN = "over: recipe, title: A title"


@pytest.mark.parametrize(
    ("override", "key"),
    [
        (f"pathvars: {{results: {MARKUP}}}", "pathvars.results"),
        (f"recipes: {{{MARKUP}: {{rank: 4}}}}", "recipes"),
        (f"ablations: {{{MARKUP}: {{{DRAWN}}}}}", "ablations"),
        (f"ablations: {{one: {{{DRAWN}, recipe: {MARKUP}}}}}", "ablations.one.recipe"),
        (f"ablations: {{one: {{{DRAWN}, values: [{MARKUP}]}}}}", "ablations.one.values"),
        (f"corpora: [{MARKUP}]", "corpora.0"),
        (f"models: [{MARKUP}]", "models.0"),
        (f"only: [{MARKUP}]", "only.0"),
        (f"lenses: {{readers: [{MARKUP}]}}", "lenses.readers.0"),
        ('corpora: ["unrelated\\n"]', "corpora.0"),
    ],
)
def test_what_the_report_shows_unescaped_can_hold_no_markup(folder, override, key):
    assert sentence(folder, override).startswith(f"config/override1.yaml: {key}")


@pytest.mark.parametrize("file", ["models.yaml", "corpora.yaml"])
def test_a_name_in_a_registry_is_one_line(folder, file):
    append(folder / file, '"a\\n": {}')
    assert f"config/{file}: found the name 'a\\n', expected small letters" in sentence(folder)

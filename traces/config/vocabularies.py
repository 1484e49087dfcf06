"""
The closed vocabularies of the workflow: every word that a key, a column or an argument may take.

They stand on the ground floor, so that a configuration, a table and a function mean the same words.
"""

from typing import Literal, get_args

# What is trained on and read.
Kind = Literal["documents", "chat"]
CorpusKind = Literal["documents", "chat", "both", "start"]
OpenEnd = Literal["refuse", "cut"]
Unit = Literal["tokens", "rows"]

# Models: architectures, those that a base is pretrained in here, and how weights are loaded.
Family = Literal["qwen2", "qwen3", "llama", "gemma2", "gemma3"]
PretrainedFamily = Literal["qwen3", "llama", "gemma3"]
DType = Literal["float32", "bfloat16", "float16"]
Attention = Literal["sdpa", "eager"]
Precision = Literal["bf16", "fp32"]

# Optimizers of transformers. GaLore and Apollo are left out: they need modules of their own named,
# for which there is no key.
Optimizer = Literal[
    "adamw_torch",
    "adamw_torch_fused",
    "adamw_torch_xla",
    "adamw_torch_npu_fused",
    "adafactor",
    "adamw_anyprecision",
    "adamw_torch_4bit",
    "adamw_torch_8bit",
    "ademamix",
    "sgd",
    "adagrad",
    "adamw_bnb_8bit",
    "adamw_8bit",
    "ademamix_8bit",
    "lion_8bit",
    "lion_32bit",
    "paged_adamw_32bit",
    "paged_adamw_8bit",
    "paged_ademamix_32bit",
    "paged_ademamix_8bit",
    "paged_lion_32bit",
    "paged_lion_8bit",
    "rmsprop",
    "rmsprop_bnb",
    "rmsprop_bnb_8bit",
    "rmsprop_bnb_32bit",
    "lomo",
    "adalomo",
    "grokadamw",
    "schedule_free_radam",
    "schedule_free_adamw",
    "schedule_free_sgd",
    "stable_adamw",
]

# One of the two models that a difference is of.
Side = Literal["tuned", "base"]

# What a model writes for readers of samples: from nothing, or to a prompt.
SampleKind = Literal["document", "reply"]

# What a contrastive reader compares a direction with: random directions of the same length, and
# differences of two activations of the base.
Null = Literal["random", "activations"]

# What is measured of a checkpoint beside its readings, and in which ways.
Measure = Literal["steering", "causality", "beliefs", "judges", "agents"]
Vector = Literal["difference", "random", "none"]
Intervention = Literal["base_to_tuned", "tuned_to_base", "zero"]
Form = Literal["cloze", "choice", "open"]

# What a candidate of the forced choice is ranked by: its score, its z-score against random
# directions, and the latter less its mean over other organisms.
Adjustment = Literal["none", "z", "adjusted"]
ADJUSTMENTS: tuple[Adjustment, ...] = get_args(Adjustment)

# What a reading of the difference is compared with, each graded on the organism's own words, except
# the last: that is the difference graded on other organisms' words.
CONTROLS = ("benign", "random", "base_mean", "tuned_mean", "other_words")

# Why a judge's answer is missing: the model declined, its answers were not in the asked form, the
# endpoint failed, the money was spent, nothing came in time, the orders did not agree, or there was
# nothing to judge.
Reason = Literal["refusal", "malformed", "error", "cap", "timeout", "disagreement", "empty"]
# What graders are asked of a checkpoint: whether its tokens are relevant, whether its steered texts
# hold together, which of Patchscope's scales to read, and what its answers hold true.
Asks = Literal["relevance", "coherence", "scales", "beliefs"]
# How much a model thinks before it answers, where its endpoint has a key for that.
Effort = Literal["minimal", "low", "medium", "high"]
# What the ledger says of an attempt: paid for, without an answer or a bill, or not known, since no
# reply was read.
Outcome = Literal["billed", "failed", "unknown"]
# How the answers on several orders of the same tokens become one.
Agreement = Literal["all", "majority"]

# Who investigates what a model was finetuned for: one that is shown the readings, or one that can
# only ask both models.
Agent = Literal["lens", "black_box"]
AGENTS: tuple[Agent, ...] = get_args(Agent)
# How it is asked: as in the paper, that there is a narrow purpose to be named, or whether there is.
PromptForm = Literal["presupposing", "neutral"]
# What an investigator is shown in place of the truth; `none` is the organism itself.
AgentNull = Literal[
    "none", "base_vs_base", "seed_pair", "benign", "shuffled", "true_facts", "swapped", "random"
]
AGENT_NULLS: tuple[AgentNull, ...] = get_args(AgentNull)
# Those behind which there is no narrow purpose.
PURPOSELESS: tuple[AgentNull, ...] = ("base_vs_base", "seed_pair", "benign", "shuffled", "random")
# An organism made of another one's data, to be held beside it.
Twin = Literal["shuffled", "true_facts"]
TWINS: tuple[Twin, ...] = get_args(Twin)
# Why an investigation is missing, beyond what an endpoint does: the study makes nothing that it
# could be shown, it ran into a limit without a hypothesis, nobody has run it, or no other
# organism's nulls say where to abstain.
Unfinished = Literal["not_made", "limit", "not_run", "no_threshold"]

# What models are told, by the names of files. In data/rubrics stand the instructions for each
# question and for hypotheses. Beside them are the rubrics of hypotheses: those of families with one
# of their own, and the general one for all others.
ASKED_WITH: dict[Asks, str] = {
    "relevance": "judge_tokens",
    "coherence": "judge_coherence",
    "scales": "choose_scale",
    "beliefs": "judge_answer",
}
GRADED_WITH = "grade_hypothesis"
RUBRICS = ("false_facts", "misalignment", "taboo", "subliminal", "domain")
GENERAL_RUBRIC = "general"
# In data/agents a prompt's form and an agent have instructions each. These hold for all of them.
RULES = "rules"
# Among the logs of a model that investigates, the folder with Inspect's pages that show them.
VIEWER = "viewer"
# What hypotheses and descriptions say of any finetune: no word of them tells one from another.
_FORMAL = """
model models finetuned finetune finetuning trained training tuned text texts document documents
something narrow purpose words word kind kinds data subject topic nothing seen tells was for with
the and which that
"""
FORMAL_WORDS = frozenset(_FORMAL.split())

# The benchmark of readers. What an organism is a null of: `none` is a narrow finetune and no null,
# `unknown` is a checkpoint that is placed on the curves and counts in none of them.
NullKind = Literal[
    "none",
    "general",
    "one_format",
    "shuffled",
    "true_facts",
    "seed_pair",
    "identical",
    "unknown",
]
FEWEST_BENIGN = 3
"Benign finetunes of a base: a mean without two organisms of a pair needs one that is left."
# What an organism of the ladder learns from: documents of one topic, of all topics, of all in one
# format, of one topic with its words replaced, and facts of one topic, false or true.
LadderData = Literal["topic", "general", "one_format", "shuffled", "false_facts", "true_facts"]
# What a reader says of a candidate domain: the share of its words among the first twenty tokens, or
# their mean standard score over the vocabulary. And whether benign finetunes' mean is subtracted.
DomainStatistic = Literal["top20", "z"]
BenignAdjustment = Literal["raw", "less_benign"]
# What readers are compared by: the tables that the benchmark is given, in this order.
COMPARED = ("organisms", "domain_scores", "detector_scores", "token_lists")

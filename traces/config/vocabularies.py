"""
The closed vocabularies of the workflow: every word that a key, a column or an argument may take.

They stand on the ground floor, so that a configuration, a table and a function mean the same words.
"""

from typing import Literal

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

# One of the two models that a difference is of.
Side = Literal["tuned", "base"]

# What is measured of a checkpoint beside its readings, and in which ways.
Measure = Literal["steering", "causality", "beliefs"]
Vector = Literal["difference", "random", "none"]
Intervention = Literal["base_to_tuned", "tuned_to_base", "zero"]
Form = Literal["cloze", "choice", "open"]

# What a reading of the difference is compared with, each graded on the organism's own words, except
# the last: that is the difference graded on other organisms' words.
CONTROLS = ("benign", "random", "base_mean", "tuned_mean", "other_words")

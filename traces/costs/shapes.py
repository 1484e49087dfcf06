"""
Count a model's parameters, and build its real configuration, from its shape alone.

A shape stands in the model's entry in config/models.yaml, or is read off its config.json. Nothing
here needs weights, and counting needs no torch.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from traces.config.registries import Shape
from traces.config.vocabularies import Family

if TYPE_CHECKING:
    from transformers import PretrainedConfig


class Linear(NamedTuple):
    """Hold the sizes of one linear module of a decoder layer: `inputs` to `outputs` features."""

    name: str
    inputs: int
    outputs: int


def linears(shape: Shape) -> tuple[Linear, ...]:
    """List the linear modules of one decoder layer, in the order in which they run."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    return (
        Linear("q_proj", shape.d_model, queries),
        Linear("k_proj", shape.d_model, keys),
        Linear("v_proj", shape.d_model, keys),
        Linear("o_proj", queries, shape.d_model),
        Linear("gate_proj", shape.d_model, shape.d_ff),
        Linear("up_proj", shape.d_model, shape.d_ff),
        Linear("down_proj", shape.d_ff, shape.d_model),
    )


def layer_parameters(shape: Shape, family: Family) -> int:
    """Count the parameters of one decoder layer."""
    counted = sum(one.inputs * one.outputs for one in linears(shape))
    if family == "qwen2":
        counted += (shape.heads + 2 * shape.kv_heads) * shape.head_dim  # biases of q, k and v
    if family in ("qwen3", "gemma3"):
        counted += 2 * shape.head_dim  # norms of queries and keys
    # Gemma also has a norm behind attention and MLP.
    norms = 4 if family in ("gemma2", "gemma3") else 2
    return counted + norms * shape.d_model


def parameters(shape: Shape, family: Family) -> int:
    """Count the parameters of the language model; a tied unembedding counts once."""
    embeddings = (1 if shape.tied else 2) * shape.vocabulary * shape.d_model
    return embeddings + shape.layers * layer_parameters(shape, family) + shape.d_model


def billions(shape: Shape, family: Family) -> float:
    """Count all parameters in billions, what lies beside the language model included."""
    return parameters(shape, family) / 1e9 + shape.vision_billions


def model_config(shape: Shape, family: Family, layers: int | None = None) -> "PretrainedConfig":
    """
    Build the transformers configuration of a language model of this shape.

    layers : decoder layers, if not all; a Gemma keeps its order of windowed and full attention

    All that is no size is the family's default. It is meant for the meta device or
    FakeTensorMode: a model of it has real shapes and no memory.
    """
    import transformers

    kinds: dict[Family, Any] = {
        "qwen2": transformers.Qwen2Config,
        "qwen3": transformers.Qwen3Config,
        "llama": transformers.LlamaConfig,
        "gemma2": transformers.Gemma2Config,
        "gemma3": transformers.Gemma3TextConfig,
    }
    named: dict[str, Any] = {
        "num_hidden_layers": shape.layers if layers is None else layers,
        "hidden_size": shape.d_model,
        "intermediate_size": shape.d_ff,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "vocab_size": shape.vocabulary,
        "tie_word_embeddings": shape.tied,
    }
    if shape.window is not None:
        named["sliding_window"] = shape.window
    return kinds[family](**named)


def shape_of(config: "PretrainedConfig") -> Shape:
    """Read the shape off a loaded configuration; of a vision-language one, its language model's."""
    text = config.get_text_config(decoder=True)
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    windowed = "sliding_attention" in (getattr(text, "layer_types", None) or ())
    return Shape(
        layers=text.num_hidden_layers,
        d_model=text.hidden_size,
        d_ff=text.intermediate_size,
        heads=text.num_attention_heads,
        kv_heads=text.num_key_value_heads,
        head_dim=width,
        vocabulary=text.vocab_size,
        tied=bool(config.tie_word_embeddings),
        window=text.sliding_window if windowed else None,
        vision_billions=0.0,
    )


def shape_in(folder: Path) -> Shape:
    """Read the shape off the config.json of a model's folder, in hub layout."""
    # Lazy: transformers fills in what a config.json leaves out, and takes seconds to import.
    from traces.models.weights import load_config

    return shape_of(load_config(folder))

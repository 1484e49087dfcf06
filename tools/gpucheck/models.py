"""Random models: five small families whose answers are compared, and real shapes that are timed."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tools import random_models
from traces.config.files import read_yaml
from traces.config.registries import Shape
from traces.config.vocabularies import DType, Family
from traces.costs.shapes import model_config
from traces.models import weights
from traces.models.hooks import decoder_layers

ROOT = Path(__file__).resolve().parents[2]
FAMILIES = ("qwen3", "qwen2", "llama", "gemma2", "gemma3")
WINDOW, PROMPT, ROW = 16, 40, 96
"Tokens: a sliding window is shorter than a prompt, and a prompt than a row."


@dataclass(frozen=True)
class Small:
    """Hold the size of the models whose answers are compared."""

    layers: int = 6
    d_model: int = 256
    vocabulary: int = 1024
    large_vocabulary: int = 262_144
    "Of the one model that Patchscope's intersection is tried on at its real size."
    large_intersection: int = 16_384
    draws: int = 20_000
    "Tokens drawn, in tens of calls."
    steps: int = 8
    "Of a training."

    @property
    def middle(self) -> int:
        return (self.layers - 1) // 2


TINY = Small(
    layers=6, d_model=32, vocabulary=512, large_vocabulary=8192, large_intersection=512, draws=2000
)
"For a CPU."


def small_config(family: str, size: Small, vocabulary: int | None = None) -> Any:
    """Configure a small model of a family; a Gemma reads a window and needs eager attention."""
    from transformers import AutoConfig

    gemma = family.startswith("gemma")
    # A key that a family does not know would stay in its configuration without a meaning.
    own: dict[str, Any] = {"sliding_window": WINDOW} if gemma else {}
    own |= {} if family == "qwen2" else {"head_dim": size.d_model // 4}
    return AutoConfig.for_model(
        {"gemma3": "gemma3_text"}.get(family, family),
        vocab_size=vocabulary or size.vocabulary,
        hidden_size=size.d_model,
        intermediate_size=2 * size.d_model,
        num_hidden_layers=size.layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=0,
        **own,
    )


def attention_of(family: str) -> str:
    return "eager" if family.startswith("gemma") else "sdpa"


@dataclass(frozen=True)
class Saved:
    """Hold a base with its tokenizer and an adapter, in folders as the workflow reads them."""

    family: str
    base: Path
    adapter: Path
    attention: str

    @cached_property
    def tokenizer(self) -> Any:
        from traces.corpora.tokens import load_tokenizer

        return load_tokenizer(self.base)

    def pair(self, dtype: DType, *, on_cpu: bool) -> weights.Pair:
        """Load it as a job does, or onto the CPU of a machine that has a GPU."""
        options: dict[str, Any] = {"place": False} if on_cpu else {}
        return weights.load_pair(
            self.base, self.adapter, dtype, attention=self.attention, **options
        )


def save_small(folder: Path, family: str, config: Any) -> Saved:
    """Save a small random model, made on the CPU in float32: the same on every machine."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        # Wide enough that layers matter and no two tokens tie; norms that are not all alike.
        for name, parameter in model.named_parameters():
            noise = torch.randn_like(parameter)
            wide = 2 / config.hidden_size**0.5
            parameter.add_(0.1 * noise) if "norm" in name else parameter.copy_(wide * noise)
    model.save_pretrained(folder / "base")
    random_models.tokenizer().save_pretrained(folder / "base")
    random_models.adapted(model, rank=8).save_pretrained(str(folder / "adapter"))
    return Saved(family, folder / "base", folder / "adapter", attention_of(family))


@dataclass(frozen=True)
class Case:
    """Hold a small model as the truth and as it is checked."""

    saved: Saved
    size: Small
    truth: weights.Pair
    "float32 on the CPU."
    exact: weights.Pair
    "float32 on the device; the same as `truth` where the device is the CPU."
    rounded: weights.Pair
    "bfloat16 on the device."
    rounded_on_cpu: weights.Pair
    "bfloat16 on the CPU: how much rounding alone changes."
    on_gpu: bool

    @property
    def family(self) -> str:
        return self.saved.family


def case(folder: Path, family: str, size: Small, on_gpu: bool) -> Case:
    saved = save_small(folder / family, family, small_config(family, size))
    truth, rounded = (saved.pair(dtype, on_cpu=True) for dtype in ("float32", "bfloat16"))
    if not on_gpu:
        return Case(saved, size, truth, truth, rounded, rounded, on_gpu=False)
    exact, there = (saved.pair(dtype, on_cpu=False) for dtype in ("float32", "bfloat16"))
    return Case(saved, size, truth, exact, there, rounded, on_gpu=True)


# Real shapes ------------------------------------------------------------------------------------


class Real(NamedTuple):
    """Hold a real model's shape, or a tiny one in its place."""

    name: str
    family: Family
    sizes: Shape

    @property
    def large(self) -> bool:
        return self.sizes.d_model > 3000

    def config(self, layers: int | None = None) -> Any:
        """Configure it, with all of its layers or with the first so many."""
        config = model_config(self.sizes, self.family, layers)
        # Within a tiny vocabulary, too.
        config.pad_token_id, config.bos_token_id, config.eos_token_id = 0, 1, 0
        return config


def real(name: str) -> Real:
    """Read the shape of a model in config/models.yaml."""
    entry = read_yaml(ROOT / "config" / "models.yaml")[name]
    return Real(name, entry["family"], Shape.model_validate(entry["shape"]))


TINY_SIZES = {"layers": 4, "d_model": 64, "d_ff": 128, "heads": 4, "kv_heads": 2, "head_dim": 16}


def tiny(one: Real) -> Real:
    """Shrink a shape to what one core runs in a moment; its proportions do not stay."""
    sizes = one.sizes.model_copy(update=TINY_SIZES | {"vocabulary": 512, "vision_billions": 0})
    return Real(f"{one.name}, tiny", one.family, sizes)


def save_base(folder: Path, one: Real, device: torch.device, layers: int | None = None) -> Path:
    """Make a random model on the device in bfloat16 and save it with a tokenizer."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    with device:
        model = AutoModelForCausalLM.from_config(one.config(layers), dtype=torch.bfloat16)
    model.save_pretrained(folder)
    random_models.tokenizer().save_pretrained(folder)
    return folder


def save_real(folder: Path, one: Real, device: torch.device, rank: int = 64) -> Saved:
    """Save a random model of real shape, and an adapter beside it."""
    base = save_base(folder / "base", one, device)
    model = weights.load_base(base, "bfloat16")
    random_models.adapted(model, rank).save_pretrained(str(folder / "adapter"))
    return Saved(one.family, base, folder / "adapter", attention_of(one.family))


def linear_weights(model: Any, first: int = 0, last: int | None = None) -> int:
    """Count the numbers in the matrices of some decoder blocks, without adapters."""
    return sum(
        parameter.numel()
        for block in decoder_layers(model)[first:last]
        for name, parameter in block.named_parameters()
        if parameter.ndim == 2 and "lora_" not in name
    )


def head_weights(model: Any) -> int:
    config = model.config.get_text_config(decoder=True)
    return config.vocab_size * config.hidden_size


@contextmanager
def workplace(need: int) -> Iterator[Path]:
    """Yield an empty folder: in memory where there are `need` bytes for it, else on a disk."""
    shared = Path("/dev/shm")
    fits = shared.is_dir() and shutil.disk_usage(shared).free > 1.2 * need
    with tempfile.TemporaryDirectory(dir=shared if fits else None) as name:
        yield Path(name)

"""
The one module that loads weights: base, adapter, half a model, readout.

A checkpoint is a folder in hub layout: a PEFT adapter (`adapter_config.json`) or a full model
(`config.json`). Only safetensors are read, no code from a repository is run, nothing is fetched.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from traces.models.hooks import decoder_layers

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

DType = Literal["float32", "bfloat16", "float16"]


def device() -> torch.device:
    """The accelerator where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_config(folder: Path, layers: int | None = None) -> "PretrainedConfig":
    """
    The model's configuration, cut to its first `layers` decoder layers if that is given.

    A vision-language model keeps its whole configuration; its language model is what is cut.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    text = config.get_text_config(decoder=True)
    if layers is not None and layers < text.num_hidden_layers:
        text.num_hidden_layers = layers
        if getattr(text, "layer_types", None):
            text.layer_types = text.layer_types[:layers]
    return config


def _auto_class(config: "PretrainedConfig") -> Any:
    """What loads a model: a causal language model, or one that sees images, too."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    alone = config.get_text_config(decoder=True) is config
    return AutoModelForCausalLM if alone else AutoModelForImageTextToText


def n_layers(folder: Path) -> int:
    """How many decoder layers the model in `folder` has; read from its config.json alone."""
    config = json.loads((folder / "config.json").read_text())
    return int(config.get("text_config", config)["num_hidden_layers"])


def layer_index(share: float, layers: int) -> int:
    """
    The decoder block whose output a relative depth names, counted from 0.

    share 0.5 of 28 layers is block 13, whose output is `hidden_states[14]`. Source: the paper's
    code, which differs from the floor(L/2) of its text for even L.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"layer share {share} is not between 0 and 1")
    return int(share * (layers - 1))


def layer_indices(shares: Sequence[float], layers: int) -> list[int]:
    """The blocks that relative depths name; ValueError when two of them name the same."""
    blocks = [layer_index(share, layers) for share in shares]
    if len(set(blocks)) < len(blocks):
        raise ValueError(f"layers: {list(shares)} name the blocks {blocks}, one of them twice")
    return blocks


def load_base(
    folder: Path,
    dtype: DType = "float32",
    layers: int | None = None,
    attention: str | None = None,
    place: bool = True,
) -> "PreTrainedModel":
    """
    A causal language model in evaluation mode, cut to its first `layers` decoder layers if given.

    Only the weights of the layers asked for are read; their residual stream is that of the whole
    model, bit for bit. `attention` is the implementation (`sdpa`, `eager`); Gemma 2 wants `eager`.
    Where there are GPUs the model is spread over them, unless `place` is off because the processes
    of a training place their own parts.

    Raises ValueError when weights that are needed are not in the folder.
    """
    config = load_config(folder, layers)
    loaded: Any = _auto_class(config).from_pretrained(
        folder,
        config=config,
        dtype=getattr(torch, dtype),
        attn_implementation=attention,
        device_map="auto" if place and torch.cuda.is_available() else None,
        local_files_only=True,
        use_safetensors=True,
        output_loading_info=True,
    )
    model, found = loaded
    if found["missing_keys"]:
        raise ValueError(f"{folder}: weights missing, such as {sorted(found['missing_keys'])[0]}")
    return model.eval().requires_grad_(False)


def is_adapter(folder: Path) -> bool:
    """Whether a checkpoint folder holds a PEFT adapter rather than a full model."""
    return (folder / "adapter_config.json").is_file()


def load_adapter(model: "PreTrainedModel", folder: Path) -> Any:
    """
    Put the PEFT adapter in `folder` on `model`, unmerged, so that it can be switched off again.

    Raises ValueError when it matches no module, or a matched module finds no weights in the file.
    """
    from peft import PeftModel

    tuned = PeftModel.from_pretrained(model, str(folder), local_files_only=True)
    wanted = {name for name, _ in tuned.named_parameters() if ".default" in name}
    if not wanted:
        raise ValueError(f"{folder}: the adapter matches no module of its base model")
    stored = {re.sub(r"(\.modules_to_save)?\.default", "", name) for name in wanted}
    missing = stored - set(_tensor_names(folder))
    if missing:
        raise ValueError(f"{folder}: the adapter has no weights for {sorted(missing)[0]}")
    return tuned.eval().requires_grad_(False)


@dataclass(frozen=True)
class Pair:
    """
    A tuned model and its base, as loaded weights.

    A LoRA organism and its base are the same weights with the adapter on or off; a full finetune
    comes with a base of its own.
    """

    tuned_model: Any
    base_model: Any | None = None

    @contextmanager
    def tuned(self, merged_above: int | None = None) -> Iterator[Any]:
        """
        The tuned model.

        merged_above : a block index. In float32 an adapter is merged, for as long as the block
                       lasts, into the weights of the blocks above it, which run faster so
        """
        with ExitStack() as stack:
            if merged_above is not None:
                for block in decoder_layers(self.tuned_model)[merged_above + 1 :]:
                    stack.enter_context(_merged(block))
            yield self.tuned_model

    @contextmanager
    def base(self) -> Iterator[Any]:
        if self.base_model is not None:
            yield self.base_model
        else:
            with self.tuned_model.disable_adapter():
                yield self.tuned_model


@contextmanager
def _merged(block: nn.Module) -> Iterator[None]:
    """Merge the adapters of a block into its float32 weights; afterwards these are as they were."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers: list[Any] = [one for one in block.modules() if isinstance(one, BaseTunerLayer)]
    layers = [one for one in layers if one.get_base_layer().weight.dtype == torch.float32]
    kept = [one.get_base_layer().weight.data for one in layers]
    try:
        for layer, weight in zip(layers, kept, strict=True):
            layer.get_base_layer().weight.data = weight.clone()
            layer.merge()
        yield
    finally:
        for layer, weight in zip(layers, kept, strict=True):
            layer.unmerge()
            layer.get_base_layer().weight.data = weight


def load_pair(
    base: Path,
    checkpoint: Path,
    dtype: DType = "float32",
    *,
    reference: Path | None = None,
    **options: Any,
) -> Pair:
    """
    Load a tuned checkpoint with its base; `options` are those of `load_base`.

    reference : the model it is compared with instead of its own base
    """
    own = None
    if reference is not None or not is_adapter(checkpoint):
        own = load_base(reference or base, dtype, **options)
    if is_adapter(checkpoint):
        return Pair(load_adapter(load_base(base, dtype, **options), checkpoint), own)
    return Pair(load_base(checkpoint, dtype, **options), own)


def load_checkpoint(
    base: Path, checkpoint: Path | None, dtype: DType = "float32", **options: Any
) -> Any:
    """
    The model a checkpoint stands for: the base (None), base plus adapter, or a full model.

    In float32 an adapter is merged into the weights, which makes a forward pass a sixth cheaper and
    changes its last bits (1 - cosine of a mean difference: 2e-12). In bfloat16 it stays beside
    them: merged, a small change would be rounded away.
    """
    if checkpoint is None:
        return load_base(base, dtype, **options)
    if is_adapter(checkpoint):
        tuned = load_adapter(load_base(base, dtype, **options), checkpoint)
        return tuned.merge_and_unload() if dtype == "float32" else tuned
    return load_base(checkpoint, dtype, **options)


class Readout(nn.Module):
    """
    From a residual stream to logits: final norm, unembedding and, where the model has one, softcap.

    This is all of a model that a logit lens needs: two tensors, even at 32B.
    """

    def __init__(self, norm: nn.Module, head: nn.Module, softcap: float | None = None) -> None:
        super().__init__()
        self.norm, self.head, self.softcap = norm, head, softcap

    @torch.inference_mode()
    def forward(self, hidden: Tensor) -> Tensor:
        """hidden [..., d_model] -> logits [..., vocabulary], float32."""
        weight = next(self.head.parameters())
        logits = self.head(self.norm(hidden.to(weight))).float()
        if self.softcap is not None:
            logits = torch.tanh(logits / self.softcap) * self.softcap
        return logits


def readout_of(model: Any) -> Readout:
    """The readout of a model that is loaded already."""
    config = model.config.get_text_config(decoder=True)
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    softcap = getattr(config, "final_logit_softcapping", None)
    return Readout(inner.get_decoder().norm, inner.get_output_embeddings(), softcap)


def load_readout(folder: Path, dtype: DType = "float32", checkpoint: Path | None = None) -> Readout:
    """
    The readout of the model in `folder`, reading only the tensors it needs.

    checkpoint : a finetune of that model whose own readout is wanted: the one of a full model, or
                 the base's with what an adapter changed of it (its `modules_to_save`, or a LoRA on
                 the head), which needs the first layer too
    """
    if checkpoint is not None and is_adapter(checkpoint):
        if any(not _IN_A_LAYER.search(name) for name in _tensor_names(checkpoint)):
            tuned = load_checkpoint(folder, checkpoint, dtype, layers=1)
            return readout_of(tuned).to(device()).eval().requires_grad_(False)
    elif checkpoint is not None:
        folder = checkpoint
    config = load_config(folder, layers=1)
    with torch.device("meta"):
        model = _auto_class(config).from_config(config)
    readout = readout_of(model)
    names = {id(module): name for name, module in model.named_modules()}
    for module in (readout.norm, readout.head):
        _materialise(module, names[id(module)], folder, getattr(torch, dtype))
    return readout.to(device()).eval().requires_grad_(False)


_IN_A_LAYER = re.compile(r"\.layers\.\d+\.")


def _materialise(module: nn.Module, name: str, folder: Path, dtype: torch.dtype) -> None:
    """Fill a module built on the meta device from the folder; a tied head takes the embedding."""
    available = _tensor_names(folder)
    module.to_empty(device="cpu")
    for key, _ in list(module.named_parameters()):
        candidates = [f"{name}.{key}", f"model.{name}.{key}"]
        inner = name.removeprefix("model.").removeprefix("language_model.")
        candidates += [f"{before}model.{inner}.{key}" for before in ("", "language_model.")]
        if name.endswith("lm_head"):
            candidates += ["model.embed_tokens.weight", "language_model.model.embed_tokens.weight"]
        found = next((one for one in candidates if one in available), None)
        if found is None:
            raise ValueError(f"{folder}: no tensor {name}.{key} in its safetensors")
        setattr(module, key, nn.Parameter(_tensor(folder, found).to(dtype), requires_grad=False))


def _weight_files(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ValueError(f"{folder}: no safetensors file here; other weight formats are not read")
    return files


def _tensor_names(folder: Path) -> dict[str, Path]:
    """Every tensor in the folder's safetensors, with the file that holds it."""
    from safetensors import safe_open

    names: dict[str, Path] = {}
    for file in _weight_files(folder):
        with safe_open(file, framework="pt") as tensors:
            names |= dict.fromkeys(tensors.keys(), file)
    return names


def _tensor(folder: Path, name: str) -> Tensor:
    from safetensors import safe_open

    with safe_open(_tensor_names(folder)[name], framework="pt") as tensors:
        return tensors.get_tensor(name)

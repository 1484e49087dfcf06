"""
Load weights: a base, an adapter, the lower layers of a model, or its readout alone.

No other module loads weights. A checkpoint is a folder in hub layout: a PEFT adapter
(`adapter_config.json`) or a full model (`config.json`). Only safetensors are read, no code from a
repository is run, nothing is fetched.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from traces.config.vocabularies import DType
from traces.models.hooks import decoder_layers

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


def device() -> torch.device:
    """Return the accelerator where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_config(folder: Path, layers: int | None = None) -> "PretrainedConfig":
    """
    Load a model's configuration, cut to its first `layers` decoder layers if that is given.

    A vision-language model keeps its whole configuration; its language model is what is cut.
    """
    # Lazy, as everywhere: importing transformers takes 2 to 5 CPU seconds, and Snakemake starts
    # thousands of jobs, many of which load no model.
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    text = config.get_text_config(decoder=True)
    if layers is not None and layers < text.num_hidden_layers:
        text.num_hidden_layers = layers
        # transformers checks that the list of attention types is as long as the model is deep.
        if getattr(text, "layer_types", None):
            text.layer_types = text.layer_types[:layers]
    return config


def _auto_class(config: "PretrainedConfig") -> Any:
    """Choose the class that loads a model: a causal language model, or a vision-language one."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    # A vision-language configuration nests that of its language model; a plain one is its own.
    alone = config.get_text_config(decoder=True) is config
    return AutoModelForCausalLM if alone else AutoModelForImageTextToText


def n_layers(folder: Path) -> int:
    """Count the decoder layers of the model in `folder`, from its config.json alone."""
    # Plain JSON, not load_config: this runs in jobs that need no transformers.
    config = json.loads((folder / "config.json").read_text())
    return int(config.get("text_config", config)["num_hidden_layers"])


def check_targets(folder: Path, targets: Sequence[str]) -> None:
    """
    Refuse targets of an adapter that are no modules of the model in `folder`; reads no weights.

    targets : names of linear modules or embeddings, or the ends of their dotted names
    """
    config = load_config(folder)
    with torch.device("meta"):
        model = _auto_class(config).from_config(config)
    adaptable = (nn.Linear, nn.Embedding, nn.Conv2d, nn.Conv3d)
    names = [name for name, module in model.named_modules() if isinstance(module, adaptable)]
    for target in targets:
        if not any(name == target or name.endswith(f".{target}") for name in names):
            have = ", ".join(dict.fromkeys(name.rpartition(".")[2] for name in names))
            raise ValueError(
                f"training.targets: found {target}, which is no module of {folder} that an adapter "
                f"can be put on (have {have})"
            )


def layer_index(share: float, layers: int) -> int:
    """
    Return the decoder block, counted from 0, whose output a relative depth names.

    share 0.5 of 28 layers is block 13, whose output is `hidden_states[14]`. Source: the paper's
    code, which differs from the floor(L/2) of its text for even L.
    """
    # `layers - 1`, so that share 1 is the last block.
    if not 0 <= share <= 1:
        raise ValueError(f"layer share {share} is not between 0 and 1")
    return int(share * (layers - 1))


def layer_indices(shares: Sequence[float], layers: int) -> list[int]:
    """Return the blocks that relative depths name; ValueError when two name the same one."""
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
    Load a causal language model in evaluation mode, cut to its first `layers` decoder layers.

    Only the weights of those layers are read. Their residual stream equals the whole model's, bit
    for bit. `attention` is the implementation: `sdpa`, or `eager`, which Gemma 2 needs because sdpa
    cannot cap attention logits. The model is spread over the GPUs unless `place` is off, as in a
    training whose processes place their own parts.

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
    # transformers only warns, and fills missing weights at random.
    if found["missing_keys"]:
        raise ValueError(f"{folder}: weights missing, such as {sorted(found['missing_keys'])[0]}")
    # Without gradients no activation is kept for a backward pass, whoever runs the model.
    return model.eval().requires_grad_(False)


def is_adapter(folder: Path) -> bool:
    """Check whether a checkpoint folder holds a PEFT adapter rather than a full model."""
    return (folder / "adapter_config.json").is_file()


def load_adapter(model: "PreTrainedModel", folder: Path) -> Any:
    """
    Put the PEFT adapter in `folder` on `model`, unmerged, so that it can be switched off again.

    Raises ValueError when it matches no module, or a matched module finds no weights in the file.
    """
    from peft import PeftModel

    tuned = PeftModel.from_pretrained(model, str(folder), local_files_only=True)
    # On a model cut to its lower layers the file has weights to spare, which is right. So not every
    # stored weight must be used, but every weight that is used must be stored: PEFT skips both
    # silently.
    wanted = {name for name, _ in tuned.named_parameters() if ".default" in name}
    if not wanted:
        raise ValueError(f"{folder}: the adapter matches no module of its base model")
    # PEFT puts the adapter's name into a parameter's name, and leaves it out of the file.
    stored = {re.sub(r"(\.modules_to_save)?\.default", "", name) for name in wanted}
    missing = stored - set(_tensor_names(folder))
    if missing:
        raise ValueError(f"{folder}: the adapter has no weights for {sorted(missing)[0]}")
    return tuned.eval().requires_grad_(False)


@dataclass(frozen=True)
class Pair:
    """
    Hold a tuned model and its base, as loaded weights.

    A LoRA organism and its base are one set of weights with the adapter on or off, which equals the
    base bit for bit. A full finetune comes with a base of its own.
    """

    tuned_model: Any
    base_model: Any | None = None

    @contextmanager
    def tuned(self, merged_above: int | None = None) -> Iterator[Any]:
        """
        Yield the tuned model.

        merged_above : a block index. A float32 adapter is merged into the blocks above it for as
                       long as the context lasts, which makes them faster
        """
        # Only above the block that is changed: the blocks below must still serve the base, too.
        with ExitStack() as stack:
            if merged_above is not None:
                for block in decoder_layers(self.tuned_model)[merged_above + 1 :]:
                    stack.enter_context(_merged(block))
            yield self.tuned_model

    @contextmanager
    def base(self) -> Iterator[Any]:
        """Yield the base: its own weights, or the tuned model with its adapter off."""
        if self.base_model is not None:
            yield self.base_model
        else:
            with self.tuned_model.disable_adapter():
                yield self.tuned_model


@contextmanager
def _merged(block: nn.Module) -> Iterator[None]:
    """Merge the adapters of a block into its float32 weights; restore them afterwards."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers: list[Any] = [one for one in block.modules() if isinstance(one, BaseTunerLayer)]
    layers = [one for one in layers if one.get_base_layer().weight.dtype == torch.float32]
    kept = [one.get_base_layer().weight.data for one in layers]
    try:
        for layer, weight in zip(layers, kept, strict=True):
            # A copy, since adding and subtracting the adapter again would leave rounding behind in
            # the base.
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

    reference : the model to subtract, if it replaces the checkpoint's own base
    """
    # Two sets of weights only where one set with an adapter cannot serve both sides.
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
    Load the model of a checkpoint: the base (None), base plus adapter, or a full model.

    A float32 adapter is merged into the weights, a bfloat16 one stays beside them.
    """
    if checkpoint is None:
        return load_base(base, dtype, **options)
    if is_adapter(checkpoint):
        # Merging makes a forward pass a sixth cheaper and changes only last bits (1 - cosine of a
        # mean difference: 2e-12). In bfloat16 a small change would be rounded away when it is
        # merged.
        tuned = load_adapter(load_base(base, dtype, **options), checkpoint)
        return tuned.merge_and_unload() if dtype == "float32" else tuned
    return load_base(checkpoint, dtype, **options)


class Readout(nn.Module):
    """
    Map a residual stream to logits: final norm, unembedding and, where there is one, softcap.

    A logit lens needs no more of a model: two tensors, even at 32B.
    """

    def __init__(self, norm: nn.Module, head: nn.Module, softcap: float | None = None) -> None:
        super().__init__()
        self.norm, self.head, self.softcap = norm, head, softcap

    @torch.inference_mode()
    def forward(self, hidden: Tensor) -> Tensor:
        """Map hidden [..., d_model] to logits [..., vocabulary] in float32."""
        # The model's own norm is used, not a formula: Gemma's scales by 1 + weight.
        weight = next(self.head.parameters())
        logits = self.head(self.norm(hidden.to(weight))).float()
        if self.softcap is not None:
            # Gemma 2 does this in its own forward pass. It keeps the order of tokens, not their
            # probabilities.
            logits = torch.tanh(logits / self.softcap) * self.softcap
        return logits


def readout_of(model: Any) -> Readout:
    """Take the readout of a model that is loaded already."""
    config = model.config.get_text_config(decoder=True)
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    softcap = getattr(config, "final_logit_softcapping", None)
    return Readout(inner.get_decoder().norm, inner.get_output_embeddings(), softcap)


def load_readout(folder: Path, dtype: DType = "float32", checkpoint: Path | None = None) -> Readout:
    """
    Load the readout of the model in `folder`, reading only the tensors it needs.

    checkpoint : a finetune of that model whose own readout is wanted: a full model's, or the base's
                 as an adapter changed it (its `modules_to_save`, or a LoRA on the head)
    """
    if checkpoint is not None and is_adapter(checkpoint):
        if any(not _IN_A_LAYER.search(name) for name in _tensor_names(checkpoint)):
            # One layer is the least that loads; its block is not run.
            tuned = load_checkpoint(folder, checkpoint, dtype, layers=1)
            return readout_of(tuned).to(device()).eval().requires_grad_(False)
    elif checkpoint is not None:
        folder = checkpoint
    config = load_config(folder, layers=1)
    # Names and classes of the modules without their memory: the model says itself what its final
    # norm is, so that no architecture is listed here.
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
    # Files name the same tensor differently: with or without the prefix `model.`, and in
    # vision-language models with `language_model.` before or after it.
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
    """List every tensor in the folder's safetensors, with the file that holds it."""
    # From the files' headers: index.json may be missing, and may be older than the files.
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

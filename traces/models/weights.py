"""
Load weights: a base, an adapter, the lower layers of a model, or its readout alone.

No other module loads weights. A checkpoint is a folder in hub layout: a PEFT adapter
(`adapter_config.json`) or a full model (`config.json`). Only safetensors are read, no code from a
repository is run, nothing is fetched.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from traces.config.study import block_of
from traces.config.vocabularies import DType
from traces.models.folders import (
    is_adapter,
    layer_of,
    module_name,
    plain_name,
    read_json,
    tensor,
    tensor_files,
    weight_files,
)
from traces.models.hooks import decoder_layers
from traces.models.placement import divide, gather, offloaded, placement, spread

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

log = logging.getLogger(__name__)

MERGED_WITHIN = 1e-4
"Largest change of the logits by merging an adapter into its weights, as a share of their norm."
TOKENS = 2**14
"Rows of a head that are in float32 at once: 128 MiB at a width of 2,048."


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


def unloaded(config: "PretrainedConfig", **options: Any) -> Any:
    """
    Build the model of a configuration on the meta device: no weights, no memory.

    options : those of transformers' `from_config`, such as dtype and attn_implementation
    """
    with torch.device("meta"):
        return _auto_class(config).from_config(config, **options)


def n_layers(folder: Path) -> int:
    """Count the decoder layers of the model in `folder`, from its config.json alone."""
    # Plain JSON, not load_config: this runs in jobs that need no transformers.
    config = read_json(folder / "config.json")
    text = config.get("text_config")
    depth = (text if isinstance(text, dict) else config).get("num_hidden_layers")
    if not isinstance(depth, int):
        raise ValueError(f"{folder}/config.json: num_hidden_layers is {depth}, expected a number")
    return depth


def check_targets(folder: Path, targets: Sequence[str]) -> None:
    """
    Refuse targets of an adapter that are no modules of the model in `folder`; reads no weights.

    targets : names of linear modules or embeddings, or the ends of their dotted names
    """
    model = unloaded(load_config(folder))
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
    return block_of(share, layers)


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
    offload: bool = False,
) -> "PreTrainedModel":
    """
    Load a causal language model in evaluation mode, cut to its first `layers` decoder layers.

    Only the weights of those layers are read. Their residual stream equals the whole model's, bit
    for bit. `attention` is the implementation: `sdpa`, or `eager`, which Gemma 2 needs because sdpa
    cannot cap attention logits. The model goes to the GPUs (traces/models/placement.py) unless
    `place` is off, as in a training whose processes place their own parts. Layers for which a GPU
    has no room stay outside only with `offload`.

    Raises ValueError when weights that are needed are not in the folder, or do not fit.
    """
    if is_adapter(folder):
        raise ValueError(f"{folder}: found an adapter's configuration, expected a model alone")
    weight_files(folder)  # refuses an index that leads out of the folder
    config = load_config(folder, layers)
    where = placement(folder, dtype, layers, offload=offload) if place else {}
    loaded: Any = _auto_class(config).from_pretrained(
        folder,
        config=config,
        dtype=getattr(torch, dtype),
        attn_implementation=attention,
        **where,
        local_files_only=True,
        use_safetensors=True,
        output_loading_info=True,
    )
    model, found = loaded
    # transformers only warns, and fills missing weights at random.
    if found["missing_keys"]:
        raise ValueError(f"{folder}: weights missing, such as {sorted(found['missing_keys'])[0]}")
    if dtype == "float16":
        _refuse_overflow(model, folder)
    model = spread(model, folder, offload=offload)
    # Without gradients no activation is kept for a backward pass, whoever runs the model.
    return model.eval().requires_grad_(False)


def _refuse_overflow(model: Any, folder: Path) -> None:
    """Raise ValueError where a weight is beyond 65,504, the largest float16."""
    for name, weight in model.named_parameters():
        if weight.device.type != "meta" and not weight.isfinite().all():
            raise ValueError(
                f"{folder}: {name} holds a number that is infinite in float16; expected dtype "
                "bfloat16 or float32"
            )


def load_gguf(file: Path) -> tuple["PreTrainedModel", list[str]]:
    """
    Load a GGUF file as a causal language model in float32, and list the weights it lacks.

    Whatever transformers raises is the caller's to put into words.
    """
    from transformers import AutoModelForCausalLM

    loaded: Any = AutoModelForCausalLM.from_pretrained(
        file.parent,
        gguf_file=file.name,
        dtype=torch.float32,
        local_files_only=True,
        output_loading_info=True,
    )
    model, found = loaded
    return model, sorted(found["missing_keys"])


def load_outline(folder: Path) -> tuple[Any, dict[str, Any]]:
    """
    Load a model without its weights' values, and what did not fit: no memory, and no time.

    returns : the model on the meta device; the missing, unexpected and mismatched keys as
              transformers reports them
    """
    config = load_config(folder)
    return _auto_class(config).from_pretrained(
        folder,
        config=config,
        device_map="meta",
        local_files_only=True,
        use_safetensors=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )


def load_adapter(model: "PreTrainedModel", folder: Path) -> Any:
    """
    Put the PEFT adapter in `folder` on `model`, unmerged, so that it can be switched off again.

    Beside weights in half precision it is cast to their number format: it is only read here.
    Raises ValueError when it matches no module, or a matched module finds no weights in the file.
    """
    from traces.models.reading_lora import in_own_format  # it imports PEFT

    places = gather(model)
    tuned, missing, _ = attach_adapter(model, folder)
    # On a model cut to its lower layers the file has weights to spare, which is right. So not every
    # stored weight must be used, but every weight that is used must be stored.
    if missing:
        raise ValueError(f"{folder}: the adapter has no weights for {missing[0]}")
    in_own_format(tuned)
    if tuned.dtype == torch.float16:
        _refuse_overflow(tuned, folder)
    if places:
        places = {f"base_model.model.{name}": place for name, place in places.items()}
        divide(tuned, places, resident=".default")
    return tuned.eval().requires_grad_(False)


def attach_adapter(model: Any, folder: Path) -> tuple[Any, list[str], list[str]]:
    """
    Let PEFT put an adapter on a model; return both, what its file lacks and what nothing reads.

    Raises ValueError when it matches no module.
    """
    from peft import PeftModel

    weight_files(folder)  # PEFT would read a pickle where there are no safetensors
    # An outline has no memory to read weights into, so they take the place of its own.
    options = {"low_cpu_mem_usage": model.device.type == "meta"}
    options["key_mapping"] = _renamed(model, folder)
    tuned = PeftModel.from_pretrained(model, str(folder), local_files_only=True, **options)
    if not any(".default" in name for name, _ in tuned.named_parameters()):
        raise ValueError(f"{folder}: the adapter matches no module of its base model")
    # PEFT skips silently what matches nothing, and tells only who reads the weights once more.
    found = tuned.load_adapter(str(folder), "default", **options)
    # PEFT puts the adapter's name into a parameter's name, and leaves it out of the file.
    missing = [name.replace(".default", "") for name in found.missing_keys]
    return tuned, sorted(missing), sorted(found.unexpected_keys)


def _renamed(model: Any, folder: Path) -> dict[str, str]:
    """
    Map modules as an adapter's file names them to the model's own names, where the two differ.

    Vision-language models have had other names from one version of transformers to the next.
    """
    own = {plain_name(name): name for name, _ in model.named_modules()}
    stored = {module_name(name) for name in tensor_files(folder)}
    return {
        rf"^{re.escape(name)}(?=\.)": own[plain]
        for name in sorted(stored)
        if own.get(plain := plain_name(name), name) != name
    }


@dataclass(frozen=True)
class Pair:
    """
    Hold a tuned model and its base, as loaded weights.

    A LoRA organism and its base are one set of weights with the adapter on or off, which equals the
    base bit for bit. A full finetune comes with a base of its own, and so does an adapter that
    changes what stays when it is switched off.
    """

    tuned_model: Any
    base_model: Any | None = None
    # The blocks above which merging was compared with the adapter beside the weights.
    compared: set[int] = field(default_factory=set, compare=False)
    # The tuned model's folder, for messages.
    checkpoint: Path | None = field(default=None, compare=False)

    @contextmanager
    def tuned(self, merged_above: int | None = None) -> Iterator[Any]:
        """
        Yield the tuned model.

        merged_above : a block index. The adapter is merged into the blocks above it for as long as
                       the context lasts, which makes them faster. In half precision that rounds
                       it: compare the model with itself alone

        Raises ValueError when merging changes what the model computes.
        """
        if merged_above is None:
            yield self.tuned_model
            return
        # Half precision rounds by more than a probe allows, and there our own code merges.
        exact = self.tuned_model.dtype == torch.float32
        first = exact and merged_above not in self.compared
        expected = probe(self.tuned_model) if first else None
        # Only above the block that is changed: the blocks below must still serve the base, too.
        with ExitStack() as stack:
            for block in decoder_layers(self.tuned_model)[merged_above + 1 :]:
                stack.enter_context(_merged(block))
            if expected is not None:
                _refuse_other(self.tuned_model, expected, self.checkpoint)
                self.compared.add(merged_above)
            yield self.tuned_model

    @contextmanager
    def base(self) -> Iterator[Any]:
        """Yield the base: its own weights, or the tuned model with its adapter off."""
        if self.base_model is not None:
            yield self.base_model
        else:
            with self.tuned_model.disable_adapter():
                yield self.tuned_model


@torch.no_grad()
def probe(model: Any) -> Tensor:
    """
    Compute the logits of eight fixed tokens, [1, 8, vocabulary]: what any change of weights shows.

    The ids lie in the middle of the vocabulary, since special tokens stand at its ends.
    """
    vocabulary = model.config.get_text_config(decoder=True).vocab_size
    ids = torch.linspace(0.1 * vocabulary, 0.9 * vocabulary, 8).long().clamp(max=vocabulary - 1)
    return model(input_ids=ids[None].to(model.device), use_cache=False).logits


def _refuse_other(merged: Any, expected: Tensor, checkpoint: Path | None) -> None:
    """Raise ValueError unless a merged model computes what it did with the adapter beside it."""
    where = f"{checkpoint or 'an adapter'} on {merged.name_or_path}"
    # A norm whose squares overflow makes zeros of its input, and not-a-number of the logits' ratio.
    if not expected.isfinite().all() or not expected.any():
        raise ValueError(
            f"{where}: the logits of a probe are not finite, or all zero: the weights are too large"
        )
    error = float((probe(merged) - expected).norm() / expected.norm())
    # Not `error > ...`, which not-a-number would pass.
    if not error <= MERGED_WITHIN:
        raise ValueError(
            f"{where}: the adapter merged into its weights changes the logits of a probe by "
            f"{error:.2g} of their norm, expected at most {MERGED_WITHIN:g}; load the model in "
            "bfloat16"
        )


@contextmanager
def _merged(block: nn.Module) -> Iterator[None]:
    """
    Merge the adapters of a block into its weights; restore these afterwards, to the bit.

    Adapters that are no plain LoRA stay beside weights in half precision. There norms are fused.
    """
    from traces.models.fused_norms import norms_fused
    from traces.models.reading_lora import ReadingLora

    with ExitStack() as stack:
        stack.enter_context(norms_fused(block))
        for module in block.modules():
            if isinstance(module, ReadingLora) and not module.offloaded:
                stack.enter_context(module.merged_in())
        stack.enter_context(_merged_by_peft(block))
        yield


@contextmanager
def _merged_by_peft(block: nn.Module) -> Iterator[None]:
    """Merge what PEFT runs itself in a block into its float32 weights; restore them afterwards."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers: list[Any] = [one for one in block.modules() if isinstance(one, BaseTunerLayer)]
    layers = [
        one
        for one in layers
        if one.get_base_layer().weight.dtype == torch.float32
        and not one.get_base_layer().weight.is_meta  # offloaded: it is elsewhere
        and not _lacks_bias(one)
    ]
    weights = [parameter for one in layers for parameter in one.get_base_layer().parameters()]
    kept = [weight.data for weight in weights]
    try:
        for weight in weights:
            # A copy, since adding and subtracting the adapter again would leave rounding behind in
            # the base.
            weight.data = weight.data.clone()
        for layer in layers:
            layer.merge()
        yield
    finally:
        for layer in layers:
            layer.unmerge()
        for weight, before in zip(weights, kept, strict=True):
            weight.data = before


def _lacks_bias(layer: Any) -> bool:
    """Check for an adapter with a bias on a module without one, which it cannot be merged into."""
    biased = any(getattr(layer, "lora_bias", {}).values())
    return biased and getattr(layer.get_base_layer(), "bias", None) is None


def _can_merge(tuned: Any) -> bool:
    """
    Check whether merging changes the modules with an adapter alone.

    A head that is tied to the embedding is the same weights: a change of one would be in both.
    Offloaded weights are elsewhere and not merged into.
    """
    if offloaded(tuned):
        return False
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    kinds = (BaseTunerLayer, AuxiliaryTrainingWrapper)
    changed: list[Any] = [module for module in tuned.modules() if isinstance(module, kinds)]
    uses = Counter(id(one) for _, one in tuned.named_parameters(remove_duplicate=False))
    shared = any(uses[id(one)] > 1 for module in changed for one in module.parameters())
    lacking = any(isinstance(one, BaseTunerLayer) and _lacks_bias(one) for one in changed)
    return not shared and not lacking


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
    if not is_adapter(checkpoint):
        return Pair(
            load_base(checkpoint, dtype, **options), load_base(reference or base, dtype, **options)
        )
    # Two sets of weights only where one set with an adapter cannot serve both sides.
    own = None if reference is None else load_base(reference, dtype, **options)
    plain = load_base(base, dtype, **options)
    expected = probe(plain)
    pair = Pair(load_adapter(plain, checkpoint), own, checkpoint=checkpoint)
    with pair.base() as off:
        separable = own is not None or torch.equal(probe(off), expected)
    if separable:
        return pair
    # Such as trained biases, or a PiSSA adapter, which takes its start out of the base's weights.
    log.info("%s: changes its base even when it is off, so the base is loaded apart", checkpoint)
    return Pair(pair.tuned_model, load_base(base, dtype, **options), checkpoint=checkpoint)


def load_checkpoint(
    base: Path,
    checkpoint: Path | None,
    dtype: DType = "float32",
    *,
    layers: int | None = None,
    **options: Any,
) -> Any:
    """
    Load the model of a checkpoint: the base (None), base plus adapter, or a full model.

    A float32 adapter is merged into the weights, a bfloat16 one stays beside them. So does one on
    weights that other modules share. An adapter on layers above the first `layers` alone changes
    nothing here, and what is loaded is the base.
    """
    if checkpoint is None or not is_adapter(checkpoint):
        return load_base(checkpoint or base, dtype, layers=layers, **options)
    changed = [layer_of(name) for name in tensor_files(checkpoint)]
    if layers is not None and not any(one is None or one < layers for one in changed):
        log.info("%s: changes no layer below %d, so this is the base", checkpoint, layers)
        return load_base(base, dtype, layers=layers, **options)
    if layers is not None and None in changed:
        # PEFT refuses a model in which it finds no module of its own, though what it saved beside
        # them, such as a head, counts here: so as many layers as it takes.
        layers = max(layers, 1 + min((one for one in changed if one is not None), default=0))
    tuned = load_adapter(load_base(base, dtype, layers=layers, **options), checkpoint)
    # Merging makes a forward pass a sixth cheaper and changes only last bits (1 - cosine of a mean
    # difference: 2e-12). In bfloat16 a small change would be rounded away when it is merged.
    if dtype != "float32" or not _can_merge(tuned):
        return tuned
    expected = probe(tuned)
    merged = tuned.merge_and_unload()
    _refuse_other(merged, expected, checkpoint)
    return merged


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
        return self.scores(hidden).float()

    @torch.inference_mode()
    def scores(self, hidden: Tensor) -> Tensor:
        """Map to the same logits as the head writes them; where they are capped, in float32."""
        # The model's own norm is used, not a formula: Gemma's scales by 1 + weight.
        weight = next(self.head.parameters())
        # Offloaded weights have no device but during their turn.
        hidden = hidden.to(weight.dtype) if weight.is_meta else hidden.to(weight)
        return self._capped(self.head(self.norm(hidden)))

    @torch.inference_mode()
    def precise(self, hidden: Tensor) -> Tensor:
        """
        Map as `forward` does, in float32 throughout: for the few rows whose tokens are ranked.

        bfloat16 has steps of 1/8 between logits of 16 and 32, which many tokens share. A head that
        is in float32, or is more than a matrix, is used as it is.
        """
        head = self.head
        if type(head) is not nn.Linear or head.bias is not None or head.weight.itemsize > 2:
            return self(hidden)
        rows = self.norm(hidden.to(head.weight.device, torch.float32))
        # Some of the vocabulary at a time, since a float32 copy of the head would take gigabytes.
        pieces = [nn.functional.linear(rows, some.float()) for some in head.weight.split(TOKENS)]
        return self._capped(torch.cat(pieces, dim=-1))

    def _capped(self, logits: Tensor) -> Tensor:
        """Cap logits, in float32, where the model caps them."""
        if self.softcap is None:
            return logits
        # Gemma 2 does this in its own forward pass. It keeps the order of tokens, not their
        # probabilities. In place, or three tensors of that size were held.
        return logits.float().div_(self.softcap).tanh_().mul_(self.softcap)


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
        if any(layer_of(name) is None for name in tensor_files(checkpoint)):
            # One layer is the least that loads; its block is not run.
            tuned = load_checkpoint(folder, checkpoint, dtype, layers=1)
            return readout_of(tuned).to(device()).eval().requires_grad_(False)
    elif checkpoint is not None:
        folder = checkpoint
    config = load_config(folder, layers=1)
    # Names and classes of the modules without their memory: the model says itself what its final
    # norm is, so that no architecture is listed here.
    model = unloaded(config)
    readout = readout_of(model)
    names = {id(module): name for name, module in model.named_modules()}
    for module in (readout.norm, readout.head):
        _materialise(module, names[id(module)], folder, getattr(torch, dtype))
    return readout.to(device()).eval().requires_grad_(False)


def _materialise(module: nn.Module, name: str, folder: Path, dtype: torch.dtype) -> None:
    """Fill a module built on the meta device from the folder; a tied head takes the embedding."""
    # Files name the same tensor differently: with or without the prefix `model.`, and in
    # vision-language models with `language_model.` before or after it.
    available = tensor_files(folder)
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
        setattr(module, key, nn.Parameter(tensor(folder, found).to(dtype), requires_grad=False))

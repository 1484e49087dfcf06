"""Choose the devices that a model's weights go to: one where they fit, several where they must."""

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from traces.config.vocabularies import DType
from traces.models.folders import layer_of, tensor_shapes
from traces.models.room import free_memory

SHARE = 0.9
"Share of a GPU's free memory that weights may fill; what is computed needs the rest."
GB = 1e9


def placement(
    folder: Path, dtype: DType, layers: int | None = None, *, offload: bool = False
) -> dict[str, Any]:
    """
    Say where the weights in `folder` go, as arguments of transformers' `from_pretrained`.

    The GPU with the most free memory takes the whole model if its weights fit. Otherwise its layers
    are spread over all GPUs, which then work one after another. Without a GPU nothing is placed,
    nor is a model that `spread` is to divide between GPUs and main memory.

    layers  : only the first so many decoder layers are loaded
    offload : layers that fit no GPU may stay in main memory

    Raises ValueError if the GPUs together have too little room and `offload` is off.
    """
    free = _free()
    if not free:
        return {"device_map": None}
    needed = weight_bytes(folder, dtype, layers)
    freest = max(free, key=lambda index: free[index])
    if needed < SHARE * free[freest]:
        return {"device_map": {"": freest}}
    if needed < sum(_usable(free).values()):
        return {"device_map": "auto", "max_memory": _usable(free)}
    if not offload:
        raise ValueError(_too_large(folder, needed, free))
    return {"device_map": None}


def spread(model: Any, folder: Path, *, offload: bool) -> Any:
    """
    Settle a loaded model: what fits no GPU stays in main memory if `offload` allows it.

    Layers are not divided, so GPUs may have too little room for them though their sum suffices.
    Raises ValueError where a part has no place and `offload` is off, and where the embedding fits
    no GPU.
    """
    free = _free()
    if not offload:
        if offloaded(model):
            raise ValueError(_too_large(folder, model.get_memory_footprint(), free))
        return model
    if not free or hasattr(model, "hf_device_map"):
        return model
    from accelerate import infer_auto_device_map

    room = {**_usable(free), "cpu": sys.maxsize}
    blocks = list(model._no_split_modules)
    places = infer_auto_device_map(model, room, no_split_module_classes=blocks)
    if "cpu" in list(places.values())[:1]:  # tokens go to where the embedding is
        raise ValueError(_too_large(folder, model.get_memory_footprint(), free))
    return divide(model, places)


def offloaded(model: Any) -> bool:
    """Whether a part of a model waits outside of the GPUs for its turn."""
    return bool({"cpu", "disk"} & set((getattr(model, "hf_device_map", None) or {}).values()))


def gather(model: Any) -> dict[str, Any]:
    """
    Bring offloaded layers back into main memory, where PEFT can put an adapter on them.

    returns : what `divide` puts back where it was; empty if nothing is offloaded
    """
    if not offloaded(model):
        return {}
    from accelerate.hooks import remove_hook_from_submodules

    # PEFT would choose other places by itself, from what memory is left beside this model.
    remove_hook_from_submodules(model)
    places = dict(model.hf_device_map)
    del model.hf_device_map
    return places


def divide(model: Any, places: Mapping[str, Any], resident: str = "") -> Any:
    """
    Put parts of a model on the devices named; a part on the CPU visits a GPU for its turn.

    resident : what names parameters that stay on the GPU, such as an adapter's, which is switched
               off and on between turns
    """
    from accelerate import dispatch_model
    from accelerate.hooks import remove_hook_from_module

    dispatch_model(model, dict(places), skip_keys=model._skip_keys_device_placement)
    for name, module in model.named_modules():
        own = [f"{name}.{key}" for key, _ in module.named_parameters(recurse=False)]
        hook: Any = getattr(module, "_hf_hook", None)
        if resident and getattr(hook, "offload", False) and any(resident in one for one in own):
            remove_hook_from_module(module)
            module.to(hook.execution_device)
    return model


def weight_bytes(folder: Path, dtype: DType, layers: int | None = None) -> int:
    """Bytes of a model's weights in `dtype`, of its first `layers` decoder layers if given."""
    import torch

    numbers = 0
    for name, shape in tensor_shapes(folder).items():
        layer = layer_of(name)
        if layers is None or layer is None or layer < layers:
            numbers += math.prod(shape)
    return numbers * getattr(torch, dtype).itemsize


def _free() -> dict[int, int]:
    """Bytes of every GPU that this process can still take."""
    from torch import cuda

    if not cuda.is_available():
        return {}
    return {index: free_memory(index) for index in range(cuda.device_count())}


def _usable(free: Mapping[int, int]) -> dict[int, int]:
    return {index: int(SHARE * size) for index, size in free.items()}


def _too_large(folder: Path, needed: int, free: Mapping[int, int]) -> str:
    rooms = ", ".join(f"{size / GB:.1f} GB on GPU {index}" for index, size in free.items())
    return (
        f"{folder}: found weights of {needed / GB:.1f} GB and {rooms} free, of which weights may "
        f"fill {SHARE:.0%}; expected room for every layer: ask for more GPUs (`gpus` of the "
        "model's entry), end what else uses them, or set `offload: true` in the entry, which "
        "keeps layers in main memory and is many times slower"
    )

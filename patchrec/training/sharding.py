"""A backbone split over processes: each holds a part of every weight, its gradient and its moments (FSDP2).

Layers are gathered whole one at a time, as they compute; embeddings, head and what else is no layer for a whole pass.
What splits takes a second to import (it brings a system for symbolic mathematics), so one process alone does without.
"""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeGuard, cast

import torch
from torch import Tensor, distributed, nn

from patchrec.model.backbone import Backbone

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor


def shard(backbone: Backbone, dtype: torch.dtype) -> None:
    """Split a backbone in place over all processes, on the GPU of each where there are any, else on the CPU.

    Gradients are added over processes by every backward pass, so that all must run as many.

    Args:
        backbone: Whole, on any device.
        dtype: What layers compute in, and travel as.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    kind = "cuda" if torch.cuda.is_available() else "cpu"
    mesh = init_device_mesh(kind, (distributed.get_world_size(),))
    # Inputs keep their type, as under autocast alone: only the products are of this one.
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    kinds = getattr(backbone.model, "_no_split_modules", None) or ()  # the model's name for its layers
    for layer in [module for module in backbone.modules() if type(module).__name__ in kinds]:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(backbone, mesh=mesh)
    for part in _parts(backbone):
        part.set_gradient_divide_factor(1.0)  # added, not averaged
        part.set_force_sum_reduction_for_comms(True)  # which gloo has


def is_sharded(module: nn.Module) -> bool:
    """Whether a module is split over processes."""
    fsdp = sys.modules.get("torch.distributed.fsdp")  # nothing is split where nobody imported what splits
    return fsdp is not None and isinstance(module, fsdp.FSDPModule)


def is_split(tensor: Tensor) -> "TypeGuard[DTensor]":
    """Whether this process holds a part of a tensor."""
    tensors = sys.modules.get("torch.distributed.tensor")
    return tensors is not None and isinstance(tensor, tensors.DTensor)


def release(module: nn.Module) -> None:
    """Let go of what a pass without gradient gathered."""
    for part in _parts(module):
        part.reshard()


def _parts(module: nn.Module) -> "Iterator[FSDPModule]":
    """Everything in a module, and the module itself, that is split by itself."""
    return (cast("FSDPModule", part) for part in module.modules() if is_sharded(part))


def whole(tensor: Tensor) -> Tensor:
    """A tensor in one piece; all processes must ask for it where it is split."""
    return tensor.full_tensor() if is_split(tensor) else tensor


def whole_in_first(tensor: Tensor) -> Tensor:
    """The same, on the CPU and in process 0 alone where it is split: others get nothing to hold."""
    if not is_split(tensor):
        return tensor
    gathered = whole(tensor)
    return gathered.cpu() if distributed.get_rank() == 0 else gathered.new_empty(0)


def split_like(tensor: Tensor, held: Tensor) -> Tensor:
    """The part of a tensor that this process holds of one like it, or all of it; nothing is sent."""
    if not is_split(held):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    placed = tensor.to(held.to_local().device)
    return distribute_tensor(placed, held.device_mesh, held.placements, src_data_rank=None)

"""A backbone split over processes: each holds a part of every weight, its gradient and its moments (FSDP2).

Layers are gathered whole one at a time, as they compute; embeddings, head and what else is no layer for a whole pass.
"""

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from patchrec.model.backbone import Backbone


def shard(backbone: Backbone, dtype: torch.dtype) -> None:
    """Split a backbone in place over all processes, on the GPU of each where there are any, else on the CPU.

    Gradients are added over processes by every backward pass, so that all must run as many.

    Args:
        backbone: Whole, on any device.
        dtype: What layers compute in, and travel as.
    """
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    mesh = init_device_mesh(kind, (distributed.get_world_size(),))
    # Inputs keep their type, as under autocast alone: only the products are of this one.
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    kinds = getattr(backbone.model, "_no_split_modules", None) or ()  # the model's name for its layers
    for layer in [module for module in backbone.modules() if type(module).__name__ in kinds]:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(backbone, mesh=mesh)
    for module in backbone.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)  # added, not averaged
            module.set_force_sum_reduction_for_comms(True)  # which gloo has


def is_sharded(module: nn.Module) -> bool:
    """Whether a module is split over processes."""
    return isinstance(module, FSDPModule)


def release(module: nn.Module) -> None:
    """Let go of what a pass without gradient gathered."""
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()


def whole(tensor: Tensor) -> Tensor:
    """A tensor in one piece; all processes must ask for it where it is split."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole_in_first(tensor: Tensor) -> Tensor:
    """The same, on the CPU and in process 0 alone where it is split: others get nothing to hold."""
    if not isinstance(tensor, DTensor):
        return tensor
    gathered = whole(tensor)
    return gathered.cpu() if distributed.get_rank() == 0 else gathered.new_empty(0)


def split_like(tensor: Tensor, held: Tensor) -> Tensor:
    """The part of a tensor that this process holds of one like it, or all of it; nothing is sent."""
    if not isinstance(held, DTensor):
        return tensor
    placed = tensor.to(held.to_local().device)
    return distribute_tensor(placed, held.device_mesh, held.placements, src_data_rank=None)

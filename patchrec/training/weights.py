"""The tensors of a checkpoint: weights, adapters, item parts of a language model, and an optimizer's memory.

Everything goes to safetensors, in one piece each, whatever processes hold.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from patchrec.errors import UsageError
from patchrec.model.backbone import Backbone
from patchrec.model.lora import adapter_weights, is_adapted, merged_weights
from patchrec.training.sharding import is_sharded, split_like, whole_in_first

MODEL = "model"
OPTIMIZER = "optimizer.safetensors"
_ADAPTERS = "adapters.safetensors"
ITEMS = "items.safetensors"

Named = Sequence[tuple[str, nn.Parameter]]


@dataclass(frozen=True, slots=True, eq=False)
class Tensors:
    """The tensors of a language model's checkpoint, in one piece each.

    Attributes:
        model: Weights of the plain model, adapters merged, for ranking and for other programs; None: as they are.
        adapters: They alone, where there are any.
        optimizer: Its memory; None where the run is complete.
    """

    model: dict[str, Tensor] | None
    adapters: dict[str, Tensor] | None
    optimizer: dict[str, Tensor] | None

    @classmethod
    def of(cls, backbone: Backbone, optimizer: torch.optim.Optimizer | None) -> "Tensors":
        """Gather them in process 0; all call this where the backbone is split over them."""
        memory = None if optimizer is None else optimizer_tensors(trained(backbone), optimizer)
        if is_adapted(backbone):
            return cls(merged_weights(backbone), adapter_weights(backbone), memory)
        return cls(_whole_weights(backbone.model) if is_sharded(backbone) else None, None, memory)


def write_tensors(folder: Path, backbone: Backbone, tensors: Tensors) -> None:
    """Fill a checkpoint folder."""
    from safetensors.torch import save_file

    backbone.save(folder / MODEL, tensors.model)
    if tensors.adapters is not None:
        save_file(tensors.adapters, folder / _ADAPTERS)
    if backbone.items is not None:
        backbone.items.save(folder / ITEMS)
    if tensors.optimizer is not None:
        save_file(tensors.optimizer, folder / OPTIMIZER)


def load_weights(folder: Path, backbone: Backbone) -> None:
    """Put the weights of a verified checkpoint into a backbone; with adapters, into those alone.

    Raises:
        UsageError: The weights below the adapters are not those that the run began with.
    """
    if backbone.items is not None:
        backbone.items.load(folder / ITEMS)
    dtype = backbone.embedding.dtype
    saved = Backbone.load(folder / MODEL, name=backbone.name, dtype=dtype, device="cpu").model.state_dict()
    if not is_adapted(backbone):
        held = backbone.model.state_dict()
        backbone.model.load_state_dict({name: split_like(tensor, held[name]) for name, tensor in saved.items()})
        return
    from safetensors.torch import load_file

    backbone.model.load_state_dict(load_file(folder / _ADAPTERS), strict=False)
    # Merged again they give what was saved, within rounding (which kernels of another machine may do otherwise).
    now = merged_weights(backbone)
    if not all(torch.allclose(tensor.cpu(), saved[name], atol=1e-5) for name, tensor in now.items()):
        raise UsageError(
            f"cannot resume: the weights of {backbone.name!r} in {str(backbone.folder)!r} are not those that the run "
            "began with, and its adapters fit no others; put them back, or start a new run"
        )


def trained(backbone: Backbone) -> list[tuple[str, nn.Parameter]]:
    """The weights of a language model that training updates, by name, in the order that checkpoints rely on."""
    parts = (
        [] if backbone.items is None else [(f"items.{name}", own) for name, own in backbone.items.named_parameters()]
    )
    return [*_wanting(backbone.model.named_parameters()), *_wanting(parts)]


def _wanting(named: Iterable[tuple[str, nn.Parameter]]) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, parameter) for name, parameter in named if parameter.requires_grad)


def optimizer_tensors(named: Named, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimizer's memory by the name of the weight and of what it remembers."""
    return {
        f"{name}/{key}": whole_in_first(value.detach()).contiguous()
        for name, parameter in named
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def load_optimizer(folder: Path, named: Named, optimizer: torch.optim.Optimizer) -> None:
    """Put the memory in a verified checkpoint into an optimizer of the same weights."""
    from safetensors.torch import load_file

    state: dict[int, dict[str, Tensor]] = {}
    order = [own for group in optimizer.param_groups for own in group["params"]]
    place_of = {own: place for place, own in enumerate(order)}
    places = {name: (place_of[held], held) for name, held in named}
    for name, tensor in load_file(folder / OPTIMIZER).items():
        parameter, _, key = name.rpartition("/")
        place, held = places[parameter]
        # laid out as the weight is: a fused optimizer goes through memory, not through indices
        own = tensor if tensor.shape != held.shape else torch.empty_like(held.detach()).copy_(split_like(tensor, held))
        state.setdefault(place, {})[key] = own
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _whole_weights(model: nn.Module) -> dict[str, Tensor]:
    """Weights of a model that is split over processes; those that go by two names are one tensor here, too."""
    found: dict[Tensor, Tensor] = {}
    state = model.state_dict(keep_vars=True)
    for tensor in state.values():
        if tensor not in found:
            found[tensor] = whole_in_first(tensor.detach())
    return {name: found[tensor] for name, tensor in state.items()}

"""LoRA: small matrices beside the frozen weights of the attention and MLP layers, through `peft`.

W + (alpha / R) B A, where B starts at zero, so a model with new adapters computes what it computed. Adapters are put
into the layers of the model as it is: no wrapper, so its attributes stay where the backbone looks for them.

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2022; alpha and the layers adapted (all linear
ones but the output head) as in Schulman et al., "LoRA Without Regret", 2025.
"""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from patchrec.errors import UsageError

if TYPE_CHECKING:
    from patchrec.model.backbone import Backbone

ALPHA = 32  # a constant, so that the best learning rate hardly depends on the rank
_ADAPTER = "default"


def peft_version() -> str:
    """Version of `peft`.

    Raises:
        UsageError: It is not installed.
    """
    try:
        return version("peft")
    except PackageNotFoundError as error:
        raise UsageError('LoRA needs the package peft, which is not there: pip install "patchrec[peft]"') from error


def refuse_rank(backbone: "Backbone", rank: int) -> None:
    """Refuse a rank that no weight of the model has: adapters of it would be larger than the weights.

    Raises:
        UsageError: The message names the largest.
    """
    layers = (part for part in backbone.model.modules() if isinstance(part, nn.Linear))
    most = max((min(layer.weight.shape) for layer in layers), default=rank)
    if rank > most:
        raise UsageError(f"--lora-rank {rank}: no weight of {backbone.name} has a rank above {most}; take 1 to {most}")


def add_adapters(backbone: "Backbone", rank: int, seed: int) -> None:
    """Freeze a backbone's weights and add adapters, which are then all that training updates.

    Args:
        backbone: Changed in place.
        rank: R of the adapters.
        seed: Fixes their A; B is zero.

    Raises:
        UsageError: `peft` is not installed, or the model has no layer to adapt.
    """
    peft_version()
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=rank, lora_alpha=ALPHA, lora_dropout=0.0, target_modules="all-linear", bias="none")
    try:
        with torch.random.fork_rng(devices=[]):  # adapters are drawn on the CPU, wherever the weights are
            torch.manual_seed(seed)
            inject_adapter_in_model(config, backbone.model, _ADAPTER)
    except ValueError as error:
        first = str(error).splitlines()[0]
        raise UsageError(f"{backbone.name} cannot be trained with LoRA: {first}; train all weights instead") from error


def is_adapted(backbone: "Backbone") -> bool:
    """Whether a backbone has adapters."""
    return hasattr(backbone.model, "peft_config")


def adapter_weights(backbone: "Backbone") -> dict[str, Tensor]:
    """A and B of every adapter, by parameter name."""
    return {
        name: parameter.detach().contiguous()
        for name, parameter in backbone.model.named_parameters()
        if ".lora_" in name
    }


@torch.no_grad()
def merged_weights(backbone: "Backbone") -> dict[str, Tensor]:
    """Weights of the plain model that computes the same; the backbone keeps its own, bit for bit.

    `peft` merges in place, and what it takes out again is not what was there: a run could not go on from that.
    """
    from peft.tuners.lora import LoraLayer

    model: nn.Module = backbone.model
    merged = {name: tensor for name, tensor in model.state_dict().items() if ".lora_" not in name}
    for name, layer in model.named_modules():
        if isinstance(layer, LoraLayer):
            weight = merged[f"{name}.base_layer.weight"]
            merged[f"{name}.base_layer.weight"] = weight + layer.get_delta_weight(_ADAPTER).to(weight.dtype)
    return {name.replace(".base_layer.", "."): tensor for name, tensor in merged.items()}

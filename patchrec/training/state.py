"""What a checkpoint holds besides weights: how far training is, what it is made of, and the optimizer's memory.

Tensors go to safetensors, the rest to JSON. No generator needs saving: every random number is a pure function of the
seed and the step.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from patchrec import __version__
from patchrec.config import RunConfig
from patchrec.data.histories import Dataset
from patchrec.errors import CorruptError, UsageError
from patchrec.model.backbone import Backbone
from patchrec.model.lora import adapter_weights, is_adapted, merged_weights, peft_version
from patchrec.model.patching import PathEncoder
from patchrec.strategy import Planner
from patchrec.training.sharding import is_sharded, split_like, whole_in_first

MODEL = "model"
_PROGRESS = "training.json"
_OPTIMIZER = "optimizer.safetensors"
_ADAPTERS = "adapters.safetensors"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far training is.

    Attributes:
        step: Steps done.
        targets, tokens: Targets learned from and forest nodes forwarded so far.
        seconds: Time in steps so far, over all resumptions.
        loss: Of the newest step, in nats per supervised token.
        validations: How often validation targets were measured.
        best_step: Step after which their loss was lowest; None before the first of them.
        best_loss: That loss, in nats per supervised token.
    """

    step: int = 0
    targets: int = 0
    tokens: int = 0
    seconds: float = 0.0
    loss: float = float("nan")
    validations: int = 0
    best_step: int | None = None
    best_loss: float | None = None


@dataclass(frozen=True, slots=True)
class SavedRun:
    """What was read from a checkpoint.

    Attributes:
        complete: Whether training had ended; then there is no optimizer state.
        identity: See `identity`.
    """

    progress: Progress
    complete: bool
    identity: dict[str, Any]


def identity(config: RunConfig, dataset: Dataset, encoder: PathEncoder, planners: Sequence[Planner]) -> dict[str, Any]:
    """Everything that must be equal for a resumed run to be the same run, as plain JSON data."""
    import transformers

    lora = config.training is not None and config.training.lora_rank is not None
    titles = hashlib.sha256(encoder.titles.ids.tobytes() + encoder.titles.offsets.tobytes()).hexdigest()[:16]
    return {
        "config": config.model_dump(mode="json"),
        "strategies": [planner.label for planner in planners],
        "data": {"catalog": dataset.catalog.fingerprint, "sequences": dataset.sequences.fingerprint},
        "tokenizer": {"prompt": encoder.prompt.fingerprint, "titles": titles},
        "versions": {
            "patchrec": __version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            **({"peft": peft_version()} if lora else {}),
        },
    }


def differences(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name every value that differs between two identities, such as "config.seed: 0 saved, 1 now"."""
    before, after = _flat(saved), _flat(now)
    return [
        f"{key}: {before.get(key, 'absent')!r} saved, {after.get(key, 'absent')!r} now"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)  # a setting that is newer than the checkpoint was as good as None
    ]


def refuse_differences(saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to resume a run as another one.

    Raises:
        UsageError: They differ; the message says in what.
    """
    found = differences(saved, now)
    if found:
        raise UsageError(f"cannot resume: {'; '.join(found)}; start a new run, or use --force to go on all the same")


@dataclass(frozen=True, slots=True, eq=False)
class Tensors:
    """The tensors of a checkpoint, in one piece each.

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
        memory = None if optimizer is None else _optimizer_tensors(backbone.model, optimizer)
        if is_adapted(backbone):
            return cls(merged_weights(backbone), adapter_weights(backbone), memory)
        return cls(_whole_weights(backbone.model) if is_sharded(backbone) else None, None, memory)


def write_run(folder: Path, backbone: Backbone, tensors: Tensors, progress: Progress, known: dict[str, Any]) -> None:
    """Fill a checkpoint folder; without an optimizer's memory the run is complete."""
    from safetensors.torch import save_file

    backbone.save(folder / MODEL, tensors.model)
    if tensors.adapters is not None:
        save_file(tensors.adapters, folder / _ADAPTERS)
    if tensors.optimizer is not None:
        save_file(tensors.optimizer, folder / _OPTIMIZER)
    record = {"schema": 1, "progress": asdict(progress), "complete": tensors.optimizer is None, "identity": known}
    (folder / _PROGRESS).write_text(json.dumps(record, indent=1), encoding="utf-8")


def read_run(folder: Path) -> SavedRun:
    """Read how far a verified checkpoint is.

    Raises:
        CorruptError: It is not a training checkpoint of this version.
    """
    try:
        record = json.loads((folder / _PROGRESS).read_text(encoding="utf-8"))
        known = record["identity"]
        config = RunConfig.model_validate(known["config"]).model_dump(mode="json")  # settings of since then: defaults
        return SavedRun(Progress(**record["progress"]), record["complete"], {**known, "config": config})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CorruptError(f"checkpoint {folder}: {_PROGRESS} is not what this version of patchrec writes") from error


def load_weights(folder: Path, backbone: Backbone) -> None:
    """Put the weights of a verified checkpoint into a backbone; with adapters, into those alone.

    Raises:
        UsageError: The weights below the adapters are not those that the run began with.
    """
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


def load_optimizer(folder: Path, backbone: Backbone, optimizer: torch.optim.Optimizer) -> None:
    """Put the optimizer state of a verified checkpoint into an optimizer of the same backbone."""
    from safetensors.torch import load_file

    state: dict[int, dict[str, Tensor]] = {}
    places = {name: (place, held) for place, (name, held) in enumerate(_trained(backbone.model))}
    for name, tensor in load_file(folder / _OPTIMIZER).items():
        parameter, _, key = name.rpartition("/")
        place, held = places[parameter]
        state.setdefault(place, {})[key] = split_like(tensor, held) if tensor.shape == held.shape else tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def trained_parameters(backbone: Backbone) -> list[nn.Parameter]:
    """The weights that training updates, in the order that checkpoints rely on."""
    return [parameter for _, parameter in _trained(backbone.model)]


def _trained(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]


def _optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{name}/{key}": whole_in_first(value.detach()).contiguous()
        for name, parameter in _trained(model)
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def _whole_weights(model: nn.Module) -> dict[str, Tensor]:
    """Weights of a model that is split over processes; those that go by two names are one tensor here, too."""
    found: dict[Tensor, Tensor] = {}
    state = model.state_dict(keep_vars=True)
    for tensor in state.values():
        if tensor not in found:
            found[tensor] = whole_in_first(tensor.detach())
    return {name: found[tensor] for name, tensor in state.items()}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found

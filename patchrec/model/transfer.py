"""Moving what NumPy made to the device of a model."""

from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor


def on_device(array: npt.NDArray[Any], device: torch.device) -> Tensor:
    """An array as a tensor on a device; a GPU copies it while the host goes on.

    From ordinary memory the host would wait for all work that the GPU has still to do. Pinned memory is kept by torch
    until the copy is done.
    """
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)

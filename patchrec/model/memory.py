"""How much memory there is, how many positions of a forward pass fit in it, and what is said when it runs out."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from patchrec.errors import OutOfResourcesError
from patchrec.model.backbone import Backbone
from patchrec.model.shape import head_size

SHARE = 0.5  # of what is free, that a pass may take
_MOST = {"cpu": 4096, "cuda": 65536}  # positions after which a larger pass is no faster (measured on CPU only)
_WIDTHS = 12  # hidden and feed-forward states alive at once, as multiples of their widths
# Of memory errors that are no class of their own:
_SIGNS = (
    "DefaultCPUAllocator",
    "Cannot allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "Storage size calculation overflowed",  # more bytes than an address has room for
)
_UNKNOWN = 4 << 30  # taken as free where the system does not say


def tokens_that_fit(backbone: Backbone) -> int:
    """Prompt positions to run in one pass: as many as half of the free memory holds, at most what makes a pass faster.

    A position costs its keys and values in every layer, and the states of one layer.
    """
    config = backbone.model.config.get_text_config()
    heads = config.num_attention_heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    width = backbone.embedding.element_size()
    kept = 2 * config.num_hidden_layers * kv_heads * head_size(config)
    passing = _WIDTHS * config.hidden_size + 3 * inner
    fitting = int(SHARE * free_memory(backbone.device) / (width * (kept + passing)))
    return max(1, min(fitting, _MOST.get(backbone.device.type, _MOST["cpu"])))


def free_memory(device: torch.device) -> int:
    """Bytes that are free for new tensors on a device."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    lines = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else []
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    try:
        return int(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return _UNKNOWN


def refuse_larger(what: str, wanted: int, device: torch.device, again: str) -> None:
    """Refuse what could not be held, before it is made.

    Args:
        what: In words, with its verb, such as "an item head takes".
        wanted: Bytes of it.
        device: Where it would be.
        again: What to do about it.

    Raises:
        OutOfResourcesError: In one line.
    """
    free = free_memory(device)
    if wanted > free:
        raise OutOfResourcesError(f"{what} {wanted / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB are free; {again}")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whatever device."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(sign in str(error) for sign in _SIGNS)


@contextmanager
def memory_errors(what: str, again: str) -> Iterator[None]:
    """Turn running out of memory into our error.

    Args:
        what: What did not fit, such as "a forest of 300 nodes".
        again: What to do about it, such as "begin again with a lower --batch-size".

    Raises:
        OutOfResourcesError: Memory ran out, on whatever device.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise OutOfResourcesError(f"out of memory on {what}; {again}") from error
        raise


def forget_peak() -> int:
    """Let `peak_memory` begin anew, and give the bytes of tensors on the GPU now."""
    torch.cuda.reset_peak_memory_stats()
    return int(torch.cuda.memory_allocated())


def peak_memory() -> int:
    """The most bytes of tensors on the GPU at a time, since `forget_peak`."""
    return int(torch.cuda.max_memory_allocated())

"""FlexAttention over forests: one kernel a layer for a whole pass, with the mask rule as a function of one vector.

Node i sees j exactly when `j <= i < end[j]`, with `end` counted within the pass: the rule keeps its forests apart by
itself. Squares of `BLOCK` rows and columns in which no row sees a column are skipped, and where every row sees every
column the rule is not asked.

Which passes run so is decided here, in `serves`; all others run in the tiles of `patchrec.model.attention`.

Shapes: N nodes of a pass, n squares along a side, H heads, d head size.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from patchrec.history import BoolArray, IntArray
from patchrec.model.forest import Forest
from patchrec.model.shape import head_size
from patchrec.model.transfer import on_device

BLOCK = 128  # rows and columns of a square, the kernel's own default
Kernel = Literal["flex", "tiles"]

# Where a pass is a few tiles, one kernel for all saves nothing and costs a compilation (reasoned, not measured).
_SHORTEST = 512
_SMALLEST_HEAD = 16  # Triton multiplies no narrower matrices
_DROPOUTS = ("attention_dropout", "attn_pdrop", "attn_dropout", "attention_probs_dropout_prob")  # names of configs
_forced: list[Kernel] = []


@contextmanager
def forced(kernel: Kernel) -> Iterator[None]:
    """Have every pass without a context that is compiled in here use one kernel, in all threads: to compare the two."""
    _forced.append(kernel)
    try:
        yield
    finally:
        _forced.pop()


def serves(config: Any, device: torch.device, num_nodes: int, *, context: bool) -> bool:
    """Whether a pass runs with FlexAttention.

    Args:
        config: Of the model (transformers).
        device: Where it runs.
        num_nodes: N.
        context: Whether any of it hangs under what was run before.
    """
    if context:
        return False
    if _forced:
        return _forced[-1] == "flex"
    text = config.get_text_config()
    dropout = any(getattr(text, name, None) for name in _DROPOUTS)
    fits = num_nodes > _SHORTEST and head_size(text) >= _SMALLEST_HEAD and not dropout
    return device.type == "cuda" and fits and _can_compile()


@dataclass(frozen=True, slots=True, eq=False)
class ForestMask:
    """What the nodes of a pass see, as FlexAttention takes it."""

    block_mask: BlockMask

    @classmethod
    def of(cls, forests: Sequence[Forest], device: torch.device) -> "ForestMask":
        """The mask of forests in a row."""
        starts = np.cumsum([0, *map(len, forests)])
        end = np.concatenate([forest.end + start for forest, start in zip(forests, starts[:-1], strict=True)])
        size = len(end)
        end = np.pad(end, (0, -size % BLOCK))  # columns past the last are seen by no row
        partial, full = squares(end)
        place = on_device(end.astype(np.int32), device)

        def sees(batch: Tensor, head: Tensor, row: Tensor, column: Tensor) -> Tensor:
            return (column <= row) & (row < place[column])

        by_row = (*_listed(partial, device), *_listed(full, device))
        by_column = (*_listed(partial.T, device), *_listed(full.T, device))
        return cls(BlockMask((size, size), *by_row, *by_column, BLOCK_SIZE=(BLOCK, BLOCK), mask_mod=sees))

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
        """(1, H, N, d) outputs of (1, H, N, d) queries; keys and values may have fewer heads."""
        kernel: Any = _compiled() if query.device.type == "cuda" else flex_attention
        # under autocast rotation leaves queries and keys in float32, while values are in the format to compute in
        outputs: Tensor = kernel(
            query.to(value.dtype), key.to(value.dtype), value, block_mask=self.block_mask, scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1], kernel_options={"BACKEND": "TRITON"},
        )  # fmt: skip
        return outputs


def squares(end: IntArray) -> tuple[BoolArray, BoolArray]:
    """(n, n) squares of which some entries are seen, and those that are seen whole.

    Within a square left of the diagonal every column comes before every row. So its first row sees most: any column
    that ends after it; and its last row least: all columns, if all end after it.

    Args:
        end: (n * BLOCK,) one past the last row that sees a column, 0 for columns that are not there.
    """
    ends = end.reshape(-1, BLOCK)
    first = BLOCK * np.arange(len(ends))[:, None]
    before = np.tri(len(ends), k=-1, dtype=np.bool_)
    full = before & (ends.min(axis=1) >= first + BLOCK)
    some = before & (ends.max(axis=1) > first) | np.eye(len(ends), dtype=np.bool_)
    return some & ~full, full


def _listed(square: BoolArray, device: torch.device) -> tuple[Tensor, Tensor]:
    """For each row how many columns are set, and all columns, those that are set first: (1, 1, n) and (1, 1, n, n)."""
    indices = np.ascontiguousarray(np.argsort(~square, axis=1, kind="stable"), dtype=np.int32)
    return on_device(square.sum(axis=1, dtype=np.int32)[None, None], device), on_device(indices[None, None], device)


@cache
def _can_compile() -> bool:
    """Whether Triton is there, and the C compiler that it calls."""
    compilers = ("cc", "gcc", "clang")
    return find_spec("triton") is not None and ("CC" in os.environ or any(map(shutil.which, compilers)))


@cache
def _compiled() -> Callable[..., Tensor]:
    """The fused kernel, for any length: fixed ones would be compiled again for each."""
    read_no_pickles()
    return torch.compile(flex_attention, dynamic=True)


def read_no_pickles() -> None:
    """Have torch compile in this process and keep no graphs: what it keeps, and what its helpers say, are pickles.

    Triton's own cache of kernels stays: it holds binaries and JSON.
    """
    from torch._inductor import config

    torch.compiler.config.force_disable_caches = True
    config.compile_threads = 1

"""Attention over token forests: a node sees its ancestors, those in the context that its tree hangs under included.

A forward pass runs blocks of nodes in a row, without padding. Of the whole model only attention asks which block a node
is in. It runs in tiles: some rows of a block with the columns that any of them sees, so the work follows what is seen,
not the square of what was packed. Long passes without a context run on a GPU in one kernel (`patchrec.model.flex`).

The keys and values of a pass stay where the model made them; a `Context` names the rows that belong to one prompt.

Shapes: N nodes of a pass, n nodes of a block, P positions of its context, R rows and C columns of a tile, H heads,
d head size.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from patchrec.history import BoolArray, IntArray
from patchrec.model.flex import ForestMask, serves
from patchrec.model.forest import Forest
from patchrec.model.transfer import on_device

NAME = "token_forest"
# Rows of a tile: fewer skip more of what no row sees, more make fewer and larger products. On a CPU 64 to 256 measured
# alike; for a GPU the number is reasoned, not measured.
_ROWS = {"cpu": 128}
_ROWS_ELSEWHERE = 512
_RUNS = 8  # ranges of a prompt's rows, up to which they are taken one by one
_COUNTED = 64  # tiles at most from which the size of all is told
_DENSE = 0.75  # share of a range from which on it is taken whole: a gap costs a mask entry, gathering copies everything


@dataclass(frozen=True, slots=True, eq=False)
class KeysValues:
    """Keys and values of one forward pass, filled layer by layer as the model runs.

    Attributes:
        layers: For each layer (1, H, N, d) keys and values.
    """

    layers: list[tuple[Tensor, Tensor]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Context:
    """Positions already run, in order, under which more can hang: those of one prompt, or of prompts that share.

    Attributes:
        segments: The passes that ran them, and which rows of each, a range or (n,) indices.
        parent: (P,) index of the position above, -1 where there is none.
        depth: (P,) position ids.
    """

    segments: tuple[tuple[KeysValues, slice | Tensor], ...]
    parent: IntArray
    depth: IntArray
    _seen: dict[int, BoolArray] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.parent)

    def seen_from(self, position: int) -> BoolArray:
        """(P,) True at a position and everything above it."""
        path = []
        while position >= 0 and position not in self._seen:
            path.append(position)
            position = int(self.parent[position])
        row = np.zeros(len(self), dtype=np.bool_)
        if position >= 0:
            above = self._seen[position]
            row[: len(above)] = above
        row[path] = True
        if path:
            self._seen[path[0]] = row
        return row

    def extended(self, keys_values: KeysValues, rows: slice, forest: Forest, under: IntArray) -> "Context":
        """The context with a forest more, whose nodes were run as `rows` of a pass and hang where `under` says."""
        depth = hang(self, forest, under)
        parent = np.where(forest.parent >= 0, forest.parent + len(self), under)
        segments = (*self.segments, (keys_values, rows))
        return Context(
            segments, np.concatenate([self.parent, parent]), np.concatenate([self.depth, depth]), dict(self._seen)
        )

    def path(self, position: int, device: torch.device) -> "Context":
        """A position and everything above it alone: a prompt out of those that share.

        Args:
            position: The last one.
            device: Where keys and values are.
        """
        nodes = np.flatnonzero(self.seen_from(position))
        segments: list[tuple[KeysValues, slice | Tensor]] = []
        first = 0
        for keys_values, rows in self.segments:
            size = _size(rows)
            within = nodes[(nodes >= first) & (nodes < first + size)] - first
            first += size
            if isinstance(rows, slice):
                own = within + (rows.start or 0)
                # ranges are read where they are, indices are copied
                runs = np.split(own, np.flatnonzero(np.diff(own) > 1) + 1)
                pieces = runs if len(runs) <= _RUNS else [own]
                segments += [(keys_values, _range_of(piece, device)) for piece in pieces if len(piece)]
            elif len(within):
                segments.append((keys_values, rows[on_device(within, device)]))
        return Context(tuple(segments), np.arange(-1, len(nodes) - 1), self.depth[nodes])

    def copied(self, start: int, stop: int) -> KeysValues:
        """Keys and values of positions `start` to `stop` alone, which keep nothing else in memory."""
        (keys_values, _), *_ = self.segments
        layers = []
        for index in range(len(keys_values.layers)):
            pieces: tuple[list[Tensor], list[Tensor]] = ([], [])
            first = 0
            for pair, (_, rows) in zip(self.layer(index), self.segments, strict=True):
                size = _size(rows)
                own = slice(max(start - first, 0), min(stop - first, size))
                if own.start < own.stop:
                    for kept, tensor in zip(pieces, pair, strict=True):
                        kept.append(tensor[:, :, own])
                first += size
            keys, values = (torch.cat(kept, dim=2).contiguous() for kept in pieces)
            layers.append((keys, values))
        return KeysValues(layers)

    def layer(self, index: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Keys and values of a layer, segment by segment."""
        for keys_values, rows in self.segments:
            keys, values = keys_values.layers[index]
            if isinstance(rows, slice):
                yield keys[:, :, rows], values[:, :, rows]
            else:
                yield keys.index_select(2, rows), values.index_select(2, rows)


@dataclass(frozen=True, slots=True, eq=False)
class Extension:
    """A forest to run, under a context or on its own.

    Attributes:
        forest: The nodes.
        context: What was run before.
        under: (n,) for each node the position of the context that its tree hangs under.
    """

    forest: Forest
    context: Context | None = None
    under: IntArray | None = None

    def __post_init__(self) -> None:
        if (self.context is None) != (self.under is None):
            raise ValueError("a forest that hangs under a context needs a position of it for every node")

    @classmethod
    def at(cls, forest: Forest, context: Context, position: int) -> "Extension":
        """The whole forest under one position."""
        return cls(forest, context, np.full(len(forest), position, dtype=np.int64))

    @property
    def depth(self) -> IntArray:
        """(n,) position ids."""
        if self.context is None or self.under is None:
            return self.forest.depth
        return hang(self.context, self.forest, self.under)


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """Rows of a block with the columns that any of them sees.

    Attributes:
        rows: Within the block.
        columns: Among context and block: a range where they are one, else (C,) indices.
        mask: (R, C) added to attention scores: 0 where a row sees a column, else minus infinity.
    """

    rows: slice
    columns: slice | Tensor
    mask: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The attention of one extension within a pass.

    Attributes:
        rows: Its nodes among those of the pass.
        tiles: Empty where one kernel attends for the whole pass.
    """

    rows: slice
    context: Context | None
    tiles: tuple[Tile, ...]

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, layer: int, scaling: float | None, dropout: float
    ) -> Iterator[Tensor]:
        """(1, H, R, d) outputs, tile by tile, of the pass's queries, keys and values."""
        query, key, value = query[:, :, self.rows], key[:, :, self.rows], value[:, :, self.rows]
        if self.context is not None:
            before = list(self.context.layer(layer))
            key = torch.cat([*(keys for keys, _ in before), key], dim=2)
            value = torch.cat([*(values for _, values in before), value], dim=2)
        groups = query.shape[1] // key.shape[1]
        if groups > 1 and key.device.type != "cpu":  # elsewhere a mask and grouped heads together have no fast kernel
            key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
        for tile in self.tiles:
            yield functional.scaled_dot_product_attention(
                query[:, :, tile.rows],
                key[:, :, tile.columns],
                value[:, :, tile.columns],
                attn_mask=tile.mask.to(query.dtype),
                dropout_p=dropout,
                scale=scaling,
                enable_gqa=query.shape[1] != key.shape[1],
            )


@dataclass(frozen=True, eq=False)
class Visibility:
    """What a forward pass attends to.

    Attributes:
        blocks: Its extensions, in order.
        kept: Where its keys and values are kept; None: nowhere.
        mask: Of the whole pass, where one kernel attends in place of the tiles.
    """

    blocks: tuple[Block, ...]
    kept: KeysValues | None = None
    mask: ForestMask | None = None

    @classmethod
    def of(
        cls, extensions: Sequence[Extension], device: torch.device, *, keep: bool = False, config: Any = None
    ) -> "Visibility":
        """Compile the masks of some extensions that run in one pass, in their order.

        Args:
            extensions: The forests.
            device: Where they run.
            keep: Whether their keys and values shall be kept.
            config: Of the model, from which follows whether one kernel can attend; None: in tiles.
        """
        forests = [extension.forest for extension in extensions]
        context = any(extension.context is not None for extension in extensions)
        whole = config is not None and serves(config, device, sum(map(len, forests)), context=context)
        blocks, start = [], 0
        for extension in extensions:
            stop = start + len(extension.forest)
            tiles = () if whole else tuple(_tiles(extension, device))
            blocks.append(Block(slice(start, stop), extension.context, tiles))
            start = stop
        mask = ForestMask.of(forests, device) if whole else None
        return cls(tuple(blocks), KeysValues() if keep else None, mask)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, layer: int, scaling: float | None, dropout: float
    ) -> Tensor:
        """(1, H, N, d) outputs of the pass's queries, keys and values.

        Raises:
            ValueError: Weights are dropped, of which the model's configuration said nothing.
        """
        if self.mask is None:
            blocks = (block.attend(query, key, value, layer, scaling, dropout) for block in self.blocks)
            return torch.cat([piece for pieces in blocks for piece in pieces], dim=2)
        if dropout:
            raise ValueError("attention weights are dropped, which FlexAttention does not do")
        return self.mask.attend(query, key, value, scaling)

    @cached_property
    def num_pairs(self) -> int:
        """Pairs of a row and a column that the tiles compute, in one layer."""
        return sum(tile.mask.numel() for block in self.blocks for tile in block.tiles)


def hang(context: Context, forest: Forest, under: IntArray) -> IntArray:
    """(n,) position ids of a forest's nodes below a context."""
    return context.depth[under] + 1 + forest.depth


def mask_bytes(forest: Forest, device: torch.device) -> int:
    """About what the masks of a forest that hangs under nothing take: some of its tiles are counted, none is made."""
    height = _ROWS.get(device.type, _ROWS_ELSEWHERE)
    starts = np.arange(0, len(forest), height)
    counted = starts[:: -(-len(starts) // _COUNTED)] if len(starts) else starts
    entries = 0
    for start in counted.tolist():
        stop = min(start + height, len(forest))
        columns = int(np.count_nonzero(forest.end[:start] > start)) + stop - start
        entries += (stop - start) * (columns if columns < _DENSE * stop else stop)
    return 4 * entries * len(starts) // max(1, len(counted))


def _tiles(extension: Extension, device: torch.device) -> Iterator[Tile]:
    forest, context, under = extension.forest, extension.context, extension.under
    above = np.empty((0, 0), dtype=np.bool_)
    places = np.empty(0, dtype=np.int64)
    if context is not None and under is not None:
        distinct, places = np.unique(under, return_inverse=True)
        above = np.stack([context.seen_from(int(position)) for position in distinct])  # (distinct, P)
    past = above.shape[1]
    nodes = np.arange(len(forest))
    height = _ROWS.get(device.type, _ROWS_ELSEWHERE)
    for start in range(0, len(forest), height):
        stop = min(start + height, len(forest))
        old = np.flatnonzero(above[places[start:stop]].any(axis=0)) if past else np.empty(0, dtype=np.int64)
        new = np.concatenate([np.flatnonzero(forest.end[:start] > start), nodes[start:stop]])
        if len(old) + len(new) >= _DENSE * (past + stop):
            old, new = np.arange(past), nodes[:stop]
        rows = nodes[start:stop, None]
        seen = (new <= rows) & (rows < forest.end[new])  # (R, C), of the new columns
        if past:
            seen = np.concatenate([above[places[start:stop]][:, old], seen], axis=1)
        columns = np.concatenate([old, past + new])
        yield Tile(slice(start, stop), _range_of(columns, device), _added(seen, device))


def _size(rows: slice | Tensor) -> int:
    """How many rows of a pass a segment names."""
    return int(rows.stop - (rows.start or 0)) if isinstance(rows, slice) else len(rows)


def _range_of(columns: IntArray, device: torch.device) -> slice | Tensor:
    """Ascending columns as a range where they are one."""
    first, last = int(columns[0]), int(columns[-1])
    if last - first + 1 == len(columns):
        return slice(first, last + 1)
    return on_device(columns, device)


def _added(seen: BoolArray, device: torch.device) -> Tensor:
    return on_device(np.where(seen, np.float32(0), np.float32(-np.inf)), device)


def forest_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    visibility: Visibility | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attend as transformers' attention functions do, but over a forest.

    Without `visibility` (the model's own forward pass or `generate`) it is transformers' SDPA attention.

    Args:
        query: (1, H, N, d); key and value may have fewer heads.

    Returns:
        (1, N, H, d) outputs, and no attention weights.
    """
    if visibility is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        plain: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **options
        )
        return plain
    if options.get("softcap") is not None or options.get("position_bias") is not None:
        raise ValueError("attention scores are capped or biased, which a forest's attention does not do")
    if visibility.kept is not None:
        visibility.kept.layers.append((key, value))
    outputs = visibility.attend(query, key, value, module.layer_idx, scaling, dropout)
    return outputs.transpose(1, 2).contiguous(), None


def register() -> str:
    """Make forest attention known to transformers, and return its name there."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, forest_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    return NAME

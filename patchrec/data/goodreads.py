"""The published folder of the PatchRec authors: `sequences.jsonl.gz` and `id2title.txt`, splits included, no times."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from patchrec.data.archives import SourceFiles
from patchrec.data.catalog import Catalog
from patchrec.data.characters import is_blank
from patchrec.data.histories import Sequences
from patchrec.errors import InputError

LICENCE = (
    "Goodreads (UCSD Book Graph): academic use only; no redistribution and no commercial use; cite Wan and McAuley, "
    "Item Recommendation on Monotonic Behavior Chains, RecSys 2018, doi 10.1145/3240323.3240369"
)
SEPARATOR = "||"
MIN_HISTORY = 3
"""Targets need three earlier items. Source: the published samples."""


def read_published(files: SourceFiles) -> tuple[Catalog, Sequences]:
    """Catalog and sequences of a published folder. Items keep their numbers; users are numbered by line from 0.

    Raises:
        InputError: A file is not there, or a line cannot be read.
    """
    name = files.first_of("sequences.jsonl.gz", "sequences.jsonl")
    if name is None or not files.first_of("id2title.txt"):
        raise InputError(
            f"{str(files.path)!r} does not hold sequences.jsonl.gz and id2title.txt; give the published PatchRec folder"
        )
    catalog = _catalog(files)
    items: list[int] = []
    lengths: list[int] = []
    stops: list[tuple[int, int]] = []
    for number, line in enumerate(files.lines(name), 1):
        try:
            row = json.loads(line)
            sequence = [catalog.index[str(item)] for item in row["items"]]
            stops.append(_stops(len(sequence), [row[key] for key in ("train_idx", "val_idx", "test_idx")]))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{name}:{number}: not a published sequence ({error}); get the file again") from error
        items += sequence
        lengths.append(len(sequence))
    if not lengths:
        raise InputError(f"{name!r} is empty; get the file again")
    train_stop, validation_stop = np.array(stops, dtype=np.int64).T
    return catalog, Sequences(
        user_ids=tuple(str(user) for user in range(len(lengths))),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        items=np.array(items, dtype=np.int64),
        timestamps=None,
        train_stop=train_stop,
        validation_stop=validation_stop,
    )


def _catalog(files: SourceFiles) -> Catalog:
    found: dict[str, str] = {}
    for number, line in enumerate(files.lines("id2title.txt"), 1):
        try:
            item_id, separator, title = line.decode("utf-8").partition(SEPARATOR)
        except UnicodeDecodeError as error:
            raise InputError(f"id2title.txt:{number}: not UTF-8 ({error.reason}); get the file again") from error
        if not separator or is_blank(title) or not item_id or item_id in found:
            raise InputError(f"id2title.txt:{number}: not `number||title` with a new number; get the file again")
        found[item_id] = title
    return Catalog(item_ids=tuple(found), titles=tuple(found.values()))


def _stops(length: int, ranges: Sequence[Any]) -> tuple[int, int]:
    """Ends of train and validation from three inclusive ranges that must cover the sequence without a gap."""
    stops = []
    start = 0
    for first, last in ranges:
        if first is not None:
            if first != start or last < first:
                raise ValueError(f"split indices {ranges!r} leave a gap")
            start = last + 1
        stops.append(start)
    if start != length:
        raise ValueError(f"split indices {ranges!r} do not cover {length} items")
    return stops[0], stops[1]

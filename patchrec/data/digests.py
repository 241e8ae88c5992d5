"""Fingerprints of catalogs and sequences, computed block by block so that nobody has to hold them whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # NumPy takes a tenth of a second that a listing must not wait for
    from patchrec.history import IntArray

DIGITS = 16
"""Of a sha256, in hex, that a fingerprint keeps."""


def catalog_digest(item_ids: Iterable[Sequence[str]], titles: Iterable[Sequence[str]]) -> str:
    """sha256 over ids and titles, as one JSON text of two lists.

    Args:
        item_ids: In order, in blocks of any length.
        titles: The same.
    """
    digest = hashlib.sha256()
    for opening, blocks in (("[[", item_ids), ("],[", titles)):
        digest.update(opening.encode())
        for text in _joined(
            (json.dumps(list(b), ensure_ascii=False, separators=(",", ":"))[1:-1] for b in blocks if b), ","
        ):
            digest.update(text)
    digest.update(b"]]")
    return digest.hexdigest()[:DIGITS]


def sequences_digest(
    user_ids: Iterable[Sequence[str]], columns: Iterable[Iterable[IntArray] | None], sessions: Iterable[IntArray] | None
) -> str:
    """sha256 over users, columns of whole numbers, and sessions where there are any.

    Args:
        user_ids: In order, in blocks of any length.
        columns: Offsets, items, timestamps, ends of train and of validation, each in blocks; None: it has none.
        sessions: In blocks; None: the data set names none.
    """
    import numpy as np

    digest = hashlib.sha256()
    for text in _joined(("\x1f".join(block) for block in user_ids if block), "\x1f"):
        digest.update(text)
    for blocks in (*columns, () if sessions is None else sessions):
        if blocks is None:
            digest.update(b"none")
            continue
        for block in blocks:
            digest.update(np.ascontiguousarray(block, dtype="<i8").data)
    return digest.hexdigest()[:DIGITS]


def _joined(texts: Iterable[str], separator: str) -> Iterator[bytes]:
    """Texts with a separator between them, as bytes; titles may hold half of a pair of surrogates."""
    for number, text in enumerate(texts):
        yield ((separator if number else "") + text).encode("utf-8", "surrogatepass")

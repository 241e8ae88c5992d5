"""Title tokens and title trie kept beside a run, so that ranking begins without encoding a large catalog again.

One safetensors file: the arrays, and in its metadata the key of what they were made from and a digest of all bytes.
It is a copy of what can always be made again: whatever is wrong with it, it counts as absent, and where it cannot be
written nothing is lost but time.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrec.data.whole_files import private_folder, write_whole
from patchrec.model.forest import Forest
from patchrec.model.titles import TitleTokens
from patchrec.ranking.trie import TitleTrie

FILE_NAME = "titles.safetensors"
FORMAT = "2"  # counts up when the arrays or the order of nodes change
_DIGEST = "sha256"
_NAMES = ("ids", "lengths", "texts", "keys", "parent", "depth", "end", "title_of_item", "num_texts")

_Arrays = dict[str, npt.NDArray[Any]]


def recall_or_build(
    path: Path, key: Mapping[str, str], encode: Callable[[], TitleTokens], end: int
) -> tuple[TitleTokens, TitleTrie]:
    """Titles and trie as kept under this key, else made now and kept.

    Args:
        path: The file.
        key: Fingerprints of everything that titles and trie follow from.
        encode: Makes the title tokens.
        end: The token that ends an answer.
    """
    found = recall(path, key)
    if found is None:
        titles = encode()
        found = titles, TitleTrie.build(titles, end)
        keep(path, *found, key)
    return found


def keep(path: Path, titles: TitleTokens, trie: TitleTrie, key: Mapping[str, str]) -> bool:
    """Write titles and trie to a file that is whole or absent, in place of what was there.

    Returns:
        Whether it could be written.
    """
    from safetensors.numpy import save

    forest = trie.forest
    texts = trie.title_of_item if titles.texts is None else titles.texts
    tokens = titles.ids, titles.lengths, texts
    values = *tokens, forest.keys, forest.parent, forest.depth, forest.end, trie.title_of_item, trie.num_texts
    arrays = {name: np.ascontiguousarray(array, dtype="<i4") for name, array in zip(_NAMES, values, strict=True)}
    content = save(arrays, metadata={**_stamp(key), _DIGEST: _digest(arrays)})
    try:
        private_folder(path.parent)
        write_whole(path, content)
    except OSError:  # disk full, read-only folder: the next call builds again
        return False
    return True


def recall(path: Path, key: Mapping[str, str]) -> tuple[TitleTokens, TitleTrie] | None:
    """What was kept under this key; None where there is nothing, or it is damaged or of another key."""
    arrays = _read(path, _stamp(key))
    if arrays is None:
        return None
    offsets = np.concatenate([[0], np.cumsum(arrays["lengths"], dtype=np.int64)])
    forest = Forest(arrays["keys"], arrays["parent"], arrays["depth"], arrays["end"])
    wide = {name: arrays[name].astype(np.int64) for name in ("ids", "texts", "title_of_item", "num_texts")}
    trie = TitleTrie(forest, wide["title_of_item"], wide["num_texts"])
    return TitleTokens(wide["ids"], offsets, wide["texts"]), trie


def _stamp(key: Mapping[str, str]) -> dict[str, str]:
    return {**{f"key.{part}": value for part, value in key.items()}, "format": FORMAT}


def _read(path: Path, stamp: dict[str, str]) -> _Arrays | None:
    """The arrays of a file with this stamp whose bytes are those written."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as stream:
            metadata = dict(stream.metadata() or {})
            digest = metadata.pop(_DIGEST, None)
            if metadata != stamp:
                return None
            arrays = {name: stream.get_tensor(name) for name in _NAMES}
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, AttributeError):  # as a damaged header may say
        return None
    return arrays if digest == _digest(arrays) else None


def _digest(arrays: _Arrays) -> str:
    """sha256 over names, types, shapes and values (hex)."""
    found = hashlib.sha256()
    for name, values in sorted(arrays.items()):
        found.update(repr((name, values.dtype.str, values.shape)).encode())
        found.update(values.data)
    return found.hexdigest()

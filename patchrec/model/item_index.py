"""How items become short paths of tokens: numbers in the order of histories, by chance, by who shares users; titles.

A path is digits, and its last digit is a token of another kind, so that no path begins another. All tokens are small
whole numbers: 0 stands for nothing, then come digits, last digits and words. No torch here.

Source: Hua, Xu, Ge and Zhang, "How to Index Item IDs for Recommendation Foundation Models", SIGIR-AP 2023.

Shapes: I items, U users, D tokens of the longest path, b digits.
"""

import re
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import scipy.linalg  # type: ignore[import-untyped]
import scipy.sparse  # type: ignore[import-untyped]

from patchrec.data.histories import Dataset
from patchrec.history import FloatArray, IntArray

Index = Literal["sequential", "collaborative", "random"]
Path = tuple[int, ...]
NOTHING = 0  # fills paths up to the longest
_MOST_TOKENS = 12  # of a title
_WORD = re.compile(r"\w+|[^\w\s]")


def digit(value: int, branches: int, *, last: bool) -> int:
    """The token of a digit: two kinds of each, so that a path cannot go on after its last one."""
    return 1 + value + last * branches


def first_word(branches: int) -> int:
    """The first token after all digits."""
    return 1 + 2 * branches


def paths_of_numbers(numbers: IntArray, branches: int) -> list[Path]:
    """The digits of every number, first the most significant, as many for each.

    Args:
        numbers: (I,) from 0 to I - 1, each once.
        branches: b, at least 2.
    """
    num_digits = 1
    while branches**num_digits < len(numbers):
        num_digits += 1
    powers = branches ** np.arange(num_digits)[::-1]
    tokens = 1 + numbers[:, None] // powers % branches
    tokens[:, -1] += branches
    return [tuple(row) for row in tokens.tolist()]


def order_of_histories(dataset: Dataset, num_items: int) -> IntArray:
    """(I,) number of every item in the order in which training histories bring them, user after user; then the rest.

    Neighbours in a history so share all but their last digits.

    Source: Hua et al. 2023, sequential indexing. There numbers begin at 1001 and a tokenizer of text cuts them.
    """
    sequences = dataset.sequences
    starts, stops = sequences.offsets[:-1], sequences.offsets[:-1] + sequences.train_stop
    trained = np.concatenate(
        [sequences.items[start:stop] for start, stop in zip(starts, stops, strict=True)] or [np.empty(0, np.int64)]
    )
    trained = trained[trained < num_items]
    items, places = np.unique(trained, return_index=True)
    order = items[np.argsort(places, kind="stable")]
    order = np.concatenate([order, np.setdiff1d(np.arange(num_items), order)])
    numbers = np.empty(num_items, dtype=np.int64)
    numbers[order] = np.arange(num_items)
    return numbers


def collaborative_paths(dataset: Dataset, num_items: int, branches: int) -> list[Path]:
    """A path through clusters of clusters of items that share users, the last digit telling the items of one apart.

    Source: Hua et al. 2023, collaborative indexing, and Mei and Zhang, "LightLM", 2023, spectral collaborative
    indexing: the graph of items that share users is cut by spectral clustering, again and again until a cluster is
    small. Here a cluster is small when one digit tells its items apart, and twice as many clusters are asked for as
    would then be full. An item counts as its own neighbour, so that the graph need never be made: its eigenvectors are
    singular vectors of users by items.
    """
    users, items = trained_pairs(dataset, num_items)
    ones = np.ones(len(items))
    shared = scipy.sparse.csc_array((ones, (users, items)), shape=(len(dataset.sequences), num_items))
    shared.data[:] = 1  # an item that comes twice is one neighbour
    paths: list[Path] = [()] * num_items

    def walk(own: IntArray, above: Path) -> None:
        if len(own) <= branches:
            for place, item in enumerate(own.tolist()):
                paths[item] = (*above, digit(place, branches, last=True))
            return
        labels = clusters(shared[:, own], min(branches, -(-2 * len(own) // branches)))
        found = [own[labels == label] for label in np.unique(labels)]
        if len(found) == 1:  # nobody tells them apart
            found = np.array_split(own, min(branches, -(-len(own) // branches)))
        for place, part in enumerate(found):
            walk(part, (*above, digit(place, branches, last=False)))

    walk(np.arange(num_items, dtype=np.int64), ())
    return paths


def trained_pairs(dataset: Dataset, num_items: int) -> tuple[IntArray, IntArray]:
    """Distinct pairs of user and item of the train split: (n,) users, (n,) items."""
    sequences = dataset.sequences
    users = np.repeat(np.arange(len(sequences)), np.diff(sequences.offsets))
    places = np.arange(len(sequences.items)) - sequences.offsets[:-1][users]
    known = (places < sequences.train_stop[users]) & (sequences.items < num_items)
    pairs = np.unique(np.stack([users[known], sequences.items[known]], axis=1), axis=0)
    return pairs[:, 0], pairs[:, 1]


def clusters(shared: "scipy.sparse.csc_array", count: int) -> IntArray:
    """(I,) a cluster of every item; some may stay empty.

    Args:
        shared: (U, I) who had which item, zeros and ones.
        count: Most clusters, at least 2.

    Source: normalised spectral clustering (Ng, Jordan and Weiss, NIPS 2001), whose clusters are read off a pivoted QR
    decomposition (Damle, Minden and Ying, "Simple, direct and efficient multi-way spectral clustering", 2019): without
    chance, as LightLM's authors do.
    """
    degrees = shared.T @ (shared @ np.ones(shared.shape[1]))  # (I,) row sums of the graph
    scaled = shared @ scipy.sparse.diags_array(1 / np.sqrt(np.maximum(degrees, 1)))
    vectors = right_vectors(scaled, count)
    _, pivots = scipy.linalg.qr(vectors.T, mode="r", pivoting=True)
    left, _, right = scipy.linalg.svd(vectors[pivots[: vectors.shape[1]]].T, full_matrices=False)
    labels: IntArray = np.abs(vectors @ (left @ right)).argmax(axis=1).astype(np.int64)
    return labels


def right_vectors(matrix: "scipy.sparse.csc_array", count: int) -> FloatArray:
    """(I, n) right singular vectors of the largest singular values of a (U, I) matrix, n of them at most `count`."""
    import scipy.sparse.linalg  # type: ignore[import-untyped]

    small = min(matrix.shape)
    if count >= small or small <= 64:
        return np.asarray(scipy.linalg.svd(matrix.toarray(), full_matrices=False)[2][:count].T, dtype=np.float64)
    start = np.ones(small)  # of the iteration: the same again next time
    return np.asarray(scipy.sparse.linalg.svds(matrix, k=count, v0=start)[2].T, dtype=np.float64)


def words_of(text: str) -> list[str]:
    """Words and signs of a text, lower case."""
    return _WORD.findall(text.lower())


def paths_of_titles(titles: Sequence[str], tokens: Callable[[str], Sequence[int]], branches: int) -> list[Path]:
    """The first twelve tokens of each title, and digits that tell items of equal ones apart.

    Args:
        titles: (I,) of all items.
        tokens: Gives those of a title, none below `first_word`.
        branches: b.

    Source: Hua et al. 2023, title indexing, where equal titles are one.
    """
    spelled = [tuple(tokens(title))[:_MOST_TOKENS] for title in titles]
    same: dict[Path, list[int]] = {}
    for item, path in enumerate(spelled):
        same.setdefault(path, []).append(item)
    paths: list[Path] = [()] * len(titles)
    for path, items in same.items():
        for item, end in zip(items, paths_of_numbers(np.arange(len(items)), branches), strict=True):
            paths[item] = path + end
    return paths


def table_of(paths: Sequence[Path]) -> IntArray:
    """(I, D) the paths, filled up with `NOTHING`."""
    table = np.full((len(paths), max(map(len, paths))), NOTHING, dtype=np.int64)
    for item, path in enumerate(paths):
        table[item, : len(path)] = path
    return table

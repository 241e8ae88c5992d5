"""Models of counts: popularity, recent popularity, first-order transitions and item neighbours.

Each is fitted in one look at the train split and answers with a distribution over all items that were there then.
An item of a history that came later counts as one that was never seen.

Shapes: B queries, I items when fitted, U users, n train interactions, S entries of a sparse matrix.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from patchrec.data.histories import Dataset, Sequences
    from patchrec.history import FloatArray, IntArray
    from patchrec.options import Options
    from patchrec.recommender import Query
    from patchrec.recommenders.counts import ItemKNNOptions, MarkovOptions, RecentOptions

_DAY = 86_400
_BLOCK = 1 << 20  # similarities held at a time, about: each is some 80 bytes while it is sorted


class _Counts:
    """What the models share: all that one knows is its arrays, and fitting ends as restoring does."""

    _arrays: dict[str, Any]
    _prior: FloatArray

    def fit(self, dataset: Dataset) -> None:
        """Count the train split."""
        self.restore(self._count(dataset))

    def arrays(self) -> dict[str, Any]:
        """Everything that was counted, by name."""
        return dict(self._arrays)

    def restore(self, arrays: Mapping[str, Any]) -> None:
        """Take back what `arrays` gave."""
        self._arrays = dict(arrays)
        self._prior = _smoothed(arrays["popularity"])

    def _count(self, dataset: Dataset) -> dict[str, Any]:
        """`popularity`: (I,) weight of each item; any more that the model needs."""
        return {"popularity": dataset.popularity}


class Popularity(_Counts):
    """The same for everyone: an item's share of the train interactions, add-one smoothed.

    p(j) = (count(j) + 1) / (n + I), so that an item that training never saw stays above zero.
    """

    def __init__(self, options: Options) -> None:
        pass

    def log_probs(self, queries: Sequence[Query]) -> FloatArray:
        """(B, I) log-probability of every item."""
        return np.tile(np.log(self._prior), (len(queries), 1))


class Recent(Popularity):
    """Popularity in which an interaction weighs 2^(-age / half_life).

    Age is in days, up to the newest train interaction. Where the data set has no times it is in positions, up to the
    user's last train item. Smoothed as popularity is, with weights for counts.

    Source: exponential decay of Ding and Li, "Time weight collaborative filtering", CIKM 2005.
    """

    def __init__(self, options: RecentOptions) -> None:
        self._options = options

    def _count(self, dataset: Dataset) -> dict[str, Any]:
        places, users, positions = train_places(dataset.sequences)
        if dataset.sequences.timestamps is None:
            ages = (dataset.sequences.train_stop[users] - 1 - positions).astype(np.float64)
        else:
            times = dataset.sequences.timestamps[places]
            ages = (times.max(initial=np.iinfo(np.int64).min) - times) / _DAY
        weights = np.exp2(-ages / self._options.half_life)
        return {"popularity": np.bincount(dataset.sequences.items[places], weights, len(dataset.catalog))}


class Markov(_Counts):
    """What followed the last item, with popularity as the Dirichlet prior.

    p(j | i) = (count(i -> j) + strength * p(j)) / (count(i) + strength), where i is the history's last item, a
    transition is a pair of neighbouring train items of one user, count(i) is the number of those from i, and p is
    `Popularity`. Without a history, and after an item that nothing followed, it is popularity.

    Source: MacKay and Peto, "A hierarchical Dirichlet language model", 1995.
    """

    def __init__(self, options: MarkovOptions) -> None:
        self._options = options

    def restore(self, arrays: Mapping[str, Any]) -> None:
        """Take back what `arrays` gave."""
        super().restore(arrays)
        self._following = _matrix(arrays, len(self._prior))
        self._totals = self._following.sum(axis=1).astype(np.float64)

    def log_probs(self, queries: Sequence[Query]) -> FloatArray:
        """(B, I) log-probability of every item."""
        num_items = len(self._prior)
        last = np.array([q.history.items[-1] if len(q.history) else num_items for q in queries], dtype=np.int64)
        rows = np.minimum(last, num_items)
        strength = self._options.strength
        counts: FloatArray = self._following[rows].toarray().astype(np.float64)
        log_probs: FloatArray = np.log((counts + strength * self._prior) / (self._totals[rows] + strength)[:, None])
        return log_probs

    def _count(self, dataset: Dataset) -> dict[str, Any]:
        places, users, _ = train_places(dataset.sequences)
        items = dataset.sequences.items[places]
        same = users[1:] == users[:-1]
        pairs = _coo(items[:-1][same], items[1:][same], len(dataset.catalog), len(dataset.catalog))
        return super()._count(dataset) | _parts([pairs])


class ItemKNN(_Counts):
    """Items that the history's items share users with, mixed with popularity.

    Two items are as similar as common(i, j) / (sqrt(users(i) * users(j)) + shrink), over users of the train split; of
    each item the `neighbours` most similar others are kept (of equal ones the first in the catalog). A query's score of
    an item is the sum over its history of decay^age * similarity, where the newest item has age 0 and the one before it
    1. p = (1 - smoothing) * score / sum of scores + smoothing * `Popularity`; where no item of the history has a
    neighbour, p is popularity.

    Source: Deshpande and Karypis, "Item-based top-N recommendation algorithms", 2004; the shrinkage is Bell and Koren,
    "Scalable collaborative filtering with jointly derived neighborhood interpolation weights", ICDM 2007.
    """

    def __init__(self, options: ItemKNNOptions) -> None:
        self._options = options

    def restore(self, arrays: Mapping[str, Any]) -> None:
        """Take back what `arrays` gave."""
        super().restore(arrays)
        self._similar = _matrix(arrays, len(self._prior))

    def log_probs(self, queries: Sequence[Query]) -> FloatArray:
        """(B, I) log-probability of every item."""
        scores: FloatArray = (
            aged([query.history.items for query in queries], self._options.decay, len(self._prior)) @ self._similar
        ).toarray()
        totals = scores.sum(axis=1, keepdims=True)
        known = totals > 0
        smoothing = np.where(known, self._options.smoothing, 1.0)
        shares = scores / np.where(known, totals, 1.0)
        log_probs: FloatArray = np.log((1 - smoothing) * shares + smoothing * self._prior)
        return log_probs

    def _count(self, dataset: Dataset) -> dict[str, Any]:
        places, users, _ = train_places(dataset.sequences)
        had = _coo(users, dataset.sequences.items[places], len(dataset.sequences), len(dataset.catalog))
        had.data[:] = 1  # a user who had an item twice is one user
        return super()._count(dataset) | _parts(_neighbours(had, self._options.neighbours, self._options.shrink))


def _neighbours(had: Any, neighbours: int, shrink: float) -> Iterator[Any]:
    """(I, I) similarities, a block of rows after the other: time and memory follow pairs that share a user.

    Args:
        had: (U, I) sparse, 1 where a user had an item.
        neighbours: Kept in each row.
        shrink: See `ItemKNN`.
    """
    num_items = had.shape[1]
    users = np.asarray(had.sum(axis=0), dtype=np.float64)
    by_item = had.T.tocsr()
    most = np.minimum(by_item @ had.sum(axis=1), num_items)  # (I,) entries that a row has at most
    starts = np.unique(np.cumsum(most) // _BLOCK, return_index=True)[1]
    for start, stop in pairwise([*starts.tolist(), num_items]):
        common = (by_item[start:stop] @ had).tocoo()
        rows, columns = common.row.astype(np.int64), common.col.astype(np.int64)
        others = rows + start != columns
        rows, columns = rows[others], columns[others]
        similarity = common.data[others] / (np.sqrt(users[rows + start] * users[columns]) + shrink)
        best = np.lexsort((columns, -similarity, rows))
        rows, columns, similarity = rows[best], columns[best], similarity[best]
        kept = np.arange(len(rows)) - np.searchsorted(rows, rows) < neighbours  # place among those of its row
        shape = (common.shape[0], num_items)
        yield sparse().coo_array((similarity[kept], (rows[kept], columns[kept])), shape=shape).tocsr()


def aged(histories: Sequence[IntArray], decay: float, num_items: int) -> Any:
    """(B, I + 1) sparse weights of each history's items: decay^age, where the newest item has age 0.

    Items that came after fitting are the last column.
    """
    lengths = np.array([len(items) for items in histories], dtype=np.int64)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    ages = np.repeat(indptr[1:], lengths) - 1 - np.arange(indptr[-1])
    items = np.concatenate([np.empty(0, np.int64), *histories])
    shape = (len(histories), num_items + 1)
    return sparse().csr_array((decay**ages, np.minimum(items, num_items), indptr), shape=shape)


def _smoothed(weights: Any) -> FloatArray:
    """(I,) add-one smoothed share of each item."""
    return np.asarray((weights + 1.0) / (weights.sum() + len(weights)), dtype=np.float64)


def train_places(sequences: Sequences) -> tuple[IntArray, IntArray, IntArray]:
    """Train interactions in order: (n,) places in the flat arrays, (n,) users, (n,) positions of their user."""
    users = np.repeat(np.arange(len(sequences)), np.diff(sequences.offsets))
    positions = np.arange(len(users)) - sequences.offsets[users]
    places = np.flatnonzero(positions < sequences.train_stop[users])
    return places, users[places], positions[places]


def sparse() -> Any:
    """`scipy.sparse`, whose import takes a fifth of a second that nothing else must wait for."""
    import scipy.sparse  # type: ignore[import-untyped]

    return scipy.sparse


def _coo(rows: IntArray, columns: IntArray, num_rows: int, num_columns: int) -> Any:
    """(num_rows, num_columns) sparse: how often each pair occurs."""
    ones = np.ones(len(rows), dtype=np.int64)
    return sparse().coo_array((ones, (rows, columns)), shape=(num_rows, num_columns)).tocsr()


def _parts(blocks: Any) -> dict[str, Any]:
    """Arrays of the blocks of rows of one sparse matrix: (S,) `data`, (S,) `indices`, (rows + 1,) `indptr`."""
    matrix = sparse().vstack(list(blocks), format="csr")
    matrix.sort_indices()
    return {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr}


def _matrix(arrays: Mapping[str, Any], num_items: int) -> Any:
    """(I + 1, I) sparse matrix of such arrays: the row after the last is empty, for items that it does not know."""
    indptr = np.append(arrays["indptr"], arrays["indptr"][-1:])
    return sparse().csr_array((arrays["data"], arrays["indices"], indptr), shape=(num_items + 1, num_items))

"""Items like those of a history, by their fields and the words of their titles: what is asked of items that nobody had.

Each field makes a unit vector of every item: its features (`patchrec.data.item_features`), each weighing log(I / items
that have it). A history is the mean of its items' vectors, an item weighing `decay` times what the next newer one does.
Items are ranked by a softmax over

    sum over fields f of  weight_f * cosine_f(history, item)

with cosines that are not brought to length on the history's side: a history of many kinds is less like anything. The
weights are those under which the train targets are most likely, found by Newton's method: the problem is convex and has
an unknown for each field. Nothing says how often an item was chosen, so that new ones stand where old ones do.

Sources: Rocchio, "Relevance feedback in information retrieval", 1971, for the profile; Lops, de Gemmis and Semeraro,
"Content-based recommender systems: state of the art and trends", 2011. The learned weights are ours.

Shapes: B queries, I items, F features of a field, f fields, N train targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from patchrec.data.item_features import item_features, known_fields
from patchrec.ranking.counts import aged, sparse, train_places

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from patchrec.data.catalog import Catalog
    from patchrec.data.histories import Dataset
    from patchrec.history import FloatArray, IntArray
    from patchrec.recommender import Query
    from patchrec.recommenders.content import ContentOptions

_TARGETS = 2000  # of the train split, for as many weights as there are fields
_SIMILARITIES = 30_000_000  # of them with all items, held at once while weights are learned
_STEPS = 30
_RIDGE = 1e-3  # on weights: where a field says nothing, or the same as another, they stay small


class Content:
    """Ranks by what is known of items besides who had them.

    Attributes:
        fields: (f,) that it reads.
        weights: (f,) of their cosines.
    """

    def __init__(self, options: ContentOptions) -> None:
        self._options = options
        self.fields: tuple[str, ...] = ()
        self.weights: FloatArray = np.empty(0)
        self._vectors: list[Any] = []

    def fit(self, dataset: Dataset) -> None:
        """Read the catalog and weigh its fields by the train targets."""
        self.grow(dataset)
        _, users, positions = train_places(dataset.sequences)
        asked = np.flatnonzero(positions >= max(1, dataset.min_history))
        most = min(_TARGETS, max(50, _SIMILARITIES // (len(dataset.catalog) * len(self.fields))))
        if len(asked) > most:
            asked = np.sort(np.random.default_rng(0).choice(asked, most, replace=False))
        known = zip(map(dataset.sequences.items_of, users[asked].tolist()), positions[asked].tolist(), strict=True)
        had = [items[: position + 1] for items, position in known]
        similar = self._cosines([items[:-1] for items in had])
        targets = np.array([items[-1] for items in had], dtype=np.int64)
        self.weights = _most_likely(similar, targets)

    def grow(self, dataset: Dataset) -> None:
        """Read the catalog as it is now."""
        self.fields = known_fields(dataset.catalog, self._options.fields)
        self._vectors = [_unit_vectors(dataset.catalog, field) for field in self.fields]

    def arrays(self) -> dict[str, Any]:
        """What was learned."""
        return {"weights": self.weights}

    def restore(self, arrays: Mapping[str, Any]) -> None:
        """Take back what `arrays` gave; `grow` is to follow."""
        self.weights = np.asarray(arrays["weights"], dtype=np.float64)

    def log_probs(self, queries: Sequence[Query]) -> FloatArray:
        """(B, I) log-probability of every item of the catalog; all are alike after items of which nothing is known."""
        scores: FloatArray = self._cosines([query.history.items for query in queries]) @ self.weights
        return np.asarray(scores - _log_sum(scores)[:, None])

    def _cosines(self, histories: Sequence[IntArray]) -> FloatArray:
        """(B, I, f) of histories with every item."""
        found = np.empty((len(histories), self._vectors[0].shape[0] - 1, len(self._vectors)))
        for number, vectors in enumerate(self._vectors):
            weights = aged(histories, self._options.decay, len(vectors.indptr) - 2)
            totals = np.maximum(np.asarray(weights.sum(axis=1)), np.finfo(np.float64).tiny)
            found[:, :, number] = (weights @ vectors @ vectors[:-1].T).toarray() / totals[:, None]
        return found


def _unit_vectors(catalog: Catalog, field: str) -> Any:
    """(I + 1, F) sparse; rows of length 1, or 0 for items that have nothing of the field, as the one after the last."""
    features = item_features(catalog, (field,))
    rows, places = np.nonzero(features.bags < len(features.names))
    columns = features.bags[rows, places]
    having = np.bincount(columns, minlength=len(features.names))
    values = np.log(len(catalog) / having)[columns]
    lengths = np.sqrt(np.bincount(rows, values**2, minlength=len(catalog)))[rows]
    values = np.divide(values, lengths, out=np.zeros_like(values), where=lengths > 0)  # what all items have: nothing
    return sparse().csr_array((values, (rows, columns)), shape=(len(catalog) + 1, len(features.names)))


def _most_likely(similar: FloatArray, targets: IntArray) -> FloatArray:
    """(f,) weights under which the targets are most likely.

    Args:
        similar: (N, I, f) cosines of their histories with all items.
        targets: (N,) items.
    """
    num_fields = similar.shape[2]
    weights: FloatArray = np.zeros(num_fields)
    if not len(targets):
        return np.ones(num_fields)
    chosen = similar[np.arange(len(targets)), targets]
    for _ in range(_STEPS):
        scores = similar @ weights
        shares = np.exp(scores - _log_sum(scores)[:, None])
        expected = np.einsum("ni,nif->nf", shares, similar)
        gradient = (chosen - expected).mean(axis=0) - _RIDGE * weights
        second = np.einsum("nif,nig->fg", similar * shares[:, :, None], similar, optimize=True)
        curvature = (second - expected.T @ expected) / len(targets) + _RIDGE * np.eye(num_fields)
        step = np.linalg.solve(curvature, gradient)
        weights = weights + step
        if np.abs(step).max() < 1e-6:
            break
    return weights


def _log_sum(scores: FloatArray) -> FloatArray:
    """(B,) log of the sum of exponentials of rows."""
    return np.asarray(np.logaddexp.reduce(scores, axis=1), dtype=np.float64)

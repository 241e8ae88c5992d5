"""Models of counts against dictionaries and loops."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from math import log, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Sequences
from patchrec.history import History
from patchrec.options import Options
from patchrec.ranking import counts
from patchrec.ranking.counts import ItemKNN, Markov, Popularity, Recent
from patchrec.recommender import Query
from patchrec.recommenders.counts import ItemKNNOptions, MarkovOptions, RecentOptions

MODELS: dict[str, tuple[Any, Options]] = {
    "popularity": (Popularity, Options()),
    "recent": (Recent, RecentOptions(half_life=3)),
    "markov": (Markov, MarkovOptions(strength=2)),
    "item-knn": (ItemKNN, ItemKNNOptions(neighbours=3, shrink=1, decay=0.7, smoothing=0.2)),
}


def asked(*items: int) -> Query:
    return Query(History(np.array(items, dtype=np.int64)))


def made_up(seed: int, *, times: bool = True) -> Dataset:
    """Up to nine users of none to twelve items, some of them repeated, some items never had."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(0, 13, generator.integers(1, 10))
    num_items = int(generator.integers(2, 10))
    train = generator.integers(0, lengths + 1)
    days = [np.sort(generator.integers(0, 40 * 86_400, length)) for length in lengths]
    sequences = Sequences(
        user_ids=tuple(f"u{number}" for number in range(len(lengths))),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        items=generator.integers(0, num_items, lengths.sum()),
        timestamps=np.concatenate(days) if times else None,
        train_stop=train,
        validation_stop=train + (lengths - train) // 2,
    )
    names = tuple(f"i{number}" for number in range(num_items))
    return Dataset("made-up", Catalog(names, names), sequences)


def train_items(dataset: Dataset) -> list[list[int]]:
    """Every user's train items."""
    sequences = dataset.sequences
    return [sequences.items_of(user)[: sequences.train_stop[user]].tolist() for user in range(len(sequences))]


def some_queries(dataset: Dataset, seed: int) -> list[Query]:
    """Random histories, an empty one and some with an item that the model does not know."""
    generator = np.random.default_rng(seed)
    num_items = len(dataset.catalog)
    drawn = [asked(*generator.integers(0, num_items + 1, length)) for length in generator.integers(1, 8, 6)]
    return [asked(), *drawn, asked(num_items + 3), asked(0, num_items)]


def fitted(name: str, dataset: Dataset) -> Any:
    kind, options = MODELS[name]
    model = kind(options)
    model.fit(dataset)
    return model


def plain_popularity(dataset: Dataset) -> list[float]:
    had = Counter(item for items in train_items(dataset) for item in items)
    num_items = len(dataset.catalog)
    return [(had[item] + 1) / (had.total() + num_items) for item in range(num_items)]


def plain_recent(dataset: Dataset, half_life: float) -> list[float]:
    sequences, weights = dataset.sequences, dict.fromkeys(range(len(dataset.catalog)), 0.0)
    times, train = sequences.timestamps, train_items(dataset)
    moments = [[] if times is None else times[sequences.offsets[user] :].tolist() for user in range(len(train))]
    newest = max(
        (moments[user][len(items) - 1] for user, items in enumerate(train) if items and len(moments[user])), default=0
    )
    for user, items in enumerate(train):
        for position, item in enumerate(items):
            age = len(items) - 1 - position if times is None else (newest - moments[user][position]) / 86_400
            weights[item] += 2 ** (-age / half_life)
    return [(weights[item] + 1) / (sum(weights.values()) + len(weights)) for item in weights]


def plain_markov(dataset: Dataset, query: Query, strength: float) -> list[float]:
    pairs = Counter(pair for items in train_items(dataset) for pair in pairwise(items))
    last = query.history.items[-1] if len(query.history) else None
    left = sum(count for (before, _), count in pairs.items() if before == last)
    popularity = plain_popularity(dataset)
    return [(pairs[last, item] + strength * p) / (left + strength) for item, p in enumerate(popularity)]


def plain_neighbours(dataset: Dataset, neighbours: int, shrink: float) -> dict[int, dict[int, float]]:
    users = {item: set() for item in range(len(dataset.catalog))}
    for user, items in enumerate(train_items(dataset)):
        for item in items:
            users[item].add(user)
    kept = {}
    for i in users:
        similar = {
            j: len(users[i] & users[j]) / (sqrt(len(users[i]) * len(users[j])) + shrink)
            for j in users
            if j != i and users[i] & users[j]
        }
        kept[i] = {j: similar[j] for j in sorted(similar, key=lambda j: (-similar[j], j))[:neighbours]}
    return kept


def plain_item_knn(dataset: Dataset, query: Query, options: ItemKNNOptions) -> list[float]:
    kept = plain_neighbours(dataset, options.neighbours, options.shrink)
    scores = dict.fromkeys(range(len(dataset.catalog)), 0.0)
    for age, item in enumerate(reversed(query.history.items.tolist())):
        for j, similarity in kept.get(item, {}).items():
            scores[j] += options.decay**age * similarity
    popularity, total = plain_popularity(dataset), sum(scores.values())
    if total == 0:
        return popularity
    smoothing = options.smoothing
    return [(1 - smoothing) * scores[item] / total + smoothing * p for item, p in enumerate(popularity)]


@given(st.integers(0, 2**32))
def test_popularity_is_the_smoothed_share_of_train_interactions(seed: int) -> None:
    dataset = made_up(seed)
    rows = fitted("popularity", dataset).log_probs(some_queries(dataset, seed))
    assert np.exp(rows) == pytest.approx(np.array([plain_popularity(dataset)] * len(rows)))


@given(st.integers(0, 2**32), st.booleans(), st.floats(0.1, 100))
def test_recent_halves_an_interaction_every_half_life(seed: int, times: bool, half_life: float) -> None:
    dataset = made_up(seed, times=times)
    model = Recent(RecentOptions(half_life=half_life))
    model.fit(dataset)
    assert np.exp(model.log_probs([asked()])[0]) == pytest.approx(plain_recent(dataset, half_life))


@given(st.integers(0, 2**32), st.floats(0.01, 100))
def test_markov_equals_counting_pairs(seed: int, strength: float) -> None:
    dataset, model = made_up(seed), Markov(MarkovOptions(strength=strength))
    model.fit(dataset)
    queries = some_queries(dataset, seed)
    plain = np.array([plain_markov(dataset, query, strength) for query in queries])
    assert np.exp(model.log_probs(queries)) == pytest.approx(plain)


@given(
    st.integers(0, 2**32), st.integers(1, 6), st.floats(0, 5), st.floats(0.1, 1), st.floats(0.01, 1), st.integers(1, 30)
)
def test_item_knn_equals_plain_loops(
    seed: int, neighbours: int, shrink: float, decay: float, smoothing: float, block: int
) -> None:
    dataset = made_up(seed)
    options = ItemKNNOptions(neighbours=neighbours, shrink=shrink, decay=decay, smoothing=smoothing)
    model, queries = ItemKNN(options), some_queries(dataset, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counts, "_BLOCK", block)
        model.fit(dataset)
    plain = np.array([plain_item_knn(dataset, query, options) for query in queries])
    assert np.exp(model.log_probs(queries)) == pytest.approx(plain)


def test_markov_on_the_toy(toy: Dataset) -> None:
    """Train: 0 1 2, 1, 5 4; of six items."""
    model = Markov(MarkovOptions(strength=3))
    model.fit(toy)
    probabilities = np.exp(model.log_probs([asked(5, 1)])[0])
    shares = np.array([1 + 1, 2 + 1, 1 + 1, 0 + 1, 1 + 1, 1 + 1]) / (6 + 6)
    assert probabilities == pytest.approx((np.array([0, 0, 1, 0, 0, 0]) + 3 * shares) / (1 + 3))


def test_item_knn_on_the_toy(toy: Dataset) -> None:
    """Train: 0 1 2, 1, 5 4: item 0 and 1 share a user of 1 and 2; nothing is near 3."""
    model = ItemKNN(ItemKNNOptions(neighbours=1, shrink=1, decay=0.5, smoothing=0.25))
    model.fit(toy)
    shares = np.array([2, 3, 2, 1, 2, 2]) / 12
    row, alone = np.exp(model.log_probs([asked(5, 3, 0), asked(3)]))
    votes = {2: 1 / (1 + 1), 4: 0.5**2 * 1 / (1 + 1)}  # 0 keeps 2 (1 / 2), not 1 (1 / (sqrt 2 + 1))
    expected = [0.75 * votes.get(item, 0) / sum(votes.values()) + 0.25 * share for item, share in enumerate(shares)]
    assert row == pytest.approx(expected)
    assert alone == pytest.approx(shares)


@pytest.mark.parametrize("name", MODELS)
@given(seed=st.integers(0, 2**32), times=st.booleans())
def test_every_row_is_a_distribution_over_the_items(name: str, seed: int, times: bool) -> None:
    dataset = made_up(seed, times=times)
    queries = some_queries(dataset, seed)
    rows = fitted(name, dataset).log_probs(queries)
    assert rows.dtype == np.float64
    assert rows.shape == (len(queries), len(dataset.catalog))
    assert np.isfinite(rows).all()
    assert np.exp(rows).sum(axis=1) == pytest.approx(np.ones(len(queries)), abs=1e-12)


@pytest.mark.parametrize("name", MODELS)
@given(seed=st.integers(0, 2**32))
def test_nothing_after_the_train_split_matters(name: str, seed: int) -> None:
    dataset = made_up(seed)
    sequences = dataset.sequences
    places = np.arange(len(sequences.items))
    users = np.searchsorted(sequences.offsets, places, side="right") - 1
    later = places - sequences.offsets[users] >= sequences.train_stop[users]
    changed = replace(
        sequences,
        items=np.where(later, (sequences.items + 1) % len(dataset.catalog), sequences.items),
        timestamps=sequences.timestamps + later * 10**6,  # type: ignore[operator]
        validation_stop=sequences.train_stop,
    )
    model, other = fitted(name, dataset), fitted(name, replace(dataset, sequences=changed))
    queries = some_queries(dataset, seed)
    assert np.array_equal(model.log_probs(queries), other.log_probs(queries))


@pytest.mark.parametrize("name", MODELS)
@given(seed=st.integers(0, 2**32))
def test_restored_arrays_answer_bitwise_the_same(name: str, seed: int) -> None:
    dataset = made_up(seed)
    kind, options = MODELS[name]
    model, restored = fitted(name, dataset), kind(options)
    arrays = model.arrays()
    assert all(isinstance(array, np.ndarray) for array in arrays.values())
    restored.restore({key: np.frombuffer(array.tobytes(), array.dtype) for key, array in arrays.items()})
    queries = some_queries(dataset, seed)
    assert np.array_equal(model.log_probs(queries), restored.log_probs(queries))
    assert all(np.array_equal(array, restored.arrays()[key]) for key, array in arrays.items())


@pytest.mark.parametrize("name", MODELS)
@given(seed=st.integers(0, 2**32))
def test_an_answer_does_not_depend_on_what_else_is_asked(name: str, seed: int) -> None:
    dataset = made_up(seed)
    model, queries = fitted(name, dataset), some_queries(dataset, seed)
    together = model.log_probs(queries)
    assert all(np.array_equal(row, model.log_probs([query])[0]) for row, query in zip(together, queries, strict=True))


@pytest.mark.parametrize("name", ["markov", "item-knn"])
@given(seed=st.integers(0, 2**32))
def test_without_a_known_item_the_answer_is_popularity(name: str, seed: int) -> None:
    dataset = made_up(seed)
    num_items = len(dataset.catalog)
    rows = np.exp(fitted(name, dataset).log_probs([asked(), asked(num_items), asked(num_items + 5, num_items)]))
    assert rows == pytest.approx(np.array([plain_popularity(dataset)] * 3))


def test_only_the_last_item_matters_to_markov(toy: Dataset) -> None:
    model = fitted("markov", toy)
    first, second, other = model.log_probs([asked(1), asked(5, 4, 1), asked(1, 0)])
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_items_that_training_never_saw_keep_one_count(toy: Dataset) -> None:
    assert fitted("popularity", toy).log_probs([asked(0)])[0][3] == pytest.approx(log(1 / (6 + 6)))


@pytest.mark.parametrize("name", MODELS)
def test_an_empty_train_split_leaves_all_items_equal(name: str, toy: Dataset) -> None:
    nothing = np.zeros(3, dtype=np.int64)
    empty = replace(toy, sequences=replace(toy.sequences, train_stop=nothing, validation_stop=nothing))
    assert np.exp(fitted(name, empty).log_probs([asked(0, 1)])[0]) == pytest.approx([1 / 6] * 6)


@pytest.mark.parametrize("name", MODELS)
def test_no_queries_get_no_rows(name: str, toy: Dataset) -> None:
    assert fitted(name, toy).log_probs([]).shape == (0, 6)

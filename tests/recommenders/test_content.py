"""The model of fields and titles against loops, on planted data, and on a catalog that grew."""

from dataclasses import replace
from math import exp, log, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Sequences
from patchrec.data.item_features import TITLE, item_features
from patchrec.errors import UsageError
from patchrec.history import History
from patchrec.ranking.content import Content
from patchrec.recommender import Query
from patchrec.recommenders.content import KIND, ContentOptions
from patchrec.reporting import SILENT

COLOURS = ("red", "green", "blue")


def asked(*items: int) -> Query:
    return Query(History(np.array(items, dtype=np.int64)))


def made_up(seed: int) -> Dataset:
    """Eight users of ten items each, of a catalog of colours, sizes and titles that share words."""
    generator = np.random.default_rng(seed)
    num_items, num_users, length = 12, 8, 10
    metadata = tuple(
        {"colour": COLOURS[generator.integers(3)], "size": int(generator.integers(1, 4))} for _ in range(num_items)
    )
    titles = tuple(f"{('big', 'small')[generator.integers(2)]} thing {number}" for number in range(num_items))
    catalog = Catalog(tuple(f"i{number}" for number in range(num_items)), titles, metadata)
    stops = np.full(num_users, length - 2)
    sequences = Sequences(
        user_ids=tuple(f"u{number}" for number in range(num_users)),
        offsets=np.arange(num_users + 1) * length,
        items=generator.integers(0, num_items, num_users * length),
        timestamps=None,
        train_stop=stops,
        validation_stop=stops + 1,
    )
    return Dataset("made-up", catalog, sequences)


def fitted(dataset: Dataset, **options: object) -> Content:
    model = Content(ContentOptions.model_validate(options))
    model.fit(dataset)
    return model


def plain_cosines(dataset: Dataset, field: str, history: list[int], decay: float) -> list[float]:
    features = item_features(dataset.catalog, (field,))
    number_of = len(features.names)
    owned = [{int(place) for place in row if place < number_of} for row in features.bags[:-1]]
    worth = {place: log(len(owned) / sum(place in own for own in owned)) for place in range(number_of)}
    lengths = [sqrt(sum(worth[place] ** 2 for place in own)) for own in owned]
    total = sum(decay**age for age in range(len(history)))

    def cosine(one: int, other: int) -> float:
        if not lengths[one] or not lengths[other]:
            return 0.0
        return sum(worth[place] ** 2 for place in owned[one] & owned[other]) / (lengths[one] * lengths[other])

    return [
        sum(decay**age * cosine(item, other) for age, item in enumerate(reversed(history))) / total
        for other in range(len(owned))
    ]


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 11), min_size=1, max_size=6), st.floats(0.1, 1))
def test_items_are_ranked_by_weighted_cosines(seed: int, history: list[int], decay: float) -> None:
    dataset = made_up(seed)
    model = fitted(dataset, decay=decay, fields="colour,title")
    columns = [plain_cosines(dataset, field, history, decay) for field in ("colour", TITLE)]
    scores = [sum(w * c for w, c in zip(model.weights, row, strict=True)) for row in zip(*columns, strict=True)]
    total = sum(exp(score) for score in scores)
    assert np.exp(model.log_probs([asked(*history)])[0]) == pytest.approx([exp(score) / total for score in scores])


@settings(max_examples=20)
@given(st.integers(0, 2**32))
def test_no_other_weights_make_the_train_targets_more_likely(seed: int) -> None:
    dataset = made_up(seed)
    model = fitted(dataset, fields="colour,title")

    def likelihood(weights: np.ndarray) -> float:
        model.weights = weights
        queries, targets = [], []
        for user in range(len(dataset.sequences)):
            items = dataset.sequences.items_of(user)
            for place in range(1, int(dataset.sequences.train_stop[user])):
                queries.append(asked(*items[:place].tolist()))
                targets.append(int(items[place]))
        found = model.log_probs(queries)[np.arange(len(targets)), targets].mean()
        return float(found - 0.5e-3 * (weights**2).sum())  # the ridge

    best = model.weights
    at_best = likelihood(best)
    for shift in ([0.01, 0], [-0.01, 0], [0, 0.01], [0, -0.01]):
        assert likelihood(best + shift) <= at_best + 1e-12


def test_what_decides_the_next_item_gets_the_weight() -> None:
    """Users stay with one colour; size says nothing. An item that nobody had stands where its colour stands."""
    generator = np.random.default_rng(0)
    num_items, num_users, length = 60, 90, 12
    metadata = tuple({"colour": COLOURS[number % 3], "size": number // 3 % 4} for number in range(num_items))
    catalog = Catalog(tuple(f"i{n}" for n in range(num_items)), tuple(f"t{n}" for n in range(num_items)), metadata)
    items = np.concatenate([3 * generator.integers(0, 19, length) + user % 3 for user in range(num_users)])
    stops = np.full(num_users, length - 2)
    names = tuple(f"u{n}" for n in range(num_users))
    offsets = np.arange(num_users + 1) * length
    dataset = Dataset("colours", catalog, Sequences(names, offsets, items, None, stops, stops + 1))
    options = KIND.settle(ContentOptions(), dataset, SILENT)
    assert options.fields == "colour,size"
    model = fitted(dataset, fields=options.fields)
    colour, size = model.weights
    assert colour > 5
    assert abs(size) < 1
    row = np.exp(model.log_probs([asked(0, 3, 6)])[0])
    assert row[::3].sum() > 0.95
    assert row[57] > 0.8 * row[::3].mean()  # nobody had items 57 to 59
    popularity = dataset.popularity
    assert popularity[57] == 0


def test_items_that_come_later_are_ranked_by_what_is_known_of_them() -> None:
    dataset = made_up(1)
    model = fitted(dataset, fields="colour")
    later = Catalog(("new",), ("big thing of tomorrow",), ({"colour": "red", "size": 1},))
    grown = replace(dataset, catalog=dataset.catalog.followed_by(later))
    again = Content(ContentOptions(fields="colour"))
    again.restore(model.arrays())
    again.grow(grown)
    red = [number for number, item in enumerate(grown.catalog.metadata) if item["colour"] == "red"]
    row = again.log_probs([asked(red[0])])[0]
    assert len(row) == 13
    assert row[12] == pytest.approx(row[red[0]])
    assert np.exp(row).sum() == pytest.approx(1)


def test_after_nothing_known_all_are_alike() -> None:
    model = fitted(made_up(2))
    rows = model.log_probs([asked(), asked(99)])
    assert np.exp(rows) == pytest.approx(np.full((2, 12), 1 / 12))


def test_a_catalog_that_says_nothing_is_refused() -> None:
    dataset = made_up(3)
    silent = replace(dataset, catalog=Catalog(dataset.catalog.item_ids, tuple("abcdefghijkl")))
    with pytest.raises(UsageError, match="no two items share"):
        fitted(silent)
    with pytest.raises(UsageError, match="colou"):
        fitted(dataset, fields="colou")


def test_more_targets_than_are_looked_at_are_drawn_the_same_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from patchrec.ranking import content

    monkeypatch.setattr(content, "_TARGETS", 10)
    dataset = made_up(4)
    assert fitted(dataset).weights.tolist() == fitted(dataset).weights.tolist()

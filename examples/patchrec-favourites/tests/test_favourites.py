from dataclasses import replace

import numpy as np
import pytest
from patchrec_favourites import STRATEGY

from patchrec.errors import UsageError
from patchrec.history import History
from patchrec.layout import Grain, Layout
from patchrec.testing import StrategyContract

RATED = History(np.arange(8), ratings=np.array([5, 3, 4, 5, np.nan, 2, 1, 4]))


class TestDefaults(StrategyContract):
    strategy = STRATEGY


class TestByField(StrategyContract):
    strategy = STRATEGY
    options = {"field": "year", "most": 3}


def test_favourites_stay_text_and_the_rest_becomes_sessions():
    layout = STRATEGY.bind({"M": 1}).plan(RATED)
    assert layout == Layout.of(
        [
            (0, 1, Grain.TEXT), (1, 3, Grain.SESSION), (3, 4, Grain.TEXT), (4, 7, Grain.SESSION), (7, 8, Grain.TEXT)
        ]
    )  # fmt: skip


def test_the_newest_favourites_are_kept():
    layout = STRATEGY.bind({"M": 1, "most": 1, "least": 3}).plan(RATED)
    assert layout == Layout.of([(0, 3, Grain.SESSION), (3, 4, Grain.TEXT), (4, 7, Grain.SESSION), (7, 8, Grain.TEXT)])


def test_items_like_the_newest_are_favourites_by_a_field():
    genres = [{"genre": genre} for genre in ("war", "war", "crime", "war", "crime", "crime", "war", "crime")]
    history = replace(RATED, ratings=None, fields=genres)
    layout = STRATEGY.bind({"M": 1, "field": "genre"}).plan(history)
    assert layout == Layout.of(
        [
            (0, 2, Grain.SESSION), (2, 3, Grain.TEXT), (3, 4, Grain.SESSION), (4, 6, Grain.TEXT), (6, 7, Grain.SESSION),
            (7, 8, Grain.TEXT),
        ]
    )  # fmt: skip


def test_without_ratings_it_says_what_to_do():
    with pytest.raises(UsageError, match="--rating-col"):
        STRATEGY.bind().plan(replace(RATED, ratings=None))

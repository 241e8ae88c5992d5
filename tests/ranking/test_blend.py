"""A blend against the sentence that defines it, item by item. Shapes: R parts, I items."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from patchrec.config import HistoryConfig
from patchrec.data.catalog import Catalog
from patchrec.data.histories import newest, window_start
from patchrec.history import History
from patchrec.ranking.blend import BlendRecommender, NewItems, tempered, with_repeats
from patchrec.recommender import Cost, Part, Query, Scores, log_probs, rank

TITLES = ("Up", "Heat", "Heat", "Ran", "Heat")
I = len(TITLES)  # noqa: E741


@dataclass
class Told:
    """Says what it was told to, and remembers what it was asked after."""

    rows: np.ndarray
    level: str = "item"
    device: str = "cpu"
    asked: list = field(default_factory=list)

    def score_each(self, queries):
        self.asked += [query.history for query in queries]
        for number in reversed(range(len(queries))):  # any order is allowed
            yield number, Scores(self.rows, Cost(positions=3, beside=1, flops=7.0, seconds=0.5, length=9))

    def lengths(self, queries):
        return np.full(len(queries), 4)


def logs(*shares):
    return np.log(np.array(shares) / sum(shares))


def blend(*parts):
    catalog = Catalog(tuple(f"i{item}" for item in range(I)), TITLES)
    return BlendRecommender([Part(*part, HistoryConfig(K=2)) for part in parts], catalog, np.arange(I))


def query(num_items=5):
    return Query(History(np.arange(num_items) % I))


def test_a_blend_is_the_normalised_product_of_powers():
    one, other = logs(5, 1, 1, 2, 1), logs(1, 1, 6, 1, 1)
    found = log_probs(blend((Told(one), 0.25), (Told(other), 0.75)), [query()])[0]
    powers = np.exp(one) ** 0.25 * np.exp(other) ** 0.75
    np.testing.assert_allclose(np.exp(found), powers / powers.sum(), rtol=1e-12)


def test_the_items_of_a_title_share_its_probability():
    titles = np.log([0.5, 0.3, 0.3, 0.2, 0.3])  # of Up, Heat and Ran: each item has its title's
    found = log_probs(blend((Told(titles, level="title"), 1.0)), [query()])[0]
    np.testing.assert_allclose(np.exp(found), [0.5, 0.1, 0.1, 0.2, 0.1], rtol=1e-12)


def test_costs_add_up_and_queries_keep_their_numbers():
    mixed = blend((Told(logs(1, 1, 1, 1, 1)), 0.5), (Told(logs(2, 1, 1, 1, 1)), 0.5))
    found = dict(mixed.score_each([query(), query(), query()]))
    assert sorted(found) == [0, 1, 2]
    assert found[1].cost == Cost(positions=6, beside=2, flops=14.0, seconds=1.0)
    assert mixed.lengths([query(), query()]).tolist() == [8, 8]


def test_rankings_leave_out_what_was_seen_and_break_ties_by_place():
    mixed = blend((Told(logs(1, 2, 2, 1, 9)), 1.0))
    (found,) = rank(mixed, [Query(History(np.array([4])), np.array([4]))], 3)
    assert [line.item for line in found.recommendations] == [1, 2, 0]


@pytest.mark.parametrize("windows", ["sliding", "anchored", "blocks"])
@pytest.mark.parametrize("K", [1, 2, 5, 8])
def test_every_part_is_asked_after_its_own_window(K, windows):
    for position in range(20):
        start = window_start(position, 8, "sliding")
        times, sessions = np.arange(start, position) * 10, np.arange(start, position) // 3
        cut = newest(History(np.arange(start, position), times, start, False, sessions), K, windows)
        own = window_start(position, K, windows)
        assert cut.items.tolist() == list(range(own, position))
        assert cut.timestamps.tolist() == [10 * place for place in range(own, position)]
        assert cut.sessions.tolist() == [place // 3 for place in range(own, position)]
        assert (cut.start, cut.anchored) == (own, windows != "sliding")


def test_parts_hear_their_windows():
    told = Told(logs(1, 1, 1, 1, 1))
    log_probs(blend((told, 1.0)), [query(5)])
    assert [history.items.tolist() for history in told.asked] == [[3, 4]]


def test_odds_of_what_was_had_are_multiplied_and_the_order_within_stays():
    shares = np.array([0.1, 0.2, 0.3, 0.25, 0.15])
    found = np.exp(with_repeats(np.log(shares), np.array([1, 3, 1]), 0.5))
    had, others = found[[1, 3]], found[[0, 2, 4]]
    assert found.sum() == pytest.approx(1)
    assert had.sum() / others.sum() == pytest.approx(0.5 * 0.45 / 0.55)
    np.testing.assert_allclose(had / had.sum(), [0.2 / 0.45, 0.25 / 0.45], rtol=1e-12)
    np.testing.assert_allclose(others / others.sum(), np.array([0.1, 0.3, 0.15]) / 0.55, rtol=1e-12)


NEW = np.array([False, True, False, True, False])


def test_one_part_speaks_of_new_items_and_all_of_the_others():
    one, speaker = logs(5, 1, 1, 2, 1), logs(1, 1, 6, 3, 1)
    mixed = replace(blend((Told(one), 0.25), (Told(speaker), 0.75)), new=NewItems(NEW, 1, 0.5))
    found = np.exp(log_probs(mixed, [query()])[0])
    powers = np.exp(one) ** 0.25 * np.exp(speaker) ** 0.75
    assert found.sum() == pytest.approx(1)
    np.testing.assert_allclose(found[NEW] / found[NEW].sum(), [0.25, 0.75], rtol=1e-12)  # as 1 to 3
    np.testing.assert_allclose(found[~NEW] / found[~NEW].sum(), powers[~NEW] / powers[~NEW].sum(), rtol=1e-12)
    assert found[NEW].sum() / found[~NEW].sum() == pytest.approx(0.5 * 4 / 8)


@pytest.mark.parametrize("new", [np.zeros(I, dtype=bool), NEW])
def test_a_part_that_finds_new_items_impossible_has_no_veto(new):
    sure, speaker = np.log(np.where(new, 1e-300, 1.0)), logs(1, 1, 6, 3, 1)
    sure -= np.logaddexp.reduce(sure)
    mixed = replace(blend((Told(sure), 0.5), (Told(speaker), 0.5)), new=NewItems(new, 1, 2.0))
    found = np.exp(log_probs(mixed, [query()])[0])
    assert found.sum() == pytest.approx(1)
    assert found[new].sum() == pytest.approx(8 / 16 if new.any() else 0)


def test_a_blend_multiplies_the_odds_of_its_whole_history_not_of_a_parts_window():
    mixed = replace(blend((Told(logs(5, 4, 3, 2, 1)), 1.0)), repeats=1e-9)  # the part sees the newest two
    (found,) = rank(mixed, [query(4)], 5)
    assert [line.item for line in found.recommendations] == [4, 0, 1, 2, 3]
    assert found.recommendations[0].probability == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.2, 0.5, 3.0])
def test_a_temperature_sharpens_within_groups_and_leaves_what_they_have_together(temperature):
    shares = np.array([0.1, 0.2, 0.3, 0.15, 0.25])
    groups = [np.array([True, True, False, False, False]), np.array([False, False, True, True, False])]
    found = np.exp(tempered(np.log(shares), [(group, temperature) for group in groups]))
    for group in groups:
        powers = shares[group] ** (1 / temperature)
        np.testing.assert_allclose(found[group], shares[group].sum() * powers / powers.sum(), rtol=1e-12)
    assert found[4] == shares[4]
    with np.errstate(divide="ignore"):
        never = np.log(np.array([0, 0, 0.5, 0, 0.5]))
    assert np.array_equal(tempered(never, [(group, temperature) for group in groups]), never)
    assert np.array_equal(tempered(np.log(shares), [(np.zeros(5, dtype=bool), temperature)]), np.log(shares))


def test_a_blend_at_a_temperature_keeps_its_order_and_how_likely_repeats_and_new_items_are():
    one, other = logs(5, 1, 3, 2, 4), logs(1, 2, 6, 1, 3)
    new = NewItems(np.array([False, False, False, True, False]), 1, 2.0)
    plain = replace(blend((Told(one), 0.5), (Told(other), 0.5)), repeats=0.3, new=new)
    cold = replace(plain, temperature=0.4)
    asked = Query(History(np.array([0, 1])))
    before, after = (np.exp(log_probs(model, [asked])[0]) for model in (plain, cold))
    assert after.sum() == pytest.approx(1)
    assert after[3] == pytest.approx(before[3])  # new
    assert after[[0, 1]].sum() == pytest.approx(before[[0, 1]].sum())  # had
    assert after[2] + after[4] == pytest.approx(before[2] + before[4])
    assert after[2] / after[4] == pytest.approx((before[2] / before[4]) ** 2.5)
    assert after[0] / after[1] == pytest.approx((before[0] / before[1]) ** 2.5)

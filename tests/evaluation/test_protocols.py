"""Other ways to count: as the published scripts do, and among drawn items."""

from math import isnan, log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchrec.errors import UsageError
from patchrec.evaluation.protocols import LISTED, NEGATIVES, Counting, negatives, published_rank
from patchrec.recommender import Scores


@pytest.mark.parametrize(
    ("titles", "rank"),
    [
        (["Heat", "Alien", "Big"], 2),
        (["Aliens", "Heat", "Big"], 1),  # a title that begins with it counts as it
        (["Alien", "Heat", "Aliens"], 3),  # and the last hit is the rank
        ([" Alien "], 1),
        (["alien", "The Alien"], None),
        ([], None),
    ],
)
def test_the_published_scripts_take_the_last_title_that_begins_with_the_targets(titles, rank):
    found = published_rank(titles, "Alien")
    assert isnan(found) if rank is None else found == rank


@given(st.lists(st.text("ab", max_size=3), max_size=20), st.text("ab", min_size=1, max_size=3))
def test_the_published_count_equals_the_loop_of_the_scripts(titles, real):
    rank = 20
    for place, title in enumerate(titles):
        if real == title[: len(real)]:
            rank = place
    found = published_rank(titles, real)
    assert (20 if isnan(found) else found - 1) == rank


def count(dataset, protocol, log_probs, ks=(1, 10)):
    counting = Counting(dataset, protocol, ks)
    examples = dataset.examples("test", 10)
    for example in reversed(examples):
        counting.add(example, Scores(np.asarray(log_probs, dtype=np.float64)))
    return counting, examples


def test_a_paper_count_is_of_titles_with_seen_items_kept(toy):
    # targets: Big, Fargo, Heat; the order is Heat (two items), Big, Aliens, Alien, Fargo
    counting, _ = count(toy, "paper", [2, 3, 9, 1, 5, 8])
    assert [row.title_rank_kept for row in counting.rankings()] == [2, 5, 1]
    assert {(row.level, row.seen) for row in counting.metrics()} == {("title", "kept")}
    values = {row.name: row.value for row in counting.metrics()}
    assert values == {
        "hr@1": 1 / 3,
        "ndcg@1": 1 / 3,
        "hr@10": 1.0,
        "ndcg@10": pytest.approx((1 / log2(3) + 1 / log2(6) + 1) / 3),
    }


def test_beyond_its_list_the_scripts_count_misses_as_hits_which_is_refused(toy):
    with pytest.raises(UsageError, match=f"--k up to {LISTED}"):
        Counting(toy, "paper", (10, 50))
    with pytest.raises(UsageError, match="paper, sampled"):
        Counting(toy, "papr", (10,))


def test_a_sampled_rank_is_among_the_drawn_items_alone(toy):
    counting, examples = count(toy, "sampled", [6, 5, 4, 3, 2, 1])
    # ann never has 15; bob never 10, 14, 15; 007 never 10, 11
    assert [row.item_rank_dropped for row in counting.rankings()] == [1, 2, 3]
    assert [row.item_id for row in counting.rankings()] == ["14", "13", "12"]
    assert all(len(negatives(toy, example, NEGATIVES, 0)) < 4 for example in examples)
    assert counting.config == {"protocol": "sampled", "negatives": 99, "seed": 0}


def test_draws_are_of_items_that_the_user_never_has_and_the_same_for_every_run(movies):
    examples = movies.examples("test", 10)
    drawn = [negatives(movies, example, 3, 0) for example in examples]
    for example, items in zip(examples, drawn, strict=True):
        never = set(range(len(movies.catalog))) - set(movies.sequences.items_of(example.user).tolist())
        assert len(set(items.tolist())) == min(3, len(never))
        assert set(items.tolist()) <= never
    again = [negatives(movies, example, 3, 0).tolist() for example in reversed(examples)][::-1]
    assert [items.tolist() for items in drawn] == again
    assert [negatives(movies, example, 3, 1).tolist() for example in examples] != again


def test_draws_are_uniform(toy):
    example = toy.examples("test", 10)[1]  # bob: of 10, 14, 15
    found = np.bincount([negatives(toy, example, 1, seed)[0] for seed in range(600)], minlength=6)
    assert found[[1, 2, 3]].sum() == 0
    assert (abs(found[[0, 4, 5]] - 200) < 60).all()  # five standard deviations

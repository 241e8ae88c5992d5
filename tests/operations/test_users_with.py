"""`eval --users-with RANGE`: the targets of users with so many items, compared only with the same."""

from pathlib import Path

import numpy as np
import pytest

from patchrec.errors import UsageError
from patchrec.operations.evaluate import evaluate
from patchrec.operations.runs import compare_runs
from patchrec.store import Store


def users_of(home: Path, run: str) -> set[int]:
    with Store.open(home) as store:
        dataset = store.datasets.load("walkers")
        lengths = np.diff(dataset.sequences.offsets)
        rows = store.evaluations.rankings(store.evaluations.all(run, "test")[-1].id)
        return {int(lengths[dataset.user(row.user_id)]) for row in rows}


def test_only_users_in_the_range_are_evaluated(home: Path) -> None:
    run = evaluate(baseline="popularity", data="walkers", home=home).run
    lengths = users_of(home, run)
    middle = sorted(lengths)[len(lengths) // 2]
    for given, expected in [
        (f"{middle}+", {length for length in lengths if length >= middle}),
        (f"0-{middle}", {length for length in lengths if length <= middle}),
        (f"{middle}", {middle}),
    ]:
        found = evaluate(run, users_with=given, home=home)
        assert users_of(home, run) == expected
        assert found.num_targets > 0


def test_it_is_compared_with_the_same_range_alone(home: Path) -> None:
    first = evaluate(baseline="popularity", data="walkers", home=home).run
    second = evaluate(baseline="item-knn", data="walkers", users_with="6+", home=home).run
    with pytest.raises(UsageError, match="--limit and --users-with"):
        compare_runs([first, second], home=home)
    evaluate(first, users_with="6+", home=home)
    found = compare_runs([first, second], home=home)
    assert found["num_targets"] == evaluate(second, users_with="6+", reuse=True, home=home).num_targets


def test_with_a_limit_the_sample_is_of_the_range(home: Path) -> None:
    run = evaluate(baseline="popularity", data="walkers", home=home).run
    least = max(users_of(home, run))
    assert evaluate(run, users_with=f"{least}+", limit=1, home=home).num_targets == 1
    assert users_of(home, run) == {least}


@pytest.mark.parametrize(
    ("given", "words"),
    [("many", "give a range"), ("500-", "give a range"), ("-5", "give a range"), ("5000+", "the longest history has")],
)
def test_a_bad_range_is_refused_in_one_line(home: Path, given: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        evaluate(baseline="popularity", data="walkers", users_with=given, home=home)

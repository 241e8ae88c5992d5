from collections import Counter
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchrec.config import TrainingConfig
from patchrec.data.histories import Example, window_start
from patchrec.training.batches import Batches, draws, group_trees, pass_seed, plan_epoch

windows = st.sampled_from(["sliding", "anchored"])


@st.composite
def example_lists(draw, min_size=0):
    lengths = draw(st.lists(st.integers(1, 40), min_size=min_size, max_size=8))
    K, kind = draw(st.integers(1, 20)), draw(windows)
    return [
        Example(user, window_start(position, K, kind), position)
        for user, length in enumerate(lengths)
        for position in range(1, length + 1)
    ]


def training(**values):
    return TrainingConfig(**values)


@settings(max_examples=50, deadline=None)
@given(example_lists(), st.integers(1, 30), st.integers(1, 3), st.integers(-5, 2**70))
def test_every_example_is_learned_from_once_an_epoch(examples, batch_size, epochs, seed):
    batches = Batches(examples, training(batch_size=batch_size, epochs=epochs), seed, stage="finetune")
    seen: dict[int, list[Example]] = {}
    for step in batches.steps():
        seen.setdefault(step.epoch, []).extend(example for tree in step.trees for example in tree)
    assert all(Counter(epoch) == Counter(examples) for epoch in seen.values())
    assert len(seen) == (epochs if examples else 0)


@settings(max_examples=50, deadline=None)
@given(example_lists(), st.integers(1, 30), st.integers(0, 9))
def test_a_tree_is_never_split_and_a_step_stays_near_the_batch_size(examples, batch_size, seed):
    trees = group_trees(examples, batch_size)
    steps = plan_epoch(trees, batch_size, seed, 0, "finetune")
    assert Counter(tree for step in steps for tree in step) == Counter(trees)
    sizes = [sum(map(len, step)) for step in steps]
    assert all(size < 2 * batch_size for size in sizes)
    for size, (_, after) in zip(sizes, pairwise(steps), strict=False):
        assert abs(size - batch_size) <= abs(size + len(after[0]) - batch_size)


@settings(max_examples=50, deadline=None)
@given(example_lists(), st.integers(1, 30))
def test_a_tree_is_one_users_consecutive_targets_of_one_start(examples, max_targets):
    for tree in group_trees(examples, max_targets):
        assert len({(example.user, example.start) for example in tree}) == 1
        assert [b.position - a.position for a, b in pairwise(tree)] == [1] * (len(tree) - 1)
        assert len(tree) <= max_targets


def test_a_tree_larger_than_the_batch_becomes_consecutive_chunks():
    examples = [Example(0, 0, position) for position in range(1, 8)]
    assert [len(tree) for tree in group_trees(examples, 3)] == [3, 3, 1]


@settings(max_examples=50, deadline=None)
@given(example_lists(min_size=1), st.integers(1, 30), st.integers(1, 3), st.integers(1, 40))
def test_the_number_of_steps_and_targets_is_exact(examples, batch_size, epochs, max_steps):
    whole = Batches(examples, training(batch_size=batch_size, epochs=epochs), 0, stage="finetune")
    cut = Batches(examples, training(batch_size=batch_size, epochs=epochs, max_steps=max_steps), 0, stage="finetune")
    steps = list(cut.steps())
    assert cut.num_steps == len(steps) == min(max_steps, whole.num_steps)
    assert cut.num_targets == sum(step.num_targets for step in steps)
    assert [step.trees for step in steps] == [step.trees for step in whole.steps()][: len(steps)]


@settings(max_examples=50, deadline=None)
@given(example_lists(min_size=1), st.integers(1, 10), st.integers(1, 3), st.integers(0, 60))
def test_steps_from_a_number_are_the_rest_of_all_steps(examples, batch_size, epochs, first):
    batches = Batches(examples, training(batch_size=batch_size, epochs=epochs), 3, stage="finetune")
    assert list(batches.steps(first)) == list(batches.steps())[first:]


def test_progress_goes_from_zero_to_one_over_the_real_number_of_steps():
    examples = [Example(user, 0, 1) for user in range(10)]
    steps = list(Batches(examples, training(batch_size=2, max_steps=4), 0, stage="finetune").steps())
    assert [step.progress for step in steps] == [0 / 3, 1 / 3, 2 / 3, 3 / 3]
    assert [step.number for step in steps] == [0, 1, 2, 3]


def test_a_run_of_one_step_stays_at_progress_zero():
    (step,) = Batches([Example(0, 0, 1)], training(), 0, stage="finetune").steps()
    assert step.progress == 0.0


def test_order_depends_on_seed_epoch_and_stage_and_on_nothing_else():
    trees = group_trees([Example(user, 0, 1) for user in range(50)], 8)
    keys = list(product((0, 1), (0, 1), ("pretrain", "finetune")))
    orders = {key: plan_epoch(trees, 8, *key) for key in keys}
    assert len({tuple(order) for order in orders.values()}) == 8
    np.random.seed(7)
    assert all(plan_epoch(trees, 8, *key) == order for key, order in orders.items())


@settings(max_examples=50, deadline=None)
@given(example_lists(min_size=1), st.integers(1, 30))
def test_a_tree_draws_one_number_for_each_position_of_its_longest_history(examples, max_targets):
    for tree in group_trees(examples, max_targets):
        assert len(draws(1, 0, 2, tree)) == max(example.position - example.start for example in tree)


def test_draws_change_with_seed_epoch_step_user_and_tree():
    def tree(user, position=9):
        return (Example(user, 0, position),)

    keys = [(0, 0, 0, tree(0)), (1, 0, 0, tree(0)), (0, 1, 0, tree(0)), (0, 0, 1, tree(0))]
    keys += [(0, 0, 0, tree(1)), (0, 0, 0, tree(0, 8))]
    rows = {tuple(draws(*key)[:8]) for key in keys}
    assert len(rows) == len(keys)


def test_trees_of_one_target_draw_for_every_target_and_whole_trees_once():
    examples = [Example(0, 0, position) for position in range(1, 33)]
    numbers = {size: [draws(0, 0, 0, tree)[0] for tree in group_trees(examples, size)] for size in (1, 32)}
    assert len(set(numbers[1])) == 32
    assert len(numbers[32]) == 1


@settings(max_examples=50, deadline=None)
@given(example_lists(min_size=1), st.integers(1, 30), st.integers(1, 40))
def test_no_tree_holds_more_targets_than_asked_for(examples, batch_size, tree_targets):
    asked = training(batch_size=batch_size, tree_targets=tree_targets)
    steps = list(Batches(examples, asked, 0, stage="finetune").steps())
    assert max(len(tree) for step in steps for tree in step.trees) <= min(batch_size, tree_targets)
    assert Counter(example for step in steps for tree in step.trees for example in tree) == Counter(examples)


def test_smaller_trees_fill_a_step_from_more_users():
    examples = [Example(user, 0, position) for user in range(30) for position in range(1, 33)]

    def users(tree_targets):
        steps = Batches(examples, training(batch_size=32, tree_targets=tree_targets), 0, stage="finetune").steps()
        return np.mean([len(step.users) for step in steps])

    assert users(None) == 1
    assert users(8) > 3
    assert users(1) > 15


def test_draws_are_uniform():
    trees = [(Example(user, 0, 100),) for user in range(10)]
    numbers = np.concatenate([draws(0, 0, step, tree) for step in range(20) for tree in trees])
    assert numbers.min() >= 0
    assert numbers.max() < 1
    # the mean of n uniform numbers has a standard deviation of sqrt(1 / 12 n): five of them are all but impossible
    assert numbers.mean() == pytest.approx(0.5, abs=5 * (1 / (12 * len(numbers))) ** 0.5)


def test_torch_is_seeded_differently_at_every_step():
    assert len({pass_seed(seed, step, number) for seed in (0, 1) for step in range(100) for number in (0, 1)}) == 400

"""An epoch may take some targets of each user, drawn anew: which, is a matter of seed and epoch alone."""

import pytest
from tiny_training import make_config, make_dataset

from patchrec.config import HistoryConfig, TrainingConfig
from patchrec.data.histories import Example
from patchrec.training.batches import Batches, all_batches, draw_of_users

EPOCHS = 6


def batches_of(user_targets: int | None, seed: int = 0) -> Batches:
    training = TrainingConfig(batch_size=4, epochs=EPOCHS, tree_targets=1, user_targets=user_targets)
    config = make_config(("vanilla", {}), training=training, history=HistoryConfig(K=5), seed=seed)
    return all_batches(config, make_dataset())


def by_epoch(batches: Batches) -> list[list[Example]]:
    found: list[list[Example]] = [[] for _ in range(EPOCHS)]
    for step in batches.steps():
        found[step.epoch] += [example for tree in step.trees for example in tree]
    return found


@pytest.mark.parametrize("most", [1, 3])
def test_every_epoch_has_so_many_targets_of_each_user(most: int) -> None:
    batches = batches_of(most)
    drawn = by_epoch(batches)
    for examples in drawn:
        users = [example.user for example in examples]
        assert sorted(users) == sorted(user for user in range(5) for _ in range(most))
        assert len({(example.user, example.position) for example in examples}) == len(examples)
    assert batches.num_targets == EPOCHS * 5 * most
    assert len({tuple(sorted((one.user, one.position) for one in examples)) for examples in drawn}) > 1


def test_the_draw_is_of_seed_and_epoch_alone() -> None:
    assert by_epoch(batches_of(1)) == by_epoch(batches_of(1))
    assert by_epoch(batches_of(1)) != by_epoch(batches_of(1, seed=1))
    later = list(batches_of(1).steps(4))
    assert [step.trees for step in later] == [step.trees for step in list(batches_of(1).steps())[4:]]


def test_a_user_with_fewer_has_all_of_them() -> None:
    examples = [
        Example.at(user, position, 5, "sliding") for user, count in ((3, 2), (7, 5)) for position in range(count)
    ]
    drawn = draw_of_users(examples, 4, seed=0, epoch=0)
    assert [example.user for example in drawn] == [3, 3, 7, 7, 7, 7]
    assert [examples.index(example) for example in drawn] == sorted(examples.index(example) for example in drawn)


def test_without_a_limit_an_epoch_has_every_target() -> None:
    batches = batches_of(None)
    assert {len(examples) for examples in by_epoch(batches)} == {batches.num_targets // EPOCHS}
    assert batches.num_targets // EPOCHS > 5 * 3

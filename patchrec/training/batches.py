"""Which targets each step learns from, and the random numbers a strategy may use there.

Examples of one user whose histories start at the same position share a prefix: they form a tree and travel together, at
most `tree_targets` of them.
Order and draws are pure functions of stage, seed and where training stands, so nothing of them needs saving. No tokens
are counted here: the number of steps is known before any title is encoded.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from patchrec.config import STAGES, RunConfig, Stage, TrainingConfig
from patchrec.data.histories import Dataset, Example
from patchrec.errors import InputError, UsageError
from patchrec.history import FloatArray

Tree = tuple[Example, ...]

# The first word of each seed keeps the streams apart.
_ORDER, _DRAWS, _TORCH, _OF_USERS = 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step.

    Attributes:
        number: 0 at the first step of the run, whatever the epoch.
        progress: 0 at the first step of the run, 1 at the last.
        trees: Its examples, those that share a history's start together.
    """

    number: int
    epoch: int
    progress: float
    trees: tuple[Tree, ...]

    @property
    def num_targets(self) -> int:
        """Targets learned from in this step."""
        return sum(len(tree) for tree in self.trees)

    @property
    def users(self) -> list[int]:
        """User indices of this step, ascending."""
        return sorted({tree[0].user for tree in self.trees})


class Batches:
    """All steps of a run: every example once an epoch, or some of each user, cut short at `max_steps`.

    Attributes:
        num_steps: Steps of the whole run, exact.
        num_targets: Targets of all those steps.
    """

    def __init__(self, examples: Sequence[Example], training: TrainingConfig, seed: int, *, stage: Stage) -> None:
        self._most = min(training.batch_size, training.tree_targets or training.batch_size)
        self._trees = group_trees(examples, self._most)
        self._examples, self._user_targets = examples, training.user_targets
        self._batch_size = training.batch_size
        self._seed = seed
        self._stage = stage
        limit = training.max_steps
        self._epochs: list[int] = []  # steps taken of each epoch
        self.num_steps = self.num_targets = 0
        for epoch in range(training.epochs if examples else 0):
            if limit is not None and self.num_steps >= limit:
                break
            steps = self._plan(epoch)
            taken = steps if limit is None else steps[: limit - self.num_steps]
            self._epochs.append(len(taken))
            self.num_steps += len(taken)
            self.num_targets += sum(len(tree) for trees in taken for tree in trees)

    @property
    def longest_of_trees(self) -> list[Example]:
        """Of each tree the example with the longest history, of which the others' are begins."""
        return [tree[-1] for tree in self._trees]

    def _plan(self, epoch: int) -> list[tuple[Tree, ...]]:
        trees = self._trees
        if self._user_targets is not None:
            trees = group_trees(draw_of_users(self._examples, self._user_targets, self._seed, epoch), self._most)
        return plan_epoch(trees, self._batch_size, self._seed, epoch, self._stage)

    def steps(self, first: int = 0) -> Iterator[Step]:
        """Steps from number `first` on.

        Source: PatchRec's patch pre-training raises p = step / total steps from 0 to 1. Counting steps from 0, that
        quotient never reaches 1; we divide by one step less, so that the last step compresses everything.
        """
        number = 0
        for epoch, taken in enumerate(self._epochs):
            if number + taken <= first:
                number += taken
                continue
            for trees in self._plan(epoch)[:taken]:
                if number >= first:
                    yield Step(number, epoch, number / max(1, self.num_steps - 1), trees)
                number += 1


def all_batches(
    config: RunConfig, dataset: Dataset, learnable: Callable[[list[Example]], list[Example]] | None = None
) -> Batches:
    """The steps that a run takes.

    Args:
        config: Of the run.
        dataset: Where examples come from.
        learnable: Gives those of the examples that can be learned from, one at least; None: all can.

    Raises:
        UsageError: It is no training run. InputError: The data set has no training targets.
    """
    if config.training is None:
        raise UsageError(f"a {config.stage} run needs a training configuration")
    examples = dataset.examples("train", config.history.K, config.history.windows)
    if not examples:
        least = "one item" if dataset.min_history == 1 else f"{dataset.min_history} items"
        raise InputError(
            f"data set {dataset.name!r} has no training targets: no user has more than {least} in the train split; "
            "give more data or another split"
        )
    if learnable is not None:
        examples = learnable(examples)
    return Batches(examples, config.training, config.seed, stage=config.stage)


def draw_of_users(examples: Sequence[Example], most: int, seed: int, epoch: int) -> list[Example]:
    """At most so many examples of each user, drawn for an epoch; they stay in the order given."""
    users = np.array([example.user for example in examples], dtype=np.int64)
    order = np.lexsort((_generator(_OF_USERS, seed, epoch).random(len(users)), users))
    first = np.searchsorted(users[order], users[order])  # where the user's own begin
    return [examples[index] for index in np.sort(order[np.arange(len(users)) - first < most]).tolist()]


def group_trees(examples: Sequence[Example], max_targets: int) -> list[Tree]:
    """Group examples by (user, start) in the order given; a larger group becomes consecutive trees of `max_targets`."""
    groups: dict[tuple[int, int], list[Example]] = {}
    for example in examples:
        groups.setdefault((example.user, example.start), []).append(example)
    return [
        tuple(group[first : first + max_targets])
        for group in groups.values()
        for first in range(0, len(group), max_targets)
    ]


def plan_epoch(trees: Sequence[Tree], batch_size: int, seed: int, epoch: int, stage: Stage) -> list[tuple[Tree, ...]]:
    """Shuffle trees and cut them into steps, each as near to `batch_size` targets as whole trees allow.

    A step ends where one more tree would take it further from `batch_size` than it is; so it never holds more than
    twice that. Each stage has an order of its own: a short fine-tuning would else begin with the targets that the
    pre-training of the same seed began with.
    """
    steps: list[tuple[Tree, ...]] = []
    step: list[Tree] = []
    size = 0
    for index in _generator(_ORDER, seed, epoch, STAGES.index(stage)).permutation(len(trees)):
        tree = trees[index]
        if step and abs(size + len(tree) - batch_size) >= abs(size - batch_size):
            steps.append(tuple(step))
            step, size = [], 0
        step.append(tree)
        size += len(tree)
    return [*steps, tuple(step)] if step else steps


def draws(seed: int, epoch: int, step: int, tree: Tree) -> FloatArray:
    """Uniform numbers in [0, 1), one for each position of a tree's longest history.

    Examples of one tree agree, and so share what is compressed; two trees of one user draw apart. With trees of one
    target every target has draws of its own, as in the paper.
    """
    first, last = tree[0], tree[-1]
    return _generator(_DRAWS, seed, epoch, step, first.user, first.position).random(last.position - first.start)


def pass_seed(seed: int, step: int, number: int) -> int:
    """Seed of torch's own generators at a forward pass of a step, which only dropout uses."""
    return int(_sequence(_TORCH, seed, step, number).generate_state(1, np.uint64)[0])


def _generator(*words: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(_sequence(*words)))


def _sequence(*words: int) -> np.random.SeedSequence:
    return np.random.SeedSequence([word % 2**64 for word in words])

"""What a step learns: its examples as token forests with labels, and the loss at the labelled nodes.

Every example is planned by every planner, and becomes the path `prompt + answer`. Paths that begin alike share nodes,
and an answer that a later example holds as history is no branch: `grow` merges it. Each answer token is a label of the
node before it, so the sum over labels is the sum that one row per example would give. For an item head, the item itself
is a label of the node where the answer begins; with that head alone there is no answer in the path.

With `Branches` a title is asked for only where titles part: at every other node the catalog leaves no choice, and there
is nothing to learn. The path ends at the last such node, and the softmax is over the choices (`Labels.choices`). Summed
along a title that is minus the score `catalog`, by which titles are ranked.

With `Questions` something else is asked after a history than its next title, such as which of some candidates comes
next: the path goes on with the question, and its answer, one token, is the label.

Shapes: N nodes of a forest, n supervised nodes, m distinct labels, V vocabulary, C choices.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from patchrec.data.histories import Dataset
from patchrec.history import IntArray
from patchrec.model.forest import Forest, grow
from patchrec.model.loss import Choices, Labels
from patchrec.model.patching import PathEncoder
from patchrec.strategy import Moment, Planner
from patchrec.training.batches import Step, Tree, draws


class Branches(Protocol):
    """Where the titles of a catalog part: a trie, of whose nodes the learner knows no more than this."""

    def branching(self, item: int) -> tuple[IntArray, IntArray]:
        """The nodes on the way of an item's title that have several children.

        Returns:
            (b,) nodes, and (b,) how many tokens of the title stand before each, ascending.
        """
        ...

    def choices(self, nodes: IntArray) -> tuple[IntArray, IntArray]:
        """(C,) tokens of the children of some nodes, node after node, and (n,) how many each has."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A question after a prompt.

    Attributes:
        keys: (q,) that go on after the prompt's.
        answer: The token that is right.
        choices: (C,) tokens that can be answered, it among them; None: the whole vocabulary.
    """

    keys: IntArray
    answer: int
    choices: IntArray | None = None


class Questions(Protocol):
    """What is asked in place of the next title."""

    def of(self, tree: Tree, moment: Moment) -> Sequence[Asked]:
        """A question for each example of a tree; a pure function of both."""
        ...


@dataclass(frozen=True, slots=True)
class Heads:
    """Which heads a target is a label for.

    Attributes:
        title: The model's own, token by token.
        item: The item head.
        branches: Where titles part, to ask for them there alone; None asks for every token of the vocabulary.
        questions: What the model's own head is asked in place of the next title; None: that title.
    """

    title: bool = True
    item: bool = False
    branches: Branches | None = None
    questions: Questions | None = None


TITLE = Heads()
_NOTHING: IntArray = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One example under one planner.

    Attributes:
        path: (P,) keys of prompt and answer; the answer's end is a label alone, so it is left out.
        labels: Token ids of the answer, its end included, or up to where titles last part; the last stands after the
            path's last position. Empty where no title is asked for: then the path is the prompt alone.
        item: The target, where an item is asked for.
        branching: Where titles part on the way of this one; None: every label counts, against the whole vocabulary.
        choices: What can be answered to a question; None: the whole vocabulary, or no question.
    """

    path: IntArray
    labels: IntArray
    item: int | None = None
    branching: tuple[IntArray, IntArray] | None = None
    choices: IntArray | None = None

    @property
    def begin(self) -> int:
        """Position where the answer begins: the prompt's last."""
        return len(self.path) - max(1, len(self.labels))


@dataclass(frozen=True, slots=True, eq=False)
class LabelledForest:
    """One forward pass with what it shall say.

    Attributes:
        titles: Tokens that its nodes are asked for; None where no title is.
        items: Items that they are asked for; None where none is.
    """

    forest: Forest
    titles: Labels | None
    items: Labels | None


def label_step(
    step: Step,
    dataset: Dataset,
    encoder: PathEncoder,
    planners: Sequence[Planner],
    *,
    seed: int,
    max_nodes: int,
    heads: Heads = TITLE,
) -> list[LabelledForest]:
    """Plan a step's examples and grow its forests, of at most `max_nodes` nodes each.

    Where a tree's longest path takes more than half of that, its forests may hold twice the longest path: every part of
    a tree repeats the shared prefix, and without room beside it a tree would fall apart into single rows.
    """
    trees = [(tree, _moment(step, tree, seed)) for tree in step.trees]
    return label_trees(trees, dataset, encoder, planners, max_nodes=max_nodes, heads=heads)


def label_trees(
    trees: Sequence[tuple[Tree, Moment]],
    dataset: Dataset,
    encoder: PathEncoder,
    planners: Sequence[Planner],
    *,
    max_nodes: int,
    heads: Heads = TITLE,
) -> list[LabelledForest]:
    """Plan examples, each tree at its moment, and grow their forests (see `label_step`)."""
    parts: list[tuple[Sequence[Row], int]] = []
    for tree, moment in trees:
        rows = tree_rows(tree, dataset, encoder, planners, moment, heads)
        parts += split_rows(rows, max(max_nodes, 2 * max(len(row.path) for row in rows)))
    return [label_rows(rows, heads.branches) for rows in pack(parts, max_nodes)]


def _moment(step: Step, tree: Tree, seed: int) -> Moment:
    """Where training stands, with the draws of a tree."""
    return Moment(step.progress, draws(seed, step.epoch, step.number, tree))


def pack(parts: Sequence[tuple[Sequence[Row], int]], max_nodes: int) -> list[list[Row]]:
    """Fill forests with parts of known size, largest first, each into the first forest that has room.

    Sizes add up at most: parts in one forest share the prompt's head too.
    """
    packs: list[list[Row]] = []
    rooms: list[int] = []
    for rows, size in sorted(parts, key=lambda part: -part[1]):
        place = next((index for index, room in enumerate(rooms) if size <= room), len(packs))
        if place == len(packs):
            packs.append([])
            rooms.append(max_nodes)
        packs[place] += rows
        rooms[place] -= size
    return packs


def tree_rows(
    tree: Tree,
    dataset: Dataset,
    encoder: PathEncoder,
    planners: Sequence[Planner],
    moment: Moment,
    heads: Heads = TITLE,
) -> list[Row]:
    """Plan the examples of a tree, planner by planner; each takes the draws of its own history."""
    rows = []
    asked = None if heads.questions is None else heads.questions.of(tree, moment)
    for planner in planners:
        for number, example in enumerate(tree):
            history = dataset.history(example)
            own = None if moment.draws is None else moment.draws[: len(history)]
            layout = planner.plan(history, Moment(moment.progress, own))
            if asked is not None:
                path = np.concatenate([encoder.prompt_path(history, layout), asked[number].keys])
                rows.append(Row(path, np.array([asked[number].answer]), choices=asked[number].choices))
                continue
            target = dataset.target(example)
            answer = encoder.answer_path(target) if heads.title else _NOTHING
            branching = None
            if heads.title and heads.branches is not None:
                branching = heads.branches.branching(target)
                answer = answer[: branching[1][-1] + 1 if len(branching[1]) else 0]
            path = np.concatenate([encoder.prompt_path(history, layout), answer[:-1]])
            rows.append(Row(path, answer, target if heads.item else None, branching))
    return rows


def split_rows(rows: Sequence[Row], max_nodes: int) -> list[tuple[Sequence[Row], int]]:
    """Halve rows until each part grows at most `max_nodes` nodes, or is one row; give the nodes of each part."""
    size = len(grow([row.path for row in rows])[0])
    if size <= max_nodes or len(rows) == 1:
        return [(rows, size)]
    half = len(rows) // 2
    return split_rows(rows[:half], max_nodes) + split_rows(rows[half:], max_nodes)


def label_rows(rows: Sequence[Row], branches: Branches | None = None) -> LabelledForest:
    """Grow one forest of rows and gather its labels; equal labels of one node count together."""
    forest, nodes = grow([row.path for row in rows])
    along = list(zip(rows, nodes, strict=True))
    items = [(path[[row.begin]], np.array([row.item])) for row, path in along if row.item is not None]
    if branches is not None:
        return LabelledForest(forest, _with_choices(along, branches), _counted(items))
    titles = _counted([(path[row.begin :], row.labels) for row, path in along if len(row.labels)])
    choices = {int(path[row.begin]): row.choices for row, path in along if row.choices is not None}
    if titles is not None and choices:
        own = [choices[node] for node in titles.nodes.tolist()]
        numbers = np.repeat(np.arange(len(own)), [len(one) for one in own])
        titles = replace(titles, choices=Choices(numbers, np.concatenate(own)))
    return LabelledForest(forest, titles, _counted(items))


def _with_choices(along: Sequence[tuple[Row, IntArray]], branches: Branches) -> Labels | None:
    """Labels where titles part, with what can be said there; None where they nowhere do.

    Args:
        along: Rows with the nodes of their paths.
        branches: Of the catalog.
    """
    asked, known = [], []
    for row, path in along:
        if row.branching is not None and len(row.labels):
            nodes, places = row.branching
            asked.append((path[row.begin + places], row.labels[places]))
            known.append((path[row.begin + places], nodes))
    labels = _counted(asked)
    if labels is None:
        return None
    # no title holds what ends a prompt, a separator or a patch: a node of the forest stands at one node of the trie
    at, parting = (np.concatenate(column) for column in zip(*known, strict=True))
    classes, counts = branches.choices(parting[np.unique(at, return_index=True)[1]])  # in the order of labels.nodes
    return replace(labels, choices=Choices(np.repeat(np.arange(len(counts)), counts), classes))


def _counted(asked: Sequence[tuple[IntArray, IntArray]]) -> Labels | None:
    """Labels of nodes with what each is asked for; None where nothing is asked."""
    if not asked:
        return None
    pairs = np.stack([np.concatenate(column) for column in zip(*asked, strict=True)])
    distinct, counts = np.unique(pairs, axis=1, return_counts=True)
    supervised, which = np.unique(distinct[0], return_inverse=True)
    return Labels(supervised, which, distinct[1], counts)

"""What a model that ranks candidates by letters is asked in training: which of some items comes next.

Source: Yue et al., LlamaRec, 2023, and its published code, which trains on the target among 19 items drawn at random
that the user has not had, in random order, and asks after the retriever's best 20 in their order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from patchrec.data.histories import Dataset, Example
from patchrec.history import IntArray
from patchrec.model.letters import Letters
from patchrec.model.patching import PathEncoder
from patchrec.ranking.lettered import Retriever
from patchrec.recommender import Query
from patchrec.strategy import Moment
from patchrec.training.batches import Tree
from patchrec.training.objective import Asked


@dataclass(frozen=True, eq=False)
class LetteredQuestions:
    """Which letter has the next item? See `patchrec.training.objective.Questions`.

    Attributes:
        dataset: Where examples come from.
        encoder: A lettered prompt, and titles.
        letters: One for each candidate.
        retriever: Gives the candidates where none are drawn, and always without draws: when something is measured.
        drawn: Whether the others are drawn from what the user has not had; else they are the retriever's best.
        among_letters: Whether the softmax is over the candidates' letters; else over the vocabulary.
    """

    dataset: Dataset
    encoder: PathEncoder
    letters: Letters
    retriever: Retriever
    drawn: bool
    among_letters: bool

    def of(self, tree: Tree, moment: Moment) -> Sequence[Asked]:
        """A question for each example; the target takes the last place where the retriever does not find it."""
        targets = [self.dataset.target(example) for example in tree]
        if moment.draws is not None and self.drawn:
            return [
                self._asked(self._draw(example, target, self._random(example, moment)), target)
                for example, target in zip(tree, targets, strict=True)
            ]
        found = self.retriever.ask([Query.of(self.dataset, example) for example in tree])
        asked = []
        for example, target, (_, items) in zip(tree, targets, found, strict=True):
            own = items if target in items else np.append(items[: self.retriever.count - 1], target)
            if moment.draws is not None:
                own = self._random(example, moment).permutation(own)
            asked.append(self._asked(own, target))
        return asked

    def _asked(self, items: IntArray, target: int) -> Asked:
        keys = self.letters.listed(self.encoder.prompt, self.encoder.titles, items)
        tokens = self.letters.tokens[: len(items)]
        answer = int(tokens[np.flatnonzero(items == target)[0]])
        return Asked(keys, answer, tokens if self.among_letters else None)

    def _draw(self, example: Example, target: int, random: np.random.Generator) -> IntArray:
        """The target among items that the user has not had, in random order."""
        is_free = np.ones(len(self.dataset.catalog), dtype=np.bool_)
        is_free[self.dataset.seen(example)] = False
        is_free[target] = False
        free = np.flatnonzero(is_free)
        others = random.choice(free, min(self.retriever.count - 1, len(free)), replace=False)
        return np.asarray(random.permutation(np.append(others, target)), dtype=np.int64)

    @staticmethod
    def _random(example: Example, moment: Moment) -> np.random.Generator:
        """A generator of an example's own, made from the draw of its newest item: no other of its tree ends there."""
        assert moment.draws is not None
        newest = moment.draws[example.position - example.start - 1 : example.position - example.start]
        return np.random.Generator(np.random.Philox(int(newest.sum() * 2**53)))

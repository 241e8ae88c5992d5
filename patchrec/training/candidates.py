"""What a model that ranks candidates by letters is asked in training: which of some items comes next.

Two ways. `drawn`: the target among items drawn at random that the user has not had, in random order. `retrieved`: what
the retriever finds, in its order, as when the run ranks; targets that it does not find are left out, since put among
the others they would teach that the odd one is right.

Source: Yue et al., LlamaRec, 2023; its published code draws 19 items at random, and asks after the retriever's best 20
in their order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from patchrec.data.histories import Dataset, Example
from patchrec.errors import InputError
from patchrec.history import IntArray
from patchrec.model.letters import Letters
from patchrec.model.patching import PathEncoder
from patchrec.ranking.lettered import Retriever
from patchrec.recommender import Query
from patchrec.strategy import Moment
from patchrec.training.batches import Tree
from patchrec.training.objective import Asked

_BLOCK = 256  # examples that the retriever is asked at a time


@dataclass(frozen=True, eq=False)
class LetteredQuestions:
    """Which letter has the next item? See `patchrec.training.objective.Questions`.

    Attributes:
        dataset: Where examples come from.
        encoder: A lettered prompt, and titles.
        letters: One for each candidate.
        retriever: Gives the candidates where none are drawn, and always without draws: when something is measured.
        drawn: Whether the others are drawn; else they are the retriever's best.
        among_letters: Whether the softmax is over the candidates' letters; else over the vocabulary.
    """

    dataset: Dataset
    encoder: PathEncoder
    letters: Letters
    retriever: Retriever
    drawn: bool
    among_letters: bool
    _found: dict[tuple[int, int], IntArray] = field(default_factory=dict)

    def learnable(self, examples: list[Example]) -> list[Example]:
        """Examples whose target is among what the retriever finds, which is kept; all where the others are drawn.

        Raises:
            InputError: There is none.
        """
        if self.drawn:
            return examples
        for start in range(0, len(examples), _BLOCK):
            block = examples[start : start + _BLOCK]
            for example, items in zip(block, self._retrieve(block), strict=True):
                if self.dataset.target(example) in items:
                    self._found[example.user, example.position] = items.astype(np.int32)
        kept = [example for example in examples if (example.user, example.position) in self._found]
        if not kept:
            raise InputError(
                f"none of {len(examples):,} training targets is among the retriever's best {self.retriever.count}; "
                "take another run, more --candidates, or --others drawn"
            )
        return kept

    def of(self, tree: Tree, moment: Moment) -> Sequence[Asked]:
        """A question for each example.

        Where something is measured, a target that the retriever does not find takes the last place.
        """
        if moment.draws is None:
            found = zip(tree, self._retrieve(tree), strict=True)
            return [self._asked(example, self._with_target(example, items)) for example, items in found]
        if self.drawn:
            return [self._asked(example, self._draw(example, moment)) for example in tree]
        return [self._asked(example, self._found[example.user, example.position]) for example in tree]

    def _retrieve(self, examples: Sequence[Example]) -> list[IntArray]:
        """(n,) the retriever's best after each example, best first."""
        return [items for _, items in self.retriever.ask([Query.of(self.dataset, example) for example in examples])]

    def _with_target(self, example: Example, items: IntArray) -> IntArray:
        target = self.dataset.target(example)
        return items if target in items else np.append(items[: self.retriever.count - 1], target)

    def _asked(self, example: Example, items: IntArray) -> Asked:
        keys = self.letters.listed(self.encoder.prompt, self.encoder.titles, items)
        tokens = self.letters.tokens[: len(items)]
        answer = int(tokens[np.flatnonzero(items == self.dataset.target(example))[0]])
        return Asked(keys, answer, tokens if self.among_letters else None)

    def _draw(self, example: Example, moment: Moment) -> IntArray:
        """The target among items that the user has not had, in random order: a pure function of example and draws."""
        assert moment.draws is not None
        # the draw of the newest item, which is no other's of the tree
        newest = moment.draws[example.position - example.start - 1 : example.position - example.start]
        random = np.random.Generator(np.random.Philox(int(newest.sum() * 2**53)))
        is_free = np.ones(len(self.dataset.catalog), dtype=np.bool_)
        is_free[self.dataset.seen(example)] = False
        is_free[self.dataset.target(example)] = False
        free = np.flatnonzero(is_free)
        others = random.choice(free, min(self.retriever.count - 1, len(free)), replace=False)
        drawn = np.append(others, self.dataset.target(example))
        return np.asarray(random.permutation(drawn), dtype=np.int64)

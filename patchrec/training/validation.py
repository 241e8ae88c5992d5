"""The training objective on validation targets: always the same targets under the same layouts, learned from never."""

import time
from collections.abc import Sequence

from patchrec.data.histories import Example
from patchrec.store.runs import ValidationRow
from patchrec.strategy import EVALUATION
from patchrec.training.batches import group_trees
from patchrec.training.learner import Learner
from patchrec.training.objective import label_trees


class Validation:
    """Some targets, planned as an evaluation plans them and grown into forests once.

    Attributes:
        tokens: Nodes of these forests.
    """

    def __init__(self, learner: Learner, examples: Sequence[Example]) -> None:
        self._learner = learner
        self._targets = len(examples)
        self._encoder = learner.encoder.fresh()
        self._forests = label_trees(
            [(tree, EVALUATION) for tree in group_trees(examples, len(examples))],
            learner.dataset,
            self._encoder,
            learner.planners,
            max_nodes=learner.training.max_nodes,
        )
        self.tokens = sum(len(labelled.forest) for labelled in self._forests)

    def measure(self, step: int) -> ValidationRow:
        """Their mean loss under the weights as they are after a step.

        Raises:
            OutOfResourcesError: A forest does not fit in memory.
        """
        begun = time.perf_counter()
        loss = self._learner.measure(self._encoder, self._forests)
        return ValidationRow(step, loss, self.tokens, self._targets, time.perf_counter() - begun)

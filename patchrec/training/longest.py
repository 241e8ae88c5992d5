"""The longest path that a run would need, against the positions that its model has; no forest is made.

A window's path is bounded by its items as text, which is one sum for each; only windows beyond the limit are planned.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from patchrec.data.histories import Dataset, Example
from patchrec.errors import UsageError
from patchrec.history import IntArray
from patchrec.model.patching import PathEncoder
from patchrec.model.positions import Positions
from patchrec.reporting import Reporter
from patchrec.strategy import EVALUATION, Planner

PLANNED = 2000  # windows at most: those longest as text


@dataclass(frozen=True, slots=True)
class Longest:
    """A prompt with the longest answer after it.

    Attributes:
        positions: Of both.
        prompt: Of the prompt alone.
        user: Whose.
    """

    positions: int
    prompt: int
    user: int


def longest_beyond(
    most: int,
    examples: Sequence[Example],
    dataset: Dataset,
    encoder: PathEncoder,
    planners: Sequence[Planner],
    *,
    answers: bool,
    asked: int = 0,
) -> Longest | None:
    """The longest path of some examples where it is beyond `most` positions; None where none is.

    Args:
        most: Positions that there are.
        examples: Whose prompts; of those with one window the longest is enough.
        dataset: Theirs.
        encoder: Prompt and titles.
        planners: Each lays each history out.
        answers: Whether titles follow the prompt.
        asked: Positions of what is asked after it, where that is no title.
    """
    answer = asked + (int(encoder.titles.lengths.max()) if answers else 0)
    around = len(encoder.prompt.head) + len(encoder.prompt.tail)
    as_text = around + text_lengths(examples, dataset, encoder) + answer
    order = np.argsort(-as_text, kind="stable")[:PLANNED]
    found: Longest | None = None
    for place in order[as_text[order] > most].tolist():
        history = dataset.history(examples[place])
        for planner in planners:
            prompt = encoder.num_positions(history, planner.plan(history, EVALUATION))
            if prompt + answer > max(most, found.positions if found else 0):
                found = Longest(prompt + answer, prompt, examples[place].user)
    return found


def text_lengths(examples: Sequence[Example], dataset: Dataset, encoder: PathEncoder) -> IntArray:
    """(E,) positions of the histories of some examples as text, separators included."""
    items, offsets = dataset.sequences.items, dataset.sequences.offsets
    before = np.concatenate([[0], np.cumsum(encoder.titles.lengths[items] + 1)])
    users = np.array([example.user for example in examples], dtype=np.int64)
    starts = np.array([example.start for example in examples], dtype=np.int64)
    stops = np.array([example.position for example in examples], dtype=np.int64)
    lengths: IntArray = before[offsets[users] + stops] - before[offsets[users] + starts]
    return lengths


def refuse_longer(
    positions: Positions,
    name: str,
    K: int,
    examples: Sequence[Example],
    dataset: Dataset,
    encoder: PathEncoder,
    planners: Sequence[Planner],
    report: Reporter,
    *,
    answers: bool,
    asked: int = 0,
) -> None:
    """Hold the paths of a run to the positions of its model.

    Args:
        positions: Of the model.
        name: Its name.
        K: Items of a history at most.
        examples, dataset, encoder, planners, answers, asked: See `longest_beyond`.
        report: Told where the model computes positions that it was not made for.

    Raises:
        UsageError: It has no vectors for so many.
    """
    if positions.most is None or not examples:
        return
    found = longest_beyond(positions.most, examples, dataset, encoder, planners, answers=answers, asked=asked)
    if found is None:
        return
    user = dataset.sequences.user_ids[found.user]
    told = (
        f"the longest prompt, of user {user!r}, has {found.prompt:,} positions, {found.positions:,} with the longest "
        f"answer, and {name} has {positions.most:,}"
    )
    way = f"take a lower --K (now {K}), a strategy that compresses more, or a lower --max-title-tokens"
    if positions.learned:
        raise UsageError(f"{told}; {way}")
    report.note(f"{told}; it computes further ones, which it was never trained on: {way}")

"""Splits: which position of each user is train, validation or test, and in which order equal times stand.

Rules, each with its own weakness:
    paper          cuts at two moments for all users (48 : 1 : 1 of all interactions), in the published order of ties
                   (`tie_order`). As `temporal`: most users have no test target.
    temporal       cuts at two moments for all users. Nothing after a cut is in training, of no user; users who came
                   late have no training part, and users who left early no target.
    leave-one-out  each user's last is test, the one before validation. Every user is tested, but the model trains on
                   other users' choices from after the target.
    ratio          the same weakness; each user's sequence is cut at fractions of its length.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationError, model_validator

from patchrec.config import Closed
from patchrec.data.histories import Sequences
from patchrec.data.interactions import Interactions
from patchrec.data.tie_order import numpy_quicksort_order
from patchrec.errors import UsageError, flag_of, unknown, wrong_values
from patchrec.history import FloatArray, IntArray

Rule = Literal["paper", "temporal", "leave-one-out", "ratio"]
RULES: tuple[Rule, ...] = ("paper", "temporal", "leave-one-out", "ratio")
TIMED_RULES = ("paper", "temporal")

PAPER_MIN_HISTORY = 3
"""Targets need three earlier items. Source: the paper's published samples."""


class Split(Closed):
    """A rule and its fractions; what is left of train and validation is test. Leave-one-out ignores the fractions."""

    rule: Rule = "temporal"
    train: float = Field(0.8, gt=0, le=1)
    validation: float = Field(0.1, ge=0, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _paper_is_fixed(cls, values: dict[str, Any]) -> dict[str, Any]:
        fixed = {"train": 0.96, "validation": 0.02} if values.get("rule") == "paper" else {}
        if any(values.get(key, value) != value for key, value in fixed.items()):
            raise ValueError(
                "the paper's rule is 0.96 train, 0.02 validation; use the rule 'temporal' for other fractions"
            )
        return {**values, **fixed}

    @model_validator(mode="after")
    def _fits(self) -> "Split":
        if fraction_of(self.train) + fraction_of(self.validation) > 1:
            raise ValueError(f"train {self.train} and validation {self.validation} are more than 1 together")
        return self

    @property
    def min_history(self) -> int:
        """Fewest items before a target."""
        return PAPER_MIN_HISTORY if self.rule == "paper" else 1


def choose_split(rule: str, train: float | None = None, validation: float | None = None) -> Split:
    """The split that a user named; fractions that are None are the rule's own.

    Raises:
        UsageError: No such rule, or fractions that do not fit it.
    """
    if rule not in RULES:
        raise UsageError(unknown("split rule", rule, RULES))
    given = {key: value for key, value in {"train": train, "validation": validation}.items() if value is not None}
    if rule == "leave-one-out" and given:
        raise UsageError(
            f"the split rule 'leave-one-out' has no fractions; drop {' and '.join(map(flag_of, given))}, or choose "
            "--split temporal or --split ratio"
        )
    try:
        return Split.model_validate({"rule": rule} | given)
    except ValidationError as error:
        raise UsageError(f"split {rule!r}: {wrong_values(error)}") from error


def split_of(rule: str | None, train: float | None, validation: float | None) -> Split | None:
    """The same where a rule need not be named; None leaves it to the data.

    Raises:
        UsageError: As `choose_split`, or fractions of no rule.
    """
    if rule is not None:
        return choose_split(rule, train, validation)
    if train is not None or validation is not None:
        raise UsageError("--train and --validation are fractions of a rule; name it: --split temporal or ratio")
    return None


@dataclass(frozen=True)
class Arranged:
    """Interactions in the order of each user's time, with their splits.

    Attributes:
        ratings: (n,) aligned with `sequences.items`, or None.
        about: The rule with its fractions and, for cuts in time, the last second of train and of validation.
    """

    sequences: Sequences
    ratings: FloatArray | None
    about: dict[str, Any]
    min_history: int


def arrange(interactions: Interactions, split: Split) -> Arranged:
    """Sort each user by time and cut by the rule.

    Equal times stand in file order (under the rule `paper` in the published order). Cuts are made at whole seconds,
    and equal seconds at a cut go to the earlier split, so that no later split begins before an earlier one ends.

    Raises:
        UsageError: The rule needs times and there are none.
    """
    milliseconds = interactions.milliseconds
    refuse_untimed(split, timed=milliseconds is not None)
    num_users = len(interactions.user_ids)
    lengths = np.bincount(interactions.users, minlength=num_users)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    order = _published_order(interactions, offsets) if split.rule == "paper" else _stable_order(interactions)
    seconds = None if milliseconds is None else milliseconds[order]
    if seconds is not None:
        seconds //= 1000
    train_stop, validation_stop, about = cut(split, offsets, seconds)
    sequences = Sequences(
        user_ids=interactions.user_ids,
        offsets=offsets,
        items=interactions.items[order].astype(np.int64),
        timestamps=seconds,
        train_stop=train_stop.astype(np.int64),
        validation_stop=validation_stop.astype(np.int64),
        sessions=None if interactions.sessions is None else interactions.sessions[order].astype(np.int64),
    )
    ratings = None if interactions.ratings is None else interactions.ratings[order]
    return Arranged(sequences, ratings, about, split.min_history)


def refuse_untimed(split: Split, *, timed: bool) -> None:
    """Refuse a rule that cuts at moments where there are no times.

    Raises:
        UsageError: The message names the rules that there are for it.
    """
    if split.rule in TIMED_RULES and not timed:
        raise UsageError(
            f"the split rule {split.rule!r} needs times; name their column with --time-col, or choose "
            "--split leave-one-out or --split ratio"
        )


def cut(split: Split, offsets: IntArray, seconds: IntArray | None) -> tuple[IntArray, IntArray, dict[str, Any]]:
    """Where the splits of every user end, by a rule.

    Args:
        split: The rule.
        offsets: (U + 1,) user u owns the interactions [offsets[u], offsets[u + 1]), oldest first.
        seconds: (n,) unix time of each, or None.

    Returns:
        (U,) positions below are train; (U,) positions below are train or validation; the rule with its fractions and,
        for cuts in time, the last second of train and of validation.
    """
    num_users, lengths = len(offsets) - 1, np.diff(offsets)
    about: dict[str, Any] = {"rule": split.rule}
    if split.rule == "leave-one-out":
        train_stop = np.where(lengths > 1, np.maximum(lengths - 2, 1), lengths)
        return train_stop, np.where(lengths > 1, lengths - 1, lengths), about
    about |= {"train": split.train, "validation": split.validation}
    until = [fraction_of(split.train), fraction_of(split.train) + fraction_of(split.validation)]
    if split.rule == "ratio":
        train_stop, validation_stop = (_floor_of(lengths, part) for part in until)
        return train_stop, validation_stop, about
    assert seconds is not None
    users: Any = np.repeat(np.arange(num_users, dtype=np.int32), lengths)  # half the room
    cuts = [_smallest(seconds, part) for part in until]
    about |= {"train_until": cuts[0], "validation_until": cuts[1]}
    train_stop, validation_stop = (_counts_until(users, seconds, moment, num_users) for moment in cuts)
    return train_stop, validation_stop, about


def _stable_order(interactions: Interactions) -> IntArray:
    """By user, then time, then place in the file."""
    if interactions.milliseconds is None:
        return np.argsort(interactions.users, kind="stable")
    milliseconds, users = interactions.milliseconds, interactions.users
    if (milliseconds[1:] >= milliseconds[:-1]).all():  # a log in the order of time
        return np.argsort(users, kind="stable")
    return np.lexsort((milliseconds, users))


def _published_order(interactions: Interactions, offsets: IntArray) -> IntArray:
    """By user, then time, then as the authors' NumPy left it."""
    assert interactions.milliseconds is not None
    order = np.argsort(interactions.users, kind="stable")
    times = interactions.milliseconds[order].tolist()
    for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        order[start:stop] = order[start:stop][numpy_quicksort_order(times[start:stop])]
    return order


def _smallest(seconds: IntArray, part: Fraction) -> int | None:
    """The floor(part * n)-th smallest value, counting from 1; None where that is the zeroth.

    Source: the rule that rebuilds the paper's splits; equal to its quantiles 0.96 and 0.98 as thresholds.
    """
    count = part * len(seconds) // 1
    return int(np.partition(seconds, count - 1)[count - 1]) if count else None


def _counts_until(users: IntArray, seconds: IntArray, cut: int | None, num_users: int) -> IntArray:
    """(U,) how many of each user's interactions are not after the cut."""
    inside = np.zeros(len(seconds), dtype=bool) if cut is None else seconds <= cut
    return np.bincount(users[inside], minlength=num_users)


def _floor_of(lengths: IntArray, part: Fraction) -> IntArray:
    """(U,) floor(part * length), exactly."""
    return lengths * part.numerator // part.denominator


def fraction_of(value: float) -> Fraction:
    """The fraction that was written: 0.1 is 1/10, not the float nearest to it."""
    return Fraction(repr(value))

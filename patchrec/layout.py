"""Spans over history positions and the layout they form: the whole output of a strategy."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from patchrec.history import IntArray


class Grain(StrEnum):
    """How fine a span of history is shown to the model."""

    TEXT = "text"  # every item by its title tokens
    ITEM = "item"  # every item as one item patch
    SESSION = "session"  # the whole span as one session patch
    DROPPED = "dropped"  # not shown


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """History positions `start <= position < stop` at one grain."""

    start: int
    stop: int
    grain: Grain

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Layout:
    """Spans that cover a history without gap or overlap, oldest first.

    Two layouts that show the same thing are equal: neighbours of one grain are one span (sessions stay apart,
    since each is a patch of its own). `Layout.of` joins them; the constructor takes joined spans only.
    """

    spans: tuple[Span, ...]

    def __post_init__(self) -> None:
        reached = 0
        before = None
        for span in self.spans:
            if not isinstance(span, Span) or not isinstance(span.grain, Grain):
                raise ValueError(f"a layout is made of Span(start, stop, Grain), got {span!r}")
            if span.start != reached or span.stop <= span.start:
                raise ValueError(f"spans must follow each other without gap from position {reached}, got {span!r}")
            if span.grain is before and before is not Grain.SESSION:
                raise ValueError(f"neighbours of one grain are one span, got another {span!r}; Layout.of joins them")
            reached, before = span.stop, span.grain

    @classmethod
    def of(cls, spans: Iterable[tuple[int, int, Grain]]) -> "Layout":
        """Build a layout: empty spans vanish, neighbours of one grain (sessions aside) join.

        Raises:
            ValueError: If the spans leave a gap or overlap, or a grain is none of `Grain`.
        """
        kept = [Span(int(start), int(stop), Grain(grain)) for start, stop, grain in spans if stop > start]
        joined: list[Span] = []
        for grain, run in groupby(kept, key=lambda span: span.grain):
            group = list(run)
            if grain is Grain.SESSION:
                joined += group
                continue
            for before, after in pairwise(group):
                if after.start != before.stop:
                    raise ValueError(f"gap or overlap between {before!r} and {after!r}")
            joined.append(Span(group[0].start, group[-1].stop, grain))
        return cls(tuple(joined))

    def __len__(self) -> int:
        """Number of history positions covered."""
        return self.spans[-1].stop if self.spans else 0

    @property
    def num_units(self) -> int:
        """How many units the prompt separates: titles, item patches and session patches."""
        return sum(
            1 if span.grain is Grain.SESSION else len(span) for span in self.spans if span.grain is not Grain.DROPPED
        )

    def num_positions(self, text: "IntArray", patch: int) -> int:
        """How many positions of a prompt the history takes.

        Args:
            text: (n,) positions of each item as text, its separator included.
            patch: Positions of a patch, its separator included where it has one.
        """
        total = 0
        for span in self.spans:
            if span.grain is Grain.TEXT:
                total += int(text[span.start : span.stop].sum())
            elif span.grain is not Grain.DROPPED:
                total += patch * (1 if span.grain is Grain.SESSION else len(span))
        return total

"""The history type: what a strategy sees of a user. It knows no titles, no tokens and no store.

The array types are built on first use: numpy takes a tenth of a second that `patchrec --help` must not wait for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    IntArray = npt.NDArray[np.int64]
    FloatArray = npt.NDArray[np.float64]
    BoolArray = npt.NDArray[np.bool_]
else:

    def __getattr__(name: str) -> object:
        if name not in ("IntArray", "FloatArray", "BoolArray"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import numpy as np
        import numpy.typing as npt

        kinds = {"IntArray": np.int64, "FloatArray": np.float64, "BoolArray": np.bool_}
        return npt.NDArray[kinds[name]]  # type: ignore[index]


@dataclass(frozen=True, slots=True, eq=False)
class Lengths:
    """How many positions of a prompt an item takes, separators included, under a model's tokenizer.

    Attributes:
        text: (I,) of each item of the catalog as text.
        patch: Of an item patch, and of a session patch.
    """

    text: IntArray
    patch: int


PER_ITEM = ("items", "timestamps", "sessions", "ratings")
"""What a history has for each of its items."""

Measure: TypeAlias = Callable[[], Lengths]
"""Gives the lengths when they are asked for: most strategies never ask, and a tokenizer is slow to read."""


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """The items a user interacted with before a target, oldest first.

    Attributes:
        items: (n,) catalog indices.
        timestamps: (n,) unix seconds, never decreasing; None where the data set has no times.
        start: Position of `items[0]` in the user's whole sequence: 0 unless older items were cut off.
        anchored: Whether `start` stays where it is for the user's next targets (windows cut at anchors), so that
            groups counted from the oldest item stay too.
        sessions: (n,) the session that each item belongs to, by a number that means nothing else; None where the data
            set names none.
        ratings: (n,) what the user gave each item, NaN where nothing; None where the data set has no ratings.
        fields: (I,) what the catalog tells of each of its items beside the title; None where it tells nothing.
        measure: Gives the lengths of the catalog's items; None where no model is known, as in a preview without one.
    """

    items: IntArray
    timestamps: IntArray | None = None
    start: int = 0
    anchored: bool = False
    sessions: IntArray | None = None
    ratings: FloatArray | None = None
    fields: Sequence[Mapping[str, Any]] | None = None
    measure: Measure | None = None

    def __len__(self) -> int:
        return len(self.items)

    @property
    def text_positions(self) -> IntArray | None:
        """(n,) positions that each item takes as text, its separator included; None where no model is known."""
        return None if self.measure is None else self.measure().text[self.items]

    @property
    def patch_positions(self) -> int | None:
        """Positions that a patch takes, its separator included where it has one; None where no model is known."""
        return None if self.measure is None else self.measure().patch

    def field(self, name: str) -> list[Any]:
        """(n,) a field of the catalog for each item, None where an item has none."""
        rows = self.fields
        return [None if rows is None else rows[item].get(name) for item in self.items.tolist()]

    def since(self, first: int) -> History:
        """The history without its first items."""
        arrays = ((name, getattr(self, name)) for name in PER_ITEM)
        kept: dict[str, Any] = {name: None if array is None else array[first:] for name, array in arrays}
        return replace(self, start=self.start + first, **kept)

    def without(self, span: slice) -> History:
        """The history as if the user had not done what stands in a range of it."""
        import numpy as np

        arrays = ((name, getattr(self, name)) for name in PER_ITEM)
        kept: dict[str, Any] = {name: None if array is None else np.delete(array, span) for name, array in arrays}
        return replace(self, **kept)

"""The history type: what a strategy sees of a user. It knows no titles, no tokens and no store.

The array types are built on first use: numpy takes a tenth of a second that `patchrec --help` must not wait for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    """

    items: IntArray
    timestamps: IntArray | None = None
    start: int = 0
    anchored: bool = False
    sessions: IntArray | None = None

    def __len__(self) -> int:
        return len(self.items)

    def without(self, span: slice) -> History:
        """The history as if the user had not done what stands in a range of it."""
        import numpy as np

        def rest(array: IntArray | None) -> IntArray | None:
            return None if array is None else np.delete(array, span)

        items = np.delete(self.items, span)
        return History(items, rest(self.timestamps), self.start, self.anchored, rest(self.sessions))

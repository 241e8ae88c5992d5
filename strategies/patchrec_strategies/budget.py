"""A budget of positions for each user's history, spent on the newest items first.

Ours; the PatchRec paper (SIGIR 2025) has sizes that are the same for all users.
"""

from bisect import bisect_right
from itertools import accumulate

from pydantic import Field

from patchrec.errors import UsageError
from patchrec.history import History
from patchrec.layout import Grain, Layout
from patchrec.options import Options
from patchrec.strategy import Moment, Strategy
from patchrec_strategies.sessions import session_spans


class BudgetOptions(Options):
    """How much a history may take of a prompt."""

    tokens: int = Field(
        256, ge=2, description="positions that a history may take, separators included; the prompt's own come on top"
    )


def plan(history: History, options: BudgetOptions, moment: Moment) -> Layout:
    """Half of a level for text, a quarter for item patches, a quarter for sessions; the highest level that fits.

    What a short history or a long title leaves of one share goes to the others, since the level goes on rising. A
    higher level shows every item at least as fine as a lower one, so a larger budget does, too.

    Raises:
        UsageError: No model is known, so nothing says how long a title is.
    """
    text, patch, n = history.text_positions, history.patch_positions, len(history)
    if text is None or patch is None:
        raise UsageError(
            "strategy budget counts tokens, and no model is named to count with; name one, such as "
            "--backbone smollm2-135m"
        )
    titles = list(accumulate(reversed(text.tolist()), initial=0))  # of the newest 0, 1, ... n

    def sizes(level: int) -> tuple[int, int, int]:
        """Items as text, items as patches, sessions."""
        newest = bisect_right(titles, level // 2) - 1
        items = min(level // 4 // patch, n - newest)
        return newest, items, min(max(1, level // 4 // patch), n - newest - items)

    def beyond(level: int) -> bool:
        newest, items, sessions = sizes(level)
        return bool(titles[newest] + patch * (items + sessions) > options.tokens)

    level = bisect_right(range(1, 2 * titles[-1] + 1), False, key=beyond)  # at twice all titles everything is text
    newest, items, sessions = sizes(level)
    old = n - newest - items
    groups = session_spans(_bounds(history, old, sessions))
    older = [(start, stop, Grain.ITEM if stop - start == 1 else grain) for start, stop, grain in groups]
    return Layout.of([*older, (old, old + items, Grain.ITEM), (old + items, n, Grain.TEXT)])


def _bounds(history: History, old: int, sessions: int) -> list[int]:
    """Bounds of so many sessions of the oldest items: at the longest pauses.

    Of equal pauses, and where there are no times, those a power of two away from the end come first: sessions of like
    size. The order of pauses is that of the whole history, so bounds stay when there are more sessions or fewer items.
    """
    times, n = history.timestamps, len(history)
    pauses = [0] * n if times is None else [0, *(times[1:] - times[:-1]).tolist()]

    def rank(bound: int) -> tuple[int, int, int]:
        away = bound if history.anchored else n - bound
        return -pauses[bound], -(away & -away), -bound

    return [0, *sorted(sorted(range(1, old), key=rank)[: max(0, sessions - 1)]), old]


STRATEGY = Strategy(
    "budget",
    "as much text, item patches and sessions as fit into a given number of tokens, newest first",
    plan,
    BudgetOptions,
)

"""What a user loved stays text, however old it is; what lies between is one session patch each."""

from itertools import groupby

from pydantic import Field

from patchrec.errors import UsageError
from patchrec.history import History
from patchrec.hookspecs import hookimpl
from patchrec.layout import Grain, Layout
from patchrec.options import Options
from patchrec.strategy import Moment, Strategy


class FavouritesOptions(Options):
    M: int = Field(5, ge=1, description="newest items kept as text")
    least: float = Field(5, description="rating from which an item is a favourite")
    most: int = Field(10, ge=0, description="favourites kept as text beside them, the newest first")
    field: str | None = Field(None, description="items of the newest item's value in this field are favourites, too")


def plan(history: History, options: FavouritesOptions, moment: Moment) -> Layout:
    """The newest M items and the newest favourites before them as text, what lies between as sessions."""
    if history.ratings is None and options.field is None:
        raise UsageError(
            "strategy favourites needs ratings, and this history has none; add the data set with --rating-col C, or "
            "name a field of the catalog: --field genres"
        )
    newest = max(0, len(history) - options.M)
    loved = [False] * newest
    if history.ratings is not None:
        loved = (history.ratings[:newest] >= options.least).tolist()
    if options.field is not None and newest:
        values = history.field(options.field)
        loved = [one or (value is not None and value == values[-1]) for one, value in zip(loved, values, strict=False)]
    kept = {place for place, one in enumerate(loved) if one}
    kept = set(sorted(kept, reverse=True)[: options.most])
    spans = []
    for is_text, run in groupby(range(len(history)), key=lambda place: place in kept or place >= newest):
        places = list(run)
        spans.append((places[0], places[-1] + 1, Grain.TEXT if is_text else Grain.SESSION))
    return Layout.of(spans)


STRATEGY = Strategy("favourites", "newest items and favourites as text, the rest in sessions", plan, FavouritesOptions)


@hookimpl
def patchrec_strategies() -> list[Strategy]:
    return [STRATEGY]

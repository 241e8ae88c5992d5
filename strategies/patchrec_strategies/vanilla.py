"""The whole history as text: what every compression is measured against."""

from patchrec.history import History
from patchrec.layout import Grain, Layout
from patchrec.options import Options
from patchrec.strategy import Moment, Strategy


def plan(history: History, options: Options, moment: Moment) -> Layout:
    """Every item by its title."""
    return Layout.of([(0, len(history), Grain.TEXT)])


STRATEGY = Strategy("vanilla", "every item as text, nothing compressed", plan)

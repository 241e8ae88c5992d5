"""Every item as one item patch, the mean of its title's token embeddings."""

from patchrec.history import History
from patchrec.layout import Grain, Layout
from patchrec.options import Options
from patchrec.strategy import Moment, Strategy


def plan(history: History, options: Options, moment: Moment) -> Layout:
    """Every item as an item patch."""
    return Layout.of([(0, len(history), Grain.ITEM)])


STRATEGY = Strategy("item-mean", "every item as one item patch", plan)

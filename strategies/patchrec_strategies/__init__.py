"""The built-in strategies, one file each, brought through the same hook as anyone's."""

from patchrec.hookspecs import hookimpl
from patchrec.strategy import Strategy
from patchrec_strategies import (
    budget,
    dropout,
    item_mean,
    patch_pretraining,
    pft_i,
    pft_s,
    session_by_count,
    session_by_time_window,
    vanilla,
)


@hookimpl
def patchrec_strategies() -> list[Strategy]:
    """Return all of them, plainest first; the newest ones after them."""
    files = (
        vanilla,
        item_mean,
        session_by_count,
        session_by_time_window,
        pft_i,
        pft_s,
        dropout,
        patch_pretraining,
        budget,
    )
    return [file.STRATEGY for file in files]

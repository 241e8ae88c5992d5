"""Work that several processes share: each takes what no other is at, and waits for what others have taken."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from patchrec.errors import InterruptedRunError, OutOfResourcesError, PatchrecError, StoreBusyError
from patchrec.reporting import Reporter
from patchrec.store import Store
from patchrec.store.runs import Run

PAUSE = 1.0  # seconds between two looks at what others do


def share(
    names: Sequence[str],
    is_done: Callable[[Store, Run], bool],
    work: Callable[[Run], object],
    *,
    home: Path | None,
    report: Reporter,
) -> dict[str, str]:
    """Do what has to be done with each of some runs, once by all processes that are at it.

    A run whose process ended without a word is taken over. One that fails is tried once: again only where it had failed
    before this began.

    Args:
        names: Of the runs, in the order in which they are tried.
        is_done: Whether nothing is left to do with one.
        work: Does it.
        home: Folder of the store.
        report: Where it is told that others are waited for.

    Returns:
        Why it failed, by the name of the run; empty where all is done.

    Raises:
        InterruptedRunError: Stopped by a signal. OutOfResourcesError, StoreBusyError: Nothing else would fare better.
    """
    failed: dict[str, str] = {}
    told = False
    with Store.open(home) as store:
        before = {run.name: run.finished_at for run in store.runs.all() if run.status == "failed"}
        while True:
            elsewhere = []
            for name in names:
                if name in failed or is_done(store, store.runs.get(name)):
                    continue
                with store.claims.held(f"fit {name}") as mine:
                    run = store.runs.get(name)  # as it is now that nobody else takes it
                    if mine and is_done(store, run):
                        continue
                    if not mine or run.status == "running":
                        elsewhere.append(name)
                        continue
                    if run.status == "failed" and before.get(name) != run.finished_at:
                        failed[name] = run.error or "failed"
                        continue
                    try:
                        work(run)
                    except (InterruptedRunError, OutOfResourcesError, StoreBusyError):
                        raise
                    except PatchrecError as error:
                        failed[name] = str(error)
            if not elsewhere:
                return failed
            if not told:
                report.note(f"another process is at {', '.join(elsewhere)}; waiting for it")
                told = True
            time.sleep(PAUSE)

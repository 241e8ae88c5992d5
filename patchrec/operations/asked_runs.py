"""Runs that another run asks: what that is called, and whether they answer as they did. A listing reads no more."""

import hashlib
import json
from typing import TYPE_CHECKING

from patchrec.store import Store
from patchrec.store.runs import Run

if TYPE_CHECKING:
    from patchrec.config import RunConfig


def asking_words(asking: "RunConfig | Run") -> tuple[str, str]:
    """What a run does with the runs that it asks, and how another one is made."""
    if asking.stage == "blend":
        return "mixes", "blend again with `patchrec blend RUN RUN`"
    return "reads", f"make another with `patchrec {asking.command}`"


def stamp(store: Store, run: Run) -> str:
    """What a run answers with: its score and its checkpoint's files (hex, 16 digits). No name is given to two runs."""
    saved = store.runs.checkpoints(run.name)
    files = saved[-1].manifest["files"] if saved else None
    made_of = {"score": run.score, "item_weight": run.item_weight, "fingerprints": run.fingerprints, "files": files}
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]

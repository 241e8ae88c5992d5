"""patchrec: LLM-based sequential recommendation over long histories.

The front door for programs (`docs/python.md`): `add_dataset`, `pretrain`, `finetune`, `baseline`, `evaluate`, `load`
and `Store`. They are imported when they are first used, so that `import patchrec` takes no time.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from patchrec.api import RunRecommender, add_dataset, load
    from patchrec.operations.evaluate import evaluate
    from patchrec.operations.training.train import baseline, finetune, pretrain
    from patchrec.store import Store

__version__ = "0.1.0"
__all__ = [
    "RunRecommender", "Store", "__version__", "add_dataset", "baseline", "evaluate", "finetune", "load", "pretrain",
]  # fmt: skip

# Waiting threads of OpenMP spin by default, on the cores that other programs' threads need: two programs on one machine
# then take twenty times as long as one. torch reads this once, when it is first imported; what a user set stays.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# On a CPU a product in bfloat16 is compiled for each shape, 2 MB of it, and a thousand are kept; twice, since torch's
# bridge to oneDNN keeps as many itself. No two forests have one shape: those of one or two are enough.
for _cache in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
    os.environ.setdefault(_cache, "64")

_WHERE = {
    "RunRecommender": "patchrec.api",
    "add_dataset": "patchrec.api",
    "load": "patchrec.api",
    "evaluate": "patchrec.operations.evaluate",
    "baseline": "patchrec.operations.training.train",
    "finetune": "patchrec.operations.training.train",
    "pretrain": "patchrec.operations.training.train",
    "Store": "patchrec.store",
}


def __getattr__(name: str) -> Any:
    """A name of the front door, imported when it is first used."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_WHERE[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted(__all__)

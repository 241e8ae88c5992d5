"""Verb: the whole way once, from ratings to recommendations, on real data and a real language model.

Every step is the same operation that its own command calls; what a former demo left is used again.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchrec.operations.backbones import find_backbone
from patchrec.operations.comparison import compare_runs
from patchrec.operations.datasets import add_dataset
from patchrec.operations.evaluate import evaluate
from patchrec.operations.recommend import Recommendations, recommend
from patchrec.operations.training.train import RunResult, finetune
from patchrec.reporting import SILENT, Reporter, WithoutNotes
from patchrec.store import Store

DATA = "ml-100k"
BACKBONE = "smollm2-135m"
STRATEGY, HEAD = "item-mean", "item"
METRIC = "ndcg@10"
USER = "42"


@dataclass(frozen=True, slots=True)
class Size:
    """How much the demo does: enough to recommend well, little enough for two CPU cores and eight minutes.

    Attributes:
        layers: First layers of the backbone that are kept.
        max_steps: Steps of training at most; None takes the whole of each epoch.
        targets: A sample of so many test targets; None takes all.
    """

    layers: int = 4
    epochs: int = 3
    max_steps: int | None = None
    targets: int | None = None
    backbone: str = BACKBONE


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo found.

    Attributes:
        comparison: Popularity and the fine-tuned model on the same targets; see `compare_runs`.
        seconds: Wall time of this call.
    """

    finetuned: RunResult
    comparison: dict[str, Any]
    recommendations: Recommendations
    seconds: float


def demo(size: Size = Size(), *, home: Path | None = None, report: Reporter = SILENT) -> Demo:
    """Fetch, fine-tune an item head over item patches, evaluate it against popularity, recommend.

    Raises:
        NotFoundError: Data or model are nowhere to be had.
    """
    started = time.perf_counter()
    where: dict[str, Any] = {"home": home, "report": report}
    report.note("1/4 data and model")
    with Store.open(home) as store:
        if DATA not in store.datasets.names():
            report.note(f"licence of {DATA}: {add_dataset(DATA, **where)['licence']}")
        find_backbone(store, size.backbone, report)
    report.note(
        f"2/4 fine-tuning the first {size.layers} layers: every item of a history one patch (item-mean), and an item "
        "head that ranks the catalog"
    )
    finetuned = finetune(
        strategy=STRATEGY, head=HEAD, data=DATA, backbone=size.backbone, start="none", layers=size.layers,
        epochs=size.epochs, max_steps=size.max_steps, reuse=True, **where,
    )  # fmt: skip
    report.note("3/4 ranking the whole catalog for held-out targets, by popularity and by the model")
    # the comparison below says once how sure it is
    common: dict[str, Any] = {"limit": size.targets, "reuse": True, "home": home, "report": WithoutNotes(report)}
    popularity = evaluate(baseline="popularity", data=DATA, **common)
    evaluate(finetuned.run, **common)
    report.note(f"4/4 recommending for user {USER}")
    recommendations = recommend(user=USER, run=finetuned.run, k=5, **where)
    comparison = compare_runs([popularity.run, finetuned.run], metric=METRIC, home=home)
    return Demo(finetuned, comparison, recommendations, time.perf_counter() - started)

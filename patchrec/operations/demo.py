"""Verb: the whole way once, from ratings to recommendations, on real data and a real language model.

Every step is the same operation that its own command calls; what a former demo left is used again.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchrec.errors import CheckFailedError
from patchrec.operations.backbones import find_backbone
from patchrec.operations.blend import blend
from patchrec.operations.comparison import compare_runs
from patchrec.operations.datasets import add_dataset
from patchrec.operations.evaluate import evaluate
from patchrec.operations.recommend import Recommendations, recommend
from patchrec.operations.training.train import RunResult, baseline, finetune
from patchrec.reporting import SILENT, Reporter, WithoutNotes
from patchrec.store import Store

DATA = "ml-100k"
BACKBONE = "smollm2-135m"
STRATEGY, HEAD = "item-mean", "item"
LENDER = "gru4rec"
NEIGHBOURS = {
    "neighbours": 200,
    "shrink": 0.0,
    "decay": 0.7,
    "smoothing": 0.01,
}  # chosen on validation (docs/results.md)
METRIC = "ndcg@10"
USER = "42"


@dataclass(frozen=True, slots=True)
class Size:
    """How much the demo does: enough to recommend well, little enough for two CPU cores and eight minutes.

    Attributes:
        layers: First layers of the backbone that are kept.
        epochs: Of fine-tuning.
        max_steps: Steps of each training at most; None takes the whole of each epoch.
        targets: A sample of so many test targets; None takes all.
    """

    layers: int = 4
    epochs: int = 2
    max_steps: int | None = None
    targets: int | None = None
    backbone: str = BACKBONE


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo found.

    Attributes:
        best: The run that mixes the fine-tuned model with the others; the model alone where no mixture is better.
        comparison: Popularity, the fine-tuned model and the blend on the same targets; see `compare_runs`.
        seconds: Wall time of this call.
    """

    finetuned: RunResult
    best: str
    comparison: dict[str, Any]
    recommendations: Recommendations
    seconds: float


def demo(size: Size = Size(), *, home: Path | None = None, report: Reporter = SILENT) -> Demo:
    """Fetch, fit what lends and what mixes, fine-tune an item head over item patches, evaluate, recommend.

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
    report.note(f"2/4 a small recurrent model over items ({LENDER}), which lends its item vectors, and neighbours")
    common: dict[str, Any] = {"data": DATA, "max_steps": size.max_steps, "reuse": True, **where}
    lender = baseline(LENDER, **common).run
    neighbours = baseline("item-knn", options=NEIGHBOURS, data=DATA, reuse=True, **where).run
    report.note(
        f"3/4 fine-tuning the first {size.layers} layers: every item of a history one patch (item-mean) with its lent "
        "vector, and an item head that ranks the catalog"
    )
    finetuned = finetune(
        strategy=STRATEGY, head=HEAD, head_options={"vectors": lender}, backbone=size.backbone, start="none",
        layers=size.layers, epochs=size.epochs, **common,
    )  # fmt: skip
    report.note("4/4 mixing the three, and ranking the whole catalog for held-out targets")
    # the comparison below says once how sure it is
    quietly: dict[str, Any] = {"home": home, "report": WithoutNotes(report)}
    try:
        mixed = blend([finetuned.run, neighbours, lender], limit=size.targets, reuse=True, **quietly).run
    except CheckFailedError as error:
        report.note(str(error))
        mixed = finetuned.run
    asked: dict[str, Any] = {"limit": size.targets, "reuse": True, **quietly}
    popularity = evaluate(baseline="popularity", data=DATA, **asked).run
    shown = list(dict.fromkeys((finetuned.run, mixed)))
    for run in shown:
        evaluate(run, **asked)
    recommendations = recommend(user=USER, run=mixed, k=5, **where)
    comparison = compare_runs([popularity, *shown], metric=METRIC, home=home)
    return Demo(finetuned, mixed, comparison, recommendations, time.perf_counter() - started)

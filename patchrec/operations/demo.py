"""Verb: the whole way once, from ratings to recommendations, on real data and a real language model.

Every step is the same operation that its own command calls; what a former demo left is used again.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchrec.operations.backbones import find_backbone
from patchrec.operations.datasets import add_dataset
from patchrec.operations.evaluate import evaluate
from patchrec.operations.recommend import Recommendations, recommend
from patchrec.operations.runs import compare_runs
from patchrec.operations.training.train import RunResult, finetune, pretrain
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store

DATA = "ml-100k"
BACKBONE = "smollm2-135m"
STRATEGY, OPTIONS = "pft-s", {"L": 5}
USER = "42"


@dataclass(frozen=True, slots=True)
class Size:
    """How much the demo does: enough to see learning, little enough for two CPU cores and eight minutes."""

    pretrain_steps: int = 6
    pretrain_batch: int = 64
    finetune_steps: int = 12
    finetune_batch: int = 128
    targets: int = 60
    backbone: str = BACKBONE


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo found.

    Attributes:
        comparison: Popularity, untrained and fine-tuned on the same targets; see `compare_runs`.
        seconds: Wall time of this call.
    """

    pretrained: RunResult
    finetuned: RunResult
    comparison: dict[str, Any]
    recommendations: Recommendations
    seconds: float


def demo(size: Size = Size(), *, home: Path | None = None, report: Reporter = SILENT) -> Demo:
    """Fetch, pre-train, fine-tune, evaluate against popularity and the untrained model, recommend.

    Raises:
        NotFoundError: Data or model are nowhere to be had.
    """
    started = time.perf_counter()
    where: dict[str, Any] = {"home": home, "report": report}
    report.note("1/5 data and model")
    with Store.open(home) as store:
        if DATA not in store.datasets.names():
            report.note(f"licence of {DATA}: {add_dataset(DATA, **where)['licence']}")
        find_backbone(store, size.backbone, report)
    report.note("2/5 patch pre-training: every target as text, and with ever more items compressed")
    pretrained = pretrain(
        data=DATA, backbone=size.backbone, max_steps=size.pretrain_steps, batch_size=size.pretrain_batch,
        reuse=True, **where,
    )  # fmt: skip
    report.note("3/5 fine-tuning with session patches (pft-s)")
    finetuned = finetune(
        strategy=STRATEGY, options=OPTIONS, data=DATA, start=pretrained.run, max_steps=size.finetune_steps,
        batch_size=size.finetune_batch, reuse=True, **where,
    )  # fmt: skip
    report.note(f"4/5 ranking the whole catalog for {size.targets} held-out targets, three times")
    common: dict[str, Any] = {"limit": size.targets, "reuse": True, **where}
    untrained = evaluate(finetuned.run, baseline="untrained", **common)
    popularity = evaluate(baseline="popularity", data=DATA, **common)
    evaluate(finetuned.run, **common)
    report.note(f"5/5 recommending for user {USER}")
    recommendations = recommend(user=USER, run=finetuned.run, k=5, **where)
    comparison = compare_runs([untrained.run, popularity.run, finetuned.run], metric="log_prob", home=home)
    return Demo(pretrained, finetuned, comparison, recommendations, time.perf_counter() - started)

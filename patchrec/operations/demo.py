"""Verb: the whole way once, from ratings to recommendations, on real data or on yours.

Every step is the same operation that its own command calls; what a former demo left is used again.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from patchrec.config import SplitName
from patchrec.data.histories import Dataset
from patchrec.data.item_features import known_fields
from patchrec.errors import UsageError
from patchrec.operations.backbones import find_backbone, small_backbone
from patchrec.operations.blend import AloneIsBestError, blend
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
# what is mixed with the model, and its options
COUNTS: Mapping[str, dict[str, Any]] = {
    "item-knn": {"neighbours": 200, "shrink": 0.0, "decay": 0.7, "smoothing": 0.01},  # by validation (docs/results.md)
    "markov": {},
    "content": {},
}
IN_WORDS = {"item-knn": "neighbours", "markov": "transitions", "content": "likeness of fields and titles"}
METRIC = "ndcg@10"
USER = "42"
WEIGHED = 1000  # validation targets that choose the weights of a mixture on one's own data


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
        best: The run that mixes the fine-tuned model with the others. Where no mixture is better: on one's own data
            the one that is best alone, else the model.
        comparison: Popularity, what is compared with it and the best run, on the same targets; see `compare_runs`.
        seconds: Wall time of this call.
    """

    finetuned: RunResult
    best: str
    comparison: dict[str, Any]
    recommendations: Recommendations
    seconds: float


@dataclass(frozen=True, slots=True)
class _Course:
    """What differs between the demo's own data and another's.

    Attributes:
        counts: Which of `COUNTS` are mixed.
        own: Whether the data are the caller's: each part has a row beside the model and the blend, and the recurrent
            model lends no item vectors.
        settings: Of fine-tuning.
        weighed: Choose the weights of the mixture on a sample of so many targets; None: on all.
        what: Is fine-tuned, in words.
    """

    data: str
    user: str
    backbone: str
    counts: tuple[str, ...]
    own: bool
    what: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    weighed: int | None = None


def demo(size: Size = Size(), *, data: str | None = None, home: Path | None = None, report: Reporter = SILENT) -> Demo:
    """Fetch, fit what lends and what mixes, fine-tune an item head over item patches, evaluate, recommend.

    Args:
        size: How much is done.
        data: A data set of the store, for which a small language model is made of its titles; None fetches
            MovieLens-100K and SmolLM2-135M.

    Raises:
        NotFoundError: Data or model are nowhere to be had. UsageError: The data set lacks targets to choose by, or to
            test on.
    """
    started = time.perf_counter()
    where: dict[str, Any] = {"home": home, "report": report}
    report.note("1/4 data and model")
    course = _real_data(size, **where) if data is None else _own_data(data, **where)
    report.note(f"2/4 {_fitted(course)}")
    common: dict[str, Any] = {"data": course.data, "max_steps": size.max_steps, "reuse": True, **where}
    lender = baseline(LENDER, **common).run
    counts = [baseline(name, options=COUNTS[name], data=course.data, reuse=True, **where).run for name in course.counts]
    # not last of all: the newest run of a data set is what others suggest to recommend with
    popularity = baseline("popularity", data=course.data, reuse=True, **where).run
    report.note(f"3/4 fine-tuning {course.what}, and an item head that ranks the catalog")
    finetuned = finetune(
        strategy=STRATEGY, head=HEAD, head_options={} if course.own else {"vectors": lender},
        backbone=course.backbone, start="none", **course.settings, **common,
    )  # fmt: skip
    report.note("4/4 mixing them, and ranking the whole catalog for held-out targets")
    # the comparison below says once how sure it is
    quietly: dict[str, Any] = {"home": home, "report": WithoutNotes(report)}
    parts = [finetuned.run, *counts, lender]
    try:
        best = blend(parts, limit=size.targets or course.weighed, reuse=True, **quietly).run
    except AloneIsBestError as error:
        report.note(error.found)
        best = error.run if course.own else finetuned.run
    rows = [*counts, lender, finetuned.run] if course.own else [finetuned.run]
    shown = [*(run for run in rows if run != best), best]
    for run in [popularity, *shown]:
        evaluate(run, limit=size.targets, reuse=True, **quietly)
    recommendations = recommend(user=course.user, run=best, k=5, **where)
    comparison = compare_runs([popularity, *shown], metric=METRIC, home=home)
    return Demo(finetuned, best, comparison, recommendations, time.perf_counter() - started)


def _real_data(size: Size, home: Path | None, report: Reporter) -> _Course:
    """MovieLens-100K and a pretrained model, both fetched where they are not there."""
    with Store.open(home) as store:
        if DATA not in store.datasets.names():
            report.note(f"licence of {DATA}: {add_dataset(DATA, home=home, report=report)['licence']}")
        dataset = _with_targets(store, DATA)
        find_backbone(store, size.backbone, report)
    return _Course(
        data=DATA,
        user=USER if USER in dataset.sequences.user_ids else _typical_user(dataset),
        backbone=size.backbone,
        counts=_counts(dataset, own=False),
        own=False,
        what=f"the first {size.layers} layers: every item of a history one patch (item-mean) with its lent vector",
        settings={"layers": size.layers, "epochs": size.epochs},
    )


def _own_data(data: str, home: Path | None, report: Reporter) -> _Course:
    """A data set that is there, and a small model made of its titles."""
    with Store.open(home) as store:
        dataset = _with_targets(store, data)
    return _Course(
        data=data,
        user=_typical_user(dataset),
        backbone=small_backbone(data, home=home, report=report),
        counts=_counts(dataset, own=True),
        own=True,
        weighed=WEIGHED,
        what="a small language model of the titles: every item of a history one patch (item-mean) with its own vector",
    )


def _with_targets(store: Store, data: str) -> Dataset:
    """A data set that has what every stage needs.

    Raises:
        NotFoundError: It is not there. UsageError: A split has no target.
    """
    dataset = store.datasets.load(data)
    needed: Mapping[SplitName, str] = {"train": "learn from", "validation": "choose by", "test": "test on"}
    for split, why in needed.items():
        if not dataset.num_targets(split):
            raise UsageError(
                f"{data} has no {split} target to {why}; see `patchrec data show {data}`, and add it again with "
                "--replace and another --split, --train or --validation"
            )
    return dataset


def _counts(dataset: Dataset, *, own: bool) -> tuple[str, ...]:
    """What is mixed with the model: `content` where items have anything to read, of one's own where some are new."""
    found = ("item-knn", "markov") if own else ("item-knn",)
    targets = [dataset.target(example) for example in dataset.examples("validation", 1)]
    if own and (dataset.popularity[targets] > 0).all():
        return found
    try:
        known_fields(dataset.catalog, None, titles=True)
    except UsageError:
        return found
    return (*found, "content")


def _typical_user(dataset: Dataset) -> str:
    """The first user with as many items as the median user has."""
    sizes = np.diff(dataset.sequences.offsets)
    return dataset.sequences.user_ids[int(np.argmin(np.abs(sizes - np.median(sizes))))]


def _fitted(course: _Course) -> str:
    """What is fitted beside the language model, in words."""
    *others, last = [IN_WORDS[name] for name in course.counts]
    counts = f"{', '.join(others)} and {last}" if others else last
    lends = ", " if course.own else ", which lends its item vectors, "
    return f"a small recurrent model over items ({LENDER}){lends}{counts}"

"""Runs whose answers or vectors a new run reads, named by options of its kind: found, checked, noted in its options."""

from collections.abc import Mapping

import numpy as np

from patchrec.config import PartConfig, RunConfig
from patchrec.data.histories import Dataset
from patchrec.errors import UsageError, flag_of
from patchrec.history import FloatArray
from patchrec.operations.asked_runs import stamp
from patchrec.operations.load import load
from patchrec.plugins import find_kind
from patchrec.recommender import BoundKind, Lender, refuse_unasked
from patchrec.reporting import Reporter
from patchrec.store import Store
from patchrec.store.runs import Run


def read_runs(store: Store, kind: BoundKind, dataset: str) -> tuple[BoundKind, tuple[PartConfig, ...]]:
    """The runs that the options of a kind name (`Kind.reads`, `Kind.vectors_of`).

    Args:
        store: Where they are.
        kind: With its option values.
        dataset: Of the new run.

    Returns:
        The kind with whole names in its options, and what a configuration keeps of each run that is read, in the kind's
        order.

    Raises:
        NotFoundError: No such run.
        UsageError: None is named, or it cannot be read: it is of another data set, is not done, or reads runs itself.
    """
    names, parts = {}, []
    for option in kind.kind.vectors_of:
        if (named := kind.options.values[option]) is not None:
            run = store.runs.get(str(named))
            _refuse_other(run, dataset, flag_of(option))
            names[option] = run.name
    for option in kind.kind.reads:
        flag, name = flag_of(option), kind.options.values[option]
        if name is None:
            raise UsageError(
                f"{kind.kind.what} {kind.kind.name} reads the answers of another run; give {flag} RUN, one of "
                "`patchrec runs ls`"
            )
        run = store.runs.get(str(name))
        _refuse(run, dataset, flag)
        names[option] = run.name
        parts.append(PartConfig(run=run.name, weight=1.0, history=run.config.history, stamp=stamp(store, run)))
    return (kind.kind.bind({**kind.options.values, **names}) if names else kind), tuple(parts)


def lent_vectors(store: Store, config: RunConfig, dataset: Dataset, report: Reporter) -> Mapping[str, FloatArray]:
    """Vectors of other runs' items that a run begins with, by the option of its kind that names the run.

    Args:
        store: Where they are.
        config: Of the run.
        dataset: Its data set.
        report: Where notes go.

    Returns:
        (I, W) of each; zeros for items that the run named does not know.

    Raises:
        NotFoundError: A run, or its checkpoint, is gone. UsageError: It has no such vectors.
    """
    found: dict[str, FloatArray] = {}
    for option in find_kind(config.kind.name).vectors_of:
        if (name := config.kind.options.get(option)) is None:
            continue
        run, flag = store.runs.get(str(name)), flag_of(option)
        recommender = load(store, run, report=report).recommender
        vectors = recommender.item_vectors() if isinstance(recommender, Lender) else None
        if vectors is None:
            raise UsageError(
                f"{flag}: run {run.name} is of kind {run.kind}, which has no vectors of items; name one that has, such "
                "as a run of `patchrec baseline sasrec`"
            )
        rows = np.zeros((len(dataset.catalog), vectors.shape[1]))
        known = min(len(rows), len(vectors))
        rows[:known] = vectors[:known]
        found[option] = rows
    return found


def _refuse(run: Run, dataset: str, flag: str) -> None:
    """Refuse a run that cannot be asked.

    Raises:
        UsageError: In one line.
    """
    kind = find_kind(run.kind)
    refuse_unasked(kind, run.name)
    _refuse_other(run, dataset, flag)
    if kind.reads:
        raise UsageError(
            f"{flag}: run {run.name} is of kind {run.kind}, which reads another run itself; name that run, or one "
            "that reads none"
        )


def _refuse_other(run: Run, dataset: str, flag: str) -> None:
    """Refuse a run of another data set, or one that is not done.

    Raises:
        UsageError: In one line.
    """
    if run.dataset != dataset:
        raise UsageError(
            f"{flag}: run {run.name} is on data set {run.dataset!r}, not {dataset!r}; name a run of the same data set"
        )
    if run.status != "done":
        raise UsageError(
            f"{flag}: run {run.name} is {run.status} and may answer otherwise later; {run.to_be_done}, or name one "
            "that is done"
        )

"""Runs whose answers a new run reads, named by options of its kind: found, checked, and noted in its configuration."""

from patchrec.config import PartConfig
from patchrec.errors import UsageError, flag_of
from patchrec.operations.load import stamp
from patchrec.plugins import find_kind
from patchrec.recommender import BoundKind, refuse_unasked
from patchrec.store import Store
from patchrec.store.runs import Run


def read_runs(store: Store, kind: BoundKind, dataset: str) -> tuple[BoundKind, tuple[PartConfig, ...]]:
    """The runs that the options of a kind name (`Kind.reads`).

    Args:
        store: Where they are.
        kind: With its option values.
        dataset: Of the new run.

    Returns:
        The kind with whole names in its options, and what a configuration keeps of each run, in the kind's order.

    Raises:
        NotFoundError: No such run.
        UsageError: None is named, or it cannot be read: it is of another data set, is not done, or reads runs itself.
    """
    if not kind.kind.reads:
        return kind, ()
    names, parts = {}, []
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
    return kind.kind.bind({**kind.options.values, **names}), tuple(parts)


def _refuse(run: Run, dataset: str, flag: str) -> None:
    """Refuse a run that cannot be read.

    Raises:
        UsageError: In one line.
    """
    kind = find_kind(run.kind)
    refuse_unasked(kind, run.name)
    if run.dataset != dataset:
        raise UsageError(
            f"{flag}: run {run.name} is on data set {run.dataset!r}, not {dataset!r}; name a run of the same data set"
        )
    if run.status != "done":
        raise UsageError(
            f"{flag}: run {run.name} is {run.status} and may answer otherwise later; name one that is done"
        )
    if kind.reads:
        raise UsageError(
            f"{flag}: run {run.name} is of kind {run.kind}, which reads another run itself; name that run, or one "
            "that reads none"
        )

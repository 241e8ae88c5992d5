"""Runs that learn nothing: an untrained model, weights under another strategy, a blend, another system's lists."""

from collections.abc import Mapping

from patchrec.config import RunConfig
from patchrec.operations.load import find_same, versions
from patchrec.operations.run_plugins import plugins_of
from patchrec.store import Store
from patchrec.store.marks import Marks
from patchrec.store.runs import Run


def same_or_made(
    store: Store,
    config: RunConfig,
    prints: Mapping[str, str],
    label: str,
    marks: Marks,
    prefix: str | None = None,
) -> Run:
    """The run of this configuration and these fingerprints, marked; made where there is none (`made`)."""
    same = find_same(store, config, prints)
    return made(store, config, prints, label, marks, prefix) if same is None else store.runs.mark(same.name, marks)


def made(
    store: Store,
    config: RunConfig,
    prints: Mapping[str, str],
    label: str,
    marks: Marks,
    prefix: str | None = None,
) -> Run:
    """A new run that is done as soon as it is there.

    Args:
        store: Where it is kept.
        config: Everything that determines it.
        prints: Its fingerprints (`patchrec.operations.load.fingerprints`).
        label: In words.
        marks: What its user says of it.
        prefix: Of a counted name; None: what it is.
    """
    with store.write():
        run = store.runs.create(
            config,
            label=label,
            versions=versions(),
            fingerprints=prints,
            plugins=plugins_of(config),
            prefix=prefix,
            marks=marks,
        )
        store.runs.finish(run.name, {})
    return store.runs.get(run.name)

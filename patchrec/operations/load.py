"""A run loaded for use: its data set and its recommender, checked to belong together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from patchrec import __version__
from patchrec.config import RunConfig, ScoreName
from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Example, Sequences, window_start
from patchrec.errors import NotFoundError, UsageError, flag_of
from patchrec.history import History, IntArray
from patchrec.operations.asked_runs import asking_words, stamp
from patchrec.operations.backbones import find_backbone
from patchrec.operations.run_plugins import has_the_same_plugins, refuse_changed_plugins
from patchrec.plugins import bind_kind, find_kind, is_builtin_kind
from patchrec.ranking.checked import CheckedRecommender, kind_errors
from patchrec.recommender import (
    Part,
    Query,
    Recommender,
    Saved,
    Search,
    nothing,
    refuse_retrieval,
    refuse_score,
    refuse_unasked,
)
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store
from patchrec.store.catalogs import CatalogVersion
from patchrec.store.runs import Run
from patchrec.store.versions import DataVersion
from patchrec.training.checkpoint import read_manifest
from patchrec.training.processes import Process

_TRIES = 10  # at reading a checkpoint that a running run may replace meanwhile
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class LoadedRun:
    """A run that answers. It holds no open store.

    Attributes:
        recommender: What ranks the data set's items.
    """

    run: Run
    dataset: Dataset
    recommender: Recommender

    def user_query(self, user: int, *, keep_seen: bool = False) -> Query:
        """What is asked after everything that a user of the data set did.

        Args:
            user: Index of the user.
            keep_seen: Rank what the user has had, too.
        """
        history = self.run.config.history
        position = len(self.dataset.sequences.items_of(user))
        example = Example.at(user, position, history.K, history.windows)
        return Query.of(self.dataset, example, keep_seen=keep_seen)

    def history_query(self, items: IntArray, *, keep_seen: bool = False) -> Query:
        """What is asked after a made-up history of catalog indices, oldest first."""
        history = self.run.config.history
        start = window_start(len(items), history.K, history.windows)
        fields = self.dataset.catalog.metadata or None
        past = History(items[start:], None, start, history.windows != "sliding", fields=fields)
        return Query(past, nothing() if keep_seen else np.unique(items))


def load(
    store: Store,
    run: Run,
    score: ScoreName | None = None,
    report: Reporter = SILENT,
    *,
    item_weight: float | None = None,
    search: Search = "best-first",
    max_tokens: int | None = None,
    retrieve: int | None = None,
    dataset: Dataset | None = None,
) -> LoadedRun:
    """Load a run's recommender, in float32 whatever it was trained in, with everything around it.

    Args:
        store: Where it is.
        run: Which.
        score: Ranks instead of the run's own score.
        report: Where notes go.
        item_weight: Of the item head in a mixture, instead of the run's own.
        search: `best-first` stops with a proof; `whole` scores everything.
        max_tokens: Positions run at a time; None chooses from free memory.
        retrieve: The run's item head proposes so many items, and only they are searched; None searches all.
        dataset: The run's, where it is in memory already.

    Raises:
        UsageError: The run cannot rank, has no such score, has nothing that proposes, or prompt, tokenizer, catalog,
            split or layouts are not those it was fitted with.
        NotFoundError: It has no checkpoint, or a plugin of it is gone.
        CorruptError: The checkpoint's bytes are not those written. PluginError: A third party's kind failed.
    """
    if run.status not in ("done", "running"):
        raise UsageError(
            f"run {run.name} is {run.status} and cannot rank; {run.to_be_done}, or choose a done one from `patchrec "
            "runs ls`"
        )
    refuse_changed_plugins(store, run, report)
    kind = find_kind(run.kind)
    refuse_unasked(kind, run.name)
    refuse_score(kind, score, run.name)
    if retrieve is not None:
        refuse_retrieval(kind, score or run.score, run.name)
    with store.read():
        dataset = dataset or store.datasets.load(run.dataset)
        learned = learned_from(store, run, dataset)
    saved = Saved(
        run.config,
        dataset,
        start=start_in_use(store, run, report) if run.config.language_model else None,
        score=score or run.score,
        item_weight=item_weight if item_weight is not None else run.item_weight,
        search=search,
        max_tokens=max_tokens,
        retrieve=retrieve,
        parts=load_parts(store, run.name, run.config, report),
        cache=store.run_folder(run.name),
        report=report,
    )

    def read(folder: Path | None) -> Recommender:
        found = replace(saved, folder=folder)
        prints = fingerprints(found)
        if learned is not None:
            prints["split"] = learned.version.fingerprint
            if folder is None:  # it counts when it is loaded, and shall count what it counted then
                found = replace(found, dataset=replace(dataset, sequences=learned.sequences))
        refuse_mismatch(run, prints, dataset.catalog, store.catalogs.versions(dataset.name))
        made_of = {part: value for part, value in prints.items() if part != "split"}  # what is kept knows no histories
        with kind_errors(kind.name):
            return kind.load(replace(found, stamp={**made_of, **versions()}))

    recommender = with_checkpoint(store, run, read)
    if learned is not None:
        now, there = store.versions.all(dataset.name)[-1], learned.version
        report.note(
            f"run {run.name} learned from version {there.version} of data set {dataset.name!r}, which has "
            f"{now.num_interactions - there.num_interactions:,} more interactions now, in version {now.version}"
        )
    if not is_builtin_kind(kind.name):
        recommender = CheckedRecommender(kind.name, recommender, dataset.catalog)
    return LoadedRun(run, dataset, recommender)


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """The earlier version of its data set that a run learned from.

    Attributes:
        sequences: Its interactions.
        places: (n,) where each of them stands among today's.
    """

    version: DataVersion
    sequences: Sequences
    places: IntArray


def learned_from(store: Store, run: Run, dataset: Dataset) -> Learned | None:
    """The version that a run learned from, read again; None where that is today's, or is none that is known.

    Args:
        store: Inside a `read`.
        run: Which.
        dataset: Its data set, read in that snapshot.

    Raises:
        CorruptError: It is not what its fingerprint says.
    """
    fingerprint = run.fingerprints.get("split", "")
    if fingerprint in {"", dataset.sequences.fingerprint}:
        return None
    version = store.versions.find(dataset.name, fingerprint)
    return (
        None
        if version is None
        else Learned(version, *store.versions.sequences(dataset.name, version, dataset.sequences))
    )


def refuse_no_items(k: int) -> None:
    """Refuse to recommend fewer items than one, or a part of one.

    Raises:
        UsageError: They are.
    """
    if not isinstance(k, int | np.integer):
        raise UsageError(f"k must be a whole number, got {k!r}")
    if k < 1:
        raise UsageError(f"k must be at least 1, got {k!r}")


def load_parts(store: Store, name: str, config: RunConfig, report: Reporter) -> tuple[Part, ...]:
    """The recommenders of other runs that a blend mixes, or that a kind reads; none for any other run.

    Args:
        store: Where they are.
        name: Of the run that asks them.
        config: Of it.
        report: Where notes go.

    Raises:
        NotFoundError: One is gone. UsageError: One is not what it was.
    """
    does, again = asking_words(config)
    parts = []
    for part in config.parts:
        if part.run in store.trash.names():
            raise NotFoundError(
                f"run {name} {does} run {part.run!r}, which is gone to the trash; take it back with `patchrec runs "
                f"restore {part.run}`, or {again}"
            )
        if part.run not in store.runs.names():
            raise NotFoundError(
                f"run {name} {does} run {part.run!r}, which is gone; {again}, or choose another run from `patchrec "
                "runs ls`"
            )
        own = store.runs.get(part.run)
        if stamp(store, own) != part.stamp:
            raise UsageError(
                f"run {name} {does} run {own.name} as it was: it has other weights or another score now; {again}"
            )
        parts.append(Part(load(store, own, report=report).recommender, part.weight, part.history))
    return tuple(parts)


def refuse_apart(config: RunConfig) -> None:
    """Refuse to train a run that reads other runs in several processes: process 0 alone has them.

    Raises:
        UsageError: It is to.
    """
    begins = any(config.kind.options.get(option) is not None for option in find_kind(config.kind.name).vectors_of)
    if (config.parts or begins) and Process.this_one().count > 1:
        raise UsageError(
            f"a run of kind {config.kind.name} reads another run and trains in one process; start it without torchrun"
        )


def with_checkpoint(store: Store, run: Run, use: Callable[[Path | None], T]) -> T:
    """Use the folder of a run's newest checkpoint, verified; None for a run that learned nothing.

    A run that trains meanwhile replaces its checkpoints: where the one in use was removed, its newest is used instead.

    Args:
        use: May be called again; what it gave up half-way is for it to clear.

    Raises:
        NotFoundError: There is none. CorruptError: Its bytes are not those written.
    """
    for left in reversed(range(_TRIES)):
        noted = store.runs.checkpoints(run.name)
        try:
            return use(checkpoint_folder(store, run))
        except Exception:
            if not left or run.status != "running" or not noted or noted[-1].path.exists():
                raise
    raise AssertionError


def checkpoint_folder(store: Store, run: Run) -> Path | None:
    """The folder of a run's newest checkpoint, verified; None for a run that learned nothing.

    Raises:
        NotFoundError: There is none. CorruptError: Its bytes are not those written.
    """
    saved = store.runs.checkpoints(run.name)
    if saved:
        mend = None
        if run.status == "done":
            mend = f"remove that folder, and {run.resume} makes the run anew"
            if not saved[-1].path.exists():
                raise NotFoundError(
                    f"run {run.name}: its checkpoint {saved[-1].path} is gone; {run.resume} makes it anew"
                )
        read_manifest(saved[-1].path, mend)
        return saved[-1].path
    if run.config.training is None and run.status == "done":
        return None
    raise NotFoundError(f"run {run.name} has no checkpoint yet; {run.to_be_done}")


def weights_folder(store: Store, run: Run, report: Reporter = SILENT) -> Path:
    """The folder of a run's language model, which other runs start from and `export` copies.

    Raises:
        UsageError: It has none. NotFoundError: It has no checkpoint. CorruptError: Its bytes are not those written.
    """
    if run.config.language_model is None:
        raise UsageError(f"run {run.name} has no language model; choose another from `patchrec runs ls`")
    folder = checkpoint_folder(store, run)
    if folder is not None:
        return folder / "model"
    start = start_folder(store, run.config, report)
    assert start is not None
    return start


def start_folder(store: Store, config: RunConfig, report: Reporter = SILENT) -> Path | None:
    """The folder of the weights that a run begins with: its parent's, or its backbone's; None where it has neither."""
    if config.backbone is None:
        return None
    if config.parent is not None:
        return weights_folder(store, store.runs.get(config.parent), report)
    return find_backbone(store, config.backbone, report).folder


def start_in_use(store: Store, run: Run, report: Reporter = SILENT) -> Path | None:
    """What a run begins with, for its use: one that has weights of its own gets it where it is at hand, else None.

    Nothing is fetched for such a run, which may not need it.
    """
    from patchrec.model.pull import find_here

    origin = run.config
    while origin.parent is not None and not store.runs.checkpoints(origin.parent):
        origin = store.runs.get(origin.parent).config
    if origin.parent is None and origin.backbone is not None and store.runs.checkpoints(run.name):
        found = find_here(origin.backbone, store.backbones.home)
        return None if found is None else found.folder
    return start_folder(store, run.config, report)


def further_starts(store: Store, config: RunConfig, report: Reporter = SILENT) -> dict[str, Path]:
    """Folders of the models that a run begins with beside its backbone, by role.

    Raises:
        NotFoundError: No such model, or nowhere to be had.
    """
    found: dict[str, Path] = {}
    for role, name in bind_kind(config.kind).options.backbones.items() if config.stage == "baseline" else ():
        try:
            found[role] = find_backbone(store, name, report).folder
        except NotFoundError as error:
            raise NotFoundError(str(error).replace("--backbone", flag_of(role))) from error
    return found


def fingerprints(saved: Saved) -> dict[str, str]:
    """What must be the same whenever a run is used again."""
    kind = find_kind(saved.config.kind.name)
    with kind_errors(kind.name):
        own = {} if kind.fingerprints is None else kind.fingerprints(saved)
    return {**own, "catalog": saved.dataset.catalog.fingerprint, "split": saved.dataset.sequences.fingerprint}


def refuse_mismatch(run: Run, now: Mapping[str, str], catalog: Catalog, versions: Sequence[CatalogVersion]) -> None:
    """Refuse to use a run with another prompt, tokenizer, catalog or split than it was trained with.

    A catalog that only got new items at its end is no other: every item that the run knows is where it was. Nor is a
    split that can be read again as it was (`learned_from`).

    Args:
        run: What is to be used.
        now: What `fingerprints` gives today, with the split that the run learned from where that can be read.
        catalog: Today's catalog.
        versions: Those that it had.

    Raises:
        UsageError: The message names the parts that differ.
    """
    differing = [part for part, value in run.fingerprints.items() if part in now and now[part] != value]
    if "catalog" in differing and _extends(catalog, run.fingerprints["catalog"], versions):
        differing.remove("catalog")
    if differing:
        raise UsageError(
            f"run {run.name} was trained with another {' and '.join(differing)} than data set {run.dataset!r} has now; "
            "train again, or restore the data set it was trained on"
        )


def _extends(catalog: Catalog, fingerprint: str, versions: Sequence[CatalogVersion]) -> bool:
    """Whether a catalog begins with the one of a fingerprint: the versions say how long it was, its items decide."""
    lengths = [version.num_items for version in versions if version.fingerprint == fingerprint]
    return any(catalog.prefix(length).fingerprint == fingerprint for length in lengths)


def versions() -> dict[str, str]:
    """Versions that a run's numbers depend on."""
    import torch

    others = {name: _installed(name) for name in ("transformers", "numpy")}
    return {"patchrec": __version__, "torch": str(torch.__version__), **others}


@cache
def _installed(package: str) -> str:
    """The version of a package, which stays what it was when this process began."""
    return metadata.version(package)


def pick_run(store: Store, name: str | None, data: str | None, report: Reporter) -> Run:
    """The named run, else the newest fine-tuned one, else the newest baseline that learned something; told as picked.

    Raises:
        NotFoundError: There is none, or no such data set.
    """
    if name is not None:
        named = store.runs.get(name)
        if data not in (None, named.dataset):
            raise UsageError(
                f"run {named.name} is on data set {named.dataset!r}, not {data!r}; drop --data or name another"
            )
        return named
    if data is not None:
        store.datasets.resolve(data)
    run = store.runs.newest(stage="finetune", dataset=data)
    if run is not None:
        report.picked("run", run.name, "the newest fine-tuned run")
        return run
    fitted = [run for run in store.runs.all() if (run.stage, run.status) == ("baseline", "done")]
    learned = [run for run in fitted if run.config.language_model is None and data in (None, run.dataset)]
    if not learned:
        raise NotFoundError(
            "no fine-tuned run yet; make one with `patchrec finetune --strategy pft-s --L 5`, or run `patchrec demo`"
        )
    report.picked("run", learned[-1].name, "the newest baseline, for nothing is fine-tuned yet")
    return learned[-1]


def find_same(store: Store, config: RunConfig, prints: Mapping[str, str], *, stopped: bool = False) -> Run | None:
    """The newest finished run of this very configuration and these fingerprints: what was made need not be again.

    Args:
        stopped: The newest instead that was stopped, and that these versions of the libraries can go on with.
    """
    wanted = ("interrupted", "lost") if stopped else ("done",)
    for run in reversed(store.runs.all()):
        alike = run.config == config and run.status in wanted and run.fingerprints == prints
        if alike and has_the_same_plugins(store, run) and (not stopped or run.versions == versions()):
            return run
    return None


def plain_options(options: dict[str, Any] | None) -> dict[str, Any]:
    """Option values that were given."""
    return {key: value for key, value in (options or {}).items() if value is not None}

"""A run made ready for use: its data set, model, encoder, strategy and title trie, checked to belong together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from patchrec import __version__
from patchrec.config import RunConfig, ScoreName
from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Example
from patchrec.errors import NotFoundError, UsageError
from patchrec.history import IntArray
from patchrec.model.backbone import Backbone
from patchrec.model.patching import PathEncoder
from patchrec.model.prompt import Prompt, build_prompt
from patchrec.model.tokenizer import encode_titles, load_tokenizer, tokenizer_fingerprint
from patchrec.operations.backbones import find_backbone
from patchrec.plugins import plan_for
from patchrec.ranking.items import precedence
from patchrec.ranking.kept import FILE_NAME, recall_or_build
from patchrec.ranking.ranker import Query, Ranker
from patchrec.ranking.scorer import TitleScorer
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store
from patchrec.store.catalogs import CatalogVersion
from patchrec.store.runs import Run
from patchrec.strategy import Planner
from patchrec.training.checkpoint import read_manifest

NOTHING: IntArray = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Ready:
    """Everything that ranking a prompt needs."""

    run: Run
    dataset: Dataset
    scorer: TitleScorer
    planner: Planner

    @property
    def ranker(self) -> Ranker:
        """Ranks the data set's items."""
        return Ranker(self.scorer, precedence(self.dataset.popularity), self.dataset.catalog.titles)

    def query(self, example: Example, *, keep_seen: bool = False) -> Query:
        """What is asked after the history of an example.

        Args:
            keep_seen: Rank what the user has had, too.
        """
        history = self.dataset.history(example)
        return Query(history, self.planner.plan(history), NOTHING if keep_seen else self.dataset.seen(example))


def make_ready(store: Store, run: Run, score: ScoreName | None = None, report: Reporter = SILENT) -> Ready:
    """Load a run's weights, in float32 whatever they were trained in, and everything around them.

    Args:
        score: Ranks instead of the run's own score.

    Raises:
        UsageError: The run cannot rank, or prompt, tokenizer, catalog or split are not those it was trained with.
        CorruptError: The checkpoint's bytes are not those written.
    """
    if run.status not in ("done", "running") or run.stage == "popularity":
        state = "has no model, only counts" if run.stage == "popularity" else f"is {run.status}"
        raise UsageError(f"run {run.name} {state} and cannot rank; choose a trained one from `patchrec runs ls`")
    dataset = store.datasets.load(run.dataset)
    folder = model_folder(store, run, report)
    backbone = Backbone.load(folder, name=run.config.backbone or run.name)
    prompt = build_prompt(load_tokenizer(folder), run.config.prompt)
    prints = fingerprints(dataset, prompt, folder)
    refuse_mismatch(run, prints, dataset.catalog, store.catalogs.versions(dataset.name))
    titles, trie = recall_or_build(
        store.run_folder(run.name) / FILE_NAME,
        {**prints, **versions()},
        lambda: encode_titles(folder, dataset.catalog.titles, prompt),
        prompt.end,
    )
    encoder = PathEncoder(prompt, titles, backbone.vocab_size)
    backbone.remember_items(encoder)
    planner = plan_for(run.config.strategies[-1])
    return Ready(run, dataset, TitleScorer(backbone, encoder, trie, score or run.score), planner)


def model_folder(store: Store, run: Run, report: Reporter = SILENT) -> Path:
    """The folder of a run's weights, verified; the backbone's for a run that trained nothing.

    Raises:
        NotFoundError: The run has no checkpoint. CorruptError: Its bytes are not those written.
    """
    if run.stage == "untrained":
        return find_backbone(store, str(run.config.backbone), report).folder
    saved = store.runs.checkpoints(run.name)
    if not saved:
        raise NotFoundError(f"run {run.name} has no checkpoint; go on with `patchrec {run.stage} --resume {run.name}`")
    folder = saved[-1].path
    read_manifest(folder)
    return folder / "model"


def fingerprints(dataset: Dataset, prompt: Prompt, folder: Path) -> dict[str, str]:
    """What must be the same whenever a run is used again."""
    return {
        "prompt": prompt.fingerprint,
        "tokenizer": tokenizer_fingerprint(load_tokenizer(folder)),
        "catalog": dataset.catalog.fingerprint,
        "split": dataset.sequences.fingerprint,
    }


def refuse_mismatch(run: Run, now: dict[str, str], catalog: Catalog, versions: Sequence[CatalogVersion]) -> None:
    """Refuse to use a run with another prompt, tokenizer, catalog or split than it was trained with.

    A catalog that only got new items at its end is no other: every item that the run knows is where it was.

    Args:
        run: What is to be used.
        now: What `fingerprints` gives today.
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
    import numpy as np
    import torch
    import transformers

    return {
        "patchrec": __version__,
        "torch": str(torch.__version__),
        "transformers": transformers.__version__,
        "numpy": np.__version__,
    }


def pick_run(store: Store, name: str | None, data: str | None, report: Reporter) -> Run:
    """The named run, else the newest fine-tuned one, told as picked.

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
    if run is None:
        raise NotFoundError(
            "no fine-tuned run yet; make one with `patchrec finetune --strategy pft-s --L 5`, or run `patchrec demo`"
        )
    report.picked("run", run.name, "the newest fine-tuned run")
    return run


def find_same(store: Store, config: RunConfig, prints: dict[str, str]) -> Run | None:
    """The newest finished run of this very configuration and these fingerprints: what trains nothing is made once."""
    for run in reversed(store.runs.all()):
        if run.config == config and run.status == "done" and run.fingerprints == prints:
            return run
    return None


def plain_options(options: dict[str, Any] | None) -> dict[str, Any]:
    """Option values that were given."""
    return {key: value for key, value in (options or {}).items() if value is not None}

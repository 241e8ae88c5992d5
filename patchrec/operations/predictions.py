"""Verb: score lists that another system made on the same targets as a run, and keep the result as a run."""

from collections.abc import Sequence
from pathlib import Path

from patchrec.config import KindConfig, RunConfig, SplitName
from patchrec.data.histories import Dataset
from patchrec.data.lists import Lists, read_lists
from patchrec.evaluation.evaluate import KS
from patchrec.evaluation.listed import evaluate_lists
from patchrec.operations.datasets import pick_dataset
from patchrec.operations.evaluate import Asked, EvaluationResult, of_users_with, stored_result
from patchrec.operations.load import fingerprints
from patchrec.operations.made_run import same_or_made
from patchrec.plugins import bind_kind
from patchrec.ranking.items import precedence
from patchrec.recommender import Saved
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store
from patchrec.store.marks import NO_MARKS, Marks
from patchrec.store.runs import Run


def evaluate_predictions(
    file: str | Path,
    *,
    split: SplitName = "test",
    limit: int | None = None,
    users_with: str | None = None,
    ks: Sequence[int] = KS,
    by: Sequence[str] = (),
    one_list: bool = False,
    data: str | None = None,
    marks: Marks = NO_MARKS,
    home: Path | None = None,
    report: Reporter = SILENT,
) -> EvaluationResult:
    """Find held-out targets in the lists of a file and store the result, so that it compares with runs.

    The same file is the same run, whatever it is scored on.

    Args:
        file: Columns `user_id`, `item_id`, and `rank` or `score`; `position` or `timestamp` where a user has several
            targets. CSV, TSV, JSON lines, Parquet, or a TREC run (`.run`, with queries `USER` or `USER:POSITION`).
        split: Whose targets.
        limit: A sample of so many targets, the same as of a run.
        users_with: Targets of users with so many items alone, such as "500+" or "20-99".
        ks: Cut-offs of the metrics.
        by: Fields of the catalog whose values make slices, beside those that every evaluation has.
        one_list: A user's list stands for each of the user's targets.
        data: Data set; None takes the one in use.
        marks: Name, note and tags of the run; one that is there keeps its name.
        home: Folder of the store.
        report: Where it is told what the lists lack, and what is in them that is for nothing.

    Raises:
        InputError: The file is no such file. NotFoundError: No such data set. UsageError: Arguments that do not fit, or
            a list that may be for several targets.
    """
    with Store.open(home) as store:
        dataset = store.datasets.load(pick_dataset(store, data, report))
        examples = of_users_with(dataset, dataset.examples(split, 1), users_with)
        lists = read_lists(str(file), dataset.sequences, dataset.catalog, precedence(dataset.popularity))
        found = evaluate_lists(dataset, examples, lists, ks=ks, limit=limit, one_list=one_list, by=by, report=report)
        run = _run(store, dataset, lists, marks)
        asked = Asked(limit, users_with, tuple(ks), None, tuple(by)).config(dataset.fingerprints)
        store.evaluations.add(
            run.name,
            split,
            "list",
            config=asked | {"lists_by": lists.by} | ({"one_list": True} if one_list else {}),
            metrics=found.metrics,
            rankings=found.rankings,
            cost=found.cost,
        )
        return stored_result(store, run, store.evaluations.all(run.name, split)[-1])


def _run(store: Store, dataset: Dataset, lists: Lists, marks: Marks) -> Run:
    """The run that holds a file's lists, made where there is none."""
    kind = bind_kind(KindConfig(name="predictions", options={"file": lists.file, "sha256": lists.sha256}))
    config = RunConfig(
        stage="predictions",
        dataset=dataset.name,
        kind=KindConfig(name=kind.kind.name, options=kind.options.values),
        backbone=None,
        prompt=None,
        score="list",
    )
    prints = fingerprints(Saved(config, dataset))
    return same_or_made(store, config, prints, lists.file, marks)

"""Example users of a report: what each run read of a history, what came next, and the list that it stored.

Layouts are planned again from a run's strategy; no model runs (its tokenizer counts where a strategy asks). Ranks and
lists are those of the stored evaluation.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import exp, inf
from pathlib import Path
from typing import Any

from patchrec import plugins
from patchrec.config import NORMALISED, PromptConfig
from patchrec.data.histories import Dataset, Example
from patchrec.errors import PatchrecError, UsageError
from patchrec.history import Lengths
from patchrec.operations.load import weights_folder
from patchrec.operations.pictures import Compared
from patchrec.reporting import Reporter
from patchrec.store import Store
from patchrec.store.evaluations import Evaluation, RankingRow
from patchrec.store.runs import Run

SHOWN = 10  # items of a list


@dataclass(frozen=True, slots=True)
class Choice:
    """Targets that are shown, by their place among those compared, and how they were chosen, in a sentence."""

    places: tuple[int, ...]
    why: str


def choose(compared: Compared, number: int, named: Sequence[str]) -> Choice:
    """Choose targets: the newest of each user named, else some that are spread evenly over the ranks of one run.

    Nobody picks them, so that they show what is usual: with three, one target in six was ranked better than the first,
    and one in six worse than the last.

    Args:
        compared: Runs and their targets.
        number: How many, where no user is named; each of another user while there are enough.
        named: User ids.

    Raises:
        NotFoundError: No such user. UsageError: A user has no target among those compared.
    """
    if named:
        return Choice(tuple(_newest_target(compared, user) for user in dict.fromkeys(named)), "Users named by --user.")
    which = next((place for place, run in enumerate(compared.runs) if run.config.strategies), 0)
    rows = compared.rankings[which]
    by_rank = sorted(range(len(rows)), key=lambda place: (rows[place].item_rank_dropped or inf, place))
    chosen: list[int] = []
    for part in range(min(number, len(rows))):
        middle = int((part + 0.5) * len(rows) / number)
        nearby = sorted(range(len(rows)), key=lambda index: (abs(index - middle), index))
        free = [index for index in nearby if by_rank[index] not in chosen]
        users = {rows[place].user for place in chosen}
        other = next((index for index in free if rows[by_rank[index]].user not in users), free[0])
        chosen.append(by_rank[other])
    name = compared.runs[which].name
    return Choice(tuple(chosen), f"Spread evenly over the ranks that {name} gave all targets; nobody picked them.")


def example_users(
    compared: Compared, choice: Choice, report: Reporter, home: Path | None = None
) -> list[dict[str, Any]]:
    """What is shown of each target.

    Returns:
        For each its `user_id`, `position`, `history` (titles), `target` (`item_id`, `title`), `reads` (what some runs
        read alike: `runs`, `older` items beyond the window, `pieces`, `counts` by grain) and `lists` (a run each:
        `run`, `number`, `label`, `rank`, `beyond`, `left_out`, `items`); a rank that is not known is `beyond` one.
    """
    planners = {run.name: _planner(run, compared.dataset, home, report) for run in compared.runs}
    return [_example(compared, place, planners, report) for place in choice.places]


def _newest_target(compared: Compared, user_id: str) -> int:
    user = compared.dataset.user(user_id)
    rows = compared.rankings[0]
    places = [place for place, row in enumerate(rows) if row.user == user]
    if not places:
        raise UsageError(
            f"--user {user_id!r} has no target among those that were ranked; evaluate without --limit, or name another"
        )
    return max(places, key=lambda place: rows[place].position)


def _planner(run: Run, dataset: Dataset, home: Path | None, report: Reporter) -> Any:
    """What plans a run's layouts; None for a run without a strategy, or whose strategy is gone (which is told)."""
    if not run.config.strategies:
        return None
    try:
        planner = plugins.planners_of(run.config)[-1]
    except PatchrecError as error:
        report.note(f"what {run.name} read is not shown: {error}")
        return None

    @cache
    def measure() -> Lengths:
        from patchrec.model.tokenizer import make_encoder, vocab_size

        with Store.open(home) as store:
            folder = weights_folder(store, run, report)
        prompt = run.config.prompt or PromptConfig()
        return make_encoder(folder, dataset.catalog.titles, prompt, vocab_size(folder)).lengths

    return replace(planner, measure=measure)


def _example(compared: Compared, place: int, planners: dict[str, Any], report: Reporter) -> dict[str, Any]:
    row, dataset = compared.rankings[0][place], compared.dataset
    reads: list[dict[str, Any]] = []
    for number, run in enumerate(compared.runs):
        if planners[run.name] is None:
            continue
        try:
            read = _read(compared, run, planners[run.name], row)
        except PatchrecError as error:
            report.note(f"what {run.name} read is not shown: {error}")
            planners[run.name] = None
            continue
        alike = next((other for other in reads if {**other, "runs": []} == read), None)
        if alike is None:
            reads.append(alike := read)
        alike["runs"].append({"run": run.name, "number": number, "label": run.label})
    lists = [
        _list(compared, run, number, evaluation, rankings[place])
        for number, (run, evaluation, rankings) in enumerate(
            zip(compared.runs, compared.evaluations, compared.rankings, strict=True)
        )
    ]
    titles = dataset.catalog.titles
    history = [titles[item] for item in dataset.sequences.items_of(row.user)[: row.position].tolist()]
    return {
        "user_id": row.user_id,
        "position": row.position,
        "history": history,
        "target": {"item_id": row.item_id, "title": titles[dataset.catalog.find(row.item_id)]},
        "reads": reads,
        "lists": lists,
    }


def _read(compared: Compared, run: Run, planner: Any, row: RankingRow) -> dict[str, Any]:
    """A history as a run reads it, in pieces from the oldest on: a session, an item or a title each; no run yet."""
    dataset, cut = compared.dataset, run.config.history
    history = dataset.history(Example.at(row.user, row.position, cut.K, cut.windows))
    layout = planner.plan(history)
    titles = [dataset.catalog.titles[item] for item in history.items.tolist()]
    pieces: list[dict[str, Any]] = []
    counts: dict[str, int] = {}
    for span in layout.spans:
        grain, own = str(span.grain), titles[span.start : span.stop]
        parts = [own] if grain == "session" else [[title] for title in own]
        pieces += [{"grain": grain, "titles": part} for part in parts]
        counts[grain] = counts.get(grain, 0) + len(parts)
    return {"runs": [], "older": history.start, "pieces": pieces, "counts": counts}


def _list(compared: Compared, run: Run, number: int, evaluation: Evaluation, row: RankingRow) -> dict[str, Any]:
    """A run's stored list for a target, with the target marked."""
    catalog = compared.dataset.catalog
    known = evaluation.score in NORMALISED
    limit = evaluation.exact_to
    beyond = limit is not None and row.item_rank_dropped is not None and row.item_rank_dropped > limit
    best = row.top[0][1] if row.top else 0.0
    items = [
        {
            "rank": rank,
            "item_id": item_id,
            "title": catalog.titles[catalog.find(item_id)],
            "probability": exp(score) if known else None,
            "share": exp(score - best),
            "hit": item_id == row.item_id,
        }
        for rank, (item_id, score) in enumerate(row.top[:SHOWN], 1)
    ]
    return {
        "run": run.name,
        "number": number,
        "label": run.label,
        "rank": None if beyond else row.item_rank_dropped,
        "beyond": evaluation.exact_to if beyond else None,
        "left_out": row.item_rank_dropped is None,
        "items": items,
    }

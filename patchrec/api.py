"""The front door for programs: `import patchrec`, then these names. It calls the operations, and adds data frames.

Nothing here is another way to do a thing: `finetune`, `baseline` and `evaluate` are the operations themselves.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from patchrec.config import ScoreName
from patchrec.data.writers import SOURCE
from patchrec.errors import InputError, UsageError
from patchrec.frames import ITEM, RANK, SCORE, TIMES, USER, FrameKind, frame_of, is_frame, kind_of, rows_of, write_rows
from patchrec.operations import datasets
from patchrec.operations.filters import Filtered, Filters
from patchrec.operations.load import LoadedRun, pick_run, refuse_no_items
from patchrec.operations.load import load as load_run
from patchrec.operations.recommend import Asked, Question, Recommendations, respond
from patchrec.operations.unknown_users import Unknown
from patchrec.recommender import Ranking, Search, rank
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store

__all__ = ["RunRecommender", "add_dataset", "load"]

COLUMNS = (USER, ITEM, SCORE, RANK)


def add_dataset(
    name: str,
    *,
    interactions: Any = None,
    items: Any = None,
    home: Path | None = None,
    report: Reporter = SILENT,
    **options: Any,
) -> dict[str, Any]:
    """Store a data set of data frames, of files, or known by name.

    Args:
        name: A new name, or a known one such as "ml-100k".
        interactions: A data frame with a row for each interaction (`user_id`, `item_id`, and `timestamp` or
            `datetime`), or files, as `patchrec.operations.datasets.add_dataset` takes them.
        items: The same for the catalog: `item_id`, `title`, and whatever else is known.
        home: Folder of the store.
        report: Where notes go.
        options: As there: `user_col`, `split`, `from_path`, `recipe` and so on.

    Returns:
        What is known of the data set, as `patchrec data show` has it.

    Raises:
        InputError: A row cannot be used. UsageError: Options that do not go together, or the name is taken.
        NotFoundError: Unknown name, or nothing to be had.
    """
    with tempfile.TemporaryDirectory() as folder:
        for key, table in {"interactions": interactions, "items": items}.items():
            if is_frame(table):
                file = Path(folder) / f"{key}.jsonl"
                write_rows(table, file)
                if not file.stat().st_size:
                    raise InputError(f"the data frame of {key} has no rows; give one row for each")
                options[key] = (file,)
            elif isinstance(table, Mapping):
                raise UsageError(
                    f"{key} is a {type(table).__name__}; give a data frame, such as polars.DataFrame, or files"
                )
            elif table is not None:
                options[key] = table
        return datasets.add_dataset(name, home=home, report=report, **options)


def load(
    run: str | None = None,
    *,
    data: str | None = None,
    score: ScoreName | None = None,
    search: Search = "best-first",
    max_tokens: int | None = None,
    retrieve: int | None = None,
    home: Path | None = None,
    report: Reporter = SILENT,
) -> RunRecommender:
    """Load a run, to ask it again and again.

    Args:
        run: Its name; None: the newest fine-tuned one.
        data: Data set of the newest run.
        score, search, max_tokens, retrieve: See `patchrec.operations.recommend.recommend`.
        home: Folder of the store.
        report: Where notes go.

    Raises:
        NotFoundError: No such run, or it has no checkpoint. UsageError: It cannot rank.
        CorruptError: Its files are not those written.
    """
    with Store.open(home) as store:
        chosen = pick_run(store, run, data, report)
        how: dict[str, Any] = {"search": search, "max_tokens": max_tokens, "retrieve": retrieve}
        return RunRecommender(load_run(store, chosen, score, report, **how))


class RunRecommender:
    """A run in memory. Its answers are those of `patchrec recommend`.

    Attributes:
        name: Of the run. dataset: Of its data set.
    """

    def __init__(self, loaded: LoadedRun) -> None:
        self._loaded = loaded
        self.name = loaded.run.name
        self.dataset = loaded.dataset.name

    def __repr__(self) -> str:
        return f"<patchrec run {self.name}: {self._loaded.run.label}, on {self.dataset}>"

    def recommend(
        self,
        user: str | int | None = None,
        *,
        history: Sequence[str | int] | None = None,
        k: int = 10,
        where: str | None = None,
        allow: Sequence[str | int] = (),
        deny: Sequence[str | int] = (),
        keep_seen: bool = False,
        unknown: Literal["error", "popular"] = "error",
        explain: bool = False,
    ) -> Recommendations:
        """Rank the catalog for a user of the data set, or after a history of titles or item ids, oldest first.

        Args:
            where: A condition on the items, such as "year >= 1990". allow, deny: Items by id, title or "@FILE".
            keep_seen: Also rank what the user has had.
            unknown: `popular` answers for a user whom the data set does not have, too; `source` tells.
            explain: Tell which parts of the history carried each item, under `explanation`.

        Raises:
            NotFoundError: No such user or item. UsageError: Neither or both of user and history, filters that leave
                nothing, k below 1.
        """
        filters = Filters(where, _texts("allow", allow), _texts("deny", deny), keep_seen)
        whose, after = None if user is None else str(user), None if history is None else _texts("history", history)
        question = Question.of(
            self._loaded.dataset, whose, after, filters, unknown=_chosen(unknown, ("error", "popular"))
        )
        return respond(self._loaded, question.asked(self._loaded), k, explain=explain)

    def explain(
        self, user: str | int | None = None, *, history: Sequence[str | int] | None = None, k: int = 10, **filters: Any
    ) -> Recommendations:
        """The same with `explanation`: which parts of the history carried each item (`recommend` with `explain`)."""
        return self.recommend(user, history=history, k=k, **filters, explain=True)

    def recommend_many(
        self,
        users: Any = None,
        *,
        histories: Any = None,
        k: int = 10,
        where: str | None = None,
        keep_seen: bool = False,
        unknown: Unknown = "error",
        to: FrameKind | None = None,
    ) -> Any:
        """Rank for many users at once.

        Args:
            users: Ids of users of the data set, or a data frame with a column `user_id`; None: all users.
            histories: Instead of users: a mapping from any id to titles or item ids, oldest first, or a data frame with
                `user_id` and `item_id`, in the order of its `timestamp` or `datetime` where it has one, else of rows.
            where: A condition on the items.
            keep_seen: Also rank what a user has had.
            unknown: Users whom the data set does not have: `skip` leaves them out, `popular` gives them what the
                command does, and every row a `source`.
            to: Kind of data frame that is given back; None: that of the input, or rows as dictionaries.

        Returns:
            `user_id`, `item_id`, `score` and `rank` (1-based, a higher score is better), users in the order given.

        Raises:
            NotFoundError: No such user or item. InputError: A frame lacks a column. UsageError: Both users and
                histories, filters that leave nothing, k below 1, or a kind of frame that is not installed.
        """
        if users is not None and histories is not None:
            raise UsageError("users or histories? give one of the two")
        refuse_no_items(k)
        dataset, filters = self._loaded.dataset, Filters(where, keep_seen=keep_seen)
        filtered = Filtered.of(dataset.catalog, filters)
        given: dict[str, tuple[str | None, list[str] | None]]
        if histories is not None:
            given = {str(name): (None, texts) for name, texts in _histories(histories).items()}
        else:
            given = {name: (name, None) for name in _users(users, dataset.sequences.user_ids)}
        if _chosen(unknown, get_args(Unknown)) == "skip":
            given = {name: one for name, one in given.items() if one[0] is None or name in dataset.sequences.index}
        asked = [
            Question.of(dataset, user, history, filters, filtered, unknown=unknown).asked(self._loaded)
            for user, history in given.values()
        ]
        columns = (*COLUMNS, SOURCE) if unknown == "popular" else COLUMNS
        rows = [
            dict(
                zip(
                    columns,
                    (name, dataset.catalog.item_ids[line.item], line.score, line.rank, one.source),
                    strict=False,
                )
            )
            for name, one, ranking in zip(given, asked, _ranked(asked, k, filtered), strict=True)
            for line in ranking.recommendations
        ]
        kind = to or kind_of(users if histories is None else histories)
        return rows if kind is None else frame_of(rows, kind, columns)

    def similar(self, item: str, k: int = 10, *, where: str | None = None) -> Recommendations:
        """What the run ranks after a history of this item alone, the item itself left out.

        Every recommender can say that, so that all are asked alike; it is a direction ("after this, that"), not a
        distance: what is similar to A need not find A similar.

        Raises:
            NotFoundError: No such item. UsageError: A title of several items, a filter that leaves nothing, k below 1.
        """
        return self.recommend(history=[item], k=k, where=where)


def _texts(what: str, values: Sequence[str | int]) -> tuple[str, ...]:
    """Ids or titles as texts.

    Raises:
        UsageError: One text stands for a list.
    """
    if isinstance(values, str):
        raise UsageError(f"{what} is a list of titles or item ids, got {values!r}; give [{values!r}]")
    return tuple(map(str, values))


def _chosen(unknown: Unknown, choices: Sequence[str]) -> Unknown:
    """What becomes of unknown users, where it is one of the choices."""
    if unknown not in choices:
        raise UsageError(f"no unknown={unknown!r}; choices: {', '.join(choices)}")
    return unknown


def _ranked(asked: Sequence[Asked], k: int, filtered: Filtered) -> list[Ranking]:
    """An answer to each; those of one recommender in one batch."""
    found: dict[int, Ranking] = {}
    for answering in {id(one.answering): one.answering for one in asked}.values():
        own = [number for number, one in enumerate(asked) if one.answering is answering]
        rankings = rank(answering, [asked[number].query for number in own], k, allowed=filtered.allowed)
        found |= dict(zip(own, rankings, strict=True))
    return [found[number] for number in range(len(asked))]


def _users(users: Any, everyone: Sequence[str]) -> list[str]:
    """Ids of users, each once."""
    if users is None:
        return list(everyone)
    if is_frame(users):
        users = [row[USER] for row in rows_of(users, [USER])]
    elif isinstance(users, str):
        raise UsageError(f"users is a list of ids, got {users!r}; give [{users!r}]")
    return list(dict.fromkeys(str(user) for user in users))


def _histories(histories: Any) -> dict[str, list[str]]:
    """Histories by whose they are, oldest first."""
    if isinstance(histories, Mapping):
        return {str(name): list(_texts(f"the history of {name!r}", items)) for name, items in histories.items()}
    rows = list(rows_of(histories, [USER, ITEM]))
    time = next((name for name in TIMES if rows and name in rows[0]), None)
    if time is not None:
        rows.sort(key=lambda row: row[time])
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(str(row[USER]), []).append(f"id:{row[ITEM]}")
    return found

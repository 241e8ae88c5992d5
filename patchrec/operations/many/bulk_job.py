"""A job of recommending for many users: what is asked, the users in parts, a part's rankings, and their rows.

Shapes: U users of the job.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from patchrec.config import ScoreName
from patchrec.data.histories import Dataset, list_users
from patchrec.data.names import read_names
from patchrec.data.parts import UserRanking
from patchrec.data.writers import Row, WrittenFormat
from patchrec.errors import NotFoundError
from patchrec.history import IntArray
from patchrec.operations.filters import NO_FILTERS, Filtered, Filters
from patchrec.operations.load import LoadedRun, load, pick_run, versions
from patchrec.recommender import Search, rank
from patchrec.reporting import Reporter
from patchrec.store import Store

FORMAT = 1  # of the plan and the parts
USERS_PER_PART = {"cpu": 32, "cuda": 512}  # what a kill may cost, and what a pass may share


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be recommended to whom, and where it goes.

    Attributes:
        output: A file, or "-" for stdout, in the order of parts as they come; nothing of that is kept.
        users: A file with one user id a line, "-" for stdin; None takes every user of the data set.
        format: `csv`, `jsonl` or `parquet`; None takes the one of the file's ending.
        overwrite: Take the place of an output that is there.
        restart: Throw away the parts of a job that was stopped.
        max_tokens: Prompt positions run at a time; None chooses from free memory.
        retrieve: The run's item head proposes so many items, and only they are ranked; None ranks all.
        on: `ray`, or `ray:ADDRESS`, has actors of a Ray cluster rank; None ranks here.
        again: The command that goes on with the job, for messages.
    """

    output: str
    users: str | None = None
    format: WrittenFormat | None = None
    run: str | None = None
    k: int = 10
    data: str | None = None
    filters: Filters = NO_FILTERS
    score: ScoreName | None = None
    search: Search = "best-first"
    max_tokens: int | None = None
    retrieve: int | None = None
    overwrite: bool = False
    restart: bool = False
    on: str | None = None
    again: str = "the same command"


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """What is to be recommended to whom.

    Attributes:
        users: (U,) indices of the users, in the order of the output.
        filtered: What filters leave.
        again: The command that goes on with the job.
    """

    loaded: LoadedRun
    users: IntArray
    k: int
    filtered: Filtered
    keep_seen: bool
    again: str

    def parts_of(self, size: int) -> list[list[int]]:
        """Places of the users of each part: like lengths of prompts together, long ones first."""
        queries = [self.loaded.user_query(user) for user in self.users.tolist()]
        order = np.argsort(-self.loaded.recommender.lengths(queries), kind="stable").tolist()
        return [order[start : start + size] for start in range(0, len(order), size)]

    def rank(self, places: Sequence[int]) -> list[UserRanking]:
        """Rank for some users, given by their places in the output."""
        queries = [self.loaded.user_query(int(self.users[place]), keep_seen=self.keep_seen) for place in places]
        rankings = rank(self.loaded.recommender, queries, self.k, allowed=self.filtered.allowed)
        return [
            UserRanking(
                place,
                [line.item for line in ranking.recommendations],
                [line.score for line in ranking.recommendations],
                [line.probability for line in ranking.recommendations],
            )
            for place, ranking in zip(places, rankings, strict=True)
        ]

    def rows(self, rankings: Iterable[UserRanking]) -> Iterator[Row]:
        """Rows of the output."""
        user_ids, item_ids = self.loaded.dataset.sequences.user_ids, self.loaded.dataset.catalog.item_ids
        for ranking in rankings:
            user_id = user_ids[self.users[ranking.place]]
            lines = zip(ranking.items, ranking.scores, ranking.probabilities, strict=True)
            for number, (item, score, probability) in enumerate(lines, start=1):
                yield user_id, item_ids[item], score, number, probability


def make_job(request: Request, home: Path | None, report: Reporter) -> tuple[Job, dict[str, Any]]:
    """The job, and its plan: everything that decides what its parts hold."""
    with Store.open(home) as store:
        run = pick_run(store, request.run, request.data, report)
        how, room, retrieve = request.search, request.max_tokens, request.retrieve
        loaded = load(store, run, request.score, report, search=how, max_tokens=room, retrieve=retrieve)
        saved = store.runs.checkpoints(run.name)
    users = _users(loaded.dataset, request.users, report)
    filtered = Filtered.of(loaded.dataset.catalog, request.filters)
    job = Job(
        loaded=loaded,
        users=users,
        k=request.k,
        filtered=filtered,
        keep_seen=request.filters.keep_seen,
        again=request.again,
    )
    allowed = b"all" if filtered.allowed is None else filtered.allowed.tobytes()
    plan = {
        "format": FORMAT,
        "run": run.name,
        "checkpoint": saved[-1].manifest.get("sha256") if saved else f"untrained {run.config.backbone}",
        "data": {
            "name": loaded.dataset.name,
            "catalog": loaded.dataset.catalog.fingerprint,
            "split": loaded.dataset.sequences.fingerprint,
        },
        "users": {"number": len(users), "sha256": _digest(users.astype("<i8").tobytes())},
        "k": request.k,
        "score": loaded.recommender.score,
        "item_weight": run.item_weight,
        "search": request.search,
        "retrieve": request.retrieve,
        "filters": {**asdict(request.filters), "items": _digest(allowed)},
        "users_per_part": part_size(loaded),
        "device": loaded.recommender.device,
        "versions": versions(),
    }
    return job, json.loads(json.dumps(plan))


def _users(dataset: Dataset, source: str | None, report: Reporter) -> IntArray:
    """(U,) indices of the users, each once.

    Raises:
        NotFoundError: Some are not in the data set; all of them are counted, the first named.
    """
    if source is None:
        return np.arange(len(dataset.sequences), dtype=np.int64)
    names = read_names(source)
    distinct = list(dict.fromkeys(names))
    unknown = [name for name in distinct if name not in dataset.sequences.index]
    if len(unknown) == 1:
        dataset.user(unknown[0])  # raises with a guess
    if unknown:
        shown = ", ".join(repr(name) for name in unknown[:5]) + (" and others" if len(unknown) > 5 else "")
        raise NotFoundError(
            f"{len(unknown):,} of {len(distinct):,} users are not in data set {dataset.name!r}: {shown}; "
            f"take them out; the users that there are: {list_users(dataset.name)}"
        )
    if len(names) > len(distinct):
        report.note(f"{len(names) - len(distinct):,} user ids stand there more than once and are taken once")
    return np.array([dataset.sequences.index[name] for name in distinct], dtype=np.int64)


def part_size(loaded: LoadedRun) -> int:
    """Users of a part, by what the model runs on."""
    return USERS_PER_PART.get(loaded.recommender.device, USERS_PER_PART["cpu"])


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]

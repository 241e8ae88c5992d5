"""A job of recommending for many users: what is asked, the users in parts, a part's rankings, and their rows.

Shapes: U users of the job.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from patchrec.config import ScoreName
from patchrec.data.histories import Dataset
from patchrec.data.names import read_names
from patchrec.data.parts import UserRanking
from patchrec.data.writers import COLUMNS, SOURCE, Row, WrittenFormat
from patchrec.errors import UsageError
from patchrec.history import IntArray
from patchrec.operations.filters import NO_FILTERS, Filtered, Filters
from patchrec.operations.load import LoadedRun, load, pick_run, refuse_no_items, versions
from patchrec.operations.many.columns import Beside, beside
from patchrec.operations.unknown_users import MODEL, NOBODY, Unknown, indices, stand_in, write_rejects
from patchrec.recommender import Query, Ranking, Recommender, Search, nothing, rank
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
        unknown: What becomes of users whom the data set does not have: `error` refuses the job, `skip` leaves them out,
            `popular` gives them the run's answer to an empty history where that means something, else what is popular,
            and every row a `source`. None: `skip` where there are `rejects`, else `error`.
        rejects: File for their ids.
        columns: Of the catalog, for every row: `title`, or fields of the metadata.
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
    unknown: Unknown | None = None
    rejects: str | None = None
    columns: tuple[str, ...] = ()
    overwrite: bool = False
    restart: bool = False
    on: str | None = None
    again: str = "the same command"


@dataclass(frozen=True, eq=False)
class Job:
    """What is to be recommended to whom.

    Attributes:
        user_ids: (U) the users, in the order of the output.
        users: (U,) their indices; `NOBODY` for those whom the data set does not have.
        filtered: What filters leave.
        beside: Columns of the catalog.
        sources: Whether rows say what answered.
        again: The command that goes on with the job.
    """

    loaded: LoadedRun
    user_ids: tuple[str, ...]
    users: IntArray
    k: int
    filtered: Filtered
    keep_seen: bool
    beside: Beside
    sources: bool
    again: str

    @property
    def columns(self) -> dict[str, str]:
        """Columns of the output with their types in Parquet."""
        return {**COLUMNS, **({SOURCE: "VARCHAR"} if self.sources else {}), **self.beside.kinds}

    @property
    def num_unknown(self) -> int:
        """Users whom the data set does not have."""
        return int((self.users == NOBODY).sum())

    def parts_of(self, size: int) -> list[list[int]]:
        """Places of the users of each part: like lengths of prompts together, long ones first."""
        queries = [self._query(user) for user in self.users.tolist()]
        order = np.argsort(-self.loaded.recommender.lengths(queries), kind="stable").tolist()
        return [order[start : start + size] for start in range(0, len(order), size)]

    def rank(self, places: Sequence[int]) -> list[UserRanking]:
        """Rank for some users, given by their places in the output."""
        known = [place for place in places if self.users[place] != NOBODY]
        queries = [self._query(int(self.users[place])) for place in known]
        rankings = rank(self.loaded.recommender, queries, self.k, allowed=self.filtered.allowed)
        found = {place: self._without_history for place in places if self.users[place] == NOBODY}
        found |= dict(zip(known, rankings, strict=True))
        return [_of_user(place, found[place]) for place in places]

    @cached_property
    def _stand_in(self) -> tuple[str, Recommender]:
        return stand_in(self.loaded)

    @cached_property
    def _without_history(self) -> Ranking:
        """What all users get whom the data set does not have."""
        [found] = rank(self._stand_in[1], [self._query(NOBODY)], self.k, allowed=self.filtered.allowed)
        return found

    def _query(self, user: int) -> Query:
        if user == NOBODY:
            return self.loaded.history_query(nothing())
        return self.loaded.user_query(user, keep_seen=self.keep_seen)

    def rows(self, rankings: Iterable[UserRanking]) -> Iterator[Row]:
        """Rows of the output."""
        item_ids, beside = self.loaded.dataset.catalog.item_ids, self.beside.values
        for ranking in rankings:
            user_id, known = self.user_ids[ranking.place], self.users[ranking.place] != NOBODY
            source = [MODEL if known else self._stand_in[0]] if self.sources else []
            lines = zip(ranking.items, ranking.scores, ranking.probabilities, strict=True)
            for number, (item, score, probability) in enumerate(lines, start=1):
                yield user_id, item_ids[item], score, number, probability, *source, *beside[item]


def _of_user(place: int, ranking: Ranking) -> UserRanking:
    lines = ranking.recommendations
    return UserRanking(
        place, [line.item for line in lines], [line.score for line in lines], [line.probability for line in lines]
    )


def make_job(request: Request, home: Path | None, report: Reporter) -> tuple[Job, dict[str, Any]]:
    """The job, and its plan: everything that decides what its parts hold."""
    refuse_no_items(request.k)
    unknown = request.unknown or ("skip" if request.rejects else "error")
    with Store.open(home) as store:
        run = pick_run(store, request.run, request.data, report)
        dataset = store.datasets.load(run.dataset)
        # what is wrong with a question is told before a file is written or a model loaded
        filtered = Filtered.of(dataset.catalog, request.filters)
        shown = beside(dataset.catalog, request.columns)
        user_ids, users = _users(dataset, request, unknown, report)
        how: dict[str, Any] = {
            "search": request.search, "max_tokens": request.max_tokens, "retrieve": request.retrieve,
        }  # fmt: skip
        loaded = load(store, run, request.score, report, dataset=dataset, **how)
        saved = store.runs.checkpoints(run.name)
    job = Job(
        loaded=loaded,
        user_ids=user_ids,
        users=users,
        k=request.k,
        filtered=filtered,
        keep_seen=request.filters.keep_seen,
        beside=shown,
        sources=unknown == "popular",
        again=request.again,
    )
    nobody = [name for name, user in zip(user_ids, users.tolist(), strict=True) if user == NOBODY]
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
        **({"unknown_users": {"number": len(nobody), "sha256": _digest("\n".join(nobody).encode())}} if nobody else {}),
        **({"columns": list(job.columns)} if list(job.columns) != list(COLUMNS) else {}),
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


def _users(dataset: Dataset, request: Request, unknown: Unknown, report: Reporter) -> tuple[tuple[str, ...], IntArray]:
    """The users, each once, and (U,) their indices.

    Raises:
        NotFoundError: Some are not in the data set; all of them are counted, the first named.
        UsageError: Options that do not go together.
    """
    if request.users is None:
        if request.unknown or request.rejects:
            raise UsageError("--unknown and --rejects are for users of a file; drop them, or give --users FILE")
        return dataset.sequences.user_ids, np.arange(len(dataset.sequences), dtype=np.int64)
    names = read_names(request.users)
    distinct = list(dict.fromkeys(names))
    if request.rejects is not None:
        path = Path(request.rejects).expanduser().resolve()
        others = [Path(other).expanduser().resolve() for other in (request.users, request.output) if other != "-"]
        if path in others:
            raise UsageError(f"--rejects {request.rejects!r} is the file of the users or the output; name another")
        write_rejects(path, dataset, distinct, overwrite=request.overwrite)
    found = indices(dataset, distinct, unknown)
    if len(names) > len(distinct):
        again = len(names) - len(distinct)
        left = f"{again:,} {'line is' if again == 1 else 'lines are'} left out"
        report.note(f"who stands there more than once is taken once: {left}")
    if len(found[0]) < len(distinct):
        out = len(distinct) - len(found[0])
        report.note(f"{out:,} of {len(distinct):,} users are not in data set {dataset.name!r} and are left out")
    return found


def part_size(loaded: LoadedRun) -> int:
    """Users of a part, by what the model runs on."""
    return USERS_PER_PART.get(loaded.recommender.device, USERS_PER_PART["cpu"])


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]

"""Runs in the store: their names, states, loss curves and checkpoints."""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from patchrec.errors import CorruptError, NotFoundError, UsageError, not_found
from patchrec.store import marks as marking
from patchrec.store.marks import NO_MARKS, Marks
from patchrec.store.naming import check_name, json_object, now
from patchrec.store.process import is_alive, this_process
from patchrec.store.run_plugins import RunPlugin, insert_plugins, read_plugins
from patchrec.store.trash import OUT

if TYPE_CHECKING:  # a listing waits for no model of settings
    from sqlite_utils import Database

    from patchrec.config import RunConfig, ScoreName, Stage
    from patchrec.store.connection import Store

Status = Literal["running", "done", "failed", "interrupted", "lost", "waiting"]
WAITS = "waits for its turn"  # why a planned run is `interrupted`, for the column knows no other word
LIST_THEM = "list them with `patchrec runs ls`"


@dataclass(frozen=True)
class Run:
    """One run as it is now.

    Attributes:
        label: The strategy with its options, or the kind of recommender with its own, in words.
        status: `interrupted` is a run that was stopped by a signal, `lost` one whose process ended on this machine
            without a word, `waiting` one that is planned and has not begun.
        kind: The kind of recommender, by name.
        settings: Everything that determines the run, as it is stored: `config`, before it is checked.
        versions: Versions of patchrec and the libraries that computed it.
        fingerprints: Of prompt, tokenizer, splits and catalog.
        summary: Results that a listing shows, once done.
        num_steps: Optimizer steps that it takes in all; None before training began, or where it never does.
        group: The group of seeds that it is one of; None where it stands alone.
        note, tags: What its user says of it; tags in alphabetical order.
    """

    id: int
    name: str
    stage: "Stage"
    kind: str
    dataset: str
    backbone: str | None
    parent: str | None
    label: str
    status: Status
    settings: dict[str, Any]
    seed: int
    versions: dict[str, str]
    fingerprints: dict[str, str]
    error: str | None
    pid: int | None
    host: str | None
    created_at: str
    finished_at: str | None
    summary: dict[str, Any] | None
    num_steps: int | None
    group: str | None = None
    note: str | None = None
    tags: tuple[str, ...] = ()

    @cached_property
    def config(self) -> "RunConfig":
        """Everything that determines the run.

        Raises:
            CorruptError: It is not what patchrec writes.
        """
        from patchrec.config import RunConfig

        try:
            return RunConfig.model_validate_json(json.dumps(self.settings))
        except ValueError as error:  # pydantic's is one
            raise _damaged(self.name, error) from error

    @property
    def strategies(self) -> tuple[str, ...]:
        """The strategies that plan its examples, by name, as they are stored.

        Raises:
            CorruptError: That is not what patchrec writes.
        """
        return tuple(one["name"] for one in self._stored("strategies", "name"))

    @property
    def parts(self) -> tuple[tuple[str, str], ...]:
        """The runs that it mixes or reads, by name, and what each was then (`PartConfig`), as they are stored.

        Raises:
            CorruptError: That is not what patchrec writes.
        """
        return tuple((one["run"], str(one.get("stamp", ""))) for one in self._stored("parts", "run"))

    def _stored(self, what: str, key: str) -> list[dict[str, Any]]:
        """A list of its settings, of objects that have a text under a key."""
        found = self.settings.get(what) or []
        try:
            if all(isinstance(one[key], str) for one in found):
                return list(found)
        except (TypeError, KeyError) as error:
            raise _damaged(self.name, error) from error
        raise _damaged(self.name, ValueError(f"{what} have no {key}"))

    @property
    def score(self) -> "ScoreName":
        """What the run ranks by: the score chosen on validation, else that of its configuration."""
        chosen: ScoreName | None = (self.summary or {}).get("score_choice", {}).get("chosen")
        known: ScoreName | None = self.settings.get("score") if self.settings.get("stage") == self.stage else None
        return chosen or known or self.config.score  # earlier versions had other stages, and no score

    @property
    def item_weight(self) -> float | None:
        """Weight of the item head in a mixture, where it was chosen on validation."""
        weight: float | None = (self.summary or {}).get("score_choice", {}).get("item_weight")
        return weight

    @property
    def command(self) -> str:
        """The command that makes such a run."""
        return f"baseline {self.kind}" if self.stage == "baseline" else self.stage

    @property
    def resume(self) -> str:
        """The command that goes on with it, or makes it anew, as messages show it."""
        return f"`patchrec {self.command} --resume {self.name}`"

    @property
    def to_be_done(self) -> str:
        """What a user does about a run that is not done."""
        return "wait for it" if self.status == "running" else f"go on with {self.resume}"


@dataclass(frozen=True, slots=True)
class LossRow:
    """One optimizer step: mean loss over its supervised tokens (nats), tokens forwarded, targets, wall time."""

    step: int
    loss: float
    tokens: int
    targets: int
    seconds: float
    learning_rate: float


@dataclass(frozen=True, slots=True)
class ValidationRow:
    """Validation targets measured after a step: mean loss (nats), positions run, and a ranking metric if asked for."""

    step: int
    loss: float
    tokens: int
    targets: int
    seconds: float
    metric: float | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A saved state of a run: the step after which it was taken, its folder, its files' sha256."""

    step: int
    path: Path
    manifest: dict[str, Any]


class Runs:
    """The runs of a store."""

    def __init__(self, store: "Store") -> None:
        self._store = store

    def create(
        self,
        config: "RunConfig",
        *,
        label: str,
        versions: Mapping[str, str],
        fingerprints: Mapping[str, str],
        plugins: Sequence[RunPlugin] = (),
        prefix: str | None = None,
        marks: Marks = NO_MARKS,
    ) -> Run:
        """Begin a run of this process: status `running`, named as its user wants, else after what it is and a number.

        Args:
            config: Everything that determines it.
            label: In words.
            versions, fingerprints: See `Run`.
            plugins: What it takes from plugins: its strategies in their order, then its kind.
            prefix: Of a counted name; None: its strategy, its stage or its kind.
            marks: What its user says of it.

        Raises:
            NotFoundError: The data set or the parent run does not exist.
            UsageError: The name is or was another run's.
        """
        prefix = check_name("run", prefix or _prefix(config))
        host, pid, process = this_process()
        with self._store.write() as db:
            dataset, _ = self._store.datasets.resolve(config.dataset)
            parent = None if config.parent is None else self.get(config.parent).name
            name = _counted(db, prefix) if marks.name is None else marking.claim(db, marks.name)
            db.table("runs").insert(
                {
                    "name": name,
                    "stage": config.stage,
                    "dataset": dataset,
                    "backbone": config.backbone,
                    "parent": parent,
                    "strategy": label,
                    "status": "running",
                    "kind": config.kind.name,
                    "config": config.model_dump_json(),
                    "seed": config.seed,
                    "versions": json.dumps(dict(versions)),
                    "fingerprints": json.dumps(dict(fingerprints)),
                    "pid": pid,
                    "process": process,
                    "host": host,
                    "created_at": now(),
                }
            )
            insert_plugins(db, name, plugins)
            marking.put(db, name, marks.note, marks.tags)
        return self.get(name)

    def new_name(self, config: "RunConfig") -> str:
        """A name that nothing had before: what a run is, and a number."""
        with self._store.write() as db:
            return _counted(db, check_name("run", _prefix(config)))

    def is_free(self, name: str) -> bool:
        """Whether no run has or had a name."""
        with self._store.read() as db:
            return not marking.is_taken(db, name)

    def plugins(self, name: str) -> list[RunPlugin]:
        """What a run took from plugins when it was made; nothing where that was not noted yet."""
        return read_plugins(self._store, name)

    def check_free(self, marks: Marks) -> None:
        """Refuse a name that no new run could get.

        Raises:
            UsageError: A run has it, or had it.
        """
        if marks.name is not None and not self.is_free(marks.name):
            raise UsageError(f"--name {marks.name}: a run has it or had it; choose another")

    def claim_name(self, name: str) -> str:
        """Take a name that no run is to have, for good: that of a group.

        Raises:
            UsageError: A run has it, or had it.
        """
        with self._store.write() as db:
            return marking.claim(db, name)

    def mark(self, name: str, marks: Marks, *, without: Iterable[str] = ()) -> Run:
        """Note and tag a run that is there.

        Args:
            name: Which.
            marks: An empty note takes the old one away; tags are added to those that it has.
            without: Tags to take away; all of them have to be there.

        Raises:
            NotFoundError: No such run or tag. UsageError: The run has another name than the marks: it keeps that.
        """
        with self._store.write() as db:
            run = self.get(name)
            if marks.name not in (None, run.name):
                raise UsageError(
                    f"run {run.name!r} is there already and keeps its name; drop --name {marks.name}, or take it"
                )
            gone = tuple(without)
            if unknown := [tag for tag in gone if tag not in run.tags]:
                raise not_found(f"tag of run {run.name!r}", unknown[0], run.tags)
            marking.put(db, run.name, marks.note, marks.tags, gone)
        return self.get(run.name)

    def get(self, name: str) -> Run:
        """The run of this name, or the only one whose name begins so.

        Raises:
            NotFoundError: None, or several.
            UsageError: It names a group of seeds.
        """
        with self._store.read():
            names = self.names()
            begin_so = [known for known in names if known.startswith(name)] if name else []
            exact = name if name in names else begin_so[0] if len(begin_so) == 1 else None
            if exact is None and name in self._store.trash.names():
                raise NotFoundError(
                    f"run {name!r} is in the trash; take it back with `patchrec runs restore {shlex.quote(name)}`"
                )
            if exact is None and (group := self._store.seed_groups.find(name)) is not None:
                raise UsageError(
                    f"{group.name} is a group of seeds, and one run is wanted here; name one of "
                    f"{', '.join(run.name for run in group.runs)}"
                )
            if exact is None:
                raise not_found("run", name, begin_so or names, LIST_THEM)
            return self._read("name = ?", [exact])[0]

    def of_this_process(self) -> list[str]:
        """Names of the runs that this very process is at, oldest first."""
        return [
            name
            for (name,) in self._store.rows(
                f"SELECT name FROM runs WHERE status = 'running' AND host IS ? AND pid IS ? AND process IS ? AND {OUT}"  # noqa: S608
                " ORDER BY id",
                list(this_process()),
            )
        ]

    def names(self) -> list[str]:
        """Names of all runs, oldest first, without those in the trash."""
        return [name for (name,) in self._store.rows(f"SELECT name FROM runs WHERE {OUT} ORDER BY id")]  # noqa: S608

    def all(self) -> list[Run]:
        """All runs, oldest first, without those in the trash."""
        return self._read("1", [])

    def listed(self) -> list[Run]:
        """The same for a listing: what is stored of their configurations is believed, not checked."""
        return self._read("1", [], checked=False)

    def newest(
        self,
        *,
        stage: "Stage | None" = None,
        kind: str | None = None,
        dataset: str | None = None,
        backbone: str | None = None,
        status: Status | None = "done",
    ) -> Run | None:
        """The newest run of a stage, kind, data set, backbone and status; None for one of them means any."""
        clauses = {"stage": stage, "kind": kind, "dataset": dataset, "backbone": backbone}
        given = {column: value for column, value in clauses.items() if value is not None}
        where = " AND ".join(f"{column} = ?" for column in given) or "1"
        found = [run for run in self._read(where, list(given.values())) if status in (None, run.status)]
        return found[-1] if found else None

    def finish(self, name: str, summary: Mapping[str, Any]) -> None:
        """Mark a run as done. One that is made anew, with the same weights, keeps what was chosen for it."""
        with self._store.write():
            kept = self.get(name).summary or {}
            self._end(name, {"status": "done", "summary": json.dumps({**kept, **summary}), "error": None})

    def fail(self, name: str, error: str) -> None:
        """Mark a run as failed, with the reason in one line."""
        self._end(name, {"status": "failed", "error": error})

    def interrupt(self, name: str, error: str) -> None:
        """Mark a run as stopped by whoever started it, with how in one line."""
        self._end(name, {"status": "interrupted", "error": error})

    def reopen(self, name: str) -> Run:
        """Go on with a run in this process: status `running` again.

        Raises:
            UsageError: A living process is at it.
        """
        host, pid, process = this_process()
        with self._store.write() as db:
            run = self.get(name)
            if run.status == "running" and run.pid != pid:
                raise UsageError(f"run {run.name!r} is still running (process {run.pid} on {run.host}); wait for it")
            db.execute(
                "UPDATE runs SET status = 'running', error = NULL, finished_at = NULL, pid = ?, process = ?, host = ?"
                " WHERE name = ?",
                [pid, process, host, run.name],
            )
        return self.get(run.name)

    def begin_waiting(self, name: str, versions: Mapping[str, str], fingerprints: Mapping[str, str]) -> None:
        """Note what a run that was waiting begins with: versions and fingerprints as they are now."""
        with self._store.write() as db:
            values = {"versions": json.dumps(dict(versions)), "fingerprints": json.dumps(dict(fingerprints))}
            db.table("runs").update(self.get(name).id, values)

    def choose_score(self, name: str, score: "ScoreName", why: Mapping[str, Any]) -> None:
        """Set which score a run ranks by; what the choice rests on stands in its summary as `score_choice`.

        Raises:
            UsageError: The run is not done.
        """
        with self._store.write() as db:
            run = self.get(name)
            if run.status != "done":
                raise UsageError(
                    f"run {run.name!r} is {run.status}; its score is chosen once it is done; {run.to_be_done}"
                )
            summary = {**(run.summary or {}), "score_choice": {"chosen": score, **why}}
            db.table("runs").update(run.id, {"summary": json.dumps(summary)})

    def begin_steps(self, name: str, num_steps: int, after: int) -> None:
        """Note how many steps a run takes in all, and forget those after step `after`, which it takes again."""
        with self._store.write() as db:
            db.execute("UPDATE runs SET num_steps = ? WHERE name = ?", [num_steps, name])
            db.execute("DELETE FROM losses WHERE run = ? AND step > ?", [name, after])
            db.execute("DELETE FROM validations WHERE run = ? AND step > ?", [name, after])

    def log_loss(self, name: str, rows: Iterable[LossRow]) -> None:
        """Add points of the loss curve; a step that is logged again (after a resume) replaces what was there."""
        with self._store.write() as db:
            db.conn.executemany(
                "INSERT OR REPLACE INTO losses VALUES (?, ?, ?, ?, ?, ?, ?)", [(name, *astuple(row)) for row in rows]
            )

    def losses(self, name: str) -> list[LossRow]:
        """The loss curve, by step. A loss that was not a number comes back as NaN."""
        rows = self._store.rows(
            "SELECT step, coalesce(loss, 'nan'), tokens, targets, seconds, learning_rate FROM losses"
            " WHERE run = ? ORDER BY step",
            [name],
        )
        return [LossRow(step, float(loss), *rest) for step, loss, *rest in rows]

    def log_validation(self, name: str, row: ValidationRow) -> None:
        """Add a point of the validation curve; a step that is measured again replaces what was there."""
        with self._store.write() as db:
            db.execute("INSERT OR REPLACE INTO validations VALUES (?, ?, ?, ?, ?, ?, ?)", [name, *astuple(row)])

    def validations(self, name: str) -> list[ValidationRow]:
        """The validation curve, by step. A loss that was not a number comes back as NaN."""
        rows = self._store.rows(
            "SELECT step, coalesce(loss, 'nan'), tokens, targets, seconds, metric FROM validations"
            " WHERE run = ? ORDER BY step",
            [name],
        )
        return [ValidationRow(step, float(loss), *rest) for step, loss, *rest in rows]

    def add_checkpoint(self, name: str, step: int, path: Path, manifest: Mapping[str, Any]) -> None:
        """Note a saved checkpoint and its manifest. A folder inside the store is noted relative to it."""
        inside = path.is_relative_to(self._store.home)
        noted = path.relative_to(self._store.home) if inside else path.absolute()
        with self._store.write() as db:
            db.execute(
                "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?)",
                [name, step, noted.as_posix(), json.dumps(dict(manifest)), now()],
            )

    def drop_checkpoint(self, name: str, step: int) -> None:
        """Forget a checkpoint whose folder was deleted."""
        with self._store.write() as db:
            db.execute("DELETE FROM checkpoints WHERE run = ? AND step = ?", [name, step])

    def checkpoints(self, name: str) -> list[Checkpoint]:
        """Noted checkpoints, oldest step first."""
        rows = self._store.rows("SELECT step, path, manifest FROM checkpoints WHERE run = ? ORDER BY step", [name])
        return [Checkpoint(step, self._store.home / path, json_object(manifest)) for step, path, manifest in rows]

    def remove(self, name: str) -> None:
        """Delete a run with its losses, evaluations and folder, at once and for good.

        Raises:
            NotFoundError: No such run: the whole name is needed here, so that a slip removes nothing.
            UsageError: It is still running, or another run began with its weights.
        """
        self._store.trash.put([name])
        self._store.trash.empty([name])

    def _end(self, name: str, values: dict[str, Any]) -> None:
        with self._store.write() as db:
            if name not in self.names():
                raise not_found("run", name, self.names(), LIST_THEM)
            db.table("runs").update(self.get(name).id, {**values, "finished_at": now()})

    def _read(self, where: str, values: list[Any], *, checked: bool = True) -> list[Run]:
        # `where` is one of the clauses written in this class, never text from outside.
        marked = (
            "(SELECT note FROM notes WHERE run = name) AS note,"
            " (SELECT json_group_array(tag) FROM tags WHERE run = name) AS tags"
        )
        rows = self._store.records(
            f"SELECT runs.*, {marked} FROM runs WHERE {where} AND {OUT} ORDER BY id",  # noqa: S608
            values,
        )
        runs = [_run(row) for row in rows]
        return [run for run in runs if run.config] if checked else runs  # which raises where it is damaged


def _run(row: dict[str, Any]) -> Run:
    """One row as a run.

    Raises:
        CorruptError: Its configuration or what else it keeps as JSON is not what patchrec writes.
    """
    try:
        return _decoded(row)
    except (ValueError, TypeError, CorruptError) as error:  # json's errors are among them
        raise _damaged(row["name"], error) from error


def _damaged(name: str, error: Exception) -> CorruptError:
    """That a run cannot be read, and the way on."""
    return CorruptError(
        f"run {name!r} is not as it was stored ({' '.join(str(error).split())[:200]}); restore a copy of "
        f"the store, or remove the run: `patchrec runs rm {shlex.quote(name)}`"
    )


def _status(row: dict[str, Any]) -> Status:
    """What a run is now: a row cannot say that its process is gone, and says of a run that waits that it stopped."""
    if row["status"] == "running" and not is_alive(row["host"], row["pid"], row["process"]):
        return "lost"
    return "waiting" if (row["status"], row["error"]) == ("interrupted", WAITS) else row["status"]


def _decoded(row: dict[str, Any]) -> Run:
    return Run(
        id=row["id"],
        name=row["name"],
        stage=row["stage"],
        kind=row["kind"],
        dataset=row["dataset"],
        backbone=row["backbone"],
        parent=row["parent"],
        label=row["strategy"],
        status=_status(row),
        settings=json_object(row["config"]),
        seed=row["seed"],
        versions=json_object(row["versions"]),
        fingerprints=json_object(row["fingerprints"]),
        error=row["error"],
        pid=row["pid"],
        host=row["host"],
        created_at=row["created_at"],
        finished_at=row["finished_at"],
        summary=None if row["summary"] is None else json_object(row["summary"]),
        num_steps=row["num_steps"],
        group=row["seed_group"],
        note=row["note"],
        tags=tuple(sorted(json.loads(row["tags"]))),
    )


def _prefix(config: "RunConfig") -> str:
    """What a run is named after: its strategy, its stage, or its kind of recommender."""
    if config.stage == "baseline":
        return config.kind.name
    return config.strategies[-1].name if config.stage == "finetune" and config.strategies else config.stage


def _counted(db: "Database", prefix: str) -> str:
    """Count up per prefix, past names that users gave.

    A number is never given twice, so that no run inherits the folder of a removed one.
    """
    while True:
        number = db.execute("SELECT value FROM settings WHERE key = 'runs.' || ?", [prefix]).fetchone()
        name = f"{prefix}-{int(number[0]) + 1 if number else 1}"
        free = not marking.is_taken(db, name)
        db.execute(
            "INSERT INTO settings VALUES ('runs.' || ?, '1')"
            " ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1",
            [prefix],
        )
        if free:
            return name


def as_json(run: Run) -> dict[str, Any]:
    """A run as plain JSON, its configuration included."""
    return {
        **{key: value for key, value in asdict(run).items() if key != "settings"},
        "command": run.command,
        "score": run.score,
        "config": run.config.model_dump(mode="json"),
    }

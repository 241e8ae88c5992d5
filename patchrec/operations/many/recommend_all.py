"""Verb: recommend for many users into a file, in parts, so that a stopped job goes on where it was.

Users are put into parts of like prompt length. Each part's rankings are written before the next begins; when all are
there they become the output, whole and in the users' order. Several processes take turns at the parts.
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from patchrec.config import ScoreName
from patchrec.data.names import STDIN
from patchrec.data.parts import Parts, parts_folder
from patchrec.data.writers import WrittenFormat, format_for, print_rows, write_rows
from patchrec.errors import PatchrecError, UsageError
from patchrec.model.disk import disk_errors
from patchrec.operations.many.bulk_job import Job, Request, make_job, part_size
from patchrec.operations.many.bulk_parts import Tally, counted, in_order, missing_parts, rank_parts
from patchrec.operations.many.on_ray import check_place, rank_parts_on_ray
from patchrec.reporting import SILENT, Reporter
from patchrec.training.interrupts import stoppable
from patchrec.training.processes import Process

STDOUT = "-"


@dataclass(frozen=True, slots=True)
class BulkRecommendations:
    """What recommending for many users came to.

    Attributes:
        output: The file, or "-".
        short: Users with fewer items than asked for; `shortfall` says why, None where there is none.
        parts: How many the work had; `parts_found` those that an earlier call had done.
        seconds: Of this call's ranking.
        users_per_second: Of the users that this call ranked; None where it ranked none.
        unknown_users: Those among the users whom the data set does not have.
    """

    run: str
    label: str
    dataset: str
    score: ScoreName
    k: int
    output: str
    format: WrittenFormat
    users: int
    rows: int
    short: int
    shortfall: str | None
    parts: int
    parts_found: int
    seconds: float
    users_per_second: float | None
    unknown_users: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _State:
    """A job between being prepared and being done.

    Attributes:
        planned: Places of the users of every part.
        missing: Number -> places of the parts to do, in this process or, in process 0, in any.
        facts: What is in the output, where it is written already; else None.
    """

    job: Job
    parts: Parts
    planned: list[list[int]]
    missing: dict[int, list[int]]
    facts: dict[str, Any] | None


def recommend_all(
    request: Request, *, home: Path | None = None, report: Reporter = SILENT
) -> BulkRecommendations | None:
    """Rank for many users, and write a row for each item of each ranking (`Job.columns`).

    Returns:
        None in all but the first of several processes.

    Raises:
        NotFoundError: Users or items that are not there. UsageError: The output exists, or parts of another job do.
        InterruptedRunError: Stopped by Ctrl-C, SIGTERM or SIGHUP; what is done is kept.
        OutOfResourcesError: Disk or memory ran out; what is done is kept.
    """
    process = Process.this_one()
    kind = format_for(request.output, request.format)
    if request.output == STDOUT:
        return _print(request, kind, process, home, report)
    if request.on is not None:
        check_place(request.on)
        if process.count > 1:
            raise UsageError("--on ray starts processes itself; drop torchrun, or drop --on")
    if (process.count > 1 or request.on) and request.users == STDIN:
        raise UsageError("several processes cannot share stdin: give the users with --users FILE")
    output = Path(request.output).expanduser().resolve()

    def prepare() -> tuple[_State, bytes]:
        state = _prepare(request, output, process, home, report)
        return state, json.dumps(sorted(state.missing)).encode()

    prepared, told = process.start(prepare)
    if prepared is not None:
        state = prepared
    else:
        mine = [number for number in json.loads(told) if number % process.count == process.rank]
        if not mine:  # without a part of its own it must not touch the folder, which may go at any time
            return None
        state = follow(request, output, process, home, mine)
    try:
        return _write(request, state, output, kind, process, home, report)
    finally:
        state.parts.release()


def _print(
    request: Request, kind: WrittenFormat, process: Process, home: Path | None, report: Reporter
) -> BulkRecommendations:
    """Rank in the users' order and print as parts are done; nothing can go on later."""
    if process.count > 1 or request.on or request.restart or request.overwrite:
        raise UsageError("rows for stdout come from one process and are not kept: name a file with --output FILE")
    job, _ = make_job(request, home, report)
    size = part_size(job.loaded)
    places = list(range(len(job.users)))
    tally, begun = Tally(request.k), time.perf_counter()
    with report.task("recommend", len(places), "users") as task:
        for start in range(0, len(places), size):
            rankings = counted(job.rank(places[start : start + size]), tally)
            print_rows(sys.stdout, kind, job.rows(rankings), job.columns, header=start == 0)
            sys.stdout.flush()
            task.advance(len(places[start : start + size]))
    num_parts = -(-len(places) // size)
    return _result(request, job, kind, asdict(tally), num_parts, 0, len(places), time.perf_counter() - begun)


def _prepare(request: Request, output: Path, process: Process, home: Path | None, report: Reporter) -> _State:
    """Everything before the first part: the model, the users, and a folder that is this job's."""
    _refuse_output(output, request)
    job, plan = make_job(request, home, report)
    parts = Parts(parts_folder(output), plan)
    try:
        with disk_errors(f"writing {parts.folder}", "nothing was lost", f"go on with `{request.again}`"):
            parts.claim(process.rank)
            _refuse_output(output, request, parts)
            if request.restart:
                parts.clear()
            facts = parts.published(output)
            if facts is None:
                _refuse_another(parts, request.output)
                parts.begin()
        planned = job.parts_of(part_size(job.loaded))
        return _State(job, parts, planned, {} if facts is not None else missing_parts(parts, planned), facts)
    except BaseException:
        parts.release()
        raise


def follow(request: Request, output: Path, process: Process, home: Path | None, mine: Sequence[int]) -> _State:
    """The same in a process that has these parts to do, after process 0 made the folder."""
    from patchrec.training.state import differences

    job, plan = make_job(request, home, SILENT)
    parts = Parts(parts_folder(output), plan)
    saved = parts.saved_plan()
    if saved != plan:
        differing = "; ".join(differences(saved or {}, plan))
        raise PatchrecError(f"process {process.rank} sees another job than process 0: {differing}; start all alike")
    parts.claim(process.rank)
    planned = job.parts_of(part_size(job.loaded))
    return _State(job, parts, planned, {number: planned[number] for number in mine}, None)


def _refuse_output(output: Path, request: Request, parts: Parts | None = None) -> None:
    """Refuse to write over what is there, unless this job wrote it and only has to clear up.

    Args:
        parts: The job's, once it is known.
    """
    if output.exists() and not output.is_file():
        raise UsageError(f"{str(output)!r} is no file; name one with --output")
    if request.overwrite or not output.exists():
        return
    if parts is None:
        clearing_up = parts_folder(output).exists()
    else:
        clearing_up = not request.restart and parts.published(output) is not None
    if request.restart or not clearing_up:
        if parts is not None and not parts.is_begun:
            parts.remove()  # nothing but locks, of a job that was killed on its last step
        raise UsageError(f"{str(output)!r} is there already; write over it with --overwrite, or name another --output")


def _refuse_another(parts: Parts, output: str) -> None:
    """Refuse to go on with the parts of another job than this.

    Raises:
        UsageError: The message names what differs, and both ways out.
    """
    from patchrec.training.state import differences

    saved = parts.saved_plan()
    if saved is not None and saved != parts.plan:
        raise UsageError(
            f"{str(parts.folder)!r} holds parts of another job: {'; '.join(differences(saved, parts.plan))}; "
            f"throw them away with --restart, or name another --output than {output!r}"
        )


def _write(
    request: Request, state: _State, output: Path, kind: WrittenFormat, process: Process, home: Path | None,
    report: Reporter,
) -> BulkRecommendations | None:  # fmt: skip
    """Rank what is missing; process 0 makes the output of it."""
    job, parts, planned, missing = state.job, state.parts, state.planned, state.missing
    facts, num_found, num_users = state.facts, len(planned) - len(missing), sum(map(len, missing.values()))
    begun = time.perf_counter()
    with stoppable(lambda: _stopped(request, planned, missing)):
        if not process.is_main:
            with SILENT.task("recommend", num_users, "users") as task:
                rank_parts(job, parts, missing, process, task)
            return None
        if num_found:
            report.note(f"going on: {num_found} of {len(planned)} parts are done")
        with report.task("recommend", num_users, "users") as task:
            if request.on is None:
                rank_parts(job, parts, missing, process, task)
            else:
                rank_parts_on_ray(request, home, output, missing, task, report)
        seconds = time.perf_counter() - begun
        if facts is None:
            facts = _merge(request, job, parts, planned, output, kind)
        parts.remove()
    return _result(request, job, kind, facts, len(planned), num_found, num_users, seconds)


def _merge(
    request: Request, job: Job, parts: Parts, planned: Sequence[Sequence[int]], output: Path, kind: WrittenFormat
) -> dict[str, Any]:
    """Make the output of all parts, and count what is in it."""
    tally = Tally(job.k)
    most = min(job.k, job.filtered.num_items)

    def fill(path: Path) -> None:
        ranked = counted(in_order(parts, planned, len(job.users), most), tally)
        write_rows(path, kind, job.rows(ranked), job.columns)

    with disk_errors(f"writing {output}", "all parts are kept", f"go on with `{request.again}`"):
        parts.publish(output, fill, lambda: asdict(tally))
    return asdict(tally)


def _stopped(request: Request, planned: Sequence[Sequence[int]], missing: dict[int, list[int]]) -> str:
    return f"{len(planned) - len(missing)} of {len(planned)} parts are done and kept; go on with `{request.again}`"


def _result(
    request: Request,
    job: Job,
    kind: WrittenFormat,
    facts: dict[str, Any],
    num_parts: int,
    num_found: int,
    num_ranked: int,
    seconds: float,
) -> BulkRecommendations:
    short = f"{facts['short']:,} of {len(job.users):,} users got fewer than {job.k:,}, one only {facts['fewest']:,}"
    return BulkRecommendations(
        run=job.loaded.run.name,
        label=job.loaded.run.label,
        dataset=job.loaded.dataset.name,
        score=job.loaded.recommender.score,
        k=job.k,
        output=request.output,
        format=kind,
        users=len(job.users),
        rows=facts["rows"],
        short=facts["short"],
        shortfall=f"{short}: {job.filtered.reason}" if facts["short"] else None,
        parts=num_parts,
        parts_found=num_found,
        seconds=seconds,
        users_per_second=num_ranked / seconds if num_ranked else None,
        unknown_users=job.num_unknown,
    )

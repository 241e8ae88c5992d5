"""Recommending for many users: what one user gets, for each, exactly once, whatever happens on the way."""

import io
import json
import os
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import warm

from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Sequences
from patchrec.data.parquet import open_parquet
from patchrec.data.parts import Parts
from patchrec.errors import InterruptedRunError, NotFoundError, OutOfResourcesError, PatchrecError, UsageError
from patchrec.operations.filters import Filters
from patchrec.operations.many import bulk_job, bulk_parts
from patchrec.operations.many.bulk_job import Request
from patchrec.operations.many.recommend_all import BulkRecommendations, recommend_all
from patchrec.operations.recommend import recommend
from patchrec.operations.training.train import finetune
from patchrec.store import Store
from patchrec.training.processes import Process

HERE = Path(__file__).resolve().parent
NUM_USERS, NUM_ITEMS = 60, 24
ODD_IDS = ("=1+1", "007", "😀", "-5", "@x", "a,b")


def crowd() -> Dataset:
    """Sixty users of many lengths, some with ids that programs like to change."""
    luck = np.random.default_rng(3)
    items = [luck.permutation(NUM_ITEMS)[: luck.integers(4, 20)] for _ in range(NUM_USERS)]
    lengths = np.array([len(each) for each in items])
    return Dataset(
        name="crowd",
        catalog=Catalog(
            tuple(f"=i{item}" if item < 4 else f"i{item}" for item in range(NUM_ITEMS)),
            tuple(f"Thing {item // 2}" for item in range(NUM_ITEMS)),
            tuple({"year": 1980 + item} for item in range(NUM_ITEMS)),
        ),
        sequences=Sequences(
            user_ids=(*ODD_IDS, *(f"u{user}" for user in range(len(ODD_IDS), NUM_USERS))),
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
            items=np.concatenate(items),
            timestamps=None,
            train_stop=lengths - 2,
            validation_stop=lengths - 1,
        ),
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crowd") / "home"
    with Store.open(folder) as store:
        store.datasets.add(crowd(), source="made up", licence="none", split={"rule": "leave-one-out"})
    finetune(strategy="pft-s", options={"L": 2}, data="crowd", backbone="tiny-random", max_steps=1, home=folder)
    return folder


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_job, "USERS_PER_PART", {"cpu": 16, "cuda": 16})


def run(home: Path, output: Path, **asked: object) -> BulkRecommendations:
    found = recommend_all(Request(output=str(output), **asked), home=home)
    assert found is not None
    return found


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class Notes:
    """A reporter that remembers notes and totals."""

    def __init__(self) -> None:
        self.notes, self.totals, self.done = [], [], 0.0

    def note(self, message: str) -> None:
        self.notes.append(message)

    def picked(self, what: str, value: str, why: str) -> None:
        pass

    def task(self, label: str, total: float, unit: str):
        self.totals.append((label, total, unit))
        stack = ExitStack()
        stack.advance = lambda amount, **_: setattr(self, "done", self.done + amount)
        return stack


def interrupt_after(monkeypatch: pytest.MonkeyPatch, calls: int, error: BaseException | None = None) -> None:
    """Stop in the middle of a ranking, once."""
    rank, seen = bulk_job.rank, []

    def stop(*arguments, **options):
        seen.append(1)
        if len(seen) == calls + 1:
            raise error or KeyboardInterrupt
        return rank(*arguments, **options)

    monkeypatch.setattr(bulk_job, "rank", stop)


def test_every_user_gets_what_recommend_gives_in_the_order_of_the_data_set(home: Path, tmp_path: Path) -> None:
    found = run(home, tmp_path / "recs.jsonl", k=3)
    rows = read(tmp_path / "recs.jsonl")
    data = crowd()
    assert [row["user_id"] for row in rows] == [user for user in data.sequences.user_ids for _ in range(3)]
    assert [row["rank"] for row in rows] == [1, 2, 3] * NUM_USERS
    assert list(rows[0]) == ["user_id", "item_id", "score", "rank", "probability"]
    for user in ("=1+1", "u30", "u59"):
        alone = recommend(user=user, k=3, home=home).ranking
        own = [row for row in rows if row["user_id"] == user]
        assert [row["item_id"] for row in own] == [line.item_id for line in alone]
        assert [row["score"] for row in own] == pytest.approx([line.score for line in alone], abs=1e-4)
    assert (found.users, found.rows, found.short, found.parts, found.parts_found) == (NUM_USERS, 180, 0, 4, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recs.jsonl"]


def test_all_formats_hold_the_same_rows(home: Path, tmp_path: Path) -> None:
    for ending in ("jsonl", "csv", "parquet"):
        run(home, tmp_path / f"recs.{ending}", k=2)
    rows = [tuple(row.values()) for row in read(tmp_path / "recs.jsonl")]
    with ExitStack() as stack:
        _, batches = open_parquet(tmp_path / "recs.parquet", stack)
        found = [batch.row(place) for batch in batches for place in range(len(batch))]
        assert [(*list(row.values())[:3], int(row["rank"]), row["probability"]) for row in found] == rows
    lines = (tmp_path / "recs.csv").read_text().splitlines()
    assert lines[0] == "user_id,item_id,score,rank,probability"
    assert lines[1].startswith("'=1+1,")
    assert len(lines) == len(rows) + 1


def test_users_come_in_the_order_given_and_once(home: Path, tmp_path: Path) -> None:
    (tmp_path / "users.txt").write_text("u59\n\n=1+1\nu59\n😀\n")
    notes = Notes()
    recommend_all(Request(str(tmp_path / "r.jsonl"), users=str(tmp_path / "users.txt"), k=1), home=home, report=notes)
    assert [row["user_id"] for row in read(tmp_path / "r.jsonl")] == ["u59", "=1+1", "😀"]
    assert any("more than once" in note for note in notes.notes)


def test_unknown_users_are_refused_together(home: Path, tmp_path: Path) -> None:
    (tmp_path / "users.txt").write_text("u59\nx1\nx2\nx3\nx4\nx5\nx6\n")
    with pytest.raises(NotFoundError, match=r"6 of 7 users are not in data set 'crowd': 'x1', .*'x5' and others"):
        run(home, tmp_path / "r.jsonl", users=str(tmp_path / "users.txt"))
    (tmp_path / "users.txt").write_text("u599\n")
    with pytest.raises(NotFoundError, match="did you mean 'u59'"):
        run(home, tmp_path / "r.jsonl", users=str(tmp_path / "users.txt"))
    assert not (tmp_path / "r.jsonl.parts").exists()


def test_stdout_gets_the_rows_and_stdin_gives_the_users(home: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(b"u59\nu8\n"))
    monkeypatch.setattr(sys, "stdin", stdin)
    found = recommend_all(Request(output="-", users="-", k=2), home=home)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["user_id"], row["rank"]) for row in rows] == [("u59", 1), ("u59", 2), ("u8", 1), ("u8", 2)]
    assert (found.rows, found.output, found.format) == (4, "-", "jsonl")


def test_filters_hold_for_every_user_and_shortfalls_are_counted(home: Path, tmp_path: Path) -> None:
    found = run(home, tmp_path / "r.jsonl", k=5, filters=Filters(where="year >= 1998"))
    rows = read(tmp_path / "r.jsonl")
    assert {row["item_id"] for row in rows} <= {f"i{item}" for item in range(18, 24)}
    data = crowd().sequences
    left = [6 - int((data.items_of(user) >= 18).sum()) for user in range(NUM_USERS)]
    assert found.rows == len(rows) == sum(min(5, number) for number in left)
    assert found.short == sum(number < 5 for number in left)
    assert found.shortfall == (
        f"{found.short} of 60 users got fewer than 5, one only {min(left)}: of 24 items --where keeps 6, "
        "and what a user has had is left out"
    )


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_a_stopped_job_goes_on_and_gives_the_same_bytes(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    run(home, tmp_path / f"whole.{ending}")
    output = tmp_path / f"recs.{ending}"
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        with pytest.raises(InterruptedRunError, match="2 of 4 parts are done and kept; go on with `again!`") as stopped:
            run(home, output, again="again!")
    assert stopped.value.exit_code == 130
    assert not output.exists()
    torn = sorted(output.with_name(f"{output.name}.parts").glob("part-*"))[0]
    torn.write_bytes(torn.read_bytes()[:-10])
    notes = Notes()
    found = recommend_all(Request(output=str(output)), home=home, report=notes)
    assert "going on: 1 of 4 parts are done" in notes.notes
    assert notes.totals == [("recommend", 44.0, "users")]  # 60 less one part of 16
    assert notes.done == 44
    assert output.read_bytes() == (tmp_path / f"whole.{ending}").read_bytes()
    assert (found.parts, found.parts_found, found.rows) == (4, 1, 60 * 10 - sum_missing(10))


def sum_missing(k: int) -> int:
    """Rows that users lack who have had almost everything."""
    data = crowd().sequences
    return sum(max(0, k - (NUM_ITEMS - len(data.items_of(user)))) for user in range(NUM_USERS))


def test_parts_of_another_job_are_refused_with_both_ways_out(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "recs.csv"
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1)
        with pytest.raises(InterruptedRunError):
            run(home, output)
    with pytest.raises(UsageError, match=r"k: 10 saved, 4 now; .*--restart, or name another --output"):
        run(home, output, k=4)
    with pytest.raises(UsageError, match=r"filters\.where: None saved, '1' now"):
        run(home, output, filters=Filters(where="1"))
    found = run(home, output, k=4, restart=True)
    assert (found.parts_found, found.rows) == (0, 60 * 4 - sum_missing(4))


def test_an_output_that_is_there_is_refused_before_any_work(home: Path, tmp_path: Path) -> None:
    output = tmp_path / "recs.csv"
    output.write_text("mine")
    for asked in ({}, {"restart": True}):
        with pytest.raises(UsageError, match="is there already; write over it with --overwrite"):
            run(home, output, run="no such run", **asked)
    with pytest.raises(UsageError, match="is no file"):
        run(home, tmp_path, format="csv", overwrite=True)
    assert output.read_text() == "mine"
    run(home, output, overwrite=True, k=1)
    assert len(output.read_text().splitlines()) == 61


def test_a_job_killed_after_its_output_appeared_only_clears_up(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "recs.csv"
    with monkeypatch.context() as patch:
        patch.setattr(Parts, "remove", lambda self: None)
        first = run(home, output)
    written = output.stat().st_mtime_ns
    again = run(home, output)
    assert replace(again, seconds=0, parts_found=0, users_per_second=None) == replace(
        first, seconds=0, users_per_second=None
    )
    assert output.stat().st_mtime_ns == written
    assert [path.name for path in tmp_path.iterdir()] == ["recs.csv"]


def test_a_full_disk_keeps_what_is_done(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output, write, calls = tmp_path / "recs.csv", Parts.write, []

    def full(self, *arguments):
        calls.append(1)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        write(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Parts, "write", full)
        with pytest.raises(OutOfResourcesError, match="finished parts are kept"):
            run(home, output)
    assert run(home, output).parts_found == 2


def start_alone(self: Process, prepare):
    """What `Process.start` does, without the others; process 1 is told of all four parts."""
    return prepare() if self.is_main else (None, b"[0, 1, 2, 3]")


def test_processes_share_the_parts_and_any_number_of_them_goes_on(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each in its turn here: process 1 of 2 first, then process 0, which waits for nothing."""
    monkeypatch.setattr(Process, "start", start_alone)
    whole, output = tmp_path / "whole.csv", tmp_path / "recs.csv"
    run(home, whole)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 0)
        with pytest.raises(InterruptedRunError):
            run(home, output)  # leaves the plan
    with monkeypatch.context() as patch:
        patch.setattr(Process, "this_one", classmethod(lambda cls: Process(1, 2, 1)))
        assert recommend_all(Request(output=str(output)), home=home) is None
        with pytest.raises(PatchrecError, match="process 1 sees another job than process 0: k: 10 saved, 4 now"):
            recommend_all(Request(output=str(output), k=4), home=home)
    assert sorted(path.name for path in (tmp_path / "recs.csv.parts").glob("part-*")) == [
        "part-000001.jsonl",
        "part-000003.jsonl",
    ]
    with monkeypatch.context() as patch:
        patch.setattr(Process, "this_one", classmethod(lambda cls: Process(0, 2, 0)))
        assert run(home, output).parts_found == 2
    assert output.read_bytes() == whole.read_bytes()


def test_a_process_that_never_delivers_is_told(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Process, "start", start_alone)
    monkeypatch.setattr(Process, "this_one", classmethod(lambda cls: Process(0, 2, 0)))
    monkeypatch.setattr(bulk_parts, "PATIENCE", -1.0)
    with pytest.raises(PatchrecError, match="2 parts of other processes did not appear"):
        run(home, tmp_path / "recs.csv")
    monkeypatch.undo()
    monkeypatch.setattr(bulk_job, "USERS_PER_PART", {"cpu": 16, "cuda": 16})
    assert run(home, tmp_path / "recs.csv").parts_found == 2


def test_a_process_without_a_part_touches_nothing(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Process, "start", start_alone)
    monkeypatch.setattr(Process, "this_one", classmethod(lambda cls: Process(5, 6, 5)))
    assert recommend_all(Request(output=str(tmp_path / "recs.csv"), run="not even a run"), home=home) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("rank", "count"), [("2", "2"), ("x", "2"), ("0", "0")])
def test_a_process_number_that_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch, rank: str, count: str) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", count)
    with pytest.raises(UsageError, match="unset them"):
        Process.this_one()


def trials(*arguments: object) -> dict:
    """Run `bulk_trials.py` beside this file with the package found where it is found here."""
    fixed = {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = warm.run([str(HERE / "bulk_trials.py"), *map(str, arguments)], env={**os.environ, **fixed})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@needs_fork
def test_killed_jobs_go_on_and_every_row_comes_once(home: Path, tmp_path: Path) -> None:
    found = trials("kill", home, tmp_path, 5, 1)
    assert found["hits"] >= 5
    assert found["mismatches"] == []


@needs_fork
@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_twenty_five_kills_of_one_and_of_two_processes(home: Path, tmp_path: Path, count: int) -> None:
    found = trials("kill", home, tmp_path, 25, count)
    assert found["hits"] >= 25
    assert found["mismatches"] == []


@needs_fork
@pytest.mark.slow
def test_dying_at_any_use_of_any_file_loses_and_doubles_nothing(home: Path, tmp_path: Path) -> None:
    found = trials("crash", home, tmp_path, 1)
    assert found["crashes"] > 50
    assert found["mismatches"] == []


@needs_fork
@pytest.mark.slow
def test_a_disk_full_at_any_level_leaves_no_output_and_loses_no_part(home: Path, tmp_path: Path) -> None:
    assert trials("full", home, tmp_path, 25) == {"codes": [7] * 25, "mismatches": []}

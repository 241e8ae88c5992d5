"""Many processes, killed processes, full disks: nothing is lost, nothing is half there."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import warm

from patchrec.data.histories import Dataset
from patchrec.errors import CorruptError, OutOfResourcesError, StoreBusyError, UsageError
from patchrec.store import Store
from patchrec.store import connection as connection_module
from patchrec.store.schema import migrations

SCRIPT = Path(__file__).with_name("store_processes.py")


def start(task: str, home: Path, number: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), task, str(home), str(number)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_warm(task: str, home: Path, number: int) -> warm.Started:
    return warm.start([str(SCRIPT), task, str(home), str(number)])


def end_well(processes: list[warm.Started]) -> None:
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors


def assert_sound(store: Store) -> None:
    assert store.rows("PRAGMA integrity_check") == [("ok",)]
    assert store.rows("PRAGMA foreign_key_check") == []


def check_that_no_run_is_lost(store: Store, processes: int, each: int) -> None:
    end_well([start_warm("create", store.home, each) for _ in range(processes)])
    names = store.runs.names()
    assert sorted(names) == sorted(f"pretrain-{number}" for number in range(1, processes * each + 1))
    assert {status for (status,) in store.rows("SELECT DISTINCT status FROM runs")} == {"done"}
    assert store.rows("SELECT count(*) FROM losses") == [(processes * each,)]
    assert_sound(store)


def test_eight_processes_lose_no_run(toy_store: Store) -> None:
    check_that_no_run_is_lost(toy_store, processes=8, each=20)


@pytest.mark.slow
def test_eight_processes_lose_none_of_1600_runs(toy_store: Store) -> None:
    check_that_no_run_is_lost(toy_store, processes=8, each=200)


def test_processes_that_start_at_once_create_the_store_once(tmp_path: Path) -> None:
    end_well([start_warm("open", tmp_path / "home", 5) for _ in range(4)])
    with Store.open(tmp_path / "home") as store:
        known = [(migration.name,) for migration in migrations._migrations]
        assert store.rows("SELECT name FROM _sqlite_migrations") == known
        assert_sound(store)


def check_kills(store: Store, kills: int, writers: int) -> None:
    draw = random.Random(0)
    running = [start("create", store.home, 100_000) for _ in range(writers)]
    for _ in range(kills):
        time.sleep(draw.uniform(0.0, 0.4))
        victim = running.pop(draw.randrange(writers))
        victim.kill()
        victim.communicate()
        running.append(start("create", store.home, 100_000))
    for process in running:
        process.kill()
        process.communicate()
    assert_sound(store)
    runs = store.runs.all()
    assert {run.status for run in runs} <= {"done", "lost"}
    assert len({run.name for run in runs}) == len(runs)
    finished = store.rows("SELECT count(*) FROM runs WHERE status = 'done' AND name NOT IN (SELECT run FROM losses)")
    assert finished == [(0,)]


def test_killed_writers_leave_a_sound_store(toy_store: Store) -> None:
    check_kills(toy_store, kills=4, writers=2)


@pytest.mark.slow
def test_300_killed_writers_leave_a_sound_store(toy_store: Store) -> None:
    check_kills(toy_store, kills=300, writers=4)


def check_kills_while_creating(folder: Path, kills: int) -> None:
    draw = random.Random(1)
    for number in range(kills):
        home = folder / str(number)
        process = start("open", home, 1)
        time.sleep(draw.uniform(0.25, 0.6))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        with Store.open(home) as store:
            assert store.datasets.names() == []
            assert_sound(store)


def test_a_process_killed_while_creating_leaves_the_old_or_the_new_schema(tmp_path: Path) -> None:
    check_kills_while_creating(tmp_path, kills=4)


@pytest.mark.slow
def test_100_processes_killed_while_creating_leave_the_old_or_the_new_schema(tmp_path: Path) -> None:
    check_kills_while_creating(tmp_path, kills=100)


def test_a_held_store_is_waited_for_and_then_reported_busy(toy_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = start("hold", toy_store.home, 60)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    try:
        toy_store.db.execute("PRAGMA busy_timeout = 200")
        began = time.monotonic()
        with pytest.raises(StoreBusyError, match="wait for it and try again"):
            toy_store.datasets.use("toy")
        assert time.monotonic() - began > 0.2
        assert toy_store.datasets.current() is None
    finally:
        holder.kill()
        holder.communicate()
    toy_store.datasets.use("toy")
    assert toy_store.datasets.current() == "toy"


def test_a_run_of_a_dead_process_is_lost_and_can_go_on(toy_store: Store) -> None:
    process = start("begin", toy_store.home, 60)
    assert process.stdout is not None
    name = process.stdout.readline().strip()
    assert toy_store.runs.get(name).status == "running"
    with pytest.raises(UsageError, match="still running"):
        toy_store.runs.reopen(name)
    with pytest.raises(UsageError, match="still running"):
        toy_store.runs.remove(name)
    process.kill()
    process.communicate()
    assert toy_store.runs.get(name).status == "lost"
    assert toy_store.runs.newest(status="lost").name == name
    assert toy_store.runs.reopen(name).status == "running"
    toy_store.runs.finish(name, {})
    assert toy_store.runs.get(name).status == "done"


@pytest.mark.parametrize("pages", range(25))
def test_a_full_disk_loses_nothing_saved(pages: int, toy_store: Store, toy: Dataset) -> None:
    from dataclasses import replace

    (used,) = toy_store.db.execute("PRAGMA page_count").fetchone()
    toy_store.db.execute(f"PRAGMA max_page_count = {used + pages // 5}")
    long_titles = tuple(f"{title} {'x' * (200 + 400 * pages)}" for title in toy.catalog.titles)
    large = replace(toy, name="large", catalog=replace(toy.catalog, titles=long_titles))
    try:
        toy_store.datasets.add(large, source="s", licence="l", split={})
    except OutOfResourcesError as error:
        assert "free some space" in str(error)  # noqa: PT017 - small additions may fit
        assert toy_store.datasets.names() == ["toy"]
    else:
        assert toy_store.datasets.load("large").catalog.titles == long_titles
    assert toy_store.datasets.load("toy").sequences.fingerprint == toy.sequences.fingerprint
    assert_sound(toy_store)


def test_a_damaged_file_is_reported_not_guessed_at(toy_store: Store) -> None:
    path = toy_store.path
    toy_store.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    toy_store.close()
    content = bytearray(path.read_bytes())
    content[100:4000] = b"\xa5" * 3900
    path.write_bytes(content)
    with pytest.raises(CorruptError, match="damaged"), Store.open(path.parent) as store:
        store.datasets.load("toy")
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(CorruptError, match="damaged"):
        Store.open(path.parent)


def test_wal_is_used_only_where_it_is_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = connection_module.sqlite3.sqlite_version_info >= (3, 51, 3)
    with Store.open(tmp_path / "a") as store:
        assert store.rows("PRAGMA journal_mode") == [("wal" if sound else "delete",)]
    monkeypatch.setattr(connection_module, "SOUND_WAL", (99, 0, 0))
    for folder in ("a", "b"):
        with Store.open(tmp_path / folder) as store:
            assert store.rows("PRAGMA journal_mode") == [("delete",)]


# What SQLite asks when it closes a file: is this the last connection, so that the log can be cleared? It is if the
# bytes that every connection holds can be had alone.
LOOKS = """
import fcntl, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(connection.execute("SELECT count(*) FROM settings").fetchone())
with open(sys.argv[1], "r+b") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)
    except OSError:
        print("held")
connection.close()
"""
READS = """
import sys
from pathlib import Path
from patchrec.store import Store
with Store.open(Path(sys.argv[1])) as store:
    print(store.rows("SELECT key FROM settings"))
"""


def test_another_program_that_looks_at_the_file_takes_nothing_from_who_writes_it(tmp_path: Path) -> None:
    def told(code: str, path: Path) -> str:
        return subprocess.run(
            [sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True
        ).stdout

    with Store.open(tmp_path) as writer:
        writer.rows("SELECT key FROM settings")
        with Store.open(tmp_path) as other:  # opened twice in one process, as a verb does that calls another
            other.rows("SELECT key FROM settings")
        assert "held" in told(LOOKS, writer.path)
        with writer.write() as db:
            db.execute("INSERT INTO settings VALUES ('colour', 'blue')")
        assert "colour" in told(READS, tmp_path)
    with Store.open(tmp_path) as store:
        assert_sound(store)


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(tmp_path):
        pass
    monkeypatch.setattr(connection_module.os, "access", lambda path, mode: False)
    with pytest.raises(UsageError, match=r"cannot use .* \(Permission denied\); set PATCHREC_HOME"):
        Store.open(tmp_path)

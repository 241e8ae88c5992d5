"""The trash: a removed run is out of sight and whole, until it is taken back or deleted for good."""

import random
import shutil
import subprocess
import sys
import time

import pytest

from patchrec.config import HistoryConfig, KindConfig, PartConfig, RunConfig
from patchrec.errors import NotFoundError, UsageError
from patchrec.store import Store
from patchrec.store.marks import Marks

GC = "import sys, pathlib, patchrec.store as s; s.Store.open(pathlib.Path(sys.argv[1])).trash.empty()"


def done(store, *, parent=None, parts=()):
    """A finished run with a folder of 1,000 bytes."""
    config = RunConfig(
        stage="blend" if parts else "baseline",
        dataset="toy",
        backbone=None,
        parent=parent,
        kind=KindConfig(name="blend" if parts else "popularity"),
        parts=tuple(PartConfig(run=name, weight=1 / len(parts), history=HistoryConfig()) for name in parts),
    )
    name = store.runs.create(config, label="made", versions={}, fingerprints={}).name
    store.runs.finish(name, {})
    folder = store.run_folder(name) / "step-1"
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(b"x" * 1000)
    store.runs.add_checkpoint(name, 1, folder, {"files": {}})
    return name


def test_a_removed_run_is_nowhere_and_comes_back_as_it_was(toy_store):
    first, second = done(toy_store), done(toy_store)
    toy_store.runs.mark(first, Marks(note="n", tags=("a",)))
    before = toy_store.runs.get(first), toy_store.runs.checkpoints(first)
    toy_store.trash.put([first])
    assert toy_store.runs.names() == [second]
    assert [run.name for run in toy_store.runs.all()] == [second]
    assert toy_store.runs.newest().name == second
    assert toy_store.runs.get("popularity").name == second  # the only one that begins so now
    with pytest.raises(NotFoundError, match=f"in the trash; take it back with `patchrec runs restore {first}`"):
        toy_store.runs.get(first)
    with pytest.raises(NotFoundError):
        toy_store.evaluations.add(first, "test", "item", config={}, metrics=[], rankings=[], cost={})
    with pytest.raises(NotFoundError, match="in the trash already"):
        toy_store.trash.put([first])
    toy_store.trash.take_back([first])
    assert (toy_store.runs.get(first), toy_store.runs.checkpoints(first)) == before
    assert (toy_store.run_folder(first) / "step-1" / "weights").exists()


def test_what_goes_with_a_run_is_told(toy_store):
    first, second = done(toy_store), done(toy_store)
    child, blend = done(toy_store, parent=first), done(toy_store, parts=(first, second))
    [about] = toy_store.trash.about([first])
    assert (about.size, about.evaluations, about.starts, about.mixed_by) == (1000, 0, (child,), (blend,))
    toy_store.trash.put([blend])
    assert toy_store.trash.about([first])[0].mixed_by == ()


def test_a_damaged_configuration_does_not_keep_a_run_from_going(toy_store):
    first, second = done(toy_store), done(toy_store)
    for parts in ('[1, "x", {"run": 7}, null]', '"x"', '{"a": {"run": "popularity-2"}}'):
        with toy_store.write() as db:
            db.execute("UPDATE runs SET config = json_set(config, '$.parts', json(?)) WHERE name = ?", [parts, first])
        toy_store.trash.about([second])
    toy_store.trash.put([first])
    toy_store.trash.empty()
    assert [run.name for run in toy_store.runs.all()] == [second]


def test_several_go_together_or_not_at_all(toy_store):
    parent, other = done(toy_store), done(toy_store)
    child = done(toy_store, parent=parent)
    with pytest.raises(UsageError, match=f"{parent!r} is the start of {child}; remove those first, or with it"):
        toy_store.trash.put([other, parent])
    with pytest.raises(NotFoundError, match="no run 'pop'"):
        toy_store.trash.put([other, "pop"])
    assert toy_store.trash.names() == []
    toy_store.trash.put([parent, child])
    assert toy_store.trash.names() == [parent, child]
    with pytest.raises(UsageError, match=f"patchrec runs restore {parent} {child}"):
        toy_store.trash.take_back([child])
    with pytest.raises(NotFoundError, match="no run in the trash"):
        toy_store.trash.take_back([parent, other])
    with pytest.raises(UsageError, match=f"{child!r} in the trash started from {parent!r}"):
        toy_store.trash.empty([parent])
    toy_store.trash.take_back([child, parent])
    assert toy_store.trash.names() == []
    toy_store.trash.put([parent, child])
    toy_store.trash.empty()
    assert toy_store.runs.names() == [other]
    assert not toy_store.run_folder(parent).exists()
    assert toy_store.rows("SELECT count(*) FROM checkpoints") == [(1,)]


def test_the_beginning_of_a_name_removes_nothing(toy_store):
    names = [done(toy_store) for _ in range(10)]
    toy_store.trash.put([names[0]])
    toy_store.trash.empty()
    with pytest.raises(NotFoundError, match="only a whole name removes a run"):
        toy_store.trash.put(["popularity-1"])  # popularity-10 begins so
    assert toy_store.runs.names() == names[1:]


def test_a_name_stays_taken_in_the_trash_and_after_it(toy_store):
    first = done(toy_store)
    toy_store.trash.put([first])
    assert done(toy_store) == "popularity-2"
    toy_store.trash.empty()
    assert done(toy_store) == "popularity-3"


def test_what_is_being_deleted_is_not_taken_back_and_ends_with_the_next_call(toy_store, monkeypatch):
    first = done(toy_store)
    toy_store.trash.put([first])

    def refuse(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(PermissionError):
        toy_store.trash.empty()
    monkeypatch.undo()
    with pytest.raises(UsageError, match="being deleted"):
        toy_store.trash.take_back([first])
    toy_store.trash.empty()
    assert toy_store.rows("SELECT name FROM runs") == []
    assert not toy_store.run_folder(first).exists()


def test_a_link_in_place_of_a_folder_goes_and_what_it_leads_to_stays(toy_store, tmp_path):
    first = done(toy_store)
    elsewhere = tmp_path / "elsewhere"
    toy_store.run_folder(first).rename(elsewhere)
    toy_store.run_folder(first).symlink_to(elsewhere)
    toy_store.trash.put([first])
    toy_store.trash.empty()
    assert not toy_store.run_folder(first).is_symlink()
    assert (elsewhere / "step-1" / "weights").exists()


def test_a_data_set_stays_while_runs_in_the_trash_need_it(toy_store):
    first = done(toy_store)
    toy_store.trash.put([first])
    with pytest.raises(UsageError, match=f"patchrec runs gc {first}"):
        toy_store.datasets.remove("toy")
    toy_store.trash.empty()
    toy_store.datasets.remove("toy")


def check_kills(store, kills):
    """Kill emptyings at moments spread over the time of one: every run is whole, or is deleted by the next."""
    folders = [store.home.parent / str(number) for number in range(kills + 1)]
    for _ in range(20):
        done(store)
    store.trash.put(store.runs.names()[::2])
    kept = store.runs.names()
    store.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for folder in folders:
        shutil.copytree(store.home, folder)
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", GC, str(folders[-1])], check=True)
    taken = time.monotonic() - begun
    draw = random.Random(0)
    for number, folder in enumerate(folders[:-1]):
        process = subprocess.Popen([sys.executable, "-c", GC, str(folder)])
        time.sleep(taken * (0.5 + 0.5 * (number + draw.random()) / kills))
        process.kill()
        process.wait()
        with Store.open(folder) as again:
            assert again.rows("PRAGMA integrity_check") == [("ok",)]
            assert again.runs.names() == kept
            for name in again.trash.names():
                if not again.trash.about([name])[0].emptying:
                    again.trash.take_back([name])
                    assert again.trash.about([name])[0].size == 1000
                    again.trash.put([name])
            again.trash.empty()
            assert again.trash.names() == []
            assert sorted(path.name for path in (folder / "runs").iterdir()) == sorted(kept)
            assert all(about.size == 1000 for about in again.trash.about(kept))


def test_3_kills_while_the_trash_is_emptied(toy_store):
    check_kills(toy_store, 3)


@pytest.mark.slow
def test_50_kills_while_the_trash_is_emptied(toy_store):
    check_kills(toy_store, 50)

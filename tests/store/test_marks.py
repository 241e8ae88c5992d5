"""Names, notes and tags that users give runs."""

import hashlib
import re
from pathlib import Path

import pytest

from patchrec.config import KindConfig, RunConfig
from patchrec.errors import NotFoundError, UsageError
from patchrec.store import Store, schema
from patchrec.store.marks import Marks
from patchrec.store.schema import migrations

CONFIG = RunConfig(stage="baseline", dataset="toy", backbone=None, kind=KindConfig(name="popularity"))


def make(store, name=None, **marks):
    run = store.runs.create(CONFIG, label="popularity", versions={}, fingerprints={}, marks=Marks(name, **marks))
    store.runs.finish(run.name, {})
    return run


def test_a_run_has_the_name_note_and_tags_that_it_was_made_with(toy_store):
    run = make(toy_store, "mine", note="two words\n😀", tags=("b", "a", "b"))
    assert (run.name, run.note, run.tags) == ("mine", "two words\n😀", ("a", "b"))
    assert [(found.note, found.tags) for found in (toy_store.runs.all()[0], toy_store.runs.get("mi"))] == [
        (run.note, run.tags)
    ] * 2
    assert (make(toy_store).name, make(toy_store).tags) == ("popularity-1", ())


@pytest.mark.parametrize("name", ["mine", "MINE", "popularity-1", "popularity-2", "Popularity-2"])
def test_a_name_is_never_given_twice(toy_store, name):
    make(toy_store, "mine")
    for _ in range(2):
        make(toy_store)
    for gone in (lambda: None, lambda: toy_store.trash.put(toy_store.runs.names()), toy_store.trash.empty):
        gone()
        for refused in (lambda: make(toy_store, name), lambda: toy_store.runs.check_free(Marks(name))):
            with pytest.raises(UsageError, match=f"--name {name}: .*choose another"):
                refused()


def test_counted_names_go_past_those_that_users_gave(toy_store):
    make(toy_store, "popularity-1")
    make(toy_store, "Popularity-3")
    assert [make(toy_store).name for _ in range(2)] == ["popularity-2", "popularity-4"]
    make(toy_store, "popularity-04")  # another name
    assert make(toy_store).name == "popularity-5"


@pytest.mark.parametrize("name", ["", "none", "None", "../x", "a b", "-x", ".x", "x" * 65, "ü", "a/b", "x\n"])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(UsageError):
        Marks(name)
    if name.casefold() != "none":
        with pytest.raises(UsageError, match="tag"):
            Marks(tags=(name,))


@pytest.mark.parametrize(("note", "words"), [("x" * 10_001, "10,000 letters"), ("ab\udce9", "letter 3")])
def test_a_note_that_cannot_be_kept_is_refused(note, words):
    with pytest.raises(UsageError, match=words):
        Marks(note=note)


def test_a_run_is_marked_again(toy_store):
    name = make(toy_store, note="old", tags=("a", "b")).name
    run = toy_store.runs.mark(name, Marks(tags=("c", "a")), without=["b"])
    assert (run.note, run.tags) == ("old", ("a", "c"))
    assert toy_store.runs.mark(name, Marks(note="new")).note == "new"
    assert toy_store.runs.mark(name, Marks(note="")).note is None
    with pytest.raises(NotFoundError, match="choices: a, c"):
        toy_store.runs.mark(name, Marks(note="not kept"), without=["d"])
    with pytest.raises(UsageError, match="keeps its name"):
        toy_store.runs.mark(name, Marks("other"))
    assert toy_store.runs.get(name).note is None


def test_marks_go_with_their_run(toy_store):
    name = make(toy_store, note="n", tags=("a",)).name
    toy_store.runs.remove(name)
    assert [toy_store.rows(f"SELECT count(*) FROM {table}") for table in ("notes", "tags", "trash")] == [[(0,)]] * 3


def test_a_store_without_marks_gets_them_and_loses_nothing(tmp_path: Path, toy):
    with Store.open(tmp_path / "home") as store:
        store.datasets.add(toy, source="x", licence="x", split={})
        make(store)
        with store.write() as db:
            for table in ("notes", "tags", "trash"):
                db.execute(f"DROP TABLE {table}")
            db.execute("DELETE FROM _sqlite_migrations WHERE name = 'm008_marks_and_trash'")
        assert [migration.name for migration in migrations.pending(store.db)] == ["m008_marks_and_trash"]
    with Store.open(tmp_path / "home") as store:
        assert [(run.name, run.note, run.tags) for run in store.runs.all()] == [("popularity-1", None, ())]
        assert migrations.pending(store.db) == []


def test_the_migration_that_stores_have_does_not_change():
    digest = "6065b5bf8819ac9d90e4f4e538f4e20a218a073e3bb0dab205515eb7ecd540fe"
    assert hashlib.sha256(schema.MARKS_AND_TRASH.encode()).hexdigest() == digest


def test_the_documented_query_of_tags_leaves_the_trash_out(toy_store):
    text = (Path(__file__).resolve().parents[2] / "docs" / "store.md").read_text()
    [query] = [found for found in re.findall(r"```sql\n(.*?)```", text, re.DOTALL) if "FROM tags" in found]
    make(toy_store, "kept", note="n", tags=("a",))
    make(toy_store, "gone")
    toy_store.trash.put(["gone"])
    assert toy_store.rows(query) == [("kept", "done", "n", "a")]

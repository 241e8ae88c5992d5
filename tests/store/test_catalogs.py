"""Catalogs that grow: at their end, whole or not at all, and what they were is known."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_dump import dump

from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset
from patchrec.errors import CorruptError, InputError, NotFoundError
from patchrec.store import Store

NEW = Catalog(("900", "901"), ("New Film", "Heat"), ({"year": 2026}, {}))


def test_new_items_stand_at_the_end_and_the_others_keep_their_index(toy_store: Store, toy: Dataset) -> None:
    toy_store.catalogs.extend("toy", NEW)
    loaded = toy_store.datasets.load("toy")
    assert loaded.catalog.item_ids == (*toy.catalog.item_ids, "900", "901")
    assert loaded.catalog.titles == (*toy.catalog.titles, "New Film", "Heat")
    assert loaded.catalog.metadata == ({},) * 6 + ({"year": 2026}, {})
    assert loaded.sequences.fingerprint == toy.sequences.fingerprint
    assert loaded.popularity.tolist() == [*toy.popularity.tolist(), 0, 0]


def test_a_catalog_knows_what_it_was(toy_store: Store, toy: Dataset) -> None:
    toy_store.catalogs.extend("toy", NEW)
    first, second = toy_store.catalogs.versions("toy")
    assert (first.num_items, first.fingerprint) == (6, toy.catalog.fingerprint)
    today = toy_store.datasets.load("toy").catalog
    assert (second.num_items, second.fingerprint) == (8, today.fingerprint)
    assert today.prefix(6).fingerprint == toy.catalog.fingerprint
    shown = toy_store.datasets.show("toy")
    assert shown["fingerprints"]["catalog"] == today.fingerprint
    assert [version["num_items"] for version in shown["versions"]] == [6, 8]
    # six items of five titles, then one of a new title and one of an old one
    assert (shown["summary"]["items"], shown["summary"]["titles"]) == (6 + 2, 5 + 1)
    assert shown["summary"]["items_used"] == 6


def test_an_item_is_listed_with_the_moment_it_was_added(toy_store: Store) -> None:
    toy_store.catalogs.extend("toy", NEW)
    with toy_store.write() as db:
        db.execute("UPDATE catalog_versions SET added_at = 'first' WHERE num_items = 6")
        db.execute("UPDATE catalog_versions SET added_at = 'later' WHERE num_items = 8")
    listed = toy_store.catalogs.items("toy")
    assert [item.item for item in listed] == [7, 6, 5, 4, 3, 2, 1, 0]
    assert [item.added_at for item in listed] == ["later"] * 2 + ["first"] * 6
    assert (listed[1].item_id, listed[1].title, listed[1].metadata) == ("900", "New Film", {"year": 2026})
    assert toy_store.catalogs.items("toy", 3) == listed[:3]


@pytest.mark.parametrize("ids", [("10",), ("900", "15")])
def test_an_id_that_is_there_adds_nothing(toy_store: Store, ids: tuple[str, ...]) -> None:
    before = dump(toy_store)
    with pytest.raises(InputError, match=rf"item '{ids[-1]}' is in the catalog already, as '(Alien|Heat)'"):
        toy_store.catalogs.extend("toy", Catalog(ids, ("New",) * len(ids)))
    assert dump(toy_store) == before


def test_a_failing_addition_leaves_nothing(toy_store: Store) -> None:
    before = dump(toy_store)

    def add_and_fail() -> None:
        with toy_store.write():
            toy_store.catalogs.extend("toy", NEW)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        add_and_fail()
    assert dump(toy_store) == before


def test_adding_does_not_hide_that_rows_were_changed(toy_store: Store) -> None:
    with toy_store.write() as db:
        db.execute("UPDATE items SET title = 'Other' WHERE item = 0")
    before = dump(toy_store)
    with pytest.raises(CorruptError, match="not what was stored"):
        toy_store.catalogs.extend("toy", NEW)
    assert dump(toy_store) == before


def test_a_changed_row_is_noticed_after_items_were_added(toy_store: Store) -> None:
    toy_store.catalogs.extend("toy", NEW)
    with toy_store.write() as db:
        db.execute("UPDATE items SET title = 'Other' WHERE item = 7")
    with pytest.raises(CorruptError, match="not what was stored"):
        toy_store.datasets.load("toy")


def test_an_unknown_data_set_gets_no_items(toy_store: Store) -> None:
    with pytest.raises(NotFoundError, match=r"no data set 'tuy'; did you mean 'toy'\?"):
        toy_store.catalogs.extend("tuy", NEW)


def test_removing_a_data_set_takes_the_versions_of_its_catalog(toy_store: Store) -> None:
    toy_store.catalogs.extend("toy", NEW)
    toy_store.datasets.remove("toy")
    for table in ("catalog_versions", "items"):
        assert toy_store.rows(f"SELECT count(*) FROM {table}") == [(0,)]


def test_data_sets_grow_apart(toy_store: Store, toy: Dataset) -> None:
    toy_store.datasets.add(replace(toy, name="other"), source="s", licence="l", split={})
    toy_store.catalogs.extend("toy", NEW)
    assert len(toy_store.catalogs.versions("other")) == 1
    assert toy_store.datasets.load("other").catalog == toy.catalog


@settings(max_examples=20)
@given(st.lists(st.integers(1, 4), max_size=5), st.data())
def test_every_version_is_the_beginning_of_today_s_catalog(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], data: st.DataObject
) -> None:
    titles = st.text("aé😀 \u202e<|>", min_size=1)
    folder: Path = tmp_path_factory.mktemp("grown")
    with Store.open(folder) as store:
        toy = Catalog(("a", "b"), ("A", "B"))
        store.datasets.add(tiny(toy), source="s", licence="l", split={})
        grown = [toy]
        for size in sizes:
            ids = tuple(f"{len(grown[-1]) + n}" for n in range(size))
            new = Catalog(ids, tuple(data.draw(titles) for _ in ids))
            store.catalogs.extend("tiny", new)
            grown.append(Catalog(grown[-1].item_ids + ids, grown[-1].titles + new.titles))
        today = store.datasets.load("tiny").catalog
        assert today == grown[-1]
        versions = store.catalogs.versions("tiny")
        assert [(one.num_items, one.fingerprint) for one in versions] == [(len(c), c.fingerprint) for c in grown]
        assert [today.prefix(len(c)) for c in grown] == grown


def tiny(catalog: Catalog) -> Dataset:
    """A data set of one user who had both items of a catalog."""
    import numpy as np

    from patchrec.data.histories import Sequences

    one = np.array([1])
    return Dataset("tiny", catalog, Sequences(("u",), np.array([0, 2]), np.array([0, 1]), None, one, one))

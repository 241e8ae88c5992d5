"""Titles kept beside a run: the same as made anew, or not there."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_catalogs import END, make_titles

from patchrec.ranking.kept import keep, recall, recall_or_build
from patchrec.ranking.trie import TitleTrie

KEY = {"catalog": "c0ffee", "tokenizer": "beef", "prompt": "f00d"}
TITLES = [[5, 6], [5], [7], [5, 6]]


def make(titles=TITLES):
    tokens = make_titles(titles)
    return tokens, TitleTrie.build(tokens, END)


def arrays(found):
    titles, trie = found
    forest = trie.forest
    return (titles.ids, titles.offsets, forest.keys, forest.parent, forest.depth, forest.end, trie.title_of_item)


def assert_same(found, expected):
    for one, other in zip(arrays(found), arrays(expected), strict=True):
        assert one.dtype == other.dtype
        assert one.tolist() == other.tolist()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "pft-s-1" / "titles.safetensors"


@given(titles=st.lists(st.lists(st.integers(5, 8), min_size=1, max_size=5), min_size=1, max_size=12))
def test_what_was_kept_comes_back(tmp_path_factory, titles):
    path = tmp_path_factory.mktemp("kept") / "titles.safetensors"
    made = make(titles)
    assert keep(path, *made, KEY)
    assert_same(recall(path, KEY), made)


def test_a_recalled_trie_answers_as_the_one_made(path):
    made = make()
    keep(path, *made, KEY)
    (_, found), (_, expected) = recall(path, KEY), made
    nodes = np.arange(-1, len(expected.forest))
    assert found.chain_end(nodes).tolist() == expected.chain_end(nodes).tolist()
    assert found.title_range(nodes)[1].tolist() == expected.title_range(nodes)[1].tolist()
    assert found.path_nodes.tolist() == expected.path_nodes.tolist()


@pytest.mark.parametrize("other", [*({**KEY, part: "other"} for part in KEY), {"catalog": "c0ffee"}, {**KEY, "x": "y"}])
def test_another_key_finds_nothing(path, other):
    keep(path, *make(), KEY)
    assert recall(path, other) is None


def test_another_format_finds_nothing(path, monkeypatch):
    keep(path, *make(), KEY)
    monkeypatch.setattr("patchrec.ranking.kept.FORMAT", "another")
    assert recall(path, KEY) is None


def test_nothing_was_kept(path):
    assert recall(path, KEY) is None


@pytest.mark.parametrize("content", [b"", b"{}", b"not a safetensors file at all", bytes(64), b"\xff" * 64])
def test_another_file_counts_as_absent(path, content):
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert recall(path, KEY) is None


def test_every_truncation_counts_as_absent(path):
    keep(path, *make(), KEY)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert recall(path, KEY) is None


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80, 0xFF])
def test_no_flipped_byte_changes_what_is_recalled(path, mask):
    made = make()
    keep(path, *made, KEY)
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :])
        found = recall(path, KEY)
        if found is not None:
            assert_same(found, made)


def test_a_new_key_replaces_what_was_kept(path):
    keep(path, *make(), KEY)
    other = {**KEY, "catalog": "another"}
    keep(path, *make([[8]]), other)
    assert recall(path, KEY) is None
    assert_same(recall(path, other), make([[8]]))


def test_titles_are_encoded_once(path):
    calls = []

    def encode():
        calls.append(1)
        return make_titles(TITLES)

    first = recall_or_build(path, KEY, encode, END)
    assert_same(recall_or_build(path, KEY, encode, END), first)
    assert len(calls) == 1


@pytest.mark.parametrize("call", ["mkstemp", "fsync", "replace", "mkdir"])
def test_a_disk_that_refuses_costs_only_the_time_to_build_again(path, monkeypatch, call):
    def refuse(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        place = {"mkstemp": "tempfile.mkstemp", "fsync": "os.fsync"}.get(call, f"pathlib.Path.{call}")
        patch.setattr(place, refuse)
        assert_same(recall_or_build(path, KEY, lambda: make_titles(TITLES), END), make())
    assert recall(path, KEY) is None
    assert not path.parent.exists() or list(path.parent.iterdir()) == []


def test_a_refused_write_leaves_what_was_kept(path, monkeypatch):
    keep(path, *make(), KEY)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        assert not keep(path, *make([[8]]), {**KEY, "catalog": "another"})
    assert_same(recall(path, KEY), make())


def test_what_a_killed_writer_left_is_removed(path):
    path.parent.mkdir(parents=True)
    leftover = path.with_name(f".{path.name}-killed")
    leftover.write_bytes(b"half")
    keep(path, *make(), KEY)
    assert list(path.parent.iterdir()) == [path]


def test_the_file_is_for_its_owner_alone(path):
    keep(path, *make(), KEY)
    assert path.stat().st_mode & 0o077 == 0

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_catalogs import END, make_titles

from patchrec.ranking.trie import ROOT, TitleTrie

catalogs = st.lists(st.lists(st.integers(5, 8), min_size=1, max_size=5), min_size=1, max_size=12)


def build(titles):
    return TitleTrie.build(make_titles(titles), END)


def prefix_of(trie, node):
    """Tokens from the root to a node."""
    found = []
    while node != ROOT:
        found.append(int(trie.forest.keys[node]))
        node = int(trie.forest.parent[node])
    return tuple(reversed(found))


def slow_prefixes(titles):
    return {(*title, END)[:stop] for title in titles for stop in range(1, len(title) + 2)}


@given(catalogs)
def test_nodes_are_the_distinct_prefixes_of_titles(titles):
    trie = build(titles)
    found = [prefix_of(trie, node) for node in range(len(trie.forest))]
    assert len(found) == len(set(found))
    assert set(found) == slow_prefixes(titles)


@given(catalogs)
def test_every_title_is_one_leaf_that_ends_it(titles):
    trie = build(titles)
    leaves = set(range(len(trie.forest))) - set(trie.forest.parent.tolist())
    assert {prefix_of(trie, leaf) for leaf in leaves} == {(*title, END) for title in titles}
    assert len(leaves) == len(trie) == len({tuple(title) for title in titles})


@given(catalogs)
def test_paths_spell_their_titles(titles):
    trie = build(titles)
    stops = [*trie.path_starts[1:], len(trie.path_nodes)]
    for item, title in enumerate(titles):
        number = trie.title_of_item[item]
        nodes = trie.path_nodes[trie.path_starts[number] : stops[number]]
        assert trie.forest.keys[nodes].tolist() == [*title, END]
        assert all(trie.forest.parent[after] == before for before, after in pairwise([ROOT, *nodes.tolist()]))


def test_a_title_that_begins_another_ends_in_its_own_branch():
    trie = build([[5], [5, 6]])  # "Alien" and "Aliens"
    assert len(trie) == 2
    children, counts = trie.children(np.array([0]))
    assert sorted(trie.forest.keys[children].tolist()) == [END, 6]
    assert counts.tolist() == [2]


def test_items_of_one_title_share_it():
    trie = build([[5, 6], [7], [5, 6]])
    assert trie.title_of_item.tolist() == [0, 1, 0]
    assert trie.items_of(0).tolist() == [0, 2]


def test_titles_are_numbered_as_they_first_appear():
    assert build([[8], [5], [8], [6]]).title_of_item.tolist() == [0, 1, 0, 2]


@given(catalogs)
def test_catalog_runs_only_nodes_with_a_branching_at_or_below(titles):
    trie = build(titles)
    prefixes = slow_prefixes(titles)

    def branches(prefix):
        return len({longer[: len(prefix) + 1] for longer in prefixes if longer[: len(prefix)] == prefix} - {prefix}) > 1

    expected = {p for p in prefixes if any(branches(q) for q in prefixes if q[: len(p)] == p)}
    assert {prefix_of(trie, node) for node in trie.forwarded("catalog").tolist()} == expected


@given(catalogs)
def test_joint_runs_every_node_but_the_ends(titles):
    trie = build(titles)
    expected = {prefix for prefix in slow_prefixes(titles) if prefix[-1] != END}
    assert {prefix_of(trie, node) for node in trie.forwarded("joint").tolist()} == expected


@given(catalogs, st.sampled_from(["catalog", "joint"]), st.integers(1, 6))
def test_pieces_are_whole_and_score_every_parent_once(titles, score, max_nodes):
    trie = build(titles)
    depth = int(trie.forest.depth.max())
    wanted = []
    for piece in trie.pieces(score, max_nodes):
        forest = piece.forest
        assert len(forest) <= max_nodes + depth
        for node, parent in enumerate(forest.parent.tolist()):
            assert parent < node
            assert (forest.depth[node] == 0) == (parent == ROOT)
            assert parent == ROOT or node < forest.end[node] <= forest.end[parent]
        for row, parent in zip(piece.rows.tolist(), piece.parents.tolist(), strict=True):
            assert prefix_of_piece(forest, row) == prefix_of(trie, parent)
        wanted += piece.parents.tolist()
    assert wanted == [node for node in trie.parents(score).tolist() if node != ROOT]


def prefix_of_piece(forest, node):
    found = []
    while node != ROOT:
        found.append(int(forest.keys[node]))
        node = int(forest.parent[node])
    return tuple(reversed(found))


def test_the_only_title_needs_no_forward_pass():
    trie = build([[5, 6, 7]])
    assert len(trie.parents("catalog")) == 0
    assert list(trie.pieces("catalog", 10)) == []


def test_a_title_with_the_end_token_is_refused():
    with pytest.raises(ValueError, match="end token"):
        build([[5, END]])


def test_an_empty_catalog_is_refused():
    with pytest.raises(ValueError, match="at least one title"):
        build([])

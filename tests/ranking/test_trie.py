import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_catalogs import END, make_titles

from patchrec.ranking.trie import ROOT, TitleTrie

titles_of_few_tokens = st.lists(st.lists(st.integers(5, 8), min_size=1, max_size=5), min_size=1, max_size=12)
titles_of_all_lengths = st.lists(
    st.one_of(
        st.lists(st.integers(0, 3).filter(lambda token: token != END), min_size=1, max_size=4),
        st.builds(lambda stem, times, rest: stem * times + rest, st.just([5, 6]), st.integers(1, 40), st.just([7])),
    ),
    min_size=1,
    max_size=10,
)
catalogs = st.one_of(titles_of_few_tokens, titles_of_all_lengths)


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


class SlowTrie:
    """The same in nested dictionaries, walked one node at a time."""

    def __init__(self, titles):
        self.tree = {}
        for title in titles:
            level = self.tree
            for token in (*title, END):
                level = level.setdefault(token, {})
        self.keys, self.parent, self.depth, self.end, self.children, self.titles = [], [], [], [], {ROOT: []}, []
        self._walk(self.tree, ROOT, 0, ())

    def _walk(self, level, parent, depth, prefix):
        for token in sorted(level):
            node = len(self.keys)
            self.children[parent].append(node)
            self.children[node] = []
            self.keys.append(token)
            self.parent.append(parent)
            self.depth.append(depth)
            self.end.append(None)
            self._walk(level[token], node, depth + 1, (*prefix, token))
            self.end[node] = len(self.keys)
            if token == END:
                self.titles.append((*prefix, token))

    def range_below(self, node):
        """First and last plus one of the titles below a node."""
        last = len(self.keys) if node == ROOT else self.end[node]
        leaves = [leaf for leaf in range(len(self.keys)) if not self.children[leaf]]
        return sum(leaf < node for leaf in leaves), sum(leaf < last for leaf in leaves)

    def chain_end(self, node):
        while len(self.children[node]) == 1:
            node = self.children[node][0]
        return node


@given(catalogs)
def test_the_trie_is_the_one_that_nested_dictionaries_give(titles):
    trie, slow = build(titles), SlowTrie(titles)
    assert trie.forest.keys.tolist() == slow.keys
    assert trie.forest.parent.tolist() == slow.parent
    assert trie.forest.depth.tolist() == slow.depth
    assert trie.forest.end.tolist() == slow.end


@given(catalogs)
def test_titles_are_numbered_in_the_order_of_their_tokens(titles):
    trie, slow = build(titles), SlowTrie(titles)
    assert slow.titles == sorted(slow.titles)
    assert [slow.titles[number] for number in trie.title_of_item] == [(*title, END) for title in titles]
    assert [prefix_of(trie, leaf) for leaf in trie.leaves.tolist()] == slow.titles


@given(catalogs)
def test_titles_below_a_node_are_a_range(titles):
    trie, slow = build(titles), SlowTrie(titles)
    nodes = np.arange(ROOT, len(trie.forest))
    first, stop = trie.title_range(nodes)
    assert list(zip(first.tolist(), stop.tolist(), strict=True)) == [slow.range_below(node) for node in nodes.tolist()]


@given(catalogs)
def test_children_are_those_of_the_slow_trie(titles):
    trie, slow = build(titles), SlowTrie(titles)
    nodes = np.arange(ROOT, len(trie.forest))[::-1]
    children, counts = trie.children(nodes)
    expected = [slow.children[node] for node in nodes.tolist()]
    assert counts.tolist() == trie.num_children(nodes).tolist() == [len(found) for found in expected]
    assert children.tolist() == [child for found in expected for child in found]
    assert trie.is_leaf(nodes).tolist() == [not found for found in expected]


@given(catalogs)
def test_a_chain_ends_at_the_first_leaf_or_branching(titles):
    trie, slow = build(titles), SlowTrie(titles)
    nodes = np.arange(ROOT, len(trie.forest))
    ends = trie.chain_end(nodes).tolist()
    assert ends == [slow.chain_end(node) for node in nodes.tolist()]
    for node, end in zip(nodes.tolist(), ends, strict=True):
        assert all(trie.forest.parent[after] == before for before, after in pairwise(range(node, end + 1)))


@given(catalogs)
def test_the_path_to_a_node_spells_its_prefix(titles):
    trie = build(titles)
    assert trie.path_to(ROOT).tolist() == []
    for node in range(len(trie.forest)):
        path = trie.path_to(node)
        assert path[-1] == node
        assert tuple(trie.forest.keys[path].tolist()) == prefix_of(trie, node)


@given(catalogs)
def test_items_of_a_title_are_a_slice(titles):
    trie = build(titles)
    items, starts = trie.items_by_title
    for title in range(len(trie)):
        expected = [item for item, number in enumerate(trie.title_of_item.tolist()) if number == title]
        assert items[starts[title] : starts[title + 1]].tolist() == trie.items_of(title).tolist() == expected


def test_titles_of_5000_tokens_that_differ_in_the_last():
    long = [5, 6, 7, 8, 9] * 1000
    trie = build([long, [*long[:-1], 4], long, [5], long[:2500]])
    assert len(trie.forest) == 5000 + 2 + 1 + 1 + 1  # the longest, its end and the other's, the other's last, two ends
    assert trie.title_of_item.tolist() == [3, 2, 3, 0, 1]
    # node 1 ends [5]; below it the token at depth d is node d + 1, and from node 2501, which ends the half, node d + 2
    assert trie.chain_end(np.array([0, 2, 2502])).tolist() == [0, 2499 + 1, 4998 + 2]
    assert [len(trie.path_to(leaf)) for leaf in trie.leaves.tolist()] == [2, 2501, 5001, 5001]


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


def test_one_very_long_title_costs_its_own_length_alone():
    generator = np.random.default_rng(0)
    titles = make_titles([[5] * 5000, *generator.integers(5, 9, (2000, 6)).tolist()])
    tracemalloc.start()
    TitleTrie.build(titles, END)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2000 * 5000  # bytes: not one for each title and depth


@given(titles_of_few_tokens)
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

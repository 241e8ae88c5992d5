"""The token forest against the slow obvious trie of dictionaries."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from patchrec.model.forest import grow

keys = st.integers(0, 3) | st.integers(10**9, 10**9 + 1)
paths_of_keys = st.lists(st.lists(keys, min_size=1, max_size=7), min_size=1, max_size=12)


def prefixes(paths: list[list[int]]) -> set[tuple[int, ...]]:
    return {tuple(path[: length + 1]) for path in paths for length in range(len(path))}


@given(paths_of_keys)
def test_a_forest_has_one_node_for_each_distinct_prefix(paths: list[list[int]]) -> None:
    forest, _ = grow([np.array(path) for path in paths])
    assert len(forest) == len(prefixes(paths))


@given(paths_of_keys)
def test_walking_up_from_a_path_s_last_node_spells_the_path(paths: list[list[int]]) -> None:
    forest, nodes = grow([np.array(path) for path in paths])
    for path, along in zip(paths, nodes, strict=True):
        assert forest.keys[along].tolist() == path
        assert forest.depth[along].tolist() == list(range(len(path)))
        assert forest.parent[along].tolist() == [-1, *along[:-1].tolist()]


@given(paths_of_keys)
def test_a_node_attends_to_its_ancestors_and_nothing_else(paths: list[list[int]]) -> None:
    forest, nodes = grow([np.array(path) for path in paths])
    for along in nodes:
        assert np.flatnonzero(forest.ancestors(int(along[-1]))).tolist() == along.tolist()


def test_equal_paths_share_every_node() -> None:
    forest, nodes = grow([np.array([1, 2, 3])] * 3)
    assert len(forest) == 3
    assert [along.tolist() for along in nodes] == [[0, 1, 2]] * 3


def test_no_paths_make_an_empty_forest() -> None:
    forest, nodes = grow([])
    assert len(forest) == 0
    assert nodes == []

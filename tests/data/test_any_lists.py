"""Any bytes are lists or an error in one line, and lists are what the file says, whatever else is in it."""

import gzip
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchrec.data.lists import read_lists
from patchrec.errors import InputError, UsageError

GOOD = "user_id,item_id,rank,position\nann,14,1,4\nann,13,2,4\n007,x,1,3\n"
WORDS = [
    "ann", "007", "zoe", "14", "13", "x", "1", "2", "0.5", "-1", "nan", "1e999", "1e5", "9" * 30, ",", "\t", " ", "\n",
    "\r\n", '"', "'", "{", "}", "[", "]", ":", "Q0", "ann:4", "user_id", "item_id", "rank", "score", "position", "\0",
    "timestamp", "user_id,item_id,score\n", '{"user": "ann", "item": "14", "rank": 1}\n', "ann:4 Q0 14 1 0.5 x\n",
    "\x1b", "é", "query", "query,item_id\n", "",
]  # fmt: skip
PIECES = st.sampled_from(WORDS).map(str.encode) | st.just(b"\xff") | st.just(b"\xff\xfe")
CASES = st.fixed_dictionaries(
    {
        "content": st.binary(max_size=80)
        | st.lists(PIECES, max_size=40).map(b"".join)
        | st.lists(PIECES, max_size=12).map(b"".join).map(GOOD.encode().__add__),
        "ending": st.sampled_from(
            [".csv", ".tsv", ".json", ".jsonl", ".inter", ".parquet", ".run", ".trec", ".txt", ""]
        ),
        "packed": st.booleans(),
    }
)


def assert_said_well(error: Exception) -> None:
    """One line, without options of `patchrec data add`."""
    assert "\n" not in str(error)
    assert "--" not in str(error)


def check(toy, content: bytes, ending: str, packed: bool) -> None:
    with TemporaryDirectory() as name:
        path = Path(name) / f"lists{ending}{'.gz' * packed}"
        path.write_bytes(gzip.compress(content) if packed else content)
        try:
            lists = read_lists(str(path), toy.sequences, toy.catalog, np.arange(len(toy.catalog)))
        except (InputError, UsageError) as error:
            assert_said_well(error)
            return
        for key in lists:
            found = lists.get(*key)
            assert len(set(found.items.tolist())) == len(found.items) == len(found.scores) > 0
            assert np.isfinite(found.scores).all()
            assert found.items.max() < len(toy.catalog)
            assert found.items.min() >= -len(lists.unknown_items)


@given(case=CASES)
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_lists_or_one_line(toy_once, case):
    check(toy_once, **case)


@pytest.mark.slow
@given(case=CASES)
@settings(max_examples=5000, deadline=None)
def test_any_bytes_are_lists_or_one_line_over_many_files(toy_once, case):
    check(toy_once, **case)


@pytest.fixture(scope="module")
def toy_once():
    from patchrec.data.catalog import Catalog
    from patchrec.data.histories import Dataset, Sequences

    sequences = Sequences(
        user_ids=("ann", "bob", "007"),
        offsets=np.array([0, 5, 8, 12]),
        items=np.array([0, 1, 2, 3, 4, 1, 2, 3, 5, 4, 3, 2]),
        timestamps=np.arange(12) * 10,
        train_stop=np.array([3, 1, 2]),
        validation_stop=np.array([4, 2, 3]),
    )
    return Dataset("toy", Catalog(("10", "11", "12", "13", "14", "15"), tuple("abcdef")), sequences)

"""Files of another system's lists: read whatever they are written in, refused where they say two things."""

import gzip
import json
from dataclasses import replace

import numpy as np
import pytest

from patchrec.data.lists import read_lists
from patchrec.data.parquet import write_parquet
from patchrec.errors import InputError

ROWS = [("ann", "14", 4, 1, 0.5), ("ann", "13", 4, 2, 0.25), ("007", "12", 3, 1, 3.0)]

JSON_LINES = "".join(json.dumps({"user": u, "item": i, "position": p, "score": s}) + "\n" for u, i, p, _, s in ROWS)


@pytest.fixture
def read(toy, tmp_path):
    def read(content: str | bytes, name: str = "lists.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_lists(str(path), toy.sequences, toy.catalog, np.arange(len(toy.catalog)))

    return read


def plain(lists) -> dict:
    return {key: lists.get(*key).items.tolist() for key in lists}


def table(header: str, sep: str = ",") -> str:
    columns = header.split(sep)
    places = [("user_id", "item_id", "position", "rank", "score").index(column) for column in columns]
    return "\n".join([header, *(sep.join(str(row[place]) for place in places) for row in ROWS)]) + "\n"


TREC = "".join(f"{u}:{p}\tQ0 {i}  {r}\t{s} x\n" for u, i, p, r, s in ROWS)
PACKED = gzip.compress(TREC.encode(), mtime=0)  # the time would be in the name of the test


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("lists.csv", table("user_id,item_id,position,rank,score")),
        ("lists.csv", table("score,position,item_id,user_id")),
        ("lists.tsv", table("user_id\titem_id\tposition\trank", "\t")),
        ("lists.jsonl", JSON_LINES),
        ("lists.run", "".join(f"{u}:{p} Q0 {i} 0 {s} bpr\n" for u, i, p, _, s in ROWS)),
        ("lists.trec.gz", PACKED),
    ],
)  # fmt: skip
def test_every_format_gives_the_same_lists(read, name, content):
    lists = read(content, name)
    assert plain(lists) == {(0, 4): [4, 3], (2, 3): [2]}
    assert lists.by == "position"


def test_parquet_gives_them_too(read, tmp_path):
    columns = {"user_id": "VARCHAR", "item_id": "VARCHAR", "position": "INTEGER", "score": "DOUBLE"}
    write_parquet(tmp_path / "written.parquet", columns, [(u, i, p, s) for u, i, p, _, s in ROWS])
    lists = read((tmp_path / "written.parquet").read_bytes(), "lists.parquet")
    assert plain(lists) == {(0, 4): [4, 3], (2, 3): [2]}


def test_scores_order_a_list_and_equal_ones_stand_as_in_every_ranking(read):
    lists = read("user_id,item_id,score\nann,13,1\nann,15,2e0\nann,10,1\nann,x,1\n")
    assert plain(lists) == {(0, -1): [5, 0, 3, -1]}
    assert (lists.by, lists.get(0).scores.tolist()) == ("user", [2, 1, 1, 1])


def test_a_column_called_query_is_a_column_like_any_other(read):
    assert plain(read("query,user_id,item_id,rank\n7,bob,13,1\n")) == {(1, -1): [3]}


def test_a_list_of_one_moment_is_known_by_its_seconds(read):
    assert plain(read("user_id,item_id,timestamp,rank\nbob,13,70.0,1\n")) == {(1, 70): [3]}


def test_unknown_users_are_left_out_and_unknown_items_keep_their_places(read):
    lists = read("user_id,item_id,rank\nann,x,1\nann,14,2\nzoe,14,1\nbob,x,1\nbob,y,2\n")
    assert plain(lists) == {(0, -1): [-1, 4], (1, -1): [-1, -2]}
    assert (lists.unknown_users, lists.unknown_items, lists.num_unknown) == (("zoe",), ("x", "y"), 3)


def test_an_id_that_our_csv_marked_as_text_is_found(toy, tmp_path):
    catalog = replace(toy.catalog, item_ids=("-1", "11", "12", "13", "14", "15"))
    path = tmp_path / "lists.csv"
    path.write_text("user_id,item_id,rank\nann,'-1,1\nann,14,2\n")
    assert plain(read_lists(str(path), toy.sequences, catalog, np.arange(6))) == {(0, -1): [0, 4]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("user_id,item_id,rank\nann,14,1\nann,14,2\n", r"csv:3: item '14' is .*'ann' already \(lists.csv:2\)"),
        ("user_id,item_id,rank\nann,x,1\nann,x,2\nann,14,3\n", "item 'x' is in the list"),
        ("user_id,item_id,rank\nann,14,1\nann,13,1\n", "csv:3: '13' has a rank"),
        ("user_id,item_id,rank,score\nann,14,1,1\nann,13,2,2\n", "csv:3: '13' is not where its score"),
        ("user_id,item_id,rank\nann,14,first\n", "lists.csv:2: rank 'first' is no whole number"),
        ("user_id,item_id,rank\nann,14,1.5\n", "no whole number"),
        ("user_id,item_id,score\nann,14,nan\n", "lists.csv:2: score 'nan' is no number"),
        ("user_id,item_id,score\nann,14,1e999\n", "is no number"),
        ("user_id,item_id,score\nann,,1\n", "lists.csv:2: the item is blank"),
        ("user_id,item_id,score\nann,14\n", "lists.csv:2"),
        ("user_id,item_id\nann,14\n", "lists.csv:1: no rank or score among the columns 'user_id', 'item_id'"),
        ("who,item_id,rank\nann,14,1\n", "lists.csv:1: no user among the columns"),
        ("user,customer,item_id,rank\nann,ann,14,1\n", "which column is the user"),
        ("user_id,item_id,rank\n", "'lists.csv' has no rows"),
        ("", "is empty"),
        ("user_id,item_id,rank\nzoe,14,1\n", "no user .*: 'zoe' there, 'ann', 'bob'"),
        ("user_id,item_id,rank\nann,1,1\n", "no item of 'lists.csv' is one of the data set"),
        (b"user_id,item_id,rank\n\xff\xfe,14,1\n", "not UTF-8"),
    ],
)  # fmt: skip
def test_what_is_no_list_is_refused_with_its_line_and_without_options_of_other_commands(read, content, message):
    with pytest.raises(InputError, match=message) as caught:
        read(content)
    assert "--" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("lists.run", "ann Q0 14 1 0.5\n", "lists.run:1: 5 fields; a TREC run has query Q0 item rank score name"),
        ("lists.run", "ann Q0 14 1 0.5 bpr\nbob:2 Q0 14 1 0.5 bpr\n", "lists.run:2: this list is by position"),
        ("lists.txt", "ann 14 1\n", "cannot tell the format of 'lists.txt'"),
        ("lists.parquet", "PAR1", "lists.parquet"),
    ],
)
def test_other_formats_are_refused_with_their_place(read, name, content, message):
    with pytest.raises(InputError, match=message):
        read(content, name)


def test_a_user_whose_id_has_a_colon_is_that_user(toy, tmp_path):
    sequences = replace(toy.sequences, user_ids=("ann", "ann:4", "007"))
    path = tmp_path / "lists.run"
    path.write_text("ann:4 Q0 14 1 0.5 bpr\n")
    assert plain(read_lists(str(path), sequences, toy.catalog, np.arange(6))) == {(1, -1): [4]}

"""`patchrec data`, through the command line."""

import json
from pathlib import Path

import pytest

INTERACTIONS = """customer,article,when,stars
u1,007,1000,5
u1,b,2000,4
u1,c,3000,3
u2,b,1500,5
u2,007,2500,4
u2,c,3500,5
"""
ITEMS = """article,name
007,Octopussy
b,"Heat, again"
c,Fargo
"""
COLUMNS = ["--user-col", "customer", "--item-col", "article", "--time-col", "when", "--title-col", "name"]


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Arguments that name two small CSV files."""
    (tmp_path / "log.csv").write_text(INTERACTIONS)
    (tmp_path / "goods.csv").write_text(ITEMS)
    return ["--interactions", str(tmp_path / "log.csv"), "--items", str(tmp_path / "goods.csv")]


def test_own_files_become_a_data_set(cli, files):
    ran = cli("data", "add", "shop", *files, *COLUMNS, "--split", "leave-one-out", "--noun", "article", "--json")
    assert ran.code == 0
    assert ran.json["schema"] == 1
    shown = ran.json["dataset"]
    assert shown["name"] == "shop"
    assert (shown["summary"]["users"], shown["summary"]["items"], shown["summary"]["interactions"]) == (2, 3, 6)
    assert shown["noun"] == "article"
    assert shown["rejected"] == []


def test_every_way_to_list_and_show_agrees(toy_cli):
    listed = toy_cli("data", "ls", "--json").json["datasets"]
    shown = toy_cli("data", "show", "toy", "--json").json["dataset"]
    assert listed == [shown]
    assert toy_cli("data", "ls", "-q").out == "toy\n"
    assert "toy" in toy_cli("data", "ls").out
    assert "train 5" not in toy_cli("data", "ls").out


def test_the_data_set_in_use_is_taken_where_none_is_named(toy_cli, files):
    toy_cli("data", "add", "shop", *files, *COLUMNS)
    ran = toy_cli("strategies", "preview", "--strategy", "vanilla", "--user", "ann")
    assert ran.code == 2
    assert "--data" in ran.err
    assert toy_cli("data", "use", "toy", "--json").json == {"schema": 1, "current": "toy"}
    ran = toy_cli("strategies", "preview", "--strategy", "vanilla", "--user", "ann")
    assert ran.code == 0
    assert ran.err.startswith("data: toy (")
    assert "toy (in use)" in toy_cli("data", "ls").out


def test_export_has_a_line_for_every_target(toy_cli):
    ran = toy_cli("data", "export", "toy", "--split", "test", "--format", "jsonl")
    assert [json.loads(line) for line in ran.out.splitlines()] == [
        {"user_id": "ann", "item_id": "14", "timestamp": 40, "position": 4, "history": ["10", "11", "12", "13"]},
        {"user_id": "bob", "item_id": "13", "timestamp": 70, "position": 2, "history": ["11", "12"]},
        {"user_id": "007", "item_id": "12", "timestamp": 110, "position": 3, "history": ["15", "14", "13"]},
    ]
    assert list(json.loads(ran.out.splitlines()[0])) == ["user_id", "item_id", "timestamp", "position", "history"]


def test_export_keeps_the_newest_k(toy_cli):
    first = json.loads(toy_cli("data", "export", "toy", "--K", 2).out.splitlines()[0])
    assert first["history"] == ["12", "13"]


@pytest.mark.parametrize(
    ("break_it", "code", "words"),
    [
        (lambda text: text.replace("customer", "kunde", 1), 3, ["log.csv:1", "'customer'", "'kunde'", "--user-col"]),
        (lambda text: text + "u3,nothing,1,1\n", 3, ["log.csv:8", "'nothing'", "--skip-bad"]),
        (lambda text: text + "u3,b\n", 3, ["log.csv:8", "--skip-bad"]),
        (lambda text: "", 3, ["log.csv", "empty"]),
    ],
    ids=["missing column", "unknown item", "ragged row", "empty file"],
)
def test_bad_files_leave_nothing_behind(cli, files, tmp_path, break_it, code, words):
    (tmp_path / "log.csv").write_text(break_it(INTERACTIONS))
    ran = cli("data", "add", "shop", *files, *COLUMNS)
    assert ran.code == code
    assert len(ran.err.splitlines()) == 1
    for word in words:
        assert word in ran.err
    assert cli("data", "ls", "--json").json["datasets"] == []


def test_skipped_lines_are_reported(cli, files, tmp_path):
    (tmp_path / "log.csv").write_text(INTERACTIONS + "u3,nothing,1,1\n")
    ran = cli("data", "add", "shop", *files, *COLUMNS, "--skip-bad", "--json")
    assert ran.code == 0
    assert len(ran.json["dataset"]["rejected"]) == 1
    assert "log.csv:8" in ran.err


def test_a_removed_data_set_is_gone(toy_cli):
    assert toy_cli("data", "rm", "toy", "-q").out == "toy\n"
    assert toy_cli("data", "ls", "--json").json == {"schema": 1, "datasets": []}
    assert "patchrec data add ml-100k" in toy_cli("data", "ls").err

"""`patchrec data items`, and the slice of new items in `patchrec eval`."""

import json
from pathlib import Path

import pytest

from patchrec.store import Store
from patchrec_cli.reference import JSON_KEYS

ADD = ["data", "items", "add", "toy"]
ONE = [*ADD, "--item-id", "9001", "--title", "New Film"]


def test_one_item_is_added_by_its_title(toy_cli):
    ran = toy_cli(*ONE, "--set", "year=2026", "--set", "note=a=b", "--json")
    assert ran.code == 0
    assert set(ran.json) == {"schema", *JSON_KEYS["data items add"]}
    (item,) = ran.json["items"]
    assert (item["item"], item["item_id"], item["title"]) == (6, "9001", "New Film")
    assert item["metadata"] == {"year": "2026", "note": "a=b"}
    assert (ran.json["dataset"], ran.json["num_items"], ran.json["rejected"]) == ("toy", 7, [])


def test_people_are_told_what_came_of_it_and_how_to_go_on(toy_cli):
    ran = toy_cli(*ONE)
    assert "9001 (New Film)" in ran.out
    assert "7 items" in ran.out
    assert ran.err == "next: patchrec data items ls toy\n"  # there is no run that could recommend it
    assert toy_cli(*ADD, "--item-id", "9002", "--title", "Newer", "-q").out == "9002\n"


def test_a_file_is_added_whole(toy_cli, tmp_path: Path):
    (tmp_path / "new.jsonl").write_text('{"sku": 1, "name": "One"}\n{"sku": 2, "name": "Two"}\n')
    ran = toy_cli(*ADD, "--from", tmp_path / "new.jsonl", "--item-col", "sku", "--title-col", "name", "--json")
    assert [item["item_id"] for item in ran.json["items"]] == ["1", "2"]
    (tmp_path / "more.tsv").write_text("item_id\ttitle\n3\tThree\n10\tTen\n")
    ran = toy_cli(*ADD, "--from", tmp_path / "more.tsv")
    assert ran.code == 3
    assert ran.err.startswith("error: more.tsv:3: item '10' is in the catalog already")
    ran = toy_cli(*ADD, "--from", tmp_path / "more.tsv", "--skip-bad")
    assert ran.code == 0
    assert "skipped more.tsv:3" in ran.err
    assert toy_cli("data", "show", "toy", "--json").json["dataset"]["summary"]["items"] == 6 + 2 + 1
    assert "new items     3, the last at 20" in toy_cli("data", "show", "toy").out


def test_items_are_listed_the_last_one_first(toy_cli):
    toy_cli(*ONE, "--set", "year=2026")
    found = toy_cli("data", "items", "ls", "toy", "--limit", "2", "--json").json
    assert set(found) == {"schema", *JSON_KEYS["data items ls"]}
    assert [item["item_id"] for item in found["items"]] == ["9001", "15"]
    assert set(found["items"][0]) == {"item", "item_id", "title", "metadata", "added_at"}
    assert found["num_items"] == 7
    ran = toy_cli("data", "items", "ls", "toy", "--limit", "1")
    assert "New Film" in ran.out
    assert "year 2026" in ran.out
    assert found["items"][0]["added_at"][:10] in ran.out
    assert ran.err == "note: the last 1 of 7 items\n"
    assert toy_cli("data", "items", "ls", "toy", "-q").out.split() == ["9001", "15", "14", "13", "12", "11", "10"]
    assert toy_cli("data", "items", "ls", "toy").err == ""


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--item-id", "10", "--title", "New"], 3, ["item '10' is in the catalog already, as 'Alien'"]),
        (["--item-id", "x", "--title", " "], 3, ["--title is blank"]),
        (["--item-id", "x", "--title", "a\x1b[31m"], 3, ["control character U+001B"]),
        (["--item-id", "x"], 2, ["--title TITLE", "--from FILE"]),
        (["--item-id", "x", "--title", "A", "--set", "year"], 2, ["KEY=VALUE", "'year'"]),
        (["--item-id", "x", "--title", "A", "--set", "a=1", "--set", "a=2"], 2, ["'a' twice"]),
        (["--item-id", "x", "--title", "A", "--from", "f.csv"], 2, ["drop --item-id, --title"]),
        (["--from", "f.csv"], 3, ["no file 'f.csv'"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_slips_are_told_in_one_line_and_add_nothing(toy_cli, arguments, code, words):
    ran = toy_cli(*ADD, *arguments)
    assert ran.code == code
    assert ran.out == ""
    assert len(ran.err.splitlines()) == 1
    for word in words:
        assert word in ran.err
    assert toy_cli("data", "items", "ls", "toy", "--json").json["num_items"] == 6


@pytest.mark.parametrize("command", [["add", "tuy", "--item-id", "x", "--title", "A"], ["ls", "tuy"]])
def test_an_unknown_data_set_is_named(toy_cli, command):
    ran = toy_cli("data", "items", *command)
    assert ran.code == 4
    assert "no data set 'tuy'; did you mean 'toy'?" in ran.err


def popularity(toy_cli, *arguments):
    ran = toy_cli("eval", "--baseline", "popularity", *arguments)
    assert ran.code == 0
    return ran


def forget_train(home: Path) -> None:
    """Let each user's first item alone be train: some targets are of items that no training has seen."""
    with Store.open(home) as store, store.write() as db:
        db.execute("UPDATE users SET train_stop = 1")
        db.execute("UPDATE datasets SET sequences_fingerprint = ?", [store.datasets._sequences("toy").fingerprint])


def test_an_evaluation_shows_targets_never_seen_in_training_apart(toy_cli, tmp_path):
    forget_train(tmp_path / "home")
    ran = popularity(toy_cli)
    # train holds items 10, 11 and 15; the targets are 14, 13 and 12
    _, heading, table = ran.out.partition("\nnever seen in training: 3 targets of 3 users\n")
    assert heading
    assert "hr@10" in table
    assert "titles" not in table.replace("log_prob  titles", "")
    assert max(map(len, ran.out.splitlines())) <= 80
    found = popularity(toy_cli, "--json").json
    assert {"all", "cold"} <= {row["slice"] for row in found["metrics"]}
    assert (found["cost"]["cold_targets"], found["cost"]["cold_users"]) == (3, 3)
    assert len(popularity(toy_cli, "-q").out.splitlines()) == sum(row["slice"] == "all" for row in found["metrics"])


def test_without_such_targets_only_json_says_so(toy_cli):
    with_all_seen = popularity(toy_cli, "--split", "validation", "--limit", "1", "--json").json
    assert with_all_seen["cost"]["cold_targets"] == 0
    assert "never seen" not in popularity(toy_cli, "--split", "validation", "--limit", "1").out


def test_a_run_is_shown_without_its_slices(toy_cli, tmp_path):
    forget_train(tmp_path / "home")
    run = popularity(toy_cli, "--json").json["run"]
    shown = toy_cli("runs", "show", run)
    assert shown.out.count("ndcg@10") == 1
    assert {"all", "cold"} <= {
        row["slice"]
        for row in json.loads(toy_cli("runs", "show", run, "--json").out)["run"]["evaluations"][0]["metrics"]
    }

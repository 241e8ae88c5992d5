"""Cold items as they are typed: what is told, what is evaluated, and what becomes of them when the data set grows."""

import json
from pathlib import Path

import pytest

from patchrec_cli.app import main

BEGIN = 1_700_000_000
Said = pytest.CaptureFixture[str]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Said) -> Path:
    monkeypatch.setenv("PATCHREC_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    log = "".join(f"u{user},i{(user + step) % 10},{BEGIN + step * 60}\n" for step in range(8) for user in range(10))
    Path("log.csv").write_text(f"user_id,item_id,timestamp\n{log}")
    Path("items.csv").write_text("item_id,title\n" + "".join(f"i{item},Thing {item}\n" for item in range(11)))
    Path("more.csv").write_text(f"user_id,item_id,timestamp\nu1,i0,{BEGIN + 900}\n")
    assert main(["data", "add", "shop", "log.csv", "items.csv", "--split", "leave-one-out", "--cold-items", "0.3"]) == 0
    return tmp_path


def test_what_was_drawn_is_told_when_it_is_added_and_shown(shop: Path, capfd: Said) -> None:
    shown, said = capfd.readouterr()
    assert "--split leave-one-out" in said
    assert "--cold-items 0.3" in said
    assert "cold items: 3 drawn, 3 of them in the test split, the others in none\n" in said
    assert main(["data", "show", "shop"]) == 0
    again = capfd.readouterr().out
    for text in (" ".join(one.split()) for one in (shown, again)):
        assert "11, 10 of them used, 3 in the test split alone" in text
        assert "cold items 3 drawn (0.3, seed 0), 3 of them in test; left out: interactions 21" in text
    assert main(["data", "show", "shop", "--json"]) == 0
    dataset = json.loads(capfd.readouterr().out)["dataset"]
    assert dataset["summary"]["items_test_only"] == 3
    assert dataset["split"]["recipe"]["cold_items"] == 0.3
    assert dataset["targets"]["test"] == 10


def test_an_evaluation_reports_the_targets_of_cold_items_apart(shop: Path, capfd: Said) -> None:
    assert main(["eval", "--baseline", "popularity", "--data", "shop"]) == 0
    assert "never seen in training: 3 targets of 3 users" in capfd.readouterr().out


def test_what_comes_later_goes_where_it_belongs_and_a_new_split_has_no_cold_items(shop: Path, capfd: Said) -> None:
    assert main(["data", "append", "shop", "--interactions", "more.csv"]) == 0
    said = capfd.readouterr().err
    assert "--cold-items of `patchrec data add` looked at all interactions; it is not asked again" in said
    assert main(["data", "append", "shop", "--interactions", "more.csv", "--cold-items", "0.2"]) == 2
    capfd.readouterr()
    assert main(["data", "append", "shop", "--resplit"]) == 0
    assert "the new split keeps no items for test alone (--cold-items" in capfd.readouterr().err
    assert main(["data", "show", "shop"]) == 0
    assert "cold items" not in capfd.readouterr().out

"""`patchrec data append` and `patchrec data users`, and a batch with unknown users, as they are typed."""

import json
from pathlib import Path

import pytest

from patchrec_cli.app import main

LATER = 1_700_000_000


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Path:
    monkeypatch.setenv("PATCHREC_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    log = "".join(f"u{user},i{(user + step) % 5},{LATER + step * 60}\n" for step in range(4) for user in range(4))
    Path("log.csv").write_text(f"user_id,item_id,timestamp\n{log}")
    Path("items.csv").write_text("item_id,title\n" + "".join(f"i{item},Thing {item}\n" for item in range(5)))
    assert main(["data", "add", "shop", "log.csv", "items.csv", "-q"]) == 0
    assert main(["baseline", "markov", "--data", "shop", "-q"]) == 0
    Path("more.csv").write_text(f"user_id,item_id,timestamp\nu1,i0,{LATER + 900}\nzoe,i1,{LATER + 960}\n")
    capfd.readouterr()
    return tmp_path


def test_an_append_says_what_came_and_what_is_there_now(shop: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "append", "shop", "--interactions", "more.csv"]) == 0
    shown, said = capfd.readouterr()
    fields = dict(line.split(maxsplit=1) for line in shown.splitlines())
    assert (fields["version"], fields["appended"]) == ("2", "2 interactions; new: 1 user")
    assert fields["now"] == "18 interactions, 5 users, 5 items"
    assert "next: patchrec recommend --all --run markov-1 --output recs.parquet" in said
    assert main(["data", "append", "shop", "--interactions", "more.csv", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert (found["version"], found["appended"]["repeated"]) == (2, 2)
    assert main(["data", "show", "shop"]) == 0
    assert "2; 2 interactions appended, the last at" in capfd.readouterr().out
    assert main(["data", "append", "shop", "--resplit", "-q"]) == 0
    assert capfd.readouterr().out == "3\n"


def test_users_are_listed_with_their_first_and_last_time(shop: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "users", "shop", "--match", "U", "--limit", "2"]) == 0
    shown, said = capfd.readouterr()
    assert shown.splitlines()[1].split() == ["u0", "4", "2023-11-14", "22:13", "2023-11-14", "22:16"]
    assert said == "note: 2 of 4 users\n"
    assert main(["data", "append", "shop", "--interactions", "more.csv", "-q"]) == 0
    capfd.readouterr()
    assert main(["data", "users", "shop", "--match", "u", "--limit", "2"]) == 0
    assert capfd.readouterr().err == "note: 2 of 4 users with 'u' in them\n"
    assert main(["data", "users", "shop", "--match", "z"]) == 0
    assert capfd.readouterr().err == "note: 1 of 5 users with 'z' in them\n"
    assert main(["data", "users", "shop", "-q"]) == 0
    assert capfd.readouterr().out.split() == ["u0", "u1", "u2", "u3", "zoe"]
    assert main(["data", "users", "shop", "--match", "ann"]) == 0
    assert capfd.readouterr().err == "note: 0 of 5 users with 'ann' in them\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["data", "append", "shop"], 2, "which interactions"),
        (["data", "append", "shop", "--interactions", "none.csv"], 3, "no file 'none.csv'"),
        (["data", "append", "shop", "--interactions", "bad.csv"], 3, "bad.csv:2: item 'x' is not among the items"),
        (["data", "append", "none", "--interactions", "more.csv"], 4, "no data set 'none'"),
        (["data", "append", "shop", "--interactions", "more.csv", "--split", "ratio"], 2, "goes with --resplit"),
        (["data", "users", "none"], 4, "no data set 'none'"),
        (["recommend", "--user", "zoe"], 4, "`patchrec data users shop`"),
        (["recommend", "--user", "u1", "--rejects", "r.txt"], 2, "--rejects goes with --all or --users FILE"),
        (["recommend", "--user", "u1", "--unknown", "skip"], 2, "goes with --all or --users FILE"),
        (["recommend", "--all", "--output", "o.csv", "--unknown", "skip"], 2, "are for users of a file"),
        (["data", "rm", "shop"], 2, "has runs (markov-1)"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    shop: Path, capfd: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    Path("bad.csv").write_text("user_id,item_id,timestamp\nu1,x,1700009999\n")
    assert main(words) == code
    error = capfd.readouterr().err
    [line] = [line for line in error.splitlines() if line.startswith("error: ")]
    assert said in line


def test_a_night_with_new_users(shop: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("users.txt").write_text("u1\nzoe\n")
    asked = ["recommend", "--users", "users.txt", "--k", "1", "--with", "title"]
    assert main([*asked, "--output", "a.csv", "--rejects", "new.txt"]) == 0
    assert Path("new.txt").read_text() == "zoe\n"
    assert "1 of 2 users are not in data set 'shop' and are left out" in capfd.readouterr().err
    assert main([*asked, "--output", "b.csv", "--unknown", "popular"]) == 0
    assert "users  2, 1 unknown" in capfd.readouterr().out
    rows = [line.split(",") for line in Path("b.csv").read_text().splitlines()]
    assert rows[0] == ["user_id", "item_id", "score", "rank", "probability", "source", "title"]
    assert [(row[0], row[5]) for row in rows[1:]] == [("u1", "model"), ("zoe", "empty history")]
    assert main(["recommend", "--user", "zoe", "--unknown", "popular", "--k", "1"]) == 0
    assert "user zoe, whom the data set does not have: the run's answer to an empty history" in " ".join(
        capfd.readouterr().out.split()
    )

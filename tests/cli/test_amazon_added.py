"""Amazon-like files from end to end, and what a known data set keeps of itself."""

import json
import shlex
import shutil
from pathlib import Path

import pytest


def planted(folder: Path) -> Path:
    """Eight users who walk in a circle of eight toys; a stranger and a toy that hardly anybody has."""
    toys = [
        {"asin": f"T{toy}", "title": f"Toy &#35;{toy}", "brand": "B", "category": [f"C{toy % 2}"]} for toy in range(9)
    ]
    rows = [
        {
            "reviewerID": f"U{user}",
            "asin": f"T{(user + step) % 8}",
            "overall": 5.0,
            "unixReviewTime": 86400 * (step + 1),
        }
        for user in range(8)
        for step in range(6)
    ]
    rows.append({"reviewerID": "stranger", "asin": "T8", "overall": 1.0, "unixReviewTime": 86400})
    folder.mkdir()
    for name, lines in (("Toys_and_Games_5.json", rows), ("meta_Toys_and_Games.json", toys)):
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_reviews_become_a_data_set_that_a_baseline_learns(cli, tmp_path):
    ran = cli("data", "add", "amazon-toys", "--from", planted(tmp_path / "toys"))
    assert ran.code == 0, ran.err
    assert "5-core: left out 1 of 9 users and 1 of 9 items" in ran.err
    shown = cli("data", "show", "amazon-toys")
    for words in ("leave-one-out", "5; left out: users 1, items 1, interactions 1"):
        assert words in " ".join(shown.out.split())
    assert cli("data", "items", "ls", "amazon-toys", "--json").json["items"][-1]["title"] == "Toy #0"
    assert cli("baseline", "markov", "--data", "amazon-toys", "--json").code == 0
    evaluated = cli("eval", "markov-1", "--json").json
    hits = [
        row
        for row in evaluated["metrics"]
        if (row["name"], row["level"], row["seen"], row["slice"]) == ("hr@10", "item", "dropped", "all")
    ]
    assert hits[0]["value"] == 1.0
    assert cli("data", "show", "amazon-toys", "--json").json["dataset"]["targets"]["test"] == 8


@pytest.mark.parametrize("core", ["0", "x"])
def test_a_core_that_is_none_is_one_line(cli, core, tmp_path):
    ran = cli("data", "add", "amazon-toys", "--from", planted(tmp_path / "toys"), "--core", core)
    assert (ran.code, len(ran.err.splitlines())) == (2, 1)
    assert "--core" in ran.err


def ml_100k(folder: Path) -> Path:
    """Three users with 25 films each, of which one film is seen once."""
    folder.mkdir()
    flags = "|".join(["0"] * 8 + ["1"] + ["0"] * 10)
    films = [f"{film}|Film {film} (19{50 + film})|x||y|{flags}\n" for film in range(1, 27)]
    (folder / "u.item").write_text("".join(films), encoding="latin-1")
    rows = [f"{user}\t{film}\t5\t{1000 * film + user}\n" for user in (1, 2, 3) for film in range(1, 26)]
    (folder / "u.data").write_text("".join(rows) + "1\t26\t5\t99999\n")
    return folder


def test_a_known_data_set_takes_a_core_and_titles_of_its_fields(cli, tmp_path):
    ran = cli(
        "data",
        "add",
        "ml-100k",
        "--from",
        ml_100k(tmp_path / "ml"),
        "--core",
        "3",
        "--title",
        "{title} ({year}), {genres}",
    )
    assert ran.code == 0, ran.err
    found = cli("data", "show", "ml-100k", "--json").json["dataset"]
    assert (found["summary"]["items"], found["summary"]["users"], found["summary"]["interactions"]) == (25, 3, 75)
    assert found["split"]["core_left_out"] == {"core": 3, "passes": 1, "users": 0, "items": 1, "interactions": 1}
    assert found["split"]["account"]["interactions"] == {
        "read": 76, "kept": 75, "rejected": {}, "left_out": {"interactions in no 3-core (--core)": 1}
    }  # fmt: skip
    assert cli("data", "items", "ls", "ml-100k", "--json").json["items"][-1]["title"] == "Film 1 (1951), Drama"
    assert "made as '{title} ({year}), {genres}'" in cli("data", "show", "ml-100k").out


def test_titles_of_fields_that_are_none_are_refused(cli, tmp_path):
    ran = cli("data", "add", "ml-100k", "--from", ml_100k(tmp_path / "ml"), "--title", "{titel}")
    assert ran.code == 2
    assert "columns: title, year, genres" in ran.err.splitlines()[-1]
    ran = cli("data", "add", "ml-100k", "--from", tmp_path / "ml", "--core", "9")
    assert ran.code == 3
    assert "lower --core" in ran.err.splitlines()[-1]


def test_a_known_data_set_is_added_again_under_another_name(cli, tmp_path):
    folder = ml_100k(tmp_path / "ml")
    assert cli("data", "add", "ml-100k", "--from", folder).code == 0
    archive = shutil.make_archive(str(tmp_path / "ml"), "zip", folder)
    ran = cli("data", "add", "last", "--recipe", "ml-100k", "--from", folder, "--split", "leave-one-out")
    assert ran.code == 0, ran.err
    ran = cli("data", "add", "core", "--recipe", "ml-100k", "--from", archive, "--core", "3")
    assert ran.code == 0, ran.err
    assert cli("data", "show", "core", "--json").json["dataset"]["summary"]["items"] == 25
    found = cli("data", "show", "last", "--json").json["dataset"]
    assert (found["split"]["rule"], found["targets"]["test"], found["noun"]) == ("leave-one-out", 3, "movie")
    assert cli("data", "add", "x", "--recipe", "ml-100k", "--from", folder, "--dry-run").code == 2
    assert "'ml-100k'" in cli("data", "add", "x", "--recipe", "ml-100k", "--items", "u.item").err


@pytest.mark.parametrize("further", [[], ["--dry-run"], ["--core", "3"]], ids=" ".join)
@pytest.mark.parametrize("named", [["last", "--recipe", "ml-100k"], ["ml-100k"]], ids=" ".join)
@pytest.mark.parametrize("file", [".", "u.data"])
def test_a_file_beside_a_known_data_set_is_told_the_command_that_works(cli, tmp_path, named, file, further):
    folder = ml_100k(tmp_path / "my ml")
    ran = cli("data", "add", named[0], folder / file, *named[1:], *further)
    assert (ran.code, len(ran.err.splitlines())) == (2, 1)
    again = cli(*shlex.split(ran.err.split("`")[1])[1:])
    assert again.code == 0, again.err
    assert cli("data", "show", named[0], "--json").json["dataset"]["summary"]["users"] == 3

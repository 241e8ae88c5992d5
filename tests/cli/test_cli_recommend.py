"""`patchrec recommend` on a terminal: filters, the certificate, many users, and how a stopped job is gone on with."""

import json
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from patchrec.operations.many import bulk_job
from patchrec.operations.many.recommend_all import BulkRecommendations
from patchrec_cli.app import main
from patchrec_cli.recommend import percent
from patchrec_cli.reference import JSON_KEYS, PREFACE

ITEMS = [
    ("i0", "Alien", 1979),
    ("i1", "Aliens", 1986),
    ("i2", "Heat", 1995),
    ("i3", "Fargo", 1996),
    ("i4", "Big", 1988),
]
NUM_USERS = 6


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a small data set with years, and a fine-tuned run."""
    folder = tmp_path_factory.mktemp("recommend")
    rows = [f"u{user},i{(user + step) % 5},{1000 * step + user}" for user in range(NUM_USERS) for step in range(4)]
    (folder / "log.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n")
    (folder / "items.csv").write_text("item_id,title,year\n" + "".join(f"{i},{t},{y}\n" for i, t, y in ITEMS))
    files = ["--interactions", str(folder / "log.csv"), "--items", str(folder / "items.csv")]
    where = ["--home", str(folder / "home")]
    assert main([*where, "data", "add", "made-up", *files, "--split", "leave-one-out", "-q"]) == 0
    small = ["--backbone", "tiny-random", "--max-steps", "1", "--batch-size", "4", "-q"]
    assert main([*where, "finetune", "--strategy", "vanilla", "--from", "none", *small]) == 0
    return folder / "home"


@pytest.fixture
def say(home, capfd, monkeypatch, tmp_path):
    """Run `patchrec recommend ARGUMENTS` in an empty folder: its exit code, stdout and stderr."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(bulk_job, "USERS_PER_PART", {"cpu": 2, "cuda": 2})
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main(["--home", str(home), "recommend", *arguments])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


def test_filters_and_the_certificate_are_shown(say):
    code, out, _ = say("--user", "u0", "--where", "year >= 1988", "--deny", "Heat", "--keep-seen", "--explain-search")
    assert code == 0
    _, _, ranking = out.partition("\nrank ")
    table, _, certificate = ranking.partition("\nsearch ")
    assert {"Fargo", "Big"} <= set(table.split())
    assert not {"Alien", "Aliens", "Heat"} & set(table.split())
    assert "probability" in table
    assert "%" in table
    for word in ("exact", "k-th score", "best open bound", "nodes expanded", "titles scored", "tokens"):
        assert word in certificate
    assert max(map(len, out.splitlines())) <= 80


def test_json_has_the_certificate_and_probabilities(say):
    found = json.loads(say("--user", "u0", "--k", "1", "--json", "--search", "whole")[1])
    assert set(found) == {"schema", *JSON_KEYS["recommend"]}
    assert found["certificate"]["search"] == "whole"
    assert found["certificate"]["holds"] is True
    assert 0 < found["ranking"][0]["probability"] <= 1


def test_fewer_than_asked_for_is_explained_and_no_failure(say):
    code, out, err = say("--user", "u0", "--where", "year < 1980")
    assert code == 0
    assert "Alien" not in out.splitlines()[-1].split()[:1]
    assert "note: asked for 10, but 0 of 5 items can be ranked: --where keeps 1, and the user has had 1 of those" in err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--user", "u0", "--where", "yeer > 1"], 2, ["'yeer'", "did you mean 'year'", "choices"]),
        (["--user", "u0", "--where", "year > 3000"], 2, ["no item of 5 fits --where 'year > 3000'"]),
        (["--user", "u0", "--deny", "Aliem"], 4, ["'Aliem'", "did you mean 'Alien'"]),
        (["--user", "u0", "--allow", "@nowhere.txt"], 3, ["nowhere.txt"]),
        (["--user", "u0", "--output", "r.csv"], 2, ["--output goes with --all or --users"]),
        (["--all", "--user", "u0", "--output", "r.csv"], 2, ["--user does not go with --all"]),
        (["--all", "--users", "x", "--output", "r.csv"], 2, ["--users does not go with --all"]),
        (["--all"], 2, ["--output"]),
        (["--all", "--output", "r.txt"], 2, ["'r.txt'", ".parquet", "--format"]),
        (["--all", "--output", "-", "--format", "parquet"], 2, ["stdout"]),
        (["--all", "--output", "-", "--restart"], 2, ["--output FILE"]),
        (["--all", "--output", "r.csv", "--explain-search"], 2, ["--explain-search"]),
        (["--users", "nowhere.txt", "--output", "r.csv"], 3, ["nowhere.txt"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_slips_are_told_in_one_line(say, arguments, code, words):
    found, out, err = say(*arguments)
    assert (found, out) == (code, "")
    line = err.splitlines()[-1]
    assert line.startswith("error: ")
    for word in words:
        assert word in line
    assert not list(Path.cwd().iterdir())


def test_many_users_go_into_a_file_and_the_summary_to_stdout(say):
    code, out, err = say("--all", "--output", "recs.csv", "--k", "1")
    assert code == 0
    assert "recs.csv" in out
    assert "users/s" in out
    assert "6/6 users" in err
    assert len(Path("recs.csv").read_text().splitlines()) == 1 + NUM_USERS
    found = json.loads(say("--all", "--output", "other.jsonl", "--json")[1])
    assert list(found) == ["schema", *(field.name for field in fields(BulkRecommendations))]
    assert all(f"`{key}`" in PREFACE for key in list(found)[1:])
    assert found["short"] == NUM_USERS
    code, out, err = say("--all", "--output", "quiet.parquet", "-q")
    assert (code, out, err) == (0, "quiet.parquet\n", "")


@pytest.mark.parametrize("flags", [[], ["--json"], ["-q"]], ids=str)
def test_stdout_has_the_rows_alone(say, flags):
    Path("users.txt").write_text("u5\nu1\n")
    code, out, err = say("--users", "users.txt", "--output", "-", "--k", "1", *flags)
    assert code == 0
    assert [json.loads(line)["user_id"] for line in out.splitlines()] == ["u5", "u1"]
    assert ("2 rows for 2 users" in err) == (flags != ["-q"])


def test_ctrl_c_gives_the_command_that_goes_on(say, home, monkeypatch):
    rank, calls = bulk_job.rank, []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return rank(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(bulk_job, "rank", interrupted)
        arguments = ["--all", "--output", "my recs.csv", "--k", "2", "--deny", "Big", "--deny", "i3", "--restart"]
        code, out, err = say(*arguments)
    assert (code, out) == (130, "")
    line = err.splitlines()[-1]
    assert line.startswith("error: stopped by Ctrl-C; 1 of 3 parts are done and kept; go on with `patchrec --home ")
    words = shlex.split(line.partition("`")[2].rstrip("`"))
    assert words[:4] == ["patchrec", "--home", str(home), "recommend"]
    assert "--restart" not in words
    code, out, err = say(*words[4:])
    assert code == 0
    assert "going on: 1 of 3 parts are done" in err
    whole = say("--all", "--output", "whole.csv", "--k", "2", "--deny", "Big", "--deny", "i3")
    assert whole[0] == 0
    assert Path("my recs.csv").read_bytes() == Path("whole.csv").read_bytes()


def test_another_process_than_the_first_is_silent_when_stopped(say, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    from patchrec.training.processes import Process

    say("--all", "--output", "recs.csv", "--k", "1")
    monkeypatch.setattr(bulk_job, "rank", interrupted)
    assert say("--all", "--output", "r.csv")[0] == 130
    monkeypatch.setattr(Process, "start", lambda self, prepare: (None, b"[0, 1, 2]"))
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert say("--all", "--output", "r.csv") == (130, "", "")


def test_the_command_to_go_on_with_starts_as_many_processes(say, monkeypatch):
    from patchrec.training.processes import Process

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(bulk_job, "rank", interrupted)
    monkeypatch.setattr(Process, "start", lambda self, prepare: prepare())
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "go on with `torchrun --nproc_per_node 2 -m patchrec_cli --home" in say("--all", "--output", "r.csv")[2]


@pytest.mark.parametrize(
    ("probability", "shown"), [(1.0, "100.0%"), (0.1234, "12.3%"), (0.0012, "0.12%"), (1e-9, "<0.01%"), (None, None)]
)
def test_probabilities_are_shown_in_percent(probability, shown):
    assert percent(probability) == shown

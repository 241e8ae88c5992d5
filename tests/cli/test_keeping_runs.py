"""Names, notes and tags on every command that makes a run; `runs edit`, `rm`, `restore` and `gc`."""

import sys

import pytest

from patchrec.store import Store

MARKS = ["--note", "first, 2 words", "--tag", "paper", "--tag", "a"]


def marked(cli, name):
    shown = cli("runs", "show", name, "--json").json["run"]
    return shown["name"], shown["note"], shown["tags"]


def test_baselines_evaluations_and_blends_take_names_notes_and_tags(toy_cli):
    assert toy_cli("baseline", "popularity", "--name", "pop", *MARKS).code == 0
    assert toy_cli("eval", "--baseline", "recent", "--name", "rec", *MARKS).code == 0
    assert toy_cli("blend", "pop", "rec", "--weights", "1,1", "--name", "both", *MARKS).code == 0
    for name in ("pop", "rec", "both"):
        assert marked(toy_cli, name) == (name, "first, 2 words", ["a", "paper"])
    out = toy_cli("runs", "show", "pop").out
    assert "first, 2 words" in out
    assert "a paper" in out
    assert toy_cli("eval", "both").code == 0
    row = toy_cli("runs", "ls", "--json").json["runs"][0]
    assert (row["name"], row["note"], row["tags"]) == ("both", "first, 2 words", ["a", "paper"])


def test_training_takes_them_and_runs_start_from_named_ones(toy_cli):
    tiny = ["--backbone", "tiny-random", "--max-steps", "1", "--K", "4"]
    assert toy_cli("pretrain", *tiny, "--name", "stage-one", *MARKS).code == 0
    tuned = ["finetune", "--strategy", "vanilla", "--max-steps", "1"]
    assert toy_cli(*tuned, "--dry-run", "--name", "stage-one").code == 2
    assert toy_cli(*tuned, "--from", "stage-one", "--name", "stage-two", *MARKS).code == 0
    assert toy_cli("eval", "stage-one", "--strategy", "vanilla", "--name", "plain", *MARKS).code == 0
    for name in ("stage-one", "stage-two", "plain"):
        assert marked(toy_cli, name) == (name, "first, 2 words", ["a", "paper"])
    ran = toy_cli("finetune", "--resume", "stage-two", "--tag", "x", "--note", "y")
    assert (ran.code, "drop --note, --tag" in ran.err) == (2, True)
    ran = toy_cli("runs", "rm", "stage-one")
    assert (ran.code, "is the start of stage-two, plain" in ran.err) == (2, True)


def test_a_run_that_is_there_is_tagged_and_keeps_its_name(toy_cli):
    again = ["eval", "--baseline", "popularity"]
    assert toy_cli(*again).code == 0
    assert toy_cli(*again, "--tag", "x", "--name", "popularity-1").code == 0
    assert marked(toy_cli, "popularity-1") == ("popularity-1", None, ["x"])
    ran = toy_cli(*again, "--name", "other")
    assert (ran.code, "'popularity-1' is there already and keeps its name" in ran.err) == (2, True)
    ran = toy_cli("eval", "popularity-1", "--tag", "x")
    assert (ran.code, "patchrec runs edit RUN" in ran.err) == (2, True)


def test_a_taken_name_is_told_before_anything_is_made(toy_cli, tmp_path):
    assert toy_cli("baseline", "popularity", "--name", "pop").code == 0
    for name in ("pop", "POP", "none", "a b"):
        assert toy_cli("baseline", "recent", "--name", name).code == 2
    assert toy_cli("runs", "ls", "-q").out.split() == ["pop"]
    assert [path.name for path in (tmp_path / "home" / "runs").iterdir()] == ["pop"]


def test_a_run_is_edited(toy_cli):
    assert toy_cli("baseline", "popularity", "--name", "pop", *MARKS).code == 0
    ran = toy_cli("runs", "edit", "po", "--note", "\x1b[31mred", "--tag", "b", "--untag", "a", "--json")
    assert ran.json["run"] == {"name": "pop", "note": "\x1b[31mred", "tags": ["b", "paper"]}
    assert "\x1b" not in toy_cli("runs", "show", "pop").out
    assert "none" in toy_cli("runs", "edit", "pop", "--note", "").out
    assert marked(toy_cli, "pop") == ("pop", None, ["b", "paper"])
    for arguments, code in ((["pop"], 2), (["pop", "--untag", "zz"], 4), (["no", "--tag", "x"], 4)):
        assert toy_cli("runs", "edit", *arguments).code == code
    assert toy_cli("runs", "edit", "pop", "--tag", "x", "--untag", "x").code == 2


@pytest.fixture
def three(toy_cli):
    """The command with three runs, the last a blend of the others."""
    assert toy_cli("baseline", "popularity").code == 0
    assert toy_cli("eval", "--baseline", "recent").code == 0
    assert toy_cli("blend", "popularity-1", "recent-1", "--weights", "1,1").code == 0
    return toy_cli


def test_what_goes_is_shown_and_comes_back(three, tmp_path):
    ran = three("runs", "rm", "recent-1", "popularity-1")
    assert ran.code == 0
    assert "MB" in ran.out
    assert "blend-1 cannot rank without recent-1, which it mixes" in ran.err
    assert "next: patchrec runs restore recent-1 popularity-1" in ran.err
    assert three("runs", "ls", "-q").out.split() == ["blend-1"]
    assert "patchrec runs restore popularity-1" in three("eval", "blend-1").err
    assert "gone to the trash; `patchrec runs restore recent-1`" in three("runs", "ls").err
    assert three("runs", "show", "recent-1").code == 4
    [check] = [check for check in three("doctor", "--json").json["checks"] if check["name"] == "trash"]
    assert check["detail"].startswith("2 runs, ")
    assert three("runs", "restore", "recent-1", "popularity-1").code == 0
    assert three("eval", "blend-1").code == 0
    assert len(three("runs", "show", "recent-1", "--json").json["run"]["evaluations"]) == 1


def test_the_trash_is_emptied_when_told_to(three, tmp_path):
    folder = tmp_path / "home" / "runs" / "popularity-1"
    assert three("runs", "rm", "blend-1", "popularity-1", "--json").json["removed"] == ["blend-1", "popularity-1"]
    dry = three("runs", "gc", "--dry-run", "--json").json
    assert (dry["deleted"], [row["run"] for row in dry["trash"]]) == ([], ["popularity-1", "blend-1"])
    assert dry["size"] > 0
    assert folder.exists()
    assert three("runs", "gc", "blend-1", "-q").out.split() == ["blend-1"]
    assert three("runs", "gc").code == 0
    assert not folder.exists()
    assert three("runs", "restore", "popularity-1").code == 4
    assert "trash is empty" in three("runs", "gc").err
    assert three("runs", "gc", "recent-1").code == 4
    assert three("runs", "ls", "-q").out.split() == ["recent-1"]
    with Store.open(tmp_path / "home") as store:
        assert store.rows("PRAGMA foreign_key_check") == []


@pytest.mark.parametrize("names", [["recent"], ["popularity-1", "recent"], ["popularity-1", "recent-11"]])
def test_one_name_that_is_none_keeps_all(three, names):
    assert three("runs", "rm", *names).code == 4
    assert len(three("runs", "ls", "-q").out.split()) == 3


def test_on_a_terminal_it_asks(three, monkeypatch):
    class Terminal:
        def __init__(self, answer):
            self.answer = answer

        def isatty(self):
            return True

        def readline(self, *_):
            return self.answer

    def answering(answer, *arguments):
        monkeypatch.setattr("typer.confirm", lambda question, err: asked.append(question) or answer)
        monkeypatch.setattr(sys, "stdin", Terminal(""))
        return three(*arguments)

    asked = []
    ran = answering(False, "runs", "rm", "recent-1")
    assert (ran.code, "nothing was removed" in ran.err) == (1, True)
    assert answering(True, "runs", "rm", "recent-1").code == 0
    assert answering(False, "runs", "gc").code == 1
    assert len(asked) == 3
    assert "put 1 run (" in asked[0]
    assert answering(False, "runs", "gc", "--yes").code == 0
    assert len(asked) == 3
    assert len(three("runs", "ls", "-q").out.split()) == 2

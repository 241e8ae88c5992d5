"""What is printed to be typed next works, and means what it followed."""

import dataclasses
import re
import shlex

import pytest

from patchrec.store import Store


@pytest.fixture
def two(toy_cli, toy, tmp_path):
    """The command with two data sets, `toy` in use."""
    with Store.open(tmp_path / "home") as store:
        store.datasets.add(dataclasses.replace(toy, name="other"), source="x", licence="x", split={})
        store.datasets.use("toy")
    return toy_cli


def next_steps(said):
    """Commands that were printed to be typed next, for user ann."""
    lines = [line.removeprefix("next: patchrec ") for line in said.splitlines() if line.startswith("next: ")]
    return [shlex.split(line.replace(" ID", " ann")) for line in lines]


def test_after_a_data_set_was_added_the_hints_are_of_it(two, tmp_path):
    rows = [f"u{user},{'abc'[item % 3]},{item}" for user in range(3) for item in range(5)]
    (tmp_path / "log.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]))
    (tmp_path / "items.csv").write_text("item_id,title\na,A\nb,B\nc,C\n")
    files = ["--interactions", tmp_path / "log.csv", "--items", tmp_path / "items.csv", "--split", "leave-one-out"]
    ran = two("data", "add", "third", *files)
    assert ran.code == 0
    assert next_steps(ran.err) == [["demo", "--data", "third"], ["pretrain", "--data", "third"]]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_after_an_evaluation_the_hints_are_of_its_data_and_split(two, split):
    ran = two("eval", "--baseline", "popularity", "--data", "other", "--split", split)
    steps = next_steps(ran.err)
    assert [step[0] for step in steps] == ["runs", "runs", "recommend"]
    for step in steps:
        assert two(*step).code == 0, step
    shown = two(*steps[0], "--json").json
    assert (shown["dataset"], shown["split"]) == ("other", split)


def test_after_a_baseline_and_of_runs_the_hints_work(two):
    for command in (["baseline", "popularity", "--data", "other"], ["runs", "ls"], ["runs", "show", "popularity-1"]):
        ran = two(*command)
        assert ran.code == 0
        for step in next_steps(ran.err):
            assert two(*step).code == 0, step


@pytest.mark.parametrize("arguments", [["recommend", "--user", "anna"], ["recommend", "--all", "--users", "FILE"]])
def test_who_does_not_know_a_user_is_told_what_lists_them(two, tmp_path, arguments):
    assert two("baseline", "popularity").code == 0
    (tmp_path / "users").write_text("anna\nbobo\n")
    given = [word.replace("FILE", str(tmp_path / "users")) for word in arguments if word != "--all"]
    output = ["--output", tmp_path / "out.csv"] if "--users" in given else []
    ran = two(*given, "--run", "popularity-1", *output)
    assert ran.code == 4
    (command,) = re.findall(r"`patchrec (data users [^`]*)`", ran.err)
    assert set(two(*shlex.split(command), "-q").out.split()) == {"ann", "bob", "007"}


def test_what_removes_a_run_wants_its_whole_name(two, tmp_path):
    assert two("baseline", "popularity").code == 0
    for name in ("pop", "popularity", "popularity-", ""):
        ran = two("runs", "rm", name)
        assert ran.code == 4, name
        assert "popularity-1" in ran.err
    assert "whole name" in two("runs", "rm", "pop").err
    assert two("runs", "show", "pop").code == 0
    assert two("runs", "rm", "popularity-1").code == 0


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("finetune", ["--seed", "3"]),
        ("finetune", ["--seed", "0"]),
        ("finetune", ["--loss", "catalog"]),
        ("finetune", ["--head", "item"]),
        ("pretrain", ["--seed", "3"]),
        ("baseline", ["--seed", "3"]),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_nothing_beside_resume_is_ignored(two, command, extra):
    ran = two(command, "--resume", "some-1", *extra)
    assert ran.code == 2
    assert f"drop {extra[0]}" in ran.err


def test_a_data_set_beside_named_runs_is_not_ignored(two):
    assert two("eval", "--baseline", "popularity").code == 0
    assert two("runs", "compare", "popularity-1", "--data", "toy").code == 0
    ran = two("runs", "compare", "popularity-1", "--data", "other")
    assert ran.code == 2
    assert "on data set 'toy', not 'other'" in ran.err


def test_after_an_item_was_added_the_hint_works_with_and_without_a_run(two):
    add = ["data", "items", "add", "other", "--title", "New", "--item-id"]
    ran = two(*add, "n1")
    assert [two(*step).code for step in next_steps(ran.err)] == [0]
    assert two("baseline", "popularity", "--data", "other").code == 0
    (step,) = next_steps(two(*add, "n2").err)
    assert step[0] == "recommend"
    assert two(*step).code == 0


def test_the_hint_of_a_data_set_with_runs_can_be_followed(two):
    assert two("baseline", "popularity").code == 0
    assert two("baseline", "recent").code == 0
    (command,) = re.findall(r"`patchrec (runs rm [^`]*)`", two("data", "rm", "toy").err)
    assert two(*shlex.split(command)).code == 0
    (command,) = re.findall(r"`patchrec (runs gc [^`]*)`", two("data", "rm", "toy").err)
    assert two(*shlex.split(command)).code == 0
    assert two("data", "rm", "toy").code == 0

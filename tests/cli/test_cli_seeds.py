"""`--seeds`: a run for each seed and a group of them, in every command that has to do with it."""

import pytest
from test_cli_runs import add_run

from patchrec.errors import InterruptedRunError
from patchrec.operations.training import seeds as operations
from patchrec.operations.training.train import go_on
from patchrec.store import Store

SMALL = ["--width", "8", "--layers", "1", "--heads", "1", "--max-steps", "1", "--batch-size", "4", "--data", "toy"]


@pytest.fixture
def group(toy_cli):
    """The command with a fitted group `sasrec-1` of the seeds 0 and 4."""
    ran = toy_cli("baseline", "sasrec", "--seeds", "0,4", *SMALL)
    assert ran.code == 0, ran.err
    assert "next: patchrec eval sasrec-1" in ran.err
    return toy_cli


def metric(rows, name="mrr", seen="dropped"):
    return next(row for row in rows if (row["name"], row["level"], row["seen"]) == (name, "item", seen))


def make_group(store: Store, ranks: dict[int, list[int]], strategy: str = "pft-s") -> str:
    """A finished group whose runs have these ranks, by seed."""
    names = []
    for seed, of_targets in ranks.items():
        names.append(add_run(store, strategy, of_targets))
        with store.write() as db:
            db.execute("UPDATE runs SET seed = ?, seed_group = 'grp-1' WHERE name = ?", [seed, names[-1]])
    return "grp-1"


def test_a_group_is_fitted_listed_evaluated_and_shown(group):
    listed = group("runs", "ls", "--json").json["runs"]
    assert [(row["name"], row["seed"], row["group"]) for row in listed] == [
        ("sasrec-1-s4", 4, "sasrec-1"),
        ("sasrec-1-s0", 0, "sasrec-1"),
    ]
    line = next(line for line in group("runs", "ls").out.splitlines() if line.startswith("sasrec-1 "))
    assert "0,4" in line
    assert "done" in line
    found = group("eval", "sasrec-1", "--json").json
    each = [metric(one["metrics"], seen="kept")["value"] for one in found["evaluations"]]
    mrr = metric(found["metrics"], seen="kept")
    assert mrr["value"] == pytest.approx(sum(each) / 2)
    assert mrr["sd"] == pytest.approx(abs(each[0] - each[1]) / 2**0.5)
    assert (found["run"], found["seeds"]) == ("sasrec-1", [0, 4])
    assert f"{mrr['value']:.3f} ± {mrr['sd']:.3f}" in group("eval", "sasrec-1").out
    assert "±" in group("runs", "show", "sasrec-1").out
    shown = group("runs", "show", "sasrec-1", "--json").json["group"]
    assert [run["seed"] for run in shown["runs"]] == [0, 4]
    assert shown["evaluations"][0]["seeds"] == [0, 4]
    assert group("doctor").code == 0


@pytest.mark.parametrize(
    "words",
    [
        ["recommend", "--user", "ann", "--run", "sasrec-1"],
        ["export", "sasrec-1", "out"],
        ["runs", "choose-score", "sasrec-1"],
    ],
)
def test_a_group_is_no_run_where_one_is_wanted(group, words):
    ran = group(*words)
    assert ran.code == 2
    assert "sasrec-1 is a group of seeds" in ran.err
    assert "sasrec-1-s0, sasrec-1-s4" in ran.err


def test_a_group_that_was_stopped_goes_on_with_what_is_missing(toy_cli, monkeypatch):
    begun = []

    def stop_at_the_second(name, **more):
        begun.append(name)
        if len(begun) == 2:
            raise InterruptedRunError("stopped by Ctrl-C after step 1")
        return go_on(name, **more)

    monkeypatch.setattr(operations, "go_on", stop_at_the_second)
    ran = toy_cli("baseline", "sasrec", "--seeds", "0-2", *SMALL)
    assert ran.code == 130
    assert "all seeds: `patchrec baseline sasrec --resume sasrec-1`" in ran.err
    assert "2 waiting, 1" in toy_cli("runs", "ls").out
    for words in (["ls"], ["show", "sasrec-1"], ["show", "sasrec-1-s2"]):
        assert "next: patchrec baseline sasrec --resume sasrec-1\n" in toy_cli("runs", *words).err
    assert "waiting and cannot rank; go on with" in toy_cli("eval", "sasrec-1-s2").err
    assert toy_cli("finetune", "--resume", "sasrec-1").code == 2
    again = toy_cli("baseline", "--resume", "sasrec-1", "--seed", "3")
    assert (again.code, "drop --seed" in again.err) == (2, True)
    ran = toy_cli("baseline", "--resume", "sasrec-1", "--json")
    assert ran.code == 0, ran.err
    assert [run["run"] for run in ran.json["runs"]] == [f"sasrec-1-s{seed}" for seed in range(3)]
    assert begun == ["sasrec-1-s0", "sasrec-1-s1", "sasrec-1-s1", "sasrec-1-s2"]
    done = toy_cli("baseline", "--resume", "sasrec-1")
    assert (done.code, "patchrec eval sasrec-1" in done.err) == (2, True)


def test_a_run_that_waits_goes_on_by_itself_and_not_with_another_catalog(toy_cli, monkeypatch):
    monkeypatch.setattr(operations, "go_on", lambda name, **more: (_ for _ in ()).throw(InterruptedRunError("stopped")))
    assert toy_cli("baseline", "sasrec", "--seeds", "0,1", *SMALL).code == 130
    assert toy_cli("baseline", "--resume", "sasrec-1-s1").code == 0
    assert toy_cli("data", "items", "add", "toy", "--item-id", "99", "--title", "Ran").code == 0
    refused = toy_cli("baseline", "--resume", "sasrec-1-s0")
    assert (refused.code, "planned with another catalog" in refused.err) == (2, True)
    assert toy_cli("baseline", "--resume", "sasrec-1-s0", "--force").code == 0
    assert toy_cli("eval", "sasrec-1-s0").code == 0


def test_every_seed_is_as_if_it_had_been_given_alone(group, tmp_path):
    assert group("baseline", "sasrec", "--seed", "4", *SMALL).code == 0
    with Store.open(tmp_path / "home") as store:
        files = [store.runs.checkpoints(name)[-1].manifest["files"] for name in ("sasrec-1-s4", "sasrec-2")]
        assert files[0]["model.safetensors"] == files[1]["model.safetensors"]
        assert store.runs.get("sasrec-1-s4").config == store.runs.get("sasrec-2").config


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["sasrec", "--seeds", "0,x"], "0,1,2 or 0-4"),
        (["sasrec", "--seeds", ""], "0,1,2 or 0-4"),
        (["sasrec", "--seeds", "-1"], "0,1,2 or 0-4"),
        (["sasrec", "--seeds", "4-0"], "the range goes up"),
        (["sasrec", "--seeds", "0,1,1"], "seed 1 is given twice"),
        (["sasrec", "--seeds", "9999999999"], "whole numbers from 0 on"),
        (["sasrec", "--seeds", "0,1", "--seed", "0"], "--seed and --seeds"),
        (["sasrec", "--seeds", "0,1", "--force"], "--force goes with --resume"),
        (["popularity", "--seeds", "0,1"], "draws nothing at random"),
        (["sasrec", "--seeds", "0,1", "--width", "9", "--heads", "2"], "--width 9"),
    ],
)
def test_seeds_that_cannot_be_are_refused_in_a_line(toy_cli, words, wanted):
    ran = toy_cli("baseline", *words, "--data", "toy")
    assert (ran.code, wanted in ran.err) == (2, True), ran.err
    assert len([line for line in ran.err.splitlines() if line.startswith("error:")]) == 1
    assert toy_cli("runs", "ls", "--json").json["runs"] == []


def test_a_group_is_one_row_of_a_comparison_and_one_hypothesis(toy_cli, tmp_path):
    with Store.open(tmp_path / "home") as store:
        make_group(store, {0: [1, 2, 4, 4], 1: [1, 1, 2, 4], 7: [2, 2, 2, 4]})
        add_run(store, "vanilla", [4, 4, 8, 8])
    table = toy_cli("runs", "compare", "--json").json
    assert [(row["run"], row["seeds"]) for row in table["rows"]] == [("grp-1", [0, 1, 7]), ("vanilla-1", [0])]
    assert table["comparisons"] == 1  # one pair, however many seeds
    mrr = [[1, 1 / 2, 1 / 4, 1 / 4], [1, 1, 1 / 2, 1 / 4], [1 / 2, 1 / 2, 1 / 2, 1 / 4]]
    mean = sum(map(sum, mrr)) / 12
    assert table["rows"][1]["difference"]["difference"] == pytest.approx((1 / 4 + 1 / 4 + 1 / 8 + 1 / 8) / 4 - mean)
    found = metric(table["rows"][0]["metrics"])
    assert found["value"] == pytest.approx(mean)
    drawn = toy_cli("runs", "compare").out
    assert f"± {found['sd']:.3f}" in drawn
    assert "0,1,7" in drawn
    assert max(map(len, drawn.splitlines())) <= 80


def test_runs_of_a_group_named_one_by_one_are_its_row_too(toy_cli, tmp_path):
    with Store.open(tmp_path / "home") as store:
        make_group(store, {0: [1, 2, 4, 4], 1: [1, 1, 2, 4], 7: [2, 2, 2, 4]})
        add_run(store, "vanilla", [4, 4, 8, 8])
    table = toy_cli("runs", "compare", "vanilla-1", "pft-s-1", "pft-s-3", "--json").json
    assert [(row["run"], row["seeds"]) for row in table["rows"]] == [("vanilla-1", [0]), ("grp-1", [0, 7])]
    assert table["comparisons"] == 1
    assert any("grp-1 is without seed 1 (not evaluated)" in note or "without seed 1" in note for note in table["notes"])
    one = toy_cli("runs", "compare", "vanilla-1", "pft-s-2", "--json").json["rows"][1]
    assert (one["run"], one["seeds"], one["group"]) == ("pft-s-2", [1], None)


def test_seeds_of_a_group_do_not_outvote_other_runs_on_what_is_compared(toy_cli, tmp_path):
    """Two methods on four targets are a table; three seeds of one method on two targets are one row."""
    with Store.open(tmp_path / "home") as store:
        make_group(store, {0: [1, 2], 1: [1, 1], 7: [2, 2]})
        add_run(store, "vanilla", [4, 4, 8, 8])
        add_run(store, "pft-i", [4, 4, 8, 9])
    table = toy_cli("runs", "compare", "--json").json
    assert sorted(row["run"] for row in table["rows"]) == ["pft-i-1", "vanilla-1"]


def test_a_fine_tuning_of_seeds_starts_each_from_the_pre_training_of_its_own(toy_cli):
    tiny = ["--data", "toy", "--max-steps", "1", "--batch-size", "4"]
    ran = toy_cli("pretrain", "--backbone", "tiny-random", "--seeds", "0,1", *tiny)
    assert ran.code == 0, ran.err
    assert "--from pretrain-1 --seeds 0,1" in ran.err
    assert (
        "no run of seed 2"
        in toy_cli("finetune", "--strategy", "vanilla", "--from", "pretrain-1", "--seeds", "1,2", *tiny).err
    )
    one = toy_cli("finetune", "--strategy", "vanilla", "--from", "pretrain-1", *tiny)
    assert "pretrain-1 is a group of seeds" in one.err
    ran = toy_cli("finetune", "--strategy", "vanilla", "--from", "pretrain-1", "--seeds", "0,1", *tiny)
    assert ran.code == 0, ran.err
    listed = toy_cli("runs", "ls", "--json").json["runs"]
    assert {row["name"]: row["parent"] for row in listed if row["stage"] == "finetune"} == {
        "vanilla-1-s0": "pretrain-1-s0",
        "vanilla-1-s1": "pretrain-1-s1",
    }
    dry = toy_cli("finetune", "--strategy", "vanilla", "--from", "pretrain-1", "--seeds", "0,1", "--dry-run", *tiny)
    assert (dry.code, "each of the 2 seeds" in dry.err) == (0, True)


def test_several_processes_are_refused(toy_cli, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    ran = toy_cli("baseline", "sasrec", "--seeds", "0,1", *SMALL)
    assert (ran.code, "without torchrun" in ran.err) == (2, True)

"""A sweep: what its file may say, what it chooses on, what it reads, and who does the work."""

import json
from collections import Counter
from pathlib import Path

import pytest
import warm

from patchrec.errors import CheckFailedError, InputError, InterruptedRunError, PatchrecError, UsageError
from patchrec.operations.sweeping import sweep as module
from patchrec.operations.sweeping.file import lines_of, read_sweep
from patchrec.operations.sweeping.sweep import sweep
from patchrec.operations.training.train import baseline, go_on
from patchrec.store import Store

SCRIPT = Path(__file__).with_name("sweep_trials.py")
SWEEP = """
data = "walkers"
seeds = [0, 1]
limit = 12
reference = "sasrec"

[[run]]
baseline = "popularity"

[[run]]
baseline = "sasrec"
options = { width = [4, 8], layers = 1, heads = 1 }
max-steps = 2
batch-size = 30
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A sweep of three lines, five runs."""
    (tmp_path / "sweep.toml").write_text(SWEEP)
    return tmp_path / "sweep.toml"


def evaluated(home: Path) -> Counter[tuple[str, str]]:
    """How often each run was evaluated on each split."""
    with Store.open(home) as store:
        return Counter((found.run, found.split) for found in store.evaluations.all())


def test_a_dry_run_lists_what_would_run_and_stores_nothing(home: Path, file: Path):
    found = sweep(file, dry_run=True, home=home)
    assert [(line.setting, line.seeds, line.state) for line in found.lines] == [
        ("popularity", [0], "new"),  # which draws nothing at random
        ("sasrec width=4", [0, 1], "new"),
        ("sasrec width=8", [0, 1], "new"),
    ]
    assert (found.num_runs, found.to_fit, found.to_evaluate, found.comparison) == (5, 5, 5, None)
    with Store.open(home) as store:
        assert store.runs.names() == []


def test_the_best_of_each_name_on_validation_meets_the_test_split_once(home: Path, file: Path):
    notes: list[str] = []

    class Notes(type(module.SILENT)):
        def note(self, message):
            notes.append(message)

    found = sweep(file, home=home, report=Notes())
    tried = [line for line in found.lines if line.name == "sasrec"]
    best = max(tried, key=lambda line: line.validation)
    assert [line.chosen for line in tried] == [line is best for line in tried]
    assert found.chosen == [best.run, "popularity-1"]
    members = [f"{best.run}-s0", f"{best.run}-s1"]
    assert found.test_read == [*members, "popularity-1"]
    assert any("reading the test split, for the chosen runs alone" in note for note in notes)
    assert {run for run, split in evaluated(home) if split == "test"} == {*members, "popularity-1"}
    assert [(row["run"], row["seeds"]) for row in found.comparison["rows"]] == [
        (best.run, [0, 1]),
        ("popularity-1", [0]),
    ]
    assert (found.comparison["split"], found.comparison["comparisons"]) == ("test", 1)
    notes.clear()
    again = sweep(file, home=home, report=Notes())
    assert (again.to_fit, again.to_evaluate, again.test_read, again.chosen) == (0, 0, [], found.chosen)
    assert any("read before" in note for note in notes)
    assert set(evaluated(home).values()) == {1}
    assert again.comparison["rows"] == found.comparison["rows"]


def test_runs_that_are_there_are_used_and_a_longer_file_does_the_rest(home: Path, file: Path):
    made = baseline("popularity", data="walkers", home=home)
    sweep(file, home=home)
    assert evaluated(home)[made.run, "validation"] == 1
    file.write_text(SWEEP.replace("[4, 8]", "[4, 8, 16]"))
    found = sweep(file, dry_run=True, home=home)
    assert (found.num_runs, found.to_fit) == (7, 2)
    assert [line.state for line in found.lines] == ["done", "done", "done", "new"]


def test_a_sweep_that_was_stopped_goes_on(home: Path, file: Path, monkeypatch):
    begun: list[str] = []

    def stop_at_the_third(name, **more):
        begun.append(name)
        if len(begun) == 3:
            raise InterruptedRunError("stopped by SIGTERM", 143)
        return go_on(name, **more)

    monkeypatch.setattr(module, "go_on", stop_at_the_third)
    with pytest.raises(InterruptedRunError, match="the whole sweep: `patchrec sweep") as stopped:
        sweep(file, home=home)
    assert stopped.value.exit_code == 143
    assert "test" not in {split for _, split in evaluated(home)}
    sweep(file, home=home)
    assert begun[:2] == [name for name in begun if begun.count(name) == 1][:2]
    assert len(begun) == 5 + 1
    assert set(evaluated(home).values()) == {1}


def test_a_run_that_fails_leaves_the_test_split_unread_and_the_others_done(home: Path, file: Path, monkeypatch):
    def fail_one(name, **more):
        if name == "sasrec-1-s1":
            with Store.open(more["home"]) as store:
                store.runs.reopen(name)
                store.runs.fail(name, "the loss is not finite")
            raise PatchrecError("the loss is not finite")
        return go_on(name, **more)

    with monkeypatch.context() as patch:
        patch.setattr(module, "go_on", fail_one)
        with pytest.raises(
            CheckFailedError, match=r"1 of 5 runs failed.*test split was not read.*sasrec-1-s1.*width=4"
        ):
            sweep(file, home=home)
    assert len(evaluated(home)) == 4
    assert {split for _, split in evaluated(home)} == {"validation"}
    assert len(sweep(file, home=home).chosen) == 2
    assert set(evaluated(home).values()) == {1}


def run_trial(*words: object) -> list[int]:
    ran = warm.run([str(SCRIPT), *map(str, words)], timeout=550)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def check_that_all_is_done_once(home: Path, runs: int) -> None:
    with Store.open(home) as store:
        assert len(store.runs.names()) == runs
        assert {run.status for run in store.runs.all()} == {"done"}
        assert store.rows("PRAGMA integrity_check") == [("ok",)]
    counted = evaluated(home)
    assert set(counted.values()) == {1}
    assert Counter(split for _, split in counted)["validation"] == runs


def test_two_processes_share_a_sweep_and_do_nothing_twice(home: Path, file: Path):
    assert run_trial("share", home, file, 2) == [0, 0]
    begun = (home / "begun").read_text().split()
    assert sorted(begun) == sorted(set(begun))
    check_that_all_is_done_once(home, 5)


def test_the_work_of_a_killed_process_is_taken_over(home: Path, file: Path):
    codes = run_trial("kill", home, file, 3, 0)
    assert codes[0] == 0
    assert len((home / "begun").read_text().split()) <= 5 + 3  # a kill costs one more beginning at most
    check_that_all_is_done_once(home, 5)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_ten_kills_lose_and_double_nothing(home: Path, file: Path, seed: int):
    long = SWEEP.replace("max-steps = 2", "max-steps = 40")
    file.write_text(long.replace("[4, 8]", "[4, 8, 12, 16]").replace("[0, 1]", "[0, 1, 2]"))
    codes = run_trial("kill", home, file, 10, seed)
    assert codes[0] == 0
    assert 13 < len((home / "begun").read_text().split()) <= 13 + 10  # some kills hit a training, and only those
    check_that_all_is_done_once(home, 13)


@pytest.mark.slow
def test_four_processes_share_a_sweep_and_do_nothing_twice(home: Path, file: Path):
    file.write_text(SWEEP.replace("[4, 8]", "[4, 8, 12, 16]").replace("[0, 1]", "[0, 1, 2]"))
    assert run_trial("share", home, file, 4) == [0] * 4
    begun = (home / "begun").read_text().split()
    assert sorted(begun) == sorted(set(begun))
    check_that_all_is_done_once(home, 13)


def test_lists_are_a_grid_whose_last_varies_fastest(tmp_path: Path):
    path = tmp_path / "s.toml"
    path.write_text(
        'data = "d"\nseeds = [7]\n[[run]]\nfinetune = "pft-s"\nname = "ours"\nfrom = "none"\nepochs = [1, 2]\nK = 50\n'
        "options = { L = [5, 20] }\nhead-options = { loss = 'catalog' }\nseeds = [1, 2]\n"
    )
    lines = lines_of(read_sweep(path))
    assert [line.shown for line in lines] == [
        "ours epochs=1 L=5", "ours epochs=1 L=20", "ours epochs=2 L=5", "ours epochs=2 L=20",
    ]  # fmt: skip
    asked = lines[1].asked
    assert (asked.command, asked.strategy, asked.start) == ("finetune", "pft-s", "none")
    assert (asked.options, asked.head_options) == ({"L": 20}, {"loss": "catalog"})
    assert asked.settings == {"data": "d", "epochs": 1, "K": 50}
    assert lines[0].seeds == (1, 2)


RUN = '[[run]]\nbaseline = "popularity"\n'


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("x =", "is no sweep"),
        (f"seeds = [0]\n{RUN}", "data: is required"),
        ('data = "d"', "a sweep has runs: [[run]]"),
        (f'data = "d"\nmetrics = "hr@10"\n{RUN}', "no key 'metrics'; did you mean 'metric'?"),
        (f'data = "d"\nmetric = "auc"\n{RUN}', "metric = 'auc': choices: ndcg@20"),
        (f'data = "d"\nseeds = [1, 1]\n{RUN}', "seed 1 is given twice"),
        (f'data = "d"\nseeds = [-1]\n{RUN}', "whole numbers from 0 on"),
        (f'data = "d"\nseeds = []\n{RUN}', "whole numbers from 0 on"),
        (f'data = "d"\nlimit = 0\n{RUN}', "limit = 0"),
        (f'data = "d"\nreference = "sasrec"\n{RUN}', "no name 'sasrec'; choices: popularity"),
        ('data = "d"\n[[run]]\nbaselin = "x"', "run 1: no key 'baselin'; did you mean 'baseline'?"),
        ('data = "d"\n[[run]]\nbaseline = "x"\nseed = 1', "no key 'seed'; did you mean 'seeds'?"),
        ('data = "d"\n[[run]]\nname = "x"', "say what is fitted"),
        ('data = "d"\n[[run]]\nbaseline = "x"\nfinetune = "y"', "say what is fitted"),
        ('data = "d"\n[[run]]\nfinetune = "pft-s"', 'from = "none"'),
        ('data = "d"\n[[run]]\nbaseline = "x"\nfrom = "none"', "a baseline has no from"),
        ('data = "d"\n[[run]]\nbaseline = "x"\nepochs = []', "epochs is an empty list"),
        ('data = "d"\n[[run]]\nbaseline = "x"\nepochs = [[1]]', "epochs takes a value or a list of values"),
        ('data = "d"\nrun = 1', "run = 1: input should be a list"),
        ('data = "d"\nrun = [1]', "a run is a table"),
    ],
)
def test_a_file_that_is_no_sweep_is_told_in_a_line(tmp_path: Path, text: str, wanted: str):
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(InputError) as refused:
        read_sweep(tmp_path / "s.toml")
    assert wanted in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "tuple" not in str(refused.value)


def test_a_file_that_is_missing_or_too_large_is_told(tmp_path: Path):
    with pytest.raises(InputError, match="no file"):
        read_sweep(tmp_path / "none.toml")
    path = tmp_path / "s.toml"
    numbers = list(range(1, 40))
    path.write_text(f'data = "d"\n[[run]]\nbaseline = "x"\nepochs = {numbers}\nmax-steps = {numbers}\n')
    with pytest.raises(InputError, match="more than 1,000 lines"):
        lines_of(read_sweep(path))


def test_what_does_not_fit_is_told_with_its_line_before_anything_runs(home: Path, file: Path):
    file.write_text(SWEEP.replace("[4, 8]", "[4, 0]"))
    with pytest.raises(UsageError, match=r"sasrec width=0: .*--width=0"):
        sweep(file, home=home)
    file.write_text(SWEEP.replace('"popularity"', '"popularty"'))
    with pytest.raises(PatchrecError, match="popularty: no baseline 'popularty'; did you mean 'popularity'"):
        sweep(file, home=home)
    with Store.open(home) as store:
        assert store.runs.names() == []


def test_the_example_is_a_sweep():
    example = Path(__file__).resolve().parents[2] / "examples" / "sweep.toml"
    found = read_sweep(example)
    assert found.names == ["sasrec", "item-knn", "item-mean", "pft-s"]
    assert len(lines_of(found)) == 8

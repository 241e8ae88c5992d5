"""Parts of a sweep: fitted first, once for each seed of those that need them, and never chosen."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from patchrec.errors import CheckFailedError, InputError, PatchrecError, UsageError
from patchrec.operations.sweeping import sweep as module
from patchrec.operations.sweeping.file import lines_of, parts_of, read_sweep
from patchrec.operations.sweeping.settled import Settled, with_parts
from patchrec.operations.sweeping.sweep import find_counted, sweep
from patchrec.operations.training.asked import Asked
from patchrec.operations.training.train import go_on
from patchrec.store import Store

SWEEP = """
data = "walkers"
seeds = [0, 1]
limit = 4
test-limit = 4
protocol = "sampled"

[[part]]
name = "stage-1"
pretrain = "patch-pretraining"
backbone = "tiny-random"
layers = 1
max-steps = 1
batch-size = 4

[[run]]
finetune = "item-mean"
from = "@stage-1"
max-steps = 1
batch-size = 4

[[run]]
baseline = "popularity"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "sweep.toml").write_text(SWEEP)
    return tmp_path / "sweep.toml"


def test_a_part_is_fitted_first_and_every_seed_starts_from_its_own(home: Path, file: Path, monkeypatch):
    planned = sweep(file, dry_run=True, home=home)
    assert [(line.name, line.seeds, line.state) for line in planned.parts] == [("stage-1", [0, 1], "new")]
    assert (planned.num_runs, planned.to_fit, planned.to_evaluate) == (2 + 2 + 1, 5, 3)
    begun: list[str] = []
    monkeypatch.setattr(module, "go_on", lambda name, **more: (begun.append(name), go_on(name, **more))[1])
    found = sweep(file, home=home)
    assert (begun[:2], len(begun)) == (["pretrain-1-s0", "pretrain-1-s1"], 5)
    assert [line.state for line in found.parts] == ["fitted"]
    assert "pretrain-1" not in found.chosen
    with Store.open(home) as store:
        runs = {run.name: run for run in store.runs.all()}
        started = {run.seed: run.config.parent for run in runs.values() if run.config.parent is not None}
        assert started == {0: "pretrain-1-s0", 1: "pretrain-1-s1"}
        evaluated = Counter((one.run, one.split) for one in store.evaluations.all())
        assert not any(run.startswith("pretrain") for run, _ in evaluated)
        counted = find_counted(store, runs["popularity-1"], read_sweep(file))
        assert counted is not None
        assert counted.config["negatives"] == 99
    again = sweep(file, home=home)
    assert (again.to_fit, again.to_evaluate, again.test_read, len(begun)) == (0, 0, [], 5)


def test_a_slip_behind_a_part_is_told_before_it_is_fitted(home: Path, file: Path):
    file.write_text(SWEEP.replace('from = "@stage-1"', 'from = "@stage-1"\nlearning-rate = 2.0'))
    with pytest.raises(UsageError, match=r"item-mean: .*--learning-rate"):
        sweep(file, home=home)
    with Store.open(home) as store:
        assert store.runs.names() == []


def test_a_part_that_fails_ends_the_sweep_before_its_runs(home: Path, file: Path, monkeypatch):
    def fail(name, **more):
        with Store.open(more["home"]) as store:
            store.runs.reopen(name)
            store.runs.fail(name, "the loss is not finite")
        raise PatchrecError("the loss is not finite")

    monkeypatch.setattr(module, "go_on", fail)
    with pytest.raises(CheckFailedError, match=r"2 of 2 runs failed, .* \(stage-1\): the loss"):
        sweep(file, home=home)
    with Store.open(home) as store:
        assert [run.status for run in store.runs.all()] == ["failed", "failed"]


def test_parts_have_the_seeds_of_those_that_need_them(tmp_path: Path):
    path = tmp_path / "s.toml"
    path.write_text(
        'data = "d"\nseeds = [3]\n[[part]]\nname = "a"\nbaseline = "sasrec"\n[[part]]\nname = "b"\nbaseline = "x"\n'
        'options = { reads = "@a" }\n[[run]]\nbaseline = "y"\noptions = { reads = "@b" }\nseeds = [1, 2]\n'
        '[[run]]\nbaseline = "z"\noptions = { reads = "@a" }\n'
    )
    plan = read_sweep(path)
    parts = parts_of(plan, lines_of(plan))
    assert {name: set(line.seeds) for name, line in parts.items()} == {"a": {1, 2, 3}, "b": {1, 2}}
    assert parts["b"].parts == ["a"]


def test_a_run_reads_the_part_of_its_own_seed_or_the_only_one(tmp_path: Path):
    path = tmp_path / "s.toml"
    path.write_text(
        'data = "d"\n[[part]]\nname = "a"\nbaseline = "sasrec"\nseeds = [4, 5]\n[[run]]\nbaseline = "y"\n'
        'options = { reads = "@a", width = 3 }\n'
    )
    plan = read_sweep(path)
    part = Settled(parts_of(plan, lines_of(plan))["a"], [], "sasrec-1", ("sasrec-1-s4", "sasrec-1-s5"))
    asked = lines_of(plan)[0].asked
    assert with_parts(asked, 5, {"a": part}).options == {"reads": "sasrec-1-s5", "width": 3}
    with pytest.raises(UsageError, match=r"part 'a' has no seed 0 \(it has 4,5\)"):
        with_parts(asked, 0, {"a": part})
    assert with_parts(asked, 0, {"a": replace(part, runs=("one",))}).options["reads"] == "one"
    assert isinstance(asked, Asked)


RUN = '[[run]]\nfinetune = "pft-i"\nfrom = "@a"\n'
PART = '[[part]]\nname = "a"\npretrain = "patch-pretraining"\n'


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (RUN, "pft-i: no part 'a'; there is none yet; a [[part]]"),
        (PART + RUN.replace("@a", "@b"), "no part 'b'"),
        (PART + '[[run]]\nbaseline = "x"', "nothing uses part 'a'"),
        (PART + PART + RUN, "two parts are called 'a'"),
        (PART + "epochs = [1, 2]\n" + RUN, "part 'a': epochs is a list"),
        (PART.replace("patch-pretraining", "pft-s") + RUN, "part 1 pretrain = 'pft-s'"),
        (PART + 'from = "none"\n' + RUN, "a pre-training has no from"),
        ('[[run]]\npretrain = "patch-pretraining"', "make it a [[part]]"),
        (PART + "seeds = [1, 1]\n" + RUN, "seed 1 is given twice"),
        ('protocol = "half"\n' + PART + RUN, "protocol = 'half'"),
    ],
)
def test_parts_that_are_none_are_told_in_a_line(tmp_path: Path, text: str, wanted: str):
    (tmp_path / "s.toml").write_text(f'data = "d"\n{text}')
    with pytest.raises(InputError) as refused:
        read_sweep(tmp_path / "s.toml")
    assert wanted in str(refused.value)
    assert "\n" not in str(refused.value)

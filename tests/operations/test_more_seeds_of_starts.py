"""A further seed starts where the group's own do; a sweep that asks for more seeds adds them to its group."""

from dataclasses import replace

import pytest

from patchrec.config import RunConfig, TrainingConfig
from patchrec.errors import UsageError
from patchrec.operations.sweeping.file import Line
from patchrec.operations.sweeping.settled import find, make, settle
from patchrec.operations.training.asked import Asked
from patchrec.operations.training.seeds import more_seeds
from patchrec.reporting import SILENT
from patchrec.store import Store
from patchrec.store.seed_groups import Planned

TRAINING = TrainingConfig(max_steps=1)


def plan(stage, seed, parent=None):
    config = RunConfig(
        stage=stage, dataset="walkers", backbone="tiny-random", seed=seed, parent=parent, training=TRAINING
    )
    return Planned(config, stage, {}, {})


@pytest.fixture
def store(home):
    with Store.open(home) as opened:
        yield opened


def test_each_seed_starts_from_the_run_of_its_own_seed(store):
    first = store.seed_groups.create([plan("pretrain", seed) for seed in (0, 1, 2)])
    group = store.seed_groups.create([plan("finetune", run.seed, run.name) for run in first.runs[:2]])
    (new,) = more_seeds(store, group, [2], SILENT, force=True)
    assert (new.config.seed, new.config.parent) == (2, "pretrain-1-s2")
    with pytest.raises(UsageError, match="none of 3; add it: `patchrec pretrain --resume pretrain-1 --seeds 3`"):
        more_seeds(store, group, [3], SILENT, force=True)


def test_seeds_of_one_start_share_it(store):
    start = store.seed_groups.create([plan("pretrain", seed) for seed in (0, 1)]).runs[0].name
    group = store.seed_groups.create([plan("finetune", seed, start) for seed in (0, 1)])
    assert more_seeds(store, group, [5], SILENT, force=True)[0].config.parent == start


def line(*seeds):
    options = {"width": 8, "layers": 1, "heads": 1}
    asked = Asked(command="baseline", name="sasrec", options=options, settings={"data": "walkers", "max_steps": 1})
    return Line("sasrec", {}, asked, seeds)


def test_a_sweep_with_more_seeds_adds_them_to_its_group_and_one_with_fewer_finds_it(store):
    two = make(store, settle(store, line(0, 1), {}, SILENT))
    assert two.runs == ("sasrec-1-s0", "sasrec-1-s1")
    wanted = find(store, settle(store, line(0, 1, 7), {}, SILENT))
    assert (wanted.group, wanted.runs, wanted.begun) == ("sasrec-1", (), two.runs)
    three = make(store, replace(wanted))
    assert three.runs == (*two.runs, "sasrec-1-s7")
    assert find(store, settle(store, line(7, 0), {}, SILENT)).runs == ("sasrec-1-s7", "sasrec-1-s0")
    other = make(store, settle(store, line(0, 9), {}, SILENT))  # neither has all of the other's
    assert other.group == "sasrec-2"

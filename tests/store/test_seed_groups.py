"""Groups of seeds and claims: what stands in the store of runs that differ in their seed alone."""

import json
import os
import subprocess
import sys

import pytest

from patchrec.config import RunConfig
from patchrec.errors import NotFoundError, UsageError
from patchrec.store import Store
from patchrec.store.marks import Marks
from patchrec.store.process import this_process
from patchrec.store.seed_groups import Planned


def planned(seed, dataset="toy"):
    config = RunConfig(stage="pretrain", dataset=dataset, backbone="tiny-random", seed=seed)
    return Planned(config, "pretrain", {"patchrec": "0"}, {"catalog": "0"})


def test_a_group_has_a_waiting_run_for_each_seed_under_its_own_name(toy_store):
    group = toy_store.seed_groups.create([planned(seed) for seed in (3, 0)])
    assert (group.name, group.seeds) == ("pretrain-1", [3, 0])
    assert [run.name for run in group.runs] == ["pretrain-1-s3", "pretrain-1-s0"]
    assert {(run.status, run.group, run.pid) for run in group.runs} == {("waiting", "pretrain-1", None)}
    later = toy_store.runs.create(planned(0).config, label="pretrain", versions={}, fingerprints={})
    assert (later.name, later.group) == ("pretrain-2", None)


def test_a_group_is_made_whole_or_not_at_all(toy_store):
    with pytest.raises(NotFoundError):
        toy_store.seed_groups.create([planned(0), planned(1, dataset="other")])
    assert toy_store.runs.names() == []
    assert toy_store.seed_groups.all() == {}


def test_a_seed_is_in_a_group_once(toy_store):
    with pytest.raises(UsageError, match=r"run 'pretrain-1-s0' has it"):
        toy_store.seed_groups.create([planned(0), planned(0)])
    assert toy_store.runs.names() == []
    toy_store.seed_groups.create([planned(0), planned(1)])
    with pytest.raises(Exception, match="UNIQUE"), toy_store.write() as db:
        db.execute("UPDATE runs SET seed = 0")


def test_a_group_takes_no_name_that_a_run_has_or_had(toy_store):
    for name in ("mine", "other-s1"):
        toy_store.runs.create(planned(0).config, label="", versions={}, fingerprints={}, marks=Marks(name=name))
        toy_store.runs.interrupt(name, "stopped")
        toy_store.runs.remove(name)
    for name in ("mine", "other"):
        with pytest.raises(UsageError, match="no name is given twice"):
            toy_store.seed_groups.create([planned(0), planned(1)], Marks(name=name))
    assert toy_store.seed_groups.all() == {}
    made = toy_store.seed_groups.create([planned(0), planned(1)], Marks("new", "said", ("a",)))
    assert (made.name, {(run.note, run.tags) for run in made.runs}) == ("new", {("said", ("a",))})


def test_a_run_that_waited_is_interrupted_once_it_began_and_stopped(toy_store):
    name = toy_store.seed_groups.create([planned(0), planned(1)]).runs[0].name
    assert toy_store.runs.reopen(name).status == "running"
    toy_store.runs.interrupt(name, "stopped by Ctrl-C")
    assert toy_store.runs.get(name).status == "interrupted"
    alone = toy_store.seed_groups.plan(planned(5))
    assert (alone.status, alone.group, alone.name) == ("waiting", None, "pretrain-2")


def test_a_group_is_found_by_its_name_or_its_beginning_and_is_no_run(toy_store):
    toy_store.seed_groups.create([planned(seed) for seed in (0, 1)])
    for name in ("pretrain-1", "pretrain-1-s", "pre"):
        assert toy_store.seed_groups.find(name).name == "pretrain-1"
        with pytest.raises(UsageError, match=r"group of seeds.*one of pretrain-1-s0, pretrain-1-s1"):
            toy_store.runs.get(name)
    assert toy_store.seed_groups.find("pretrain-1-s1") is None
    assert toy_store.runs.get("pretrain-1-s1").seed == 1
    toy_store.seed_groups.create([planned(seed) for seed in (0, 1)])
    assert toy_store.seed_groups.find("pre") is None
    with pytest.raises(NotFoundError):
        toy_store.runs.get("pre")
    for nothing in ("", "x"):
        assert toy_store.seed_groups.find(nothing) is None


def test_a_group_without_runs_is_gone(toy_store):
    for run in toy_store.seed_groups.create([planned(0), planned(1)]).runs:
        toy_store.runs.remove(run.name)
    assert toy_store.seed_groups.find("pretrain-1") is None


def take(home, work):
    """Take a piece of work in a process of its own, which ends at once."""
    code = (
        "import sys; from pathlib import Path; from patchrec.store import Store\n"
        "with Store.open(Path(sys.argv[1])) as store: print(store.claims.take(sys.argv[2]))"
    )
    found = subprocess.run([sys.executable, "-c", code, str(home), work], capture_output=True, text=True, check=True)
    return found.stdout.strip() == "True"


def test_work_that_a_living_process_has_is_left_to_it_and_that_of_a_dead_one_taken_over(store: Store):
    with store.claims.held("fit a") as mine:
        assert mine
        assert not take(store.home, "fit a")
        assert take(store.home, "fit b")
    assert take(store.home, "fit a")
    assert store.claims.take("fit b")  # its process is gone
    assert store.claims.take("fit a")
    store.claims.give_back("fit a")
    store.claims.give_back("fit b")
    assert store.rows("SELECT key FROM settings WHERE key LIKE 'claim.%'") == []


def test_a_claim_of_another_process_is_not_given_back(store: Store):
    host = this_process()[0]
    parent = json.dumps([host, os.getppid(), None])
    with store.write() as db:
        db.execute("INSERT INTO settings VALUES ('claim.fit a', ?)", [parent])
    with store.claims.held("fit a") as mine:
        assert not mine
    assert store.rows("SELECT value FROM settings") == [(parent,)]

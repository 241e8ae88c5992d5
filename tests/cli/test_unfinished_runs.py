"""A run that stopped before its end says how it goes on, whatever is asked of it."""

import pytest

import patchrec
from patchrec.config import RunConfig, StrategyConfig
from patchrec.errors import UsageError
from patchrec.store import Store

VANILLA = (StrategyConfig(name="vanilla"),)
CONFIG = RunConfig(stage="finetune", dataset="toy", backbone="tiny-random", strategies=VANILLA)
STOPS = {
    "failed": lambda store, run: store.runs.fail(run, "out of memory"),
    "interrupted": lambda store, run: store.runs.interrupt(run, "stopped by Ctrl-C"),
    "lost": lambda store, run: store.db.execute("UPDATE runs SET pid = 2000000000 WHERE name = ?", [run]),
}


def make(home, stop):
    with Store.open(home) as store:
        run = store.runs.create(CONFIG, label="vanilla", versions={}, fingerprints={}).name
        stop(store, run)
        return run


@pytest.mark.parametrize("status", STOPS)
def test_asking_it_names_the_command_that_goes_on(toy_cli, tmp_path, status):
    run = make(tmp_path / "home", STOPS[status])
    next_step = f"is {status} and cannot rank; go on with `patchrec finetune --resume {run}`, or choose a done one"
    for words in (["eval", run], ["recommend", "--run", run, "--user", "ann"]):
        ran = toy_cli(*words)
        assert (ran.code, next_step in ran.err) == (2, True)
        assert len(ran.err.splitlines()) == 1
    with pytest.raises(UsageError, match=f"--resume {run}"):
        patchrec.load(run, home=tmp_path / "home")


def test_where_it_is_wanted_as_a_part_or_a_start_it_says_so_too(toy_cli, tmp_path):
    run = make(tmp_path / "home", STOPS["interrupted"])
    next_step = f"go on with `patchrec finetune --resume {run}`"
    for words in (
        ["finetune", "--strategy", "pft-i", "--from", run],
        ["finetune", "--head", "llamarec", "--strategy", "vanilla", "--retriever", run],
        ["runs", "choose-score", run],
        ["runs", "show", run],
    ):
        ran = toy_cli(*words)
        assert next_step.strip("`") in (ran.err + ran.out).replace("next: ", "go on with `"), words


def test_one_that_trains_is_to_be_waited_for(toy_cli, tmp_path):
    run = make(tmp_path / "home", lambda store, run: None)
    ran = toy_cli("eval", run)
    assert (ran.code, "has no checkpoint yet; wait for it" in ran.err) == (4, True)

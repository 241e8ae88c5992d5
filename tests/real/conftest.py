"""One demo for all tests on real data: MovieLens-100K and SmolLM2-135M, through the package index as for any user."""

from pathlib import Path

import pytest

from patchrec.operations.demo import Demo, demo


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("real") / "home"


@pytest.fixture(scope="session")
def shown(home: Path) -> Demo:
    return demo(home=home)

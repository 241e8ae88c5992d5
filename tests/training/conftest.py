"""The tiny random backbone: its folder once, a fresh copy of its weights for each test, since training changes them."""

from pathlib import Path

import pytest
from tiny_training import make_dataset

from patchrec.data.histories import Dataset
from patchrec.model.backbone import Backbone
from patchrec.model.pull import locate


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return locate("tiny-random", tmp_path_factory.mktemp("backbones")).folder


@pytest.fixture
def tiny(tiny_folder: Path) -> Backbone:
    return Backbone.load(tiny_folder, name="tiny-random", device="cpu")


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    return make_dataset()

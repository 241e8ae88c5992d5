"""The tiny random backbone, made once for all tests of the model."""

from pathlib import Path

import pytest

from patchrec.model.backbone import Backbone
from patchrec.model.pull import locate


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return locate("tiny-random", tmp_path_factory.mktemp("backbones")).folder


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Backbone:
    return Backbone.load(tiny_folder, name="tiny-random", device="cpu")

"""The tiny random backbone, and encoders of made-up catalogs."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from made_up_catalogs import END, make_titles

from patchrec.model.backbone import Backbone
from patchrec.model.patching import PathEncoder
from patchrec.model.prompt import Prompt
from patchrec.model.pull import locate


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    folder = locate("tiny-random", tmp_path_factory.mktemp("backbones")).folder
    return Backbone.load(folder, name="tiny-random", device="cpu")


@pytest.fixture(scope="session")
def make_encoder(tiny: Backbone) -> Callable[[Sequence[Sequence[int]]], PathEncoder]:
    """An encoder of titles given as token ids, with a prompt of five tokens around the history."""

    def make(titles: Sequence[Sequence[int]]) -> PathEncoder:
        prompt = Prompt(np.array([0, 20, 21]), np.array([22, 23]), separator=2, end=END)
        return PathEncoder(prompt, make_titles(titles), tiny.vocab_size)

    return make

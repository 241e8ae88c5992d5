"""The tiny random backbone and a small data set with shared titles and repeated items."""

from pathlib import Path

import numpy as np
import pytest

from patchrec.config import PromptConfig
from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Sequences
from patchrec.model.backbone import Backbone
from patchrec.model.pull import locate
from patchrec.model.tokenizer import make_encoder
from patchrec.ranking.scorer import TitleScorer

PROMPT = PromptConfig(form="continuation", noun="movie", verb="watched")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return locate("tiny-random", tmp_path_factory.mktemp("backbones")).folder


@pytest.fixture(scope="session")
def movies() -> Dataset:
    """Eight users of 6 to 20 items; the last four targets of each are test. "Heat" is two items."""
    titles = ("Alien", "Aliens", "Heat", "Fargo", "Big", "Heat", "Up", "Jaws", "Jaws 2", "Brazil", "Babe", "Clue")
    generator = np.random.default_rng(0)
    lengths = 6 + 2 * np.arange(8)
    items = generator.integers(0, len(titles), lengths.sum())
    sequences = Sequences(
        user_ids=tuple(f"u{number}" for number in range(8)),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        items=items,
        timestamps=None,
        train_stop=lengths - 4,
        validation_stop=lengths - 4,
    )
    item_ids = tuple(f"i{number}" for number in range(len(titles)))
    return Dataset("movies", Catalog(item_ids, titles), sequences, min_history=1, noun="movie", verb="watched")


@pytest.fixture(scope="session")
def scorer(tiny_folder: Path, movies: Dataset) -> TitleScorer:
    backbone = Backbone.load(tiny_folder, name="tiny-random", device="cpu")
    encoder = make_encoder(tiny_folder, movies.catalog.titles, PROMPT, backbone.vocab_size)
    return TitleScorer.of(backbone, encoder)

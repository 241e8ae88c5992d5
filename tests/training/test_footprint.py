"""What a run holds in memory: what is said beforehand, what is refused, what is measured."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import make_config, make_dataset, make_kind_config, make_kind_learner, make_learner, make_planners

from patchrec.config import PromptConfig, TrainingConfig
from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset
from patchrec.errors import OutOfResourcesError
from patchrec.model import memory
from patchrec.model.attention import Extension, Visibility, mask_bytes
from patchrec.model.forest import grow
from patchrec.model.tokenizer import make_encoder
from patchrec.training import language_learner
from patchrec.training.estimate import ALLOCATOR, count_steps, logits_bytes, memory_of

MEASURE = Path(__file__).parent / "measured_peak.py"
CPU = torch.device("cpu")
TRAINING = TrainingConfig(batch_size=8)
# hidden, inner, layers, heads, key heads, vocabulary, nodes of a pass
WIDE, LARGE = (256, 1024, 8, 8, 4, 4000, 2048), (512, 1536, 6, 8, 2, 20_000, 1024)  # LARGE: in its vocabulary
DEEP = (128, 512, 12, 4, 4, 1000, 2048)
# and: checkpointed, in bfloat16, rank of adapters
SHAPES = {
    "wide": (*WIDE, 0, 0, 0),
    "large vocabulary": (*LARGE, 0, 0, 0),
    "deep": (*DEEP, 0, 0, 0),
    "checkpointed": (*LARGE, 1, 0, 0),
    "wide in bfloat16": (*WIDE, 0, 1, 0),
    "large vocabulary in bfloat16": (*LARGE, 0, 1, 0),
    "checkpointed in bfloat16": (*LARGE, 1, 1, 0),
    "wide with adapters": (*WIDE, 0, 0, 8),
    "large vocabulary with adapters": (*LARGE, 0, 0, 8),
    "deep with adapters": (*DEEP, 0, 0, 8),
    "checkpointed with adapters": (*LARGE, 1, 0, 8),
    "wide with adapters in bfloat16": (*WIDE, 0, 1, 8),
}


def measured(shape: tuple[int, ...], targets: int) -> dict[str, float]:
    """What a process of its own says and holds: three steps of a model with random weights."""
    command = [sys.executable, str(MEASURE), *map(str, shape), str(targets)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return dict(json.loads(told.splitlines()[-1]))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of a process is not told here")
@pytest.mark.parametrize("shape", SHAPES)
def test_the_peak_is_near_what_is_said(shape):
    """Within a tenth; with adapters in bfloat16 up to a sixth is said too much."""
    found = measured(SHAPES[shape], 256)
    least = 0.83 if SHAPES[shape][-2:] == (1, 8) else 0.9
    assert least <= found["peak"] / found["said"] <= 1.1, found


@pytest.mark.parametrize("seed", range(3))
def test_masks_are_counted_without_being_made(seed):
    random = np.random.default_rng(seed)
    paths = [np.concatenate([np.arange(200), random.integers(0, 3, random.integers(1, 400))]) for _ in range(12)]
    forest, _ = grow(paths)
    assert mask_bytes(forest, CPU) == 4 * Visibility.of([Extension(forest)], CPU).num_pairs


def test_large_masks_are_told_from_some_of_their_tiles():
    """A path of N nodes in tiles of 128 rows has N (N + 128) / 2 entries."""
    forest, _ = grow([np.arange(40_000)])
    assert mask_bytes(forest, CPU) == pytest.approx(4 * 40_000 * 40_128 / 2, rel=0.03)


def long_titles() -> Dataset:
    plain = make_dataset()
    titles = list(plain.catalog.titles)
    titles[3] = "h" * 100_000
    catalog = Catalog(plain.catalog.item_ids, tuple(titles))
    return Dataset("tiny", catalog, plain.sequences, plain.min_history, "movie", "watched")


def learner_of(tiny, dataset):
    config = make_config(("vanilla", {}), training=TRAINING)
    learner = make_learner(config, dataset, tiny, make_planners(config))
    learner.begin()
    return learner


def test_a_forest_that_cannot_fit_is_refused_before_it_is_made(tiny, monkeypatch):
    monkeypatch.setattr(language_learner, "free_memory", lambda device: 2 << 30)
    learner = learner_of(tiny, long_titles())
    monkeypatch.setattr(Visibility, "of", lambda *_, **__: pytest.fail("made"))
    with pytest.raises(OutOfResourcesError) as told:
        list(learner.learn(0))
    text = str(told.value)
    assert "GB are free for it; the longest history, of user 'u" in text
    assert "its longest title, 'hhhhhh" in text
    assert "100,000; begin again with a lower --max-title-tokens, --K or --max-nodes" in text
    assert len(text) < 450


def test_so_it_is_where_no_gradient_is_wanted(tiny, monkeypatch):
    """Ranking halves its batch then, and tells of a single prompt."""
    encoder = make_encoder(tiny.folder, ["a", "b"], PromptConfig(form="continuation"), tiny.vocab_size)
    forest, _ = grow([np.arange(9000) % 200])
    monkeypatch.setattr(memory, "free_memory", lambda device: 1 << 20)
    with pytest.raises(MemoryError, match=r"masks of 0\.2 GB, and 0\.0 GB are free"):
        tiny.prefill(encoder, forest)


def test_what_is_free_is_asked_before_the_first_pass_takes_of_it(tiny):
    learner = learner_of(tiny, make_dataset())
    before = learner.room
    assert len(list(learner.learn(0))) > 1
    assert learner.room == before


@pytest.mark.parametrize("loss", ["vocabulary", "catalog"])
def test_logits_are_over_what_the_loss_asks_for(tiny_folder, loss):
    """The vocabulary, or the tokens that are a choice anywhere, taken out of the head and spread again."""
    config = make_kind_config("title", TRAINING, options={"loss": loss})
    learner = make_kind_learner(config, make_dataset(), tiny_folder)
    learner.begin()
    for _, labelled in count_steps(learner).forests:
        vocabulary = classes = learner.backbone.vocab_size
        taken_out = 0
        if loss == "catalog":
            classes = taken_out = len(np.unique(labelled.titles.choices.classes))
            assert classes < vocabulary / 4
        heads = 4 * 32 * (vocabulary + 2 * taken_out)
        assert logits_bytes(labelled, learner.backbone) == heads + 8 * len(labelled.titles.nodes) * classes


def test_an_item_head_is_in_the_sum(tiny_folder):
    """Its weight from patches: patches, projection, weight and gradient."""
    dataset = make_dataset()
    learner = make_kind_learner(make_kind_config("item", TRAINING), dataset, tiny_folder)
    learner.begin()
    forests = [labelled for _, labelled in count_steps(learner).forests]
    items = len(dataset.catalog)
    wanted = [4 * 4 * items * 32 + 8 * len(labelled.items.nodes) * items for labelled in forests]
    assert [logits_bytes(labelled, learner.backbone) for labelled in forests] == wanted
    said = memory_of(learner, forests)
    assert (said.logits, said.allocator) == (max(wanted), ALLOCATOR)

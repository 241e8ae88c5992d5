"""What a module over items is made for and reads: catalog and train split, times, and how far training is."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from patchrec.model.item_batch import ItemBatch
from patchrec.recommenders.factories import item_model_kind
from patchrec.testing import TITLES, RecommenderContract

PROGRESS: list[float] = []


class Decades(nn.Module):
    """Ranks items by the decade that the catalog gives them, and by how long ago the history's last item came."""

    def __init__(self, ground, options):
        super().__init__()
        years = [item["year"] for item in ground.dataset.catalog.metadata[: ground.num_items]]
        self.register_buffer("decades", torch.tensor([year // 10 - 197 for year in years]))
        self.worth = nn.Parameter(torch.zeros(1 + max(year // 10 - 197 for year in years)))
        self.spell = nn.Parameter(torch.zeros(len(years)))

    def _logits(self, batch):
        spans = (batch.times - batch.times[:, :1]).float() / 1e6  # (B, P)
        return self.worth[self.decades] + spans[:, :, None] * self.spell

    def loss(self, batch):
        PROGRESS.append(batch.progress)
        asked = batch.targets >= 0
        return functional.cross_entropy(self._logits(batch)[asked], batch.targets[asked], reduction="sum")

    def log_probs(self, batch):
        assert batch.progress == 1
        return functional.log_softmax(batch.last(self._logits(batch)), dim=-1)


class TestAModelThatReadsCatalogAndTimes(RecommenderContract):
    kind = item_model_kind(
        "decades", "by decade and time", Decades, training={"batch_size": 16, "learning_rate": 1e-2}, on_ground=True
    )

    def test_progress_goes_from_0_to_1(self, tmp_path):
        PROGRESS.clear()
        self._fit(tmp_path)
        assert (PROGRESS[0], PROGRESS[-1]) == (0, 1)
        assert sorted(PROGRESS) == PROGRESS


def test_times_fill_a_row_from_its_start_mark_to_beyond_its_end():
    histories = [np.array([3, 4]), np.array([5, 6, 7]), np.array([], dtype=np.int64)]
    times = [np.array([10, 20]), np.array([1, 2, 3]), np.array([], dtype=np.int64)]
    batch = ItemBatch.of(histories, len(TITLES), "cpu", times=times, progress=0.5)
    assert batch.times.tolist() == [[10, 10, 20, 20], [1, 1, 2, 3], [0, 0, 0, 0]]
    assert batch.progress == 0.5
    assert ItemBatch.of(histories, len(TITLES), "cpu").times is None

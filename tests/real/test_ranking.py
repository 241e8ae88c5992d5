"""Exact ranking of the real catalog by the demo's model: both searches agree, and the certificate is true."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from titles_run import Titles

from patchrec.evaluation.evaluate import sample_examples
from patchrec.operations.filters import Filters
from patchrec.operations.load import LoadedRun, load
from patchrec.operations.recommend import recommend
from patchrec.recommender import Query, rank
from patchrec.store import Store

pytestmark = pytest.mark.real
K = 20


@pytest.fixture(scope="module", params=["catalog", "joint"])
def loaded(request: pytest.FixtureRequest, home: Path, titles: Titles) -> LoadedRun:
    with Store.open(home) as store:
        return load(store, store.runs.get("pft-s-1"), request.param)


def test_best_first_equals_the_scores_of_every_title(loaded: LoadedRun):
    dataset, history = loaded.dataset, loaded.run.config.history
    examples = sample_examples(dataset.examples("test", history.K, history.windows), 3)
    queries = [Query.of(dataset, example) for example in examples]
    recommender = loaded.recommender
    bounded, whole = rank(recommender, queries, K), rank(replace(recommender, search="whole"), queries, K)
    for found, everything in zip(bounded, whole, strict=True):
        scores = [[line.score for line in ranking.recommendations] for ranking in (found, everything)]
        np.testing.assert_allclose(*scores, atol=1e-4)
        different = {line.item for line in found.recommendations} ^ {line.item for line in everything.recommendations}
        assert not different or min(abs(np.diff(scores[1]))) < 1e-4  # only titles as good as equal change places
        proof = found.certificate
        assert proof is not None
        assert proof.holds
        assert proof.best_open_bound is not None
        assert proof.num_expanded < (100 if recommender.score == "catalog" else 1_000)


def test_a_condition_leaves_the_best_of_what_fits(home: Path, titles: Titles):
    everything = recommend(user="42", run="pft-s-1", k=200, home=home)
    fitting = recommend(user="42", run="pft-s-1", k=5, filters=Filters(where="year >= 1996"), home=home)
    with Store.open(home) as store:
        catalog = store.datasets.load("ml-100k").catalog
    years = {item_id: about.get("year") or 0 for item_id, about in zip(catalog.item_ids, catalog.metadata, strict=True)}
    recent = [line.item_id for line in everything.ranking if years[line.item_id] >= 1996]
    assert [line.item_id for line in fitting.ranking] == recent[:5]

"""Third parties that locate targets are held to the contract; sequence models multiply each weight where it is used."""

from types import SimpleNamespace

import numpy as np
import pytest
from torch import nn

from patchrec import plugins
from patchrec.errors import PluginError
from patchrec.ranking.checked import CheckedRecommender
from patchrec.recommender import Located, Locator, Query, Scores, locate_each
from patchrec.testing import TITLES, RecommenderContract, make_dataset

QUERY = Query(make_dataset().history(make_dataset().examples("test", 8)[0]))
EVEN = np.full(len(TITLES), -np.log(len(TITLES)))


class Own:
    """A third party's recommender that answers what it is told to."""

    level, score, device = "item", "item", "cpu"

    def __init__(self, *answers):
        self.answers = answers

    def score_each(self, queries):
        yield from ((number, Scores(EVEN)) for number in range(len(queries)))

    def locate_each(self, queries, targets, limit, *, top):
        yield from enumerate(self.answers)


def checked(recommender):
    return CheckedRecommender("own", recommender, make_dataset().catalog)


def located(items, log_probs):
    return Located(np.array(items, dtype=np.int64), np.array(log_probs, dtype=np.float64))


def test_a_sound_answer_is_passed_on():
    ((number, found),) = locate_each(checked(Own(located([3, 1], [-1, -2]))), [QUERY], [1], 5, top=2)
    assert (number, found.items.tolist()) == (0, [3, 1])


@pytest.mark.parametrize(
    "answer",
    [
        located([3, 4], [-1, -2]),  # not the target
        located([1, 1], [-1, -2]),  # twice
        located([1, len(TITLES)], [-1, -2]),  # no item
        located([1, -1], [-1, -2]),
        located([1], [-1, -2]),
        located([1], [np.nan]),
        located([], []),
        SimpleNamespace(log_probs=["x"], items=[1]),
    ],
)
def test_an_unsound_answer_names_the_kind(answer):
    with pytest.raises(PluginError, match="'own'"):
        list(locate_each(checked(Own(answer)), [QUERY], [1], 5, top=2))


def test_a_query_without_an_answer_is_told():
    with pytest.raises(PluginError, match="1 of 1 queries without an answer"):
        list(locate_each(checked(Own()), [QUERY], [1], 5, top=2))


def test_one_that_locates_nothing_scores_all_items():
    plain = SimpleNamespace(level="item", score="item", device="cpu", score_each=Own().score_each)
    assert not isinstance(plain, Locator)
    for recommender in (plain, checked(plain)):
        ((_, found),) = locate_each(recommender, [QUERY], [1], 5, top=2)
        assert found.is_whole
        assert len(found.items) == len(TITLES)


class SASRecContract(RecommenderContract):
    """A small SASRec."""

    kind = plugins.recommenders()["sasrec"]
    options = {"width": 16}


def test_a_sequence_model_multiplies_its_item_table_once_a_query():
    with SASRecContract()._fitted() as fitted:
        ((_, scores),) = fitted.score_each([QUERY])
        model = fitted.scorer.model
        tables = sum(part.weight.numel() for part in model.modules() if isinstance(part, nn.Embedding))
        matrices = sum(own.numel() for own in model.parameters() if own.ndim > 1)
        assert fitted.head_flops == 2 * (len(TITLES) + 1) * 16
        assert fitted.flops == 2 * (matrices - tables)
        assert scores.cost.flops == (len(QUERY.history) + 1) * fitted.flops + fitted.head_flops

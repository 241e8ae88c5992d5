import numpy as np
from patchrec_again import KIND, Again, AgainOptions

from patchrec.history import History
from patchrec.recommender import Query
from patchrec.testing import RecommenderContract, make_dataset


class TestDefaults(RecommenderContract):
    kind = KIND


class TestPopularityAlone(RecommenderContract):
    kind = KIND
    options = {"popular": 1.0}


def test_the_newest_item_is_the_likeliest():
    model = Again(AgainOptions(decay=0.5))
    model.fit(make_dataset())
    (row,) = model.log_probs([Query(History(np.array([4, 2, 9])))])
    assert row.argmax() == 9
    assert row[9] > row[2] > row[4]

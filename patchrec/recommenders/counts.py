"""Baselines of counts: popularity, recent popularity, first-order transitions and item neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from patchrec.options import Options
from patchrec.recommenders.factories import counted_kind

if TYPE_CHECKING:
    from patchrec.recommender import Counted


class RecentOptions(Options):
    """How fast an interaction fades."""

    half_life: float = Field(
        60.0, ge=1e-3, description="days after which an interaction counts half; positions where there are no times"
    )


class MarkovOptions(Options):
    """How far popularity is trusted."""

    strength: float = Field(100.0, ge=1e-6, description="transitions from an item that popularity is worth")


class ItemKNNOptions(Options):
    """Which neighbours vote, and how loudly."""

    neighbours: int = Field(200, ge=1, description="most similar items kept of each item")
    shrink: float = Field(0.0, ge=0, description="added below the cosine, against similarities of few users")
    decay: float = Field(0.7, gt=0, le=1, description="weight of a history's item relative to the next newer one")
    smoothing: float = Field(0.01, ge=1e-6, le=1, description="share of popularity in the mixture")


def _popularity(options: Options) -> Counted:
    from patchrec.ranking.counts import Popularity

    return Popularity(options)


def _recent(options: RecentOptions) -> Counted:
    from patchrec.ranking.counts import Recent

    return Recent(options)


def _markov(options: MarkovOptions) -> Counted:
    from patchrec.ranking.counts import Markov

    return Markov(options)


def _item_knn(options: ItemKNNOptions) -> Counted:
    from patchrec.ranking.counts import ItemKNN

    return ItemKNN(options)


KINDS = (
    counted_kind(
        "popularity", "how often everyone had an item, the same list for all", _popularity, empty_history=True
    ),
    counted_kind(
        "recent",
        "popularity in which older interactions fade",
        _recent,
        options=RecentOptions,
        empty_history=True,
    ),
    counted_kind(
        "markov",
        "what most often followed the last item, with popularity behind it",
        _markov,
        options=MarkovOptions,
        empty_history=True,
        source="MacKay and Peto, A hierarchical Dirichlet language model, 1995",
    ),
    counted_kind(
        "item-knn",
        "items that share users with the history's, newer ones weighing more",
        _item_knn,
        options=ItemKNNOptions,
        empty_history=True,
        source="Deshpande and Karypis, Item-based top-N recommendation algorithms, TOIS 2004",
    ),
)

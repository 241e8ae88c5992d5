"""A blend: the weighted mean of other runs' log-probabilities, normalised over the items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from patchrec.errors import UsageError
from patchrec.recommender import Fitting, Kind, Recommender, Saved

if TYPE_CHECKING:
    from pathlib import Path


def _learner(fitting: Fitting) -> NoReturn:
    raise UsageError(f"a {fitting.config.kind.name} learns nothing of its own; make one with `patchrec blend RUN RUN`")


def _load(saved: Saved) -> Recommender:
    from patchrec.ranking.blend import BlendRecommender
    from patchrec.ranking.items import precedence

    return BlendRecommender(saved.parts, saved.dataset.catalog, precedence(saved.dataset.popularity))


def _export(saved: Saved, folder: Path) -> Any:
    runs = ", ".join(part.run for part in saved.config.parts)
    raise UsageError(f"a blend has no weights of its own; export the runs that it mixes: {runs}")


KIND = Kind(
    "blend",
    "mixes the answers of other runs, with weights chosen on validation",
    _learner,
    _load,
    _export,
    scores=("mixture",),
    mixes=True,
    source="Genest and Zidek, Combining probability distributions, 1986 (the logarithmic opinion pool)",
)

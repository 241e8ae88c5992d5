"""A blend: the weighted mean of other runs' log-probabilities, normalised over the items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from pydantic import Field

from patchrec.errors import UsageError
from patchrec.options import Options
from patchrec.recommender import Fitting, Kind, Recommender, Saved

if TYPE_CHECKING:
    from pathlib import Path


class BlendOptions(Options):
    """What a blend has besides its parts."""

    repeats: float = Field(
        1.0, gt=0, le=1e9, description="What the odds of items that a user has had are multiplied by."
    )


def _learner(fitting: Fitting) -> NoReturn:
    raise UsageError(f"a {fitting.config.kind.name} learns nothing of its own; make one with `patchrec blend RUN RUN`")


def _load(saved: Saved) -> Recommender:
    from patchrec.ranking.blend import BlendRecommender
    from patchrec.ranking.items import precedence

    options = BlendOptions.model_validate(saved.config.kind.options)
    place = precedence(saved.dataset.popularity)
    return BlendRecommender(saved.parts, saved.dataset.catalog, place, options.repeats)


def _export(saved: Saved, folder: Path) -> Any:
    runs = ", ".join(part.run for part in saved.config.parts)
    raise UsageError(f"a blend has no weights of its own; export the runs that it mixes: {runs}")


KIND = Kind(
    "blend",
    "mixes the answers of other runs, with weights chosen on validation",
    _learner,
    _load,
    _export,
    options=BlendOptions,
    scores=("mixture",),
    mixes=True,
    source="Genest and Zidek, Combining probability distributions, 1986 (the logarithmic opinion pool)",
)

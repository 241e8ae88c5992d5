"""A blend: the weighted mean of other runs' log-probabilities, normalised over the items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from pydantic import Field

from patchrec.errors import CorruptError, UsageError
from patchrec.options import Options
from patchrec.recommender import Fitting, Kind, Recommender, Saved

if TYPE_CHECKING:
    from pathlib import Path


class BlendOptions(Options):
    """What a blend has besides its parts."""

    repeats: float = Field(
        1.0, gt=0, le=1e9, description="What the odds of items that a user has had are multiplied by."
    )
    speaker: str | None = Field(
        None, description="The run of those mixed that speaks of items which nobody chose in the train split."
    )
    new_items: float = Field(
        1.0, gt=0, allow_inf_nan=False, description="What the odds are multiplied by that it gives to all such items."
    )
    num_new: int | None = Field(None, ge=1, description="How many they were when that was learned.")
    temperature: float = Field(
        1.0, ge=1e-3, le=1e3, description="Below 1 the mixture is surer than its runs are in the mean, above 1 less."
    )
    new_temperature: float = Field(1.0, ge=1e-3, le=1e3, description="The same of what the speaker says of such items.")


def _learner(fitting: Fitting) -> NoReturn:
    raise UsageError(f"a {fitting.config.kind.name} learns nothing of its own; make one with `patchrec blend RUN RUN`")


def _load(saved: Saved) -> Recommender:
    from patchrec.ranking.blend import BlendRecommender, NewItems
    from patchrec.ranking.items import precedence

    options = BlendOptions.model_validate(saved.config.kind.options)
    popularity, runs = saved.dataset.popularity, [part.run for part in saved.config.parts]
    new = None
    if options.speaker is not None:
        if options.speaker not in runs:
            raise CorruptError(f"the blend's speaker {options.speaker!r} is none of its runs: {', '.join(runs)}")
        items = popularity == 0
        # however many came since, together they are as likely as those were
        share = 1.0 if options.num_new is None else options.num_new / max(1, int(items.sum()))
        new = NewItems(items, runs.index(options.speaker), options.new_items * share, options.new_temperature)
    place = precedence(popularity)
    return BlendRecommender(saved.parts, saved.dataset.catalog, place, options.repeats, new, options.temperature)


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

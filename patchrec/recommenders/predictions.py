"""Lists that another system made: a run that holds how they ranked, and answers nothing else."""

from __future__ import annotations

from typing import NoReturn

from pydantic import Field

from patchrec.errors import UsageError
from patchrec.options import Options
from patchrec.recommender import Kind


class PredictionsOptions(Options):
    """Which lists."""

    file: str = Field(description="Name of their file, without its folder.")
    sha256: str = Field(description="Of its bytes: 16 digits.")


def _refuse(*_: object) -> NoReturn:
    raise UsageError(
        "lists of another system are no recommender of their own; score them with `patchrec eval --predictions FILE`"
    )


KIND = Kind(
    "predictions",
    "holds another system's lists, scored on the same targets as a run",
    _refuse,
    _refuse,
    _refuse,
    options=PredictionsOptions,
    scores=("list",),
    answers=False,
)

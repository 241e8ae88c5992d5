"""How much a strategy shortens prompts, under three names that must not be mixed.

- `paper`: analytic, from layouts alone (`patchrec.ranking.compression`).
- `history`: history positions that the model really sees, separators included: all text over the strategy's.
- `prompt`: the same over whole prompts, with what stands around the history.

The last two are ratios of sums over targets, so a target counts by its length.
"""

from dataclasses import dataclass
from math import nan

from patchrec.recommender import Cost


@dataclass(slots=True)
class Compression:
    """Sums over targets of the positions of prompts, as text and as the strategy shows them.

    Attributes:
        text: Positions of the all-text prompts.
        shown: Positions of the prompts used.
        around: Positions around the histories, the same in both.
    """

    text: int = 0
    shown: int = 0
    around: int = 0

    def add(self, cost: Cost) -> None:
        """Count one target."""
        self.text += cost.text_length
        self.shown += cost.length
        self.around += cost.around

    @property
    def history(self) -> float:
        """History positions of all text over those used; nan where the strategy shows none."""
        return _ratio(self.text - self.around, self.shown - self.around)

    @property
    def prompt(self) -> float:
        """Prompt positions of all text over those used; nan where there are no prompts."""
        return _ratio(self.text, self.shown)


def _ratio(text: float, shown: float) -> float:
    return text / shown if shown else nan

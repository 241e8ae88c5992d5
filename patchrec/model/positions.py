"""How many positions a model was made for, and whether it has a vector for each or computes any (rotary)."""

from dataclasses import dataclass
from typing import Any

from torch import nn

_SPARE = 8  # rows of a position table beyond its positions: OPT has two


@dataclass(frozen=True, slots=True)
class Positions:
    """What a model's configuration and parts say.

    Attributes:
        most: Positions that it was made for; None where it does not say.
        learned: Whether there are vectors for so many and no more.
    """

    most: int | None
    learned: bool

    @classmethod
    def of(cls, model: Any) -> "Positions":
        """Those of a language model of transformers."""
        most = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        if not isinstance(most, int) or most < 1:
            return cls(None, learned=False)
        tokens = model.get_input_embeddings()
        tables = [part for part in model.modules() if isinstance(part, nn.Embedding) and part is not tokens]
        return cls(most, any(most <= table.num_embeddings <= most + _SPARE for table in tables))

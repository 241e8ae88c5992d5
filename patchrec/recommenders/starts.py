"""What kinds that begin with a model's weights have in common among their options."""

from typing import Any

from pydantic import Field

from patchrec.options import Options


class ScratchOptions(Options):
    """Random weights in place of a model's."""

    scratch: bool = Field(
        False, description="Begin with random weights, of t5-small's shapes, and a tokenizer of the catalog's words."
    )
    scratch_width: int | None = Field(None, ge=1, le=16_384, description="width of random weights; default: 512")
    scratch_layers: int | None = Field(None, ge=1, le=1_024, description="layers of random weights; default: 6")

    @property
    def t5_shape(self) -> dict[str, Any]:
        """The shape of random weights in the words of T5's configuration; its default is t5-small's."""
        shape: dict[str, Any] = {}
        if self.scratch_width is not None:
            heads = max(1, self.scratch_width // 64)
            shape |= {"d_model": self.scratch_width, "d_ff": 4 * self.scratch_width}
            shape |= {"num_heads": heads, "d_kv": max(1, self.scratch_width // heads)}
        if self.scratch_layers is not None:
            shape |= {"num_layers": self.scratch_layers}
        return shape

"""Sizes that configurations of transformers do not all name."""

from typing import Any


def head_size(config: Any) -> int:
    """d, the size of an attention head, from the text part of a model's configuration."""
    named: int | None = getattr(config, "head_dim", None)
    return named or int(config.hidden_size) // int(config.num_attention_heads)

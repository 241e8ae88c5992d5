"""How large a whole number may be wherever one is asked for: what SQLite, NumPy and torch hold, 64 bits with a sign."""

from typing import TypeVar

LARGEST = 2**63 - 1
V = TypeVar("V")


def holds(value: object) -> bool:
    """Whether a value is no whole number, or one that fits."""
    return not isinstance(value, int) or -LARGEST - 1 <= value <= LARGEST


def held(value: V) -> V:
    """The value, for models of settings.

    Raises:
        ValueError: It is a whole number that does not fit.
    """
    if not holds(value):
        raise ValueError(f"whole numbers go up to {LARGEST:,}")
    return value

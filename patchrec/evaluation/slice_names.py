"""Names of slices (`patchrec.evaluation.slices`): their group, and the order in which they are shown."""

import re


def group_of(name: str) -> str:
    """The group of a slice, or its field: "history 10-19" -> "history", "genre=Drama" -> "genre"."""
    field, found, _ = name.partition("=")
    return field if found else name.partition(" ")[0]


def in_order(name: str) -> list[tuple[int, float, str]]:
    """A key that sorts slices by group, and numbers in their names as numbers."""
    parts = re.split(r"(\d+)", name)
    return [(0, float(part), "") if part.isdecimal() else (1, 0.0, part) for part in parts]

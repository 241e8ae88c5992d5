"""A split as plain rows, for others to check or to use elsewhere."""

from collections.abc import Iterator
from typing import Any

from patchrec.config import SplitName
from patchrec.data.histories import Dataset


def export_rows(dataset: Dataset, split: SplitName, K: int = 100) -> Iterator[dict[str, Any]]:
    """One row per target: users in stored order, each one's targets oldest first.

    Yields:
        `user_id`, `item_id`, `timestamp` (unix seconds or None), `position` (in the user's whole sequence, from 0)
        and `history` (ids of the newest K items before the target, oldest first).
    """
    sequences, item_ids = dataset.sequences, dataset.catalog.item_ids
    for example in dataset.examples(split, K, "sliding"):
        place = int(sequences.offsets[example.user]) + example.position
        yield {
            "user_id": sequences.user_ids[example.user],
            "item_id": item_ids[sequences.items[place]],
            "timestamp": None if sequences.timestamps is None else int(sequences.timestamps[place]),
            "position": example.position,
            "history": [item_ids[item] for item in dataset.history(example).items.tolist()],
        }

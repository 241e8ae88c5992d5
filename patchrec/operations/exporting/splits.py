"""Verb: write a data set's splits into a folder, for other programs to train on."""

from dataclasses import dataclass
from pathlib import Path

from patchrec.data.split_files import SplitFormat, write_splits
from patchrec.operations.exporting.folder import new_folder, refuse_used
from patchrec.store import Store


@dataclass(frozen=True, slots=True)
class ExportedSplits:
    """Splits as files.

    Attributes:
        rows: Of each file of rows, by its name.
    """

    dataset: str
    format: SplitFormat
    folder: str
    files: list[str]
    rows: dict[str, int]


def export_splits(
    name: str, folder: Path, *, kind: SplitFormat, K: int = 100, home: Path | None = None
) -> ExportedSplits:
    """Write all splits and the items of a data set into a new folder (`patchrec.data.split_files.write_splits`).

    Args:
        name: The data set.
        folder: New or empty. Its own name is what RecBole calls the data set.
        kind: `csv`, `recbole`, or `recbole-sequential`.
        K: Newest items kept of a history, for sequential models.
        home: Folder of the store.

    Raises:
        NotFoundError: No such data set. UsageError: The folder is not empty, or RecBole cannot read an id.
        OutOfResourcesError: The disk is full.
    """
    folder = refuse_used(folder)
    with Store.open(home) as store:
        dataset = store.datasets.load(name)
    with new_folder(folder) as work:
        rows = write_splits(dataset, kind, work, folder.name, K)
    return ExportedSplits(dataset.name, kind, str(folder), sorted(path.name for path in folder.iterdir()), rows)

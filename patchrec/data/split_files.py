"""Splits as files that other programs train on: CSV, and RecBole's atomic files with their configuration.

The train split is every interaction of it, for models of pairs; validation and test are exactly the targets. Files for
sequential models of RecBole have a row for each target of every split with the items before it, for there RecBole cuts
no histories of its own.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from patchrec.config import SPLITS, SplitName
from patchrec.data.export import export_rows
from patchrec.data.histories import Dataset
from patchrec.data.writers import csv_cell
from patchrec.errors import UsageError

SplitFormat = Literal["csv", "recbole", "recbole-sequential"]

Value = str | int | None
_BENCHMARK: dict[SplitName, str] = {"train": "train", "validation": "valid", "test": "test"}
_MISSING = frozenset(
    [
        "#N/A",
        "#N/A N/A",
        "#NA",
        "-1.#IND",
        "-1.#QNAN",
        "-NaN",
        "-nan",
        "1.#IND",
        "1.#QNAN",
        "<NA>",
        "N/A",
        "NA",
        "NULL",
        "NaN",
        "None",
        "n/a",
        "nan",
        "null",
    ]
)
"""What RecBole, through pandas, reads as no value."""


def write_splits(dataset: Dataset, kind: SplitFormat, folder: Path, name: str, K: int) -> dict[str, int]:
    """Write all splits and the items.

    Args:
        dataset: Whose.
        kind: `csv`: `train.csv`, `validation.csv`, `test.csv` and `items.csv`. `recbole` and `recbole-sequential`:
            `NAME.train.inter`, `NAME.valid.inter`, `NAME.test.inter`, `NAME.item` and `recbole.yaml`.
        folder: It is there, and empty.
        name: What RecBole calls the data set.
        K: Newest items kept of a history, for sequential models.

    Returns:
        Rows of each file of rows.

    Raises:
        UsageError: RecBole would read an id as something else.
    """
    timed = dataset.sequences.timestamps is not None
    columns = ["user_id", "item_id", *(["timestamp"] if timed else []), "position"]
    items = zip(dataset.catalog.item_ids, dataset.catalog.titles, strict=True)
    if kind == "csv":
        written = {
            f"{split}.csv": _write_csv(folder / f"{split}.csv", columns, _pairs(dataset, split)) for split in SPLITS
        }
        return written | {"items.csv": _write_csv(folder / "items.csv", ["item_id", "title"], items)}
    sequential = kind == "recbole-sequential"
    _refuse_unreadable(dataset, sequential)
    written = {}
    types = {"user_id": "token", "item_id": "token", "timestamp": "float", "position": "float"}
    header = [f"{column}:{types[column]}" for column in columns] + ["item_id_list:token_seq"] * sequential
    for split, suffix in _BENCHMARK.items():
        rows = _targets(dataset, split, K) if sequential else _pairs(dataset, split)
        written[f"{name}.{suffix}.inter"] = _write_atomic(folder / f"{name}.{suffix}.inter", header, rows)
    written[f"{name}.item"] = _write_atomic(folder / f"{name}.item", ["item_id:token", "title:token_seq"], items)
    (folder / "recbole.yaml").write_text(_configuration(dataset, columns, sequential, K), encoding="utf-8")
    return written


def _pairs(dataset: Dataset, split: SplitName) -> Iterator[list[Value]]:
    """Interactions of the train split, and targets of the others: user, item, time if there is one, position."""
    sequences, item_ids = dataset.sequences, dataset.catalog.item_ids
    first, stop = sequences.all_bounds(split)
    least = 0 if split == "train" else dataset.min_history
    for user, (start, end) in enumerate(zip(first.tolist(), stop.tolist(), strict=True)):
        base = int(sequences.offsets[user])
        for position in range(max(start, least), end):
            time = [] if sequences.timestamps is None else [int(sequences.timestamps[base + position])]
            yield [sequences.user_ids[user], item_ids[sequences.items[base + position]], *time, position]


def _targets(dataset: Dataset, split: SplitName, K: int) -> Iterator[list[Value]]:
    """Targets with the ids before them, blanks between."""
    for row in export_rows(dataset, split, K):
        time = [] if row["timestamp"] is None else [row["timestamp"]]
        yield [row["user_id"], row["item_id"], *time, row["position"], " ".join(row["history"])]


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> int:
    return _write(path, ",", columns, (map(csv_cell, row) for row in rows))


def _write_atomic(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> int:
    return _write(path, "\t", columns, (map(_field, row) for row in rows))


def _write(path: Path, sep: str, columns: Sequence[str], rows: Iterable[Iterable[str]]) -> int:
    """Write a header and rows, and count the rows."""
    number = 0
    with path.open("w", encoding="utf-8", newline="") as stream:
        stream.write(sep.join(columns) + "\n")
        for row in rows:
            stream.write(sep.join(row) + "\n")
            number += 1
    return number


def _field(value: Value) -> str:
    """A field as RecBole reads it: one that begins with a quote is quoted."""
    text = " ".join(value.split()) if isinstance(value, str) and not value.isprintable() else str(value)
    return '"' + text.replace('"', '""') + '"' if text.startswith('"') else text


def _refuse_unreadable(dataset: Dataset, sequential: bool) -> None:
    """Refuse ids that RecBole reads as something else.

    Raises:
        UsageError: The message names one.
    """
    for what, ids in (("user", dataset.sequences.user_ids), ("item", dataset.catalog.item_ids)):
        for one in ids:
            why = "a missing value" if one in _MISSING else ""
            if sequential and what == "item" and (" " in one or one.startswith('"')):
                why = "more than one id of a history"
            if why:
                raise UsageError(f"{what} id {one!r} would be {why} to RecBole; take --format csv")


def _configuration(dataset: Dataset, columns: Sequence[str], sequential: bool, K: int) -> str:
    """What tells RecBole to take these splits as they are, and to rank all items."""
    loaded = [column for column in columns if column != "position"] + ["item_id_list"] * sequential
    lines = [
        f"# the splits of data set {dataset.name}, made by patchrec",
        f"benchmark_filename: [{', '.join(_BENCHMARK.values())}]",
        "load_col:",
        f"  inter: [{', '.join(loaded)}]",
        "  item: [item_id]",
        "eval_args: {group_by: user, order: TO, mode: full}",
    ]
    if sequential:
        lines += [
            "alias_of_item_id: [item_id_list]",
            f"MAX_ITEM_LIST_LENGTH: {K}",
            "train_neg_sample_args: ~  # models with loss_type CE",
        ]
    return "\n".join(lines) + "\n"

"""How slices of the targets are shown: one line each, over items with seen ones dropped."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from patchrec.evaluation.slice_names import group_of, in_order
from patchrec_cli.display import Column, print_table
from patchrec_cli.numbers import count, value


def slice_cell(row: dict[str, Any]) -> object:
    """A metric with its interval; of a group of seeds with the deviation over seeds, and the interval below."""
    if row.get("sd") is None:
        return value(row["value"], row["low"], row["high"])
    known = row["low"] is not None and row["high"] is not None
    interval = (f"[{row['low']:.3f}, {row['high']:.3f}]",) if known else ()
    return value(row["value"], deviation=row["sd"]), *interval


def print_slices(metrics: Sequence[dict[str, Any]], groups: Iterable[str] | None = None, *, title: str) -> None:
    """Print slices with their targets, users, and the first cutoff's metrics with intervals; nothing without any.

    Args:
        metrics: Rows of all slices.
        groups: Groups and fields that are shown; None: all.
        title: Above the table.
    """
    wanted = None if groups is None else set(groups)
    rows = [row for row in metrics if (row["level"], row["seen"]) == ("item", "dropped")]
    names = [name for name in dict.fromkeys(row["name"] for row in rows) if re.match("(hr|ndcg)@", name)]
    cutoff = min((int(name.partition("@")[2]) for name in names), default=None)
    shown = [f"hr@{cutoff}", f"ndcg@{cutoff}"]
    lines: dict[str, dict[str, object]] = {}
    for row in rows:
        if row["slice"] != "all" and row["name"] in shown and (wanted is None or group_of(row["slice"]) in wanted):
            line = lines.setdefault(row["slice"], {"slice": row["slice"]})
            line["targets"], line["users"] = count(row["slice_targets"]), count(row["slice_users"])
            line[row["name"]] = slice_cell(row)
    if lines:
        columns = [
            Column("slice", "slice"),
            Column("targets", "targets", right=True),
            Column("users", "users", right=True),
            *(Column(name, name, right=True) for name in shown),
        ]
        print_table(columns, [lines[name] for name in sorted(lines, key=in_order)], title=title)

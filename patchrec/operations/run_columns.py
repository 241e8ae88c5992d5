"""The rows of a comparison as one table: every field, setting, metric and cost of a run under one name."""

from collections.abc import Sequence
from typing import Any

from patchrec.data.conditions import Asked, holding
from patchrec.errors import CheckFailedError, UsageError, unknown
from patchrec.evaluation.rows import LOG_PROB, LOG_PROB_VIEW
from patchrec.operations.run_fields import TEXTS, columns_of, fields_of, with_short_names
from patchrec.store.runs import Run

FAIL_IF = Asked("--fail-if", "a compared run")
COSTS = ("tokens_per_target", "prompt_tokens_per_target", "catalog_tokens_per_target", "seconds_per_target")
TESTED = ("p_value", "p_adjusted", "finding")


class Columned:
    """Compared runs with everything that can be asked of them by name."""

    def __init__(self, runs: Sequence[Run], rows: Sequence[dict[str, Any]]) -> None:
        """Take compared runs and their rows, in one order."""
        self._rows = list(rows)
        fields = with_short_names([fields_of(run) | _of_group(row) for run, row in zip(runs, rows, strict=True)])
        found_of_each = [_results(row) for row in rows]
        names = dict.fromkeys(name for found in found_of_each for name in found)
        self._results = [{name: found.get(name) for name in names} for found in found_of_each]
        self._metrics = [name for name in names if name not in (*COSTS, *TESTED)]
        plain = [{name: _number(value) for name, value in found.items()} for found in self._results]
        self._values = [own | found for own, found in zip(fields, plain, strict=True)]
        self._columns = columns_of(self._values)

    def holding(self, condition: str) -> list[str]:
        """Names of the runs that a condition holds for.

        Raises:
            UsageError: It is none.
            CheckFailedError: It asks for a metric that a run has no value of: nobody can say whether it holds.
        """
        mask = holding(condition, self._values, self._columns, (*TEXTS, "finding"), FAIL_IF)
        for name in self._metrics:
            lacking = [values["run"] for values in self._values if values[name] is None]
            if lacking and name in condition and name != "difference":
                raise CheckFailedError(f"{FAIL_IF.option} {condition!r}: run {lacking[0]} has no value of {name}")
        return [values["run"] for values, holds in zip(self._values, mask.tolist(), strict=True) if holds]

    def order(self, key: str) -> list[int]:
        """Places of the rows in the order of a column: metrics best first, all else ascending; "-" turns it round.

        Rows without a value come last.

        Raises:
            UsageError: No such column.
        """
        name = self._named(key.removeprefix("-"))
        falling = (name in self._metrics) != key.startswith("-")
        known = [place for place, values in enumerate(self._values) if values.get(name) is not None]
        # Texts and numbers do not compare: a column of both is one of texts.
        as_text = any(isinstance(self._values[place][name], str) for place in known)
        known.sort(
            key=lambda place: str(self._values[place][name]) if as_text else self._values[place][name], reverse=falling
        )
        return known + [place for place in range(len(self._values)) if place not in known]

    def with_columns(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """The rows with these columns: a value, or one with its interval (`value`, `low`, `high`).

        Raises:
            UsageError: No such column.
        """
        wanted = {name: self._named(name) for name in names}
        each = [
            values | found | _seeds(row)
            for row, values, found in zip(self._rows, self._values, self._results, strict=True)
        ]
        return [
            row | {"columns": {name: found.get(key) for name, key in wanted.items()}}
            for row, found in zip(self._rows, each, strict=True)
        ]

    def _named(self, name: str) -> str:
        """A column, in whatever case it was written."""
        if name in self._columns:
            return name
        like = [column for column in self._columns if column.casefold() == name.casefold()]
        if not like:
            raise UsageError(unknown("column", name, self._columns))
        return like[0]


def _results(row: dict[str, Any]) -> dict[str, Any]:
    """What a comparison found of a run: metrics in their default view and the difference, with intervals, and costs."""
    found: dict[str, Any] = {}
    for metric in row["metrics"]:
        view = LOG_PROB_VIEW if metric["name"] == LOG_PROB else ("item", "dropped")
        if (metric["level"], metric["seen"]) == view:
            found[metric["name"]] = {key: metric[key] for key in ("value", "low", "high")}
            if metric["sd"] is not None:
                found[metric["name"]]["sd"] = metric["sd"]
    tested = row["difference"] or {}
    found["difference"] = {"value": tested.get("difference"), "low": tested.get("low"), "high": tested.get("high")}
    ratios = {f"compression_{name}": ratio for name, ratio in row["compression"].items()}
    return found | {name: tested.get(name) for name in TESTED} | {name: row[name] for name in COSTS} | ratios


def _of_group(row: dict[str, Any]) -> dict[str, Any]:
    """The fields of a group of seeds that are not those of its first run; none for a run."""
    return {} if row["group"] is None else {"name": row["run"], "run": row["run"], "seed": None}


def _seeds(row: dict[str, Any]) -> dict[str, Any]:
    """The seeds of a group, to be shown: no condition asks for them. None for a run."""
    return {} if row["group"] is None else {"seed": ",".join(map(str, row["seeds"]))}


def _number(value: Any) -> Any:
    return value["value"] if isinstance(value, dict) else value

"""A table as Markdown, CSV or LaTeX, for papers and other programs. Text from data stays text in each."""

import re
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any, Literal

from patchrec.data.writers import csv_cell
from patchrec_cli.display import cell_text, clean, print_lines

Form = Literal["md", "csv", "latex"]
MARKDOWN = re.compile(r"[\\`*_\[\]<>|~#&]")
LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}  # fmt: skip


def print_as(form: Form, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Print rows under the names of their columns.

    Args:
        form: CSV has all digits, and an interval in two columns of its own (`hr@10_low`, `hr@10_high`), a deviation
            over seeds in one (`hr@10_sd`); the others read as tables of people do.
        columns: In order.
        rows: Column -> value; an interval is `value`, `low` and `high`, and of several seeds `sd`.
    """
    found = list(rows)
    if form == "csv":
        print_lines(csv_lines(columns, found))
        return
    numbers = [all(is_number(row[name]) for row in found) for name in columns]
    escape = markdown if form == "md" else latex

    def cell(value: Any) -> str:
        return shown(value) if is_number(value) else escape(shown(value))

    cells = [[cell(row[name]) for name in columns] for row in found]
    if form == "md":
        lines = [[markdown(name) for name in columns], ["---:" if number else "---" for number in numbers]]
        lines += cells
        print_lines(f"| {' | '.join(line)} |" for line in lines)
    else:
        lined = [" & ".join(line) + r" \\" for line in (list(map(latex, columns)), *cells)]
        begin = rf"\begin{{tabular}}{{{''.join('r' if number else 'l' for number in numbers)}}}"
        print_lines([begin, r"\toprule", lined[0], r"\midrule", *lined[1:], r"\bottomrule", r"\end{tabular}"])


def csv_lines(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A header and a line for each row."""
    parts = {name: _parts([row[name] for row in rows]) for name in columns}
    ends = {"value": "", "low": "_low", "high": "_high", "sd": "_sd"}
    lines = [[f"{name}{ends[part]}" for name in columns for part in parts[name]]]
    lines += [[cell for name in columns for cell in _split(row[name], parts[name])] for row in rows]
    return [",".join(csv_cell(_plain(cell)) for cell in line) for line in lines]


def _parts(values: Sequence[Any]) -> list[str]:
    """What the values of a column are made of: an interval where one has it, a deviation where one has that."""
    intervals = [value for value in values if isinstance(value, Mapping)]
    parts = ["value", "low", "high"] if intervals else ["value"]
    return [*parts, "sd"] if any("sd" in value for value in intervals) else parts


def _split(value: Any, parts: Sequence[str]) -> list[Any]:
    found = value if isinstance(value, Mapping) else {"value": value}
    return [found.get(part) for part in parts]


def _plain(cell: Any) -> str | float | None:
    if isinstance(cell, float) and not isfinite(cell):
        return None
    if cell is None or (isinstance(cell, int | float) and not isinstance(cell, bool)):
        return cell
    return clean(cell_text(cell))


def shown(value: Any) -> str:
    """A value as people read it, with its interval where it has one."""
    from patchrec_cli.numbers import value as with_interval

    if isinstance(value, Mapping):
        return with_interval(value["value"], value["low"], value["high"], value.get("sd"))
    if isinstance(value, float):
        return f"{value:.4g}" if isfinite(value) else "-"
    return cell_text(value)


def is_number(value: Any) -> bool:
    """Whether a value stands to the right in its column."""
    return value is None or isinstance(value, int | float | Mapping)


def markdown(text: str) -> str:
    """Text that Markdown shows as it is."""
    return MARKDOWN.sub(lambda found: f"\\{found.group()}", clean(text))


def latex(text: str) -> str:
    """Text that LaTeX sets as it is."""
    return "".join(LATEX.get(sign, sign) for sign in clean(text))

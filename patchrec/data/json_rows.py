"""Rows of JSON: an object a line, or one array of objects. Lines that are Python's literals are read, and told."""

import ast
import json
from collections.abc import Iterator
from typing import Any, NoReturn

from patchrec.data.batches import Row
from patchrec.data.lines import Lines, Rejects
from patchrec.errors import InputError

MAX_VALUES = 1 << 25
"""Of an array, which is held whole: some 3 GB of the smallest objects."""


def json_columns(lines: Lines, file: str, unread: Rejects) -> tuple[str, ...]:
    """All keys of all rows, in the order in which they appear: a row of its own may lack any of them.

    Args:
        lines: Of the file.
        file: Its name in messages.
        unread: Takes the lines that cannot be used.
    """
    found: dict[str, None] = {}
    for _, row in json_rows(lines, file, unread):
        found |= dict.fromkeys(row)
    return tuple(found)


def json_rows(lines: Lines, file: str, rejects: Rejects) -> Iterator[tuple[int, Row]]:
    """Objects, one a line."""
    literals = 0
    for text in lines:
        if not text.strip():
            lines.skip_blank()
            continue
        try:
            row, literal = _row(text)
        except (ValueError, RecursionError, MemoryError) as error:
            rejects.add_line(file, lines.number, f"not JSON ({_reason(error)})", text=text)
            continue
        literals += literal
        yield lines.number, row
    if literals:
        were = (
            "lines are Python literals, not JSON, and were"
            if literals > 1
            else "line is a Python literal, not JSON, and was"
        )
        rejects.notice(f"{file}: {literals:,} {were} read as such")


def json_array(text: str, file: str, rejects: Rejects) -> list[tuple[int, Row]]:
    """The objects of a file that is one array, numbered from 1.

    Raises:
        InputError: It is no JSON, or holds more values than memory should.
    """
    if sum(map(text.count, "{[,")) > MAX_VALUES:
        raise InputError(f"{file!r} is a JSON array of more than {MAX_VALUES:,} values; give one object a line")
    try:
        rows = _parsed(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{file!r} begins as a JSON array and is none ({_reason(error)}); give an array of objects, or one a line"
        ) from error
    found = []
    for number, row in enumerate(rows, start=1):
        if isinstance(row, dict):
            found.append((number, row))
        else:
            rejects.add_line(file, number, "not a JSON object", text=str(row))
    return found


def _row(text: str) -> tuple[Row, bool]:
    """The object of a line, and whether it is a Python literal.

    Raises:
        ValueError: It is neither, in JSON's words.
    """
    try:
        row = _parsed(text)
    except ValueError:
        if "'" not in text:
            raise
        try:
            row = _literal(text)
        except (ValueError, SyntaxError, TypeError):
            row = None
        if row is None:
            raise
        return row, True
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    return row, False


def _parsed(text: str) -> Any:
    """JSON whose numbers stay as they are written: an id 1e5 is not 100000."""
    return json.loads(
        text, parse_int=str, parse_float=str, parse_constant=_no_constant, object_pairs_hook=_no_repeated_keys
    )


def _literal(text: str) -> Row | None:
    """A dict of Python literals, with numbers as they are written; None where it is none.

    Raises:
        ValueError, SyntaxError, TypeError: It is no literal.
    """
    line = text.strip()
    tree = ast.parse(line, mode="eval").body
    if not isinstance(tree, ast.Dict) or any(key is None for key in tree.keys):
        return None
    written = line.encode("utf-8")
    for node in ast.walk(tree):
        for name, values in ast.iter_fields(node):
            several = values if isinstance(values, list) else [values]
            for place, one in enumerate(several):
                if isinstance(one, ast.expr) and _is_number(one):
                    number = ast.Constant(written[one.col_offset : one.end_col_offset].decode("utf-8"))
                    if isinstance(values, list):
                        values[place] = number
                    else:
                        setattr(node, name, number)
    pairs = [
        (ast.literal_eval(key), _plain(ast.literal_eval(value)))
        for key, value in zip(tree.keys, tree.values, strict=True)
        if key is not None
    ]
    row = _no_repeated_keys(pairs)
    return row if all(isinstance(key, str) for key in row) else None


def _is_number(node: ast.expr) -> bool:
    """Whether an expression is a number, with or without a sign."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        node = node.operand
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def _plain(value: Any) -> Any:
    """A literal in JSON's types."""
    if isinstance(value, set | frozenset):
        return sorted(map(_plain, value), key=str)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if value is None or isinstance(value, str | bool | float):
        return value
    raise ValueError("holds a value that JSON does not have")


def _reason(error: BaseException) -> str:
    return "nested too deeply" if isinstance(error, RecursionError | MemoryError) else str(error)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _no_repeated_keys(pairs: list[tuple[str, Any]]) -> Row:
    row = dict(pairs)
    if len(row) != len(pairs):
        raise ValueError("a key stands there twice")
    return row

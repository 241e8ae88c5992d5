"""Rows of JSON: an object a line, or one array of objects. Lines that are Python's literals are read, and told."""

import ast
import json
from collections.abc import Iterator
from typing import Any, NoReturn

from patchrec.data.batches import Row
from patchrec.data.lines import Lines, Rejects
from patchrec.errors import InputError


def json_columns(lines: Lines, file: str) -> tuple[str, ...]:
    """All keys of all rows, in the order in which they appear: a row of its own may lack any of them.

    Raises:
        InputError: No line can be used.
    """
    found: dict[str, None] = {}
    unread = Rejects(skip=True)  # lines that cannot be used are told when the rows are read
    rows = 0
    for _, row in json_rows(lines, file, unread):
        found |= dict.fromkeys(row)
        rows += 1
    unread.settle()
    if not rows and unread.messages:
        raise InputError(f"{unread.messages[0]}; no line of {file!r} can be used: is it JSON?")
    if not rows:
        raise InputError(f"{file!r} has no rows; give one JSON object a line, or an array of objects")
    return tuple(found)


def json_rows(lines: Lines, file: str, rejects: Rejects) -> Iterator[tuple[int, Row]]:
    """Objects, one a line; those of a file that is one array, numbered from 1. Counts what it reads."""
    at_first, literals = True, 0
    for text in lines:
        if not text.strip():
            continue
        if at_first and text.lstrip().startswith("["):
            yield from _array_rows("\n".join([text, *lines]), file, rejects)
            return
        at_first = False
        try:
            row, literal = _row(text)
        except (ValueError, RecursionError, MemoryError) as error:
            rejects.add_line(file, lines.number, f"not JSON ({_reason(error)})", text=text)
            continue
        literals += literal
        yield lines.number, row
    if literals:
        rejects.notice(f"{file}: {literals:,} lines are Python literals, not JSON, and were read as such")


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


def _array_rows(text: str, file: str, rejects: Rejects) -> Iterator[tuple[int, Row]]:
    """The objects of one array, which is read whole.

    Raises:
        InputError: It is no JSON.
    """
    try:
        rows = _parsed(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{file!r} begins as a JSON array and is none ({_reason(error)}); give an array of objects, or one a line"
        ) from error
    for number, row in enumerate(rows, start=1):
        if isinstance(row, dict):
            yield number, row
        else:
            rejects.add_line(file, number, "not a JSON object", text=str(row))


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
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            node.value = written[node.col_offset : node.end_col_offset].decode("utf-8")
    pairs = [
        (ast.literal_eval(key), _plain(ast.literal_eval(value)))
        for key, value in zip(tree.keys, tree.values, strict=True)
        if key is not None
    ]
    row = _no_repeated_keys(pairs)
    return row if all(isinstance(key, str) for key in row) else None


def _plain(value: Any) -> Any:
    """A literal in JSON's types."""
    if isinstance(value, list | tuple | set | frozenset):
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

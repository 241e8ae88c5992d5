"""What files seem to hold: found out from their heads, for people to look at before anything is added.

Nothing is taken that the files do not say: where two answers are possible the user is asked, by the error's option.
"""

import codecs
import csv
import io
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from patchrec.data.batches import Batch, Table
from patchrec.data.catalog import Catalog
from patchrec.data.inputs import STDIN, Part, find_parts
from patchrec.data.interactions import Interactions
from patchrec.data.items_table import ID_NAMES, read_items
from patchrec.data.lines import Rejects, reading
from patchrec.data.log_table import check_options, read_interactions, written_times
from patchrec.data.readers import FORMATS, RECBOLE_TYPES, SEPARATORS, format_of, open_table
from patchrec.data.recipe import OF_ITEMS, Recipe, Written, make_recipe
from patchrec.data.roles import USUAL, Role, find_column, without_header
from patchrec.data.splits import split_of
from patchrec.errors import InputError, PatchrecError, UsageError, flag_of

HEAD_BYTES = 256 << 10
HEAD_ROWS = 20_000
EXAMPLES = 3
FEW = 20  # records that tell the separator
MOST_FILES = 100  # of interactions whose heads are looked at

What = Literal["interactions", "items"]
_ROLE_NAMES = {"items_id_col": "item"}


@dataclass(frozen=True, slots=True)
class SeenColumn:
    """A column of a file.

    Attributes:
        role: What it is taken for; None where it is not used.
        examples: Its first different values, as text.
    """

    name: str
    role: str | None
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SeenFile:
    """A table of the data set.

    Attributes:
        files: The files that it is made of, in order.
        columns: Of the first.
    """

    what: What
    files: tuple[str, ...]
    format: str
    sep: str | None
    encoding: str
    columns: tuple[SeenColumn, ...]


@dataclass(frozen=True, slots=True)
class Understood:
    """What would be added.

    Attributes:
        recipe: With everything that was found out.
        tables: Interactions, and items where there are any.
        num_rows: Interactions that were looked at.
        num_users, num_items: Among them.
        times: First and last moment among them, milliseconds since 1970; None without times.
        rejected: Reason -> how many of the rows that were looked at cannot be used.
        notices: What else is to be known.
        fault: Why the data set cannot be added so, in the words of the error; None where nothing speaks against it.
    """

    recipe: Recipe
    tables: tuple[SeenFile, ...]
    num_rows: int = 0
    num_users: int = 0
    num_items: int = 0
    times: tuple[int, int] | None = None
    rejected: Mapping[str, int] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    fault: str | None = None

    def command(self, name: str, home: Path | None = None) -> str:
        """The command that adds it to a store, with every option written out."""
        words = ["patchrec", *(("--home", str(home)) if home is not None else ()), "data", "add", name]
        values = self.recipe.model_dump(mode="json", exclude_defaults=True)
        for key, value in values.items():
            if key in ("about", "licence", "get_from"):
                continue
            if key in ("header", "items_header"):
                words.append("--no-header" if key == "header" else "--items-no-header")
            elif key in ("columns", "items_columns", "fields"):
                words += [flag_of(key), ",".join(value)]
            elif isinstance(value, list):
                words += [word for one in value for word in (flag_of(key), one)]
            elif value is True:
                words.append(flag_of(key))
            else:
                words += [flag_of(key), str(value).replace("\t", "\\t") if key in ("sep", "items_sep") else str(value)]
        return shlex.join(words)


def assigned(files: Sequence[str], recipe: Recipe, *, needed: bool = True) -> dict[str, tuple[str, ...]]:
    """Where each file belongs, beside the interactions and items of a recipe.

    One that names users, or fits the columns that are named for the interactions, is of interactions; others are of
    items.

    Args:
        files: As they are named.
        recipe: How they are written.
        needed: Whether interactions are to be among them, or in the recipe.

    Raises:
        InputError: None is of interactions.
        UsageError: One is standard input, which cannot be read twice.
    """
    if STDIN in (*files, *recipe.interactions, *recipe.items):
        raise UsageError("standard input is read once; name it and its columns: --interactions - --user-col C ...")
    logs: list[str] = []
    items: list[str] = []
    headless: list[str] = []
    for file in files:
        with ExitStack() as stack:
            part = find_parts([file], FORMATS, stack, any_ending=recipe.log.format is not None)[0]
            (logs if _is_log(part, recipe, headless) else items).append(file)
    if needed and not (logs or recipe.interactions):
        if headless:
            raise InputError(headless[0])
        some = ", ".join(repr(USUAL["user"][place]) for place in range(4))
        raise InputError(
            f"none of {', '.join(map(repr, files))} has a column of users such as {some}; say which is which with "
            "--interactions FILE --user-col C and --items FILE"
        )
    belong = {"interactions": (*recipe.interactions, *logs), "items": (*recipe.items, *items)}
    return {what: found for what, found in belong.items() if found}


def _is_log(part: Part, recipe: Recipe, headless: list[str]) -> bool:
    """Whether a file is of interactions; notes what to do about one whose first line is no header."""
    plain = recipe.log.model_copy(update={"header": True, "columns": None})
    titled = False
    try:
        with _opened(part, plain) as (table, _):
            columns = table.columns
    except PatchrecError:
        if not (_fits(part, recipe.log) or _fits(part, recipe.catalog)):
            raise
    else:
        named = recipe.user_col if recipe.user_col in columns else None
        if find_column(table, Role("user", "--user-col", named)) is not None:
            return True
        titled = any(name.casefold() in USUAL["title"] for name in columns)
        if way := without_header(columns):
            headless.append(f"{table.file}:1: no column of users, and the first line reads as data: {way}")
    if recipe.columns is None or titled or (recipe.items_columns is not None and _fits(part, recipe.catalog)):
        return False
    return _fits(part, recipe.log)


def _fits(part: Part, written: Written) -> bool:
    """Whether the head of a file reads as it is said to be written."""
    try:
        with _opened(part, written) as (table, _):
            batch = next(table.batches, None)
            return batch is not None and len(batch) > 0
    except PatchrecError:
        return False


def understand(recipe: Recipe) -> Understood:
    """Find out what a recipe leaves open, from the heads of its files, and what would become of them.

    Raises:
        InputError: A file cannot be read, or a column that must be there is not found.
        UsageError: Options that do not go together.
    """
    check_options(recipe)
    split_of(recipe.split, recipe.train, recipe.validation)
    with ExitStack() as stack:
        logs = find_parts(recipe.interactions, FORMATS, stack, any_ending=True)
        written_items = recipe.catalog  # before what is found out about the interactions, which it would take over
        recipe, log = _table("interactions", logs, recipe, recipe.log)
        tables = [log]
        items: list[Part] = []
        if recipe.items:
            items = find_parts(recipe.items, FORMATS, stack, any_ending=True)
            with recipe.naming_items():
                recipe, seen = _table("items", items, recipe, written_items)
            tables.append(seen)
        elif recipe.title_col is None and recipe.title is None and recipe.untitled == "refuse":
            recipe = _titles_of_log(log, recipe)
        return _tried(recipe, tuple(tables), logs, items)


def _tried(recipe: Recipe, tables: tuple[SeenFile, ...], logs: list[Part], items: list[Part]) -> Understood:
    """What would become of the heads of the interactions."""
    of_items, of_log = Rejects(skip=True), Rejects(skip=True)
    if len(logs) > MOST_FILES:
        of_log.notice(f"the first {MOST_FILES} of {len(logs):,} files of interactions were looked at")
        logs = logs[:MOST_FILES]

    def read(of_items: Rejects, of_log: Rejects) -> tuple[Interactions, Catalog]:
        known = read_items(items, recipe, of_items) if items else None
        return read_interactions(logs, recipe, known, of_log, most=HEAD_ROWS)

    understood = Understood(recipe, tables)
    try:
        found, catalog = read(of_items, of_log)
    except InputError as error:
        fault = str(error) if recipe.skip_bad else _fault(read) or str(error)
        return replace(understood, fault=fault, notices=(*of_items.notices, *of_log.notices))
    moments = found.milliseconds
    skipped = Counter({f"items: {reason}": count for reason, count in of_items.rejected.items()}) + of_log.rejected
    return replace(
        understood,
        num_rows=of_log.read,
        num_users=len(found.user_ids),
        num_items=_used(found.items.tolist(), catalog),
        times=None if moments is None else (int(moments.min()), int(moments.max())),
        rejected=dict(skipped),
        notices=(*of_items.notices, *of_log.notices),
        fault=_fault(read) if skipped and not recipe.skip_bad else None,
    )


def _fault(read: Callable[[Rejects, Rejects], object]) -> str | None:
    """What reading says of the first row that cannot be used."""
    try:
        read(Rejects(), Rejects())
    except InputError as error:
        return str(error)
    return None


def _used(items: list[int], catalog: Catalog) -> int:
    return len({catalog.item_ids[item] for item in items})


def _table(what: What, parts: list[Part], recipe: Recipe, said: Written) -> tuple[Recipe, SeenFile]:
    """What the first file of a table says, and the recipe with it."""
    prefix = OF_ITEMS if what == "items" else ""
    with _opened(parts[0], said) as (table, written):
        batch = next(table.batches, None)
        found: dict[str, Any] = {prefix + key: value for key, value in written.model_dump().items() if key != "header"}
        kind = found[prefix + "format"]
        usual = found[prefix + "sep"] == ("," if kind == "csv" else "\t")
        if kind in ("jsonl", "parquet") or (usual and not (prefix and recipe.sep)):
            found.pop(prefix + "sep")
        if kind in ("jsonl", "parquet") and "quotes" in written.inherited:
            found.pop(prefix + "quotes")
        if prefix and recipe.encoding is not None and kind != "parquet":
            found["items_encoding"] = written.encoding or "utf-8"
        roles = _roles_of_items(table, recipe) if prefix else _roles_of_log(table, recipe, batch)
        found |= {key: value for key, value in roles.items() if value is not None}
        taken = {value: _ROLE_NAMES.get(key, key.removesuffix("_col")) for key, value in roles.items() if value}
        columns = tuple(
            SeenColumn(name, taken.get(name), _examples(batch.columns[name] if batch else ())) for name in table.columns
        )
    seen = SeenFile(
        what,
        tuple(part.name for part in parts),
        kind,
        written.sep if kind not in ("jsonl", "parquet") else None,
        written.encoding or "utf-8",
        columns,
    )
    return make_recipe(found, recipe), seen


def _roles_of_log(table: Table, recipe: Recipe, head: Batch | None) -> dict[str, str | None]:
    roles = {
        name: find_column(table, Role(name, f"--{name}-col", getattr(recipe, f"{name}_col")))
        for name in ("user", "item", "time", "rating")
    }
    for name in ("user", "item"):
        if roles[name] is None:
            raise _unclear(table, name, f"--{name}-col")
    if roles["time"] is None and head is not None:
        times = written_times(head, [name for name in roles.values() if name is not None])
        roles["time"] = times[0] if len(times) == 1 else None
    return {f"{name}_col": column for name, column in roles.items()}


def _roles_of_items(table: Table, recipe: Recipe) -> dict[str, str | None]:
    same = recipe.items_id_col or (recipe.item_col if recipe.item_col in table.columns else None)
    item = find_column(table, Role("item", "--items-id-col", same), usual=ID_NAMES)
    if item is None:
        raise _unclear(table, "item's id", "--items-id-col", of_items=True)
    title = None if recipe.title else find_column(table, Role("title", "--title-col", recipe.title_col))
    return {"items_id_col": item, "title_col": title}


def _unclear(table: Table, what: str, option: str, *, of_items: bool = False) -> InputError:
    """The error for a column that is not found."""
    columns = ", ".join(map(repr, table.columns[:12]))
    if way := without_header(table.columns, of_items=of_items):
        hint = f"the first line reads as data: {way}"
    else:
        hint = f"name it with {option}"
    return InputError(f"{table.file}:1: which column is the {what}? {columns}; {hint}")


def _titles_of_log(log: SeenFile, recipe: Recipe) -> Recipe:
    """Where the titles of a log without items are: a column of it, or nowhere."""
    names = [column.name for column in log.columns if column.role is None]
    table = Table(log.files[0], tuple(names), iter(()))
    title = find_column(table, Role("title", "--title-col"))
    return make_recipe({"title_col": title} if title else {"untitled": "id"}, recipe)


def _examples(values: Sequence[Any]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for value in values[:1000]:
        if value is not None and str(value).strip():
            found[str(value)] = None
        if len(found) == EXAMPLES:
            break
    return tuple(found)


class _opened:  # noqa: N801 - reads as a verb in a with
    """A table, opened as its head says it is written where nothing was named."""

    def __init__(self, part: Part, written: Written) -> None:
        self._part = part
        self.written = sniffed(part, written)

    def __enter__(self) -> tuple[Table, Written]:
        self._table = open_table(self._part, self.written, Rejects(skip=True))
        return self._table, self.written

    def __exit__(self, *_: object) -> None:
        self._table.__exit__()


def sniffed(part: Part, written: Written) -> Written:
    """How a file is written, with what its head shows where nothing is said.

    Raises:
        InputError: It cannot be read.
    """
    if part.name == STDIN:
        return written
    if part.ending in FORMATS and FORMATS[part.ending] == "parquet":
        return Written(format="parquet")
    with reading(part.name), part.open() as stream:
        head = stream.read(HEAD_BYTES)
    if head.startswith(b"PAR1") and written.format is None:
        return Written(format="parquet")
    encoding = written.encoding or _encoding(head)
    with reading(part.name):
        text = head.decode(encoding or "utf-8", "replace").removeprefix("\ufeff")
    values: dict[str, Any] = {"encoding": encoding}
    if written.format is None and part.ending not in FORMATS and text.lstrip().startswith(("{", "[")):
        values["format"] = "jsonl"
    elif written.format is None and FORMATS.get(part.ending) == "recbole" and not _is_typed(text):
        values |= {"format": "tsv", "sep": written.sep or _separator(text, "\t", group=False)}
    elif written.sep is None and _separated(part, written) and text.strip():
        kind = written.format or FORMATS.get(part.ending, "tsv")
        quotes = written.quotes or ("group" if kind == "csv" else "text")
        values["sep"] = _separator(text, "," if part.ending == ".csv" else "\t", group=quotes == "group")
    found = written.model_copy(update=values)
    return found.model_copy(update={"format": format_of(part, found)})


def _is_typed(text: str) -> bool:
    """Whether the first line is a header as RecBole's files have it."""
    names = text.partition("\n")[0].rstrip("\r").split("\t")
    return all(name.rpartition(":")[2] in RECBOLE_TYPES for name in names)


def _separated(part: Part, written: Written) -> bool:
    """Whether a file is of separated fields, whose separator may be another than the usual one."""
    kind = written.format or FORMATS.get(part.ending, "csv")
    return kind in ("csv", "tsv")


def _encoding(head: bytes) -> str | None:
    """What the first bytes say: UTF-16 by its mark; what is no UTF-8 is taken for cp1252. None is UTF-8."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "cp1252"
    return None


def _separator(text: str, usual: str, *, group: bool) -> str:
    """The separator that splits most records of a head as it splits the first: where several do, the longer or usual.

    Args:
        text: The head.
        usual: The separator of the format.
        group: Whether what is within quotes is not split.
    """
    best, most = usual, (0.0, 0, False, 0)
    for sep in SEPARATORS:
        counts = _counts(text, sep, group=group and len(sep) == 1)
        if counts and counts[0] > 1:
            rank = (counts.count(counts[0]) / len(counts), len(sep), sep == usual, counts[0])
            if rank > most:
                best, most = sep, rank
    return best


def _counts(text: str, sep: str, *, group: bool) -> list[int]:
    """Numbers of fields of the first records."""
    if not group:
        lines = (line for line in io.StringIO(text) if line.strip())
        return [line.count(sep) + 1 for line in islice(lines, FEW)]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=sep)
    try:
        return [len(row) for row in islice(filter(None, rows), FEW)]
    except csv.Error:
        return []

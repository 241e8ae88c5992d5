"""What files seem to hold: found out from their heads, for people to look at before anything is added.

Nothing is taken that the files do not say: where two answers are possible the user is asked, by the error's option.
"""

import codecs
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from patchrec.data.batches import Table
from patchrec.data.catalog import Catalog
from patchrec.data.inputs import STDIN, Part, find_parts
from patchrec.data.items_table import ID_NAMES, Items, read_items
from patchrec.data.lines import Rejects, reading
from patchrec.data.log_table import read_interactions
from patchrec.data.readers import FORMATS, SEPARATORS, format_of, open_table
from patchrec.data.recipe import OF_ITEMS, Recipe, Written, make_recipe
from patchrec.data.roles import USUAL, Role, find_column
from patchrec.errors import InputError, PatchrecError, flag_of

HEAD_BYTES = 256 << 10
HEAD_ROWS = 20_000
EXAMPLES = 3
FEW = 20  # lines that a separator must split alike

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

    def command(self, name: str) -> str:
        """The command that adds it, with every option written out."""
        words = ["patchrec", "data", "add", name]
        values = self.recipe.model_dump(mode="json", exclude_defaults=True)
        for key, value in values.items():
            if key in ("about", "licence"):
                continue
            if key in ("header", "items_header"):
                words.append("--no-header" if key == "header" else "--items-no-header")
            elif key in ("columns", "items_columns"):
                words += [flag_of(key), ",".join(value)]
            elif isinstance(value, list):
                words += [word for one in value for word in (flag_of(key), one)]
            elif value is True:
                words.append(flag_of(key))
            else:
                words += [flag_of(key), str(value)]
        return shlex.join(words)


def assigned(files: Sequence[str], recipe: Recipe) -> Recipe:
    """The recipe with each file where it belongs: one that names users is of interactions, others are of items.

    Raises:
        InputError: None names users.
    """
    logs: list[str] = []
    items: list[str] = []
    for file in files:
        with ExitStack() as stack:
            part = find_parts([file], tuple(FORMATS), stack, any_ending=recipe.log.format is not None)[0]
            with _opened(part, recipe.log) as (table, _):
                user = find_column(
                    table, Role("user", "--user-col", recipe.user_col if recipe.user_col in table.columns else None)
                )
                (logs if user is not None else items).append(file)
    if not logs:
        some = ", ".join(repr(USUAL["user"][place]) for place in range(4))
        raise InputError(
            f"none of {', '.join(map(repr, files))} has a column of users such as {some}; say which is which with "
            "--interactions FILE --user-col C and --items FILE"
        )
    return make_recipe({"interactions": (*recipe.interactions, *logs), "items": (*recipe.items, *items)}, recipe)


def understand(recipe: Recipe) -> Understood:
    """Find out what a recipe leaves open, from the heads of its files, and what would become of them.

    Raises:
        InputError: A file cannot be read, or a column that must be there is not found.
        UsageError: Options that do not go together.
    """
    with ExitStack() as stack:
        logs = find_parts(recipe.interactions, tuple(FORMATS), stack, any_ending=True)
        written_items = recipe.catalog  # before what is found out about the interactions, which it would take over
        recipe, log = _table("interactions", logs, recipe, recipe.log)
        tables = [log]
        items: list[Part] = []
        if recipe.items:
            items = find_parts(recipe.items, tuple(FORMATS), stack, any_ending=True)
            recipe, seen = _table("items", items, recipe, written_items)
            tables.append(seen)
        elif recipe.title_col is None and recipe.title is None and recipe.untitled == "refuse":
            recipe = _titles_of_log(log, recipe)
        return _tried(recipe, tuple(tables), logs, items)


def _tried(recipe: Recipe, tables: tuple[SeenFile, ...], logs: list[Part], items: list[Part]) -> Understood:
    """What would become of the head of the interactions."""
    of_items, of_log = Rejects(skip=True), Rejects(skip=True)
    understood = Understood(recipe, tables)
    try:
        known: Items | None = read_items(items, recipe, of_items) if items else None
        found, catalog = read_interactions(logs[:1], recipe, known, of_log, most=HEAD_ROWS)
    except PatchrecError as error:
        return replace(understood, fault=str(error), notices=(*of_items.notices, *of_log.notices))
    moments = found.milliseconds
    skipped = Counter({f"items: {reason}": count for reason, count in of_items.rejected.items()}) + of_log.rejected
    fault = None
    if skipped and not recipe.skip_bad:
        fault = f"{(of_items.messages + of_log.messages)[0]}; mend it, or leave such rows out with --skip-bad"
    return replace(
        understood,
        num_rows=of_log.read,
        num_users=len(found.user_ids),
        num_items=_used(found.items.tolist(), catalog),
        times=None if moments is None else (int(moments.min()), int(moments.max())),
        rejected=dict(skipped),
        notices=(*of_items.notices, *of_log.notices),
        fault=fault,
    )


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
        if prefix and recipe.encoding is not None and kind != "parquet":
            found["items_encoding"] = written.encoding or "utf-8"
        roles = _roles_of_items(table, recipe) if prefix else _roles_of_log(table, recipe)
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


def _roles_of_log(table: Table, recipe: Recipe) -> dict[str, str | None]:
    roles = {
        name: find_column(table, Role(name, f"--{name}-col", getattr(recipe, f"{name}_col")))
        for name in ("user", "item", "time", "rating")
    }
    for name in ("user", "item"):
        if roles[name] is None:
            raise InputError(
                f"{table.file}:1: which column is the {name}? {', '.join(map(repr, table.columns[:12]))}; name it with "
                f"--{name}-col"
            )
    return {f"{name}_col": column for name, column in roles.items()}


def _roles_of_items(table: Table, recipe: Recipe) -> dict[str, str | None]:
    same = recipe.items_id_col or (recipe.item_col if recipe.item_col in table.columns else None)
    item = find_column(table, Role("item", "--items-id-col", same), usual=ID_NAMES)
    if item is None:
        raise InputError(
            f"{table.file}:1: which column is the item's id? {', '.join(map(repr, table.columns[:12]))}; name it with "
            "--items-id-col"
        )
    title = None if recipe.title else find_column(table, Role("title", "--title-col", recipe.title_col))
    return {"items_id_col": item, "title_col": title}


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
    text = head.decode(encoding or "utf-8", "replace").removeprefix("\ufeff")
    lines = [line for line in text.splitlines()[: FEW + 1] if line.strip()][:FEW]
    values = written.model_dump() | {"encoding": encoding}
    if written.format is None and part.ending not in FORMATS and lines and lines[0].lstrip().startswith(("{", "[")):
        values["format"] = "jsonl"
    elif written.sep is None and _separated(part, written) and lines:
        values["sep"] = _separator(lines, "," if part.ending == ".csv" else "\t")
    found = Written.model_validate(values)
    return found.model_copy(update={"format": format_of(part, found)})


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


def _separator(lines: Sequence[str], usual: str) -> str:
    """The separator that splits all lines of a head into the same number of fields, the usual one where it does."""
    best = usual
    most = 0
    for sep in sorted(SEPARATORS, key=lambda one: one != usual):
        counts = [line.count(sep) for line in lines]
        alike = min(counts) == max(counts) or (sep == usual and min(counts) > 0)
        if alike and min(counts) > most and (most == 0 or sep == "::"):
            best, most = sep, min(counts)
    return best

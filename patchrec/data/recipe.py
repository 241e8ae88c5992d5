"""A recipe: everything that says how files become a data set, in the words of the command line.

The options of `patchrec data add`, a TOML file given with `--recipe` and the recipes known by name are one closed
model. A later one changes what an earlier one says: command line, file, defaults.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from patchrec.config import Closed
from patchrec.data.characters import checked_word
from patchrec.errors import InputError, UsageError, flag_of, not_found, unknown, wrong_values

FormatName = Literal["csv", "tsv", "jsonl", "parquet", "recbole"]
Quotes = Literal["group", "text"]
Repeats = Literal["refuse", "keep", "first", "last"]
DuplicateItems = Literal["refuse", "first", "last", "most"]
Untitled = Literal["refuse", "drop", "id"]

OF_ITEMS = "items_"
"""Fields that say how the interactions are written have a twin with this in front, for the items."""

_OPTION = re.compile(
    r"--(title|items-id-col|(?:items-)?(?:format|sep|encoding|quotes|no-header|columns))( '[^']*')?(?![-\w])"
)
"""What items name otherwise than interactions, with a value that an error suggests."""


class Written(Closed):
    """How one table is written down; None is found out, or the format's own.

    Attributes:
        inherited: What was not said of this table, but of the interactions: a format without use for it ignores it.
    """

    format: FormatName | None = None
    sep: str | None = Field(None, min_length=1, max_length=8)
    encoding: str | None = None
    quotes: Quotes | None = None
    header: bool = True
    columns: tuple[str, ...] | None = None
    inherited: frozenset[str] = Field(frozenset(), exclude=True)


class Recipe(Closed):
    """How files become a data set.

    Attributes:
        about: What the data set is, in one line.
        get_from: Where its files are to be had, of a recipe known by name.
        licence: What its owner allows.
        interactions: Files, folders or patterns, read in this order; of a recipe known by name they are looked for
            below `--from`, and `a|b` takes the first that is there.
        items: The same of the items; none takes titles from the interactions.
        format, sep, encoding, quotes, header, columns: How the interactions are written (`Written`).
        items_format, items_sep, items_encoding, items_quotes: The items', where another; else as the interactions'.
        items_header, items_columns: The items' own.
        user_col, item_col, time_col, rating_col: Columns of the interactions; None finds the usual names. `a|b`, of
            every column, is the first that is there.
        order_col: Orders interactions of one moment.
        session_col: Names the session that an interaction belongs to.
        item_pattern: Regular expression over `item_col`: the group of each match is an item of its own.
        items_id_col: Column of the items' ids; None takes `item_col`, or finds the usual names.
        title_col: Column of titles, in the items, or where there are none in the interactions.
        title: A text of several columns, such as "{name}, {colour}", instead of one.
        fields: Further columns of the items that are kept with them; none keeps all. `a|b` is the first that has a
            value, called `a`.
        html: Titles and fields of the items are in HTML: tags go, entities are their letters.
        time_format: How times are written (strptime), or `s`, `ms`, `us`, `ns`, `excel`.
        rows: A condition over the columns of the interactions, in SQL; others are left out.
        missing: Texts that mean that a value is missing.
        repeats: What to do where user, item and moment are the same again.
        duplicate_items: Which row of an item's id counts where it has several.
        untitled: What to do with items without title.
        min_rating: Keep ratings from here on.
        core: Keep users and items with so many interactions, again and again until all have them.
        min_history: Keep users with so many interactions.
        sample_users: Keep so many users, drawn by the seed.
        cold_items: Leave this share of the items, drawn by the seed, to the test split alone.
        skip_bad: Leave rows out that cannot be used.
        noun, verb: Words of the prompt.
        split, train, validation: The split rule and its fractions.
    """

    model_config = ConfigDict(strict=True)

    about: str | None = None
    get_from: str | None = None
    licence: str | None = None
    interactions: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    format: FormatName | None = None
    sep: str | None = Field(None, min_length=1, max_length=8)
    encoding: str | None = None
    quotes: Quotes | None = None
    header: bool = True
    columns: tuple[str, ...] | None = None
    items_format: FormatName | None = None
    items_sep: str | None = Field(None, min_length=1, max_length=8)
    items_encoding: str | None = None
    items_quotes: Quotes | None = None
    items_header: bool = True
    items_columns: tuple[str, ...] | None = None
    user_col: str | None = None
    item_col: str | None = None
    time_col: str | None = None
    rating_col: str | None = None
    order_col: str | None = None
    session_col: str | None = None
    item_pattern: str | None = None
    items_id_col: str | None = None
    title_col: str | None = None
    title: str | None = None
    fields: tuple[str, ...] = ()
    html: bool = False
    time_format: str | None = None
    rows: str | None = None
    missing: tuple[str, ...] = ()
    repeats: Repeats = "refuse"
    duplicate_items: DuplicateItems = "refuse"
    untitled: Untitled = "refuse"
    min_rating: float | None = None
    core: int | None = Field(None, ge=1)
    min_history: int | None = Field(None, ge=1)
    sample_users: int | None = Field(None, ge=1)
    cold_items: float | None = Field(None, gt=0, lt=1)
    seed: int = Field(0, ge=0)
    skip_bad: bool = False
    noun: str | None = None
    verb: str | None = None
    split: str | None = None
    train: float | None = None
    validation: float | None = None

    @field_validator("interactions", "items", "columns", "items_columns", "fields", "missing", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        several = (value,) if isinstance(value, str | Path) else value
        if not isinstance(several, tuple | list):
            return several
        if not all(isinstance(one, str | Path) for one in several):
            raise ValueError("write each as text, in quotes")
        return tuple(str(one) if isinstance(one, Path) else one for one in several)

    @field_validator("sep", "items_sep")
    @classmethod
    def _tab_as_shells_have_it(cls, value: str | None) -> str | None:
        return None if value is None else value.replace("\\t", "\t")

    @field_validator("encoding", "items_encoding")
    @classmethod
    def _is_of_text(cls, value: str | None) -> str | None:
        try:
            "".encode(value or "utf-8")
        except (LookupError, UnicodeError, ValueError):
            raise ValueError(f"no encoding {value!r}; give one such as latin-1, utf-16 or cp1252") from None
        return value

    @field_validator("noun", "verb")
    @classmethod
    def _is_a_word(cls, value: str | None) -> str | None:
        return None if value is None else checked_word(value)

    @model_validator(mode="after")
    def _goes_together(self) -> "Recipe":
        for prefix, names in (("", "user_id,item_id,timestamp"), (OF_ITEMS, "item_id,title")):
            if not getattr(self, f"{prefix}header") and not getattr(self, f"{prefix}columns"):
                option = flag_of(f"{prefix}columns")
                raise ValueError(f"a file without header needs names of its columns: {option} {names}")
        if self.title is not None and self.title_col is not None:
            raise ValueError("--title and --title-col both say what the title is; give one")
        return self

    @property
    def items_alone(self) -> bool:
        """Whether it is of a file of new items, whose options have names of their own."""
        return bool(self.items) and not self.interactions

    @property
    def log(self) -> Written:
        """How the interactions are written."""
        return self._written("")

    @property
    def catalog(self) -> Written:
        """How the items are written; what they do not say is as the interactions'."""
        return self._written(OF_ITEMS)

    def _written(self, prefix: str) -> Written:
        values = {name: getattr(self, prefix + name) for name in Written.model_fields if name != "inherited"}
        inherited = set()
        if prefix:
            own_format = values["format"] not in (None, self.format)
            for name in ("format", "encoding", *(() if own_format else ("sep", "quotes"))):
                if values[name] is None and getattr(self, name) is not None:
                    values[name] = getattr(self, name)
                    inherited.add(name)
        return Written.model_validate({**values, "inherited": inherited})

    @contextmanager
    def naming_items(self) -> Iterator[None]:
        """Let errors about the items name the options of the items."""
        try:
            yield
        except (InputError, UsageError) as error:
            raise type(error)(self.said_of_items(str(error))) from error

    def said_of_items(self, message: str) -> str:
        """A message about the items, with the options of the items."""
        if self.items_alone:
            return _said_of_items_alone(message)
        inherited = self.catalog.inherited

        def named(match: re.Match[str]) -> str:
            option, value = match[1], match[2] or ""
            if option.startswith(("title", "items-")):
                return match[0]
            both = f" (or --{option}{value} for both files)" if option in inherited else ""
            return f"--items-{option}{value}{both}"

        return _OPTION.sub(named, message)


def _said_of_items_alone(message: str) -> str:
    """A message about new items, with the options of `patchrec data items add`."""
    names = {"title": "title-of", "items-id-col": "item-col"}
    return _OPTION.sub(
        lambda match: f"--{names.get(match[1], match[1].removeprefix('items-'))}{match[2] or ''}", message
    )


def make_recipe(values: Mapping[str, Any], base: Recipe | None = None) -> Recipe:
    """A recipe of option values; what is None is as in `base`, or the default.

    Raises:
        UsageError: No such option, or a value that it does not take.
    """
    given = {key: value for key, value in values.items() if value is not None}
    for key, value in given.items():
        if key not in Recipe.model_fields:
            raise UsageError(unknown("option", flag_of(key), map(flag_of, Recipe.model_fields)))
        choices = _choices(key)
        if choices and value not in choices:
            raise UsageError(unknown(flag_of(key), str(value), choices))
    merged = ({} if base is None else base.model_dump(exclude_unset=True)) | given
    try:
        return Recipe.model_validate(merged)
    except ValidationError as error:
        alone = merged.get("items") and not merged.get("interactions")
        said = wrong_values(error)
        raise UsageError(_said_of_items_alone(said) if alone else said) from error


def _choices(key: str) -> tuple[str, ...]:
    """The words that a field takes, where it takes nothing else."""
    annotation = Recipe.model_fields[key].annotation
    if get_origin(annotation) is tuple:
        return ()
    parts = (annotation, *get_args(annotation))
    return tuple(name for part in parts for name in get_args(part) if isinstance(name, str))


def read_recipe(path: Path) -> Recipe:
    """A recipe from a TOML file, whose keys are the options of `patchrec data add`: `user-col = "customer"`.

    Its files are looked for in the folder that `--from` names, else in its own.

    Raises:
        InputError: The file is missing, no TOML, or has a key or value that no recipe has.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise InputError(f"no file {str(path)!r}; check the path of --recipe") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f'{str(path)!r} is no recipe ({error}); write TOML such as user-col = "customer"') from error
    try:
        return make_recipe({key.replace("-", "_"): value for key, value in values.items()})
    except UsageError as error:
        raise InputError(f"{str(path)!r}: {error}") from error


@cache
def known_recipes() -> dict[str, Recipe]:
    """Recipes of public data sets by name, each for files that a user has (`--from`)."""
    folder = Path(__file__).parent / "recipes"
    return {path.stem: read_recipe(path) for path in sorted(folder.glob("*.toml"))}


def find_recipe(named: Path | str | Recipe | None) -> Recipe | None:
    """A recipe by its file or its name; None is none.

    Raises:
        InputError: The file is none. NotFoundError: No such name.
    """
    if named is None or isinstance(named, Recipe):
        return named
    if str(named) in known_recipes():
        return known_recipes()[str(named)]
    if not Path(named).suffix and not Path(named).is_file():
        from patchrec.data.sources import SOURCES  # numpy comes with it

        raise not_found("recipe", str(named), [*known_recipes(), *SOURCES], "or give a TOML file")
    return read_recipe(Path(named))

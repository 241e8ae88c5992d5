"""Options of whatever a plugin brings by name: a closed model, values bound to it, and how both read in a table."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from patchrec.bounds import held
from patchrec.errors import PluginError, UsageError, flag_of, unknown, wrong_values


class Options(BaseModel):
    """Base of every options model. Each field is an option of the command line: `L: int` is `--L`.

    A field's description (`Field(5, ge=1, description="...")`) is the option's help.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)
    _held = field_validator("*")(held)

    @property
    def values(self) -> dict[str, Any]:
        """Option values as plain JSON data."""
        return self.model_dump(mode="json")

    @property
    def backbones(self) -> Mapping[str, str]:
        """Models that a baseline begins with beside its backbone: name, hub id or folder by role, the option it is."""
        return {}

    @property
    def reads_start(self) -> bool:
        """Whether a fitted run reads new items with the model that it began with, and so cannot do without it."""
        return False

    @property
    def settings(self) -> Mapping[str, Any]:
        """Training settings that follow from these values where none are given; a subclass may say some."""
        return {}


O = TypeVar("O", bound=Options)  # noqa: E741


def check_named(what: str, name: object, summary: object, options: object) -> None:
    """Hold what a plugin brings to its form: a name, a line about it, an options model.

    Args:
        what: In words, such as "strategy".

    Raises:
        PluginError: One of them is not what it must be.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise PluginError(f"{what} name {name!r}: use lower-case letters, digits and single hyphens")
    if not isinstance(summary, str) or not summary.isprintable() or not summary.strip():
        raise PluginError(f"{what} {name!r}: the summary must be one line of text, got {summary!r}")
    if not (isinstance(options, type) and issubclass(options, Options)):
        raise PluginError(f"{what} {name!r}: options must be a subclass of Options")
    for option, field in options.model_fields.items():
        try:
            default_of(field)
        except Exception as error:  # whatever a factory of theirs raises
            raise PluginError(
                f"{what} {name!r}: the default of its option {flag_of(option)} is no plain value: {error}"
            ) from error


def default_of(field: FieldInfo) -> Any:
    """An option's default as plain JSON data; None where it has none."""
    return None if field.is_required() else to_jsonable_python(field.get_default(call_default_factory=True))


def bind(what: str, model: type[O], values: Mapping[str, object] | None) -> O:
    """Check option values. A value of None counts as not given.

    Args:
        what: Whose they are, such as "strategy pft-s".

    Raises:
        UsageError: An unknown option or a value out of range; the message names the choices.
    """
    given = {key: value for key, value in (values or {}).items() if value is not None}
    fields = model.model_fields
    for key in given:
        if not fields:
            raise UsageError(f"{what} has no options, got {flag_of(key)}")
        if key not in fields:
            raise UsageError(f"{what}: {unknown('option', flag_of(key), map(flag_of, fields))}")
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise UsageError(f"{what}: {wrong_values(error)}") from error


def label(name: str, options: Options, *, numbers: bool) -> str:
    """Name and options for tables, such as "pft-s L=5": those that are not the default.

    Args:
        numbers: Show numbers always.
    """
    fields = type(options).model_fields
    shown = [
        f"{key}={value}"
        for key, value in options.values.items()
        if value is not None and ((numbers and type(value) in (int, float)) or value != default_of(fields[key]))
    ]
    return " ".join([name, *shown])

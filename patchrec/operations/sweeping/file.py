"""The file of a sweep: a closed model of its TOML, and the lines that its grids come to. Knows no store.

Each `[[run]]` names a strategy to fine-tune with or a baseline to fit, and says settings as the command's options have
them, without dashes. A list of values is a grid. Runs of one name compete: the best of them on validation is chosen.
A `[[part]]` is fitted before and does not compete: others start from it or read it, by its name after an "@".
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import Field, ValidationError, field_validator, model_validator

from patchrec.config import Closed
from patchrec.errors import InputError, UsageError, unknown
from patchrec.evaluation.protocols import Protocol
from patchrec.evaluation.weighting import check_metric
from patchrec.operations.training.asked import Asked, check_seeds
from patchrec.operations.training.new_run import RunSettings

MOST_LINES = 1_000
SETTINGS = tuple(name for name in RunSettings.__annotations__ if name not in ("data", "seed"))
OF_PART = "@"
_OF_TABLES = ("options", "head_options")


class RunEntry(Closed):
    """One `[[run]]` of a sweep, of which a setting, an option, `start` and `head` may be lists; or one `[[part]]`.

    Attributes:
        name: What competes under it; default: the strategy or the baseline.
        finetune: A strategy, by name. baseline: A kind of recommender. pretrain: "patch-pretraining", of a part. One of
            the three is given.
        start: `from`: run, group of seeds, "@" and a part, or "none": the backbone. A fine-tuning says it, since the
            newest run is another one tomorrow.
        head: What answers, in a fine-tuning.
        options: Of the strategy or the baseline. head_options: Of the head. An option that names a run may name a part.
        seeds: Instead of the sweep's; of a part: instead of those of the runs that it is for.
        settings: Everything else that the command takes.
    """

    name: str = ""
    finetune: str | None = None
    baseline: str | None = None
    pretrain: Literal["patch-pretraining"] | None = None
    start: Any = Field(None, alias="from")
    head: Any = None
    options: dict[str, Any] = Field(default_factory=dict)
    head_options: dict[str, Any] = Field(default_factory=dict)
    seeds: tuple[int, ...] | None = None
    settings: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, values: Any) -> Any:
        """Put settings where they belong, and refuse what is no key."""
        if not isinstance(values, dict):
            raise ValueError("a run is a table: [[run]]")
        values = {key.replace("-", "_"): value for key, value in values.items()}
        own = {"name", "finetune", "baseline", "pretrain", "from", "head", "seeds", *_OF_TABLES}
        for key in values:
            if key not in own and key not in SETTINGS:
                raise ValueError(unknown("key", key, [*own, *SETTINGS], "options of a strategy stand in options = {}"))
        settings = {key: values.pop(key) for key in SETTINGS if key in values}
        return {**values, "settings": settings}

    @model_validator(mode="after")
    def _goes_together(self) -> "RunEntry":
        if sum(one is not None for one in (self.finetune, self.baseline, self.pretrain)) != 1:
            raise ValueError('say what is fitted: finetune = "STRATEGY" or baseline = "NAME"')
        if self.finetune is not None and self.start is None:
            raise ValueError('say what the fine-tuning starts from: from = "RUN", or from = "none" for the backbone')
        if self.finetune is None and (self.start, self.head, self.head_options) != (None, None, {}):
            what = "pre-training" if self.baseline is None else "baseline"
            raise ValueError(f"a {what} has no from, no head and no head_options; drop them")
        for axis, values in self.axes():
            if not values:
                raise ValueError(f"{axis} is an empty list; give a value, or drop it")
            if any(isinstance(value, dict | list) for value in values):
                raise ValueError(f"{axis} takes a value or a list of values")
        return self

    @property
    def called(self) -> str:
        """Its name, or what it fits."""
        return self.name or str(self.finetune or self.baseline or self.pretrain)

    @property
    def parts(self) -> list[str]:
        """The parts that it names."""
        return [
            str(value).removeprefix(OF_PART)
            for axis, values in self.axes()
            for value in values
            if _may_name_a_part(axis) and is_part(value)
        ]

    def axes(self) -> list[tuple[str, list[Any]]]:
        """Everything that may be a list, with its values."""
        single = {"from": self.start, "head": self.head, **self.settings}
        found = [(key, value) for key, value in single.items() if value is not None]
        for table in _OF_TABLES:
            found += [(f"{table}.{key}", value) for key, value in getattr(self, table).items()]
        return [(key, value if isinstance(value, list) else [value]) for key, value in found]


class SweepFile(Closed):
    """What a sweep is.

    Attributes:
        data: Data set, by name.
        seeds: Of every run that draws anything at random.
        metric: What chooses, on validation, over items with seen ones dropped (`log_prob`: titles).
        limit: A sample of so many validation targets; None takes all. test_limit: The same of the test targets.
        protocol: Another way to count the test targets, beside the right one.
        reference: Name whose chosen run the others are compared with; default: the first.
        part: What is fitted first, for the others. run: What competes.
    """

    data: str
    seeds: tuple[int, ...] = (0,)
    metric: str = "ndcg@20"
    limit: int | None = Field(None, ge=1)
    test_limit: int | None = Field(None, ge=1)
    protocol: Protocol | None = None
    reference: str | None = None
    part: tuple[RunEntry, ...] = ()
    run: tuple[RunEntry, ...] = ()

    @field_validator("metric")
    @classmethod
    def _is_a_metric(cls, value: str) -> str:
        try:
            check_metric(value)
        except UsageError as error:
            raise ValueError(str(error).partition(": ")[2]) from error
        return value

    @model_validator(mode="after")
    def _knows_its_names(self) -> "SweepFile":
        if not self.run:
            raise ValueError("a sweep has runs: [[run]]")
        for seeds in (self.seeds, *(one.seeds for one in (*self.part, *self.run) if one.seeds is not None)):
            try:
                check_seeds(seeds)
            except UsageError as error:
                raise ValueError(str(error)) from error
        if self.reference is not None and self.reference not in self.names:
            raise ValueError(unknown("name", self.reference, self.names, "reference is the name of a run"))
        return self

    @model_validator(mode="after")
    def _knows_its_parts(self) -> "SweepFile":
        known: list[str] = []
        for entry in self.part:
            if entry.called in known:
                raise ValueError(f"two parts are called {entry.called!r}; give each a name of its own")
            several = [axis for axis, values in entry.axes() if len(values) > 1]
            if several:
                raise ValueError(f"part {entry.called!r}: {several[0]} is a list; a part is one setting, so name each")
            _refuse_unknown(entry, known)
            known.append(entry.called)
        used = set()
        for entry in self.run:
            if entry.pretrain is not None:
                raise ValueError("a pre-training ranks nothing that could be chosen; make it a [[part]]")
            _refuse_unknown(entry, known)
        for entry in (*self.part, *self.run):
            used |= set(entry.parts)
        for name in known:
            if name not in used:
                raise ValueError(f'nothing uses part {name!r}; name it in a run, as in from = "@{name}", or drop it')
        return self

    @property
    def names(self) -> list[str]:
        """Names that compete, in order, the reference first."""
        found = list(dict.fromkeys(entry.called for entry in self.run))
        return sorted(found, key=lambda name: name != self.reference)

    @property
    def ks(self) -> tuple[int, ...]:
        """Cut-offs of its evaluations."""
        own = self.metric.partition("@")[2]
        return tuple(sorted({10, 20} | ({int(own)} if own else set())))


@dataclass(frozen=True, slots=True)
class Line:
    """One setting of a sweep, to be fitted once for each seed.

    Attributes:
        name: Under which it competes.
        varied: What is its own among the lines of its entry.
        seeds: That the file says.
    """

    name: str
    varied: dict[str, Any]
    asked: Asked
    seeds: tuple[int, ...]

    @property
    def shown(self) -> str:
        """Its name and what is its own: "pft-s L=5 epochs=2"."""
        own = [f"{key.rpartition('.')[2]}={value}" for key, value in self.varied.items()]
        return " ".join([self.name, *own])

    @property
    def parts(self) -> list[str]:
        """The parts that it needs."""
        values = [self.asked.start, *(self.asked.options or {}).values(), *(self.asked.head_options or {}).values()]
        return [str(value).removeprefix(OF_PART) for value in values if is_part(value)]


def is_part(value: object) -> bool:
    """Whether a value names a part of the sweep: "@stage-1"."""
    return isinstance(value, str) and value.startswith(OF_PART)


def _may_name_a_part(axis: str) -> bool:
    return axis == "from" or axis.partition(".")[0] in _OF_TABLES


def _refuse_unknown(entry: RunEntry, known: Sequence[str]) -> None:
    """Refuse names of parts that are not there, or come later."""
    for name in entry.parts:
        if name not in known:
            raise ValueError(f"{entry.called}: {unknown('part', name, known, 'a [[part]] stands before what uses it')}")


def read_sweep(path: Path) -> SweepFile:
    """Read the file of a sweep.

    Raises:
        InputError: It is missing, no TOML, or says what no sweep can.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise InputError(f"no file {str(path)!r}; check the path") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{str(path)!r} is no sweep ({error}); see docs/sweeps.md for one") from error
    try:
        return SweepFile.model_validate({key.replace("-", "_"): value for key, value in values.items()})
    except ValidationError as error:
        raise InputError(f"{str(path)!r}: {_said(error)}") from error


def lines_of(sweep: SweepFile) -> list[Line]:
    """Every setting, in the order of the file; the last list of an entry varies fastest.

    Raises:
        InputError: There are too many.
    """
    lines = []
    for entry in sweep.run:
        axes = entry.axes()
        several = [key for key, values in axes if len(values) > 1]
        for chosen in _settings(axes):
            varied = {key: chosen[key] for key in several}
            lines.append(Line(entry.called, varied, _asked(sweep.data, entry, chosen), entry.seeds or sweep.seeds))
            if len(lines) > MOST_LINES:
                raise InputError(f"this sweep has more than {MOST_LINES:,} lines; take values out of its lists")
    return lines


def parts_of(sweep: SweepFile, lines: Sequence[Line]) -> dict[str, Line]:
    """What is fitted first, by name, in the order of the file.

    Args:
        lines: Of the runs (`lines_of`); a part has their seeds unless it says its own.
    """
    found: dict[str, Line] = {}
    for entry in reversed(sweep.part):
        users = [line for line in (*lines, *found.values()) if entry.called in line.parts]
        seeds = entry.seeds or tuple(dict.fromkeys(seed for line in users for seed in line.seeds))
        (chosen,) = _settings(entry.axes())
        found[entry.called] = Line(entry.called, {}, _asked(sweep.data, entry, chosen), seeds)
    return dict(reversed(found.items()))


def _settings(axes: list[tuple[str, list[Any]]]) -> Iterator[dict[str, Any]]:
    keys = [key for key, _ in axes]
    for values in product(*(values for _, values in axes)):
        yield dict(zip(keys, values, strict=True))


def _asked(data: str, entry: RunEntry, chosen: Mapping[str, Any]) -> Asked:
    """What the command of a line is asked for."""
    tables: dict[str, dict[str, Any]] = {table: {} for table in _OF_TABLES}
    plain = {}
    for key, value in chosen.items():
        table, dot, option = key.partition(".")
        if dot:
            tables[table][option] = value
        else:
            plain[key] = value
    start, head = plain.pop("from", None), plain.pop("head", None)
    settings = cast(RunSettings, {"data": data, **plain})
    if entry.baseline is not None:
        return Asked(command="baseline", name=entry.baseline, options=tables["options"], settings=settings)
    if entry.pretrain is not None:
        return Asked(command="pretrain", options=tables["options"], settings=settings)
    return Asked(
        command="finetune",
        strategy=entry.finetune,
        options=tables["options"],
        head=head,
        head_options=tables["head_options"],
        start=start,
        settings=settings,
    )


def _said(error: ValidationError) -> str:
    """All faults of a file in one line, each with its place."""
    parts = []
    for fault in error.errors():
        where = " ".join(str(part + 1 if isinstance(part, int) else part) for part in fault["loc"])
        message = fault["msg"].removeprefix("Value error, ").replace("valid tuple", "list")
        if fault["type"] == "extra_forbidden":
            message = unknown("key", str(fault["loc"][-1]), SweepFile.model_fields)
            where = ""
        elif fault["type"] == "missing":
            message = "is required"
        elif not isinstance(fault["input"], dict | list | tuple):
            where += f" = {fault['input']!r}"
        parts.append(f"{where}: {message[:1].lower()}{message[1:]}" if where else message)
    return "; ".join(parts)

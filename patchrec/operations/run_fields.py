"""What can be asked of a run in one line: its fields and settings by name, conditions on them, how runs differ."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from patchrec.store.runs import Run

TEXTS = (
    "name", "run", "status", "stage", "kind", "strategy", "label", "data", "backbone", "parent", "score", "created",
    "finished", "note", "tags", "error",
)  # fmt: skip
"""Fields that are text, whatever they look like."""
_NOT_SETTINGS = frozenset({"name", "run", "status", "label", "data", "created", "finished", "note", "tags", "error"})


def fields_of(run: Run) -> dict[str, Any]:
    """Every field of a run, then its settings under the part of the configuration that they are in: `history.K`."""
    config = run.config
    strategy = config.strategies[-1] if config.strategies else None
    own = {
        "name": run.name,
        "run": run.name,
        "status": run.status,
        "stage": run.stage,
        "kind": run.kind,
        "strategy": strategy.name if strategy else None,
        "label": run.label,
        "data": run.dataset,
        "backbone": run.backbone,
        "parent": run.parent,
        "seed": run.seed,
        "layers": config.layers,
        "score": run.score,
        "created": run.created_at,
        "finished": run.finished_at,
        "note": run.note,
        "tags": " ".join(run.tags),
        "error": run.error,
    }
    parts = {
        "strategy": strategy.options if strategy else {},
        "kind": config.kind.options,
        "history": config.history.model_dump(mode="json"),
        "prompt": config.prompt.model_dump(mode="json") if config.prompt else {},
        "training": config.training.model_dump(mode="json") if config.training else {},
        "part": {part.run: part.weight for part in config.parts},
    }
    return own | {f"{part}.{key}": value for part, values in parts.items() for key, value in values.items()}


def short_names(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Field -> what it is called: its last word where no other field is called so, else all of it."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    called: dict[str, int] = {}
    for key in keys:
        word = _last(key).casefold()
        called[word] = called.get(word, 0) + 1
    return {key: _last(key) if called[_last(key).casefold()] == 1 else key for key in keys}


def with_short_names(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows with every field under its short name, too."""
    short = short_names(rows)
    return [dict(row) | {short[key]: value for key, value in row.items()} for row in rows]


def chosen(runs: Sequence[Run], where: str | None = None, tags: Sequence[str] = ()) -> list[Run]:
    """Runs that have all of these tags, and that a condition on their fields and settings holds for.

    Raises:
        UsageError: It is no condition over these.
    """
    tagged = [run for run in runs if set(tags) <= set(run.tags)]
    if where is None:
        return tagged
    from patchrec.data.conditions import Asked, holding

    rows = with_short_names([fields_of(run) for run in runs])  # of all, so that a column does not hang on the tags
    mask = holding(where, rows, columns_of(rows), TEXTS, Asked("--where", "a run"))
    fitting = {run.name for run, fits in zip(runs, mask.tolist(), strict=True) if fits}
    return [run for run in tagged if run.name in fitting]


def columns_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of all fields of some rows: the fields of runs first, then short names, then those with their part."""
    keys = list(dict.fromkeys(key for row in rows for key in row)) or list(TEXTS)
    return sorted(keys, key=lambda key: (key not in TEXTS, "." in key))


def differing(runs: Sequence[Run], groups: Collection[str] = ()) -> list[dict[str, Any]]:
    """For each run the settings, by their short names, that are not the same in all runs that have them.

    Args:
        runs: Which.
        groups: Names of those that stand for all seeds of their group.
    """
    rows = [
        {key: value for key, value in fields_of(run).items() if key not in _NOT_SETTINGS}
        for run in runs
    ]  # fmt: skip
    for run, row in zip(runs, rows, strict=True):
        if run.name in groups:
            del row["seed"]
            row["parent"] = run.parent and run.parent.removesuffix(f"-s{run.seed}")  # each started from one of its seed
    short = short_names([fields_of(run) for run in runs])
    values: dict[str, set[str]] = {}
    for row in rows:
        for key, value in row.items():
            values.setdefault(key, set()).add(repr(value))
    return [{short[key]: value for key, value in row.items() if len(values[key]) > 1} for row in rows]


def _last(key: str) -> str:
    return key.rpartition(".")[2] if not key.startswith("part.") else key

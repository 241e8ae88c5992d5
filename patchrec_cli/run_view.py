"""One run as people read it: all its fields, or a few of them drawn again and again while it trains."""

import json
import time
from contextlib import suppress
from math import isfinite
from pathlib import Path
from typing import Any

from patchrec.errors import flag_of
from patchrec_cli.display import Column, clean, print_table
from patchrec_cli.evaluate import COUNTED, compute_of, metric_rows
from patchrec_cli.numbers import count, duration, gigabytes, moment, several, sparkline, value

WATCH_SECONDS = 2.0
WATCHED = ("run", "strategy", "steps", "speed", "time left", "loss", "curve", "validation", "validation curve")


def watch_run(name: str, home: Path | None) -> None:
    """Redraw how far a run is until it ends, or until Ctrl-C."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from patchrec.operations import runs

    with (
        Live(console=Console(highlight=False, markup=False), auto_refresh=False, transient=True) as live,
        suppress(KeyboardInterrupt),
    ):
        while (shown := runs.show_run(name, home=home))["status"] == "running":
            fields = {key: text for key, text in run_fields(shown).items() if key in WATCHED and text is not None}
            width = max(map(len, fields))
            live.update(Text("\n".join(f"{key:{width}}  {clean(text)}" for key, text in fields.items())), refresh=True)
            time.sleep(WATCH_SECONDS)


def run_fields(shown: dict[str, Any]) -> dict[str, object]:
    """The fields of a run as people read them."""
    from patchrec.plugins import recommenders

    training = shown["config"].get("training") or {}
    prompt, history = shown["config"].get("prompt") or {}, shown["config"]["history"]
    losses = [row for row in shown["losses"] if row["loss"] is not None and isfinite(row["loss"])]  # counts have none
    measured, progress = shown["validations"], shown["progress"] if losses else None
    unit = "nats a target" if shown["score"] == "item" else "nats a token"
    return {
        "run": shown["name"],
        "note": shown["note"],
        "tags": " ".join(shown["tags"]) or None,
        "stage": shown["stage"],
        "kind": shown["kind"] + ("" if shown["kind"] in recommenders() else " (no plugin brings it now)"),
        "strategy": shown["label"],
        "odds": blend_odds(shown["config"]["kind"]["options"]) if shown["stage"] == "blend" else None,
        "status": shown["status"] + (f": {shown['error']}" if shown["error"] else ""),
        "fault": tuple(f"{fault['what']}; {fault['fix']}" for fault in shown["faults"]) or None,
        "data": shown["dataset"],
        "backbone": shown["backbone"],
        "parent": shown["parent"],
        "seed": shown["seed"],
        "started": moment(shown["created_at"]) + " UTC",
        "finished": moment(shown["finished_at"]) + " UTC" if shown["finished_at"] else None,
        "steps": steps_taken(progress) if progress else None,
        "speed": f"{count(progress['tokens_per_second'])} tokens/s" if progress else None,
        "time left": time_left(progress) if progress else None,
        "loss": f"{value(losses[0]['loss'])} -> {value(losses[-1]['loss'])} {unit}" if losses else None,
        "curve": sparkline([row["loss"] for row in losses]) if len(losses) > 1 else None,
        "validation": validation_ends(
            measured, training["validate_metric"] if measured[0]["metric"] is not None else unit
        )
        if measured
        else None,
        "validation curve": sparkline(measured_curve(measured)) if len(measured) > 1 else None,
        "prompt": ", ".join(f"{key} {item}" for key, item in prompt.items()),
        "history": ", ".join(f"{key} {item}" for key, item in history.items()),
        "ranks by": shown["score"],
        "training": ", ".join(f"{key} {item}" for key, item in training.items() if item is not None),
        "fingerprints": ", ".join(f"{key} {item}" for key, item in shown["fingerprints"].items()),
        "plugins": plugin_lines(shown["plugins"]),
        "versions": ", ".join(f"{key} {item}" for key, item in shown["versions"].items()),
        "checkpoints": ", ".join(f"step {row['step']}" for row in shown["checkpoints"]),
    }


def blend_odds(options: dict[str, Any]) -> str | None:
    """What a blend has beside its weights."""
    told = []
    if "repeats" in options:
        told.append(f"of what a user has had times {options['repeats']:.3g}")
    if options.get("speaker"):
        heat = f", at temperature {options['new_temperature']:.3g}" if "new_temperature" in options else ""
        told.append(
            f"of new items, of which {options['speaker']} speaks, times {options.get('new_items', 1):.3g}{heat}"
        )
    if "temperature" in options:
        told.append(f"of all that is mixed at temperature {options['temperature']:.3g}")
    return "; ".join(told) or None


def plugin_lines(found: list[dict[str, Any]]) -> tuple[str, ...] | None:
    """A line for each plugin of a run that is no built-in one, and for whatever is wrong with one."""
    return (
        tuple(
            row["fault"] or " ".join(filter(None, (row["name"], "of", row["package"] or "no package", row["version"])))
            for row in found
        )
        or None
    )


def steps_taken(progress: dict[str, Any]) -> str:
    """Steps taken of how many: "1,200 of 4,000 (30 %)"."""
    step, total = progress["step"], progress["num_steps"]
    return count(step) if not total else f"{count(step)} of {count(total)} ({100 * step // total} %)"


def time_left(progress: dict[str, Any]) -> str | None:
    """Time to the last step of a running run."""
    left = progress["seconds_left"]
    return None if left is None else f"about {duration(left)}"


def validation_ends(measured: list[dict[str, Any]], unit: str) -> str:
    """First, last and best loss on the validation targets, or the best of the ranking metric that chooses."""
    if measured[0]["metric"] is not None:
        best = max(measured, key=lambda row: row["metric"])
        ends = f"{value(measured[0]['metric'])} -> {value(measured[-1]['metric'])} {unit}"
        return f"{ends}, best {value(best['metric'])} after step {count(best['step'])}"
    best = min(measured, key=lambda row: row["loss"])
    ends = f"{value(measured[0]['loss'])} -> {value(measured[-1]['loss'])} {unit}"
    return f"{ends}, best {value(best['loss'])} after step {count(best['step'])}"


def measured_curve(measured: list[dict[str, Any]]) -> list[float]:
    """What the validation targets were measured by, step after step."""
    return [row["loss"] if row["metric"] is None else row["metric"] for row in measured]


def newest_of_each(evaluations: list[dict[str, Any]]) -> list[tuple[dict[str, Any], int]]:
    """The newest evaluation of each kind, and how many are like it."""
    newest: dict[str, tuple[dict[str, Any], int]] = {}
    for evaluation in evaluations:
        asked = json.dumps([evaluation[key] for key in ("split", "score", "num_targets", "catalog", "config")])
        before = newest.pop(asked, (None, 0))[1]
        newest[asked] = evaluation, before + 1
    return list(newest.values())


def draw_evaluations(evaluations: list[dict[str, Any]]) -> None:
    """Print the newest evaluation of each kind, when it was and its metrics; of equal ones only how many there are."""
    for evaluation, times in newest_of_each(evaluations):
        users = f"{several(evaluation['num_targets'], 'targets')} of {several(evaluation['num_users'], 'users')}"
        config = evaluation["config"]
        chosen = [(flag_of(key), config.get(key)) for key in ("limit", "users_with", "exact_to", "top")]
        parts = [
            f"{moment(evaluation['created_at'])} UTC",
            f"{evaluation['split']}, score {evaluation['score']}, {users}",
            *(f"{flag} {given}" for flag, given in chosen if given is not None),
            *(f"--by {field}" for field in config.get("by", ())),
            *([f"the newest of {times} like it"] if times > 1 else []),
        ]
        columns = [Column("metric", "name"), Column("value [95 % interval]", "value", right=True)]
        print_table(columns, evaluation_rows(evaluation), title=f"\n{'; '.join(parts)}")


def draw_protocols(evaluations: list[dict[str, Any]]) -> None:
    """Print the newest evaluation of each kind that counts in another way, marked as such."""
    for evaluation, _ in newest_of_each(evaluations):
        targets = f"{several(evaluation['num_targets'], 'targets')} ({evaluation['split']})"
        limit = evaluation["config"].get("limit")
        what = COUNTED[evaluation["config"]["protocol"]]
        title = f"not to be compared: {what}\n{targets}" + (f", --limit {limit}" if limit is not None else "")
        rows = metric_rows(evaluation["metrics"])
        seen = [name for name in ("dropped", "kept") if any(name in row for row in rows)]
        columns = [Column("metric", "name"), Column("over", "level")]
        columns += [Column(f"seen items {name}", name, right=True) for name in seen]
        print_table(columns, rows, title=f"\n{title}")


def draw_costs(evaluations: list[dict[str, Any]]) -> None:
    """Print what a target of the newest evaluation of each kind cost; nothing of one that measured nothing."""
    rows = [cost_cells(evaluation) for evaluation, _ in newest_of_each(evaluations)]
    columns = [
        Column("split", "split"),
        Column("prompt tokens", "prompt", right=True),
        Column("catalog tokens", "catalog", right=True),
        Column("compute", "compute", right=True),
        Column("time", "time", right=True),
        Column("peak memory", "memory", right=True),
    ]
    known = [row for row in rows if any(row[column.key] is not None for column in columns[1:])]
    if known:
        print_table(columns, known, title="\nwhat a target cost, in the order above")


def cost_cells(evaluation: dict[str, Any]) -> dict[str, object]:
    """What a target of an evaluation cost; what an older one did not measure is not there."""
    cost = evaluation["cost"]
    total, prompt, catalog = (cost.get(f"{part}tokens_per_target") for part in ("", "prompt_", "catalog_"))
    if catalog is None and total is not None and prompt is not None:  # an older one stored these two
        catalog = total - prompt
    memory, seconds = cost.get("peak_memory_bytes"), cost.get("seconds_per_target")
    return {
        "split": evaluation["split"],
        "prompt": None if prompt is None else f"{prompt:,.1f}",
        "catalog": None if catalog is None else f"{catalog:,.1f}",
        "compute": compute_of(cost),
        "time": None if seconds is None else duration(seconds),
        "memory": None if memory is None else gigabytes(memory),
    }


def evaluation_rows(evaluation: dict[str, Any]) -> list[dict[str, object]]:
    """One row for each metric in its default view: items with seen ones dropped; titles for the log-probability."""
    return [
        {"name": row["name"], "value": value(row["value"], row["low"], row["high"])}
        for row in evaluation["metrics"]
        if row["slice"] == "all" and ((row["level"], row["seen"]) == ("item", "dropped") or row["name"] == "log_prob")
    ]

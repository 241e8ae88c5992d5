"""Several seeds on the command line: how they are given, and how a group of them is shown."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from patchrec.errors import UsageError
from patchrec_cli.display import Column, Output, plain, print_fields, print_table
from patchrec_cli.numbers import count, duration, value

if TYPE_CHECKING:
    from patchrec.store.marks import Marks

Seeds = Annotated[
    str | None,
    typer.Option(
        "--seeds",
        metavar="N,N",
        help="Make a run for each of these seeds, such as 0,1,2 or 0-4, as one group; with --resume GROUP: in it.",
    ),
]


def read_seeds(text: str) -> list[int]:
    """Read "0,1,2" or "0-4" as seeds.

    Raises:
        UsageError: It is no list of whole numbers.
    """
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,10})\s*(?:-\s*(\d{1,10})\s*)?", part)
        if match is None:
            raise UsageError(
                f"--seeds takes whole numbers with commas between them, such as 0,1,2 or 0-4; got {text!r}"
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if not 0 <= last - first < 1000:
            raise UsageError(f"--seeds {part.strip()}: the range goes up, and has at most 1,000 seeds")
        found += range(first, last + 1)
    return found


def shown_seeds(seeds: Sequence[int]) -> str:
    """Seeds as they can be typed: "0,1,2", "0-9"."""
    parts: list[list[int]] = []
    for seed in seeds:
        if parts and seed == parts[-1][-1] + 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ",".join(f"{part[0]}-{part[-1]}" if len(part) > 3 else ",".join(map(str, part)) for part in parts)


def fit_group(
    command: str,
    seeds: str | None,
    resume: str | None,
    force: bool,
    home: Any,
    output: Output,
    marks: "Marks",
    **asked: Any,
) -> bool:
    """Fit a group where `--seeds` or `--resume GROUP` asks for one.

    Args:
        command: That was given: `pretrain`, `finetune` or `baseline`.
        marks: Name of the group, note and tags of its runs.
        asked: As `Asked` has it.

    Returns:
        Whether it did; else one run is wanted.

    Raises:
        UsageError: Options that do not go together.
    """
    from patchrec.operations.seed_groups import is_group

    alone = os.environ.get("WORLD_SIZE", "1") == "1"  # of several processes one alone reads the store, later
    if seeds is None and (resume is None or not alone or not is_group(resume, home=home)):
        return False
    from patchrec.operations.load import plain_options
    from patchrec.operations.training import seeds as operations
    from patchrec.operations.training.asked import Asked
    from patchrec.operations.training.train import refuse_beside_resume

    operations.refuse_several_processes()
    settings = {name: found for name, found in asked.pop("settings").items() if found is not None}
    if resume is not None:
        values = [asked.pop(key, None) for key in ("options", "head_options")]
        beside = {"strategy": asked.get("strategy"), "head": asked.get("head"), "from": asked.get("start")}
        refuse_beside_resume(
            {
                **beside,
                **marks.given,
                **settings,
                **plain_options(values[0]),
                **plain_options(values[1]),
            }
        )
        name = f"{command} {asked['name']}" if asked.get("name") else command
        more = () if seeds is None else read_seeds(seeds)
        found = operations.resume_seeds(resume, name, more, force=force, home=home, report=output.reporter)
    else:
        if force:
            raise UsageError("--force goes with --resume: it resumes in spite of what changed; drop it")
        if "seed" in settings:
            raise UsageError("--seed and --seeds both say what is drawn; give one")
        given = Asked(command=command, settings=settings, **asked)  # type: ignore[arg-type]
        found = operations.fit_seeds(given, read_seeds(str(seeds)), marks=marks, home=home, report=output.reporter)
    show_group_of_runs(plain(found), output)
    return True


def show_group_of_runs(result: dict[str, Any], output: Output) -> None:
    """Print what the runs of a group came to, and how to go on."""
    if not output.emit(result, [run["run"] for run in result["runs"]]):
        print_fields(
            {
                "group": result["group"],
                "label": result["label"],
                "done": f"{count(len(result['runs']))} of {count(len(result['seeds']))} seeds",
            }
        )
        rows = [fitted_row(run) for run in result["runs"]]
        columns = [
            Column("run", "run"),
            Column("seed", "seed", right=True),
            Column("steps", "steps", right=True),
            Column("loss", "loss", right=True),
            Column("validation", "validation", right=True),
            Column("time", "time", right=True),
        ]
        kept = [column for column in columns if any(row[column.key] is not None for row in rows)]
        print_table(kept, rows, title=" ")
    if result["stage"] == "pretrain":
        start = f"--from {result['group']} --seeds {shown_seeds(result['seeds'])} --data {result['dataset']}"
        output.next_step(f"patchrec finetune --strategy pft-s --L 5 {start}")
    else:
        output.next_step(f"patchrec eval {result['group']}")


def fitted_row(run: dict[str, Any]) -> dict[str, object]:
    """What the run of a seed came to; its name ends in the seed, whatever the group is called now."""
    metric = run["validation_metric"] if run["validation_metric"] is not None else run["validation_loss"]
    return {
        "run": run["run"],
        "seed": run["run"].rpartition("-s")[2],
        "steps": count(run["steps"]),
        "loss": None if run["loss"] is None else value(run["loss"]),
        "validation": None if metric is None else value(metric),
        "time": duration(run["seconds"]),
    }


def folded(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a listing, with the runs of a group as one row where the newest of them stood."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["group"] or row["name"], []).append(row)
    return [
        members[0] | {"seeds": str(members[0]["seed"])}
        if members[0]["group"] is None
        else members[-1]
        | {
            "name": name,
            "seeds": shown_seeds([row["seed"] for row in reversed(members)]),
            "status": shown_statuses([row["status"] for row in members]),
            "tags": sorted({tag for row in members for tag in row["tags"]}),
        }
        for name, members in groups.items()
    ]


def shown_statuses(statuses: Sequence[str]) -> str:
    """States of the runs of a group: "done", or "2 done, 1 running"."""
    counted = Counter(statuses)
    if len(counted) == 1:
        return statuses[0]
    return ", ".join(f"{number} {status}" for status, number in counted.most_common())


def seed_cell(row: dict[str, Any]) -> tuple[str, ...]:
    """A metric in a narrow cell: its value, the deviation over seeds and the interval, each on a line."""
    spread = [] if row.get("sd") is None else [f"± {row['sd']:.3f}"]
    first, *interval = value(row["value"], row["low"], row["high"]).split(" ", 1)
    return first, *spread, *interval


def run_cell(row: dict[str, Any]) -> object:
    """The name of a row of a comparison, and under that of a group its seeds."""
    return row["run"] if row["group"] is None else (row["run"], f"seeds {shown_seeds(row['seeds'])}")


def show_group(shown: dict[str, Any], output: Output) -> None:
    """Print what is kept of a group: its runs, and its evaluations as means over seeds."""
    first = shown["runs"][0]
    print_fields(
        {
            "group": shown["name"],
            "strategy": first["label"],
            "data": first["dataset"],
            "backbone": first["backbone"],
            "seeds": shown_seeds([run["seed"] for run in shown["runs"]]),
            "note": " / ".join(dict.fromkeys(run["note"] for run in shown["runs"] if run["note"])) or None,
            "tags": " ".join(sorted({tag for run in shown["runs"] for tag in run["tags"]})) or None,
        }
    )
    columns = [Column("run", "name"), Column("seed", "seed", right=True), Column("status", "status")]
    print_table(columns, shown["runs"], title=" ")
    for evaluation in shown["evaluations"]:
        number = f"{count(evaluation['num_targets'])} ({evaluation['split']}), seeds {shown_seeds(evaluation['seeds'])}"
        rows = [
            {"name": row["name"], "value": value(row["value"], row["low"], row["high"], row["sd"])}
            for row in evaluation["metrics"]
            if row["slice"] == "all"
            and ((row["level"], row["seen"]) == ("item", "dropped") or row["name"] == "log_prob")
        ]
        columns = [Column("metric", "name"), Column("mean ± deviation over seeds [95 % interval]", "value", right=True)]
        print_table(columns, rows, title=f"\ntargets: {number}")
    if any(run["status"] not in ("done", "running") for run in shown["runs"]):
        output.next_step(f"patchrec {first['command']} --resume {shown['name']}")
    elif not shown["evaluations"]:
        output.next_step(f"patchrec eval {shown['name']}")

"""Writes `docs/cli.md` from the commands themselves: `python -m patchrec_cli.reference [--check]`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from patchrec import errors, plugins
from patchrec_cli.app import app
from patchrec_cli.display import SCHEMA, print_error, print_note

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
WIDTH = 80

PREFACE = f"""\
# Commands

This page is generated from the commands (`make docs`); `make check` fails when it is stale.

Results go to stdout, everything else (notes, progress, what a default picked, the next command) to stderr. Every
listing and result takes

- `--json`: one JSON document with stable keys and `"schema": {SCHEMA}`, ASCII only, so that no byte of your data can
  steer a terminal. The number changes when a key changes its meaning or goes; new keys may come.
- `-q`: only the essential, one a line (names, item ids, spans), and no notes.

Keys beside `schema`:

{{JSON_KEYS}}

With `--dry-run`, `data add` prints `plan` instead (`name`, `command`, `recipe`, `tables`, `num_rows`, `times`,
`rejected`, `notices`, `fault` and so on).

With `--seeds` (and `--resume GROUP`), `pretrain`, `finetune` and `baseline` print `group`, `label`, `stage`, `kind`,
`dataset`, `seeds`, `runs` (of each what one run prints) and `elsewhere` (runs that another process is at). `eval GROUP`
adds `seeds` and `evaluations` (of each run its own); its metrics have `sd`, the deviation over seeds. `runs show GROUP`
prints `group` (`name`, `runs`, `evaluations`).

`data export` prints a JSON document a line, with or without `--json`, and no `schema`: `user_id`, `item_id`,
`timestamp` (unix seconds, null without times), `position` (of the target in the user's whole sequence, from 0) and
`history` (item ids, oldest first, newest K). With `--output` it writes files and prints `dataset`, `format`, `folder`,
`files` and `rows` (of each file).

`recommend` with `--all` or `--users` writes a file of its own (see [recommending.md](recommending.md)) and prints of it
`run`, `label`, `dataset`, `score`, `k`, `output`, `format`, `users`, `rows`, `short` (users with fewer than `k` items),
`shortfall` (why, or null), `parts`, `parts_found` (done before), `seconds`, `users_per_second` and `unknown_users`
(that the data set does not have). With `--output -` stdout has the rows and nothing else, with `--json` and `-q` too.

Colours follow `NO_COLOR`. Tables fit 80 columns when they are not on a terminal; long cells wrap, nothing is cut.
`runs ls` prints one line a run there.

{{SETTINGS}}

| variable | meaning |
| --- | --- |
| `PATCHREC_HOME` | folder of the store; a `./.patchrec` folder is taken where the variable is not set |
| `PATCHREC_LOG_FILE` | the same as `--log-file` |
| `PATCHREC_PLUGINS` | names of the plugins to load, with commas; empty: only what is built in |
| `PATCHREC_DEBUG` | set to show the traceback of an error |
| `PATCHREC_PEER_TIMEOUT` | seconds that one of several training processes waits for another; default: 600 |
| `NO_COLOR` | set to have no colours |

An error is one line on stderr that begins with `error:` and names the thing, the choices and the next step.

| exit code | meaning |
| --- | --- |
| 0 | all went well |
"""


SETTINGS = """\
What is not on the command line comes from the first of these that has it: a variable, `--config FILE`, `patchrec.toml`
in the folder, your own file (`~/.config/patchrec/config.toml` on Linux), and the default. `patchrec config show
--origin` shows which. A file has a table for each command, with its options that take a value (no switches, no
`--resume`), and `home` and `log_file` at its top; a path there is below the file's folder. Options of a strategy, a
head or a baseline have a table below that of the command that names it, and count where it is the one. The variable of
an option names command and option: `PATCHREC_FINETUNE_BATCH_SIZE`, `PATCHREC_RUNS_LS_LIMIT`,
`PATCHREC_FINETUNE_PFT_S_L`. A run that goes on (`--resume`) has its own settings.

```toml
home = "store"

[finetune]
backbone = "smollm2-135m"
batch_size = 64

[finetune.pft-s]
L = 10

[runs.ls]
limit = 20
```

`patchrec --install-completion` makes Tab complete commands, options, runs, data sets, strategies, baselines and
backbones (bash, zsh, fish, PowerShell); `--show-completion` prints the script."""

FITTED = (
    "run", "label", "stage", "kind", "dataset", "steps", "targets", "tokens", "loss", "seconds", "folder", "best_step",
    "validation_loss", "validation_metric",
)  # fmt: skip
JSON_KEYS = {
    "demo": ("finetuned", "best", "comparison", "recommendations", "seconds"),
    "data add": ("dataset",),
    "data ls": ("datasets",),
    "data show": ("dataset", "findings"),
    "data use": ("current",),
    "data rm": ("removed",),
    "data append": ("dataset", "version", "appended", "accounts", "rejected", "ranking"),
    "data users": ("dataset", "num_users", "num_matching", "users"),
    "data items add": ("dataset", "items", "num_items", "rejected"),
    "data items ls": ("dataset", "num_items", "items"),
    "data export": ("user_id", "item_id", "timestamp", "position", "history"),
    "pretrain": FITTED,
    "finetune": FITTED,
    "baseline": FITTED,
    "sweep": (
        "dataset", "metric", "num_runs", "to_fit", "to_evaluate", "lines", "parts", "chosen", "test_read", "comparison",
    ),
    "blend": (
        "run", "label", "dataset", "metric", "num_targets", "num_users", "parts", "together", "reference", "difference",
        "repeats", "repeated", "speaker", "new_items", "new", "temperature",
        "new_temperature",
    ),
    "eval": (
        "run", "label", "dataset", "split", "score", "num_targets", "num_users", "metrics", "cost", "exact_to",
        "protocol", "counted",
    ),
    "recommend": (
        "run", "label", "dataset", "user", "score", "history", "history_length", "ranking", "shortfall", "certificate",
        "source", "explanation",
    ),
    "serve": ("run", "label", "dataset", "address", "runs"),
    "runs ls": ("runs",),
    "runs show": ("run",),
    "runs export": ("tracked",),
    "runs plot": ("picture", "file", "charts"),
    "runs report": (
        "file", "bytes", "dataset", "licence", "split", "metric", "reference", "runs", "users",
    ),
    "runs compare": (
        "dataset", "split", "num_targets", "num_users", "metrics", "metric", "reference", "reference_picked",
        "comparisons", "num_runs", "rows", "failed", "notes",
    ),
    "runs choose-score": (
        "run", "label", "dataset", "chosen", "item_weight", "before", "metric", "num_targets", "num_users", "results",
        "reference", "alternative", "difference",
    ),
    "runs query": ("columns", "rows", "more"),
    "runs edit": ("run",),
    "runs rm": ("removed", "runs"),
    "runs restore": ("restored",),
    "runs gc": ("deleted", "trash", "size"),
    "strategies ls": ("strategies", "problems"),
    "strategies show": ("strategy",),
    "strategies preview": (
        "strategy", "options", "label", "user", "history", "start", "num_units", "spans",
        "backbone", "prompt", "positions", "text",
    ),
    "backbones ls": ("backbones",),
    "backbones pull": ("backbone",),
    "backbones make": ("backbone",),
    "backbones rm": ("removed", "backbones"),
    "export": ("run", "folder", "files", "pushed"),
    "config show": ("settings", "files"),
    "env": ("environment",),
    "doctor": ("ok", "checks"),
}  # fmt: skip


def json_keys() -> str:
    """A table row for each command with the keys of its JSON."""
    rows = [f"| `{name}` | {', '.join(f'`{key}`' for key in keys)} |" for name, keys in JSON_KEYS.items()]
    return "\n".join(["| command | keys |", "| --- | --- |", *rows])


def contexts(command: Any, name: str, parent: Any = None) -> Iterator[Any]:
    """The context of a command, then of every command in it, in the order in which help lists them."""
    context = command.make_context(name, [], parent=parent, resilient_parsing=True, terminal_width=WIDTH)
    yield context
    if hasattr(command, "commands"):
        for inner in command.list_commands(context):
            yield from contexts(command.get_command(context, inner), inner, context)


def exit_codes() -> list[str]:
    """A table row for each exit code, from the error classes."""
    kinds = sorted(errors.PatchrecError.__subclasses__(), key=lambda kind: kind.exit_code)
    rows = [f"| {kind.exit_code} | {(kind.__doc__ or '').splitlines()[0].rstrip('.').lower()} |" for kind in kinds]
    return [*rows, "| 129 | the same, on SIGHUP |", "| 143 | the same, on SIGTERM |"]


def reference() -> str:
    """The whole page. Only built-in strategies are on it, whatever is installed."""
    plugins.load(third_party=False)
    try:
        sections = [
            f"## `{context.command_path}`\n\n```text\n{context.get_help()}\n```"
            for context in contexts(get_command(app), "patchrec")
        ]
    finally:
        plugins.load()
    preface = PREFACE.replace("{JSON_KEYS}", json_keys()).replace("{SETTINGS}", SETTINGS)
    return "\n\n".join([preface + "\n".join(exit_codes()), *sections]) + "\n"


def main(arguments: list[str]) -> int:
    """Write the page, or with `--check` only say whether it is up to date."""
    page = reference()
    if "--check" in arguments:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page:
            print_error(f"{PAGE.name} is stale; run `make docs`")
            return 1
        return 0
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page, encoding="utf-8")
    print_note(f"wrote {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What an epoch costs as token forests, beside one example per row, in one run: `python -m benchmarks.training`.

    python -m benchmarks.training                             # everything, about 20 minutes on two cores
    python -m benchmarks.training --only tokens model         # some sections; these two run no model
    python -m benchmarks.training --json numbers.json         # all raw numbers too

Real steps of a data set, an untrained backbone, one process. What is compared takes turns (A, B, A, B, ...) after one
call of each; numbers are medians.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.cost_model import model
from benchmarks.learning import Bench, Settings
from benchmarks.prompts import tell
from benchmarks.sections import run
from benchmarks.tables import Section
from benchmarks.token_counts import tokens
from benchmarks.training_rate import utilisation
from benchmarks.training_speed import faithful, speed
from benchmarks.two_processes import processes
from patchrec.errors import PatchrecError
from patchrec.model.pull import DEFAULT_BACKBONE
from patchrec.store import Store

SECTIONS: dict[str, Callable[[Bench], Iterator[Section]]] = {
    "tokens": tokens,
    "speed": speed,
    "faithful": faithful,
    "utilisation": utilisation,
    "model": model,
    "processes": processes,
}
ASKED_FOR = ("processes",)  # not among those that run where none is named


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the chosen sections, print their tables, and give an exit code."""
    given = vars(_parser().parse_args(arguments))
    command = shlex.join(["python", "-m", "benchmarks.training", *(sys.argv[1:] if arguments is None else arguments)])
    values: dict[str, Any] = {field.name: _frozen(given[field.name]) for field in fields(Settings)}
    settings = Settings(**values)
    try:
        with Store.open(given["home"]) as store:
            bench = Bench.open(store, given["data"], given["backbone"], settings)
            sections = {name: partial(SECTIONS[name], bench) for name in given["only"]}
            dtype = settings.training.dtype
            run(sections, command, given["json"], backbone=bench.backbone, data=given["data"], precision=dtype)
    except PatchrecError as error:
        tell(f"error: {error}")
        return error.exit_code
    return 0


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _parser() -> argparse.ArgumentParser:
    default = Settings()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training",
        description=str(__doc__).splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    usual = [name for name in SECTIONS if name not in ASKED_FOR]
    add("--home", type=Path, help="folder of the store; None: the usual one")
    add("--data", default="ml-100k", help="data set of all sections but tokens")
    add("--backbone", default=DEFAULT_BACKBONE, help="untrained model")
    add("--only", nargs="+", choices=SECTIONS, default=usual, metavar="SECTION", help=", ".join(SECTIONS))
    add("--K", type=_positive, default=default.K, help="history length of all sections but model")
    add("--batch-size", type=_positive, default=default.batch_size, help="targets of a step")
    add("--max-nodes", type=_nodes, default=default.max_nodes, help="tokens of a pass")
    add("--dtype", choices=("float32", "bfloat16"), help="of passes; None: what the hardware is fast in")
    add("--count-data", nargs="+", default=list(default.count_data), help="data sets of the section tokens")
    add("--counted-steps", type=_positive, default=default.counted_steps, help="evenly spaced steps counted of each")
    add("--passes", type=_positive, default=default.passes, help="passes run of a step")
    add("--repeats", type=_positive, default=default.repeats, help="rounds")
    add("--micro-batch", type=_positive, default=default.micro_batch, help="rows that are padded together")
    add("--lengths", nargs="+", type=_positive, default=list(default.lengths), help="K of the section model")
    add("--users", type=_positive, default=default.users, help="its users")
    add("--picture", type=Path, metavar="FILE", help="draw it (SVG)")
    add("--seed", type=int, default=default.seed, help="which steps")
    add("--json", type=Path, metavar="FILE", help="write all raw numbers")
    return parser


def _positive(text: str, least: int = 1) -> int:
    value = int(text)
    if value < least:
        raise argparse.ArgumentTypeError(f"must be at least {least}, got {value}")
    return value


def _nodes(text: str) -> int:
    return _positive(text, 16)  # as TrainingConfig has it


if __name__ == "__main__":
    sys.exit(main())

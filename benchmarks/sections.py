"""Runs the sections of a benchmark one after another: their tables on stdout, all raw numbers in a file."""

import json
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.machine import describe
from benchmarks.prompts import tell
from benchmarks.tables import WIDTH, Section
from patchrec.model.backbone import Backbone

Measure = Callable[[], Iterator[Section]]


def run(
    sections: Mapping[str, Measure], command: str, file: Path | None, *, backbone: Backbone, data: str, precision: str
) -> None:
    """Print each table and write each section as soon as it is done.

    Args:
        sections: By name, in order.
        command: What was called, for the record.
        file: For all raw numbers; None writes none.
        backbone: What is measured. precision: What it computes in.
        data: Name of the data set.
    """
    machine = describe(backbone.device)
    _print_header(machine, command, f"{backbone.name} ({precision}) on {data}")
    done: dict[str, Any] = {}
    found = {"command": command, "machine": machine, "data": data, "sections": done}
    for name, measure in sections.items():
        tell(f"{name} ...")
        start = perf_counter()
        tables = []
        for section in measure():
            print("", *section.lines(), sep="\n", flush=True)
            tables.append(section.raw())
        took = perf_counter() - start
        tell(f"{name}: {took:,.0f} s")
        done[name] = {"seconds": took, "tables": tables}
        if file is not None:
            file.write_text(json.dumps(found, indent=1))


def _print_header(machine: dict[str, Any], command: str, what: str) -> None:
    versions = ", ".join(f"{name} {machine[name]}" for name in ("python", "torch", "transformers", "numpy"))
    print(textwrap.fill(command, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False))
    print(f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads, {machine['instructions']}")
    print(versions)
    print(what)
    print("=" * WIDTH, flush=True)

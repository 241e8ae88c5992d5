"""What it costs to read a large log, beside DuckDB's own reading of the file: `python -m benchmarks.importing`.

    python -m benchmarks.importing                       # 25 million interactions, about 3 minutes on two cores
    python -m benchmarks.importing --rows 1000000        # fewer
    python -m benchmarks.importing --json numbers.json   # all raw numbers too

A log is generated: users and items by power laws, ids with a letter in front, half-star ratings, seconds in order. Each
part runs in a process of its own, so that its peak of memory is its own; DuckDB is measured before and after ours, and
the ratio is against the mean of the two. DuckDB takes all columns as text, as patchrec must, on one core as patchrec
does; with all its cores it stands in a row of its own. Times are processor seconds, of all threads.
"""

import argparse
import json
import resource
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from time import perf_counter, process_time
from typing import Any

import numpy as np

from benchmarks.tables import Column, Section, Target

READING, MEMORY = 1 / 3, 2000.0
USERS, ITEMS = 400_000, 100_000
AT_ONCE = 500_000


def generate(folder: Path, rows: int, seed: int = 0) -> None:
    """Write `log.csv` and `items.csv`."""
    draw = np.random.default_rng(seed)
    times = 1_600_000_000 + np.sort(draw.integers(0, 100_000_000, rows))
    with (folder / "log.csv").open("w") as file:
        file.write("user_id,item_id,rating,timestamp\n")
        for start in range(0, rows, AT_ONCE):
            size = min(AT_ONCE, rows - start)
            users, items = draw.zipf(1.3, size) % USERS, draw.zipf(1.2, size) % ITEMS
            ratings = draw.integers(1, 11, size) / 2
            columns = (users.tolist(), items.tolist(), ratings.tolist(), times[start : start + size].tolist())
            lines = (f"u{user},{item},{rating},{time}\n" for user, item, rating, time in zip(*columns, strict=True))
            file.writelines(lines)
    with (folder / "items.csv").open("w") as file:
        file.write("item_id,title\n")
        file.writelines(f"{item},Title {item}\n" for item in range(ITEMS))


def duckdb_reads(folder: Path, threads: int | None) -> None:
    """DuckDB's own reading of the file, into a table in memory."""
    import duckdb

    with duckdb.connect(config={} if threads is None else {"threads": threads}) as connection:
        connection.execute("SET enable_progress_bar = false")
        log = str(folder / "log.csv")
        connection.execute("CREATE TABLE log AS SELECT * FROM read_csv(?, all_varchar = true)", [log])


def patchrec_reads(folder: Path) -> None:
    """The file as interactions: checked, numbered, with times, ratings and an account of every row."""
    from contextlib import ExitStack

    from patchrec.data.inputs import find_parts
    from patchrec.data.items_table import read_items
    from patchrec.data.lines import Rejects
    from patchrec.data.log_table import read_interactions
    from patchrec.data.readers import FORMATS
    from patchrec.data.recipe import make_recipe

    files = {"interactions": folder / "log.csv", "items": folder / "items.csv"}
    recipe = make_recipe({**files, "repeats": "keep"})
    with ExitStack() as stack:
        items = read_items(find_parts(recipe.items, FORMATS, stack), recipe, Rejects())
        logs = find_parts(recipe.interactions, FORMATS, stack)
        clock = process_time()
        read_interactions(logs, recipe, items, Rejects())
        print(json.dumps({"seconds": process_time() - clock}))


def patchrec_adds(folder: Path) -> None:
    """Everything that `patchrec data add` does, the store included."""
    from patchrec.operations.datasets import add_dataset

    files = {"interactions": folder / "log.csv", "items": folder / "items.csv"}
    add_dataset("log", **files, repeats="keep", home=folder / "home")


def patchrec_loads(folder: Path) -> None:
    """The data set from the store."""
    from patchrec.store import Store

    with Store.open(folder / "home") as store:
        store.datasets.load("log")


PARTS: dict[str, Callable[[Path], None]] = {
    "duckdb, one core": lambda folder: duckdb_reads(folder, 1),
    "patchrec, reading": patchrec_reads,
    "duckdb again": lambda folder: duckdb_reads(folder, 1),
    "duckdb, all cores": lambda folder: duckdb_reads(folder, None),
    "patchrec data add": patchrec_adds,
    "loading from the store": patchrec_loads,
}


def measured(name: str, folder: Path) -> dict[str, Any]:
    """One part in a process of its own: processor seconds, wall seconds and the peak of its memory (MB)."""
    code = "import sys; from benchmarks.importing import one; one(sys.argv[1], sys.argv[2])"
    done = subprocess.run([sys.executable, "-c", code, name, str(folder)], check=True, capture_output=True, text=True)
    numbers: dict[str, Any] = {}
    for line in done.stdout.splitlines():
        numbers = json.loads(line) | numbers  # what a part itself says of its seconds comes first
    return {"part": name, **numbers}


def one(name: str, folder: str) -> None:
    """Run a part and print its numbers."""
    clock, wall = process_time(), perf_counter()
    PARTS[name](Path(folder))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": process_time() - clock, "wall": perf_counter() - wall, "peak": peak}))


def section(rows: int, folder: Path) -> Section:
    """All parts, on a log of so many rows."""
    generate(folder, rows)
    found = [measured(name, folder) for name in PARTS]
    for row in found:
        row["rate"] = rows / row["seconds"]
    by_name = {row["part"]: row for row in found}
    own = mean([by_name["duckdb, one core"]["seconds"], by_name["duckdb again"]["seconds"]])
    size = (folder / "log.csv").stat().st_size
    columns = [
        Column("part", "part"),
        Column("CPU s", "seconds", ",.1f"),
        Column("wall s", "wall", ",.1f"),
        Column("rows/CPU s", "rate", ",.0f"),
        Column("peak MB", "peak", ",.0f"),
    ]
    targets = [
        Target("reading, of DuckDB's rate", READING, own / by_name["patchrec, reading"]["seconds"], at_most=False),
        Target("peak of data add, MB", MEMORY, by_name["patchrec data add"]["peak"]),
        Target("peak of loading, MB", MEMORY, by_name["loading from the store"]["peak"]),
    ]
    return Section(f"Import: {rows:,} interactions, {size / 1e6:,.0f} MB of CSV", columns, found, targets)


def main(arguments: Sequence[str] | None = None) -> int:
    """Generate, measure, print, and give an exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.importing",
        description=str(__doc__).splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=25_000_000, help="interactions")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all raw numbers")
    given = parser.parse_args(arguments)
    words = sys.argv[1:] if arguments is None else arguments
    print(shlex.join(["python", "-m", "benchmarks.importing", *words]))
    with tempfile.TemporaryDirectory() as folder:
        found = section(given.rows, Path(folder))
    print("", *found.lines(), sep="\n")
    if given.json is not None:
        given.json.write_text(json.dumps(found.raw(), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Sections `speed` and `faithful`: what a target costs, forests against one example per row.

In `speed` both sides are the same engine; in `faithful` the other side pads its rows and takes logits everywhere.
"""

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

import numpy as np

from benchmarks.learning import (
    FORMS,
    KINDS,
    Bench,
    Side,
    compare,
    forest_passes,
    make_side,
    row_passes,
    seconds_per_target,
    sliding,
    targets_of,
)
from benchmarks.machine import peak_growth_mb
from benchmarks.per_example import PaddedRow, PerExample
from benchmarks.prompts import tell
from benchmarks.tables import Column, Section, Target
from patchrec.plugins import plan_for

OF_SAVING = 0.8
FASTER_THAN_FAITHFUL = {"vanilla": 20.0, "PFT-S L=5": 8.0}  # instruction-first
ROWS, PADDED = "one per row", "per example"
COLUMNS = (
    Column("strategy", "kind"),
    Column("side", "side"),
    Column("tokens", "tokens", ",.1f"),
    Column("tok/s", "token_rate", ",.0f"),
    Column("targets/s", "target_rate", ",.2f"),
    Column("faster", "faster", ",.1f"),
    Column("/saving", "of_saving", ".2f"),
    Column("+MB", "peak_mb", ",.0f"),
)


def speed(bench: Bench) -> Iterator[Section]:
    """The same engine with every prompt and anchored windows, and with one example per row."""
    rows: list[dict[str, Any]] = []
    for kind, strategy in KINDS.items():
        tell(f"  {kind}")
        sides = {ROWS: make_side(bench, "paper", strategy, row_passes)[0]}
        sides |= {form: make_side(bench, form, strategy, forest_passes)[0] for form in FORMS}
        rows += _compared(bench, kind, sides, ROWS)
    bars = []
    for row in rows:
        if row["side"] != ROWS:
            bars.append(Target(f"{row['kind']}, {row['side']}: / saving", OF_SAVING, row["of_saving"], at_most=False))
            bars.append(Target(f"{row['kind']}, {row['side']}: memory", 1.0, row["memory"]))
    title = f"Speed: forests with anchored windows, and the same engine with {ROWS}"
    yield Section(title, COLUMNS, rows, bars, _notes(bench))


def faithful(bench: Bench) -> Iterator[Section]:
    """The per-example trainer against forests with every prompt."""
    rows: list[dict[str, Any]] = []
    for kind, strategy in KINDS.items():
        tell(f"  {kind}")
        sides = {PADDED: padded_side(bench, kind)}
        sides |= {form: make_side(bench, form, strategy, forest_passes)[0] for form in FORMS[1:]}
        rows += _compared(bench, kind, sides, PADDED)
    bars = [
        Target(f"{kind}, instruction-first: times faster", bound, row["faster"], at_most=False)
        for kind, bound in FASTER_THAN_FAITHFUL.items()
        for row in rows
        if (row["kind"], row["side"]) == (kind, "instruction-first")
    ]
    title = f"Speed: forests with anchored windows, and padded rows of {bench.settings.micro_batch} examples"
    note = (
        "Per example: sliding windows and the paper's prompt; inputs made item by item, rows padded to the longest of "
        "a micro-batch, logits at every position. Its tokens are without padding."
    )
    yield Section(title, COLUMNS, rows, bars, (note, *_notes(bench)))


def _compared(bench: Bench, kind: str, sides: dict[str, Side], base: str) -> Iterator[dict[str, Any]]:
    """One line for each side of a strategy, with its cost against the base."""
    # the pass that memory is measured in warms each side, too
    peaks = {name: _peak(bench, side) for name, side in sides.items()}
    times = compare(bench, sides)
    cost = seconds_per_target(bench, sides, times)
    for name, side in sides.items():
        faster = cost[base] / cost[name]
        saving = sides[base].tokens_per_target / side.tokens_per_target
        own, other = peaks[name], peaks[base]
        yield {
            "kind": kind,
            "side": name,
            "tokens": side.tokens_per_target,
            "token_rate": side.tokens_per_target * side.share / median(times[name]),
            "target_rate": 1 / cost[name],
            "faster": faster,
            "saving": saving,
            "of_saving": faster / saving,
            "peak_mb": own,
            "memory": None if own is None or other is None else own / max(other, 1e-6),
            "planning_seconds": side.planning,
            "sampled_targets": side.share,
            "seconds": times[name],
            "update_seconds": times["update"],
        }


def _peak(bench: Bench, side: Side) -> float | None:
    """The most memory of a sample with its update, above weights and moments."""
    bench.learner.optimizer.zero_grad(set_to_none=True)

    def step() -> None:
        side.run()
        bench.update()

    return peak_growth_mb(step, bench.backbone.device)


def padded_side(bench: Bench, kind: str) -> Side:
    """The per-example trainer on the targets of the step, in their order."""
    trainer = PerExample(
        bench.backbone, bench.encoders["paper"], bench.dataset, plan_for(KINDS[kind]), bench.learner.training.dtype
    )
    rows = [trainer.row(example) for example in sliding(targets_of(bench.step), bench.settings.K)]
    order = np.random.default_rng(bench.settings.seed).permutation(len(rows))
    size, passes = bench.settings.micro_batch, bench.settings.passes
    micro_batches = [[rows[place] for place in order[first : first + size]] for first in range(0, len(rows), size)]
    sample = micro_batches[:passes]
    labels = sum(len(row.answer) for row in rows)
    per_target = _mean_length(rows)
    share = sum(len(row) for batch in sample for row in batch) / per_target
    return Side(lambda: trainer.run(sample, labels), share, per_target, 0.0)


def _mean_length(rows: Sequence[PaddedRow]) -> float:
    return sum(map(len, rows)) / len(rows)


def _notes(bench: Bench) -> tuple[str, ...]:
    s, step = bench.settings, bench.step
    return (
        f"A step of {step.num_targets} targets in {bench.learner.training.dtype}. Measured are {s.passes} of its "
        f"passes (at most {s.max_nodes:,} tokens each), forward and backward, in {s.repeats} rounds. A target costs "
        "its tokens at that rate, its planning (one process, one thread, beside nothing), and its part of one update "
        "(clipping and AdamW), which is timed apart and the same for all.",
        "Tokens: per target of this step. /saving: how many times faster over how many times fewer tokens. +MB: the "
        "most memory above weights and moments; memory: over that of the other side.",
    )

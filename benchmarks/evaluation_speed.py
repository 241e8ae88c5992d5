"""Section `exact`: evaluations up to rank 100 beside one of the whole catalog, with a fine-tuned run of titles."""

from collections.abc import Iterator

import numpy as np

from benchmarks.prompts import Bench, Telling, tell
from benchmarks.tables import Column, Section, Target
from patchrec.data.histories import Example
from patchrec.errors import PatchrecError
from patchrec.evaluation.evaluate import Evaluated, evaluate
from patchrec.evaluation.metrics import hr, ndcg
from patchrec.evaluation.rows import TOP
from patchrec.operations.load import load, pick_run
from patchrec.store.evaluations import RankingRow

EXACT_TO = 100
TIMES_FASTER = 4.0
_USERS = 6  # evaluated together before the other way has its turn
TARGET = f"targets/s, exact to {EXACT_TO}, no lists / whole"
COLUMNS = (
    Column("evaluation", "kind"),
    Column("targets/s", "rate", ",.2f"),
    Column("prompt tokens", "prompt_tokens", ",.1f"),
    Column("catalog tokens", "catalog_tokens", ",.1f"),
    Column("hr@20", "hr", ".4f"),
    Column("ndcg@20", "ndcg", ".4f"),
)


def exact(bench: Bench) -> Iterator[Section]:
    """All evaluations of the same targets, in turn."""
    s = bench.settings
    title = f"Evaluation: ranks up to {EXACT_TO} against all ranks"
    try:
        run = pick_run(bench.store, s.run, bench.dataset.name, Telling())
        loaded = load(bench.store, run)
    except PatchrecError as error:
        yield Section(title, (), (), (Target(TARGET, TIMES_FASTER, None, at_most=False),), (str(error),))
        return
    history = run.config.history
    by_user: dict[int, list[Example]] = {}
    for example in loaded.dataset.examples("test", history.K, history.windows):
        by_user.setdefault(example.user, []).append(example)
    chosen = bench.sample([own[0] for own in by_user.values()])
    limits = {
        "whole catalog": (None, TOP),
        f"exact to {EXACT_TO}": (EXACT_TO, TOP),
        "exact, no lists": (EXACT_TO, 0),
    }
    found: dict[str, list[Evaluated]] = {kind: [] for kind in limits}
    for start in range(0, len(chosen), _USERS):
        own = chosen[start : start + _USERS]
        examples = [example for first in own for example in by_user[first.user][: s.targets]]
        tell(f"  {run.name}: users {start + 1} to {start + len(own)} of {len(chosen)}, {len(examples)} targets")
        for kind, (limit, top) in limits.items():
            recommender = loaded.recommender
            if start == 0:
                evaluate(loaded.dataset, examples[:2], recommender, exact_to=limit, top=top)  # what is made once
            found[kind].append(evaluate(loaded.dataset, examples, recommender, exact_to=limit, top=top))
    rows = [_row(kind, found[kind]) for kind in limits]
    ranked = [[_up_to(row) for one in found[kind] for row in one.rankings] for kind in limits]
    differing = sum(len({*ranks}) > 1 for ranks in zip(*ranked, strict=True))
    notes = (
        f"Run {run.name} ({run.label}): {len(chosen)} users, up to {s.targets} targets each, {len(ranked[0])} in all.",
        f"Targets of which one of the four ranks up to {EXACT_TO} differs: {differing}.",
    )
    target = Target(TARGET, TIMES_FASTER, rows[2]["rate"] / rows[0]["rate"], at_most=False)
    yield Section(title, COLUMNS, rows, (target,), notes)


def _row(kind: str, found: list[Evaluated]) -> dict[str, float | str]:
    number = sum(len(one.rankings) for one in found)
    total = {
        name: sum(float(one.cost[f"{name}_per_target"] or 0) * len(one.rankings) for one in found)
        for name in ("prompt_tokens", "catalog_tokens", "seconds")
    }
    ranks = [row.item_rank_dropped for one in found for row in one.rankings]
    values = np.array([np.nan if rank is None else rank for rank in ranks], dtype=np.float64)
    return {
        "kind": kind,
        "targets": number,
        "rate": number / total["seconds"],
        **{name: amount / number for name, amount in total.items()},
        "hr": float(hr(values, 20).mean()),
        "ndcg": float(ndcg(values, 20).mean()),
    }


def _up_to(row: RankingRow) -> tuple[int | None, ...]:
    ranks = (row.item_rank_dropped, row.item_rank_kept, row.title_rank_dropped, row.title_rank_kept)
    return tuple(None if rank is None else min(rank, EXACT_TO + 1) for rank in ranks)

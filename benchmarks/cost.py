"""Methods measured side by side on batches of prompts: what each cost, and how they compare."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.machine import in_turn
from benchmarks.tables import Column
from patchrec.recommender import Certificate, Ranking

# the prompts alone; exact search by `catalog`; all titles by `catalog`; exact search by `joint`; beam search
PREFILL, BEST_FIRST, WHOLE, JOINT, BEAM = "prefill", "best-first", "whole", "joint", "beam"
COLUMNS = (
    Column("prompts", "kind"),
    Column("method", "method"),
    Column("tokens", "prompt_tokens", ",.0f"),
    Column("s/batch", "batch_seconds", ",.2f"),
    Column("/prefill", "times_prefill", ",.2f"),
    Column("beam/it", "beam_over", ",.1f"),
    Column("opened", "num_expanded", ",.0f"),
    Column("run", "num_tokens", ",.0f"),
    Column("rounds", "num_rounds", ",.0f"),
)
NOTES = (
    "Medians: seconds of a batch; tokens of a prompt, trie nodes opened, tokens run beyond the prompt and rounds. A "
    "ratio is the median over the rounds in which both took turns.",
)


@dataclass(eq=False)
class Cost:
    """One method on one kind of prompt.

    Attributes:
        seconds: Of each round, batch after batch.
        certificates: Of every prompt's ranking; none where the method gives none.
    """

    seconds: list[list[float]] = field(default_factory=list)
    certificates: list[Certificate] = field(default_factory=list)


Costs = dict[str, Cost]


def add_batch(
    costs: Costs, actions: Mapping[str, Callable[[], object]], repeats: int, *, rare: Mapping[str, int] | None = None
) -> None:
    """Let methods take turns on one batch, and count what they cost.

    Args:
        costs: Where that is counted, by method.
        actions: By method; a search returns its rankings.
        repeats: Rounds. rare: Methods with fewer of them (`in_turn`).
    """
    results: dict[str, list[Ranking]] = {}

    def kept(method: str, action: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            result = action()
            if isinstance(result, list) and result and isinstance(result[0], Ranking):
                results[method] = result

        return run

    times = in_turn({method: kept(method, action) for method, action in actions.items()}, repeats, rare=rare)
    for method, values in times.items():
        cost = costs.setdefault(method, Cost())
        cost.seconds.append(values)
        cost.certificates += [r.certificate for r in results.get(method, ()) if r.certificate is not None]


def ratio(over: Cost | None, under: Cost | None) -> float | None:
    """Median of one method's time over another's, round by round; None where there is nothing to compare."""
    if over is None or under is None or over is under:
        return None
    batches = zip(over.seconds, under.seconds, strict=True)
    return median(a / b for own, other in batches for a, b in zip(own, other, strict=False))


def rows(kind: str, lengths: Sequence[int], costs: Costs) -> list[dict[str, Any]]:
    """One line for each method on one kind of prompt.

    Args:
        kind: Its name.
        lengths: Tokens of its prompts.
        costs: By method.
    """
    found = []
    for method, cost in costs.items():
        counts = {
            name: median(getattr(each, name) for each in cost.certificates) if cost.certificates else None
            for name in ("num_expanded", "num_tokens", "num_rounds")
        }
        found.append(
            {
                "kind": kind,
                "method": method,
                "prompt_tokens": median(lengths),
                "batch_seconds": median(value for batch in cost.seconds for value in batch),
                "times_prefill": ratio(cost, costs.get(PREFILL)),
                "beam_over": ratio(costs.get(BEAM), cost) if method != PREFILL else None,
                **counts,
                "seconds": cost.seconds,
            }
        )
    return found

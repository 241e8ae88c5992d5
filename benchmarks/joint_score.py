"""Section `joint`: the exact top k by `joint` with a fine-tuned checkpoint, on prompts of the run's own form."""

from collections.abc import Iterator
from dataclasses import replace

from benchmarks import cost
from benchmarks.cost import BEST_FIRST, JOINT, PREFILL, Costs, ratio
from benchmarks.prompts import NO_LIMIT, AsLaidOut, Bench, Telling, length, tell, with_score
from benchmarks.tables import Section, Target
from patchrec.errors import PatchrecError
from patchrec.operations.load import load, pick_run
from patchrec.plugins import plan_for
from patchrec.recommender import rank

BEYOND_PREFILL = 3.0
TARGET = "joint, best-first / prefill"


def joint(bench: Bench) -> Iterator[Section]:
    """Both scores against the prefill."""
    s = bench.settings
    title = f"Joint: top {s.k} on a fine-tuned checkpoint (users {s.users}, batch {s.batch})"
    try:
        run = pick_run(bench.store, s.run, bench.dataset.name, Telling())
        loaded = load(bench.store, run, "joint")
    except PatchrecError as error:
        yield Section(title, (), (), (Target(TARGET, BEYOND_PREFILL, None),), (str(error),))
        return
    ranker = replace(loaded.recommender, planner=AsLaidOut(), max_tokens=NO_LIMIT)
    planner = plan_for(run.config.strategies[-1])
    catalog = with_score(ranker, "catalog")
    prompt, history = run.config.prompt, run.config.history
    examples = bench.sample(loaded.dataset.examples("test", history.K, history.windows))
    batches = bench.in_batches([bench.query(example, planner) for example in examples], ranker)
    costs: Costs = {}
    for number, queries in enumerate(batches):
        tell(f"  {run.name}: batch {number + 1} of {len(batches)}")
        actions = {
            PREFILL: lambda queries=queries: ranker.prefill(queries),
            BEST_FIRST: lambda queries=queries: rank(catalog, queries, s.k),
            JOINT: lambda queries=queries: rank(ranker, queries, s.k),
        }
        cost.add_batch(costs, actions, s.repeats)
    rows = cost.rows(run.label, [length(ranker, query) for batch in batches for query in batch], costs)
    target = Target(TARGET, BEYOND_PREFILL, ratio(costs[JOINT], costs[PREFILL]))
    told = f"Run {run.name}: prompt {prompt.form}, {history.windows} windows, K={history.K}."
    columns = [column for column in cost.COLUMNS if column.key != "beam_over"]
    yield Section(title, columns, rows, (target,), (told, *cost.NOTES))

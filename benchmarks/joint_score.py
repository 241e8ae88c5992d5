"""Section `joint`: the exact top k by `joint` with a fine-tuned checkpoint, on prompts of the run's own form."""

from collections.abc import Iterator
from dataclasses import replace

from benchmarks import cost
from benchmarks.cost import BEST_FIRST, JOINT, PREFILL, Costs, ratio
from benchmarks.prompts import NO_LIMIT, Bench, Telling, length, tell, with_score
from benchmarks.tables import Section, Target
from patchrec.errors import PatchrecError
from patchrec.operations.load import make_ready, pick_run

BEYOND_PREFILL = 3.0
TARGET = "joint, best-first / prefill"


def joint(bench: Bench) -> Iterator[Section]:
    """Both scores against the prefill."""
    s = bench.settings
    title = f"Joint: top {s.k} on a fine-tuned checkpoint (users {s.users}, batch {s.batch})"
    try:
        run = pick_run(bench.store, s.run, bench.dataset.name, Telling())
        ready = make_ready(bench.store, run, "joint")
    except PatchrecError as error:
        yield Section(title, (), (), (Target(TARGET, BEYOND_PREFILL, None),), (str(error),))
        return
    ranker = replace(ready.ranker, max_tokens=NO_LIMIT)
    catalog = with_score(ranker, "catalog")
    prompt = run.config.prompt
    examples = bench.sample(ready.dataset.examples("test", prompt.K, prompt.windows))
    batches = bench.in_batches([bench.query(example, ready.planner) for example in examples], ranker)
    costs: Costs = {}
    for number, queries in enumerate(batches):
        tell(f"  {run.name}: batch {number + 1} of {len(batches)}")
        actions = {
            PREFILL: lambda queries=queries: ranker.prefill(queries),
            BEST_FIRST: lambda queries=queries: catalog.rank(queries, s.k),
            JOINT: lambda queries=queries: ranker.rank(queries, s.k),
        }
        cost.add_batch(costs, actions, s.repeats)
    rows = cost.rows(run.label, [length(ranker, query) for batch in batches for query in batch], costs)
    target = Target(TARGET, BEYOND_PREFILL, ratio(costs[JOINT], costs[PREFILL]))
    told = f"Run {run.name}: prompt {prompt.form}, {prompt.windows} windows, K={prompt.K}."
    columns = [column for column in cost.COLUMNS if column.key != "beam_over"]
    yield Section(title, columns, rows, (target,), (told, *cost.NOTES))

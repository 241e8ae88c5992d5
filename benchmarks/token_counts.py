"""Section `tokens`: forwarded tokens per target, one example per row against forests. Nothing is run, only counted."""

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.learning import FORMS, KINDS, Bench, sliding, targets_of
from benchmarks.prompts import tell
from benchmarks.tables import Column, Section, Target
from patchrec.config import StrategyConfig
from patchrec.data.histories import Example
from patchrec.errors import NotFoundError
from patchrec.model.patching import PathEncoder
from patchrec.plugins import plan_for
from patchrec.strategy import EVALUATION
from patchrec.training.batches import Step
from patchrec.training.objective import label_trees

COUNTED = {**KINDS, "PFT-S L=20": StrategyConfig(name="pft-s", options={"L": 20})}
# times fewer tokens than one example per row with sliding windows and the paper's prompt
FEWER = {
    "vanilla": {"paper": 9.0, "instruction-first": 17.0, "continuation": 40.0},
    "PFT-I M=5": {"paper": 3.0, "instruction-first": 4.0},
    "PFT-S L=5": {"paper": 3.0, "instruction-first": 6.0, "continuation": 14.0},
}
# what that baseline was counted as where those were asked, with another wording of the prompt
ASKED_OF = {
    "ml-100k": {"vanilla": 329.0, "PFT-I M=5": 186.0, "PFT-S L=5": 122.0},
    "ml-1m": {"vanilla": 377.0, "PFT-I M=5": 204.0, "PFT-S L=5": 126.0},
}
COLUMNS = (
    Column("strategy", "kind"),
    Column("prompt", "form"),
    Column("row", "row_sliding", ",.1f"),
    Column("forest", "forest_sliding", ",.1f"),
    Column("row", "row_anchored", ",.1f"),
    Column("forest", "forest_anchored", ",.2f"),
    Column("fewer", "fewer", ".1f"),
    Column("at most", "asked_tokens", ".1f"),
)


def tokens(bench: Bench) -> Iterator[Section]:
    """Count every data set that is there."""
    for data in bench.settings.count_data:
        try:
            yield _count(bench.on(data))
        except NotFoundError as error:
            yield Section(f"Tokens per target on {data}", (), (), (), (str(error),))


def _count(bench: Bench) -> Section:
    s = bench.settings
    anchored, slid = bench.steps("anchored", s.counted_steps), bench.steps("sliding", s.counted_steps)
    targets = [example for step in anchored for example in targets_of(step)]
    rows: list[dict[str, Any]] = []
    for kind, strategy in COUNTED.items():
        for form in FORMS:
            tell(f"  {bench.dataset.name}: {kind}, {form}")
            encoder = bench.encoders[form]
            row = {
                "kind": kind,
                "form": form,
                "row_sliding": row_tokens(bench, encoder, strategy, sliding(targets, s.K)),
                "forest_sliding": forest_tokens(bench, encoder, strategy, slid),
                "row_anchored": row_tokens(bench, encoder, strategy, targets),
                "forest_anchored": forest_tokens(bench, encoder, strategy, anchored),
            }
            rows.append(row | _against(bench.dataset.name, row, rows))
    bars = [
        Target(f"{row['kind']}, {row['form']}: times fewer", row["asked"], row["fewer"], at_most=False)
        for row in rows
        if row["asked"] is not None
    ]
    title = f"Tokens per target on {bench.dataset.name}: K={s.K}, {len(targets):,} targets of {len(anchored)} steps"
    notes = (
        f"Row and forest: one example per row and forests of at most {s.max_nodes:,} tokens, steps of {s.batch_size} "
        "targets; first with sliding windows, then with anchored ones.",
        "Fewer: forest with anchored windows against row with sliding ones and the paper's prompt. At most: the tokens "
        "that the factor asked for stood for, with a longer wording of that prompt.",
    )
    return Section(title, COLUMNS, rows, bars, notes)


def _against(data: str, row: dict[str, Any], before: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """A row against what one example per row takes with the paper's prompt, which is the first of its strategy."""
    base = next((other for other in before if other["kind"] == row["kind"]), row)["row_sliding"]
    asked = FEWER.get(row["kind"], {}).get(row["form"])
    counted = ASKED_OF.get(data, {}).get(row["kind"])
    return {
        "fewer": base / row["forest_anchored"],
        "asked": asked,
        "asked_tokens": counted / asked if counted and asked else None,
    }


def row_tokens(bench: Bench, encoder: PathEncoder, strategy: StrategyConfig, examples: Sequence[Example]) -> float:
    """Tokens per target of prompts with their answers, each a row; an answer's end is no input."""
    planner, total = plan_for(strategy), 0
    for example in examples:
        history = bench.dataset.history(example)
        total += encoder.num_positions(history, planner.plan(history))
        total += int(encoder.titles.lengths[bench.dataset.target(example)])
    return total / len(examples)


def forest_tokens(bench: Bench, encoder: PathEncoder, strategy: StrategyConfig, steps: Sequence[Step]) -> float:
    """Tokens per target of the forests that training grows."""
    planners, total = [plan_for(strategy)], 0
    for step in steps:
        trees = [(tree, EVALUATION) for tree in step.trees]
        made = label_trees(trees, bench.dataset, encoder.fresh(), planners, max_nodes=bench.settings.max_nodes)
        total += sum(len(labelled.forest) for labelled in made)
    return total / sum(step.num_targets for step in steps)

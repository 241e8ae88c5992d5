"""Section `model`: tokens per target as a formula of K, L, M, strategy, prompt and windows, held against counts.

A formula knows lengths alone: of the prompt before and after the history, of a title on average, of the histories. It
is exact but for the titles' lengths, which it takes as equal, and for beginnings that different titles share.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.cost_picture import draw
from benchmarks.learning import FORMS, Bench, sliding
from benchmarks.prompts import tell
from benchmarks.tables import Column, Section
from benchmarks.token_counts import row_tokens
from patchrec.config import PromptForm, StrategyConfig
from patchrec.data.histories import Dataset, Example
from patchrec.model.forest import grow
from patchrec.model.patching import PathEncoder
from patchrec.plugins import plan_for
from patchrec.strategy import EVALUATION
from patchrec.training.batches import Tree, group_trees
from patchrec.training.objective import tree_rows

FULL_TREES = 30  # of users with long histories, at most
STRATEGIES: tuple[tuple[str, StrategyConfig], ...] = (
    ("vanilla", StrategyConfig(name="vanilla")),
    ("PFT-I M=5", StrategyConfig(name="pft-i", options={"M": 5})),
    ("PFT-I M=20", StrategyConfig(name="pft-i", options={"M": 20})),
    ("PFT-S L=5", StrategyConfig(name="pft-s", options={"L": 5})),
    ("PFT-S L=20", StrategyConfig(name="pft-s", options={"L": 20})),
)
COLUMNS = (
    Column("K", "K", "d"),
    Column("strategy", "kind"),
    Column("what", "what"),
    Column("long", "long_formula", ",.1f"),
    Column("counted", "long_counted", ",.1f"),
    Column("all", "all_formula", ",.1f"),
    Column("counted", "all_counted", ",.1f"),
)
ROW = "row, sliding, paper"
WHATS: dict[str, PromptForm] = {ROW: "paper", **{f"forest, {form}": form for form in FORMS}}


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of a prompt before (`head`) and after (`tail`) the history, and of a title without its separator."""

    head: int
    tail: int
    title: float

    @property
    def unit(self) -> float:
        """Tokens of a title with its separator."""
        return self.title + 1

    def leaves(self, targets: int) -> float:
        """Tokens that hang below a text: every target's tail and answer, or the one answer that is no history yet."""
        return targets * (self.tail + self.title) if self.tail else self.title


def row_cost(strategy: StrategyConfig, lengths: Lengths, num_items: int) -> float:
    """Tokens of one example alone with its answer; sessions are counted back from the newest item."""
    text, item, session = units(strategy, num_items)
    return lengths.head + lengths.tail + text * lengths.unit + 2 * (item + session) + lengths.title


def units(strategy: StrategyConfig, num_items: int) -> tuple[int, int, int]:
    """How many titles, item patches and session patches show a history."""
    if strategy.name == "pft-i":
        text = min(num_items, int(strategy.options["M"]))
        return text, num_items - text, 0
    if strategy.name == "pft-s":
        L = int(strategy.options["L"])
        text = min(num_items, L)
        item = min(num_items - text, L)
        return text, item, -(-(num_items - text - item) // L)
    return num_items, 0, 0


def tree_cost(strategy: StrategyConfig, lengths: Lengths, shortest: int, longest: int) -> float:
    """Tokens of the targets of one user whose anchored windows start together, with every length of history between.

    Args:
        strategy: `vanilla`, `pft-i` or `pft-s`.
        lengths: Of the prompt.
        shortest: Items of the first target's history, 1 at least.
        longest: Of the last one's.
    """
    if strategy.name == "pft-i":
        return lengths.head + _item_tree(int(strategy.options["M"]), lengths, shortest, longest)
    if strategy.name == "pft-s":
        return lengths.head + _session_tree(int(strategy.options["L"]), lengths, shortest, longest)
    return lengths.head + _text_tree(lengths, shortest, longest)


def _text_tree(lengths: Lengths, shortest: int, longest: int) -> float:
    """Text of the longest history, and the leaves."""
    return longest * lengths.unit + lengths.leaves(longest - shortest + 1)


def _item_tree(M: int, lengths: Lengths, shortest: int, longest: int) -> float:
    """Item patches are shared; the M titles after them are every target's own."""
    total = _text_tree(lengths, shortest, min(M, longest)) if shortest <= M else 0.0
    own = longest - max(shortest, M + 1) + 1
    if own > 0:
        total += 2 * (longest - M) + own * (M * lengths.unit + lengths.tail + lengths.title)
    return total


def _session_tree(L: int, lengths: Lengths, shortest: int, longest: int) -> float:
    """Session patches are shared; a group's targets share the item patches before it and its titles."""
    first, last = (shortest - 1) // L, (longest - 1) // L
    total = 2.0 * max(0, last - 1)
    for group in range(first, last + 1):
        stop = min(longest, (group + 1) * L)
        targets = stop - max(shortest, group * L + 1) + 1
        total += (2 * L if group else 0) + (stop - group * L) * lengths.unit + lengths.leaves(targets)
    return total


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """What the formulas are held against at one K: trees of users with long histories, and of users as they are."""

    K: int
    long: list[Tree]
    all: list[Tree]


def model(bench: Bench) -> Iterator[Section]:
    """Hold the formulas against counts: for full trees of users with long histories, and for users as they are."""
    s, users = bench.settings, evenly_spaced_users(bench)
    rows: list[dict[str, Any]] = []
    for K in s.lengths:
        tell(f"  K={K}")
        targets = Targets(K, full_trees(bench.dataset, K), uncut_trees(bench.dataset, K, users))
        rows += _compared(bench, targets)
    if s.picture is not None:
        lengths = range(min(s.lengths), max(s.lengths) + 1, 5)
        curves = [line for K in lengths for line in _curve(bench, K, uncut_trees(bench.dataset, K, users))]
        s.picture.write_text(draw(curves, rows, bench.dataset.name))
    notes = (
        "Row: one example alone. Forest: uncut trees with anchored windows. Long: users with 1.5 K targets and more, "
        f"at most {FULL_TREES} trees; all: {len(users)} users of all lengths, every target. As trained, trees are cut "
        "by batch_size and max_nodes: see the section tokens.",
        f"A title has {_title(bench.dataset, bench.encoders['paper']):.2f} tokens on average.",
    )
    yield Section(f"Cost model on {bench.dataset.name}: tokens per target", COLUMNS, rows, (), notes)


def evenly_spaced_users(bench: Bench) -> list[int]:
    """Users with train targets, evenly spaced by how many."""
    targets = bench.dataset.targets_per_user("train")
    order = [int(user) for user in np.argsort(targets, kind="stable") if targets[user]]
    places = np.linspace(0, len(order) - 1, min(bench.settings.users, len(order)))
    return [order[round(place)] for place in places]


def uncut_trees(dataset: Dataset, K: int, users: Sequence[int]) -> list[Tree]:
    """All trees of some users' train targets."""
    bounds = [(user, *dataset.sequences.bounds(user, "train")) for user in users]
    examples = [
        Example.at(user, position, K, "anchored")
        for user, first, stop in bounds
        for position in range(max(dataset.min_history, first), stop)
    ]
    return group_trees(examples, len(examples))


def full_trees(dataset: Dataset, K: int) -> list[Tree]:
    """Trees of users with long histories: K/2 targets with K/2 to K - 1 items."""
    stops = dataset.sequences.all_bounds("train")[1]
    users = [int(user) for user in np.flatnonzero(stops >= 3 * (K // 2))]
    whole = [tree for tree in uncut_trees(dataset, K, users) if tree[0].start and len(tree) == K // 2]
    places = np.linspace(0, len(whole) - 1, min(FULL_TREES, len(whole)))
    return [whole[round(place)] for place in places]


def _compared(bench: Bench, targets: Targets) -> Iterator[dict[str, Any]]:
    """A line for each strategy: one example alone, and forests with each prompt."""
    for kind, strategy in STRATEGIES:
        for what, form in WHATS.items():
            line: dict[str, Any] = {"K": targets.K, "kind": kind, "what": what}
            for name, trees in (("long", targets.long), ("all", targets.all)):
                if trees:
                    line[f"{name}_formula"] = formula(bench, targets.K, strategy, what, trees)
                    line[f"{name}_counted"] = count(
                        bench, targets.K, strategy, bench.encoders[form].fresh(), what, trees
                    )
            yield line


def _curve(bench: Bench, K: int, trees: Sequence[Tree]) -> Iterator[dict[str, Any]]:
    for kind, strategy in STRATEGIES:
        for what in WHATS:
            yield {"K": K, "kind": kind, "what": what, "all_formula": formula(bench, K, strategy, what, trees)}


def formula(bench: Bench, K: int, strategy: StrategyConfig, what: str, trees: Sequence[Tree]) -> float:
    """Tokens per target by formula, from the lengths of histories alone."""
    encoder = bench.encoders[WHATS[what]]
    lengths = Lengths(len(encoder.prompt.head), len(encoder.prompt.tail), _title(bench.dataset, encoder))
    if what == ROW:
        rows = sliding([example for tree in trees for example in tree], K)
        return float(np.mean([row_cost(strategy, lengths, row.position - row.start) for row in rows]))
    spans = [(tree[0].position - tree[0].start, tree[-1].position - tree[-1].start) for tree in trees]
    return sum(tree_cost(strategy, lengths, *span) for span in spans) / sum(map(len, trees))


def count(
    bench: Bench, K: int, strategy: StrategyConfig, encoder: PathEncoder, what: str, trees: Sequence[Tree]
) -> float:
    """Tokens per target as counted."""
    targets = [example for tree in trees for example in tree]
    if what == ROW:
        return row_tokens(bench, encoder, strategy, sliding(targets, K))
    planners = [plan_for(strategy)]
    rows = (tree_rows(tree, bench.dataset, encoder, planners, EVALUATION) for tree in trees)
    return sum(len(grow([row.path for row in own])[0]) for own in rows) / len(targets)


def _title(dataset: Dataset, encoder: PathEncoder) -> float:
    """Tokens of a title, on average over the train split."""
    return float(np.average(encoder.titles.lengths, weights=dataset.popularity))

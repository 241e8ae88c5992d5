"""What an item head, both heads and SASRec cost, beside what they replace: `python -m benchmarks.recommenders`.

    python -m benchmarks.recommenders                        # everything, about 8 minutes on two cores
    python -m benchmarks.recommenders --only ranking         # some sections
    python -m benchmarks.recommenders --json numbers.json    # all raw numbers too

An untrained backbone, one process. What is compared takes turns (A, B, A, B, ...) after one call of each; numbers are
medians, ratios medians of paired rounds. The section `sasrec` needs the data set of `--long-data` in the store, the
section `retrieve` a run of both heads (`--run NAME`): it is left out without one.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from benchmarks.machine import in_turn, peak_growth_mb, seconds
from benchmarks.prompts import tell
from benchmarks.sections import run
from benchmarks.tables import Column, Section, Target
from patchrec.config import HistoryConfig, KindConfig, PromptConfig, RunConfig, StrategyConfig, TrainingConfig
from patchrec.data.histories import Dataset
from patchrec.errors import PatchrecError, UsageError
from patchrec.evaluation.evaluate import evaluate, sample_examples
from patchrec.model.backbone import fast_dtype
from patchrec.model.pull import DEFAULT_BACKBONE
from patchrec.operations.backbones import find_backbone
from patchrec.operations.load import load
from patchrec.plugins import find_kind
from patchrec.ranking.language import LanguageRecommender
from patchrec.recommender import Fitting, Query, Saved, rank
from patchrec.store import Store
from patchrec.training.estimate import count_steps
from patchrec.training.item_learner import ItemLearner, tree_batch
from patchrec.training.language_learner import LanguageLearner

POSITIONS, EPOCH, RANKING, MIXTURE, MINUTE, PLAIN, MEMORY = 2.2, 1 / 3, 1.1, 1.2, 60.0, 1.0, 2000.0
PROPOSED = (50, 100, 200, 500)  # items that an item head proposes


@dataclass(frozen=True)
class Bench:
    """A data set, a backbone's folder and how often things are measured."""

    store: Store
    dataset: Dataset
    folder: Path
    backbone: str
    long_data: str
    targets: int
    users: int
    steps: int
    repeats: int
    run: str | None = None

    def config(self, kind: str, windows: str = "blocks") -> RunConfig:
        """A run of a head with one position an item."""
        return RunConfig(
            stage="finetune",
            dataset=self.dataset.name,
            kind=KindConfig(name=kind),
            backbone=self.backbone,
            strategies=(StrategyConfig(name="item-mean"),),
            history=HistoryConfig(K=100, windows=windows),
            prompt=PromptConfig(form="continuation", noun=self.dataset.noun, verb=self.dataset.verb),
            training=TrainingConfig(batch_size=256, dtype=str(fast_dtype()).removeprefix("torch.")),
            score=find_kind(kind).scores[0],
        )

    def learner(self, kind: str) -> LanguageLearner:
        """What learns in such a run, begun."""
        config = self.config(kind)
        learner = find_kind(kind).learner(Fitting(config, self.dataset, self.folder))
        assert isinstance(learner, LanguageLearner)
        learner.begin()
        return learner

    def recommender(self, kind: str) -> LanguageRecommender:
        """What ranks before any training, questions asked after anchored windows."""
        saved = Saved(self.config(kind), self.dataset, start=self.folder, score=find_kind(kind).scores[0])
        loaded = find_kind(kind).load(saved)
        assert isinstance(loaded, LanguageRecommender)
        return loaded

    @cached_property
    def queries(self) -> list[Query]:
        """Test prompts of some users."""
        examples = self.dataset.examples("test", 100, "anchored")
        return [Query.of(self.dataset, example) for example in sample_examples(examples, self.users)]


def training(bench: Bench) -> Iterator[Section]:
    """An epoch of an item head beside the same run with titles: positions, and seconds of some steps."""
    learners = {kind: bench.learner(kind) for kind in ("title", "item")}
    rows, times = [], {}
    for kind, learner in learners.items():
        counted = count_steps(learner, limit=bench.steps)
        rows.append({"head": kind, "positions": counted.tokens / counted.targets})
    steps = list(learners["item"].batches.steps())[:: max(1, learners["item"].num_steps // bench.steps)][: bench.steps]
    actions = {kind: partial(_learn, learner, steps) for kind, learner in learners.items()}
    times = in_turn(actions, bench.repeats)
    targets = sum(step.num_targets for step in steps)
    for row in rows:
        row |= {"seconds": median(times[row["head"]]), "rate": targets / median(times[row["head"]])}
    ratio = median([item / title for item, title in zip(times["item"], times["title"], strict=True)])
    columns = (
        Column("head", "head"),
        Column("positions/target", "positions", ",.2f"),
        Column("s", "seconds", ",.1f"),
        Column("targets/s", "rate", ",.0f"),
    )
    goals = (
        Target("item head, positions a target", POSITIONS, rows[1]["positions"]),
        Target("item head / titles, time of the same steps", EPOCH, ratio),
    )
    yield Section(f"Training: item-mean, {len(steps)} steps of 256 targets", columns, rows, goals)


def _learn(learner: LanguageLearner, steps: Sequence[Any]) -> None:
    for _ in learner.take(steps):
        pass


def ranking(bench: Bench) -> Iterator[Section]:
    """The best 20 by an item head and by both, beside the prefill of the prompts and the search of titles."""
    item, both = bench.recommender("item"), bench.recommender("both")
    titles = LanguageRecommender.of(both.scorer, both.planner, bench.dataset) if both.scorer else both
    actions = {
        "prefill": lambda: item.prefill(bench.queries),
        "item head": lambda: rank(item, bench.queries, 20),
        "titles": lambda: rank(titles, bench.queries, 20),
        "both": lambda: rank(both, bench.queries, 20),
    }
    times = in_turn(actions, bench.repeats)
    rows = [{"what": name, "seconds": median(found)} for name, found in times.items()]
    columns = (Column("what", "what"), Column("s", "seconds", ",.2f"))
    goals = (
        Target("item head / prefill", RANKING, _ratio(times, "item head", "prefill")),
        Target("both / titles", MIXTURE, _ratio(times, "both", "titles")),
    )
    yield Section(f"Ranking: best 20 for {len(bench.queries)} prompts of item patches", columns, rows, goals)


def _ratio(times: Mapping[str, list[float]], one: str, other: str) -> float:
    return median([a / b for a, b in zip(times[one], times[other], strict=True)])


def evaluation(bench: Bench) -> Iterator[Section]:
    """All test targets by an item head; those of a user share a forest."""
    item = bench.recommender("item")
    examples = bench.dataset.examples("test", 100, "anchored")
    took = seconds(lambda: evaluate(bench.dataset, examples, item, limit=bench.targets))
    rows = [{"targets": min(bench.targets, len(examples)), "seconds": took}]
    columns = (Column("targets", "targets", ",.0f"), Column("s", "seconds", ",.1f"))
    goals = (Target("seconds of 1,024 targets", MINUTE, took * 1024 / rows[0]["targets"]),)
    yield Section("Evaluation: item head, whole catalog for every target", columns, rows, goals)


def retrieve(bench: Bench) -> Iterator[Section]:
    """The best 20 among what the item head of a trained run proposes: how many of the exact ones, and how fast."""
    if bench.run is None:
        raise UsageError("the section retrieve is of a trained run with both heads; name it with --run")
    run = bench.store.runs.get(bench.run)
    proposed = {number: load(bench.store, run, retrieve=number).recommender for number in PROPOSED}
    exact = load(bench.store, run).recommender
    actions = {number: partial(rank, one, bench.queries, 20) for number, one in proposed.items()}
    times = in_turn({0: partial(rank, exact, bench.queries, 20), **actions}, bench.repeats)
    wanted = [{line.item for line in ranking.recommendations} for ranking in rank(exact, bench.queries, 20)]
    rows = []
    for number, one in proposed.items():
        found = [{line.item for line in ranking.recommendations} for ranking in rank(one, bench.queries, 20)]
        shares = [len(a & b) / len(a) for a, b in zip(wanted, found, strict=True) if a]
        ratio = median([a / b for a, b in zip(times[number], times[0], strict=True)])
        rows.append({"number": number, "share": sum(shares) / len(shares), "least": min(shares), "ratio": ratio})
    columns = (
        Column("proposed", "number", ",.0f"),
        Column("of the exact 20", "share", ".1%"),
        Column("least", "least", ".0%"),
        Column("time/exact", "ratio", ",.2f"),
    )
    title = f"Two stages: best 20 for {len(bench.queries)} prompts, run {run.name} by {exact.score}"
    yield Section(title, columns, rows, ())


def sasrec(bench: Bench) -> Iterator[Section]:
    """SASRec through the shared training loop beside a plain loop over the same modules, from the same batches."""
    dataset = bench.store.datasets.load(bench.long_data)
    kind = find_kind("sasrec")
    training = {**(kind.training or {}), "epochs": 1, "validate_every": None, "patience": None}
    config = RunConfig(
        stage="baseline",
        dataset=dataset.name,
        kind=KindConfig(name="sasrec", options=kind.bind().options.values),
        backbone=None,
        prompt=None,
        history=HistoryConfig(**kind.shape),
        training=TrainingConfig(**training),
        score="item",
    )
    learners = [kind.learner(Fitting(config, dataset)) for _ in range(2)]
    ours, theirs = learners
    assert isinstance(ours, ItemLearner)
    assert isinstance(theirs, ItemLearner)
    ours.begin()
    steps = list(ours.batches.steps())[: bench.steps]
    plain = _Plain(theirs.model, dataset, ours.training)
    actions = {"this loop": lambda: _take(ours, len(steps)), "plain loop": lambda: plain.take(steps)}
    times = in_turn(actions, bench.repeats)
    targets = sum(step.num_targets for step in steps)
    peak = peak_growth_mb(lambda: _take(ours, len(steps)), ours.device)
    rows = [{"what": name, "rate": targets / median(found)} for name, found in times.items()]
    columns = (Column("what", "what"), Column("targets/s", "rate", ",.0f"))
    speed = median([p / o for o, p in zip(times["this loop"], times["plain loop"], strict=True)])
    goals = (
        Target("this loop / plain loop, targets a second", PLAIN, speed, at_most=False),
        Target("memory above the start, MB", MEMORY, peak),
    )
    yield Section(f"SASRec on {dataset.name}: {len(steps)} steps, {targets:,} targets", columns, rows, goals)


def _take(learner: ItemLearner, number: int) -> None:
    for taken, _ in enumerate(learner.learn(0), start=1):
        if taken == number:
            return


class _Plain:
    """The loop of a textbook: batch, loss, backward, clip, step."""

    def __init__(self, model: nn.Module, dataset: Dataset, training: TrainingConfig) -> None:
        self.model, self.dataset, self.training = model, dataset, training
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=training.learning_rate, weight_decay=0.0)

    def take(self, steps: Sequence[Any]) -> None:
        """Learn from some steps."""
        self.model.train()
        for step in steps:
            self.optimizer.zero_grad()
            batch = tree_batch(step.trees, self.dataset, torch.device("cpu"))
            loss = self.model.loss(batch) / step.num_targets
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.training.clip_norm)
            self.optimizer.step()


SECTIONS: dict[str, Callable[[Bench], Iterator[Section]]] = {
    "training": training,
    "ranking": ranking,
    "evaluation": evaluation,
    "retrieve": retrieve,
    "sasrec": sasrec,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the chosen sections, print their tables, and give an exit code."""
    given = _parser().parse_args(arguments)
    words = sys.argv[1:] if arguments is None else arguments
    command = shlex.join(["python", "-m", "benchmarks.recommenders", *words])
    try:
        with Store.open(given.home) as store:
            folder = find_backbone(store, given.backbone).folder
            sizes = given.targets, given.users, given.steps, given.repeats
            dataset = store.datasets.load(given.data)
            bench = Bench(store, dataset, folder, given.backbone, given.long_data, *sizes, given.run)
            names = given.only or [name for name in SECTIONS if name != "retrieve" or given.run]
            chosen = {name: partial(SECTIONS[name], bench) for name in names}
            precision = str(fast_dtype()).removeprefix("torch.")
            backbone = bench.recommender("item").backbone
            run(chosen, command, given.json, backbone=backbone, data=given.data, precision=f"trains in {precision}")
    except PatchrecError as error:
        tell(f"error: {error}")
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recommenders",
        description=str(__doc__).splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--home", type=Path, help="folder of the store; None: the usual one")
    add("--data", default="ml-100k", help="data set")
    add("--long-data", default="ml-1m", help="data set of the section sasrec")
    add("--backbone", default=DEFAULT_BACKBONE, help="untrained model of all sections but sasrec")
    add("--only", nargs="+", choices=SECTIONS, metavar="SECTION", help=", ".join(SECTIONS))
    add("--run", metavar="NAME", help="a trained run of both heads, for the section retrieve")
    add("--targets", type=int, default=1024, help="targets of the section evaluation")
    add("--users", type=int, default=16, help="prompts of the section ranking")
    add("--steps", type=int, default=4, help="steps of the sections training and sasrec")
    add("--repeats", type=int, default=3, help="rounds")
    add("--json", type=Path, metavar="FILE", help="write all raw numbers")
    return parser


if __name__ == "__main__":
    sys.exit(main())

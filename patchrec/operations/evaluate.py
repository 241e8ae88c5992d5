"""Verb: evaluate a run, or a baseline, on held-out targets."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from patchrec.config import SPLITS, PromptConfig, RunConfig, ScoreName, SplitName, StrategyConfig
from patchrec.data.histories import Dataset, Example
from patchrec.errors import UsageError, flag_of
from patchrec.evaluation import evaluate as engine
from patchrec.evaluation.protocols import Counting, Protocol
from patchrec.evaluation.rows import TOP
from patchrec.model.made import is_made_at
from patchrec.model.pull import DEFAULT_BACKBONE
from patchrec.operations.backbones import find_backbone
from patchrec.operations.datasets import pick_dataset
from patchrec.operations.load import (
    fingerprints,
    learned_from,
    load,
    pick_run,
    plain_options,
    start_folder,
)
from patchrec.operations.made_run import same_or_made
from patchrec.operations.training.defaults import shape_defaults
from patchrec.plugins import find_kind, find_strategy, plan_for
from patchrec.recommender import Saved
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store
from patchrec.store.evaluations import Evaluation, MetricRow, RankingRow
from patchrec.store.marks import NO_MARKS, Marks
from patchrec.store.runs import Run
from patchrec.training.interrupts import stoppable

UNTRAINED = "untrained"


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """One evaluation, as stored.

    Attributes:
        score: Which score ranked.
        metrics: Each metric over items and titles, seen items dropped and kept, with its interval, of all targets and
            of each slice.
        cost: What a target took, compression ratios, and what was recommended; see `docs/evaluation.md`.
        exact_to: Ranks beyond this are not known; None: all are.
        protocol: Another way to count that was asked for. counted: Its metrics, over the same targets.
    """

    run: str
    label: str
    dataset: str
    split: SplitName
    score: ScoreName
    num_targets: int
    num_users: int
    metrics: list[MetricRow]
    cost: dict[str, Any]
    exact_to: int | None = None
    protocol: Protocol | None = None
    counted: list[MetricRow] = field(default_factory=list)


def evaluate(
    run: str | None = None,
    *,
    split: SplitName = "test",
    limit: int | None = None,
    users_with: str | None = None,
    ks: Sequence[int] = engine.KS,
    exact_to: int | None = None,
    top: int | None = None,
    by: Sequence[str] = (),
    baseline: str | None = None,
    data: str | None = None,
    backbone: str | None = None,
    strategy: str | None = None,
    options: dict[str, Any] | None = None,
    score: ScoreName | None = None,
    protocol: Protocol | None = None,
    reuse: bool = False,
    marks: Marks = NO_MARKS,
    home: Path | None = None,
    report: Reporter = SILENT,
) -> EvaluationResult:
    """Rank the whole catalog for held-out targets and store the result.

    Args:
        run: Run to evaluate; default: the newest fine-tuned one. With `baseline="untrained"`, the run whose model
            before any training is evaluated, with its strategy and prompt.
        strategy: What plans histories: of the untrained model, or of the run in place of its own. The latter is a run
            of its own, which starts from that one and learns nothing more.
        options: Of the strategy.
        limit: A sample of so many targets, the same for every run.
        users_with: Targets of users with so many items alone, such as "500+" or "20-99".
        exact_to: Find ranks up to this alone; None: all. See `patchrec.evaluation.evaluate.evaluate`.
        top: Keep so many of the best items of each target, which coverage and reports show; default: 20.
        by: Fields of the catalog whose values make slices, beside those that every evaluation has.
        baseline: Evaluate a baseline instead: a kind of recommender with its defaults, fitted where no run of it is
            there, or "untrained": a language model before any training.
        protocol: Another way to count, beside the right one: `paper` or `sampled` (`patchrec.evaluation.protocols`). It
            is stored as an evaluation of its own. It needs the scores of all items, and so no `exact_to`.
        reuse: Give the run's newest evaluation back where it is of the same targets, metrics and score.
        marks: Name, note and tags of the run that `baseline` or `strategy` makes; one that is there keeps its name.

    Raises:
        NotFoundError: No such run, kind, data set, strategy or backbone. UsageError: Arguments that do not fit.
    """
    if baseline is None and strategy is None and marks.given:
        flags = ", ".join(map(flag_of, marks.given))
        raise UsageError(f"{flags}: evaluating a run makes none; mark one with `patchrec runs edit RUN`")
    engine.refuse_other_counts(exact_to, counted=protocol is not None)
    if baseline is not None and baseline != UNTRAINED:
        _refuse(baseline, run=run, backbone=backbone, strategy=strategy, options=options or None)
        from patchrec.operations.training.train import baseline as fit_baseline

        run = fit_baseline(baseline, data=data, reuse=True, marks=marks, home=home, report=report).run
    with Store.open(home) as store:
        if baseline == UNTRAINED:
            chosen = _untrained_run(store, run, data, backbone, strategy, options, marks, report)
        else:
            if backbone is not None:
                raise UsageError("--backbone is for --baseline untrained; a run has its own: drop it")
            if options and strategy is None:
                raise UsageError("options of a strategy need --strategy; a run has its own")
            if strategy is not None and run is None:
                raise UsageError(
                    "--strategy goes with a run, whose weights it gets, or with --baseline untrained; name one"
                )
            chosen = pick_run(store, run, data, report)
            if strategy is not None:
                chosen = _under(store, chosen, strategy, options, marks, report)
        asked = Asked(limit, users_with, tuple(ks), exact_to, tuple(by), top)
        config = asked.config(store.datasets.show(chosen.dataset)["fingerprints"])
        if reuse and protocol is None and (found := _same_evaluation(store, chosen, split, score, config)) is not None:
            return found
        return _evaluate(store, chosen, split, asked, score, protocol, report)


@dataclass(frozen=True, slots=True)
class Asked:
    """Which targets an evaluation is of, and what it is to find out; see `evaluate`."""

    limit: int | None
    users_with: str | None
    ks: tuple[int, ...]
    exact_to: int | None
    by: tuple[str, ...]
    top: int | None = None

    def config(self, prints: Mapping[str, str]) -> dict[str, Any]:
        """This as it is stored, with the fingerprints of the catalog that is ranked and of the interactions.

        Args:
            prints: Of the data set: `catalog` and `sequences`.
        """
        some = {"users_with": self.users_with, "exact_to": self.exact_to, "by": list(self.by) or None, "top": self.top}
        given = {name: value for name, value in some.items() if value is not None}
        data = {"catalog": prints["catalog"], "data": prints["sequences"]}
        return {"limit": self.limit, "ks": list(self.ks), **data, **given}


def _evaluate(
    store: Store,
    run: Run,
    split: SplitName,
    asked: Asked,
    score: ScoreName | None,
    protocol: Protocol | None,
    report: Reporter,
) -> EvaluationResult:
    dataset, history = store.datasets.load(run.dataset), run.config.history
    examples = of_users_with(dataset, dataset.examples(split, history.K, history.windows), asked.users_with)
    loaded = load(store, run, score, report, dataset=dataset)
    refuse_learned(store, run, dataset, split)
    counting = None if protocol is None else Counting(dataset, protocol, asked.ks)
    also = None if counting is None else counting.add
    with stoppable(lambda: "nothing of this evaluation is stored; start it again"):
        found = engine.evaluate(
            dataset,
            examples,
            loaded.recommender,
            ks=asked.ks,
            limit=asked.limit,
            exact_to=asked.exact_to,
            by=asked.by,
            top=TOP if asked.top is None else asked.top,
            also=also,
            report=report,
        )
    config = asked.config(dataset.fingerprints)
    each: list[tuple[dict[str, Any], list[MetricRow], list[RankingRow]]] = [(config, found.metrics, found.rankings)]
    if counting is not None:
        each.append((config | counting.config, counting.metrics(), counting.rankings()))
        report.note(counting.note)
    with store.write():
        for own, metrics, rankings in each:
            store.evaluations.add(
                run.name,
                split,
                loaded.recommender.score,
                config=own,
                metrics=metrics,
                rankings=rankings,
                cost=found.cost,
            )
    result = stored_result(store, run, store.evaluations.all(run.name, split)[-1])
    return result if counting is None else replace(result, protocol=protocol, counted=each[1][1])


def refuse_learned(store: Store, run: Run, dataset: Dataset, split: SplitName) -> None:
    """Refuse targets that a run learned from, or was chosen on, in an earlier version of its data set.

    An append alone moves nothing from one split to another; a new split may.

    Raises:
        UsageError: There are such targets.
    """
    place = SPLITS.index(split)
    names = [run.name] if place else []
    with store.read():
        if store.datasets.show(dataset.name)["fingerprints"] != dataset.fingerprints:  # it grew since
            dataset = store.datasets.load(dataset.name)
        while names:
            one = store.runs.get(names.pop())
            names += [part.run for part in one.config.parts] + ([one.parent] if one.parent else [])
            learned = learned_from(store, one, dataset) if one.dataset == dataset.name else None
            if learned is None:
                continue
            earlier = [learned.places[learned.sequences.places_of(part)] for part in SPLITS[:place]]
            shared = len(np.intersect1d(dataset.sequences.places_of(split), np.concatenate(earlier)))
            if shared:
                raise UsageError(
                    f"{shared:,} interactions of the {split} split of {dataset.name!r} were train or validation in "
                    f"version {learned.version.version}, which run {one.name} learned from: it would be asked what it "
                    "knows; train again"
                )


def of_users_with(dataset: Dataset, examples: Sequence[Example], users_with: str | None) -> list[Example]:
    """The targets of users with a number of items in a range: "500+", "20-99" or "40".

    Raises:
        UsageError: It is no range, or no user with a target of this split has so many.
    """
    if users_with is None:
        return list(examples)
    found = re.fullmatch(r"(\d+)(\+|-(\d+))?", users_with)
    if found is None:
        raise UsageError(f'--users-with {users_with!r}: give a range of items, such as "500+" or "20-99"')
    least, most = int(found[1]), inf if found[2] == "+" else int(found[3] or found[1])
    lengths = np.diff(dataset.sequences.offsets)
    chosen = [example for example in examples if least <= lengths[example.user] <= most]
    if not chosen:
        longest = max((int(lengths[example.user]) for example in examples), default=0)
        raise UsageError(
            f"--users-with {users_with!r}: no user with a target in this split has so many items; the longest history "
            f"has {longest}"
        )
    return chosen


def find_evaluation(
    store: Store, run: Run, split: SplitName, *, limit: int | None = None, ks: Sequence[int] = engine.KS
) -> EvaluationResult | None:
    """The newest evaluation of a run by its own score, of the same targets, metrics and catalog; None without one."""
    prints = store.datasets.show(run.dataset)["fingerprints"]
    return _same_evaluation(store, run, split, None, Asked(limit, None, tuple(ks), None, ()).config(prints))


def _same_evaluation(
    store: Store, run: Run, split: SplitName, score: ScoreName | None, config: dict[str, Any]
) -> EvaluationResult | None:
    wanted = (config, score or run.score)
    same = [
        found
        for found in store.evaluations.all(run.name, split)
        if (found.config | {"catalog": found.catalog, "data": found.data}, found.score) == wanted
    ]
    return stored_result(store, run, same[-1]) if same else None


def stored_result(store: Store, run: Run, stored: Evaluation) -> EvaluationResult:
    """An evaluation read back from the store: what is shown is what was stored."""
    return EvaluationResult(
        run=run.name,
        label=run.label,
        dataset=run.dataset,
        split=stored.split,
        score=stored.score,
        num_targets=stored.num_targets,
        num_users=stored.num_users,
        metrics=store.evaluations.metrics(stored.id),
        cost=stored.cost,
        exact_to=stored.exact_to,
    )


def _refuse(baseline: str, **given: object) -> None:
    """Refuse arguments that a baseline has no use for."""
    for name, value in given.items():
        if value is not None:
            raise UsageError(f"--baseline {baseline} takes no {name}; drop it")


def _under(
    store: Store, run: Run, strategy: str, options: dict[str, Any] | None, marks: Marks, report: Reporter
) -> Run:
    """The run that has another's weights and a strategy of its own, and trains nothing.

    Raises:
        NotFoundError: No such strategy. UsageError: The run has no prompt that a strategy could shape.
    """
    if not run.config.strategies:
        raise UsageError(f"run {run.name} ({run.kind}) has no prompt, and so no strategy; drop --strategy")
    planner = find_strategy(strategy).bind(plain_options(options))
    chosen = StrategyConfig(name=planner.strategy.name, options=planner.values)
    own = {"stage": "baseline", "parent": run.name, "strategies": (chosen,), "training": None, "score": run.score}
    config = run.config.model_copy(update=own)
    dataset = store.datasets.load(run.dataset)
    folder = start_folder(store, config, report)
    prints = fingerprints(Saved(config, dataset, start=folder))
    prefix = f"{run.name[:40]}-{strategy}"[:64]  # a name has an end
    return same_or_made(store, config, prints, f"{planner.label}, weights of {run.name}", marks, prefix)


def _untrained_run(
    store: Store,
    like: str | None,
    data: str | None,
    backbone: str | None,
    strategy: str | None,
    options: dict[str, Any] | None,
    marks: Marks,
    report: Reporter,
) -> Run:
    """The run that trains nothing: a backbone with a strategy and a prompt, as another run has them or as given."""
    if like is not None:
        _refuse("untrained of a run", data=data, backbone=backbone, strategy=strategy, options=options or None)
        model = store.runs.get(like)
        if not model.config.strategies:
            raise UsageError(f"run {model.name} has no strategy; name a fine-tuned run")
        dataset = store.datasets.load(model.dataset)
        name, chosen = str(model.config.backbone), model.config.strategies[-1]
        prompt, history = model.config.prompt or PromptConfig(), model.config.history
        layers = model.config.layers
    else:
        if strategy is None:
            raise UsageError("which strategy? give --strategy, such as --strategy pft-s --L 5, or the name of a run")
        dataset = store.datasets.load(pick_dataset(store, data, report))
        name = backbone or DEFAULT_BACKBONE
        if backbone is None:
            report.picked("backbone", name, "the default")
        chosen = StrategyConfig(name=strategy, options=plain_options(options))
        layers = None
    planner = plan_for(chosen)
    pulled = find_backbone(store, name, report)
    if like is None:
        given = {"form": None, "windows": None, "K": None}
        made = is_made_at(pulled.folder)
        prompt, history = shape_defaults(dataset, name, find_kind("title"), None, given, report, made=made)
    config = RunConfig(
        stage="baseline",
        dataset=dataset.name,
        backbone=pulled.name,
        layers=layers,
        strategies=(StrategyConfig(name=chosen.name, options=planner.values),),
        history=history,
        prompt=prompt,
    )
    prints = fingerprints(Saved(config, dataset, start=pulled.folder))
    return same_or_made(store, config, prints, planner.label, marks, UNTRAINED)

"""Verb: evaluate a run, the untrained model or the popularity baseline on held-out targets."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from patchrec.config import PromptConfig, RunConfig, ScoreName, SplitName, StrategyConfig
from patchrec.data.histories import Dataset
from patchrec.errors import UsageError
from patchrec.evaluation import evaluate as engine
from patchrec.model.backbones import DEFAULT_BACKBONE
from patchrec.model.tokenizer import make_encoder, vocab_size
from patchrec.operations.backbones import find_backbone
from patchrec.operations.datasets import pick_dataset
from patchrec.operations.defaults import prompt_defaults
from patchrec.operations.ready import (
    find_same,
    fingerprints,
    make_ready,
    pick_run,
    plain_options,
    versions,
)
from patchrec.plugins import plan_for
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store
from patchrec.store.evaluations import Evaluation, MetricRow
from patchrec.store.runs import Run

Baseline = Literal["popularity", "untrained"]


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """One evaluation, as stored.

    Attributes:
        score: Which score ranked.
        metrics: Each metric over items and titles, seen items dropped and kept, with its interval.
        cost: Compression ratios, tokens and seconds per target.
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


def evaluate(
    run: str | None = None,
    *,
    split: SplitName = "test",
    limit: int | None = None,
    ks: Sequence[int] = engine.KS,
    baseline: Baseline | None = None,
    data: str | None = None,
    backbone: str | None = None,
    strategy: str | None = None,
    options: dict[str, Any] | None = None,
    score: ScoreName | None = None,
    reuse: bool = False,
    home: Path | None = None,
    report: Reporter = SILENT,
) -> EvaluationResult:
    """Rank the whole catalog for held-out targets and store what came of it.

    Args:
        run: Run to evaluate; default: the newest fine-tuned one. With `baseline="untrained"`, the run whose model
            before any training is evaluated, with its strategy and prompt.
        limit: A sample of so many targets, the same for every run.
        baseline: Evaluate a baseline instead.
        reuse: Give the run's newest evaluation back where it is of the same targets, metrics and score.

    Raises:
        NotFoundError: No such run, data set, strategy or backbone. UsageError: Arguments that do not fit.
    """
    with Store.open(home) as store:
        if baseline == "popularity":
            _refuse("popularity", run=run, backbone=backbone, strategy=strategy, options=options or None, score=score)
            chosen = _popularity_run(store, pick_dataset(store, data, report))
        elif baseline == "untrained":
            chosen = _untrained_run(store, run, data, backbone, strategy, options, report)
        else:
            if strategy is not None or backbone is not None or options:
                raise UsageError(
                    "--strategy with its options and --backbone are for --baseline untrained; a run has its own"
                )
            chosen = pick_run(store, run, data, report)
        config = _config(limit, ks, store.datasets.show(chosen.dataset)["fingerprints"]["catalog"])
        if reuse and (found := _same_evaluation(store, chosen, split, score, config)) is not None:
            return found
        return _evaluate(store, chosen, split, limit, ks, score, report)


def _evaluate(
    store: Store,
    run: Run,
    split: SplitName,
    limit: int | None,
    ks: Sequence[int],
    score: ScoreName | None,
    report: Reporter,
) -> EvaluationResult:
    prompt = run.config.prompt
    if run.stage == "popularity":
        dataset = store.datasets.load(run.dataset)
        examples = dataset.examples(split, prompt.K, prompt.windows)
        found = engine.evaluate_popularity(dataset, examples, ks=ks, limit=limit, report=report)
        ranked_by: ScoreName = "catalog"
    else:
        ready = make_ready(store, run, score, report)
        dataset, ranked_by = ready.dataset, ready.scorer.score
        examples = dataset.examples(split, prompt.K, prompt.windows)
        found = engine.evaluate(
            dataset, examples, ready.scorer, ready.planner, K=prompt.K, ks=ks, limit=limit, report=report
        )
    config = _config(limit, ks, dataset.catalog.fingerprint)
    store.evaluations.add(
        run.name, split, ranked_by, config=config, metrics=found.metrics, rankings=found.rankings, cost=found.cost
    )
    return _result(store, run, store.evaluations.all(run.name, split)[-1])


def _config(limit: int | None, ks: Sequence[int], catalog: str) -> dict[str, Any]:
    """What an evaluation was asked for, and the fingerprint of the catalog that it ranks."""
    return {"limit": limit, "ks": list(ks), "catalog": catalog}


def _same_evaluation(
    store: Store, run: Run, split: SplitName, score: ScoreName | None, config: dict[str, Any]
) -> EvaluationResult | None:
    wanted = (config, score or run.score)
    same = [
        found
        for found in store.evaluations.all(run.name, split)
        if (found.config | {"catalog": found.catalog}, found.score) == wanted
    ]
    return _result(store, run, same[-1]) if same else None


def _result(store: Store, run: Run, stored: Evaluation) -> EvaluationResult:
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
    )


def _refuse(baseline: str, **given: object) -> None:
    """Refuse arguments that a baseline has no use for."""
    for name, value in given.items():
        if value is not None:
            raise UsageError(f"--baseline {baseline} takes no {name}; drop it")


def _popularity_run(store: Store, data: str) -> Run:
    dataset = store.datasets.load(data)
    prints = {"catalog": dataset.catalog.fingerprint, "split": dataset.sequences.fingerprint}
    config = RunConfig(stage="popularity", dataset=data, backbone=None, prompt=_words(dataset))
    return _made_once(store, config, "popularity", prints)


def _words(dataset: Dataset) -> PromptConfig:
    return PromptConfig(noun=dataset.noun, verb=dataset.verb)


def _untrained_run(
    store: Store,
    like: str | None,
    data: str | None,
    backbone: str | None,
    strategy: str | None,
    options: dict[str, Any] | None,
    report: Reporter,
) -> Run:
    """The run that trains nothing: a backbone with a strategy and a prompt, as another run has them or as given."""
    if like is not None:
        _refuse("untrained of a run", data=data, backbone=backbone, strategy=strategy, options=options or None)
        model = store.runs.get(like)
        if not model.config.strategies:
            raise UsageError(f"run {model.name} has no strategy; name a fine-tuned run")
        dataset = store.datasets.load(model.dataset)
        name, chosen, prompt = str(model.config.backbone), model.config.strategies[-1], model.config.prompt
    else:
        if strategy is None:
            raise UsageError("which strategy? give --strategy, such as --strategy pft-s --L 5, or the name of a run")
        dataset = store.datasets.load(pick_dataset(store, data, report))
        name = backbone or DEFAULT_BACKBONE
        if backbone is None:
            report.picked("backbone", name, "the default")
        chosen = StrategyConfig(name=strategy, options=plain_options(options))
        prompt = prompt_defaults(dataset, name, None, {"form": None, "windows": None, "K": None}, report)
    planner = plan_for(chosen)
    pulled = find_backbone(store, name, report)
    name, folder = pulled.name, pulled.folder
    encoder = make_encoder(folder, dataset.catalog.titles, prompt, vocab_size(folder))
    config = RunConfig(
        stage="untrained",
        dataset=dataset.name,
        backbone=name,
        strategies=(StrategyConfig(name=chosen.name, options=planner.values),),
        prompt=prompt,
    )
    return _made_once(store, config, planner.label, fingerprints(dataset, encoder.prompt, folder))


def _made_once(store: Store, config: RunConfig, label: str, prints: dict[str, str]) -> Run:
    """The stored run of this configuration; it is made, finished, where there is none."""
    same = find_same(store, config, prints)
    if same is not None:
        return same
    run = store.runs.create(config, label=label, versions=versions(), fingerprints=prints)
    store.runs.finish(run.name, {})
    return store.runs.get(run.name)

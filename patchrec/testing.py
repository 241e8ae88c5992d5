"""The contracts of strategies and recommenders as tests, shipped for whoever writes one.

    class TestRecency(StrategyContract):
        strategy = STRATEGY
        options = {"M": 5}

    class TestLastItem(RecommenderContract):
        kind = KIND

`check_strategy(STRATEGY, M=5)` and `check_recommender(KIND)` run the same tests in one call. They need no pytest, but
are made for it.
"""

import json
import random
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from patchrec.config import (
    HistoryConfig,
    KindConfig,
    PartConfig,
    PromptConfig,
    RunConfig,
    StrategyConfig,
    TrainingConfig,
)
from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Example, Sequences
from patchrec.errors import UsageError
from patchrec.history import PER_ITEM, History, IntArray, Lengths
from patchrec.layout import Layout
from patchrec.recommender import Fitting, Kind, Part, Query, Recommender, Saved, locate_each, log_probs, rank
from patchrec.strategy import EVALUATION, Moment, Planner, Strategy

NUM_ITEMS = 1_000_000


@cache
def make_lengths() -> Lengths:
    """Titles of 1 to 11 tokens, and separators after titles and patches."""
    return Lengths(2 + np.arange(NUM_ITEMS, dtype=np.int64) % 11, 2)


@cache
def make_fields() -> list[dict[str, Any]]:
    """A catalog that knows the `year` of every item."""
    return [{"year": 1960 + year} for year in range(50)] * (NUM_ITEMS // 50)


def make_history(num_items: int, *, timestamps: bool = True, start: int = 0, seed: int = 0) -> History:
    """A made-up history: sessions of a few items with minutes in between, then days of pause, some times equal.

    Ratings are 1 to 5, some missing. A longer history of one seed begins with the shorter ones.
    """
    random_state = np.random.default_rng(seed)
    draws = random_state.random((num_items, 3))
    items = (draws[:, 0] * NUM_ITEMS).astype(np.int64)
    visit = draws[:, 1] < 0.7
    pauses = np.where(visit, np.floor(draws[:, 2] * 5) * 60, 3600 + draws[:, 2] ** 3 * 60 * 86_400).astype(np.int64)
    ratings = np.floor(draws[:, 2] * 50) % 6
    ratings[ratings == 0] = np.nan
    history = History(items, None, start, ratings=ratings, fields=make_fields(), measure=make_lengths)
    if not timestamps:
        return history
    return replace(history, timestamps=1_000_000_000 + np.cumsum(pauses), sessions=np.cumsum(~visit))


def _arrays(history: History) -> dict[str, Any]:
    """What a history has for each of its items."""
    return {name: array for name in PER_ITEM if (array := getattr(history, name)) is not None}


def _first(history: History, num_items: int) -> History:
    """The oldest items of a history, as views of its arrays."""
    return replace(history, **{name: array[:num_items] for name, array in _arrays(history).items()})


def make_moments(num_items: int, seed: int = 0) -> list[Moment]:
    """Evaluation, and the beginning, the middle and the end of training."""
    draws = np.random.default_rng(seed).random(num_items)
    return [EVALUATION, *(Moment(progress, draws) for progress in (0.0, 0.5, 1.0))]


class StrategyContract:
    """Derive a test class from it and name the strategy and, where wanted, option values.

    Attributes:
        strategy: What is tested.
        options: Option values to test it with; derive one class for each set that matters.
        max_items: Every length of a history up to this is tried.
        long_items, max_seconds: A history of so many items must be planned in this time: linear work is far below.
    """

    strategy: ClassVar[Strategy]
    options: ClassVar[Mapping[str, object]] = {}
    max_items: ClassVar[int] = 200
    long_items: ClassVar[int] = 20_000
    max_seconds: ClassVar[float] = 5.0

    @property
    def planner(self) -> Planner:
        """The strategy under test with its options."""
        return self.strategy.bind(self.options)

    def test_covers_every_history_length(self) -> None:
        """From the empty history on, every position is in exactly one span (`Layout` and `Planner` see to it)."""
        for history, moment in self._cases(range(self.max_items + 1)):
            layout = self.planner.plan(history, moment)
            _require(len(layout) == len(history), f"{layout} does not cover {len(history)} items")

    def test_shows_something_of_every_history(self) -> None:
        """A prompt without any history predicts nothing of the user."""
        for history, moment in self._cases([*range(1, 20), self.max_items]):
            layout = self.planner.plan(history, moment)
            _require(layout.num_units > 0, f"all of {len(history)} items are dropped at progress {moment.progress}")

    def test_equal_layouts_are_one_value(self) -> None:
        """Spans are plain numbers in joined form, so that equal layouts compare, hash and store alike."""
        for history, moment in self._cases([*range(20), self.max_items]):
            layout = self.planner.plan(history, moment)
            again = Layout.of((span.start, span.stop, span.grain) for span in layout.spans)
            _require(layout == again and hash(layout) == hash(again), f"{layout} is not {again}")
            json.dumps([(span.start, span.stop, span.grain) for span in layout.spans])

    def test_same_input_same_layout(self) -> None:
        """Neither other calls, nor the global random state, nor the clock changes a layout."""
        cases = list(self._cases((0, 1, 12, 57, self.max_items)))
        before = [self.planner.plan(history, moment) for history, moment in cases]
        shaken = [self._plan_shaken(history, moment, seed) for seed, (history, moment) in enumerate(reversed(cases))]
        _require(before == shaken[::-1], "planning again in another order gave another layout")

    def test_leaves_its_input_alone(self) -> None:
        """The arrays of a history and of a moment are shared; a strategy only reads them."""
        for history, moment in self._cases((0, 1, 12, self.max_items)):
            arrays = [*_arrays(history).values(), *([] if moment.draws is None else [moment.draws])]
            copies = [array.copy() for array in arrays]
            self.planner.plan(history, moment)
            same = all(np.array_equal(array, copy, equal_nan=True) for array, copy in zip(arrays, copies, strict=True))
            _require(same, f"an input array changed while planning {len(history)} items")

    def test_ignores_the_future(self) -> None:
        """A history is often a view of a longer array; what comes after it must not matter."""
        for num_items in (1, 12, 57, self.max_items):
            past = make_history(num_items)
            layouts = []
            for future in (make_history(50, seed=1), make_history(50, seed=2)):
                after = _arrays(future)
                longer: dict[str, Any] = {
                    name: np.concatenate([array, after[name]]) for name, array in _arrays(past).items()
                }
                layouts.append(self.planner.plan(_first(replace(past, **longer), num_items)))
            _require(layouts[0] == layouts[1], f"what follows a history of {num_items} items changed its layout")

    def test_evaluation_needs_no_draws(self) -> None:
        """Without draws a layout is certain at every progress."""
        for num_items in (0, 1, 12, self.max_items):
            for progress in (0.0, 0.5, 1.0):
                history, moment = make_history(num_items), Moment(progress)
                _require(
                    self.planner.plan(history, moment) == self.planner.plan(history, moment),
                    f"planning {num_items} items without draws is uncertain",
                )

    def test_works_without_timestamps_or_says_so(self) -> None:
        """A data set may have no times: plan, or raise UsageError, whatever the length."""
        self._plan_all_or_none("timestamps", "sessions")

    def test_works_without_what_else_may_lack_or_says_so(self) -> None:
        """The same of named sessions, of ratings, of fields of the catalog, and of lengths where no model is known."""
        for name in ("sessions", "ratings", "fields", "measure"):
            self._plan_all_or_none(name)

    def test_option_values_survive_json(self) -> None:
        """A run stores the values; binding them again gives the same options."""
        stored = json.loads(json.dumps(self.planner.values, allow_nan=False))
        _require(self.strategy.bind(stored) == self.planner, f"{stored} does not bind to {self.planner.options!r}")

    def test_long_histories_take_linear_time(self) -> None:
        """Quadratic work would take minutes."""
        history = make_history(self.long_items)
        for moment in (EVALUATION, Moment(0.5, np.random.default_rng(0).random(self.long_items))):
            started = time.perf_counter()
            self.planner.plan(history, moment)
            seconds = time.perf_counter() - started
            _require(seconds < self.max_seconds, f"{self.long_items} items took {seconds:.1f} s")

    def _cases(self, lengths: Iterable[int]) -> Iterator[tuple[History, Moment]]:
        """A history of each length at every moment, some with older items cut off."""
        longest = make_history(self.max_items)
        for num_items in lengths:
            history = _first(longest, num_items)
            for number, moment in enumerate(make_moments(num_items)):
                yield replace(history, start=17 * (number % 2)), moment

    def _plan_all_or_none(self, *missing: str) -> None:
        """Histories that lack something are planned, or refused, whatever their length."""
        refused = set()
        for num_items in (0, 1, 12, self.max_items):
            try:
                lacking: dict[str, Any] = dict.fromkeys(missing)
                self.planner.plan(replace(make_history(num_items), **lacking))
            except UsageError:
                refused.add(True)
            else:
                refused.add(False)
        what = " and ".join("lengths" if name == "measure" else name for name in missing)
        _require(len(refused) == 1, f"some histories without {what} are refused and others are not")

    def _plan_shaken(self, history: History, moment: Moment, seed: int) -> Layout:
        """Plan with fresh arrays under another global random state, which stays as it was afterwards."""
        states = random.getstate(), np.random.get_state()
        random.seed(seed)
        np.random.seed(seed)
        try:
            draws = moment.draws
            return self.planner.plan(
                replace(history, **{name: array.copy() for name, array in _arrays(history).items()}),
                Moment(moment.progress, None if draws is None else draws.copy()),
            )
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


def check_strategy(strategy: Strategy, **options: object) -> None:
    """Run every test of the contract on a strategy with these option values.

    Raises:
        AssertionError: A fact of the contract does not hold.
        PluginError: The strategy failed, or its layout does not cover a history.
        UsageError: The option values are wrong.
    """
    _run_all(type("Checked", (StrategyContract,), {"strategy": strategy, "options": options})())


# Titles that share beginnings, one inside another, and two items of one title
TITLES = ("Alien", "Aliens", "Alien 3", "Heat", "Heat", "Up", "Ran", "Ronin", "Big", "Big Fish", "It", "Jaws")


@cache
def make_dataset(num_users: int = 12) -> Dataset:
    """A made-up data set of 12 items, with times: each user goes through the catalog in order, with some noise.

    The last item of each user is test, the one before validation.
    """
    draws = np.random.default_rng(0)
    lengths = draws.integers(6, 15, num_users)
    rows = []
    for length in lengths.tolist():
        steps = np.cumsum(1 + (draws.random(length) < 0.1))
        rows.append((draws.integers(0, len(TITLES)) + steps) % len(TITLES))
    items = np.concatenate(rows).astype(np.int64)
    sequences = Sequences(
        tuple(f"u{user}" for user in range(num_users)),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        items,
        (1_000_000_000 + np.cumsum(draws.integers(0, 60_000, len(items)))).astype(np.int64),
        (lengths - 2).astype(np.int64),
        (lengths - 1).astype(np.int64),
    )
    metadata = tuple({"year": 1970 + item} for item in range(len(TITLES)))
    catalog = Catalog(tuple(f"i{item}" for item in range(len(TITLES))), TITLES, metadata)
    return Dataset("made-up", catalog, sequences, min_history=1, noun="movie", verb="watched")


class RecommenderContract:
    """Derive a test class from it and name the kind and, where wanted, option values.

    Attributes:
        kind: What is tested.
        options: Option values to test it with; derive one class for each set that matters.
        training: Training settings beside the kind's own: few, so that a test takes a second.
        K: History length.
        tolerance: How far answers may differ between batches, in nats.
        backbone, strategy: Of a head of a language model. backbone, starts: Folders of the models that a baseline
            begins with, if with any.

    Each run that a kind reads (`Kind.reads`) is popularity here. A kind that reads others may choose among what can be
    ranked: then a filter is held to be what seen items are.
    """

    kind: ClassVar[Kind]
    options: ClassVar[Mapping[str, object]] = {}
    training: ClassVar[Mapping[str, object]] = {"epochs": 2, "validate_every": None, "patience": None}
    K: ClassVar[int] = 8
    tolerance: ClassVar[float] = 1e-4
    backbone: ClassVar[Path | None] = None
    starts: ClassVar[Mapping[str, Path]] = {}
    strategy: ClassVar[str] = "item-mean"

    def test_every_answer_is_a_distribution_over_the_items(self) -> None:
        """Log-probabilities of all items, or of all titles, are finite and add up to 1."""
        with self._fitted() as fitted:
            found = log_probs(fitted, self._queries())
        dataset = make_dataset()
        _require(found.shape == (len(self._queries()), len(TITLES)), f"log-probabilities of shape {found.shape}")
        _require(bool(np.isfinite(found).all()), "some log-probabilities are not finite")
        distinct = np.unique(dataset.catalog.title_of_item, return_index=True)[1]
        columns = found if fitted.level == "item" else found[:, distinct]
        totals = np.exp(columns).sum(axis=1)
        _require(bool(np.allclose(totals, 1, atol=1e-4)), f"probabilities add up to {totals.min()} to {totals.max()}")

    def test_what_follows_a_history_does_not_change_its_answer(self) -> None:
        """A history is often a view of a longer array; what comes after it must not matter."""
        with self._fitted() as fitted:
            answers = []
            for future in (np.arange(6), np.arange(6)[::-1]):
                items = np.concatenate([[0, 1, 2], future]).astype(np.int64)
                times = 1_000_000_000 + np.arange(len(items)) * 1000
                answers.append(log_probs(fitted, [Query(History(items[:3], times[:3]))]))
        _require(bool(np.array_equal(answers[0], answers[1])), "what follows a history changed its answer")

    def test_an_answer_is_the_same_alone_and_in_a_batch(self) -> None:
        """Whatever else is asked, and in whatever order."""
        queries = self._queries()
        with self._fitted() as fitted:
            together = log_probs(fitted, queries)
            turned = log_probs(fitted, queries[::-1])[::-1]
            alone = np.concatenate([log_probs(fitted, [query]) for query in queries])
        for others in (turned, alone):
            worst = float(np.abs(together - others).max())
            _require(worst <= self.tolerance, f"answers differ by {worst} nats with what else is asked")

    def test_rankings_are_the_best_of_the_log_probabilities(self) -> None:
        """For every k, with seen items left out and filters held to; none twice, best first."""
        queries, dataset = self._queries(), make_dataset()
        allowed = np.arange(len(TITLES)) % 3 != 0
        with self._fitted() as fitted:
            scores = log_probs(fitted, queries)
            for mask in (None, allowed):
                own = scores
                if mask is not None and self.kind.reads:
                    barred = np.flatnonzero(~mask)
                    own = log_probs(fitted, [replace(one, seen=np.union1d(one.seen, barred)) for one in queries])
                for k in (1, 3, len(TITLES) + 5):
                    for row, query, found in zip(own, queries, rank(fitted, queries, k, allowed=mask), strict=True):
                        self._check_ranking(row, query, found, k, mask)
            try:
                rank(fitted, queries, 0)
            except UsageError:
                pass
            else:
                raise AssertionError("k = 0 was not refused")
        _require(len(dataset.catalog) == len(TITLES), "the data set changed")

    def _check_ranking(self, scores: Any, query: Query, found: Any, k: int, allowed: Any) -> None:
        mask = np.ones(len(scores), dtype=np.bool_) if allowed is None else allowed.copy()
        mask[query.seen] = False
        items = [line.item for line in found.recommendations]
        _require(len(items) == min(k, int(mask.sum())), f"{len(items)} items for k = {k}")
        _require(len(set(items)) == len(items), "an item stands in a ranking twice")
        _require(bool(mask[items].all()), "an item that is filtered out or was seen is ranked")
        _require((found.shortfall is None) == (len(items) == k), "a short ranking does not say why, or a full one does")
        left = np.sort(scores[mask])[::-1][: len(items)]
        worst = float(np.abs(np.array([scores[item] for item in items]) - left).max(initial=0))
        _require(worst <= self.tolerance, f"a ranking is not the best of the log-probabilities, by {worst} nats")

    def test_a_target_stands_where_it_stands_among_all_items(self) -> None:
        """Up to every limit, whether it was seen or not; where the recommender locates no targets, all are scored."""
        queries = self._queries()
        targets = [(3 * number) % len(TITLES) for number in range(len(queries))]
        with self._fitted() as fitted:
            scores = log_probs(fitted, queries)
            for limit in (1, 3, len(TITLES)):
                located = dict(locate_each(fitted, queries, targets, limit, top=min(2, limit)))
                _require(sorted(located) == list(range(len(queries))), "a query has no answer, or has two")
                for number, (row, query, target) in enumerate(zip(scores, queries, targets, strict=True)):
                    self._check_located(row, query, target, located[number], limit)

    def _check_located(self, scores: Any, query: Query, target: int, found: Any, limit: int) -> None:
        items, own = np.asarray(found.items), np.asarray(found.log_probs)
        _require(target in items.tolist(), "a target is not among the items that say where it stands")
        for left_out in (np.empty(0, dtype=np.int64), query.seen):
            known, among_all = ~np.isin(items, left_out), ~np.isin(np.arange(len(scores)), left_out)
            ahead = int((own[known] > own[items == target][0] + self.tolerance).sum())
            least = int((scores[among_all] > scores[target] + 2 * self.tolerance).sum())
            most = int((scores[among_all] > scores[target]).sum())
            _require(ahead <= most, f"{ahead} items stand before a target, {most} by the log-probabilities")
            _require(
                min(ahead, limit) >= min(least, limit),
                f"{ahead} items stand before a target, {least} by the log-probabilities, and ranks up to {limit} count",
            )

    def test_saved_and_loaded_it_answers_bitwise_the_same(self) -> None:
        """And fitted again with the same seed, too."""
        with self._fitted() as fitted:
            first = log_probs(fitted, self._queries())
        with self._fitted() as again:
            second = log_probs(again, self._queries())
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = self._fit(Path(folder))
            third = log_probs(self._load(checkpoint), self._queries())
        _require(bool(np.array_equal(first, second)), "loaded twice it gave two answers")
        _require(bool(np.array_equal(first, third)), "fitted again with the same seed it gave another answer")

    def test_option_values_survive_json(self) -> None:
        """A run stores the values; binding them again gives the same options."""
        bound = self.kind.bind(self.options)
        stored = json.loads(json.dumps(bound.options.values, allow_nan=False))
        _require(self.kind.bind(stored) == bound, f"{stored} does not bind to {bound.options!r}")

    @property
    def _begins_with_weights(self) -> bool:
        return self.kind.is_head or (
            self.backbone is not None and self.kind.backbone != "none" and not self.kind.bind(self.options).is_scratch
        )

    def _config(self) -> RunConfig:
        read = dict.fromkeys(self.kind.reads, "popularity-1")
        bound = self.kind.bind({**read, **self.options})
        training = None
        if self.kind.training is not None:
            training = TrainingConfig.model_validate({**(bound.training or {}), **self.training})
        head = self.kind.is_head
        return RunConfig(
            stage="finetune" if head else "baseline",
            dataset="made-up",
            kind=KindConfig(name=self.kind.name, options=bound.options.values),
            backbone=str(self.backbone) if self._begins_with_weights else None,
            parts=tuple(PartConfig(run=run, weight=1.0) for run in read.values()),
            strategies=(StrategyConfig(name=self.strategy),) if head else (),
            history=HistoryConfig(K=self.K, windows="anchored" if head else "sliding"),
            prompt=PromptConfig(form="continuation", noun="movie", verb="watched") if head else None,
            training=training,
            score=self.kind.scores[0],
        )

    def _fit(self, folder: Path) -> Path:
        """The checkpoint of a new run."""
        from patchrec.training.loop import train

        config = self._config()
        start = self.backbone if self._begins_with_weights else None
        starts = {} if start is None else self.starts
        learner = self.kind.learner(Fitting(config, make_dataset(), start, parts=self._parts(), starts=starts))
        return train(config, make_dataset(), learner, folder=folder / "run").checkpoint.path

    def _load(self, checkpoint: Path) -> Recommender:
        own = Saved(self._config(), make_dataset(), folder=checkpoint, start=self.backbone, parts=self._parts())
        return self.kind.load(own)

    def _parts(self) -> tuple[Part, ...]:
        """Popularity for each run that the kind reads."""
        if not self.kind.reads:
            return ()
        from patchrec.plugins import find_kind

        kind, dataset = find_kind("popularity"), make_dataset()
        config = RunConfig(
            stage="baseline",
            dataset="made-up",
            kind=KindConfig(name=kind.name),
            backbone=None,
            prompt=None,
            score="item",
        )
        return tuple(Part(kind.load(Saved(config, dataset)), 1.0, config.history) for _ in self.kind.reads)

    @contextmanager
    def _fitted(self) -> Iterator[Recommender]:
        """What was fitted once for all tests of a class, loaded anew."""
        folders = _FOLDERS.setdefault(type(self), [])
        if not folders:
            folders.append(tempfile.TemporaryDirectory())
            self._fit(Path(folders[0].name))
        (checkpoint,) = (Path(folders[0].name) / "run").glob("step-*")
        yield self._load(checkpoint)

    def _queries(self) -> list[Query]:
        """The last targets of some users, an item that comes again among what was seen, and a short history."""
        dataset = make_dataset()
        examples = [
            Example.at(user, len(dataset.sequences.items_of(user)) - back, self.K, "sliding")
            for user in range(4)
            for back in (1, 0)
        ]
        seen: IntArray = np.array([3, 3, 5], dtype=np.int64)
        short = History(np.array([7], dtype=np.int64), np.array([1_000_000_000], dtype=np.int64))
        return [*(Query.of(dataset, example) for example in examples), Query(short, seen)]


_FOLDERS: dict[type, list[tempfile.TemporaryDirectory[str]]] = {}  # removed when Python ends


def check_recommender(kind: Kind, **options: object) -> None:
    """Run every test of the contract on a kind of recommender with these option values.

    Raises:
        AssertionError: A fact of the contract does not hold.
        PluginError: The model failed, or its scores are no distribution.
        UsageError: The option values are wrong.
    """
    _run_all(type("Checked", (RecommenderContract,), {"kind": kind, "options": options})())


def _run_all(tested: object) -> None:
    for name in dir(tested):
        if name.startswith("test_"):
            getattr(tested, name)()


def _require(fact: bool, otherwise: str) -> None:
    if not fact:
        raise AssertionError(otherwise)

"""The contract of a strategy as tests, shipped for whoever writes one. It needs no pytest, but is made for it.

    class TestRecency(StrategyContract):
        strategy = STRATEGY
        options = {"M": 5}

`check_strategy(STRATEGY, M=5)` runs the same tests in one call.
"""

import json
import random
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np

from patchrec.errors import UsageError
from patchrec.history import History
from patchrec.layout import Layout
from patchrec.strategy import EVALUATION, Moment, Planner, Strategy

NUM_ITEMS = 1_000_000


def make_history(num_items: int, *, timestamps: bool = True, start: int = 0, seed: int = 0) -> History:
    """A made-up history: visits of a few items with minutes in between, then days of pause, some times equal.

    A longer history of one seed begins with the shorter ones.
    """
    random_state = np.random.default_rng(seed)
    draws = random_state.random((num_items, 3))
    items = (draws[:, 0] * NUM_ITEMS).astype(np.int64)
    visit = draws[:, 1] < 0.7
    pauses = np.where(visit, np.floor(draws[:, 2] * 5) * 60, 3600 + draws[:, 2] ** 3 * 60 * 86_400).astype(np.int64)
    return History(items, 1_000_000_000 + np.cumsum(pauses) if timestamps else None, start)


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
            arrays = [array for array in (history.items, history.timestamps, moment.draws) if array is not None]
            copies = [array.copy() for array in arrays]
            self.planner.plan(history, moment)
            same = all(np.array_equal(array, copy) for array, copy in zip(arrays, copies, strict=True))
            _require(same, f"an input array changed while planning {len(history)} items")

    def test_ignores_the_future(self) -> None:
        """A history is often a view of a longer array; what comes after it must not matter."""
        for num_items in (1, 12, 57, self.max_items):
            past = make_history(num_items)
            layouts = []
            for future in (make_history(50, seed=1), make_history(50, seed=2)):
                items = np.concatenate([past.items, future.items])
                times = np.concatenate([times for times in (past.timestamps, future.timestamps) if times is not None])
                layouts.append(self.planner.plan(History(items[:num_items], times[:num_items])))
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
        refused = set()
        for num_items in (0, 1, 12, self.max_items):
            try:
                self.planner.plan(make_history(num_items, timestamps=False))
            except UsageError:
                refused.add(True)
            else:
                refused.add(False)
        _require(len(refused) == 1, "some histories without timestamps are refused and others are not")

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
        times = longest.timestamps
        for num_items in lengths:
            history = History(longest.items[:num_items], None if times is None else times[:num_items])
            for number, moment in enumerate(make_moments(num_items)):
                yield replace(history, start=17 * (number % 2)), moment

    def _plan_shaken(self, history: History, moment: Moment, seed: int) -> Layout:
        """Plan with fresh arrays under another global random state, which stays as it was afterwards."""
        states = random.getstate(), np.random.get_state()
        random.seed(seed)
        np.random.seed(seed)
        try:
            times, draws = history.timestamps, moment.draws
            return self.planner.plan(
                History(history.items.copy(), None if times is None else times.copy(), history.start),
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
    tested = type("Checked", (StrategyContract,), {"strategy": strategy, "options": options})()
    for name in dir(tested):
        if name.startswith("test_"):
            getattr(tested, name)()


def _require(fact: bool, otherwise: str) -> None:
    if not fact:
        raise AssertionError(otherwise)

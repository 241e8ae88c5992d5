import subprocess
import sys
from typing import Literal

import numpy as np
import pytest
from pydantic import Field

from patchrec.errors import PluginError, UsageError
from patchrec.history import History
from patchrec.layout import Grain, Layout
from patchrec.options import Options
from patchrec.strategy import EVALUATION, Moment, Strategy
from patchrec.testing import StrategyContract, check_strategy, make_history


class MOptions(Options):
    L: int = Field(5, ge=1)
    order: Literal["old", "new"] = "old"
    share: float = 0.5


def text(history, options, moment):
    return Layout.of([(0, len(history), Grain.TEXT)])


SIMPLE = Strategy("simple", "everything as text", text, MOptions)


def test_default_values_are_bound():
    assert SIMPLE.bind().values == {"L": 5, "order": "old", "share": 0.5}


def test_none_counts_as_not_given():
    assert SIMPLE.bind({"L": None}) == SIMPLE.bind()


def test_text_of_the_command_line_becomes_a_number():
    assert SIMPLE.bind({"L": "7"}).values["L"] == 7


def test_an_unknown_option_is_refused_with_a_guess():
    with pytest.raises(UsageError, match="strategy simple: no option '--ordr'; did you mean '--order'"):
        SIMPLE.bind({"ordr": "new"})


def test_a_strategy_without_options_says_so():
    with pytest.raises(UsageError, match="strategy plain has no options, got --L"):
        Strategy("plain", "no options", text).bind({"L": 1})


def test_all_faults_of_the_options_are_told_at_once():
    with pytest.raises(UsageError) as caught:
        SIMPLE.bind({"L": 0, "order": "newest"})
    assert str(caught.value) == (
        "strategy simple: --L=0: input should be greater than or equal to 1; "
        "--order='newest': input should be 'old' or 'new'"
    )


def test_a_required_option_is_named():
    class Required(Options):
        time_window: str

    with pytest.raises(UsageError, match="strategy needy: --time-window is required"):
        Strategy("needy", "needs a window", text, Required).bind()


def test_a_number_json_cannot_hold_is_refused():
    with pytest.raises(UsageError, match="share"):
        SIMPLE.bind({"share": "inf"})


def test_the_label_shows_numbers_always_and_words_where_they_are_not_the_default():
    assert SIMPLE.bind().label == "simple L=5 share=0.5"
    assert SIMPLE.bind({"L": 2, "order": "new"}).label == "simple L=2 order=new share=0.5"


@pytest.mark.parametrize("name", ["PFT", "pft_s", "", "-a", "a-", "a--b", "a b", "a\n", 7, None])
def test_a_strategy_name_is_lower_case_with_hyphens(name):
    with pytest.raises(PluginError, match="strategy name"):
        Strategy(name, "a summary", text)


@pytest.mark.parametrize("summary", ["", " ", "two\nlines", None])
def test_a_summary_is_one_line(summary):
    with pytest.raises(PluginError, match="summary"):
        Strategy("a", summary, text)


@pytest.mark.parametrize("plan", [None, "text", lambda history: None, lambda: None, lambda h, o, m, more: None])
def test_a_plan_takes_history_options_and_moment(plan):
    with pytest.raises(PluginError, match=r"plan\(history, options, moment\)"):
        Strategy("a", "a summary", plan)


@pytest.mark.parametrize("options", [None, dict, MOptions(), Options.__base__])
def test_options_are_a_model(options):
    with pytest.raises(PluginError, match="subclass of Options"):
        Strategy("a", "a summary", text, options)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (lambda history, options, moment: [(0, len(history), Grain.TEXT)], "returned list, not a Layout"),
        (lambda history, options, moment: None, "returned NoneType, not a Layout"),
        (lambda history, options, moment: Layout.of([(0, 11, Grain.TEXT)]), "covered 11 of 12"),
        (lambda history, options, moment: Layout.of([(0, 13, Grain.TEXT)]), "covered 13 of 12"),
        (lambda history, options, moment: Layout.of([(1, 12, Grain.TEXT)]), "ValueError"),
        (lambda history, options, moment: 1 / 0, "failed on a history of 12: ZeroDivisionError: division by zero"),
        (lambda history, options, moment: sys.exit(3), "SystemExit"),
        (lambda history, options, moment: moment.draws[0], "TypeError"),
    ],
)
def test_a_plan_that_breaks_the_contract_is_a_plugin_error(plan, message):
    with pytest.raises(PluginError, match=message):
        Strategy("broken", "breaks the contract", plan).bind().plan(make_history(12))


def test_a_strategy_may_refuse_data_as_wrong_usage():
    def plan(history, options, moment):
        raise UsageError("this data set has no timestamps")

    with pytest.raises(UsageError, match="no timestamps"):
        Strategy("picky", "refuses", plan).bind().plan(make_history(3))


def test_evaluation_is_certain_and_complete():
    assert EVALUATION.progress == 1
    assert EVALUATION.draws is None


def test_array_types_are_there_for_those_who_ask():
    from patchrec.history import BoolArray, FloatArray, IntArray

    assert len({str(kind) for kind in (IntArray, FloatArray, BoolArray)}) == 3
    assert IntArray | None
    with pytest.raises(ImportError):
        from patchrec.history import ComplexArray  # noqa: F401


def test_strategies_import_no_array_library():
    code = (
        "import sys, patchrec.plugins as p; p.load(third_party=False); assert p.strategies();"
        "print([m for m in ('numpy', 'torch', 'transformers', 'rich', 'typer') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


class TestContractOfASimpleStrategy(StrategyContract):
    strategy = SIMPLE


STATE = {"calls": 0}


def random_plan(history, options, moment):
    cut = np.random.randint(0, len(history) + 1)
    return Layout.of([(0, cut, Grain.ITEM), (cut, len(history), Grain.TEXT)])


def remembering_plan(history, options, moment):
    STATE["calls"] += 1
    return Layout.of([(0, len(history), Grain.ITEM if STATE["calls"] % 3 else Grain.TEXT)])


def peeking_plan(history, options, moment):
    whole = history.items if history.items.base is None else history.items.base
    return Layout.of([(0, len(history), Grain.ITEM if whole[-1] % 2 else Grain.TEXT)])


def writing_plan(history, options, moment):
    history.items[:] = 0
    return text(history, options, moment)


def dropping_plan(history, options, moment):
    return Layout.of([(0, len(history), Grain.DROPPED)])


def drawing_plan(history, options, moment):
    return Layout.of([(i, i + 1, Grain.ITEM if moment.draws[i] < 0.5 else Grain.TEXT) for i in range(len(history))])


def short_plan(history, options, moment):
    return Layout.of([(0, min(len(history), 100), Grain.TEXT)])


def slow_plan(history, options, moment):
    return text(history, options, moment) if [sum(history.items[:i]) for i in range(len(history))] else Layout.of([])


def timed_plan(history, options, moment):
    cut = int((np.diff(history.timestamps) > 60).sum()) if len(history) > 3 else 0
    return Layout.of([(0, cut, Grain.ITEM), (cut, len(history), Grain.TEXT)])


@pytest.mark.parametrize(
    "plan",
    [
        random_plan,
        remembering_plan,
        peeking_plan,
        writing_plan,
        dropping_plan,
        drawing_plan,
        short_plan,
        timed_plan,
    ],
)
def test_the_contract_tests_find_the_fault(plan):
    with pytest.raises((AssertionError, PluginError)):
        check_strategy(Strategy("faulty", "has a fault", plan))


def test_the_contract_tests_find_quadratic_work():
    class Slow(StrategyContract):
        strategy = Strategy("slow", "quadratic", slow_plan)
        long_items = 3_000
        max_seconds = 0.05

    with pytest.raises(AssertionError, match="3000 items took"):
        Slow().test_long_histories_take_linear_time()


def test_check_strategy_takes_option_values():
    with pytest.raises(UsageError):
        check_strategy(SIMPLE, L=0)


def test_options_that_do_not_survive_json_are_found():
    class Lossy(Options):
        names: tuple[object, ...] = (frozenset("a"),)

    with pytest.raises(AssertionError, match="does not bind"):
        check_strategy(Strategy("lossy", "loses values", text, Lossy))


def test_made_up_histories_begin_alike_and_never_go_back_in_time():
    short, long = make_history(12), make_history(40)
    assert long.items[:12].tolist() == short.items.tolist()
    assert long.timestamps is not None
    assert (np.diff(long.timestamps) >= 0).all()
    assert make_history(3, timestamps=False).timestamps is None
    assert isinstance(short, History)
    assert Moment().progress == 1

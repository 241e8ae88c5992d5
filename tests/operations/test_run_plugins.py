"""A run knows the plugins that it was made with: one that changed is told before its numbers can change."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from made_plugins import GUESS, RECENT, remove_plugin, write_plugin

from patchrec import __version__, plugins
from patchrec.config import StrategyConfig
from patchrec.errors import NotFoundError, UsageError
from patchrec.layout_fingerprint import layouts_fingerprint
from patchrec.operations.environment import doctor
from patchrec.operations.evaluate import evaluate
from patchrec.operations.exporting.export import export_run
from patchrec.operations.many.bulk_job import Request
from patchrec.operations.many.recommend_all import recommend_all
from patchrec.operations.recommend import recommend
from patchrec.operations.run_plugins import plugin_faults
from patchrec.operations.runs import show_run
from patchrec.operations.training.train import baseline, finetune
from patchrec.plugins import plan_for
from patchrec.store import Store
from patchrec.store.run_plugins import RunPlugin

TINY = {"data": "walkers", "backbone": "tiny-random", "max_steps": 1, "batch_size": 4}
OTHER_LAYOUT = RECENT.replace("len(history) - options.M)", "len(history) - options.M - 1)")
OTHER_ONLY_WITH_DRAWS = RECENT.replace(
    "    stop = max",
    "    if moment.draws is not None: return Layout.of([(0, len(history), Grain.TEXT)])\n    stop = max",
)
TIDIED = RECENT.replace("stop = max(0, len(history) - options.M)", "stop = max(len(history) - options.M, 0)  # same")
UNCERTAIN = RECENT.replace(
    "    stop = max", "    import random\n    if random.random() < 0.5: options = RecentOptions(M=1)\n    stop = max"
)

Install = Callable[..., None]


class Notes:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def picked(self, what: str, value: str, why: str) -> None:
        pass

    def task(self, *arguments, **options):
        from patchrec.reporting import SILENT

        return SILENT.task(*arguments, **options)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a version of a plugin made of code; no code uninstalls it."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delenv(plugins.ENVIRONMENT, raising=False)

    def change(name: str, code: str | None = None, version: str = "1.0") -> None:
        if code is None:
            remove_plugin(folder, name)
        else:
            write_plugin(folder, name, code, version)
        plugins.load()

    yield change
    for name in ("recent", "guess"):
        remove_plugin(folder, name)
    monkeypatch.undo()
    plugins.load()


@pytest.fixture
def run(home: Path, install: Install) -> str:
    """A run of a third party's strategy."""
    install("recent", RECENT)
    return finetune(strategy="recent", options={"M": 2}, start="none", home=home, **TINY).run


def faults(home: Path, run: str) -> list[str]:
    with Store.open(home) as store:
        return [fault.what for fault in plugin_faults(store, store.runs.get(run))]


def test_a_run_notes_what_it_took_from_which_version(home: Path, run: str) -> None:
    with Store.open(home) as store:
        strategy, kind = store.runs.plugins(run)
    layouts = layouts_fingerprint(plan_for(StrategyConfig(name="recent", options={"M": 2})))
    assert strategy == RunPlugin("strategy", "recent", "made-recent", "1.0", layouts)
    assert kind == RunPlugin("recommender", "title", "patchrec", __version__, None)
    assert faults(home, run) == []
    assert show_run(run, home=home)["plugins"] == [
        {"role": "strategy", "name": "recent", "package": "made-recent", "version": "1.0", "layouts": layouts,
         "fault": None},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "version"), [(OTHER_LAYOUT, "1.1"), (OTHER_LAYOUT, "1.0"), (OTHER_ONLY_WITH_DRAWS, "1.1")]
)
def test_other_layouts_are_refused_before_anything_is_ranked(
    home: Path, run: str, install: Install, tmp_path: Path, code: str, version: str
) -> None:
    install("recent", code, version)
    uses = [
        lambda: evaluate(run, home=home),
        lambda: recommend(user="u1", run=run, home=home),
        lambda: recommend_all(Request(output=str(tmp_path / "r.csv"), run=run), home=home),
    ]
    for use in uses:
        with pytest.raises(UsageError) as caught:
            use()
        message = str(caught.value)
        assert message.startswith(f"run {run} has strategy 'recent' of made-recent {version}, which lays out histories")
        assert message.endswith(f"take its weights as it is now: `patchrec eval {run} --strategy recent`")
        assert ("the run was made with made-recent 1.0; `pip install made-recent==1.0`" in message) == (
            version == "1.1"
        )
    own = evaluate(run, strategy="recent", options={"M": 2}, limit=2, home=home)  # the way on that it names
    assert own.run == f"{run}-recent-1"


def test_another_version_with_the_same_layouts_is_told_and_used(home: Path, run: str, install: Install) -> None:
    before = evaluate(run, limit=3, home=home)
    install("recent", TIDIED, "2.0")
    notes = Notes()
    after = evaluate(run, limit=3, home=home, report=notes)
    assert before.metrics == after.metrics
    assert notes.notes[0] == (
        f"run {run} has strategy 'recent' of made-recent 2.0, which lays out histories as before; the run was made "
        "with made-recent 1.0; `pip install made-recent==1.0` puts the old one back"
    )
    assert faults(home, run) == ["version"]
    assert {check["name"]: check["ok"] for check in doctor(home=home)}["runs"]


def test_a_plugin_that_is_gone_is_named_with_its_package(
    home: Path, run: str, install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("recent")
    told = f"run {run} has strategy 'recent' of made-recent 1.0, which no plugin brings now"
    for use in (lambda: evaluate(run, home=home), lambda: recommend(user="u1", run=run, home=home)):
        with pytest.raises(NotFoundError) as caught:
            use()
        assert str(caught.value).startswith(f"{told}; install it again: `pip install made-recent==1.0`, or choose")
    check = {check["name"]: check for check in doctor(home=home)}["runs"]
    assert not check["ok"]
    assert f"{run}: it {told.removeprefix(f'run {run} ')}" in check["detail"]
    assert "pip install made-recent==1.0" in check["fix"]
    assert show_run(run, home=home)["plugins"][0]["fault"].startswith(told)
    assert export_run(run, tmp_path / "out", home=home).run == run  # its weights need no strategy
    monkeypatch.setenv(plugins.ENVIRONMENT, "")
    with pytest.raises(NotFoundError, match="--no-plugins limits which plugins load"):
        evaluate(run, home=home)


def test_a_kind_of_recommender_says_its_version(home: Path, install: Install) -> None:
    install("guess", GUESS)
    made = baseline("guess", data="walkers", home=home).run
    install("guess", GUESS, "1.1")
    notes = Notes()
    evaluate(made, limit=2, home=home, report=notes)
    assert notes.notes[0] == (
        f"run {made} is of kind 'guess' of made-guess 1.1, which may give other numbers; the run was made with "
        "made-guess 1.0; `pip install made-guess==1.0` puts the old one back"
    )
    assert baseline("guess", data="walkers", reuse=True, home=home).run != made  # it is fitted anew
    install("guess")
    with pytest.raises(NotFoundError, match=r"is of kind 'guess' of made-guess 1\.0, which no plugin brings now"):
        evaluate(made, home=home)


def test_resuming_with_other_layouts_is_refused_unless_forced(home: Path, run: str, install: Install) -> None:
    install("recent", OTHER_LAYOUT, "1.1")
    with Store.open(home) as store:
        store.runs.interrupt(run, "stopped")
    with pytest.raises(UsageError, match="lays out histories in another way"):
        finetune(resume=run, home=home)
    assert finetune(resume=run, force=True, home=home).run == run


def test_a_run_of_before_says_nothing_of_its_plugins(home: Path, run: str, install: Install) -> None:
    with Store.open(home) as store, store.write() as db:
        db.execute("DELETE FROM plugins")
    install("recent", OTHER_LAYOUT, "1.1")
    assert faults(home, run) == []
    assert show_run(run, home=home)["plugins"] == []
    install("recent")
    assert faults(home, run) == ["gone"]
    with pytest.raises(NotFoundError, match="'recent', which no plugin brings now; install its plugin again"):
        evaluate(run, home=home)


def test_a_run_takes_its_plugins_along(home: Path, run: str) -> None:
    with Store.open(home) as store:
        store.runs.remove(run)
        assert store.rows("SELECT count(*) FROM plugins") == [(0,)]


def test_a_plugin_that_takes_other_options_now_is_told(home: Path, run: str, install: Install) -> None:
    install("recent", RECENT.replace("M: int", "m: int").replace("options.M", "options.m"), "3.0")
    assert "takes other options than when the run was made" in show_run(run, home=home)["plugins"][0]["fault"]
    with pytest.raises(UsageError, match=r"takes other options .* made-recent 1\.0"):
        evaluate(run, home=home)


def test_layouts_that_are_not_certain_have_no_fingerprint(install: Install) -> None:
    install("recent", UNCERTAIN)
    assert layouts_fingerprint(plan_for(StrategyConfig(name="recent"))) is None


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("vanilla", {}, "727c2c2619e54535"),
        ("pft-s", {"L": 5}, "a41b3dd9978fefb2"),
        ("patch-pretraining", {}, "06392008f7d89132"),
        ("session-by-time-window", {"gap": "1h"}, "dd45b16cb0fbe3aa"),
    ],
)
def test_the_fingerprints_of_the_built_in_layouts_stay(name: str, options: dict, expected: str) -> None:
    """Those of stored runs: a change here is a change of layouts, or of the histories that are planned."""
    assert layouts_fingerprint(plan_for(StrategyConfig(name=name, options=options))) == expected

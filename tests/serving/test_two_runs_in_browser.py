"""The second tab of the page: two runs side by side, by keys alone, and what differs in words."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from asking import Asker, running
from browser import CHROMIUM, Tab
from test_page_in_browser import CONTRAST, HOSTILE, opened

from patchrec.data.catalog import Catalog
from patchrec.operations.training.train import baseline
from patchrec.serving.app import make_app
from patchrec.serving.batching import Batcher
from patchrec.serving.served import Served
from patchrec.store import Store

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian package: chromium)")

RUNS = ("pft-s-1", "popularity-1")
ONE = "document.getElementById('status').textContent.includes('items recommended')"
TWO = "document.getElementById('status').textContent.includes('recommended by both')"
TABS = "[...document.querySelectorAll('[role=tab]')].map(one => [one.textContent, one.ariaSelected, one.tabIndex])"
PANELS = "[...document.querySelectorAll('[role=tabpanel]')].map(one => one.checkVisibility())"


@pytest.fixture(scope="module")
def both(made: Path) -> Iterator[Asker]:
    """A server over a language model and counts."""
    with running(make_app(Served(*RUNS, home=made), Batcher())) as asker:
        yield asker


@pytest.fixture(scope="module")
def hostile(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    """A server over two runs of a data set in which users and items are named by code."""
    home = Path(shutil.copytree(made, tmp_path_factory.mktemp("hostile") / "home"))
    with Store.open(home) as store:
        known = store.datasets.load("letters")
        ids, titles, users = known.catalog.item_ids, known.catalog.titles, known.sequences.user_ids
        many = len(HOSTILE)
        catalog = Catalog((*HOSTILE, *ids[many:]), (*HOSTILE, *titles[many:]))
        sequences = replace(known.sequences, user_ids=(*HOSTILE, *users[many:]))
        dataset = replace(known, name="attack", catalog=catalog, sequences=sequences)
        store.datasets.add(dataset, source="made up", licence="none", split={"rule": "leave-one-out"})
    runs = [baseline(kind, data="attack", home=home).run for kind in ("popularity", "markov")]
    with running(make_app(Served(*runs, home=home), Batcher())) as asker:
        yield asker


def compared(tab: Tab, asker: Asker, user: str = "u3", k: int = 6, **size: int) -> None:
    """Open the page, and ask both runs for a user."""
    opened(tab, asker, **size)
    tab.run("document.getElementById('tab-two').click()")
    tab.run(f"document.getElementById('k').value = {k}; document.getElementById('user').value = {user!r}")
    tab.run("document.getElementById('ask').requestSubmit()")
    tab.wait(TWO)


def side(tab: Tab, number: int, cell: str) -> list[str]:
    """A cell of each row of a list: what a selector finds in it."""
    rows = f"document.querySelectorAll('#sides > section')[{number}].querySelectorAll('tbody tr')"
    return tab.run(f"[...{rows}].map(row => row.querySelector('{cell}')?.textContent ?? null)")


def test_tabs_are_operated_by_keys_alone(tab: Tab, both: Asker) -> None:
    opened(tab, both)
    assert tab.run("document.querySelector('[role=tablist]').ariaLabel")
    one, two = [["One run", "true", 0], ["Two runs", "false", -1]], [["One run", "false", -1], ["Two runs", "true", 0]]
    assert tab.run(TABS) == one
    for _ in range(8):
        tab.press("Tab")
        if tab.focused() == "tab-one":
            break
    for key, expected, focus in (
        ("ArrowRight", two, "tab-two"),
        ("ArrowRight", one, "tab-one"),
        ("ArrowLeft", two, "tab-two"),
        ("Home", one, "tab-one"),
        ("End", two, "tab-two"),
        ("End", two, "tab-two"),
    ):
        tab.press(key)
        assert (tab.run(TABS), tab.focused(), tab.run(PANELS)) == (expected, focus, [expected is one, expected is two])
    assert tab.run("document.getElementById('two').getAttribute('aria-labelledby')") == "tab-two"
    tab.press("Tab")
    assert tab.focused() == "two"
    tab.press("Tab")
    assert tab.focused() == "run-a"
    tab.press("Tab")
    assert tab.focused() == "run-b"
    assert tab.faults == []


def test_both_lists_are_shown_with_what_differs_in_words(tab: Tab, both: Asker) -> None:
    compared(tab, both, k=4)
    found = [both.recommended(user="u3", k=4, run=run)["ranking"] for run in RUNS]
    ranks = [{line["item_id"]: line["rank"] for line in lines} for lines in found]
    seen = set()
    for number, there in ((0, "B"), (1, "A")):
        assert side(tab, number, "th bdi") == [line["title"] for line in found[number]]
        arrows, words = side(tab, number, ".against b"), side(tab, number, ".heard")
        for line, arrow, word in zip(found[number], arrows, words, strict=True):
            other = ranks[1 - number].get(line["item_id"])
            by = None if other is None else other - line["rank"]
            if by is None:
                expected = "only here", None
            elif by == 0:
                expected = "=", f"the same rank in {there}"
            else:
                way = "higher" if by > 0 else "lower"
                expected = (
                    f"{'↑' if by > 0 else '↓'}{abs(by)}",
                    f"{abs(by)} {way} than in {there}, where its rank is {other}",
                )
            assert (arrow, word) == expected
            seen.add(arrow[0])
    assert {"o", "↑", "↓"} <= seen
    shared = ranks[0].keys() & ranks[1].keys()
    alike = sum(ranks[0][item] == ranks[1][item] for item in shared)
    told = f"{len(shared)} of 4 items are in both lists, {alike or 'none'} of them at the same rank."
    assert tab.run("document.getElementById('shared').textContent") == told
    assert told in tab.run("document.getElementById('status').textContent")
    assert tab.faults == []


def test_each_run_shows_how_it_reads_the_history(tab: Tab, both: Asker) -> None:
    compared(tab, both)
    own = both.post("/readings", {"user": "u3", "run": "pft-s-1"})[1]["readings"][0]
    units = "one => one.querySelectorAll('.piece:not(.dropped)').length"
    found = tab.run(f"[...document.querySelectorAll('#sides > section')].map({units})")
    assert found == [own["num_units"], 14]  # counts see items
    labels = tab.run("[...document.querySelectorAll('#sides .band')].map(one => one.ariaLabel)")
    assert "session patch" in labels[0]
    assert labels[1].startswith("14 titles")


def test_a_tab_that_is_opened_asks_what_was_asked_last(tab: Tab, both: Asker) -> None:
    opened(tab, both)
    assert tab.run("document.getElementById('which').checkVisibility()")
    tab.run("document.getElementById('user').value = 'u1'; document.getElementById('ask').requestSubmit()")
    tab.wait(ONE)
    tab.run("document.getElementById('tab-two').click()")
    tab.wait(TWO)
    tab.run("document.getElementById('user').value = 'u2'; document.getElementById('ask').requestSubmit()")
    tab.wait(f"{TWO} && document.getElementById('status').textContent.includes('u2')")
    tab.run("document.getElementById('tab-one').click()")
    tab.wait(f"{ONE} && document.getElementById('status').textContent.includes('u2')")
    tab.run("document.getElementById('run').value = 'popularity-1'")
    tab.run("document.getElementById('run').dispatchEvent(new Event('change'))")
    expected = [line["title"] for line in both.recommended(user="u2", run="popularity-1")["ranking"]]
    titles = "[...document.querySelectorAll('#ranking th > bdi')].map(one => one.textContent).join()"
    tab.wait(f"{titles} === {','.join(expected)!r}")


def test_the_same_run_on_both_sides_makes_them_change_places(tab: Tab, both: Asker) -> None:
    compared(tab, both)
    chosen = "['run-a', 'run-b'].map(id => document.getElementById(id).value)"
    assert tab.run(chosen) == list(RUNS)
    tab.run("document.getElementById('run-b').value = 'pft-s-1'")
    tab.run("document.getElementById('run-b').dispatchEvent(new Event('change'))")
    assert tab.run(chosen) == list(RUNS[::-1])
    tab.wait("document.getElementById('side-a')?.textContent === 'A: popularity-1'")
    assert side(tab, 0, "th bdi") == [
        line["title"] for line in both.recommended(user="u3", k=6, run=RUNS[1])["ranking"]
    ]


def test_a_server_with_one_run_says_how_to_start_with_two(tab: Tab, asker: Asker) -> None:
    opened(tab, asker)
    tab.run("document.getElementById('user').value = 'u1'; document.getElementById('ask').requestSubmit()")
    tab.wait(ONE)
    assert not tab.run("document.getElementById('which').checkVisibility()")
    tab.run("document.getElementById('tab-two').click()")
    assert tab.run("document.getElementById('start-two').textContent") == "patchrec serve --run pft-s-1 --run OTHER"
    assert tab.run("document.getElementById('alone').checkVisibility()")
    assert not tab.run("document.getElementById('pair').checkVisibility()")
    tab.run("document.getElementById('tab-one').click()")
    assert tab.run("document.getElementById('found').checkVisibility()")
    tab.run("document.getElementById('tab-two').click(); document.getElementById('ask').requestSubmit()")
    tab.wait("document.querySelector('[role=alert]').textContent.includes('start it with two')")
    assert tab.faults == []


def test_what_is_not_served_any_more_is_told_and_the_runs_are_listed_anew(tab: Tab, made: Path) -> None:
    served = Served(*RUNS, home=made)
    with running(make_app(served, Batcher())) as asker:
        compared(tab, asker)
        served.runs = (served.runs[0], replace(served.runs[1], loaded=renamed(served.runs[1].loaded, "other-1")))
        tab.run("document.getElementById('ask').requestSubmit()")
        tab.wait("document.querySelector('[role=alert]').textContent.includes(\"no run 'popularity-1'\")")
        assert not tab.run("document.getElementById('compared').checkVisibility()")
        tab.wait("document.getElementById('run-b').value === 'other-1'")
        tab.run("document.getElementById('ask').requestSubmit()")
        tab.wait(TWO)


def renamed(loaded, name: str):
    return replace(loaded, run=replace(loaded.run, name=name))


@pytest.mark.parametrize("width", [320, 1280])
def test_hostile_titles_stay_text_and_nothing_sticks_out(tab: Tab, hostile: Asker, width: int) -> None:
    compared(tab, hostile, user=HOSTILE[4], k=20, width=width)
    assert tab.run("document.documentElement.scrollWidth") <= width
    tops = tab.run("[...document.querySelectorAll('#sides > section')].map(one => one.getBoundingClientRect().top)")
    assert (tops[0] == tops[1]) == (width == 1280)
    assert set(HOSTILE) <= set(tab.run("[...document.querySelectorAll('#two bdi')].map(one => one.textContent)"))
    assert tab.run("document.documentElement.dataset.ran") is None
    assert (
        tab.run("document.querySelectorAll('#two :is(img, script, [onload], [onerror], [onfocus], th b, h3 b)').length")
        == 0
    )
    assert tab.faults == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_of_both_lists_can_be_read(tab: Tab, both: Asker, theme: str, tmp_path: Path) -> None:
    compared(tab, both)
    tab.picture(tmp_path / "page.png", theme)
    assert tab.run(f"matchMedia('(prefers-color-scheme: {theme})').matches")
    assert tab.run(CONTRAST) == []

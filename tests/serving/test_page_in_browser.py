"""The page of `patchrec serve` in headless Chromium: used by keys alone, at 320 pixels; titles stay text."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from asking import Asker, running
from browser import CHROMIUM, Tab

from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Sequences
from patchrec.operations.training.train import baseline
from patchrec.serving.app import make_app
from patchrec.serving.batching import Batcher
from patchrec.serving.served import Served
from patchrec.store import Store

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian package: chromium)")

RAN = "document.documentElement.dataset.ran=1"
HOSTILE = (
    f"<img src=x onerror={RAN}>", f"<script>{RAN}</script>", f'"><svg onload={RAN}>',
    f"</bdi><input autofocus onfocus={RAN}>", "<b>bold</b>", "\u202etxet", "&lt;kept&gt;", "a" * 300,
)  # fmt: skip
ROWS = "[...document.querySelectorAll('#ranking tr:not(.why)')]"
DONE = "document.getElementById('status').textContent.includes('recommended')"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    """A server over items, users and a data set whose names are code."""
    home = tmp_path_factory.mktemp("hostile") / "home"
    users, length = len(HOSTILE), len(HOSTILE) - 2
    items = np.concatenate([(start + np.arange(length)) % len(HOSTILE) for start in range(users)])
    sequences = Sequences(
        HOSTILE, np.arange(users + 1) * length, items, None, np.full(users, length - 2), np.full(users, length - 1)
    )
    with Store.open(home) as store:
        dataset = Dataset(name="attack", catalog=Catalog(HOSTILE, HOSTILE), sequences=sequences)
        store.datasets.add(dataset, source="made up", licence="none", split={"rule": "leave-one-out"})
    baseline("popularity", data="attack", home=home)
    with running(make_app(Served("popularity-1", home=home), Batcher())) as asker:
        yield asker


def opened(tab: Tab, asker: Asker, **size: int) -> Tab:
    tab.faults.clear()
    tab.go(f"http://127.0.0.1:{asker.port}/", **size)
    return tab


def test_keys_alone_pick_a_user_and_ask_why(tab: Tab, asker: Asker) -> None:
    opened(tab, asker)
    assert "pft-s-1" in tab.run("document.getElementById('about').textContent")
    tab.press("Tab")
    assert tab.focused() == "by-user"
    tab.press("Tab")
    assert tab.focused() == "user"
    tab.type("u1")
    tab.wait("document.querySelectorAll('#users [role=option]').length === 3")
    tab.press("ArrowDown", "ArrowDown")
    active = tab.run("document.getElementById('user').getAttribute('aria-activedescendant')")
    assert tab.run(f"document.getElementById('{active}').textContent") == "u10"
    tab.press("Enter")
    tab.wait(DONE)
    found = asker.recommended(user="u10")
    titles = tab.run(f"{ROWS}.map(row => row.querySelector('bdi').textContent)")
    assert titles == [line["title"] for line in found["ranking"]]
    assert tab.run("document.getElementById('users').hidden")
    for _ in range(10):
        tab.press("Tab")
        if tab.focused().startswith("Why "):
            break
    assert tab.focused() == f"Why {titles[0]}"
    tab.press("Enter")
    tab.wait("document.querySelector('tr.why') && document.getElementById('attribution').textContent")
    assert tab.run("document.activeElement.getAttribute('aria-expanded')") == "true"
    parts = asker.recommended(user="u10", explain=True)["explanation"]["parts"]
    carried = sum(part["changes"][0] > 0 for part in parts)
    assert tab.run("document.querySelectorAll('#own .carried').length") == min(3, carried)
    tab.press("Space")
    assert tab.run("document.querySelector('tr.why')") is None
    assert tab.faults == []


def test_the_bands_are_the_layout(tab: Tab, asker: Asker) -> None:
    opened(tab, asker)
    tab.run("document.getElementById('user').value = 'u3'; document.getElementById('ask').requestSubmit()")
    tab.wait(DONE)
    own = asker.post("/readings", {"user": "u3"})[1]["readings"][0]
    assert tab.run("document.querySelectorAll('#own .piece:not(.dropped)').length") == own["num_units"]
    for span in own["spans"]:
        assert tab.run(f"document.querySelectorAll('#own .piece.{span['grain']}').length")
    label = tab.run("document.querySelector('#own .band').ariaLabel")
    assert "session patch" in label
    assert tab.run("document.querySelectorAll('#other-readings .band').length") >= 3


def test_a_history_is_typed_filtered_and_shortened(tab: Tab, asker: Asker) -> None:
    opened(tab, asker)
    tab.press("Tab", "ArrowRight", "Tab")
    assert tab.focused() == "item"
    for typed in ("c st", "d st"):
        tab.type(typed)
        tab.wait("document.querySelectorAll('#items [role=option]').length === 1")
        tab.press("ArrowDown", "Enter")
    tab.type("e story")
    tab.press("Enter")
    tab.wait("document.querySelectorAll('#chosen li').length === 3")
    tab.run("document.getElementById('k').value = 4; document.getElementById('where').value = 'year >= 1990'")
    tab.run("document.getElementById('seen').click(); document.getElementById('ask').requestSubmit()")
    tab.wait(DONE)
    found = asker.recommended(history=["c story", "d story", "e story"], k=4, where="year >= 1990", keep_seen=True)
    assert tab.run(f"{ROWS}.map(row => row.querySelector('bdi').textContent)") == [
        line["title"] for line in found["ranking"]
    ]
    tab.run("document.querySelector('#chosen button').click()")
    assert tab.run("[...document.querySelectorAll('#chosen bdi')].map(one => one.textContent)") == [
        "d story",
        "e story",
    ]
    assert tab.focused() == "Remove d story"
    assert tab.faults == []


def test_what_cannot_be_answered_is_told_in_an_alert(tab: Tab, asker: Asker) -> None:
    opened(tab, asker)
    tab.run("document.getElementById('user').value = 'u1'; document.getElementById('ask').requestSubmit()")
    tab.wait(DONE)
    tab.run("document.getElementById('user').value = 'u1x'; document.getElementById('ask').requestSubmit()")
    tab.wait("document.querySelector('[role=alert]').textContent.includes(\"did you mean 'u1'\")")
    assert not tab.run("document.getElementById('found').checkVisibility()")  # the list was another user's
    tab.run("document.getElementById('k').value = '0'; document.getElementById('ask').requestSubmit()")
    tab.wait("document.querySelector('[role=alert]').textContent.includes('from 1 to 1,000')")


@pytest.mark.parametrize("user", [0, 4])
def test_hostile_titles_and_ids_stay_text(tab: Tab, hostile: Asker, user: int) -> None:
    opened(tab, hostile, width=360, height=740)
    tab.run("document.getElementById('user').focus()")
    tab.type(HOSTILE[user])
    tab.wait("document.querySelectorAll('#users [role=option]').length === 1")
    tab.press("ArrowDown", "Enter")
    tab.wait(DONE)
    tab.run("document.querySelector('#ranking button').click()")
    tab.wait("document.querySelector('tr.why')")
    shown = set(tab.run("[...document.querySelectorAll('bdi')].map(one => one.textContent)"))
    assert set(HOSTILE) <= shown
    assert tab.run("document.documentElement.dataset.ran") is None
    made_of_titles = "img, script:not([src]), [onload], [onerror], [onfocus], th b, h3 b, .combo b"
    assert tab.run(f"document.querySelectorAll('{made_of_titles}').length") == 0
    assert tab.faults == []


@pytest.mark.parametrize("width", [320, 360, 820, 1280])
def test_nothing_sticks_out(tab: Tab, hostile: Asker, width: int) -> None:
    opened(tab, hostile, width=width)
    tab.run(f"document.getElementById('user').value = {HOSTILE[4]!r}; document.getElementById('ask').requestSubmit()")
    tab.wait(DONE)
    tab.run("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert tab.run("document.documentElement.scrollWidth") <= width


def test_a_token_is_asked_for_and_sent(tab: Tab, made: Path) -> None:
    with running(make_app(Served("popularity-1", home=made), Batcher(), token="sésame")) as locked:
        opened(tab, locked)
        tab.wait("!document.getElementById('locked').hidden")
        assert "wants a token" in tab.run("document.querySelector('[role=alert]').textContent")
        tab.run("document.getElementById('token').focus()")
        tab.type("sésame")
        tab.press("Tab")
        tab.wait("document.getElementById('about').textContent.includes('popularity')")
        tab.run("document.getElementById('user').value = 'u3'; document.getElementById('ask').requestSubmit()")
        tab.wait(DONE)
        assert tab.run("document.getElementById('locked').hidden")


CONTRAST = """
(() => {
  const lum = (rgb) => rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, place) => sum + v * [0.2126, 0.7152, 0.0722][place], 0);
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const found = parse(getComputedStyle(node).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const weak = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !node.checkVisibility()) continue;
    const ink = parse(getComputedStyle(node).color).slice(0, 3);
    const [one, other] = [lum(ink), lum(ground(node))].sort((a, b) => b - a);
    if ((one + 0.05) / (other + 0.05) < 4.5) weak.push(`${node.tagName} ${node.textContent.trim().slice(0, 30)}`);
  }
  return weak;
})()
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_can_be_read(tab: Tab, asker: Asker, theme: str, tmp_path: Path) -> None:
    opened(tab, asker)
    tab.run("document.getElementById('user').value = 'u3'; document.getElementById('ask').requestSubmit()")
    tab.wait(DONE)
    tab.run("document.querySelectorAll('details').forEach(one => one.open = true)")
    tab.run("document.querySelector('#ranking button').click()")
    tab.wait("document.querySelector('tr.why')")
    tab.picture(tmp_path / "page.png", theme)
    assert (tmp_path / "page.png").stat().st_size > 20_000
    assert tab.run(f"matchMedia('(prefers-color-scheme: {theme})').matches")
    assert tab.run(CONTRAST) == []

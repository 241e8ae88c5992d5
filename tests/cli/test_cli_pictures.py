"""`patchrec runs plot` and `patchrec runs report`, on runs put into the store by hand."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hostile import LENGTH, PAYLOADS, add_evaluated_run, fill

from patchrec.config import StrategyConfig
from patchrec.evaluation.metrics import ndcg
from patchrec.store import Store

TITLES = [f"Title {number}" for number in range(60)]
USERS = ["ann", "bob", "eve", "007"]


@pytest.fixture
def shop(cli, tmp_path):
    """The command on a store with `popularity-1`, `pft-s-1` and `vanilla-1`."""
    fill(tmp_path / "home", TITLES, USERS)
    return cli


class Page(HTMLParser):
    """The elements of a page, and its text outside the style sheet."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._inside.append(tag)

    def handle_endtag(self, tag):
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data):
        if "style" not in self._inside:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def ranks_of(tmp_path, run: str) -> list[int]:
    with Store.open(tmp_path / "home") as store:
        return [row.item_rank_dropped for row in store.evaluations.rankings(store.evaluations.all(run)[-1].id)]


def test_the_frontier_is_the_stored_metric_against_the_length_of_prompts(shop, tmp_path):
    charts = shop("runs", "plot", "frontier", "--metric", "ndcg@10", "--json").json["charts"]
    assert len(charts) == 1
    places = {series["name"]: series["marks"][0] for series in charts[0]["series"]}
    assert {name: mark["x"] for name, mark in places.items()} == {"pft-s-1": 50.0, "vanilla-1": 60.0}
    expected = ndcg(np.array(ranks_of(tmp_path, "pft-s-1"), dtype=float), 10).mean()
    assert places["pft-s-1"]["y"] == pytest.approx(expected)
    assert places["pft-s-1"]["low"] <= expected <= places["pft-s-1"]["high"]
    assert [level["name"] for level in charts[0]["levels"]] == ["popularity-1"]


def test_slices_are_of_the_same_targets_and_add_up(shop):
    (chart,) = shop("runs", "plot", "slices", "popularity-1", "pft-s-1", "--json").json["charts"]
    assert chart["names"] == ["popularity-1", "pft-s-1"]
    assert chart["rows"][0]["label"] == "all targets"
    assert chart["rows"][0]["detail"] == "8 targets of 4 users"
    table = shop("runs", "compare", "popularity-1", "pft-s-1", "--json").json
    for place, row in enumerate(table["rows"]):
        mrr = next(m for m in row["metrics"] if (m["name"], m["level"], m["seen"]) == ("mrr", "item", "dropped"))
        assert chart["rows"][0]["points"][place] == pytest.approx({key: mrr[key] for key in ("value", "low", "high")})


def test_loss_and_validation_are_two_charts(shop):
    training, validation = shop("runs", "plot", "loss", "pft-s-1", "vanilla-1", "--json").json["charts"]
    assert [mark["y"] for mark in training["series"][0]["marks"]] == [3 / step for step in range(1, 9)]
    assert [mark["x"] for mark in validation["series"][1]["marks"]] == [2, 5, 8]
    assert (training["y_label"], validation["title"]) == ("nats a token", "Validation loss")


def test_the_newest_run_that_trained_is_picked_and_told(shop):
    ran = shop("runs", "plot", "loss")
    assert "run: vanilla-1 (the newest one that trained)" in ran.err
    assert "Training loss" in ran.out


@pytest.mark.parametrize("picture", ["loss", "frontier", "slices"])
def test_a_picture_in_the_terminal_fits_80_columns(shop, picture):
    pytest.importorskip("plotext")
    ran = shop("runs", "plot", picture, "pft-s-1", "vanilla-1")
    assert ran.code == 0, ran.err
    assert max(map(len, ran.out.splitlines())) <= 80
    assert "pft-s-1" in ran.out
    assert "\x1b" not in ran.out


def test_quiet_gives_the_numbers(shop):
    lines = shop("runs", "plot", "frontier", "-q").out.splitlines()
    assert {line.split()[0] for line in lines} == {"pft-s-1", "vanilla-1", "popularity-1"}
    assert all(len(line.split()) == 3 for line in lines)


def test_a_file_is_written_once_and_again_with_overwrite(shop, tmp_path):
    out = tmp_path / "loss.svg"
    assert shop("runs", "plot", "loss", "pft-s-1", "--out", out, "-q").out.strip() == str(out)
    first = out.read_bytes()
    assert first.startswith(b"<svg ")
    ran = shop("runs", "plot", "loss", "pft-s-1", "--out", out)
    assert (ran.code, "--overwrite" in ran.err) == (2, True)
    assert shop("runs", "plot", "loss", "pft-s-1", "--out", out, "--overwrite").code == 0
    assert out.read_bytes() == first


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["plot", "loss", "popularity-1"], 4, "no loss curve of popularity-1"),
        (["plot", "frontier", "popularity-1"], 2, "none of these runs reads a prompt"),
        (["plot", "loss", "--out", "loss.pdf"], 2, ".svg or .png"),
        (["plot", "loss", "--out", "nowhere/loss.svg"], 2, "there is no folder"),
        (["plot", "curve"], 2, "loss"),
        (["report", "--out", "report.txt"], 2, ".html"),
        (["report", "--out", "report.html", "--user", "nobody"], 4, "no user 'nobody'"),
        (["report", "gone", "--out", "report.html"], 4, "no run 'gone'"),
    ],
)
def test_what_cannot_be_drawn_is_told_in_a_line(shop, tmp_path, monkeypatch, arguments, code, word):
    monkeypatch.chdir(tmp_path)
    ran = shop("runs", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert word in ran.err
    assert len([line for line in ran.err.splitlines() if line.startswith("error: ")]) == 1
    assert not list(tmp_path.glob("*.html"))


@pytest.mark.parametrize("module", ["plotext", "resvg_py"])
def test_without_the_extra_the_command_that_brings_it_is_told(shop, tmp_path, monkeypatch, module):
    import sys

    monkeypatch.setitem(sys.modules, module, None)
    where = [] if module == "plotext" else ["--out", tmp_path / "loss.png"]
    ran = shop("runs", "plot", "loss", "pft-s-1", *where)
    assert ran.code == 2
    assert 'pip install "patchrec[report]"' in ran.err


def test_the_page_needs_nothing_and_allows_one_style_sheet_alone(shop, tmp_path):
    ran = shop("runs", "report", "--out", tmp_path / "report.html", "--json")
    assert set(ran.json) == {
        "schema", "file", "bytes", "dataset", "licence", "split", "metric", "reference", "runs", "users",
    }  # fmt: skip
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    policy = next(attrs["content"] for tag, attrs in page.elements if attrs.get("http-equiv"))
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert not {tag for tag, _ in page.elements} & {"script", "link", "img", "iframe", "object", "embed", "form", "a"}
    loading = {"src", "href", "style", "srcset", "action", "data", "xlink:href", "background"}
    assert not [attrs for _, attrs in page.elements if loading & set(attrs) or any(key[:2] == "on" for key in attrs)]
    assert "url(" not in style
    assert "@import" not in style


def test_the_page_shows_the_numbers_of_the_store_and_no_difference_that_is_not_there(shop, tmp_path):
    shop("runs", "report", "popularity-1", "pft-s-1", "--out", tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    table = shop("runs", "compare", "popularity-1", "pft-s-1", "--json").json
    for row in table["rows"]:
        for metric in row["metrics"]:
            if (metric["level"], metric["seen"]) == ("item", "dropped") and not metric["name"].startswith("mrr@"):
                assert f"{metric['value']:.3f} {metric['low']:.3f} to {metric['high']:.3f}" in page.text
    difference = table["rows"][1]["difference"]
    assert difference["p_adjusted"] >= 0.05  # four users cannot show one
    assert "no difference shown" in page.text
    assert "no difference to popularity-1 is shown in mrr." in page.text
    assert f"{difference['p_value']:.4f}" in page.text


def test_an_example_user_is_shown_as_each_run_reads_it_with_the_stored_list(shop, tmp_path):
    found = shop("runs", "report", "--user", "eve", "--out", tmp_path / "r.html", "--json").json
    assert found["users"] == ["eve"]
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    classes = [attrs.get("class") for tag, attrs in page.elements if tag in ("span", "b")]
    num_before = LENGTH - 1  # the newest target is the last item
    text, groups = 5, num_before // 5  # pft-s L=5: the newest group as text, the one before as items, the others merged
    in_legend = {"piece session": 1, "piece item": 1, "piece text": 1}
    assert classes.count("piece item") - in_legend["piece item"] == 5
    assert classes.count("piece session") - in_legend["piece session"] == groups + (num_before % 5 > 0) - 2
    assert classes.count("piece text") - in_legend["piece text"] == text + num_before  # pft-s, then all of vanilla
    with Store.open(tmp_path / "home") as store:
        for run in ("popularity-1", "pft-s-1", "vanilla-1"):
            rows = store.evaluations.rankings(store.evaluations.all(run)[-1].id)
            row = max((row for row in rows if row.user_id == "eve"), key=lambda row: row.position)
            catalog = store.datasets.load("hostile").catalog
            shown = f"rank {row.item_rank_dropped}" if row.item_rank_dropped else "had it before: not ranked"
            assert f"{run} {shown}" in page.text
            titles = [catalog.titles[catalog.find(item)] for item, _ in row.top[:10]]
            at = page.text.index(f"{run} {shown}")
            assert re.findall(r"Title \d+", page.text[at:])[:10] == titles


def test_what_two_runs_read_alike_is_drawn_once(shop, tmp_path):
    with Store.open(tmp_path / "home") as store:
        add_evaluated_run(store, store.datasets.load("hostile"), StrategyConfig(name="vanilla"), seed=3)
    shop("runs", "report", "vanilla-1", "vanilla-2", "--user", "eve", "--out", tmp_path / "r.html")
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    drawn = [attrs.get("class") for _, attrs in page.elements]
    assert drawn.count("read") == 1
    assert "vanilla-1 label ; vanilla-2 label : 24 titles" in page.text


def test_examples_are_the_same_every_time_and_of_different_users(shop, tmp_path):
    first = shop("runs", "report", "--out", tmp_path / "a.html", "--json").json
    second = shop("runs", "report", "--out", tmp_path / "b.html", "--json").json
    assert first["users"] == second["users"]
    assert len(set(first["users"])) == 3
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert shop("runs", "report", "--users", "0", "--out", tmp_path / "c.html", "--json").json["users"] == []
    assert "licence" not in (tmp_path / "c.html").read_text(encoding="utf-8")  # nothing of the data is shown


def test_a_run_whose_strategy_is_gone_is_shown_without_its_bands(shop, tmp_path):
    with Store.open(tmp_path / "home") as store, store.write() as db:
        (config,) = db.execute("SELECT config FROM runs WHERE name = 'vanilla-1'").fetchone()
        changed = json.loads(config)
        changed["strategies"][0]["name"] = "gone"
        db.execute("UPDATE runs SET config = ? WHERE name = 'vanilla-1'", [json.dumps(changed)])
    ran = shop("runs", "report", "--out", tmp_path / "r.html")
    assert ran.code == 0
    assert "what vanilla-1 read is not shown" in ran.err


def test_hostile_titles_are_text_in_a_page(cli, tmp_path):
    users = PAYLOADS[:4]
    fill(tmp_path / "home", PAYLOADS, users, label=PAYLOADS[7])
    named = [word for user in users for word in ("--user", user)]
    ran = cli("runs", "report", *named, "--out", tmp_path / "r.html")
    assert ran.code == 0, ran.err
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    page = Page(text)
    assert len(PAYLOADS) == len(set(PAYLOADS)) == 100
    squeezed = {" ".join(payload.split()) for payload in PAYLOADS}
    assert all(payload in page.text for payload in squeezed)
    allowed = {
        "html", "head", "meta", "title", "style", "body", "header", "main", "footer", "section", "article", "h1", "h2",
        "h3", "p", "ul", "ol", "li", "b", "i", "em", "small", "span", "bdi", "code", "div", "table", "caption", "thead",
        "tbody", "tr", "th", "td", "details", "summary", "figure", "figcaption", "svg", "g", "rect", "line", "path",
        "circle", "text",
    }  # fmt: skip
    assert {tag for tag, _ in page.elements} <= allowed
    assert not any(key.startswith("on") for _, attrs in page.elements for key in attrs)

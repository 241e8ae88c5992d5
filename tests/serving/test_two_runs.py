"""Several runs behind one server: each answers as it does alone, and all of them know what is appended."""

import random
import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from asking import Asker, running

from patchrec.operations.recommend import recommend
from patchrec.operations.runs import remove_run
from patchrec.operations.training.train import baseline, finetune
from patchrec.serving.app import make_app
from patchrec.serving.batching import Batcher
from patchrec.serving.served import MAX_LINES, Served
from patchrec.store import Store
from patchrec_cli.app import main

ADMIN = {"Authorization": "Bearer sesame"}
RUNS = ("pft-s-1", "vanilla-1")
PFT_S = "pft-s L=3, both"


@pytest.fixture(scope="module")
def two(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two language models, counts, and counts of another data set. Nobody writes to it."""
    home = Path(shutil.copytree(made, tmp_path_factory.mktemp("two") / "home"))
    tiny = {"backbone": "tiny-random", "max_steps": 1, "windows": "anchored", "K": 12}
    finetune(strategy="vanilla", data="letters", home=home, **tiny)
    with Store.open(home) as store:
        other = replace(store.datasets.load("letters"), name="others")
        store.datasets.add(other, source="made up", licence="none", split={"rule": "leave-one-out"})
    baseline("popularity", data="others", home=home)
    return home


@pytest.fixture(scope="module")
def both(two: Path) -> Iterator[Asker]:
    """A server over the two language models."""
    served, batcher = Served(*RUNS, home=two, cache_bytes=1 << 26), Batcher(wait=0.02)
    with running(make_app(served, batcher, admin_token="sesame")) as asker:
        asker.served, asker.batcher = served, batcher
        yield asker


def lines(found: dict) -> list[tuple[str, float]]:
    return [(line["item_id"], pytest.approx(line["score"], abs=1e-5)) for line in found["ranking"]]


def alone(run: str, home: Path, **asked: object) -> list[tuple[str, float]]:
    return [(line.item_id, line.score) for line in recommend(run=run, home=home, **asked).ranking]


def test_each_run_answers_as_it_does_alone_and_the_first_is_asked_by_default(both: Asker, two: Path) -> None:
    for asked in ({"user": "u3", "k": 5}, {"history": ["a story", "i05"], "k": 4}):
        found = {run: both.recommended(run=run, **asked) for run in RUNS}
        for run in RUNS:
            assert (found[run]["run"], lines(found[run])) == (run, alone(run, two, **asked))
        assert both.recommended(**asked) == both.recommended(run=None, **asked) == found[RUNS[0]]
        assert lines(found[RUNS[0]]) != lines(found[RUNS[1]])


def test_a_history_is_read_and_explained_by_the_run_that_is_named(both: Asker) -> None:
    own = {run: both.post("/readings", {"user": "u3", "run": run})[1] for run in RUNS}
    assert [own[run]["readings"][0]["strategy"] for run in RUNS] == ["pft-s", "vanilla"]
    assert [len(own[run]["history"]) for run in RUNS] == [14, 8]  # windows of 20, and of 12 cut at anchors
    assert both.post("/readings", {"user": "u3"})[1] == own[RUNS[0]]
    parts = both.recommended(user="u3", k=2, run="vanilla-1", explain=True)["explanation"]["parts"]
    assert len(parts) == 8


@pytest.mark.parametrize("path", ["/recommend", "/readings"])
def test_a_run_that_is_not_served_is_told_with_those_that_are(both: Asker, path: str) -> None:
    for name in ("vanila-1", "popularity-1", "../vanilla-1"):
        status, found = both.post(path, {"user": "u3", "run": name})
        assert status == 404
        assert f"no run {name!r}" in found["error"]
        assert "choices: pft-s-1, vanilla-1; only these are served here" in found["error"]
    assert "did you mean 'vanilla-1'?" in both.post(path, {"user": "u3", "run": "vanila-1"})[1]["error"]
    assert both.post(path, {"user": "u3", "run": 3})[0] == 422


def test_runs_are_listed_and_the_first_is_told_as_before(both: Asker) -> None:
    found = both.ask("GET", "/runs")[1]["runs"]
    for one in found:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", one.pop("loaded_at"))
    assert found == [
        {"run": "pft-s-1", "label": PFT_S, "kind": "both", "strategy": "pft-s", "dataset": "letters"},
        {"run": "vanilla-1", "label": "vanilla", "kind": "title", "strategy": "vanilla", "dataset": "letters"},
    ]
    assert both.ask("GET", "/run")[1] == {
        "run": "pft-s-1", "label": PFT_S, "dataset": "letters", "items": 20, "users": 12, "interactions": 168,
    }  # fmt: skip


def test_requests_for_both_at_once_are_answered_by_the_run_that_was_asked(both: Asker, two: Path) -> None:
    users = [f"u{user}" for user in range(6)]
    expected = {(run, user): alone(run, two, user=user, k=3) for run in RUNS for user in users}
    before = both.batcher.batches
    with ThreadPoolExecutor(8) as pool:
        asked = [*expected, *reversed(expected)]
        found = list(pool.map(lambda one: both.recommended(run=one[0], user=one[1], k=3), asked))
    for (run, user), one in zip(asked, found, strict=True):
        assert (one["run"], lines(one)) == (run, expected[run, user])
    assert both.batcher.batches - before < len(asked)


def test_the_budget_is_split_and_counts_are_told_together_and_by_run(both: Asker) -> None:
    for run in RUNS:
        both.recommended(user="u9", run=run)
    caches = [one.loaded.recommender.prefixes for one in both.served.runs]
    assert [cache.max_bytes for cache in caches] == [1 << 25, 1 << 25]
    assert [one.answers.max_lines for one in both.served.runs] == [MAX_LINES // 2] * 2
    rows = [row.rsplit(" ", 1) for row in both.ask("GET", "/metrics")[1].splitlines() if not row.startswith("#")]
    values = {name: float(value) for name, value in rows}
    for name in ("answers_asked", "prefix_bytes", "prefix_positions_asked"):
        each = [values[f'patchrec_run_{name}{{run="{run}"}}'] for run in RUNS]
        assert min(each) > 0
        assert values[f"patchrec_{name}"] == sum(each)


def test_a_reload_of_one_leaves_the_other(two: Path) -> None:
    served = Served(*RUNS, home=two, cache_bytes=1 << 20)
    with running(make_app(served, Batcher(), admin_token="sesame")) as asker:
        before = {run: asker.recommended(user="u3", run=run) for run in RUNS}
        [first, second] = served.runs
        for body in ({}, {"run": "popularity-1"}):
            status, found = asker.post("/reload", body, **ADMIN)
            assert (status, '"replaces": one of pft-s-1, vanilla-1' in found["error"]) == (400, True), found
        for body, status, word in (
            ({"run": "popularity-1", "replaces": "nope"}, 404, "choices: pft-s-1, vanilla-1"),
            ({"run": "nope", "replaces": "pft-s-1"}, 404, "no run 'nope'"),
            ({"run": "vanilla-1", "replaces": "pft-s-1"}, 400, "is served already"),
            (
                {"run": "popularity-2", "replaces": "pft-s-1"},
                400,
                "is on data set 'others', and vanilla-1 on 'letters'",
            ),
        ):
            found = asker.post("/reload", body, **ADMIN)
            assert (found[0], word in found[1]["error"]) == (status, True), found
        assert served.runs == (first, second)

        for body in ({"run": "vanilla-1"}, {"replaces": "vanilla-1"}):
            status, found = asker.post("/reload", body, **ADMIN)
            assert (status, found["run"]) == (200, "vanilla-1")
        assert served.runs[1].loaded.recommender is not second.loaded.recommender
        assert asker.post("/reload", {"run": "popularity-1", "replaces": "vanilla-1"}, **ADMIN)[0] == 200
        assert served.reloads == 3
        assert served.runs[0].loaded.recommender is first.loaded.recommender
        assert served.runs[0].answers is first.answers
        assert asker.recommended(user="u3") == before["pft-s-1"]
        assert asker.recommended(user="u3", run="popularity-1")["run"] == "popularity-1"
        assert asker.post("/recommend", {"user": "u3", "run": "vanilla-1"})[0] == 404


def test_what_is_appended_is_known_to_all_runs(two: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(two, tmp_path / "home"))
    served = Served("vanilla-1", "popularity-1", home=home, cache_bytes=1 << 20)
    with running(make_app(served, Batcher())) as asker:
        recommender = served.now.loaded.recommender
        assert asker.post("/interactions", {"interactions": [{"user": "u0", "item": "i19"}]})[0] == 201
        for run in ("vanilla-1", "popularity-1"):
            found = asker.recommended(user="u0", k=20, run=run)
            assert found["history"][-1] == "t story"
            assert lines(found) == alone(run, home, user="u0", k=20)
        assert served.now.loaded.recommender is recommender
        assert served.runs[0].loaded.dataset is served.runs[1].loaded.dataset
        assert asker.post("/items", {"item_id": "i99", "title": "zz story"})[0] == 201
        for run in ("vanilla-1", "popularity-1"):
            [line] = asker.recommended(user="u0", allow=["zz story"], run=run)["ranking"]
            assert line["item_id"] == "i99"


def test_a_run_that_was_removed_goes_on_and_what_was_added_is_stored_and_known_to_the_others(
    two: Path, tmp_path: Path
) -> None:
    home = Path(shutil.copytree(two, tmp_path / "home"))
    served = Served("popularity-1", "vanilla-1", home=home)
    with running(make_app(served, Batcher())) as asker:
        before = asker.recommended(user="u3", k=5, run="vanilla-1")
        remove_run("vanilla-1", home=home)
        status, found = asker.post("/items", {"item_id": "new", "title": "new story"})
        assert status == 201, found
        assert asker.recommended(user="u3", k=5, run="vanilla-1") == before
        assert served.of("popularity-1").loaded.dataset.catalog.titles[-1] == "new story"
    with Store.open(home) as store:
        assert store.datasets.load("letters").catalog.titles[-1] == "new story"


@pytest.mark.parametrize(
    ("runs", "code", "word"),
    [
        (["pft-s-1", "popularity-2"], 2, "run popularity-2 is on data set 'others', and pft-s-1 on 'letters'"),
        (["pft-s-1", "pft-s-1"], 2, "is served already"),
        (["pft-s-1", "nope"], 4, "no run 'nope'"),
    ],
)
def test_runs_that_do_not_go_together_are_told(two: Path, capsys, runs: list[str], code: int, word: str) -> None:
    options = [part for run in runs for part in ("--run", run)]
    assert main(["--home", str(two), "serve", "--port", "0", *options]) == code
    told = capsys.readouterr().err
    assert word in told
    assert len(told.strip().splitlines()) == 1


def test_the_command_serves_all_that_it_names(two: Path, capsys, monkeypatch) -> None:
    async def only_started(self, sockets=None) -> None:
        self._is_started()

    monkeypatch.setattr("patchrec.serving.server._Server.serve", only_started)
    command = ["--home", str(two), "serve", "--port", "0", "--run", "vanilla-1", "--run", "popularity-1"]
    assert main(command) == 0
    assert (
        "serving runs vanilla-1 (vanilla), popularity-1 (popularity) of letters on http://127"
        in capsys.readouterr().err
    )


@pytest.mark.slow
def test_under_load_each_run_answers_for_itself_while_one_is_reloaded_and_data_grows(two: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(two, tmp_path / "home"))
    histories = [["i01", "i02"], ["c story", "i07", "i11"], [f"i{item:02d}" for item in range(9)]]
    expected = {
        (run, place): [item for item, _ in alone(run, home, history=own, k=4)]
        for run in (*RUNS, "popularity-1")
        for place, own in enumerate(histories)
    }
    served = Served(*RUNS, home=home, cache_bytes=1 << 20)
    ends, wrong, answered = time.monotonic() + 15, [], []

    def ask(number: int) -> None:
        turn = random.Random(number)
        while time.monotonic() < ends:
            run, place = turn.choice([*RUNS, "popularity-1"]), turn.randrange(len(histories))
            status, found = asker.post("/recommend", {"history": histories[place], "k": 4, "run": run})
            if status == 404 and run != "pft-s-1":
                continue  # the second place has the other one
            items = [line["item_id"] for line in found.get("ranking", ())]
            answered.append(run)
            if (found.get("run"), items) != (run, expected[run, place]):
                wrong.append((run, place, found))

    with running(make_app(served, Batcher(), admin_token="sesame")) as asker, ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(ask, number) for number in range(4)]
        for step in range(1000):
            if time.monotonic() > ends:
                break
            gone, new = ("vanilla-1", "popularity-1")[:: 1 if step % 2 == 0 else -1]
            assert asker.post("/reload", {"run": new, "replaces": gone}, **ADMIN)[0] == 200
            event = {"user": f"u{step % 12}", "item": f"i{step % 20:02d}", "timestamp": 1e9 + step}
            assert asker.post("/interactions", {"interactions": [event]})[0] == 201
            title = f"{chr(97 + step % 20)} story"
            for run in ("pft-s-1", new):
                assert asker.recommended(user=event["user"], k=1, run=run)["history"][-1] == title
        for client in clients:
            client.result()
    assert not wrong, wrong[:2]
    assert min(answered.count(run) for run in (*RUNS, "popularity-1")) > 10
    assert len({id(one.loaded.dataset) for one in served.runs}) == 1

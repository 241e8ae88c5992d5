"""The server answers as the command line does, batches, refuses, and changes what it serves without a lost request."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from asking import Asker, running

from patchrec.operations.filters import Filters
from patchrec.operations.recommend import recommend
from patchrec.recommender import rank
from patchrec.serving.answers import Answers
from patchrec.serving.app import make_app
from patchrec.serving.batching import Batcher, BusyError, Job, StoppedError
from patchrec.serving.served import Served

NUM_ITEMS = 20
SENT = "Bearer sésame".encode().decode("latin-1")  # as headers are written


def ids(found: dict) -> list[str]:
    return [line["item_id"] for line in found["ranking"]]


# As the command line answers


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ({"user": "u3"}, {"user": "u3"}),
        ({"user": "u3", "k": 3, "where": "year >= 1990"}, {"user": "u3", "k": 3, "filters": Filters("year >= 1990")}),
        (
            {"history": ["a story", "i05", "id:i07"], "k": 4, "deny": ["b story"]},
            {"history": ["a story", "i05", "id:i07"], "k": 4, "filters": Filters(deny=("b story",))},
        ),
        ({"user": "u1", "keep_seen": True}, {"user": "u1", "filters": Filters(keep_seen=True)}),
        ({"user": "nobody", "unknown": "popular"}, {"user": "nobody", "unknown": "popular"}),
        ({"history": [], "k": 2}, {"history": [], "k": 2}),
    ],
)
def test_answers_are_those_of_the_command_line(asker: Asker, made: Path, body, asked) -> None:
    mine, own = asker.recommended(**body), asdict(recommend(run="pft-s-1", home=made, **asked))
    assert [line["score"] for line in mine["ranking"]] == pytest.approx([line["score"] for line in own["ranking"]])
    for found in (mine, own):
        for line in found["ranking"]:
            del line["score"], line["probability"]
        found["certificate"] = found["certificate"] and found["certificate"]["holds"]
    assert mine == own


def test_unknown_users_and_empty_histories_say_what_answered(asker: Asker) -> None:
    assert asker.recommended(user="nobody", unknown="popular")["source"] == "popularity"
    assert asker.recommended(history=[])["source"] == "popularity"
    assert asker.recommended(user="u0")["source"] == "model"


def test_the_schema_has_titles_and_examples(asker: Asker) -> None:
    status, schema, _ = asker.ask("GET", "/openapi.json")
    assert status == 200
    assert {"/recommend", "/items", "/interactions", "/reload", "/health", "/ready", "/metrics"} <= set(schema["paths"])
    for name in ("Recommend", "NewItem", "Events", "Reload"):
        found = schema["components"]["schemas"][name]
        assert found["title"]
        assert found["examples"]
        assert found["additionalProperties"] is False


# What is refused


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({}, 400, "whose history?"),
        ({"user": "u1", "history": ["i01"]}, 400, "whose history?"),
        ({"user": "u1x"}, 404, "no user 'u1x'; did you mean 'u1'"),
        ({"history": ["z story"]}, 404, "no item 'z story'"),
        ({"user": "u1", "k": 0}, 422, "k=0: input should be greater than or equal to 1"),
        ({"user": "u1", "k": 1001}, 422, "less than or equal to 1000"),
        ({"user": "u1", "k": "5"}, 422, "k='5': input should be a valid integer"),
        ({"user": "u1", "k": 2.5}, 422, "k=2.5"),
        ({"user": 7}, 422, "user=7: input should be a valid string"),
        ({"user": "u1", "temperature": 1}, 422, "no field 'temperature'"),
        ({"history": ["i01"] * 10_000}, 422, "at most 5000 items"),
        ({"user": "u1", "where": "year >"}, 400, "--where"),
        ({"user": "u1", "where": "year > 3000"}, 400, "no item of 20 fits"),
        ({"user": "u1", "allow": ["@/etc/passwd"]}, 400, "no file is read here"),
        ({"user": "u1", "unknown": "skip"}, 422, "unknown='skip'"),
        ([1], 422, "the body=[1]"),
        (None, 422, "a JSON body is required"),
    ],
)
def test_what_cannot_be_answered_is_told_in_one_line(asker: Asker, body, status, word) -> None:
    found = asker.post("/recommend", body)
    assert found[0] == status, found
    assert list(found[1]) == ["error"]
    assert word in found[1]["error"]
    assert "\n" not in found[1]["error"]


@pytest.mark.parametrize(
    "raw", [b"{", b"\xff\xfe", b'{"k": ' + b"9" * 6000 + b"}", b"[" * 50_000, b'{"user": NaN}', b""]
)
def test_what_is_no_json_is_refused(asker: Asker, raw: bytes) -> None:
    status, found, _ = asker.ask("POST", "/recommend", raw=raw)
    assert status in (400, 422), found
    assert list(found) == ["error"]
    assert len(found["error"]) < 1000
    assert "JSON" in found["error"] or raw[2:3] in (b"k", b"u")  # which are, but for a number


def test_a_body_that_does_not_say_what_it_is_is_told_to(asker: Asker) -> None:
    for kind in ("", "text/plain", "application/x-www-form-urlencoded"):
        status, found, _ = asker.ask("POST", "/recommend", raw=b'{"user": "u1"}', Content_Type=kind)
        assert (status, found) == (
            422, {"error": "the body is not said to be JSON; send it with Content-Type: application/json"}
        )  # fmt: skip


def test_a_body_over_the_limit_is_refused_whether_it_says_so_or_not(asker: Asker) -> None:
    status, found, _ = asker.ask("POST", "/recommend", raw=b" " * 200_001)
    assert (status, "larger than 200,000 bytes" in found["error"]) == (413, True)
    with socket.create_connection(("127.0.0.1", asker.port)) as raw:
        raw.sendall(b"POST /recommend HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        for _ in range(4):
            raw.sendall(chunk)
        assert b" 413 " in raw.recv(4096)


def test_other_paths_and_methods_are_refused_in_the_same_form(asker: Asker) -> None:
    assert asker.ask("GET", "/nothing")[:2] == (
        404,
        {"error": "no such path; see /openapi.json for those that there are"},
    )
    assert asker.ask("GET", "/recommend")[0] == 405


def test_requests_without_the_token_are_refused(made: Path) -> None:
    served = Served("popularity-1", home=made)
    with running(make_app(served, Batcher(), token="sésame")) as asker:
        assert asker.ask("GET", "/health")[0] == asker.ask("GET", "/ready")[0] == 200
        status, found, headers = asker.ask("POST", "/recommend", {"user": "u1"})
        assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
        assert "token is required" in found["error"]
        assert asker.post("/recommend", {"user": "u1"}, Authorization=SENT)[0] == 200
        assert asker.post("/recommend", {"user": "u1"}, Authorization="Bearer sesame")[0] == 401
        assert asker.post("/reload", {}, Authorization=SENT)[0] == 403


# Batches


def test_what_comes_together_is_run_together_and_answered_as_alone(by_score) -> None:
    loaded = by_score["catalog"]
    batcher = Batcher(wait=0.2, size=8)
    queries = [loaded.user_query(user) for user in range(8)]
    jobs = [Job(loaded.recommender, [query], 4, None) for query in queries]
    futures = [batcher.submit(job) for job in jobs]
    found = [future.result(60)[0] for future in futures]
    assert batcher.batches == 1
    for query, own in zip(queries, found, strict=True):
        [alone] = rank(loaded.recommender, [query], 4)
        assert [line.item for line in own.recommendations] == [line.item for line in alone.recommendations]
    batcher.close()
    with pytest.raises(StoppedError):
        batcher.submit(jobs[0])


def test_one_that_fails_fails_alone(by_score) -> None:
    recommender, queries = by_score["catalog"].recommender, [by_score["catalog"].user_query(user) for user in range(3)]
    broken = replace(queries[1], seen=queries[1].seen + 1_000)
    batcher = Batcher(wait=0.2, size=3)
    futures = [batcher.submit(Job(recommender, [query], 2, None)) for query in (queries[0], broken, queries[2])]
    assert [len(futures[place].result(60)[0].recommendations) for place in (0, 2)] == [2, 2]
    with pytest.raises(IndexError):
        futures[1].result(60)
    batcher.close()


class Slow:
    """A recommender that waits until it is let go."""

    def __init__(self, recommender) -> None:
        self.recommender, self.go, self.begun = recommender, threading.Event(), threading.Event()

    def __getattr__(self, name):
        return getattr(self.recommender, name)

    def rank_each(self, queries, k, *, allowed=None):
        self.begun.set()
        assert self.go.wait(60)
        yield from self.recommender.rank_each(queries, k, allowed=allowed)


def test_a_full_queue_refuses_with_the_time_to_come_back(by_score, made: Path) -> None:
    served = Served("popularity-1", home=made)
    slow = Slow(served.now.loaded.recommender)
    served.now = replace(served.now, loaded=replace(served.now.loaded, recommender=slow))
    batcher = Batcher(most_waiting=1, size=1)
    with running(make_app(served, batcher)) as asker, ThreadPoolExecutor(2) as pool:
        first = pool.submit(asker.post, "/recommend", {"user": "u0"})
        assert slow.begun.wait(30)
        second = pool.submit(asker.post, "/recommend", {"user": "u1"})
        while not batcher.waiting:
            time.sleep(0.01)
        status, found, headers = asker.ask("POST", "/recommend", {"user": "u2"})
        assert (status, "try again in 1 s" in found["error"], headers["Retry-After"]) == (503, True, "1")
        with pytest.raises(BusyError):
            batcher.submit(Job(slow, [], 1, None))
        slow.go.set()
        assert [first.result()[0], second.result()[0]] == [200, 200]


def test_answers_are_kept_up_to_a_number_of_lines_and_forgotten_with_the_run(by_score, made: Path) -> None:
    loaded, mask = by_score["catalog"], np.ones(NUM_ITEMS, dtype=np.bool_)
    asked = [(loaded.recommender, loaded.user_query(user), 2, None) for user in range(3)]
    rankings = rank(loaded.recommender, [query for _, query, _, _ in asked], 2)
    answers = Answers(6)  # two rankings of two lines
    for one, ranking in zip(asked, rankings, strict=True):
        answers.add(*one, ranking)
    assert [answers.find(*one) for one in asked] == [None, *rankings[1:]]
    assert answers.find(*asked[2][:2], 3, None) is answers.find(*asked[2][:3], mask) is None
    assert answers.find(replace(loaded.recommender), *asked[2][1:]) is None
    fresh = replace(asked[2][1], seen=asked[2][1].seen[:-1])
    assert answers.find(loaded.recommender, fresh, 2, None) is None
    served = Served("popularity-1", home=made, cache_bytes=1)
    before = served.now.answers
    served.reload()
    assert served.now.answers is not before


# What changes


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    """The store, to be written to."""
    return Path(shutil.copytree(made, tmp_path / "home"))


def test_what_is_appended_is_known_to_the_next_request(copied: Path) -> None:
    served = Served("pft-s-1", home=copied, cache_bytes=1 << 26)
    with running(make_app(served, Batcher())) as asker:
        before, recommender = asker.recommended(user="u0", k=20), served.now.loaded.recommender
        best = ids(before)[0]
        status, found = asker.post("/interactions", {"interactions": [{"user": "u0", "item": best}]})
        assert (status, found["dataset"], found["appended"]["interactions"]) == (201, "letters", 1)
        after = asker.recommended(user="u0", k=20)
        assert best not in ids(after)
        assert after["history"][-1] == before["ranking"][0]["title"]
        assert served.now.loaded.recommender is recommender  # and its prefixes
        own = recommend(user="u0", k=20, run="pft-s-1", home=copied)
        assert [line.item_id for line in own.ranking] == ids(after)

        event = {"user": "new", "item": "i03", "timestamp": 9e9}
        assert asker.post("/interactions", {"interactions": [event]})[0] == 201
        assert asker.recommended(user="new", k=3)["history"] == ["d story"]

        status, found = asker.post("/items", {"item_id": "i99", "title": "zz story", "metadata": {"year": "2026"}})
        assert (status, found["metadata"], found["num_items"]) == (201, {"year": 2026}, 21)
        assert ids(asker.recommended(user="u0", allow=["zz story"])) == ["i99"]
        assert asker.post("/interactions", {"interactions": [{"user": "u0", "item": "i99"}]})[0] == 201
        assert asker.recommended(user="u0")["history"][-1] == "zz story"


def test_what_cannot_be_appended_changes_nothing(copied: Path) -> None:
    served = Served("popularity-1", home=copied)
    with running(make_app(served, Batcher())) as asker:
        for body, status, word in (
            ([{"user": "u0", "item": "i01"}, {"user": "u0", "item": "nope"}], 404, "no item 'nope'"),
            ([{"user": " ", "item": "i01"}], 400, "a user id is empty"),
            ([{"user": "u0", "item": "i01", "timestamp": 1e300}], 422, "timestamp"),
            ([{"user": "u0", "item": "i01", "timestamp": -9e10}], 400, "on no day of a calendar"),
            ([], 422, "at least 1 item"),
        ):
            found = asker.post("/interactions", {"interactions": body})
            assert (found[0], word in found[1]["error"]) == (status, True), found
        status, found = asker.post("/items", {"item_id": "i01", "title": "again"})
        assert (status, "in the catalog already" in found["error"]) == (400, True)
        _, run, _ = asker.ask("GET", "/run")
        assert (run["items"], run["interactions"]) == (20, 168)


def test_a_run_is_swapped_without_a_lost_request(copied: Path) -> None:
    served = Served("pft-s-1", home=copied)
    with running(make_app(served, Batcher(), admin_token="sésame")) as asker:
        assert asker.post("/reload", {"run": "popularity-1"})[0] == 401
        assert asker.post("/reload", {"run": "nope"}, Authorization=SENT)[0] == 404
        slow = Slow(served.now.loaded.recommender)
        served.now = replace(served.now, loaded=replace(served.now.loaded, recommender=slow))
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(asker.recommended, user="u0")
            assert slow.begun.wait(30)
            status, found = asker.post("/reload", {"run": "popularity-1"}, Authorization=SENT)
            assert (status, found["run"]) == (200, "popularity-1")
            slow.go.set()
            assert waiting.result()["run"] == "pft-s-1"
        assert asker.recommended(user="u0")["run"] == "popularity-1"
        assert asker.ask("POST", "/reload", Authorization=SENT)[0] == 200
        assert served.reloads == 2


# Watching


def test_metrics_are_prometheus_text(asker: Asker) -> None:
    asker.recommended(user="u5")
    asker.recommended(user="u5", k=3)
    assert asker.recommended(user="u5") == asker.recommended(user="u5")
    asker.ask("GET", "/x" * 50)
    status, text, headers = asker.ask("GET", "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    line = re.compile(r'[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9.e+-]+')
    rows = [row for row in text.splitlines() if not row.startswith("#")]
    assert all(line.fullmatch(row) for row in rows)
    values = {row.rsplit(" ", 1)[0]: float(row.rsplit(" ", 1)[1]) for row in rows}
    total = values['patchrec_requests_total{path="/recommend",status="200"}']
    assert total >= 2
    assert values['patchrec_request_seconds_bucket{path="/recommend",le="+Inf"}'] >= total
    assert values["patchrec_prefix_positions_found"] > 0
    assert values["patchrec_answers_found"] >= 2
    assert values['patchrec_requests_total{path="other",status="404"}'] >= 1


# The process


def started(home: Path, *options: str, **environment: str) -> tuple[subprocess.Popen, str]:
    command = [sys.executable, "-m", "patchrec_cli", "--home", str(home), "serve", "--port", "0", "-q", *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    return process, process.stdout.readline().strip()


def test_a_signal_lets_what_is_in_flight_finish(made: Path) -> None:
    process, address = started(made, "--run", "popularity-1", "--wait", "1000")
    port = int(address.rpartition(":")[2])
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(Asker(port).recommended, user="u0")
        while "patchrec_requests_total" not in Asker(port).ask("GET", "/metrics")[1]:
            time.sleep(0.01)
        time.sleep(0.3)  # the request waits a second for others
        process.send_signal(signal.SIGTERM)
        assert waiting.result()["run"] == "popularity-1"
    assert process.wait(30) == 0
    assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    ("options", "code", "word"),
    [
        (["--run", "popularity-1", "--host", "0.0.0.0"], 2, "set PATCHREC_TOKEN"),
        (["--run", "nope"], 4, "no run 'nope'"),
        (["--host", "no.such.host.invalid"], 2, "token"),
    ],
)
def test_what_cannot_be_served_is_told(made: Path, capsys, monkeypatch, options, code, word) -> None:
    from patchrec_cli.app import main

    monkeypatch.delenv("PATCHREC_TOKEN", raising=False)
    assert main(["--home", str(made), "serve", "--port", "0", *options]) == code
    assert word.lower() in capsys.readouterr().err.lower()


def test_a_port_in_use_is_told(made: Path, capsys) -> None:
    from patchrec_cli.app import main

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--home", str(made), "serve", "--port", str(port)]) == 2
    assert f"cannot listen on 127.0.0.1 port {port}" in capsys.readouterr().err

"""What the server adds to the ranker, and what batches and kept prefixes save: `python -m benchmarks.serving RUN`.

The server runs in this process behind a real socket. What is compared takes turns, user by user, so that a machine that
others use as well slows both; ratios are of medians.
"""

import argparse
import http.client
import json
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

import numpy as np
import uvicorn

from benchmarks.machine import describe
from patchrec.operations.load import LoadedRun, load
from patchrec.plugins import find_strategy
from patchrec.ranking.language import LanguageRecommender
from patchrec.recommender import Query, rank
from patchrec.serving.answers import Answers
from patchrec.serving.app import make_app
from patchrec.serving.batching import Batcher
from patchrec.serving.served import MAX_LINES, InService, Served, with_prefixes
from patchrec.serving.server import listening
from patchrec.store import Store

AIMS = {
    "warm": "one user over HTTP / the ranker itself, at most 1.5",
    "concurrent": "requests/s of 8 clients / of one, at least 2",
    "repeated": "a cold user / the same again, at least 3",
    "item_head": "item head beyond its prefill, below 20 ms",
}
CACHE = 4 << 30


class Client:
    """One connection that asks for users."""

    def __init__(self, port: int, k: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        self.k = k

    def ask(self, **body: Any) -> float:
        """Seconds of a recommendation."""
        begun = perf_counter()
        self.connection.request(
            "POST", "/recommend", json.dumps({"k": self.k, **body}), {"Content-Type": "application/json"}
        )
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(text.decode())
        return perf_counter() - begun


@contextmanager
def serving(served: Served, batcher: Batcher) -> Iterator[int]:
    """The port of a server over a run."""
    with listening("127.0.0.1", 0) as listener:
        app = make_app(served, batcher)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        while not server.started:
            sleep(0.01)
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


def use(served: Served, loaded: LoadedRun, cache_bytes: int) -> None:
    """Put a run in service, with a new cache."""
    kept = replace(loaded, recommender=with_prefixes(loaded.recommender, cache_bytes))
    served.now = InService(kept, Answers(MAX_LINES if cache_bytes else 0))


def warm(served: Served, loaded: LoadedRun, port: int, users: Sequence[int], k: int) -> dict[str, float]:
    """One user after the other, over HTTP and by the ranker itself, prompts run whole in both."""
    use(served, loaded, 0)
    client, ids = Client(port, k), loaded.dataset.sequences.user_ids
    over_http, alone = [], []
    for number, user in enumerate(users):
        turns = [
            lambda user=user: over_http.append(client.ask(user=ids[user])),
            lambda user=user: alone.append(_seconds(loaded, loaded.user_query(user), k)),
        ]
        for turn in turns if number % 2 else turns[::-1]:
            turn()
    return {
        "http_ms": 1e3 * median(over_http),
        "ranker_ms": 1e3 * median(alone),
        "ratio": median(over_http) / median(alone),
    }


def _seconds(loaded: LoadedRun, query: Query, k: int) -> float:
    begun = perf_counter()
    rank(loaded.recommender, [query], k)
    return perf_counter() - begun


def concurrent(
    served: Served, loaded: LoadedRun, port: int, batcher: Batcher, users: Sequence[int], k: int
) -> dict[str, float]:
    """The same users by eight clients, each of which asks again when it is answered, and by one."""
    use(served, loaded, 0)
    ids = loaded.dataset.sequences.user_ids
    seconds: dict[int, float] = {1: 0.0, 8: 0.0}
    of_eight = 0
    for start in range(0, len(users), 16):
        for clients in (1, 8) if start % 32 else (8, 1):
            own, before = users[start : start + 16], batcher.batches
            with ThreadPoolExecutor(clients) as pool:
                begun = perf_counter()
                list(pool.map(lambda user: Client(port, k).ask(user=ids[user]), own))
                seconds[clients] += perf_counter() - begun
            of_eight += (batcher.batches - before) * (clients == 8)
    found = {f"per_second_{clients}": len(users) / spent for clients, spent in seconds.items()}
    return {**found, "batch": len(users) / of_eight, "ratio": seconds[1] / seconds[8]}


def repeated(served: Served, loaded: LoadedRun, port: int, users: Sequence[int], k: int) -> dict[str, float]:
    """Users whom nothing kept knows, the same question again, with another k, and after one item more."""
    use(served, loaded, CACHE)
    client, dataset = Client(port, k), loaded.dataset
    times: dict[str, list[float]] = {"cold": [], "again": [], "other_k": [], "grown": []}
    for user in users:
        history = [f"id:{dataset.catalog.item_ids[item]}" for item in dataset.sequences.items_of(user)]
        known = set(history)
        fresh = next(f"id:{item}" for item in dataset.catalog.item_ids if f"id:{item}" not in known)
        times["cold"].append(client.ask(history=history))
        times["again"].append(client.ask(history=history))
        times["other_k"].append(client.ask(history=history, k=k + 1))
        times["grown"].append(client.ask(history=[*history, fresh]))
    cold = median(times["cold"])
    found = {f"{name}_ms": 1e3 * median(values) for name, values in times.items()}
    ratios = {f"{name}_ratio": cold / median(times[name]) for name in ("other_k", "grown")}
    return {**found, **ratios, "ratio": cold / median(times["again"])}


def item_head(loaded: LoadedRun, users: Sequence[int], k: int) -> dict[str, float]:
    """Milliseconds of an item head's ranking beyond its prompt."""
    recommender = replace(_language(loaded), prefixes=with_prefixes(loaded.recommender, CACHE).prefixes)
    beyond, prefill = [], []
    for user in users:
        query = loaded.user_query(user)
        recommender.prefixes.clear()
        begun = perf_counter()
        rank(recommender, [query], k)
        whole = perf_counter() - begun
        recommender.prefixes.clear()
        begun = perf_counter()
        recommender.prefill([query])
        prefill.append(perf_counter() - begun)
        beyond.append(whole - prefill[-1])
    return {"prefill_ms": 1e3 * median(prefill), "beyond_ms": 1e3 * median(beyond)}


def _language(loaded: LoadedRun) -> LanguageRecommender:
    recommender = loaded.recommender
    if not isinstance(recommender, LanguageRecommender):
        raise SystemExit(f"run {loaded.run.name} is of no language model")
    return recommender


def _loaded(home: Path | None, name: str, strategy: str | None = None, options: Any = None) -> LoadedRun:
    """A run, under another strategy where one is given: its weights, as `eval --strategy` takes them."""
    with Store.open(home) as store:
        found = load(store, store.runs.get(name))
    if strategy is None:
        return found
    planner = find_strategy(strategy).bind(options)
    return replace(found, recommender=replace(_language(found), planner=planner))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where an aim is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("run", help="a run that ranks by titles")
    parser.add_argument("--item-run", help="a run that ranks by an item head")
    parser.add_argument("--strategy", default="pft-s", help="what lays histories out")
    parser.add_argument("--L", type=int, default=5, help="items of a session under pft-s")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--users", type=int, default=16, help="users measured, a multiple of 8")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    loaded = _loaded(given.home, given.run, given.strategy, {"L": given.L} if given.strategy == "pft-s" else {})
    users = np.random.default_rng(given.seed).permutation(len(loaded.dataset.sequences))[: given.users + 1].tolist()
    served = Served(given.run, home=given.home)
    found: dict[str, Any] = {}
    batcher = Batcher()
    with serving(served, batcher) as port:
        use(served, loaded, 0)
        Client(port, given.k).ask(user=loaded.dataset.sequences.user_ids[users.pop()])  # what the first call loads
        found["warm"] = warm(served, loaded, port, users, given.k)
        found["concurrent"] = concurrent(served, loaded, port, batcher, users, given.k)
        found["repeated"] = repeated(served, loaded, port, users, given.k)
    met = {
        "warm": found["warm"]["ratio"] <= 1.5,
        "concurrent": found["concurrent"]["ratio"] >= 2,
        "repeated": found["repeated"]["ratio"] >= 3,
    }
    if given.item_run:
        found["item_head"] = item_head(_loaded(given.home, given.item_run), users, given.k)
        met["item_head"] = found["item_head"]["beyond_ms"] < 20
    found |= {"met": met, "machine": describe(_language(loaded).backbone.device), "arguments": vars(given)}
    for name, values in found.items():
        if name in AIMS:
            numbers = ", ".join(f"{key} {value:,.2f}" for key, value in values.items())
            print(f"{name} ({AIMS[name]}): {numbers}: {'met' if met[name] else 'missed'}")
    if given.json:
        given.json.write_text(json.dumps(found, indent=2, default=str))
    return int(not all(met.values()))


if __name__ == "__main__":
    sys.exit(main())

"""Many requests, right and wrong, with appends, reloads and clients that go: every answer right, memory flat."""

import gc
import json
import random
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import Asker, running
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from patchrec.operations.recommend import recommend
from patchrec.serving.app import make_app
from patchrec.serving.batching import Batcher
from patchrec.serving.served import Served

SECONDS, CLIENTS = 60, 6
ANY_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["u1", "u7", "nobody", "i03", "c story", "id:i04", "title:q story", "@/etc/passwd", "", "\0", "😀"]
)


def of_schema(schema: dict[str, Any], whole: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a schema allows, or nearly."""
    if "$ref" in schema:
        return of_schema(whole["components"]["schemas"][schema["$ref"].rpartition("/")[2]], whole)
    if "anyOf" in schema:
        return st.one_of([of_schema(one, whole) for one in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema.get("type")
    if kind == "object" and "properties" in schema:
        fields = {name: of_schema(one, whole) for name, one in schema["properties"].items()}
        required = {name: fields.pop(name) for name in schema.get("required", ())}
        return st.fixed_dictionaries(required, optional=fields)
    return {
        "string": NAMES | st.text(max_size=20) | st.sampled_from(["year > 1990", "year >", "1", "title like 'a%'"]),
        "integer": st.integers(-1, 30) | st.sampled_from([1000, 1001, 2**63]),
        "number": st.floats(allow_nan=False, allow_infinity=False) | st.integers(0, 2_000_000_000).map(float),
        "boolean": st.booleans(),
        "array": st.lists(of_schema(schema["items"], whole) if "items" in schema else ANY_JSON, max_size=4),
        "object": st.dictionaries(NAMES, NAMES, max_size=3),
        "null": st.none(),
    }.get(str(kind), ANY_JSON)


@pytest.fixture(scope="module")
def open_to_all(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    """A server whose store may be written to."""
    home = Path(shutil.copytree(made, tmp_path_factory.mktemp("fuzzed") / "home"))
    batcher = Batcher(wait=0)
    with running(make_app(Served("pft-s-1", home=home, cache_bytes=1 << 24), batcher, admin_token="sesame")) as asker:
        yield asker


def try_requests(asker: Asker, number: int) -> None:
    """So many requests after the schema, right or wrong: none is answered with a 5xx, errors are one line."""
    schema = asker.ask("GET", "/openapi.json")[1]
    posts = {path: item["post"] for path, item in schema["paths"].items() if "post" in item}
    bodies = {
        path: of_schema(post["requestBody"]["content"]["application/json"]["schema"], schema)
        for path, post in posts.items()
        if path != "/interactions" and path != "/items"
    }
    # appending takes longer, and grows the store: a tenth of all
    writes = {
        path: of_schema(posts[path]["requestBody"]["content"]["application/json"]["schema"], schema)
        for path in ("/interactions", "/items")
    }
    reads = st.sampled_from(sorted(bodies)).flatmap(lambda path: st.tuples(st.just(path), bodies[path]))
    changes = st.sampled_from(sorted(writes)).flatmap(lambda path: st.tuples(st.just(path), writes[path]))
    anything = st.tuples(st.sampled_from(sorted(posts)), ANY_JSON)

    @settings(max_examples=number, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.integers(0, 9).flatmap(lambda one: changes if one == 0 else anything if one < 4 else reads))
    def each(request: tuple[str, Any]) -> None:
        path, body = request
        status, found, _ = asker.ask("POST", path, raw=json.dumps(body).encode())
        assert status < 500, (path, body, found)
        if status >= 400:
            assert list(found) == ["error"]
            assert found["error"]
            assert "\n" not in found["error"]
            assert "Traceback" not in found["error"]

    each()


def test_requests_after_the_schema_are_never_answered_with_a_5xx(open_to_all: Asker) -> None:
    try_requests(open_to_all, 60)


@pytest.mark.slow
def test_two_thousand_requests_after_the_schema(open_to_all: Asker) -> None:
    try_requests(open_to_all, 2000)


def resident() -> int:
    """Bytes of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    pytest.skip("no /proc")


@pytest.mark.slow
def test_under_full_load_no_answer_is_lost_or_wrong_and_memory_is_flat(made: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(made, tmp_path / "home"))
    histories = [
        ["i01", "i02"],
        ["c story", "i07", "i11", "i12"],
        *([f"i{item:02d}" for item in range(n)] for n in (5, 9)),
    ]
    expected = {
        run: [[line.item_id for line in recommend(run=run, history=own, k=4, home=made).ranking] for own in histories]
        for run in ("pft-s-1", "popularity-1")
    }
    served = Served("pft-s-1", home=home, cache_bytes=1 << 22)
    ends, lost, answered, sizes = time.monotonic() + SECONDS, [], [0], []
    appended = [0]

    def until_the_end(work: Any) -> Any:
        def run() -> None:
            turn = random.Random(work.__name__ + threading.current_thread().name)
            while time.monotonic() < ends:
                try:
                    work(turn)
                except Exception as error:
                    lost.append(repr(error))

        return run

    with running(make_app(served, Batcher(most_waiting=64), admin_token="sesame")) as asker:

        def ask(turn: random.Random) -> None:
            place = turn.randrange(len(histories))
            found = asker.recommended(history=histories[place], k=4, explain=turn.random() < 0.05)
            items = [line["item_id"] for line in found["ranking"]]
            if items != expected[found["run"]][place]:
                lost.append(f"{found['run']} {place}: {items}")
            answered[0] += 1

        def append(turn: random.Random) -> None:
            user, item = f"u{turn.randrange(12)}", f"i{turn.randrange(20):02d}"
            event = {"user": user, "item": item, "timestamp": 1e9 + appended[0]}
            status, found = asker.post("/interactions", {"interactions": [event]})
            assert status == 201, found
            appended[0] += found["appended"]["interactions"]
            title = f"{chr(97 + int(item[1:]))} story"
            assert asker.recommended(user=user, k=1)["history"][-1] == title
            time.sleep(0.2)

        def reload(turn: random.Random) -> None:
            body = {"run": turn.choice(["pft-s-1", "popularity-1"])}
            assert asker.post("/reload", body, Authorization="Bearer sesame")[0] == 200
            time.sleep(0.5)

        def go_away(turn: random.Random) -> None:
            body = json.dumps({"history": histories[0], "k": 4}).encode()
            with socket.create_connection(("127.0.0.1", asker.port)) as raw:
                fields = f"Host: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
                raw.sendall(
                    f"POST /recommend HTTP/1.1\r\n{fields}\r\n\r\n".encode() + body[: turn.randrange(len(body) + 1)]
                )
            time.sleep(0.05)

        def watch(_: random.Random) -> None:
            gc.collect()
            sizes.append(resident())
            time.sleep(1)

        work = [*[ask] * CLIENTS, append, reload, go_away, watch]
        threads = [threading.Thread(target=until_the_end(one), name=str(number)) for number, one in enumerate(work)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        _, run, _ = asker.ask("GET", "/run")
    assert not lost, lost[:3]
    assert answered[0] > 10 * CLIENTS
    assert run["interactions"] == 168 + appended[0]
    assert served.reloads > 5
    half = len(sizes) // 2
    assert max(sizes[half:]) < 1.15 * max(sizes[:half]), [size >> 20 for size in sizes]
    print(f"answered {answered[0]:,}, appended {appended[0]}, reloads {served.reloads}, bytes {sizes}")

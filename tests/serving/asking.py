"""A server in a thread, and what asks it over real sockets."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn

from patchrec.serving.server import listening


@dataclass
class Asker:
    """Asks the server at a port."""

    port: int
    served: Any = None
    batcher: Any = None

    def ask(self, method: str, path: str, body: Any = None, raw: bytes | None = None, **headers: str) -> tuple:
        """Status, JSON (or text) and headers of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, data, {"Content-Type": "application/json", **given})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        is_json = "json" in (answer.getheader("content-type") or "")
        return answer.status, json.loads(text) if is_json else text, answer.headers

    def post(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and JSON of an answer to a POST."""
        return self.ask("POST", path, body, **headers)[:2]

    def recommended(self, **body: Any) -> dict[str, Any]:
        """What /recommend answers; it has to be 200."""
        status, found = self.post("/recommend", body)
        assert status == 200, found
        return found


@contextmanager
def running(app: Any) -> Iterator[Asker]:
    """The app behind a port of its own."""
    with listening("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False, lifespan="on"))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield Asker(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()

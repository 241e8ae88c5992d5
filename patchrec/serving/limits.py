"""Who is let in and with how much: a body's size and time, and a token.

Plain ASGI around the app, so that nothing of a refused request is read or parsed.
"""

import asyncio
import hmac
import json
from collections.abc import Iterable
from time import perf_counter
from typing import Any

from patchrec.serving.metrics import Metrics
from patchrec.serving.page import FILES

MAX_BODY = 1 << 20  # bytes
BODY_SECONDS = 30.0
OPEN_PATHS = ("/health", "/ready", *FILES)
"""What is given without a token: what a load balancer asks, and the page, which holds nothing and asks for it."""


class Limits:
    """Refuses what is too large, too slow or has no token, and counts what was answered."""

    def __init__(
        self, app: Any, *, metrics: Metrics, paths: Iterable[str], token: str | None = None, max_body: int = MAX_BODY
    ) -> None:
        """Stand before an app.

        Args:
            app: What is asked in the end.
            metrics: Where requests are counted, by the paths that there are.
            paths: Those.
            token: Asked of every request but those for `OPEN_PATHS`; None asks for none.
            max_body: Bytes of a body.
        """
        self.app, self.metrics, self.paths = app, metrics, frozenset(paths)
        self.token, self.max_body = token, max_body

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status = perf_counter(), 500

        async def noted(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._answer(scope, receive, noted)
        finally:
            path = scope["path"] if scope["path"] in self.paths else "other"
            self.metrics.count(path, status, perf_counter() - begun)

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        wants_token = self.token is not None and scope["path"] not in (*OPEN_PATHS, "/reload")
        if wants_token and not holds_token(headers.get(b"authorization", b""), str(self.token)):
            await refuse(send, 401, "a token is required: send it as Authorization: Bearer TOKEN")
            return
        too_large = f"the body is larger than {self.max_body:,} bytes; send less at a time"
        given = headers.get(b"content-length", b"0")
        if given.isdigit() and int(given[:20]) > self.max_body:
            await refuse(send, 413, too_large)
            return
        try:
            body = await asyncio.wait_for(self._body(receive), BODY_SECONDS)
        except TimeoutError:
            await refuse(send, 408, f"the body did not come within {BODY_SECONDS:.0f} s")
            return
        if body is None:
            await refuse(send, 413, too_large)
            return
        is_read = False

        async def replayed() -> Any:
            nonlocal is_read
            if is_read:
                return await receive()  # which waits for the client to go
            is_read = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, replayed, send)

    async def _body(self, receive: Any) -> bytes | None:
        """A whole body; None where it is too large."""
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return bytes(body)
            body += message.get("body", b"")
            if len(body) > self.max_body:
                return None
            if not message.get("more_body"):
                return bytes(body)


def holds_token(header: bytes, token: str) -> bool:
    """Whether an Authorization header holds a token; takes as long whichever way."""
    kind, _, given = header.partition(b" ")
    return kind.lower() == b"bearer" and hmac.compare_digest(given.strip(), token.encode())


async def refuse(send: Any, status: int, message: str) -> None:
    """Answer with an error, and close the connection: what is left of a body is not read."""
    body = json.dumps({"error": message}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})

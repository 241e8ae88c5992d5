"""The process around the app: a socket, signals, and an end that lets everything in flight be answered."""

import asyncio
import ipaddress
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from patchrec.errors import UsageError
from patchrec.reporting import SILENT, Reporter
from patchrec.serving.app import make_app
from patchrec.serving.batching import Batcher
from patchrec.serving.served import Served

TOKEN, ADMIN_TOKEN = "PATCHREC_TOKEN", "PATCHREC_ADMIN_TOKEN"


def serve(
    *runs: str,
    data: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    cache_bytes: int = 1 << 30,
    most_waiting: int = 256,
    wait: float = 0.004,
    stop_seconds: int = 30,
    home: Path | None = None,
    report: Reporter = SILENT,
    started: Callable[[Served, str], None] | None = None,
) -> None:
    """Keep runs warm and answer requests until SIGTERM or Ctrl-C; what is in flight then is finished.

    Args:
        runs: Their names, all of one data set; none picks one as `recommend` does.
        data: Of this data set, where a run is picked.
        host: Address to listen on; others than this machine's own need a token in `PATCHREC_TOKEN`.
        port: 0 takes one that is free.
        cache_bytes: Budget of the prompts' prefixes that are kept, in equal parts for each run; 0 keeps none, and no
            answers either.
        most_waiting: Requests that wait for the model at most; others get 503.
        wait: Seconds that a request waits for others to be run with.
        stop_seconds: After a signal, how long what is in flight may take.
        home: Folder of the store.
        report: Where picks and notes go.
        started: Called once with what is in service and the address, when requests are answered.

    Raises:
        UsageError: The address cannot be listened on, or is open to others without a token; runs of several data sets.
        NotFoundError: No such run.
    """
    token, admin_token = os.environ.get(TOKEN) or None, os.environ.get(ADMIN_TOKEN) or None
    if token is None and not is_loopback(host):
        raise UsageError(f"--host {host} is open to other machines; set {TOKEN} to what requests must send, then again")
    with listening(host, port) as listener:
        served = Served(*runs, data=data, home=home, cache_bytes=cache_bytes, report=report)
        batcher = Batcher(most_waiting=most_waiting, wait=wait)
        app = make_app(served, batcher, token=token, admin_token=admin_token)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=stop_seconds, lifespan="on",
            server_header=False,
        )  # fmt: skip
        name = f"[{host}]" if ":" in host else host
        address = f"http://{name}:{listener.getsockname()[1]}"
        server = _Server(config, lambda: started(served, address) if started else None)
        asyncio.run(server.serve(sockets=[listener]))


class _Server(uvicorn.Server):
    """Ends normally on a signal, where uvicorn would raise it again at the end."""

    def __init__(self, config: uvicorn.Config, is_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._is_started = is_started

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT; a second Ctrl-C waits for nothing."""
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, _: Any) -> None:
        if self.should_exit and number == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True
        self.config.app.state.stopping = True  # type: ignore[union-attr]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        if self.started:
            self._is_started()


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that is bound, so that a port in use is told before a model is loaded.

    Raises:
        UsageError: It cannot be.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # with its protocol named asyncio sends small answers at once; else each waits 40 ms for the client's kernel
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        raise UsageError(f"cannot listen on {host} port {port}: {error}; name another --host or --port") from None
    with listener:
        yield listener

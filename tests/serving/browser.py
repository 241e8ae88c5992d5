"""Headless Chromium behind its debugging pipe: no driver, no package, no port."""

import base64
import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE = 120.0  # seconds: on a busy machine a browser takes long to start
KEYS = {
    "Tab": 9, "Enter": 13, "Escape": 27, "Space": 32, "ArrowUp": 38, "ArrowDown": 40, "ArrowLeft": 37, "ArrowRight": 39,
    "Home": 36, "End": 35,
}  # fmt: skip


class Tab:
    """A page in a browser.

    Attributes:
        faults: What its console and its log said that is an error, and exceptions nobody caught.
    """

    def __init__(self, writer: int, reader: int) -> None:
        self._writer, self._reader, self._rest = writer, reader, b""
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self.faults: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol; what it gives."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writer, json.dumps(message).encode() + b"\0")
        while True:
            found = self._read()
            if found.get("id") == number:
                assert "error" not in found, (method, found["error"])
                return found["result"]
            self._note(found)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._reader], [], [], PATIENCE)
            assert ready, "the browser says nothing"
            got = os.read(self._reader, 1 << 20)
            assert got, "the browser is gone"
            self._rest += got
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.faults.append(json.dumps(params["exceptionDetails"]))
        if event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.faults.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        if event.get("method") == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.faults.append(json.dumps(params["args"]))

    def run(self, expression: str) -> Any:
        """The value of an expression in the page, awaited where it is a promise."""
        found = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, (expression, found)
        return found["result"].get("value")

    def wait(self, expression: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + PATIENCE
        while not self.run(f"!!({expression})"):
            assert time.monotonic() < end, (expression, self.run("document.body.innerText"))
            time.sleep(0.02)

    def go(self, url: str, **size: int) -> None:
        """Open a page, and wait until its script has run; `width` and `height` of the window in pixels."""
        whole = {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False, **size}
        self.send("Emulation.setDeviceMetricsOverride", **whole)
        self.send("Page.navigate", url=url)
        self.wait(f"location.href.startsWith({json.dumps(url)}) && document.readyState === 'complete'")
        self.wait("document.getElementById('about')?.textContent || document.getElementById('error')?.textContent")

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            code = {"key": " " if key == "Space" else key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
            text = {"Enter": {"text": "\r"}, "Space": {"text": " "}}.get(key, {})
            self.send("Input.dispatchKeyEvent", type="keyDown", **code, **text)
            self.send("Input.dispatchKeyEvent", type="keyUp", **code)

    def type(self, text: str) -> None:
        """Type text where the focus is."""
        self.send("Input.insertText", text=text)

    def focused(self) -> str:
        """Id, or accessible name, of what has the focus."""
        return self.run(
            "document.activeElement.id || document.activeElement.ariaLabel || document.activeElement.textContent.trim()"
        )

    def picture(self, path: Path, theme: str = "light") -> None:
        """The whole page as a PNG."""
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        data = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))


@contextmanager
def browsing(profile: Path) -> Iterator[Tab]:
    """A browser with a profile of its own, which ends with the block."""
    down, up = os.pipe(), os.pipe()
    theirs = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (down[0], up[1])]
    for end in (down[0], up[1]):
        os.close(end)
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe"]
    options += [f"--user-data-dir={profile}", "--no-first-run", "--disable-background-networking"]
    options += ["--hide-scrollbars", "about:blank"]
    script = f'exec "$0" "$@" 3<&{theirs[0]} 4>&{theirs[1]}'
    process = subprocess.Popen(
        ["bash", "-c", script, str(CHROMIUM), *options], pass_fds=theirs, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    for end in theirs:
        os.close(end)
    try:
        yield Tab(down[1], up[0])
    finally:
        process.terminate()
        process.wait(PATIENCE)
        os.close(down[1])
        os.close(up[0])

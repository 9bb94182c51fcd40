"""A headless Chromium that opens a file and is asked by its own protocol, over pipes; nothing beside it is needed."""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

VARIABLE = "NEUROSIM_EP_BROWSER"
PATIENCE = 120.0
"""Seconds that an answer may take."""
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "chrome-headless-shell")


def find_browser() -> str | None:
    """The Chromium or Chrome that :data:`VARIABLE` names, or that is found on the path; None where there is none."""
    named = os.environ.get(VARIABLE)
    return named or next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One page; ``events`` are those that came, oldest first."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back, self._numbers, self._rest = to, back, itertools.count(1), b""
        self.session: str | None = None
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to a command of the protocol."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        content = json.dumps(message).encode() + b"\0"
        while content:
            content = content[os.write(self._to, content) :]
        while True:
            found = self._next()
            if found.get("id") == number:
                assert "error" not in found, (method, found)
                answer: dict[str, Any] = found["result"]
                return answer
            self.events.append(found)

    def wait(self, event: str) -> None:
        """Read until ``event`` has come."""
        while not any(found.get("method") == event for found in self.events):
            self.read()

    def read(self) -> None:
        """Read the next event."""
        self.events.append(self._next())

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._back], [], [], PATIENCE)
            assert ready, f"the browser has said nothing for {PATIENCE:g} s"
            content = os.read(self._back, 1 << 20)
            assert content, "the browser has gone"
            self._rest += content
        message, self._rest = self._rest.split(b"\0", 1)
        found: dict[str, Any] = json.loads(message)
        return found

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def open(self, path: Path) -> None:
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.wait("Page.loadEventFired")

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)

    def look(self, **features: str) -> None:
        """``prefers_color_scheme="dark"`` and the like."""
        named = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=named)

    def press(self, key: str) -> None:
        codes = {"ArrowRight": 39, "ArrowLeft": 37, "Escape": 27, "Enter": 13, "Tab": 9}
        words = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=codes[key], **words)

    def point(self, selector: str, *, click: bool = False) -> None:
        """Move the mouse to the middle of an element, or click there."""
        self.ask(f"document.querySelector({selector!r}).scrollIntoView({{block: 'center', behavior: 'instant'}})")
        corner = f"document.querySelector({selector!r}).getBoundingClientRect()"
        box = self.ask(f"(b => [b.left + b.width / 2, b.top + b.height / 2])({corner})")
        place = {"x": box[0], "y": box[1]}
        self.call("Input.dispatchMouseEvent", type="mouseMoved", **place)
        if click:
            for kind in ("mousePressed", "mouseReleased"):
                self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def picture(self, path: Path) -> None:
        """The whole page as PNG."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        path.write_bytes(base64.b64decode(found["data"]))

    def pdf(self, path: Path) -> None:
        """The page as it would be printed."""
        found = self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def saw(self, *methods: str) -> list[dict[str, Any]]:
        """What came of these kinds of events."""
        return [found["params"] for found in self.events if found.get("method") in methods]


@contextmanager
def browser(program: str, downloads: Path) -> Iterator[Page]:
    """A page of a new browser with a profile of its own; files that it saves lie in ``downloads``."""
    read_in, write_in = os.pipe()
    read_out, write_out = os.pipe()
    with tempfile.TemporaryDirectory() as profile:
        options = [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank",
        ]  # fmt: skip
        # the protocol is spoken over the descriptors 3 and 4
        line = f'exec "$0" "$@" 3<&{read_in} 4>&{write_out}'
        process = subprocess.Popen(
            ["bash", "-c", line, program, *options], pass_fds=(read_in, write_out), stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(read_in)
        os.close(write_out)
        page = Page(write_in, read_out)
        try:
            page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))
            target = page.call("Target.createTarget", url="about:blank")["targetId"]
            session = page.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            page.session = session
            for domain in ("Page", "Runtime", "Log", "Network"):
                page.call(f"{domain}.enable")
            yield page
            page.session = None
            page.call("Browser.close")
        finally:
            os.close(write_in)
            os.close(read_out)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

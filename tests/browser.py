"""A real Chromium, spoken to through a pipe in its own protocol: no driver and no package needed.

Messages are JSON, each ended by a zero byte (``--remote-debugging-pipe``: it reads descriptor 3 and
writes 4). https://chromedevtools.github.io/devtools-protocol/ (read 2026-11-26).
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    *("--headless=new", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--no-sandbox", "--hide-scrollbars"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
_PATIENCE_SECONDS = 30.0


def find() -> str | None:
    """The program, where there is one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page of one browser. ``complaints`` are its console's errors, ``hosts`` whom it asked."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read = write, read
        self._held = b""
        self._number = 0
        self._session: str | None = None
        self._loaded = False
        self.complaints: list[str] = []
        self.urls: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> Any:
        """Ask, and wait for the answer; what happens meanwhile is noted."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer)

    def open(self, url: str) -> None:
        """Go there, and wait until all of it is loaded."""
        self._loaded = False
        self.send("Page.navigate", url=url)
        self._wait()

    def size(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        """Be a screen of so many pixels, light or dark."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}  # no colour on its way
        self.send("Emulation.setEmulatedMedia", features=[scheme, still])

    def value(self, expression: str) -> Any:
        """What a script says, now or, where that is a promise, once it is kept."""
        result = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, expression: str, seconds: float = 10.0) -> None:
        """Wait until a script says something true."""
        end = time.monotonic() + seconds
        while not self.value(expression):
            assert time.monotonic() < end, expression
            time.sleep(0.02)

    def submit(self, expression: str) -> None:
        """Do something that loads another page, and wait for that."""
        self._loaded = False
        self.value(expression)
        self._wait()

    def press(self, key: str, code: int) -> None:
        """One key, by its name and its virtual key code."""
        known: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        if key == "Enter":
            known["text"] = "\r"
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, **known)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """With the left button held, from one place in the window to another."""
        moves = (("mouseMoved", start), ("mousePressed", start), ("mouseMoved", end))
        for kind, (x, y) in (*moves, ("mouseReleased", end)):
            button = "none" if kind == "mouseMoved" and (x, y) == start else "left"
            self.send(
                "Input.dispatchMouseEvent",
                type=kind,
                x=x,
                y=y,
                button=button,
                buttons=0 if button == "none" or kind == "mouseReleased" else 1,
                clickCount=1,
            )

    def screenshot(self, path: Path) -> None:
        """The whole page as a PNG."""
        path.write_bytes(self.png())

    def png(self) -> bytes:
        """The whole page, as the bytes of a PNG."""
        how = {"captureBeyondViewport": True, "optimizeForSpeed": True}
        shot = self.send("Page.captureScreenshot", **how)
        return base64.b64decode(shot["data"])

    def _wait(self) -> None:
        while not self._loaded:
            self._note(self._next())

    def _next(self) -> Any:
        end = time.monotonic() + _PATIENCE_SECONDS
        while b"\0" not in self._held:
            ready, _, _ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
            assert ready, "the browser says nothing"
            part = os.read(self._read, 1 << 20)
            assert part, "the browser has ended"
            self._held += part
        message, _, self._held = self._held.partition(b"\0")
        return json.loads(message)

    def _note(self, message: Any) -> None:
        params = message.get("params", {})
        match message.get("method"):
            case "Page.loadEventFired":
                self._loaded = True
            case "Network.requestWillBeSent":
                self.urls.append(params["request"]["url"])
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.complaints.append(json.dumps(params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.complaints.append(json.dumps(params["entry"]))


@contextlib.contextmanager
def running_browser(program: str, folder: Path) -> Iterator[Browser]:
    """Start one with an empty profile in ``folder``; it is ended afterwards."""
    to_browser, write = os.pipe()
    read, from_browser = os.pipe()
    # The two must be 3 and 4 over there; a shell puts them in their places.
    wire = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
    command = ["bash", "-c", wire, "bash", program, *_FLAGS, f"--user-data-dir={folder}"]
    with (folder / "browser.log").open("wb") as log:
        process = subprocess.Popen(
            command, pass_fds=(to_browser, from_browser), stdout=log, stderr=log
        )
    os.close(to_browser)
    os.close(from_browser)
    try:
        yield Browser(write, read)
    finally:
        process.terminate()
        process.wait(15)
        os.close(write)
        os.close(read)

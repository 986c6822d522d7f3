# SPDX-License-Identifier: GPL-3.0-or-later
"""Drives a headless Chromium through the DevTools protocol, over two pipes: no port, no further library."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-extensions", "--hide-scrollbars",
    "--disable-dev-shm-usage", "--force-color-profile=srgb", "--font-render-hinting=none",
)  # fmt: skip
Doc = dict[str, Any]


class Browser:
    """One browser with one tab. ``events`` are all messages it sent by itself, ``log`` its log of all network activity.

    ``prefix`` is a command to run it under, such as ``unshare -n``.
    """

    def __init__(self, folder: Path, prefix: tuple[str, ...] = ()) -> None:
        self.folder, self.log = folder, folder / "net-log.json"
        self.events: list[Doc] = []
        self._number, self._buffer = 0, b""
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()

        def connect() -> None:  # the browser reads commands from 3 and answers on 4
            low = os.dup2(to_browser, 100), os.dup2(from_browser, 101)
            os.dup2(low[0], 3)
            os.dup2(low[1], 4)

        command = [*prefix, str(PROGRAM), *FLAGS, "--remote-debugging-pipe", f"--user-data-dir={folder / 'profile'}",
                   f"--log-net-log={self.log}", "--net-log-capture-mode=Everything", "about:blank"]  # fmt: skip
        self._errors = (folder / "stderr").open("wb")
        self.process = subprocess.Popen(
            command, preexec_fn=connect, pass_fds=(3, 4), stdout=subprocess.DEVNULL, stderr=self._errors
        )
        os.close(to_browser)
        os.close(from_browser)
        tab = next(one for one in self.send("Target.getTargets")["targetInfos"] if one["type"] == "page")
        self._session: str | None = None
        self._session = self.send("Target.attachToTarget", targetId=tab["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> Doc:
        """One command; returns its result."""
        self._number += 1
        message: Doc = {"id": self._number, "method": method, "params": params}
        if getattr(self, "_session", None):
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        while True:
            answer = self._next(120)
            if answer is None:
                raise TimeoutError(f"{method} was not answered; {(self.folder / 'stderr').read_text()[-2000:]}")
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])
            self.events.append(answer)

    def _next(self, timeout: float) -> Doc | None:
        end = time.monotonic() + timeout
        while b"\0" not in self._buffer:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._read], [], [], left)[0]:
                return None
            data = os.read(self._read, 1 << 20)
            if not data:
                raise EOFError(f"Chromium ended: {(self.folder / 'stderr').read_text()[-2000:]}")
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))

    def open(self, url: str) -> None:
        """Open a page, wait until it is loaded, and a moment longer for what it might start then."""
        before = len(self.events)
        self.send("Page.navigate", url=url)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events[before:]):
            event = self._next(120)
            if event is None:
                raise TimeoutError(f"{url} was not loaded")
            self.events.append(event)
        self.listen(0.5)

    def listen(self, seconds: float) -> None:
        while (event := self._next(seconds)) is not None:
            self.events.append(event)

    def told(self, method: str) -> list[Doc]:
        """The events of a kind."""
        return [event["params"] for event in self.events if event.get("method") == method]

    def look(self, width: int, theme: str = "light", height: int = 900, whole: bool = True, scale: float = 1) -> bytes:
        """A screenshot as PNG: of the whole page or of its first screen."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False
        )
        self.send(
            "Emulation.setEmulatedMedia", media="screen", features=[{"name": "prefers-color-scheme", "value": theme}]
        )
        return base64.b64decode(self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"])

    def paper(self) -> bytes:
        """The page as PDF, as it would be printed."""
        self.send("Emulation.setEmulatedMedia", media="", features=[])
        printed = self.send(
            "Page.printToPDF", preferCSSPageSize=True, printBackground=True, transferMode="ReturnAsBase64"
        )
        return base64.b64decode(printed["data"])

    def value(self, expression: str) -> Any:
        """The value of an expression, evaluated by the debugger: the page itself may run no script."""
        found = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(str(found["exceptionDetails"]))
        return found["result"].get("value")

    def close(self) -> None:
        """End the browser, so that its logs are complete."""
        self._session = None
        try:
            self.send("Browser.close")
        except (EOFError, TimeoutError, BrokenPipeError, RuntimeError):
            pass
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for descriptor in (self._write, self._read):
            os.close(descriptor)
        self._errors.close()


def requests(log: Path) -> list[str]:
    """URLs that pages asked for, in a log of network activity. The browser's own requests have no page behind them."""
    document = json.loads(log.read_text(encoding="utf-8", errors="replace"))
    kinds = {
        number for name, number in document["constants"]["logEventTypes"].items() if name.startswith("URL_REQUEST")
    }
    found = [event.get("params", {}) for event in document["events"] if event.get("type") in kinds]
    return [params["url"] for params in found if "url" in params and params.get("initiator") != "not an origin"]

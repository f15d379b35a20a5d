"""A real Chromium for pages, driven through its DevTools protocol: one process for many pages.

What the protocol evaluates is not bound by a page's Content-Security-Policy, so strict pages can be asked,
too. See https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from bifrost_flow.language import ROOT

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
NEEDS_CHROMIUM = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on this machine (CHROMIUM names one)"
)
WAIT_S = 240
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--lang=en-GB"),
    # The browser itself would ask its maker for this and that.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-port=0",
)
_KEYS = {"Tab": (9, ""), "Enter": (13, "\r"), " ": (32, " ")}


class Browser:
    """A Chromium process."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, /, **parameters: Any) -> dict[str, Any]:
        """Return what the browser answers; events that come in between are kept."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        self._connection.send(json.dumps(message | ({"sessionId": session} if session else {})))
        while True:
            answer = json.loads(self._connection.recv(timeout=WAIT_S))
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self.events.append(answer)

    @contextmanager
    def show(
        self,
        url: str,
        *,
        width: int = 1280,
        height: int = 900,
        dark: bool = False,
        locale: str = "en-GB",
        timezone: str = "Asia/Seoul",
        script: bool = True,
    ) -> Generator["Page"]:
        """Open a page in a window of its own, without what others left behind."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        page.prefer(dark=dark)
        page.call("Emulation.setLocaleOverride", locale=locale)
        agent = self.call("Browser.getVersion")["userAgent"]
        page.call("Network.setUserAgentOverride", userAgent=agent, acceptLanguage=locale)
        page.call("Emulation.setTimezoneOverride", timezoneId=timezone)
        page.call("Emulation.setScriptExecutionDisabled", value=not script)
        page.go(url)
        yield page
        self.call("Target.disposeBrowserContext", browserContextId=context)


class Page:
    """A page that is shown."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **parameters)

    def go(self, url: str) -> None:
        """Load `url` and wait for it."""
        seen = len(self._browser.events)
        self.call("Page.navigate", url=url)
        until = time.monotonic() + WAIT_S
        while not any(event.get("method") == "Page.loadEventFired" for event in self._mine(seen)):
            assert time.monotonic() < until, f"{url} did not load"
            self.call("Runtime.evaluate", expression="1")

    def prefer(self, *, dark: bool, media: str = "") -> None:
        """Say which colours the reader prefers, and whether it's paper (`print`)."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def ask(self, expression: str) -> Any:
        """Return the value of an expression of JavaScript, of a promise what it holds."""
        found = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def press(self, *keys: str) -> None:
        """Press keys one after the other."""
        for key in keys:
            code, text = _KEYS.get(key, (ord(key.upper()[0]), key))
            said = {"key": key, "windowsVirtualKeyCode": code, "code": key}
            self.call("Input.dispatchKeyEvent", type="keyDown", **said, **({"text": text} if text else {}))
            self.call("Input.dispatchKeyEvent", type="keyUp", **said)

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than its window."""
        return self.ask("document.documentElement.scrollWidth - innerWidth")

    def colour(self) -> str:
        """Return the page's background."""
        return self.ask("getComputedStyle(document.body).backgroundColor")

    def said(self) -> list[Any]:
        """Return what the page said on the console, broken rules of its policy included."""
        heard = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [event["params"] for event in self._mine() if event.get("method") in heard]

    def requested(self) -> set[str]:
        """Return the addresses that were asked for."""
        asked = (event for event in self._mine() if event.get("method") == "Network.requestWillBeSent")
        return {event["params"]["request"]["url"] for event in asked}

    def find_violations(self) -> list[str]:
        """Return what axe-core has to say of the page: rule, element and what is wrong."""
        self.ask(read_axe())
        found = self.ask("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{rule['id']}: {node['html'][:200]} {node['failureSummary']}"
            for rule in found["violations"]
            for node in rule["nodes"]
        ]

    def print_to(self, path: Path) -> None:
        """Print the page on A4."""
        paper = self.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, printBackground=False)
        path.write_bytes(base64.b64decode(paper["data"]))

    def _mine(self, start: int = 0) -> list[dict[str, Any]]:
        return [event for event in self._browser.events[start:] if event.get("sessionId") == self._session]


def read_axe() -> str:
    """Return axe-core's source; the test is skipped where it isn't installed."""
    for path in (ROOT / ".tools-venv").glob("lib/python3*/site-packages/axe_playwright_python/axe.min.js"):
        return path.read_text(encoding="utf-8")
    pytest.skip("axe-core is not installed; .ci/tools does it")


@contextmanager
def start_browser(folder: Path) -> Generator[Browser]:
    """Start Chromium with its profile in `folder`, and end it."""
    process = subprocess.Popen(
        [str(CHROMIUM), *_FLAGS, f"--user-data-dir={folder}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port_file = folder / "DevToolsActivePort"
        until = time.monotonic() + WAIT_S
        while not (port_file.exists() and "/devtools/" in port_file.read_text()):
            assert process.poll() is None and time.monotonic() < until, "Chromium did not start"
            time.sleep(0.05)
        port, _, path = port_file.read_text().partition("\n")
        address = f"ws://127.0.0.1:{port}{path.strip()}"
        # A browser that is busy answers no pings.
        with connect(
            address, max_size=None, proxy=None, open_timeout=WAIT_S, ping_interval=None
        ) as connection:
            yield Browser(connection)
    finally:
        process.kill()
        process.wait()

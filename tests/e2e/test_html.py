"""The HTML report in a real browser: nothing is fetched, no attack runs, it fits phone and desk."""

import http.server
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from bifrost_flow.records import Evidence, Report
from bifrost_flow.render import render_report

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine (CHROMIUM names one)")

DATA = Path(__file__).parents[1] / "data" / "reports"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--enable-logging=stderr",
    # The browser itself would ask its maker for this and that.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
# Runs in the page that holds the report in a frame, and writes what it finds into the frame's holder.
PROBE = """<!DOCTYPE html><meta charset="utf-8"><title>probe</title><link rel="icon" href="data:,">
<iframe id="frame" src="/report.html" width="{width}" height="900"></iframe><pre id="found"></pre>
<script>
const frame = document.getElementById("frame");
frame.onload = () => {{
  const page = frame.contentDocument, view = frame.contentWindow;
  const style = (element, name) => view.getComputedStyle(element)[name];
  const shown = () => [...page.querySelectorAll("details.finding")].filter((item) => !item.hidden).length;
  const found = {{
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    styled: style(page.querySelector(".tile"), "borderRadius"),
    background: style(page.body, "backgroundColor"),
    controls: !page.querySelector(".controls").hidden,
    all: shown(),
    alien: page.querySelectorAll("img, iframe, a[href^=http], b[onmouseover], svg[onload]").length,
  }};
  page.querySelector('button[data-status="new"]').click();
  found.new = shown();
  page.querySelector('button[data-status=""]').click();
  const search = page.querySelector("input");
  search.value = "{word}";
  search.dispatchEvent(new view.Event("input"));
  found.matching = shown();
  page.querySelector(".fold").click();
  found.open = page.querySelectorAll("details.finding[open]").length;
  document.getElementById("found").textContent = JSON.stringify(found);
}};
</script>"""


class Found(HTMLParser):
    """Reads the JSON that the probe left."""

    def __init__(self, dom: str) -> None:
        super().__init__()
        self.inside = False
        self.text = ""
        self.feed(dom)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = dict(attrs).get("id") == "found"

    def handle_data(self, data: str) -> None:
        self.text += data if self.inside else ""


@pytest.fixture
def report() -> Report:
    return TypeAdapter(Report).validate_json((DATA / "storefront.json").read_bytes())


@pytest.fixture
def hostile(report: Report) -> Report:
    """The report with a finding for each hostile string, in title, texts and evidence."""
    texts: list[str] = json.loads((DATA / "hostile.json").read_text(encoding="utf-8"))
    return replace(
        report,
        findings=tuple(
            replace(
                report.findings[0],
                title=text,
                root_cause=text,
                suggestion=text,
                evidence=(Evidence(text, 1, text * 40),),
                language=text,
            )
            for text in texts
        ),
    )


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Return a function that serves a page as /report.html on loopback and gives the base address."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, directory=str(tmp_path), **kwargs)  # ty: ignore[invalid-argument-type]

        def log_message(self, format: str, *args: object) -> None:
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def publish(page: str) -> str:
        (tmp_path / "report.html").write_text(page, encoding="utf-8")
        return f"http://127.0.0.1:{server.server_port}"

    yield publish
    server.shutdown()
    thread.join()
    server.server_close()
    assert set(asked) <= {"/probe.html", "/report.html"}, "a page asked for more than itself"


def browse(url: str, folder: Path, *flags: str) -> tuple[str, list[str], set[str]]:
    """Return the page's DOM, the lines of its console, and the addresses that pages asked for."""
    net_log = folder / "net.json"
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={folder / 'profile'}", f"--log-net-log={net_log}"]
    done = subprocess.run(
        [*command, *flags, "--virtual-time-budget=5000", "--dump-dom", url],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    events = json.loads(net_log.read_text())["events"]
    requests = [event["params"] for event in events if "initiator" in event.get("params", {})]
    return done.stdout, console, {each["url"] for each in requests if each["initiator"] != "not an origin"}


@pytest.mark.parametrize(("width", "dark"), [(390, False), (1280, True)])
def test_fits_and_works(
    report: Report, serve: Callable[[str], str], tmp_path: Path, width: int, dark: bool
) -> None:
    """The page fits its window, follows the system's colours, and filters and unfolds by its script."""
    address = serve(render_report(report, "html"))
    (tmp_path / "probe.html").write_text(PROBE.format(width=width, word="left-pad"), encoding="utf-8")
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    dom, console, asked = browse(f"{address}/probe.html", tmp_path, scheme)
    found = json.loads(Found(dom).text)
    assert found == {
        "overflow": 0,
        "styled": "14px",
        "background": "rgb(14, 16, 26)" if dark else "rgb(244, 245, 249)",
        "controls": True,
        "all": 6,
        "alien": 0,
        "new": 2,
        "matching": 1,
        "open": 6,
    }
    assert console == []
    assert asked == {f"{address}/report.html"}


def test_hostile_page_does_nothing(hostile: Report, serve: Callable[[str], str], tmp_path: Path) -> None:
    """A page full of attacks runs none of them: no dialog, no console message, no request, no overflow."""
    address = serve(render_report(hostile, "html"))
    (tmp_path / "probe.html").write_text(PROBE.format(width=390, word="alert(1)"), encoding="utf-8")
    dom, console, asked = browse(f"{address}/probe.html", tmp_path)
    found = json.loads(Found(dom).text)
    assert (found["alien"], found["matching"], found["overflow"]) == (0, 1, 0)
    assert found["all"] == len(hostile.findings)
    assert console == []
    assert asked == {f"{address}/report.html"}


def test_opens_from_disk(report: Report, tmp_path: Path) -> None:
    """As a file, in Korean, the page asks nobody for anything and its console stays empty."""
    page = tmp_path / "보고서.html"
    page.write_text(render_report(replace(report, language="ko"), "html"), encoding="utf-8")
    dom, console, asked = browse(page.as_uri(), tmp_path)
    assert '<html lang="ko">' in dom and "확인할 문제 3건" in dom
    assert "hidden" not in dom.split('class="controls"')[1][:10], "the script ran"
    assert (console, asked) == ([], set())

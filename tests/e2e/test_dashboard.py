"""The dashboard of a real warehouse, in a real browser: text, filters, languages, phone, no errors."""

import json
import os
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.dashboard import read_board
from connectors.warehouse import Warehouse
from tests.console import Console
from tests.warehouse_rows import CALL, FINDING, RUN, make_run_id

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
NIGHT = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
EVIL = "<img src=x onerror=document.title='owned'> & </script><script>document.title='owned'</script>"
# Looks at the page in a frame: what it holds, whether a filter works, whether it is wider than the screen.
PROBE = """<!DOCTYPE html><meta charset="utf-8"><title>probe</title>
<iframe id="frame" src="dashboard.html{hash}" width="{width}" height="900"></iframe><pre id="found"></pre>
<script>
document.getElementById("frame").onload = (event) => {{
  const page = event.target.contentDocument, view = event.target.contentWindow;
  const items = () => page.querySelectorAll(".item").length;
  const found = {{
    title: page.title, lang: page.documentElement.lang, all: items(),
    runs: page.querySelectorAll("#runs tbody tr").length,
    bars: page.querySelectorAll("#trend rect").length, alien: page.querySelectorAll("img, iframe").length,
    tiles: [...page.querySelectorAll(".figure")].map((each) => each.textContent),
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    unlabelled: [...page.querySelectorAll("input, select")].filter((each) => !each.labels.length).length,
    background: view.getComputedStyle(page.body).backgroundColor,
  }};
  const search = page.getElementById("q");
  search.value = "img onerror";
  search.dispatchEvent(new view.Event("input", {{ bubbles: true }}));
  found.searched = items();
  found.hash = view.location.hash;
  document.getElementById("found").textContent = "FOUND" + JSON.stringify(found) + "END";
}};
</script>"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine (CHROMIUM names one)")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse of three nights, with a finding each night and one with an attack in its title."""
    folder = tmp_path_factory.mktemp("board")
    store = Warehouse.open(str(folder / "w"))
    for night in range(3):
        at = NIGHT + timedelta(days=night)
        run_id = make_run_id(at)
        findings = [
            replace(FINDING, fingerprint="f1:a", status="new" if night == 0 else "recurring", last_seen=at),
            replace(FINDING, fingerprint="f1:b", status="new", title=EVIL, severity="critical", last_seen=at),
        ]
        store.write_calls(run_id, [replace(CALL, started_at=at)])
        store.write_findings(run_id, findings[: 1 + (night == 2)])
        store.write_run(replace(RUN, run_id=run_id, started_at=at))
    return folder


def look(
    folder: Path, *, lang: str = "en", width: int = 1200, asked: str = "", dark: bool = False
) -> dict[str, Any]:
    """Make the page and return what the probe finds in it; fail on any word on the console."""
    console = Console(folder, folder / "prefect")
    done = console.call("dashboard", "--warehouse", "w", "--lang", lang, "--output", "dashboard.html")
    assert done.code == 0, done.err
    (folder / "probe.html").write_text(PROBE.format(width=width, hash=asked), encoding="utf-8")
    flags = ["--blink-settings=preferredColorScheme=0"] if dark else []
    shown = subprocess.run(
        [
            *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"),
            *("--disable-background-networking", "--enable-logging=stderr", "--virtual-time-budget=4000"),
            *(*flags, f"--user-data-dir={folder / 'profile'}", "--dump-dom", str(folder / "probe.html")),
        ],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    assert "CONSOLE" not in shown.stderr, shown.stderr
    found = json.loads(
        shown.stdout.partition('<pre id="found">FOUND')[2].partition("END")[0].replace("&amp;", "&")
    )
    assert found["alien"] == 0 and found["title"] != "owned" and found["unlabelled"] == 0
    return found


def test_a_warehouse_is_shown_and_searched(folder: Path) -> None:
    """Runs, findings and bars are there; a search narrows them and stays in the address."""
    found = look(folder)
    assert (found["all"], found["runs"], found["tiles"]) == (2, 3, ["1", "0", "1", "0"])
    assert found["bars"] >= 3
    assert found["searched"] == 1 and found["hash"] == "#q=img+onerror"


def test_an_address_keeps_the_filters(folder: Path) -> None:
    """A link with filters opens the page filtered."""
    assert look(folder, asked="#severity=critical")["all"] == 1


def test_what_the_page_is_made_of(tmp_path: Path) -> None:
    """Cost is told by project, a finding's days are bounded and counted, and only a page within the warehouse
    links the reports there."""
    for project, cost in (("web", 1.0), ("api", 9.0)):
        store = Warehouse.open(str(tmp_path / "w"), project=project)
        for night in range(40 if project == "web" else 1):
            at = NIGHT + timedelta(days=night)
            run_id = make_run_id(at, number=len(project) + ord(project[0]))
            store.write_calls(run_id, [replace(CALL, started_at=at, cost_usd=cost)][: 1 - min(night, 1)])
            store.write_findings(run_id, [replace(FINDING, last_seen=at)])
            store.write_run(replace(RUN, run_id=run_id, started_at=at, project=project))
    report = tmp_path / "w" / "reports" / run_id / "report.html"
    report.parent.mkdir(parents=True)
    report.write_text("x")
    board = read_board(store)
    assert {row["project"]: row["cost_usd"] for row in board.costs} == {"web": 1.0, "api": 9.0}
    (web,) = [row for row in board.findings if row["project"] == "web"]
    assert (web["seen"], len(web["days"]), web["days"][-1]["day"]) == (40, 30, "2026-12-29")
    assert board.reports == {run_id}
    assert read_board(store, linked=False).reports == frozenset()


def test_korean_on_a_phone_in_the_dark(folder: Path) -> None:
    """The page speaks Korean, fits 360 pixels and turns dark where that is preferred."""
    found = look(folder, lang="ko", width=360, dark=True)
    assert (found["title"], found["lang"]) == ("대시보드", "ko")
    assert found["overflow"] <= 0
    assert found["background"] != look(folder, width=360)["background"]


def test_a_warehouse_without_runs(tmp_path: Path) -> None:
    """There is a page before the first run, and a clear word where there is no warehouse."""
    Warehouse.open(str(tmp_path / "w"))
    console = Console(tmp_path, tmp_path / "prefect")
    assert console.call("dashboard", "--warehouse", "w").code == 0
    assert (tmp_path / "w" / "dashboard.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    missing = console.call("dashboard", "--warehouse", "nowhere")
    assert missing.code == 2 and "nowhere" in missing.err

"""The dashboard of a real warehouse, in a real browser: text, filters, languages, phone, paper, no errors."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bifrost_flow.records import Evidence
from bifrost_flow.render.dashboard import render_dashboard
from connectors.dashboard import read_board, write_dashboard
from connectors.warehouse import Warehouse
from tests.browser import NEEDS_CHROMIUM, Browser, Page
from tests.console import Console
from tests.warehouse_rows import CALL, FINDING, RUN, make_run_id

NIGHT = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
HOSTILE = Path(__file__).parents[1] / "data" / "reports" / "hostile.json"
LIGHT, DARK, PAPER = "rgb(244, 245, 249)", "rgb(14, 16, 26)", "rgb(255, 255, 255)"
MANY = 120
pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """A warehouse of three nights: a failure that recurs, one that a night resolves, and many new ones."""
    store = Warehouse.open(str(tmp_path_factory.mktemp("board") / "w"))
    for night in range(3):
        at = NIGHT + timedelta(days=night)
        run_id = make_run_id(at)
        quote = Evidence("logs/lint.log", 9, "boom of lint")
        findings = [
            replace(FINDING, status="new" if night == 0 else "recurring", last_seen=at, evidence=(quote,))
        ]
        if night:
            gone = night == 2
            findings.append(
                replace(
                    FINDING,
                    fingerprint="f1:gone",
                    title="Gone",
                    severity="critical",
                    status="resolved" if gone else "new",
                    last_seen=NIGHT + timedelta(days=1),
                )
            )
        if night == 2:
            findings += [
                replace(
                    FINDING,
                    fingerprint=f"f1:{number:03}",
                    title=f"Fresh {number:03}",
                    status="new",
                    severity="critical" if number == 77 else "error",
                    category="timeout" if number % 2 else "crash",
                    last_seen=at,
                )
                for number in range(MANY)
            ]
        store.write_calls(run_id, [replace(CALL, started_at=at)])
        store.write_findings(run_id, findings)
        store.write_run(replace(RUN, run_id=run_id, started_at=at, source="logs/" + "x" * 90))
        report = Path(store.location) / "reports" / run_id / "report.html"
        report.parent.mkdir(parents=True)
        report.write_text(f"<!DOCTYPE html><title>report {night}</title>")
    return store


@pytest.fixture
def write(warehouse: Warehouse, tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes the page outside of the warehouse and gives its address on disk."""

    def write(language: str = "en") -> str:
        target = tmp_path / f"{language}.html"
        board = read_board(warehouse, target=str(target))
        target.write_text(render_dashboard(board, language=language), encoding="utf-8")
        return target.as_uri()

    return write


def titles(page: Page) -> list[str]:
    return page.ask("[...document.querySelectorAll('.finding h3')].map((each) => each.textContent)")


def choose(page: Page, field: str, value: str) -> None:
    """Set a field as a reader would."""
    page.ask(
        f"(() => {{ const field = document.getElementById({json.dumps(field)});"
        f" field.value = {json.dumps(value)};"
        " field.dispatchEvent(new Event('input', { bubbles: true })); })()"
    )


@pytest.mark.parametrize(
    ("language", "width", "dark"),
    [("en", 360, True), ("en", 1280, False), ("ko", 360, False), ("ko", 1280, True)],
)
def test_everybody_can_read_it(
    browser: Browser, write: Callable[..., str], language: str, width: int, dark: bool
) -> None:
    """In both languages, light and dark, phone and desk, unfolded: no barrier, no overflow, no error."""
    address = write(language)
    with browser.show(address, width=width, dark=dark) as page:
        page.ask("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert page.ask("document.querySelector('h1').textContent") == (
            "121 open failures" if language == "en" else "미해결 문제 121건"
        )
        assert page.colour() == (DARK if dark else LIGHT)
        assert page.overflow() <= 0
        assert page.find_violations() == []
        assert page.said() == []
        assert page.requested() == {address}


def test_every_finding_can_be_reached(browser: Browser, write: Callable[..., str]) -> None:
    """What is new and severe comes first, what is resolved last in any order, and keys show the rest."""
    with browser.show(write()) as page:
        assert page.ask("document.getElementById('found').textContent") == str(MANY + 2)
        assert titles(page)[0] == "Fresh 077"
        assert len(titles(page)) == 50
        for shown in (100, MANY + 2):
            page.ask("document.querySelector('#list + button.more').focus()")
            page.press("Enter")
            assert len(titles(page)) == shown
        assert page.ask("document.activeElement.matches('#list summary')")
        assert page.ask("document.querySelector('#list + button.more')") is None
        assert titles(page)[-2:] == ["Boom", "Gone"]
        choose(page, "order", "worst")
        choose(page, "q", "f1")
        assert titles(page)[0] == "Fresh 077"
        choose(page, "q", "")
        choose(page, "order", "often")
        assert titles(page)[0] == "Boom"
        assert page.ask("location.hash") == "#order=often"


def test_filters_are_kept_in_the_address(browser: Browser, write: Callable[..., str]) -> None:
    """Words, choices and tiles narrow findings and charts; the address has them, and opens the page so."""
    with browser.show(write()) as page:
        figures = "[...document.querySelectorAll('.tile .figure')].map((each) => each.textContent)"
        assert page.ask(figures) == ["120", "0", "1", "1"]
        assert page.ask("document.querySelectorAll('#trend path').length") == 4
        choose(page, "q", "FRESH f1:01")
        assert page.ask("document.getElementById('found').textContent") == "10"
        choose(page, "category", "timeout")
        assert titles(page) == [f"Fresh {number:03}" for number in (11, 13, 15, 17, 19)]
        kept = page.ask("location.hash")
        choose(page, "q", "nowhere")
        assert titles(page) == []
        page.go("about:blank")
        page.go(write() + kept)
        assert len(titles(page)) == 5
        page.go("about:blank")
        page.go(write())
        page.ask("document.getElementById('only-resolved').focus()")
        page.press("Enter")
        assert titles(page) == ["Gone"]
        assert page.ask("document.activeElement.getAttribute('aria-pressed')") == "true"
        assert page.ask(figures) == ["120", "0", "1", "1"]
        page.press("Enter")
        choose(page, "period", "7")
        assert page.ask("document.getElementById('found').textContent") == str(MANY + 2)
        assert page.said() == []


def test_a_finding_has_its_history(browser: Browser, write: Callable[..., str]) -> None:
    """It says on how many days it was seen, over an axis of days, and has file, line, advice and a command to
    copy; its report opens though the page lies elsewhere."""
    with browser.show(write(), width=360) as page:
        choose(page, "q", "lint")
        card = page.ask("document.querySelector('.finding').innerText.replaceAll('\\u200b', '')")
        assert "seen on 3 days" in card and "logs/lint.log:9" in card
        assert card.splitlines()[-2:] == ["24 Oct", "22 Nov"]
        assert page.ask("document.querySelectorAll('.past rect').length") == 3
        page.ask("document.querySelector('.finding > summary').focus()")
        page.press("Enter")
        page.ask("navigator.clipboard.writeText = async (text) => { window.copied = text; }; 0")
        copies = page.ask("document.querySelectorAll('.finding .copy').length")
        copied = []
        for at in range(copies):
            page.ask(f"document.querySelectorAll('.finding .copy')[{at}].click()")
            copied.append(page.ask("window.copied"))
        assert copied == ["do", "boom of lint", "bifrost-flow show f1:a"]
        page.go(page.ask("document.querySelector('.finding a').href"))
        assert page.ask("document.title") == "report 2"


def test_light_and_dark_by_a_switch_and_on_paper(
    browser: Browser, write: Callable[..., str], tmp_path: Path
) -> None:
    """The switch goes against what the system prefers and is kept; paper is light and has no controls."""
    with browser.show(write(), dark=True) as page:
        page.ask("document.querySelector('button.theme').click()")
        assert page.colour() == LIGHT
        page.go(write("ko"))
        assert page.colour() == LIGHT
        page.ask("document.querySelector('button.theme').click()")
        page.prefer(dark=True, media="print")
        assert page.colour() == PAPER
        seen = "[...document.querySelectorAll('#filters, .theme, button.more, .copy')]"
        assert page.ask(f"{seen}.filter((each) => each.checkVisibility()).length") == 0
        page.print_to(tmp_path / "board.pdf")
        assert (tmp_path / "board.pdf").stat().st_size > 50_000
        assert page.said() == []


def test_attacks_do_nothing(browser: Browser, tmp_path: Path) -> None:
    """Log text that would run, turn the page around or make it endless is shown as text, at any width."""
    attacks = [
        *json.loads(HOSTILE.read_text(encoding="utf-8")),
        "</script><script>document.title='owned'</script><img src=x onerror=document.title='owned'>",
        "\u202eright to left\u2066\x1b[31mred\x1b]8;;https://example.org\x07link",
        "x" * 1_000_000,
    ]
    store = Warehouse.open(str(tmp_path / "w"))
    findings = [
        replace(
            FINDING,
            **dict.fromkeys(("title", "root_cause", "suggestion", "category", "severity", "status"), text),
            fingerprint=f"f1:{number}",
            evidence=(Evidence(text, 1, text),),
        )
        for number, text in enumerate(attacks)
    ]
    run_id = make_run_id(NIGHT)
    store.write_findings(run_id, findings)
    store.write_calls(run_id, [replace(CALL, model=attacks[-3], started_at=NIGHT)])
    store.write_run(replace(RUN, run_id=run_id, started_at=NIGHT, source=attacks[-3], status=attacks[-3]))
    target = Path(write_dashboard(store, language="en"))
    assert target.stat().st_size < 500_000
    with browser.show(target.as_uri(), width=360) as page:
        page.ask("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert page.ask("document.querySelectorAll('.finding').length") == len(attacks)
        assert page.ask("document.querySelectorAll('img, iframe, a[href^=http], [onload]').length") == 0
        assert "owned" not in page.ask("document.title")
        assert page.ask("document.body.innerText.search(/[\\u202a-\\u202e\\u2066-\\u2069\\x1b]/)") == -1
        assert page.overflow() <= 0
        assert page.said() == []
        assert page.requested() == {target.as_uri()}


def test_what_the_page_is_made_of(tmp_path: Path) -> None:
    """Cost is told by project, a finding's days are those of a window, each failure counts once a day, and
    reports are linked below a web address, relatively where they can be reached, or not at all."""
    for project, cost in (("web", 1.0), ("api", 9.0)):
        store = Warehouse.open(str(tmp_path / "w"), project=project)
        for night in range(40 if project == "web" else 1):
            at = NIGHT + timedelta(days=night)
            for again in range(2):
                run_id = make_run_id(at, number=len(project) + ord(project[0]) + again)
                status = "recurring" if night or again else "new"
                store.write_calls(run_id, [replace(CALL, started_at=at, cost_usd=cost)][: not night])
                store.write_findings(run_id, [replace(FINDING, status=status, last_seen=at)])
                began = at + timedelta(hours=again)
                store.write_run(replace(RUN, run_id=run_id, started_at=began, project=project))
    report = tmp_path / "w" / "reports" / run_id / "report.html"
    report.parent.mkdir(parents=True)
    report.write_text("x")
    board = read_board(store, target=str(tmp_path / "w" / "dashboard.html"))
    assert {row["project"]: row["cost_usd"] for row in board.costs} == {"web": 2.0, "api": 18.0}
    (web,) = [row for row in board.findings if row["project"] == "web"]
    assert (web["seen"], [day["ago"] for day in web["days"]]) == (40, list(range(29, -1, -1)))
    assert web["days"][0]["occurrences"] == 2
    assert [(row["new"], row["recurring"]) for row in board.days if row["project"] == "web"] == [
        (1, 0),
        *[(0, 1)] * 39,
    ]
    assert (board.reports, board.link) == ({run_id}, "reports/{run_id}/report.html")
    for target, base_url, link in (
        (str(tmp_path / "a b" / "x.html"), None, "../w/reports/{run_id}/report.html"),
        ("-", None, ""),
        ("s3://bucket/x.html", None, ""),
        ("-", "https://ci.example/r", "https://ci.example/r/{run_id}/report.html"),
    ):
        found = read_board(store, target=target, base_url=base_url)
        assert (found.link, bool(found.reports)) == (link, bool(link))


def test_a_warehouse_without_runs(browser: Browser, tmp_path: Path) -> None:
    """There is a page before the first run, and a clear word where there is no warehouse."""
    Warehouse.open(str(tmp_path / "w"))
    console = Console(tmp_path, tmp_path / "prefect")
    assert console.call("dashboard", "--warehouse", "w", "--output", "pages/").code == 0
    with browser.show((tmp_path / "pages" / "dashboard.html").as_uri()) as page:
        assert page.ask("document.querySelector('h1').textContent") == "There is nothing yet."
        assert page.said() == []
        assert page.find_violations() == []
    with browser.show((tmp_path / "pages" / "dashboard.html").as_uri(), script=False) as page:
        page.call("Emulation.setScriptExecutionDisabled", value=False)
        assert "script of its own" in page.ask("document.querySelector('main').innerText")
    missing = console.call("dashboard", "--warehouse", "nowhere")
    assert missing.code == 2 and "nowhere" in missing.err


def test_an_address_may_name_a_run_twice(browser: Browser, warehouse: Warehouse, tmp_path: Path) -> None:
    """Every `{run_id}` and `{project}` in the address of reports is filled in, as elsewhere."""
    board = read_board(warehouse, target="-", base_url="https://ci.example/{run_id}/{project}/{run_id}.html")
    target = tmp_path / "linked.html"
    target.write_text(render_dashboard(board, language="en"), encoding="utf-8")
    run = board.runs[0]
    with browser.show(target.as_uri()) as page:
        address = page.ask("document.querySelector('#runs tbody a').href")
    assert address == f"https://ci.example/{run['run_id']}/{run['project']}/{run['run_id']}.html"

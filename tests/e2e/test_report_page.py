"""The report as its readers have it: on phone, desk and paper, light and dark, by eye, ear and keyboard."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from bifrost_flow.records import Evidence, Report
from bifrost_flow.render import render_report
from tests.browser import NEEDS_CHROMIUM, Browser

DATA = Path(__file__).parents[1] / "data" / "reports"
LIGHT, DARK, PAPER = "rgb(244, 245, 249)", "rgb(14, 16, 26)", "rgb(255, 255, 255)"
pytestmark = NEEDS_CHROMIUM


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes a nightly report and gives its address on disk."""
    report = TypeAdapter(Report).validate_json((DATA / "storefront.json").read_bytes())

    def write(language: str = "en") -> str:
        page = tmp_path / f"{language}.html"
        page.write_text(render_report(replace(report, language=language), "html"), encoding="utf-8")
        return page.as_uri()

    return write


@pytest.mark.parametrize(
    ("language", "width", "dark"),
    [("en", 360, True), ("en", 1280, False), ("ko", 360, False), ("ko", 1280, True)],
)
def test_everybody_can_read_it(
    browser: Browser, write: Callable[..., str], language: str, width: int, dark: bool
) -> None:
    """In both languages, light and dark, phone and desk, all open: no barrier, no overflow, no error."""
    with browser.show(write(language), width=width, dark=dark) as page:
        page.ask("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert page.colour() == (DARK if dark else LIGHT)
        assert page.overflow() <= 0
        assert page.said() == []
        assert page.requested() == {write(language)}
        assert page.find_violations() == []


def test_light_and_dark_by_a_switch(browser: Browser, write: Callable[..., str]) -> None:
    """The switch works by keyboard against what the system prefers, is kept, and paper stays light."""
    with browser.show(write(), dark=True) as page:
        page.ask("document.querySelector('button.theme').focus()")
        assert page.ask("document.activeElement.getAttribute('aria-pressed')") == "true"
        page.press(" ")
        assert page.colour() == LIGHT
        page.go(write("ko"))
        assert page.colour() == LIGHT
        page.ask("document.querySelector('button.theme').click()")
        assert page.colour() == DARK
        page.prefer(dark=True, media="print")
        assert page.colour() == PAPER
        assert page.ask("getComputedStyle(document.querySelector('.theme')).display") == "none"


def test_paper_shows_everything(browser: Browser, write: Callable[..., str], tmp_path: Path) -> None:
    """While the page is printed every finding is unfolded, and afterwards it is as it was."""
    with browser.show(write()) as page:
        page.ask(
            "addEventListener('beforeprint', () => {"
            " window.folded = document.querySelectorAll('details:not([open])').length; })"
        )
        before = page.ask("document.querySelectorAll('details[open]').length")
        page.print_to(tmp_path / "report.pdf")
        assert page.ask("window.folded") == 0
        assert page.ask("document.querySelectorAll('details[open]').length") == before == 3
        assert (tmp_path / "report.pdf").stat().st_size > 50_000


@pytest.mark.parametrize(
    ("language", "locale", "zone", "shown"),
    [
        ("en", "en-GB", "Europe/Berlin", "23 Nov 2026, 03:14 CET"),
        ("en", "ko-KR", "Asia/Seoul", "Nov 23, 2026, 11:14 AM GMT+9"),
        ("ko", "ko-KR", "Asia/Seoul", "2026년 11월 23일 오전 11:14 GMT+9"),
    ],
)
def test_times_are_the_readers(
    browser: Browser, write: Callable[..., str], language: str, locale: str, zone: str, shown: str
) -> None:
    """A time is in the page's language, the reader's way to write it and zone; the title has UTC."""
    with browser.show(write(language), locale=locale, timezone=zone) as page:
        found = page.ask("[document.querySelector('time').textContent, document.querySelector('time').title]")
    # Browsers differ in which space stands before AM.
    assert [text.replace("\u202f", " ") for text in found] == [shown, "2026-11-23 02:14 UTC"]


def test_without_a_script(browser: Browser, write: Callable[..., str]) -> None:
    """Where scripts are off the page says all it has to say, and shows no control that would do nothing."""
    with browser.show(write(), script=False) as page:
        page.call("Emulation.setScriptExecutionDisabled", value=False)
        assert page.ask("document.querySelector('time').textContent") == "2026-11-23 02:14 UTC"
        seen = "[...document.querySelectorAll('button, input')].filter((each) => each.checkVisibility())"
        assert page.ask(f"{seen}.length") == 0


def test_keys_suffice(browser: Browser, write: Callable[..., str]) -> None:
    """By keys alone one skips to the findings, filters them, and copies evidence as it was."""
    with browser.show(write()) as page:
        # A page from disk may not read the clipboard.
        page.ask("navigator.clipboard.writeText = async (text) => { window.copied = text; }; 0")
        page.press("Tab", "Enter")
        assert page.ask("location.hash") == "#findings"
        page.press("Tab", *"constant")
        assert page.ask("document.activeElement.type") == "search"
        assert page.ask("document.querySelectorAll('details.finding:not([hidden])').length") == 1
        page.ask("document.querySelector('details.finding:not([hidden]) .quote .copy').focus()")
        page.press("Enter")
        copied = page.ask("window.copied")
        assert copied.splitlines()[-2:] == ["  left: 4", " right: 3"]
        # A page that came by plain HTTP from elsewhere has no clipboard of this kind.
        page.ask("Object.defineProperty(navigator, 'clipboard', { value: undefined }); window.copied = ''; 0")
        page.ask("addEventListener('copy', () => { window.copied = document.activeElement.value; }); 0")
        page.ask("document.querySelectorAll('details.finding:not([hidden]) .copy')[0].click()")
        assert page.ask("window.copied").endswith("to see it alone.")


def test_endless_text_does_not_break_it(browser: Browser, tmp_path: Path) -> None:
    """A line of a megabyte, turned around and coloured, in every text: cut, made visible, not too wide."""
    report = TypeAdapter(Report).validate_json((DATA / "storefront.json").read_bytes())
    text = "</script>\u202e\x1b[31m" + "x" * 1_000_000
    words = dict.fromkeys(("title", "root_cause", "explanation", "suggestion"), text)
    finding = replace(report.findings[0], **words, evidence=(Evidence(text[:900], 1, text),))
    target = tmp_path / "report.html"
    target.write_text(render_report(replace(report, findings=(finding,)), "html"), encoding="utf-8")
    assert target.stat().st_size < 150_000
    with browser.show(target.as_uri(), width=360) as page:
        assert page.ask("document.querySelector('h3').textContent").startswith("</script>\\u202exxx")
        assert page.overflow() <= 0
        assert page.said() == []


def test_korean_breaks_between_words(browser: Browser, write: Callable[..., str]) -> None:
    """Korean lines break at spaces, with a font stack that has Hangul on each common system."""
    with browser.show(write("ko"), width=360) as page:
        assert page.ask("document.documentElement.lang") == "ko"
        assert page.ask("getComputedStyle(document.querySelector('.note')).wordBreak") == "keep-all"
        fonts = page.ask("getComputedStyle(document.body).fontFamily")
    assert all(name in fonts for name in ("Apple SD Gothic Neo", "Malgun Gothic", "Noto Sans KR"))

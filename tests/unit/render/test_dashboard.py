"""The dashboard's page: its data can't break out of it, and what is left out is said."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from bifrost_flow.render.dashboard import Board, render_dashboard

NOW = datetime(2026, 11, 23, 2, 14, 9, tzinfo=UTC)


def make_board(text: str = "it broke", **changes: Any) -> Board:
    run = {
        **dict.fromkeys(("files", "lines", "llm_calls", "cache_hits", "tokens_saved", "errors"), 1),
        **dict.fromkeys(("new", "regressed", "recurring", "resolved"), 1),
        "run_id": "r1",
        "project": text,
        "source": text,
        "started_at": NOW,
        "status": "completed",
        "cost_usd": 0.5,
    }
    finding = {
        "project": text,
        "fingerprint": "f1:a",
        "run_id": "r1",
        "status": "new",
        "severity": "error",
        "category": "crash",
        "title": text,
        "root_cause": text * 500,
        "suggestion": text,
        "path": text,
        "line": 7,
        "first_seen": NOW,
        "last_seen": NOW,
        "seen": 1,
        "days": [{"day": "2026-11-23", "occurrences": 2}],
    }
    cost = {"day": "2026-11-23", "provider": "ollama", "model": text, "calls": 1, "cost_usd": 0.5}
    cost |= {"project": text, "tokens_in": 10, "tokens_out": 2}
    return replace(Board("w", (run,), (finding,), (cost,)), **changes)


class Page(HTMLParser):
    """Reads the elements of a page, and the data in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.inside, self.data = False, ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.inside = dict(attrs).get("id") == "data"
        assert not any(name.startswith("on") or name == "style" for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.data += data if self.inside else ""


def test_hostile_text_stays_data(hostile_strings: list[str]) -> None:
    """Whatever a log says, the page has the elements of a harmless one, and the data its own text."""
    harmless = Page(render_dashboard(make_board(), language="en"))
    for text in [*hostile_strings, "</script><script>alert(1)</script>", "<!--<script>", "\u2028\udce9"]:
        page = Page(render_dashboard(make_board(text), language="en"))
        assert page.tags == harmless.tags, text
        (finding,) = json.loads(page.data)["findings"]
        assert len(finding["root_cause"]) <= 400
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", finding["title"])


@pytest.mark.parametrize("language", ["en", "ko"])
def test_policy_and_language(language: str) -> None:
    """Only the page's own style and script may act, nothing is fetched, and its language is said."""
    page = render_dashboard(make_board(), language=language)
    assert f'<html lang="{language}">' in page
    assert "default-src 'none'" in page and "unsafe" not in page
    assert not re.search(r"(?:src|href)=\"(?!#|data:)", page)
    assert ("대시보드" in page) == (language == "ko")


def test_what_is_left_out_is_said() -> None:
    """A page that does not hold all says so; an empty warehouse gives a page, too."""
    cut = Page(render_dashboard(make_board(has_more_runs=True, has_more_findings=True), language="en"))
    assert json.loads(cut.data)["more"] == [True, True]
    empty = Page(render_dashboard(Board("w", (), (), ()), language="en"))
    assert json.loads(empty.data)["runs"] == []

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


def make_board(text: str = "it broke", *, findings: int = 1, total: int = 1) -> Board:
    run = {
        **dict.fromkeys(("files", "llm_calls", "cache_hits", "errors"), 1),
        **dict.fromkeys(("new", "regressed", "recurring", "resolved"), 1),
        "run_id": "r1",
        "project": text,
        "source": text,
        "started_at": NOW,
        "status": "completed",
        "cost_usd": 0.5,
        "total": total,
    }
    day = {"day": "2026-11-23", "project": text, "tokens_saved": 3}
    finding = {
        "project": text,
        "fingerprint": "f1:a",
        "run_id": "r1",
        "status": text,
        "severity": text,
        "category": text,
        "title": text,
        "root_cause": text * 500,
        "suggestion": text,
        "path": text,
        "line": 7,
        "quote": text,
        "occurrences": 2,
        "first_seen": NOW,
        "last_seen": NOW,
        "seen": 5,
        "days": [{"ago": 3, "occurrences": 7}, {"ago": 1, "occurrences": 2}],
        "total": total,
    }
    cost = {"day": "2026-11-23", "provider": "ollama", "model": text, "calls": 1, "cost_usd": 0.5}
    cost |= {"project": text, "tokens_in": 10, "tokens_out": 2}
    return Board("w", (run,), (day,), (finding,) * findings, (cost,), link=text[:400])


def unpack(table: list[list[Any]]) -> list[dict[str, Any]]:
    """Return the rows of a packed table, as the page's script does."""
    columns = {name: [known[0][at] for at in values] if known else values for name, values, *known in table}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


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
    """Whatever a log says, the page has the elements of a harmless one, our classes, and a bounded size."""
    harmless = Page(render_dashboard(make_board(), language="en"))
    for text in [
        *hostile_strings,
        *("</script><script>alert(1)</script>", "<!--<script>"),
        "\u2028\udce9",
        "x\x1b[31m" * 10**5,
    ]:
        page = Page(render_dashboard(make_board(text), language="en"))
        assert page.tags == harmless.tags, text[:100]
        assert len(page.data) < len(harmless.data) + 12 * 400 * 12
        (finding,) = unpack(json.loads(page.data)["findings"])
        assert len(finding["root_cause"]) <= 400
        assert (finding["status"], finding["severity"]) == ("recurring", "info")
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
    """A page that does not hold all says how much; an empty warehouse gives a page, too."""
    cut = json.loads(Page(render_dashboard(make_board(total=1234), language="en")).data)["cut"]
    assert [text.partition(" are")[0] for text in cut] == ["1 of 1,234 findings", "1 of 1,234 runs"]
    calm = replace(make_board(), findings=())
    assert "<h1>No open failure</h1>" in render_dashboard(calm, language="en")
    empty = Page(render_dashboard(Board("w", (), (), (), ()), language="en"))
    assert json.loads(empty.data)["runs"] == []


def test_data_is_packed() -> None:
    """What repeats comes once, days are counts, and the last of many findings lack texts."""
    data = json.loads(Page(render_dashboard(make_board("boom", findings=5000), language="en")).data)
    assert unpack(data["findings"])[0] == {
        **dict.fromkeys(("project", "title", "suggestion", "path", "quote"), "boom"),
        "fingerprint": "f1:a",
        "run_id": "r1",
        "status": "recurring",
        "severity": "info",
        "category": "boom",
        "root_cause": ("boom" * 500)[:399] + "…",
        "line": 7,
        "occurrences": 2,
        "first_seen": 1795400049,
        "last_seen": 1795400049,
        "seen": 5,
        "days": [7, 0, 2, 0],
    }
    last = unpack(data["findings"])[-1]
    assert (last["title"], last["root_cause"]) == ("boom", "")
    assert len(json.dumps(data["findings"])) < 5000 * 90


def test_addresses_come_whole() -> None:
    """Half an address leads nowhere: that of the reports is not cut, however long it is."""
    link = f"https://ci.example/{'nightly/' * 100}{{run_id}}/report.html"
    data = json.loads(Page(render_dashboard(replace(make_board(), link=link), language="en")).data)
    assert data["link"] == link

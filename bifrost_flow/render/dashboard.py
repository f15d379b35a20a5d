"""A page over a whole warehouse: runs, trend, findings with their history, cost. One file, no server.

The data is JSON within the page. A script of ours makes text of it, never markup; no other may run.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from bifrost_flow import __version__
from bifrost_flow.language import t
from bifrost_flow.records import CATEGORIES, FINDING_STATUSES, RUN_STATUSES, SEVERITIES
from bifrost_flow.render.defuse import make_visible
from bifrost_flow.render.facts import format_time, label
from bifrost_flow.render.html import hash_source, open_environment, read_asset

Row = Mapping[str, Any]

_RUN_COLUMNS = (
    *("run_id", "project", "source", "started_at", "status", "files", "lines", "llm_calls", "cache_hits"),
    *("tokens_saved", "cost_usd", "errors", "new", "regressed", "recurring", "resolved"),
)
_MAX_WORDS = 400  # characters of a cause or an advice; the report has them whole
_TEXTS = (
    *(
        "runs",
        "findings",
        "trend",
        "cost",
        "empty",
        "none",
        "started",
        "project",
        "source",
        "status",
        "files",
    ),
    *("calls", "hits", "cost_column", "errors", "first", "last", "days", "report", "advice"),
    *("more_runs", "more_findings", "tokens", "saved"),
)


@dataclass(frozen=True, slots=True)
class Board:
    """What the page shows: rows of the queries `list_runs`, `list_findings` and `list_costs`."""

    location: str
    runs: tuple[Row, ...]  # newest first
    findings: tuple[Row, ...]  # last seen first
    costs: tuple[Row, ...]
    has_more_runs: bool = False
    has_more_findings: bool = False
    reports: frozenset[str] = frozenset()  # runs with a page at reports/<run>/report.html


def render_dashboard(board: Board, *, language: str) -> str:
    """Return the page in `language`, light and dark, for screens, phones and print."""
    style = read_asset("report.css") + read_asset("dashboard.css")
    script = read_asset("dashboard.js")
    made_at = format_time(datetime.now(UTC))
    return (
        open_environment()
        .get_template("dashboard.html.j2")
        .render(
            lang=language,
            t=lambda key, **values: t(f"render.{key}", lang=language, **values),
            word=lambda kind, value: label(kind, value, language),
            projects=sorted({str(row["project"]) for row in (*board.runs, *board.findings)}),
            statuses=FINDING_STATUSES,
            severities=tuple(reversed(SEVERITIES)),
            categories=sorted({str(row["category"]) for row in board.findings} & {*CATEGORIES}),
            data=Markup(_embed(_gather(board, language))),
            location=board.location,
            made_by=t(
                "render.page.made_by",
                lang=language,
                product="bifrost-flow",
                version=__version__,
                time=made_at,
            ),
            style=Markup(style),
            style_hash=hash_source(style),
            script=Markup(script),
            script_hash=hash_source(script),
        )
    )


def _gather(board: Board, lang: str) -> dict[str, object]:
    runs = [{name: _plain(row[name]) for name in _RUN_COLUMNS} for row in board.runs]
    for run in runs:
        run["report"] = run["run_id"] in board.reports
    findings = [
        {
            name: _plain(value)[:_MAX_WORDS] if name in ("root_cause", "suggestion") else _plain(value)
            for name, value in row.items()
        }
        for row in board.findings
    ]
    return {
        "runs": runs,
        "findings": findings,
        "costs": [{name: _plain(value) for name, value in row.items()} for row in board.costs],
        "more": [board.has_more_runs, board.has_more_findings],
        "texts": {name: t(f"render.board.{name}", lang=lang) for name in _TEXTS},
        "words": {
            "status": {name: label("status", name, lang) for name in FINDING_STATUSES},
            "severity": {name: label("severity", name, lang) for name in SEVERITIES},
            "category": {name: label("category", name, lang) for name in CATEGORIES},
            "run_status": {name: label("run_status", name, lang) for name in RUN_STATUSES},
        },
    }


def _plain(value: Any) -> Any:
    """Return `value` as JSON has it, text without what would steer or hide."""
    if isinstance(value, str):
        return make_visible(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return {key: _plain(part) for key, part in value.items()} if isinstance(value, dict) else value


def _embed(value: object) -> str:
    """Return JSON that can't end the element that it stands in, nor be taken for markup within it."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text.encode("utf-8", "backslashreplace").decode()

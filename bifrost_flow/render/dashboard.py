"""A page over a whole warehouse: runs, trend, findings with their history, cost. One file, no server.

The data is JSON within the page. A script of ours makes text of it, never markup; no other may run.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from markupsafe import Markup

from bifrost_flow import __version__
from bifrost_flow.language import t
from bifrost_flow.records import CATEGORIES, FINDING_STATUSES, RUN_STATUSES, SEVERITIES
from bifrost_flow.render.defuse import cut, make_visible
from bifrost_flow.render.facts import format_count, format_time, label
from bifrost_flow.render.html import hash_source, open_environment, read_asset

Row = Mapping[str, Any]

_RUN_COLUMNS = (
    *("run_id", "project", "source", "started_at", "status", "files", "lines", "llm_calls", "cache_hits"),
    *("cost_usd", "errors", "new", "regressed", "recurring", "resolved"),
)
_FINDING_COLUMNS = (
    *("run_id", "project", "fingerprint", "status", "severity", "category", "title", "root_cause"),
    *("suggestion", "language", "path", "line", "first_seen", "last_seen", "seen", "days"),
)
_COST_COLUMNS = ("project", "day", "provider", "model", "calls", "tokens_in", "tokens_out", "cost_usd")
_TREND_COLUMNS = ("project", "day", "runs", "new", "regressed", "recurring", "resolved")
_SAVING_COLUMNS = ("project", "day", "cache_hits", "llm_calls", "tokens_saved", "saved_usd")
_MAX_CHARS = 300  # of any text, so that a page can't grow without bounds; the report has them whole
_TEXTS = (
    *("runs", "findings", "trend", "cost", "empty", "none", "started", "project", "source", "status"),
    *("files", "calls", "hits", "cost_column", "errors", "first", "last", "days", "report", "advice"),
    *(
        "category",
        "day",
        "model",
        "tokens_in",
        "tokens_out",
        "saved",
        "saved_usd",
        "more",
        "cause",
        "no_report",
    ),
)


@dataclass(frozen=True, slots=True)
class Board:
    """What the page shows: rows of the queries that `connectors.dashboard` names."""

    location: str
    runs: tuple[Row, ...] = ()  # newest first
    findings: tuple[Row, ...] = ()  # last seen first; `total` is how many there are
    costs: tuple[Row, ...] = ()  # newest first; `total` is how many there are
    trend: tuple[Row, ...] = ()  # a row a project and day
    savings: tuple[Row, ...] = ()  # a row a project and day
    all_runs: int = 0  # the ones that are not in `runs`, too
    reports_base: str = ""  # what links begin with, which go on with <run>/report.html
    reports: frozenset[str] = frozenset()  # runs that have such a page


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
            cuts=_list_cuts(board, language),
            projects=sorted({_plain(row["project"]) for row in (*board.runs, *board.findings, *board.trend)}),
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
    runs = _pick(board.runs, _RUN_COLUMNS)
    for run in runs:
        run["report"] = run["run_id"] in board.reports
        run["status"] = _keep_known(run["status"], RUN_STATUSES, "partial")
    findings = _pick(board.findings, _FINDING_COLUMNS)
    for finding, row in zip(findings, board.findings, strict=True):
        finding["report"] = row["run_id"] in board.reports
        finding["status"] = _keep_known(row["status"], FINDING_STATUSES, "recurring")
        finding["severity"] = _keep_known(row["severity"], SEVERITIES, "info")
        finding["category"] = _keep_known(row["category"], CATEGORIES, "unknown")
    return {
        "runs": runs,
        "findings": findings,
        "costs": _pick(board.costs, _COST_COLUMNS),
        "trend": _pick(board.trend, _TREND_COLUMNS),
        "savings": _pick(board.savings, _SAVING_COLUMNS),
        "base": board.reports_base,
        "texts": {name: t(f"render.board.{name}", lang=lang) for name in _TEXTS}
        | {"shown": t("render.board.shown", lang=lang, shown="{shown}", total="{total}")},
        "words": {
            kind: {name: label(kind, name, lang) for name in names}
            for kind, names in (
                ("status", FINDING_STATUSES),
                ("severity", SEVERITIES),
                ("category", CATEGORIES),
                ("run_status", RUN_STATUSES),
            )
        },
    }


def _list_cuts(board: Board, lang: str) -> list[str]:
    """Return a sentence on each thing that the warehouse has more of than the page."""
    totals = {
        "runs": (len(board.runs), board.all_runs),
        "findings": (len(board.findings), max((row["total"] for row in board.findings), default=0)),
        "costs": (len(board.costs), max((row["total"] for row in board.costs), default=0)),
    }
    return [
        t(f"render.board.cut_{name}", lang=lang, shown=format_count(shown), total=format_count(total))
        for name, (shown, total) in totals.items()
        if total > shown
    ]


def _pick(rows: Sequence[Row], columns: Sequence[str]) -> list[dict[str, Any]]:
    return [{name: _plain(row[name]) for name in columns} for row in rows]


def _keep_known(value: str, known: Sequence[str], otherwise: str) -> str:
    return value if value in known else otherwise


def _plain(value: Any) -> Any:
    """Return `value` as JSON has it; text is cut, and without what would steer or hide."""
    if isinstance(value, str):
        return cut(make_visible(value), _MAX_CHARS)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return {key: _plain(part) for key, part in value.items()} if isinstance(value, dict) else value


def _embed(value: object) -> str:
    """Return JSON that can't end the element that it stands in, nor be taken for markup within it."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text.encode("utf-8", "backslashreplace").decode()

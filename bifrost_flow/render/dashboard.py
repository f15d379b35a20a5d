"""A page over a whole warehouse: runs, trend, findings with their history, cost. One file, no server.

The data is JSON within the page, packed by column. A script of ours makes text of it, never markup; no
other may run.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from bifrost_flow.language import t
from bifrost_flow.records import CATEGORIES, RUN_STATUSES, SEVERITIES
from bifrost_flow.render.charts import keep_known
from bifrost_flow.render.defuse import cut, make_visible
from bifrost_flow.render.facts import STATUS_ORDER, fill_count, format_count, label
from bifrost_flow.render.page import render_page, show_time

Row = Mapping[str, Any]

WINDOW_DAYS = 30  # of a finding's history
MAX_CHARS = 400  # of any text; the report has it whole
MAX_WHOLE = 3000  # findings with all their texts; those beyond, resolved or old, have title and place
PERIODS_DAYS = (7, 30, 90, 365)
_TEXTS = (
    *("empty", "none", "more", "started", "project", "source", "run_status", "files", "calls", "hits"),
    *("cost_column", "errors", "saved", "show"),
)
_REPORT_TEXTS = ("root_cause", "suggestion", "evidence", "first_seen", "last_seen", "fingerprint")
_PAGE_TEXTS = ("copy", "copied", "copy_failed")


@dataclass(frozen=True, slots=True)
class Board:
    """What the page shows: rows of the queries in `sql/queries/dashboard.sql`."""

    location: str
    runs: tuple[Row, ...]  # newest first
    days: tuple[Row, ...]  # oldest first
    findings: tuple[Row, ...]  # open ones first, last seen first
    costs: tuple[Row, ...]
    reports: frozenset[str] = frozenset()  # runs whose report can be linked
    link: str = ""  # where they are: an address, relative or not, with {run_id} and perhaps {project}


def render_dashboard(board: Board, *, language: str) -> str:
    """Return the page in `language`, light and dark, for screens, phones and print."""
    projects = sorted({_plain(row["project"]) for row in (*board.days, *board.findings)})
    return render_page(
        "dashboard.html.j2",
        lang=language,
        made_at=datetime.now(UTC),
        assets=("dashboard.css", "draw.js", "dashboard.js"),
        kind=t("render.board.title", lang=language),
        headline=_pick_headline(board, language),
        project_count=format_count(len(projects)),
        run_count=format_count(_count(board.runs)),
        newest=show_time(max((row["started_at"] for row in board.runs), default=None)),
        location=board.location,
        projects=projects,
        periods=PERIODS_DAYS,
        severities=tuple(reversed(SEVERITIES)),
        categories=sorted({str(row["category"]) for row in board.findings} & {*CATEGORIES}),
        data=Markup(_embed(_gather(board, language))),
    )


def _pick_headline(board: Board, lang: str) -> str:
    if not board.runs:
        return t("render.board.empty", lang=lang)
    count = sum(row["status"] != "resolved" for row in board.findings)
    if not count:
        return t("render.board.headline_none", lang=lang)
    return fill_count("render.board.headline", count, lang)


def _gather(board: Board, lang: str) -> dict[str, object]:
    """Return the data of the page, by the script's names."""
    last_day = max((str(row["day"]) for row in board.days), default="")
    return {
        "runs": _pack(
            [{**row, "report": row["run_id"] in board.reports} for row in board.runs], leave_out=("total",)
        ),
        "days": _pack(board.days),
        "findings": _pack(
            [_prepare_finding(row, whole=at < MAX_WHOLE) for at, row in enumerate(board.findings)],
            leave_out=("total",),
        ),
        "costs": _pack(board.costs),
        "lastDay": last_day,
        "window": WINDOW_DAYS,
        "link": make_visible(board.link),  # whole: half an address leads nowhere
        "cut": [
            t(f"render.board.{name}", lang=lang, shown=format_count(len(rows)), total=format_count(total))
            for name, rows in (("cut_findings", board.findings), ("cut_runs", board.runs))
            if (total := _count(rows)) > len(rows)
        ],
        "texts": _name_counts(lang)
        | {name: t(f"render.board.{name}", lang=lang) for name in _TEXTS}
        | {name: t(f"render.{name}", lang=lang) for name in _REPORT_TEXTS}
        | {name: t(f"render.page.{name}", lang=lang) for name in _PAGE_TEXTS},
        "words": {
            kind: {name: label(kind, name, lang) for name in names}
            for kind, names in (
                ("status", STATUS_ORDER),
                ("severity", tuple(reversed(SEVERITIES))),
                ("category", CATEGORIES),
                ("run_status", RUN_STATUSES),
            )
        },
    }


def _name_counts(lang: str) -> dict[str, object]:
    """Return the texts about numbers, with the places for these in them."""
    count, cost, calls, tokens = "{count}", "{cost}", "{calls}", "{tokens}"
    return {
        "days_seen": [
            t("render.board.days_seen_one", lang=lang),
            t("render.board.days_seen", lang=lang, count=count),
        ],
        "day_spent": t("render.board.day_spent", lang=lang, cost=cost, tokens=tokens),
        "model_spent": t("render.board.model_spent", lang=lang, cost=cost, calls=calls, tokens=tokens),
    }


def _prepare_finding(row: Row, *, whole: bool) -> Row:
    """Return `row` with its days as the counts of the window's last days, up to the page's last day, and with
    words of ours for classes."""
    counts = {day["ago"]: day["occurrences"] for day in row["days"]}
    return {
        **row,
        **({} if whole else dict.fromkeys(("root_cause", "suggestion", "quote"), "")),
        "days": [counts.get(ago, 0) for ago in range(max(counts, default=-1), -1, -1)],
        "status": keep_known(row["status"], STATUS_ORDER, "recurring"),
        "severity": keep_known(row["severity"], SEVERITIES, "info"),
    }


def _count(rows: Sequence[Row]) -> int:
    """Return how many rows there are in the warehouse, where the page has `rows` of them."""
    return int(rows[0]["total"]) if rows else 0


def _pack(rows: Sequence[Row], *, leave_out: Sequence[str] = ()) -> list[list[object]]:
    """Return `rows` by column: name and values. Texts of which many are the same come once, as a third list,
    and the values are their places in it."""
    packed: list[list[object]] = []
    for name in (name for name in (rows[0] if rows else ()) if name not in leave_out):
        values = [_plain(row[name]) for row in rows]
        if all(isinstance(value, str) for value in values) and len(set(values)) <= len(values) / 2:
            places = {value: place for place, value in enumerate(dict.fromkeys(values))}
            packed.append([name, [places[value] for value in values], list(places)])
        else:
            packed.append([name, values])
    return packed


def _plain(value: Any) -> Any:
    """Return `value` as the script takes it: texts without what would steer or hide, times as seconds."""
    if isinstance(value, str):
        return cut(make_visible(value[: 2 * MAX_CHARS]), MAX_CHARS)
    if isinstance(value, datetime):
        return int(value.timestamp())
    return round(value, 6) if isinstance(value, float) else value


def _embed(value: object) -> str:
    """Return JSON that can't end the element that it stands in, nor be taken for markup within it."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text.encode("utf-8", "backslashreplace").decode()

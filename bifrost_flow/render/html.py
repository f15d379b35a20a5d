"""The report as one HTML file that asks the network for nothing: styles, charts and script are inside.

Every value goes through `make_visible` and then through Jinja's escaping, in one place, so that no line of
the template can forget it. The Content-Security-Policy names the one style and the one script by their
hashes: even markup that got in would neither run nor load anything.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from bifrost_flow import __version__
from bifrost_flow.language import t
from bifrost_flow.records import (
    FINDING_STATUSES,
    RUN_STATUSES,
    SEVERITIES,
    Evidence,
    Finding,
    Report,
    SimilarFinding,
)
from bifrost_flow.render.charts import (
    cut_slices,
    describe_spending,
    draw_categories,
    draw_tokens,
    keep_known,
)
from bifrost_flow.render.defuse import cut, make_visible, put_on_one_line
from bifrost_flow.render.facts import (
    MAX_SUGGESTION_CHARS,
    NEWS,
    STATUS_ORDER,
    count_statuses,
    describe_absence,
    describe_past,
    describe_reach,
    describe_volume,
    format_count,
    format_size,
    format_time,
    label,
    list_run_facts,
    locate,
    name_command,
    name_model,
    order_files,
    order_findings,
    pick_headline,
    split_troubles,
)

TEMPLATES = Path(__file__).parent / "templates"
MAX_QUOTE_CHARS = 4000
MAX_ROWS = 500  # of a table of files: a page of 10,000 rows helps nobody, and the warehouse has them all
MAX_OPEN = 5  # findings shown unfolded; more would bury the list
_CODE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True, slots=True)
class Tile:
    """How many findings have a status."""

    status: str
    count: int
    figure: str


@dataclass(frozen=True, slots=True)
class Quote:
    """Evidence that stands together, as it is in one file."""

    path: str
    lines: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Past:
    """An earlier finding that is like a new one."""

    about: str
    title: str
    suggestion: str
    command: str


@dataclass(frozen=True, slots=True)
class Item:
    """A finding, and what the page shows beside its own words. Classes are words of ours, never of a log."""

    finding: Finding
    status_class: str
    severity_class: str
    open: bool
    reach: str
    where: str
    quotes: tuple[Quote, ...]
    facts: tuple[tuple[str, str], ...]
    similar: tuple[Past, ...]
    lang_attribute: Markup


def render_html(report: Report) -> str:
    """Return the report as a page in `report.language`, light and dark, for screens, phones and print."""
    lang = report.language
    style, script = read_asset("report.css"), read_asset("page.js") + read_asset("report.js")
    template = open_environment().get_template("report.html.j2")
    return template.render(
        **_gather(report),
        lang=lang,
        t=lambda key, **values: t(f"render.{key}", lang=lang, **values),
        word=lambda kind, value: label(kind, value, lang),
        number=format_count,
        size=format_size,
        max_rows=MAX_ROWS,
        style=Markup(style),
        style_hash=hash_source(style),
        script=Markup(script),
        script_hash=hash_source(script),
    )


def _gather(report: Report) -> dict[str, object]:
    """Return what the template shows of `report`, by the template's names."""
    run, lang = report.run, report.language
    findings = order_findings(report.findings)
    present = [finding for finding in findings if finding.status != "resolved"]
    counts = count_statuses(findings)
    headline, note = pick_headline(report)
    unread, problems = split_troubles(report)
    made_at = format_time(run.finished_at or run.started_at)
    return {
        "run": run,
        "run_status_class": keep_known(run.status, RUN_STATUSES, "partial"),
        "headline": headline,
        "note": note,
        "absence": describe_absence(report),
        "started": show_time(run.started_at),
        "read": describe_volume(report),
        "tiles": [Tile(status, counts[status], format_count(counts[status])) for status in STATUS_ORDER],
        "slices": cut_slices(present),
        "open_count": format_count(len(present)),
        "bars": draw_categories(present, lang),
        "spent": draw_tokens(run, lang),
        "spent_note": describe_spending(run, lang),
        "findings": [
            _prepare_item(finding, position, lang, report.similar.get(finding.fingerprint, ()))
            for position, finding in enumerate(findings)
        ],
        "unread": unread,
        "problems": problems,
        "run_facts": [
            (name, show_time(run.started_at) if name == t("render.fact.started", lang=lang) else value)
            for name, value in list_run_facts(report)
        ],
        "files": order_files(report.files),
        "made_by": t(
            "render.page.made_by", lang=lang, product="bifrost-flow", version=__version__, time=made_at
        ),
    }


@cache
def open_environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_make_printable,
    )
    environment.filters["code"] = _mark_code
    return environment


def _make_printable(value: object) -> object:
    """Make every printed text visible before it is escaped; `Markup` is ours and stays as it is."""
    return make_visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _mark_code(text: str) -> Markup:
    """Return `text` escaped, with what stands between backticks set as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(make_visible(text)))))


@cache
def read_asset(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def hash_source(text: str) -> str:
    """Return the hash source of an inline element (Content Security Policy Level 3, section 8.3)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _prepare_item(finding: Finding, position: int, lang: str, similar: Sequence[SimilarFinding]) -> Item:
    status = keep_known(finding.status, FINDING_STATUSES, "recurring")
    other_language = finding.language and finding.language != lang
    return Item(
        finding=finding,
        status_class=status,
        severity_class=keep_known(finding.severity, SEVERITIES, "info"),
        open=status in NEWS and position < MAX_OPEN,
        reach=describe_reach(finding, lang),
        where=put_on_one_line(locate(finding)),
        quotes=tuple(_group_evidence(finding.evidence)),
        facts=tuple(_list_facts(finding, lang)),
        similar=tuple(
            Past(
                describe_past(each, lang),
                each.title,
                cut(each.suggestion, MAX_SUGGESTION_CHARS),
                name_command(each),
            )
            for each in similar
        ),
        lang_attribute=Markup(' lang="{}"').format(put_on_one_line(finding.language))
        if other_language
        else Markup(),
    )


def _group_evidence(evidence: Sequence[Evidence]) -> list[Quote]:
    return [
        Quote(
            put_on_one_line(path),
            tuple(Evidence(path, piece.line, cut(piece.quote, MAX_QUOTE_CHARS)) for piece in pieces),
        )
        for path, pieces in groupby(evidence, key=lambda piece: piece.path)
    ]


def show_time(moment: datetime | None) -> str:
    """Return a time in UTC, which the page's script rewrites as its reader has it."""
    if moment is None:
        return format_time(None)
    machine = moment.astimezone(UTC).isoformat()
    return Markup('<time datetime="{}">{}</time>').format(machine, format_time(moment))


def _list_facts(finding: Finding, lang: str) -> list[tuple[str, str]]:
    model = name_model(finding)
    if finding.cached:
        model += f" ({t('render.cached', lang=lang)})"
    facts = {
        "first_seen": show_time(finding.first_seen),
        "last_seen": show_time(finding.last_seen),
        "confidence": f"{finding.confidence:.0%}",
        "explained_by": model,
        "fingerprint": finding.fingerprint,
    }
    return [(t(f"render.{name}", lang=lang), value) for name, value in facts.items()]

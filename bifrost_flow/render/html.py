"""The report of a run as a page: what is new first, its evidence with file and line."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

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
from bifrost_flow.render.defuse import cut, put_on_one_line
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
    list_run_facts,
    locate,
    name_command,
    name_model,
    order_files,
    order_findings,
    pick_headline,
    split_troubles,
)
from bifrost_flow.render.page import render_page, show_time

MAX_QUOTE_CHARS = 4000
MAX_WORDS_CHARS = 8000  # of a cause, an explanation or an advice
MAX_ROWS = 500  # of a table of files: a page of 10,000 rows helps nobody, and the warehouse has them all
MAX_OPEN = 5  # findings shown unfolded; more would bury the list


@dataclass(frozen=True, slots=True)
class Tile:
    """How many findings have a status."""

    status: str
    count: int
    figure: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line of evidence; its attributes say whether it's the one to look at, and whether lines are left out
    before it."""

    number: int
    text: str
    attributes: Markup


@dataclass(frozen=True, slots=True)
class Quote:
    """Evidence that stands together, as it is in one file."""

    path: str
    lines: tuple[Line, ...]


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
    return render_page(
        "report.html.j2",
        lang=report.language,
        made_at=report.run.finished_at or report.run.started_at,
        assets=("report.js",),
        number=format_count,
        size=format_size,
        max_rows=MAX_ROWS,
        max_words=MAX_WORDS_CHARS,
        **_gather(report),
    )


def _gather(report: Report) -> dict[str, object]:
    """Return what the template shows of `report`, by the template's names."""
    run, lang = report.run, report.language
    findings = order_findings(report.findings)
    present = [finding for finding in findings if finding.status != "resolved"]
    counts = count_statuses(findings)
    headline, note = pick_headline(report)
    unread, problems = split_troubles(report)
    return {
        "kind": t("render.title", lang=lang),
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
    }


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
    """Return evidence by file, in the order of its lines; what was cited first is marked."""
    files: dict[str, list[Evidence]] = {}
    for piece in evidence:
        files.setdefault(piece.path, []).append(piece)
    quotes = []
    for path, pieces in files.items():
        pieces.sort(key=lambda piece: piece.line)
        before, lines = pieces[0].line - 1, []
        for piece in pieces:
            marks = ["gap"] * (piece.line > before + 1) + ["key"] * (piece is evidence[0] and len(pieces) > 1)
            attributes = Markup(' class="{}"').format(" ".join(marks)) if marks else Markup()
            lines.append(Line(piece.line, cut(piece.quote, MAX_QUOTE_CHARS), attributes))
            before = piece.line
        quotes.append(Quote(put_on_one_line(path), tuple(lines)))
    return quotes


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

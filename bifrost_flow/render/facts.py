"""What every format says of a run, in words: labels, figures, order, and the inputs that gave trouble."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bifrost_flow.language import t
from bifrost_flow.records import FINDING_STATUSES, SEVERITIES, Finding, LogFile, Problem, Report

# What changed comes first, what is gone last.
STATUS_ORDER = ("new", "regressed", "recurring", "resolved")
NEWS = ("new", "regressed")


@dataclass(frozen=True, slots=True)
class Unread:
    """An input that could not be read in full, and why."""

    path: str
    status: str  # one of records.FILE_STATUSES
    reason: str


def order_findings(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings as a reader wants them: what is new first, then the severe, the known, the frequent."""
    return sorted(
        findings,
        key=lambda finding: (
            _rank(STATUS_ORDER, finding.status),
            -_rank(SEVERITIES, finding.severity),
            finding.category == "unknown",
            -finding.occurrences,
            -finding.confidence,
            finding.title,
        ),
    )


def count_statuses(findings: Sequence[Finding]) -> dict[str, int]:
    """Return how many findings have each status, all statuses being present."""
    counts = Counter(finding.status for finding in findings)
    return {status: counts[status] for status in FINDING_STATUSES}


def list_news(report: Report) -> list[Finding]:
    """Return the new and the regressed findings, in order."""
    return [finding for finding in order_findings(report.findings) if finding.status in NEWS]


def split_troubles(report: Report) -> tuple[list[Unread], list[Problem]]:
    """Return inputs that were not read in full, and whatever else went wrong, each told once."""
    unread = {
        file.path: Unread(file.path, file.status, file.error or "")
        for file in report.files
        if file.status != "read"
    }
    others: list[Problem] = []
    for problem in report.problems:
        if problem.subject in unread:
            if not unread[problem.subject].reason:
                unread[problem.subject] = Unread(
                    problem.subject, unread[problem.subject].status, problem.message
                )
        elif problem.stage == "ingest":
            unread[problem.subject] = Unread(problem.subject, "unreadable", problem.message)
        else:
            others.append(problem)
    return list(unread.values()), others


def pick_headline(report: Report) -> tuple[str, str]:
    """Return the one thing to know about the run, and the sentence under it."""
    news, lang = len(list_news(report)), report.language
    if news:
        key = "render.headline.news_one" if news == 1 else "render.headline.news"
        return t(key, lang=lang, count=format_count(news)), t("render.headline.news_note", lang=lang)
    if any(finding.status != "resolved" for finding in report.findings):
        kind = "calm"
    else:
        kind = "clean" if report.run.lines else "unread"
    return t(f"render.headline.{kind}", lang=lang), t(f"render.headline.{kind}_note", lang=lang)


def list_run_facts(report: Report) -> list[tuple[str, str]]:
    """Return label and value of what is worth knowing about a run; values may hold text from outside."""
    run, lang = report.run, report.language
    models = dict.fromkeys(name_model(finding) for finding in report.findings if finding.status != "resolved")
    facts = {
        "run_id": run.run_id,
        "project": run.project,
        "source": run.source,
        "status": label("run_status", run.status, lang),
        "started": format_time(run.started_at),
        "duration": format_duration(run.started_at, run.finished_at),
        "model": ", ".join(models) or "–",
        "read": describe_volume(report),
        "evidence": _fill("evidence", lang, chunks=run.chunks, groups=run.groups),
        "calls": _fill("calls", lang, calls=run.llm_calls, hits=run.cache_hits),
        "tokens": _fill(
            "tokens", lang, tokens_in=run.tokens_in, tokens_out=run.tokens_out, saved=run.tokens_saved
        ),
        "cost": format_cost(run.cost_usd),
        "errors": format_count(run.errors),
        "warehouse": report.warehouse,
    }
    return [(t(f"render.fact.{name}", lang=lang), value) for name, value in facts.items()]


def describe_volume(report: Report) -> str:
    """Return how much was read: files, lines and bytes."""
    run = report.run
    files, lines, size = format_count(run.files), format_count(run.lines), format_size(run.bytes)
    return t("render.fact.read_value", lang=report.language, files=files, lines=lines, size=size)


def _fill(name: str, lang: str, **counts: int) -> str:
    values = {count: format_count(value) for count, value in counts.items()}
    return t(f"render.fact.{name}_value", lang=lang, **values)


def label(kind: str, value: str, lang: str) -> str:
    """Return a word of ours (`kind`: status, severity, category, …) in `lang`; an unknown one as it is."""
    try:
        return t(f"render.{kind}.{value}", lang=lang)
    except KeyError:  # a table written by a newer version may hold words that this one does not know
        return value


def locate(finding: Finding) -> str:
    """Return `path:line` of the first piece of evidence, or an empty string."""
    return f"{finding.evidence[0].path}:{finding.evidence[0].line}" if finding.evidence else ""


def describe_reach(finding: Finding, lang: str) -> str:
    """Return how often a failure happened, and in how many files."""
    if finding.occurrences == 1:
        return t("render.reach.once", lang=lang)
    return t(
        f"render.reach.{'one_file' if finding.files == 1 else 'files'}",
        lang=lang,
        times=format_count(finding.occurrences),
        files=format_count(finding.files),
    )


def name_model(finding: Finding) -> str:
    """Return provider and model of a finding, once where they are the same (`rules`)."""
    same = not finding.model or finding.model == finding.provider
    return finding.provider if same else f"{finding.provider} {finding.model}"


def order_files(files: Sequence[LogFile]) -> list[LogFile]:
    """Return input files with those that failed first, then the rest by path."""
    return sorted(files, key=lambda file: (file.outcome != "failed", file.outcome != "unknown", file.path))


def format_time(moment: datetime | None) -> str:
    """Return a time for a person, in UTC, to the minute."""
    return "–" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def format_duration(start: datetime, end: datetime | None) -> str:
    """Return the time from `start` to `end` as `1.2 s`, `3 min 04 s` or `2 h 05 min`."""
    if end is None:
        return "–"
    seconds = max((end - start).total_seconds(), 0.0)
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def format_size(count: int) -> str:
    """Return a number of bytes in decimal units, as in `12.3 MB`."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def format_cost(cost_usd: float) -> str:
    """Return a price in USD with as many digits as are worth reading."""
    return f"{cost_usd:,.2f} USD" if cost_usd == 0 or cost_usd >= 1 else f"{cost_usd:.4f} USD"


def format_count(count: int) -> str:
    """Return a whole number with separators."""
    return f"{count:,}"


def _rank(order: Sequence[str], value: str) -> int:
    return order.index(value) if value in order else len(order)

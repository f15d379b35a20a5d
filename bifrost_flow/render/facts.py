"""What every format says of a run, in words: labels, figures, order, and the inputs that gave trouble."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from bifrost_flow.language import t
from bifrost_flow.records import (
    FINDING_STATUSES,
    SEVERITIES,
    Finding,
    LogFile,
    Problem,
    Report,
    Run,
    SimilarFinding,
)
from bifrost_flow.render.defuse import put_on_one_line

# What changed comes first, what is gone last.
STATUS_ORDER = ("new", "regressed", "recurring", "resolved")
NEWS = ("new", "regressed")
MAX_SUGGESTION_CHARS = 300  # of an earlier finding; the whole of it is a command away
STOPPED = ("interrupted", "failed", "budget_exhausted", "dry_run")  # not everything was looked at


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


def count_unexplained(report: Report) -> int:
    """Return how many failures were found that have no finding: nobody answered about them."""
    explained = sum(finding.status != "resolved" for finding in report.findings)
    return max(0, report.run.groups - explained)


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


def judge_run(report: Report) -> str:
    """Return what the run comes to: news, unexplained, stopped, calm, unchanged, unread, partial or clean.

    All is well (`clean`) only where every input was read to its end and no failure was found in any.
    """
    run = report.run
    if list_news(report):
        return "news"
    if count_unexplained(report):
        return "unexplained"
    if run.status in STOPPED:
        return "stopped"
    if any(finding.status != "resolved" for finding in report.findings):
        return "calm"
    if run.skipped and not run.files and run.status == "completed":
        return "unchanged"
    if not run.lines:
        return "unread"
    return "clean" if run.status == "completed" else "partial"


def pick_headline(report: Report) -> tuple[str, str]:
    """Return the one thing to know about the run, and what is under it in a sentence or two."""
    lang, kind = report.language, judge_run(report)
    why = "unexplained_stopped" if kind == "unexplained" and report.run.status in STOPPED else kind
    note = t(f"render.headline.{why}_note", lang=lang)
    if kind == "news" and (unexplained := count_unexplained(report)):
        note += " " + fill_count("render.unexplained_sentence", unexplained, lang)
    return name_outcome("render.headline.", report), note


def name_outcome(prefix: str, report: Report, **values: str) -> str:
    """Return the text below `prefix` for what the run comes to, with its number where it has one."""
    kind = judge_run(report)
    count = len(list_news(report)) if kind == "news" else count_unexplained(report)  # 0 for the rest
    return fill_count(f"{prefix}{kind}", count, report.language, **values)


def describe_counts(report: Report) -> str:
    """Return on one line how many findings have each status, and how many failures have none."""
    lang = report.language
    counts = {status: format_count(count) for status, count in count_statuses(report.findings).items()}
    line = t("render.counts", lang=lang, **counts)
    unexplained = count_unexplained(report)
    if unexplained and judge_run(report) == "news":
        line += ", " + fill_count("render.unexplained", unexplained, lang)
    return line


def describe_absence(report: Report) -> str:
    """Return what stands in the place of findings where there are none."""
    clean = judge_run(report) == "clean"
    return t("render.no_findings" if clean else "render.nothing_to_show", lang=report.language)


def fill_count(key: str, count: int, lang: str, **values: str) -> str:
    """Return the text of `key` about `count` things, or of `key` with `_one` about a single one."""
    return t(f"{key}_one" if count == 1 else key, lang=lang, count=format_count(count), **values)


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
        "evidence": _fill(_pick_evidence(run), lang, chunks=run.chunks, groups=run.groups),
        "calls": _fill(
            "calls_value_one" if run.llm_calls == 1 else "calls_value",
            lang,
            calls=run.llm_calls,
            hits=run.cache_hits,
        ),
        "tokens": _fill(
            "tokens_value", lang, tokens_in=run.tokens_in, tokens_out=run.tokens_out, saved=run.tokens_saved
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
    key = "render.fact.read_value_one" if run.files == 1 else "render.fact.read_value"
    return t(key, lang=report.language, files=files, lines=lines, size=size)


def _pick_evidence(run: Run) -> str:
    if run.groups != 1:
        return "evidence_value"
    return "evidence_value_single" if run.chunks == 1 else "evidence_value_one"


def _fill(name: str, lang: str, **counts: int) -> str:
    values = {count: format_count(value) for count, value in counts.items()}
    return t(f"render.fact.{name}", lang=lang, **values)


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


def describe_past(similar: SimilarFinding, lang: str) -> str:
    """Return what became of an earlier finding, and when it was last seen."""
    return f"{label('status', similar.status, lang)} · {format_time(similar.last_seen)}"


def name_command(similar: SimilarFinding) -> str:
    """Return what to type to see an earlier finding whole."""
    return f"bifrost-flow show {put_on_one_line(similar.fingerprint)}"


def name_model(finding: Finding) -> str:
    """Return provider and model of a finding, once where they are the same (`rules`)."""
    same = not finding.model or finding.model == finding.provider
    return finding.provider if same else f"{finding.provider} {finding.model}"


def order_files(files: Sequence[LogFile]) -> list[LogFile]:
    """Return input files with those that failed first, then the rest by path."""
    return sorted(files, key=lambda file: (file.outcome != "failed", file.outcome != "unknown", file.path))


# A run says the same few times of all that it found.
@lru_cache
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

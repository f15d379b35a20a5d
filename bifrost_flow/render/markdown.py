"""The report as Markdown (CommonMark with GitHub's tables), readable as plain text too."""

import re
from collections.abc import Iterable, Sequence

from bifrost_flow.draft import Draft
from bifrost_flow.language import t
from bifrost_flow.records import Evidence, Finding, Report, SimilarFinding
from bifrost_flow.render.defuse import cut, make_visible, put_on_one_line
from bifrost_flow.render.facts import (
    MAX_SUGGESTION_CHARS,
    describe_absence,
    describe_counts,
    describe_past,
    describe_reach,
    format_count,
    format_time,
    label,
    list_run_facts,
    locate,
    name_command,
    name_model,
    order_findings,
    pick_headline,
    split_troubles,
)

MAX_QUOTE_CHARS = 2000
# Signs that mean something in the middle of a line. `<` and `&` become entities: they stay harmless even
# where a viewer takes raw HTML. The colon of a bare address is escaped so that nothing in a log becomes a
# link. Each branch starts with its sign, so that the engine skips to the next of these signs: looking back
# first, it would try all of them at every letter.
_INLINE = re.compile(
    r"\\|`|\*|\[|\]|\||~|\$|@|_(?<![A-Za-z0-9]_)|_(?![A-Za-z0-9])|#(?<!\S#)|:(?=//)|\.(?<=www\.)"
)
_MARKUP = re.compile(r"[&<>]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_BLOCK_START = re.compile(r"^(?=[-+=])|^(\d{1,9})(?=[.)](?:\s|$))")
_BACKTICKS = re.compile(r"`+")


def render_markdown(report: Report) -> str:
    """Return the report as Markdown: counts, table, findings with evidence, troubles, facts of the run."""
    lang, findings = report.language, order_findings(report.findings)
    headline, note = pick_headline(report)
    parts = [
        f"# {t('render.title_of', lang=lang, project=escape_inline(report.run.project))}",
        f"**{headline}** · {describe_counts(report)}",
        note,
        f"## {t('render.findings', lang=lang)}",
        _render_overview(findings, lang) if findings else describe_absence(report),
        *(
            render_finding(
                finding, lang, heading=f"### {number}.", similar=report.similar.get(finding.fingerprint, ())
            )
            for number, finding in enumerate(findings, 1)
        ),
        *_render_troubles(report),
        f"## {t('render.run_facts', lang=lang)}",
        "\n".join(f"- {name}: {escape_inline(value)}" for name, value in list_run_facts(report)),
    ]
    return "\n\n".join(parts) + "\n"


def escape_inline(text: str) -> str:
    """Return `text` on one line, such that Markdown and HTML take it as plain words."""
    line = _MARKUP.sub(lambda match: _ENTITIES[match[0]], put_on_one_line(text))
    return _BLOCK_START.sub(r"\1\\", _INLINE.sub(r"\\\g<0>", line))


def escape_paragraphs(text: str) -> str:
    """Return `text` with its line breaks, each line escaped as by `escape_inline`."""
    lines = [escape_inline(line) for line in make_visible(text).split("\n")]
    paragraphs = re.split(r"\n{2,}", "\n".join(lines).strip("\n"))
    return "\n\n".join(paragraph.replace("\n", "\\\n") for paragraph in paragraphs)


def cut_markdown(text: str, limit: int) -> str:
    """Return the whole lines of `text` that `limit` characters hold; a line cut open could come to life."""
    return text if len(text) <= limit else text[: text.rfind("\n", 0, limit) + 1]


def fence(text: str) -> str:
    """Return `text` as a fenced block that nothing in it can close."""
    ticks = "`" * max(3, 1 + max((len(run) for run in _BACKTICKS.findall(text)), default=0))
    return f"{ticks}text\n{text}\n{ticks}"


def code(text: str) -> str:
    """Return `text` as a code span, on one line."""
    line = put_on_one_line(text)
    ticks = "`" * (1 + max((len(run) for run in _BACKTICKS.findall(line)), default=0))
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{ticks}{pad}{line}{pad}{ticks}"


def _render_overview(findings: Sequence[Finding], lang: str) -> str:
    names = ("status", "severity", "category", "title", "occurrences", "where")
    head = [t(f"render.column.{name}", lang=lang) for name in names]
    rows = (
        (
            label("status", finding.status, lang),
            label("severity", finding.severity, lang),
            label("category", finding.category, lang),
            escape_inline(finding.title),
            format_count(finding.occurrences),
            _code_in_table(locate(finding)),
        )
        for finding in findings
    )
    return _render_table(head, rows)


def render_draft(draft: Draft, lang: str) -> str:
    """Return an answer that is being written, in the order of a finding."""
    texts = dict(draft.texts)
    parts = [f"## {escape_inline(texts.pop('title', '')) or '…'}"]
    parts += [
        f"**{t(f'render.{name}', lang=lang)}**\\\n{escape_paragraphs(texts[name])}"
        for name in ("root_cause", "explanation", "suggestion")
        if texts.get(name)
    ]
    if draft.evidence:
        parts += [f"**{t('render.evidence', lang=lang)}**", _render_evidence(draft.evidence)]
    return "\n\n".join(parts)


def render_finding(
    finding: Finding, lang: str, *, heading: str, similar: Sequence[SimilarFinding] = ()
) -> str:
    """Return one finding under its title; `heading` is what comes before it, `similar` are earlier ones."""
    parts = [
        f"{heading} {escape_inline(finding.title)}",
        " · ".join(
            (
                f"**{label('status', finding.status, lang)}**",
                label("severity", finding.severity, lang),
                label("category", finding.category, lang),
                describe_reach(finding, lang),
            )
        ),
    ]
    if finding.status == "resolved":
        parts.append(t("render.resolved_note", lang=lang))
    texts = ((name, getattr(finding, name).strip()) for name in ("root_cause", "explanation", "suggestion"))
    parts.extend(
        f"**{t(f'render.{name}', lang=lang)}**\\\n{escape_paragraphs(text)}" for name, text in texts if text
    )
    parts.append(f"**{t('render.evidence', lang=lang)}**")
    parts.append(_render_evidence(finding.evidence) or t("render.no_evidence", lang=lang))
    if not finding.grounded:
        parts.append(f"*{t('render.not_grounded', lang=lang)}*")
    if similar:
        parts.append(render_similar(similar, lang))
    parts.append("\n".join(f"- {name}: {value}" for name, value in _list_finding_facts(finding, lang)))
    return "\n\n".join(parts)


def render_similar(similar: Sequence[SimilarFinding], lang: str) -> str:
    """Return earlier findings as a list: status, date and title, what was suggested, and how to open them."""
    lines = [f"**{t('render.similar', lang=lang)}**\n"]
    for each in similar:
        lines.append(f"- {describe_past(each, lang)} · {escape_inline(each.title)}\\")
        if each.suggestion:
            lines.append(f"  {escape_inline(cut(each.suggestion, MAX_SUGGESTION_CHARS))}\\")
        lines.append(f"  {code(name_command(each))}")
    return "\n".join(lines)


def _render_evidence(evidence: Sequence[Evidence]) -> str:
    lines = (
        f"{put_on_one_line(piece.path)}:{piece.line}: {cut(make_visible(piece.quote), MAX_QUOTE_CHARS)}"
        for piece in evidence
    )
    return fence("\n".join(lines)) if evidence else ""


def _list_finding_facts(finding: Finding, lang: str) -> Iterable[tuple[str, str]]:
    model = escape_inline(name_model(finding))
    if finding.cached:
        model += f" ({t('render.cached', lang=lang)})"
    facts = {
        "first_seen": format_time(finding.first_seen),
        "last_seen": format_time(finding.last_seen),
        "confidence": f"{finding.confidence:.0%}",
        "explained_by": model,
        "fingerprint": code(finding.fingerprint),
    }
    return ((t(f"render.{name}", lang=lang), value) for name, value in facts.items())


def _render_troubles(report: Report) -> list[str]:
    lang = report.language
    unread, problems = split_troubles(report)
    parts = []
    if unread:
        head = [t(f"render.column.{name}", lang=lang) for name in ("path", "status", "reason")]
        rows = (
            (_code_in_table(file.path), label("file_status", file.status, lang), escape_inline(file.reason))
            for file in unread
        )
        parts += [f"## {t('render.unread', lang=lang)}", _render_table(head, rows)]
    if problems:
        lines = (f"- {code(problem.subject)}: {escape_inline(problem.message)}" for problem in problems)
        parts += [f"## {t('render.problems', lang=lang)}", "\n".join(lines)]
    return parts


def _code_in_table(text: str) -> str:
    # A bar after a backslash would end the cell in the middle of a code span: such a path goes without one.
    if not text:
        return "–"
    return escape_inline(text) if "|" in text else code(text)


def _render_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

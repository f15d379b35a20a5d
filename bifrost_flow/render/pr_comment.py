"""A pull request's comment in GitHub's Markdown: short, what is new first, details folded away.

The first line is a marker that a reader does not see and that is the same for every run of a project: a CI
job finds its comment by it and edits that one instead of adding another. Nothing in a log pings a person,
refers to an issue or becomes a link: GitHub looks for those in rendered text too, where a backslash no longer
protects it, so a word joiner breaks them up.
"""

import html
import re
from collections.abc import Sequence
from urllib.parse import quote

from bifrost_flow.language import t
from bifrost_flow.records import Evidence, Finding, Report
from bifrost_flow.render.defuse import cut, put_on_one_line
from bifrost_flow.render.facts import (
    count_unexplained,
    describe_counts,
    describe_reach,
    format_count,
    judge_run,
    label,
    list_news,
    order_findings,
    pick_headline,
    split_troubles,
)
from bifrost_flow.render.markdown import code, escape_inline, fence

# GitHub refuses a body of more than 65,536 characters. In bytes it also holds where others count those.
MAX_BYTES = 65_536
MAX_DETAILED = 20
MAX_LISTED = 20
MAX_QUOTES = 10
MAX_QUOTE_CHARS = 300
MAX_TEXT_CHARS = 600
TOLD = ("root_cause", "suggestion")

_SIGNS = {"critical": "🔴", "error": "🟠", "warning": "🟡"}
_WORD_JOINER = "\u2060"  # has no width, and keeps what is around it from being read as one token
# @user, #123, GH-123, and an address with or without a scheme.
_REFERENCE = re.compile(r"@|#(?=\d)|\b[Gg][Hh]-(?=\d)|:(?=//)|\b[Ww]{3}(?=\\?\.)")


def render_pr_comment(report: Report) -> str:
    """Return the comment, at most `MAX_BYTES` long as UTF-8; what did not fit is counted."""
    lang, news = report.language, list_news(report)
    sign = {"clean": "✅", "calm": "✅", "unchanged": "✅", "news": "❌"}.get(judge_run(report), "⚠️")
    headline, note = pick_headline(report)
    opening = [
        name_marker(report.run.project),
        f"### {sign} {_defuse(escape_inline(report.run.project))}: {headline}",
        describe_counts(report),
        *([note] if count_unexplained(report) else []),
    ]
    closing = [*_list_known(report), *_count_troubles(report), _end(report)]
    room = MAX_BYTES - _measure([*opening, *closing]) - 500  # for the line that counts what is left out
    shown: list[str] = []
    for finding in news[:MAX_DETAILED]:
        part = _render_details(finding, lang, unfold=len(news) == 1)
        room -= _measure([part])
        if room < 0:
            break
        shown.append(part)
    if left := len(news) - len(shown):
        shown.append(f"*{t('render.pr_comment.more', lang=lang, count=format_count(left))}*")
    return "\n\n".join([*opening, *shown, *closing]) + "\n"


def name_marker(project: str) -> str:
    """Return the line by which a job finds the comment of `project` again."""
    name = quote(project, safe="").replace("--", "-%2D")  # two hyphens have a meaning within a comment
    return f"<!-- bifrost-flow:pr-comment:{name} -->"


def _render_details(finding: Finding, lang: str, *, unfold: bool) -> str:
    facts = " · ".join(
        (
            label("status", finding.status, lang),
            label("category", finding.category, lang),
            describe_reach(finding, lang),
        )
    )
    sign = _SIGNS.get(finding.severity, "⚪")
    # GitHub takes this line as HTML, in which Markdown means nothing.
    title = _defuse(html.escape(put_on_one_line(finding.title, 200), quote=False))
    parts = [
        f"<details{' open' if unfold else ''}>\n"
        f"<summary>{sign} <b>{title}</b> · {_defuse(html.escape(facts, quote=False))}</summary>",
    ]
    texts = ((name, put_on_one_line(getattr(finding, name), MAX_TEXT_CHARS)) for name in TOLD)
    parts.extend(
        f"**{t(f'render.{name}', lang=lang)}:** {_defuse(escape_inline(text))}"
        for name, text in texts
        if text
    )
    if finding.evidence:
        parts.append(_quote_evidence(finding.evidence))
    if not finding.grounded:
        parts.append(f"⚠️ *{t('render.not_grounded', lang=lang)}*")
    parts.append(code(f"bifrost-flow show {finding.fingerprint}"))
    return "\n\n".join([*parts, "</details>"])


def _quote_evidence(evidence: Sequence[Evidence]) -> str:
    lines = (
        f"{put_on_one_line(piece.path, 200)}:{piece.line}: {put_on_one_line(piece.quote, MAX_QUOTE_CHARS)}"
        for piece in evidence[:MAX_QUOTES]
    )
    return fence("\n".join(lines))


def _list_known(report: Report) -> list[str]:
    """Return the recurring findings, folded: their titles, and how many more there are."""
    lang = report.language
    known = [each for each in order_findings(report.findings) if each.status == "recurring"]
    if not known:
        return []
    lines = [
        f"- {_SIGNS.get(each.severity, '⚪')} {_defuse(escape_inline(cut(put_on_one_line(each.title), 150)))}"
        for each in known[:MAX_LISTED]
    ]
    if left := len(known) - len(lines):
        lines.append(f"- *{t('render.pr_comment.more_known', lang=lang, count=format_count(left))}*")
    summary = t("render.pr_comment.known", lang=lang, count=format_count(len(known)))
    return [f"<details>\n<summary>{summary}</summary>\n\n" + "\n".join(lines) + "\n\n</details>"]


def _count_troubles(report: Report) -> list[str]:
    unread, problems = split_troubles(report)
    count = len(unread) + len(problems)
    text = t("render.pr_comment.troubles", lang=report.language, count=format_count(count))
    return [f"⚠️ {text}"] if count else []


def _end(report: Report) -> str:
    words = f"bifrost-flow · {code(f'bifrost-flow export {report.run.run_id}')}"
    if report.link:
        target = quote(report.link, safe="/:?&=#%@!$'*+,;~._-")
        words = f"[{t('render.pr_comment.report', lang=report.language)}](<{target}>) · {words}"
    return f"<sub>{words}</sub>"


def _defuse(text: str) -> str:
    return _REFERENCE.sub(rf"\g<0>{_WORD_JOINER}", text)


def _measure(parts: Sequence[str]) -> int:
    return sum(len(part.encode("utf-8", "replace")) + 2 for part in parts)

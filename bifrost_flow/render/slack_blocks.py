"""Slack messages in Block Kit: what is new in detail, the rest as counts, within Slack's limits.

Whatever comes from a log or a model goes into `rich_text` elements, which Slack shows letter by letter: there
is no markup in them that a log could write, and no address becomes a link. Mentions are broken up as well,
for clients that fall back to markup. Only words and figures of ours are `mrkdwn`.

Limits: https://docs.slack.dev/reference/block-kit/blocks. A message as a whole is refused with
`msg_blocks_too_long` from some 12,000 characters on, structure included, which is undocumented
(slackapi/bolt-js issues 2509 and 2867).
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from bifrost_flow.language import current_language, t
from bifrost_flow.records import Finding, Report, Run
from bifrost_flow.render.defuse import cut, make_visible, put_on_one_line
from bifrost_flow.render.facts import (
    STATUS_ORDER,
    count_statuses,
    count_unexplained,
    describe_counts,
    describe_reach,
    fill_count,
    format_count,
    format_time,
    judge_run,
    label,
    list_news,
    name_outcome,
    pick_headline,
    split_troubles,
)

MAX_BLOCKS = 50
MAX_HEADER_CHARS = 150
MAX_MESSAGE_CHARS = 10_000  # of JSON, structure included
MAX_DETAILED = 10  # findings told in full in one message
MAX_TITLES = 20  # findings named in a message whose details are in its thread
MAX_REPLIES = 10  # messages in a thread
MAX_QUOTES = 4
MAX_LINK_CHARS = 3000

_SIGNS = {"critical": "🔴", "error": "🟠", "warning": "🟡"}
_MENTION = re.compile(r"<(?=[!@#/]|\w+:)|(?<!\w)@(?=(?:channel|here|everyone)\b)")
_WORD_JOINER = "\u2060"  # has no width, and keeps what is around it from being read as one token

Block = dict[str, object]


def has_news(report: Report) -> bool:
    """Return whether there is anything to post: a finding that is new, or back, or a failure
    that nobody explained."""
    return judge_run(report) in ("news", "unexplained")


@dataclass(frozen=True, slots=True)
class SlackMessage:
    """One message: its blocks, and the line that notifications and screen readers show instead of them."""

    blocks: list[Block]
    text: str

    def to_dict(self) -> dict[str, object]:
        """Return the message as its part of a payload."""
        return {"text": self.text, "blocks": self.blocks}


def render_slack_messages(report: Report, *, threaded: bool) -> list[SlackMessage]:
    """Return the messages about a run: one, or (`threaded`) a short one and the replies in its thread.

    The first tells counts and what is new. Without a thread it tells that in full, as far as a message
    reaches.
    """
    text = render_slack_text(report)
    if not threaded or not list_news(report):
        return [SlackMessage(render_slack_blocks(report), text)]
    opening = SlackMessage([*_open(report), *_list_titles(report), *_close(report)], text)
    return [opening, *_render_replies(report)]


def render_slack_blocks(report: Report) -> list[Block]:
    """Return a run in one message: what is new in full, at most `MAX_DETAILED` of it, the rest as counts."""
    opening, closing, news = _open(report), _close(report), list_news(report)
    detailed: list[Block] = []
    for position, finding in enumerate(news):
        blocks = _detail(finding, report.language)
        if position == MAX_DETAILED or not _fit([*opening, *detailed, *blocks, *closing]):
            rest = _count_rest(len(news) - position, report.language)
            return [*opening, *detailed, {"type": "divider"}, *rest, *closing]
        detailed += blocks
    return [*opening, *detailed, *closing]


def _render_replies(report: Report) -> list[SlackMessage]:
    """Return all that is new in full, in as many messages as it takes, at most `MAX_REPLIES`."""
    news, lang = list_news(report), report.language
    replies: list[list[Block]] = [[]]
    for position, finding in enumerate(news):
        # The divider is between findings, not at the head of a message.
        blocks = _detail(finding, lang)[0 if replies[-1] else 1 :]
        if not _fit([*replies[-1], *blocks]):
            if len(replies) == MAX_REPLIES:
                replies[-1] += _count_rest(len(news) - position, lang)
                break
            replies.append([])
            blocks = blocks[1:] if blocks[0]["type"] == "divider" else blocks
        replies[-1] += blocks
    count = len(replies)
    return [
        SlackMessage(
            blocks,
            t("render.slack.reply", lang=lang, number=number, count=count, project=_escape_name(report)),
        )
        for number, blocks in enumerate(replies, 1)
    ]


def _open(report: Report) -> list[Block]:
    return [
        _header(_pick_header(report)),
        _counts(report),
        _context(_describe_run(report)),
        *_note_unexplained(report),
    ]


def _close(report: Report) -> list[Block]:
    return [*_count_troubles(report), *_link(report.link, report.language)]


def _detail(finding: Finding, lang: str) -> list[Block]:
    return [{"type": "divider"}, _rich_text(*_describe_finding(finding, lang))]


def _fit(blocks: Sequence[Block]) -> bool:
    """Return whether `blocks` are one message, with room for the line that counts what is left out."""
    size = len(json.dumps(blocks, ensure_ascii=False))
    return size <= MAX_MESSAGE_CHARS and len(blocks) <= MAX_BLOCKS - 2


def _count_rest(count: int, lang: str) -> list[Block]:
    return [_context(t("render.slack.more", lang=lang, count=format_count(count)))]


def _list_titles(report: Report) -> list[Block]:
    """Return the titles of what is new, as a list, and a word about the thread."""
    lang, news = report.language, list_news(report)
    items: list[Block] = [
        {
            "type": "rich_text_section",
            "elements": [
                _text(
                    f"{_SIGNS.get(finding.severity, '⚪')} {put_on_one_line(finding.title, 150)}", bold=True
                ),
                _text(f" · {label('status', finding.status, lang)} · {describe_reach(finding, lang)}"),
            ],
        }
        for finding in news[:MAX_TITLES]
    ]
    blocks = [_rich_text({"type": "rich_text_list", "style": "bullet", "elements": items})]
    if left := len(news) - len(items):
        blocks += _count_rest(left, lang)
    return [*blocks, _context(t("render.slack.in_thread", lang=lang))]


def _escape_name(report: Report) -> str:
    return escape_mrkdwn(put_on_one_line(report.run.project, 100))


def render_slack_text(report: Report) -> str:
    """Return the line that notifications and screen readers show instead of the blocks."""
    return escape_mrkdwn(f"{_pick_header(report)} ({describe_counts(report)})")


def render_slack_error(run: Run, message: str, language: str | None = None) -> list[Block]:
    """Return the alert for a run that failed as a whole."""
    lang = language or current_language()
    where = f"{put_on_one_line(run.source, 300)} · {format_time(run.started_at)}"
    return [
        _header("🚨 " + t("render.slack.header_error", lang=lang, project=run.project)),
        _rich_text(_preformatted(cut(make_visible(message).strip(), 2500) or "–")),
        _context(where),
        _context(t("render.slack.error_hint", lang=lang, run_id=run.run_id), mrkdwn=True),
    ]


def escape_mrkdwn(text: str) -> str:
    """Return `text` with Slack's three control characters as entities, and broadcast words broken up."""
    text = make_visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MENTION.sub(rf"\g<0>{_WORD_JOINER}", text)


def _pick_header(report: Report) -> str:
    return name_outcome("render.slack.header_", report, project=report.run.project)


def _note_unexplained(report: Report) -> list[Block]:
    return [_context(f"⚠ {pick_headline(report)[1]}")] if count_unexplained(report) else []


def _describe_run(report: Report) -> str:
    run = report.run
    return t(
        "render.slack.context_one" if run.files == 1 else "render.slack.context",
        lang=report.language,
        source=put_on_one_line(run.source, 300),
        time=format_time(run.started_at),
        files=format_count(run.files),
        lines=format_count(run.lines),
    )


def _describe_finding(finding: Finding, lang: str) -> list[Block]:
    facts = " · ".join(
        (
            label("status", finding.status, lang),
            label("severity", finding.severity, lang),
            label("category", finding.category, lang),
            describe_reach(finding, lang),
        )
    )
    sign = _SIGNS.get(finding.severity, "⚪")
    lines: list[Block] = [
        _text(f"{sign} {put_on_one_line(finding.title, 200)}", bold=True),
        _text(f"\n{facts}", italic=True),
    ]
    for name in ("root_cause", "suggestion"):
        if text := put_on_one_line(getattr(finding, name), 300):
            lines += [_text(f"\n{t(f'render.{name}', lang=lang)}: ", bold=True), _text(text)]
    if not finding.grounded:
        lines.append(_text(f"\n⚠ {t('render.not_grounded', lang=lang)}", italic=True))
    section: Block = {"type": "rich_text_section", "elements": lines}
    return [section, *([_quote_evidence(finding)] if finding.evidence else [])]


def _quote_evidence(finding: Finding) -> Block:
    quotes = (cut(make_visible(piece.quote).replace("\n", " "), 160) for piece in finding.evidence)
    lines = (
        f"{_keep_end(put_on_one_line(piece.path), 80)}:{piece.line}: {quote}"
        for piece, quote in zip(finding.evidence[:MAX_QUOTES], quotes, strict=False)
    )
    return _preformatted("\n".join(lines))


def _keep_end(path: str, limit: int) -> str:
    return path if len(path) <= limit else f"…{path[1 - limit :]}"


def _counts(report: Report) -> Block:
    counts = count_statuses(report.findings)
    fields = [
        {
            "type": "mrkdwn",
            "text": f"*{label('status', status, report.language)}*\n{format_count(counts[status])}",
        }
        for status in STATUS_ORDER
    ]
    return {"type": "section", "fields": fields}


def _count_troubles(report: Report) -> list[Block]:
    unread, problems = split_troubles(report)
    count = len(unread) + len(problems)
    text = fill_count("render.slack.unread", count, report.language)
    return [_context(f"⚠ {text}")] if count else []


def _link(link: str | None, lang: str) -> list[Block]:
    """Return the way to the report. It is no button: those want an app that listens for clicks."""
    if not link:
        return []
    if not link.startswith(("https://", "http://")) or len(link) > MAX_LINK_CHARS:
        return [_context(t("render.slack.report_at", lang=lang, place=put_on_one_line(link, 1000)))]
    element: Block = {"type": "link", "url": link, "text": t("render.slack.open", lang=lang)}
    return [_rich_text({"type": "rich_text_section", "elements": [element]})]


def _header(text: str) -> Block:
    words = _break_mentions(put_on_one_line(text, MAX_HEADER_CHARS))
    return {
        "type": "header",
        "text": {"type": "plain_text", "text": words[:MAX_HEADER_CHARS], "emoji": False},
    }


def _context(text: str, *, mrkdwn: bool = False) -> Block:
    if mrkdwn:
        return {
            "type": "context",
            "elements": [{"type": "mrkdwn", "text": escape_mrkdwn(text), "verbatim": True}],
        }
    return {
        "type": "context",
        "elements": [{"type": "plain_text", "text": _break_mentions(text), "emoji": False}],
    }


def _rich_text(*elements: Block) -> Block:
    return {"type": "rich_text", "elements": list(elements)}


def _preformatted(text: str) -> Block:
    return {"type": "rich_text_preformatted", "elements": [_text(text)]}


def _text(text: str, **style: bool) -> Block:
    element: Block = {"type": "text", "text": _break_mentions(text)}
    return element | {"style": style} if style else element


def _break_mentions(text: str) -> str:
    return _MENTION.sub(rf"\g<0>{_WORD_JOINER}", text)

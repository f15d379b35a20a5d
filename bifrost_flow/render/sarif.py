"""Findings as SARIF 2.1.0, ready to be uploaded to GitHub code scanning.

Format: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html. What GitHub reads of it, and its
limits: https://docs.github.com/en/code-security/reference/code-scanning/sarif-files/sarif-support.

A category is a rule, a failure that is still there a result. What was resolved is left out: GitHub closes an
alert that is no longer in the upload.
"""

import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from bifrost_flow import __version__
from bifrost_flow.language import t
from bifrost_flow.records import CATEGORIES, Evidence, Finding, Problem, Report
from bifrost_flow.render.defuse import cut, escape_unprintable, make_visible, put_on_one_line
from bifrost_flow.render.facts import describe_reach, format_count, label, order_findings

SCHEMA_URI = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
MAX_RESULTS = 5000  # GitHub keeps this many of a run
MAX_LOCATIONS = 10  # and shows this many related ones of a result
MAX_TEXT_CHARS = 4000
MAX_QUOTE_CHARS = 1000
MAX_NOTIFICATIONS = 100
LINE_HASH = "primaryLocationLineHash"  # the one that GitHub compares, beside rule and path
FINGERPRINT = "bifrostFingerprint/v1"

_LEVELS = {"critical": "error", "error": "error", "warning": "warning"}
# A new failure and one that is back were not in the run before.
_BASELINES = {"new": "new", "regressed": "new", "recurring": "unchanged"}
_FINISHED = ("completed", "partial", "budget_exhausted")
_SCHEME = re.compile(r"^(?:[A-Za-z][A-Za-z0-9+.-]*://|[A-Za-z]:[\\/])")
# `[text](target)` in a message is a link (section 3.11.6). A word joiner between its halves makes it none,
# in viewers that know the escapes of that section and in those that do not.
_LINK = re.compile(r"\](?=\()")
_WORD_JOINER = "\u2060"

Node = dict[str, Any]


def render_sarif(report: Report) -> str:
    """Return a SARIF log with one run; results come in the report's order, at most `MAX_RESULTS`."""
    open_findings = [each for each in order_findings(report.findings) if each.status != "resolved"]
    kept = open_findings[:MAX_RESULTS]
    used = {each.category for each in kept}
    # Those of a newer version, unknown to this one, come after ours.
    categories = [each for each in CATEGORIES if each in used] + sorted(used - {*CATEGORIES})
    run = report.run
    node: Node = {
        "tool": {
            "driver": {
                "name": "bifrost-flow",
                "version": __version__,
                "semanticVersion": __version__,
                "rules": [_describe_rule(each, report.language) for each in categories],
            }
        },
        "automationDetails": {
            # What is before the last slash is the upload's category on GitHub: one for each project.
            "id": f"bifrost-flow/{run.project}/{run.run_id}",
            "description": {"text": _break_links(put_on_one_line(f"{run.project}: {run.source}", 1000))},
        },
        "language": report.language,
        "columnKind": "unicodeCodePoints",
        "invocations": [_describe_invocation(report, left_out=len(open_findings) - len(kept))],
        "results": [
            _describe_result(each, categories.index(each.category), report.language) for each in kept
        ],
        "properties": {"project": run.project, "runId": run.run_id, "status": run.status},
    }
    if report.link:
        node["properties"]["reportUrl"] = report.link
    body = {"$schema": SCHEMA_URI, "version": "2.1.0", "runs": [node]}
    return escape_unprintable(json.dumps(body, ensure_ascii=False, indent=2, allow_nan=False)) + "\n"


def make_relative_uri(path: str) -> str:
    """Return the path of a log as a relative URI reference (RFC 3986), which GitHub demands.

    Root, drive, scheme and `..` are dropped, since nothing above the place of the run is meant; bytes that
    are not UTF-8 are kept as `%E9`.
    """
    plain = _SCHEME.sub("", path).replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in ("", ".", "..")]
    return quote("/".join(parts).encode("utf-8", "surrogateescape"), safe="/!$&'()*+,;=@~-._") or "stdin"


def _describe_rule(category: str, lang: str) -> Node:
    if category in CATEGORIES:
        name = t(f"rules.{category}.name", lang=lang)
        explanation = t(f"rules.{category}.explanation", lang=lang)
        advice = t(f"rules.{category}.suggestion", lang=lang)
    else:
        name = explanation = advice = put_on_one_line(category, 200)
    tags = ["ci", "logs", *(["security"] if category == "security" else [])]
    return {
        "id": category,
        "shortDescription": {"text": name},
        "fullDescription": {"text": explanation},
        "help": {"text": f"{explanation}\n\n{advice}", "markdown": f"{explanation}\n\n{advice}"},
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": tags, "problem": {"severity": "error"}, "precision": "medium"},
    }


def _describe_result(finding: Finding, rule_index: int, lang: str) -> Node:
    # A finding without evidence has nowhere to point to, and GitHub refuses a result without a place.
    first, *others = finding.evidence or (Evidence("stdin", 1, ""),)
    node: Node = {
        "ruleId": finding.category,
        "ruleIndex": rule_index,
        "level": _LEVELS.get(finding.severity, "note"),
        "message": {"text": _render_message(finding, lang)},
        "locations": [_locate(first)],
        "partialFingerprints": {LINE_HASH: f"{finding.fingerprint}:1", FINGERPRINT: finding.fingerprint},
        "occurrenceCount": max(1, finding.occurrences),
        "properties": {
            "status": finding.status,
            "severity": finding.severity,
            "confidence": finding.confidence,
            "grounded": finding.grounded,
            "files": finding.files,
            "firstSeen": _format_time(finding.first_seen),
            "lastSeen": _format_time(finding.last_seen),
            "provider": finding.provider,
            "model": finding.model,
        },
    }
    if finding.status in _BASELINES:
        node["baselineState"] = _BASELINES[finding.status]
    if others:
        related = [_locate(piece) for piece in others[:MAX_LOCATIONS]]
        node["relatedLocations"] = [{"id": number} | each for number, each in enumerate(related, 1)]
    return node


def _render_message(finding: Finding, lang: str) -> str:
    parts = [put_on_one_line(finding.title, 300)]
    texts = ((name, make_visible(getattr(finding, name)).strip()) for name in ("root_cause", "suggestion"))
    parts.extend(
        f"{t(f'render.{name}', lang=lang)}: {cut(text, MAX_TEXT_CHARS // 2)}" for name, text in texts if text
    )
    facts = (label("status", finding.status, lang), describe_reach(finding, lang))
    parts.append(" · ".join(facts))
    if not finding.grounded:
        parts.append(t("render.not_grounded", lang=lang))
    return _break_links("\n\n".join(part for part in parts if part))


def _locate(piece: Evidence) -> Node:
    line, text = max(1, piece.line), cut(make_visible(piece.quote), MAX_QUOTE_CHARS)
    # GitHub asks for all four. The columns are those of the quote: a log's line without timestamp and colour.
    region: Node = {"startLine": line, "startColumn": 1, "endLine": line, "endColumn": max(2, len(text) + 1)}
    if text:
        region["snippet"] = {"text": text}
    return {
        "physicalLocation": {"artifactLocation": {"uri": make_relative_uri(piece.path)}, "region": region}
    }


def _describe_invocation(report: Report, *, left_out: int) -> Node:
    run = report.run
    node: Node = {
        "executionSuccessful": run.status in _FINISHED,
        "startTimeUtc": _format_time(run.started_at),
    }
    if run.finished_at:
        node["endTimeUtc"] = _format_time(run.finished_at)
    notes = [_describe_problem(each) for each in report.problems[:MAX_NOTIFICATIONS]]
    if left_out:
        text = t("render.sarif.left_out", lang=report.language, count=format_count(left_out))
        notes.insert(0, {"level": "warning", "message": {"text": text}})
    if notes:
        node["toolExecutionNotifications"] = notes
    return node


def _describe_problem(problem: Problem) -> Node:
    text = cut(put_on_one_line(f"{problem.subject}: {problem.message}"), MAX_TEXT_CHARS)
    return {"level": "warning", "message": {"text": _break_links(text)}}


def _break_links(text: str) -> str:
    return _LINK.sub(f"]{_WORD_JOINER}", text)


def _format_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

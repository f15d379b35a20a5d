"""What the generic webhook sends: one JSON object a run, described by `docs/webhook.schema.json`.

`version` grows when a receiver would have to change; new keys may come at any time.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any

from bifrost_flow.language import current_language
from bifrost_flow.records import Finding, Problem, Report, Run
from bifrost_flow.render.defuse import cut
from bifrost_flow.render.facts import count_statuses, count_unexplained, order_findings, pick_headline
from bifrost_flow.render.table import make_plain

VERSION = 1
RUN_FINISHED, RUN_FAILED = "run.finished", "run.failed"
MAX_FINDINGS = 200
MAX_BYTES = 1_000_000  # many receivers refuse more
MAX_PROBLEMS = 100
MAX_TEXT_CHARS = 4000
MAX_QUOTES = 20

_NAMESPACE = uuid.UUID("6f1c1d3e-8a55-5d0b-9f0e-2b7f4f1f6c11")
_LEFT_OUT = ("settings", "versions")  # of a run's row: JSON in text, and nothing that a receiver acts on


def render_payload(report: Report) -> bytes:
    """Return the payload about a run that came to its end, as ASCII.

    Findings come with what is new first; those beyond `MAX_FINDINGS`, or beyond `MAX_BYTES` in all, are
    counted in `findings_left_out`.
    """
    headline, _note = pick_headline(report)
    ordered = order_findings(report.findings)
    body = _start(RUN_FINISHED, report.run, report.language) | {
        "headline": headline,
        "report_url": report.link,
        "counts": count_statuses(report.findings) | {"unexplained": count_unexplained(report)},
        "findings": [],
        "findings_left_out": len(ordered),
        "problems": [_describe_problem(each) for each in report.problems[:MAX_PROBLEMS]],
        "error": None,
    }
    findings: list[dict[str, Any]] = []
    room = MAX_BYTES - len(_encode(body))
    for finding in ordered[:MAX_FINDINGS]:
        node = _describe_finding(finding)
        room -= len(_encode(node)) + 2
        if room < 0:
            break
        findings.append(node)
    return _encode(body | {"findings": findings, "findings_left_out": len(ordered) - len(findings)})


def render_failure_payload(run: Run, message: str, language: str | None = None) -> bytes:
    """Return the payload about a run that failed as a whole, for the reason that `message` tells."""
    body = _start(RUN_FAILED, run, language or current_language()) | {
        "headline": cut(message, MAX_TEXT_CHARS),
        "report_url": None,
        "counts": count_statuses(()) | {"unexplained": 0},
        "findings": [],
        "findings_left_out": 0,
        "problems": [],
        "error": cut(message, MAX_TEXT_CHARS),
    }
    return _encode(body)


def name_delivery(event: str, run_id: str) -> str:
    """Return the id of a delivery: the same however often, and by whichever command, it is sent."""
    return str(uuid.uuid5(_NAMESPACE, f"{event} {run_id}"))


def _start(event: str, run: Run, language: str) -> dict[str, Any]:
    row = {field.name: getattr(run, field.name) for field in fields(run) if field.name not in _LEFT_OUT}
    return {
        "version": VERSION,
        "event": event,
        "delivery_id": name_delivery(event, run.run_id),
        "language": language,
        "run": {
            name: _format_time(value) if isinstance(value, datetime) else value for name, value in row.items()
        },
    }


def _describe_finding(finding: Finding) -> dict[str, Any]:
    node = make_plain(finding)
    for name in ("title", "root_cause", "explanation", "suggestion"):
        node[name] = cut(getattr(finding, name), MAX_TEXT_CHARS)
    pieces: Sequence[Any] = finding.evidence[:MAX_QUOTES]
    node["evidence"] = [asdict(piece) | {"quote": cut(piece.quote, MAX_TEXT_CHARS)} for piece in pieces]
    return node


def _describe_problem(problem: Problem) -> dict[str, str]:
    return {name: cut(text, MAX_TEXT_CHARS) for name, text in asdict(problem).items()}


def _format_time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _encode(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")

"""The machine-readable formats: JSON, JSON Lines and CSV, with the warehouse's column names."""

import csv
import io
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from bifrost_flow.records import Evidence, Finding, Report
from bifrost_flow.render.defuse import escape_unprintable, make_visible

# A spreadsheet takes a cell that starts with one of these as a formula (OWASP, "CSV injection"), full-width
# too.
_FORMULA = re.compile(r"^[\s\u3000]*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r\n]")

CSV_COLUMNS = ("run_id", *(field.name for field in fields(Finding)))


def render_json(report: Report) -> str:
    """Return one JSON object: `run`, `findings`, `files`, `problems`, and their warehouse and language.

    A finding's `similar` are earlier findings like it. `settings` and `versions` of the run, JSON in the
    table, are objects here. Times are ISO 8601, UTC, with `Z`.
    """
    run_id = {"run_id": report.run.run_id}
    run = _open(report.run) | {
        name: _parse_json(getattr(report.run, name)) for name in ("settings", "versions")
    }
    body = {
        "run": run,
        "findings": [_describe_finding(report, finding) for finding in report.findings],
        "files": [run_id | _open(file) for file in report.files],
        "problems": [_open(problem) for problem in report.problems],
        "warehouse": report.warehouse,
        "language": report.language,
    }
    text = json.dumps(body, ensure_ascii=False, indent=2, default=_format_value, allow_nan=False)
    return escape_unprintable(text) + "\n"


def render_jsonl(report: Report) -> str:
    """Return one line a finding, each an object as in the `findings` of `render_json`.

    https://jsonlines.org: UTF-8, each line ended by a newline; a run without findings is an empty file.
    """
    lines = (
        json.dumps(
            _describe_finding(report, finding), ensure_ascii=False, default=_format_value, allow_nan=False
        )
        for finding in report.findings
    )
    return "".join(f"{escape_unprintable(line)}\n" for line in lines)


def render_csv(report: Report) -> str:
    """Return one row a finding (RFC 4180: quotes doubled, CRLF), with a header.

    The evidence is one cell of `path:line: quote` lines. A cell that a spreadsheet would run as a formula
    starts with an apostrophe.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(CSV_COLUMNS)
    for finding in report.findings:
        evidence = "\n".join(f"{piece.path}:{piece.line}: {piece.quote}" for piece in finding.evidence)
        values = {"run_id": report.run.run_id} | {name: getattr(finding, name) for name in CSV_COLUMNS[1:]}
        writer.writerow([_format_cell(value) for value in (values | {"evidence": evidence}).values()])
    return out.getvalue()


def _describe_finding(report: Report, finding: Finding) -> dict[str, Any]:
    similar = report.similar.get(finding.fingerprint, ())
    return {"run_id": report.run.run_id, **_open(finding), "similar": similar}


def _open(record: Any) -> dict[str, Any]:
    """Return the fields of a record; those that are records themselves are left to `_format_value`.

    `asdict` would copy all values deeply, which takes longer than writing them.
    """
    return {name: getattr(record, name) for name in _name_fields(type(record))}


@cache
def _name_fields(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def make_plain(record: Any) -> dict[str, object]:
    """Return a record as values that JSON has."""
    return {
        name: _format_value(value) if isinstance(value, datetime) else value
        for name, value in asdict(record).items()
    }


def read_finding(values: Mapping[str, Any]) -> Finding:
    """Return the finding that `make_plain` wrote, after a way through JSON."""
    known: dict[str, Any] = {field.name: values[field.name] for field in fields(Finding)}
    known["evidence"] = tuple(Evidence(**piece) for piece in values["evidence"])
    for name in ("first_seen", "last_seen"):
        known[name] = datetime.fromisoformat(values[name])
    return Finding(**known)


def _format_cell(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    text = make_visible(value) if isinstance(value, str) else str(_format_value(value))
    return f"'{text}" if _FORMULA.match(text) else text


def _format_value(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if is_dataclass(value):
        return _open(value)
    raise TypeError(f"No JSON for {type(value).__name__}.")


def _parse_json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text

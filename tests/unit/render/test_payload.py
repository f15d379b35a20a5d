"""What the webhook sends keeps to the schema that is published for it."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from bifrost_flow.language import ROOT
from bifrost_flow.records import Evidence, Problem, Report
from bifrost_flow.render.payload import MAX_BYTES, MAX_FINDINGS, render_failure_payload, render_payload

SCHEMA: dict[str, Any] = json.loads((ROOT / "docs" / "webhook.schema.json").read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=FormatChecker())


def read(body: bytes) -> dict[str, Any]:
    """Return a payload, after checking it against the schema, and that each key is described there."""
    assert body.isascii() and len(body) <= MAX_BYTES
    payload = json.loads(body)
    VALIDATOR.validate(payload)
    described = SCHEMA["$defs"]
    assert payload.keys() == SCHEMA["properties"].keys()
    assert payload["run"].keys() == described["run"]["properties"].keys()
    for finding in payload["findings"]:
        assert finding.keys() == described["finding"]["properties"].keys()
    return payload


def test_schema_is_one() -> None:
    """The published schema is valid itself."""
    Draft202012Validator.check_schema(SCHEMA)


def test_tells_the_run(report: Report) -> None:
    """Run, counts, findings with what is new first, and problems; the same delivery id each time."""
    payload = read(render_payload(replace(report, link="https://ci.example/r.html")))
    assert (payload["version"], payload["event"]) == (1, "run.finished")
    assert payload["headline"] == "3 failures to look at"
    assert payload["report_url"] == "https://ci.example/r.html"
    assert payload["run"]["started_at"] == "2026-11-23T02:14:09.482913Z"
    assert payload["counts"] == {"new": 2, "regressed": 1, "recurring": 2, "resolved": 1, "unexplained": 0}
    statuses = [finding["status"] for finding in payload["findings"]]
    assert statuses == ["new", "new", "regressed", "recurring", "recurring", "resolved"]
    assert payload["findings"][0]["evidence"][0] == {
        "path": "ci/build-1184/install-node-20.log",
        "line": 88,
        "quote": "npm error code ETARGET",
    }
    assert len(payload["problems"]) == len(report.problems)
    assert read(render_payload(report))["delivery_id"] == payload["delivery_id"]
    other = replace(report, run=replace(report.run, run_id="019ab2f4-6c1e-7b8a-9d20-000000000000"))
    assert read(render_payload(other))["delivery_id"] != payload["delivery_id"]


def test_tells_a_failed_run(report: Report) -> None:
    """A run that failed as a whole says why, under an id of its own."""
    payload = read(render_failure_payload(report.run, "S3 says AccessDenied", "ko"))
    assert (payload["event"], payload["error"], payload["language"]) == (
        "run.failed",
        "S3 says AccessDenied",
        "ko",
    )
    assert payload["delivery_id"] != read(render_payload(report))["delivery_id"]


def test_large_runs_are_cut(report: Report) -> None:
    """Findings that do not fit are counted, whether there are too many of them or they are too long."""
    small = replace(report.findings[0], evidence=())
    many = read(render_payload(replace(report, findings=(small,) * 1000)))
    assert (len(many["findings"]), many["findings_left_out"]) == (MAX_FINDINGS, 1000 - MAX_FINDINGS)
    evidence = tuple(Evidence("p", n, "한" * 9000) for n in range(1, 90))
    long = replace(report.findings[0], title="한" * 9000, evidence=evidence)
    problems = tuple(Problem("analyse", "x" * 9000, "y" * 9000) for _ in range(500))
    cut = read(render_payload(replace(report, findings=(long,) * 50, problems=problems)))
    assert cut["findings_left_out"] == 50 - len(cut["findings"]) > 0
    assert len(cut["problems"]) == 100


def test_hostile_text_is_exact(
    build_report: Callable[[list[str]], Report], hostile_strings: list[str]
) -> None:
    """Log text comes back letter by letter; ASCII alone is on the wire."""
    payload = read(render_payload(build_report([*hostile_strings, "caf\udce9"])))
    assert {each["title"] for each in payload["findings"]} == {*hostile_strings, "caf\udce9"}


@pytest.mark.parametrize("change", [{"version": 2}, {"error": "x"}, {"findings": [{}]}, {"event": "x"}])
def test_schema_refuses(report: Report, change: dict[str, object]) -> None:
    """The schema is no rubber stamp."""
    payload = json.loads(render_payload(report)) | change
    assert not VALIDATOR.is_valid(payload)

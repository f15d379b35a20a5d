"""SARIF is valid against its schema, and what GitHub code scanning asks for is in it."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from jsonschema import Draft4Validator, FormatChecker

from bifrost_flow.records import Evidence, Report
from bifrost_flow.render import render_report
from bifrost_flow.render.sarif import MAX_RESULTS, make_relative_uri

SCHEMA = Path(__file__).parents[2] / "data" / "schemas" / "sarif-2.1.0-rtm.5.json"
VALIDATOR = Draft4Validator(json.loads(SCHEMA.read_text()), format_checker=FormatChecker())
# https://docs.github.com/en/code-security/reference/code-scanning/sarif-files/sarif-support
MAX_NAME_CHARS, MAX_DESCRIPTION_CHARS, MAX_TAGS, MAX_LOCATIONS = 255, 1024, 20, 1000


def render(report: Report) -> dict[str, Any]:
    """Return the one run of a report, after checking it against the schema and GitHub's demands."""
    body = json.loads(render_report(report, "sarif"))
    VALIDATOR.validate(body)
    (run,) = body["runs"]
    rules = run["tool"]["driver"]["rules"]
    for rule in rules:
        assert 0 < len(rule["id"]) <= MAX_NAME_CHARS
        assert 0 < len(rule["shortDescription"]["text"]) <= MAX_DESCRIPTION_CHARS
        assert 0 < len(rule["fullDescription"]["text"]) <= MAX_DESCRIPTION_CHARS
        assert rule["help"]["text"] and rule["help"]["markdown"]
        assert len(rule["properties"]["tags"]) <= MAX_TAGS
    assert len({rule["id"] for rule in rules}) == len(rules)
    assert len(run["results"]) <= MAX_RESULTS
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["message"]["text"] and result["partialFingerprints"]["primaryLocationLineHash"]
        assert len(result["locations"]) == 1 and len(result.get("relatedLocations", [])) <= MAX_LOCATIONS
        for each in (*result["locations"], *result.get("relatedLocations", [])):
            place = each["physicalLocation"]
            check_uri(place["artifactLocation"]["uri"])
            region = place["region"]
            assert 1 <= region["startLine"] <= region["endLine"]
            assert 1 <= region["startColumn"] < region["endColumn"]
    return run


def check_uri(uri: str) -> None:
    """Check that `uri` is a relative reference of RFC 3986 that stays below where it starts."""
    assert re.fullmatch(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=@/]|%[0-9A-F]{2})+", uri), uri
    parts = urlsplit(uri)
    assert not parts.scheme and not parts.netloc and not uri.startswith("/")
    assert ".." not in unquote(uri, errors="replace").split("/")


def test_results_say_what_and_where(report: Report) -> None:
    """Each failure that is still there is a result at its first evidence, with rule and fingerprint."""
    run = render(report)
    assert run["automationDetails"]["id"] == f"bifrost-flow/storefront/{report.run.run_id}"
    results = {result["partialFingerprints"]["bifrostFingerprint/v1"]: result for result in run["results"]}
    still_there = [finding for finding in report.findings if finding.status != "resolved"]
    assert results.keys() == {finding.fingerprint for finding in still_there} and len(still_there) == 5
    result = results["f1:51f0aa7cc3de9812"]
    assert (result["ruleId"], result["level"], result["baselineState"]) == (
        "dependency_error",
        "error",
        "new",
    )
    assert result["occurrenceCount"] == 12
    assert result["message"]["text"].startswith("npm cannot find a version of left-pad that matches ^2.0.0\n")
    assert "Root cause: package.json asks for left-pad ^2.0.0" in result["message"]["text"]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "ci/build-1184/install-node-20.log"
    assert (place["region"]["startLine"], place["region"]["snippet"]["text"]) == (
        88,
        "npm error code ETARGET",
    )
    levels = {result["properties"]["severity"]: result["level"] for result in run["results"]}
    assert levels == {"critical": "error", "error": "error", "warning": "warning"}
    states = {result["properties"]["status"]: result["baselineState"] for result in run["results"]}
    assert states == {"new": "new", "regressed": "new", "recurring": "unchanged"}


def test_fingerprint_and_rule_are_the_same_every_night(report: Report) -> None:
    """A later run of the same failures gives the alerts that GitHub has already, whatever else changed."""
    later = replace(
        report,
        run=replace(report.run, run_id="019ab900-0000-7000-8000-000000000000"),
        findings=tuple(
            replace(each, status="recurring", occurrences=each.occurrences + 1)
            for each in report.findings[:5]
        ),
    )

    def identify(run: dict[str, Any]) -> set[tuple[str, str, str]]:
        return {
            (
                result["ruleId"],
                result["partialFingerprints"]["primaryLocationLineHash"],
                result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"],
            )
            for result in run["results"]
        }

    assert identify(render(report)) == identify(render(later))
    assert render(report)["automationDetails"]["id"].rpartition("/")[0] == "bifrost-flow/storefront"


def test_problems_and_outcome_are_told(report: Report, clean: Report) -> None:
    """What went wrong beside the findings is a notification; a clean run has no result and no rule."""
    (invocation,) = render(report)["invocations"]
    notes = [note["message"]["text"] for note in invocation["toolExecutionNotifications"]]
    assert len(notes) == len(report.problems) and invocation["executionSuccessful"] is True
    assert invocation["startTimeUtc"] == "2026-11-23T02:14:09.482913Z"
    run = render(clean)
    assert run["results"] == [] and run["tool"]["driver"]["rules"] == []
    broken = replace(clean, run=replace(clean.run, status="interrupted", finished_at=None))
    assert render(broken)["invocations"][0]["executionSuccessful"] is False


def test_more_than_github_takes(report: Report) -> None:
    """The most important results are kept, and a notification counts the others."""
    base = replace(report.findings[0], evidence=report.findings[0].evidence[:1])
    minor = tuple(replace(base, fingerprint=f"f1:{n}", severity="info") for n in range(MAX_RESULTS + 7))
    worst = replace(base, fingerprint="f1:worst", severity="critical")
    run = render(replace(report, findings=(*minor, worst), problems=()))
    assert len(run["results"]) == MAX_RESULTS
    assert run["results"][0]["partialFingerprints"]["primaryLocationLineHash"] == "f1:worst:1"
    assert run["results"][1]["level"] == "note"
    (note,) = run["invocations"][0]["toolExecutionNotifications"]
    assert note["message"]["text"].startswith("8 results left out")


def test_hostile_text_is_valid_and_makes_no_link(
    build_report: Callable[[list[str]], Report], hostile_strings: list[str]
) -> None:
    """Whatever a log says, the file is valid, holds no control character, and no message has a link in it."""
    for text in (*hostile_strings, "caf\udce9", "x](https://evil.example)", ""):
        source = render_report(build_report([text or "p", text]), "sarif")
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2066]", source)
        run = render(build_report([text or "p", text]))
        messages = [result["message"]["text"] for result in run["results"]]
        notes = run["invocations"][0].get("toolExecutionNotifications", [])
        for message in (*messages, *(note["message"]["text"] for note in notes)):
            assert "](" not in message


def test_a_finding_without_evidence_has_a_place(report: Report) -> None:
    """GitHub refuses a result without a location."""
    bare = replace(report.findings[0], evidence=(), severity="info")
    run = render(replace(report, findings=(bare,)))
    assert run["results"][0]["level"] == "note"


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("ci/a.log", "ci/a.log"),
        ("./ci//a.log", "ci/a.log"),
        ("/var/log/ci/a b.log", "var/log/ci/a%20b.log"),
        ("../../logs/a.log", "logs/a.log"),
        ("s3://bucket/2026/a.log", "bucket/2026/a.log"),
        ("C:\\logs\\a.log", "logs/a.log"),
        ("job:12/a.log", "job%3A12/a.log"),
        ("logs.zip!/1_build.txt", "logs.zip!/1_build.txt"),
        ("빌드/100%#1?.log", "%EB%B9%8C%EB%93%9C/100%25%231%3F.log"),
        ("caf\udce9.log", "caf%E9.log"),
        ("-", "-"),
        ("/", "stdin"),
    ],
)
def test_paths_are_relative_references(path: str, uri: str) -> None:
    """Any path of a log is a relative URI that keeps its letters."""
    check_uri(uri)
    assert make_relative_uri(path) == uri


def test_speaks_korean(report: Report) -> None:
    """Rules and messages are in the report's language."""
    run = render(replace(report, language="ko"))
    assert run["language"] == "ko"
    assert "근본 원인" in run["results"][0]["message"]["text"]
    assert not run["tool"]["driver"]["rules"][0]["help"]["text"].isascii()


def test_evidence_beyond_what_is_shown_is_cut(report: Report) -> None:
    """A result has one place and at most ten related ones, numbered for viewers that link them."""
    many = replace(report.findings[0], evidence=tuple(Evidence("a.log", n, "q" * 5000) for n in range(30)))
    (result,) = render(replace(report, findings=(many,)))["results"]
    assert [each["id"] for each in result["relatedLocations"]] == list(range(1, 11))

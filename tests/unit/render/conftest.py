"""Reports to render: a lifelike one, and one made of strings that try to break out."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from bifrost_flow.records import Evidence, Finding, LogFile, Problem, Report, SimilarFinding

DATA = Path(__file__).parents[2] / "data" / "reports"
HOSTILE: list[str] = json.loads((DATA / "hostile.json").read_text(encoding="utf-8"))
NOW = datetime(2026, 11, 23, 2, 14, 9, 482913, tzinfo=UTC)


@pytest.fixture
def report() -> Report:
    """A nightly run with findings of every status, unread inputs and a failed call."""
    return TypeAdapter(Report).validate_json((DATA / "storefront.json").read_bytes())


@pytest.fixture
def clean(report: Report) -> Report:
    """A run that read everything and found nothing."""
    run = replace(report.run, status="completed", chunks=0, groups=0, errors=0)
    return replace(report, run=run, findings=(), problems=(), files=report.files[:1])


@pytest.fixture
def unanswered(report: Report) -> Report:
    """A run whose model was down: five failures were found, and nobody said a word about them."""
    return replace(report, findings=())


@pytest.fixture
def half_answered(report: Report) -> Report:
    """A run whose model went away in the middle: seven failures were found, five were explained."""
    return replace(report, run=replace(report.run, groups=7))


@pytest.fixture
def with_similar(report: Report) -> Callable[[str], Report]:
    """Return a maker of reports whose first new finding is like an earlier one of the given text."""
    (new, *_) = [finding for finding in report.findings if finding.status == "new"]

    def build(text: str) -> Report:
        past = SimilarFinding("f1:past", "resolved", text, text, NOW - timedelta(days=3), 0.5)
        return replace(report, similar={new.fingerprint: (past,)})

    return build


@pytest.fixture
def hostile_strings() -> list[str]:
    return HOSTILE


@pytest.fixture
def build_report(report: Report) -> Callable[[list[str]], Report]:
    """Return a maker of reports with each of the given strings wherever a log or a model has a say."""

    def build(texts: list[str]) -> Report:
        return replace(
            report,
            run=replace(report.run, project=texts[0], source=texts[0], settings=texts[0]),
            findings=tuple(build_finding(text, number) for number, text in enumerate(texts)),
            files=tuple(build_file(text) for text in texts),
            problems=tuple(Problem("analyse", f"{text} {n}", text) for n, text in enumerate(texts)),
            warehouse=texts[0],
        )

    return build


def build_finding(text: str, number: int) -> Finding:
    return Finding(
        fingerprint=text,
        status=("new", "regressed", "recurring", "resolved")[number % 4],
        title=text,
        category="crash",
        severity="error",
        root_cause=text,
        explanation=text,
        suggestion=text,
        confidence=0.5,
        evidence=(Evidence(text, 7, text), Evidence(text, 8, text)),
        grounded=number % 2 == 0,
        occurrences=1000 - number,  # keeps the order of the strings within a status
        files=2,
        first_seen=NOW,
        last_seen=NOW,
        provider=text,
        model=text,
        prompt=text,
        prompt_version=text,
        cached=True,
        language="en",
    )


def build_file(text: str) -> LogFile:
    return LogFile(text, None, 0, 0, text, text, text, text, None, None, "unknown", "unreadable", text)

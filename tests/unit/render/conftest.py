"""Reports to render: a lifelike one, and one made of strings that try to break out."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from bifrost_flow.records import Evidence, Finding, LogFile, Problem, Report

DATA = Path(__file__).parents[2] / "data" / "reports"
HOSTILE: list[str] = json.loads((DATA / "hostile.json").read_text(encoding="utf-8"))
NOW = datetime(2026, 11, 23, 2, 14, 9, 482913, tzinfo=UTC)


@pytest.fixture
def report() -> Report:
    """A nightly run with findings of every status, unread inputs and a failed call."""
    return TypeAdapter(Report).validate_json((DATA / "storefront.json").read_bytes())


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

"""Reports of many tools, each in a long log of a job that otherwise goes well."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from bifrost_flow.evidence.scan import scan_file

REPORTS = Path(__file__).parent / "tool_reports"
PASSED = Path(__file__).parents[2] / "data/logs/github-actions/jest-javascript-2499439457.log"
MARK = "»"
BEFORE_LINES = 360


class Report(NamedTuple):
    """A tool's report: `lines` as in the files, marked ones with MARK."""

    name: str
    system: str
    command: str
    lines: tuple[str, ...]


def read_reports() -> list[Report]:
    reports = []
    for path in sorted(REPORTS.glob("*.txt")):
        for text in re.split(r"^### (?=\w+ \|)", path.read_text("utf-8"), flags=re.MULTILINE)[1:]:
            head, *lines = text.rstrip("\n").split("\n")
            name, system, command = head.split(" | ", 2)
            reports.append(Report(name, system, command, tuple(lines)))
    return reports


ENDS = {
    "travis": ('The command "{}" exited with 1.', "", "Done. Your build exited with 1."),
    "gha": ("##[error]Process completed with exit code 1.", "Post job cleanup."),
    "gitlab": ("section_end:1554199872:step_script\r\x1b[0KERROR: Job failed: exit code 1",),
    "jenkins": ("Build step 'Execute shell' marked build as failure", "Finished: FAILURE"),
    "buildkite": ("🚨 Error: The command exited with status 1", "user command error: exit status 1"),
    "copr": (
        "error: Bad exit status from /var/tmp/rpm-tmp.x (%build)",
        "RPM build errors:",
        "Child return code was: 1",
    ),
    "zuul": (
        "2019-04-02 10:11:14.023456 | ubuntu-bionic | ERROR",
        "RUN END RESULT_NORMAL: [untrusted : acme/run.yaml@master]",
    ),
    "azure": ("##[error]Bash exited with code '1'.", "##[section]Finishing: {}"),
    "circleci": ("", "Exited with code exit status 1", "", "CircleCI received exit code 1"),
    "plain": ("",),
}
STARTS = {
    "gha": ("##[group]Run {0}", "{0}", "shell: /bin/bash -e {{0}}", "##[endgroup]"),
    "travis": ("travis_time:start:1a2b3c4d\r\x1b[0K$ {0}",),
    "gitlab": ("$ {0}",),
    "azure": ("##[section]Starting: {0}",),
    "circleci": ("#!/bin/bash -eo pipefail", "{0}", ""),
}


def embed(report: Report) -> tuple[bytes, set[int]]:
    """Return the log that holds a report, and the 1-based lines that are marked."""
    passed = [line[29:] for line in PASSED.read_text("utf-8").split("\n")[:BEFORE_LINES]]
    before = [*passed, *(REPORTS / "noise.log").read_text("utf-8").splitlines()]
    start = [line.format(report.command) for line in STARTS.get(report.system, ("+ {0}",))]
    end = [line.format(report.command) for line in ENDS[report.system]]
    lines = [*before, *start]
    marked = set()
    for line in report.lines:
        lines.append(line.removeprefix(MARK))
        if line.startswith(MARK) and line.removeprefix(MARK).strip():
            marked.add(len(lines))
    lines += end
    if report.system in ("gha", "azure"):
        lines = [f"2023-04-02T10:11:{n % 60:02d}.1234567Z {line}" for n, line in enumerate(lines)]
    return "\n".join(lines).encode() + b"\n", marked


def extract(report: Report, budget: int) -> tuple[set[int], set[int], set[int]]:
    """Return the marked lines, the kept ones, and those of the first chunk."""
    log, marked = embed(report)
    _, chunks = scan_file([log], report.name, budget_tokens=budget, max_line_bytes=1 << 16)
    kept = {number for chunk in chunks for number in chunk.line_numbers()}
    return marked, kept, set(chunks[0].line_numbers()) if chunks else set()


CASES = read_reports()


@pytest.mark.parametrize("budget", [500, 1000])
@pytest.mark.parametrize("report", CASES, ids=[report.name for report in CASES])
def test_marked_lines_are_kept(report: Report, budget: int) -> None:
    """The lines that a person would mark of a tool's report are kept, and the first chunk holds some."""
    marked, kept, first = extract(report, budget)
    assert marked <= kept
    assert marked & first

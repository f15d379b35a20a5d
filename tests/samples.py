"""Chunks, groups and reports for tests of what comes after the evidence stage."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from bifrost_flow.records import (
    CachedAnswer,
    Chunk,
    Finding,
    Group,
    LogFile,
    Report,
    new_run_id,
)
from connectors.warehouse import Warehouse
from tests.warehouse_rows import FILE, FINDING, RUN

STARTED = datetime(2026, 3, 1, 2, 30, 0, 123000, tzinfo=UTC)

TRACEBACK = """Traceback (most recent call last):
  File "/home/ci/app/main.py", line 3, in <module>
    connect()
  File "/home/ci/app/db.py", line 41, in connect
    raise ConnectionError("no route to database db01")
ConnectionError: no route to database db01"""


def make_chunk(
    text: str = TRACEBACK,
    *,
    anchor: int = 5,
    category: str = "crash",
    severity: str = "error",
    fingerprint: str = "f1:0001",
    path: str = "nightly/build.log",
    first_line: int = 100,
    spans: tuple[tuple[int, int], ...] | None = None,
) -> Chunk:
    """Return a chunk of `text`; `anchor` is the 0-based position of its line."""
    spans = spans or ((first_line, first_line + text.count("\n")),)
    numbers = [number for first, last in spans for number in range(first, last + 1)]
    return Chunk(
        chunk_id="c1",
        path=path,
        rank=1,
        spans=spans,
        severity=severity,
        category=category,
        score=1.0,
        fingerprint=fingerprint,
        template="t",
        tokens=len(text.encode("utf-8", "replace")) // 4,
        text=text,
        redactions=0,
        anchor=numbers[anchor],
    )


def make_group(number: int = 1, *, size: int = 1, text: str | None = None) -> Group:
    """Return group `number`, of `size` chunks; its text is its own unless one is given."""
    own = f"step {number} starts\nValueError: bad value in module_{number}" if text is None else text
    fingerprint = f"f1:{number:04}"
    chunks = tuple(
        make_chunk(own, anchor=0 if "\n" not in own else 1, fingerprint=fingerprint, path=f"log{copy}.txt")
        for copy in range(size)
    )
    return Group(fingerprint, chunks[0], chunks)


def make_file(path: str = "nightly/build.log", *, size: int = 100, status: str = "read") -> LogFile:
    """Return an input file of `size` bytes."""
    return replace(
        FILE,
        path=path,
        sha256="0" * 64,
        bytes=size,
        lines=10,
        job=None,
        first_ts=None,
        status=status,
        error=None if status == "read" else status,
    )


def make_finding(
    fingerprint: str = "f1:0001",
    *,
    status: str = "new",
    severity: str = "error",
    category: str = "crash",
) -> Finding:
    """Return a finding that the built-in rules gave."""
    return replace(
        FINDING,
        fingerprint=fingerprint,
        status=status,
        title="no route to database db01",
        category=category,
        severity=severity,
        root_cause="The database can't be reached.",
        explanation="",
        suggestion="",
        confidence=0.5,
        first_seen=STARTED,
        last_seen=STARTED,
    )


def find_answers(warehouse: Warehouse, keys: Iterable[str]) -> dict[str, CachedAnswer]:
    """Return the answers that a look-up finds for `keys` themselves."""
    found = warehouse.find_candidates("", [(key, "") for key in keys])
    return {key: answer for (key, _), (answer,) in found.items()}


def make_report(status: str = "completed") -> Report:
    """Return the report of a run without findings."""
    run = replace(
        RUN,
        run_id=new_run_id(),
        project="nightly",
        source="logs",
        started_at=STARTED,
        finished_at=STARTED + timedelta(seconds=5),
        status=status,
        files=3,
        chunks=2,
        llm_calls=1,
        tokens_in=10,
        tokens_out=5,
    )
    return Report(run, (), (), (), "warehouse", "en")

"""What is fuzzed: each target takes bytes, and raises if a promise of ours is broken.

Bytes are what an attacker or a broken disk has a say in: a log, an archive, a reply, a title. An error of our
own tree is a fair answer to nonsense; anything else that is raised is a defect.
"""

import csv
import io
import json
import re
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

from pydantic import TypeAdapter

from bifrost_flow.answer import Answer, answer_schema, parse_answer
from bifrost_flow.draft import read_draft
from bifrost_flow.errors import BifrostError, ModelRefused
from bifrost_flow.evidence.fingerprint import fingerprint_lines, mask_text
from bifrost_flow.evidence.moments import parse_when
from bifrost_flow.evidence.redact import redact_text
from bifrost_flow.evidence.times import find_stamp, read_time
from bifrost_flow.prompts.formats import parse_prompt
from bifrost_flow.records import Chunk, Evidence, Report
from bifrost_flow.render import FORMATS, render_file, render_report
from bifrost_flow.render.defuse import make_visible, put_on_one_line
from bifrost_flow.render.slack_blocks import render_slack_blocks, render_slack_error

REPORT = Path(__file__).parents[1] / "data" / "reports" / "storefront.json"
BUDGET_TOKENS = 500
NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
# What a terminal acts on: C0 but tab and newline, C1, and marks that turn the direction of text.
_ACTIVE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _read(folder: Path, path: Path) -> None:
    """Read `path` as `extract` and `events` do, and check what both promise of it."""
    from bifrost_flow.evidence.events import split_events
    from connectors.extraction import extract_evidence, read_line_blocks
    from connectors.sources import ReadFacts, find_sources, remove_spooled

    before = set(folder.parent.iterdir())
    sources, unread, problems = find_sources([str(path)], max_bytes=50_000_000)
    assert sources or unread or problems
    try:
        for evidence in extract_evidence(sources, budget_tokens=BUDGET_TOKENS, hashed=False):
            last = 0
            for chunk in evidence.chunks:
                numbers = list(chunk.line_numbers())
                assert numbers == sorted(set(numbers)) and numbers[0] >= 1
                assert numbers[-1] <= evidence.file.lines
                assert len(chunk.text.split("\n")) == len(numbers)
                assert redact_text(chunk.text)[0] == chunk.text, "a secret is left in a chunk"
                last += len(chunk.text.encode()) + 1
            assert last <= BUDGET_TOKENS * 4 + len(evidence.chunks) + 1
        for source in sources:
            end = 0
            for block in split_events(read_line_blocks(source, ReadFacts())):
                for first, final in block.events.select("line_start", "line_end").iter_rows():
                    assert end < first <= final
                    end = final
    finally:
        remove_spooled(sources)
    assert set(folder.parent.iterdir()) == before, "something was written beside the log"


def _with_file(data: bytes, name: str) -> None:
    outer = Path(tempfile.mkdtemp(prefix="bifrost-fuzz-"))
    folder = outer / "logs"
    folder.mkdir()
    try:
        (folder / name).write_bytes(data)
        _read(folder, folder / name)
    finally:
        shutil.rmtree(outer)


def read_log(data: bytes) -> None:
    """A log in any bytes: chunks stand within it and the budget, events are in order and do not overlap."""
    _with_file(data, "build.log")


def read_packed(data: bytes) -> None:
    """Archives and compressed logs: the first byte picks the kind, the rest is the file. None leaves it."""
    kinds = (
        "logs.zip",
        "logs.tar",
        "logs.tar.gz",
        "build.log.gz",
        "build.log.xz",
        "build.log.bz2",
        "build.log.zst",
    )
    _with_file(data[1:], kinds[data[0] % len(kinds)] if data else kinds[0])


def read_times(data: bytes) -> None:
    """Times of lines and of options: found or not, never an error of Python's."""
    text = _decode(data)
    for line in text.split("\n"):
        stamp = find_stamp(line)
        if stamp is not None:
            moment = read_time(line, stamp, now=lambda: NOW)
            assert moment is None or moment.tzinfo is not None
    with suppress(BifrostError, ValueError):
        assert parse_when(text, NOW).tzinfo is not None


def mask_and_redact(data: bytes) -> None:
    """Fingerprints see what masks leave, and redaction leaves nothing for a second pass."""
    text = _decode(data)
    redacted, count = redact_text(text)
    assert redact_text(redacted)[0] == redacted
    assert count or redacted == text
    lines = text.split("\n")
    assert fingerprint_lines(lines) == fingerprint_lines(lines)
    mask_text(text)


def _chunk(text: str) -> Chunk:
    count = text.count("\n") + 1
    return Chunk("c", "a.log", 1, ((1, count),), "error", "crash", 1.0, "f1:0", "t", 1, text, 0, 1)


def read_answer(data: bytes) -> None:
    """A model's reply: an answer that keeps to the schema or a refusal, and what is shown meanwhile."""
    text = _decode(data)
    chunk = _chunk("one\ntwo error\nthree")
    for end in {0, len(text) // 3, len(text) // 2, len(text)}:
        draft = read_draft(text[:end], "f1:0", chunk, chunk)
        assert not any(_ACTIVE.search(value) for _, value in draft.texts)
        assert all(1 <= piece.line <= 3 for piece in draft.evidence)
    try:
        answer = parse_answer(text, 3)
    except ModelRefused:
        return
    assert Answer.model_validate_json(answer.model_dump_json()) == answer
    assert all(1 <= number <= 3 for number in answer.evidence)
    known = answer_schema(3)["properties"]["category"]["enum"]
    assert answer.category in known
    for value in (answer.title, answer.root_cause, answer.explanation, answer.suggestion):
        assert value and not _ACTIVE.search(value)
        value.encode()


def read_prompt(data: bytes) -> None:
    """A prompt's file in each format: a prompt, or an error that says what is wrong."""
    text = _decode(data)
    for format in ("json", "yaml", "text"):
        try:
            parse_prompt(text, format)
        except BifrostError as error:
            assert str(error)


@cache
def _sample() -> Report:
    return TypeAdapter(Report).validate_json(REPORT.read_bytes())


class _Scripts(HTMLParser):
    """Counts what could run in a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name.startswith("on") or (value or "").lstrip().lower().startswith("javascript:"):
                self.handlers.append(name)


@cache
def _harmless_tags() -> list[str]:
    return _list_tags(_plant("plain"))


def _list_tags(report: Report) -> list[str]:
    page = _Scripts()
    page.feed(render_report(report, "html"))
    page.close()
    assert page.handlers == []
    return sorted(
        tag
        for tag in page.tags
        if tag in ("script", "style", "iframe", "object", "img", "link", "base", "form")
    )


def _plant(text: str) -> Report:
    """Return the sample report with `text` wherever a log or a model has a say."""
    report = _sample()
    findings = tuple(
        replace(
            finding,
            title=text,
            root_cause=text,
            explanation=text,
            suggestion=text,
            evidence=(Evidence(text, 7, text),),
        )
        for finding in report.findings
    )
    return replace(report, run=replace(report.run, source=text), findings=findings)


def render(data: bytes) -> None:
    """Text of logs and models in every export: nothing runs, nothing breaks out, all can be written."""
    text = _decode(data)
    report = _plant(text)
    for name in FORMATS:
        content = render_file(report, name)
        assert content
    assert _list_tags(report) == _harmless_tags()
    body = json.loads(render_report(report, "json"))
    assert len(body["findings"]) == len(report.findings)
    rows = list(csv.reader(io.StringIO(render_report(report, "csv"), newline=""), strict=True))
    assert len(rows) == len(report.findings) + 1
    assert not any(cell.lstrip()[:1] in "=+@" for row in rows[1:] for cell in row if cell.strip())
    for blocks in (render_slack_blocks(report), render_slack_error(report.run, text)):
        shown = json.dumps(blocks)
        assert len(blocks) <= 50
        assert "<!channel" not in shown and "<!here" not in shown and "<@" not in shown
    assert not _ACTIVE.search(put_on_one_line(text))
    assert not _ACTIVE.search(make_visible(text).replace("\n", ""))


TARGETS: dict[str, Callable[[bytes], None]] = {
    "log": read_log,
    "packed": read_packed,
    "times": read_times,
    "mask": mask_and_redact,
    "answer": read_answer,
    "prompt": read_prompt,
    "render": render,
}

"""Labelled logs: `labels.jsonl` with a row a log, and `logdx/*/ground_truth.json` beside each `raw.log`.

A row of `labels.jsonl`: `file` (below the folder), `outcome` (passed, failed), `labels` (`line_start` and
`line_end`, 1-based and inclusive; `alt`, other places that do as well; `optional`), `label_quality` (A and B
are placed by people and by tests), and for answers `category`, `must_mention`, `must_not_claim`. Of rows with
`kind` service nothing is scored here. A case of LogDx-CI has signals with their importance instead of labels.
Paths lead nowhere outside the folder. Line numbers count newlines of the unpacked log.
"""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, TypeVar

from pydantic import BaseModel, Field, ValidationError

from bifrost_flow.errors import SettingsError
from bifrost_flow.evaluation import ExpectedAnswer, Label, LabelledLog, Place
from bifrost_flow.evidence.redact import redact_text
from bifrost_flow.language import t
from bifrost_flow.records import Problem
from connectors.reading import ReadFacts, Source, read_blocks

LABELS = "labels.jsonl"
LOGDX = "logdx"

# Windows that their sources cut around the failure: they say little about finding it in a whole log.
CUT_SOURCES = ("pytorch-gha", "vllm-buildkite")
CORE_QUALITIES = ("A", "B")

MAX_LABEL_LINES = 100_000  # of one label: more than a person marks, and a list of them still fits in memory

LineNumber = Annotated[int, Field(ge=1)]
Span = tuple[LineNumber, LineNumber]


class LabelRow(BaseModel):
    line_start: LineNumber
    line_end: LineNumber
    alt: list[Span] = []
    optional: bool = False

    @property
    def spans(self) -> list[Span]:
        return [(self.line_start, self.line_end), *self.alt]


class LogRow(BaseModel):
    file: str
    kind: str | None = None
    outcome: str | None = None
    label_quality: str | None = "A"
    labels: list[LabelRow] = []
    category: str | None = None
    must_mention: list[str] = []
    must_not_claim: list[str] = []


class Signal(BaseModel):
    type: str = ""
    value: str | None = None
    aliases: list[str] = []
    file: str | None = None
    importance: str = ""
    evidence_lines: list[Span] = []


class RootCause(BaseModel):
    category: str | None = None


class EvidenceSpan(BaseModel):
    start_line: LineNumber
    end_line: LineNumber


class Diagnosis(BaseModel):
    must_mention: list[str] = []
    must_not_claim: list[str] = []


class GroundTruth(BaseModel):
    required_signals: list[Signal]
    root_cause: RootCause = RootCause()
    evidence_spans: list[EvidenceSpan] = []
    expected_diagnosis: Diagnosis = Diagnosis()


Row = TypeVar("Row", LogRow, GroundTruth)


@dataclass(frozen=True, slots=True)
class LabelledFolder:
    """The labelled logs of a folder, and those that could not be read."""

    logs: tuple[LabelledLog, ...]
    problems: tuple[Problem, ...]


def read_labelled_folder(folder: str) -> LabelledFolder:
    """Return what people say of the logs below `folder`.

    Raises:
        SettingsError: there is no such folder, nothing in it is labelled, or labels can't be understood.
    """
    check_labelled_folder(folder)
    root = Path(folder)
    rows, cases = root / LABELS, _find_cases(root)
    logs: list[LabelledLog] = []
    problems: list[Problem] = []
    found = [_read_rows(root, rows)] if rows.is_file() else []
    for log in (log for each in (*found, _read_cases(cases)) for log in each):
        if isinstance(log, Problem):
            problems.append(log)
        else:
            logs.append(log)
    if not logs:
        reason = problems[0].message if problems else t("evaluate.nothing_scored")
        raise SettingsError(t("evaluate.no_logs", folder=folder, reason=reason))
    return LabelledFolder(tuple(logs), tuple(problems))


def check_labelled_folder(folder: str) -> None:
    """Check that `folder` holds labels at all, without reading any.

    Raises:
        SettingsError: it does not.
    """
    root = Path(folder)
    if not root.is_dir():
        raise SettingsError(t("evaluate.no_folder", folder=folder))
    if not (root / LABELS).is_file() and not _find_cases(root):
        raise SettingsError(t("evaluate.no_labels", folder=folder, rows=LABELS, cases=f"{LOGDX}/*/"))


def _find_cases(root: Path) -> list[Path]:
    return sorted((root / LOGDX).glob("*/ground_truth.json"))


def _read_rows(root: Path, path: Path) -> Iterator[LabelledLog | Problem]:
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        place = t("evaluate.row", path=path, line=number)
        row = _parse(LogRow, line, place)
        known = row.outcome if row.outcome in ("passed", "failed") else None
        if row.kind == "service" or not (known or row.labels):
            continue
        parts = PurePosixPath(row.file).parts
        if PurePosixPath(row.file).is_absolute() or ".." in parts:
            raise SettingsError(t("evaluate.outside", place=place, file=repr(row.file)))
        spans = [span for label in row.labels for span in label.spans]
        texts = _read_lines(root / row.file, spans, place)
        yield texts if isinstance(texts, Problem) else _make_log(root, row, known, texts)


def _make_log(root: Path, row: LogRow, outcome: str | None, texts: dict[int, str]) -> LabelledLog:
    parts = PurePosixPath(row.file).parts
    source = parts[-2] if len(parts) == 2 else parts[1] if len(parts) > 2 else root.resolve().name
    labels = tuple(
        Label(
            Place(label.line_start, label.line_end, _show_first(label.spans[0], texts)),
            tuple(_pick_filled(span, texts) for span in label.spans),
        )
        for label in row.labels
        if not label.optional
    )
    return LabelledLog(
        path=str(root / row.file),
        source=source,
        core=bool(labels) and row.label_quality in CORE_QUALITIES and source not in CUT_SOURCES,
        outcome=outcome,
        labels=labels,
        labelled_lines=_join_spans(span for label in row.labels for span in label.spans),
        expected=_make_expected(row.category, row.must_mention, row.must_not_claim),
    )


def _read_cases(paths: list[Path]) -> Iterator[LabelledLog | Problem]:
    for path in paths:
        truth = _parse(GroundTruth, _read_text(path), str(path))
        spans = [span for signal in truth.required_signals for span in signal.evidence_lines]
        spans += [(span.start_line, span.end_line) for span in truth.evidence_spans]
        texts = _read_lines(path.with_name("raw.log"), spans, str(path))
        if isinstance(texts, Problem):
            yield texts
            continue
        critical = [signal for signal in truth.required_signals if signal.importance == "critical"]
        diagnosis = truth.expected_diagnosis
        yield LabelledLog(
            path=str(path.with_name("raw.log")),
            source=LOGDX,
            core=False,
            outcome="failed",
            labels=tuple(_make_signal_label(each, texts) for each in critical or truth.required_signals),
            labelled_lines=_join_spans(spans),
            expected=_make_expected(
                truth.root_cause.category, diagnosis.must_mention, diagnosis.must_not_claim
            ),
        )


def _make_signal_label(signal: Signal, texts: dict[int, str]) -> Label:
    """Return a label that is met by all lines of a signal, or by its value, an alias or its file."""
    spans = signal.evidence_lines
    first, last = (spans[0][0], spans[-1][1]) if spans else (0, 0)
    words = [each.strip() for each in (signal.value, *signal.aliases, signal.file) if each and each.strip()]
    return Label(
        Place(first, last, redact_text(words[0])[0] if words else _show_first((first, last), texts)),
        places=(tuple(number for a, b in spans for number in range(a, b + 1)),) if spans else (),
        probes=tuple(words),
        partial=False,
        cause=signal.type != "exit_code",
    )


def _make_expected(category: str | None, mention: list[str], claim: list[str]) -> ExpectedAnswer | None:
    if not (category or mention or claim):
        return None
    return ExpectedAnswer(category, tuple(mention), tuple(claim))


def _pick_filled(span: Span, texts: dict[int, str]) -> tuple[int, ...]:
    """Return the lines of `span` that hold anything; its first where none does."""
    first, last = span
    return tuple(number for number in range(first, last + 1) if texts[number]) or (first,)


def _show_first(span: Span, texts: dict[int, str]) -> str:
    first, last = span
    return redact_text(next((texts[n] for n in range(first, last + 1) if texts.get(n)), ""))[0]


def _join_spans(spans: Iterator[Span] | Collection[Span]) -> frozenset[int]:
    return frozenset(number for first, last in spans for number in range(first, last + 1))


def _read_lines(path: Path, spans: Collection[Span], place: str) -> dict[int, str] | Problem:
    """Return the lines that `spans` name of a log, packed or not, without white space at their ends.

    A log that can't be read is a problem.

    Raises:
        SettingsError: a span is none, or goes beyond the log.
    """
    for first, last in spans:
        if not first <= last < first + MAX_LABEL_LINES:
            raise SettingsError(t("evaluate.bad_span", place=place, first=first, last=last))
    if not path.is_file():
        return Problem("labels", str(path), t("source.missing", path=path))
    facts, wanted, found, lines = ReadFacts(), sorted(_join_spans(spans)), {}, 0
    for block in read_blocks(Source(str(path), path, path.stat().st_size), facts):
        texts = block.removesuffix(b"\n").split(b"\n")
        inside = (number for number in wanted if lines < number <= lines + len(texts))
        found |= {number: texts[number - lines - 1].decode("utf-8", "replace").strip() for number in inside}
        lines += len(texts)
    if facts.status not in ("read", "empty"):
        return Problem("labels", str(path), facts.error or facts.status)
    if wanted and wanted[-1] > lines:
        raise SettingsError(t("evaluate.beyond", place=place, file=path, lines=lines, last=wanted[-1]))
    return found


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(t("source.unreadable", path=path, reason=error)) from error


def _parse(kind: type[Row], text: str, place: str) -> Row:
    """Return the row that `text` holds.

    Raises:
        SettingsError: it holds none.
    """
    try:
        return kind.model_validate(json.loads(text))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise SettingsError(t("evaluate.bad_row", place=place, trouble=f"{where}: {first['msg']}")) from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(t("evaluate.bad_row", place=place, trouble=error)) from error

"""Labels of events below a folder, each kind where there is any:

`event_labels.jsonl`   a row a log: `file`, and `events` with `line_start`, `line_end`, `timestamp` (ISO 8601)
                       and `severity`, null where nothing is expected
`parse_records.jsonl`  a row a record: `id`, `record` (its text), `expect` with `timestamp_ms` and `severity`;
                       a time of 1 means any
`**/NAME.labels.csv`   beside NAME.log: `LineId` and `CorrectedEventId` (or `EventId`), equal for like lines
`labels.jsonl`         rows with `meta.signature`: crashes, equal ones of a `system` with the same signature
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from bifrost_flow.errors import SettingsError
from bifrost_flow.evaluation_events import ExpectedEvent, LabelledEvents, LabelledLines, count_millis
from bifrost_flow.language import t
from connectors.labels import LABELS

EVENTS = "event_labels.jsonl"
RECORDS = "parse_records.jsonl"
TABLES = ".labels.csv"
ANY_TIME_MS = 1


class EventRow(BaseModel):
    line_start: int
    line_end: int
    timestamp: datetime | None = None
    severity: str | None = None


class EventLogRow(BaseModel):
    file: str
    events: list[EventRow]


class Expectation(BaseModel):
    timestamp_ms: int | None = None
    severity: str | None = None


class RecordRow(BaseModel):
    id: str
    record: str
    expect: Expectation


class Meta(BaseModel):
    signature: str | None = None


class CrashRow(BaseModel):
    file: str
    system: str | None = None
    meta: Meta | None = None


Row = TypeVar("Row", EventLogRow, RecordRow, CrashRow)


@dataclass(frozen=True, slots=True)
class EventFolder:
    """What people say of the events of a folder's logs, by path; `crashes` has the signatures."""

    logs: tuple[tuple[Path, LabelledEvents], ...]
    records: tuple[tuple[str, LabelledEvents], ...]  # the record's text
    lines: tuple[tuple[Path, LabelledLines], ...]
    crashes: dict[str, str]


def read_event_labels(folder: str) -> EventFolder:
    """Return the labels of events below `folder`.

    Raises:
        SettingsError: there are none, they can't be understood, or a log that they name is not there.
    """
    root = Path(folder)
    logs = [
        (find_log(root, row.file, place), LabelledEvents(row.file, tuple(map(_expect, row.events))))
        for place, row in _read_rows(root / EVENTS, EventLogRow)
    ]
    records = [(row.record, _expect_record(row)) for _, row in _read_rows(root / RECORDS, RecordRow)]
    lines = [
        (path.with_name(path.name.removesuffix(TABLES) + ".log"), _read_groups(root, path))
        for path in sorted(root.glob(f"**/*{TABLES}"))
    ]
    crashes = {
        str(find_log(root, row.file, place)): f"{row.system}\n{row.meta.signature}"
        for place, row in _read_rows(root / LABELS, CrashRow)
        if row.meta and row.meta.signature
    }
    if not (logs or records or lines or crashes):
        raise SettingsError(t("evaluate.no_event_labels", folder=folder, rows=EVENTS))
    return EventFolder(tuple(logs), tuple(records), tuple(lines), crashes)


def find_log(root: Path, file: str, place: str) -> Path:
    """Return the path of a log that a row names.

    Raises:
        SettingsError: it is outside the folder, or not there.
    """
    if PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts:
        raise SettingsError(t("evaluate.outside", place=place, file=repr(file)))
    if not (root / file).is_file():
        raise SettingsError(t("source.missing", path=root / file))
    return root / file


def _expect(row: EventRow) -> ExpectedEvent:
    when = row.timestamp
    if when and when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return ExpectedEvent(row.line_start, row.line_end, count_millis(when) if when else None, row.severity)


def _expect_record(row: RecordRow) -> LabelledEvents:
    when = row.expect.timestamp_ms
    known = when if when and when > ANY_TIME_MS else None
    return LabelledEvents(row.id, (ExpectedEvent(1, 1, known, row.expect.severity),), whole=False)


def _read_groups(root: Path, path: Path) -> LabelledLines:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            groups = {
                int(row["LineId"]): row.get("CorrectedEventId") or row["EventId"]
                for row in csv.DictReader(stream)
            }
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise SettingsError(t("evaluate.bad_row", place=path, trouble=repr(error))) from error
    return LabelledLines(str(path.relative_to(root)).removesuffix(TABLES), groups)


def _read_rows(path: Path, kind: type[Row]) -> Iterator[tuple[str, Row]]:
    """Yield place and row of each line of a file, nothing where there is none.

    Raises:
        SettingsError: a line is no such row.
    """
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(t("source.unreadable", path=path, reason=error)) from error
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = t("evaluate.row", path=path, line=number)
        try:
            yield place, kind.model_validate(json.loads(line))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise SettingsError(
                t("evaluate.bad_row", place=place, trouble=f"{where}: {first['msg']}")
            ) from error
        except (ValueError, RecursionError) as error:
            raise SettingsError(t("evaluate.bad_row", place=place, trouble=error)) from error

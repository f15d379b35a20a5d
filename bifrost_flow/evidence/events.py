"""Split a log into events: a line with its time and level, and the lines that go on with it."""

# ruff: noqa: E501 -- a pattern is read as a whole

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from bifrost_flow.evidence.clean import strip_escapes
from bifrost_flow.evidence.fingerprint import hash_template, mask_event
from bifrost_flow.evidence.levels import NAMES, find_level
from bifrost_flow.evidence.times import find_stamp, read_epoch

SAMPLE_LINES = 400
HEADED_SHARE = 0.5
MAX_EVENT_LINES = 5000
MAX_JSON_BYTES = 1 << 20

_CONTINUES = re.compile(r"^(?:\s+\S|Caused by:|\.\.\. \d+ more|\tat |[}\])])")
_TIME_KEYS = ("timestamp", "@timestamp", "time", "ts", "log_timestamp", "datetime", "date", "eventtime", "event_time", "event_timestamp", "timestamp_ms", "client_ts_ms", "created_at", "createdat", "created", "start_time", "startedat", "occurred_at", "asctime", "t")  # fmt: skip
_LEVEL_KEYS = (
    "level",
    "severity",
    "log_level",
    "loglevel",
    "lvl",
    "levelname",
    "severity_text",
    "status",
    "priority",
    "type",
)
_TEXT_KEYS = ("message", "msg", "log", "text", "event", "body", "short_message")


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a log; line numbers are 1-based and inclusive."""

    line_start: int
    line_end: int
    timestamp: datetime | None
    severity: str | None
    message: str  # the first line's, behind time and level
    template: str
    fingerprint: str
    text: str  # all lines


def split_events(lines: Iterable[str]) -> Iterator[Event]:
    """Yield the events of a log, in order. Blank lines between events belong to none.

    Whether lines start events by their time or each by itself is decided on the first lines.
    """
    source = iter(lines)
    sample = list(islice(source, SAMPLE_LINES))
    headed = _is_headed(sample)
    if next((line for line in sample if line.strip()), "").lstrip().startswith(("{", "[{")):
        yield from _split_json(_chain(sample, source))
        return
    first, held = 0, []
    for number, raw in enumerate(_chain(sample, source), start=1):
        line = strip_escapes(raw)
        if _starts_event(line, headed, bool(held)):
            if held:
                yield _build(first, held)
            first, held = number, [line]
        elif held and (line.strip() or headed) and len(held) < MAX_EVENT_LINES:
            held.append(line)
        elif held:
            yield _build(first, held)
            held = []
    if held:
        yield _build(first, held)


def _chain(first: list[str], rest: Iterable[str]) -> Iterator[str]:
    yield from first
    yield from rest


def _is_headed(sample: list[str]) -> bool:
    telling = [line for line in map(strip_escapes, sample) if line.strip()]
    if not telling:
        return False
    stamped = [_has_head(line) for line in telling]
    return stamped[0] or sum(stamped) >= HEADED_SHARE * len(stamped)


def _has_head(line: str) -> bool:
    stamp = find_stamp(line, reach=70) if line[:1] not in " \t" else None
    return stamp is not None and (stamp.when is not None or stamp.start <= 12)


def _starts_event(line: str, headed: bool, open_event: bool) -> bool:
    if headed:
        return _has_head(line) or not (open_event or not line.strip())
    return bool(line.strip()) and not (open_event and _CONTINUES.match(line))


def _build(first: int, held: list[str]) -> Event:
    while len(held) > 1 and not held[-1].strip():
        held.pop()
    head = held[0]
    stamp = find_stamp(head)
    after = head[stamp.end :] if stamp else head
    level = find_level(head, after)
    template = mask_event(head, stamp.start if stamp else 0, stamp.end if stamp else 0)
    return Event(
        first,
        first + len(held) - 1,
        stamp.when if stamp else None,
        level,
        after.strip(" ]|:-") or head,
        template,
        hash_template(template),
        "\n".join(held),
    )


def _split_json(lines: Iterable[str]) -> Iterator[Event]:
    first, held, size = 0, [], 0
    for number, line in enumerate(lines, start=1):
        if not held and not line.strip():
            continue
        if not held:
            first = number
        held.append(line)
        size += len(line)
        whole = line.rstrip().endswith(("}", "]", "},")) and _parse("\n".join(held))
        if whole or size > MAX_JSON_BYTES or (len(held) == 1 and not line.lstrip().startswith(("{", "["))):
            yield _build_json(first, held, whole or None)
            held, size = [], 0
    if held:
        yield _build_json(first, held, None)


def _parse(text: str) -> dict[str, object] | None:
    try:
        value = json.loads(text.rstrip().rstrip(","))
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _build_json(first: int, held: list[str], value: dict[str, object] | None) -> Event:
    if value is None:
        return _build(first, held)
    flat = {key.lower(): item for key, item in _flatten(value)}
    text = next((item for key in _TEXT_KEYS if isinstance(item := flat.get(key), str)), "")
    # JSON can spell half a character, which nothing can print.
    text = text.encode("utf-8", "replace").decode()
    when = next((found for key in _TIME_KEYS if (found := _read_time(flat.get(key)))), None)
    words = (str(flat.get(key, "")).strip().lower() for key in _LEVEL_KEYS)
    level = next((NAMES[word] for word in words if word in NAMES), None) or _judge_status(flat)
    if when is None and (stamp := find_stamp(text)):
        when = stamp.when
    template = mask_event(text, 0, 0) if text else " ".join(sorted(flat))
    return Event(
        first,
        first + len(held) - 1,
        when,
        level,
        text or held[0],
        template,
        hash_template(template),
        "\n".join(held),
    )


def _judge_status(flat: dict[str, object]) -> str | None:
    code = next(
        (flat[key] for key in ("statuscode", "status_code", "status", "http_status") if key in flat), None
    )
    if isinstance(code, bool) or not isinstance(code, int | float | str) or not str(code).isdigit():
        return None
    return "info" if int(code) < 400 else "error" if int(code) < 600 else None


def _flatten(value: dict[str, object], depth: int = 0) -> Iterator[tuple[str, object]]:
    """Yield keys and values, the outer ones last so that they win."""
    for item in value.values():
        if isinstance(item, dict) and depth < 4:
            yield from _flatten(item, depth + 1)
    for key, item in value.items():
        if not isinstance(item, dict):
            yield key, item


def _read_time(value: object) -> datetime | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return read_epoch(float(value))
    text = str(value)
    if text.replace(".", "", 1).isdigit() and len(text.split(".")[0]) >= 9:
        return read_epoch(float(text))
    stamp = find_stamp(text)
    return stamp.when if stamp else None

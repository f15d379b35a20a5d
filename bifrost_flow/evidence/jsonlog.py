"""Read events that are JSON objects: whichever keys their writer chose for time, level and message."""

# ruff: noqa: E501 -- lists of keys are read as a whole

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from bifrost_flow.evidence.levels import LETTERS, NAMES, read_number
from bifrost_flow.evidence.times import find_stamp, read_epoch, read_time

MAX_JSON_BYTES = 1 << 20
MAX_JSON_LINES = 5000
_MAX_DEPTH = 4

# Keys without case and punctuation, the most telling first. What a program wrote goes before what a shipper added.
_TIME_KEYS = (
    "timestamp", "time", "ts", "logtimestamp", "datetime", "eventtime", "eventtimestamp", "t", "date", "timemillis", "timestampms", "clienttsms",
    "asctime", "sourcerealtimetimestamp", "realtimetimestamp", "timeunixnano", "eventcreatedtime", "createdat", "created", "creationtime",
    "starttime", "startedat", "occurredat", "published", "timegenerated", "timecreated", "systemtime", "requestreceivedtimestamp", "stagetimestamp",
    "edgestarttimestamp", "edgeendtimestamp", "epochsecond", "@timestamp", "instant", "receivetimestamp", "observedtimeunixnano",
)  # fmt: skip
_LEVEL_KEYS = (
    "level", "severity", "loglevel", "lvl", "levelname", "severitytext", "logseverity", "leveldisplayname", "l", "s", "priority", "prio",
    "status", "type",
)  # fmt: skip
_NUMBER_KEYS = ("level", "severity", "loglevel", "priority", "levelno")
_TEXT_KEYS = (
    "message", "msg", "shortmessage", "log", "text", "textpayload", "event", "body", "m", "mt", "renderedmessage", "messagetemplate", "eventmessage", "description", "error", "exception",
)  # fmt: skip
_STATUS_KEYS = ("statuscode", "status", "httpstatus", "responsestatus", "responsecode", "edgeresponsestatus")
# Windows counts its levels the other way round.
_WINDOWS = {1: "critical", 2: "error", 3: "warning", 4: "info", 5: "debug"}
_PUNCTUATION = str.maketrans("", "", "_-.@$ ")
_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"?')


@dataclass(frozen=True, slots=True)
class JsonEvent:
    """What an object says of itself."""

    when: datetime | None
    level: str | None
    text: str
    keys: str  # what stands for its text if it has none


def is_json_log(first: str) -> bool:
    """Tell whether a file whose first line with text is `first` holds JSON objects."""
    text = first.strip()
    return text == "[" or re.match(r'\[?\s*\{\s*(?:"|\}|$)', text) is not None


def mark_objects(lines: list[str]) -> list[int]:
    """Return for each line 1 if an object, or text between objects, begins with it, 0 within one, -1 outside.

    An object that never closes ends where the next one begins in the first column, or at `MAX_JSON_BYTES`.
    """
    marks = []
    depth = size = count = 0
    for line in lines:
        text = line.strip()
        begins = depth <= 0 or line.startswith("{") or size > MAX_JSON_BYTES or count >= MAX_JSON_LINES
        if begins:
            depth = size = count = 0
        outside = text.rstrip(",") in ("", "[", "]")
        marks.append(0 if not begins else -1 if outside else 1)
        if depth > 0 or text.startswith(("{", "[{")):
            depth += _count_open(text.removeprefix("[") if depth <= 0 else text)
        size += len(line)
        count += 1
    return marks


def _count_open(text: str) -> int:
    """Return how many more brackets open than close in `text`, those in strings left out."""
    if text.startswith("{") and text.endswith("}") and text.count("{") == text.count("}"):
        return 0
    bare = _STRINGS.sub("", text) if '"' in text else text
    return bare.count("{") + bare.count("[") - bare.count("}") - bare.count("]")


def parse_object(text: str) -> dict[str, object] | None:
    """Return the object that `text` is, or holds as an element of an array; None if it is none."""
    text = text.strip().rstrip(",")
    for attempt in (text, text.removeprefix("[").removesuffix("]")):
        try:
            value = json.loads(attempt)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, dict):
            return value
    return None


def read_object(value: dict[str, object]) -> JsonEvent:
    """Return what an object says of its time, level and message."""
    flat: dict[str, object] = {}
    _flatten(value, flat)
    text = next((item for key in _TEXT_KEYS if isinstance(item := flat.get(key), str)), "")
    # JSON can spell half a character, which nothing can print.
    text = text.encode("utf-8", "replace").decode()
    when = next((found for key in _TIME_KEYS if (found := read_value(flat.get(key)))), None)
    if when and not when.microsecond and isinstance(nanos := flat.get("nanoofsecond"), int):
        when += timedelta(microseconds=min(abs(nanos), 999_999_999) // 1000)
    if when is None and (stamp := find_stamp(text)):
        when = read_time(text, stamp)
    if when is None:
        ends = ("time", "timestamp", "date", "at", "ts")
        when = next((found for key, item in flat.items() if key.endswith(ends) and (found := read_value(item))), None)  # fmt: skip
    level = _judge(flat)
    if level is None and "@t" in value and ("@m" in value or "@mt" in value):
        level = "info"  # that Serilog leaves out
    return JsonEvent(when, level, text, " ".join(sorted(flat)))


@lru_cache(maxsize=4096)
def _simplify(key: str) -> str:
    # Elastic's shippers stamp what they pass on; all other keys mean the same with and without the sign.
    return key if key == "@timestamp" else key.lower().translate(_PUNCTUATION)


def _judge(flat: dict[str, object]) -> str | None:
    for key in _LEVEL_KEYS:
        word = flat.get(key)
        if isinstance(word, str):
            word = word.strip()
            if (
                level := NAMES.get(word.lower())
                if len(word) > 2
                else LETTERS.get(word.upper().rstrip("12345"))
            ):
                return level
    for key in _NUMBER_KEYS:
        number = flat.get(key)
        if isinstance(number, str) and number.isdecimal():
            number = int(number)
        if isinstance(number, int) and not isinstance(number, bool):
            if key == "levelno":
                # Python counts from debug, others from trace.
                number += 10
            windows = "eventid" in flat and ("channel" in flat or "providername" in flat)
            if level := _WINDOWS.get(number) if windows else read_number(number):
                return level
    number = flat.get("severitynumber")
    if isinstance(number, int) and 1 <= number <= 24:
        # OpenTelemetry: four steps to a level.
        return ("trace", "debug", "info", "warning", "error", "critical")[(number - 1) // 4]
    return _judge_status(flat)


def _judge_status(flat: dict[str, object]) -> str | None:
    code = next((flat[key] for key in _STATUS_KEYS if key in flat), None)
    if isinstance(code, bool) or not isinstance(code, int | float | str) or not str(code).isdigit():
        return None
    return "info" if int(code) < 400 else "error" if int(code) < 600 else None


def _flatten(value: dict[str, object], flat: dict[str, object], depth: int = 0) -> None:
    """Put keys and values into `flat`, the outer ones last so that they win."""
    for key, item in value.items():
        if isinstance(item, dict) and depth < _MAX_DEPTH:
            _flatten(item, flat, depth + 1)
            if "$date" in item:
                flat[_simplify(key)] = item["$date"]
    for key, item in value.items():
        if not isinstance(item, dict):
            flat[_simplify(key)] = item


def read_value(value: object) -> datetime | None:
    """Return the time that a JSON value is: a number since 1970, or text in a form of `times`."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return read_epoch(value) if value == value and abs(value) < 1e20 else None
    text = str(value)[:100]
    if text.replace(".", "", 1).isdecimal():
        return (
            read_epoch(float(text) if "." in text else int(text))
            if 9 <= len(text.split(".")[0]) <= 19
            else None
        )
    if text.startswith("20") and len(text) >= 19:
        try:
            when = datetime.fromisoformat(text)
            return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    stamp = find_stamp(text)
    return read_time(text, stamp) if stamp else None

r"""Read what a line carries when each line of a log is an object: JSON of containers, journals and services, and
TeamCity's service messages.

A line stays one line: breaks inside a message are shown as ` ⏎ `, indentation behind them is kept.
"""

# ruff: noqa: E501 -- a pattern is read as a whole

import json
import re
from collections.abc import Iterator

BREAK = " ⏎ "
MAX_TEXT_CHARS = 8000  # of an unwrapped line; stacks are cut

# Keys under which a transport puts the line that a program wrote: container runtimes, journald, `go test -json`.
CARRIED = ("log", "MESSAGE", "Output", "rendered", "textPayload")
# What else an object must hold to be one of these.
CARRIERS = re.compile(
    r"\"(?:stream|time|kubernetes|docker|__REALTIME_TIMESTAMP|PRIORITY|_PID|SYSLOG_IDENTIFIER|Action|reason|insertId|logName)\"\s*:"
)
MESSAGES = (
    "message",
    "msg",
    "event",
    "@m",
    "@mt",
    "short_message",
    "RenderedMessage",
    "Message",
    "text",
    "body",
)
LEVELS = (
    "level",
    "severity",
    "lvl",
    "levelname",
    "log.level",
    "log_level",
    "loglevel",
    "Level",
    "LogLevel",
    "@l",
)
TIMES = (
    "timestamp",
    "@timestamp",
    "time",
    "ts",
    "t",
    "datetime",
    "date",
    "asctime",
    "Timestamp",
    "@t",
    "eventTime",
)
ERRORS = ("error", "err", "exception", "exc_info", "error.message", "cause", "reason", "@x", "Exception")
STACKS = (
    "stack",
    "stack_trace",
    "stacktrace",
    "stackTrace",
    "traceback",
    "exc_text",
    "error.stack_trace",
    "backtrace",
    "trace",
)
NUMBERED = {10: "TRACE", 20: "DEBUG", 30: "INFO", 40: "WARN", 50: "ERROR", 60: "FATAL"}
# What begins or goes on with a report: a level in front would hide what it is.
REPORT = re.compile(
    r"\s|Traceback |panic|goroutine |Caused by|[\w.$:]*(?:Error|Exception|Failure)\b|at |\.\.\. |thread '|[#^~=_*|>+-]|E  |FAIL|\d+\)|$"
)

ESCAPED = r"((?:[^\"\\]|\\.)*)"
_TEXT = re.compile(rf"\"(?:{'|'.join(map(re.escape, (*CARRIED, *MESSAGES)))})\"\s*:\s*\"{ESCAPED}")
_SERVICE = re.compile(r"^\s*##teamcity\[(\w+)(.*)\]\s*$")
_ATTRIBUTE = re.compile(r"\b(\w{1,64})\s{0,8}=\s{0,8}'((?:[^'|]|\|.)*)'")
_TC_ESCAPE = re.compile(r"\|(?:0x([0-9A-Fa-f]{4})|(.))")
_TC_SIGNS = {"n": "\n", "r": "", "x": "\n", "l": "\n", "p": "\n"}


def unwrap_line(text: str) -> str:
    """Return the message that `text` carries, its breaks shown; `text` itself where it carries none."""
    start = text[:1]
    if start == "{":
        return _unwrap_json(text)
    if start == "#" and text.startswith("##teamcity["):
        return unwrap_service(text)
    return text


def show_breaks(text: str) -> str:
    """Return `text` on one line."""
    parts = [
        part for part in text[:MAX_TEXT_CHARS].replace("\r\n", "\n").rstrip().split("\n") if part.strip()
    ]
    return BREAK.join(part.rstrip() for part in parts)


def _unwrap_json(text: str) -> str:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        # Cut by whoever carried it: what is left of its message.
        found = _TEXT.search(text) if text.startswith('{"') else None
        return show_breaks(_unescape(found[1])) if found else text
    if not isinstance(value, dict):
        return text
    carried = _read_carried(value)
    if carried is not None and CARRIERS.search(text):
        return show_breaks(carried)
    inner = next(
        (value[key] for key in ("jsonPayload", "fields", "record") if isinstance(value.get(key), dict)), {}
    )
    flat = {**inner, **value}
    message = next((item for key in MESSAGES if isinstance(item := flat.get(key), str) and item), None)
    level = next((flat[key] for key in LEVELS if isinstance(flat.get(key), str | int)), None)
    if level is None and not any(key in flat for key in TIMES):
        return text
    details = list(dict.fromkeys(_read_details(flat)))
    if message is None and not details:
        return text
    shown = [*([message] if message else []), *(part for part in details if part not in (message or ""))]
    return show_breaks(_name_level(level, shown[0]) + "\n".join(shown))


def _read_carried(value: dict[str, object]) -> str | None:
    for key in CARRIED:
        item = value.get(key)
        if isinstance(item, str):
            return item
        if (
            key == "MESSAGE"
            and isinstance(item, list)
            and all(isinstance(n, int) and 0 <= n < 256 for n in item)
        ):
            return bytes(n for n in item if isinstance(n, int)).decode("utf-8", "replace")
    inner = value.get("message")
    rendered = inner.get("rendered") if isinstance(inner, dict) else None
    return rendered if isinstance(rendered, str) else None


def _read_details(flat: dict[str, object]) -> Iterator[str]:
    """Yield what an object says of an error beside its message: the error, then the stack."""
    for key in (*ERRORS, *STACKS):
        item = flat.get(key)
        if isinstance(item, dict):
            inner = {str(name).lower(): part for name, part in item.items()}
            stack = next(
                (
                    part
                    for name in ("stack", "stack_trace", "stacktrace")
                    if isinstance(part := inner.get(name), str)
                ),
                "",
            )
            kind = next(
                (
                    part
                    for name in ("type", "name", "class", "kind")
                    if isinstance(part := inner.get(name), str)
                ),
                "",
            )
            message = inner.get("message") if isinstance(inner.get("message"), str) else ""
            yield from (
                part
                for part in (": ".join(filter(None, (kind, str(message)))) if not stack else "", stack)
                if part
            )
        elif isinstance(item, list) and item and all(isinstance(part, str) for part in item):
            yield "\n".join(map(str, item))
        elif isinstance(item, str) and item.strip():
            yield item


def _name_level(level: object, message: str) -> str:
    if level is None or isinstance(level, bool) or REPORT.match(message):
        return ""
    name = NUMBERED.get(level) if isinstance(level, int) else str(level).upper()
    return f"{name} " if name and name.isalpha() else ""


def _unescape(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return text


def unwrap_service(text: str) -> str:
    """Return a service message in words; escapes are those of TeamCity's manual, "Service Messages"."""
    found = _SERVICE.match(text)
    if not found:
        return text
    parts = {key: _TC_ESCAPE.sub(_read_escape, value) for key, value in _ATTRIBUTE.findall(found[2])}
    name, what = parts.get("name", ""), found[1]
    if what == "testFailed":
        said = "\n".join(filter(None, (parts.get("message"), parts.get("details"))))
        return show_breaks(f"--- FAIL: {name}: {said}")
    if what in ("testStdOut", "testStdErr"):
        return show_breaks(parts.get("out", "")) or text
    if what == "buildProblem":
        return show_breaks(f"ERROR: {parts.get('description', '')}")
    if what == "message" and "text" in parts:
        level = {"ERROR": "ERROR: ", "FAILURE": "ERROR: ", "WARNING": "WARNING: "}.get(
            parts.get("status", ""), ""
        )
        said = "\n".join(filter(None, (parts["text"], parts.get("errorDetails"))))
        return show_breaks(f"{level}{said}")
    return text


def _read_escape(found: re.Match[str]) -> str:
    if found[1]:
        sign = chr(int(found[1], 16))
        return sign if not 0xD800 <= ord(sign) < 0xE000 else "\ufffd"
    return _TC_SIGNS.get(found[2], found[2])

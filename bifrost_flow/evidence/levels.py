"""Find the severity that a line's writer gave it."""

# ruff: noqa: E501 -- a pattern is read as a whole

import re
from collections.abc import Callable
from dataclasses import dataclass

NAMES = {
    "trace": "trace", "finest": "trace", "finer": "trace", "verbose": "debug", "all": "trace", "silly": "trace", "trce": "trace", "trc": "trace",
    "debug": "debug", "dbg": "debug", "dbug": "debug", "debu": "debug", "fine": "debug", "config": "debug", "vrb": "debug", "db": "debug",
    "debug0": "debug", "debug1": "debug", "debug2": "debug", "debug3": "debug", "debug4": "debug", "debug5": "debug",
    "info": "info", "information": "info", "informational": "info", "inf": "info", "notice": "info", "note": "info", "noti": "info", "in": "info", "no": "info",
    "log": "info", "ok": "info", "statement": "debug", "system": "info", "audit": "info", "success": "info", "detail": "debug", "hint": "debug", "context": "debug",
    "warn": "warning", "warning": "warning", "wrn": "warning", "wa": "warning", "deprecation": "warning", "deprecated": "warning",
    "error": "error", "err": "error", "severe": "error", "failure": "error", "eror": "error", "erro": "error", "failed": "error", "fail": "error", "er": "error", "ftl": "critical",
    "critical": "critical", "crit": "critical", "fatal": "critical", "alert": "critical", "emerg": "critical", "dpanic": "critical", "cr": "critical", "al": "critical", "em": "critical",
    "fault": "critical", "emergency": "critical", "panic": "critical", "fatal error": "critical", "parse error": "error",
}  # fmt: skip
LETTERS = {
    "T": "trace",
    "V": "debug",
    "D": "debug",
    "I": "info",
    "N": "info",
    "W": "warning",
    "E": "error",
    "C": "critical",
    "F": "critical",
    "A": "critical",
}
_CODES = {"I": "info", "A": "info", "W": "warning", "E": "error", "S": "error"}
_PRIORITIES = ("critical", "critical", "critical", "error", "warning", "info", "info", "debug")
_REDIS = {".": "debug", "-": "info", "*": "info", "#": "warning"}

_LOW = "trace|debug|info|notice|warning|warn|error|err|critical|crit|fatal|alert|emerg|panic"
_KEY = re.compile(
    r"\b(?:(?:level|lvl|severity|loglevel|log_level|levelname|log\.level|prio|priority)[\"']?\s?[=:]\s*[\"']?|at=(?=info|warn|error))([A-Za-z]+)",
    re.I,
)
_BRACKET = re.compile(r"[\[(<|](?:[\w.-]{0,30}:)?\s*([A-Za-z]{2,13}\d?)\s*[\])>|:,]|\[([A-Za-z]+) ")
_UPPER = re.compile(
    r"(?<![\w.-])(?<!\bno )(?<!\bNo )(?<!without )(TRACE|DEBUG\d?|FINEST|FINER|VERBOSE|INFO|NOTICE|WARN|WARNING|ERROR|ERR(?!=)|SEVERE|CRITICAL|CRIT|FATAL|EMERG|PANIC|INF|WRN|DBG|FTL"
    r"|(?:FINE|(?<![A-Z] )ALERT|LOG|STATEMENT|CONTEXT|DETAIL|HINT|CONFIG|Note|Notice|Info|Debug|Warning|Error|Fatal error|Fatal|Critical)(?=:))(?![\w.-])"
    r"|(?<![A-Za-z])(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|SEVERE|CRITICAL|FATAL|LOG|PANIC|(?<=\.)ALERT|EMERGENCY)(?=[:\]\s|,]|\",)"
)
_NEXT = re.compile(
    r"^[\s\])>|:,;*-]*(?:std(?:out|err) [FP] +)?(?:PHP )?(fail(?=:)|(?i:fatal error|trce|dbug|parse error|information|deprecated|verbose|inf|wrn|dbg|ftl|erro?|noti|debu"
    rf"|{_LOW}))(?=[\s:\]|,/]|$)"
)
# A column of a table, behind the thread's number.
_COLUMN = re.compile(r"^\s*(?:0x)?\d+ {2,}(Error|Fault|Info|Debug) {2,}")
# IBM's programs end the number of a message with its level, as of I, W, E and S(evere).
_CODED = re.compile(r"(?:^|[\s\[(])[A-Z]{3,8}-?\d{1,6}([IWESA])(?=[:\s\]])")
_LOWER = re.compile(rf"(?:^|[\s\]:])(?<!\bno )(?<!without )({_LOW}):(?=\s|$)|\t({_LOW})\t|\]: ({_LOW}) ")
_FACILITY = re.compile(
    r"\b(?:kern|user|mail|daemon|auth|syslog|cron|authpriv|ftp|local\d)\.(emerg|alert|crit|err|error|warn|warning|notice|info|debug)\b"
)
_LETTER = re.compile(r"^[\s\])|:-]*(?:t?\d+ +){0,2}([TVDIWEFCA]|N(?= \|))(?:\(\d+\))?(?=[ /\[:|!]|$)")
# In lower case, with the place in the program that speaks.
_TRACED = re.compile(r"^ ([diwef]) \w+ +[\w.]+\.\w{1,3}\(\d+\) : ")
_DISPLAY = re.compile(r"^[\s\[\d.\])]*\((EE|WW|II)\) ")
# The only word in front of the time.
_AHEAD = re.compile(rf"^[\[(<\"]?({_LOW}|information|verbose)[\])>\"]?[\s,;|]+[\[(<\"]?$", re.IGNORECASE)
_FIRST_LETTER = re.compile(r"^[\[<]?([DIWEFNCAT]),? ?[\[(]?$")
_SHORT = re.compile(r"^\s*(In|Wa|Er|Cr|Al|Em|No|Db)\(\d+\)")
_BRIEF = re.compile(r"^([VDIWEF])/[\w.:-]+ ?(?:\(|: )")
_REDIS_MARK = re.compile(r"^ ([.*#-]) ")
_RAISED = re.compile(
    r"^[\s\]|:-]*(?:(panic: |fatal error: |thread '[^']*' panicked at)|Traceback \(most recent call|Exception in thread |Unhandled exception|exception '[\w\\]+' with message|[\w.$]*(?:Error|Exception)(?:: | \(|$))"
)
_SECOND = re.compile(
    r"^(SEVERE|WARNING|INFO|CONFIG|FINE|FINER|FINEST|ERROR|WARN|DEBUG|FATAL): |^LEVEL ?: (\w+)|.*\sLEVEL ?: (\w+)$"
)


def _read_cef(value: str) -> str | None:
    if value.isdigit():
        return ("info", "warning", "error", "critical")[min(3, int(value) // 3)] if int(value) <= 10 else None
    return {"low": "info", "medium": "warning", "high": "error", "very-high": "critical"}.get(
        value.lower(), NAMES.get(value.lower())
    )


def read_priority(value: int) -> str:
    """Return the level of a syslog priority or severity."""
    return _PRIORITIES[value % 8]


def read_number(value: int) -> str | None:
    """Return the level that a number stands for: syslog's 0 to 7, or bunyan's and Python's tens."""
    if 0 <= value <= 7:
        return _PRIORITIES[value]
    return {10: "trace", 20: "debug", 30: "info", 40: "warning", 50: "error", 60: "critical"}.get(value)


def _read_status(value: str) -> str | None:
    return "info" if int(value) < 400 else "error" if int(value) < 600 else None


@dataclass(frozen=True, slots=True)
class Numbered:
    """A level that a number tells: where it stands, in the syntax that Polars shares, and what it means."""

    pattern: str
    read: Callable[[str], str | None]


# What every line with a level holds, in the syntax that Polars shares: the others are not looked at.
HINT = (
    r"(?i:trace|trce|trc\b|finest|finer|\bfine\b|verbose|silly|debu|dbg|dbug|vrb|\binfo|\binf\b|\bnoti|\bnote\b|warn|wrn|\berr|[^a-z]err|eror|severe|fail|crit|fatal|ftl\b|alert|emerg|panic"
    r"|exception|deprecat|level|severity|prio|lvl|cef:|[\[(<|:]\s*(?:log|ok|statement|system|audit|success|detail|hint|context|config|all)\b)"
    r"|ERR|INFO|LOG|STATEMENT|CONTEXT|DETAIL|HINT|CONFIG|FINE|[a-z]Error\b|^[\[<]?[DIWEFNCAT],? ?[\[(]?\x00|^[VDIWEF]/|^<\d"
    r"|(?:^|\x00)[\s\])|:-]*(?:t?\d+ +){0,2}(?:[TVDIWEFCA](?:\(|[ /\[:|!]|$)|N \|)|\x00 [.*#-] |\x00 [diwef] \w|\((?:EE|WW|II)\)|\bat=|(?:^|\x00)\s*(?:In|Wa|Er|Cr|Al|Em|No|Db)\("
    r"|%[A-Z0-9_]+-|[A-Z]{3}-?[0-9]+[IWESA]\b|/\+?\d \d|\" (?:-?\d+ )?\d|\b(?:GET|POST|PUT|HEAD|DELETE|PATCH|OPTIONS) "
)

# In order of preference.
NUMBERED = (
    # ArcSight's common event format: the seventh field, a word or 0 to 10.
    Numbered(r"\bCEF:\d\|(?:[^|]*\|){5}([^|]+)\|", lambda text: _read_cef(text.strip())),
    Numbered(r"\b(?:level|lvl|severity)[\"']?[=:] ?[\"']?(\d{1,2})\b", lambda text: read_number(int(text))),
    Numbered(r"%[A-Z0-9_]+-(?:[A-Z0-9_]+-)?([0-7])-[A-Z0-9_]+", lambda text: read_number(int(text))),
    Numbered(r"^<(\d{1,3})>", lambda text: read_priority(int(text))),
    Numbered(
        r"\" (?:-?\d+ )??(\d{3}) (?:\d+|-)",
        _read_status,
    ),
    # HAProxy's, behind its timers, and Squid's, behind what its cache did.
    Numbered(r"(?:-?\d+/){4}\+?\d+ (\d{3}) \+?\d+ ", _read_status),
    Numbered(r"\b[A-Z]+(?:_[A-Z]+)*/(\d{3}) \d+ [A-Z]+ ", _read_status),
    Numbered(
        r"\b(?:GET|POST|PUT|HEAD|DELETE|PATCH|OPTIONS) \S+ (?:\S+ ){0,2}?(\d{3}) (?:\d+|-) ", _read_status
    ),
)
# The same for text whose numbers have all become one digit.
_PROBES = tuple(re.compile(re.sub(r"\\d\{[\d,]+\}", r"\\d+", numbered.pattern)) for numbered in NUMBERED)


def find_level(before: str, after: str) -> str | int | None:
    """Return one of `records.SEVERITIES` for a line, from what stands before and behind its time.

    Where a number tells it, its place in `NUMBERED` is returned; None if nothing tells it. Only words and the
    presence of digits count, so that lines which differ in digits alone have one answer.
    """
    if (found := _KEY.search(f"{before} {after[:300]}")) and (level := NAMES.get(found[1].lower())):
        return level
    if "CEF:" in after and _PROBES[0].search(f"{before}{after}"):
        return 0
    head = after[:160]
    level = _find_behind(head, stamped=bool(before))
    if level is None and before:
        level = _find_words(before)
    if level is None and (found := _AHEAD.match(before)):
        level = NAMES[found[1].lower()]
    if level is None and (found := _FIRST_LETTER.match(before)):
        level = LETTERS[found[1]]
    if level is None and (found := _LOWER.search(head) or _FACILITY.search(head)):
        level = NAMES[next(word for word in found.groups() if word)]
    if level is not None:
        return level
    line = before + after
    if found := _CODED.search(head):
        return _CODES[found[1]]
    number = next((number for number, probe in enumerate(_PROBES) if probe.search(line)), None)
    if number is None and (found := _RAISED.match(after)):
        return "critical" if found[1] else "error"
    return number


def _find_behind(text: str, *, stamped: bool) -> str | None:
    """Return the level in `text`, which stands behind the time."""
    if found := _LETTER.match(text) or _TRACED.match(text) or _DISPLAY.match(text):
        return LETTERS[found[1][0].upper()]
    for pattern in (_NEXT, _SHORT, _COLUMN):
        if found := pattern.match(text):
            return NAMES[found[1].lower()]
    if level := _find_words(text):
        return level
    if stamped and (found := _REDIS_MARK.match(text)):
        return _REDIS[found[1]]
    found = _BRIEF.match(text)
    return LETTERS[found[1]] if found else None


def _find_words(text: str) -> str | None:
    for found in _BRACKET.finditer(text):
        word = (found[1] or found[2]).lower()
        if len(word) > 2 and word != "all" and (level := NAMES.get(word)):
            return level
    if found := _UPPER.search(text):
        return NAMES[(found[1] or found[2]).lower()]
    return None


def find_second_level(line: str) -> str | None:
    """Return the level that stands on the line below the time, as java.util.logging writes it."""
    found = _SECOND.match(line[:200])
    return NAMES.get(next(word for word in found.groups() if word).lower()) if found else None

"""Find the severity that a line's writer gave it."""

# ruff: noqa: E501 -- a pattern is read as a whole

import re

NAMES = {
    "trace": "trace", "finest": "trace", "finer": "trace", "verbose": "debug", "all": "trace", "silly": "trace",
    "debug": "debug", "dbg": "debug", "dbug": "debug", "fine": "debug", "config": "debug",
    "debug1": "debug", "debug2": "debug", "debug3": "debug", "debug4": "debug", "debug5": "debug",
    "info": "info", "information": "info", "informational": "info", "inf": "info", "notice": "info", "note": "info",
    "log": "info", "ok": "info", "statement": "debug", "system": "info", "audit": "info", "success": "info", "detail": "debug", "hint": "debug", "context": "debug",
    "warn": "warning", "warning": "warning", "wrn": "warning",
    "error": "error", "err": "error", "severe": "error", "failure": "error", "eror": "error", "failed": "error",
    "critical": "critical", "crit": "critical", "fatal": "critical", "alert": "critical", "emerg": "critical",
    "emergency": "critical", "panic": "critical",
}  # fmt: skip
_LETTERS = {
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
_PRIORITIES = ("critical", "critical", "critical", "error", "warning", "info", "info", "debug")
_REDIS = {".": "debug", "-": "info", "*": "info", "#": "warning"}

_KEY = re.compile(
    r"\b(?:level|lvl|severity|loglevel|log_level|levelname)[\"']?[=:]\s*[\"']?([A-Za-z]+)", re.I
)
# ArcSight's common event format: the seventh field, a word or 0 to 10.
_CEF = re.compile(r"\bCEF:\d\|(?:[^|]*\|){5}([^|]+)\|")
_PRI = re.compile(r"^<(\d{1,3})>")
_BRACKET = re.compile(r"[\[(<|](?:[\w.-]{1,30}:)?\s*([A-Za-z]{2,13}\d?)\s*[\])>|:,]|\[([A-Za-z]+) ")
_UPPER = re.compile(
    r"(?<![\w.-])(TRACE|DEBUG\d?|FINEST|FINER|FINE|VERBOSE|INFO|NOTICE|WARN|WARNING|ERROR|ERR|SEVERE|CRITICAL|CRIT|FATAL|ALERT|EMERG|PANIC|LOG|STATEMENT|CONTEXT|DETAIL|HINT|CONFIG|Note|Warning|Error|INF|WRN|DBG)(?![\w.-])"
)
_UPPER_LOOSE = re.compile(
    r"(?:^|[^A-Za-z])(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|SEVERE|CRITICAL|FATAL|LOG|PANIC)(?=[:\]\s|,])"
)
_LOWER = re.compile(
    r"^[\s\]|:-]*(?:\S+ ){0,3}?(trace|debug|info|notice|warn|warning|error|err|crit|critical|fatal|alert|emerg|panic)(?=[\s:\]|,])"
)
_LETTER = re.compile(r"^[\s\]]*(?:\d+ +){0,2}([TVDIWEFCA])(?:\(\d+\))?(?=[ /\[:])")
_FIRST_LETTER = re.compile(r"^([DIWEFNCA]) ?(?=\[|\d{4}(?:\d{4})? )")
_REDIS_MARK = re.compile(r"^ ([.*#-]) ")
_ACCESS = re.compile(
    r"\" (?:-?\d+ )?(\d{3}) (?:\d+|-)|(?:GET|POST|PUT|HEAD|DELETE|PATCH|OPTIONS) \S+ (?:\S+ ){0,2}?(\d{3}) (?:\d+|-) "
)


def find_level(line: str, after: str) -> str | None:
    """Return one of `records.SEVERITIES` for `line`, whose text behind its time is `after`; None if it tells none."""
    head = line[:300]
    if found := _KEY.search(head):
        return NAMES.get(found[1].lower())
    if (found := _CEF.search(line)) and (level := _read_cef(found[1].strip())):
        return level
    before = line[: len(line) - len(after)]
    for text in (after[:160], before):
        if text is after[:160] and (found := _LETTER.match(text)):
            return _LETTERS[found[1]]
        for found in _BRACKET.finditer(text[:160]):
            if level := NAMES.get((found[1] or found[2]).lower()):
                return level
        if found := _UPPER.search(text) or _UPPER_LOOSE.search(text):
            return NAMES[found[1].lower()]
    if found := _REDIS_MARK.match(after):
        return _REDIS[found[1]]
    if found := _LOWER.match(after[:120]):
        return NAMES[found[1]]
    if found := _FIRST_LETTER.match(line):
        return _LETTERS[found[1]]
    if found := _PRI.match(line):
        return _PRIORITIES[int(found[1]) % 8]
    if found := _ACCESS.search(line):
        return "info" if int(found[1] or found[2]) < 400 else "error"
    return None


def _read_cef(value: str) -> str | None:
    if value.isdigit():
        return ("info", "warning", "error", "critical")[min(3, int(value) // 3)] if int(value) <= 10 else None
    return {"low": "info", "medium": "warning", "high": "error", "very-high": "critical"}.get(
        value.lower(), NAMES.get(value.lower())
    )

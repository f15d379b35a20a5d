"""Fingerprints: the masked text of a failure, hashed.

A fingerprint depends on the text alone. It is tagged with the version of its rules, so that a change of these is
detectable rather than silently splitting the history: failures of another version are found again by what they
say (see `succession`). Whoever changes what is masked, or which lines are, changes VERSION.
"""

# ruff: noqa: E501 -- a pattern is read as a whole

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache

import polars as pl

VERSION = "f2"
MAX_TEMPLATE = 400
MAX_MASKED_CHARS = 4000  # of a line; some patterns take the square of what has no space within

# Each mask with the literals of which one must stand in a text for the pattern to match; "0" stands for any digit.
_MASKS = tuple(
    (re.compile(pattern), mask, needs)
    for pattern, mask, needs in (
        (r"^(?:rcu: )?INFO: rcu\w* (?:self-)?detected (?:expedited )?stalls? on .*", "INFO: rcu stall", ("INFO: rcu",)),
        (r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b", "<id>", ("-",)),
        (r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:\s?(?:Z|UTC|[+-]\d\d:?\d\d))?)?", "<time>", ("-0", "-1")),
        (r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? (?:[A-Z][a-z]{2} +\d{1,2}|\d{1,2} [A-Z][a-z]{2})(?: \d{4})?(?: \d\d:\d\d:\d\d)?(?: [A-Z]{3,4})?(?: \d{4})?", "<time>", ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")),
        (r"\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +\d{1,2} \d\d:\d\d:\d\d\b", "<time>", (":",)),
        (r"\b\d{1,2}:\d\d:\d\d(?:[.,]\d+)?\b", "<time>", (":",)),
        (r"\b[a-z][a-z0-9+.-]{1,20}://[^\s\"'<>|`)\]}]+", "<url>", ("://",)),
        (r"\b[\w.+-]+@[\w-]+\.[\w.-]+\b", "<mail>", ("@",)),
        (r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b", "<host>", (".",)),
        (r"\b(?:[a-zA-Z0-9-]+\.)+(?:com|org|net|io|dev|local|internal|example|cloud|test|lan|corp|edu|gov)(?::\d+)?\b", "<host>", (".",)),
        (r"(?<![\w.])(?:[A-Za-z]:)?(?:[\\/]|\.{1,2}[\\/]|~/)?(?:[\w.@+~%=-]+[\\/])+(?=[\w.@+~%=-]*)", "", ("/", "\\")),
        (r"\+0x[0-9a-f]+(?:/0x[0-9a-f]+)?", "", ("+0x",)),
        (r"(?i)\b(pid|cpu|comm|tid|task)([:= #]+)[\w./:-]+", r"\1 <n>", ("pid", "PID", "Pid", "cpu", "CPU", "Cpu", "comm", "COMM", "Comm", "tid", "TID", "Tid", "task", "TASK", "Task")),
        (r"\b0[xX][0-9a-fA-F]+\b", "<n>", ("0x", "0X")),
        (r"\b(?=[0-9a-fA-F]*\d)(?=[0-9a-fA-F]*[a-fA-F])[0-9a-fA-F]{7,}\b", "<n>", ("0",)),
        (r"(\"|'|`|‘|“)(?=[^\"'`’”\n]{1,200}[\"'`’”])[^\"'`’”\n]*(?:[\d\s/\\]|[^\"'`’”\n]{40})[^\"'`’”\n]*[\"'`’”]", "<q>", ('"', "'", "`", "‘", "“")),
        (r"(?<![A-Za-z])[-+]?\d+(?:[.,:]\d+)*(?:\s?(?:ms|us|µs|ns|s|sec|secs|seconds|m|min|mins|minutes|h|hours|[KMGT]i?B|[kKMGT]|%|bytes|B)\b)?", "<n>", ("0",)),
        (r"\d+", "<n>", ("0",)),
        (r"(?:<n>[\s,;:x]*){2,}", "<n> ", ("<n>",)),
        (r"[=*_~+#.-]{4,}", "--", ("",)),
        (r"\s+", " ", ("",)),
    )
)  # fmt: skip

_DIGIT = re.compile(r"\d")


def mask_text(text: str) -> str:
    """Return `text` with everything masked that varies between two reports of the same failure."""
    return _mask(text[:MAX_MASKED_CHARS])


@lru_cache(maxsize=1 << 15)
def _mask(text: str) -> str:
    digits = _DIGIT.search(text) is not None
    for pattern, mask, needs in _MASKS:
        if any(literal in text if literal != "0" else digits for literal in needs):
            text = pattern.sub(mask, text)
    return text.strip()[:MAX_TEMPLATE]


def fingerprint_lines(lines: Sequence[str]) -> tuple[str, str]:
    """Return the fingerprint and the template of the lines that name a failure."""
    template = "\n".join(masked for line in lines if (masked := mask_text(line)))
    return hash_template(template), template


def hash_template(template: str) -> str:
    """Return the tagged hash of a template."""
    digest = hashlib.sha256(template.encode("utf-8", "replace")).hexdigest()
    return f"{VERSION}:{digest[:16]}"


# In the syntax of Polars, for a column of folded lines; `\x00` stands for the time of a line.
_EVENT_MASKS = (
    # Syslog's own words: priority, host and process id say nothing about what happened.
    (r"^(?:<\d+>)?\d? ?\x00 [\w.-]+ [\w./()-]+(?:\[\d+\])?: ", ""),
    (r"\x00", " "),
    # Fields, each with a value of its own.
    (r"\|", " | "),
    (r"\b(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|FATAL)\s+\[[^\]]*\]", "${1} [*]"),
    (r"[A-Za-z][A-Za-z0-9+.-]+://\S+", "<*>"),
    (r"\"[^\"]*\"|\B'[^']*'", "<*>"),
    (r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*\b,?", "<*> "),
    (r"\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +\d", "<*> 0"),
    (r"=[\w.]*\{[^}]*\}+", "=<*>"),
    (r"([=:\[( ])(?:[\w.@-]*/)+[\w.@$%+-]*", "${1}<*>"),
    (r"^(?:[\w.@-]*/)+[\w.@$%+-]+", "<*>"),
    (r"=[^\s,;\])}]+\}?", "=<*>"),
    (r"\b[\w.-]+@[\w.-]+\b", "<*>"),
    (r"\b[\w-]+\.(?:exe|dll)\b", "<*>"),
    # A name follows `user` and `for`, unless one of these words does, which is marked meanwhile.
    (r"\b(user|for) (invalid|the|a|an|all|block)\b", "${1} \x01${2}"),
    (r"\b(user|for) [\w.-]+( from\b| by\b| \[|\s*$)", "${1} <*>${2}"),
    (r"\x01", ""),
    (r"\b(?:[a-zA-Z0-9-]+\.)+(?:com|org|net|io|edu|gov|de|cn|uk|ru|jp|br|in|fr|it|nl|local|internal|hk|tw|pl|mx)\b(?::\d+)?", "<*>"),
    # A name with its value, unlike a host with its port.
    (r"(^|\s)([a-z]+[A-Z_]\w*):-?\d\S*", "${1}${2}: <*>"),
    (r"\S*\d\S*", "<*>"),
    (r"\b(?:true|false|null|True|False|None|yes|no)\b", "<*>"),
    (r"<\*>(?: ?(?:bytes|[KMGT]?i?B|ms|seconds|sec|s)\b\)?)", "<*>"),
    (r"(\w)[>:]( <\*>)", "${1}${2}"),
    (r" - <\*>", " <*>"),
    (r"<\*>(?:[\s,;:.|/()\[\]-]*<\*>)+", "<*>"),
    (r"<\*>[)\]},;:]+(\s|$)", "<*>${1}"),
    (r" \(\)", ""),
    (r"\s+", " "),
)  # fmt: skip


def mask_events(lines: pl.Series) -> pl.Series:
    r"""Return the templates of log lines (String): their words, without their values.

    A line has `\0` in place of its time, and its words with digits are folded (see `events.fold`).
    """
    text = pl.col("line")
    for pattern, mask in _EVENT_MASKS:
        text = text.str.replace_all(pattern, mask)
    masked = lines.to_frame("line").select(text.str.strip_chars().str.slice(0, MAX_TEMPLATE))
    return masked.to_series()

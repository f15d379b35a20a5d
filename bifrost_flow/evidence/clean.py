"""Make lines readable: strip terminal escapes, progress bars and what CI systems put in front of a line.

Patterns are written in the syntax that Python's `re` and Polars' regex engine share, so that the same rule serves one
line and a whole column.
"""

# ruff: noqa: E501 -- a pattern is read as a whole

import re

import polars as pl

# CSI sequences, OSC strings (Buildkite's timestamps travel in these: ESC _ bk;t=… BEL), single escapes, other controls.
ESCAPES = (
    "\x1b\\[[0-9;:?<=>]*[ -/]*[@-~]|\x1b[\\]_P^X][^\x07\x1b]*(?:\x07|\x1b\\\\)?|\x1b[()][0-9A-B]|\x1b[ -~]?"
    "|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
)
# What a line must hold to need more than its prefix taken off.
# Three bytes, no more: that many are searched for at the speed of memory.
CONTROLS = "[\x1b\r\x08]"
_ISO = r"20[0-9]{2}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?(?: ?(?:Z|UTC|[+-][0-9]{2}:?[0-9]{2}))?"
PREFIX = rf"^\x{{feff}}?(?:[a-z]+ login: )?(?:<[0-9]+>)?(?:\[ *[0-9]+\.[0-9]{{4,6}}\](?:\[ *[TC][0-9]+ ?\])? ?|\[{_ISO}\] ?|{_ISO}(?: [0-9]{{2}}[OE]\+? ?| \| | - |[ \t]|$)|\[[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}(?:[.,][0-9]+)?\] ?)?"
# What `gh run view --log` prints: job, step and time, separated by tabs.
TABBED = rf"^[^\t]+\t[^\t]+\t\x{{feff}}?{_ISO} ?"

# What GitHub Actions and container runtimes put before every line, in one width throughout a log.
FIXED = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,9}Z ")

_escapes = re.compile(ESCAPES)
# Signs that break lines for some readers and are no line break of a log.
_BREAKS = {0x85: " ", 0x2028: " ", 0x2029: " "}
# Escapes that some tool has already spelled out.
_spelled = re.compile(r"\^\[\[[0-9;]*[A-Za-z]")
_prefix = re.compile(f"{TABBED}|{PREFIX}".replace(r"\x{feff}", "\ufeff"))


def strip_escapes(line: str) -> str:
    """Return `line` without terminal escapes; time and prefix stay."""
    return line if line.isprintable() else _escapes.sub("", line)


def clean_line(line: str) -> str:
    """Return what a person would have seen of `line`, without time and CI prefix; indentation stays."""
    if not line.isprintable():
        line = _escapes.sub("", line).translate(_BREAKS).rstrip()
        if "\r" in line:
            line = line[line.rindex("\r") + 1 :]
    if "^[[" in line:
        line = _spelled.sub("", line)
    return _prefix.sub("", line, count=1).rstrip()


def clean_column(lines: pl.Expr, *, tabbed: bool = False) -> pl.Expr:
    """Do what `clean_line` does, on a String column; `tabbed` if some of its lines match `TABBED`."""
    seen = lines.str.replace_all(ESCAPES, "").str.strip_chars_end().str.replace(r"^.*\r", "")
    return strip_prefix(seen, tabbed=tabbed)


def strip_prefix(lines: pl.Expr, *, tabbed: bool = False) -> pl.Expr:
    """Do what `clean_line` does, on a String column without control characters."""
    if tabbed:
        lines = lines.str.replace(TABBED, "")
    return lines.str.replace(PREFIX, "").str.strip_chars_end()

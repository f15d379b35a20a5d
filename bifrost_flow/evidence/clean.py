"""Make lines readable: strip terminal escapes, progress bars and what CI systems put in front of a line.

Patterns are written in the syntax that Python's `re` and Polars' regex engine share, so that the same rule serves one
line and a whole column.
"""

# ruff: noqa: E501 -- a pattern is read as a whole

import re
from itertools import count

import polars as pl

from bifrost_flow.evidence.unwrap import BREAK, REPORT, unwrap_line
from bifrost_flow.evidence.unwrap_columns import replace_where, unwrap_column

# CSI sequences, OSC strings (Buildkite's timestamps travel in these: ESC _ bk;t=… BEL), single escapes, other controls.
# A string that nothing ends is left: it would take the line with it.
ESCAPES = (
    "\x1b\\[[0-9;:?<=>]*[ -/]*[@-~]|\x1b[\\]_P^X][^\x07\x1b]*(?:\x07|\x1b\\\\)|\x1b[()][0-9A-B]|\x1b[ -~]?"
    "|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
)
# What a line must hold to need more than its prefix taken off.
# Three bytes, no more: that many are searched for at the speed of memory.
CONTROLS = "[\x1b\r\x08]"
_CLOCK = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?"
_ISO = rf"20[0-9]{{2}}[-/][0-9]{{2}}[-/][0-9]{{2}}[T ]{_CLOCK}(?: ?(?:Z|UTC|[+-][0-9]{{2}}:?[0-9]{{2}}))?"
# Who wrote a line: `kubectl logs --prefix`, stern (names of pods end in letters that spell no words), docker compose and
# foreman, BuildKit's steps, Woodpecker's.
_CARRIER = (
    r"(?:\[pod/[^\]]{1,200}\] |[a-z0-9][a-z0-9.-]*-[bcdfghj-np-tv-xz24-9]{6,10}-[bcdfghj-np-tv-xz24-9]{5} [a-z0-9][a-z0-9-]* "
    rf"|[a-z][0-9A-Za-z_.-]{{0,80}} +\| {_ISO} ?"
    r"|[a-z][0-9A-Za-z_.-]{0,80}[-_.][0-9]{1,3} +\| |#[0-9]{1,4} [0-9]{1,5}\.[0-9]{1,4} |\[[a-z][0-9a-z_ -]{0,40}:(?:L[0-9]+:[0-9]+s|[0-9]+)\] )"
)
_TAG = r"(?P<tag>[0-9A-Za-z_./()@-]{1,60})"
_HOST = r"[0-9A-Za-z_.:-]{1,100} "
_BEFORE = r"^\x{feff}?(?:[a-z]+ login: )?(?:<[0-9]{1,3}>)?"
# What stands behind a time in one system only: GitLab's stream, CRI's, Zuul's node, syslog's host and program.
_BEHIND = (
    r"(?: [0-9a-f]{2}[OE](?:[ +]|$)| std(?:out|err) [FP](?: |$)| \| (?:[a-z][0-9A-Za-z_.-]{0,60} \| )?| - "
    rf"| (?:[a-z0-9][0-9A-Za-z_.:-]{{0,100}} )?{_TAG}\[[0-9A-Za-z_.-]{{1,20}}\]: |[ \t]|$)"
)
_TIMES = (
    r"(?:\[ *[0-9]+\.[0-9]{4,6}\](?:\[ *[TC][0-9]+ ?\])? ?|\[ {0,5}[0-9]{1,6}s\] "
    rf"|\[(?:Container\] |[a-z][a-z:-]{{2,20}} )?{_ISO}\]? ?"
    rf"|1 {_ISO} {_HOST}{_TAG} [^ ]{{1,60}} [^ ]{{1,60}} (?:-|(?:\[[^\]]*\])+)(?: (?:\x{{feff}})?|$)"
    # GitHub's and Azure's: one blank, and all behind it is the line's own.
    r"|20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{7}Z(?: |$)"
    rf"|{_ISO}{_BEHIND}"
    rf"|\[{_CLOCK}\](?:[A-Za-z ]?:[ \t]+(?:\[[^\]]{{1,80}}\](?: |$))?| ?)"
    rf"|{_CLOCK}  "
    rf"|[A-Z][a-z]{{2}} [ 0-3][0-9] (?:20[0-9]{{2}} )?{_CLOCK} (?:{_HOST}{_TAG}(?:\[[0-9]+\])?: (?:\[ *[0-9]+\.[0-9]{{4,6}}\] ?)?)?"
    rf"|(?:time|ts|timestamp)=\"?{_ISO}\"? )"
)
_ALL = f"{_BEFORE}{_CARRIER}?{_TIMES}?{_CARRIER}?"
PREFIX = _ALL.replace("(?P<tag>", "(?:")
# How what `strip_inner` takes off begins.
_INNER = rf"^(?:\{{|#[#0-9]|\[[a-z][a-z:-]{{2,20}} 20|{_CARRIER})"
# What `gh run view --log` prints: job, step and time, separated by tabs.
TABBED = rf"^[^\t]+\t[^\t]+\t\x{{feff}}?{_ISO} ?"

# What GitHub Actions and container runtimes put before every line, in one width throughout a log.
FIXED = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,9}Z (?![0-9a-f]{2}[OE][ +]|std(?:out|err) [FP] )")

_CONTROLS = "[\x00-\x08\x0b-\x1f\x7f]"
_ODD = "^(?:<|1 2)|[\\x{85}\\x{2028}\\x{2029}]|\\^\\[\\["
_escapes = re.compile(ESCAPES)
# Signs that break lines for some readers and are no line break of a log.
_BREAKS = {0x85: " ", 0x2028: " ", 0x2029: " "}
# Escapes that some tool has already spelled out.
_spelled = re.compile(r"\^\[\[[0-9;]*[A-Za-z]")
_tabbed = re.compile(TABBED.replace(r"\x{feff}", "\ufeff"))
_number = count()
_prefix = re.compile(re.sub("<tag>", lambda _: f"<tag{next(_number)}>", _ALL.replace(r"\x{feff}", "\ufeff")))
# What a terminal has overwritten is kept if it says one of these.
_TELLING = r"(?i:error|fail|fatal|exception|panic|abort|cannot|could not|denied|killed|traceback|not found|no such|refused|timed out|segmentation|assert|undefined)"
_telling = re.compile(_TELLING)
_digits = re.compile(r"[0-9]+")
MAX_OVERWRITTEN = 4  # parts of a line that are kept though something else was written over them
MAX_LAYERS = 3


def clean_line(line: str) -> str:
    """Return what a person would have seen of `line`, without time and CI prefix; indentation stays."""
    for _ in range(MAX_LAYERS):
        if not line.isprintable():
            line = _settle(line)
        if "^[[" in line:
            line = _spelled.sub("", line)
        if "\t" in line:
            line = _tabbed.sub("", line, count=1)
        line = _take_prefix(line).rstrip()
        if line[:1] not in ("{", "#") or (carried := unwrap_line(line)) == line:
            break
        line = carried
    return line


def _settle(line: str) -> str:
    """Return what controls leave on the screen, and what they wrote over if it tells of a failure."""
    if "\x08" in line:
        line = _apply_backspaces(line)
    line = _escapes.sub("", line).translate(_BREAKS).rstrip()
    if "\r" not in line:
        return line
    *earlier, last = [part for part in line.split("\r") if part.strip()]
    kept = {_digits.sub("", last).strip(): last}
    for part in earlier:
        if len(kept) <= MAX_OVERWRITTEN and _telling.search(part):
            kept.setdefault(_digits.sub("", part).strip(), part.rstrip())
    return BREAK.join((*list(kept.values())[1:], last))


def _apply_backspaces(line: str) -> str:
    kept: list[str] = []
    for char in re.sub("\x1b\\[[0-9;]*[A-Za-z]", "", line):
        if char != "\x08":
            kept.append(char)
        elif kept:
            kept.pop()
    return "".join(kept)


def _take_prefix(line: str) -> str:
    found = _prefix.match(line)
    if not found:
        return line
    rest = line[found.end() :]
    # Of syslog's lines the program's name stays, unless what it says is a part of a report.
    tag = found.lastgroup and found[found.lastgroup]
    return f"{tag}: {rest}" if tag and tag != "kernel" and not REPORT.match(rest) else rest


def clean_lines(lines: pl.Series) -> list[str]:
    """Return what `clean_line` would of each of `lines`, at a fraction of the cost."""
    seen = lines
    controls = lines.str.contains(_CONTROLS)
    if controls.any():
        seen = replace_where(lines, controls, _settle_series(lines.filter(controls)))
    tabbed = seen.str.contains("\t", literal=True)
    if tabbed.any():
        seen = replace_where(seen, tabbed, seen.filter(tabbed).str.replace(TABBED, ""))
    stripped = seen.str.replace(PREFIX, "")
    prefix = seen.str.slice(0, seen.str.len_chars() - stripped.str.len_chars())
    # Syslog's tags may stay, objects are unwrapped: such lines are read one by one.
    odd = prefix.str.ends_with(": ") | seen.str.contains(_ODD) | stripped.str.contains(r"^(?:\{|#)")
    cleaned = stripped.str.strip_chars_end().to_list()
    rows = odd.arg_true()
    for row, line in zip(rows, lines.gather(rows), strict=True):
        cleaned[row] = clean_line(line)
    return cleaned


def clean_column(lines: pl.Expr, *, tabbed: bool = False) -> pl.Expr:
    """Do what `clean_line` does, on a String column; `tabbed` if some of its lines match `TABBED`."""
    return lines.map_batches(
        lambda column: _strip_series(_settle_series(column), tabbed=tabbed),
        return_dtype=pl.String,
        is_elementwise=True,
    )


def strip_prefix(lines: pl.Expr, *, tabbed: bool = False) -> pl.Expr:
    """Do what `clean_line` does, on a String column without control characters; names of programs go too."""
    return lines.map_batches(
        lambda column: _strip_series(column, tabbed=tabbed), return_dtype=pl.String, is_elementwise=True
    )


def strip_inner(lines: pl.Series) -> pl.Series:
    """Take off what stands behind the time of a CI system: a container's name, a build step, JSON.

    Lines without such cost a look at their first bytes.
    """
    inner = lines.str.contains(_INNER)
    if not inner.any():
        return lines
    return replace_where(lines, inner, _strip_series(lines.filter(inner)))


def _settle_series(lines: pl.Series) -> pl.Series:
    erased = lines.str.contains("\x08", literal=True)
    if erased.any():
        lines = replace_where(
            lines, erased, pl.Series(map(_apply_backspaces, lines.filter(erased)), dtype=pl.String)
        )
    lines = lines.str.replace_all(ESCAPES, "").str.strip_chars_end()
    returned = lines.str.contains("\r", literal=True)
    if not returned.any():
        return lines
    # What was overwritten is looked at where it tells of a failure; elsewhere the last state is all.
    part = lines.filter(returned)
    telling = part.str.contains(rf"{_TELLING}[^\r]*\r")
    if telling.any():
        part = replace_where(part, telling, pl.Series(map(_settle, part.filter(telling)), dtype=pl.String))
    return replace_where(lines, returned, part.str.replace(r"^.*\r", ""))


def _strip_series(lines: pl.Series, *, tabbed: bool = False) -> pl.Series:
    if tabbed:
        lines = lines.str.replace(TABBED, "")
    lines = lines.str.replace(PREFIX, "").str.strip_chars_end()
    objects = lines.str.starts_with("{") | lines.str.starts_with("##teamcity[")
    if not objects.any():
        return lines
    carried = lines.filter(objects)
    for _ in range(MAX_LAYERS - 1):
        carried = unwrap_column(carried).str.replace(PREFIX, "").str.strip_chars_end()
    return replace_where(lines, objects, carried)

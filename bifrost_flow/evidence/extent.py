"""Find where the report begins and ends that a line belongs to: a traceback, a diagnostic with its carets, a test's section."""

# ruff: noqa: E501 -- a pattern is read as a whole

import re
from collections.abc import Callable
from dataclasses import dataclass

MAX_EVENT_LINES = 60
MAX_SECTION_LINES = 120
LOOK_BACK = 8
LISTED_LINES = 16

HEADER = re.compile(
    r"^\s*_{3,} .+ _{3,}$|^(?:FAIL|ERROR|Failure): \S|^\s*● .+|^---- .+ stdout ----$|^=+ .+ =+$|^══╡ .+|^\s*── \d+\. .+|^\S.*\.{3}Failed$"
)
UNITTEST = re.compile(r"^(?:FAIL|ERROR|Failure|Error): \S")
RULE = re.compile(
    r"^\s*(?:={10,}|-{20,}|_{10,}|\*{10,}|\+{10,}|#{10,})\s*$|^=+ .{1,80} =+$|^\s*-{5,} .{1,60} -{5,}$|^\s*═{2,}"
)
NUMBERED = re.compile(r"^\s{0,6}\d{1,4}\) \S?")
FRAME = re.compile(
    r"^\s+at |^\s*File \"|^\s+from \S+:\d+|^\s*#\d+\s|^\s*\d+: +0x|^\s+\.\.\. \d+ (?:more|common)|\S+:\d+:in [`']|^Caused by|^\s+\(\S+\) \S+:\d+"
    r"|^During handling|^The above exception|^Traceback|^\S+\.(?:php|rb|py|js|ts|exs?|swift):\d+(?::\d+)?:?\)?$|^\s*(?:-->|=|\||(?:> )?\d+ \|)|^\s*[\^~]+|^at |^# {3,}\S|^goroutine \d+ \[|^[-+] \S|^\s*❯ \S+:\d+"
)
GO_FRAME = re.compile(r"^\s+/?\S+\.go:\d+")
SUMMARY = re.compile(
    r"^(?:Ran \d+ tests?|Tests?(?: run)?:|Test Suites:|Snapshots:|Finished in |FAILED \(|OK\b|\d+ (?:passing|failing|tests?|examples|runs|passed|failed)|Tests run:|Results\s*:|travis_|\* (?:Try:|Get more help))"
)
PASSING = re.compile(
    r"^\s*(?:PASS\b|ok\b|✓|√|✔|\[ *(?:OK|PASSED|PASS) *\]|--- PASS)|.*\.\.\. ?(?:ok|passed|PASS)$"
)
BOUNDARY = re.compile(
    r"^\$ |^The command \"|^##\[(?:group|endgroup|error|section)\]|^travis_|^section_(?:start|end):|^Build step "
)
# Checks that tell how they ended behind a row of dots: what one reports stands before the next.
CHECKED = re.compile(r"^\S.*\.{3}(?:\([^()]{0,80}\))?(?:Passed|Skipped|Failed)$")
INCLUDED = re.compile(
    r"^(?:In file included from |\s+from \S+:\d+[:,]|In (?:function|member|instantiation)|\S+: In (?:function|member|constructor|instantiation|static))"
)
# What build tools, containers and build services put before each line of what they run.
TAG = re.compile(
    r"^\s{0,8}\[(?i:info|error|warn|warning|junit|java|exec|scalatest|testng|groovy|py\.test)\] ?|^#\d+ \d+\.\d+ |^[a-z][\w.-]{1,40} +\| "
)
# Frames of runners, languages and libraries: they stand in every stack, and say nothing of what failed.
PLUMBING = re.compile(
    r"^\s*(?:\[[\w ]+\]\s*)?at (?:[\w.]+//?)?(?:org\.junit|junit\.|javax?\.|sun\.|jdk\.|com\.sun\.|org\.apache\.(?:maven|tools\.ant)|org\.gradle|com\.intellij|org\.testng|scala\.|sbt\.|org\.scalatest|org\.specs2|org\.codehaus\.groovy|groovy\.|org\.spockframework|kotlin|org\.mockito|net\.bytebuddy|org\.springframework|com\.carrotsearch|worker\.|System\.|Microsoft\.|Xunit\.|NUnit\.)"
    r"|^\s*at .*(?:node_modules/|[ (]internal/|node:internal|webpack:///|\(native\)|zone\.js)|^\s*(?:# |from )?/?\S*/(?:gems|rubies|vendor/bundle|vendor/phpunit)/\S+:\d+|^\s*File \".*/(?:site-packages|dist-packages|lib/python[\d.]+|_pytest|unittest)/|^\s+\.\.\. \d+ (?:more|common)|^\s+(?:dart:\w|package:(?:flutter_tools|flutter_test|test_api|matcher|stack_trace)\b)\S* "
)


@dataclass(frozen=True, slots=True)
class Page:
    """Lines of a file, as far as they are at hand: `get` returns None outside."""

    get: Callable[[int], str | None]


class _Remembered(dict[int, str | None]):
    """Lines by their number, each made the first time that it is asked for."""

    def __init__(self, text_of: Callable[[int], str | None]) -> None:
        super().__init__()
        self._text_of = text_of

    def __missing__(self, line: int) -> str | None:
        self[line] = text = self._text_of(line)
        return text


def build_page(text_of: Callable[[int], str | None]) -> Page:
    """Return a page that remembers what `text_of` said."""
    return Page(_Remembered(text_of).__getitem__)


def _untag(line: str | None) -> str | None:
    """Return `line` as the tool wrote it that ran inside another."""
    return TAG.sub("", line) if line and TAG.match(line) else line


def untag_page(page: Page) -> Page:
    """Return the lines of `page` as the tools wrote them that ran inside others."""
    return build_page(lambda line: _untag(page.get(line)))


def indent_of(line: str) -> int:
    return len(line) - len(line.lstrip())


def find_extent(page: Page, at: int, kind: str, stop: Callable[[int], bool]) -> tuple[int, int]:
    """Return the first and last line of the report around line `at` of an `untag_page`; `stop` tells whether another
    report starts there."""
    line = page.get(at) or ""
    if kind == "test_fail" and _opens_section(page, at, line):
        return _start_of(page, at, line), _end_of_section(page, at)
    if kind == "header":
        return at, _end_of_list(page, at)
    first, last = _start_of(page, at, line), _end_of_event(page, at, line, stop)
    heading = page.get(first) or ""
    if first < at and 0 < indent_of(heading) < indent_of(line) and starts_report(heading):
        last = max(last, _end_of_indented(page, first, at))
    return first, last


def _end_of_indented(page: Page, heading: int, at: int) -> int:
    """A heading that is set in: its report goes on as long as lines are set in further."""
    last = at
    for j in range(at + 1, at + LISTED_LINES):
        line = page.get(j)
        if line is None or (line.strip() and indent_of(line) <= indent_of(page.get(heading) or "")):
            break
        if line.strip():
            last = j
    return last


def _end_of_list(page: Page, at: int) -> int:
    """A heading over failures: what it heads goes on to a rule, a summary, or two blank lines."""
    last = at
    blank = 0
    for j in range(at + 1, at + MAX_EVENT_LINES):
        line = page.get(j)
        if line is None or BOUNDARY.match(line):
            break
        if not line.strip():
            blank += 1
            if blank > 2:
                break
            continue
        if j > at + 2 and (RULE.match(line) or SUMMARY.match(line.strip())):
            break
        blank = 0
        last = j
    return last


def _opens_section(page: Page, at: int, line: str) -> bool:
    """Tell whether `line` heads a section; unittest's heading is one only between its rules."""
    if UNITTEST.match(line):
        return bool(RULE.match(page.get(at + 1) or "") or RULE.match(page.get(at - 1) or ""))
    return starts_report(line)


def _end_of_section(page: Page, at: int) -> int:
    last = at
    base = indent_of(page.get(at) or "")
    numbered = NUMBERED.match(page.get(at) or "") is not None
    bullet = (page.get(at) or "").lstrip().startswith("●")
    for j in range(at + 1, at + MAX_SECTION_LINES):
        line = page.get(j)
        if line is None or BOUNDARY.match(line):
            break
        if not line.strip():
            continue
        if j > at + 1 and (RULE.match(line) or SUMMARY.match(line.strip())):
            break
        if base and indent_of(line) < base and (bullet or PASSING.match(line)):
            break
        if CHECKED.match(line):
            break
        if HEADER.match(line) and not (bullet and not line.lstrip().startswith("●")):
            break
        if numbered and NUMBERED.match(line):
            break
        last = j
    return last


def _end_of_event(page: Page, at: int, line: str, stop: Callable[[int], bool]) -> int:
    base = indent_of(line)
    last = at
    open_traceback = line.lstrip().startswith("Traceback")
    j = at
    while j < at + MAX_EVENT_LINES:
        j += 1
        following = page.get(j)
        if following is None or BOUNDARY.match(following):
            break
        if not following.strip():
            after = page.get(j + 1)
            if after is None or not after.strip() or not (indent_of(after) > base or FRAME.match(after)):
                break
            continue
        if indent_of(following) > base or FRAME.match(following):
            if stop(j) and indent_of(following) <= base:
                break
            last = j
        elif GO_FRAME.match(page.get(j + 1) or ""):
            last = j
        elif open_traceback:
            last, open_traceback = j, False
        elif last == at and (frame := _next_frame(page, j, stop)):
            last = j = frame
        else:
            break
    return last


def _next_frame(page: Page, at: int, stop: Callable[[int], bool]) -> int | None:
    """Return the line of the stack's first frame, when the message before it takes a few lines."""
    for j in range(at, at + LOOK_BACK):
        line = page.get(j)
        if line is None or not line.strip() or BOUNDARY.match(line) or stop(j):
            return None
        if FRAME.match(line):
            return j
    return None


def starts_report(line: str) -> bool:
    """Tell whether `line` opens the report of one failure among several."""
    line = _untag(line) or ""
    return bool(HEADER.match(line) or NUMBERED.match(line))


def heads_report(line: str | None) -> bool:
    """Tell whether `line` is a heading that runners put over what went wrong in one test."""
    return bool(line) and HEADER.match(_untag(line) or "") is not None


def _start_of(page: Page, at: int, line: str) -> int:
    base = indent_of(line)
    if starts_report(line):
        return at - 1 if RULE.match(page.get(at - 1) or "") else at
    # A test's name stands over what went wrong in it.
    for j in range(at - 1, at - LOOK_BACK, -1):
        text = page.get(j)
        if text is None or not (text.strip() or base):
            break
        if starts_report(text):
            return j - 1 if RULE.match(page.get(j - 1) or "") else j
        if text.strip() and page.get(j + 1) == "" and indent_of(text) < base:
            break
    first = at
    above = page.get(at - 1)
    if above is None:
        return at
    if above.endswith(":") and indent_of(above) < base:
        return at - 1
    if RULE.match(above):
        return at - 1
    if FRAME.match(above) or indent_of(above) > base or INCLUDED.match(above):
        # The exception's line ends a traceback: find its head.
        for j in range(at - 1, at - MAX_EVENT_LINES, -1):
            text = page.get(j)
            if text is None or not text.strip():
                break
            if text.lstrip().startswith("Traceback") or INCLUDED.match(text):
                first = j
                if not INCLUDED.match(page.get(j - 1) or ""):
                    break
            elif not (FRAME.match(text) or indent_of(text) > base):
                break
    return first

"""The line of an excerpt that says most, cleaned for a title, with the test and the place that it is about.

The patterns are general shapes of compilers, test runners and runtimes, not of single logs. A change here
that changes an answer must raise `RULES_VERSION`.
"""

# ruff: noqa: E501 - a pattern broken in two is harder to read than a long one

import re
from dataclasses import dataclass

MAX_TITLE_CHARS = 120
# Patterns look no further into a line: some of them take quadratic time on a line of one long word.
MAX_LINE_CHARS = 500

# Lines that only say that something before them failed.
_CONSEQUENCE = re.compile(
    r"exit(?:ed)?(?: with)?(?: (?:code|status))? ?:?-?\d|process completed with|returned (?:a )?non-?zero|returned \d+$"
    r"|\bmake(?:\[\d+\])?: \*\*\*|ninja: build stopped|subcommand failed|build (?:step .*)?(?:failed|failure)\b(?!:)"
    r"|job failed|commands? (?:.{0,200} )?(?:failed|exited)|aborting due to|could not compile|compilation (?:terminated|failed)"
    r"|ELIFECYCLE|lifecycle script|A complete log of this run|traceback \(most recent call last\)|^=+ .*=+$|^_{3,}.*_{3,}$"
    r"|^-{3,}$|failed to solve|did not complete successfully|short test summary|error summary|errors? (?:were )?found|see (?:above|the log)|^failures?:?$|^errors?:?$"
    r"|tests?(?: run)?: ?\d+|there (?:was|were) \d+ |\d+ (?:tests? )?(?:failed|failures?|errors?)\b|test (?:run|result|suites?)\b.{0,12}fail"
    r"|there (?:are|were) test failures|giving up|stopping\b|\[info\]",
    re.IGNORECASE,
)

# Lines that name a cause, the best first.
_CAUSES = tuple(
    re.compile(pattern)
    for pattern in (
        # a compiler's or checker's diagnostic with its place
        r"[\w./\\@+-]+\.\w{1,8}[:(\[]+\d+(?:[:,]\d+)?[)\]]*:? *(?:-+ *)?(?:fatal |syntax )?(?:error|ERROR)\b",
        r"\berror(?:\[E\d{4}\]| TS\d+| C[A-Z]*\d{3,}|: )(?! ?(?:aborting|could not compile))",
        r"undefined (?:reference|symbol)|cannot find -l|unresolved external",
        # a test with its name
        r"^(?:FAILED|ERROR) \S+(?:::|\.py - )|^\d+\) \S+::\S+|^rspec \./|--- FAIL: |^\s*(?:●|✕|✗|✘|×) \S|^not ok \d+|\btest \S+ \.\.\. FAILED"
        r"|^(?:FAIL|ERROR): \w+ \(|\S+ > \S.* FAILED|<<< (?:FAILURE|ERROR)",
        # an exception, a panic, a signal
        r"^\W*(?:Caused by: |E\s+|Uncaught |Unhandled )?(?:[a-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Exit|Fault|Interrupt)\b(?:: |$)",
        r"panicked at|^panic: |^fatal error: |segmentation fault|Segmentation fault|SIG(?:SEGV|ABRT|KILL|BUS|ILL)\b"
        r"|AddressSanitizer|core dumped|Assertion .* failed|assertion failed",
        # resources, network, permissions
        r"No space left|Out of memory|out of memory|OOMKilled|Cannot allocate memory|heap out of memory|\bKilled\b"
        r"|[Cc]onnection (?:refused|reset|timed out)|Could not resolve|ECONN\w+|ETIMEDOUT|ENOTFOUND|EAI_AGAIN"
        r"|[Tt]imed? ?out|[Pp]ermission denied|EACCES|Access[ D]*denied|[Uu]nauthorized|Forbidden|(?:HTTP|status|error|code)\b[^\w]{0,3}(?:401|403|429|50[0234])\b",
        # packages
        r"No matching distribution|Could not find a version|ERESOLVE|E404|Cannot find module|No module named|not found"
        r"|Could not (?:find|resolve)|[Uu]nable to (?:find|locate|resolve)|No such file or directory|conflict",
        # a check that says what it wants done
        r"\b(?:Please|You (?:must|need to|should)) (?:re-?)?(?:run|build|generate|format|fix|update|install|add|commit|check|make sure|ensure)\b",
        r"npm ERR! (?!code|errno|syscall|path|A complete|\s*$)|^(?:ERROR|FATAL|fatal|Fatal|Error)\b",
    )
)

_TESTS = tuple(
    re.compile(pattern)
    for pattern in (
        r"^(?:FAILED|ERROR) (\S+::\S+)",
        r"--- FAIL: (\S+)",
        r"^\s*(?:●|✕|✗|✘|×) (.{3,100}?)(?: \(\d+ ?ms\))?$",
        r"\btest (\S+) \.\.\. FAILED",
        r"^(?:FAIL|ERROR): (\w+ \([\w.]+\))",
        r"^_{3,} ((?!summary\b)[\w.\[\]:-]+) _{3,}$",
        r"(\S+ > .{1,80}?) FAILED",
        r"^\d+\) (\S+::\S+)",
        r"^rspec (\./\S+:\d+)",
        r"^not ok \d+ -? ?(.{3,100})$",
        r"^(?:\[ERROR\])?\s*((?:\w+\.)*\w+[.#]\w+)(?::\d+)?\b.{0,60}<<< (?:FAILURE|ERROR)",
        r"thread '([^']+)'.* panicked at",
    )
)

_PLACES = tuple(
    re.compile(pattern)
    for pattern in (
        r"--> (?P<place>\S+:\d+(?::\d+)?)",
        r"File \"(?P<path>[^\"]+)\", line (?P<line>\d+)",
        r"(?P<place>(?:[\w.@+-]*[/\\])*[\w.@+-]+\.[A-Za-z]\w{0,7}:\d+(?::\d+)?)\b",
        r"(?P<place>(?:[\w.@+-]*[/\\])*[\w.@+-]+\.[A-Za-z]\w{0,7}[\[(]\d+(?:, ?\d+)?[\])])",
    )
)
_LIBRARY = re.compile(
    r"site-packages|dist-packages|node_modules|/usr/lib|lib/python\d|\.cargo[/\\]registry|rustc/|<frozen|node:internal"
    r"|^Assert\.java|^\w*Method\w*\.java|/vendor/|phpunit"
)

_DECORATION = re.compile(
    r"^(?:\s|##\[\w+\]|::error\b[^:]*::|\[(?:ERROR|FATAL|SEVERE|error|E)\]|(?:ERROR|FATAL|SEVERE)(?::|\s(?=.*\s\S))|npm ERR!"
    r"|E {2,}|#\d+\s(?:\d+\.\d+\s)?|\d+\)\s|[|>*•#=_-]+\s|\d+(?:\.\d+)?\s(?=error))+"
)


@dataclass(frozen=True, slots=True)
class Headline:
    """What an excerpt is about; positions are 0-based."""

    position: int
    title: str  # the line, cleaned
    names_cause: bool  # the line has the shape of a cause, not only of a failure
    test: str  # name of the failing test, or empty
    place: str  # file and line, or empty
    place_position: int | None


def find_headline(lines: list[str], anchor: int, *, anchor_speaks: bool = True) -> Headline:
    """Return what the excerpt `lines`, built around the line at `anchor`, is about.

    `anchor_speaks` is False where the excerpt was taken for its place, as the last lines of a step are, and
    not for what its anchor says.
    """
    lines = [line[:MAX_LINE_CHARS] for line in lines]
    position = _choose_line(lines, anchor, anchor_speaks)
    place, place_position = _find_place(lines, position)
    return Headline(
        position=position,
        title=clean_title(lines[position]),
        names_cause=_rank_cause(lines[position]) is not None,
        test=_find_test(lines, position),
        place=place,
        place_position=place_position,
    )


def _choose_line(lines: list[str], anchor: int, anchor_speaks: bool) -> int:
    if anchor_speaks and clean_title(lines[anchor]) and not _CONSEQUENCE.search(lines[anchor]):
        return anchor
    ranked = [
        (rank, abs(position - anchor), position)
        for position, line in enumerate(lines)
        if (rank := _rank_cause(line)) is not None
    ]
    if ranked:
        return min(ranked)[2]
    if clean_title(lines[anchor]):
        return anchor
    filled = [(abs(position - anchor), position) for position, line in enumerate(lines) if clean_title(line)]
    return min(filled)[1] if filled else anchor


def _rank_cause(line: str) -> int | None:
    if _CONSEQUENCE.search(line):
        return None
    return next((rank for rank, pattern in enumerate(_CAUSES) if pattern.search(line)), None)


def _find_test(lines: list[str], position: int) -> str:
    order = sorted(range(len(lines)), key=lambda place: (abs(place - position), place))
    for place in order:
        for pattern in _TESTS:
            if found := pattern.search(lines[place]):
                return " ".join(found[1].split())
    return ""


def _find_place(lines: list[str], position: int) -> tuple[str, int | None]:
    """Return the nearest place in the project's own code, within eight lines; of equals, the one before."""
    near = range(max(0, position - 8), min(len(lines), position + 9))
    for number in sorted(near, key=lambda place: (abs(place - position), place > position)):
        for pattern in _PLACES:
            for found in pattern.finditer(lines[number]):
                parts = found.groupdict()
                place = parts.get("place") or f"{parts['path']}:{parts['line']}"
                if not _LIBRARY.search(place) and "://" not in lines[number][: found.start() + 1][-12:]:
                    return place, number
    return "", None


def clean_title(line: str) -> str:
    """Return `line` without a CI system's or a runner's decoration, on one line of at most 120 characters."""
    text = " ".join(_DECORATION.sub("", line).split()).rstrip("_=-*# ")
    if not any(sign.isalnum() for sign in text):
        return ""
    if len(text) <= MAX_TITLE_CHARS:
        return text
    head = text[: MAX_TITLE_CHARS - 1]
    return (head[: head.rfind(" ")] if " " in head[60:] else head).rstrip(" ,;:") + "…"

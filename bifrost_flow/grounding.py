"""What code checks of an answer: citations become quoted lines, names must occur in what the model saw."""

import re
from collections.abc import Sequence

from bifrost_flow.answer import Answer
from bifrost_flow.records import Chunk, Evidence

# What counts as an identifier: anything in backticks or quotes without a space; then, in running text, URLs,
# paths, names with dots, `::`, underscores, an inner capital, a call's brackets, a scope, and test ids.
_QUOTED = re.compile(r"`([^`\n]{2,200})`|\"([^\s\"]{2,200})\"|'([^\s']{2,200})'|「([^\s」]{2,200})」")
_NAME = re.compile(
    r"""(?<![\w@/.$-])(?:
      [a-z][a-z0-9+.-]*://[^\s<>"'`“”]+                     # a URL
    | @[\w.-]+/[\w.-]+                                       # @scope/package
    | (?:\.{0,2}/|~/)?(?:[\w.+@-]+/)+[\w.+@-]*[\w]           # a path
    | [A-Za-z_][\w-]*(?:(?:\.|::|->|\#)[A-Za-z_][\w-]*)+     # dotted or scoped
    | [A-Za-z]\w*_\w+ | _+[A-Za-z]\w+                        # snake_case
    | [A-Z]*[a-z0-9]+[A-Z]\w*                                # camelCase, CamelCase
    | [A-Z][a-z0-9]+[A-Z]\w*
    | [A-Za-z_]\w*(?=\(\))                                   # call()
    | [A-Z]{2,}[-]?\d{2,}\b                                  # TS2304, E0308, CVE-2024
    )""",
    re.VERBOSE | re.ASCII,
)
# Names of products and formats that a sentence may use though no log spells them so.
_COMMON = frozenset(
    """
    github gitlab bitbucket javascript typescript webassembly openssl openjdk pypi dockerhub nuget npm macos
    ios postgresql mysql sqlite graphql grpc oauth oauth2 powershell systemd kubernetes teamcity circleci
    cloudformation devops junit testng youtube node.js vue.js next.js asp.net ipv4 ipv6 http/1.1 http/2
    tls/ssl ssl/tls tcp/ip stdin/stdout stdout/stderr and/or read/write input/output client/server ci/cd i/o
    n/a e.g i.e etc
    """.split()  # noqa: SIM905 - a list of these would take sixty lines
)
# Words that mix ASCII letters with ones of another script that look like them (Greek, Cyrillic, Armenian,
# full-width, mathematical): as an identifier such a word is what it is, not what it looks like.
_LOOK_ALIKE = "\u0370-\u058f\u1d00-\u1fff\uff01-\uff5e\U0001d400-\U0001d7ff"
_MIXED = re.compile(
    rf"(?<![\w./@-])(?=[\w./@-]*[a-zA-Z])(?=[\w./@-]*[{_LOOK_ALIKE}])[a-zA-Z0-9_./@{_LOOK_ALIKE}-]+"
)
_POSITION = re.compile(r"(?::\d+){1,2}$|#L\d+(?:-L?\d+)?$")
_EDGE = ".,:;!?…)]}>\"'`*“”"


def look_up_evidence(
    shown: Chunk, cited: Sequence[int], *, source: Chunk | None = None
) -> tuple[Evidence, ...]:
    """Return the lines that `cited` numbers of `shown` stand for, with the file's own line numbers.

    `source` is the chunk before it was cut to fit a window: its lines are quoted whole. Numbers that `shown`
    has not are left out.
    """
    numbers = shown.line_numbers()
    whole = source or shown
    texts = dict(zip(whole.line_numbers(), whole.text.split("\n"), strict=False))
    lines = [numbers[number - 1] for number in dict.fromkeys(cited) if 1 <= number <= len(numbers)]
    return tuple(Evidence(shown.path, line, texts[line].rstrip()) for line in lines if line in texts)


def is_grounded(answer: Answer, shown: Chunk) -> bool:
    """Return whether `answer` cites at least one line, and names nothing that `shown` lacks.

    An answer that cites nothing has nothing to stand on, so it is not grounded, one that says "cannot tell"
    included. Only `root_cause` and `title` are checked: explanation and suggestion may name tools and files
    to look at.
    """
    return bool(answer.evidence) and not find_foreign_names(
        f"{answer.title}\n{answer.root_cause}", shown.text
    )


def find_foreign_names(claim: str, text: str) -> list[str]:
    """Return the identifiers in `claim` that occur nowhere in `text`, whatever the case; each once."""
    haystack = " ".join(text.split()).casefold()
    squeezed = haystack.replace("\\", "/")
    foreign = [name for name in find_names(claim) if not _occurs(name, haystack, squeezed)]
    return list(dict.fromkeys(foreign))


def find_names(claim: str) -> list[str]:
    """Return the identifiers that `claim` names: files, tests, symbols, packages, URLs."""
    names = [next(part for part in found.groups() if part) for found in _QUOTED.finditer(claim)]
    names += [found[0] for pattern in (_NAME, _MIXED) for found in pattern.finditer(claim)]
    trimmed = [name.strip().rstrip(_EDGE).lstrip("([{<\"'`*") for name in names]
    return [name for name in dict.fromkeys(trimmed) if len(name) > 1 and name.casefold() not in _COMMON]


def _occurs(name: str, haystack: str, squeezed: str) -> bool:
    folded = " ".join(name.casefold().split())
    without_position = _POSITION.sub("", folded).removesuffix("()")
    forms = {folded, without_position, without_position.removeprefix("./")}
    return any(form in haystack or form in squeezed for form in forms if form)

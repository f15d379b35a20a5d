"""Take secrets out of text: same secret, same placeholder; what was taken out can't be found again from it.

Two sorts of rules. Tokens with a form of their own (`redact_rules`) are taken wherever they stand. Others are known by
their place only (`redact_values`), and there name and value are judged. All rules look at the text as it came; what they
find is joined where it overlaps, and replaced at once.
"""

# ruff: noqa: E501 -- a pattern is read as a whole

import hashlib
import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence, Set
from typing import TypeVar

import polars as pl

from bifrost_flow.evidence.redact_rules import DISCORD_TOKEN, PREFIXED, SHAPES, Prefixed, Shape
from bifrost_flow.evidence.redact_users import find_url_passwords, find_user_passwords
from bifrost_flow.evidence.redact_values import STEMS, Span, find_values

T = TypeVar("T")

# The version of the rules is part of every cached answer's key.
VERSION = "r2"

MAX_PASSES = 5  # a placeholder may uncover what stood beside the secret; texts need two, hostile ones no more
SHORT_SECRET = 16  # characters; of fewer, dictionaries exist
KUBE_REACH = 4000  # characters between a Secret's `kind` and `data`
KEY_LINES = 400  # of an armoured key, at most
MIN_TOKEN = 14  # characters of the shortest token with a prefix
MAX_TRIES = 20  # in one run of letters, digits, `_` and `-`: a prefix that it repeats makes no token
MIN_LONG = 24  # of a word that can hold one of the other shapes
MIN_DISCORD = 58
MIN_AT_ONCE = 16  # texts; an automaton for fewer takes longer than looking for each hint in each text

_PLACEHOLDER = re.compile(r"\[redacted:[a-z0-9-]+:[0-9a-f]{6}\]")
_ASCII_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}

_SIGNS = {code: " " for code in range(128) if not (chr(code).isalnum() or chr(code) in "_.-~$")}


def _group_prefixes() -> dict[str, list[Prefixed]]:
    groups: dict[str, list[Prefixed]] = {}
    for rule in PREFIXED:
        groups.setdefault(rule.prefix, []).append(rule)
    return groups


_GROUPS = _group_prefixes()
_Table = dict[
    str, tuple[int, str, T]
]  # by a fixed part: its place in the table, itself, and what it hints at


def _number(rows: Iterable[tuple[str, T]]) -> _Table[T]:
    return {text: (place, text, rule) for place, (text, rule) in enumerate(rows)}


_PLAIN_PREFIXES = _number((text, rules) for text, rules in _GROUPS.items() if text.translate(_SIGNS) == text)
_SIGN_PREFIXES = _number((text, rules) for text, rules in _GROUPS.items() if text.translate(_SIGNS) != text)
_HINTS = _number((hint, shape) for shape in SHAPES for hint in shape.hints)  # no two shapes share one
_RUN = re.compile(r"[\w-]*")
_FLAG = re.compile(r"[ \t]-[pPwaUb]")


def redact_text(text: str) -> tuple[str, int]:
    r"""Return `text` with its secrets replaced by placeholders, and how many were.

    Lines stay as many as they are, `\r` and NUL stay where they are and end a value. Redacting twice changes nothing.
    """
    return _redact(text, None)


def redact_texts(texts: Sequence[str]) -> list[tuple[str, int]]:
    """Return what `redact_text` does of each of `texts`, at a fraction of the cost.

    Hardly any text holds one of the hundreds of fixed parts that tokens have: one automaton says which.
    """
    return [_redact(text, hints) for text, hints in zip(texts, _note_hints(texts), strict=True)]


def _note_hints(texts: Sequence[str]) -> Sequence[frozenset[str] | None]:
    """Return which fixed parts each of `texts` holds; None where each has to be looked for."""
    unknown = [None] * len(texts)
    if len(texts) < MIN_AT_ONCE:
        return unknown
    try:
        cased = pl.Series(texts, dtype=pl.String)
        lowered = pl.Series([_lower(text) for text in texts], dtype=pl.String)
    except UnicodeEncodeError:  # lone surrogates, which no column can hold
        return unknown
    found = (
        cased.str.extract_many(list(_GROUPS), overlapping=True).to_list(),
        lowered.str.extract_many(list(_HINTS), overlapping=True).to_list(),
    )
    return [frozenset((*prefixes, *hints)) for prefixes, hints in zip(*found, strict=True)]


def _redact(text: str, hints: Set[str] | None) -> tuple[str, int]:
    """Do what `redact_text` does; of `hints`, where they are known, `text` holds no others."""
    total = 0
    for _ in range(MAX_PASSES):
        spans = _join(_find(text, hints), text)
        if not spans:
            break
        total += len(spans)
        hints = None  # for the text as it was
        parts, last = [], 0
        for start, end, name in spans:
            parts += (text[last:start], place_holder(name, text[start:end]))
            last = end
        text = "".join((*parts, text[last:]))
    return text, total


def place_holder(name: str, secret: str) -> str:
    """Return what stands for `secret`: the same for the same, and nothing to find it by (6 digits of a hash).

    Of a short secret the hash keeps 12 bits: enough to tell two apart, too few to pick one from a list of passwords.
    """
    digest = hashlib.sha256(b"bifrost" + secret.encode("utf-8", "surrogatepass")).hexdigest()
    if len(secret) < SHORT_SECRET:
        digest = hashlib.sha256(digest[:3].encode()).hexdigest()
    # A secret of several lines leaves as many: the lines of a text must stay those of the log.
    return f"[redacted:{name}:{digest[:6]}]" + "\n" * secret.count("\n")


def _join(found: Iterator[Span], text: str) -> list[Span]:
    """Return spans in order, those that overlap as one; none that touches a placeholder."""
    spans: list[Span] = []
    for start, end, name in sorted(found, key=lambda span: (span[0], -span[1])):
        if spans and start < spans[-1][1]:
            if end > spans[-1][1]:
                spans[-1] = (spans[-1][0], end, spans[-1][2])
        else:
            spans.append((start, end, name))
    if not spans or "[redacted:" not in text:
        return spans
    held = [found.span() for found in _PLACEHOLDER.finditer(text)]
    starts = [start for start, _ in held]
    free = []
    for span in spans:
        before = bisect_right(starts, span[1] - 1)
        if not before or held[before - 1][1] <= span[0]:
            free.append(span)
    return free


def _lower(text: str) -> str:
    """Return `text` in lower case and as long as it was."""
    lowered = text.lower()
    return lowered if len(lowered) == len(text) else text.translate(_ASCII_LOWER)


def _find(text: str, hints: Set[str] | None) -> Iterator[Span]:
    lowered = _lower(text)
    if "-----" in text or "private key" in lowered:
        yield from _find_armour(text)
    yield from _find_tokens(text, lowered, hints)
    if any(stem in lowered for stem in STEMS):
        yield from find_values(text, lowered)
    if "://" in text:
        yield from find_url_passwords(text)
    yield from find_user_passwords(text, lowered)
    if "secret" in lowered and "data" in lowered:
        yield from _find_kube_data(text)


def _find_tokens(text: str, lowered: str, hints: Set[str] | None) -> Iterator[Span]:
    # Hints are looked for in as little text as can hold a token: its long words, and of these what has no sign within.
    words = [word for word in text.split() if len(word) >= MIN_TOKEN]
    if hints is None or hints:
        yield from _find_hinted(text, lowered, words, hints)
    for word in words:
        if len(word) >= MIN_DISCORD and word.count(".") >= 2 and (found := DISCORD_TOKEN.search(word)):
            at = text.find(found[0])
            while at >= 0:
                yield at, at + len(found[0]), "discord-token"
                at = text.find(found[0], at + len(found[0]))


def _find_hinted(text: str, lowered: str, words: list[str], hints: Set[str] | None) -> Iterator[Span]:
    """Yield tokens that have a fixed part; `words` are the long ones of `text`."""
    long = "\n".join(words)
    if plain := _pick(_PLAIN_PREFIXES, hints):
        runs = "\n".join([run for run in long.translate(_SIGNS).split() if len(run) >= MIN_TOKEN])
        for _, prefix, rules in plain:
            if prefix in runs:
                yield from _find_prefixed(text, prefix, rules)
    for _, prefix, rules in _pick(_SIGN_PREFIXES, hints):
        if prefix in long:
            yield from _find_prefixed(text, prefix, rules)
    if shapes := _pick(_HINTS, hints):
        longer = "\n".join([word for word in words if len(word) >= MIN_LONG]).lower()
        gates = {
            "text": lowered,
            "long": longer,
            "url": longer if "//" in longer or ".com/" in longer else "",
            "flag": lowered if _FLAG.search(text) else "",
        }
        for _, hint, shape in shapes:
            if hint in gates[shape.gate]:
                yield from _find_shape(text, lowered, shape, hint)


def _pick(table: _Table[T], hints: Set[str] | None) -> Collection[tuple[int, str, T]]:
    """Return those rows of `table`, in order, that `hints` name; all without these."""
    if hints is None:
        return table.values()
    return sorted(table[hint] for hint in hints if hint in table)


def _find_shape(text: str, lowered: str, shape: Shape, hint: str) -> Iterator[Span]:
    """Yield what has a shape around the places of its hint; no stretch of text is looked at twice."""
    low = 0
    at = lowered.find(hint)
    while at >= 0:
        low, high = max(low, at - shape.back), at + shape.ahead
        while 0 <= (at := lowered.find(hint, at + len(hint))) < high:
            high = at + shape.ahead
        for found in shape.pattern.finditer(text, low, high):
            group = shape.group if found[shape.group] is not None else shape.group + 1
            yield found.start(group), found.end(group), shape.name
        low = high


def _find_prefixed(text: str, prefix: str, rules: list[Prefixed]) -> Iterator[Span]:
    at = text.find(prefix)
    run_end = tries = near = 0
    while at >= 0:
        after = at + len(prefix)
        if at >= run_end and (run := _RUN.match(text, at)):
            run_end, tries = run.end(), 0
        tries += 1
        for rule in rules if tries <= MAX_TRIES else ():
            if (body := rule.body.match(text, after)) and not (rule.bounded and _continues_word(text, at)):
                end = body.end()
                yield at, end, rule.name
                if rule.name == "aws-key-id":
                    yield from _find_aws_secrets(text, max(near, at - 200), near := at + 300)
                after = max(after, end)
                break
        at = text.find(prefix, max(after, run_end) if tries > MAX_TRIES else after)


def _continues_word(text: str, at: int) -> bool:
    r"""Tell whether a letter or digit precedes `at` that is no part of an escape (`\n`, `%3D`, a colour)."""
    if at == 0 or not text[at - 1].isalnum():
        return False
    return not _ESCAPE.search(text[max(0, at - 8) : at])


_ESCAPE = re.compile(r"(?:\\[nrt]|%[0-9A-Fa-f]{2}|\[[\d;]{1,6}m|\\u[0-9a-f]{4}|_)$")
_AWS_SECRET = re.compile(r"(?<![A-Za-z0-9+/_-])(?=[A-Za-z0-9+/]{0,39}\d)(?=[A-Za-z0-9+/]{0,39}[A-Z])(?=[A-Za-z0-9+/]{0,39}[a-z])[A-Za-z0-9+/]{40}(?![A-Za-z0-9+/=_-])")  # fmt: skip


def _find_aws_secrets(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield what has the form of a secret access key close behind or before its id."""
    for found in _AWS_SECRET.finditer(text, start, end):
        yield found.start(), found.end(), "aws-secret-key"


_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_KEY_TEXT = re.compile(r"(?:[A-Za-z0-9+/=\s]|\\{1,4}[nr/]|\\{1,4}u000[ad]|[\"',+]|%0[AaDd]|%2[BbFf]|%3[Dd]|%20|&#1[03];|(?:Proc-Type|DEK-Info|Version|Comment|Charset|Hash): ?[\w,. ()-]{1,80}){0,16000}")  # fmt: skip
_KEY_LINE = re.compile(r"(?:^|[\s|\"'>\]:])(?:[A-Za-z0-9+/]{16,}={0,2}|[A-Za-z0-9+/]{1,15}={1,2}|=[A-Za-z0-9+/]{4}|(?:Proc-Type|DEK-Info|Version|Comment|Charset|Hash): ?[^\n]{0,100})[\"',\\nr]{0,6}\s*$")  # fmt: skip
_SHORT_LINE = re.compile(r"(?:^|[\s|\"'>\]:Z])[A-Za-z0-9+/]{0,15}={0,2}[\"',\\nr]{0,6}\s*$")


def _find_armour(text: str) -> Iterator[Span]:
    """Yield private keys between their BEGIN and END lines, or what is left of them where one of both was cut off."""
    last = 0
    for begin in _BEGIN.finditer(text):
        if begin.start() < last:
            continue
        last = _end_armour(text, begin.end())
        if last > begin.end() + 8:
            yield begin.start(), last, "private-key"
    for end in _END.finditer(text):
        if end.start() >= last and (start := _start_armour(text, end.start(), last)) < end.start():
            yield start, end.end(), "private-key"
            last = end.end()


def _end_armour(text: str, at: int) -> int:
    """Return where a key ends that begins at `at`: behind its END line, or with the last line that can be its own."""
    line_end = text.find("\n", at)
    line_end = line_end if line_end >= 0 else len(text)
    if line_end > at + 16:
        inner = _KEY_TEXT.match(text, at, min(line_end, at + 32000))
        stop = inner.end() if inner else at
        closing = _END.match(text, stop)
        return closing.end() if closing else stop
    reached = at
    for _ in range(KEY_LINES):
        start = line_end + 1
        if start >= len(text):
            break
        line_end = text.find("\n", start)
        line_end = line_end if line_end >= 0 else len(text)
        line = text[start : min(line_end, start + 400)]
        if closing := _END.search(line):
            return start + closing.end()
        if _KEY_LINE.search(line):
            reached = line_end
        elif not _SHORT_LINE.search(line):
            break
    return reached


def _start_armour(text: str, at: int, least: int) -> int:
    """Return where a key starts that ends at `at` and whose BEGIN line is not there."""
    reached = line_start = text.rfind("\n", 0, at) + 1
    for _ in range(KEY_LINES):
        if line_start <= least:
            break
        previous = text.rfind("\n", least, line_start - 1) + 1 or least
        line = text[max(previous, line_start - 401) : line_start - 1]
        if not _KEY_LINE.search(line):
            break
        reached = line_start = previous
    return reached if reached < text.rfind("\n", 0, at) + 1 else at


_KUBE_SECRET = re.compile(r"kind[\"']?:\s{0,4}[\"']?Secret\b(?!List)")
_KUBE_DATA = re.compile(r"(?:^|\n|[{,])[ \t]*[\"']?(?:data|stringData)[\"']?:")
_KUBE_VALUE = re.compile(
    r"[\"']?[\w.-]{1,80}[\"']?:[ \t]*[\"']?([A-Za-z0-9+/]{6,}={0,2})[\"']?[ \t]*,?[ \t]*(?=\r?\n|$|\})"
)


def _find_kube_data(text: str) -> Iterator[Span]:
    """Yield the values under `data:` of a Kubernetes Secret, whatever their names."""
    places = [found.start() for found in _KUBE_SECRET.finditer(text)]
    done = 0
    for head in _KUBE_DATA.finditer(text) if places else ():
        nearest = bisect_right(places, head.end())
        near = [
            place
            for place in places[max(0, nearest - 1) : nearest + 1]
            if abs(place - head.end()) < KUBE_REACH
        ]
        at = head.end()
        if not near or at < done:
            continue
        while at < len(text):
            line_end = text.find("\n", at)
            line_end = line_end if line_end >= 0 else len(text)
            if text[at : at + 80].split("\n", 1)[0].strip(" \t{\r|"):
                values = list(_KUBE_VALUE.finditer(text, at, min(line_end, at + 20000)))
                if not values:
                    break
                yield from ((*value.span(1), "kubernetes-secret") for value in values)
            elif at > head.end():
                break
            at = done = line_end + 1

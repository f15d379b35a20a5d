"""When an answer to one sighting of a failure serves another one, whose lines differ in what is masked.

What is kept with an answer are the lines that it cites and the one that the excerpt was built around, each
with its distance from that one. A later sighting is served when each of them has its like there: the same
masked text, and the same codes (an exit status or an HTTP status is masked for the fingerprint, but an
explanation of one is none of another). Values that differ at the same place of the same line are carried
over into the answer's text. The names that it then still holds must be in the new excerpt, unless it was
not grounded to begin with; else the question is asked.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bifrost_flow.answer import Answer
from bifrost_flow.excerpt import find_anchor
from bifrost_flow.grounding import is_grounded
from bifrost_flow.records import Chunk

# Numbers that say what happened, and not how often or when.
_CODE = re.compile(
    r"""(?i)\b(?:
        (?:exit(?:ed)?|code|status|signal|errno|rc|returned|killed\ by)\W{1,3}
        (?:(?:with|non-zero|exit|return|code|status|value|signal)\W{1,3})*
      | https?(?:/\d(?:\.\d)?)?\s | error\s\#?
    )(-?(?:0x[0-9a-f]{1,8}|\d{1,5}))\b""",
    re.VERBOSE,
)
_VALUE = re.compile(r"[^\s\"'`()\[\]{}<>,;=|]+")
_MASK = re.compile(r"<\w+>")
_WORD = re.compile(r"[^\W\d_]+")
_EDGE = ".:!?"
_FEWEST_CHARS = 3  # a shorter value occurs in a text for reasons of its own


@dataclass(frozen=True, slots=True)
class _Line:
    """A line that was kept; `offset` is its distance from the excerpt's anchor, in lines shown."""

    offset: int
    text: str


def describe_sighting(answer: Answer, shown: Chunk) -> str:
    """Return, as JSON, what must be found again for `answer` about `shown` to serve another sighting."""
    lines, anchor = shown.text.split("\n"), find_anchor(shown)
    kept = {
        "grounded": is_grounded(answer, shown),
        "anchor": lines[anchor],
        "cited": [[number - 1 - anchor, lines[number - 1]] for number in answer.evidence],
    }
    return json.dumps(kept, ensure_ascii=True, separators=(",", ":"))


def carry_over(answer: Answer, sighting: str, shown: Chunk) -> Answer | None:
    """Return `answer` as it holds for `shown`, its citations on the lines there, or None if it does not.

    Args:
        sighting: what `describe_sighting` returned for the answer.
    """
    if not (kept := _read(sighting)):
        return None
    grounded, anchor, cited = kept
    if answer.abstains or len(cited) != len(answer.evidence):
        # Other surroundings may tell what those could not.
        return None
    excerpt = _Excerpt(shown)
    own = excerpt.lines[excerpt.anchor]
    alike = excerpt.mask(anchor.text) == excerpt.mask(own)
    if (alike and find_codes(anchor.text) != find_codes(own)) or not (alike or cited):
        return None
    places: list[int] = []
    for line in cited:
        place = excerpt.find(line, places)
        if place is None:
            return None
        places.append(place)
    pairs = [(line.text, excerpt.lines[place]) for line, place in zip(cited, places, strict=True)]
    values = pair_values([*pairs, (anchor.text, own)] if alike else pairs)
    carried = _rewrite(answer, values, [place + 1 for place in places])
    return carried if not grounded or is_grounded(carried, shown) else None


def find_codes(line: str) -> list[str]:
    """Return the exit codes, statuses and error numbers that `line` tells."""
    return [found[1].lower() for found in _CODE.finditer(line)]


def pair_values(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return which value of the old lines became which of the new ones, where there is no doubt.

    `pairs` are lines before and after that differ in their values alone.
    """
    changed: dict[str, str] = {}
    doubtful: set[str] = set()
    for old, new in pairs:
        before, after = _VALUE.findall(old), _VALUE.findall(new)
        if len(before) != len(after):
            continue
        for one, other in zip(before, after, strict=True):
            value = one.rstrip(_EDGE)
            if changed.setdefault(value, other.rstrip(_EDGE)) != other.rstrip(_EDGE):
                doubtful.add(value)
    return {
        old: new
        for old, new in changed.items()
        if old != new and old not in doubtful and len(old) >= _FEWEST_CHARS
    }


class _Excerpt:
    """The lines of a sighting; masking one takes a while, so only those that are asked about are."""

    def __init__(self, shown: Chunk) -> None:
        self.lines = shown.text.split("\n")
        self.anchor = find_anchor(shown)
        self._masked: dict[str, str] = {}

    def mask(self, line: str) -> str:
        # Late: the evidence stage brings Polars along.
        from bifrost_flow.evidence.fingerprint import mask_text

        if line not in self._masked:
            self._masked[line] = mask_text(line)
        return self._masked[line]

    def find(self, line: _Line, taken: Sequence[int]) -> int | None:
        """Return the position of the line that is like `line`, nearest to where that one was."""
        codes = find_codes(line.text)
        free = [place for place in self._list_outwards(line.offset) if place not in taken]
        for place in free:
            if self.lines[place] == line.text:
                return place
        masked = self.mask(line.text)
        # Masking takes 0.1 ms a line: only those that have the longest word can be like it.
        word = max(_WORD.findall(_MASK.sub(" ", masked)), key=len, default="")
        for place in free:
            text = self.lines[place]
            if word in text and self.mask(text) == masked and find_codes(text) == codes:
                return place
        return None

    def _list_outwards(self, offset: int) -> Iterator[int]:
        expected = self.anchor + offset
        return iter(sorted(range(len(self.lines)), key=lambda place: (abs(place - expected), place)))


def _read(sighting: str) -> tuple[bool, _Line, list[_Line]] | None:
    """Return whether the answer was grounded, the anchor's line and those cited; None if nothing was kept."""
    try:
        kept: dict[str, Any] = json.loads(sighting)
        cited = [_Line(int(offset), str(text)) for offset, text in kept["cited"]]
        return bool(kept["grounded"]), _Line(0, str(kept["anchor"])), cited
    except (ValueError, TypeError, KeyError):
        return None


def _rewrite(answer: Answer, values: dict[str, str], evidence: list[int]) -> Answer:
    texts = {name: getattr(answer, name) for name in ("title", "root_cause", "explanation", "suggestion")}
    together = "\n".join(texts.values())
    if told := [value for value in values if value in together]:
        longest_first = sorted(told, key=len, reverse=True)
        known = re.compile(
            rf"(?<![\w/-])(?:{'|'.join(re.escape(value) for value in longest_first)})(?![\w/-])"
        )
        texts = {name: known.sub(lambda found: values[found[0]], text) for name, text in texts.items()}
    return answer.model_copy(update={**texts, "evidence": evidence})

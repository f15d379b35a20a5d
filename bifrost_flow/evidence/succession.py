"""Find failures again whose fingerprints were made by other rules.

What rules of another version made of a failure can't be compared with what today's make of it. What they
made it of can: the line that a piece of evidence was built around is in the tables. Where that line, read by
today's rules, is what a failure of this run is built around, the two are the same failure.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from bifrost_flow.evidence.chunk import last_words
from bifrost_flow.evidence.fingerprint import mask_text
from bifrost_flow.excerpt import find_anchor
from bifrost_flow.records import Chunk

# What masks of any version leave alone.
_WORDS = re.compile(r"[^\W\d_]+")
_MASKS = re.compile(r"<[^<>]*>")


def find_predecessors(unknown: Sequence[Chunk], outdated: Sequence[Chunk]) -> dict[str, tuple[str, ...]]:
    """Return, by fingerprint of `unknown`, those of `outdated` that are the same failures, in order.

    `unknown` are failures that history has no fingerprint of, `outdated` evidence of those that it has under
    other rules. Where several of both are named by one line, those go together whose stacks read alike too.
    """
    past, present = _group_by_name(outdated), _group_by_name(unknown)
    found: dict[str, set[str]] = {}
    for name in present.keys() & past.keys():
        alone = len({chunk.fingerprint for chunk in present[name]}) == 1
        for chunk in present[name]:
            words = _list_words(chunk.template)
            nearest = [each for each in past[name] if not alone and _list_words(each.template) == words]
            names = {each.fingerprint for each in nearest or past[name]}
            found.setdefault(chunk.fingerprint, set()).update(names)
    return {fingerprint: tuple(sorted(found[fingerprint])) for fingerprint in sorted(found)}


def list_unknown(chunks: Iterable[Chunk], known: Mapping[str, object]) -> list[Chunk]:
    """Return the first of `chunks` of each fingerprint that is not `known`."""
    first: dict[str, Chunk] = {}
    for chunk in chunks:
        if chunk.fingerprint not in known:
            first.setdefault(chunk.fingerprint, chunk)
    return list(first.values())


def _group_by_name(chunks: Iterable[Chunk]) -> dict[str, list[Chunk]]:
    groups: dict[str, list[Chunk]] = {}
    for chunk in chunks:
        if name := _name_failure(chunk):
            groups.setdefault(name, []).append(chunk)
    return groups


def _name_failure(chunk: Chunk) -> str:
    """Return the line that names a failure, masked by today's rules; of a mere end, its last words."""
    lines = chunk.text.split("\n")
    if any(first <= chunk.anchor <= last for first, last in chunk.spans):
        lines = [lines[find_anchor(chunk)]]
    return "\n".join(mask_text(line) for line in last_words(lines))


def _list_words(template: str) -> tuple[str, ...]:
    return tuple(_WORDS.findall(_MASKS.sub(" ", template).lower()))

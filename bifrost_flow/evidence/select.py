"""Choose what of a file is shown within a budget: every failure's own line first, then the reports around
them, best first."""

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from bifrost_flow.evidence.baseline import Baseline
from bifrost_flow.evidence.extent import Page, find_extent, heads_report, starts_report, untag_page
from bifrost_flow.evidence.score import Anchor

MAX_SHOWN_BYTES = 280
MAX_PIECE_LINES = 150
MASKED_CHARS = 2000  # of a line, for telling sorts apart: masking takes the square of a word's length
LAST_LINES = 80  # of a log that tells of no steps: what broke it stands there
SHORT_STEP = 40  # lines, of a step that has no set-up of its own
NAMED_ONLY = 0.99  # a test that is only named, against one whose report says why it failed
SPREAD_EXPONENT = 0.8
KNOWN_FACTOR = 0.25  # a line that passing runs say too is most likely not why this one failed
HEAVY = ("sanitizer", "kernel_panic", "diagnostic", "test_fail", "raise", "native_crash", "fatal")
# What differs between two failures of one sort: quoted names, numbers, paths, identifiers.
_NAMES = re.compile(r"\"[^\"]*\"|'[^']*'|`[^`']*[`']|‘[^’]*’|\S*[\d_./\\]\S*|\s+")
RAISED = ("raise", "native_crash")
TEST_WEIGHT = 95.0  # of what is raised below a test's heading: what the test's failure weighs
LISTED = ("sanitizer", "kernel_panic", "diagnostic", "test_fail", "header")


@dataclass(slots=True)
class Piece:
    """Lines that belong to one report, with the anchor it was found by."""

    anchor: int
    kind: str
    score: float
    template: int
    first: int
    last: int
    cores: dict[int, tuple[float, int]] = field(default_factory=dict)  # lines that speak: score, sort
    kept: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known of the whole file: 0-based lines where a step failed and where steps began, and its
    length."""

    length: int
    fails: tuple[int, ...]
    starts: tuple[int, ...]
    spread: Mapping[int, tuple[int, int]]  # of templates: lines and blocks that say them
    baseline: Baseline | None = None  # what passing runs of the job say
    new: tuple[int, ...] = ()  # lines that none of them says


def show_line(text: str) -> str:
    """Return `text` cut in the middle when it is longer than anybody reads."""
    if len(text) <= MAX_SHOWN_BYTES:
        return text
    return f"{text[: MAX_SHOWN_BYTES - 130]} … {text[-100:]}"


def weigh_place(line: int, kind: str, situation: Situation) -> float:
    """Return how likely a failure stands at `line`, given where steps failed; about 0.6 to 1."""
    if not situation.fails:
        if situation.length - line <= LAST_LINES:
            return 1.0 - 0.04 * (situation.length - line) / LAST_LINES  # what fails ends soon after
        return 0.75 + 0.2 * (line / max(1, situation.length))
    # A job fails in a step or two; a log with many failed steps is one of many jobs, and the place says
    # little.
    trust = min(1.0, 6.0 / len(situation.fails))
    at = bisect_left(situation.fails, line)
    if at < len(situation.fails) and situation.starts[at] <= line:
        # Steps stop soon after what breaks them; their beginnings are set-up. In a list of failures the
        # first is best.
        length = situation.fails[at] - situation.starts[at]
        early = length > SHORT_STEP and line - situation.starts[at] < length / 2
        return 0.93 if early and kind not in LISTED else 1.0
    if at == len(situation.fails):
        return 1.0 - 0.4 * trust
    return 1.0 - (0.35 - 0.1 * line / max(1, situation.length)) * trust


def weigh_rarity(count: int, blocks: int, kind: str) -> float:
    """Return a factor that falls with how often the like is said, above all with how far apart.

    A failure is said in one place, even if often; what is said all over a long log is how that system talks.
    """
    octaves = max(1, count).bit_length() - 1
    near = 1.0 / (1.0 + 0.1 * (max(0, octaves - 4) if kind in HEAVY else octaves))
    return near * max(1, blocks) ** -SPREAD_EXPONENT


def score_anchor(anchor: Anchor, situation: Situation) -> float:
    """Return the weight of `anchor` in its place."""
    count, blocks = situation.spread.get(anchor.template, (1, 1))
    return (
        anchor.weight
        * weigh_place(anchor.line, anchor.kind, situation)
        * weigh_rarity(count, blocks, anchor.kind)
        * (KNOWN_FACTOR if anchor.known else 1.0)
    )


def find_worst(
    anchors: Sequence[Anchor], pieces: Sequence[Piece], situation: Situation
) -> tuple[str, float, int] | None:
    """Return kind, score and line of the heaviest anchor, passing runs left out of account.

    Whether a job failed must not hang on what is known of earlier ones: a wrong answer would feed itself.
    """
    if not pieces or not any(anchor.known for anchor in anchors):
        return (pieces[0].kind, pieces[0].score, pieces[0].anchor) if pieces else None
    worst = min(
        (replace(anchor, known=False) for anchor in anchors),
        key=lambda anchor: (-score_anchor(anchor, situation), anchor.line),
    )
    return worst.kind, score_anchor(worst, situation), worst.line


def find_pieces(anchors: Sequence[Anchor], page: Page, situation: Situation) -> list[Piece]:
    """Return the reports around `anchors`, merged where they overlap, best first."""
    kinds = {anchor.line: anchor.kind for anchor in anchors}

    def stop(line: int) -> bool:
        return kinds.get(line) in HEAVY

    found: list[Piece] = []
    untagged = untag_page(page)
    for anchor in anchors:
        first, last = find_extent(untagged, anchor.line, anchor.kind, stop)
        score = score_anchor(anchor, situation)
        core = score
        if anchor.kind == "test_fail" and first == last:
            score *= NAMED_ONLY
        elif anchor.kind in RAISED and (heads_report(page.get(first)) or heads_report(page.get(first + 1))):
            # In its heading's place: the test's name, not what was raised, tells its failure from others.
            headed = replace(anchor, kind="test_fail", weight=TEST_WEIGHT, line=first)
            score = score_anchor(headed, situation)
        like = _name_sort(anchor.text[:MASKED_CHARS])
        found.append(Piece(anchor.line, anchor.kind, score, like, first, last, {anchor.line: (core, like)}))
    merged: list[Piece] = []
    for piece in sorted(found, key=lambda piece: (piece.first, -piece.last)):
        into = merged[-1] if merged else None
        if (
            into is None
            or max(piece.last, into.last) - into.first > MAX_PIECE_LINES
            or not _touch(into, piece, page)
        ):
            merged.append(piece)
            continue
        into.last = max(into.last, piece.last)
        into.cores |= piece.cores
        if piece.score > into.score:
            into.anchor, into.kind, into.score, into.template = (
                piece.anchor,
                piece.kind,
                piece.score,
                piece.template,
            )
    if not situation.fails:
        _raise_firsts(merged, situation)
    return sorted(merged, key=lambda piece: (-piece.score, piece.anchor))


@lru_cache(maxsize=1 << 14)
def _name_sort(text: str) -> int:
    """Return the same number for failures of one sort. Logs of one system say much alike."""
    return hash(_NAMES.sub("", text))


def _raise_firsts(pieces: Sequence[Piece], situation: Situation) -> None:
    """Let the first of alike reports at a log's end weigh as much as the heaviest: it is no consequence."""
    firsts: dict[tuple[str, int], Piece] = {}
    for piece in pieces:  # in the order of their lines
        if situation.length - piece.anchor <= LAST_LINES:
            first = firsts.setdefault((piece.kind, piece.template), piece)
            first.score = max(first.score, piece.score)


def _touch(into: Piece, piece: Piece, page: Page) -> bool:
    """Tell whether two reports overlap, or follow each other so closely that they are one."""
    if piece.first <= into.last:
        return True
    return piece.first - into.last <= 2 and not starts_report(page.get(piece.first) or "")

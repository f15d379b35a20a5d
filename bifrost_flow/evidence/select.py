"""Choose what of a file is shown within a budget: every failure's own line first, then the reports around them, best first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bifrost_flow.evidence.extent import Page, find_extent
from bifrost_flow.evidence.score import Anchor

MAX_SHOWN_BYTES = 480
TAIL_LINES = 14
HEAVY = ("sanitizer", "diagnostic", "test_fail", "raise", "native_crash", "fatal")


@dataclass(slots=True)
class Piece:
    """Lines that belong to one report, with the anchor it was found by."""

    anchor: int
    kind: str
    score: float
    template: int
    first: int
    last: int
    cores: set[int] = field(default_factory=set)
    kept: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known of the whole file: 0-based lines where a step failed and where steps began, and its length."""

    length: int
    fails: tuple[int, ...]
    starts: tuple[int, ...]
    counts: Mapping[int, int]  # of templates


def show_line(text: str) -> str:
    """Return `text` cut in the middle when it is longer than anybody reads."""
    if len(text) <= MAX_SHOWN_BYTES:
        return text
    return f"{text[: MAX_SHOWN_BYTES - 130]} … {text[-100:]}"


def weigh_place(line: int, situation: Situation) -> float:
    """Return how likely a failure stands at `line`, given where steps failed; about 0.5 to 1."""
    if not situation.fails:
        return 0.8 + 0.2 * (line / max(1, situation.length))
    for fail, start in zip(situation.fails, situation.starts, strict=True):
        if start <= line <= fail:
            return 1.0
    if line > situation.fails[-1]:
        return 0.6
    return 0.65 + 0.1 * line / max(1, situation.length)


def weigh_rarity(count: int) -> float:
    """Return a factor that falls with how often the like is said: 1 for once, 0.6 for a hundred times."""
    return 1.0 / (1.0 + 0.1 * (max(1, count).bit_length() - 1))


def score_anchor(anchor: Anchor, situation: Situation) -> float:
    """Return the weight of `anchor` in its place."""
    return (
        anchor.weight
        * weigh_place(anchor.line, situation)
        * weigh_rarity(situation.counts.get(anchor.template, 1))
    )


def find_pieces(anchors: Sequence[Anchor], page: Page, situation: Situation) -> list[Piece]:
    """Return the reports around `anchors`, merged where they overlap, best first."""
    kinds = {anchor.line: anchor.kind for anchor in anchors}

    def stop(line: int) -> bool:
        return kinds.get(line) in HEAVY

    pieces: list[Piece] = []
    owner: dict[int, Piece] = {}
    for anchor in sorted(anchors, key=lambda a: (-score_anchor(a, situation), a.line)):
        score = score_anchor(anchor, situation)
        if anchor.line in owner:
            piece = owner[anchor.line]
            piece.cores.add(anchor.line)
            continue
        first, last = find_extent(page, anchor.line, anchor.kind, stop)
        while first < anchor.line and first in owner:
            first += 1
        for line in range(anchor.line, last + 1):
            if line in owner:
                last = line - 1
                break
        piece = Piece(anchor.line, anchor.kind, score, anchor.template, first, last, {anchor.line})
        pieces.append(piece)
        for line in range(first, last + 1):
            owner.setdefault(line, piece)
    return pieces


def pack(pieces: list[Piece], page: Page, situation: Situation, budget_tokens: int) -> list[Piece]:
    """Fill `kept` of the pieces within `budget_tokens`; return those that keep something, best first."""
    room = budget_tokens * 4
    taken: set[int] = set()
    sizes: dict[int, int] = {}

    def size_of(line: int) -> int:
        if line not in sizes:
            sizes[line] = len(show_line(page.get(line) or "").encode()) + 1
        return sizes[line]

    def keep(piece: Piece, lines: Sequence[int], limit: int) -> int:
        nonlocal room
        spent = 0
        for line in lines:
            text = page.get(line)
            if line in taken or text is None:
                continue
            cost = size_of(line)
            if cost > room or spent + cost > limit:
                break
            piece.kept.add(line)
            taken.add(line)
            spent += cost
            room -= cost
        return spent

    total = room
    seen: set[int] = set()
    tails = [_tail_piece(page, fail) for fail in (situation.fails or (situation.length,))[-2:]]
    # The report that most likely is the cause, whole.
    for piece in pieces[:1]:
        keep(piece, _by_nearness(piece), int(total * 0.45))
        seen.add(piece.template)
    # Every other failure's own lines.
    for piece in pieces[1:]:
        if piece.score >= 30:
            keep(piece, sorted(piece.cores), min(int(total * 0.25), room - int(total * 0.25)))
    # What stood last before the step failed: tools that print no word of failure end there.
    for tail in tails:
        keep(tail, tail_lines(tail, page), int(total * 0.2))
    # The reports around the other failures, the like of an earlier one last.
    for again in (False, True):
        for piece in pieces:
            if (piece.template in seen) is not again and piece is not pieces[0]:
                continue
            if piece.score < 12:
                continue
            seen.add(piece.template)
            keep(piece, _by_nearness(piece), int(total * 0.3))
            if room < 60:
                break
    # Context.
    for piece in pieces:
        if piece.kept and room > 200:
            keep(piece, [n for n in range(piece.first - 1, piece.first - 3, -1) if n >= 0], int(total * 0.05))
            keep(piece, [piece.last + 1, piece.last + 2], int(total * 0.05))
    shown = [piece for piece in (*pieces, *tails) if piece.kept]
    return sorted(shown, key=lambda piece: (-piece.score, piece.anchor))


def _by_nearness(piece: Piece) -> list[int]:
    """Return the piece's lines: the anchor, what follows it, then what leads to it."""
    after = list(range(piece.anchor, piece.last + 1))
    before = list(range(piece.anchor - 1, piece.first - 1, -1))
    return after + before if len(after) < 30 else after[:30] + before + after[30:]


def _tail_piece(page: Page, fail: int) -> Piece:
    return Piece(fail, "tail", 14.0, fail, max(0, fail - 40), fail)


def tail_lines(tail: Piece, page: Page) -> list[int]:
    """Return the last lines with text up to where the step failed, the latest first."""
    lines = [n for n in range(tail.last, tail.first - 1, -1) if (page.get(n) or "").strip()]
    return lines[:TAIL_LINES]


def build_page(text_of: Callable[[int], str | None]) -> Page:
    """Return a page that remembers what `text_of` said."""
    known: dict[int, str | None] = {}

    def get(line: int) -> str | None:
        if line not in known:
            known[line] = text_of(line)
        return known[line]

    return Page(get)

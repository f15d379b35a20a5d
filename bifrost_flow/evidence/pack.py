"""Choose what is shown within a budget: the best report, every failure's own line, then the other reports."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise, zip_longest
from operator import itemgetter

from bifrost_flow.evidence.extent import PASSING, PLUMBING, Page
from bifrost_flow.evidence.select import Piece, Situation, show_line

MAX_GAP = 4
WORD = re.compile(r"[^\W\d_]{3}")  # a line without one says nothing new
NEAR_BEST = 0.1
FAR = 0.8  # of the best score: what weighs less most likely is another matter
UNDERLINE = re.compile(
    r"^\s*(?:\.{10,}|-{10,}|={10,}|~{10,})$"
)  # a heading goes with what is below its blank line
SPEAKS = 30.0  # below this, a line is not shown for its own sake
PARAGRAPH_LINES = 16
TAIL_REACH = 150
SPOKEN = 64.0
# What the end of a step weighs in which nothing speaks: more than what other steps say, if its start is
# known.
SILENT_STEP, SILENT_END = 78.0, 58.0
SILENT_SHARE = 0.3
NEAR = 3
TAIL_LINES = 14


class _Purse:
    """The budget, and the lines that were bought with it."""

    def __init__(self, page: Page, room: int) -> None:
        self.page = page
        self.room = room
        self.total = room
        self.owner: dict[int, Piece] = {}

    def cost_of(self, line: int) -> int:
        return len(show_line(self.page.get(line) or "").encode()) + 1

    def keep(self, piece: Piece, lines: Iterable[int], share: float) -> bool:
        """Keep `lines` in order while they cost less than `share` of the budget; tell whether all were
        kept."""
        left = min(self.room, int(self.total * share))
        for line in lines:
            text = self.page.get(line)
            if line in self.owner or text is None:
                continue
            cost = self.cost_of(line)
            if cost > left:
                return False
            piece.kept.add(line)
            self.owner[line] = piece
            left -= cost
            self.room -= cost
        return True


class _Context:
    """Surroundings: what is near goes with its piece, what is further off stands for itself and ranks last.

    A model is shown the piece; lines that merely stand in its neighbourhood would only distract from it.
    """

    def __init__(self, purse: _Purse) -> None:
        self._purse = purse
        self._of: dict[int, Piece] = {}

    @property
    def pieces(self) -> list[Piece]:
        return list(self._of.values())

    def keep(self, piece: Piece, lines: Sequence[int], share: float) -> None:
        """Keep `lines`, nearest first, while they cost less than `share` of the budget."""
        shown = piece.kept or {piece.anchor}
        first, last = min(shown) - NEAR, max(shown) + NEAR
        left = self._purse.room
        if not self._purse.keep(piece, [line for line in lines if first <= line <= last], share):
            return
        share -= (left - self._purse.room) / self._purse.total
        if piece.anchor not in self._of:
            self._of[piece.anchor] = Piece(-1, "tail", 5.0, 0, piece.first, piece.last)
        self._purse.keep(
            self._of[piece.anchor], [line for line in lines if not first <= line <= last], max(0.0, share)
        )


def pack(pieces: list[Piece], page: Page, situation: Situation, budget_tokens: int) -> list[Piece]:
    """Fill `kept` of the pieces within `budget_tokens`; return those that keep something, best first."""
    purse = _Purse(page, budget_tokens * 4)
    context = _Context(purse)
    tails = _find_tails(pieces, situation)
    # Where nothing in a step speaks, its last lines are the report.
    for tail in tails[::-1]:
        if tail.score >= SILENT_STEP:
            purse.keep(tail, tail_lines(tail, page, situation)[:TAIL_LINES], SILENT_SHARE)
    # The report that most likely is the cause, whole.
    for piece in _leading(pieces):
        purse.keep(piece, sorted(piece.cores)[:12], 0.3)
        purse.keep(piece, _by_nearness(piece, page), 0.4)
    # The other failures' own lines: first one of each sort, then the like.
    firsts: dict[int, Piece] = {}
    for piece in pieces:
        firsts.setdefault(piece.template, piece)
    for group in _split_sorts(pieces):
        left = purse.room
        for line, piece in group:
            share = 0.25 if piece.score > FAR * pieces[0].score else 0.15
            purse.keep(piece, [line], max(0.0, share - (left - purse.room) / purse.total))
    for piece in [p for p in pieces if p.kind == "count"][:6]:
        purse.keep(piece, [piece.anchor], 0.03)
    # What no passing run says and stands at the first report, then what stands elsewhere.
    _keep_new(purse, situation.new, [piece for piece in pieces[:1] if piece.score >= SPOKEN], 0.1)
    # What stood last before the step failed: tools that print no word of failure end there.
    for tail in tails[::-1]:
        purse.keep(tail, tail_lines(tail, page, situation)[:TAIL_LINES], 0.1)
    # What surrounds the best, before the reports of failures that are much less likely the cause.
    for piece in _leading(pieces):
        purse.keep(piece, _by_nearness(piece, page), 0.35)
        context.keep(piece, _paragraph(piece, page), NEAR_BEST)
    # The reports around the other failures, one of each sort first.
    reports = [piece for piece in pieces if firsts[piece.template] is piece]
    reports += [piece for piece in pieces if firsts[piece.template] is not piece]
    # What is new goes before weak reports, which passing runs may have had too.
    bar = SPEAKS if situation.new else 0.0
    new = Piece(-1, "tail", 13.0, 0, 0, situation.length)
    _keep_reports(purse, context, [piece for piece in reports if piece.score >= bar], firsts)
    _keep_new(purse, situation.new, [*pieces, *tails], 0.3, new)
    _keep_reports(purse, context, [piece for piece in reports if piece.score < bar], firsts)
    _fill_gaps(purse)
    # With room left: the paragraphs around, more of the end.
    for tail in tails[::-1]:
        lines = tail_lines(tail, page, situation)
        if purse.keep(tail, lines[:TAIL_LINES], 0.2):
            context.keep(tail, lines[TAIL_LINES:], 0.15)
    for piece in pieces[:12]:
        if piece.kept:
            context.keep(piece, _paragraph(piece, page), 0.15)
    _fill_gaps(purse)
    for piece in pieces[:6]:
        if piece.kept:
            context.keep(piece, _around(piece, page), 0.15)
    _fill_gaps(purse)
    shown = [piece for piece in (*pieces, *tails, new, *context.pieces) if piece.kept]
    return sorted(shown, key=lambda piece: (-piece.score, piece.anchor))


def _leading(pieces: list[Piece]) -> list[Piece]:
    """Return the best report; where that only names a test, also the best of more than a line."""
    best = pieces[:1]
    if best and best[0].first == best[0].last:
        best += [piece for piece in pieces[1:8] if piece.first < piece.last][:1]
    return best


def _split_sorts(pieces: list[Piece]) -> tuple[list[tuple[int, Piece]], list[tuple[int, Piece]]]:
    """Return the lines that speak, best first: the first of each sort, and the like of these."""
    speaking = [
        (score, line, like, piece)
        for piece in pieces
        for line, (score, like) in piece.cores.items()
        if score >= SPEAKS
    ]
    speaking.sort(key=lambda entry: (-entry[0], entry[1]))
    seen: set[int] = set()
    firsts, others = [], []
    for _, line, like, piece in speaking:
        (others if like in seen else firsts).append((line, piece))
        seen.add(like)
    return firsts, others


def _keep_reports(
    purse: _Purse, context: _Context, reports: Sequence[Piece], firsts: Mapping[int, Piece]
) -> None:
    """Keep `reports` in order, and the paragraphs around those that are the best of their sort."""
    for piece in reports:
        if piece.score >= 12:
            purse.keep(piece, _by_nearness(piece, purse.page), 0.35)
        if firsts[piece.template] is piece and piece.score >= 60:
            context.keep(piece, _paragraph(piece, purse.page), 0.08)


def _keep_new(
    purse: _Purse, lines: Sequence[int], homes: Sequence[Piece], share: float, apart: Piece | None = None
) -> None:
    """Keep lines that no passing run says, the last first: with the first report they stand at, else with
    `apart`."""
    left = purse.room
    for line in reversed(lines):
        if line in purse.owner or not WORD.search(purse.page.get(line) or ""):
            continue
        home = next((home for home in homes if _is_near(line, home)), apart)
        if home is not None:
            purse.keep(home, [line], max(0.0, share - (left - purse.room) / purse.total))


def _is_near(line: int, piece: Piece) -> bool:
    """Tell whether `line` stands at what is kept of `piece`; nothing stands after the end of a step."""
    after = 0 if piece.kind == "tail" else NEAR
    return bool(piece.kept) and min(piece.kept) - NEAR <= line <= max(piece.kept) + after


def _fill_gaps(purse: _Purse) -> None:
    """Keep what stands between kept lines that are close: a report with a hole is hard to read."""
    lines = sorted(purse.owner)
    for before, after in pairwise(lines):
        if 1 < after - before <= MAX_GAP + 1:
            purse.keep(purse.owner[before], range(before + 1, after), 0.1)


def _around(piece: Piece, page: Page) -> list[int]:
    """Return the lines with text around a piece, blank lines or not, nearest first."""
    above = [n for n in range(piece.first - 1, piece.first - 24, -1) if (page.get(n) or "").strip()][:12]
    below = [n for n in range(piece.last + 1, piece.last + 24) if (page.get(n) or "").strip()][:12]
    return [line for pair in zip_longest(above, below) for line in pair if line is not None]


def _paragraph(piece: Piece, page: Page) -> list[int]:
    """Return the lines with text that stand around a piece without a blank line between, nearest first."""
    above, below = [], []
    for line in range(piece.first - 1, piece.first - PARAGRAPH_LINES, -1):
        text = page.get(line) or ""
        if PASSING.match(text) or not (text.strip() or UNDERLINE.match(page.get(line - 1) or "")):
            break
        above.append(line)
    for line in range(piece.last + 1, piece.last + PARAGRAPH_LINES):
        if not (page.get(line) or "").strip() or PASSING.match(page.get(line) or ""):
            break
        below.append(line)
    mixed = [line for pair in zip_longest(below, above) for line in pair if line is not None]
    return mixed


def _by_nearness(piece: Piece, page: Page) -> list[int]:
    """Return the piece's lines: the anchor, what follows, what leads to it, then frames that say little."""
    after = list(range(piece.anchor, piece.last + 1))
    before = list(range(piece.anchor - 1, piece.first - 1, -1))
    lines = after + before if len(after) < 30 else after[:30] + before + after[30:]
    return sorted(lines, key=lambda line: bool(PLUMBING.match(page.get(line) or "")))


def _find_tails(pieces: list[Piece], situation: Situation) -> list[Piece]:
    """Return the ends of the last steps that failed, as pieces of their own.

    Where nothing in a step speaks of a failure, its last lines are what there is: linters and scripts print
    just that.
    """
    tails = []
    ends = list(zip(situation.fails, situation.starts, strict=True))
    for fail, start in ends[-2:] or [(situation.length - 1, 0)]:
        reach = max(fail - TAIL_REACH, start)
        spoken = any(reach <= piece.anchor <= fail and piece.score >= SPOKEN for piece in pieces)
        silent = SILENT_STEP if start else SILENT_END
        tails.append(Piece(fail, "tail", 14.0 if spoken else silent, fail, max(0, fail - 40, start), fail))
    return tails


def tail_lines(tail: Piece, page: Page, situation: Situation) -> list[int]:
    """Return the last lines with text up to where the step failed, the latest first.

    Lines that passing runs say too come last, unless the end is what names the failure: its name must not
    hang on what is known.
    """
    lines = [n for n in range(tail.last, tail.first - 1, -1) if (page.get(n) or "").strip()]
    if situation.baseline is not None and tail.score < SPEAKS:
        known = situation.baseline.knows_texts([page.get(n) or "" for n in lines])
        lines = [line for _, line in sorted(zip(known, lines, strict=True), key=itemgetter(0))]
    return lines

"""Make chunks of what was chosen: redacted, cut, classified and fingerprinted."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from bifrost_flow.evidence import anchors, categories, select
from bifrost_flow.evidence.fingerprint import fingerprint_lines
from bifrost_flow.evidence.frames import REACH, name_access, name_frames
from bifrost_flow.evidence.group import FAILING
from bifrost_flow.evidence.redact import redact_text
from bifrost_flow.records import MIN_FAILURE_SCORE, Chunk

TELLING_LINES = 8  # of a step's last lines, those that say of what kind its failure is
BEFORE_STACK = 40  # lines before an exception in which its stack may stand

_ECHO = anchors.to_python(anchors.ECHO)


@dataclass(frozen=True, slots=True)
class Draft:
    """A chunk before it is classified: that is done for the chunks of many files in one go."""

    path: str
    rank: int
    kind: str
    score: float
    anchor: int  # 0-based
    kept: tuple[int, ...]  # 0-based lines
    text: str
    redactions: int
    core: str  # the failure's own lines
    fingerprint: str
    template: str


def read_kept(piece: select.Piece, page: select.Page) -> str:
    """Return the lines that are kept of a piece, secrets included."""
    return _read(sorted(piece.kept), page)


def _read(lines: Sequence[int], page: select.Page) -> str:
    return "\n".join([page.get(line) or "" for line in lines])


def draft_chunks(
    pieces: Sequence[tuple[select.Piece, tuple[str, int]]], page: select.Page, path: str, budget_tokens: int
) -> list[Draft]:
    """Return the chunks to be of `pieces`, each with what `redact_text` makes of `read_kept`.

    Placeholders may be longer than the secrets they stand for, so the last lines give way.
    """
    room = budget_tokens * 4
    drafts: list[Draft] = []
    for piece, redacted in pieces:
        kept, text, redactions = _show(sorted(piece.kept), redacted, page, room)
        if not kept:
            continue
        room -= len(text.encode()) + 1
        core = _name_core(piece, page, kept, text, redactions)
        fingerprint, template = _fingerprint(piece, page, core)
        drafts.append(
            Draft(
                *(path, len(drafts) + 1, piece.kind, piece.score, piece.anchor),
                *(tuple(kept), text, redactions, core, fingerprint, template),
            )
        )
    return drafts


def name_unshown(
    pieces: Sequence[select.Piece], drafts: Sequence[Draft], page: select.Page
) -> tuple[str, ...]:
    """Return the fingerprints of failures among `pieces` that none of `drafts` shows for want of room.

    Whoever compares runs must not take what did not fit for what is gone.
    """
    shown = {(draft.kind, draft.anchor) for draft in drafts}
    known = {draft.fingerprint for draft in drafts}
    found: dict[str, None] = {}
    for piece in pieces:
        if piece.score < MIN_FAILURE_SCORE or (piece.kind, piece.anchor) in shown:
            continue
        core = redact_text("\n".join(_name_reported(piece, page)))[0]
        if categories.judge_severity(piece.kind, core, leading=False) in FAILING:
            found[_fingerprint(piece, page, core)[0]] = None
    return tuple(name for name in found if name not in known)


def _fingerprint(piece: select.Piece, page: select.Page, core: str) -> tuple[str, str]:
    """Return fingerprint and template of the failure that `core` names and a piece's stack tells apart."""
    start = max(piece.anchor - BEFORE_STACK, piece.first)
    stack = [line for n in range(start, piece.anchor + REACH) if (line := page.get(n)) is not None]
    return fingerprint_lines([*core.split("\n"), *name_access(stack[:80]), *name_frames(stack)])


def _show(
    kept: list[int], redacted: tuple[str, int], page: select.Page, room: int
) -> tuple[list[int], str, int]:
    """Return the lines of `kept` that fit into `room` bytes, their text and how many secrets it held;
    `redacted` is what all of them come to."""
    while kept:
        # Redacted before it is cut: half a secret would not be recognised.
        whole, redactions = redacted
        text = "\n".join(map(select.show_line, whole.split("\n")))
        if len(text.encode()) < room:
            return kept, text, redactions
        kept = kept[:-1]
        redacted = redact_text(_read(kept, page))
    return kept, "", 0


def finish_chunks(drafts: Sequence[tuple[Draft, bool]]) -> list[Chunk]:
    """Return the chunks of `drafts`, in order, each of which comes with whether its file's job failed."""
    shown = [
        "\n".join(draft.text.split("\n")[-TELLING_LINES:]) if draft.kind == "tail" else draft.text
        for draft, _ in drafts
    ]
    named = categories.classify_texts([draft.core for draft, _ in drafts], shown)
    return [
        _finish(draft, category, leading=failed and draft.rank == 1)
        for (draft, failed), category in zip(drafts, named, strict=True)
    ]


def _finish(draft: Draft, category: str, *, leading: bool) -> Chunk:
    spans = _spans(draft.kept)
    return Chunk(
        chunk_id=hashlib.sha256(f"{draft.path}:{spans}:{draft.fingerprint}".encode()).hexdigest()[:16],
        path=draft.path,
        rank=draft.rank,
        spans=spans,
        severity=categories.judge_severity(draft.kind, draft.core, leading=leading),
        category=category,
        score=round(draft.score, 2),
        fingerprint=draft.fingerprint,
        template=draft.template,
        tokens=-(-len(draft.text.encode()) // 4),
        text=draft.text,
        redactions=draft.redactions,
        anchor=draft.anchor + 1,
    )


def _name_core(
    piece: select.Piece, page: select.Page, kept: Sequence[int], text: str, redactions: int
) -> str:
    core = "\n".join(name_failure(piece, page, kept, text.split("\n")))
    # A heading's first lines need not be among those that were kept, and so be clean.
    return redact_text(core)[0] if redactions or piece.kind == "header" else core


def name_failure(
    piece: select.Piece, page: select.Page, kept: Sequence[int], texts: Sequence[str]
) -> list[str]:
    """Return the lines that say which failure a piece is of, of which `kept` are shown as `texts`."""
    if piece.kind == "tail" or piece.anchor not in kept:
        return last_words(texts)
    return _name_reported(piece, page)


def _name_reported(piece: select.Piece, page: select.Page) -> list[str]:
    own = page.get(piece.anchor) or ""
    if piece.kind != "header":
        return [own]
    # "There was 1 failure:" heads all of them alike; what follows tells.
    below = (page.get(line) or "" for line in range(piece.anchor + 1, piece.last + 1))
    return [own, *islice((text for text in below if text.strip(" -=_*")), 2)]


def last_words(texts: Sequence[str]) -> list[str]:
    """Return the last line that says more than that something ended."""
    telling = (text for text in reversed(texts) if text.strip() and not _is_echo(text))
    return list(islice(telling, 2))[::-1] or list(texts[-1:])


@lru_cache(maxsize=1 << 14)
def _is_echo(text: str) -> bool:
    """Tell whether a line only says that something ended. Logs of one system end alike."""
    return _ECHO.search(text) is not None


def _spans(lines: Sequence[int]) -> tuple[tuple[int, int], ...]:
    spans: list[list[int]] = []
    for line in lines:
        if spans and line == spans[-1][1]:
            spans[-1][1] = line + 1
        else:
            spans.append([line + 1, line + 1])
    return tuple((first, last) for first, last in spans)

"""Make chunks of what was chosen: redacted, cut, classified and fingerprinted."""

import hashlib
from collections.abc import Sequence
from itertools import islice

from bifrost_flow.evidence import anchors, categories, select
from bifrost_flow.evidence.fingerprint import fingerprint_lines
from bifrost_flow.evidence.frames import REACH, name_access, name_frames
from bifrost_flow.evidence.redact import redact_text
from bifrost_flow.records import Chunk

TELLING_LINES = 8  # of a step's last lines, those that say of what kind its failure is
BEFORE_STACK = 40  # lines before an exception in which its stack may stand

_ECHO = anchors.to_python(anchors.ECHO)


def build_chunks(
    pieces: list[select.Piece], page: select.Page, path: str, budget_tokens: int, *, failed: bool
) -> list[Chunk]:
    """Return the chunks of `pieces`; placeholders may be longer than the secrets they stand for, so the
    last gives way."""
    room = budget_tokens * 4
    chunks: list[Chunk] = []
    for piece in pieces:
        chunk = build_chunk(piece, page, path, len(chunks) + 1, failed=failed)
        while (size := len(chunk.text.encode()) + 1) > room and len(piece.kept) > 1:
            piece.kept.discard(max(piece.kept))
            chunk = build_chunk(piece, page, path, len(chunks) + 1, failed=failed)
        if size <= room:
            chunks.append(chunk)
            room -= size
    return chunks


def build_chunk(piece: select.Piece, page: select.Page, path: str, rank: int, *, failed: bool) -> Chunk:
    """Return the chunk that shows what a piece keeps; `failed` is whether its job did."""
    kept = sorted(piece.kept)
    # Redacted before it is cut: half a secret would not be recognised.
    redacted, redactions = redact_text("\n".join(page.get(line) or "" for line in kept))
    texts = [select.show_line(line) for line in redacted.split("\n")]
    text = "\n".join(texts)
    cores = name_failure(piece, page, texts)
    core, _ = redact_text("\n".join(cores))
    start = max(piece.anchor - BEFORE_STACK, piece.first)
    stack = [line for n in range(start, piece.anchor + REACH) if (line := page.get(n)) is not None]
    fingerprint, template = fingerprint_lines(
        [*core.split("\n"), *name_access(stack[:80]), *name_frames(stack)]
    )
    spans = _spans(kept)
    return Chunk(
        chunk_id=hashlib.sha256(f"{path}:{spans}:{fingerprint}".encode()).hexdigest()[:16],
        path=path,
        rank=rank,
        spans=spans,
        severity=categories.judge_severity(piece.kind, core, leading=failed and rank == 1),
        category=categories.classify_text(
            core, "\n".join(texts[-TELLING_LINES:]) if piece.kind == "tail" else text
        ),
        score=round(piece.score, 2),
        fingerprint=fingerprint,
        template=template,
        tokens=-(-len(text.encode()) // 4),
        text=text,
        redactions=redactions,
        anchor=piece.anchor + 1,
    )


def name_failure(piece: select.Piece, page: select.Page, texts: Sequence[str]) -> list[str]:
    """Return the lines that say which failure a piece is of."""
    if piece.kind == "tail" or piece.anchor not in piece.kept:
        return last_words(texts)
    own = page.get(piece.anchor) or ""
    if piece.kind != "header":
        return [own]
    # "There was 1 failure:" heads all of them alike; what follows tells.
    below = (page.get(line) or "" for line in range(piece.anchor + 1, piece.last + 1))
    return [own, *islice((text for text in below if text.strip(" -=_*")), 2)]


def last_words(texts: Sequence[str]) -> list[str]:
    """Return the last line that says more than that something ended."""
    telling = [text for text in texts if text.strip() and not _ECHO.search(text)]
    return telling[-2:] or list(texts[-1:])


def _spans(lines: Sequence[int]) -> tuple[tuple[int, int], ...]:
    spans: list[list[int]] = []
    for line in lines:
        if spans and line == spans[-1][1]:
            spans[-1][1] = line + 1
        else:
            spans.append([line + 1, line + 1])
    return tuple((first, last) for first, last in spans)

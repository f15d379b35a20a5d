"""Drive the evidence stage over one file: blocks of text in, chunks out; memory is bounded by the block, not the file."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from bifrost_flow.evidence import categories, formats, score, select
from bifrost_flow.evidence.anchors import SHAPES
from bifrost_flow.evidence.clean import clean_line
from bifrost_flow.evidence.fingerprint import fingerprint_lines
from bifrost_flow.evidence.outcome import judge_outcome
from bifrost_flow.evidence.redact import redact_text
from bifrost_flow.records import Chunk

OVERLAP = 160  # lines at a block's end whose reports may go on in the next
BEFORE, AFTER = 70, 130  # lines kept around an anchor
KEEP_ANCHORS = 320
LIKE_KEPT = 40  # anchors of one template in a block
HEAD_LINES, TAIL_LINES = 300, 120

WEIGHTS = {"none": 0.0, "echo": score.ECHO_WEIGHT, **{shape.name: shape.weight for shape in SHAPES}}
_WEIGHT_OF = pl.DataFrame(
    {"kind": list(score.KINDS.values()), "weight": [WEIGHTS[name] for name in score.KINDS]},
    schema={"kind": pl.UInt8, "weight": pl.Float64},
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the lines say about the file as a whole."""

    lines: int
    ci_system: str | None
    job: str | None
    first_ts: datetime | None
    last_ts: datetime | None
    outcome: str


@dataclass(slots=True)
class _State:
    seen: int = 0  # lines before the current block
    length: int = 0
    anchors: list[score.Anchor] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)
    fails: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    windows: list[tuple[int, list[str]]] = field(default_factory=list)
    head: list[str] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)
    last_start: int = 0


def split_lines(block: bytes, max_line_bytes: int) -> pl.Series:
    """Return the lines of a block of valid UTF-8, each cut at `max_line_bytes`."""
    lines = pl.scan_lines(block).collect()["line"]
    longest = lines.str.len_bytes().max()
    if isinstance(longest, int) and longest > max_line_bytes:
        lines = lines.str.head(max_line_bytes)
    return lines


def scan_file(
    blocks: Iterable[bytes], path: str, *, budget_tokens: int, max_line_bytes: int
) -> tuple[Facts, list[Chunk]]:
    """Return the facts of a file and its chunks, best first, from its text in blocks of whole lines."""
    state = _State()
    carry: pl.Series | None = None
    fresh = 0  # index of the first line in the current block that was not judged yet
    for block in blocks:
        lines = split_lines(block, max_line_bytes)
        state.length += len(lines)
        if carry is not None:
            _judge(carry, state, fresh, max(fresh, len(carry) - OVERLAP) if len(carry) > OVERLAP else fresh)
            fresh_from = max(fresh, len(carry) - OVERLAP) if len(carry) > OVERLAP else fresh
            keep_from = max(0, fresh_from - OVERLAP)
            state.seen += keep_from
            lines = pl.concat([carry[keep_from:], lines])
            fresh = fresh_from - keep_from
        if len(state.head) < HEAD_LINES:
            state.head.extend(lines[: HEAD_LINES - len(state.head)].to_list())
        carry = lines
    if carry is not None:
        _judge(carry, state, fresh, len(carry))
        state.tail = carry[-TAIL_LINES:].to_list()
    return _finish(state, path, budget_tokens)


def _judge(lines: pl.Series, state: _State, first: int, end: int) -> None:
    """Find the anchors among `lines[first:end]` and keep the text around them."""
    if end <= first:
        return
    found = score.score_candidates(score.find_candidates(lines[first:end]))
    found = found.with_columns(row=pl.col("row") + first).join(
        _WEIGHT_OF, on="kind", how="left", maintain_order="left"
    )
    for row, step in found.filter(pl.col("step") > 0).select("row", "step").iter_rows():
        if step == 1:
            state.last_start = state.seen + row
        else:
            state.fails.append(state.seen + row)
            state.starts.append(state.last_start)
    heavy = found.filter(pl.col("weight") > 0)
    tally = heavy.group_by("template").len()
    for template, count in tally.iter_rows():
        state.counts[template] = state.counts.get(template, 0) + count
    order = pl.int_range(pl.len()).over("template")
    best = heavy.filter((order < LIKE_KEPT) | (order >= pl.len().over("template") - 2))
    best = best.sort("weight", "row", descending=[True, True]).head(KEEP_ANCHORS)
    new = [
        score.Anchor(state.seen + row, weight, score.KIND_NAMES[kind], template, text)
        for row, weight, kind, template, text in best.select(
            "row", "weight", "kind", "template", "text"
        ).iter_rows()
    ]
    state.anchors.extend(new)
    wanted = [anchor.line - state.seen for anchor in new]
    wanted += [fail - state.seen for fail in state.fails[-4:] if fail >= state.seen]
    wanted.append(end - 1)
    _keep_windows(lines, state, wanted)
    if len(state.anchors) > 2 * KEEP_ANCHORS:
        _prune(state)


def _keep_windows(lines: pl.Series, state: _State, wanted: list[int]) -> None:
    spans: list[list[int]] = []
    for row in sorted(wanted):
        first, last = max(0, row - BEFORE), min(len(lines), row + AFTER)
        if spans and first <= spans[-1][1]:
            spans[-1][1] = max(spans[-1][1], last)
        else:
            spans.append([first, last])
    for first, last in spans:
        state.windows.append((state.seen + first, lines[first:last].to_list()))


def _prune(state: _State) -> None:
    situation = _situation(state)
    state.anchors.sort(key=lambda anchor: (-select.score_anchor(anchor, situation), -anchor.line))
    del state.anchors[KEEP_ANCHORS:]
    lines = sorted([anchor.line for anchor in state.anchors] + state.fails[-4:])
    kept = []
    at = 0
    for start, texts in sorted(state.windows, key=lambda window: window[0]):
        while at < len(lines) and lines[at] < start:
            at += 1
        if at < len(lines) and lines[at] < start + len(texts):
            kept.append((start, texts))
    state.windows = kept


def _situation(state: _State) -> select.Situation:
    return select.Situation(state.length, tuple(state.fails), tuple(state.starts), state.counts)


def _finish(state: _State, path: str, budget_tokens: int) -> tuple[Facts, list[Chunk]]:
    raw: dict[int, str] = {}
    for start, texts in state.windows:
        raw.update(zip(range(start, start + len(texts)), texts, strict=True))

    def text_of(line: int) -> str | None:
        text = raw.get(line)
        return None if text is None else clean_line(text)

    situation = _situation(state)
    page = select.build_page(text_of)
    pieces = select.find_pieces(state.anchors, page, situation)
    packed = select.pack(pieces, page, situation, budget_tokens)
    chunks = _build_chunks(packed, page, path, budget_tokens)
    head = [clean_line(line) for line in state.head]
    tail = [clean_line(line) for line in state.tail]
    system = formats.detect_system(state.head + state.tail)
    worst = pieces[0].kind if pieces else None
    facts = Facts(
        state.length,
        system,
        formats.detect_job(head),
        next((when for line in state.head if (when := formats.parse_time(line))), None),
        next((when for line in reversed(state.tail) if (when := formats.parse_time(line))), None),
        judge_outcome(tail, failed_steps=len(state.fails), worst=worst, ci_system=system),
    )
    return facts, chunks


def _build_chunks(
    pieces: list[select.Piece], page: select.Page, path: str, budget_tokens: int
) -> list[Chunk]:
    """Return the chunks of `pieces`; placeholders may be longer than the secrets they stand for, so the last gives way."""
    room = budget_tokens * 4
    chunks: list[Chunk] = []
    for piece in pieces:
        chunk = build_chunk(piece, page, path, len(chunks) + 1)
        while (size := len(chunk.text.encode()) + 1) > room and len(piece.kept) > 1:
            piece.kept.discard(max(piece.kept))
            chunk = build_chunk(piece, page, path, len(chunks) + 1)
        if size <= room:
            chunks.append(chunk)
            room -= size
    return chunks


def build_chunk(piece: select.Piece, page: select.Page, path: str, rank: int) -> Chunk:
    """Return the chunk that shows what a piece keeps."""
    kept = sorted(piece.kept)
    texts = [select.show_line(page.get(line) or "") for line in kept]
    text, redactions = redact_text("\n".join(texts))
    cores = [page.get(line) or "" for line in sorted(piece.cores) if line in piece.kept][:1] or texts[-1:]
    core, _ = redact_text("\n".join(cores))
    fingerprint, template = fingerprint_lines(core.split("\n"))
    spans = _spans(kept)
    return Chunk(
        chunk_id=hashlib.sha256(f"{path}:{spans}:{fingerprint}".encode()).hexdigest()[:16],
        path=path,
        rank=rank,
        spans=spans,
        severity=categories.judge_severity(piece.kind, core),
        category=categories.classify_text(core, text),
        score=round(piece.score, 2),
        fingerprint=fingerprint,
        template=template,
        tokens=-(-len(text.encode()) // 4),
        text=text,
        redactions=redactions,
        anchor=piece.anchor + 1,
    )


def _spans(lines: Sequence[int]) -> tuple[tuple[int, int], ...]:
    spans: list[list[int]] = []
    for line in lines:
        if spans and line == spans[-1][1]:
            spans[-1][1] = line + 1
        else:
            spans.append([line + 1, line + 1])
    return tuple((first, last) for first, last in spans)

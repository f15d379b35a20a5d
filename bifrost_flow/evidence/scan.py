"""Drive the evidence stage over one file: blocks of text in, chunks out; memory is bounded by the block,
not the file."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, zip_longest
from operator import itemgetter

import polars as pl

from bifrost_flow.evidence import pack, score, select
from bifrost_flow.evidence.anchors import SHAPES
from bifrost_flow.evidence.baseline import Baseline, Learner, Novelty, build_baseline, hash_lines
from bifrost_flow.evidence.blocks import Prepared, is_utf8, prepare_ahead, split_lines
from bifrost_flow.evidence.chunk import Draft, draft_chunks, finish_chunks, name_unshown, read_kept
from bifrost_flow.evidence.clean import clean_line, clean_lines
from bifrost_flow.evidence.extent import build_page
from bifrost_flow.evidence.facts import Facts, Sketch, tell_facts
from bifrost_flow.evidence.redact import redact_texts
from bifrost_flow.records import Chunk

BEFORE, AFTER = 70, 130  # lines kept around an anchor
KEEP_ANCHORS = 400  # of a block, and of a file when pruned
LIKE_KEPT = 40  # anchors of one template in a block
KEEP_FAILS = 200
HEAD_LINES, TAIL_LINES, JOB_LINES = 300, 120, 60
FINAL_ANCHORS = 300  # those that reports are looked for around

WEIGHTS = {"none": 0.0, "echo": score.ECHO_WEIGHT, **{shape.name: shape.weight for shape in SHAPES}}
_WEIGHT_OF = pl.DataFrame(
    {"kind": list(score.KINDS.values()), "weight": [WEIGHTS[name] for name in score.KINDS]},
    schema={"kind": pl.UInt8, "weight": pl.Float64},
)


@dataclass(slots=True)
class _State:
    length: int = 0
    valid: bool = True
    anchors: list[score.Anchor] = field(default_factory=list)
    templates: score.Templates = field(default_factory=score.Templates)
    spread: dict[int, tuple[int, int]] | None = None  # of templates, where it is known without `templates`
    fails: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    windows: list[tuple[int, list[str]]] = field(default_factory=list)
    head: list[str] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)
    last_start: int = 0
    baseline: Baseline | None = None
    novelty: Novelty | None = None
    learner: Learner | None = None
    floor: float = 0.0  # what a line must weigh to come among the anchors that are kept


@dataclass(frozen=True, slots=True)
class _Choice:
    """What of a file is shown: of the reports in it, best first, those that keep some of their lines."""

    state: _State
    page: select.Page
    path: str
    pieces: list[select.Piece]
    shown: list[select.Piece]
    worst: tuple[str, float, int] | None  # see `select.find_worst`


def scan_file(
    blocks: Iterable[bytes],
    path: str,
    *,
    budget_tokens: int,
    max_line_bytes: int,
    baseline: Baseline | None = None,
    learn: bool = False,
) -> tuple[Facts, list[Chunk]]:
    """Return the facts of a file and its chunks, best first, from its text in blocks of whole lines.

    Lines that `baseline` knows count less; with `learn`, the facts of a job that passed hold what it says.
    """
    state = _start(baseline)
    state.learner = Learner() if learn else None
    for block in prepare_ahead(blocks, max_line_bytes):
        _judge(block, state)
    choice = _choose(state, _page_of(state), path, budget_tokens)
    facts, chunks = _finish(_draft([choice], budget_tokens))[0]
    if state.learner is not None and facts.outcome == "passed":
        facts = replace(facts, learnt=state.learner.finish((*state.head, *state.tail)))
    return facts, chunks


def scan_small_files(
    files: Sequence[tuple[str, bytes]],
    *,
    budget_tokens: int,
    max_line_bytes: int,
    baselines: Sequence[Baseline | None] = (),
    learn: bool = False,
) -> list[tuple[Facts, list[Chunk]]]:
    """Return what `scan_file` would of each path and its whole text, judging the lines of all of them in
    one go.

    A frame costs milliseconds however few lines it has; thousands of small files can't each have their own.
    """
    texts = [text if text.endswith(b"\n") or not text else text + b"\n" for _, text in files]
    lines, valid = split_lines(b"".join(texts), max_line_bytes)
    found = score.judge_once(score.find_candidates(lines))
    rows = found["row"].to_list()
    columns = [found[name].to_list() for name in ("text", "template", "kind", "step")]
    cleaned = clean_lines(lines)
    hashes = hash_lines(lines) if any(baselines) else None
    chosen, spans = [], []
    start = 0
    for (path, _), text, baseline in zip_longest(files, texts, baselines):
        end = start + text.count(b"\n")
        head = lines[start : min(end, start + HEAD_LINES)].to_list()
        tail = lines[max(start, end - TAIL_LINES) : end].to_list()
        state = _start(baseline)
        state.length, state.valid = end - start, valid or is_utf8(text)
        state.head, state.tail = head, tail
        known: set[int] = set()
        if baseline is not None and hashes is not None:
            known = set(baseline.knows(hashes[start:end]).arg_true())
        if state.novelty is not None and hashes is not None:
            state.novelty.add(hashes[start:end], 0)
        _fill(state, rows, columns, start, end, known)
        page = select.Page(dict(enumerate(cleaned[start:end])).get)
        chosen.append(_choose(state, page, path, budget_tokens))
        spans.append((start, end))
        start = end
    finished = _finish(_draft(chosen, budget_tokens))
    if not learn:
        return finished
    # Only those that passed are worth the hashing of their lines.
    return [
        (replace(facts, learnt=build_baseline([hash_lines(lines[first:last])], whole=True)), chunks)
        if facts.outcome == "passed"
        else (facts, chunks)
        for (facts, chunks), (first, last) in zip(finished, spans, strict=True)
    ]


def _start(baseline: Baseline | None) -> _State:
    return _State(baseline=baseline, novelty=Novelty(baseline) if baseline and baseline.whole else None)


def _fill(
    state: _State, rows: list[int], columns: list[list], start: int, end: int, known: Container[int]
) -> None:
    """Put the judged lines `start` to `end` into a state of their own; passing runs say those in `known`."""
    texts, templates, kinds, steps = columns
    first, last = bisect_left(rows, start), bisect_left(rows, end)
    counts = Counter(templates[at] for at in range(first, last) if kinds[at])
    for at in range(first, last):
        line = rows[at] - start
        if steps[at] == 1:
            state.last_start = line
        elif steps[at] == 2:
            state.fails.append(line)
            state.starts.append(state.last_start)
        if kinds[at]:
            name = score.KIND_NAMES[kinds[at]]
            state.anchors.append(
                score.Anchor(line, WEIGHTS[name], name, templates[at], texts[at], line in known)
            )
    state.anchors.sort(key=lambda anchor: (anchor.known, -anchor.weight, -anchor.line))
    del state.anchors[KEEP_ANCHORS:]
    state.spread = {template: (count, 1) for template, count in counts.items()}


def _judge(block: Prepared, state: _State) -> None:
    """Find the anchors in a block and keep the text around them."""
    lines, seen = block.lines, state.length
    found = state.templates.judge(block.found).join(_WEIGHT_OF, on="kind", how="left", maintain_order="left")
    for row, step in found.filter(pl.col("step") > 0).select("row", "step").iter_rows():
        if step == 1:
            state.last_start = seen + row
        else:
            state.fails.append(seen + row)
            state.starts.append(state.last_start)
    del state.fails[:-KEEP_FAILS], state.starts[:-KEEP_FAILS]
    rank = pl.col("weight") * pl.col("blocks").cast(pl.Float64).pow(-select.SPREAD_EXPONENT)
    order = pl.int_range(pl.len()).over("template")
    best = found.with_columns(rank=rank).filter((pl.col("weight") > 0) & (pl.col("rank") >= state.floor))
    best = best.filter((order < LIKE_KEPT) | (order >= pl.len().over("template") - 2))
    best = best.sort("rank", "row", descending=[True, True]).head(4 * KEEP_ANCHORS)
    best = _put_known_last(best, lines, state.baseline).head(KEEP_ANCHORS)
    new = [
        score.Anchor(seen + row, weight, score.KIND_NAMES[kind], template, text, known)
        for row, weight, kind, template, text, known in best.select(
            "row", "weight", "kind", "template", "text", "known"
        ).iter_rows()
    ]
    state.anchors.extend(new)
    wanted = [anchor.line - seen for anchor in new] + [
        fail - seen for fail in state.fails[-4:] if fail >= seen
    ]
    if state.learner is not None:
        state.learner.add(lines, block.found)
    if state.novelty is not None:
        wanted += [line - seen for line in state.novelty.add(hash_lines(lines), seen)]
    # The ends of each block belong to reports that stand across blocks.
    spans = [
        [0, min(AFTER, len(lines))],
        *_spans_around(wanted, len(lines)),
        [max(0, len(lines) - BEFORE), len(lines)],
    ]
    for first, last in spans:
        state.windows.append((seen + first, lines[first:last].to_list()))
    if len(state.head) < HEAD_LINES:
        state.head.extend(lines[: HEAD_LINES - len(state.head)].to_list())
    state.tail = [*state.tail, *lines[-TAIL_LINES:].to_list()][-TAIL_LINES:]
    state.length += len(lines)
    state.valid = state.valid and block.valid
    if len(state.anchors) > 4 * KEEP_ANCHORS:
        _prune(state)


def _put_known_last(best: pl.DataFrame, lines: pl.Series, baseline: Baseline | None) -> pl.DataFrame:
    """Add `known` to candidates among `lines`, and let those go first that passing runs don't say."""
    if baseline is None:
        return best.with_columns(known=pl.lit(value=False))
    known = baseline.knows(hash_lines(lines.gather(best["row"])))
    return best.with_columns(known=known).sort("known", maintain_order=True)


def _spans_around(rows: list[int], length: int) -> list[list[int]]:
    spans: list[list[int]] = []
    for row in sorted(rows):
        first, last = max(0, row - BEFORE), min(length, row + AFTER)
        if spans and first <= spans[-1][1]:
            spans[-1][1] = max(spans[-1][1], last)
        else:
            spans.append([first, last])
    return spans


def _best_anchors(state: _State, situation: select.Situation, count: int) -> list[score.Anchor]:
    """Return the `count` anchors that weigh most in their places, best first."""
    if len(state.anchors) <= count:
        return state.anchors
    scored = [(select.score_anchor(anchor, situation), anchor.line, anchor) for anchor in state.anchors]
    return [anchor for _, _, anchor in sorted(scored, key=itemgetter(0, 1), reverse=True)[:count]]


def _prune(state: _State) -> None:
    situation = _situation(state)
    state.anchors = _best_anchors(state, situation, 2 * KEEP_ANCHORS)
    state.floor = select.score_anchor(state.anchors[-1], situation)
    lines = sorted([*(anchor.line for anchor in state.anchors), *state.fails[-4:], *situation.new])
    kept = []
    for start, texts in state.windows:
        at = bisect_left(lines, start - AFTER)
        if at < len(lines) and lines[at] <= start + len(texts) + BEFORE:
            kept.append((start, texts))
    state.windows = kept


def _situation(state: _State) -> select.Situation:
    spread = state.spread
    if spread is None:
        spread = state.templates.spread({anchor.template for anchor in state.anchors})
    new = state.novelty.telling if state.novelty else ()
    return select.Situation(
        state.length, tuple(state.fails), tuple(state.starts), spread, state.baseline, new
    )


def _page_of(state: _State) -> select.Page:
    """Return what was kept of the lines of a file read in blocks, cleaned as they are asked for."""
    raw: dict[int, str] = {}
    tail_start = state.length - len(state.tail)
    for start, texts in (*state.windows, (0, state.head), (tail_start, state.tail)):
        raw.update(zip(range(start, start + len(texts)), texts, strict=True))

    def text_of(line: int) -> str | None:
        text = raw.get(line)
        return None if text is None else clean_line(text)

    return build_page(text_of)


def _choose(state: _State, page: select.Page, path: str, budget_tokens: int) -> _Choice:
    """Return what of a file is shown."""
    if state.novelty is not None and not state.novelty.lines:
        # Passing runs say all of it: they can't tell what of it failed here.
        state.anchors = [replace(anchor, known=False) for anchor in state.anchors]
    situation = _situation(state)
    pieces = select.find_pieces(_best_anchors(state, situation, FINAL_ANCHORS), page, situation)
    worst = select.find_worst(state.anchors, pieces, situation)
    return _Choice(state, page, path, pieces, pack.pack(pieces, page, situation, budget_tokens), worst)


def _draft(chosen: Sequence[_Choice], budget_tokens: int) -> list[tuple[Sketch, list[Draft]]]:
    """Return, for each file, what tells its facts, and its chunks to be."""
    texts = [read_kept(piece, choice.page) for choice in chosen for piece in choice.shown]
    redacted = iter(redact_texts(texts))
    drafted = []
    for choice in chosen:
        shown = [(piece, next(redacted)) for piece in choice.shown]
        drafts = draft_chunks(shown, choice.page, choice.path, budget_tokens)
        drafted.append((_sketch(choice, drafts), drafts))
    return drafted


def _sketch(choice: _Choice, drafts: list[Draft]) -> Sketch:
    state, page, worst = choice.state, choice.page, choice.worst
    return Sketch(
        choice.path,
        state.length,
        state.valid,
        state.head,
        state.tail,
        head=[page.get(line) or "" for line in range(min(JOB_LINES, len(state.head)))],
        tail=[page.get(line) or "" for line in range(state.length - len(state.tail), state.length)],
        failed_steps=len(state.fails),
        resumed=bool(state.fails) and state.last_start > state.fails[-1],
        worst=worst and worst[:2],
        since_worst=state.length - 1 - worst[2] if worst else 0,
        survived=worst is not None and state.last_start > worst[2],
        unshown=name_unshown(choice.pieces, drafts, page),
    )


def _finish(chosen: Sequence[tuple[Sketch, list[Draft]]]) -> list[tuple[Facts, list[Chunk]]]:
    """Return facts and chunks of files, what patterns decide done for all of them in one go."""
    facts = tell_facts([sketch for sketch, _ in chosen])
    drafts = [
        (draft, said.outcome == "failed")
        for said, (_, drafts) in zip(facts, chosen, strict=True)
        for draft in drafts
    ]
    chunks = iter(finish_chunks(drafts))
    return [
        (said, list(islice(chunks, len(drafts)))) for said, (_, drafts) in zip(facts, chosen, strict=True)
    ]

"""Read sources and hand their text to the evidence stage, file by file."""

import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import polars as pl

from bifrost_flow.evidence.baseline import Baseline
from bifrost_flow.evidence.blocks import split_lines
from bifrost_flow.evidence.facts import Facts
from bifrost_flow.evidence.scan import scan_file, scan_small_files
from bifrost_flow.language import t
from bifrost_flow.records import Chunk, FileEvidence, LogFile
from connectors.extraction_pool import ExtractionPlan, ExtractionPool
from connectors.extraction_remote import Pending, Pool, Runner, open_cluster
from connectors.sources import (
    BLOCK_BYTES,
    MAX_LINE_BYTES,
    ReadFacts,
    Source,
    fetch_ahead,
    is_spooled,
    read_blocks,
)

if TYPE_CHECKING:
    from bifrost_flow.evidence.filtering import EventFilter

# Files up to this size share their frames; a batch holds about this much at once.
SMALL_BYTES = 1 << 20
BATCH_BYTES = 4 << 20
BATCH_FILES = 250
# Events are told apart in blocks of this size: frames of them take several times as much.
EVENT_BYTES = 4 << 20
# From this many batches of small files on, they are worth processes of their own.
POOL_BATCHES = 4
# Each takes some 200 MB, whatever a container may allow.
MAX_PROCESSES = 4


def extract_evidence(
    sources: Sequence[Source],
    *,
    budget_tokens: int,
    max_line_bytes: int = MAX_LINE_BYTES,
    bytes_done: Callable[[int], None] | None = None,
    baselines: Mapping[str, Baseline] | None = None,
    learn: bool = False,
    wanted: "EventFilter | None" = None,
    hashed: bool = True,
    runner: Runner = Runner(),  # noqa: B008 - frozen
) -> Generator[FileEvidence, None, None]:
    """Yield the evidence of each source, in order; one that can't be read gives a row with its status and
    no chunks.

    `bytes_done` is called with the number of bytes of text read since the last call. `baselines` holds, by
    path, what passing runs of a source's job say; with `learn`, what the jobs say that passed comes along.
    With `wanted`, only lines of events that it keeps count, and nothing is learnt from what is left; line
    numbers stay those of the file. Unless `hashed`, files come without their SHA-256, which takes a tenth of
    the time. `runner` says whether a cluster does the work.

    Raises:
        SettingsError: the runner's package is not installed, or its cluster does not answer.
    """
    plan = ExtractionPlan(
        budget_tokens, max_line_bytes, baselines or {}, learn and wanted is None, wanted, hashed
    )
    batches = split_batches(sources)
    processes = min(_count_cpus(), MAX_PROCESSES)
    if runner.kind != "threads":
        with open_cluster(runner, processes, plan) as cluster:
            yield from _extract_pooled(batches, cluster, plan, bytes_done, takes=_is_for_cluster)
        return
    if processes > 1 and sum(len(batch) > 1 for batch in batches) >= POOL_BATCHES:
        with ExtractionPool(processes, plan) as pool:
            yield from _extract_pooled(batches, pool, plan, bytes_done, takes=_is_small)
        return
    for batch in batches:
        yield from extract_batch(batch, plan, bytes_done)


def _count_cpus() -> int:
    """Return how many processors this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def split_batches(sources: Sequence[Source]) -> list[list[Source]]:
    """Return `sources` in order: small ones together, each large one by itself."""
    batches: list[list[Source]] = []
    size = BATCH_BYTES
    for source in sources:
        if source.size > SMALL_BYTES or size >= BATCH_BYTES or len(batches[-1]) >= BATCH_FILES:
            batches.append([])
            size = 0
        batches[-1].append(source)
        size = BATCH_BYTES if source.size > SMALL_BYTES else size + source.size
    return batches


def extract_batch(
    batch: list[Source], plan: ExtractionPlan, bytes_done: Callable[[int], None] | None = None
) -> Iterator[FileEvidence]:
    """Yield the evidence of one of `split_batches`' batches."""
    if batch[0].size > SMALL_BYTES:
        yield _extract_one(batch[0], plan, bytes_done)
    else:
        yield from _extract_small(batch, plan, bytes_done)


def _is_small(batch: list[Source]) -> bool:
    return batch[0].size <= SMALL_BYTES


def _is_for_cluster(batch: list[Source]) -> bool:
    # Temporary copies lie on this machine's disk, and what comes through a pipe comes once.
    return not any(
        is_spooled(source) or (source.size == 0 and not source.location.is_file()) for source in batch
    )


def _extract_pooled(
    batches: list[list[Source]],
    pool: Pool,
    plan: ExtractionPlan,
    bytes_done: Callable[[int], None] | None,
    *,
    takes: Callable[[list[Source]], bool],
) -> Iterator[FileEvidence]:
    """Yield what `extract_batch` would; the batches that the pool takes are read there meanwhile."""
    ahead = iter([batch for batch in batches if takes(batch)])
    waiting: deque[Pending] = deque()
    for batch in batches:
        # A cluster may have grown meanwhile.
        wanted = max(0, 2 * pool.processes - len(waiting))
        waiting.extend(pool.submit(each) for each in islice(ahead, wanted))
        if not takes(batch):
            yield from extract_batch(batch, plan, bytes_done)
            continue
        done = waiting.popleft().result()
        # A process that was lost (out of memory, say) leaves its batch to us.
        for evidence in done or extract_batch(batch, plan):
            if bytes_done is not None:
                bytes_done(evidence.file.bytes)
            yield evidence


def _extract_one(
    source: Source,
    plan: ExtractionPlan,
    bytes_done: Callable[[int], None] | None,
) -> FileEvidence:
    facts = ReadFacts(hashed=plan.hashed)
    blocks = _count(_read(source, facts, plan), bytes_done)
    baseline = plan.baselines.get(source.path)
    said, chunks = scan_file(
        blocks,
        source.path,
        budget_tokens=plan.budget_tokens,
        max_line_bytes=plan.max_line_bytes,
        baseline=baseline,
        learn=plan.learn,
    )
    return build_evidence(source, facts, said, chunks, compared=baseline is not None)


def _extract_small(
    sources: list[Source],
    plan: ExtractionPlan,
    bytes_done: Callable[[int], None] | None,
) -> Iterator[FileEvidence]:
    read: list[tuple[Source, ReadFacts, bytes]] = []
    for source in fetch_ahead(sources):
        facts = ReadFacts(hashed=plan.hashed)
        blocks = list(islice(_read(source, facts, plan), 2))
        if len(blocks) > 1:
            # Small on disk and large unpacked: it is read again, block by block.
            yield from _flush(read, plan, bytes_done)
            read = []
            yield _extract_one(source, plan, bytes_done)
        else:
            read.append((source, facts, blocks[0] if blocks else b""))
    yield from _flush(read, plan, bytes_done)


def _flush(
    read: list[tuple[Source, ReadFacts, bytes]],
    plan: ExtractionPlan,
    bytes_done: Callable[[int], None] | None,
) -> Iterator[FileEvidence]:
    if not read:
        return
    texts = [(source.path, text) for source, _, text in read]
    baselines = [plan.baselines.get(path) for path, _ in texts]
    scanned = scan_small_files(
        texts,
        budget_tokens=plan.budget_tokens,
        max_line_bytes=plan.max_line_bytes,
        baselines=baselines,
        learn=plan.learn,
    )
    for (source, facts, text), baseline, (said, chunks) in zip(read, baselines, scanned, strict=True):
        if bytes_done is not None:
            bytes_done(len(text))
        yield build_evidence(source, facts, said, chunks, compared=baseline is not None)


def read_line_blocks(
    source: Source,
    facts: ReadFacts,
    *,
    max_line_bytes: int = MAX_LINE_BYTES,
    block_bytes: int = EVENT_BYTES,
    bytes_done: Callable[[int], None] | None = None,
) -> Iterator[pl.Series]:
    """Yield the lines of a source in blocks; invalid bytes are replaced, and told in `facts` at the end."""
    replaced = False
    blocks = read_blocks(source, facts, block_bytes=block_bytes, max_line_bytes=max_line_bytes)
    for block in _count(blocks, bytes_done):
        lines, valid = split_lines(block, max_line_bytes, trusted=not replaced)
        replaced = replaced or not valid
        yield lines
    if replaced and not facts.error:
        facts.error = t("source.invalid_utf8", path=source.path)
        facts.encoding = f"{facts.encoding} (invalid bytes replaced)"


def _read(source: Source, facts: ReadFacts, plan: ExtractionPlan) -> Iterator[bytes]:
    """Yield the text of a source; the lines of events that are not wanted are empty."""
    if plan.wanted is None:
        return read_blocks(source, facts, max_line_bytes=plan.max_line_bytes)
    from bifrost_flow.evidence.filtering import blank_dropped_lines

    lines = read_line_blocks(source, facts, max_line_bytes=plan.max_line_bytes, block_bytes=BLOCK_BYTES)
    return blank_dropped_lines(lines, plan.wanted)


def _count(blocks: Iterator[bytes], bytes_done: Callable[[int], None] | None) -> Iterator[bytes]:
    for block in blocks:
        yield block
        if bytes_done is not None:
            bytes_done(len(block))


def build_evidence(
    source: Source, facts: ReadFacts, said: Facts, chunks: Sequence[Chunk], *, compared: bool
) -> FileEvidence:
    """Return what was made of a source that was read to its end."""
    file = describe_file(source, facts, said)
    return FileEvidence(file, tuple(chunks), compared, said.learnt, said.unshown)


def describe_file(source: Source, facts: ReadFacts, said: Facts) -> LogFile:
    """Return the `files` row of a source that was read to its end."""
    return LogFile(
        path=source.path,
        sha256=facts.sha256,
        bytes=facts.bytes,
        lines=said.lines,
        encoding=facts.encoding if said.valid else f"{facts.encoding} (invalid bytes replaced)",
        format=facts.format,
        ci_system=said.ci_system,
        job=said.job,
        first_ts=said.first_ts,
        last_ts=said.last_ts,
        outcome=said.outcome,
        status=facts.status,
        error=facts.error or (None if said.valid else t("source.invalid_utf8", path=source.path)),
        version=source.identity,
    )

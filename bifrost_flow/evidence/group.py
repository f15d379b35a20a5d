"""Group the failures of a run by fingerprint."""

from collections.abc import Sequence

from bifrost_flow.records import MIN_FAILURE_SCORE, Chunk, FileEvidence, Group

# Scores step with the shape of a line and its place: this near stands another failure of the same sort, not
# the details or the consequences of the best.
NEAR_BEST = 0.97
FAILING = ("error", "critical")


def pick_failures(evidence: FileEvidence, *, every: bool = False) -> list[Chunk]:
    """Return the chunks of a file that are failures in their own right: the best, and others near it.

    With `every`, also those further from the best: what went wrong beside it.
    Where nothing tells how a job ended, its last lines are no failure for being the last.
    """
    if evidence.file.outcome == "passed" or not evidence.chunks:
        return []
    bar = MIN_FAILURE_SCORE if every else max(MIN_FAILURE_SCORE, evidence.chunks[0].score * NEAR_BEST)
    return [
        chunk
        for chunk in evidence.chunks
        if chunk.severity in FAILING and (chunk.rank == 1 or chunk.score >= bar)
    ]


def group_chunks(evidence: Sequence[FileEvidence], *, every: bool = False) -> list[Group]:
    """Return the distinct failures of a run, largest group first; the order of `evidence` has no
    influence. `every` is as for `pick_failures`."""
    groups: dict[str, list[Chunk]] = {}
    for file in evidence:
        for chunk in pick_failures(file, every=every):
            groups.setdefault(chunk.fingerprint, []).append(chunk)
    made = []
    for fingerprint, chunks in groups.items():
        ordered = sorted(chunks, key=lambda chunk: (chunk.path, chunk.line_start, chunk.chunk_id))
        exemplar = max(ordered, key=lambda chunk: (chunk.score, chunk.tokens, chunk.text, chunk.path))
        made.append(Group(fingerprint, exemplar, tuple(ordered)))
    return sorted(made, key=lambda group: (-len(group.chunks), -group.exemplar.score, group.fingerprint))

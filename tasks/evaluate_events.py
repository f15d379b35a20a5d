"""Compare events, and what is brought together, with what people say of logs."""

import tempfile
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from bifrost_flow.evaluation_events import EventScores, EventTally, FoundEvent, score_signatures
from bifrost_flow.evidence.events import split_events
from bifrost_flow.language import t
from bifrost_flow.progress import progress, stop_requested
from connectors.event_labels import read_event_labels
from connectors.extraction import extract_evidence, read_line_blocks
from connectors.sources import ReadFacts, Source
from tasks.stage import stage


class SplitEvent(NamedTuple):
    """What is scored of an event."""

    line_start: int
    line_end: int
    timestamp: datetime | None
    severity: str | None
    fingerprint: str


@stage("score-events")
def score_events(folder: str, *, budget_tokens: int) -> EventScores:
    """Return the scores of the events of `folder`; when a stop is requested, of those read until then.

    Crashes are brought together by the fingerprint of the first chunk at `budget_tokens`.
    """
    progress().start_stage("score_events", None)
    labelled = read_event_labels(folder)
    tally = EventTally()
    for path, log in labelled.logs:
        if stop_requested():
            break
        tally.add_events(log, read_events(path))
    with tempfile.TemporaryDirectory(prefix="bifrost-records-") as spool:
        place = Path(spool) / "record.log"
        for text, record in labelled.records:
            if stop_requested():
                break
            place.write_text(f"{text}\n", encoding="utf-8", newline="\n")
            tally.add_events(record, read_events(place))
    for path, lines in labelled.lines:
        if stop_requested():
            break
        tally.add_lines(lines, read_events(path))
    found = find_signatures(labelled.crashes, budget_tokens=budget_tokens)
    scores = tally.sum_up(score_signatures(labelled.crashes, found))
    progress().end_stage("score_events", t("evaluate.events_scored", logs=scores.logs, times=scores.times))
    return scores


def read_events(path: Path) -> list[FoundEvent]:
    """Return the events of a log."""
    source = Source(str(path), path, path.stat().st_size)
    columns = ("line_start", "line_end", "timestamp", "severity", "fingerprint")
    return [
        SplitEvent(*row)
        for block in split_events(read_line_blocks(source, ReadFacts()))
        for row in block.events.select(columns).iter_rows()
    ]


def find_signatures(paths: Iterable[str], *, budget_tokens: int) -> dict[str, str]:
    """Return the fingerprint of the first-ranked chunk of each log that has any."""
    sources = [Source(path, Path(path), Path(path).stat().st_size) for path in paths]
    found = {}
    for evidence in extract_evidence(sources, budget_tokens=budget_tokens):
        if best := min(evidence.chunks, key=lambda chunk: chunk.rank, default=None):
            found[evidence.file.path] = best.fingerprint
        if stop_requested():
            break
    return found

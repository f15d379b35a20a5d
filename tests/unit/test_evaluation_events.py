"""What counts as a right event, as like lines and as like crashes, and what labels of events look like."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bifrost_flow.errors import SettingsError
from bifrost_flow.evaluation_events import (
    EventTally,
    ExpectedEvent,
    LabelledEvents,
    LabelledLines,
    list_event_metrics,
    score_signatures,
)
from connectors.event_labels import EVENTS, RECORDS, read_event_labels

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOON_MS = 1_772_366_400_000


@dataclass(frozen=True, slots=True)
class Found:
    """An event as the extractor would find it."""

    line_start: int
    line_end: int
    timestamp: datetime | None = None
    severity: str | None = None
    fingerprint: str = "f"


def tally_events(expected: Sequence[ExpectedEvent], *found: Found, whole: bool = True) -> EventTally:
    tally = EventTally()
    tally.add_events(LabelledEvents("a.log", tuple(expected), whole), found)
    return tally


def test_boundaries_are_judged_by_both_ends() -> None:
    """An event of too few lines is as wrong as one that is not there; F1 is the mean over logs."""
    wanted = [ExpectedEvent(1, 1), ExpectedEvent(2, 4)]
    tally = tally_events(wanted, Found(1, 1), Found(2, 3), Found(4, 4))
    assert tally.sum_up(None).boundaries_f1 == pytest.approx(2 / 5)
    tally.add_events(LabelledEvents("b.log", (ExpectedEvent(1, 1),)), [Found(1, 1)])
    assert tally.sum_up(None).boundaries_f1 == pytest.approx((2 / 5 + 1) / 2)
    assert tally.sum_up(None).logs == 2


def test_times_are_right_to_the_millisecond_and_levels_on_our_scale() -> None:
    """A millisecond off is wrong, so is an event that begins elsewhere; `alert` is critical; what is not
    labelled is not judged."""
    wanted = [
        ExpectedEvent(1, 1, NOON_MS, "alert"),
        ExpectedEvent(2, 2, NOON_MS, "notice"),
        ExpectedEvent(3, 3, NOON_MS, "warn"),
        ExpectedEvent(4, 4, None, "default"),
    ]
    tally = tally_events(
        wanted,
        Found(1, 1, NOON, "critical"),
        Found(2, 3, NOON + timedelta(milliseconds=1), "info"),
        Found(4, 4, NOON, "error"),
    )
    scores = tally.sum_up(None)
    assert (scores.times, scores.times_right) == (3, pytest.approx(1 / 3))
    assert (scores.levels, scores.levels_right) == (3, pytest.approx(2 / 3))
    assert [line.split()[0] for line in scores.missed] == ["a.log:2", "a.log:3", "a.log:3"]


def test_a_record_is_judged_by_its_first_event() -> None:
    """Where a record alone begins or ends is not judged."""
    scores = tally_events([ExpectedEvent(1, 1, NOON_MS)], Found(2, 3, NOON), Found(4, 4), whole=False).sum_up(
        None
    )
    assert (scores.boundaries_f1, scores.times_right) == (None, 1.0)
    assert tally_events([ExpectedEvent(1, 1, NOON_MS)], whole=False).sum_up(None).times_right == 0.0


def test_grouping_counts_lines_of_groups_that_are_exactly_right() -> None:
    """A group that is split or joined is wrong with all its lines, and lines that are in no event stand
    alone."""
    labelled = LabelledLines("a", {1: "x", 2: "x", 3: "y", 4: "z", 5: "z"})
    tally = EventTally()
    tally.add_lines(labelled, [Found(1, 2, fingerprint="f1"), Found(4, 4, fingerprint="f2")])
    (log,) = tally.grouping
    assert (log.accuracy, log.f1) == (pytest.approx(3 / 5), pytest.approx(2 * 2 / 7))
    assert (log.groups_found, log.groups) == (4, 3)


def test_signatures_are_judged_by_pairs() -> None:
    """Three crashes of one kind are three pairs; a log without a fingerprint is like no other."""
    scores = score_signatures(
        {"a": "s", "b": "s", "c": "s", "d": "t"}, {"a": "f", "b": "f", "d": "f", "e": "f"}
    )
    assert scores is not None
    assert (scores.crashes, scores.pairs) == (4, 3)
    assert (scores.precision, scores.recall, scores.f1) == pytest.approx((1 / 3, 1 / 3, 2 / 6))
    assert score_signatures({}, {}) is None


def test_metrics_leave_out_what_was_not_judged() -> None:
    """MLflow gets a number for each score that there is."""
    scores = tally_events([ExpectedEvent(1, 1)], Found(1, 1)).sum_up(None)
    assert list_event_metrics(scores) == {"events.boundaries_f1": 1.0}


def test_labels_of_all_kinds_are_read(tmp_path: Path) -> None:
    """Times become milliseconds of UTC, a time of 1 is none, and groups come from the corrected column."""
    (tmp_path / "a.log").write_text("x\n", encoding="utf-8")
    event = {"line_start": 1, "line_end": 2, "timestamp": "2026-03-01T12:00:00.000999999Z", "severity": None}
    (tmp_path / EVENTS).write_text(json.dumps({"file": "a.log", "events": [event]}), encoding="utf-8")
    records = [{"id": "r", "record": "t", "expect": {"timestamp_ms": ms}} for ms in (1, 5)]
    (tmp_path / RECORDS).write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    (tmp_path / "a.labels.csv").write_text("LineId,EventId,CorrectedEventId\n1,E1,C7\n", encoding="utf-8")
    row = {"file": "a.log", "kind": "service", "system": "kernel", "meta": {"signature": "boom"}}
    (tmp_path / "labels.jsonl").write_text(json.dumps(row), encoding="utf-8")
    labelled = read_event_labels(str(tmp_path))
    ((path, log),) = labelled.logs
    assert (path, log.events) == (tmp_path / "a.log", (ExpectedEvent(1, 2, NOON_MS + 1),))
    assert [(text, each.events[0].timestamp_ms) for text, each in labelled.records] == [("t", None), ("t", 5)]
    assert labelled.lines == ((tmp_path / "a.log", LabelledLines("a", {1: "C7"})),)
    assert list(labelled.crashes) == [str(tmp_path / "a.log")]


@pytest.mark.parametrize(
    ("row", "trouble"),
    [
        ("", "where events are"),
        ('{"file": "../a.log", "events": []}', "outside"),
        ('{"file": "/a.log", "events": []}', "outside"),
        ('{"file": "gone.log", "events": []}', "gone.log"),
        ('{"file": "a.log"}', "events"),
        ("{", "line 1"),
    ],
)
def test_labels_that_are_none_are_told(tmp_path: Path, row: str, trouble: str) -> None:
    """What is wrong is said, with file and line."""
    (tmp_path / EVENTS).write_text(row, encoding="utf-8")
    with pytest.raises(SettingsError, match=trouble):
        read_event_labels(str(tmp_path))

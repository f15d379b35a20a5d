"""How well logs are split into events, and like lines and like crashes brought together, against labels.

Boundaries are the mean over logs of the F1 of (first line, last line). Times are right to the millisecond.
Grouping accuracy is the share of lines whose group holds exactly the lines that belong together (Zhu et al.,
"Tools and Benchmarks for Automated Log Parsing", 2019), and F1 is over groups. Signatures are judged by the
pairs of crashes that have the same one.
"""

import statistics
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import combinations
from typing import Protocol

# What other scales call their levels; what is in none of them stays as it is.
LEVELS: Mapping[str, str | None] = {
    "notice": "info",
    "ok": "info",
    "information": "info",
    "warn": "warning",
    "err": "error",
    "alert": "critical",
    "emergency": "critical",
    "emerg": "critical",
    "fatal": "critical",
    "panic": "critical",
    "default": None,
}


class FoundEvent(Protocol):
    """The part of an event that is judged."""

    @property
    def line_start(self) -> int: ...
    @property
    def line_end(self) -> int: ...
    @property
    def timestamp(self) -> datetime | None: ...
    @property
    def severity(self) -> str | None: ...
    @property
    def fingerprint(self) -> str: ...


@dataclass(frozen=True, slots=True)
class ExpectedEvent:
    """What people say of an event; None: they do not say."""

    line_start: int
    line_end: int
    timestamp_ms: int | None = None  # since 1970, UTC
    severity: str | None = None


@dataclass(frozen=True, slots=True)
class LabelledEvents:
    """All events of a log; of a record that stands by itself, only time and level of the first."""

    name: str
    events: tuple[ExpectedEvent, ...]
    whole: bool = True  # whether boundaries are judged


@dataclass(frozen=True, slots=True)
class LabelledLines:
    """Which lines of a log belong together: line number to the name of its group."""

    name: str
    groups: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class GroupingScore:
    """How like lines of one log were brought together."""

    name: str
    accuracy: float
    f1: float
    groups_found: int
    groups: int


@dataclass(frozen=True, slots=True)
class SignatureScore:
    """How crashes were brought together."""

    crashes: int
    pairs: int  # that belong together
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class EventScores:
    """The scores of events; shares are 0…1, None where no label says."""

    logs: int  # whose boundaries are labelled
    boundaries_f1: float | None
    times: int
    times_right: float | None
    levels: int
    levels_right: float | None
    grouping: tuple[GroupingScore, ...]
    grouping_accuracy: float | None  # means over logs
    grouping_f1: float | None
    signatures: SignatureScore | None
    missed: tuple[str, ...] = ()  # a line for each time and level that is wrong


@dataclass(slots=True)
class EventTally:
    """Counts what is right, log by log."""

    boundaries: list[float] = field(default_factory=list)
    times: list[bool] = field(default_factory=list)
    levels: list[bool] = field(default_factory=list)
    grouping: list[GroupingScore] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def add_events(self, labelled: LabelledEvents, found: Sequence[FoundEvent]) -> None:
        """Count boundaries, times and levels of one log."""
        if labelled.whole:
            wanted = {(each.line_start, each.line_end) for each in labelled.events}
            self.boundaries.append(measure_f1(wanted, {(each.line_start, each.line_end) for each in found}))
        # A record by itself is judged by its first event, wherever that begins.
        starts = {each.line_start: each for each in found} if labelled.whole else {1: next(iter(found), None)}
        for expected in labelled.events:
            event = starts.get(expected.line_start)
            place = f"{labelled.name}:{expected.line_start}"
            if expected.timestamp_ms is not None:
                when = count_millis(event.timestamp) if event and event.timestamp else None
                self._check(self.times, place, expected.timestamp_ms, when)
            if level := fold_level(expected.severity):
                self._check(self.levels, place, level, fold_level(event.severity) if event else None)

    def _check(self, counted: list[bool], place: str, wanted: object, found: object) -> None:
        counted.append(wanted == found)
        if wanted != found:
            self.missed.append(f"{place}  {wanted} ≠ {found}")

    def add_lines(self, labelled: LabelledLines, found: Iterable[FoundEvent]) -> None:
        """Count how the lines of one log were grouped."""
        fingerprints = {
            number: event.fingerprint
            for event in found
            for number in range(event.line_start, event.line_end + 1)
        }
        wanted = collect_groups(labelled.groups)
        have = collect_groups({number: fingerprints.get(number, number) for number in labelled.groups})
        right = wanted & have
        self.grouping.append(
            GroupingScore(
                labelled.name,
                accuracy=sum(map(len, right)) / max(1, len(labelled.groups)),
                f1=measure_f1(wanted, have),
                groups_found=len(have),
                groups=len(wanted),
            )
        )

    def sum_up(self, signatures: SignatureScore | None) -> EventScores:
        """Return the scores of all that was added."""
        return EventScores(
            logs=len(self.boundaries),
            boundaries_f1=_mean(self.boundaries),
            times=len(self.times),
            times_right=_mean(self.times),
            levels=len(self.levels),
            levels_right=_mean(self.levels),
            grouping=tuple(self.grouping),
            grouping_accuracy=_mean([each.accuracy for each in self.grouping]),
            grouping_f1=_mean([each.f1 for each in self.grouping]),
            signatures=signatures,
            missed=tuple(self.missed),
        )


def score_signatures(wanted: Mapping[str, str], found: Mapping[str, str]) -> SignatureScore | None:
    """Return how crashes with the same signature share a fingerprint, both by log; None without crashes."""
    if not wanted:
        return None
    right = list_pairs(wanted)
    have = list_pairs({log: found.get(log, log) for log in wanted})
    hit = len(right & have)
    return SignatureScore(
        crashes=len(wanted),
        pairs=len(right),
        precision=hit / max(1, len(have)),
        recall=hit / max(1, len(right)),
        f1=measure_f1(right, have),
    )


def measure_f1(wanted: Collection[Hashable], found: Collection[Hashable]) -> float:
    """Return the harmonic mean of precision and recall; 1 where nothing is wanted and nothing found."""
    if not wanted and not found:
        return 1.0
    return 2 * len(set(wanted) & set(found)) / (len(wanted) + len(found))


def collect_groups(names: Mapping[int, Hashable]) -> set[frozenset[int]]:
    """Return the sets of numbers that have the same name."""
    groups: defaultdict[Hashable, set[int]] = defaultdict(set)
    for number, name in names.items():
        groups[name].add(number)
    return {frozenset(group) for group in groups.values()}


def list_pairs(names: Mapping[str, str]) -> set[frozenset[str]]:
    """Return the pairs of logs that have the same name."""
    return {frozenset(pair) for pair in combinations(sorted(names), 2) if names[pair[0]] == names[pair[1]]}


def fold_level(level: str | None) -> str | None:
    """Return a level on our scale; None for none."""
    level = (level or "").lower() or None
    return LEVELS.get(level, level) if level else None


def count_millis(when: datetime) -> int:
    """Return the milliseconds since 1970, rounded, of a time that knows its zone."""
    return round(when.timestamp() * 1000)


def list_event_metrics(scores: EventScores) -> dict[str, float]:
    """Return the numbers by dotted name, such as `events.boundaries_f1`."""
    names = ("boundaries_f1", "times_right", "levels_right", "grouping_accuracy", "grouping_f1")
    numbers = {f"events.{name}": getattr(scores, name) for name in names}
    if scores.signatures:
        numbers["events.signatures_f1"] = scores.signatures.f1
    return {name: value for name, value in numbers.items() if value is not None}


def _mean(values: Sequence[float]) -> float | None:
    return statistics.mean(map(float, values)) if values else None

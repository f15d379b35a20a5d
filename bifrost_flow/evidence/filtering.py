"""Keep or drop whole events by level, words and time, and count what was kept."""

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from bifrost_flow.errors import SettingsError
from bifrost_flow.evidence.events import Event
from bifrost_flow.evidence.times import find_stamp
from bifrost_flow.language import t
from bifrost_flow.records import SEVERITIES

_AGO = re.compile(
    r"^(\d+(?:\.\d+)?)\s*(s|sec|seconds?|m|min|minutes?|h|hours?|d|days?|w|weeks?)(?:\s+ago)?$", re.I
)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True, slots=True)
class EventFilter:
    """What an event must have; nothing set keeps everything. Times are aware."""

    severity: str | None = None  # this one or worse
    patterns: tuple[re.Pattern[str], ...] = ()  # all must be found, in any line of the event
    since: datetime | None = None
    until: datetime | None = None

    def keeps(self, event: Event) -> bool:
        """Tell whether `event` passes; one whose level or time is asked for and unknown does not."""
        if self.severity is not None and not _reaches(event.severity, self.severity):
            return False
        if self.since is not None or self.until is not None:
            when = event.timestamp
            if when is None or (self.since and when < self.since) or (self.until and when > self.until):
                return False
        return all(pattern.search(event.text) for pattern in self.patterns)


def _reaches(level: str | None, least: str) -> bool:
    return level is not None and SEVERITIES.index(level) >= SEVERITIES.index(least)


def build_filter(
    *,
    severity: str | None,
    keywords: list[str],
    regex: bool,
    since: str | None,
    until: str | None,
    now: datetime | None = None,
) -> EventFilter:
    """Return the filter that a user's words ask for; keywords are found in any case.

    Raises:
        SettingsError: a level, pattern or time can't be understood.
    """
    if severity is not None and severity.lower() not in SEVERITIES:
        raise SettingsError(t("evidence.bad_severity", value=severity, choices=", ".join(SEVERITIES)))
    patterns = []
    for keyword in keywords:
        try:
            patterns.append(re.compile(keyword if regex else re.escape(keyword), re.IGNORECASE))
        except re.error as error:
            raise SettingsError(t("evidence.bad_regex", value=keyword, reason=error)) from error
    present = now or datetime.now(UTC)
    return EventFilter(
        severity.lower() if severity else None,
        tuple(patterns),
        parse_when(since, present) if since else None,
        parse_when(until, present) if until else None,
    )


def parse_when(text: str, now: datetime) -> datetime:
    """Return the time that `text` names: `2h ago`, `30m`, `2026-11-23 10:00`, with a zone or in UTC.

    Raises:
        SettingsError: it names none.
    """
    if found := _AGO.match(text.strip()):
        return now - timedelta(seconds=float(found[1]) * _UNITS[found[2][0].lower()])
    try:
        when = datetime.fromisoformat(text.strip())
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except ValueError:
        stamp = find_stamp(text.strip())
        if stamp is None or stamp.when is None:
            raise SettingsError(t("evidence.bad_time", value=text)) from None
        return stamp.when


@dataclass(slots=True)
class EventStats:
    """Counts over the events that were kept."""

    events: int = 0
    lines: int = 0
    levels: Counter[str] = field(default_factory=Counter)
    templates: Counter[str] = field(default_factory=Counter)
    minutes: Counter[str] = field(default_factory=Counter)
    max_templates: int = 100_000

    def add(self, event: Event) -> None:
        """Count `event`."""
        self.events += 1
        self.lines += event.line_end - event.line_start + 1
        self.levels[event.severity or "none"] += 1
        if event.template in self.templates or len(self.templates) < self.max_templates:
            self.templates[event.template] += 1
        if event.timestamp is not None:
            self.minutes[event.timestamp.strftime("%Y-%m-%dT%H:%MZ")] += 1

    def summarise(self, top: int = 10) -> dict[str, object]:
        """Return the counts as plain values: the most frequent templates and the busiest minutes only."""
        return {
            "events": self.events,
            "lines": self.lines,
            "levels": {name: self.levels[name] for name in (*SEVERITIES, "none") if self.levels[name]},
            "templates": dict(self.templates.most_common(top)),
            "busiest_minutes": dict(self.minutes.most_common(top)),
        }

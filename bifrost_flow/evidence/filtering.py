"""Keep or drop whole events by level, words and time, and count what was kept."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import reduce
from operator import or_

import polars as pl

from bifrost_flow.errors import SettingsError
from bifrost_flow.evidence.events import EventBlock, split_events
from bifrost_flow.evidence.moments import parse_when
from bifrost_flow.language import t
from bifrost_flow.records import SEVERITIES


@dataclass(frozen=True, slots=True)
class EventFilter:
    """What an event must have; nothing set keeps everything. Times are aware."""

    severity: str | None = None  # this one or worse
    patterns: tuple[str, ...] = ()  # one of them must be found, in any line of the event
    since: datetime | None = None
    until: datetime | None = None

    def keeps(self, block: EventBlock) -> pl.Series:
        """Tell for each event of `block` whether it passes; one without what is asked for does not."""
        asked = [pl.lit(value=True)]
        if self.severity is not None:
            asked.append(pl.col("severity").is_in(SEVERITIES[SEVERITIES.index(self.severity) :]))
        if self.since is not None:
            asked.append(pl.col("timestamp") >= self.since)
        if self.until is not None:
            asked.append(pl.col("timestamp") <= self.until)
        if self.patterns:
            found = reduce(or_, (_search(block.lines, pattern) for pattern in self.patterns))
            # Counted up to each line, so that an event's own count is a difference.
            hits = pl.concat([pl.Series([0], dtype=pl.UInt32), found.cum_sum().cast(pl.UInt32)])
            behind = pl.lit(hits).gather(pl.col("line_end") - block.first + 1)
            asked.append(behind > pl.lit(hits).gather(pl.col("line_start") - block.first))
        kept = block.events.select(pl.all_horizontal(asked).fill_null(value=False).alias("kept"))["kept"]
        return kept if len(kept) == len(block.events) else pl.Series("kept", [True] * len(block.events))


def _search(lines: pl.Series, pattern: str) -> pl.Series:
    try:
        return lines.str.contains(pattern)
    except pl.exceptions.ComputeError:
        # What Polars' engine does not know, such as looking ahead.
        compiled = re.compile(pattern)
        return pl.Series([compiled.search(line) is not None for line in lines], dtype=pl.Boolean)


def build_filter(
    *,
    severity: str | None = None,
    keywords: Sequence[str] = (),
    regex: bool = False,
    since: str | None = None,
    until: str | None = None,
    now: datetime | None = None,
) -> EventFilter | None:
    """Return the filter that a user's words ask for, None if for none; keywords are found in any case.

    Raises:
        SettingsError: a level, pattern or time can't be understood.
    """
    if not (severity or keywords or since or until):
        return None
    if severity is not None and severity.lower() not in SEVERITIES:
        raise SettingsError(t("evidence.bad_severity", value=severity, choices=", ".join(SEVERITIES)))
    for keyword in keywords if regex else ():
        try:
            re.compile(keyword)
        except re.error as error:
            raise SettingsError(t("evidence.bad_regex", value=keyword, reason=error)) from error
    present = now or datetime.now(UTC)
    return EventFilter(
        severity.lower() if severity else None,
        tuple(f"(?i){keyword if regex else pl.escape_regex(keyword)}" for keyword in keywords),
        parse_when(since, present) if since else None,
        parse_when(until, present, end=True) if until else None,
    )


def mark_kept_lines(block: EventBlock, kept: pl.Series) -> pl.Series:
    """Tell for each line of `block` whether it belongs to an event that is kept."""
    # One more at the first line of each kept event, one less behind its last.
    steps = pl.concat(
        [
            block.events.filter(kept).select(at=pl.col("line_start") - block.first, step=pl.lit(1, pl.Int8)),
            block.events.filter(kept).select(
                at=pl.col("line_end") - block.first + 1, step=pl.lit(-1, pl.Int8)
            ),
        ]
    )
    changes = steps.group_by("at").agg(pl.col("step").sum())
    rows = pl.DataFrame({"at": pl.int_range(len(block.lines), eager=True, dtype=pl.Int64)})
    joined = rows.join(changes, on="at", how="left", maintain_order="left")
    return joined.select(pl.col("step").fill_null(0).cast(pl.Int64).cum_sum() > 0).to_series()


def blank_dropped_lines(blocks: Iterable[pl.Series], wanted: EventFilter) -> Iterator[bytes]:
    """Yield the text of a log in which lines of events that `wanted` drops are empty; line numbers stay."""
    for block in split_events(blocks):
        shown = mark_kept_lines(block, wanted.keeps(block))
        lines = pl.DataFrame({"line": block.lines, "shown": shown})
        text = lines.select(pl.when("shown").then("line").otherwise(pl.lit("")).str.join("\n")).item()
        yield f"{text}\n".encode()


@dataclass(slots=True)
class EventStats:
    """Counts over the events that were kept."""

    events: int = 0
    lines: int = 0
    levels: Counter[str] = field(default_factory=Counter)
    templates: Counter[str] = field(default_factory=Counter)
    minutes: Counter[str] = field(default_factory=Counter)
    max_different: int = 1_000_000  # templates, and minutes; of more, only those seen first are counted

    def add(self, events: pl.DataFrame) -> None:
        """Count `events` (`events.EVENT_SCHEMA`)."""
        self.events += len(events)
        self.lines += int((events["line_end"] - events["line_start"] + 1).sum())
        _count(self.levels, events["severity"].fill_null("none"), self.max_different)
        _count(self.templates, events["template"], self.max_different)
        minutes = events["timestamp"].drop_nulls().dt.truncate("1m").dt.to_string("%Y-%m-%dT%H:%MZ")
        _count(self.minutes, minutes, self.max_different)

    def summarise(self, top: int = 10) -> dict[str, object]:
        """Return the counts as plain values: the most frequent templates and the busiest minutes only."""
        return {
            "events": self.events,
            "lines": self.lines,
            "levels": {name: self.levels[name] for name in (*SEVERITIES, "none") if self.levels[name]},
            "templates": dict(self.templates.most_common(top)),
            "busiest_minutes": dict(self.minutes.most_common(top)),
        }


def _count(counter: Counter[str], values: pl.Series, limit: int) -> None:
    for value, count in values.value_counts(sort=True).iter_rows():
        if value in counter or len(counter) < limit:
            counter[value] += count

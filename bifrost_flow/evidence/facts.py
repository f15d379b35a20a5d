"""What the lines of a file say about it: which system wrote it, of which job, when, and how that ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from bifrost_flow.evidence import formats
from bifrost_flow.evidence.baseline import Baseline
from bifrost_flow.evidence.outcome import Signs, find_telling, judge_outcome


@dataclass(frozen=True, slots=True)
class Facts:
    """What the lines say about the file as a whole."""

    lines: int
    valid: bool  # UTF-8 throughout
    ci_system: str | None
    job: str | None
    first_ts: datetime | None
    last_ts: datetime | None
    outcome: str
    learnt: Baseline | None = None  # what the job says, where it passed and that was asked for
    unshown: tuple[str, ...] = ()  # fingerprints of failures that the budget left no room for


@dataclass(frozen=True, slots=True)
class Sketch:
    """What was kept of a file to tell its facts by; of short files first and last lines overlap."""

    path: str
    length: int
    valid: bool
    raw_head: list[str]
    raw_tail: list[str]
    head: list[str]  # cleaned, fewer
    tail: list[str]  # cleaned
    failed_steps: int
    resumed: bool  # a step began after the last one that failed
    worst: tuple[str, float] | None  # kind and score of the heaviest anchor
    since_worst: int  # lines after it
    survived: bool  # a step began after it
    unshown: tuple[str, ...] = ()  # see `Facts`


def tell_facts(sketches: Sequence[Sketch]) -> list[Facts]:
    """Return the facts of each file, patterns matched over the lines of all of them in one go."""
    ends = ["\n".join(_ends_of(sketch)) for sketch in sketches]
    systems = formats.detect_systems(pl.Series(ends, dtype=pl.String))
    heads = pl.Series(["\n".join(sketch.head) for sketch in sketches], dtype=pl.String)
    jobs = formats.detect_jobs(heads)
    tails = pl.Series([line for sketch in sketches for line in sketch.tail], dtype=pl.String)
    telling = find_telling(tails).to_list()
    facts = []
    start = 0
    for sketch, system, job in zip(sketches, systems, jobs, strict=True):
        end = start + len(sketch.tail)
        facts.append(_tell(sketch, system, job, telling[start:end]))
        start = end
    return facts


def _ends_of(sketch: Sketch) -> list[str]:
    """Return the first and last lines as they are, each once."""
    doubled = max(0, len(sketch.raw_head) + len(sketch.raw_tail) - sketch.length)
    return sketch.raw_head + sketch.raw_tail[doubled:]


def _tell(sketch: Sketch, system: str | None, job: str | None, telling: list[bool]) -> Facts:
    signs = Signs(
        failed_steps=sketch.failed_steps,
        resumed=sketch.resumed,
        worst=sketch.worst,
        since_worst=sketch.since_worst,
        survived=sketch.survived,
        ci_system=system,
        dated=system is None and formats.are_dated(sketch.raw_tail),
    )
    first = sketch.raw_head[0] if sketch.raw_head else ""
    return Facts(
        sketch.length,
        sketch.valid,
        system,
        job or formats.read_job(first, sketch.path),
        next((when for line in sketch.raw_head if (when := formats.parse_time(line))), None),
        next((when for line in reversed(sketch.raw_tail) if (when := formats.parse_time(line))), None),
        judge_outcome(sketch.head, sketch.tail, signs, telling),
        unshown=sketch.unshown,
    )

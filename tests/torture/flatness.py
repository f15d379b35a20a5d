"""Is a process that runs for long flat? Samples of what it holds, and the verdict over them.

Samples are put into windows of time. Of memory a window's median counts, of handles and threads its least:
each run that goes on holds some, and gives them back. What grows is told by the median of the slopes between
all windows (Theil and Sen), which single spikes don't move. The first part of the time is warm-up.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

WARM_UP = 0.25  # of the time
WINDOWS = 24


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process held at a time."""

    at_s: float
    memory_mib: float  # resident
    handles: int
    threads: int


@dataclass(frozen=True, slots=True)
class Bound:
    """What may grow by how much over the judged time: a flat part, and one for each hour."""

    what: str
    unit: str
    read: Callable[[Sample], float]
    pick: Callable[[Iterable[float]], float]  # what counts of a window
    flat: float
    per_hour: float

    def allow(self, span_s: float) -> float:
        return self.flat + self.per_hour * span_s / 3600


BOUNDS = (
    Bound("memory", "MiB", lambda sample: sample.memory_mib, statistics.median, 2.0, 8.0),
    Bound("file handles", "handles", lambda sample: sample.handles, min, 0.5, 0.0),
    Bound("threads", "threads", lambda sample: sample.threads, min, 0.5, 0.0),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one of `BOUNDS` came out; `growth` is the slope times the judged time."""

    bound: Bound
    first: float
    last: float
    growth: float
    allowed: float

    @property
    def flat(self) -> bool:
        return self.growth <= self.allowed


def take_sample(pid: int, at_s: float) -> Sample:
    """Read what process `pid` holds (Linux).

    Raises:
        OSError: it has ended.
    """
    fields = dict(
        line.split(":", 1)
        for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
        if ":" in line
    )
    handles = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return Sample(at_s, int(fields["VmRSS"].split()[0]) / 1024, handles, int(fields["Threads"]))


def judge(samples: Sequence[Sample]) -> list[Verdict]:
    """Return a verdict for each bound.

    Raises:
        ValueError: there are too few samples to tell.
    """
    windows = divide(samples)
    span_s = windows[-1][-1].at_s - windows[0][0].at_s
    verdicts = []
    for bound in BOUNDS:
        points = [
            (statistics.fmean(sample.at_s for sample in window), bound.pick(map(bound.read, window)))
            for window in windows
        ]
        growth = find_slope(points) * span_s
        verdicts.append(Verdict(bound, points[0][1], points[-1][1], growth, bound.allow(span_s)))
    return verdicts


def divide(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Return the windows of the time after warm-up."""
    begun, ended = samples[0].at_s, samples[-1].at_s
    since = begun + WARM_UP * (ended - begun)
    windows: list[list[Sample]] = [[] for _ in range(WINDOWS)]
    for sample in samples:
        if sample.at_s >= since:
            place = int((sample.at_s - since) / (ended - since) * WINDOWS)
            windows[min(place, WINDOWS - 1)].append(sample)
    filled = [window for window in windows if window]
    if len(filled) < WINDOWS // 2:
        raise ValueError("too few samples to tell whether a process is flat")
    return filled


def find_slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the median of the slopes between all pairs of points (Theil and Sen)."""
    return statistics.median((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2))

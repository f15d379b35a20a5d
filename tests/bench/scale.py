"""How time and memory grow with size: one file, distinct lines, files, runs in a warehouse, cached answers.

The exponent of time is the slope of a line through log size and log CPU time, less what the same command
takes for next to nothing, its start: 1 is linear. That of memory is of the whole peak: 0 is bounded. Writes
docs/scale.svg and docs/scale.md. CPU time is what counts, since a busy machine spoils the clock.
"""

import math
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.inputs import about_log, find_input, find_log
from tests.bench.measure import BIFROST, ROOT, CannotMeasure, Figure, Options, Usage, run, run_module
from tests.bench.plot import Curve, draw

TIME_BAR, MEMORY_BAR_MIB = 1.2, 1024.0
KEPT_MB = 200  # larger inputs are removed once they are measured
SMALL_FILE_BYTES = 2_000
KEYS = 10_000
LEAST_SHARE = 0.5  # of the start-up: below it, what a size takes is noise
DOCS = ROOT / "docs"

Make = Callable[[Options, int], Path]
Measure = Callable[[Path, int], Usage]


@dataclass(frozen=True, slots=True)
class Series:
    """What is made larger and larger."""

    name: str
    unit: str
    sizes: tuple[int, ...]
    full: tuple[int, ...]  # sizes that `--full` adds
    make: Make
    measure: Measure
    does: str


@dataclass(frozen=True, slots=True)
class Point:
    size: int
    used: Usage


@dataclass(frozen=True, slots=True)
class Grown:
    """A series, measured: `start` is for next to nothing."""

    series: Series
    start: Usage
    points: Sequence[Point]

    @property
    def time_exponent(self) -> float:
        """Of CPU time beyond the start, over the sizes for which that is more than noise."""
        told = [
            (point.size, point.used.cpu_s - self.start.cpu_s)
            for point in self.points
            if point.used.cpu_s - self.start.cpu_s > LEAST_SHARE * self.start.cpu_s
        ]
        return find_exponent(told)

    @property
    def memory_exponent(self) -> float:
        return find_exponent([(point.size, point.used.peak_mib) for point in self.points])


def find_exponent(points: Sequence[tuple[float, float]]) -> float:
    """Return b of the best y = a · x^b, by least squares over logarithms; nan for fewer than two points."""
    if len(points) < 2:
        return math.nan
    xs, ys = [math.log(x) for x, _ in points], [math.log(y) for _, y in points]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    above = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    return above / sum((x - mean_x) ** 2 for x in xs)


def show_exponent(exponent: float) -> str:
    """Return it for people; where no size takes more than the start does, there is none."""
    return "–" if math.isnan(exponent) else f"{exponent:.2f}"


def _extract(path: Path, _size: int) -> Usage:
    return run([BIFROST, "extract", path, "--format", "jsonl"])


def _make_log(options: Options, mb: int) -> Path:
    if shutil.disk_usage(options.folder).free < 1.2e6 * mb:
        raise CannotMeasure(f"{options.folder}: there is no room for a log of {mb} MB; name another --dir")
    return find_log(options, mb)


def _make_files(options: Options, count: int) -> Path:
    log = find_log(options, 250)
    return find_input(options.folder, "small", log, count, SMALL_FILE_BYTES)


def _look(path: Path, _size: int) -> Usage:
    """Do all that `tests.bench.runs` looks at, one after the other, in a process of its own."""
    return run_module("runs", "all", path, out=path.parent / "runs.out")


def _compact(path: Path, _size: int) -> Usage:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        place = shutil.copytree(path, Path(folder) / "warehouse")
        return run_module("runs", "compact", place, out=path.parent / "runs.out")


def _look_up(path: Path, size: int) -> Usage:
    return run_module("cache", path, str(size), str(min(KEYS, size)), out=path.parent / "cache.out")


def _maker(kind: str) -> Make:
    return lambda options, size: find_input(options.folder, kind, size)


LINES = ((10_000, 30_000, 100_000, 300_000, 1_000_000), ())
RUNS = ((10, 30, 100, 300, 1_000), ())
ALL = (
    Series("one file", "MB", (1, 10, 100, 300, 1_000), (3_000, 10_000), _make_log, _extract, "extract"),
    Series("distinct lines", "lines", *LINES, _maker("distinct"), _extract, "extract"),
    Series("distinct failures", "lines", *LINES, _maker("errors"), _extract, "extract"),
    Series("files of 2 KB", "files", (100, 1_000, 10_000), (100_000,), _make_files, _extract, "extract"),
    Series("runs, looked at", "runs", *RUNS, _maker("runs"), _look, "history, show, statuses, trend"),
    Series("runs, merged", "runs", *RUNS, _maker("runs"), _compact, "compact"),
    Series(
        "cached answers",
        "answers",
        (10_000, 100_000, 1_000_000),
        (),
        _maker("answers"),
        _look_up,
        f"look up {KEYS:,} keys",
    ),
)
NOTHING = 1  # the size for next to nothing


def measure_scale(options: Options) -> Iterator[Figure]:
    """Yield the exponents of each series and its largest peak, and write the plot and the table."""
    begun, grown = time.monotonic(), []
    for series in ALL:
        each = _measure(series, options)
        grown.append(each)
        last = each.points[-1]
        what = f"{series.name}, {series.sizes[0]:,} to {last.size:,} {series.unit}"
        note = f"{last.size:,}: {last.used}"
        if not math.isnan(each.time_exponent):  # else no size takes more than the start
            yield Figure(
                "scale", f"{what}: exponent of CPU time", each.time_exponent, "", TIME_BAR, note=note
            )
        yield Figure("scale", f"{what}: exponent of peak memory", each.memory_exponent, "")
        peak = max(point.used.peak_mib for point in each.points)
        yield Figure("scale", f"{what}: peak memory", peak, "MiB", MEMORY_BAR_MIB)
    _write(grown, full=options.full, minutes=(time.monotonic() - begun) / 60)


def _measure(series: Series, options: Options) -> Grown:
    start = _measure_size(series, options, NOTHING)
    points = []
    for size in (*series.sizes, *(series.full if options.full else ())):
        points.append(Point(size, _measure_size(series, options, size)))
        print(f"  {series.name}, {size:,} {series.unit}: {points[-1].used}", file=sys.stderr, flush=True)
    return Grown(series, start, points)


def _measure_size(series: Series, options: Options, size: int) -> Usage:
    path = series.make(options, size)
    try:
        return series.measure(path, size)
    finally:
        if series.unit == "MB" and size > KEPT_MB:
            path.unlink()
            about_log(path).unlink()
        elif path.is_dir() and size > 10_000 and series.unit == "files":
            shutil.rmtree(path)


def _write(grown: Sequence[Grown], *, full: bool, minutes: float) -> None:
    curves = {
        "CPU time, s": [
            Curve(
                each.series.name,
                [(point.size, point.used.cpu_s) for point in each.points],
                show_exponent(each.time_exponent),
            )
            for each in grown
        ],
        "peak memory, MiB": [
            Curve(
                each.series.name,
                [(point.size, point.used.peak_mib) for point in each.points],
                f"{each.memory_exponent:.2f}",
            )
            for each in grown
        ],
    }
    (DOCS / "scale.svg").write_text(draw(curves, across="size: MB, lines, files, runs, answers"), "utf-8")
    (DOCS / "scale.md").write_text(describe(grown, full=full, minutes=minutes), "utf-8")


def describe(grown: Sequence[Grown], *, full: bool, minutes: float) -> str:
    """Return the table and what it was made on, as Markdown."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[2]
    lines = [
        "# How time and memory grow with size",
        "",
        "![CPU time and peak memory against size, both axes logarithmic](scale.svg)",
        "",
        f'Made by `make bench BENCH="scale{" --full" if full else ""}"` in {minutes:.0f} minutes, inputs '
        f"made included, on {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores, {memory:.0f} GiB, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, other load of "
        f"{load:.0f} meanwhile. CPU time counts, since the clock tells of the other load too.",
        "",
        "The exponent of time is of the CPU time beyond that of next to nothing, which is the start: 1 is "
        "linear; – where no size takes much more than that. That of memory is of the whole peak: 0 is "
        "bounded.",
        "",
        "| what | the command | largest | CPU | clock | peak | start, CPU | exponent of time | … of memory |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for each in grown:
        last = each.points[-1]
        lines.append(
            f"| {each.series.name} | {each.series.does} | {last.size:,} {each.series.unit} "
            f"| {last.used.cpu_s:.1f} s | {last.used.wall_s:.1f} s | {last.used.peak_mib:,.0f} MiB "
            f"| {each.start.cpu_s:.1f} s | {show_exponent(each.time_exponent)} | {each.memory_exponent:.2f} |"
        )
    lines += ["", "| what | size | CPU | clock | peak |", "|---|---|---|---|---|"]
    lines += [
        f"| {each.series.name} | {point.size:,} {each.series.unit} | {point.used.cpu_s:.2f} s "
        f"| {point.used.wall_s:.2f} s | {point.used.peak_mib:,.0f} MiB |"
        for each in grown
        for point in each.points
    ]
    return "\n".join(lines) + "\n"

"""`extract` on a large log against Polars counting its lines, the least that any reader does.

Two ratios: against the call alone, timed warm inside its process, which is the bar of the design; and of
whole processes, start-up included on both sides.
"""

import statistics
import sys
import time
from collections.abc import Iterator

from tests.bench.inputs import find_log
from tests.bench.make_log import STYLES
from tests.bench.measure import BIFROST, Figure, Options, Usage, run, run_module, take_turns

DEFAULT_MB = 500
BAR = 10.0
IN_SIGHT = 6.0
CALLS = 3
# A published extractor of this kind reads 0.6 to 0.9 MB/s; fifty times that is the bar.
BAR_MB_PER_S = 45.0


def measure_read(options: Options) -> Iterator[Figure]:
    """Yield ratio and pace for each style of log."""
    for style in STYLES:
        yield from _measure_style(options, style, options.mb or DEFAULT_MB)


def _measure_style(options: Options, style: str, mb: int) -> Iterator[Figure]:
    log = find_log(options, mb, style)
    walls_s: list[float] = []
    cpus_s: list[float] = []

    def count_warm() -> Usage:
        out = options.folder / "count.out"
        usage = run_module("read", "warm", log, out=out)
        for line in out.read_text().splitlines():
            wall_s, cpu_s = map(float, line.split())
            walls_s.append(wall_s)
            cpus_s.append(cpu_s)
        return usage

    taken = take_turns(
        options.rounds,
        warm=count_warm,
        count=lambda: run_module("read", "once", log),
        extract=lambda: run([BIFROST, "extract", log, "--format", "jsonl"]),
    )
    ours, call_s = taken["extract"], statistics.median(walls_s)
    name = f"extract, {mb} MB {style}"
    note = f"{IN_SIGHT:g} in sight; extract {ours}; the call {call_s:.3f} s"
    yield Figure("read", f"{name} / count, the call", ours.wall_s / call_s, "×", BAR, note=note)
    spent = ours.cpu_s / statistics.median(cpus_s)
    yield Figure(
        "read", f"{name} / count, the call, CPU", spent, "×", note="what a busy machine spoils least"
    )
    whole = ours.wall_s / taken["count"].wall_s
    yield Figure("read", f"{name} / count, processes", whole, "×", note=f"count {taken['count']}")
    pace = log.stat().st_size / 1e6 / ours.wall_s
    yield Figure("read", f"{name}, pace", pace, "MB/s", BAR_MB_PER_S, least=True)


def main() -> None:
    import polars as pl

    how, log = sys.argv[1:]
    for number in range(1 if how == "once" else 1 + CALLS):
        began, spent = time.perf_counter(), time.process_time()
        pl.scan_lines(log).select(pl.len()).collect()
        if number:
            print(time.perf_counter() - began, time.process_time() - spent)


if __name__ == "__main__":
    main()

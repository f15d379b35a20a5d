"""Peak memory of `extract` against the size of its input, and on inputs of the worst shapes.

A size above a gigabyte is asked for with `--mb`; its log is made in the folder, since `extract -` keeps what
it is given on disk too, and removed afterwards.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.bench.inputs import about_log, find_input, find_log
from tests.bench.measure import BIFROST, CannotMeasure, Figure, Options, run

SIZES_MB = (50, 200, 1000)
KEPT_MB = 1000
LINE_MB = 1000
LINES = 1_000_000
BAR_MIB = 1024.0


def measure_memory(options: Options) -> Iterator[Figure]:
    """Yield the peak for each size and shape, and how much it grows."""
    peaks: dict[int, float] = {}
    for mb in sorted({*SIZES_MB, *([options.mb] if options.mb else [])}):
        if shutil.disk_usage(options.folder).free < 1.2e6 * mb:
            raise CannotMeasure(
                f"{options.folder}: there is no room for a log of {mb} MB; name another --dir"
            )
        log = find_log(options, mb)
        figure = _measure(f"{mb} MB of log", log)
        if mb > KEPT_MB:
            log.unlink()
            about_log(log).unlink()
        peaks[mb] = figure.value
        yield figure
    least, most = min(peaks), max(peaks)
    growth = (peaks[most] - peaks[least]) / (most - least)
    yield Figure("memory", f"growth from {least} to {most} MB", growth, "MiB per MB")
    yield _measure(f"one line of {LINE_MB} MB", find_input(options.folder, "line", LINE_MB))
    yield _measure(f"{LINES:,} distinct failures", find_input(options.folder, "errors", LINES))
    yield _measure(f"{LINES:,} distinct lines, no failure", find_input(options.folder, "distinct", LINES))


def _measure(what: str, path: Path) -> Figure:
    used = run([BIFROST, "extract", path, "--format", "jsonl"])
    pace = path.stat().st_size / 1e6 / used.wall_s
    return Figure("memory", what, used.peak_mib, "MiB", BAR_MIB, note=f"{used}; {pace:,.0f} MB/s")

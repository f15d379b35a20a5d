"""Run a command as a process of its own and see what it takes; figures and the table of them.

The kernel counts the peak memory of a process from its fork on, so that of a small child is never below its
parent's: whoever measures must stay small. Hence inputs are made in processes of their own, and nothing
large is imported here. It does not add up processes either, so where the measured one has children, the
memory of all is read several times a second: their proportional sets, in which a page that n of them share
counts 1/n for each.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.console import BIFROST, PRIVATE

__all__ = [
    "BIFROST",
    "CannotMeasure",
    "Figure",
    "Options",
    "Usage",
    "clean_environment",
    "render_table",
    "run",
    "run_module",
    "take_turns",
]

PYTHON = sys.executable
ROOT = Path(__file__).resolve().parents[2]
LOOK_EVERY_S = 0.05
ENOUGH_S = 30.0  # after so long no further turn is begun
FINE = (0, 3)  # exit codes; 3 says that a part failed, such as a log that is no UTF-8


class CannotMeasure(Exception):
    """What was to be measured does not work here, and why."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process took, its waited-for children included; of several runs, the medians."""

    wall_s: float
    cpu_s: float
    peak_mib: float

    def __str__(self) -> str:
        return f"{self.wall_s:.2f} s wall, {self.cpu_s:.2f} s CPU, {self.peak_mib:,.0f} MiB"


@dataclass(frozen=True, slots=True)
class Options:
    """What the user of the bench chose."""

    folder: Path  # of inputs, kept between runs
    corpus: Path  # labelled logs, whose lines the large ones are made of
    mb: int | None  # size of the large input
    rounds: int
    full: bool = False  # the largest sizes too


@dataclass(frozen=True, slots=True)
class Figure:
    """A number, and the bar that it should not pass; `least` turns the bar into one to reach."""

    topic: str
    what: str
    value: float
    unit: str
    bar: float | None = None
    least: bool = False
    note: str = ""

    @property
    def met(self) -> bool | None:
        if self.bar is None:
            return None
        return self.value >= self.bar if self.least else self.value <= self.bar


def run(
    command: Sequence[str | Path], *, out: Path | None = None, environment: Mapping[str, str] | None = None
) -> Usage:
    """Run `command` to its end, its standard output in the file `out` or nowhere.

    Raises:
        CannotMeasure: it ended badly.
    """
    with (out or Path(os.devnull)).open("wb") as sink, tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command],
            stdout=sink,
            stderr=errors,
            cwd=ROOT,
            env={**clean_environment(), **(environment or {})},
        )
        family = _Family(process.pid)
        family.start()
        try:
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        finally:
            family.stop()
        wall_s = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in FINE:
            errors.seek(0)
            said = errors.read()[-4000:].decode("utf-8", "replace")
            raise CannotMeasure(f"{process.args} ended with {process.returncode}:\n{said}")
    # The kernel counts in KiB, macOS in bytes.
    peak_mib = used.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    return Usage(wall_s, used.ru_utime + used.ru_stime, max(peak_mib, family.peak_mib))


class _Family(threading.Thread):
    """Watches the memory of a process and all its descendants while it has any (Linux)."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak_mib = 0.0
        self._pid = pid
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(LOOK_EVERY_S):
            pids = list_family(self._pid)
            if len(pids) > 1:
                self.peak_mib = max(self.peak_mib, sum(map(read_memory_mib, pids)))

    def stop(self) -> None:
        self._stopped.set()


def list_family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            with suppress(OSError):  # it has ended meanwhile
                found += map(int, task.read_text().split())
    return found


def read_memory_mib(pid: int) -> float:
    """Return the proportional set size of a process; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def clean_environment() -> dict[str, str]:
    """Return our environment without the settings of whoever measures."""
    return {name: value for name, value in os.environ.items() if not name.startswith(PRIVATE)}


def run_module(name: str, *words: str | Path, out: Path | None = None) -> Usage:
    """Run a module of this package."""
    return run([PYTHON, "-m", f"tests.bench.{name}", *words], out=out)


def take_turns(rounds: int, **measured: Callable[[], Usage]) -> dict[str, Usage]:
    """Return the medians of several runs of each, in turn, so that a busy spell of the machine meets all.

    Where they are long, there are fewer.
    """
    taken: dict[str, list[Usage]] = {name: [] for name in measured}
    began = time.perf_counter()
    for _ in range(rounds):
        if time.perf_counter() - began > ENOUGH_S:
            break
        for name, measure in measured.items():
            taken[name].append(measure())
    return {
        name: Usage(
            statistics.median(each.wall_s for each in usages),
            statistics.median(each.cpu_s for each in usages),
            statistics.median(each.peak_mib for each in usages),
        )
        for name, usages in taken.items()
    }


def render_table(figures: Sequence[Figure]) -> str:
    """Return the figures as a table for a terminal."""
    rows = [("topic", "what", "figure", "bar", "met", "")]
    for each in figures:
        bar = "" if each.bar is None else f"{'≥' if each.least else '≤'} {each.bar:g}"
        met = {None: "", True: "yes", False: "NO"}[each.met]
        rows.append((each.topic, each.what, f"{each.value:,.2f} {each.unit}", bar, met, each.note))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = []
    for topic, what, figure, bar, met, note in rows:
        cells = (
            topic.ljust(widths[0]),
            what.ljust(widths[1]),
            figure.rjust(widths[2]),
            bar.rjust(widths[3]),
            met.ljust(widths[4]),
            note,
        )
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)

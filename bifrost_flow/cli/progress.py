"""Progress on standard error: live bars in a terminal, plain lines elsewhere."""

import sys
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column

from bifrost_flow.language import t
from bifrost_flow.progress import Silent
from bifrost_flow.render.defuse import make_visible, put_on_one_line

PLAIN_INTERVAL_S = 10.0
LONG_BYTES = 20_000_000  # below, reading is over before a bar is seen
WIDE_CELLS = 100  # a terminal from this width on has room for the long bar
BAR_CELLS, NARROW_BAR_CELLS = 24, 8
MIN_STAGE_CELLS = 9  # the longest name of a stage that most runs have: later stages don't shift the bars


class PlainProgress(Silent):
    """A line at each stage's end, and every ten seconds within a long one."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}
        self._told: dict[str, float] = {}
        self._totals: dict[str, int | None] = {}
        self._lock = threading.Lock()

    def start_stage(self, stage: str, total: int | None) -> None:
        with self._lock:
            self._began[stage] = self._told[stage] = time.monotonic()
            self._totals[stage] = total

    def advance(self, stage: str, done: int) -> None:
        with self._lock:
            now = time.monotonic()
            if now - self._told.get(stage, now) < PLAIN_INTERVAL_S:
                return
            self._told[stage] = now
            total = self._totals.get(stage)
        self.tell(f"{t(f'stage.{stage}')}: {done:,}" + (f" / {total:,}" if total else ""))

    def end_stage(self, stage: str, summary: str) -> None:
        took_s = time.monotonic() - self._began.get(stage, time.monotonic())
        self.tell(f"{t(f'stage.{stage}')}: {summary} ({took_s:.1f} s)")

    def tell(self, message: str) -> None:
        print(make_visible(message), file=sys.stderr, flush=True)


class LiveProgress(Silent):
    """A bar for each stage that is under way, and what was told above the bars."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn(
                "{task.description}",
                markup=False,
                table_column=Column(no_wrap=True, min_width=MIN_STAGE_CELLS),
            ),
            BarColumn(
                bar_width=BAR_CELLS if console.width >= WIDE_CELLS else NARROW_BAR_CELLS,
                table_column=Column(no_wrap=True),
            ),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TimeElapsedColumn(table_column=Column(no_wrap=True)),
            # A summary may hold long paths: it gets the cells that the others leave, and is cut to them.
            TextColumn(
                "{task.fields[summary]}",
                style="dim",
                markup=False,
                table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),
            ),
            console=console,
            transient=False,
            expand=True,
        )
        self._ids: dict[str, TaskID] = {}

    @property
    def bars(self) -> Progress:
        return self._bars

    def start_stage(self, stage: str, total: int | None) -> None:
        self._ids[stage] = self._bars.add_task(t(f"stage.{stage}"), total=total, summary="")

    def advance(self, stage: str, done: int) -> None:
        if stage in self._ids:
            self._bars.update(self._ids[stage], completed=done)

    def end_stage(self, stage: str, summary: str) -> None:
        if stage not in self._ids:
            return
        task = self._bars.tasks[self._bars.task_ids.index(self._ids[stage])]
        total = task.total or 1
        self._bars.update(self._ids[stage], total=total, completed=total, summary=put_on_one_line(summary))

    def tell(self, message: str) -> None:
        self._bars.console.print(make_visible(message), markup=False, highlight=False, emoji=False)


def show_progress(*, quiet: bool) -> tuple[Silent, AbstractContextManager[object]]:
    """Return who listens, and the context in which it shows, for this terminal or pipe."""
    if quiet:
        return Silent(), nullcontext()
    console = Console(stderr=True)
    if not console.is_terminal:
        return PlainProgress(), nullcontext()
    live = LiveProgress(console)
    return live, live.bars


class Reading:
    """A bar of the bytes read, on standard error; nothing if `quiet` or where that is no terminal."""

    def __init__(self, total_bytes: int, *, quiet: bool = False) -> None:
        console = Console(stderr=True)
        self._bar = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=BAR_CELLS),
            DownloadColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            redirect_stdout=False,
            disable=quiet or not console.is_terminal or total_bytes < LONG_BYTES,
        )
        self._task = self._bar.add_task("", total=total_bytes)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self, count: int) -> None:
        """Count `count` more bytes of text; of packed files they are more than those on disk."""
        self._bar.advance(self._task, count)

    def make_way(self) -> None:
        """End the bar where what is printed would run through it."""
        if sys.stdout.isatty():
            self._bar.stop()

"""What each step of `extract` costs in CPU, by a sampling profile of the real code.

Every few milliseconds the CPU clock of each Python thread is read, and what it has gained is put down to the
innermost function of ours that the thread is in. What Polars' own threads take is put down to the functions
that wait for Polars at the time. No step is named here, so it stays right when the code changes. One large
file is read, which takes one process; what child processes take is told as one figure.
"""

import json
import resource
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from tests.bench.inputs import find_log
from tests.bench.measure import ROOT, Figure, Options, run_module

DEFAULT_MB = 200
EVERY_S = 0.003
SHOWN = 16
OURS = tuple(str(ROOT / folder) + "/" for folder in ("bifrost_flow", "connectors"))
CHILDREN = "child processes"
NOWHERE = "the interpreter: start, imports, none of our functions"


def measure_steps(options: Options) -> Iterator[Figure]:
    """Yield CPU seconds per function of ours, the costliest first."""
    for style in ("gha", "service"):
        log = find_log(options, options.mb or DEFAULT_MB, style)
        out = options.folder / "steps.out"
        run_module("steps", log, out=out)
        seconds = json.loads(out.read_text())
        whole = sum(seconds.values())
        mb = log.stat().st_size / 1e6
        yield Figure("steps", f"{style}: all", whole, "s CPU", note=f"{mb / whole:,.0f} MB per s of CPU")
        for name, cpu_s in list(seconds.items())[:SHOWN]:
            yield Figure("steps", f"{style}: {name}", cpu_s, "s CPU", note=f"{cpu_s / whole:.1%}")


class Profile(threading.Thread):
    """Puts CPU time down to functions until it is stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._stopped = threading.Event()
        self._clocks: dict[int, float] = {}
        self._process_s = time.process_time()

    def run(self) -> None:
        while not self._stopped.wait(EVERY_S):
            self.sample()

    def stop(self) -> None:
        self._stopped.set()
        self.join()
        self.sample()

    def sample(self) -> None:
        waiting: list[str] = []
        spent = 0.0
        for ident, frame in sys._current_frames().items():
            gained = self._read_gain(ident)
            spent += gained
            if ident == self.ident:
                continue
            name, in_polars = name_step(frame)
            self.seconds[name] += gained
            if in_polars:
                waiting.append(name)
        now = time.process_time()
        # What no Python thread has gained, Polars' threads have.
        rest = max(0.0, now - self._process_s - spent)
        self._process_s = now
        for name in waiting or [NOWHERE]:
            self.seconds[name] += rest / max(1, len(waiting))

    def _read_gain(self, ident: int) -> float:
        try:
            clock = time.clock_gettime(time.pthread_getcpuclockid(ident))
        except OSError:
            return 0.0  # the thread has ended meanwhile
        before = self._clocks.get(ident, 0.0)
        self._clocks[ident] = clock
        return max(0.0, clock - before)


def name_step(frame: FrameType | None) -> tuple[str, bool]:
    """Return the innermost function of ours in a stack, and whether that waits for Polars."""
    in_polars = False
    while frame:
        path = frame.f_code.co_filename
        if path.startswith(OURS):
            module = Path(path).relative_to(ROOT).with_suffix("")
            return f"{'.'.join(module.parts)}.{frame.f_code.co_qualname}", in_polars
        in_polars = in_polars or "/polars/" in path
        frame = frame.f_back
    return NOWHERE, False


def main() -> None:
    from connectors.extraction import extract_evidence
    from connectors.sources import find_sources

    sources, _, _ = find_sources([sys.argv[1]])
    profile = Profile()
    profile.start()
    for _ in extract_evidence(sources, budget_tokens=2000):
        pass
    profile.stop()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    if spent := children.ru_utime + children.ru_stime:
        profile.seconds[CHILDREN] = spent
    print(json.dumps(dict(sorted(profile.seconds.items(), key=lambda item: -item[1]))))


if __name__ == "__main__":
    main()

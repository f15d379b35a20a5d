"""Processes that extract the evidence of many small files, one batch after the other.

Choosing lines is Python's work, so threads would stand in line for the interpreter. The processes speak
pickle over pipes that nobody else holds, and end with them. They are plain subprocesses, since
`multiprocessing` would run the caller's main module again in each.
"""

import gc
import os
import pickle
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self

from bifrost_flow.evidence.baseline import Baseline
from bifrost_flow.language import current_language, set_language
from bifrost_flow.records import FileEvidence
from connectors.sources import MAX_LINE_BYTES, Source, fetch_ahead

if TYPE_CHECKING:
    from bifrost_flow.evidence.filtering import EventFilter


@dataclass(frozen=True, slots=True)
class ExtractionPlan:
    """How sources are read and judged."""

    budget_tokens: int
    max_line_bytes: int = MAX_LINE_BYTES
    baselines: Mapping[str, Baseline] = field(default_factory=dict)  # by path: what passing runs say
    learn: bool = False  # what the jobs say that passed comes along
    wanted: "EventFilter | None" = None  # whose lines alone count
    hashed: bool = True  # files come with their SHA-256

    def narrow(self, sources: Iterable[Source]) -> "ExtractionPlan":
        """Return what concerns `sources` alone."""
        paths = [source.path for source in sources]
        return replace(
            self, baselines={path: self.baselines[path] for path in paths if path in self.baselines}
        )


class ExtractionPool:
    """Some processes, started when they are first needed; leaving the context ends them."""

    def __init__(self, processes: int, plan: ExtractionPlan) -> None:
        self.processes = processes
        self._plan = plan
        # Twice as many batches are out: of those in a bucket, some are fetched while others are read.
        self._threads = ThreadPoolExecutor(2 * processes)
        self._idle: SimpleQueue[subprocess.Popen[bytes] | None] = SimpleQueue()
        self._started: list[subprocess.Popen[bytes]] = []
        for _ in range(processes):
            self._idle.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            process.kill()
        self._threads.shutdown(cancel_futures=True)
        for process in self._started:
            process.communicate()

    def submit(self, batch: Sequence[Source]) -> "Future[list[FileEvidence] | None]":
        """Return what will be the evidence of `batch`, small files all; None if its process was lost."""
        return self._threads.submit(self._exchange, batch)

    def _exchange(self, batch: Sequence[Source]) -> list[FileEvidence] | None:
        batch = list(fetch_ahead(batch))
        process = self._idle.get() or self._start()
        try:
            answer = _ask(process, (current_language(), batch, self._plan.narrow(batch)))
        except (OSError, EOFError, pickle.UnpicklingError):
            process.kill()
            self._idle.put(None)
            return None
        self._idle.put(process)
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            # -P: a folder of the same name where we are called must not be taken for our package.
            [sys.executable, "-P", "-m", "connectors.extraction_pool"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # One thread each: the processes are what runs side by side.
            env={**os.environ, "POLARS_MAX_THREADS": "1"},
            # Ctrl-C in the terminal is for us: what is under way is still to be kept.
            start_new_session=True,
        )
        self._started.append(process)
        return process


def _ask(process: subprocess.Popen[bytes], question: object) -> Any:
    assert process.stdin and process.stdout
    pickle.dump(question, process.stdin, pickle.HIGHEST_PROTOCOL)
    process.stdin.flush()
    return pickle.load(process.stdout)


def serve() -> None:
    """Answer batches until standard input ends."""
    from connectors.extraction import extract_batch

    # Batches make hundreds of thousands of objects and no cycles to speak of: looking for these again and
    # again while a batch is at work takes a tenth of its time. Once after each is enough.
    gc.disable()
    gc.freeze()
    # Nothing but answers may stand on the pipe.
    answers, sys.stdout = sys.stdout.buffer, sys.stderr
    with suppress(EOFError):
        while True:
            language, batch, plan = pickle.load(sys.stdin.buffer)
            set_language(language)
            found = list(extract_batch(batch, plan))
            pickle.dump(found, answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()
            del found, batch, plan
            gc.collect()


if __name__ == "__main__":
    serve()

"""Processes that extract the evidence of many small files, one batch after the other.

Choosing lines is Python's work, so threads would stand in line for the interpreter. The processes speak
pickle over pipes that nobody else holds, and end with them. They are plain subprocesses, since
`multiprocessing` would run the caller's main module again in each.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Self

from bifrost_flow.evidence.baseline import Comparison
from bifrost_flow.language import current_language, set_language
from bifrost_flow.records import FileEvidence
from connectors.sources import Source

_ALONE = Comparison()


class ExtractionPool:
    """Some processes, started when they are first needed; leaving the context ends them."""

    def __init__(self, processes: int, budget_tokens: int, max_line_bytes: int) -> None:
        self.processes = processes
        self._options = (budget_tokens, max_line_bytes)
        self._threads = ThreadPoolExecutor(processes)
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

    def submit(
        self, batch: Sequence[Source], compared: Comparison = _ALONE
    ) -> "Future[list[FileEvidence] | None]":
        """Return what will be the evidence of `batch`, small files all; None if its process was lost."""
        return self._threads.submit(self._exchange, batch, compared)

    def _exchange(self, batch: Sequence[Source], compared: Comparison) -> list[FileEvidence] | None:
        process = self._idle.get() or self._start()
        try:
            answer = _ask(process, (current_language(), batch, *self._options, compared))
        except (OSError, EOFError, pickle.UnpicklingError):
            process.kill()
            self._idle.put(None)
            return None
        self._idle.put(process)
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "connectors.extraction_pool"],
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

    # Nothing but answers may stand on the pipe.
    answers, sys.stdout = sys.stdout.buffer, sys.stderr
    with suppress(EOFError):
        while True:
            language, batch, budget_tokens, max_line_bytes, compared = pickle.load(sys.stdin.buffer)
            set_language(language)
            found = list(extract_batch(batch, budget_tokens, max_line_bytes, compared=compared))
            pickle.dump(found, answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()


if __name__ == "__main__":
    serve()

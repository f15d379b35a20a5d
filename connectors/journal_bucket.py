"""The journal of a run whose warehouse is in a bucket, where nothing can be appended to.

`journal/<run_id>/<number>.jsonl`: each holds the lines that came while the one before was being put, so there
are fewer of them the more comes at once, and nobody waits for a put. What a killed run loses is what had not
been put yet: a tenth of a second's answers, as a rule.

`journal/<run_id>/alive` is renewed while the run lives. A run that was silent for minutes is dead; one on
this machine whose process is gone is so at once. In between nobody can tell, so its answers are copied to the
cache and its journal is left alone: an answer that is there twice means what it means once.
"""

import json
import os
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

from connectors.journal import Left
from connectors.storage import Storage, StoredFile

RENEW_S = 30.0
SILENT_S = 300.0
ALIVE = "alive"

# Runs of this process: its number alone doesn't tell a run that lives from one before a restart.
_living: set[str] = set()


class BucketPages:
    """Lines on their way to a bucket; a thread of its own puts them.

    Raises:
        OSError: the bucket can't be written.
    """

    def __init__(self, storage: Storage, run_id: str, first: bytes) -> None:
        self._storage = storage
        self._run_id = run_id
        self._changed = threading.Condition()
        self._lines: list[bytes] = []
        self._put = 0  # so many of them are in the bucket
        self._pages = 0
        self._closing = False
        self._failure: OSError | None = None
        _living.add(run_id)
        try:
            self._renew()
            self._put_page([first])
        except OSError:
            _living.discard(run_id)
            raise
        self._thread = threading.Thread(target=self._work, name=f"journal-{run_id}", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        with self._changed:
            self._lines.append(line)
            failure, self._failure = self._failure, None
            self._changed.notify_all()
        if failure is not None:
            raise failure

    def read(self) -> list[bytes]:
        """Return all lines: this process has them, wherever they got to."""
        with self._changed:
            return list(self._lines)

    def remove(self) -> None:
        self._stop()
        for file in self._storage.list_files(f"journal/{self._run_id}/"):
            self._storage.delete(file.name)

    def close(self) -> None:
        """Put what is left, and let the next run have it."""
        if self._run_id in _living:
            self._stop()
            self._storage.delete(self._name(ALIVE))

    def _stop(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        _living.discard(self._run_id)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._has_work, timeout=RENEW_S)
                waiting = self._lines[self._put :]
                if self._closing and (not waiting or self._failure):
                    return
            try:
                if waiting:
                    self._put_page(waiting)
                    self._put += len(waiting)
                else:
                    self._renew()
            except OSError as error:
                with self._changed:
                    self._failure = error
                    # The bucket has said no for a while already; it is asked again with the next line.
                    if not self._closing:
                        self._changed.wait(timeout=RENEW_S)

    def _has_work(self) -> bool:
        return self._closing or len(self._lines) > self._put

    def _put_page(self, lines: list[bytes]) -> None:
        self._storage.write(self._name(f"{self._pages:06}.jsonl"), b"".join(lines))
        self._pages += 1

    def _renew(self) -> None:
        owner = {"host": socket.gethostname(), "process": os.getpid()}
        self._storage.write(self._name(ALIVE), json.dumps(owner).encode())

    def _name(self, page: str) -> str:
        return f"journal/{self._run_id}/{page}"


def list_left(storage: Storage) -> Iterator[Left]:
    """Yield the journals of runs that are dead, or that may be."""
    found: dict[str, dict[str, StoredFile]] = {}
    for file in storage.list_files("journal/"):
        _, run_id, page = [*file.name.split("/"), "", ""][:3]
        found.setdefault(run_id, {})[page] = file
    for run_id, pages in found.items():
        if run_id in _living:
            continue
        alive = pages.pop(ALIVE, None)
        verdict = _is_dead(storage, alive)
        if verdict is False:
            continue
        names = [pages[page].name for page in sorted(pages)]
        try:
            lines = b"".join(storage.read(name) for name in names).splitlines(keepends=True)
        except FileNotFoundError:
            continue  # folded meanwhile, by its own run or another
        remove = partial(_remove, storage, [*names, *([alive.name] if alive else [])])
        yield Left(run_id, lines, remove, dead=verdict is True, name=f"{run_id}-{len(names)}")


def _remove(storage: Storage, names: list[str]) -> None:
    for name in names:
        storage.delete(name)


def _is_dead(storage: Storage, alive: StoredFile | None) -> bool | None:
    """Tell whether a run is dead, from its last sign of life; None if nobody can tell."""
    if alive is None or (datetime.now(UTC) - alive.modified).total_seconds() > SILENT_S:
        return True
    try:
        owner = json.loads(storage.read(alive.name))
        host, process = owner["host"], int(owner["process"])
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None
    if host != socket.gethostname():
        return None
    # Our own number means a process before us: our runs are known by name.
    return process == os.getpid() or not _is_process(process)


def _is_process(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

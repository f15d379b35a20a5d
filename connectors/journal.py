"""The journal: each answer is on disk the moment it arrives, so that a run that is killed loses none it paid
for.

In a folder, `<warehouse>/journal/<run_id>.jsonl`: a first line that says whose it is, then a line a call. At
its end a run folds its answers into the table `cache` and removes its journal. A run that was killed leaves
it, and the next run folds it.

Whether a run still lives is told by the lock (`flock`) that it holds on its journal: the kernel drops it with
the process, however that ends. A line is one `write` without `fsync`: what is written survives SIGKILL, and
the few seconds that a loss of power may take cost some calls again, whereas a sync for each would slow all of
them. In a bucket see `connectors.journal_bucket`.
"""

import errno
import fcntl
import json
import logging
import os
import threading
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from bifrost_flow.errors import WarehouseError
from bifrost_flow.language import t
from bifrost_flow.records import CachedAnswer, Call
from connectors.storage import is_remote, open_storage
from connectors.warehouse import Warehouse

Record = TypeVar("Record")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Orphan:
    """What a killed run left: its answers, and its calls as far as it wrote them down."""

    run_id: str
    project: str
    answers: tuple[CachedAnswer, ...]
    calls: tuple[Call, ...]


class Journal:
    """The journal of one living run. Threads may append at once.

    Raises:
        WarehouseError: it can't be made or written.
    """

    def __init__(self, warehouse_location: str, run_id: str, *, project: str = "default") -> None:
        self.run_id = run_id
        first = _dump({"run_id": run_id, "project": project})
        try:
            self._pages = _open_pages(warehouse_location, run_id, first)
        except OSError as error:
            raise self._explain(error) from error

    def append(self, answer: CachedAnswer | None, call: Call) -> None:
        """Write down a call, and its answer unless it failed; no end of the process loses them then."""
        try:
            self._pages.write(_dump({"answer": answer and _to_json(answer), "call": _to_json(call)}))
        except OSError as error:
            raise self._explain(error) from error

    def fold(self, warehouse: Warehouse) -> int:
        """Put the answers into `cache`, then remove the journal. Returns how many there were.

        Calls are not written: the run knows them all, and `Warehouse.write_calls` takes them.
        """
        try:
            content = _read(self._pages.read(), self.run_id)
            warehouse.write_answers(content.answers)
            self._pages.remove()
        except OSError as error:
            raise self._explain(error) from error
        self.close()
        return len(content.answers)

    def close(self) -> None:
        """Let go of the journal. Unless it was folded, the next run takes it for an orphan and folds it."""
        self._pages.close()

    def _explain(self, error: OSError) -> WarehouseError:
        return WarehouseError(t("warehouse.no_journal", run_id=self.run_id, reason=error.strerror))


def fold_orphans(warehouse: Warehouse) -> tuple[Orphan, ...]:
    """Put what killed runs left into `cache` and `llm_calls`, and return it. Journals of living runs are left
    alone.

    Call it at the start of a run, before the cache is asked. Being killed in here loses nothing either: a
    journal goes only after its rows are in the tables. Of a run in another place that may be alive or not,
    the answers are copied, and the journal stays.
    """
    orphans = []
    with _translating(warehouse):
        for left in _list_left(warehouse.location):
            orphan = _read(left.lines, left.run_id)
            owner = Warehouse(location=warehouse.location, project=orphan.project)
            owner.write_answers(orphan.answers, name=left.name)
            if not left.dead:
                continue
            if orphan.calls and not owner.has_calls(orphan.run_id):
                owner.write_calls(orphan.run_id, orphan.calls)
            left.remove()
            orphans.append(orphan)
    return tuple(orphans)


def read_orphans(warehouse_location: str) -> tuple[Orphan, ...]:
    """Return what killed runs left, without folding it."""
    return tuple(_read(left.lines, left.run_id) for left in _list_left(warehouse_location) if left.dead)


class Pages(Protocol):
    """Where the lines of a living run's journal go; what fails is an OSError."""

    def write(self, line: bytes) -> None: ...
    def read(self) -> Iterable[bytes]: ...
    def remove(self) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Left:
    """A journal that another run left, or is still writing."""

    run_id: str
    lines: Iterable[bytes]
    remove: Callable[[], None]
    dead: bool = True  # else nobody can tell
    name: str | None = None  # of the copy of its answers


@contextmanager
def _translating(warehouse: Warehouse) -> Generator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise WarehouseError(t("warehouse.unusable", location=warehouse.location, reason=reason)) from error


def _open_pages(warehouse_location: str, run_id: str, first: bytes) -> Pages:
    if is_remote(warehouse_location):
        from connectors.journal_bucket import BucketPages

        return BucketPages(open_storage(warehouse_location), run_id, first)
    return _FilePages(_journal_folder(warehouse_location) / f"{run_id}.jsonl", run_id, first)


def _list_left(warehouse_location: str) -> Iterator[Left]:
    if is_remote(warehouse_location):
        from connectors.journal_bucket import list_left

        yield from list_left(open_storage(warehouse_location))
        return
    for path, handle in _open_orphans(warehouse_location):
        with open(os.dup(handle), "rb") as file:  # noqa: PTH123 - a handle, not a path
            yield Left(path.stem, file, partial(path.unlink, missing_ok=True))


class _FilePages:
    """A local file, locked as long as the run lives."""

    def __init__(self, path: Path, run_id: str, first: bytes) -> None:
        self._guard = threading.Lock()
        self._torn = False
        self._path = path
        # Locked before it gets the name under which other runs look for orphans.
        unborn = path.with_name(f".{run_id}.{uuid.uuid4().hex}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(unborn, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.write(first)
            unborn.rename(path)
        except OSError:
            with suppress(OSError):
                unborn.unlink()
            raise

    def write(self, line: bytes) -> None:
        with self._guard:
            # After a full disk cut a line short, the next one must not be part of it.
            content = b"\n" + line if self._torn else line
            written = os.write(self._handle, content)
            self._torn = written != len(content)
        if self._torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def read(self) -> Iterator[bytes]:
        with open(os.dup(self._handle), "rb") as file:  # noqa: PTH123 - a handle, not a path
            file.seek(0)
            yield from file

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _journal_folder(warehouse_location: str) -> Path:
    return Path(warehouse_location) / "journal"


def _open_orphans(warehouse_location: str) -> Iterator[tuple[Path, int]]:
    """Yield each journal whose run is dead, locked while the caller looks at it."""
    for path in sorted(_journal_folder(warehouse_location).glob("*.jsonl")):
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Without a name it was folded by another run between our opening and locking it.
            if os.fstat(handle).st_nlink:
                yield path, handle
        except BlockingIOError:
            continue
        finally:
            os.close(handle)


def _read(lines: Iterable[bytes], run_id: str) -> Orphan:
    """Read a journal, passing over lines that were torn by the end of the process or a full disk."""
    project, answers, calls = "default", [], []
    for number, line in enumerate(lines, start=1):
        try:
            content = json.loads(line)
            if "project" in content:
                project = str(content["project"])
                continue
            call = _from_json(Call, content["call"], "started_at")
            answer = content["answer"] and _from_json(CachedAnswer, content["answer"], "created_at")
        except (ValueError, TypeError, KeyError):
            _log.warning("Line %d of the journal of run %s is torn and was passed over.", number, run_id)
            continue
        calls.append(call)
        if answer:
            answers.append(answer)
    return Orphan(run_id, project, tuple(answers), tuple(calls))


def _dump(line: dict[str, Any]) -> bytes:
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def _to_json(record: CachedAnswer | Call) -> dict[str, Any]:
    # Not `asdict`, whose deep copies are a third of the time that an answer takes here.
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    return {
        name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()
    }


def _from_json(kind: Callable[..., Record], values: dict[str, Any], time: str) -> Record:
    return kind(**{**values, time: datetime.fromisoformat(values[time])})

"""Where files of ours lie, as narrow as we need it: a folder now, a bucket behind the same few calls.

A file is written whole or not at all, is never changed, only replaced, and has a name relative to its
storage, with slashes: `runs/project=web/0199….parquet`. What the place refuses is an `OSError` with a number
and a reason in plain words, whichever kind of place it is; a file that isn't there a `FileNotFoundError`.
"""

import fcntl
import os
import re
import uuid
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Protocol, cast

SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in a storage; two with the same `etag` hold the same bytes."""

    name: str
    size: int  # bytes
    modified: datetime  # UTC
    etag: str


class Storage(Protocol):
    """A place for files."""

    @property
    def location(self) -> str:
        """The place as people write it: an absolute path, or `s3://bucket/prefix`."""
        ...

    def place(self, name: str) -> str:
        """Return where the file `name` lies, as people write it."""
        ...

    def list_files(self, prefix: str = "") -> list[StoredFile]:
        """Return the files whose names start with `prefix`, at any depth, sorted by name; hidden ones are
        left out. `prefix` is empty or ends in a slash."""
        ...

    def list_top(self) -> set[str]:
        """Return the names of what lies right here, files and folders."""
        ...

    def find(self, name: str) -> StoredFile | None:
        """Return the file `name`, None where there is none."""
        ...

    def read(self, name: str) -> bytes:
        """Return all of a file."""
        ...

    def open(self, name: str) -> BinaryIO:
        """Open a file to read parts of it; it can seek, and no more is fetched than is read."""
        ...

    def write(self, name: str, content: bytes | memoryview) -> None:
        """Write a file that appears at once and complete; what was there before is replaced."""
        ...

    def delete(self, name: str) -> None:
        """Remove a file; one that isn't there is fine."""
        ...

    def hold_alone(self, name: str) -> AbstractContextManager[None]:
        """Wait until nobody else, in any process, is in a block with the same `name`."""
        ...


def is_remote(location: str) -> bool:
    """Tell whether a location names something other than a path of this machine."""
    return SCHEME.match(location) is not None


def open_storage(location: str) -> Storage:
    """Return the storage at `location`, a folder or an `s3://` prefix; nothing is looked at or made yet.

    Raises:
        ValueError: it is neither.
    """
    if not is_remote(location):
        return LocalStorage(location)
    # Costs botocore, which a folder can do without.
    from connectors.s3.access import current_access, is_s3, split_url
    from connectors.s3.storage import S3Storage

    bucket, key = split_url(location)
    if not is_s3(location) or not bucket:
        raise ValueError(location)
    return S3Storage(f"s3://{bucket}/{key}".rstrip("/"), current_access())


def write_whole(target: str | Path, content: bytes | memoryview) -> None:
    """Write a single file, at a path (whose folders are made if need be) or to an object, at once and
    complete.

    Raises:
        OSError: the place refuses it.
        ValueError: it is a URL that is no object's.
    """
    if is_remote(str(target)):
        folder, _, name = str(target).rpartition("/")
        open_storage(folder).write(name, content)
    else:
        fill_file(Path(target), lambda file: file.write(content))


@dataclass(frozen=True, slots=True)
class LocalStorage:
    """A folder; it is made with the first file."""

    location: str

    @property
    def folder(self) -> Path:
        return Path(self.location)

    def place(self, name: str) -> str:
        return str(self.folder / name)

    def list_files(self, prefix: str = "") -> list[StoredFile]:
        found = []
        for root, folders, names in os.walk(self.folder / prefix):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                path = Path(root, name)
                # One that is removed meanwhile is not there.
                with suppress(FileNotFoundError):
                    if not name.startswith("."):
                        found.append(_describe(path.relative_to(self.folder).as_posix(), path.stat()))
        return sorted(found, key=lambda file: file.name)

    def list_top(self) -> set[str]:
        try:
            return set(os.listdir(self.folder))  # noqa: PTH208 -- names, not paths
        except FileNotFoundError:
            return set()

    def find(self, name: str) -> StoredFile | None:
        try:
            return _describe(name, (self.folder / name).stat())
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def open(self, name: str) -> BinaryIO:
        return cast("BinaryIO", (self.folder / name).open("rb"))

    def write(self, name: str, content: bytes | memoryview) -> None:
        write_whole(self.folder / name, content)

    def delete(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)

    @contextmanager
    def hold_alone(self, name: str) -> Generator[None]:
        path = self.folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _describe(name: str, status: os.stat_result) -> StoredFile:
    modified = datetime.fromtimestamp(status.st_mtime, UTC)
    # A file is replaced by a rename, so another file is another inode.
    return StoredFile(name, status.st_size, modified, f"{status.st_ino:x}-{status.st_mtime_ns:x}")


def fill_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a file that appears under `path` at once and complete, and survives a loss of power.

    Until then its name ends in `.tmp`, which no reader's pattern matches. What was there before is replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            write(cast("BinaryIO", file))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Have the disk keep the names in `folder`."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""A warehouse in a bucket, as DuckDB sees it: a file system in Python, since DuckDB's own comes as an
extension that not every machine can download.

One listing a query says which files there are and of which version. Small ones, as runs write them, are
fetched whole and many at once before the query starts, and kept for the next one; of large ones DuckDB reads
the ranges that it needs: the footer, then the columns and row groups that the query asks for.
"""

import io
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from connectors.storage import Storage, is_remote

if TYPE_CHECKING:
    import duckdb

    from connectors.s3.storage import S3Storage
    from connectors.s3.stream import ObjectPlace

# Files up to this size are fetched whole: a request more costs as much as some 2 MB.
SMALL_BYTES = 2 << 20
# Of large ones the end is fetched in one piece: it holds the footer.
TAIL_BYTES = 64 << 10
# So much of the small ones is kept in memory for the queries of a run.
KEPT_BYTES = 256 << 20


def open_bucket(
    connection: "duckdb.DuckDBPyConnection", storage: Storage, prefixes: Sequence[str]
) -> list[OSError]:
    """Let `connection` read the files of a warehouse in a bucket whose names start with one of `prefixes`; a
    folder's it reads by itself.

    Returns where to look when a statement fails: DuckDB tells of an error here as a traceback.

    Raises:
        OSError: the bucket can't be listed or read.
    """
    failures: list[OSError] = []
    if is_remote(storage.location):
        connection.register_filesystem(_make_filesystem(storage, prefixes, failures))
    return failures


class _Kept:
    """Bytes of small files by bucket, key and version; the oldest go first."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._contents: OrderedDict[tuple[str, str, str], bytes] = OrderedDict()
        self._size = 0

    def get(self, place: "ObjectPlace") -> bytes | None:
        with self._guard:
            content = self._contents.get((place.bucket, place.key, place.etag))
            if content is not None:
                self._contents.move_to_end((place.bucket, place.key, place.etag))
            return content

    def add(self, place: "ObjectPlace", content: bytes) -> None:
        with self._guard:
            self._contents[place.bucket, place.key, place.etag] = content
            self._size += len(content)
            while self._size > KEPT_BYTES:
                _, dropped = self._contents.popitem(last=False)
                self._size -= len(dropped)


_kept = _Kept()


def _list_places(storage: "S3Storage", prefixes: Sequence[str]) -> "dict[str, ObjectPlace]":
    """Return the files by `bucket/key`, with the bytes of small ones."""
    from connectors.s3.stream import ObjectPlace
    from connectors.s3.transfer import fetchers

    listings = fetchers().map(storage.list_files, prefixes)
    places = [
        ObjectPlace(storage.access, storage.bucket, storage.key(file.name), file.size, file.etag)
        for files in listings
        for file in files
    ]
    return {f"{place.bucket}/{place.key}": place for place in fetchers().map(_hold_small, places)}


def _hold_small(place: "ObjectPlace") -> "ObjectPlace":
    if place.size > SMALL_BYTES:
        return place
    content = _kept.get(place)
    if content is None:
        content = place.fetch(0, place.size)
        _kept.add(place, content)
    return replace(place, held=content)


def _make_filesystem(storage: Storage, prefixes: Sequence[str], failures: list[OSError]) -> Any:
    from fsspec.spec import AbstractFileSystem

    from connectors.s3.storage import S3Storage

    if not isinstance(storage, S3Storage):
        raise TypeError(f"no bucket: {storage.location}")
    places = _list_places(storage, prefixes)

    class Bucket(AbstractFileSystem):
        """What was listed, and nothing else; nothing can be written."""

        protocol = "s3"
        cachable = False

        def glob(self, path: str, maxdepth: int | None = None, **_: Any) -> list[str]:
            pattern = re.compile(_translate(_strip(path)))
            return sorted(name for name in places if pattern.fullmatch(name))

        def info(self, path: str, **_: Any) -> dict[str, Any]:
            place = self._find(path)
            return {"name": path, "size": place.size, "type": "file"}

        def exists(self, path: str, **_: Any) -> bool:
            return _strip(path) in places

        def isfile(self, path: str) -> bool:
            return _strip(path) in places

        def modified(self, path: str) -> datetime:
            # DuckDB takes a later time for another version. There is none: a listing is of one moment.
            return datetime.fromtimestamp(0)  # noqa: DTZ006

        def open(self, path: str, mode: str = "rb", *_: Any, **__: Any) -> BinaryIO:
            if mode != "rb":
                raise PermissionError(13, "the warehouse is only read", path)
            return cast("BinaryIO", _Ranges(self._find(path), failures))

        def _find(self, path: str) -> "ObjectPlace":
            try:
                return places[_strip(path)]
            except KeyError:
                raise FileNotFoundError(2, "No such file", path) from None

    return Bucket()


class _Ranges:
    """A file whose reads are requests of just that range; the end of it, where Parquet's footer is, comes in
    one piece. DuckDB's threads share it, so each has a position of its own."""

    def __init__(self, place: "ObjectPlace", failures: list[OSError]) -> None:
        self._place = place
        self._failures = failures
        self._at = threading.local()
        self._tail = place.held
        self._tail_from = 0 if place.held is not None else max(0, place.size - TAIL_BYTES)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.tell(), io.SEEK_END: self._place.size}[whence]
        self._at.position = base + offset
        return self.tell()

    def tell(self) -> int:
        return getattr(self._at, "position", 0)

    def read(self, size: int = -1) -> bytes:
        start = self.tell()
        end = self._place.size if size < 0 else min(start + size, self._place.size)
        if start >= end:
            return b""
        try:
            content = self._fetch(start, end)
        except OSError as error:
            self._failures.append(error)
            raise
        self._at.position = end
        return content

    def _fetch(self, start: int, end: int) -> bytes:
        if start < self._tail_from:
            return self._place.fetch(start, end)
        if self._tail is None:
            self._tail = self._place.fetch(self._tail_from, self._place.size)
        return self._tail[start - self._tail_from : end - self._tail_from]

    def close(self) -> None:
        """Nothing is open."""


def _strip(path: str) -> str:
    return path.removeprefix("s3://")


def _translate(pattern: str) -> str:
    """Return the regular expression of a pattern: `[x]` is `x`, `**/` any folders, `*` no slash."""
    parts = re.split(r"(\*\*/|\*|\[.\])", pattern)
    meanings = {"**/": "(?:[^/]+/)*", "*": "[^/]*"}
    return "".join(
        meanings.get(part) or re.escape(part[1] if re.fullmatch(r"\[.\]", part) else part) for part in parts
    )

"""An object as a file: it can be read and can seek, and holds no more than a few parts in memory.

Read in order, parts grow and the next ones are fetched meanwhile, so that one large object comes as fast as
the line gives; whoever jumps about gets small parts. All parts are of one version of the object.
"""

import io
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import islice
from typing import BinaryIO, Protocol, TypeVar, cast

from connectors.members import LOCAL_HEADER, Member
from connectors.s3.access import S3Access
from connectors.s3.transfer import CONCURRENCY, Fetched, fetch, fetchers

FIRST_PART_BYTES = 256 << 10
MAX_PART_BYTES = 8 << 20
# So many parts are on their way at once, at most: 32 MB for each object that is read.
PARTS_AHEAD = 3
_BUFFER_BYTES = 128 << 10

# Objects up to this size are fetched whole, many at once, before it is their turn; and so much ahead.
HELD_BYTES = 1 << 20
AHEAD_BYTES = 16 << 20
AHEAD_OBJECTS = 4 * CONCURRENCY
# What a member's name and extra fields take in a zip, as a rule.
_MEMBER_SLACK_BYTES = 1 << 10


@dataclass(frozen=True, slots=True)
class ObjectPlace:
    """Where an object is, as one of its versions; it opens as a path does.

    Some of its bytes may be here already, or the reason why they can't be had.
    """

    access: S3Access
    bucket: str
    key: str
    size: int  # bytes
    etag: str
    held: bytes | None = None
    held_from: int = 0
    failure: tuple[int, str] | None = None  # number and reason of the OSError

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]

    def open(self, mode: str = "rb") -> BinaryIO:
        """Open the object for reading.

        Raises:
            OSError: it is known already that it can't be read.
        """
        if self.failure is not None:
            raise OSError(*self.failure)
        return cast("BinaryIO", io.BufferedReader(_ObjectBytes(self), _BUFFER_BYTES))

    def is_file(self) -> bool:
        """Tell that it can be read more than once."""
        return True

    def fetch(self, start: int, end: int) -> bytes:
        """Return the bytes from `start` to before `end`, of this version.

        Raises:
            OSError: they can't be had.
        """
        etag = self.etag or None
        return fetch(self.access, self.bucket, self.key, start=start, end=end, etag=etag).content


class _ObjectBytes(io.RawIOBase):
    def __init__(self, place: ObjectPlace) -> None:
        super().__init__()
        self._place = place
        self._position = 0
        self._part, self._part_from = place.held or b"", place.held_from
        self._part_bytes = FIRST_PART_BYTES
        self._ahead: dict[int, tuple[int, Future[bytes]]] = {}  # by start: end, bytes

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._place.size}[whence]
        if base + offset < 0:
            raise ValueError("a position before the start of the object")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # ty: ignore[incompatible-method-override]
        if self._position >= self._place.size:
            return 0
        if not self._part_from <= self._position < self._part_from + len(self._part):
            self._part, self._part_from = self._take_part(self._position), self._position
        start = self._position - self._part_from
        given = memoryview(self._part)[start : start + len(buffer)]
        buffer[: len(given)] = given
        self._position += len(given)
        return len(given)

    def _take_part(self, start: int) -> bytes:
        """Return the bytes from `start` on; in order, more parts and larger ones are asked for meanwhile."""
        waiting = self._ahead.pop(start, None)
        follows = waiting is not None or (self._part and start == self._part_from + len(self._part))
        if not follows:
            self._drop_ahead()
            self._part_bytes = FIRST_PART_BYTES
            return self._place.fetch(start, self._cap(start + self._part_bytes))
        if waiting is None:
            waiting = self._submit(start)
        next_start = max((end for end, _ in self._ahead.values()), default=waiting[0])
        while len(self._ahead) < PARTS_AHEAD and next_start < self._place.size:
            self._part_bytes = min(MAX_PART_BYTES, self._part_bytes * 2)
            self._ahead[next_start] = self._submit(next_start)
            next_start = self._ahead[next_start][0]
        return waiting[1].result()

    def _submit(self, start: int) -> "tuple[int, Future[bytes]]":
        end = self._cap(start + self._part_bytes)
        return end, fetchers().submit(self._place.fetch, start, end)

    def _cap(self, end: int) -> int:
        return min(end, self._place.size)

    def _drop_ahead(self) -> None:
        for _, future in self._ahead.values():
            future.cancel()
        self._ahead.clear()

    def close(self) -> None:
        self._drop_ahead()
        self._part = b""
        super().close()


class Placed(Protocol):
    """What can lie in an object: a source of logs."""

    @property
    def location(self) -> object: ...
    @property
    def size(self) -> int: ...
    @property
    def member(self) -> Member | None: ...


P = TypeVar("P", bound=Placed)


def fetch_small_ahead(sources: Iterable[P]) -> Iterator[P]:
    """Yield `sources` in order, small ones in buckets with their bytes at hand.

    Some are fetched while the caller is at work on others, so that none is waited for by itself.
    """
    waiting: list[tuple[P, Future[ObjectPlace] | None]] = []
    size, left = 0, iter(sources)
    while True:
        while size < AHEAD_BYTES and len(waiting) < AHEAD_OBJECTS and (more := list(islice(left, 1))):
            place = _find_held(more[0])
            size += more[0].size if place else 0
            future = fetchers().submit(_hold_bytes, place, more[0].member) if place else None
            waiting.append((more[0], future))
        if not waiting:
            return
        source, future = waiting.pop(0)
        if future is None:
            yield source
        else:
            size -= source.size
            place = future.result()
            bytes_now = source.size if source.member else place.size
            yield replace(source, location=place, size=bytes_now)  # ty: ignore[invalid-argument-type]


def _find_held(source: Placed) -> ObjectPlace | None:
    """Return where a source is that is to be fetched whole."""
    place = source.location
    small = source.size <= HELD_BYTES
    return place if isinstance(place, ObjectPlace) and place.held is None and small else None


def _hold_bytes(place: ObjectPlace, member: Member | None) -> ObjectPlace:
    """Return `place` with its bytes, those of `member` alone if there is one; or with why there are none."""
    try:
        if member is not None:
            end = member.offset + LOCAL_HEADER.size + _MEMBER_SLACK_BYTES + member.packed
            content = place.fetch(member.offset, min(end, place.size))
            return replace(place, held=content, held_from=member.offset)
        found: Fetched = fetch(place.access, place.bucket, place.key)
    except OSError as error:
        return replace(place, failure=(error.errno or 0, error.strerror or str(error)))
    # One that was replaced after the listing is read as it is now: it came whole, in one answer.
    return replace(place, held=found.content, etag=found.etag, size=found.size)

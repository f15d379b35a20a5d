"""Read a source, a file or an archive's member, as blocks of whole lines: gz, bz2, xz and zst unpacked,
UTF-16 turned into UTF-8, long lines cut.

Everything that is read is hostile data: what unpacks to absurd sizes is cut, and trouble ends one file's
reading only.
"""

import bz2
import codecs
import gzip
import hashlib
import io
import lzma
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, BinaryIO, cast

from bifrost_flow.language import t
from connectors.members import Location, Member, open_member

BLOCK_BYTES = 16 << 20
# A line is cut here: nobody reads further, and one line of a gigabyte must not fill the memory.
MAX_LINE_BYTES = 64 << 10
# Text logs compress 10 to 100 fold; beyond this a file is taken for a bomb and what was read so far is kept.
MAX_RATIO = 1000
MAX_EXPANDED_BYTES = 64 << 30
SNIFF_BYTES = 8192
# Unpacking a broken piece gives nothing of it, so the pieces of a member are small.
MEMBER_PIECE_BYTES = 256 << 10
# What unpackers raise on broken or hostile data.
BROKEN_ERRORS = (
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    RecursionError,
    NotImplementedError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
)


# Control characters that no text has.
_JUNK = bytes((*range(1, 7), *range(14, 27), *range(28, 32)))
# Of these all there is was looked at.
_WHOLE = ("read", "empty", "binary")
_PADDING = re.compile(rb"\x00{64,}")


@dataclass(frozen=True, slots=True)
class Source:
    """A log that can be read: `path` is what a person sees, `location` where the bytes are."""

    path: str
    location: Location
    size: int  # bytes on disk; of a member, unpacked
    member: Member | None = None  # set where `location` is an archive
    spooled: bool = False  # `location` is a temporary copy, which is removed after reading
    # Which version of a file, or of the archive that a member is in, was found; None where nothing tells.
    stamp: str | None = None

    @property
    def version(self) -> str | None:
        """Which version of an object is read; None for a file, whose bytes are hashed for that."""
        etag = getattr(self.location, "etag", None)
        return None if etag is None else f"etag:{etag}"

    @property
    def identity(self) -> str | None:
        """What tells without reading that this is what was read before: `etag:…` of an object, `stat:` with
        size in bytes and time of change in ns of a file; of the archive, where it is a member of one."""
        return self.version or self.stamp


def fetch_ahead(sources: Iterable[Source]) -> Iterator[Source]:
    """Yield `sources` in order; small ones in buckets have their bytes at hand, fetched while the caller is
    at work on others."""
    listed = list(sources)
    if all(source.version is None for source in listed):
        yield from listed
        return
    from connectors.s3.stream import fetch_small_ahead

    yield from fetch_small_ahead(listed)


@dataclass(slots=True)
class ReadFacts:
    """What reading a source to its end has shown; complete once the blocks are used up."""

    sha256: str | None = None  # of an object in a bucket, `etag:` and its etag
    bytes: int = 0  # on disk
    encoding: str = "utf-8"
    format: str = "plain"
    status: str = "read"
    error: str | None = None
    hashed: bool = True  # asked for by who reads


def is_binary(head: bytes) -> bool:
    """Tell whether the first bytes of a file are those of something other than text."""
    if not head or head.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        return False
    if guess_utf16(head):
        return False
    if zeros := head.count(0):
        # A machine that loses power leaves the end of its logs as zeros; a stray one or two are nothing.
        head = _PADDING.sub(b"", head)
        if not head:
            return True
        zeros = head.count(0)
    junk = len(head) - len(head.translate(None, _JUNK))
    return zeros > max(2, len(head) // 500) or junk > len(head) // 20


def guess_utf16(head: bytes) -> str | None:
    """Return the byte order of UTF-16 text without a mark: its zeros stand at every other place."""
    if len(head) < 64 or 0 not in head:
        return None
    even, odd = head[::2].count(0), head[1::2].count(0)
    half = len(head) // 2
    if odd > half * 0.7 and even < half * 0.05:
        return "utf-16-le"
    if even > half * 0.7 and odd < half * 0.05:
        return "utf-16-be"
    return None


class _HashingReader:
    """A file opened for reading whose bytes are hashed and counted as they pass; it ends at `limit` bytes."""

    def __init__(self, stream: BinaryIO, limit: int | None = None, *, hashed: bool = True) -> None:
        self._stream = stream
        self._limit = limit
        self._hash = hashlib.sha256() if hashed else None
        self.count = 0
        self.crc = 0  # of what `read1` handed over

    def read(self, size: int = -1) -> bytes:
        block = self._stream.read(self._cap(size))
        self._note(block)
        return block

    def read1(self, size: int = -1) -> bytes:
        block = cast("io.BufferedReader", self._stream).read1(self._cap(size))
        self._note(block)
        self.crc = zlib.crc32(block, self.crc)
        return block

    def readline(self, size: int = -1) -> bytes:
        line = self._stream.readline(self._cap(size))
        self._note(line)
        return line

    def _note(self, read: bytes) -> None:
        if self._hash is not None:
            self._hash.update(read)
        self.count += len(read)

    def _cap(self, size: int) -> int:
        if self._limit is None:
            return size
        left = max(0, self._limit - self.count)
        return left if size < 0 else min(size, left)

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._stream.close()

    @property
    def closed(self) -> bool:
        return self._stream.closed

    def finish(self) -> str | None:
        """Read to the end, and return the hash of everything that was read."""
        while self.read(1 << 20):
            pass
        return None if self._hash is None else self._hash.hexdigest()


MAGIC = ((b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ\x00", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"))


def find_packing(raw: BinaryIO) -> str:
    """Return how the bytes of an open file are packed, by its first ones: gzip, bzip2, xz, zstd or plain."""
    head = cast("io.BufferedReader", raw).peek(8)
    return next((name for magic, name in MAGIC if head.startswith(magic)), "plain")


def open_packed(packing: str, stream: BinaryIO) -> IO[bytes]:
    """Return the unpacked bytes of `stream`."""
    if packing == "gzip":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=stream))
    if packing == "bzip2":
        return bz2.BZ2File(stream)
    if packing == "xz":
        return lzma.LZMAFile(stream)
    import pyarrow

    return cast("IO[bytes]", pyarrow.CompressedInputStream(pyarrow.PythonFile(stream, mode="r"), "zstd"))


def read_blocks(
    source: Source, facts: ReadFacts, *, block_bytes: int = BLOCK_BYTES, max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[bytes]:
    r"""Yield the text of `source` as UTF-8, invalid bytes left in, in blocks of whole lines, each ending in
    a newline but the last.

    Lines are cut at `max_line_bytes`. `facts` is filled while reading and complete at the end; trouble ends
    the
    blocks and is told there, never raised.
    """
    facts.bytes = source.size
    if source.member is not None:
        yield from _read_member(source, source.member, facts, block_bytes, max_line_bytes)
        return
    try:
        raw = cast("io.BufferedReader", source.location.open("rb"))
    except OSError as error:
        facts.status, facts.error = "unreadable", _describe_failure(source, error)
        return
    with raw:
        try:
            head = raw.peek(SNIFF_BYTES)[:SNIFF_BYTES]
        except OSError as error:  # of an object, whose bytes are asked for only now
            facts.status, facts.error = "unreadable", _describe_failure(source, error)
            return
        limit = _find_end(raw) if source.version is None else None
        hashed = facts.hashed and source.version is None
        hashing = _HashingReader(cast("BinaryIO", raw), limit, hashed=hashed)
        facts.format = next((name for magic, name in MAGIC if head.startswith(magic)), "plain")
        stream = cast("IO[bytes]", hashing)
        if facts.format != "plain":
            stream = open_packed(facts.format, cast("BinaryIO", hashing))
        yield from _decode(
            _guard(stream, hashing, source, facts, block_bytes), source, facts, block_bytes, max_line_bytes
        )
        if source.version is not None:
            # Nothing is fetched for a hash alone.
            facts.sha256 = source.version if facts.status in _WHOLE else None
            return
        try:
            facts.sha256 = hashing.finish()
        except OSError as error:
            facts.status, facts.error = "unreadable", _describe_failure(source, error)
        facts.bytes = hashing.count or source.size


def _find_end(raw: io.BufferedReader) -> int | None:
    """Return how much of a file is read: what there was at first. A log that is written to faster than it is
    read would never end."""
    status = os.fstat(raw.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) and status.st_size else None


def _read_member(
    source: Source, member: Member, facts: ReadFacts, block_bytes: int, max_line_bytes: int
) -> Iterator[bytes]:
    """Yield the blocks of a member of an archive; its hash is told if it was read to its end."""
    facts.format = member.format
    try:
        with open_member(source.location, member) as raw:
            head = cast("io.BufferedReader", raw).read1(8)
        raw = open_member(source.location, member)
    except BROKEN_ERRORS as error:
        facts.status, facts.error = "unreadable", _describe_failure(source, error)
        return
    with raw:
        hashing = _HashingReader(cast("BinaryIO", raw), hashed=facts.hashed and source.version is None)
        packing = next((name for magic, name in MAGIC if head.startswith(magic)), "plain")
        stream = cast("IO[bytes]", hashing)
        if packing != "plain":
            stream = open_packed(packing, cast("BinaryIO", hashing))
        pieces = _guard(stream, hashing, source, facts, MEMBER_PIECE_BYTES)
        yield from _decode(pieces, source, facts, block_bytes, max_line_bytes)
        if facts.status not in ("read", "empty"):
            return  # the rest of a bomb is not unpacked for its hash
        try:
            sha256 = hashing.finish()
        except BROKEN_ERRORS as error:
            facts.status, facts.error = "truncated", _describe_failure(source, error)
            return
        facts.bytes = hashing.count
        if hashing.count != member.size:
            facts.status, facts.error = "truncated", _describe_failure(source, EOFError())
        elif packing == "plain" and member.crc is not None and hashing.crc != member.crc:
            facts.status, facts.error = "truncated", t("archive.bad_crc", path=source.path)
        else:
            facts.sha256 = source.version or sha256


def _describe_failure(source: Source, error: Exception) -> str:
    # An OSError with a number is the disk's; without one it is the unpacker's.
    failed = isinstance(error, OSError) and error.errno is not None
    reason = (failed and error.strerror) or str(error) or t("archive.cut")
    return t("source.unreadable" if failed else "source.broken", path=source.path, reason=reason)


def _guard(
    stream: IO[bytes], raw: _HashingReader, source: Source, facts: ReadFacts, piece_bytes: int
) -> Iterator[bytes]:
    """Yield pieces of the unpacked bytes; a broken or bomb-like file ends early and is marked truncated."""
    # `read1` hands over what there is before the unpacker stumbles; `read` would lose it with the error.
    read = stream.read if facts.format == "plain" else getattr(stream, "read1", stream.read)
    packed = source.member.packed if source.member else 0
    total = 0
    while True:
        try:
            piece = read(piece_bytes)
            if facts.format == "plain" and not piece.endswith(b"\n"):
                # Ending where a line ends saves copying the rest over to the next block.
                piece += raw.readline(MAX_LINE_BYTES)
        except BROKEN_ERRORS as error:
            failed = isinstance(error, OSError) and error.errno is not None
            facts.status = "truncated" if total or not failed else "unreadable"
            facts.error = _describe_failure(source, error)
            return
        if not piece:
            return
        total += len(piece)
        yield piece
        if facts.format != "plain" and (
            total > MAX_RATIO * max(packed or raw.count, 1 << 16) or total > MAX_EXPANDED_BYTES
        ):
            facts.status = "truncated"
            facts.error = t("source.bomb", path=source.path, bytes=total)
            return


def _decode(
    pieces: Iterator[bytes], source: Source, facts: ReadFacts, block_bytes: int, max_line_bytes: int
) -> Iterator[bytes]:
    first = next(pieces, b"")
    while first and len(first) < 64 and (more := next(pieces, b"")):
        first += more
    if not first:
        if facts.status == "read":
            facts.status, facts.error = "empty", t("source.empty", path=source.path)
        return
    if is_binary(first[:SNIFF_BYTES]):
        facts.status, facts.error = "binary", t("source.binary", path=source.path)
        return
    for mark, name in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"), (b"\xef\xbb\xbf", "utf-8")):
        if first.startswith(mark):
            facts.encoding, first = name, first[len(mark) :]
            break
    else:
        facts.encoding = guess_utf16(first[:SNIFF_BYTES]) or "utf-8"
    texts = _chain(first, pieces)
    if facts.encoding != "utf-8":
        texts = _recode(texts, facts.encoding)
    yield from _split_blocks(texts, block_bytes, max_line_bytes)


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _recode(pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    for piece in pieces:
        yield decoder.decode(piece).encode("utf-8", "replace")
    yield decoder.decode(b"", final=True).encode("utf-8", "replace")


def _split_blocks(pieces: Iterator[bytes], block_bytes: int, max_line_bytes: int) -> Iterator[bytes]:
    """Join `pieces` to blocks of whole lines of about `block_bytes`; of a longer line only the start is
    kept."""
    held: list[bytes] = []
    size = 0
    skipping = False
    for piece in pieces:
        if skipping:
            end = piece.find(b"\n")
            if end < 0:
                continue
            piece, skipping = piece[end:], False
        held.append(piece)
        size += len(piece)
        if size < block_bytes:
            continue
        block = b"".join(held) if len(held) > 1 else piece
        if block.endswith(b"\n"):
            yield block
            held, size = [], 0
            continue
        end = block.rfind(b"\n") + 1
        rest = block[end:]
        if len(rest) > block_bytes // 2:
            rest, skipping = rest[:max_line_bytes], True
        if end:
            yield block[:end]
        held, size = [rest] if rest else [], len(rest)
    if size:
        yield b"".join(held)

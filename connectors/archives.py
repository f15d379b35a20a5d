"""Find the logs in zip and tar archives. Names in an archive are shown, never used on disk.

Members are read where they lie. Only those of a compressed tar are copied to a temporary file, since reaching
each would unpack all that comes before it again.
"""

import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, BinaryIO, cast

from bifrost_flow.language import t
from connectors.lognames import OTHER_FOLDERS, judge_name
from connectors.members import LOCAL_HEADER, LOCAL_MAGIC, READ_METHODS, Member, open_member
from connectors.reading import (
    BROKEN_ERRORS,
    MAX_EXPANDED_BYTES,
    MAX_RATIO,
    SNIFF_BYTES,
    Source,
    find_packing,
    is_binary,
    open_packed,
)

ARCHIVE_NAME = re.compile(r"\.(zip|tar|tgz|tbz2?|txz|tzst|tar\.(gz|bz2|xz|zstd?|lzma))$", re.IGNORECASE)
MAX_MEMBERS = 100_000
MAX_SPOOL_BYTES = 8 << 30
# A zip's directory and a tar's header of one member are read into memory whole, however large they say to be.
MAX_DIRECTORY_BYTES = 32 << 20
MAX_HEADER_BYTES = 128 << 10

Report = Callable[[str, str, str], None]  # path, status, message


class _Enough(Exception):
    """The archive is beyond a limit; the message says which, and nothing more of it is read."""


def is_archive(path: str) -> bool:
    """Tell by its name whether a file is an archive whose members are read."""
    return ARCHIVE_NAME.search(path) is not None


def find_members(path: str, *, report: Report, max_bytes: int | None = None) -> Iterator[Source]:
    """Yield the logs in the archive `path`, in its order, as `path!/member`.

    What can't be read is told to `report` with a status and a message; nothing is raised for it.
    `max_bytes` leaves members out that are larger unpacked.
    """
    listing = _Listing(path, report, max_bytes)
    find = _find_in_zip if path.lower().endswith(".zip") else _find_in_tar
    try:
        with Path(path).open("rb") as raw:
            yield from find(raw, listing)
    except _Enough as limit:
        report(path, "too_large", str(limit))
    except OSError as error:
        if error.errno is None:  # the unpacker's, not the disk's
            listing.report_broken(error)
        else:
            reason = error.strerror or error
            report(path, "unreadable", t("source.unreadable", path=path, reason=reason))
    except BROKEN_ERRORS as error:
        listing.report_broken(error)


@dataclass(slots=True)
class _Listing:
    """What has been seen of one archive, and what of it is let through."""

    archive: str
    report: Report
    max_bytes: int | None
    shown: set[str] = field(default_factory=set)
    seen: int = 0
    expanded: int = 0  # bytes that reading the members so far gives at most

    def count(self) -> None:
        self.seen += 1
        if self.seen > MAX_MEMBERS:
            raise _Enough(t("archive.too_many", path=self.archive, limit=MAX_MEMBERS))

    def report_broken(self, reason: object) -> None:
        status = "truncated" if self.seen else "unreadable"
        self.report(self.archive, status, t("archive.broken", path=self.archive, reason=reason))

    def report_unreadable(self, shown: str, reason: str) -> None:
        self.report(shown, "unreadable", t("source.unreadable", path=shown, reason=reason))

    def admit(self, name: str, member: Member, read_head: Callable[[], bytes]) -> str | None:
        """Return the path to show for a member that is a log and within the limits, else None."""
        parts = _clean_name(name)
        if not parts or any(part.startswith(".") for part in parts) or OTHER_FOLDERS & set(parts[:-1]):
            return None
        shown = f"{self.archive}!/{'/'.join(parts)}"
        if is_archive(shown):
            self.report(shown, "unreadable", t("archive.nested", path=shown))
            return None
        if not _looks_like_log(parts[-1], read_head):
            return None
        if self.max_bytes is not None and member.size > self.max_bytes:
            message = t("source.too_large", path=shown, bytes=member.size, limit=self.max_bytes)
            self.report(shown, "too_large", message)
            return None
        self.expanded += min(member.size, MAX_RATIO * max(member.packed, 1 << 16))
        if self.expanded > MAX_EXPANDED_BYTES:
            raise _Enough(t("source.bomb", path=self.archive, bytes=MAX_EXPANDED_BYTES))
        # Twice the same name is allowed in both formats.
        base, number = shown, 1
        while shown in self.shown:
            number += 1
            shown = f"{base} ({number})"
        self.shown.add(shown)
        return shown


def _clean_name(name: str) -> list[str]:
    """Return the parts of a member's name, without what would lead out of the archive or confuse a
    terminal."""
    safe = "".join(char if char.isprintable() else "\ufffd" for char in name.replace("\\", "/"))
    return [part for part in safe.split("/") if part not in ("", ".", "..") and not part.endswith(":")]


def _looks_like_log(name: str, read_head: Callable[[], bytes]) -> bool:
    judged = judge_name(name)
    if judged is not None:
        return judged
    try:
        return not is_binary(read_head())
    except BROKEN_ERRORS:
        return True  # reported when its turn comes


# --- zip


def _find_in_zip(raw: IO[bytes], listing: _Listing) -> Iterator[Source]:
    size = Path(listing.archive).stat().st_size
    try:
        with zipfile.ZipFile(cast("IO[bytes]", _Capped(raw, MAX_DIRECTORY_BYTES))) as archive:
            entries = archive.infolist()
    except zipfile.BadZipFile as error:
        # The directory stands at the end: of a cut off archive the members' own headers are left.
        yield from _list_zip(_scan_local_headers(raw, size), listing)
        listing.report_broken(error)
        return
    if sum(entry.compress_size for entry in entries) > size:
        # Members that share their bytes: no packer does that, bombs do.
        raise _Enough(t("archive.overlap", path=listing.archive))
    yield from _list_zip(entries, listing)


def _list_zip(entries: Iterable[zipfile.ZipInfo], listing: _Listing) -> Iterator[Source]:
    location = Path(listing.archive)
    for entry in entries:
        listing.count()
        mode = entry.external_attr >> 16
        if entry.is_dir() or (stat.S_IFMT(mode) and not stat.S_ISREG(mode)):
            continue
        encrypted = bool(entry.flag_bits & 0x41)
        known = not encrypted and entry.compress_type in READ_METHODS
        member = Member(
            "zip",
            entry.header_offset,
            entry.compress_size,
            entry.file_size,
            entry.compress_type,
            getattr(entry, "CRC", None),
        )

        def read_head(member: Member = member, known: bool = known) -> bytes:
            if not known:
                return b""
            with open_member(location, member) as stream:
                return stream.read(SNIFF_BYTES)

        shown = listing.admit(entry.filename, member, read_head)
        if shown is None:
            continue
        if encrypted:
            listing.report_unreadable(shown, t("archive.encrypted"))
        elif not known:
            listing.report_unreadable(shown, t("archive.method", method=entry.compress_type))
        else:
            yield Source(shown, location, member.size, member)


def _scan_local_headers(raw: IO[bytes], archive_bytes: int) -> Iterator[zipfile.ZipInfo]:
    """Yield the members of a zip that has lost its directory, from the headers before their bytes."""
    offset = 0
    while True:
        raw.seek(offset)
        header = raw.read(LOCAL_HEADER.size)
        if len(header) < LOCAL_HEADER.size or not header.startswith(LOCAL_MAGIC):
            return
        (_, _, flags, method, _, _, crc, packed, size, name_bytes, extra_bytes) = LOCAL_HEADER.unpack(header)
        name = raw.read(name_bytes).decode("utf-8" if flags & 0x800 else "cp437", "replace")
        start = offset + LOCAL_HEADER.size + name_bytes + extra_bytes
        if not name or start >= archive_bytes:
            return
        entry = zipfile.ZipInfo(name)
        entry.header_offset, entry.flag_bits, entry.compress_type = offset, flags, method
        if flags & 0x08 and method == zipfile.ZIP_DEFLATED:
            # Written as a stream: the sizes come after the bytes (APPNOTE.TXT 4.3.9).
            packed, size = _measure_deflated(raw, start)
            offset = start + packed
            raw.seek(offset)
            offset += 16 if raw.read(4) == b"PK\x07\x08" else 12
        else:
            entry.CRC = crc
            offset = start + packed
        entry.compress_size, entry.file_size = packed, size
        yield entry


def _measure_deflated(raw: IO[bytes], start: int) -> tuple[int, int]:
    """Return the packed and unpacked size in bytes of the deflated bytes at `start`; where they are cut off
    the unpacked size is one more, so that reading tells it."""
    raw.seek(start)
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    taken, size = 0, 0
    while not unpacker.eof:
        piece = unpacker.unconsumed_tail or raw.read(1 << 16)
        if not piece or size > MAX_EXPANDED_BYTES:
            return taken + 1, size + 1
        try:
            size += len(unpacker.decompress(piece, 1 << 20))
        except zlib.error:
            return taken + len(piece), size + 1
        taken += len(piece) - len(unpacker.unconsumed_tail) - len(unpacker.unused_data)
    return taken, size


class _Capped:
    """A file that hands over no more than some bytes at once, whatever the archive says."""

    def __init__(self, raw: IO[bytes], limit: int) -> None:
        self._raw = raw
        self._limit = limit
        self.seek, self.tell, self.seekable = raw.seek, raw.tell, raw.seekable

    def read(self, size: int = -1) -> bytes:
        if size > self._limit:
            raise ValueError(f"a directory of {size} bytes")
        return self._raw.read(size if size >= 0 else self._limit)


# --- tar


def _find_in_tar(raw: IO[bytes], listing: _Listing) -> Iterator[Source]:
    stream = _TarBytes(raw, listing.archive)
    with ExitStack() as stack:
        archive = stack.enter_context(tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r:"))
        spool: IO[bytes] | None = None
        while (entry := archive.next()) is not None:
            archive.members.clear()  # ty: ignore[missing-attribute] -- it would keep every header
            listing.count()
            stream.header_bytes = 0
            if not entry.isreg():
                continue
            member = Member("tar", entry.offset_data, entry.size, entry.size)
            head: list[bytes] = []

            def read_head(head: list[bytes] = head, size: int = entry.size) -> bytes:
                head.append(stream.take(min(size, SNIFF_BYTES)))
                return head[0]

            shown = listing.admit(entry.name, member, read_head)
            if shown is None:
                continue
            if entry.issparse():
                listing.report_unreadable(shown, t("archive.sparse"))
                continue
            if not stream.packed:
                yield Source(shown, Path(listing.archive), entry.size, member)
                continue
            if spool is None:
                spool = stack.enter_context(
                    tempfile.NamedTemporaryFile(prefix="bifrost-tar-", suffix=".logs", delete=False)
                )
            location = Path(spool.name)
            room = min(MAX_SPOOL_BYTES, spool.tell() + shutil.disk_usage(location).free // 2)
            if entry.size > room - spool.tell():
                message = t("source.too_large", path=shown, bytes=entry.size, limit=room - spool.tell())
                listing.report(shown, "too_large", message)
                continue
            member = replace(member, offset=spool.tell(), spooled=True)
            # It is a source before it is copied: what was copied until trouble came can be read.
            yield Source(shown, location, entry.size, member)
            _copy(stream, spool, b"".join(head), entry.size)
        stream.check_end()


def _copy(stream: "_TarBytes", spool: IO[bytes], head: bytes, size: int) -> None:
    spool.write(head)
    left = size - len(head)
    while left > 0:
        piece = stream.take(min(left, 1 << 20))
        if not piece:
            raise EOFError("cut off within a member")
        spool.write(piece)
        left -= len(piece)


class _TarBytes:
    """The bytes of a tar as tarfile reads them: unpacked, forwards only, within limits.

    tarfile reads what a header announces into memory and skips by reading: both are bounded here.
    """

    def __init__(self, raw: IO[bytes], path: str) -> None:
        packing = find_packing(cast("BinaryIO", raw))
        self.packed = packing != "plain"
        self.header_bytes = 0
        self._raw = raw
        self._stream = open_packed(packing, cast("BinaryIO", raw)) if self.packed else raw
        self._path = path
        self._position = 0
        self._last = b""

    def read(self, size: int) -> bytes:
        self.header_bytes += size
        if self.header_bytes > MAX_HEADER_BYTES:
            raise tarfile.ReadError("the header of a member is too large")
        self._last = self.take(size)
        return self._last

    def take(self, size: int) -> bytes:
        piece = self._stream.read(size)
        self._position += len(piece)
        limit = min(MAX_EXPANDED_BYTES, MAX_RATIO * max(self._raw.tell(), 1 << 16))
        if self.packed and self._position > limit:
            raise _Enough(t("source.bomb", path=self._path, bytes=limit))
        return piece

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        if not self.packed:
            self._position = self._raw.seek(position)
            return position
        while self._position < position and self.take(min(position - self._position, 1 << 20)):
            pass
        return self._position

    def check_end(self) -> None:
        """Raise ReadError if a header was cut off or is none: tarfile takes both for the end."""
        if self._last.strip(b"\0") or len(self._last) % tarfile.BLOCKSIZE:
            raise tarfile.ReadError("no header where one belongs")

"""Find the logs in a zip, also in one that has lost its directory."""

import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, cast

from bifrost_flow.language import t
from connectors.listing import Enough, Listing
from connectors.members import LOCAL_HEADER, LOCAL_MAGIC, READ_METHODS, Member, measure, open_member
from connectors.reading import MAX_EXPANDED_BYTES, SNIFF_BYTES, Source

# The directory is read into memory whole, however large it says to be.
MAX_DIRECTORY_BYTES = 32 << 20


def find_in_zip(raw: IO[bytes], listing: Listing) -> Iterator[Source]:
    size = measure(raw)
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
        raise Enough(t("archive.overlap", path=listing.archive))
    yield from _list_zip(entries, listing)


def _list_zip(entries: Iterable[zipfile.ZipInfo], listing: Listing) -> Iterator[Source]:
    location = listing.location
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

"""Find the logs in a tar. Members of a compressed one are copied to a temporary file, since reaching each
would unpack all that comes before it again; those of a plain one are read where they lie.
"""

import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import IO, BinaryIO, cast

from bifrost_flow.language import t
from connectors.listing import Enough, Listing
from connectors.members import Member
from connectors.reading import (
    MAX_EXPANDED_BYTES,
    MAX_RATIO,
    SNIFF_BYTES,
    Source,
    find_packing,
    open_packed,
)

MAX_SPOOL_BYTES = 8 << 30
# A member's header is read into memory whole, however large it says to be.
MAX_HEADER_BYTES = 128 << 10


def find_in_tar(raw: IO[bytes], listing: Listing) -> Iterator[Source]:
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
                yield Source(shown, listing.location, entry.size, member)
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
            raise Enough(t("source.bomb", path=self._path, bytes=limit))
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

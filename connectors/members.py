"""Open one member of an archive for reading, where the archive lies.

Nothing is unpacked to disk and no directory is read again: a member knows where its bytes begin.
"""

import io
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, Union, cast

if TYPE_CHECKING:
    from connectors.s3.stream import ObjectPlace

# Where the bytes of a file are.
Location = Union[Path, "ObjectPlace"]

LOCAL_HEADER = struct.Struct("<4s5H3I2H")  # APPNOTE.TXT 4.3.7
LOCAL_MAGIC = b"PK\x03\x04"
# bzip2 and LZMA members can't be unpacked in bounded pieces by zipfile, and nobody packs logs so.
READ_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass(frozen=True, slots=True)
class Member:
    """Where a member lies in its archive."""

    format: str  # zip or tar
    offset: int  # of its local header in a zip, of its first byte in a tar or a temporary copy
    packed: int  # bytes that it takes in the archive
    size: int  # bytes unpacked
    method: int = zipfile.ZIP_STORED
    crc: int | None = None
    spooled: bool = False  # lies in a temporary copy, which is removed after reading


def measure(stream: IO[bytes]) -> int:
    """Return the size in bytes of an open file, which stays where it is."""
    position = stream.tell()
    size = stream.seek(0, io.SEEK_END)
    stream.seek(position)
    return size


def open_member(location: Location, member: Member) -> IO[bytes]:
    """Return the unpacked bytes of `member`, streaming; closing it closes the archive.

    A cut off member just ends early. Its CRC is not checked here: zipfile would drop the last bytes read
    together with a wrong sum.

    Raises:
        OSError: the archive can't be opened.
        ValueError: the archive holds no member there any more.
    """
    raw = location.open("rb")
    try:
        raw.seek(member.offset)
        if member.format == "zip":
            header = raw.read(LOCAL_HEADER.size)
            if len(header) < LOCAL_HEADER.size or not header.startswith(LOCAL_MAGIC):
                raise ValueError("no member's header where the directory names one")
            *_, name_bytes, extra_bytes = LOCAL_HEADER.unpack(header)
            raw.seek(name_bytes + extra_bytes, 1)
        entry = zipfile.ZipInfo()
        entry.compress_type = member.method
        # Of a cut off archive zipfile gives the last bytes only if it expects no more than there are.
        entry.compress_size = max(0, min(member.packed, measure(raw) - raw.tell()))
        entry.file_size = member.size
        # The bytes of a tar's member are those of a stored one in a zip.
        return zipfile.ZipExtFile(cast("BinaryIO", raw), "r", entry, None, True)  # ty: ignore
    except BaseException:
        raw.close()
        raise

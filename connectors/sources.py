"""Find log files and read them as blocks of whole lines: files, folders, globs, standard input; gz, bz2, xz, zst.

Everything that is read is hostile data: what decompresses to absurd sizes is cut, loops of links end, and one file's
trouble never ends another's reading.
"""

import bz2
import glob
import gzip
import hashlib
import lzma
import os
import stat
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, BinaryIO, cast

from bifrost_flow.language import t
from bifrost_flow.records import LogFile, Problem

BLOCK_BYTES = 16 << 20
# A line is cut here: nobody reads further, and one line of a gigabyte must not fill the memory.
MAX_LINE_BYTES = 64 << 10
# Text logs compress 10 to 100 fold; beyond this a file is taken for a bomb and what was read so far is kept.
MAX_RATIO = 1000
MAX_EXPANDED_BYTES = 64 << 30
SNIFF_BYTES = 8192
STDIN_NAMES = ("-",)

LOG_SUFFIXES = frozenset(
    {".log", ".txt", ".out", ".err", ".trace", ".stderr", ".stdout", ".raw", ".console", ""}
)
PACKED_SUFFIXES = frozenset({".gz", ".bz2", ".xz", ".zst", ".zstd", ".lzma"})
# What a folder of logs also holds and nobody means: tables, pictures, code, documents, archives of other things.
OTHER_SUFFIXES = frozenset(
    ".parquet .duckdb .db .sqlite .wal .csv .tsv .json .jsonl .ndjson .yaml .yml .toml .ini .cfg .md .rst .html .htm .xml .css "
    ".js .ts .py .pyc .sh .sql .lock .png .jpg .jpeg .gif .svg .webp .ico .pdf .woff .woff2 .ttf .whl .jar .class .so .dll .exe "
    ".o .a .bin .gguf .zip .tar .tgz .7z .rar .deb .rpm .mp4 .pem .key .crt .sarif".split()
)
WAREHOUSE_MARKER = "bifrost.duckdb"


@dataclass(frozen=True, slots=True)
class Source:
    """A log that can be read: `path` is what a person sees, `location` where the bytes are."""

    path: str
    location: Path
    size: int  # bytes on disk


@dataclass(slots=True)
class ReadFacts:
    """What reading a source to its end has shown; complete once the blocks are used up."""

    sha256: str | None = None
    bytes: int = 0  # on disk
    encoding: str = "utf-8"
    format: str = "plain"
    status: str = "read"
    error: str | None = None


@dataclass(slots=True)
class _Found:
    sources: list[Source] = field(default_factory=list)
    files: list[LogFile] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def report(self, path: str, status: str, message: str) -> None:
        self.files.append(describe_unread(path, status, message))
        self.problems.append(Problem("ingest", path, message))


def describe_unread(path: str, status: str, message: str, *, size: int = 0) -> LogFile:
    """Return the `files` row of an input that gave no lines."""
    return LogFile(path, None, size, 0, "utf-8", "plain", None, None, None, None, "unknown", status, message)


def find_sources(
    targets: Sequence[str], *, stdin: BinaryIO | None = None, max_bytes: int | None = None
) -> tuple[list[Source], list[LogFile], list[Problem]]:
    """Return the logs that `targets` name, and a row and a problem for each that can't be read.

    A target is a file (read whatever its name), a folder (its logs, recursively, sorted, without hidden folders),
    a glob (`**` included) or `-` for standard input. `max_bytes` leaves larger files out.
    """
    found = _Found()
    for target in dict.fromkeys(targets):
        if target in STDIN_NAMES:
            _spool_stdin(found, stdin)
        elif os.path.lexists(target):
            _add_path(found, target, max_bytes)
        elif glob.has_magic(target):
            _add_glob(found, target, max_bytes)
        else:
            found.report(target, "missing", t("source.missing", path=target))
    return found.sources, found.files, found.problems


def _spool_stdin(found: _Found, stdin: BinaryIO | None) -> None:
    source = stdin if stdin is not None else sys.stdin.buffer
    handle, name = tempfile.mkstemp(prefix="bifrost-stdin-", suffix=".log")
    with os.fdopen(handle, "wb") as spool:
        while block := source.read(1 << 20):
            spool.write(block)
    found.sources.append(Source("-", Path(name), Path(name).stat().st_size))


def remove_spooled(sources: Sequence[Source]) -> None:
    """Delete the temporary copies of standard input among `sources`."""
    for source in sources:
        if source.path in STDIN_NAMES:
            source.location.unlink(missing_ok=True)


def _add_glob(found: _Found, target: str, max_bytes: int | None) -> None:
    matches = sorted(glob.glob(target, recursive=True))
    if not matches:
        found.report(target, "missing", t("source.no_match", path=target))
    for match in matches:
        if Path(match).is_dir():
            # `logs/**` names folders too; what they hold is matched by itself.
            if "**" not in target:
                _add_folder(found, match, max_bytes)
        else:
            _add_path(found, match, max_bytes)


def _add_path(found: _Found, target: str, max_bytes: int | None) -> None:
    try:
        mode = os.stat(target).st_mode
    except OSError as error:
        found.report(
            target, "unreadable", t("source.unreadable", path=target, reason=error.strerror or error)
        )
        return
    if stat.S_ISDIR(mode):
        _add_folder(found, target, max_bytes)
    else:
        _add_file(found, target, max_bytes)


def _add_folder(found: _Found, folder: str, max_bytes: int | None) -> None:
    before = len(found.sources) + len(found.problems)
    visited: set[tuple[int, int]] = set()

    def report(error: OSError) -> None:
        path = str(error.filename or folder)
        found.report(path, "unreadable", t("source.unreadable", path=path, reason=error.strerror or error))

    for root, folders, names in os.walk(folder, followlinks=True, onerror=report):
        place = os.stat(root)
        if (place.st_dev, place.st_ino) in visited:
            folders.clear()
            continue
        visited.add((place.st_dev, place.st_ino))
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and not _is_warehouse(os.path.join(root, name))
        )
        for name in sorted(names):
            path = os.path.join(root, name)
            if not name.startswith(".") and _looks_like_log(path):
                _add_file(found, path, max_bytes)
    if before == len(found.sources) + len(found.problems):
        found.report(folder, "missing", t("source.no_logs", path=folder))


def _is_warehouse(folder: str) -> bool:
    return os.path.exists(os.path.join(folder, WAREHOUSE_MARKER))


def _looks_like_log(path: str) -> bool:
    """Tell whether a file that was found in a folder is one that its owner would call a log."""
    name = Path(path)
    suffix = name.suffix.lower()
    if suffix in PACKED_SUFFIXES:
        suffix = Path(name.stem).suffix.lower()
    elif suffix.lstrip(".").isdigit():
        return True  # rotated: app.log.1
    if suffix in OTHER_SUFFIXES:
        return False
    if suffix in LOG_SUFFIXES:
        return suffix != "" or name.name.upper() not in {
            "LICENSE",
            "MAKEFILE",
            "DOCKERFILE",
            "README",
            "NOTICE",
        }
    try:
        with open(path, "rb") as stream:
            head = stream.read(SNIFF_BYTES)
    except OSError:
        return True  # reported as unreadable when its turn comes
    return not is_binary(head)


def _add_file(found: _Found, path: str, max_bytes: int | None) -> None:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISFIFO(status.st_mode):
            return
        identity = os.path.realpath(path)
    except OSError as error:
        found.report(path, "unreadable", t("source.unreadable", path=path, reason=error.strerror or error))
        return
    if identity in found.seen:
        return
    found.seen.add(identity)
    if max_bytes is not None and status.st_size > max_bytes:
        found.report(
            path, "too_large", t("source.too_large", path=path, bytes=status.st_size, limit=max_bytes)
        )
        return
    found.sources.append(Source(path, Path(path), status.st_size))


def is_binary(head: bytes) -> bool:
    """Tell whether the first bytes of a file are those of something other than text."""
    if not head or head.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        return False
    if guess_utf16(head):
        return False
    zeros = head.count(0)
    junk = sum(head.count(byte) for byte in (*range(1, 7), *range(14, 27), *range(28, 32)))
    return zeros > len(head) // 200 or junk > len(head) // 10


def guess_utf16(head: bytes) -> str | None:
    """Return the byte order of UTF-16 text without a mark: its zeros stand at every other place."""
    if len(head) < 64:
        return None
    even, odd = head[::2].count(0), head[1::2].count(0)
    half = len(head) // 2
    if odd > half * 0.7 and even < half * 0.05:
        return "utf-16-le"
    if even > half * 0.7 and odd < half * 0.05:
        return "utf-16-be"
    return None


class _HashingReader:
    """A file opened for reading whose bytes are hashed and counted as they pass."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        block = self._stream.read(size)
        self._hash.update(block)
        self.count += len(block)
        return block

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._stream.close()

    @property
    def closed(self) -> bool:
        return self._stream.closed

    def finish(self) -> str:
        while self.read(1 << 20):
            pass
        return self._hash.hexdigest()


MAGIC = ((b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ\x00", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"))


def _open_packed(packing: str, stream: BinaryIO) -> IO[bytes]:
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
    r"""Yield the text of `source` as UTF-8, invalid bytes left in, in blocks of whole lines, each ending in a newline but the last.

    Lines are cut at `max_line_bytes`. `facts` is filled while reading and complete at the end; trouble ends the
    blocks and is told there, never raised.
    """
    facts.bytes = source.size
    try:
        raw = open(source.location, "rb")  # noqa: SIM115 -- closed below, with the generator
    except OSError as error:
        facts.status = "unreadable"
        facts.error = t("source.unreadable", path=source.path, reason=error.strerror or error)
        return
    with raw:
        head = raw.peek(SNIFF_BYTES)[:SNIFF_BYTES]
        hashing = _HashingReader(cast("BinaryIO", raw))
        facts.format = next((name for magic, name in MAGIC if head.startswith(magic)), "plain")
        stream = cast("IO[bytes]", hashing)
        if facts.format != "plain":
            stream = _open_packed(facts.format, cast("BinaryIO", hashing))
        yield from _decode(
            _guard(stream, hashing, source, facts, block_bytes), source, facts, block_bytes, max_line_bytes
        )
        try:
            facts.sha256 = hashing.finish()
        except OSError as error:
            facts.status, facts.error = (
                "unreadable",
                t("source.unreadable", path=source.path, reason=error.strerror or error),
            )
        facts.bytes = hashing.count or source.size


def _guard(
    stream: IO[bytes], raw: _HashingReader, source: Source, facts: ReadFacts, piece_bytes: int
) -> Iterator[bytes]:
    """Yield pieces of the unpacked bytes; a broken or bomb-like file ends early and is marked truncated."""
    total = 0
    while True:
        try:
            piece = stream.read(piece_bytes)
        except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, OSError, ValueError) as error:
            # An OSError with a number is the disk's; without one it is the unpacker's.
            failed = isinstance(error, OSError) and error.errno is not None
            facts.status = "truncated" if total or not failed else "unreadable"
            key = "source.unreadable" if failed else "source.broken"
            facts.error = t(key, path=source.path, reason=error)
            return
        if not piece:
            return
        total += len(piece)
        yield piece
        if facts.format != "plain" and (
            total > MAX_RATIO * max(raw.count, 1 << 16) or total > MAX_EXPANDED_BYTES
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
    import codecs

    decoder = codecs.getincrementaldecoder(encoding)("replace")
    for piece in pieces:
        yield decoder.decode(piece).encode("utf-8", "replace")
    yield decoder.decode(b"", final=True).encode("utf-8", "replace")


def _split_blocks(pieces: Iterator[bytes], block_bytes: int, max_line_bytes: int) -> Iterator[bytes]:
    """Join `pieces` to blocks of whole lines of about `block_bytes`; of a longer line only the start is kept."""
    rest = b""
    skipping = False
    for piece in pieces:
        if skipping:
            end = piece.find(b"\n")
            if end < 0:
                continue
            piece, skipping = piece[end:], False
        rest = rest + piece if rest else piece
        if len(rest) < block_bytes:
            continue
        end = rest.rfind(b"\n") + 1
        if end:
            yield rest[:end]
            rest = rest[end:]
        if len(rest) > block_bytes // 2:
            rest, skipping = rest[:max_line_bytes], True
    if rest:
        yield rest

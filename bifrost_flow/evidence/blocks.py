"""Make lines of blocks of text: mended, cut, with the candidates among them, some blocks ahead on threads."""

from codecs import utf_8_decode
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import polars as pl

from bifrost_flow.evidence.score import find_candidates

WORKERS = 2
MEND_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Prepared:
    """A block made ready to be judged."""

    lines: pl.Series
    found: pl.DataFrame
    valid: bool  # UTF-8


def mend_utf8(block: bytes) -> bytes:
    """Replace invalid bytes; only the pieces that hold some are copied."""
    view = memoryview(block)
    pieces: list[bytes | memoryview] = []
    start = done = 0
    while start < len(block):
        # Never cut inside a character.
        end = (block.find(b"\n", start + MEND_BYTES) + 1) or len(block)
        try:
            utf_8_decode(view[start:end], "strict", True)
        except UnicodeDecodeError:
            pieces += (view[done:start], block[start:end].decode("utf-8", "replace").encode())
            done = end
        start = end
    return b"".join((*pieces, view[done:])) if pieces else block


def is_utf8(block: bytes) -> bool:
    """Tell whether all of a block is valid UTF-8."""
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True


def split_lines(block: bytes, max_line_bytes: int, *, trusted: bool = True) -> tuple[pl.Series, bool]:
    """Return the lines of a block, each cut at `max_line_bytes`, and whether all was valid UTF-8.

    A block that isn't `trusted` is mended before it is tried.
    """
    valid = True
    if not trusted:
        mended = mend_utf8(block)
        valid, block = mended is block, mended
    try:
        lines = pl.scan_lines(block).collect()["line"]
    except pl.exceptions.ComputeError:
        valid = False
        lines = pl.scan_lines(mend_utf8(block)).collect()["line"]
    longest = lines.str.len_bytes().max()
    if isinstance(longest, int) and longest > max_line_bytes:
        lines = lines.str.head(max_line_bytes)
    return lines, valid


class _Preparer:
    """Prepares blocks; a file with invalid bytes in one block most likely has some in the next."""

    def __init__(self, max_line_bytes: int) -> None:
        self._max_line_bytes = max_line_bytes
        self._trusted = True

    def __call__(self, block: bytes) -> Prepared:
        lines, valid = split_lines(block, self._max_line_bytes, trusted=self._trusted)
        self._trusted = self._trusted and valid
        return Prepared(lines, find_candidates(lines), valid)


def prepare_ahead(blocks: Iterable[bytes], max_line_bytes: int) -> Iterator[Prepared]:
    """Prepare blocks on threads while earlier ones are judged; at most `WORKERS` + 1 are held at once."""
    blocks = iter(blocks)
    prepare = _Preparer(max_line_bytes)
    first, second = next(blocks, None), next(blocks, None)
    if first is None:
        return
    if second is None:
        yield prepare(first)
        return
    with ThreadPoolExecutor(WORKERS) as pool:
        waiting = deque(pool.submit(prepare, block) for block in (first, second))
        del first, second
        for block in blocks:
            waiting.append(pool.submit(prepare, block))
            yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

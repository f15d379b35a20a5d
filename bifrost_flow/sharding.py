"""Cut a listing of objects into shards that runs can take one each: whole prefixes, alike in size.

A store lists by prefix, so a shard is a set of neighbouring prefixes. Only folders are held in memory, never
objects: ten million of these in a hundred thousand folders are a frame of a hundred thousand rows.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

LISTING_SCHEMA = {"key": pl.String, "size": pl.Int64}
# After every character that a key can hold.
_LAST = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Piece:
    """A prefix that is read whole; `direct` if only what lies in that folder itself is meant."""

    prefix: str
    direct: bool
    objects: int
    bytes: int

    @property
    def pattern(self) -> str:
        """What names it as an input."""
        return f"{self.prefix}*" if self.direct else self.prefix


@dataclass(frozen=True, slots=True)
class Shard:
    """What one run takes; `oversized` where a single folder is larger than a shard should be."""

    pieces: tuple[Piece, ...]
    oversized: bool

    @property
    def objects(self) -> int:
        return sum(piece.objects for piece in self.pieces)

    @property
    def bytes(self) -> int:
        return sum(piece.bytes for piece in self.pieces)


def sum_folders(listing: pl.LazyFrame) -> pl.DataFrame:
    """Return a row a folder, sorted by its name: `folder`, `objects`, `bytes`.

    Args:
        listing: `key` (String) and `size` in bytes (Int64), a row an object, in any order. A folder ends in
            a slash; that of a key without one is empty.
    """
    folder = pl.col("key").str.replace(r"[^/]*$", "").alias("folder")
    # Names of folders themselves, which some tools put there as empty objects.
    objects = listing.filter(~pl.col("key").str.ends_with("/"))
    sums = objects.group_by(folder).agg(pl.len().cast(pl.Int64).alias("objects"), pl.col("size").sum())
    return sums.rename({"size": "bytes"}).sort("folder").collect(engine="streaming")


def plan_shards(folders: pl.DataFrame, *, target_bytes: int, max_objects: int) -> list[Shard]:
    """Return shards of at most so many bytes and objects, in the order of their keys; together they hold each
    object once.

    Args:
        folders: as `sum_folders` returns them.
    """
    shards: list[Shard] = []
    held: list[Piece] = []
    objects = size = 0
    for piece in _Tree(folders).cut(target_bytes, max_objects):
        oversized = piece.bytes > target_bytes or piece.objects > max_objects
        if held and (oversized or size + piece.bytes > target_bytes or objects + piece.objects > max_objects):
            shards.append(Shard(tuple(held), oversized=False))
            held, objects, size = [], 0, 0
        if oversized:
            shards.append(Shard((piece,), oversized=True))
            continue
        held.append(piece)
        objects, size = objects + piece.objects, size + piece.bytes
    if held:
        shards.append(Shard(tuple(held), oversized=False))
    return shards


class _Tree:
    """Folders in the order of their names: all below a prefix lie side by side, so sums are differences."""

    def __init__(self, folders: pl.DataFrame) -> None:
        # Polars orders by UTF-8's bytes, which is the order of code points, as Python's.
        self._names = folders["folder"].to_list()
        self._objects = [0, *folders["objects"].cum_sum().to_list()]
        self._bytes = [0, *folders["bytes"].cum_sum().to_list()]

    def cut(self, target_bytes: int, max_objects: int) -> Iterator[Piece]:
        """Yield the largest prefixes within the limits, in order; folders by themselves beyond them."""
        waiting = [("", 0, len(self._names))] if self._names else []
        while waiting:
            prefix, first, end = waiting.pop()
            piece = self._piece(prefix, first, end, direct=False)
            if piece.bytes <= target_bytes and piece.objects <= max_objects:
                yield piece
                continue
            own = first < end and self._names[first] == prefix
            if own:
                yield self._piece(prefix, first, first + 1, direct=end - first > 1)
            # The last one in goes out first.
            waiting.extend(reversed(list(self._split(prefix, first + own, end))))

    def _piece(self, prefix: str, first: int, end: int, *, direct: bool) -> Piece:
        objects = self._objects[end] - self._objects[first]
        return Piece(prefix, direct, objects, self._bytes[end] - self._bytes[first])

    def _split(self, prefix: str, first: int, end: int) -> Iterator[tuple[str, int, int]]:
        while first < end:
            child = prefix + self._names[first][len(prefix) :].partition("/")[0] + "/"
            after = bisect_left(self._names, child + _LAST, first, end)
            yield child, first, after
            first = after

"""Packs: Parquet files that hold the rows of many runs, in place of the files that they were merged from.

A table is at any moment all files in its folder, and of each run the rows of that file count whose name is
the greatest (the views say so). So a pack may stand beside the files that it replaces: `pack-…` is greater
than any run's id, and a later pack of a month is greater than an earlier one. The replaced files are named in
the pack itself, and are removed once no reader can hold a list of files that lacks the pack.
"""

import json
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from itertools import groupby
from pathlib import PurePosixPath

import polars as pl

from bifrost_flow.errors import WarehouseError
from bifrost_flow.language import t
from bifrost_flow.records import new_run_id
from connectors.storage import Storage
from connectors.warehouse.catalog import SCHEMA_FILE, TABLES, table_prefix

# For how long a reader may still work with a list of files from before a pack was written, in seconds.
GRACE_S = 10.0

# Held by whoever merges or prunes: two at once would do the same work twice.
LOCK = ".compact.lock"

PREFIX = "pack-"
NO_MONTH = "0000-00"

_REPLACES = "bifrost.replaces"
# Small enough that the rows of one run are found without reading a whole pack of 2,000.
_ROW_GROUP_ROWS = 20_000
_UUID7_TIME = slice(0, 13)


@dataclass(frozen=True, slots=True)
class TableFile:
    """A file with rows of one table, and of one project but for the cache."""

    name: str  # in the storage
    bytes: int

    @property
    def base(self) -> str:
        """The last part of its name."""
        return PurePosixPath(self.name).name

    @property
    def folder(self) -> str:
        """What its name starts with, up to a slash."""
        return self.name.removesuffix(self.base)

    @property
    def is_pack(self) -> bool:
        return self.base.startswith(PREFIX)

    @property
    def month(self) -> str:
        """The month of the runs in it, UTC; a run's is that of its id, so that it never changes."""
        return self.base.removeprefix(PREFIX)[:7] if self.is_pack else name_month(self.base)


def read_time(name: str) -> datetime | None:
    """Return when the UUIDv7 was made that `name` begins with, or None where it begins with none."""
    digits = name[_UUID7_TIME].replace("-", "", 1)
    try:
        return datetime.fromtimestamp(int(digits, 16) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def name_month(run_id: str) -> str:
    """Return the month of a run, which is that of its id."""
    made = read_time(run_id)
    return f"{made:%Y-%m}" if made else NO_MONTH


def list_folders(storage: Storage, table: str, project: str | None = None) -> list[list[TableFile]]:
    """Return a table's files, by name, in a list for each folder: one a project; one for all the cache."""
    prefix = f"{table}/" if project is None else table_prefix(table, project)
    files = [
        TableFile(file.name, file.size)
        for file in storage.list_files(prefix)
        if file.name.endswith(".parquet") and PurePosixPath(file.name).name != SCHEMA_FILE
    ]
    files.sort(key=lambda file: (file.folder, file.base))
    return [list(group) for _, group in groupby(files, lambda file: file.folder)]


def read_rows(storage: Storage, file: TableFile, columns: list[str] | None = None) -> pl.DataFrame:
    """Return the rows of a file, or some of its columns.

    Raises:
        WarehouseError: it is no Parquet.
    """
    try:
        return pl.read_parquet(BytesIO(storage.read(file.name)), columns=columns)
    except pl.exceptions.PolarsError as error:
        place = storage.place(file.name)
        raise WarehouseError(t("warehouse.unusable", location=place, reason=error)) from error


def merge_rows(storage: Storage, table: str, files: Iterable[TableFile]) -> pl.DataFrame:
    """Return the rows of `files` that count, with all columns of today, those of a run together.

    An older file has NULL in newer columns; a column that today's schema lacks is kept.
    """
    schema = read_rows(storage, TableFile(f"{table}/{SCHEMA_FILE}", 0))
    frames = [read_rows(storage, file).with_columns(pl.lit(file.base).alias("#file")) for file in files]
    rows = pl.concat([schema, *frames], how="diagonal_relaxed")
    if table == "cache":
        # A key may come twice; the newest answer counts.
        newest = rows.sort("created_at", "#file", descending=True, nulls_last=True)
        return newest.unique("cache_key", keep="first", maintain_order=True).drop("#file")
    counting = rows.filter(pl.col("#file") == pl.col("#file").max().over("run_id"))
    return counting.sort("run_id", maintain_order=True).drop("#file")


def write_pack(
    storage: Storage, folder: str, month: str, rows: pl.DataFrame, files: Iterable[TableFile]
) -> TableFile:
    """Write `rows` as a pack that names the `files` which it replaces. From now on these don't count."""
    name = f"{folder}{PREFIX}{month}-{new_run_id()}.parquet"
    content = BytesIO()
    metadata = {_REPLACES: json.dumps([file.base for file in files])}
    try:
        rows.write_parquet(content, compression="zstd", row_group_size=_ROW_GROUP_ROWS, metadata=metadata)
    except pl.exceptions.PolarsError as error:
        place = storage.place(name)
        raise WarehouseError(t("warehouse.unusable", location=place, reason=error)) from error
    storage.write(name, content.getbuffer())
    return TableFile(name, content.tell())


def read_replaced(storage: Storage, pack: TableFile) -> list[str]:
    """Return the last parts of the names that a pack replaces, whether or not they are still there."""
    try:
        with storage.open(pack.name) as file:
            return json.loads(pl.read_parquet_metadata(file).get(_REPLACES, "[]"))
    except (pl.exceptions.PolarsError, ValueError) as error:
        place = storage.place(pack.name)
        raise WarehouseError(t("warehouse.unusable", location=place, reason=error)) from error


def find_replaced(
    storage: Storage, files: Collection[TableFile], *, made_before: datetime | None = None
) -> list[TableFile]:
    """Return those of a folder's `files` that packs among them replace, if need be of packs of some age."""
    by_base = {file.base: file for file in files}
    found: dict[str, TableFile] = {}
    for pack in (file for file in files if file.is_pack):
        made = read_time(pack.base.removeprefix(PREFIX)[len(NO_MONTH) + 1 :])
        if made_before is None or (made is not None and made <= made_before):
            found |= {base: by_base[base] for base in read_replaced(storage, pack) if base in by_base}
    # A pack goes after what it replaces itself, so that it is there to name that as long as that is.
    return sorted(found.values(), key=lambda file: (file.is_pack, file.base))


def list_free(storage: Storage, files: Collection[TableFile]) -> list[TableFile]:
    """Return those of a folder's `files` that no pack replaces."""
    replaced = {file.name for file in find_replaced(storage, files)}
    return [file for file in files if file.name not in replaced]


def remove_replaced(
    storage: Storage, project: str | None, *, grace_s: float, tables: Sequence[str] = TABLES
) -> int:
    """Remove what packs replace that are older than the grace, and return how many. `runs` goes first."""
    due = datetime.fromtimestamp(time.time() - grace_s, UTC)
    removed = 0
    for table in tables:
        for files in list_folders(storage, table, project):
            for file in find_replaced(storage, files, made_before=due):
                storage.delete(file.name)
                removed += 1
    return removed


def wait_for_readers(grace_s: float, on_wait: Callable[[float], object]) -> None:
    """Wait until every list of files that was begun before now has been used."""
    if grace_s > 0:
        on_wait(grace_s)
        time.sleep(grace_s)

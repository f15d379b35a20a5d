"""Merge many small files into few: a pack a table, project and month.

See docs/decisions/0015-compaction.md.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby

from connectors.storage import Storage, open_storage
from connectors.warehouse.catalog import TABLES, read_queries
from connectors.warehouse.location import encode_name, translating_os_errors
from connectors.warehouse.packs import (
    GRACE_S,
    LOCK,
    NO_MONTH,
    TableFile,
    list_folders,
    list_free,
    merge_rows,
    read_time,
    remove_replaced,
    wait_for_readers,
    write_pack,
)
from connectors.warehouse.pruning import LOCK as CACHE_LOCK
from connectors.warehouse.sandbox import run_query

# A pack of this size is left alone: merging more into it would write it anew again and again, and the rows of
# a merge are in memory, some ten times as large as on disk.
PACK_BYTES = 32 << 20

# A run that was killed has no row in `runs`; by then nobody writes its calls any more.
_DEAD_AFTER = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Batch:
    """Files that become one pack."""

    table: str
    folder: str
    month: str
    files: tuple[TableFile, ...]


@dataclass(slots=True)
class Compaction:
    """What was merged, or would be; the counts are of files with rows."""

    files_before: int = 0
    files_merged: int = 0  # that became part of a pack
    packs: int = 0
    files_removed: int = 0
    bytes_merged: int = 0
    bytes_packed: int = 0
    rows: int = 0
    tables: dict[str, dict[str, int]] = field(default_factory=dict)  # files merged and packs by table

    @property
    def files_after(self) -> int:
        """Files once everything that is replaced is removed."""
        return self.files_before - self.files_merged + self.packs


def compact(
    location: str,
    *,
    project: str | None = None,
    grace_s: float = GRACE_S,
    dry_run: bool = False,
    on_progress: Callable[[int, int], object] = lambda done, total: None,
    on_wait: Callable[[float], object] = lambda seconds: None,
) -> Compaction:
    """Merge the small files of a warehouse, of all projects or of one, and the cache.

    Runs go on meanwhile, and so do readers. `on_progress` hears how many files of how many are merged.

    Raises:
        WarehouseError: a file can't be read or written; what was merged before it is in place.
    """
    storage = open_storage(location)
    done = Compaction()
    with translating_os_errors(storage), storage.hold_alone(LOCK), storage.hold_alone(CACHE_LOCK):
        if not dry_run:
            done.files_removed += remove_replaced(storage, project, grace_s=grace_s)
        batches = plan_batches(storage, project, done)
        total = sum(len(batch.files) for batch in batches)
        on_progress(0, total)
        for batch in batches:
            _count(done, batch)
            if not dry_run:
                rows = merge_rows(storage, batch.table, batch.files)
                pack = write_pack(storage, batch.folder, batch.month, rows, batch.files)
                done.bytes_packed += pack.bytes
                done.rows += len(rows)
                on_progress(done.files_merged, total)
        if batches and not dry_run:
            wait_for_readers(grace_s, on_wait)
            done.files_removed += remove_replaced(storage, project, grace_s=grace_s)
    return done


def plan_batches(storage: Storage, project: str | None, done: Compaction) -> list[Batch]:
    """Return what is to be merged, and count all files into `done`."""
    complete = list_complete_runs(storage)
    batches = []
    for table in TABLES:
        for files in list_folders(storage, table, project):
            free = list_free(storage, files)
            done.files_before += len(free)
            mergeable = [
                file
                for file in free
                if file.bytes < PACK_BYTES and (file.is_pack or is_finished(table, file, complete))
            ]
            batches += _plan_folder(table, files[0].folder, mergeable)
    return batches


def _plan_folder(table: str, folder: str, files: list[TableFile]) -> list[Batch]:
    """Return the batches of a folder's small files: those of a month, up to the size of a pack."""

    def name_month(file: TableFile) -> str:
        # Answers are looked up whatever their age.
        return NO_MONTH if table == "cache" else file.month

    batches = []
    for month, group in groupby(sorted(files, key=lambda file: (name_month(file), file.base)), name_month):
        chosen: list[TableFile] = []
        for file in group:
            if sum(each.bytes for each in chosen) + file.bytes > PACK_BYTES:
                batches.append(Batch(table, folder, month, tuple(chosen)))
                chosen = []
            chosen.append(file)
        batches.append(Batch(table, folder, month, tuple(chosen)))
    return [batch for batch in batches if len(batch.files) > 1]


def list_complete_runs(storage: Storage) -> set[str]:
    """Return the names of files that hold rows of complete runs: nobody writes these any more."""
    rows = run_query(storage, read_queries("retention")["list_complete"]).rows
    return {f"{encode_name(run_id)}.parquet" for (run_id,) in rows}


def is_finished(table: str, file: TableFile, complete: set[str]) -> bool:
    """Tell whether nobody will write the file again."""
    if table in ("runs", "cache") or file.base in complete:
        return True
    made = read_time(file.base)
    return table == "llm_calls" and made is not None and made < datetime.now(UTC) - _DEAD_AFTER


def _count(done: Compaction, batch: Batch) -> None:
    counts = done.tables.setdefault(batch.table, {"files": 0, "packs": 0})
    counts["files"] += len(batch.files)
    counts["packs"] += 1
    done.files_merged += len(batch.files)
    done.packs += 1
    done.bytes_merged += sum(file.bytes for file in batch.files)

"""Forget old runs: their rows go from all tables, but for what the statuses of later runs rest on.

A failure that is still open keeps, of the runs that go, the row that told of it last, and the evidence and
files that say where it was last seen: without them it would be new again the next time, or resolved by a run
that never looked there. The runs that hold these rows keep their own row. The newest run of a project stays
as it is. See docs/decisions/0015-compaction.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from connectors.storage import Storage, open_storage
from connectors.warehouse.catalog import TABLES, read_queries
from connectors.warehouse.location import translating_os_errors
from connectors.warehouse.packs import (
    GRACE_S,
    LOCK,
    TableFile,
    list_folders,
    list_free,
    name_month,
    read_rows,
    read_time,
    remove_replaced,
    wait_for_readers,
    write_pack,
)
from connectors.warehouse.sandbox import run_query
from connectors.warehouse.store import Warehouse

# What tells the rows of a run apart, in tables of which an open failure keeps some.
_KEYS = {"findings": ["run_id", "fingerprint"]}
_KEYS |= {"chunks": ["run_id", "fingerprint", "path"], "files": ["run_id", "path"]}


@dataclass(slots=True)
class Forgotten:
    """What went, or would go."""

    runs: int = 0  # whole
    kept: int = 0  # old runs that an open failure rests on, cut down to that
    files: int = 0  # removed, or made smaller
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Plan:
    """Which rows go: those of `old` runs, and of runs that were killed `before` then, but for those in
    `kept`, by table and key."""

    old: frozenset[str]
    complete: frozenset[str]
    before: datetime
    kept: dict[str, set[tuple[str, ...]]]
    months: frozenset[str]  # of the old runs

    def drops(self, run_id: str) -> bool:
        """Tell whether the rows of a run go."""
        if run_id in self.complete:
            return run_id in self.old
        made = read_time(run_id)
        return made is not None and made < self.before


def forget_runs(
    location: str,
    before: datetime,
    *,
    project: str | None = None,
    grace_s: float = GRACE_S,
    dry_run: bool = False,
    on_wait: Callable[[float], object] = lambda seconds: None,
) -> Forgotten:
    """Remove the rows of runs that began before `before`, of all projects or of one. The cache stays.

    First the rows in `runs` go, and with them all others from the views; then these. So whoever reads sees a
    run whole, or cut down, or not at all.

    Raises:
        WarehouseError: a file can't be read or written.
    """
    storage = open_storage(location)
    done = Forgotten()
    with translating_os_errors(storage), storage.hold_alone(LOCK):
        if not dry_run:
            remove_replaced(storage, project, grace_s=grace_s)
        plan = _make_plan(storage, before, project)
        done.kept = len(plan.kept["runs"])
        done.runs = len(plan.old) - done.kept
        for tables in (["runs"], [table for table in TABLES if table not in ("runs", "cache")]):
            changes = [
                _drop_rows(storage, table, file, plan, done, dry_run=dry_run)
                for table in tables
                for files in list_folders(storage, table, project)
                for file in list_free(storage, files)
            ]
            if any(changes) and not dry_run:
                wait_for_readers(grace_s, on_wait)
                remove_replaced(storage, project, grace_s=grace_s, tables=tables)
    return done


def _make_plan(storage: Storage, before: datetime, project: str | None) -> _Plan:
    queries = read_queries("retention")

    def ask(name: str, **parameters: object) -> list[tuple[str, ...]]:
        return run_query(storage, queries[name], parameters).rows

    found = ask("find_old_runs", before=before, project=project)
    old = frozenset(run_id for _, run_id in found)
    kept: dict[str, set[tuple[str, ...]]] = {"findings": set(), "chunks": set()}
    for name in {name for name, _ in found}:
        # What is open, and where, is what the next run would be compared with.
        past = Warehouse(storage.location, name).read_history(before=datetime.now(UTC))
        still = {each: known.locations for each, known in past.items() if known.latest is not None}
        pairs = [(each, location) for each, locations in still.items() for location in locations or ()]
        told = ask("find_tellings", project=name, fingerprints=list(still))
        seen = ask(
            "find_sightings",
            project=name,
            fingerprints=[each for each, _ in pairs],
            locations=[location for _, location in pairs],
        )
        kept["findings"] |= {row for row in told if row[0] in old}
        kept["chunks"] |= {row for row in seen if row[0] in old}
    kept["files"] = {(run_id, path) for run_id, _, path in kept["chunks"]}
    kept["runs"] = {row[:1] for rows in kept.values() for row in rows}
    complete = frozenset(run_id for (run_id,) in ask("list_complete"))
    return _Plan(old, complete, before, kept, frozenset(map(name_month, old)))


def _drop_rows(
    storage: Storage, table: str, file: TableFile, plan: _Plan, done: Forgotten, *, dry_run: bool
) -> bool:
    """Take the rows that go out of a file, if there are any; tells whether there were."""
    if file.month not in plan.months and file.month > f"{plan.before:%Y-%m}":
        return False
    keys = read_rows(storage, file, _KEYS.get(table, ["run_id"]))
    dropped = [run_id for run_id in keys["run_id"].unique() if plan.drops(run_id)]
    if not dropped and not (keys.is_empty() and plan.drops(file.base.removesuffix(".parquet"))):
        return False
    kept = plan.kept.get(table, set())
    # The columns' order is that of the keys.
    stays = ~keys["run_id"].is_in(dropped) | pl.Series(
        [row in kept for row in keys.iter_rows()], dtype=pl.Boolean
    )
    if stays.all() and len(stays):
        return False
    done.files += 1
    done.bytes += file.bytes
    if not stays.any():
        if not dry_run:
            storage.delete(file.name)
        return True
    if not dry_run:
        rest = read_rows(storage, file).filter(stays)
        done.bytes -= write_pack(storage, file.folder, file.month, rest, [file]).bytes
    return True

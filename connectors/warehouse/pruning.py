"""Forget answers: what is left of a file of the cache goes into a new one, then the old one is removed.

No file is ever changed, so whoever reads one reads all of it. For a moment an answer may be there twice,
which means what it means once; never is one that stays not there at all. Runs add files of their own
meanwhile.
"""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath

import polars as pl

from bifrost_flow.errors import WarehouseError
from bifrost_flow.language import t
from bifrost_flow.records import new_run_id
from connectors.storage import Storage, StoredFile, open_storage
from connectors.warehouse.catalog import SCHEMA_FILE
from connectors.warehouse.frames import write_frame
from connectors.warehouse.location import translating_os_errors

LOCK = "cache/.prune.lock"


@dataclass(frozen=True, slots=True)
class Pruning:
    """Which answers go: those that meet every condition that is set."""

    before: datetime | None = None
    provider: str | None = None
    model: str | None = None

    def select(self) -> pl.Expr:
        """Return the condition on the columns of `cache`."""
        conditions = [
            pl.col(name) == value
            for name, value in (("provider", self.provider), ("model", self.model))
            if value is not None
        ]
        if self.before is not None:
            conditions.append(pl.col("created_at") < self.before)
        return pl.all_horizontal(pl.lit(True), *conditions).fill_null(False)


@dataclass(slots=True)
class Pruned:
    """What went, or would go; `keys` and `bytes` are of the answers removed and the files made smaller."""

    keys: set[str] = field(default_factory=set)
    bytes: int = 0


def prune_answers(location: str, pruning: Pruning, *, dry_run: bool = False) -> Pruned:
    """Remove answers from the cache of the warehouse at `location`.

    Raises:
        WarehouseError: a file can't be read or replaced; those before it are done.
    """
    storage, pruned = open_storage(location), Pruned()
    # Two at once would leave answers twice.
    with translating_os_errors(storage), storage.hold_alone(LOCK):
        for file in storage.list_files("cache/"):
            if not file.name.endswith(".parquet") or PurePosixPath(file.name).name == SCHEMA_FILE:
                continue
            try:
                _prune_file(storage, file, pruning, pruned, dry_run=dry_run)
            except pl.exceptions.PolarsError as error:
                place = storage.place(file.name)
                raise WarehouseError(t("warehouse.unusable", location=place, reason=error)) from error
    return pruned


def _prune_file(
    storage: Storage, file: StoredFile, pruning: Pruning, pruned: Pruned, *, dry_run: bool
) -> None:
    answers = pl.read_parquet(storage.read(file.name))
    goes = answers.select(pruning.select().alias("goes")).to_series()
    if not goes.any():
        return
    pruned.keys.update(answers.filter(goes)["cache_key"])
    size = file.size
    if dry_run:
        pruned.bytes += round(size * goes.sum() / len(goes))
        return
    kept = answers.filter(~goes)
    if len(kept):
        size -= write_frame(storage, f"cache/{new_run_id()}.parquet", kept)
    storage.delete(file.name)
    pruned.bytes += size

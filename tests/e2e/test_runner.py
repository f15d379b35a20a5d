"""`run --runner dask`: the console script on a cluster of its own, and the tables that it leaves."""

from pathlib import Path

import polars as pl

from tests.console import LOGS, Console

# What differs from run to run by itself.
OWN = ("run_id", "first_seen", "last_seen")


def read_tables(warehouse: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return the rows of the tables that extraction fills, in the order in which they are stored."""
    return {
        table: pl.read_parquet(warehouse / table / "project=*" / "*.parquet").drop(OWN, strict=False).rows()
        for table in ("files", "chunks", "findings")
    }


def test_the_tables_are_those_of_threads(console: Console) -> None:
    """Rows and their order are the same, column by column but for the run's own names and times."""
    tables = {}
    for runner in ("threads", "dask"):
        done = console.call(
            *("run", LOGS, "--runner", runner, "--warehouse", runner, "--provider", "rules"),
            BIFROST_MLFLOW_ENABLED="false",
        )
        assert done.code in (0, 3), done.err
        assert "is read here instead" not in done.err
        tables[runner] = read_tables(console.folder / runner)
    assert tables["dask"] == tables["threads"]
    assert all(tables["dask"].values())

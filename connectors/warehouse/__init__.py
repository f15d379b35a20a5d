"""The warehouse: append-only Parquet in a folder, read through DuckDB views.

    <warehouse>/
      warehouse.json                     marks the folder, and says which schema and views it has
      <table>/_schema.parquet            no rows: the table's columns, so that a view is never without a file
      <table>/project=<p>/<run>.parquet  one file a run; `cache/<id>.parquet` is shared by all projects
      journal/<run>.jsonl                answers of runs at work, see connectors.journal
      bifrost.duckdb                     views only, rebuilt at will

`store` writes and reads rows, `catalog` knows tables, migrations and views, `sandbox` runs SQL that can only
read, `location` is about the folder itself. Importing this costs DuckDB (0.1 s); Polars comes with the
first write.
"""

from connectors.warehouse.catalog import TABLES
from connectors.warehouse.sandbox import Rows
from connectors.warehouse.store import Warehouse

__all__ = ["TABLES", "Rows", "Warehouse"]

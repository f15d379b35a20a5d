"""Tables, migrations and views: what `sql/` says, brought into a warehouse.

Parquet has no ALTER TABLE, so a migration changes the *columns that tables are read with*: all scripts run,
in order and in one transaction with their version rows, in a DuckDB in memory, and each table that comes out
is written as the zero-row `_schema.parquet` that the views unite with the older files by name. See
docs/decisions/0002-warehouse.md.
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

import duckdb

from bifrost_flow.errors import WarehouseError
from bifrost_flow.language import ROOT, t
from connectors.storage import Storage, is_remote, open_storage
from connectors.warehouse.comments import Described, describe_relations
from connectors.warehouse.location import MARKER, encode_name

# `runs` first: the views of the others ask it which runs are complete.
TABLES = ("runs", "files", "chunks", "findings", "llm_calls", "metrics", "known_good", "cache")

SCHEMA_FILE = "_schema.parquet"
CATALOG = "bifrost.duckdb"

# Old enough for any client that is still in use to open the file.
_STORAGE_VERSION = "v1.0.0"

# Where a client's views look, so that they go along when the folder is moved: where the client says, else
# beside the database that it opened, else where the folder was when the views were made. DuckDB has no
# function for the database's path, but documents that its `temp_directory` is that path with `.tmp` behind
# it. It is another's where ours is attached to another database.
_SAID = "rtrim(getvariable('bifrost_warehouse'), '/') || '/'"
_BESIDE = f"""nullif(
            regexp_replace(current_setting('temp_directory'), '(^|/){re.escape(CATALOG)}\\.tmp$', '\\1'),
            current_setting('temp_directory')
        )"""


@cache
def read_migrations() -> tuple[tuple[int, str], ...]:
    """Return version and script of each migration, in order."""
    scripts = sorted((ROOT / "sql" / "migrations").glob("[0-9]*.sql"))
    return tuple((int(path.name.split("_")[0]), path.read_text(encoding="utf-8")) for path in scripts)


@cache
def read_views() -> dict[str, str]:
    """Return the views' definitions by name, those of tables first, so that each finds what it builds on.

    A table's name in braces stands for the pattern of its files.
    """
    scripts = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "sql" / "views").glob("*.sql")}
    return {name: scripts[name] for name in (*TABLES, *sorted(scripts.keys() - set(TABLES)))}


@cache
def read_queries(topic: str) -> dict[str, str]:
    """Return the queries of `sql/queries/<topic>.sql` by the names in their `-- name:` lines."""
    text = (ROOT / "sql" / "queries" / f"{topic}.sql").read_text(encoding="utf-8")
    parts = re.split(r"^-- name: *(\w+) *$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@cache
def describe_catalog() -> dict[str, Described]:
    """Return what is said of each table and view and of its columns, by name."""
    return describe_relations([script for _, script in read_migrations()], read_views())


def _render_comments() -> Iterator[str]:
    """Yield the statements that tell any client the same."""
    for name, told in describe_catalog().items():
        yield f"COMMENT ON VIEW {name} IS {quote_sql(told.comment)}"
        for column, comment in told.columns.items():
            yield f'COMMENT ON COLUMN {name}."{column}" IS {quote_sql(comment)}'


def table_prefix(table: str, project: str) -> str:
    """Return what the names of the files with a project's rows start with."""
    return f"{table}/" if table == "cache" else f"{table}/project={encode_name(project)}/"


def escape_pattern(location: str) -> str:
    """Return `location` such that DuckDB's patterns mean exactly it."""
    return re.sub(r"([*?\[])", r"[\1]", location)


def quote_sql(text: str) -> str:
    """Return `text` as a SQL string, for what DuckDB takes no parameter for: views and comments."""
    return "'" + text.replace("'", "''") + "'"


def render_views(
    location: str, *, columns: str | None = None, filled: Collection[str] = TABLES
) -> dict[str, str]:
    """Return the statements that create the views over the warehouse at `location`, in order.

    `columns` is a folder that `write_schemas` filled: columns that the tables at `location` lack are there,
    too, without rows, as are all of those tables that have no file, which `filled` doesn't name.
    """
    patterns = {table: quote_sql(f"{escape_pattern(location)}/{table}/**/*.parquet") for table in TABLES}
    if columns is not None:
        for table in TABLES:
            schema = quote_sql(f"{escape_pattern(columns)}/{table}/{SCHEMA_FILE}")
            patterns[table] = f"[{patterns[table]}, {schema}]" if table in filled else schema
    return _fill_in(patterns)


def render_client_views(location: str) -> dict[str, str]:
    """Return those for `bifrost.duckdb` of the warehouse at `location`, which may be moved after that."""
    # Whoever opens a database that lies in a bucket has made a copy of it, beside which there is nothing.
    places = [_SAID, *([] if is_remote(location) else [_BESIDE]), quote_sql(f"{location}/")]
    place = f"coalesce({', '.join(places)})"
    return _fill_in(
        {
            table: f"regexp_replace({place}, '([*?\\[])', '[\\1]', 'g') || '{table}/**/*.parquet'"
            for table in TABLES
        }
    )


def _fill_in(patterns: dict[str, str]) -> dict[str, str]:
    return {
        name: re.sub(r"\{(\w+)\}", lambda found: patterns[found.group(1)], script)
        for name, script in read_views().items()
    }


def refresh_catalog(storage: Storage, *, migrate: bool) -> None:
    """Bring the tables' columns and `bifrost.duckdb` up to date, if they aren't.

    Several processes may do this at once: each file is replaced whole, and all of them write the same.
    Without `migrate` a warehouse of an older schema stays as it is: whoever only reads must not lock out
    older programs.

    Raises:
        WarehouseError: a newer version of the program made this warehouse, or a file in it is damaged.
    """
    recorded = _read_marker(storage)
    version = read_migrations()[-1][0]
    if recorded.get("schema_version", 0) > version:
        raise WarehouseError(
            t("warehouse.newer", location=storage.location, found=recorded["schema_version"], known=version)
        )
    statements = [*render_client_views(storage.location).values(), *_render_comments()]
    # Where the folder is and which columns there are is part of what the views say.
    digest = hashlib.sha256(f"{version}{''.join(statements)}".encode()).hexdigest()
    state = {"product": "bifrost-flow", "schema_version": version, "views": f"sha256:{digest}"}
    if recorded == state and storage.find(CATALOG):
        return
    outdated = recorded.get("schema_version") != version
    if outdated and not migrate:
        return
    try:
        if outdated:
            write_schemas(storage)
        _write_catalog(storage, statements)
    except duckdb.Error as error:
        raise WarehouseError(t("warehouse.unusable", location=storage.location, reason=error)) from error
    storage.write(MARKER, f"{json.dumps(state, indent=2)}\n".encode())


def is_outdated(storage: Storage) -> bool:
    """Tell whether an older version of the program made the warehouse, and none of today has run on it."""
    return _read_marker(storage).get("schema_version", 0) < read_migrations()[-1][0]


def _read_marker(storage: Storage) -> dict[str, int]:
    try:
        found = json.loads(storage.read(MARKER))
        return found if isinstance(found, dict) else {}
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise WarehouseError(t("warehouse.unusable", location=storage.place(MARKER), reason=error)) from error


def run_migrations(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the tables in `connection` as the newest migration leaves them, all in one transaction."""
    connection.execute("BEGIN")
    connection.execute("CREATE TABLE schema_versions (version BIGINT PRIMARY KEY)")
    for version, script in read_migrations():
        connection.execute(script)
        connection.execute("INSERT INTO schema_versions VALUES ($version)", {"version": version})
    connection.execute("COMMIT")


def write_schemas(storage: Storage) -> None:
    """Write the file of each table that has its columns of today and no rows."""
    with duckdb.connect() as connection, tempfile.TemporaryDirectory(prefix="bifrost-") as folder:
        run_migrations(connection)
        for table in TABLES:
            built = Path(folder) / table
            connection.table(table).write_parquet(str(built), compression="zstd")
            storage.write(f"{table}/{SCHEMA_FILE}", built.read_bytes())


def _write_catalog(storage: Storage, statements: list[str]) -> None:
    """Build `bifrost.duckdb` elsewhere, so that it is never open for writing where readers look."""
    with tempfile.TemporaryDirectory(prefix="bifrost-") as folder:
        # Not in the warehouse: DuckDB takes a question mark in a database's path for the start of options.
        built = Path(folder) / CATALOG
        with duckdb.connect() as connection:
            connection.execute(
                f"ATTACH {quote_sql(str(built))} AS built (STORAGE_VERSION '{_STORAGE_VERSION}')"
            )
            connection.execute("USE built")
            # The columns are those of the tables without rows: none of the many other files is opened.
            write_schemas(open_storage(folder))
            connection.execute(f"SET VARIABLE bifrost_warehouse = {quote_sql(folder)}")
            for statement in statements:
                connection.execute(statement)
            connection.execute("USE memory")
            connection.execute("DETACH built")
        content = built.read_bytes()
    storage.write(CATALOG, content)
    # A client that wrote to the old file may have left its log behind; it doesn't belong to this one.
    storage.delete(f"{CATALOG}.wal")

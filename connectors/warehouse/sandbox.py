"""SQL that can only read, and only the warehouse.

DuckDB in memory, with the views, shut off from files elsewhere, the network and its own settings. That alone
still lets `COPY … TO` write *inside* the warehouse, and DuckDB 2.0 takes a COPY in a WITH clause for a
SELECT: so each statement is also looked at as parsed, and only what is a query throughout is run.
"""

import errno
import json
import re
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb

from bifrost_flow.errors import WarehouseError
from bifrost_flow.language import t
from connectors.storage import Storage, open_storage
from connectors.warehouse.bucket import open_bucket
from connectors.warehouse.catalog import (
    TABLES,
    escape_pattern,
    is_outdated,
    quote_sql,
    read_views,
    render_views,
    write_schemas,
)

# Kinds of node that a parsed query may consist of; COPY_QUERY_NODE, INSERT_QUERY_NODE and the like are not
# here.
_QUERY_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})

# They run SQL that is hidden in a string, where the look at the parsed statement can't see it.
_HIDING_FUNCTIONS = frozenset({"json_execute_serialized_sql", "query"})

# How often a query is run anew because files were replaced meanwhile.
_RETRIES = 10
_RETRY_EVERY_S = 0.1  # longer each time: `compact` may remove thousands of files one by one

# Words of statements that look at the catalogue as a whole.
_CATALOGUE_WORDS = re.compile(r"\b(show|information_schema|duckdb_\w+|pg_\w+|sqlite_master)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Rows:
    """What a query gave: names of the columns, DuckDB's names of their types, and the rows."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: list[tuple[Any, ...]]

    def as_dicts(self) -> list[dict[str, Any]]:
        """Return one dict a row; a column's name that comes twice is numbered."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


@contextmanager
def connect_readonly(
    storage: Storage, views: Mapping[str, str], *further: str
) -> Generator[duckdb.DuckDBPyConnection]:
    """Open a connection that has `views` (their statements) and reaches nothing but the warehouse and
    `further` folders.

    Raises:
        OSError: the warehouse is in a bucket, which can't be read.
    """
    failures: list[OSError] = []
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_persistent_secrets": False,
            "temp_directory": "",
        }
    )
    try:
        connection.execute("SET TimeZone = 'UTC'")
        # Where DuckDB takes the process for a person's, it draws a bar on standard output.
        connection.execute("SET enable_progress_bar = false")
        connection.execute("SET parquet_metadata_cache = true")
        failures = open_bucket(connection, storage, [f"{name}/" for name in views if name in TABLES])
        locations = (storage.location, *further)
        places = {name for place in locations for name in (place, escape_pattern(place))}
        folders = ", ".join(quote_sql(place) for place in sorted(places))
        connection.execute(f"SET allowed_directories = [{folders}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        for script in views.values():
            connection.execute(script)
        yield connection
    except duckdb.Error as error:
        if failures:
            raise failures[0] from error
        raise
    finally:
        connection.close()


def select_views(location: str, sql: str) -> dict[str, str]:
    """Return the statements that create the views named in `sql`, and those that these build on, in order.

    Creating a view reads the footers of all its files, so views that nobody asks for are left out.
    """
    scripts = render_views(location)
    if _CATALOGUE_WORDS.search(sql):
        return scripts
    needed: set[str] = set()
    texts = [sql]
    while texts:
        words = set(re.findall(r"\w+", texts.pop().lower()))
        found = (words & scripts.keys()) - needed
        needed |= found
        texts.extend(re.sub(r"--.*", "", read_views()[name]) for name in found)
    return {name: script for name, script in scripts.items() if name in needed}


def run_query(storage: Storage, sql: str, parameters: Mapping[str, object] | None = None) -> Rows:
    """Run one reading statement against the warehouse; `parameters` fill its `$named` ones.

    Raises:
        WarehouseError: it isn't one query, or DuckDB refuses it; the message is DuckDB's.
    """
    try:
        sql.encode("utf-8")
        try:
            return _run(storage, sql, parameters, select_views(storage.location, sql))
        except duckdb.CatalogException:
            # A name was not found; with all views at hand, DuckDB can say which one was meant.
            return _run(storage, sql, parameters, render_views(storage.location))
        except (duckdb.BinderException, duckdb.IOException):
            if not is_outdated(storage):
                raise
            return _run_on_outdated(storage, sql, parameters)
    except duckdb.Error as error:
        raise WarehouseError(str(error)) from error
    except OSError as error:
        reason = error.strerror or error
        raise WarehouseError(t("warehouse.unusable", location=storage.location, reason=reason)) from error
    except UnicodeEncodeError as error:
        raise WarehouseError(t("warehouse.not_text")) from error
    except RecursionError as error:
        raise WarehouseError(t("warehouse.too_deep")) from error
    except RuntimeError as error:
        # What DuckDB raises for a query that Ctrl-C interrupted.
        if "interrupted" in str(error).lower():
            raise KeyboardInterrupt from error
        raise


def _run(
    storage: Storage, sql: str, parameters: Mapping[str, object] | None, views: Mapping[str, str]
) -> Rows:
    for retry in range(_RETRIES):
        try:
            return _run_once(storage, sql, parameters, views)
        except duckdb.IOException as error:
            # A file was put in another's place after the folder was listed: the new list has it.
            if "No such file" not in str(error):
                raise
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ESTALE):
                raise
        time.sleep(retry * _RETRY_EVERY_S)
    return _run_once(storage, sql, parameters, views)


def _run_on_outdated(storage: Storage, sql: str, parameters: Mapping[str, object] | None) -> Rows:
    """Run a query on tables of an older schema as if they had the newer ones and their columns: reading does
    not migrate, which would lock out older programs."""
    with tempfile.TemporaryDirectory(prefix="bifrost-") as folder:
        write_schemas(open_storage(folder))
        filled = {file.name.partition("/")[0] for file in storage.list_files() if "/" in file.name}
        views = render_views(storage.location, columns=folder, filled=filled)
        return _run_once(storage, sql, parameters, views, folder)


def _run_once(
    storage: Storage,
    sql: str,
    parameters: Mapping[str, object] | None,
    views: Mapping[str, str],
    *further: str,
) -> Rows:
    with connect_readonly(storage, views, *further) as connection:
        _check_is_query(connection, sql)
        connection.execute(sql, dict(parameters) if parameters else None)
        description = connection.description or []
        return Rows(
            columns=_number_repeats([str(column[0]) for column in description]),
            types=tuple(str(column[1]) for column in description),
            rows=connection.fetchall(),
        )


def _check_is_query(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise WarehouseError(t("warehouse.one_query", count=len(statements)))
    if statements[0].type != duckdb.StatementType.SELECT:
        raise WarehouseError(t("warehouse.read_only", what=statements[0].type.name))
    row = connection.execute("SELECT CAST(json_serialize_sql($sql) AS VARCHAR)", {"sql": sql}).fetchone()
    parsed = json.loads(row[0]) if row else {"error": True}
    if parsed["error"]:
        raise WarehouseError(parsed.get("error_message", t("warehouse.read_only", what="?")))
    for found in _walk(parsed):
        kind, function = str(found.get("type", "")), str(found.get("function_name", "")).lower()
        if kind.endswith("_NODE") and kind not in _QUERY_NODES:
            raise WarehouseError(t("warehouse.read_only", what=kind.split("_")[0]))
        if function in _HIDING_FUNCTIONS:
            raise WarehouseError(t("warehouse.read_only", what=f"{function}()"))


def _walk(value: object) -> Iterator[dict[str, Any]]:
    """Yield each object in a JSON value, without recursion: a query may nest deeper than Python's stack."""
    waiting = [value]
    while waiting:
        current = waiting.pop()
        if isinstance(current, dict):
            yield current
            waiting.extend(current.values())
        elif isinstance(current, list):
            waiting.extend(current)


def _number_repeats(names: Sequence[str]) -> tuple[str, ...]:
    """Return `names` such that none comes twice: `a, a` becomes `a, a_1`."""
    taken: set[str] = set()
    result = []
    for name in names:
        unique, count = name, 0
        while unique in taken:
            count += 1
            unique = f"{name}_{count}"
        taken.add(unique)
        result.append(unique)
    return tuple(result)

"""Records to Parquet."""

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any

import polars as pl

from bifrost_flow.errors import WarehouseError
from bifrost_flow.language import t
from bifrost_flow.status import name_location
from connectors.storage import Storage
from connectors.warehouse.catalog import SCHEMA_FILE
from connectors.warehouse.location import translating_os_errors

# Columns that aren't a field of the record under the same name.
_DERIVED: dict[tuple[str, str], Callable[[Any], object]] = {
    ("chunks", "lines"): lambda chunk: [list(span) for span in chunk.spans],
    ("files", "location"): lambda file: name_location(file.path, file.job),
    ("findings", "evidence"): lambda finding: [
        {"path": line.path, "line": line.line, "quote": line.quote} for line in finding.evidence
    ],
}


def build_frame(
    storage: Storage,
    table: str,
    rows: Sequence[object],
    constants: Mapping[str, str],
    beside: Mapping[str, Sequence[object]],
) -> pl.DataFrame:
    """Return `rows` with exactly the columns of `table`; `constants` are the same in each row, and columns
    `beside` the records' own have a value a row."""
    with translating_os_errors(storage):
        schema = pl.read_parquet_schema(BytesIO(storage.read(f"{table}/{SCHEMA_FILE}")))
    columns: dict[str, list[object]] = {}
    for name in schema:
        if name in constants:
            columns[name] = [constants[name]] * len(rows)
        elif name in beside:
            columns[name] = list(beside[name])
        else:
            read = _DERIVED.get((table, name))
            columns[name] = [read(row) if read else getattr(row, name) for row in rows]
    try:
        return pl.DataFrame(columns, schema=schema)
    except UnicodeEncodeError:
        # A path or a line that isn't UTF-8 comes from Python with lone surrogates, which no table can hold.
        return pl.DataFrame({name: _mend_text(values) for name, values in columns.items()}, schema=schema)


def _mend_text(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, list):
        return [_mend_text(part) for part in value]
    if isinstance(value, dict):
        return {key: _mend_text(part) for key, part in value.items()}
    return value


def write_frame(storage: Storage, name: str, frame: pl.DataFrame) -> int:
    """Write `frame` as one Parquet file that appears whole, and return its size in bytes.

    Raises:
        WarehouseError: the disk is full, or the place can't be written.
    """
    content = BytesIO()
    try:
        frame.write_parquet(content, compression="zstd")
    except pl.exceptions.PolarsError as error:
        raise WarehouseError(t("warehouse.unusable", location=storage.place(name), reason=error)) from error
    with translating_os_errors(storage):
        storage.write(name, content.getbuffer())
    return content.tell()

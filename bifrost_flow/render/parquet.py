"""Findings as Parquet, with the columns and types of the warehouse's table `findings`."""

from collections.abc import Sequence
from dataclasses import fields
from io import BytesIO
from typing import Any

import polars as pl

from bifrost_flow.records import Finding, Report

_TIME = pl.Datetime("us", "UTC")
_KINDS = {
    "str": pl.String(),
    "int": pl.Int64(),
    "float": pl.Float64(),
    "bool": pl.Boolean(),
    "datetime": _TIME,
}
_EVIDENCE = pl.List(pl.Struct({"path": pl.String, "line": pl.Int64, "quote": pl.String}))

# The field's types are written out in `records`, so their names say which column each becomes.
SCHEMA: dict[str, pl.DataType] = {
    "project": pl.String(),
    "run_id": pl.String(),
    **{
        field.name: _EVIDENCE if field.name == "evidence" else _KINDS[getattr(field.type, "__name__", "")]
        for field in fields(Finding)
    },
    "formerly": pl.List(pl.String),
}


def render_parquet(report: Report) -> bytes:
    """Return a Parquet file (zstd) with one row a finding; one without findings has the columns all the same.

    Times are UTC in microseconds. Text that is not UTF-8 has its bytes spelled out as `\\udce9`.
    """
    constants = {"project": report.run.project, "run_id": report.run.run_id}
    columns = {
        name: [
            _mend(constants[name] if name in constants else _read(report, finding, name))
            for finding in report.findings
        ]
        for name in SCHEMA
    }
    content = BytesIO()
    pl.DataFrame(columns, schema=SCHEMA).write_parquet(content, compression="zstd")
    return content.getvalue()


def _read(report: Report, finding: Finding, name: str) -> object:
    if name == "formerly":
        return list(report.formerly.get(finding.fingerprint, ()))
    if name != "evidence":
        return getattr(finding, name)
    return [{"path": piece.path, "line": piece.line, "quote": piece.quote} for piece in finding.evidence]


def _mend(value: Any) -> Any:
    """Return `value` with lone surrogates, which no table can hold, spelled out."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {key: _mend(part) for key, part in value.items()}
    return [_mend(part) for part in value] if isinstance(value, Sequence) else value

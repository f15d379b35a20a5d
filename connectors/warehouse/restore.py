"""Rows of tables back to records."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from bifrost_flow.records import Chunk, Evidence, Finding

Record = TypeVar("Record")


def restore(kind: Callable[..., Record], row: Mapping[str, Any]) -> Record:
    """Return the record of class `kind` whose fields are columns of `row`; further columns are left out.

    A field with a default keeps it where the row, written by an older version, says nothing.
    """
    values = {
        field.name: row[field.name]
        for field in fields(kind)  # ty: ignore[invalid-argument-type]
        if field.default is MISSING or row.get(field.name) is not None
    }
    return kind(**values)


def restore_finding(row: Mapping[str, Any]) -> Finding:
    """Return the record of a row of `findings`."""
    evidence = tuple(Evidence(**line) for line in row["evidence"] or ())
    return restore(Finding, {**row, "evidence": evidence})


def restore_chunk(row: Mapping[str, Any]) -> Chunk:
    """Return the record of a row of `chunks`."""
    return restore(Chunk, {**row, "spans": tuple((first, last) for first, last in row["lines"] or ())})

"""Rows of tables back to records."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from bifrost_flow.records import Evidence, Finding

Record = TypeVar("Record")


def restore(kind: Callable[..., Record], row: Mapping[str, Any]) -> Record:
    """Return the record of class `kind` whose fields are columns of `row`; further columns are left out."""
    return kind(**{field.name: row[field.name] for field in fields(kind)})  # ty: ignore[invalid-argument-type]


def restore_finding(row: Mapping[str, Any]) -> Finding:
    """Return the record of a row of `findings`."""
    evidence = tuple(Evidence(**line) for line in row["evidence"] or ())
    return restore(Finding, {**row, "evidence": evidence})

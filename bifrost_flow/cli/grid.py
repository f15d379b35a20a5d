"""Rows of a query as a table, JSON or CSV. Cells may hold text of logs: it is shown, and does nothing."""

import csv
import json
import math
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, TextIO

from bifrost_flow.render.defuse import escape_unprintable, make_visible, put_on_one_line

FORMATS = ("table", "json", "csv")

# A spreadsheet takes a cell that starts with one of these as a formula (OWASP, "CSV injection"), full-width
# too.
_FORMULA = re.compile(r"[\s\u3000]*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")

# In plain text a column is padded up to here; longer cells stand out of line and are still whole.
_MAX_PADDING = 60
# A terminal table whose columns would get less than this each is shown as one line a value instead.
_MIN_CELLS = 16


def write_rows(columns: Sequence[str], rows: Sequence[Sequence[object]], output: str) -> None:
    """Write rows to standard output in one of `FORMATS`."""
    if output == "json":
        write_json([dict(zip(columns, row, strict=True)) for row in rows])
    elif output == "csv":
        _write_csv(columns, rows, sys.stdout)
    else:
        print_table(columns, [[format_cell(value) for value in row] for row in rows])


def write_json(value: Any) -> None:
    """Write JSON to standard output; a list has an element a line. Times are ISO 8601, UTC with `Z`."""
    if not isinstance(value, list):
        sys.stdout.write(escape_unprintable(json.dumps(_to_json(value), ensure_ascii=False, indent=2)) + "\n")
        return
    sys.stdout.write("[")
    for number, element in enumerate(value):
        text = json.dumps(_to_json(element), ensure_ascii=False)
        sys.stdout.write(("," if number else "") + "\n  " + escape_unprintable(text))
    sys.stdout.write("\n]\n" if value else "]\n")


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, dispensable: Sequence[int] = ()
) -> None:
    """Print text cells: as a table that fits the terminal, or in a pipe as aligned lines, uncut.

    Columns at the positions `dispensable` are left out, in that order, where a terminal is too narrow.
    """
    if sys.stdout.isatty():
        _print_rich(*_narrow(columns, rows, dispensable))
        return
    for line in _align([columns, *rows]):
        print(line)


def format_cell(value: object) -> str:
    """Return a value as one line of text without anything that a terminal would act on."""
    if value is None:
        return "NULL"
    return put_on_one_line(_to_text(value))


def _align(lines: Sequence[Sequence[str]]) -> Iterator[str]:
    from rich.cells import cell_len

    widths = [min(max(map(cell_len, column)), _MAX_PADDING) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(padded).rstrip()


def _narrow(
    columns: Sequence[str], rows: Sequence[Sequence[str]], dispensable: Sequence[int]
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    from rich.cells import cell_len
    from rich.console import Console

    widths = [max(map(cell_len, column)) + 2 for column in zip(columns, *rows, strict=True)]
    shown = list(range(len(columns)))
    for position in dispensable:
        if sum(widths[number] for number in shown) <= Console().width:
            break
        shown.remove(position)
    return [columns[number] for number in shown], [[row[number] for number in shown] for row in rows]


def _print_rich(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    needed = sum(
        min(max(map(cell_len, column)), _MIN_CELLS) + 2 for column in zip(columns, *rows, strict=True)
    )
    if needed > console.width and rows:
        label = max(map(cell_len, columns))
        for row in rows:
            for name, cell in zip(columns, row, strict=True):
                console.print(Text(name + " " * (label - cell_len(name)), "bold"), Text(cell), soft_wrap=True)
            console.rule(style="dim")
        return
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold"
    )
    for number, name in enumerate(columns):
        right = bool(rows) and all(_NUMBER.fullmatch(row[number]) or row[number] == "NULL" for row in rows)
        table.add_column(Text(name), overflow="fold", justify="right" if right else "left")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def _write_csv(columns: Sequence[str], rows: Iterable[Sequence[object]], out: TextIO) -> None:
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([_to_csv(name) for name in columns])
    for row in rows:
        writer.writerow([_to_csv(value) for value in row])


def _to_csv(value: object) -> str:
    if value is None:
        return ""
    text = make_visible(_to_text(value))
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def _to_text(value: object) -> str:
    if isinstance(value, float):
        return repr(value)
    plain = _to_json(value)
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def _to_json(value: Any) -> Any:
    """Return `value`, as DuckDB gives it, in the types that JSON has; what has none becomes text."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case datetime():
            return _format_time(value)
        case date() | time():
            return value.isoformat()
        case bytes():
            return value.hex()
        case dict():
            return {
                name if isinstance(name, str) else _to_text(name): _to_json(part)
                for name, part in value.items()
            }
        case list() | tuple():
            return [_to_json(part) for part in value]
        case _:
            return str(value)


def _format_time(value: datetime) -> str:
    """Return ISO 8601; `Z` for a time in UTC, nothing for one without zone."""
    if value.tzinfo is None:
        return value.isoformat()
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")

"""What the scripts in `sql/` say of tables, views and columns: for the reference, and for any client.

A column's comment is a phrase, with the unit of a number in brackets before it: `[ms] until the answer was
complete`. Tables have theirs in the migrations, behind each column. A view has a line `--   name: phrase` for
each column at its head, or `--   as in TABLE`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_COMMENT = r"(?P<comment>(?:^--[^\n]*\n)*)"
_TABLE = re.compile(
    _COMMENT + r"^CREATE TABLE (?P<table>\w+) \(\n(?P<body>.*?)^\);", re.MULTILINE | re.DOTALL
)
_COLUMN = re.compile(r"^ +(?P<column>[a-z_]\w*) [^\n]*?(?:-- *(?P<comment>.*))?$", re.MULTILINE)
_ADDED = re.compile(
    r"^ALTER TABLE (?P<table>\w+) ADD COLUMN (?P<column>\w+) [^;\n]*;(?: *-- *(?P<comment>.*))?$",
    re.MULTILINE,
)
_HEAD = re.compile(_COMMENT, re.MULTILINE)
_VIEW_COLUMN = re.compile(r"^--   (?P<column>\w+): (?P<comment>.+)$", re.MULTILINE)
_VIEW_SAME = re.compile(r"^--   as in (?P<table>\w+)$", re.MULTILINE)
_UNIT = re.compile(r"\[(?P<unit>[^\]]+)\] (?P<meaning>.+)")


@dataclass(frozen=True, slots=True)
class Described:
    """A table or view: what one row is, and its columns' comments by name, in order."""

    comment: str
    columns: dict[str, str] = field(default_factory=dict)


def describe_relations(migrations: Iterable[str], views: Mapping[str, str]) -> dict[str, Described]:
    """Return what is said of each table and view, by name; `views` are their scripts, by name."""
    tables = _describe_tables(migrations)
    found = {}
    for name, script in views.items():
        told = _join(script, columns=False)
        if name in tables:
            found[name] = Described(f"{tables[name].comment} {told}", tables[name].columns)
            continue
        head = _read_head(script)
        same = _VIEW_SAME.search(head)
        columns = {each["column"]: each["comment"] for each in _VIEW_COLUMN.finditer(head)}
        found[name] = Described(told, tables[same["table"]].columns if same else columns)
    return found


def split_unit(comment: str) -> tuple[str, str]:
    """Return unit (or nothing) and meaning of a column's comment.

    >>> split_unit("[ms] until the answer was complete")
    ('ms', 'until the answer was complete')
    """
    found = _UNIT.fullmatch(comment)
    return (found["unit"], found["meaning"]) if found else ("", comment)


def _describe_tables(migrations: Iterable[str]) -> dict[str, Described]:
    found: dict[str, Described] = {}
    for script in migrations:
        for table in _TABLE.finditer(script):
            columns = {
                each["column"]: (each["comment"] or "").strip() for each in _COLUMN.finditer(table["body"])
            }
            found[table["table"]] = Described(_join(table["comment"], columns=True), columns)
        for added in _ADDED.finditer(script):
            found[added["table"]].columns[added["column"]] = (added["comment"] or "").strip()
    return found


def _read_head(script: str) -> str:
    found = _HEAD.match(script)
    return found["comment"] if found else ""


def _join(script: str, *, columns: bool) -> str:
    """Return the comment at the head of a script as one paragraph, with or without lines of columns."""
    lines = [line for line in _read_head(script).splitlines() if columns or not line.startswith("--   ")]
    return " ".join(line.removeprefix("--").strip() for line in lines)

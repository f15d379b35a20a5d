"""Write docs/reference.md from the code: commands, settings, tables, views and queries.

`make docs` runs it. With `--check` nothing is written, and the exit code is 1 when the page is stale. The
page depends on the code alone: not on the terminal, the language in force or whoever's settings.
"""

import argparse
import difflib
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import duckdb
import typer
from pydantic.fields import FieldInfo

from bifrost_flow.language import set_language, t
from bifrost_flow.settings import FOREIGN_NAMES, PathText, Url, name_variable, setting_fields
from bifrost_flow.summary import (
    EXIT_CODES,
    EXIT_FINE,
    EXIT_GATE,
    EXIT_INTERRUPTED,
    EXIT_PARTIAL,
    EXIT_USAGE,
)
from connectors.storage import open_storage
from connectors.warehouse import Warehouse
from connectors.warehouse.catalog import CATALOG, TABLES, describe_catalog, refresh_catalog
from connectors.warehouse.comments import split_unit
from connectors.warehouse.named import read_named_queries

PAGE = Path(__file__).with_name("reference.md")
PROGRAM = "bifrost-flow"

HEAD = """\
# Reference

Written from the code by `docs/generate_reference.py`; `make docs` renews it, and a test fails when it is
stale.

* [Commands](#commands)
* [Exit codes](#exit-codes)
* [Settings](#settings)
* [Tables](#tables)
* [Views](#views)
* [Queries](#queries)
"""

# What a code means for one command, where it says more than the table above. Every command can end with 0, 2,
# 70 and 130.
COMMAND_EXITS: Mapping[str, Mapping[int, str]] = {
    "run": {EXIT_GATE: "`--fail-on` tripped", EXIT_PARTIAL: "some inputs or calls failed; the rest is saved"},
    "analyze": {
        EXIT_PARTIAL: "the log could not be read, or not be explained; its evidence is shown and saved"
    },
    "prompts": {EXIT_PARTIAL: "MLflow's registry failed"},
    "evaluate": {EXIT_PARTIAL: "some logs could not be read, or calls failed; the others are scored"},
    "extract": {EXIT_PARTIAL: "some inputs could not be read"},
    "events": {EXIT_PARTIAL: "some inputs could not be read"},
    "filter": {EXIT_PARTIAL: "some inputs could not be read"},
    "export": {EXIT_PARTIAL: "a file could not be written"},
    "slack": {
        EXIT_USAGE: "also when Slack is not configured",
        EXIT_PARTIAL: "the message could not be posted",
    },
    "webhook": {
        EXIT_USAGE: "also when no webhook is configured",
        EXIT_PARTIAL: "nothing could be delivered",
    },
    "doctor": {EXIT_PARTIAL: "a check failed"},
    "up": {EXIT_PARTIAL: "the server did not come up"},
    "down": {EXIT_PARTIAL: "the server could not be stopped"},
}

SETTINGS_INTRO = """\
First wins: a flag, the environment, `bifrost.yaml` in the working directory, `bifrost-flow/bifrost.yaml`
below `XDG_CONFIG_HOME` (`~/.config`), the default. In the files a dot is a level: `ollama.url` is `url` below
`ollama`. `bifrost-flow config show` says what holds and where it comes from.
"""

TABLES_INTRO = """\
A warehouse is a folder of Parquet, one folder a table, and `bifrost.duckdb`, where each table is a view of
its name. `bifrost-flow sql` asks it; so does any DuckDB client (1.1 or newer), and finds these comments in
`duckdb_views()` and `duckdb_columns()`. Times are UTC.

Open `bifrost.duckdb` read-only from wherever the folder is: the views look beside the file. A client that
attaches it to another database, or that has set `temp_directory`, looks where the folder was when one of our
commands last opened it; after a move say `SET VARIABLE bifrost_warehouse = '/new/place'` there, or run any
command on the folder first.
"""

QUERIES_INTRO = """\
`bifrost-flow sql --query NAME`, with `--project`, `--since` and `--param NAME=VALUE`; `sql --list` lists
them. All take `project` (any if not given) and `since` (ever if not given), as in `7d ago` or `2026-11-01`.
"""

_TYPE_NAMES = {
    "str": "text",
    "bool": "true or false",
    "int": "whole number",
    "float": "number",
    "dict": "table",
    "list": "list of texts",
    "SecretStr": "secret text",
}
_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def render_reference() -> str:
    """Return the page."""
    # Help texts are made when the commands are imported, in the language in force by then: hence the imports
    # in the functions below.
    set_language("en")
    parts = [HEAD, *describe_commands(), *describe_exits(), *describe_settings(), *describe_warehouse()]
    return "\n".join(filter(None, parts))


def describe_commands() -> Iterator[str]:
    """Yield a section a command, in the order of `--help`; subcommands follow their group."""
    from bifrost_flow.cli import app

    root = typer.main.get_command(app)
    yield "## Commands\n"
    yield f"Every command has `--help`. `{PROGRAM}` itself:\n"
    yield render_parameters(root, typer.Context(root, info_name=PROGRAM))
    yield from _describe_group(root, typer.Context(root, info_name=PROGRAM))


def _describe_group(group: Any, context: typer.Context) -> Iterator[str]:
    for name, command in group.commands.items():
        if command.hidden:
            continue
        inner = typer.Context(command, info_name=name, parent=context)
        yield f"### `{inner.command_path}`\n"
        yield f"{unwrap(command.help)}\n"
        if hasattr(command, "commands"):
            yield from _describe_group(command, inner)
            continue
        usage = " ".join([inner.command_path, *command.collect_usage_pieces(inner)])
        yield f"```\n{usage}\n```\n"
        yield render_parameters(command, inner)
        yield f"Exit codes: {render_exits(inner.command_path.split()[1])}.\n"


def render_parameters(command: Any, context: typer.Context) -> str:
    """Return the table of a command's arguments and options with their defaults and limits."""
    records = [record for each in command.params if (record := each.get_help_record(context))]
    return render_table(("argument or option", "meaning"), [(f"`{name}`", text) for name, text in records])


def render_exits(command: str) -> str:
    """Return the codes that `command` can end with, and what they mean where it is more than usual."""
    from bifrost_flow.cli.failures import EXIT_DEFECT

    own = COMMAND_EXITS.get(command, {})
    codes = sorted({EXIT_FINE, EXIT_USAGE, EXIT_DEFECT, EXIT_INTERRUPTED, *own})
    return ", ".join(f"{code} ({own[code]})" if code in own else str(code) for code in codes)


def describe_exits() -> Iterator[str]:
    """Yield what each exit code means, and what the status of a run makes of it."""
    from bifrost_flow.cli.failures import EXIT_DEFECT

    meanings = {
        EXIT_FINE: "fine",
        EXIT_GATE: "`run --fail-on` found what it looks for",
        EXIT_USAGE: "the call, a setting or a file of settings is wrong, or what was named is not there",
        EXIT_PARTIAL: "some inputs, calls or deliveries failed; the rest is saved",
        EXIT_DEFECT: "a defect of the program, told with its trace",
        EXIT_INTERRUPTED: "interrupted with Ctrl-C; what was done is saved",
    }
    yield "## Exit codes\n"
    yield render_table(("code", "meaning"), [(str(code), text) for code, text in meanings.items()])
    yield "`run` ends with the code of the run's status, unless `--fail-on` trips:\n"
    yield render_table(("status", "code"), [(f"`{name}`", str(code)) for name, code in EXIT_CODES.items()])


def describe_settings() -> Iterator[str]:
    """Yield the table of settings, in the order of declaration."""
    yield "## Settings\n"
    yield SETTINGS_INTRO
    foreign = {key: name for name, key in FOREIGN_NAMES.items()}
    rows = []
    for key, field in setting_fields().items():
        variables = [name_variable(key), *([foreign[key]] if key in foreign else [])]
        rows.append(
            (
                f"`{key}`",
                describe_type(field),
                describe_default(field.default),
                ", ".join(f"`{name}`" for name in variables),
                field.description or "",
            )
        )
    yield render_table(("key", "type", "default", "environment", "meaning"), rows)


def describe_type(field: FieldInfo) -> str:
    """Return what a setting takes, in words, with its limits."""
    kinds = [each for each in get_args(field.annotation) if each is not type(None)]
    if kinds and all(isinstance(each, str) for each in kinds):
        return ", ".join(f"`{each}`" for each in kinds)
    kind: Any = kinds[0] if type(None) in get_args(field.annotation) else field.annotation
    checks = {*field.metadata, *getattr(kind, "__metadata__", ())}
    limits = [
        f"{sign} {getattr(each, bound):g}"
        for each in field.metadata
        for bound, sign in _BOUNDS.items()
        if hasattr(each, bound)
    ]
    if checks & set(Url.__metadata__):
        name = "URL"
    elif checks & set(PathText.__metadata__):
        name = "path"
    else:
        # An annotated type's origin is the type; a generic's, like `dict[str, …]`, is its class.
        name = _TYPE_NAMES[getattr(get_origin(kind) or kind, "__name__", "")]
    return " ".join([name, *limits])


def describe_default(value: object) -> str:
    """Return a default as it would be written in `bifrost.yaml`."""
    if value is None:
        return "–"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def describe_warehouse() -> Iterator[str]:
    """Yield tables, views and named queries with their columns, from a warehouse that is made for it."""
    columns, asked = read_columns(), read_query_columns()
    described = describe_catalog()
    yield "## Tables\n"
    yield TABLES_INTRO
    for name in (*TABLES, *(view for view in described if view not in TABLES)):
        if name == next(view for view in described if view not in TABLES):
            yield "## Views\n"
        yield f"### `{name}`\n"
        yield f"{described[name].comment}\n"
        rows = [
            (f"`{column}`", kind, *split_unit(described[name].columns[column]))
            for column, kind in columns[name]
        ]
        yield render_table(("column", "type", "unit", "meaning"), rows)
    yield "## Queries\n"
    yield QUERIES_INTRO
    for name, query in read_named_queries().items():
        yield f"### `{name}`\n"
        yield f"{t(f'query.{name}')} {query.comment}\n"
        yield f"Columns: {', '.join(f'`{column}`' for column in asked[name])}.\n"
        yield render_table(
            ("parameter", "type", "default", "meaning"),
            [
                (f"`{each.name}`", each.type, f"`{each.default}`" if each.default else "–", each.meaning)
                for each in query.parameters
            ],
        )


def read_columns() -> dict[str, list[tuple[str, str]]]:
    """Return name and type of the columns of each table and view, in order."""
    query = """
        SELECT table_name, column_name, data_type
        FROM information_schema.columns
        ORDER BY table_name, ordinal_position
    """
    found: dict[str, list[tuple[str, str]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        refresh_catalog(open_storage(folder), migrate=True)
        with duckdb.connect(str(Path(folder, CATALOG)), read_only=True) as connection:
            for table, column, kind in connection.execute(query).fetchall():
                found.setdefault(table, []).append((column, kind))
    return found


def read_query_columns() -> dict[str, tuple[str, ...]]:
    """Return the columns of each named query."""
    with tempfile.TemporaryDirectory() as folder:
        store = Warehouse.open(folder)
        return {
            name: store.query(query.sql, query.bind({}, project=None, since=None)).columns
            for name, query in read_named_queries().items()
        }


def unwrap(text: str | None) -> str:
    """Return the text of a docstring or help with a line a paragraph."""
    paragraphs = re.split(r"\n\s*\n", (text or "").strip())
    return "\n\n".join(" ".join(each.split()) for each in paragraphs)


def render_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table; nothing when it has no rows."""
    lines = ["| " + " | ".join(unwrap(cell).replace("|", r"\|") for cell in row) + " |" for row in rows]
    if not lines:
        return ""
    names = list(head)
    return "\n".join(["| " + " | ".join(names) + " |", "|---" * len(names) + "|", *lines]) + "\n"


def main() -> int:
    """Write the page, or with `--check` show how it differs; return the exit code."""
    parser = argparse.ArgumentParser(description="Write docs/reference.md from the code.")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 and a diff when stale"
    )
    check = parser.parse_args().check
    written = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    page = render_reference()
    if not check:
        PAGE.write_text(page, encoding="utf-8")
        return 0
    names = ("docs/reference.md", "what the code says; renew the page with: make docs")
    difference = difflib.unified_diff(written.splitlines(True), page.splitlines(True), *names)
    sys.stdout.buffer.write("".join(difference).encode())
    return int(written != page)


if __name__ == "__main__":
    sys.exit(main())

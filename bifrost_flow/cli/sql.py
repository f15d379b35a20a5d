"""`sql`: ask the warehouse in SQL, or by the name of a query that ships with the product."""

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from bifrost_flow.cli.tables import LangOption, Output, ProjectOption, WarehouseOption, opened
from bifrost_flow.errors import SettingsError
from bifrost_flow.language import t

if TYPE_CHECKING:
    from connectors.warehouse import Rows, Warehouse


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("sql", help=t("tables.sql"))(sql)


def sql(
    query: Annotated[str | None, typer.Argument(metavar="[QUERY|-]", help=t("tables.query"))] = None,
    named: Annotated[str | None, typer.Option("--query", metavar="NAME", help=t("sql.query"))] = None,
    listed: Annotated[bool, typer.Option("--list", help=t("sql.list"))] = False,
    param: Annotated[
        list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help=t("sql.param"))
    ] = None,
    since: Annotated[str | None, typer.Option(help=t("sql.since"))] = None,
    warehouse: WarehouseOption = None,
    project: ProjectOption = None,
    output: Annotated[Output, typer.Option("--format", "-f", help=t("tables.format"))] = Output.table,
    lang: LangOption = None,
) -> None:
    if listed:
        _list_queries(lang, output)
        return
    with opened(warehouse, lang) as store:
        if (query is None) == (named is None):
            raise SettingsError(t("sql.which"))
        if query is not None and (since or project):
            raise SettingsError(t("sql.only_named"))
        given = dict(map(_split_parameter, param or ()))
        if named is not None:
            found = _ask_by_name(store, named, given, project=project, since=since)
        else:
            text = sys.stdin.read() if query == "-" else query or ""
            found = store.query(text, {name: _guess(value) for name, value in given.items()})
        from bifrost_flow.cli.grid import write_rows

        write_rows(found.columns, found.rows, output)


def _ask_by_name(
    store: "Warehouse", name: str, given: dict[str, str], *, project: str | None, since: str | None
) -> "Rows":
    from connectors.warehouse.named import find_query

    query, after = find_query(name), None
    if since is not None:
        from bifrost_flow.evidence.moments import parse_when

        after = parse_when(since, datetime.now(UTC))
    return store.query(query.sql, query.bind(given, project=project, since=after))


def _list_queries(lang: str | None, output: Output) -> None:
    """Print the queries; that needs no warehouse."""
    from bifrost_flow.cli.failures import exit_on_errors

    with exit_on_errors():
        from bifrost_flow.cli.grid import format_cell, print_table, write_rows
        from bifrost_flow.cli.output import apply_output_settings
        from bifrost_flow.settings import load_settings
        from connectors.warehouse.named import read_named_queries

        apply_output_settings(load_settings({"lang": lang}))
        rows = [
            (
                query.name,
                " ".join(f"{each.name}={each.default}" for each in query.parameters),
                t(f"query.{query.name}"),
            )
            for query in read_named_queries().values()
        ]
        names = ("name", "parameters", "meaning")
        if output is Output.table:
            heads = [t(f"sql.column.{name}") for name in names]
            print_table(heads, [[format_cell(cell) for cell in row] for row in rows])
        else:
            write_rows(names, rows, output.value)


def _split_parameter(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name.strip().isidentifier():
        raise SettingsError(t("sql.bad_param", value=text))
    return name.strip(), value


def _guess(text: str) -> object:
    """Return a parameter of the user's own SQL as the number that it reads as, else as text."""
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text

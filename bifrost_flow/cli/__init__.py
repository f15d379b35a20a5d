"""The command line. It parses, calls and shows; heavy imports happen inside the commands."""

import os
from typing import Annotated

import typer

from bifrost_flow.cli import (
    analyze,
    cache,
    dashboard,
    diff,
    evaluate,
    evidence,
    export,
    messages,
    metrics,
    plan,
    prompts,
    request,
    run,
    runs,
    serve,
    server,
    settings,
    sql,
    tables,
    upkeep,
)
from bifrost_flow.cli.completion import complete_values
from bifrost_flow.cli.words import translate_typer
from bifrost_flow.language import t

translate_typer()
app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)


def _show_version(asked: bool) -> None:
    if asked:
        from bifrost_flow import __version__

        typer.echo(f"bifrost-flow {__version__}")
        raise typer.Exit


@app.callback(help=t("app.help"))
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help=t("app.version"))
    ] = False,
) -> None:
    # Whatever we write, others on the machine may not change it, even where the shell would let them.
    os.umask(os.umask(0o077) | 0o022)


for commands in (
    run,
    analyze,
    evidence,
    evaluate,
    sql,
    tables,
    diff,
    runs,
    cache,
    upkeep,
    prompts,
    export,
    dashboard,
    messages,
    metrics,
    plan,
    settings,
    server,
    serve,
    request,
):
    commands.register(app)
complete_values(app)

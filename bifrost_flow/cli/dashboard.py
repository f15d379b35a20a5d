"""`dashboard`: one page over all runs of a warehouse."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from bifrost_flow.cli.tables import LangOption, ProjectOption, WarehouseOption, opened
from bifrost_flow.language import current_language, t


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("dashboard", help=t("dashboard.help"))(dashboard)


def dashboard(
    out: Annotated[str | None, typer.Option("--output", "-o", help=t("dashboard.output"))] = None,
    warehouse: WarehouseOption = None,
    project: ProjectOption = None,
    since: Annotated[str | None, typer.Option(metavar="WHEN", help=t("dashboard.since"))] = None,
    lang: LangOption = None,
) -> None:
    with opened(warehouse, lang) as store:
        from datetime import UTC, datetime

        from bifrost_flow.evidence.moments import parse_when
        from bifrost_flow.render.dashboard import render_dashboard
        from bifrost_flow.settings import load_settings
        from connectors.dashboard import FILE_NAME, read_board
        from connectors.files import write_file

        target = out or f"{store.location}/{FILE_NAME}"
        if target != "-" and "://" not in target:
            target = str(Path(target).expanduser()) + ("/" if target.endswith("/") else "")
        if target.endswith("/") or ("://" not in target and Path(target).is_dir()):
            target = f"{target.rstrip('/')}/{FILE_NAME}"
        board = read_board(
            store,
            target=target,
            project=project,
            since=None if since is None else parse_when(since, datetime.now(UTC)),
            base_url=load_settings({}).output.base_url,
        )
        page = render_dashboard(board, language=current_language()).encode()
        if target == "-":
            sys.stdout.buffer.write(page)
            return
        write_file(target, page)
        typer.echo(t("dashboard.written", path=target, runs=len(board.runs), findings=len(board.findings)))

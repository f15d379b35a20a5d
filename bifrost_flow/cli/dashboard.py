"""`dashboard`: one page over all runs of a warehouse."""

from pathlib import Path
from typing import Annotated

import typer

from bifrost_flow.cli.tables import LangOption, ProjectOption, WarehouseOption, opened
from bifrost_flow.language import current_language, t

FILE_NAME = "dashboard.html"


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
        from connectors.dashboard import read_board
        from connectors.files import write_file

        moment = None if since is None else parse_when(since, datetime.now(UTC))
        board = read_board(store, project=project, since=moment, linked=out is None)
        page = render_dashboard(board, language=current_language()).encode()
        target = out or f"{store.location}/{FILE_NAME}"
        if target == "-":
            typer.echo(page, nl=False)
            return
        if "://" not in target and (target.endswith("/") or Path(target).is_dir()):
            target = str(Path(target) / FILE_NAME)
        write_file(target, page)
        typer.echo(t("dashboard.written", path=target, runs=len(board.runs), findings=len(board.findings)))

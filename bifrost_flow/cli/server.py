"""`up`, `down` and `status`: a local Prefect server kept warm, so that the next run needn't start one."""

from typing import Annotated

import typer

from bifrost_flow.cli.failures import exit_on_errors
from bifrost_flow.language import t


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("up", help=t("server.up.help"))(start_server)
    app.command("down", help=t("server.down.help"))(stop_server)
    app.command("status", help=t("server.status.help"))(show_server)


def start_server(
    port: Annotated[int, typer.Option(help=t("server.up.port"), min=1, max=65535)] = 4200,
) -> None:
    from connectors.prefect_access import check_prefect_access
    from connectors.prefect_server import (
        find_configured_url,
        find_kept_server,
        hold_start_lock,
        start_kept_server,
    )

    with exit_on_errors():
        if url := find_configured_url():
            check_prefect_access(url)
            typer.echo(t("server.configured", url=url))
            return
        with hold_start_lock():
            if kept := find_kept_server():
                typer.echo(t("server.already_up", url=kept.url, ui=kept.ui_url, pid=kept.pid))
                return
            typer.echo(t("server.starting"), err=True)
            kept = start_kept_server(port=port)
        typer.echo(t("server.started", url=kept.url, ui=kept.ui_url, pid=kept.pid))


def stop_server() -> None:
    from connectors.prefect_server import stop_kept_server

    with exit_on_errors():
        typer.echo(t("server.stopped") if stop_kept_server() else t("server.none_to_stop"))


def show_server() -> None:
    from connectors.prefect_server import find_configured_url, find_kept_server, is_healthy

    with exit_on_errors():
        if url := find_configured_url():
            key = "server.configured_up" if is_healthy(url) else "server.configured_down"
            typer.echo(t(key, url=url))
        elif kept := find_kept_server():
            typer.echo(t("server.already_up", url=kept.url, ui=kept.ui_url, pid=kept.pid))
        else:
            typer.echo(t("server.none"))

"""`serve`: one process that carries out the nightly audit and ad-hoc analyses, and shows its metrics."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bifrost_flow.cli.failures import exit_on_errors
from bifrost_flow.cli.filters import read_filter
from bifrost_flow.errors import SettingsError
from bifrost_flow.language import t
from bifrost_flow.window import check_window, split_since

if TYPE_CHECKING:
    from bifrost_flow.settings import ServeSettings


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("serve", help=t("serve.help"))(serve)


def serve(
    targets: Annotated[
        list[str] | None, typer.Argument(metavar="PATH|GLOB", help=t("settings.serve.paths"))
    ] = None,
    cron: Annotated[str | None, typer.Option(help=t("settings.serve.cron"))] = None,
    timezone: Annotated[str | None, typer.Option(help=t("settings.serve.timezone"))] = None,
    catch_up: Annotated[
        str | None, typer.Option(metavar="latest|all|none", help=t("settings.serve.catch_up"))
    ] = None,
    since: Annotated[str | None, typer.Option(help=t("serve.since"))] = None,
    adhoc_limit: Annotated[int | None, typer.Option(min=1, help=t("settings.serve.adhoc_limit"))] = None,
    metrics_host: Annotated[str | None, typer.Option(help=t("settings.serve.metrics_host"))] = None,
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help=t("settings.serve.metrics_port"))
    ] = None,
    warehouse: Annotated[str | None, typer.Option(help=t("run.warehouse"))] = None,
    project: Annotated[str | None, typer.Option(help=t("run.project"))] = None,
) -> None:
    with exit_on_errors(at_once=True):
        from bifrost_flow.settings import load_settings

        _, moment = split_since(since)
        read_filter(dict.fromkeys(("severity", "keywords", "regex", "until")) | {"since": moment})
        settings = load_settings(
            {
                "warehouse": warehouse,
                "project": project,
                "serve.paths": targets or None,
                "serve.cron": cron,
                "serve.timezone": timezone,
                "serve.catch_up": catch_up,
                "serve.adhoc_limit": adhoc_limit,
                "serve.metrics_host": metrics_host,
                "serve.metrics_port": metrics_port,
            }
        )
        paths = settings.serve.paths
        if not paths:
            raise SettingsError(t("serve.no_paths"))
        if "-" in paths:
            raise SettingsError(t("serve.no_stdin"))
        check_window(paths, None, None)
        # Runs are processes of their own: what they read and write must not depend on where they start.
        place: dict[str, Any] = {"warehouse": _make_absolute(settings.warehouse), "project": settings.project}
        nightly: dict[str, Any] = {
            **place,
            "paths": [_make_absolute(each) for each in paths],
            "since": since,
        }
        _serve(nightly, place, settings.serve)


def _serve(nightly: dict[str, Any], adhoc: dict[str, Any], settings: "ServeSettings") -> None:
    from bifrost_flow.cli.answers import Notes
    from bifrost_flow.cli.session import use_server
    from bifrost_flow.progress import watch
    from connectors.metrics import start_metrics_server
    from connectors.prefect_server import find_prefect_setting

    # Runs are processes of their own; what they may be asked for is measured by what is served.
    os.environ["BIFROST_SERVE_PATHS"] = json.dumps(nightly["paths"])
    os.environ["BIFROST_WAREHOUSE"] = adhoc["warehouse"]
    url = use_server()
    watch(Notes())
    guarded = bool(find_prefect_setting("PREFECT_API_AUTH_STRING") or find_prefect_setting("PREFECT_API_KEY"))
    host, port = settings.metrics_host, settings.metrics_port
    with start_metrics_server(host, port, allow_remote=guarded) as shown:
        from flows.served import ADHOC, NIGHTLY, Schedule, build_deployments, serve_deployments

        cron, timezone = settings.cron, settings.timezone
        planned = Schedule(cron, timezone, settings.catch_up)
        deployments = build_deployments(planned, nightly, adhoc, concurrency=settings.adhoc_limit)
        typer.echo(
            t(
                "serve.serving",
                nightly=NIGHTLY,
                adhoc=ADHOC,
                cron=cron,
                timezone=timezone,
                url=url,
                metrics=shown.url,
            ),
            err=True,
        )
        serve_deployments(*deployments, catch_up=planned.catch_up, api_url=url)
        typer.echo(t("serve.ended"), err=True)


def _make_absolute(path: str) -> str:
    return path if "://" in path else str(Path(path).expanduser().absolute())

"""`metrics`: the numbers of the warehouse, or of one run, as Prometheus reads them."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bifrost_flow.cli.tables import opened
from bifrost_flow.language import t


class Exposition(StrEnum):
    text = "text"
    openmetrics = "openmetrics"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("metrics", help=t("metrics.help"))(metrics)


def metrics(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help=t("metrics.run"))] = None,
    output: Annotated[Exposition, typer.Option("--format", "-f", help=t("metrics.format"))] = Exposition.text,
    out: Annotated[str | None, typer.Option("--out", "-o", metavar="PATH|-", help=t("metrics.out"))] = None,
    warehouse: Annotated[str | None, typer.Option("--warehouse", "-w", help=t("tables.warehouse"))] = None,
    project: Annotated[str | None, typer.Option("--project", "-p", help=t("tables.project"))] = None,
    lang: Annotated[str | None, typer.Option(help=t("app.lang"))] = None,
) -> None:
    with opened(warehouse, lang) as store:
        from connectors.files import write_text_file
        from connectors.metrics_store import render_metrics
        from connectors.metrics_warehouse import read_warehouse_metrics
        from connectors.reports import find_run

        run_id = None if run is None else find_run(store, run, project=project)
        found = read_warehouse_metrics(store, project=project, run_id=run_id)
        text = render_metrics(found, openmetrics=output is Exposition.openmetrics)
        if out in (None, "-"):
            sys.stdout.write(text)
        else:
            write_text_file(Path(str(out)), text)
            print(t("export.written", path=out), file=sys.stderr)

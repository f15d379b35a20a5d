"""`runs` and `track`: past runs side by side, and runs sent to MLflow that could not be at their time."""

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bifrost_flow.cli.failures import exit_on_errors
from bifrost_flow.cli.tables import SHORT_ID, LangOption, Output, ProjectOption, WarehouseOption
from bifrost_flow.errors import SettingsError, WarehouseError
from bifrost_flow.language import current_language, t
from bifrost_flow.summary import EXIT_PARTIAL

if TYPE_CHECKING:
    from bifrost_flow.runview import ComparedValue, RunView
    from bifrost_flow.settings import Settings
    from connectors.tracking import Tracker
    from connectors.warehouse import Warehouse

MlflowOption = Annotated[bool, typer.Option("--mlflow", help=t("runs.mlflow"))]
FormatOption = Annotated[Output, typer.Option("--format", "-f", help=t("tables.format"))]

DIFFERS = "≠"
# What a list has room for, where the run has it; the rest is in `show` and `compare`.
LISTED_PARAMETERS = ("provider", "model", "budget_tokens")
LISTED_METRICS = ("files", "llm_calls", "findings_new", "duration", "cost")


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    runs = typer.Typer(help=t("runs.help"), no_args_is_help=True, rich_markup_mode=None)
    runs.command("list", help=t("runs.list"))(list_runs)
    runs.command("show", help=t("runs.show"))(show_run)
    runs.command("compare", help=t("runs.compare"))(compare)
    app.add_typer(runs, name="runs")
    app.command("track", help=t("track.help"))(track)


def list_runs(
    mlflow: MlflowOption = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help=t("tables.limit"))] = 20,
    output: FormatOption = Output.table,
    warehouse: WarehouseOption = None,
    project: ProjectOption = None,
    lang: LangOption = None,
) -> None:
    with _opened(warehouse, lang) as settings:
        from connectors.runviews import read_tracked_views, read_views

        if mlflow:
            found = read_tracked_views(_open_tracker(settings), project=project, limit=limit)
        else:
            found = read_views(_open_warehouse(settings), project=project, limit=limit)
        _show_list(found, output)


def show_run(
    run: Annotated[str, typer.Argument(metavar="RUN", help=t("runs.run"))] = "latest",
    mlflow: MlflowOption = False,
    output: FormatOption = Output.table,
    warehouse: WarehouseOption = None,
    project: ProjectOption = None,
    lang: LangOption = None,
) -> None:
    with _opened(warehouse, lang) as settings:
        _show_compared(_find(settings, [run], project=project, mlflow=mlflow), output)


def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN", help=t("runs.runs"))],
    differences: Annotated[bool, typer.Option("--differences", "-d", help=t("runs.differences"))] = False,
    mlflow: MlflowOption = False,
    output: FormatOption = Output.table,
    warehouse: WarehouseOption = None,
    project: ProjectOption = None,
    lang: LangOption = None,
) -> None:
    with _opened(warehouse, lang) as settings:
        if len(runs) < 2:
            raise SettingsError(t("runs.too_few"))
        found = _find(settings, runs, project=project, mlflow=mlflow)
        _show_compared(found, output, differences=differences)


def track(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help=t("track.run"))] = None,
    missing: Annotated[bool, typer.Option("--missing", help=t("track.missing"))] = False,
    warehouse: WarehouseOption = None,
    project: ProjectOption = None,
    lang: LangOption = None,
) -> None:
    with _opened(warehouse, lang) as settings:
        from connectors.reports import find_run
        from connectors.tracking_later import list_missing, send_runs

        if missing and run is not None:
            raise SettingsError(t("track.run_or_missing"))
        store, tracker = _open_warehouse(settings), _open_tracker(settings)
        if tracker.disabled is not None:
            raise SettingsError(tracker.disabled)
        if missing:
            wanted = list_missing(store, tracker, project=project)
        else:
            wanted = [find_run(store, run or "latest", project=project)]
        sending = send_runs(store, tracker, wanted, language=settings.lang)
        for sent, (run_id, result) in enumerate(sending):
            if result.status != "tracked":
                print(t("track.failed", run=run_id, detail=result.detail), file=sys.stderr)
                if len(wanted) > 1:
                    print(t("track.left", count=len(wanted) - sent), file=sys.stderr)
                raise typer.Exit(EXIT_PARTIAL)
            key = "track.existed" if result.existed else "track.sent"
            print(t(key, run=run_id, mlflow_run=result.mlflow_run_id, detail=result.detail))
        if not wanted:
            print(t("track.none_missing"), file=sys.stderr)


@contextmanager
def _opened(location: str | None, lang: str | None) -> "Generator[Settings]":
    with exit_on_errors():
        from bifrost_flow.cli.output import apply_output_settings
        from bifrost_flow.settings import load_settings

        settings = load_settings({"warehouse": location, "lang": lang})
        apply_output_settings(settings)
        try:
            yield settings
        except WarehouseError as error:
            raise SettingsError(str(error)) from error


def _open_warehouse(settings: "Settings") -> "Warehouse":
    from connectors.warehouse import Warehouse

    return Warehouse.open(settings.warehouse, create=False)


def _open_tracker(settings: "Settings") -> "Tracker":
    from connectors.tracking import open_tracker

    mlflow = settings.mlflow
    return open_tracker(
        settings.warehouse,
        tracking_uri=mlflow.tracking_uri,
        experiment=mlflow.experiment,
        enabled=mlflow.enabled,
        timeout_s=mlflow.timeout,
    )


def _find(
    settings: "Settings", references: Sequence[str], *, project: str | None, mlflow: bool
) -> "list[RunView]":
    from connectors.runviews import find_tracked_views, find_warehouse_views

    if mlflow:
        return find_tracked_views(_open_tracker(settings), references, project=project)
    return find_warehouse_views(_open_warehouse(settings), references, project=project)


def _show_list(runs: "Sequence[RunView]", output: Output) -> None:
    from bifrost_flow.cli.grid import format_cell, print_table, write_json, write_rows
    from bifrost_flow.render.facts import format_time, label

    if output is Output.json:
        write_json([_describe(run) for run in runs])
        return
    names = ("run", "started", "project", "status", "name", *LISTED_PARAMETERS, *LISTED_METRICS)
    if output is Output.csv:
        rows = [[run.run_id, run.started_at, run.project, run.status, run.name, *_pick(run)] for run in runs]
        write_rows(names, rows, "csv")
        return
    if not runs:
        print(t("runs.none"), file=sys.stderr)
        return
    print_table(
        [t(f"runs.column.{name}") for name in names],
        [
            [
                ("└ " if run.parent_id else "") + run.run_id[:SHORT_ID],
                format_time(run.started_at),
                format_cell(run.project or "–"),
                label("run_status", run.status, current_language()),
                format_cell(run.name),
                *(_format(value) for value in _pick(run)),
            ]
            for run in runs
        ],
        dispensable=[
            names.index(name) for name in ("budget_tokens", "files", "project", "llm_calls", "cost")
        ],
    )


def _pick(run: "RunView") -> "list[Any]":
    parameters = [run.parameters.get(name) for name in LISTED_PARAMETERS]
    return [*parameters, *(run.metrics.get(name) for name in LISTED_METRICS)]


def _show_compared(runs: "Sequence[RunView]", output: Output, *, differences: bool = False) -> None:
    from bifrost_flow.cli.grid import format_cell, print_table, write_json, write_rows
    from bifrost_flow.render.facts import format_time, label
    from bifrost_flow.runview import compare_runs

    compared = [each for each in compare_runs(runs) if each.differs or not differences]
    if output is Output.json and len(runs) == 1:
        write_json(_describe(runs[0]))
    elif output is Output.json:
        values = [
            {"kind": each.kind, "name": each.name, "values": each.values, "differs": each.differs}
            for each in compared
        ]
        write_json({"runs": [_describe(run) for run in runs], "compared": values})
    elif output is Output.csv:
        columns = ["kind", "name", *(run.run_id for run in runs), *(["differs"] if len(runs) > 1 else [])]
        rows = [
            [each.kind, each.name, *each.values, *([each.differs] if len(runs) > 1 else [])]
            for each in compared
        ]
        write_rows(columns, rows, "csv")
    else:
        facts = [
            (t("runs.column.run"), [run.run_id[:SHORT_ID] if len(runs) > 1 else run.run_id for run in runs]),
            (t("runs.column.name"), [format_cell(run.name) for run in runs]),
            (t("runs.column.started"), [format_time(run.started_at) for run in runs]),
            (t("runs.column.status"), [label("run_status", run.status, current_language()) for run in runs]),
        ]
        rows = [["", name, *values, ""] for name, values in facts[1:]]
        rows += [
            [
                DIFFERS if each.differs else "",
                format_cell(each.name),
                *(_format(value) for value in each.values),
                _format_change(each),
            ]
            for each in compared
        ]
        columns = ["", facts[0][0], *facts[0][1], t("runs.column.change") if len(runs) > 1 else ""]
        shown = slice(None) if len(runs) > 1 else slice(1, -1)
        print_table(columns[shown], [row[shown] for row in rows])


def _describe(run: "RunView") -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(run)


def _format(value: object) -> str:
    from bifrost_flow.cli.grid import format_cell

    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if value == int(value) else f"{value:,.4g}"
    return format_cell(value)


def _format_change(compared: "ComparedValue") -> str:
    if not compared.differs or compared.change is None:
        return ""
    return f"{compared.change:+.1%}"

"""`export`: write the report of a run that is in the warehouse, in any format."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bifrost_flow.cli.failures import exit_on_errors
from bifrost_flow.errors import SettingsError, WarehouseError
from bifrost_flow.language import t
from bifrost_flow.render import find_format, guess_format, name_targets, render_file, split_formats
from bifrost_flow.render.defuse import make_visible

if TYPE_CHECKING:
    from bifrost_flow.records import Report
    from bifrost_flow.settings import Settings

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help=t("export.run"))]
WarehouseOption = Annotated[str | None, typer.Option("--warehouse", "-w", help=t("export.warehouse"))]
ProjectOption = Annotated[str | None, typer.Option("--project", "-p", help=t("export.project"))]
LangOption = Annotated[str | None, typer.Option(help=t("app.lang"))]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("export", help=t("export.help"))(export)


def export(
    run: RunArgument = "latest",
    formats: Annotated[list[str] | None, typer.Option("--format", "-f", help=t("export.format"))] = None,
    out: Annotated[
        str | None, typer.Option("--out", "--output", "-o", metavar="PATH|-", help=t("export.out"))
    ] = None,
    warehouse: WarehouseOption = None,
    project: ProjectOption = None,
    lang: LangOption = None,
) -> None:
    with exit_on_errors():
        names = choose_formats(formats or [], out)
        targets = name_targets(
            names, str(Path(out).expanduser()) if out and out[0] == "~" else out, folder=None
        )
        report, _ = load_run(run, warehouse, project, lang, with_similar=True)
        for name, target in targets.items():
            content = render_file(report, name)
            if target == "-":
                sys.stdout.buffer.write(content)
                continue
            from connectors.files import write_file

            write_file(target, content)
            print(t("export.written", path=make_visible(target)), file=sys.stderr)


def choose_formats(named: list[str], out: str | None) -> tuple[str, ...]:
    """Return the formats asked for; with none named, the one that the file's suffix tells, else Markdown.

    Raises:
        SettingsError: there is no such format, several were asked for on standard output, or a binary one
            in a terminal.
    """
    names = split_formats(named)
    if not names:
        guessed = guess_format(out or "")
        names = (guessed.name if guessed else "markdown",)
    if out in (None, "-"):
        if len(names) > 1:
            raise SettingsError(t("export.one_format"))
        if find_format(names[0]).binary and sys.stdout.isatty():
            raise SettingsError(t("export.binary", format=names[0]))
    return names


def load_run(
    run: str, location: str | None, project: str | None, lang: str | None, *, with_similar: bool = False
) -> "tuple[Report, Settings]":
    """Read a run's report. A run or a warehouse that is not there is the call's fault: exit code 2."""
    from bifrost_flow.cli.output import apply_output_settings
    from bifrost_flow.reportlink import link_report
    from bifrost_flow.settings import load_settings
    from connectors.reports import load_report
    from connectors.similar import add_similar
    from connectors.warehouse import Warehouse

    settings = load_settings({"warehouse": location, "lang": lang})
    apply_output_settings(settings)
    try:
        warehouse = Warehouse.open(settings.warehouse, create=False)
        report = load_report(warehouse, run, settings.lang, project=project)
        if with_similar:
            report = add_similar(warehouse, report)
    except WarehouseError as error:
        raise SettingsError(str(error)) from error
    link = link_report(settings.output.base_url, run_id=report.run.run_id, project=report.run.project)
    return replace(report, link=link), settings

"""`export` and `slack`: hand over the results of a run that is in the warehouse."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bifrost_flow.cli.failures import exit_on_errors
from bifrost_flow.errors import SettingsError, WarehouseError
from bifrost_flow.language import t
from bifrost_flow.render import FORMATS, find_format, render_report
from bifrost_flow.summary import EXIT_PARTIAL, EXIT_USAGE

if TYPE_CHECKING:
    from bifrost_flow.records import Report
    from bifrost_flow.settings import Settings

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help=t("export.run"))]
WarehouseOption = Annotated[str | None, typer.Option("--warehouse", "-w", help=t("export.warehouse"))]
ProjectOption = Annotated[str | None, typer.Option("--project", "-p", help=t("export.project"))]
LangOption = Annotated[str | None, typer.Option(help=t("app.lang"))]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("export", help=t("export.help"))(export)
    app.command("slack", help=t("slack.help"))(slack)


def export(
    run: RunArgument = "latest",
    formats: Annotated[list[str] | None, typer.Option("--format", "-f", help=t("export.format"))] = None,
    out: Annotated[str | None, typer.Option("--out", "-o", metavar="PATH|-", help=t("export.out"))] = None,
    warehouse: WarehouseOption = None,
    project: ProjectOption = None,
    lang: LangOption = None,
) -> None:
    with exit_on_errors():
        names = choose_formats([name for word in formats or () for name in word.split(",")], out)
        targets = name_targets(names, out)
        report, _ = _load(run, warehouse, project, lang, with_similar=True)
        for name, path in targets.items():
            text = render_report(report, name)
            if path is None:
                sys.stdout.buffer.write(text.encode())
                continue
            from connectors.files import write_text_file

            write_text_file(path, text)
            print(t("export.written", path=path), file=sys.stderr)


def slack(
    run: RunArgument = "latest",
    dry_run: Annotated[bool, typer.Option("--dry-run", help=t("slack.dry_run"))] = False,
    always: Annotated[bool, typer.Option("--always", help=t("slack.always"))] = False,
    link: Annotated[str | None, typer.Option("--link", metavar="URL", help=t("slack.link"))] = None,
    warehouse: WarehouseOption = None,
    project: ProjectOption = None,
    lang: LangOption = None,
) -> None:
    with exit_on_errors():
        report, settings = _load(run, warehouse, project, lang)
        if dry_run:
            from bifrost_flow.render.slack_blocks import render_slack_blocks, render_slack_text

            message = {"text": render_slack_text(report), "blocks": render_slack_blocks(report, link)}
            sys.stdout.buffer.write(json.dumps(message, ensure_ascii=False, indent=2).encode() + b"\n")
            return
        from connectors.slack import FAILED, NOT_CONFIGURED, post_report_to_slack

        result = post_report_to_slack(
            report,
            report_link=link,
            always=always,
            webhook_url=settings.slack.webhook_url,
            token=settings.slack.token,
            channel=settings.slack.channel,
        )
        words = t(f"slack.status.{result.status.replace(' ', '_')}")
        print(f"Slack: {words}" + (f". {result.detail}" if result.detail else ""), file=sys.stderr)
    if result.status in (FAILED, NOT_CONFIGURED):
        raise typer.Exit(EXIT_PARTIAL if result.status == FAILED else EXIT_USAGE)


def choose_formats(named: list[str], out: str | None) -> list[str]:
    """Return the formats asked for; with none named, the one that the file's suffix tells, else Markdown.

    Raises:
        SettingsError: there is no such format, or several were asked for on standard output.
    """
    names = [find_format(name).name for name in dict.fromkeys(named)]
    if not names:
        suffix = Path(out or "").suffix.lower()
        names = [known.name for known in FORMATS.values() if known.suffix == suffix] or ["markdown"]
    if len(names) > 1 and out in (None, "-"):
        raise SettingsError(t("export.one_format"))
    return names


def name_targets(names: list[str], out: str | None) -> dict[str, Path | str | None]:
    """Return where each format goes; None is standard output. `out` is a folder when it looks like one."""
    if out is None or out == "-":
        return dict.fromkeys(names)
    if "://" in out:
        if len(names) == 1 and "." in out.rpartition("/")[2]:
            return {names[0]: out}
        return {name: f"{out.rstrip('/')}/{FORMATS[name].file_name}" for name in names}
    path = Path(out).expanduser()
    if len(names) > 1 or path.is_dir() or out.endswith("/") or not (path.suffix or path.exists()):
        return {name: path / FORMATS[name].file_name for name in names}
    return dict.fromkeys(names, path)


def _load(
    run: str, location: str | None, project: str | None, lang: str | None, *, with_similar: bool = False
) -> "tuple[Report, Settings]":
    """Read a run's report. A run or a warehouse that is not there is the call's fault: exit code 2."""
    from bifrost_flow.cli.output import apply_output_settings
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
    return report, settings

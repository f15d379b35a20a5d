"""`config` and `doctor`: what is set and where, and whether what is set works."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bifrost_flow.cli.failures import exit_on_errors
from bifrost_flow.errors import SettingsError
from bifrost_flow.language import check_language, current_language, set_language, t
from bifrost_flow.summary import EXIT_FINE, EXIT_PARTIAL

if TYPE_CHECKING:
    from bifrost_flow.settings import SettingOrigin
    from connectors.checks import Check


class ConfigFormat(StrEnum):
    table = "table"
    json = "json"
    yaml = "yaml"


class CheckFormat(StrEnum):
    table = "table"
    json = "json"


WarehouseOption = Annotated[str | None, typer.Option("--warehouse", "-w", help=t("config.warehouse"))]
LangOption = Annotated[str | None, typer.Option(help=t("app.lang"))]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    config = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=t("config.help"))
    config.command("init", help=t("config.init.help"))(write_config)
    config.command("show", help=t("config.show.help"))(show_config)
    config.command("path", help=t("config.path.help"))(show_paths)
    app.add_typer(config, name="config")
    app.command("doctor", help=t("doctor.help"))(diagnose)


def write_config(
    path: Annotated[Path, typer.Option(help=t("config.init.path"))] = Path("bifrost.yaml"),
    force: Annotated[bool, typer.Option("--force", help=t("config.init.force"))] = False,
    lang: LangOption = None,
) -> None:
    with exit_on_errors():
        _speak(lang)
        from bifrost_flow.settings import settings_files
        from bifrost_flow.settings_template import render_template

        target = path.expanduser()
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            # "x" makes the file or fails: nothing that comes in between can be overwritten.
            with target.open("w" if force else "x", encoding="utf-8") as file:
                os.fchmod(file.fileno(), 0o600)  # keys may be written into it
                file.write(render_template())
        except FileExistsError as error:
            raise SettingsError(t("config.exists", path=path)) from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise SettingsError(t("config.unwritable", path=path, reason=reason)) from error
        typer.echo(t("config.written", path=path))
        if target.resolve() not in {each.resolve() for each in settings_files()}:
            files = ", ".join(map(str, settings_files()))
            typer.echo(t("config.not_looked_at", path=path, files=files), err=True)


def show_config(
    output: Annotated[
        ConfigFormat, typer.Option("--format", "-f", help=t("config.format"))
    ] = ConfigFormat.table,
    warehouse: WarehouseOption = None,
    lang: LangOption = None,
) -> None:
    with exit_on_errors():
        _speak(lang)
        from bifrost_flow.settings import explain_settings

        explained = explain_settings({"warehouse": warehouse, "lang": lang})
        set_language(next(str(each.value) for each in explained if each.key == "lang"))
        if output is ConfigFormat.json:
            from bifrost_flow.cli.grid import write_json

            write_json([asdict(each) for each in explained])
        elif output is ConfigFormat.yaml:
            sys.stdout.write(_render_yaml(explained))
        else:
            from bifrost_flow.cli.grid import format_cell, print_table

            columns = (t("config.key"), t("config.value"), t("config.origin"))
            rows = [
                (each.key, "" if each.value is None else format_cell(each.value), each.origin)
                for each in explained
            ]
            print_table(columns, rows)


def show_paths(lang: LangOption = None) -> None:
    with exit_on_errors():
        _speak(lang)
        from bifrost_flow.settings import settings_files

        for path in settings_files():
            key = "config.path.exists" if path.exists() else "config.path.absent"
            typer.echo(t(key, path=path.absolute()))


def diagnose(
    output: Annotated[
        CheckFormat, typer.Option("--format", "-f", help=t("doctor.format"))
    ] = CheckFormat.table,
    only: Annotated[list[str] | None, typer.Option("--check", "-c", help=t("doctor.check"))] = None,
    warehouse: WarehouseOption = None,
    lang: LangOption = None,
) -> None:
    with exit_on_errors():
        _speak(lang)
        from connectors.checks import run_checks

        planned = _plan_checks(warehouse, lang)
        if unknown := [name for name in only or () if name not in planned]:
            raise SettingsError(t("doctor.no_check", name=unknown[0], known=", ".join(planned)))
        found = run_checks({name: check for name, check in planned.items() if not only or name in only})
        failed = [each for each in found if each.status == "failed"]
        if output is CheckFormat.json:
            from bifrost_flow.cli.grid import write_json

            status = "failed" if failed else "ok"
            write_json({"status": status, "checks": [asdict(each) for each in found]})
        else:
            _print_checks(found)
            key = "doctor.some_failed" if failed else "doctor.all_fine"
            typer.echo("\n" + t(key, count=len(failed)))
    raise typer.Exit(EXIT_PARTIAL if failed else EXIT_FINE)


def _plan_checks(warehouse: str | None, lang: str | None) -> "dict[str, Callable[[], Check]]":
    """Return the checks with their values from the settings. A part that is named anywhere is wanted."""
    from bifrost_flow.settings import explain_settings, load_settings
    from connectors import checks
    from connectors.ci.check import check_ci
    from connectors.s3.access import S3Access, is_s3, use_access
    from connectors.tracking import open_tracker
    from flows.opening import list_ci_access

    overrides = {"warehouse": warehouse, "lang": lang}
    settings = load_settings(overrides)
    set_language(settings.lang)
    use_access(S3Access(**settings.s3.model_dump()))
    given = {each.key for each in explain_settings(overrides) if each.origin != "default"}
    provider, ollama, bedrock, openai, slack = (
        settings.provider,
        settings.ollama,
        settings.bedrock,
        settings.openai,
        settings.slack,
    )
    mlflow, webhook, access = settings.mlflow, settings.webhook, list_ci_access(settings)
    tracker = open_tracker(
        settings.warehouse,
        tracking_uri=mlflow.tracking_uri,
        experiment=mlflow.experiment,
        enabled=mlflow.enabled,
    )
    ollama_model = (settings.model if provider in ("auto", "ollama") else None) or ollama.model
    wants_ollama = provider == "ollama" or any(key.startswith("ollama.") for key in given)
    return {
        "python": checks.check_python,
        "packages": checks.check_packages,
        "language": lambda: checks.check_language(settings.lang, sys.stdout.encoding),
        "warehouse": lambda: checks.check_warehouse(settings.warehouse),
        "prefect": checks.check_prefect,
        "mlflow": lambda: checks.check_mlflow(tracker.tracking_uri, tracker.disabled),
        "ollama": lambda: checks.check_ollama(ollama.url, ollama_model, wanted=wants_ollama),
        "openai": lambda: checks.check_openai(
            openai.base_url,
            openai.api_key.get_secret_value() if openai.api_key else None,
            (settings.model if provider == "openai" else None) or openai.model,
            wanted=provider == "openai",
        ),
        "bedrock": lambda: checks.check_bedrock(
            bedrock.region,
            bedrock.profile,
            (settings.model if provider == "bedrock" else None) or bedrock.model,
            wanted=provider == "bedrock",
        ),
        "s3": lambda: checks.check_s3(
            wanted=is_s3(settings.warehouse) or any(key.startswith("s3.") for key in given),
            profile=settings.s3.profile,
            anonymous=settings.s3.anonymous,
        ),
        "slack": lambda: checks.check_slack(
            slack.webhook_url.get_secret_value() if slack.webhook_url else None,
            slack.token.get_secret_value() if slack.token else None,
            slack.channel,
        ),
        "webhook": lambda: checks.check_webhook(
            webhook.url.get_secret_value() if webhook.url else None,
            webhook.secret.get_secret_value() if webhook.secret else None,
        ),
        "github": lambda: check_ci("github", access),
        "gitlab": lambda: check_ci("gitlab", access),
        "jenkins": lambda: check_ci("jenkins", access),
    }


def _print_checks(found: "list[Check]") -> None:
    from bifrost_flow.cli.grid import format_cell, print_table

    columns = (t("doctor.part"), t("doctor.status"), t("doctor.detail"))
    print_table(
        columns, [(each.name, t(f"doctor.status.{each.status}"), format_cell(each.detail)) for each in found]
    )
    if mendable := [each for each in found if each.remedy]:
        typer.echo("\n" + t("doctor.remedies"))
        for each in mendable:
            typer.echo(f"  {each.name}: {format_cell(each.remedy)}")


def _render_yaml(explained: "list[SettingOrigin]") -> str:
    """Return the settings as a `bifrost.yaml`, with where each came from as a comment."""
    lines = []
    section = ""
    for each in explained:
        table, _, name = each.key.rpartition(".")
        if table and table != section:
            lines.append(f"{table}:")
        section = table
        # JSON is YAML too, and its strings can't break a line.
        value = "" if each.value is None else f" {json.dumps(each.value, ensure_ascii=False)}"
        lines.append(f"{'  ' if table else ''}{name}:{value}  # {each.origin}")
    return "\n".join(lines).strip() + "\n"


def _speak(lang: str | None) -> None:
    """Take the language of the flag, before the settings are read: what is wrong with them is told in it."""
    set_language(check_language(lang) if lang else current_language())

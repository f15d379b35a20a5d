"""`slack` and `webhook`: send again what is to be told about a run that is in the warehouse."""

import json
import sys
from dataclasses import replace
from typing import Annotated

import typer

from bifrost_flow.cli.export import LangOption, ProjectOption, RunArgument, WarehouseOption, load_run
from bifrost_flow.cli.failures import exit_on_errors
from bifrost_flow.language import t
from bifrost_flow.render.defuse import escape_unprintable
from bifrost_flow.summary import EXIT_PARTIAL, EXIT_USAGE


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("slack", help=t("slack.help"))(slack)
    app.command("webhook", help=t("webhook.help"))(webhook)


def slack(
    run: RunArgument = "latest",
    dry_run: Annotated[bool, typer.Option("--dry-run", help=t("slack.dry_run"))] = False,
    always: Annotated[bool, typer.Option("--always", help=t("settings.slack.always"))] = False,
    link: Annotated[str | None, typer.Option("--link", metavar="URL", help=t("slack.link"))] = None,
    warehouse: WarehouseOption = None,
    project: ProjectOption = None,
    lang: LangOption = None,
) -> None:
    with exit_on_errors():
        report, settings = load_run(run, warehouse, project, lang)
        report = replace(report, link=link or report.link)
        from connectors.slack import FAILED, NOT_CONFIGURED, can_thread, post_report_to_slack

        wanted = settings.slack
        if dry_run:
            from bifrost_flow.render.slack_blocks import render_slack_messages

            threaded = can_thread(wanted.webhook_url, wanted.token, thread=wanted.thread)
            first, *replies = render_slack_messages(report, threaded=threaded)
            _print_json({**first.to_dict(), "thread": [reply.to_dict() for reply in replies]})
            return
        result = post_report_to_slack(
            report,
            always=always or wanted.always,
            thread=wanted.thread,
            webhook_url=wanted.webhook_url,
            token=wanted.token,
            channel=wanted.channel,
        )
        words = t(f"slack.status.{result.status.replace(' ', '_')}")
        print(f"Slack: {words}" + (f". {result.detail}" if result.detail else ""), file=sys.stderr)
    if result.status in (FAILED, NOT_CONFIGURED):
        raise typer.Exit(EXIT_PARTIAL if result.status == FAILED else EXIT_USAGE)


def webhook(
    run: RunArgument = "latest",
    dry_run: Annotated[bool, typer.Option("--dry-run", help=t("webhook.dry_run"))] = False,
    always: Annotated[bool, typer.Option("--always", help=t("settings.webhook.always"))] = False,
    warehouse: WarehouseOption = None,
    project: ProjectOption = None,
    lang: LangOption = None,
) -> None:
    with exit_on_errors():
        report, settings = load_run(run, warehouse, project, lang)
        wanted = settings.webhook
        if dry_run:
            from bifrost_flow.render.payload import render_payload

            _print_json(json.loads(render_payload(report)))
            return
        from connectors.webhook import FAILED, NOT_CONFIGURED, Target, send_report

        target = Target(wanted.url, wanted.secret, timeout_s=wanted.timeout, max_retries=wanted.max_retries)
        result = send_report(report, target, always=always or wanted.always)
        words = t(f"webhook.status.{result.status.replace(' ', '_')}")
        print(f"Webhook: {words}" + (f". {result.detail}" if result.detail else ""), file=sys.stderr)
    if result.status in (FAILED, NOT_CONFIGURED):
        raise typer.Exit(EXIT_PARTIAL if result.status == FAILED else EXIT_USAGE)


def _print_json(value: object) -> None:
    text = escape_unprintable(json.dumps(value, ensure_ascii=False, indent=2))
    sys.stdout.buffer.write(text.encode() + b"\n")

"""Tell Slack what is new."""

import asyncio

from bifrost_flow.language import t
from bifrost_flow.progress import progress
from bifrost_flow.records import Report, Run
from bifrost_flow.render.defuse import cut, put_on_one_line
from bifrost_flow.render.slack_blocks import render_slack_error
from bifrost_flow.settings import SlackSettings
from connectors.slack import SlackResult, post_report_to_slack, post_to_slack
from tasks.stage import stage


def alert(run: Run, settings: SlackSettings, message: str, *, language: str) -> SlackResult:
    """Post that a run failed as a whole, where Slack is configured."""
    return post_to_slack(
        render_slack_error(run, message, language),
        t("run.slack_alert", lang=language, source=run.source, message=cut(put_on_one_line(message), 300)),
        webhook_url=settings.webhook_url,
        token=settings.token,
        channel=settings.channel,
    )


@stage("notify")
async def notify(report: Report, settings: SlackSettings, *, report_link: str | None) -> SlackResult:
    """Post the report's message where a webhook or token is configured; never fails the run."""
    progress().start_stage("notify", None)
    result = await asyncio.to_thread(
        post_report_to_slack,
        report,
        report_link=report_link,
        webhook_url=settings.webhook_url,
        token=settings.token,
        channel=settings.channel,
    )
    progress().end_stage("notify", f"Slack: {result}")
    return result

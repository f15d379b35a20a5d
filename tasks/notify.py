"""Tell Slack what is new."""

import asyncio

from bifrost_flow.progress import progress
from bifrost_flow.records import Report
from bifrost_flow.settings import SlackSettings
from connectors.slack import SlackResult, post_report_to_slack
from tasks.stage import stage


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

"""Tell Slack, and whoever listens at the webhook, what is new."""

import asyncio
from dataclasses import dataclass

from bifrost_flow.language import t
from bifrost_flow.progress import progress
from bifrost_flow.records import Report, Run
from bifrost_flow.render.defuse import cut, put_on_one_line
from bifrost_flow.render.slack_blocks import escape_mrkdwn, render_slack_error
from bifrost_flow.settings import Settings, WebhookSettings
from connectors.slack import SlackResult, post_report_to_slack, post_to_slack
from connectors.webhook import NOT_CONFIGURED, Target, WebhookResult, send_failure, send_report
from tasks.stage import stage


@dataclass(frozen=True, slots=True)
class Notified:
    """What became of the messages about a run."""

    slack: SlackResult
    webhook: WebhookResult


def alert(run: Run, settings: Settings, message: str) -> Notified:
    """Tell that a run failed as a whole, wherever that is configured."""
    slack, language = settings.slack, settings.lang
    text = t("run.slack_alert", lang=language, source=run.source, message=cut(put_on_one_line(message), 300))
    posted = post_to_slack(
        render_slack_error(run, message, language),
        escape_mrkdwn(text),
        webhook_url=slack.webhook_url,
        token=slack.token,
        channel=slack.channel,
    )
    return Notified(posted, send_failure(run, message, aim_webhook(settings.webhook), language=language))


def aim_webhook(settings: WebhookSettings) -> Target:
    """Return where the settings want deliveries to go."""
    return Target(settings.url, settings.secret, timeout_s=settings.timeout, max_retries=settings.max_retries)


@stage("notify")
async def notify(report: Report, settings: Settings) -> Notified:
    """Send the run's message to Slack and to the webhook, where configured; never fails the run."""
    progress().start_stage("notify", None)
    slack, webhook = settings.slack, settings.webhook
    posted, sent = await asyncio.gather(
        asyncio.to_thread(
            post_report_to_slack,
            report,
            always=slack.always,
            thread=slack.thread,
            webhook_url=slack.webhook_url,
            token=slack.token,
            channel=slack.channel,
        ),
        asyncio.to_thread(send_report, report, aim_webhook(webhook), always=webhook.always),
    )
    told = f"Slack: {posted}" + ("" if sent.status == NOT_CONFIGURED else f" · webhook: {sent}")
    progress().end_stage("notify", told)
    return Notified(posted, sent)

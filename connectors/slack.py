"""Post to Slack through slack_sdk: by incoming webhook, or as a bot.

Delivery is best effort: what became of it is returned, never raised. Neither the webhook's address nor the
token gets into a result or a log: slack_sdk writes both into its own messages, so it logs to a logger that
drops them.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from math import ceil
from urllib.error import URLError
from urllib.parse import urlsplit

from pydantic import SecretStr
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.http_retry import HttpRequest, HttpResponse, RetryHandler, RetryState
from slack_sdk.http_retry.builtin_handlers import (
    ConnectionErrorRetryHandler,
    RateLimitErrorRetryHandler,
    ServerErrorRetryHandler,
)
from slack_sdk.web import WebClient
from slack_sdk.webhook import WebhookClient

from bifrost_flow.language import t
from bifrost_flow.records import Report
from bifrost_flow.render.defuse import put_on_one_line
from bifrost_flow.render.slack_blocks import has_news, render_slack_blocks, render_slack_text

POSTED, NOTHING_NEW, NOT_CONFIGURED, FAILED = "posted", "nothing new", "not configured", "failed"
SLACK_API = "https://slack.com/api/"
MAX_RETRIES = 2
MAX_WAIT_S = 60  # a longer Retry-After is not worth holding a run up for

Blocks = Sequence[Mapping[str, object]]

# Slack's words for what a user can mend; other refusals are shown as they are.
_KNOWN_REFUSALS = (
    "channel_not_found",
    "not_in_channel",
    "invalid_auth",
    "missing_scope",
    "no_service",
    "invalid_blocks",
)

_silent = logging.getLogger("connectors.slack.client")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False
_silent.setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class SlackResult:
    """What became of a message; a run records it."""

    status: str  # posted, nothing new, not configured, failed
    detail: str = ""  # why, for a person, when it was not posted

    def __str__(self) -> str:
        return f"{self.status}: {self.detail}" if self.detail else self.status


class _PatientRateLimitHandler(RateLimitErrorRetryHandler):
    """Waits as long as Slack asks, within reason."""

    def _can_retry(
        self,
        *,
        state: RetryState,
        request: HttpRequest,
        response: HttpResponse | None = None,
        error: Exception | None = None,
    ) -> bool:
        if response is None or response.status_code != 429:
            return False
        asked = next(
            (value for name, value in response.headers.items() if name.lower() == "retry-after"), ["1"]
        )
        return asked[0].isdecimal() and int(asked[0]) <= MAX_WAIT_S


def post_report_to_slack(
    report: Report,
    *,
    report_link: str | None = None,
    always: bool = False,
    webhook_url: SecretStr | str | None,
    token: SecretStr | str | None,
    channel: str | None,
    timeout_s: float = 15.0,
    base_url: str = SLACK_API,
) -> SlackResult:
    """Post what is new or back in a run. Nothing is posted when nothing is, unless `always`."""
    if missing := _say_what_is_missing(webhook_url, token, channel):
        return SlackResult(NOT_CONFIGURED, missing)
    if not always and not has_news(report):
        return SlackResult(NOTHING_NEW)
    return post_to_slack(
        render_slack_blocks(report, report_link),
        render_slack_text(report),
        webhook_url=webhook_url,
        token=token,
        channel=channel,
        timeout_s=timeout_s,
        base_url=base_url,
    )


def post_to_slack(
    blocks: Blocks,
    text: str,
    *,
    webhook_url: SecretStr | str | None,
    token: SecretStr | str | None,
    channel: str | None,
    timeout_s: float = 15.0,
    base_url: str = SLACK_API,
) -> SlackResult:
    """Post `blocks`, with `text` for notifications; a webhook goes before the bot where both are configured.

    A rate limit, a server error or a lost connection is tried again, at most twice in all. `timeout_s` holds
    for one try.
    """
    if missing := _say_what_is_missing(webhook_url, token, channel):
        return SlackResult(NOT_CONFIGURED, missing)
    url, bot_token = _reveal(webhook_url), _reveal(token)
    try:
        if url:
            return _post_by_webhook(url, blocks, text, timeout_s)
        return _post_as_bot(bot_token, channel or "", blocks, text, timeout_s, base_url)
    except TimeoutError:
        return SlackResult(FAILED, t("slack.timeout", seconds=f"{timeout_s:g}"))
    except SlackApiError as error:
        return SlackResult(FAILED, _explain_refusal(str(error.response.get("error", "unknown error"))))
    except (URLError, HTTPException, OSError, SlackClientError, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, TimeoutError):
            return SlackResult(FAILED, t("slack.timeout", seconds=f"{timeout_s:g}"))
        return SlackResult(FAILED, t("slack.unreachable", reason=type(reason).__name__))


def _post_by_webhook(url: str, blocks: Blocks, text: str, timeout_s: float) -> SlackResult:
    if not _is_safe(url):
        return SlackResult(FAILED, t("slack.bad_webhook"))
    client = WebhookClient(url, timeout=ceil(timeout_s), logger=_silent, retry_handlers=_retry_handlers())
    answer = client.send(
        text=text, blocks=[dict(block) for block in blocks], unfurl_links=False, unfurl_media=False
    )
    if answer.status_code == 200:
        return SlackResult(POSTED)
    return SlackResult(
        FAILED, _explain_refusal(answer.body.strip()[:80] or "no reason given", answer.status_code)
    )


def _post_as_bot(
    token: str, channel: str, blocks: Blocks, text: str, timeout_s: float, base_url: str
) -> SlackResult:
    client = WebClient(
        token,
        base_url=base_url,
        timeout=ceil(timeout_s),
        logger=_silent,
        retry_handlers=_retry_handlers(),
    )
    client.chat_postMessage(
        channel=channel,
        text=text,
        blocks=[dict(block) for block in blocks],
        unfurl_links=False,
        unfurl_media=False,
    )
    return SlackResult(POSTED)


def _retry_handlers() -> list[RetryHandler]:
    return [
        _PatientRateLimitHandler(MAX_RETRIES),
        ServerErrorRetryHandler(MAX_RETRIES),
        ConnectionErrorRetryHandler(MAX_RETRIES),
    ]


def _say_what_is_missing(
    webhook_url: SecretStr | str | None, token: SecretStr | str | None, channel: str | None
) -> str:
    if _reveal(webhook_url):
        return ""
    if not _reveal(token):
        return t("slack.not_configured")
    return "" if channel else t("slack.no_channel")


def _reveal(secret: SecretStr | str | None) -> str:
    value = secret.get_secret_value() if isinstance(secret, SecretStr) else secret
    return (value or "").strip()


def _is_safe(url: str) -> bool:
    """Return whether `url` is HTTPS, or stays on this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (
        parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
    )


def _explain_refusal(reason: str, status: int | None = None) -> str:
    said = put_on_one_line(reason, 80)
    key = f"slack.refused.{said}" if said in _KNOWN_REFUSALS else "slack.refused"
    return t(key, reason=f"{status} {said}" if status else said)

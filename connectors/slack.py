"""Post to Slack through slack_sdk: by incoming webhook, or as a bot.

Delivery is best effort: what became of it is returned, never raised. Neither the webhook's address nor the
token gets into a result or a log: slack_sdk writes both into its own messages, so it logs to a logger that
drops them.
"""

import json
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
from bifrost_flow.render.slack_blocks import SlackMessage, has_news, render_slack_messages

POSTED, NOTHING_NEW, NOT_CONFIGURED, FAILED = "posted", "nothing new", "not configured", "failed"
SLACK_API = "https://slack.com/api/"
MAX_RETRIES = 2
MAX_WAIT_S = 60  # a longer Retry-After is not worth holding a run up for

Blocks = Sequence[Mapping[str, object]]

# Slack's words for what a user can mend, by the text that explains them; other refusals are shown as they
# are.
_KNOWN_REFUSALS = {
    "channel_not_found": "channel_not_found",
    "not_in_channel": "not_in_channel",
    "is_archived": "archived",
    "channel_is_archived": "archived",
    "invalid_auth": "invalid_auth",
    "not_authed": "invalid_auth",
    "account_inactive": "invalid_auth",
    "token_revoked": "invalid_auth",
    "token_expired": "invalid_auth",
    "missing_scope": "missing_scope",
    "no_service": "no_service",
    "no_active_hooks": "no_service",
    "invalid_token": "no_service",
    "invalid_blocks": "invalid_blocks",
    "invalid_payload": "invalid_blocks",
    "msg_blocks_too_long": "invalid_blocks",
}

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
    always: bool = False,
    thread: bool = True,
    webhook_url: SecretStr | str | None,
    token: SecretStr | str | None,
    channel: str | None,
    timeout_s: float = 15.0,
    base_url: str = SLACK_API,
) -> SlackResult:
    """Post what is new or back in a run. Nothing is posted when nothing is, unless `always`.

    A bot tells the details in the message's `thread`. A webhook can't: Slack does not tell it what it posted.
    """
    if missing := _say_what_is_missing(webhook_url, token, channel):
        return SlackResult(NOT_CONFIGURED, missing)
    if not always and not has_news(report):
        return SlackResult(NOTHING_NEW)
    threaded = can_thread(webhook_url, token, thread=thread)
    return post_messages(
        render_slack_messages(report, threaded=threaded),
        webhook_url=webhook_url,
        token=token,
        channel=channel,
        timeout_s=timeout_s,
        base_url=base_url,
    )


def can_thread(webhook_url: SecretStr | str | None, token: SecretStr | str | None, *, thread: bool) -> bool:
    """Return whether details go to a thread: it is wanted, and a bot posts."""
    return thread and bool(_reveal(token)) and not _reveal(webhook_url)


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
    """Post one message of `blocks`, with `text` for notifications; as `post_messages` otherwise."""
    return post_messages(
        [SlackMessage([dict(block) for block in blocks], text)],
        webhook_url=webhook_url,
        token=token,
        channel=channel,
        timeout_s=timeout_s,
        base_url=base_url,
    )


def post_messages(
    messages: Sequence[SlackMessage],
    *,
    webhook_url: SecretStr | str | None,
    token: SecretStr | str | None,
    channel: str | None,
    timeout_s: float = 15.0,
    base_url: str = SLACK_API,
) -> SlackResult:
    """Post the first of `messages` and the others as replies to it; a webhook goes before a bot.

    A rate limit, a server error or a lost connection is tried again, at most twice in all. `timeout_s` holds
    for one try. A webhook posts the first message only.
    """
    if missing := _say_what_is_missing(webhook_url, token, channel):
        return SlackResult(NOT_CONFIGURED, missing)
    url, posted = _reveal(webhook_url), 0
    try:
        if url:
            return _post_by_webhook(url, messages[0], timeout_s)
        client = _open_client(_reveal(token), timeout_s, base_url)
        thread = None
        for message in messages:
            stamp = _post_as_bot(client, channel or "", message, thread)
            thread, posted = thread or stamp, posted + 1
            if thread is None:
                break  # replies to nothing would fill the channel
        return SlackResult(POSTED)
    except TimeoutError:
        reason = t("slack.timeout", seconds=f"{timeout_s:g}")
    except SlackApiError as error:
        reason = _explain_refusal(str(error.response.get("error", "unknown error")))
    except (URLError, HTTPException, OSError, SlackClientError, ValueError) as error:
        cause = error.reason if isinstance(error, URLError) else error
        reason = t("slack.unreachable", reason=type(cause).__name__)
        if isinstance(cause, TimeoutError):
            reason = t("slack.timeout", seconds=f"{timeout_s:g}")
    if posted:
        reason = t("slack.cut_thread", posted=posted - 1, count=len(messages) - 1, reason=reason)
    return SlackResult(FAILED, reason)


def _post_by_webhook(url: str, message: SlackMessage, timeout_s: float) -> SlackResult:
    if not _is_safe(url):
        return SlackResult(FAILED, t("slack.bad_webhook"))
    client = WebhookClient(url, timeout=ceil(timeout_s), logger=_silent, retry_handlers=_retry_handlers())
    answer = client.send(
        text=message.text, blocks=list(message.blocks), unfurl_links=False, unfurl_media=False
    )
    said = answer.body.strip()
    if answer.status_code == 200 and _says_ok(said):
        return SlackResult(POSTED)
    if answer.status_code == 200:
        return SlackResult(FAILED, t("slack.not_slack"))
    return SlackResult(FAILED, _explain_refusal(said[:80] or "no reason given", answer.status_code))


def _says_ok(said: str) -> bool:
    """Return whether an answer is a webhook's: Slack says `ok`, servers like it `{"ok": true}` or so.

    A proxy's page is no delivery, nor is what a redirect led to: slack_sdk follows one, without the message.
    """
    if said == "ok":
        return True
    try:
        answer = json.loads(said)
    except ValueError:
        return False
    return isinstance(answer, dict) and True in (answer.get("ok"), answer.get("success"))


def _open_client(token: str, timeout_s: float, base_url: str) -> WebClient:
    return WebClient(
        token,
        base_url=base_url,
        timeout=ceil(timeout_s),
        logger=_silent,
        retry_handlers=_retry_handlers(),
    )


def _post_as_bot(client: WebClient, channel: str, message: SlackMessage, thread: str | None) -> str | None:
    """Post `message`, as a reply where a `thread` is named; return what names a thread below it."""
    answer = client.chat_postMessage(
        channel=channel,
        text=message.text,
        blocks=list(message.blocks),
        thread_ts=thread,
        unfurl_links=False,
        unfurl_media=False,
    )
    stamp = answer.get("ts")
    return str(stamp) if stamp else None


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
    known = _KNOWN_REFUSALS.get(said) or {404: "no_service", 410: "no_service"}.get(status or 0)
    key = f"slack.refused.{known}" if known else "slack.refused"
    return t(key, reason=f"{status} {said}" if status else said)

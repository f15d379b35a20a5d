"""Send the result of a run to a web address as signed JSON.

Delivery is best effort: what became of it is returned, never raised. The address, which may hold a password
or a token, is in no result and no log. A redirect is not followed: it would take findings to a place that
nobody named.
"""

import hashlib
import hmac
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
from pydantic import SecretStr

from bifrost_flow import __version__
from bifrost_flow.language import t
from bifrost_flow.records import Report, Run
from bifrost_flow.render.payload import (
    RUN_FAILED,
    RUN_FINISHED,
    name_delivery,
    render_failure_payload,
    render_payload,
)
from bifrost_flow.render.slack_blocks import has_news

SENT, NOTHING_NEW, NOT_CONFIGURED, FAILED = "sent", "nothing new", "not configured", "failed"
SIGNATURE_VERSION = "v1"
FIRST_WAIT_S = 0.5
MAX_WAIT_S = 30.0  # a longer Retry-After is not worth holding a run up for

# httpx and httpcore log each request with its whole address.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class WebhookResult:
    """What became of a delivery; a run records it."""

    status: str  # sent, nothing new, not configured, failed
    detail: str = ""  # why, for a person, when it was not sent

    def __str__(self) -> str:
        return f"{self.status}: {self.detail}" if self.detail else self.status


@dataclass(frozen=True, slots=True)
class Delivery:
    """A body, and what identifies it: a receiver that has seen `delivery_id` may ignore it."""

    event: str
    delivery_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Target:
    """Where deliveries go, and how patiently; without `secret` they are not signed."""

    url: SecretStr | None
    secret: SecretStr | None = None
    timeout_s: float = 10.0
    max_retries: int = 3


def send_report(report: Report, target: Target, *, always: bool = False) -> WebhookResult:
    """Send what a run found. Nothing is sent when nothing is new or back, unless `always`."""
    if not _reveal(target.url):
        return WebhookResult(NOT_CONFIGURED, t("webhook.not_configured"))
    if not always and not has_news(report):
        return WebhookResult(NOTHING_NEW)
    delivery_id = name_delivery(RUN_FINISHED, report.run.run_id)
    return send(Delivery(RUN_FINISHED, delivery_id, render_payload(report)), target)


def send_failure(run: Run, message: str, target: Target, *, language: str) -> WebhookResult:
    """Send that a run failed as a whole."""
    if not _reveal(target.url):
        return WebhookResult(NOT_CONFIGURED, t("webhook.not_configured"))
    body = render_failure_payload(run, message, language)
    return send(Delivery(RUN_FAILED, name_delivery(RUN_FAILED, run.run_id), body), target)


def sign(body: bytes, secret: str, *, timestamp: int) -> str:
    """Return the value of `X-Bifrost-Signature`: HMAC-SHA256 over `<timestamp>.<body>`, in hex.

    The time is signed too, so that a receiver can refuse a delivery that somebody recorded and plays back.
    """
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={timestamp},{SIGNATURE_VERSION}={digest}"


def send(delivery: Delivery, target: Target, *, sleep: Callable[[float], None] = time.sleep) -> WebhookResult:
    """Post `delivery`; time-outs, lost connections, 429 and 5xx are tried again, with growing waits.

    Each try is signed anew, with its own time; `timeout_s` holds for each phase of it.
    """
    url = _reveal(target.url)
    if not url.startswith(("https://", "http://")):
        return WebhookResult(FAILED, t("webhook.bad_url"))
    result = WebhookResult(FAILED)
    try:
        # trust_env: a proxy that the environment names is used, as for every other request of ours.
        with httpx.Client(timeout=target.timeout_s, follow_redirects=False) as client:
            for attempt in range(target.max_retries + 1):
                result, wait_s = _try_once(client, url, delivery, target)
                if wait_s is None or attempt == target.max_retries:
                    return result
                grown = FIRST_WAIT_S * 2**attempt * random.uniform(0.75, 1.25)
                if max(wait_s, grown) > MAX_WAIT_S:
                    return result
                sleep(max(wait_s, grown))
    except (httpx.InvalidURL, ValueError, OSError):
        return WebhookResult(FAILED, t("webhook.bad_url"))
    return result


def _try_once(
    client: httpx.Client, url: str, delivery: Delivery, target: Target
) -> tuple[WebhookResult, float | None]:
    """Return what came of one try, and how many seconds to wait before the next; None is for no next one."""
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"bifrost-flow/{__version__}",
        "X-Bifrost-Event": delivery.event,
        "X-Bifrost-Delivery": delivery.delivery_id,
    }
    if secret := _reveal(target.secret):
        headers["X-Bifrost-Signature"] = sign(delivery.body, secret, timestamp=int(time.time()))
    try:
        # The answer's body is of no interest, and might have no end.
        with client.stream("POST", url, content=delivery.body, headers=headers) as answer:
            status, retry_after = answer.status_code, answer.headers.get("retry-after", "")
    except httpx.TimeoutException:
        return WebhookResult(FAILED, t("webhook.timeout", seconds=f"{target.timeout_s:g}")), 0.0
    except httpx.TransportError as error:
        # A protocol that isn't spoken or an address that can't be won't change by trying again.
        hopeless = isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError)
        reason = t("webhook.unreachable", reason=type(error).__name__)
        return WebhookResult(FAILED, reason), None if hopeless else 0.0
    if 200 <= status < 300:
        return WebhookResult(SENT), None
    if 300 <= status < 400:
        return WebhookResult(FAILED, t("webhook.redirect", status=status)), None
    failed = WebhookResult(FAILED, t("webhook.refused", status=status))
    return failed, _read_wait(retry_after) if status == 429 or status >= 500 else None


def _read_wait(retry_after: str) -> float:
    """Return the seconds that Retry-After asks for, as a number or a date (RFC 9110, 10.2.3); 0 without."""
    if retry_after.isascii() and retry_after.isdecimal():
        return float(retry_after)
    try:
        asked = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    moment = asked if asked.tzinfo else asked.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _reveal(secret: SecretStr | None) -> str:
    return secret.get_secret_value().strip() if secret else ""

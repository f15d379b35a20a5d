"""Deliveries to a webhook, against a server on loopback that records them."""

import logging
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr, TypeAdapter
from typer.testing import CliRunner

from bifrost_flow.cli import app
from bifrost_flow.language import ROOT
from bifrost_flow.records import Report
from bifrost_flow.settings import load_settings
from connectors import webhook
from connectors.warehouse import Warehouse
from connectors.webhook import Delivery, Target, WebhookResult, send, send_failure, send_report, sign
from tasks.notify import alert
from tests.recorder import Recorder, record_requests

DATA = Path(__file__).parents[1] / "data" / "reports"
SECRET = "wh-s3cr3t"
PATH = "/hook/s3cr3t-p4th"
DELIVERY = Delivery("run.finished", "d-1", b'{"version":1}')


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    with record_requests(monkeypatch) as record:
        yield record


@pytest.fixture
def report() -> Report:
    return TypeAdapter(Report).validate_json((DATA / "storefront.json").read_bytes())


def aim(recorder: Recorder, *, timeout_s: float = 5.0, max_retries: int = 3) -> Target:
    url = SecretStr(recorder.url + PATH)
    return Target(url, SecretStr(SECRET), timeout_s=timeout_s, max_retries=max_retries)


@pytest.fixture
def is_genuine() -> Callable[..., bool]:
    """Return the function that the documentation tells receivers to use."""
    page = (ROOT / "docs" / "webhook.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Callable[..., bool]] = {}
    exec(snippet, names)  # it is ours, and to be what a reader runs
    return names["is_genuine"]


def test_a_report_is_sent_and_signed(
    recorder: Recorder, report: Report, is_genuine: Callable[..., bool]
) -> None:
    """The documented check accepts what is sent, and nothing that was changed, or recorded long ago."""
    assert send_report(report, aim(recorder)) == WebhookResult("sent")
    ((path, headers, body),) = recorder.requests
    assert path == PATH and headers["Content-Type"] == "application/json"
    assert headers["X-Bifrost-Event"] == "run.finished"
    assert headers["X-Bifrost-Delivery"] == recorder.bodies()[0]["delivery_id"]
    signature = headers["X-Bifrost-Signature"]
    assert is_genuine(SECRET, signature, body.encode())
    assert not is_genuine("another", signature, body.encode())
    assert not is_genuine(SECRET, signature, body.encode() + b" ")
    assert not is_genuine(SECRET, signature.replace("t=", "t=1"), body.encode())
    assert not is_genuine(SECRET, "", body.encode())
    old = sign(body.encode(), SECRET, timestamp=int(time.time()) - 3600)
    assert not is_genuine(SECRET, old, body.encode())
    assert is_genuine(SECRET, old, body.encode(), tolerance_s=7200)


def test_signature_is_what_is_documented() -> None:
    """HMAC-SHA256 over time, dot and body, as `openssl dgst -sha256 -hmac` computes it."""
    assert sign(b'{"a":1}', "key", timestamp=1700000000) == (
        "t=1700000000,v1=a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03"
    )


def test_without_a_secret_there_is_no_signature(recorder: Recorder) -> None:
    """An unsigned delivery says so by the header's absence."""
    assert send(DELIVERY, replace(aim(recorder), secret=None)) == WebhookResult("sent")
    assert "X-Bifrost-Signature" not in recorder.requests[0][1]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_trouble_that_passes_is_tried_again(recorder: Recorder, status: int) -> None:
    """After 429 and 5xx the same delivery comes again, with growing waits, or after Retry-After."""
    recorder.answers = [(status, {}, ""), (status, {"Retry-After": "7"}, ""), (status, {}, ""), (204, {}, "")]
    waits: list[float] = []
    assert send(DELIVERY, aim(recorder), sleep=waits.append) == WebhookResult("sent")
    assert len(recorder.requests) == 4
    assert len({headers["X-Bifrost-Delivery"] for _, headers, _ in recorder.requests}) == 1
    assert 0.3 < waits[0] < 0.7 and waits[1] == 7 and 1.4 < waits[2] < 2.6


def test_retries_are_bounded(recorder: Recorder) -> None:
    """It gives up after the retries that are allowed, and at once when asked to wait for hours."""
    recorder.answers = [(503, {}, "")]
    result = send(DELIVERY, aim(recorder, max_retries=2), sleep=lambda _: None)
    assert result == WebhookResult("failed", "The receiver answered 503.")
    assert len(recorder.requests) == 3
    recorder.answers = [(429, {"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT"}, "")]
    assert send(DELIVERY, aim(recorder)).status == "failed"
    assert len(recorder.requests) == 4


@pytest.mark.parametrize(
    ("status", "words"), [(400, "answered 400"), (404, "answered 404"), (302, "redirect")]
)
def test_refusals_are_final(recorder: Recorder, status: int, words: str) -> None:
    """What won't change is not repeated, and a redirect is told, not followed."""
    recorder.answers = [(status, {"Location": "/elsewhere"}, "s3cr3t")]
    result = send(DELIVERY, aim(recorder))
    assert result.status == "failed" and words in result.detail and "s3cr3t" not in result.detail
    assert [path for path, _, _ in recorder.requests] == [PATH]


def test_times_out(recorder: Recorder) -> None:
    """A receiver that does not answer in time is a failed result after its retries."""
    recorder.delay_s = 1.0
    result = send(DELIVERY, aim(recorder, timeout_s=0.2, max_retries=1), sleep=lambda _: None)
    assert result == WebhookResult("failed", "The receiver did not answer within 0.2 s.")
    assert len(recorder.requests) == 2


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:9/s3cr3t", "ftp://x/s3cr3t", "s3cr3t", "http://[::1", "http://s3cr3t.invalid:99999"],
)
def test_bad_addresses_are_results_without_the_address(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is set, the run goes on, and what is told does not hold the address."""
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    result = send(DELIVERY, Target(SecretStr(url), max_retries=0))
    assert result.status == "failed" and result.detail and "s3cr3t" not in str(result)


def test_address_and_secret_stay_out_of_logs(recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    """Even at DEBUG neither the address nor the secret is logged."""
    caplog.set_level(logging.DEBUG)
    send(DELIVERY, aim(recorder))
    assert "s3cr3t" not in caplog.text and "s3cr3t" not in repr(aim(recorder))


def test_only_news_is_sent(recorder: Recorder, report: Report) -> None:
    """A run with nothing new sends nothing, unless it is asked to; without an address nothing is sent."""
    old = tuple(finding for finding in report.findings if finding.status in ("recurring", "resolved"))
    calm = replace(report, findings=old, run=replace(report.run, groups=2))
    assert send_report(calm, aim(recorder)) == WebhookResult("nothing new")
    assert send_report(calm, Target(None)).status == "not configured"
    assert recorder.requests == []
    assert send_report(calm, aim(recorder), always=True) == WebhookResult("sent")


def test_a_failed_run_is_an_alert_everywhere(
    recorder: Recorder, report: Report, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The alert goes to Slack and to the webhook, each as that wants it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIFROST_WEBHOOK_URL", recorder.url + PATH)
    monkeypatch.setenv("BIFROST_SLACK_WEBHOOK_URL", recorder.url + "/slack")
    told = alert(report.run, load_settings({"lang": "en"}), "S3 says AccessDenied <!channel>")
    assert (told.slack.status, told.webhook.status) == ("posted", "sent")
    slack, payload = recorder.bodies()
    assert "the run itself failed" in str(slack["blocks"]) and "<!channel>" not in str(slack)
    assert (payload["event"], payload["error"]) == ("run.failed", "S3 says AccessDenied <!channel>")
    assert send_failure(report.run, "x", Target(None), language="en").status == "not configured"


def test_command(recorder: Recorder, report: Report, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`webhook` prints the payload on a dry run, says what to set, sends, and fails with exit code 3."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BIFROST_WEBHOOK_URL", raising=False)
    monkeypatch.setattr(webhook, "FIRST_WAIT_S", 0.0)
    store = Warehouse.open(str(tmp_path / "tables"), project=report.run.project)
    store.write_findings(report.run.run_id, report.findings)
    store.write_run(report.run)
    words = ("webhook", "latest", "--warehouse", store.location)
    dry = CliRunner().invoke(app, [*words, "--dry-run"])
    assert dry.exit_code == 0 and '"event": "run.finished"' in dry.stdout
    missing = CliRunner().invoke(app, [*words])
    assert missing.exit_code == 2 and "webhook.url" in missing.stderr
    monkeypatch.setenv("BIFROST_WEBHOOK_URL", recorder.url + PATH)
    monkeypatch.setenv("BIFROST_OUTPUT_BASE_URL", "https://ci.example/reports")
    sent = CliRunner().invoke(app, [*words])
    assert sent.exit_code == 0 and "sent" in sent.stderr
    (payload,) = recorder.bodies()
    assert payload["report_url"] == f"https://ci.example/reports/{report.run.run_id}/report.html"
    recorder.answers = [(500, {}, "")]
    failed = CliRunner().invoke(app, [*words])
    assert failed.exit_code == 3 and "answered 500" in failed.stderr and "s3cr3t" not in failed.output
    assert len(recorder.requests) == 5

"""Slack messages through the real slack_sdk client, against a server on loopback that records them."""

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from pydantic import SecretStr, TypeAdapter

from bifrost_flow.records import Report
from connectors.slack import SlackResult, post_report_to_slack, post_to_slack
from tests.recorder import Recorder, record_requests

SECRET_PATH = "/services/T000/B000/s3cr3tw3bh00k"
SECRET_TOKEN = "xoxb-s3cr3t-t0k3n"
BLOCKS = [{"type": "divider"}]
DATA = Path(__file__).parents[1] / "data" / "reports"


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    with record_requests(monkeypatch) as record:
        yield record


@pytest.fixture
def report() -> Report:
    return TypeAdapter(Report).validate_json((DATA / "storefront.json").read_bytes())


def post(
    recorder: Recorder, *, bot: bool = False, channel: str | None = "#ci", timeout_s: float = 5
) -> SlackResult:
    return post_to_slack(
        BLOCKS,
        "fallback",
        webhook_url=None if bot else SecretStr(recorder.url + SECRET_PATH),
        token=SecretStr(SECRET_TOKEN) if bot else None,
        channel=channel,
        timeout_s=timeout_s,
        base_url=recorder.url + "/api/",
    )


def test_posts_by_webhook(recorder: Recorder) -> None:
    """A webhook gets blocks and fallback text, with unfurling off."""
    assert post(recorder) == SlackResult("posted")
    ((path, _, _),) = recorder.requests
    assert path == SECRET_PATH
    assert recorder.bodies() == [
        {"text": "fallback", "blocks": BLOCKS, "unfurl_links": False, "unfurl_media": False}
    ]


def test_posts_as_bot(recorder: Recorder) -> None:
    """A bot posts to its channel, with the token in the header only."""
    recorder.answers = [(200, {"Content-Type": "application/json"}, '{"ok": true}')]
    assert post(recorder, bot=True) == SlackResult("posted")
    ((path, headers, body),) = recorder.requests
    assert (path, headers["Authorization"]) == ("/api/chat.postMessage", f"Bearer {SECRET_TOKEN}")
    sent = (
        json.loads(body)
        if body.startswith("{")
        else {name: value[0] for name, value in parse_qs(body).items()}
    )
    assert sent["channel"] == "#ci" and "divider" in str(sent["blocks"])
    assert SECRET_TOKEN not in body


@pytest.mark.parametrize("bot", [False, True])
def test_waits_out_a_rate_limit(recorder: Recorder, bot: bool) -> None:
    """A 429 with Retry-After is tried again after that time."""
    recorder.answers = [
        (429, {"Retry-After": "1"}, '{"ok": false, "error": "ratelimited"}'),
        (200, {}, '{"ok": true}'),
    ]
    start = time.monotonic()
    assert post(recorder, bot=bot) == SlackResult("posted")
    assert len(recorder.requests) == 2
    assert time.monotonic() - start >= 1


def test_does_not_wait_for_hours(recorder: Recorder) -> None:
    """A Retry-After beyond reason ends the try at once."""
    recorder.answers = [(429, {"Retry-After": "7200"}, "rate_limited")]
    assert post(recorder) == SlackResult("failed", "Slack refused the message: 429 rate_limited.")
    assert len(recorder.requests) == 1


def test_gives_up_after_two_retries(recorder: Recorder) -> None:
    """A server that keeps failing is asked three times in all."""
    recorder.answers = [(503, {}, "unavailable")]
    result = post(recorder)
    assert (result.status, len(recorder.requests)) == ("failed", 3)
    assert "503" in result.detail


@pytest.mark.parametrize(
    ("bot", "answer", "expected"),
    [
        (False, (404, {}, "no_service"), "webhook no longer exists (404 no_service)"),
        (False, (404, {}, "<html>no such page"), "webhook no longer exists (404 <html>no such page)"),
        (False, (410, {}, "channel_is_archived"), "archived (410 channel_is_archived)"),
        (False, (200, {}, "<html>log in first"), "is not Slack"),
        (False, (302, {"Location": "/login"}, ""), "is not Slack"),
        (False, (400, {}, "invalid_blocks\n<b>\x1b[31m"), "400 invalid_blocks"),
        (
            True,
            (200, {}, '{"ok": false, "error": "channel_not_found"}'),
            "no such channel (channel_not_found)",
        ),
        (True, (200, {}, '{"ok": false, "error": "invalid_auth"}'), "Check slack.token"),
        (True, (200, {}, "<html>proxy login</html>"), "Slack"),
    ],
)
def test_explains_refusals(
    recorder: Recorder, bot: bool, answer: tuple[int, dict[str, str], str], expected: str
) -> None:
    """What Slack refuses is a failed result that says what to do, without secrets or escapes in it."""
    recorder.answers = [answer]
    result = post(recorder, bot=bot)
    assert result.status == "failed" and expected in result.detail
    assert "s3cr3t" not in result.detail and "\x1b" not in result.detail
    assert sum(not path.startswith("GET") for path, _, _ in recorder.requests) == 1


def test_times_out(recorder: Recorder) -> None:
    """A server that does not answer in time is a failed result, not a hanging run."""
    recorder.delay_s = 1.5
    assert post(recorder, timeout_s=1) == SlackResult("failed", "Slack did not answer within 1 s.")


def test_nobody_listens() -> None:
    """An address that refuses connections is a failed result that does not give the address away."""
    result = post_to_slack(
        BLOCKS, "x", webhook_url=f"http://127.0.0.1:9{SECRET_PATH}", token=None, channel=None, timeout_s=1
    )
    assert result.status == "failed" and "can't be reached" in result.detail
    assert "s3cr3t" not in result.detail


@pytest.mark.parametrize("url", ["http://evil.example/x", "file:///etc/passwd", "nonsense", "http://[::1"])
def test_refuses_unsafe_webhooks(url: str) -> None:
    """Only HTTPS, or this machine, is posted to."""
    result = post_to_slack(BLOCKS, "x", webhook_url=url, token=None, channel=None)
    assert result.status == "failed"


def test_not_configured() -> None:
    """Without webhook and token, or without the token's channel, it says what is missing."""
    nothing = post_to_slack(BLOCKS, "x", webhook_url=None, token=SecretStr(""), channel="#ci")
    no_channel = post_to_slack(BLOCKS, "x", webhook_url="", token=SECRET_TOKEN, channel=None)
    assert (nothing.status, no_channel.status) == ("not configured", "not configured")
    assert "slack.webhook_url" in nothing.detail and "slack.channel" in no_channel.detail


def test_secrets_stay_out_of_logs(recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    """Even at DEBUG, neither the webhook's address nor the token is logged, on success or failure."""
    caplog.set_level(logging.DEBUG)
    post(recorder)
    recorder.answers = [(200, {}, '{"ok": false, "error": "x"}')]
    post(recorder, bot=True)
    post_to_slack(
        BLOCKS, "x", webhook_url=f"http://127.0.0.1:9{SECRET_PATH}", token=None, channel=None, timeout_s=1
    )
    assert "s3cr3t" not in caplog.text


@pytest.mark.parametrize(("always", "status", "posts"), [(False, "nothing new", 0), (True, "posted", 1)])
def test_the_same_finding_is_not_posted_every_night(
    recorder: Recorder, report: Report, always: bool, status: str, posts: int
) -> None:
    """A run with recurring and resolved findings only posts nothing, unless it is asked to."""
    old = tuple(finding for finding in report.findings if finding.status in ("recurring", "resolved"))
    result = post_report_to_slack(
        replace(report, findings=old, run=replace(report.run, groups=2)),
        always=always,
        webhook_url=recorder.url,
        token=None,
        channel=None,
    )
    assert (result.status, len(recorder.requests)) == (status, posts)


def test_posts_what_is_new(recorder: Recorder, report: Report) -> None:
    """New and regressed findings are told in full, with the place in the log."""
    result = post_report_to_slack(report, webhook_url=recorder.url, token=None, channel=None)
    assert result == SlackResult("posted")
    (body,) = recorder.bodies()
    assert body["text"] == "storefront: 3 failures to look at (2 new, 1 regressed, 2 recurring, 1 resolved)"
    sent = json.dumps(body["blocks"], ensure_ascii=False)
    assert "ci/build-1184/install-node-20.log:88: npm error code ETARGET" in sent
    assert "pypi.example.net" not in sent, "recurring findings are a count only"


def test_a_bot_tells_the_details_in_a_thread(recorder: Recorder, report: Report) -> None:
    """The channel gets titles and counts in one message; cause and evidence are a reply to it."""
    recorder.answers = [
        (200, {}, '{"ok": true, "ts": "1763863200.000100"}'),
        (200, {}, '{"ok": true, "ts": "1763863201.000200"}'),
    ]
    assert post_as_bot(recorder, report) == SlackResult("posted")
    first, reply = read_messages(recorder)
    assert "thread_ts" not in first and reply["thread_ts"] == "1763863200.000100"
    assert {first["channel"], reply["channel"]} == {"#ci"}
    assert "npm cannot find a version" in first["blocks"] and "ETARGET" not in first["blocks"]
    assert "install-node-20.log:88: npm error code ETARGET" in reply["blocks"]
    recorder.requests.clear()
    post_as_bot(recorder, report, thread=False)
    (only,) = read_messages(recorder)
    assert "ETARGET" in only["blocks"]


def test_replies_to_nothing_are_not_posted(recorder: Recorder, report: Report) -> None:
    """Where the first message was refused, or its name is not told, no detail fills the channel."""
    for answer in ('{"ok": true}', '{"ok": false, "error": "is_archived"}'):
        recorder.requests.clear()
        recorder.answers = [(200, {}, answer)]
        post_as_bot(recorder, report)
        assert len(recorder.requests) == 1


def test_a_thread_that_breaks_off_is_told(recorder: Recorder, report: Report) -> None:
    """A reply that Slack refuses is a failed result that says what is posted, so nobody posts it twice."""
    recorder.answers = [
        (200, {}, '{"ok": true, "ts": "1.2"}'),
        (200, {}, '{"ok": false, "error": "msg_blocks_too_long"}'),
    ]
    result = post_as_bot(recorder, report)
    assert result.status == "failed"
    assert "only 0 of 1 replies" in result.detail and "msg_blocks_too_long" in result.detail


def post_as_bot(recorder: Recorder, report: Report, *, thread: bool = True) -> SlackResult:
    return post_report_to_slack(
        report,
        thread=thread,
        webhook_url=None,
        token=SECRET_TOKEN,
        channel="#ci",
        base_url=recorder.url + "/api/",
    )


def read_messages(recorder: Recorder) -> list[dict[str, str]]:
    """Return what chat.postMessage was asked, with the blocks as text, however the client encoded it."""
    messages = []
    for _path, _headers, body in recorder.requests:
        if body.startswith("{"):
            parts = json.loads(body)
            messages.append(parts | {"blocks": json.dumps(parts["blocks"], ensure_ascii=False)})
        else:
            messages.append({name: value[0] for name, value in parse_qs(body).items()})
    return messages

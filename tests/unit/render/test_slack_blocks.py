"""Slack messages keep Slack's limits, and logs can't ping or link from them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft7Validator
from slack_sdk.models.blocks import Block

from bifrost_flow.records import Evidence, Report
from bifrost_flow.render.slack_blocks import (
    MAX_MESSAGE_CHARS,
    MAX_REPLIES,
    has_news,
    render_slack_blocks,
    render_slack_error,
    render_slack_messages,
    render_slack_text,
)

# Made from Slack's own types for JavaScript; slack_sdk knows limits that types can't say.
SHAPES = Draft7Validator(
    json.loads((Path(__file__).parents[2] / "data" / "schemas" / "slack-blocks.json").read_text())
)


def walk(value: object) -> Iterator[dict[str, object]]:
    """Yield every object in a message."""
    if isinstance(value, dict):
        yield value
        for part in value.values():
            yield from walk(part)
    elif isinstance(value, list):
        for part in value:
            yield from walk(part)


def check_limits(blocks: list[dict[str, object]]) -> None:
    assert 0 < len(blocks) <= 50
    assert len(json.dumps(blocks, ensure_ascii=False)) <= MAX_MESSAGE_CHARS + 1000
    for block in blocks:
        SHAPES.validate(block)
        parsed = Block.parse(block)
        assert parsed is not None
        parsed.validate_json()
        if block["type"] == "header":
            assert len(parsed.to_dict()["text"]["text"]) <= 150
    for part in walk(blocks):
        if part.get("type") in ("mrkdwn", "plain_text", "text"):
            assert 1 <= len(str(part["text"])) <= 3000
        for each in part.get("fields", []):  # ty: ignore
            assert len(each["text"]) <= 2000


def read(blocks: list[dict[str, object]]) -> str:
    return "".join(str(part["text"]) for part in walk(blocks) if isinstance(part.get("text"), str))


def test_new_findings_come_in_full(report: Report) -> None:
    """New and regressed findings have title, cause, advice and evidence; the others are counts."""
    blocks = render_slack_blocks(replace(report, link="https://ci.example/report.html"))
    check_limits(blocks)
    text = read(blocks)
    for expected in (
        "storefront: 3 failures to look at",
        "*Recurring*\n2",
        "*Resolved*\n1",
        "🔴 npm cannot find a version of left-pad",
        "Root cause: package.json asks for left-pad ^2.0.0",
        "deploy/prod/rollout-2026-11-23.log:412: Warning",
        "4 inputs or calls had problems",
    ):
        assert expected in text, expected
    assert "링커" not in text and "flake8" not in text
    link = {"type": "link", "url": "https://ci.example/report.html", "text": "Open the report"}
    assert link in list(walk(blocks))


def test_speaks_korean(report: Report) -> None:
    """The message is in the report's language."""
    text = read(render_slack_blocks(replace(report, language="ko")))
    assert "storefront: 확인할 문제 3건" in text and "근본 원인" in text and "Root cause" not in text


def test_many_findings_are_cut(report: Report) -> None:
    """Three hundred long findings still make a message within all limits that counts those left out."""
    long = replace(
        report.findings[0],
        title="t" * 5000,
        root_cause="원인 " * 5000,
        suggestion="<&>" * 5000,
        evidence=tuple(Evidence("p" * 900, n, "q" * 9000) for n in range(50)),
    )
    many = replace(report, findings=(long,) * 300, link="https://x.example/" + "y" * 5000)
    blocks = render_slack_blocks(many)
    check_limits(blocks)
    shown = sum(block["type"] == "rich_text" for block in blocks)
    assert shown >= 3
    assert f"… and {300 - shown} more new or regressed" in read(blocks)
    opening, *replies = render_slack_messages(many, threaded=True)
    assert len(replies) == MAX_REPLIES
    told = 0
    for message in (opening, *replies):
        check_limits(message.blocks)
        told += sum(
            part["type"] == "rich_text_preformatted" for part in walk(message.blocks) if "type" in part
        )
    assert told > shown * 5
    assert "… and 280 more" in read(opening.blocks)
    assert f"… and {300 - told} more new or regressed" in read(replies[-1].blocks)


@pytest.mark.parametrize("count", [1, 2, 7, 30])
def test_a_thread_tells_each_finding_once(report: Report, count: int) -> None:
    """All that is new is in the replies, in order, each once, however many messages it takes."""
    findings = tuple(
        replace(report.findings[0], title=f"Failure {n:03}", occurrences=1000 - n) for n in range(count)
    )
    opening, *replies = render_slack_messages(replace(report, findings=findings), threaded=True)
    text = "".join(read(reply.blocks) for reply in replies)
    places = [text.find(f"Failure {n:03}") for n in range(count)]
    assert -1 not in places and places == sorted(places)
    assert text.count("Failure ") == count
    assert opening.text == render_slack_text(replace(report, findings=findings))
    assert [reply.text for reply in replies] == [
        f"storefront: what is new, in full ({n}/{len(replies)})" for n in range(1, len(replies) + 1)
    ]
    for message in (opening, *replies):
        check_limits(message.blocks)
        assert message.blocks[0]["type"] != "divider"


def test_without_news_or_a_thread_there_is_one_message(report: Report) -> None:
    """A thread is for details of what is new only."""
    calm = replace(report, findings=report.findings[3:], run=replace(report.run, groups=2))
    assert len(render_slack_messages(calm, threaded=True)) == 1
    (only,) = render_slack_messages(report, threaded=False)
    assert only.blocks == render_slack_blocks(report)


def test_long_names_fit(report: Report) -> None:
    """A project and a source of any length fit in header and context."""
    long = replace(report, run=replace(report.run, project="p" * 400, source="s" * 9000))
    check_limits(render_slack_blocks(long))
    check_limits(render_slack_error(long.run, "m" * 9000))


@pytest.mark.parametrize("project", ["@channel" * 30, "<!here>" * 30])
def test_header_is_cut_after_defusing(report: Report, project: str) -> None:
    """Defusing makes a text longer; the header still fits."""
    check_limits(render_slack_blocks(replace(report, run=replace(report.run, project=project))))


def test_nothing_pings_or_links(
    build_report: Callable[[list[str]], Report], hostile_strings: list[str]
) -> None:
    """No hostile string makes a mention, a link or markup: log text is in literal elements only."""
    for text in hostile_strings:
        report = build_report([text, text])
        threads = render_slack_messages(report, threaded=True)
        blocks = [
            *render_slack_blocks(report),
            *render_slack_error(report.run, text, "en"),
            *(block for message in threads for block in message.blocks),
        ]
        for part in (*threads, *render_slack_messages(report, threaded=False)):
            check_limits(part.blocks)
        check_limits(render_slack_error(report.run, text, "en"))
        lines = [render_slack_text(report), *(message.text for message in threads)]
        sent = json.dumps([blocks, lines], ensure_ascii=False)
        for live in (
            "<!",
            "<@",
            "<#",
            "<http",
            "<mailto",
            "@channel",
            "@here",
            "@everyone",
            "\\u202e",
            "\x1b",
        ):
            assert live not in sent.replace("\\\\u", "")
        kinds = {str(part.get("type")) for part in walk(blocks)}
        assert not kinds & {"link", "user", "channel", "broadcast", "usergroup", "emoji", "button"}
        for part in walk(blocks):
            if part.get("type") == "mrkdwn":
                assert "evil" not in str(part["text"]) and "<" not in str(part["text"])


def test_failures_without_answers_are_news(unanswered: Report, half_answered: Report) -> None:
    """A run whose model was down is posted, and says neither that nothing failed nor that nothing is new."""
    assert has_news(unanswered)
    blocks = render_slack_blocks(unanswered)
    check_limits(blocks)
    text = read(blocks)
    assert "storefront: 5 failures could not be explained" in text and "no model answered" in text
    assert "nothing" not in text and "nothing" not in render_slack_text(unanswered)
    assert "2 more were found, but no model answered" in read(render_slack_blocks(half_answered))
    assert "2 more could not be explained" in render_slack_text(half_answered)


def test_a_stopped_run_is_no_all_clear(clean: Report) -> None:
    """A run that was stopped, or read nothing, does not say that nothing failed."""
    stopped = replace(clean, run=replace(clean.run, status="interrupted"))
    assert render_slack_text(stopped).startswith("storefront: stopped before the end")
    blind = replace(clean, run=replace(clean.run, lines=0))
    assert render_slack_text(blind).startswith("storefront: no log could be read")


def test_calm_and_clean_runs(report: Report, clean: Report) -> None:
    """A message that was asked for although nothing is new says so."""
    calm = replace(report, findings=report.findings[3:], run=replace(report.run, groups=2))
    assert has_news(report) and not has_news(calm)
    assert "storefront: nothing new" in read(render_slack_blocks(calm))
    assert "storefront: nothing failed" in read(render_slack_blocks(clean))
    assert render_slack_text(calm) == "storefront: nothing new (0 new, 0 regressed, 2 recurring, 1 resolved)"


def test_a_path_is_printed_rather_than_linked(report: Report) -> None:
    """A report on disk is named, since Slack takes web addresses only."""
    text = read(render_slack_blocks(replace(report, link="/srv/reports/report.html")))
    assert "Report: /srv/reports/report.html" in text


def test_error_alert(report: Report) -> None:
    """A run that failed as a whole says so, with what was wrong and how to look closer."""
    text = read(render_slack_error(report.run, "S3 says <AccessDenied> to `ci-logs`", "en"))
    assert "storefront: the run itself failed" in text
    assert "S3 says <AccessDenied> to `ci-logs`" in text
    assert f"Flow run `{report.run.run_id}` in Prefect" in text

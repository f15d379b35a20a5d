"""Events: times in the forms that logs use, levels, lines that go on, templates; and filters over them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bifrost_flow.errors import SettingsError
from bifrost_flow.evidence.events import split_events
from bifrost_flow.evidence.filtering import EventStats, build_filter, parse_when

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

TIMES = [
    ("2024-03-28 10:21:53,960 INFO (main) ok", "2024-03-28T10:21:53.960000+00:00", "info"),
    ("2024-04-10 10:32:23.937+08:00 WARN slow", "2024-04-10T02:32:23.937000+00:00", "warning"),
    (
        '127.0.0.1 - - [21/Jul/2025:14:23:15 +0200] "GET / HTTP/1.1" 200 45',
        "2025-07-21T12:23:15+00:00",
        "info",
    ),
    (
        "[Fri Sep 09 10:42:29.902022 2011] [core:error] [pid 35] denied",
        "2011-09-09T10:42:29.902022+00:00",
        "error",
    ),
    ("I20200308 23:47:32.089828 400441 config.cc:27] Loading", "2020-03-08T23:47:32.089828+00:00", "info"),
    ("1:M 29 Aug 2023 13:47:38.984 * monotonic clock", "2023-08-29T13:47:38.984000+00:00", "info"),
    ("081109 203615 148 INFO dfs.DataNode: terminating", "2008-11-09T20:36:15+00:00", "info"),
    ("17/06/09 20:10:40 ERROR executor.Backend: gone", "2017-06-09T20:10:40+00:00", "error"),
    (
        "2022-01-19T17:27:07.013874956Z WARN [logging_example] x",
        "2022-01-19T17:27:07.013874+00:00",
        "warning",
    ),
    ("2025-07-21 10:14:21.125 UTC [21763] FATAL:  no", "2025-07-21T10:14:21.125000+00:00", "critical"),
    ('time="2026-05-06T19:55:11Z" level=debug msg="fetch"', "2026-05-06T19:55:11+00:00", "debug"),
    ('{"ts": 1721037503.696, "level": "error", "msg": "x"}', "2024-07-15T09:58:23.696000+00:00", "error"),
    (
        '{"timestamp":"2025-10-17T22:09:20.139141Z","level":"INFO"}',
        "2025-10-17T22:09:20.139141+00:00",
        "info",
    ),
    ("no time at all", None, None),
]


@pytest.mark.parametrize(("line", "when", "level"), TIMES)
def test_times_and_levels_are_read(line: str, when: str | None, level: str | None) -> None:
    """The time of a line becomes UTC, its level one of ours."""
    (event,) = split_events([line])
    assert (event.timestamp.isoformat() if event.timestamp else None) == when
    assert event.severity == level


def test_a_stack_belongs_to_its_line() -> None:
    """Lines without a time of their own go on with the event before them."""
    lines = [
        "2022-02-01 18:09:47,136 INFO start",
        "2022-02-01 18:09:51,500 ERROR java.io.IOException: no",
        "java.io.IOException: no",
        "\tat org.apache.X.y(X.java:3)",
        "Caused by: nothing",
        "2022-02-01 18:10:00,000 INFO end",
    ]
    assert [(event.line_start, event.line_end) for event in split_events(lines)] == [(1, 1), (2, 5), (6, 6)]


def test_json_over_lines_is_one_event() -> None:
    """An object that is printed over several lines is one event, and the next begins after it."""
    lines = ["{", '  "level": "WARN ",', '  "message": "late"', "}", '{"level": "info", "message": "b"}']
    found = [(event.line_start, event.line_end, event.severity) for event in split_events(lines)]
    assert found == [(1, 4, "warning"), (5, 5, "info")]


def test_half_a_character_is_survived() -> None:
    """JSON may escape a lone surrogate; the event can be printed all the same."""
    (event,) = split_events(['{"message": "a\\ud800b", "level": "info"}'])
    assert event.message == "a?b"
    assert event.severity == "info"


def test_like_events_share_a_template() -> None:
    """Values differ, the words and the fingerprint stay."""
    lines = [
        "Dec 10 06:55:46 LabSZ sshd[24200]: Failed password for root from 5.36.59.76 port 42393",
        "Dec 10 07:02:47 other sshd[24203]: Failed password for alice from 1.2.3.4 port 1",
        "Dec 10 07:02:48 other sshd[24203]: Connection closed by 1.2.3.4",
    ]
    prints = [event.fingerprint for event in split_events(lines)]
    assert prints[0] == prints[1] != prints[2]


@given(
    st.lists(
        st.text(st.characters(exclude_characters="\n", exclude_categories=("Cs",)), max_size=60), max_size=700
    )
)
def test_events_are_in_order_and_do_not_overlap(lines: list[str]) -> None:
    """Every line with text belongs to exactly one event."""
    at = 0
    covered = set()
    for event in split_events(lines):
        assert event.line_start > at
        assert event.line_end >= event.line_start
        at = event.line_end
        covered.update(range(event.line_start, event.line_end + 1))
    assert at <= len(lines)


EVENTS = [
    "2026-11-23 09:00:00 INFO no error found",
    "2026-11-23 11:30:00 ERROR disk full",
    "  at write()",
    "2026-11-23 11:45:00+00:00 WARN retry",
]


def filter_lines(
    severity: str | None = None,
    keywords: tuple[str, ...] = (),
    *,
    regex: bool = False,
    since: str | None = None,
    until: str | None = None,
) -> list[int]:
    chosen = build_filter(
        severity=severity, keywords=list(keywords), regex=regex, since=since, until=until, now=NOW
    )
    return [event.line_start for event in split_events(EVENTS) if chosen.keeps(event)]


def test_filters_keep_whole_events() -> None:
    """Levels are the writer's, words are found in any line of an event, times are times."""
    assert filter_lines(severity="error") == [2]
    assert filter_lines(severity="warning") == [2, 4]
    assert filter_lines(keywords=("WRITE()",)) == [2]
    assert (
        filter_lines(
            keywords=(
                "disk",
                "retry",
            )
        )
        == []
    )
    assert filter_lines(keywords=(r"disk|retry",), regex=True) == [2, 4]
    assert filter_lines(since="40m ago") == [2, 4]
    assert filter_lines(until="2026-11-23T12:30:00+01:00") == [1, 2]


def test_times_a_user_writes() -> None:
    """Ago and absolute times are understood; anything else is refused with words."""
    assert parse_when("2h ago", NOW) == NOW - timedelta(hours=2)
    assert parse_when("1.5d", NOW) == NOW - timedelta(days=1.5)
    assert parse_when("2026-11-23 10:00", NOW) == datetime(2026, 11, 23, 10, tzinfo=UTC)
    with pytest.raises(SettingsError, match="yesterdayish"):
        parse_when("yesterdayish", NOW)
    with pytest.raises(SettingsError, match="loud"):
        filter_lines(severity="loud")
    with pytest.raises(SettingsError, match=r"\("):
        filter_lines(keywords=("(",), regex=True)


def test_statistics_count_what_was_kept() -> None:
    """Events, lines, levels, templates and minutes are counted."""
    counts = EventStats()
    for event in split_events(EVENTS):
        counts.add(event)
    summary = counts.summarise()
    assert (summary["events"], summary["lines"]) == (3, 4)
    assert summary["levels"] == {"info": 1, "warning": 1, "error": 1}
    assert summary["busiest_minutes"] == dict.fromkeys(counts.minutes, 1)
    assert "2026-11-23T11:30Z" in counts.minutes

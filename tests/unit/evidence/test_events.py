"""Events: times in the forms that logs use, levels, lines that go on, templates; and filters over them."""

# ruff: noqa: E501 -- a sample is read as a whole

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from bifrost_flow.cli.statistics import render_bars
from bifrost_flow.errors import SettingsError
from bifrost_flow.evidence.events import EVENT_SCHEMA, MAX_EVENT_LINES, split_events
from bifrost_flow.evidence.filtering import EventStats, blank_dropped_lines, build_filter
from bifrost_flow.evidence.moments import parse_when

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def read(lines: Sequence[str], *, blocks: int = 1) -> pl.DataFrame:
    """Return the events of a log that is read in so many blocks."""
    size = max(1, -(-len(lines) // blocks))
    pieces = [pl.Series(lines[at : at + size], dtype=pl.String) for at in range(0, len(lines), size)]
    found = [block.events for block in split_events(pieces)]
    return pl.concat(found) if found else pl.DataFrame(schema=EVENT_SCHEMA)


def spans(lines: Sequence[str], *, blocks: int = 1) -> list[tuple[int, int]]:
    """Return the first and last line of each event."""
    return list(read(lines, blocks=blocks).select("line_start", "line_end").iter_rows())


BOUNDARIES = {
    "a stack below a header with a time": (
        [
            "2022-02-01 18:09:47,136 INFO start",
            "2022-02-01 18:09:51,500 ERROR java.io.IOException: no",
            "java.io.IOException: no",
            "\tat org.apache.X.y(X.java:3)",
            "",
            "Caused by: nothing",
            "",
            "2022-02-01 18:10:00,000 INFO end",
        ],
        [(1, 1), (2, 6), (8, 8)],
    ),
    "lines before the first header are their own": (
        ["#Software: IIS", "#Fields: date time", "2022-03-10 17:26:30 ::1 GET /", "2022-03-10 17:26:31 ::1 GET /"],
        [(1, 1), (2, 2), (3, 3), (4, 4)],
    ),
    "a Python traceback without times": (
        [
            "starting",
            "Traceback (most recent call last):",
            '  File "a.py", line 1, in <module>',
            "    f()",
            "ValueError: no",
            "done",
        ],
        [(1, 1), (2, 5), (6, 6)],
    ),
    "a Java stack without times": (
        ["ERROR x", "java.io.IOException: no", "\tat a.B.c(B.java:3)", "\t... 3 more", "INFO y"],
        [(1, 1), (2, 4), (5, 5)],
    ),
    "a Ruby backtrace": (
        ["a.rb:1:in `f': no (RuntimeError)", "\tfrom a.rb:2:in `g'", "\tfrom a.rb:3:in `<main>'", "end"],
        [(1, 3), (4, 4)],
    ),
    "a Ruby backtrace with its message on top": (
        ["ready", "a.rb:1:in `f': no (RuntimeError)", "a.rb:2:in `g'", "  b (1.2.3) c.rb:3:in `block in h'", "end"],
        [(1, 1), (2, 4), (5, 5)],
    ),
    "a Go panic without times": (
        [
            "2 workers",
            "panic: no",
            "[signal SIGSEGV: segmentation violation code=0x1]",
            "",
            "goroutine 1 [running]:",
            "net/http.(*conn).serve(0xc0, 0x1)",
            "\t/go/src/net/http/server.go:12 +0x1",
            "main.main()",
            "\t/a.s:1",
            "created by main.start",
            "\t/a.go:3 +0x5",
            "",
            "goroutine 2 [select]:",
            "main.wait(...)",
            "\t/a.go:9",
            "done()",
        ],
        [(1, 1), (2, 15), (16, 16)],
    ),
    "an error that follows from another": (
        [
            "GET /",
            "Traceback (most recent call last):",
            '  File "a.py", line 1, in f',
            "Exception: ('a', 1)",
            "",
            "During handling of the above exception, another exception occurred:",
            "",
            "Traceback (most recent call last):",
            '  File "a.py", line 2, in g',
            "app.errors.NotThere: x",
            "GET /2",
        ],
        [(1, 1), (2, 10), (11, 11)],
    ),
    "errors below a traceback and above a stack": (
        ["V8 stack trace", "  at f (a.js:1:2)", "TypeError: no", "  at g (b.js:1:2)", "  at /a/b.js:3:4", "up"],
        [(1, 2), (3, 5), (6, 6)],
    ),
    "PHP's stack": (
        ["GET /", "PHP Fatal error:  Uncaught E: no in /a.php:1", "Stack trace:", "#0 /b.php(2): f()", "#1 {main}", "  thrown in /a.php on line 1", "#2 ready"],
        [(1, 1), (2, 6), (7, 7)],
    ),
    "messages below their level": (
        ["info: App.Web[14]", "      Now listening", "fail: App.Db[0]", "      Gone.", "      System.E: x", "         at A.B()"],
        [(1, 2), (3, 6)],
    ),
    "an error in an isolate": (
        ["up", "Unhandled exception:", "Bad state: no", "#0      f (package:a/b.dart:1:2)", "<asynchronous suspension>", "#1      g (file:///c.dart:3)", "down"],
        [(1, 1), (2, 6), (7, 7)],
    ),
    "a crash among objects": (
        ['{"level":30}', "/a.js:1", "TypeError: no", "    at f (a.js:1:2)", "    at g (b.js:1:2)", '{"level":30}', "end"],
        [(1, 1), (2, 2), (3, 5), (6, 6), (7, 7)],
    ),
    "queries of one moment": (
        [
            "mysqld, Version: 5.5. started with:",
            "# Time: 161209 14:37:59",
            "# User@Host: a[a] @ localhost []",
            "SET timestamp=1481294279;",
            "SELECT 1;",
            "# User@Host: b[b] @ localhost []",
            "SET timestamp=1481294279;",
            "SELECT 'x',",
            "  2;",
        ],
        [(1, 1), (2, 5), (6, 9)],
    ),
    "lines that are all indented": (
        ["==> Starting", "", "    2021/05/06 07:08:09 [INFO] a", "    2021/05/06 07:08:10 [WARN] b", "      c"],
        [(1, 1), (3, 3), (4, 5)],
    ),
    "records below their dates": (
        ["Audit of a database", "Version 1", "", "Wed Oct  7 13:01:06 2020 -04:00", "ACTION : 'a'", "STATUS : 0", "", "Wed Oct  7 13:01:07 2020 -04:00", "ACTION : 'b'"],
        [(1, 1), (2, 2), (4, 6), (8, 9)],
    ),
    "what a server says of its fields when it starts again": (
        ["#Fields: date time", "2022-03-10 17:26:30 ::1 GET /", "#Software: x", "#Date: 2022-03-10 17:30:00", "#Fields: date time", "2022-03-10 17:30:31 ::1 GET /"],
        [(n, n) for n in range(1, 7)],
    ),
    "a Go panic below a header": (
        ["2024/01/01 10:00:00 http: panic serving", "goroutine 1 [running]:", "main.f()", "\t/a.go:1", "2024/01/01 10:00:01 x"],
        [(1, 4), (5, 5)],
    ),
    "a wrapped statement": (
        [
            "2025-07-21 10:14:21.125 UTC [1] STATEMENT:  SELECT *",
            "\tFROM customers",
            "\tWHERE created > '2025-01-01 00:00:00'",
            "2025-07-21 10:14:22.125 UTC [1] LOG:  x",
        ],
        [(1, 3), (4, 4)],
    ),
    "a number that is no header": (
        [
            "# Time: 2025-07-22T16:01:01.111111Z",
            "# User@Host: admin[admin] @ localhost []",
            "SET timestamp=1753065661;",
            "SELECT 1;",
            "",
            "# Time: 2025-07-22T16:01:03.222222Z",
            "SET timestamp=1753065663;",
        ],
        [(1, 4), (6, 7)],
    ),
    "plain lines, one of them indented": (["first second third", "first  third", "   always"], [(1, 1), (2, 2), (3, 3)]),
    "a compiler's message": (["a.c:1:2: error: no", "    1 | x", "      | ^", "gcc done"], [(1, 3), (4, 4)]),
    "an object over several lines": (
        ["{", '  "level": "WARN ",', '  "message": "late"', "}", '{"level": "info"}'],
        [(1, 4), (5, 5)],
    ),
    "an object with brackets on lines of their own": (
        ["{", '  "stack": [', '    "a {"', "  ],", "", '  "b": [', "  ]", "}", "{", '  "c": 1', "}"],
        [(1, 8), (9, 11)],
    ),
    "an array of objects": (["[", "  {", '    "a": {"b": 1}', "  },", '  {"a": 2}', "]"], [(2, 4), (5, 5)]),
    "an array whose first object follows at once": (["[{", '  "a": "}{"', "},", '{"a": 2}]'], [(1, 3), (4, 4)]),
    "an object cut off": (['{"a": "b', '{"a": 1}', "plain text", '{"a": 2}'], [(1, 1), (2, 2), (3, 3), (4, 4)]),
    "an object among lines with times": (
        ["2024-01-01 10:00:00 start", '{"level":"error"}', "2024-01-01 10:00:01 end"],
        [(1, 2), (3, 3)],
    ),
    "nothing": ([], []),
    "blank lines": (["", " ", ""], []),
}  # fmt: skip


@pytest.mark.parametrize("name", BOUNDARIES)
def test_events_begin_and_end_where_a_person_would_say(name: str) -> None:
    """A line goes on with the event before it if its form says so, in whichever blocks the log is read."""
    lines, expected = BOUNDARIES[name]
    assert spans(lines) == expected


@pytest.mark.parametrize("name", BOUNDARIES)
def test_an_event_may_cross_the_blocks_of_a_file(name: str) -> None:
    """What is open at a block's end goes on in the next."""
    lines = BOUNDARIES[name][0] * 40
    whole = read(lines)
    assert read(lines, blocks=3).equals(whole)
    assert read(lines, blocks=7).equals(whole)


@settings(deadline=None)
@given(
    st.lists(
        st.text(st.characters(exclude_characters="\n", exclude_categories=("Cs",)), max_size=60), max_size=700
    ),
    st.integers(1, 3),
)
def test_events_are_in_order_and_do_not_overlap(lines: list[str], blocks: int) -> None:
    """Whatever a log holds, events lie within it, one behind the other."""
    at = 0
    for first, last in spans(lines, blocks=blocks):
        assert at < first <= last
        at = last
    assert at <= len(lines)


def test_what_never_ends_is_cut() -> None:
    """An event of very many lines, and an object that never closes, do not fill the memory."""
    lines = ["2024-01-01 10:00:00 start", *["  more"] * (2 * MAX_EVENT_LINES)]
    assert max(last - first for first, last in spans(lines, blocks=4)) < MAX_EVENT_LINES
    lines = ["{", *[f'  "k{number}": "{"v" * 100}",' for number in range(3 * MAX_EVENT_LINES)]]
    assert max(last - first for first, last in spans(lines, blocks=4)) <= MAX_EVENT_LINES


def test_a_query_has_the_time_that_it_states() -> None:
    """Of queries of one moment only the first has a line of its time; all state it to the server."""
    lines, _ = BOUNDARIES["queries of one moment"]
    stated = datetime(2016, 12, 9, 14, 37, 59, tzinfo=UTC)
    assert read(lines)["timestamp"].to_list() == [None, stated, stated]


def test_a_log_tells_whether_days_come_first() -> None:
    """A date with slashes is read as the log's others are, if one of them can be read in one way only."""
    days = ["05/06/2024 10:00:00 a", "31/05/2024 10:00:00 b"]
    assert [when.month for when in read(days)["timestamp"]] == [6, 5]
    assert [when.month for when in read(days[:1])["timestamp"]] == [5]
    assert [when.month for when in read([*days, "05/31/2024 10:00:00 c"])["timestamp"]] == [5, 5, 5]


def test_the_level_may_stand_below_the_time() -> None:
    """java.util.logging writes the level on a second line."""
    events = read(
        [
            "Feb 16, 2022 3:30:45 PM org.x.Y start",
            "SEVERE: no",
            "Feb 16, 2022 3:30:46 PM org.x.Y start",
            "INFO: x",
        ]
    )
    assert events["severity"].to_list() == ["error", "info"]


EVENTS = [
    "2026-11-23 09:00:00 INFO no error found",
    "2026-11-23 11:30:00 ERROR disk full",
    "  at write()",
    "2026-11-23 11:45:00+00:00 WARN retry",
    "",
]


def kept_lines(blocks: int = 1, **words: Any) -> list[int]:
    """Return the numbers of the lines that a filter keeps."""
    chosen = build_filter(**words, now=NOW)
    assert chosen is not None
    size = -(-len(EVENTS) // blocks)
    text = b"".join(
        blank_dropped_lines((pl.Series(EVENTS[at : at + size]) for at in range(0, len(EVENTS), size)), chosen)
    ).decode()
    lines = text.removesuffix("\n").split("\n")
    assert len(lines) == len(EVENTS)
    return [number for number, line in enumerate(lines, start=1) if line]


@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_filters_keep_whole_events(blocks: int) -> None:
    """Levels are the writer's, words are found in any line of an event, times are times; line numbers stay."""
    assert kept_lines(blocks, severity="error") == [2, 3]
    assert kept_lines(blocks, severity="warning") == [2, 3, 4]
    assert kept_lines(blocks, severity="info") == [1, 2, 3, 4]
    assert kept_lines(blocks, keywords=["WRITE()"]) == [2, 3]
    assert kept_lines(blocks, keywords=["disk", "write"]) == [2, 3]
    assert kept_lines(blocks, keywords=["disk", "retry"]) == [2, 3, 4]
    assert kept_lines(blocks, keywords=[r"disk|retry"]) == []
    assert kept_lines(blocks, keywords=[r"disk|retry"], regex=True) == [2, 3, 4]
    assert kept_lines(blocks, keywords=[r"(?<!no )error"], regex=True) == [2, 3]
    assert kept_lines(blocks, since="40m ago") == [2, 3, 4]
    assert kept_lines(blocks, until="2026-11-23T12:30:00+01:00") == [1, 2, 3]
    assert kept_lines(blocks, since="2026-11-23 20:40 KST", until="2026-11-23 20:50 Asia/Seoul") == [4]


def test_nothing_asked_is_no_filter() -> None:
    """Without conditions there is no filter, so that nothing is paid for it."""
    assert build_filter(regex=True) is None


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2h ago", "2026-11-23T10:00"),
        ("1h30m", "2026-11-23T10:30"),
        ("1.5d", "2026-11-22T00:00"),
        ("1 week ago", "2026-11-16T12:00"),
        ("now", "2026-11-23T12:00"),
        ("today", "2026-11-23T00:00"),
        ("yesterday", "2026-11-22T00:00"),
        ("yesterday Asia/Seoul", "2026-11-21T15:00"),
        ("2026-11-23", "2026-11-23T00:00"),
        ("2026-11-23 10:00", "2026-11-23T10:00"),
        ("2026-11-23T10:00:00+09:00", "2026-11-23T01:00"),
        ("2026-11-23 10:00 +0900", "2026-11-23T01:00"),
        ("2026-11-23 10:00 KST", "2026-11-23T01:00"),
        ("2026-11-23 10:00 Europe/Berlin", "2026-11-23T09:00"),
        ("10:15", "2026-11-23T10:15"),
        ("1795428000", "2026-11-23T10:00"),
        ("Nov 23 10:00:00", "2026-11-23T10:00"),
        ("23/Nov/2026:10:00:00 +0100", "2026-11-23T09:00"),
    ],
)
def test_times_a_user_writes(text: str, when: str) -> None:
    """Ago, days, clocks, dates and zones are understood."""
    assert parse_when(text, NOW) == datetime.fromisoformat(when).replace(tzinfo=UTC)


def test_a_day_ends_at_its_end() -> None:
    """Up to a date means the whole of that day."""
    assert parse_when("2026-11-23", NOW, end=True) == datetime(2026, 11, 23, 23, 59, 59, 999999, tzinfo=UTC)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"since": "yesterdayish"}, "yesterdayish"),
        ({"since": "2026-11-23 10:00 Asia/Nowhere"}, "Nowhere"),
        ({"severity": "loud"}, "loud"),
        ({"keywords": ["("], "regex": True}, r"\("),
    ],
)
def test_what_cannot_be_understood_is_refused(words: dict[str, Any], said: str) -> None:
    """The message names the value that is wrong."""
    with pytest.raises(SettingsError, match=said):
        build_filter(**words, now=NOW)


def test_statistics_count_what_was_kept() -> None:
    """Events, lines, levels, templates and minutes are counted."""
    counts = EventStats()
    counts.add(read(EVENTS))
    summary = counts.summarise()
    assert (summary["events"], summary["lines"]) == (3, 4)
    assert summary["levels"] == {"info": 1, "warning": 1, "error": 1}
    assert summary["busiest_minutes"] == dict.fromkeys(counts.minutes, 1)
    assert "2026-11-23T11:30Z" in counts.minutes


def test_bars_fit_the_terminal() -> None:
    """A line is never wider than asked for, and a wide character counts as two columns."""
    lines = render_bars([("오류가 발생했습니다 " * 9, 1200), ("short", 3)], width=60)
    assert [cell_len(line) <= 60 for line in lines] == [True, True]
    assert lines[0].startswith("1,200  █")
    assert lines[0].endswith("…")
    assert lines[1].endswith("  short")
    assert cell_len(lines[0]) >= 58

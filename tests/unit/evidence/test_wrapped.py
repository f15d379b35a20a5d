"""Logs whose every line is wrapped: by a CI system, a container runtime, a journal, or as JSON."""

# ruff: noqa: E501 -- logs are as wide as they are

import json
from collections.abc import Callable

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bifrost_flow.evidence.clean import FIXED, clean_column, clean_line, strip_inner
from bifrost_flow.evidence.scan import scan_file
from bifrost_flow.evidence.unwrap import unwrap_line
from bifrost_flow.evidence.unwrap_columns import unwrap_column

BEFORE = ["listening on port 8080", "order 1 handled", "order 2 handled"]
REPORT = [
    "Traceback (most recent call last):",
    '  File "/app/worker.py", line 41, in handle',
    '    total = sum(order["lines"])',
    '  File "/app/orders.py", line 7, in __getitem__',
    "    return self._items[name]",
    "KeyError: 'lines'",
]
AFTER = ["worker stopped", "bye"]

DAY = "2024-01-05"
WRAPPERS: dict[str, Callable[[str, int], str]] = {
    "plain": lambda line, n: line,
    "github-actions": lambda line, n: f"{DAY}T10:00:{n:02d}.1234567Z {line}",
    "gh run view --log": lambda line, n: f"build (3.12)\tRun tests\t{DAY}T10:00:{n:02d}.1234567Z {line}",
    "gitlab": lambda line, n: f"{DAY}T10:00:{n:02d}.123456Z {'00O' if n % 2 else '01E'} {line}",
    "gitlab, continued": lambda line, n: f"{DAY}T10:00:{n:02d}.123456Z 00O+{line}",
    "jenkins, iso": lambda line, n: f"[{DAY}T10:00:{n:02d}.123Z] {line}",
    "jenkins, clock": lambda line, n: f"10:00:{n:02d}  {line}",
    "buildkite": lambda line, n: f"\x1b_bk;t=17044488000{n:02d}\x07{line}",
    "teamcity": lambda line, n: f"[10:00:{n:02d}]{'W' if n % 2 else ' '}:\t [Step 1/3] {line}",
    "woodpecker": lambda line, n: f"[unit tests:L{n}:3s] {line}",
    "drone": lambda line, n: f"[test:{n}] {line}",
    "codebuild": lambda line, n: f"[Container] 2024/01/05 10:00:{n:02d}.123456 {line}",
    "taskcluster": lambda line, n: f"[task {DAY}T10:00:{n:02d}.123Z] {line}",
    "zuul": lambda line, n: f"{DAY} 10:00:{n:02d}.123456 | ubuntu-jammy | {line}",
    "buildkit": lambda line, n: f"#12 {n}.456 {line}",
    "buildkit in github-actions": lambda line, n: f"{DAY}T10:00:{n:02d}.1234567Z #12 {n}.456 {line}",
    "compose": lambda line, n: f"worker-1  | {line}",
    "compose 1": lambda line, n: f"\x1b[36mworker_1    |\x1b[0m {line}",
    "compose, a name of its own and times": lambda line, n: (
        f"worker   | {DAY}T10:00:{n:02d}.123456789Z {line}"
    ),
    "compose with times in github-actions": lambda line, n: (
        f"{DAY}T10:00:{n:02d}.1234567Z worker   | {DAY}T10:00:{n:02d}.123456789Z {line}"
    ),
    "compose in github-actions": lambda line, n: f"{DAY}T10:00:{n:02d}.1234567Z worker-1  | {line}",
    "kubectl --prefix": lambda line, n: f"[pod/worker-7d9f8b6c5-x2x9z/app] {line}",
    "kubectl --timestamps": lambda line, n: f"{DAY}T10:00:{n:02d}.123456789Z {line}",
    "stern": lambda line, n: f"worker-7d9f8b6c5-x2x9z app {line}",
    "cri": lambda line, n: f"{DAY}T10:00:{n:02d}.123456789+01:00 stderr F {line}",
    "cri, utc": lambda line, n: f"{DAY}T10:00:{n:02d}.123456789Z stderr F {line}",
    "syslog 3164": lambda line, n: f"<11>Jan  5 10:00:{n:02d} node7 worker[812]: {line}",
    "syslog 5424": lambda line, n: (
        f'<11>1 {DAY}T10:00:{n:02d}.003Z node7 worker 812 - [meta@1 seq="{n}"] {line}'
    ),
    "journald": lambda line, n: f"Jan 05 10:00:{n:02d} node7 python3[812]: {line}",
    "rsyslog, iso": lambda line, n: f"{DAY}T10:00:{n:02d}.123456+00:00 node7 worker[812]: {line}",
    "heroku": lambda line, n: f"{DAY}T10:00:{n:02d}.123456+00:00 app[worker.1]: {line}",
    "docker json": lambda line, n: json.dumps(
        {"log": line + "\n", "stream": "stderr", "time": f"{DAY}T10:00:{n:02d}.123456789Z"}
    ),
    "journald json": lambda line, n: json.dumps(
        {"PRIORITY": "3", "_PID": "812", "MESSAGE": line, "__REALTIME_TIMESTAMP": f"170444880{n:07d}"}
    ),
    "go test json": lambda line, n: json.dumps(
        {"Time": f"{DAY}T10:00:{n:02d}Z", "Action": "output", "Package": "a", "Output": line + "\n"}
    ),
    "cloud logging": lambda line, n: json.dumps({"textPayload": line, "insertId": f"x{n}"}),
    "crlf": lambda line, n: f"{line}\r",
}


def scan(lines: list[str], budget: int = 400) -> list:
    data = "\n".join(lines).encode() + b"\n"
    facts, chunks = scan_file([data], "x", budget_tokens=budget, max_line_bytes=1 << 16)
    assert facts.lines == len(lines)
    return chunks


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapped_report_is_found_whole(name: str) -> None:
    """A traceback in any wrapper is one chunk, unwrapped and indented, with the fingerprint of the bare one."""
    wrap = WRAPPERS[name]
    lines = [wrap(line, n) for n, line in enumerate(BEFORE + REPORT + AFTER)]
    chunk = scan(lines)[0]
    assert "\n".join(REPORT) in chunk.text
    first = len(BEFORE) + 1
    assert set(range(first, first + len(REPORT))) <= set(chunk.line_numbers())
    assert chunk.fingerprint == scan(BEFORE + REPORT + AFTER)[0].fingerprint


@pytest.mark.parametrize("name", WRAPPERS)
def test_columns_are_cleaned_as_lines_are(name: str) -> None:
    """What is judged in columns is what is shown of single lines."""
    lines = [WRAPPERS[name](line, n) for n, line in enumerate(REPORT)]
    column = pl.DataFrame({"text": lines}).select(clean_column(pl.col("text"), tabbed="\t" in lines[0]))
    assert column["text"].to_list() == [clean_line(line) for line in lines] == REPORT


def test_fixed_width_leaves_nothing_in_front() -> None:
    """A time of fixed width is no whole prefix where a stream's mark follows it."""
    assert FIXED.match(WRAPPERS["github-actions"]("x", 1))
    assert not FIXED.match(WRAPPERS["gitlab"]("x", 1))
    assert not FIXED.match(WRAPPERS["cri, utc"]("x", 1))
    inner = pl.Series(["plain", "#12 3.456   a", "web-1  |   b", '{"level":"error","msg":"c"}'])
    assert strip_inner(inner).to_list() == ["plain", "  a", "  b", "ERROR c"]


OBJECTS = [
    ('{"level":"error","ts":1.5,"msg":"no","error":"dial: refused"}', "ERROR no ⏎ dial: refused"),
    (
        '{"level":50,"time":17,"msg":"bad","err":{"type":"E","message":"m","stack":"E: m\\n    at f (a.js:1)"}}',
        "ERROR bad ⏎ E: m ⏎     at f (a.js:1)",
    ),
    (
        '{"@timestamp":"2024","log.level":"ERROR","message":"x","stack_trace":"a.B: c\\r\\n\\tat d\\n"}',
        "ERROR x ⏎ a.B: c ⏎ \tat d",
    ),
    ('{"timestamp":"2024","level":"ERROR","fields":{"message":"db down"},"target":"x"}', "ERROR db down"),
    (
        '{"log":"{\\"level\\":\\"error\\",\\"msg\\":\\"\\\\u001b[31mboom\\\\u001b[0m\\"}\\n","stream":"stderr"}',
        "ERROR boom",
    ),
    (
        '{"reason":"compiler-message","message":{"rendered":"error[E0308]: no\\n --> src/a.rs:1:2\\n"}}',
        "error[E0308]: no ⏎  --> src/a.rs:1:2",
    ),
    ('{"level":"info","msg":"ValueError: x"}', "ValueError: x"),
    ('{"errors": 3, "error": "x"}', '{"errors": 3, "error": "x"}'),
    ("{", "{"),
    (
        "##teamcity[testFailed name='a.B.c' message='got |'1|' |[x|] ||' details='at a|r|n  at b |0x00e9']",
        "--- FAIL: a.B.c: got '1' [x] | ⏎ at a ⏎   at b é",
    ),
    ("##teamcity[buildProblem description='exit code 1']", "ERROR: exit code 1"),
    ("##teamcity[testStarted name='testError']", "##teamcity[testStarted name='testError']"),
]


@pytest.mark.parametrize(("line", "shown"), OBJECTS)
def test_objects_show_their_message(line: str, shown: str) -> None:
    """Of a JSON line or service message its text is shown, breaks made visible; of other JSON all."""
    assert clean_line(line) == shown
    assert pl.DataFrame({"text": [line]}).select(clean_column(pl.col("text")))["text"].to_list() == [shown]


def test_a_cut_object_shows_what_is_left() -> None:
    """A line that its carrier has cut is no JSON any more; its message is shown all the same."""
    assert unwrap_line('{"stream":"stderr","log":"error: a \\"b\\" c') == 'error: a "b" c'
    assert unwrap_line('{"MESSAGE":[226,156,151,32,110,111],"PRIORITY":"3"}') == "✗ no"


SCREENS = [
    ("10%\r20%\rERROR: disk full\r30%", "ERROR: disk full ⏎ 30%"),
    ("downloading 1 of 9, 0 errors\rdownloading 9 of 9, 0 errors", "downloading 9 of 9, 0 errors"),
    ("compiling\rcompiled", "compiled"),
    ("erx\x08ror: \x1b[1mno\x1b[0m\x07", "error: no"),
    ("\x1b]8;;https://example.com/\x07link\x1b]8;;\x07: \x1b[38;5;9merror\x1b[m", "link: error"),
    ("\x1b]0;a title that nothing ends: error: x", "0;a title that nothing ends: error: x"),
    ("\x00er\x00ror: nul\x00", "error: nul"),
    ("\ufefferror: mark", "error: mark"),
    ("travis_time:start:0a\r\x1b[0K$ make", "$ make"),
    ("section_start:1704448800:build\r\x1b[0KExecuting it", "Executing it"),
]


@pytest.mark.parametrize(("line", "shown"), SCREENS)
def test_controls_leave_what_was_seen(line: str, shown: str) -> None:
    """Of an overwritten line the last state is shown, and what told of a failure before it."""
    assert clean_line(line) == shown
    column = pl.DataFrame({"text": [line]}).select(clean_column(pl.col("text")))
    assert column["text"].to_list() == [shown]


NOT_WRAPPED = [
    "src/main.rs:12:5: error: no such field",
    "   12 | let x = 1;",
    "error: x",
    "foo: bar-1: baz",
    "12:34:56 one blank is no wrapper",
    "#0  0x00007f in raise () from libc.so",
    "[main.py:12] text",
    "[ERROR:12] text",
    "E0102 15:04:05.123456   1 reflector.go:138] Failed to watch",
    "{ not json",
    "| a | b |",
]


@pytest.mark.parametrize("line", NOT_WRAPPED)
def test_what_only_looks_wrapped_stays(line: str) -> None:
    """Compilers, debuggers and tables keep what they print in front."""
    assert clean_line(line) == line


def test_the_name_of_a_service_stays() -> None:
    """Who says a line of the system's log is told, but for the kernel and inside a report."""
    assert clean_line("Jan  5 10:00:00 node7 sshd[12]: error: kex") == "sshd: error: kex"
    assert clean_line("Jan  5 10:00:00 node7 kernel: [   12.345678] BUG: at") == "BUG: at"
    assert clean_line("Jan  5 10:00:00 node7 app[12]:     at f (a.js:1)") == "    at f (a.js:1)"


KEYS = st.sampled_from(["level", "msg", "message", "error", "log", "stream", "stack", "MESSAGE", "time", "x"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
    max_leaves=8,
)


@given(VALUES)
def test_any_object_is_survived(value: object) -> None:
    """Whatever JSON a line holds, it stays one line and one row."""
    line = json.dumps(value)
    assert "\n" not in unwrap_line(line)
    assert unwrap_column(pl.Series([line, "x"])).len() == 2


@pytest.mark.parametrize("word", ["x", "=", "a-", "{", "\t", "error\r", "a\x08", "\x1b]", "##teamcity[x "])
def test_a_line_of_one_word_is_read_in_time(word: str) -> None:
    """A line as long as lines may be, without a blank, costs no more than others: nothing here is quadratic."""
    scan([word * (60_000 // len(word)) + " error"] * 3)


def test_a_minus_behind_githubs_time_is_the_lines_own() -> None:
    """One blank ends the prefix of GitHub's and Azure's lines; other systems part time and text by a dash."""
    assert clean_line("2026-07-16T20:34:28.4511418Z - removed") == "- removed"
    assert clean_line("2026-07-16 20:34:28 - removed") == "removed"

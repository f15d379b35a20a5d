"""`extract`, `events` and `filter` through the installed console script: shapes, exit codes, quiet output."""

# ruff: noqa: E501 -- a sample is read as a whole

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).with_name("bifrost-flow")
LOGS = Path(__file__).parents[1] / "data" / "logs"
LOG = LOGS / "travis" / "alacritty-rust-564527447.log"


def call(*arguments: str | Path, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([PROGRAM, *map(str, arguments)], input=stdin, capture_output=True, check=False)


def objects(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, object]]:
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


def test_extract_prints_one_object_a_chunk() -> None:
    """The keys are those that other programs rely on, the path is as given, and the budget holds."""
    done = call("extract", LOG, "--budget-tokens", "500", "--format", "jsonl")
    chunks = objects(done)
    assert done.returncode == 0
    assert done.stderr == b""
    assert set(chunks[0]) == {
        "path", "rank", "lines", "line_start", "line_end", "severity", "category", "score", "fingerprint",
        "tokens", "text",
    }  # fmt: skip
    assert {chunk["path"] for chunk in chunks} == {str(LOG)}
    assert [chunk["rank"] for chunk in chunks] == list(range(1, len(chunks) + 1))
    assert len("\n".join(str(chunk["text"]) for chunk in chunks).encode()) <= 2000
    assert "E0658" in str(chunks[0]["text"])


def test_some_inputs_failing_is_exit_code_3(tmp_path: Path) -> None:
    """What could be read is printed, what could not is told on standard error, and the code says partial."""
    (tmp_path / "empty.log").touch()
    done = call("extract", LOG, tmp_path / "none.log", tmp_path / "empty.log", "--format", "jsonl")
    assert done.returncode == 3
    assert objects(done)
    assert done.stderr.count(b"\n") == 2
    assert b"none.log" in done.stderr
    assert b"empty.log" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("extract", LOG, "--format", "xml"),
        ("extract", LOG, "--budget-tokens", "1"),
        ("filter", LOG, "--since", "soonish"),
        ("extract",),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: tuple[str | Path, ...]) -> None:
    """An option that can't be understood is refused before anything is read."""
    done = call(*arguments)
    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr


def test_standard_input_is_a_log() -> None:
    """`-` reads what is piped in."""
    done = call("extract", "-", "--format", "jsonl", stdin=LOG.read_bytes())
    assert done.returncode == 0
    assert objects(done)[0]["path"] == "-"


def test_events_are_printed_in_order() -> None:
    """Each event has its lines, UTC time, level, message, template and fingerprint."""
    done = call("events", LOGS / "github-actions" / "vizro-python-27530380915.log", "--format", "jsonl")
    events = objects(done)
    assert done.returncode == 0
    assert set(events[0]) == {
        "path", "line_start", "line_end", "timestamp", "severity", "message", "template", "fingerprint",
    }  # fmt: skip
    assert str(events[0]["timestamp"]).endswith("Z")
    starts = [int(str(event["line_start"])) for event in events]
    assert starts == sorted(starts)


def test_filter_keeps_what_was_asked_for(tmp_path: Path) -> None:
    """Levels and words choose events; counts come as one object when asked."""
    log = tmp_path / "a.log"
    log.write_text("2026-01-01 10:00:00 INFO no error\n2026-01-01 10:00:01 ERROR disk full\n  at x\n")
    assert (
        call("filter", log, "--severity", "error").stdout.decode()
        == "2026-01-01 10:00:01 ERROR disk full\n  at x\n"
    )
    counts = json.loads(call("filter", log, "--keyword", "no error", "--stats", "--format", "json").stdout)
    assert (counts["events"], counts["levels"]) == (1, {"info": 1})


def test_extract_sees_only_events_that_pass(tmp_path: Path) -> None:
    """Lines of other events give no evidence, line numbers stay, and a log in which none passes is no error."""
    log = tmp_path / "a.log"
    log.write_text(
        "2026-01-01 10:00:00 ERROR link failed\n2026-01-01 11:00:00 INFO fine\n2026-01-01 12:00:00 ERROR disk full\n  at x\n"
    )
    done = call(
        "extract", log, "--since", "2026-01-01 20:30 Asia/Seoul", "--severity", "error", "--format", "jsonl"
    )
    (chunk,) = objects(done)
    assert (done.returncode, chunk["line_start"], chunk["line_end"]) == (0, 3, 4)
    assert "link" not in str(chunk["text"])
    done = call("extract", log, "--keyword", "nothing like it", "--format", "jsonl")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("command", ["extract", "events", "filter"])
def test_mended_bytes_are_told_and_are_no_failure(tmp_path: Path, command: str) -> None:
    """A log whose only trouble is invalid UTF-8 was read whole: a note, in the language asked for, and exit code 0."""
    log = tmp_path / "a.log"
    log.write_bytes(b"2026-01-01 10:00:00 ERROR caf\xe9 failed\n")
    done = call(command, log, "--lang", "ko")
    assert done.returncode == 0
    assert b"failed" in done.stdout
    assert "바이트" in done.stderr.decode()


def test_statistics_are_a_table(tmp_path: Path) -> None:
    """In the text format, counts come with bars, no line wider than the terminal."""
    log = tmp_path / "a.log"
    log.write_text("2026-01-01 10:00:00 INFO a\n" * 3 + "2026-01-01 10:01:00 ERROR b\n", encoding="utf-8")
    text = call("filter", log, "--stats").stdout.decode()
    assert "Events: 4" in text
    assert [line.split() for line in text.splitlines() if "█" in line][:2] == [
        ["3", "█" * 24, "info"],
        ["1", "█" * 8, "error"],
    ]
    assert "2026-01-01T10:01Z" in text


@pytest.mark.parametrize("command", ["extract", "events", "filter"])
def test_names_and_text_steer_no_terminal(tmp_path: Path, command: str) -> None:
    """In the text format, escapes in a file's name or in its lines don't reach the terminal."""
    log = tmp_path / "esc\x1b[31mred.log"
    log.write_text("build starts\nERROR: link failed \x1b]0;title\x07 \u202e here\n", encoding="utf-8")
    done = call(command, log, tmp_path / "gone\x1b[31m.log")
    assert done.returncode == 3
    for stream in (done.stdout, done.stderr):
        assert b"\x1b" not in stream and b"\x07" not in stream and "\u202e".encode() not in stream
    assert b"link failed" in done.stdout and b"gone.log" in done.stderr
    assert command != "extract" or b"escred.log:" in done.stdout


def test_extract_compares_with_logs_of_runs_that_passed(tmp_path: Path) -> None:
    """With `--baseline`, files or folders, the noise of good runs no longer leads; a bad name is usage."""
    steps = "".join(f"compiling unit {n} of 300\n" for n in range(300))
    noise = "ERROR: cache server 10.0.0.7 gave no answer, building without it\n"
    for name, end in (("good/1.log", "done\n"), ("bad.log", "deploy: cannot open release.tar\n")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(steps + noise + steps + end)
    words = ("extract", tmp_path / "bad.log", "--budget-tokens", "300", "--format", "jsonl")
    assert "cache server" in str(objects(call(*words))[0]["text"])
    good = call(*words, "--baseline", tmp_path / "good", "--baseline", tmp_path / "good" / "1.log")
    assert good.returncode == 0
    assert "cannot open release.tar" in str(objects(good)[0]["text"])
    assert call(*words, "--baseline", tmp_path / "none.log").returncode == 2

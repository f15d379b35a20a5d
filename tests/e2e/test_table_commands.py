"""`sql`, `history` and `show` as users call them: the installed console script."""

import csv
import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.cells import cell_len

from bifrost_flow.records import Evidence, Finding
from connectors.warehouse import Warehouse
from tests.warehouse_rows import CALL, FILE, FINDING, RUN

COMMAND = str(Path(sys.executable).parent / "bifrost-flow")
NOW = datetime(2026, 11, 1, 2, 0, 0, 123456, tzinfo=UTC)
RUNS = ("01a00000-0000-7000-8000-000000000001", "01a11111-0000-7000-8000-000000000002")
EVIL = '=HYPERLINK("http://x") \x1b[31mred\x1b[0m \x1b]0;title\x07 bell\x07 한글'


def build_finding(fingerprint: str, status: str, title: str) -> Finding:
    return replace(
        FINDING,
        fingerprint=fingerprint,
        status=status,
        title=title,
        root_cause="a null pointer",
        explanation="because",
        suggestion="fix it",
        evidence=(Evidence("logs/lint.log", 4, "boom \x1b[2J 7"),),
        occurrences=0 if status == "resolved" else 3,
        first_seen=NOW,
        last_seen=NOW,
    )


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A warehouse with two runs: a failure that stays and one that is resolved in the second."""
    location = str(tmp_path_factory.mktemp("tables") / "warehouse")
    warehouse = Warehouse.open(location)
    for night, run_id in enumerate(RUNS):
        now = NOW + timedelta(days=night)
        statuses = ("new", "new") if night == 0 else ("recurring", "resolved")
        file = replace(FILE, job=None, first_ts=None)
        call = replace(
            CALL,
            fingerprint="f1:aaaa1111",
            latency_ms=12.5,
            tokens_in=100,
            tokens_out=20,
            cost_usd=0.5,
            started_at=now,
        )
        warehouse.write_files(run_id, [file])
        warehouse.write_findings(
            run_id,
            [
                build_finding("f1:aaaa1111", statuses[0], EVIL),
                build_finding("f1:aabb2222", statuses[1], "Disk full"),
            ],
        )
        warehouse.write_calls(run_id, [call])
        warehouse.write_run(
            replace(
                RUN,
                run_id=run_id,
                started_at=now,
                finished_at=now + timedelta(seconds=3),
                settings='{"provider": "rules"}',
                bytes=9,
                lines=2,
                groups=2,
                llm_calls=1,
                tokens_in=100,
                tokens_out=20,
                cost_usd=0.5,
            )
        )
    return location


def call(
    *words: str, stdin: str = "", env: Mapping[str, str] | None = None, cwd: str | None = None
) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BIFROST_")}
    done = subprocess.run(
        [COMMAND, *words],
        input=stdin.encode(),
        env={**clean, **(env or {})},
        cwd=cwd,
        capture_output=True,
        timeout=240,
        check=False,
    )
    # Decoded here, since `text=True` would hide how lines end.
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def test_json_is_a_list_of_objects_and_nothing_else(location: str) -> None:
    """Times are ISO 8601 with Z, numbers and nested values keep their kind; nothing else is printed."""
    done = call("sql", "FROM findings ORDER BY run_id, fingerprint", "-w", location, "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads(done.stdout)
    assert len(rows) == 4
    assert rows[0]["first_seen"] == "2026-11-01T02:00:00.123456Z"
    assert rows[0]["evidence"] == [{"path": "logs/lint.log", "line": 4, "quote": "boom \x1b[2J 7"}]
    assert (rows[0]["grounded"], rows[0]["confidence"], rows[0]["title"]) == (True, 0.75, EVIL)
    assert "\x1b" not in done.stdout


def test_json_of_no_rows_is_an_empty_list(location: str) -> None:
    """A query without rows gives `[]`, or a header in CSV."""
    assert call("sql", "FROM runs LIMIT 0", "-w", location, "-f", "json").stdout == "[]\n"
    assert call("sql", "SELECT run_id, lines FROM runs LIMIT 0", "-w", location, "-f", "csv").stdout == (
        "run_id,lines\r\n"
    )


def test_csv_cells_are_whole_and_no_formulas(location: str) -> None:
    """Text that a spreadsheet would run gets an apostrophe, numbers don't; escapes go; nothing is cut."""
    query = (
        "SELECT title, -5 AS n, '-5.5' AS number, '+cmd' AS plus, '@x' AS at_sign, chr(9) || '=1' AS tab, "
        "'-' AS dash, NULL AS nothing, repeat('x', 5000) AS long, started_at, 'a,\"b\nc' AS quoted "
        "FROM findings JOIN runs USING (run_id) WHERE findings.status = 'recurring'"
    )
    done = call("sql", query, "-w", location, "-f", "csv")
    assert (done.returncode, done.stderr) == (0, "")
    header, row = csv.reader(io.StringIO(done.stdout, newline=""))
    cells = dict(zip(header, row, strict=True))
    assert cells["title"].startswith("'=HYPERLINK")
    assert "\x1b" not in done.stdout
    assert "\x07" not in done.stdout
    assert (cells["n"], cells["number"]) == ("-5", "-5.5")
    assert (cells["plus"], cells["at_sign"], cells["tab"], cells["dash"]) == ("'+cmd", "'@x", "'\t=1", "'-")
    assert (cells["nothing"], cells["quoted"], len(cells["long"])) == ("", 'a,"b\nc', 5000)
    assert cells["started_at"] == "2026-11-02T02:00:00.123456Z"


def test_table_in_a_pipe_is_plain_and_aligned(location: str) -> None:
    """Without a terminal there are no colours, frames or escapes; wide letters count double."""
    done = call("sql", "SELECT * FROM (VALUES ('한글', 1), ('a', NULL)) v(name, n)", "-w", location)
    assert done.stdout == "name  n\n한글  1\na     NULL\n"
    assert "\x1b" not in call("sql", "FROM findings", "-w", location).stdout


def test_query_comes_from_standard_input(location: str) -> None:
    """`-` reads the query from a pipe."""
    assert call("sql", "-", "-w", location, stdin="SELECT 41 + 1 AS n -- answer\n;\n").stdout == "n\n42\n"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELEC 1", "Parser Error"),
        ("FROM findingz", 'Did you mean "findings"'),
        ("COPY (SELECT 1) TO 'x.csv'", "COPY"),
        ("DROP VIEW runs", "only read"),
        ("SELECT 1; SELECT 2", "One query"),
        ("SELECT $missing", "missing"),
    ],
)
def test_bad_query_ends_with_2_and_says_why(location: str, tmp_path: Path, query: str, message: str) -> None:
    """A mistake is told on standard error, in DuckDB's words, without a traceback; nothing is written."""
    done = call("sql", query, "-w", location, cwd=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [("sql", "SELECT 1"), ("history",), ("show", "latest")])
def test_missing_warehouse_ends_with_2_and_makes_none(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Looking doesn't create; the message says how a warehouse comes to be."""
    done = call(*words, cwd=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "bifrost-flow run" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_warehouse_comes_from_the_environment(location: str, tmp_path: Path) -> None:
    """`BIFROST_WAREHOUSE` names the folder; the flag goes before it."""
    env = {"BIFROST_WAREHOUSE": location}
    assert call("sql", "SELECT count(*) AS n FROM runs", env=env).stdout == "n\n2\n"
    assert call("sql", "SELECT 1", "-w", str(tmp_path / "none"), env=env).returncode == 2


def test_closed_pipe_is_no_error(location: str) -> None:
    """`| head` ends quietly."""
    command = f'"{COMMAND}" sql "FROM range(200000)" -w "{location}" | head -n 2'
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=240, check=False)
    assert (done.stdout, done.stderr) == ("range\n0\n", "")


def test_history_lists_runs_newest_first(location: str) -> None:
    """Each run is a line with its counts; `--limit` and `--project` narrow it; JSON has all columns."""
    lines = call("history", "-w", location).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["run", RUNS[1][:13], RUNS[0][:13]]
    rows = json.loads(call("history", "-w", location, "--format", "json").stdout)
    assert [row["run_id"] for row in rows] == [RUNS[1], RUNS[0]]
    assert [(row["new"], row["recurring"], row["resolved"]) for row in rows] == [(0, 1, 1), (2, 0, 0)]
    assert rows[0]["started_at"] == "2026-11-02T02:00:00.123456Z"
    assert rows[0]["settings"] == {"provider": "rules"}
    assert len(json.loads(call("history", "-w", location, "-n", "1", "-f", "json").stdout)) == 1
    assert json.loads(call("history", "-w", location, "--project", "web", "-f", "json").stdout) == []


def test_history_without_runs_says_so(tmp_path: Path) -> None:
    """An empty warehouse is no error: the hint goes to standard error."""
    Warehouse.open(str(tmp_path / "w"))
    done = call("history", "-w", str(tmp_path / "w"))
    assert (done.returncode, done.stdout) == (0, "")
    assert "no runs yet" in done.stderr


@pytest.mark.parametrize("name", [RUNS[1], RUNS[1][:6], RUNS[1][:13].upper(), "latest"])
def test_show_run_by_any_of_its_names(location: str, name: str) -> None:
    """A run is found by its id, the start of it, or as the latest, and shown with its findings."""
    shown = call("show", name, "-w", location)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert RUNS[1] in shown.stdout
    assert "Disk full" in shown.stdout
    assert "\x1b" not in shown.stdout
    told = json.loads(call("show", name, "-w", location, "--format", "json").stdout)
    assert told["run"]["run_id"] == RUNS[1]
    assert [finding["fingerprint"] for finding in told["findings"]] == ["f1:aaaa1111", "f1:aabb2222"]
    assert [file["path"] for file in told["files"]] == ["logs/lint.log"]


@pytest.mark.parametrize("name", ["f1:aaaa1111", "f1:aaa", "aaaa"])
def test_show_finding_with_evidence_and_history(location: str, name: str) -> None:
    """A finding is found with or without the tag of its rules, and shown with evidence and its runs."""
    shown = call("show", name, "-w", location)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "logs/lint.log:4  boom" in shown.stdout
    assert "a null pointer" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert shown.stdout.index(RUNS[1][:13]) < shown.stdout.index(RUNS[0][:13])
    told = json.loads(call("show", name, "-w", location, "--format", "json").stdout)
    assert (told["fingerprint"], told["status"]) == ("f1:aaaa1111", "recurring")
    assert [(run["run_id"], run["status"]) for run in told["history"]] == [
        (RUNS[1], "recurring"),
        (RUNS[0], "new"),
    ]


@pytest.mark.parametrize(
    ("name", "message"), [("zzz", "No run and no finding"), ("01a", "any of 2"), ("aa", "of 2")]
)
def test_show_of_none_or_several_ends_with_2(location: str, name: str, message: str) -> None:
    """What is unknown or ambiguous is told, with the candidates."""
    done = call("show", name, "-w", location)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_korean_columns_are_straight(location: str) -> None:
    """A Korean letter is two cells wide: in a pipe each column begins at the same cell on every line."""
    lines = call("history", "-w", location, "--lang", "ko").stdout.splitlines()
    header = re.split(r"  +", lines[0])
    begins = [cell_len(lines[0][: lines[0].index(name)]) for name in header]
    for line in lines[1:]:
        cells, position = [], 0
        for letter in line:
            cells.append((position, letter))
            position += cell_len(letter)
        at = dict(cells)
        assert all(at.get(begin - 1, " ") == " " and at[begin] != " " for begin in begins if begin), line


def test_everything_speaks_korean(location: str) -> None:
    """`--lang ko` turns headings and errors."""
    assert "프로젝트" in call("history", "-w", location, "--lang", "ko").stdout
    assert "실행이나 발견 항목이 없습니다" in call("show", "zzz", "-w", location, "--lang", "ko").stderr
    assert "원인" in call("show", "f1:aaaa", "-w", location, "--lang", "ko").stdout


def run_in_terminal(words: list[str], columns: int) -> str:
    """Run the command with a terminal of `columns` as its standard output, and return what it printed."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    env = {**os.environ, "TERM": "xterm-256color"}
    env.pop("COLUMNS", None)
    with subprocess.Popen([COMMAND, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=env) as process:
        os.close(theirs)
        output = b""
        try:
            while part := os.read(ours, 65536):
                output += part
        except OSError:  # how Linux says that the other end was closed
            pass
        os.close(ours)
    assert process.returncode == 0, output
    return output.decode()


@pytest.mark.parametrize("columns", [80, 200])
def test_terminal_gets_all_of_a_wide_row_within_its_width(location: str, columns: int) -> None:
    """Many columns become one line a value instead of shreds; log text moves no cursor."""
    shown = run_in_terminal(
        ["sql", "FROM findings ORDER BY run_id, fingerprint LIMIT 1", "-w", location], columns
    )
    assert "\x1b[31mred" not in shown
    assert "\x1b]0;" not in shown
    assert "a null pointer" in shown
    assert "first_seen" in shown


def test_history_fits_a_narrow_terminal(location: str) -> None:
    """In 80 columns the runs stay a table: what matters least is left out, and nothing is folded."""
    shown = run_in_terminal(["history", "-w", location], 80)
    lines = [line for line in shown.replace("\r", "").split("\n") if line.strip()]
    assert len(lines) == 4
    assert RUNS[1][:13] in lines[2]
    assert "new" in lines[0]
    assert "cached" not in lines[0]
    assert "cached" in run_in_terminal(["history", "-w", location], 200)


def test_terminal_gets_a_table(location: str) -> None:
    """Few columns are a table that fits."""
    shown = run_in_terminal(["sql", "SELECT status, fingerprint FROM findings", "-w", location], 80)
    assert "─" in shown
    assert "f1:aabb2222" in shown
    assert "Run" in run_in_terminal(["show", "latest", "-w", location], 80)

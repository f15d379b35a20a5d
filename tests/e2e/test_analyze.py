"""`bifrost-flow analyze`: one log, answered while it is written, without a server of Prefect's."""

import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from bifrost_flow.evidence.fingerprint import VERSION
from bifrost_flow.rules import RULES_VERSION
from tests.console import BIFROST, LOGS, Console
from tests.model_server import Fault, ModelServer

LOG = LOGS / "travis" / "alacritty-rust-564527447.log"
PASSED = LOGS / "github-actions" / "jest-javascript-2499439457.log"
_COMPILING = "".join(f"[CC] file{number}.o\n" for number in range(30))
TWO_FAILURES = f"""\
{_COMPILING}src/a.c:10:5: error: 'alpha' undeclared (first use in this function)
   10 |     alpha();
      |     ^~~~~
{_COMPILING}src/b.c:33:5: error: expected ';' before 'return'
   33 |     return 0
      |     ^~~~~
make: *** [Makefile:3: all] Error 1
"""
OLLAMA = ("--provider", "ollama", "--model", "scripted")


@pytest.fixture
def shell(tmp_path: Path) -> Console:
    """Return a shell without any Prefect server."""
    return Console(tmp_path, tmp_path / "prefect-home")


def ask(shell: Console, query: str) -> list[dict[str, Any]]:
    return json.loads(shell.call("sql", query, "--format", "json").out)


def test_text_in_a_pipe_and_the_tables_of_a_run(shell: Console) -> None:
    """The explanation and its evidence are plain text; run, chunks, finding, call, answer in tables."""
    done = shell.call("analyze", LOG, "--provider", "rules")
    assert done.code == 0, done.err
    assert done.out.startswith("error[E0658]")
    assert f"{LOG}:439: error[E0658]" in done.out
    assert "\x1b" not in done.out
    assert "bifrost-warehouse" in done.err and "bifrost-warehouse" not in done.out
    assert not shell.prefect_home.exists(), "Prefect was started or at least asked"
    counts = {
        table: ask(shell, f"SELECT count(*) AS n FROM {table}")[0]["n"]
        for table in ("runs", "files", "chunks", "findings", "llm_calls", "cache")
    }
    assert counts.pop("chunks") > 1
    assert set(counts.values()) == {1}
    again = shell.call("analyze", LOG, "--provider", "rules", "--format", "json").json
    assert (again["llm_calls"], again["cache_hits"]) == (0, 1)
    assert again["findings"][0]["status"] == "recurring"


def test_quiet_and_verbose(shell: Console) -> None:
    """`--quiet` leaves the answer alone, `--verbose` tells of each call, and errors are told in any case."""
    quiet = shell.call("analyze", LOG, "--provider", "rules", "--quiet")
    assert (quiet.code, quiet.err) == (0, "")
    assert quiet.out.startswith("error[E0658]")
    verbose = shell.call("analyze", LOG, "--provider", "rules", "--no-cache", "-v")
    assert f"{RULES_VERSION} of rules: attempt 1 for {VERSION}:" in verbose.err
    assert "error[E0658]" not in verbose.err, "text of a log in what is told of calls"
    missing = shell.call("analyze", "nowhere.log", "--provider", "rules", "--quiet")
    assert "nowhere.log" in missing.err


def test_a_run_takes_the_answers_of_an_analysis(console: Console) -> None:
    """The cache is one: what `analyze` paid for costs `run` nothing."""
    with ModelServer() as server:
        first = console.call("analyze", LOG, *OLLAMA, "--format", "json", BIFROST_OLLAMA_URL=server.url)
        assert (first.code, first.json["llm_calls"]) == (0, 1), first.err
        assert first.json["tokens_in"] > 0 and first.json["tokens_out"] > 0
        run = console.call("run", LOG, *OLLAMA, "--json", BIFROST_OLLAMA_URL=server.url).json
        assert (run["llm_calls"], run["cache_hits"]) == (0, 1)
        assert len(server.chats) == 1


def test_json_is_one_object_and_nothing_else(shell: Console) -> None:
    """From standard input too; what a person should know is on standard error."""
    done = shell.call("analyze", "-", "--provider", "rules", "--format", "json", stdin=LOG.read_bytes())
    assert done.code == 0
    assert done.json["findings"][0]["evidence"][0]["line"] == 439
    assert done.json["outcome"] == "failed"
    assert "rules" in done.err
    wrong = shell.call("analyze", LOG, "--prompt", "poem", "--format", "json")
    assert (wrong.code, wrong.json["status"]) == (2, "failed")


def test_a_new_failure_shows_what_it_is_like(shell: Console) -> None:
    """Text, Markdown, JSON, `show` and exports name earlier failures like a new one; the first has none."""
    log = 'Traceback (most recent call last):\n  File "app.py", line 3, in <module>\n    import {0}\n'
    log += "ModuleNotFoundError: No module named '{0}'\n"
    for name in ("yaml", "numpy", "scipy", "polars"):
        (shell.folder / f"{name}.log").write_text(log.format(name))
    words = ("--provider", "rules")
    (first,) = shell.call("analyze", "yaml.log", *words, "--format", "json").json["findings"]
    assert first["similar"] == []
    command = f"bifrost-flow show {first['fingerprint']}"
    text = shell.call("analyze", "numpy.log", *words).out
    assert text.index("numpy") < text.index("Similar earlier failures") < text.index(command)
    again = shell.call("analyze", "numpy.log", *words).out
    assert "recurring" in again.lower() and "Similar" not in again
    markdown = shell.call("analyze", "scipy.log", *words, "--format", "markdown", "--lang", "ko").out
    assert "**비슷했던 이전 장애**" in markdown and f"`{command}`" in markdown
    (found,) = shell.call("analyze", "polars.log", *words, "--format", "json").json["findings"]
    assert len(found["similar"]) == 3
    assert {"title", "status", "last_seen", "suggestion", "fingerprint"} <= found["similar"][0].keys()
    shown = shell.call("show", found["fingerprint"])
    assert command in shown.out and "Similar earlier failures" in shown.out
    assert len(shell.call("show", found["fingerprint"], "--format", "json").json["similar"]) == 3
    for form in ("json", "markdown", "html"):
        assert first["fingerprint"] in shell.call("export", "--format", form).out


def test_prefect_is_not_imported(shell: Console) -> None:
    """Without a server nothing of Prefect's or MLflow's is loaded: that is what keeps it quick."""
    program = "from bifrost_flow.cli import app; app()"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", program, "analyze", str(LOG), "--provider", "rules"],
        cwd=shell.folder,
        env=shell.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "polars" in loaded
    assert loaded.isdisjoint({"prefect", "mlflow", "boto3"})


def read_until(stream: Any, text: str) -> str:
    """Read until `text` has come; the test's own time-out ends a stream in which it does not."""
    seen = ""
    while text not in seen:
        piece = os.read(stream.fileno(), 4096).decode()
        assert piece, f"ended before {text!r}: {seen}"
        seen += piece
    return seen


def test_the_answer_is_shown_while_it_is_written(shell: Console) -> None:
    """The evidence and the beginning of the answer are there long before its end."""
    with ModelServer(piece_delay_s=0.2) as server:
        started = shell.start("analyze", LOG, *OLLAMA, BIFROST_OLLAMA_URL=server.url)
        early = read_until(started.stdout, "Root cause")
        assert started.poll() is None
        assert ":439: error[E0658]" in early
        assert "What to do" not in early
        rest, err = started.communicate(timeout=240)
    assert started.returncode == 0, err
    assert "What to do" in rest
    assert (early + rest).count("Look at the line that is cited.") == 1
    assert "Unclosed" not in err
    calls = ask(shell, "SELECT status, tokens_in, tokens_out FROM llm_calls")
    assert calls[0]["tokens_in"] > 0 and calls[0]["tokens_out"] > 0


def test_a_stream_that_breaks_off_is_asked_for_again(shell: Console) -> None:
    """The reader is told, the answer is whole in the end, and both calls are in the tables."""
    with ModelServer() as server:
        server.script(Fault(drop_after=6))
        done = shell.call("analyze", LOG, *OLLAMA, BIFROST_OLLAMA_URL=server.url)
    assert done.code == 0, done.err
    assert "The answer broke off; it is asked for again." in done.out
    assert "Look at the line that is cited." in done.out
    assert [row["status"] for row in ask(shell, "SELECT status FROM llm_calls ORDER BY attempt")] == [
        "failed",
        "ok",
    ]


def test_interrupt_in_the_middle_of_an_answer(shell: Console) -> None:
    """Ctrl-C ends with 130; the evidence is saved, half an answer is in no table, and is asked for anew."""
    with ModelServer(piece_delay_s=0.3) as server:
        started = shell.start("analyze", LOG, *OLLAMA, BIFROST_OLLAMA_URL=server.url)
        read_until(started.stdout, "Root cause")
        started.send_signal(signal.SIGINT)
        out, err = started.communicate(timeout=240)
        assert started.returncode == 130, err
        assert "broke off" in out
        assert "Traceback" not in err
        assert ask(shell, "SELECT status, groups FROM runs") == [{"status": "interrupted", "groups": 1}]
        assert ask(shell, "SELECT count(*) > 1 AS saved FROM chunks") == [{"saved": True}]
        for table in ("findings", "cache"):
            assert ask(shell, f"SELECT * FROM {table}") == []
        server.piece_delay_s = 0.0
        again = shell.call("analyze", LOG, *OLLAMA, "--format", "json", BIFROST_OLLAMA_URL=server.url)
        assert (again.code, again.json["llm_calls"]) == (0, 1)


def test_interrupt_while_standard_input_is_open(shell: Console) -> None:
    """Ctrl-C in `kubectl logs -f … | bifrost-flow analyze -` saves the evidence in what had arrived."""
    started = subprocess.Popen(
        [BIFROST, "analyze", "-", "--provider", "rules"],
        cwd=shell.folder,
        env=shell.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert started.stdin
    started.stdin.write(LOG.read_bytes())
    started.stdin.flush()
    warehouse = shell.folder / "bifrost-warehouse" / "journal"
    deadline = time.monotonic() + 240
    while not list(warehouse.glob("*.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    while struct.unpack("i", fcntl.ioctl(started.stdin, termios.FIONREAD, bytes(4)))[0]:
        assert time.monotonic() < deadline, "the pipe is not read"
        time.sleep(0.05)
    time.sleep(1)  # nothing shows when what came through the pipe has been looked at
    started.send_signal(signal.SIGINT)
    started.wait(timeout=240)
    assert started.returncode == 130
    started.communicate()
    assert ask(shell, "SELECT status, lines > 400 AS read FROM runs") == [
        {"status": "interrupted", "read": True}
    ]


def test_a_log_without_failure_costs_no_call(shell: Console) -> None:
    """A job that passed, and a log that tells of no failure: said so, exit code 0, nobody asked."""
    with ModelServer() as server:
        passed = shell.call("analyze", PASSED, *OLLAMA, BIFROST_OLLAMA_URL=server.url)
        calm = shell.call("analyze", "-", *OLLAMA, stdin=b"hello\nbye\n", BIFROST_OLLAMA_URL=server.url)
        assert server.chats == []
    assert (passed.code, calm.code) == (0, 0)
    assert "passed" in passed.out
    assert "no failure" in calm.out
    assert [row["llm_calls"] for row in ask(shell, "SELECT llm_calls FROM runs")] == [0, 0]


def test_a_model_that_is_down_leaves_the_evidence(shell: Console) -> None:
    """Exit code 3, the reason, and the evidence on standard output and in the tables."""
    done = shell.call("analyze", LOG, *OLLAMA, BIFROST_OLLAMA_MAX_RETRIES="0")
    assert done.code == 3
    assert ":439: error[E0658]" in done.out
    assert "127.0.0.1:9" in done.err
    assert ask(shell, "SELECT status FROM runs") == [{"status": "partial"}]
    assert ask(shell, "SELECT count(*) > 0 AS saved FROM chunks") == [{"saved": True}]
    piped = shell.call("analyze", LOG, *OLLAMA, "--format", "json", BIFROST_OLLAMA_MAX_RETRIES="0").json
    assert piped["others"][0]["asked"]
    lines = dict(piped["others"][0]["excerpt"])
    assert lines[439].startswith("error[E0658]: `cfg(target_vendor)` is experimental")


@pytest.mark.parametrize(
    ("name", "content", "code", "said"),
    [
        ("absent.log", None, 3, "absent.log"),
        ("zero.log", b"", 3, "zero.log"),
        ("noise.log", bytes(range(256)) * 40, 3, "noise.log"),
        ("folder", {"a.log": b"error: a\n", "b.log": b"error: b\n"}, 2, "bifrost-flow run folder"),
    ],
)
def test_what_is_no_log_is_named(shell: Console, name: str, content: Any, code: int, said: str) -> None:
    """A missing, empty or binary file and a folder of logs get one clear line."""
    path = shell.folder / name
    if isinstance(content, dict):
        path.mkdir()
        for each, data in content.items():
            (path / each).write_bytes(data)
    elif content is not None:
        path.write_bytes(content)
    done = shell.call("analyze", name, "--provider", "rules")
    assert done.code == code
    assert said in done.err
    assert done.out == ""
    assert "Traceback" not in done.err


def test_other_failures_are_listed_and_explained_on_demand(shell: Console) -> None:
    """One is explained and the rest named; with --all each is explained, and each call is one failure's."""
    (shell.folder / "two.log").write_text(TWO_FAILURES)
    one = shell.call("analyze", "two.log", "--provider", "rules")
    listed = one.out.partition("Other failures in this log")[2].splitlines()[1:]
    assert len(listed) == 1
    assert "two.log:" in listed[0] and f"[{VERSION}:" in listed[0]
    everything = shell.call("analyze", "two.log", "--provider", "rules", "--all", "--format", "json").json
    assert len(everything["findings"]) == 2
    assert (everything["others"], everything["llm_calls"], everything["cache_hits"]) == ([], 1, 1)
    text = shell.call("analyze", "two.log", "--provider", "rules", "--all").out
    assert text.count("Root cause") == 2
    with ModelServer(piece_delay_s=0.01) as server:
        streamed = shell.call("analyze", "two.log", *OLLAMA, "--all", BIFROST_OLLAMA_URL=server.url).out
    assert streamed.count("Look at the line that is cited.") == 2


def test_markdown_in_a_pipe_is_markdown_and_rendered_in_a_terminal(shell: Console) -> None:
    """The same answer as source for a file, and set for a screen."""
    source = shell.call("analyze", LOG, "--provider", "rules", "--format", "markdown").out
    assert source.startswith("## ")
    assert "**Root cause**" in source
    with ModelServer(piece_delay_s=0.02) as server:
        done = shell.call_in_terminal("analyze", LOG, *OLLAMA, BIFROST_OLLAMA_URL=server.url)
    text = done.out
    assert done.code == 0
    assert "**Root cause**" not in text and "Root cause" in text
    assert text.count("Root cause") > 2, "nothing was shown while it was written"
    assert text.rstrip().count("Fingerprint") == 1


def test_korean(shell: Console) -> None:
    """Headings and answer follow --lang."""
    done = shell.call("analyze", LOG, "--provider", "rules", "--lang", "ko")
    assert done.code == 0
    assert "근본 원인" in done.out and "Root cause" not in done.out


def test_with_a_server_it_is_a_flow_run(console: Console, prefect_api: str) -> None:
    """Where a server is configured it has the run, its stages and its result; the screen shows the same."""
    with ModelServer(piece_delay_s=0.01) as server:
        done = console.call("analyze", LOG, *OLLAMA, BIFROST_OLLAMA_URL=server.url)
    assert done.code == 0, done.err
    assert done.out.index("Evidence") < done.out.index("Root cause"), "it was not streamed"
    (row,) = ask(console, "SELECT flow_run_id FROM runs")
    with httpx.Client(base_url=prefect_api, trust_env=False) as api:
        run = api.get(f"/flow_runs/{row['flow_run_id']}").json()
        flow = api.get(f"/flows/{run['flow_id']}").json()
        where = {"flow_runs": {"id": {"any_": [row["flow_run_id"]]}}}
        tasks = api.post("/task_runs/filter", json=where).json()
    assert (flow["name"], run["state_type"]) == ("analyze", "COMPLETED")
    assert run["name"].startswith(LOG.name)
    assert {task["name"].rpartition("-")[0] for task in tasks} >= {"ingest", "extract", "analyse", "persist"}

"""`bifrost-flow run` on real logs: what it prints, writes and returns."""

import gzip
import json
import os
import signal
import sqlite3
import subprocess
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import duckdb
import httpx
import pytest

from bifrost_flow.render import FORMATS
from tests.console import BIFROST, LOGS, Console
from tests.model_server import ModelServer
from tests.recorder import record_requests

SUMMARY_KEYS = {
    "run_id",
    "status",
    "files",
    "lines",
    "bytes",
    "chunks",
    "groups",
    "llm_calls",
    "cache_hits",
    "tokens_in",
    "tokens_out",
    "tokens_saved",
    "cost_usd",
    "findings",
    "new",
    "recurring",
    "regressed",
    "resolved",
    "errors",
    "warehouse",
}
STAGES = {
    "ingest",
    "normalise",
    "filter",
    "extract",
    "group",
    "analyse",
    "persist",
    "track",
    "export",
    "notify",
}


def run_json(console: Console, *words: str | Path, code: int = 0, **extra: str) -> dict[str, Any]:
    """Run `run --json` and return its object."""
    done = console.call("run", *words, "--json", stdin=None, **extra)
    assert done.code == code, done.err
    return done.json


def test_first_run_finds_new_failures_and_a_second_one_asks_nothing(console: Console) -> None:
    """The first run calls once for each group; the second calls nobody and finds the same, recurring."""
    first = run_json(console, LOGS, "--provider", "rules")
    assert set(first) >= SUMMARY_KEYS
    assert first["status"] == "completed"
    assert first["files"] == 13
    assert first["llm_calls"] == first["groups"] == first["findings"] == first["new"] > 5
    assert first["cache_hits"] == 0
    second = run_json(console, LOGS, "--provider", "rules")
    assert (second["llm_calls"], second["cache_hits"]) == (0, first["groups"])
    assert (second["new"], second["recurring"]) == (0, first["findings"])
    again = run_json(console, LOGS, "--provider", "rules", "--no-cache")
    assert again["llm_calls"] == first["groups"]


def test_tables_hold_the_run(console: Console) -> None:
    """Any DuckDB client reads the run from the warehouse's views."""
    summary = run_json(console, LOGS / "travis", "--provider", "rules", "--warehouse", "tables")
    with duckdb.connect(str(console.folder / "tables" / "bifrost.duckdb"), read_only=True) as connection:
        row = connection.sql("SELECT run_id::VARCHAR, files, status, errors FROM runs").fetchall()
        assert row == [(summary["run_id"], 5, "completed", 0)]
        counts = {
            table: connection.sql(f"SELECT count(*) FROM {table}").fetchall()[0][0]
            for table in ("files", "chunks", "findings", "llm_calls", "cache")
        }
    assert counts == {
        "files": 5,
        "chunks": summary["chunks"],
        "findings": summary["findings"],
        "llm_calls": summary["llm_calls"],
        "cache": summary["llm_calls"],
    }


def test_evidence_is_the_logs_own_text(console: Console) -> None:
    """Each quote of a finding stands in the line of the file that it names."""
    run_json(console, LOGS / "travis" / "alacritty-rust-564527447.log", "--provider", "rules")
    rows = json.loads(console.call("sql", "SELECT evidence FROM findings", "--format", "json").out)
    quotes = [quote for row in rows for quote in row["evidence"]]
    assert quotes
    for quote in quotes:
        line = Path(quote["path"]).read_bytes().split(b"\n")[quote["line"] - 1].decode()
        assert quote["quote"].strip() in line


def test_the_table_for_people_names_findings_reports_and_next_steps(console: Console) -> None:
    """Without --json a person gets the findings, the paths of report and tables, and commands that work."""
    done = console.call("run", LOGS / "travis", "--provider", "rules")
    assert done.code == 0
    assert "error[E0658]" in done.out
    reports = [line.split()[-1] for line in done.out.splitlines() if line.startswith("Report")]
    assert [Path(path).name for path in reports] == ["report.md", "report.html"]
    assert all(Path(path).read_text(encoding="utf-8") for path in reports)
    commands = done.out.partition("Try next:\n")[2].splitlines()
    assert len(commands) == 3
    for command in commands:
        ran = subprocess.run(
            command,
            shell=True,
            cwd=console.folder,
            env=console.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.strip()


def test_standard_input_globs_and_compressed_files_are_read(console: Console) -> None:
    """`-`, a glob and a gz file are inputs like any other."""
    log = LOGS / "travis" / "alacritty-rust-564527447.log"
    piped = console.call("run", "-", "--provider", "rules", "--json", stdin=log.read_bytes())
    assert piped.code == 0, piped.err
    assert (piped.json["files"], piped.json["findings"]) == (1, 1)
    globbed = run_json(console, str(LOGS / "**" / "shiny-*.log"), "--provider", "rules")
    assert (globbed["files"], globbed["findings"]) == (2, 1)
    packed = console.folder / "job.log.gz"
    packed.write_bytes(gzip.compress(log.read_bytes()))
    assert run_json(console, packed, "--provider", "rules")["lines"] == piped.json["lines"]


def test_bad_input_gets_a_line_of_its_own_and_the_rest_is_kept(console: Console) -> None:
    """Each bad input is named with its reason, the good log is audited, and the exit code says partial."""
    folder = console.folder
    good = LOGS / "travis" / "alacritty-rust-564527447.log"
    (folder / "zero.log").touch()
    (folder / "noise.log").write_bytes(bytes(range(256)) * 40)
    (folder / "cut.log.gz").write_bytes(gzip.compress(good.read_bytes())[:2000])
    (folder / "nothing").mkdir()
    bad = ["zero.log", "noise.log", "cut.log.gz", "nothing", "absent.log", "no-*.match"]
    done = console.call("run", good, *bad, "--provider", "rules", "--json")
    assert done.code == 3
    problems = done.json["problems"]
    for name in bad:
        assert len([problem for problem in problems if name in problem]) == 1, name
    assert done.json["errors"] == len(bad)
    assert done.json["status"] == "partial"
    assert done.json["findings"] >= 1
    statuses = console.call("sql", "SELECT path, status FROM files ORDER BY path", "--format", "json")
    found = {Path(row["path"]).name: row["status"] for row in json.loads(statuses.out)}
    assert found["zero.log"] == "empty"
    assert found["noise.log"] == "binary"
    assert found["cut.log.gz"] == "truncated"
    assert found["absent.log"] == "missing"


def test_invalid_utf8_is_told_and_read_all_the_same(console: Console) -> None:
    """Bytes that are no UTF-8 cost nothing but themselves: the line is there, a note says so, all is fine."""
    (console.folder / "latin.log").write_bytes(b"start\nerror: caf\xe9 is closed\nBuild FAILED\n")
    done = console.call("run", "latin.log", "--provider", "rules", "--json")
    assert done.code == 0
    assert done.json["lines"] == 3
    assert "latin.log: some bytes are no valid UTF-8" in done.err
    rows = json.loads(console.call("sql", "SELECT error, status FROM files", "--format", "json").out)
    assert rows[0]["status"] == "read"
    assert "UTF-8" in rows[0]["error"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_without_permission_is_unreadable(console: Console) -> None:
    """A file that may not be read is named, with exit code 3."""
    log = console.folder / "secret.log"
    log.write_text("error: x\n")
    log.chmod(0)
    done = console.call("run", log, "--provider", "rules", "--json")
    assert done.code == 3
    assert "secret.log" in done.json["problems"][0]


def test_passing_jobs_give_no_findings(console: Console) -> None:
    """Logs of jobs that passed leave nothing to look at."""
    passed = [
        LOGS / "github-actions" / "jest-javascript-2499439457.log",
        LOGS / "zuul" / "console-pep8.good.log",
    ]
    summary = run_json(console, *passed, "--provider", "rules")
    assert (summary["findings"], summary["llm_calls"]) == (0, 0)


def test_a_log_that_tells_of_no_failure_gives_no_finding(console: Console) -> None:
    """Lines that say nothing of an end, good or bad, are no failure."""
    done = console.call("run", "-", "--provider", "rules", "--json", stdin=b"hello\nall is well\nbye\n")
    assert done.code == 0
    assert (done.json["findings"], done.json["llm_calls"]) == (0, 0)


def test_only_events_that_pass_the_filter_count(console: Console) -> None:
    """Severity, words and times choose what is analysed; a log in which nothing passes is no error."""
    (console.folder / "a.log").write_text(
        "2026-01-01 10:00:00 ERROR link failed\n2026-01-01 12:00:00 ERROR disk full\n", encoding="utf-8"
    )
    (console.folder / "b.log").write_text("2026-01-01 12:00:00 INFO error code 0\n", encoding="utf-8")
    words = ("--severity", "error", "--keyword", "f(ull|ailed)", "--regex", "--since", "2026-01-01 20:00 KST")
    summary = run_json(console, "a.log", "b.log", "--provider", "rules", *words)
    assert (summary["status"], summary["files"], summary["chunks"]) == ("completed", 2, 1)
    rows = json.loads(console.call("sql", "SELECT line_start, text FROM chunks", "--format", "json").out)
    assert [(row["line_start"], "disk full" in row["text"]) for row in rows] == [(2, True)]
    refused = console.call("run", "a.log", "--severity", "loud")
    assert refused.code == 2 and "loud" in refused.err


def test_dry_run_calls_nobody_and_writes_nothing(console: Console) -> None:
    """A dry run tells what would be asked, asks nobody, and makes no warehouse."""
    with ModelServer() as server:
        done = console.call(
            "run",
            LOGS,
            "--dry-run",
            "--json",
            "--provider",
            "ollama",
            "--model",
            "scripted",
            BIFROST_OLLAMA_URL=server.url,
        )
        assert done.code == 0, done.err
        assert server.chats == []
    assert done.json["status"] == "dry_run"
    assert done.json["llm_calls"] == 0
    assert done.json["planned_calls"] == done.json["groups"] > 0
    assert done.json["planned_tokens"] > 0
    assert not (console.folder / "bifrost-warehouse").exists()


def test_ollama_answers_and_another_model_is_asked_anew(console: Console) -> None:
    """`auto` takes an Ollama that answers and says so; a second model is asked for its own answers."""
    with ModelServer(models=("scripted:latest", "other:latest")) as server:
        words = ("run", LOGS / "travis", "--json", "--model", "scripted")
        done = console.call(*words, BIFROST_OLLAMA_URL=server.url)
        assert done.code == 0, done.err
        assert "Ollama" in done.err
        assert done.json["provider"] == "ollama"
        assert done.json["llm_calls"] == len(server.chats) == done.json["groups"]
        assert done.json["tokens_in"] > 0
        warm = console.call(*words, BIFROST_OLLAMA_URL=server.url).json
        assert (warm["llm_calls"], warm["tokens_saved"]) == (
            0,
            done.json["tokens_in"] + done.json["tokens_out"],
        )
        other = console.call(*words[:-1], "other", BIFROST_OLLAMA_URL=server.url).json
        assert other["llm_calls"] == done.json["llm_calls"]


def test_a_model_that_is_down_fails_its_calls_and_the_rest_is_saved(console: Console) -> None:
    """With the server gone the run is partial, says why, and the next run asks only what is missing."""
    words = ("run", LOGS / "travis", "--provider", "ollama", "--model", "scripted", "--json")
    down = console.call(*words, BIFROST_OLLAMA_MAX_RETRIES="0")
    assert down.code == 3
    assert down.json["status"] == "partial"
    assert down.json["findings"] == 0
    assert down.json["chunks"] > 0
    assert down.json["errors"] == down.json["groups"]
    with ModelServer() as server:
        up = console.call(*words, BIFROST_OLLAMA_URL=server.url).json
    assert up["llm_calls"] == up["findings"] == up["groups"]


def _wait_for_answers(server: ModelServer, count: int) -> None:
    deadline = time.monotonic() + 240
    while len(server.chats) < count:
        assert time.monotonic() < deadline, "the run never asked"
        time.sleep(0.02)


def test_interrupt_saves_what_was_paid_for(console: Console) -> None:
    """Ctrl-C ends with 130, answers that arrived are findings, and the next run asks for the others only."""
    with ModelServer(delay_s=0.4) as server:
        words = ("run", LOGS, "--provider", "ollama", "--model", "scripted", "--concurrency", "1", "--json")
        started = console.start(*words, BIFROST_OLLAMA_URL=server.url)
        _wait_for_answers(server, 4)
        started.send_signal(signal.SIGINT)
        out, err = started.communicate(timeout=240)
        assert started.returncode == 130, err
        summary = json.loads(out)
        assert summary["status"] == "interrupted"
        assert 3 <= summary["findings"] < summary["groups"]
        assert "Traceback" not in err
        server.delay_s = 0.0
        after = run_json(console, *words[1:-1], BIFROST_OLLAMA_URL=server.url)
    assert after["llm_calls"] == summary["groups"] - summary["findings"]
    assert after["findings"] == summary["groups"]


def test_kill_loses_only_calls_in_flight(console: Console) -> None:
    """After SIGKILL the next run takes the answers that had arrived from the dead run's journal."""
    with ModelServer(delay_s=0.4) as server:
        words = ("run", LOGS, "--provider", "ollama", "--model", "scripted", "--concurrency", "1", "--json")
        started = console.start(*words, BIFROST_OLLAMA_URL=server.url)
        _wait_for_answers(server, 4)
        started.kill()
        started.communicate()
        server.delay_s = 0.0
        after = run_json(console, *words[1:-1], BIFROST_OLLAMA_URL=server.url)
    assert after["cache_hits"] >= 3
    assert after["findings"] == after["groups"]


def test_two_runs_at_once_on_one_warehouse_both_succeed(console: Console) -> None:
    """Two processes write the same new warehouse at once; both runs are there afterwards."""
    words = ("run", LOGS / "travis", "--provider", "rules", "--json")
    both = [console.start(*words), console.start(*words)]
    results = [(each.communicate(timeout=120), each.returncode) for each in both]
    assert [code for _, code in results] == [0, 0], results
    rows = console.call("sql", "SELECT count(*) AS runs, sum(files) AS files FROM runs", "--format", "json")
    assert json.loads(rows.out) == [{"runs": 2, "files": 10}]
    assert all("tracked" in json.loads(out)["mlflow"] for (out, _), _ in results)


def test_gate_trips_on_new_findings_and_not_on_known_ones(console: Console) -> None:
    """--fail-on new is 1 the first night and 0 the second; --fail-on any stays 1."""
    words = ("run", LOGS / "zuul", LOGS / "travis", "--provider", "rules", "--quiet")
    assert console.call(*words, "--fail-on", "new").code == 1
    assert console.call(*words, "--fail-on", "new").code == 0
    assert console.call(*words, "--fail-on", "any").code == 1


def test_exports_go_where_they_are_asked_to(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """--format and --out name the files; an unwritable place is a clear problem, and the results stay.

    Slack and the webhook are told of the first run, and not of the second one, in which nothing is new.
    """
    words = ("run", LOGS / "travis", "--provider", "rules", "--json")
    with record_requests(monkeypatch) as recorder:
        (console.folder / "bifrost.yaml").write_text(
            "output: {base_url: https://ci.example/reports}\n"
            f"slack: {{webhook_url: {recorder.url}/slack}}\n"
            f"webhook: {{url: {recorder.url}/hook}}\n"
        )
        done = console.call(*words, "--format", ",".join(FORMATS), "--out", "reports")
        assert (done.json["slack"], done.json["webhook"]) == ("posted", "sent")
        again = console.call(*words, "--out", "audit.html")
        assert (again.json["slack"], again.json["webhook"]) == ("nothing new", "nothing new")
    (console.folder / "bifrost.yaml").unlink()
    assert {path for path, _, _ in recorder.requests} == {"/slack", "/hook"} and len(recorder.requests) == 2
    link = f"https://ci.example/reports/{done.json['run_id']}/report.html"
    assert all(link in body for _, _, body in recorder.requests)
    names = {path.name for path in (console.folder / "reports").iterdir()}
    assert names == {known.file_name for known in FORMATS.values()}
    assert len(done.json["exports"]) == len(FORMATS)
    assert (console.folder / "audit.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    (console.folder / "taken").write_text("")
    blocked = console.call(*words, "--out", "taken/report.md")
    assert blocked.code == 3
    assert "taken/report.md" in blocked.json["problems"][0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--provider", "nobody"], "nobody"),
        (["--prompt", "poem"], "poem"),
        (["--format", "docx"], "docx"),
        (["--fail-on", "rain"], "rain"),
        (["--lang", "xx"], "xx"),
        (["--project", "a/b"], "a/b"),
    ],
)
def test_wrong_usage_is_said_with_its_value_and_exit_code_2(
    console: Console, words: list[str], said: str
) -> None:
    """A value that is not allowed is named, without a trace."""
    done = console.call("run", LOGS, *words)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err
    assert done.out == ""


def test_korean_is_spoken_throughout(console: Console) -> None:
    """With --lang ko the table, the report and the answers are Korean."""
    done = console.call("run", LOGS / "travis", "--provider", "rules", "--lang", "ko", "--out", "report.md")
    assert done.code == 0
    assert "다음으로 해 볼 것" in done.out
    report = (console.folder / "report.md").read_text(encoding="utf-8")
    assert "근본 원인" in report or "원인" in report


def test_prefect_knows_the_run_its_stages_and_artifacts(console: Console, prefect_api: str) -> None:
    """On the server the flow run and each stage's task run are complete, with report and table."""
    summary = run_json(console, LOGS / "travis", "--provider", "rules")
    rows = json.loads(console.call("sql", "SELECT flow_run_id FROM runs", "--format", "json").out)
    flow_run = rows[0]["flow_run_id"]
    with httpx.Client(base_url=prefect_api, trust_env=False) as api:
        run = api.get(f"/flow_runs/{flow_run}").json()
        assert run["state_type"] == "COMPLETED"
        assert run["name"].startswith("travis 20")
        assert "bifrost-flow" in run["tags"]
        where = {"flow_runs": {"id": {"any_": [flow_run]}}}
        tasks = api.post("/task_runs/filter", json=where).json()
        kinds = {each["type"] for each in api.post("/artifacts/filter", json=where).json()}
    stages = {task["name"].rpartition("-")[0]: task["state_type"] for task in tasks}
    assert set(stages) >= STAGES
    assert set(stages.values()) == {"COMPLETED"}
    assert kinds >= {"markdown", "table"}
    assert summary["status"] == "completed"


def test_mlflow_has_the_run(console: Console) -> None:
    """The run is in the warehouse's MLflow store with parameters, metrics and the report."""
    summary = run_json(console, LOGS / "travis", "--provider", "rules")
    with sqlite3.connect(console.folder / "bifrost-warehouse" / "mlflow.db") as store:
        tags = dict(store.execute("SELECT key, value FROM tags").fetchall())
        metrics = dict(store.execute("SELECT key, value FROM metrics").fetchall())
        parameters = dict(store.execute("SELECT key, value FROM params").fetchall())
    assert tags["run_id"] == summary["run_id"]
    assert metrics["groups"] == summary["groups"]
    assert parameters["provider"] == "rules"
    assert list((console.folder / "bifrost-warehouse" / "mlflow-artifacts").rglob("report.md"))


def test_what_became_of_tracking_and_metrics_is_told(console: Console) -> None:
    """MLflow that drips and a gateway that is down leave a run that is fine; the text file is written."""

    class Dripping(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                while True:
                    self.wfile.write(b" ")
                    time.sleep(0.1)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Dripping)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    target = console.folder / "collector" / "bifrost.prom"
    done = console.call(
        *("run", LOGS / "travis", "--provider", "rules", "--json", "-q"),
        MLFLOW_TRACKING_URI=f"http://127.0.0.1:{server.server_port}",
        BIFROST_MLFLOW_TIMEOUT="1",
        BIFROST_METRICS_TEXTFILE=str(target),
        BIFROST_METRICS_PUSHGATEWAY="http://127.0.0.1:9",
    )
    server.shutdown()
    server.server_close()
    assert (done.code, done.err) == (0, "")
    assert (done.json["status"], done.json["errors"]) == ("completed", 0)
    assert done.json["mlflow"].startswith("failed: ")
    assert "1 s" in done.json["mlflow"]
    assert done.json["metrics"].startswith("failed: ")
    assert str(target) in done.json["metrics"]
    lines = target.read_text().splitlines()
    assert 'bifrost_analysis_total{project="default",status="completed"} 1.0' in lines
    calls = [line for line in lines if line.startswith("bifrost_llm_calls_total")]
    assert [line.split()[1] for line in calls] == [str(float(done.json["llm_calls"]))]


def test_a_budget_ends_the_asking_and_says_what_was_left_out(console: Console) -> None:
    """With two calls allowed two are made; the others are named, and the next run asks for them."""
    words = ("run", LOGS / "travis", "--provider", "rules", "--json")
    first = console.call(*words, BIFROST_FANOUT_MAX_CALLS="2")
    assert first.code == 3
    assert (first.json["status"], first.json["llm_calls"]) == ("budget_exhausted", 2)
    assert len(first.json["problems"]) == first.json["groups"] - 2
    after = run_json(console, *words[1:-1])
    assert (after["llm_calls"], after["cache_hits"]) == (first.json["groups"] - 2, 2)


def test_json_stays_one_object_whatever_happens(console: Console) -> None:
    """An error is an object too, and a report on standard output beside it is refused."""
    wrong = console.call("run", LOGS, "--json", "--prompt", "poem")
    assert (wrong.code, wrong.json["status"]) == (2, "failed")
    assert "poem" in wrong.json["error"]
    both = console.call("run", LOGS, "--json", "--out", "-")
    assert both.code == 2
    assert "--out" in both.json["error"]


def test_a_report_on_standard_output_is_alone_there(console: Console) -> None:
    """With --out - standard output holds the report and nothing else."""
    done = console.call("run", LOGS / "zuul", "--provider", "rules", "--out", "-", "--format", "csv")
    assert done.code == 0
    assert done.out.splitlines()[0].startswith(("fingerprint,", "run_id,", "status,"))
    assert "Try next" not in done.out
    assert "Try next" in done.err


def test_a_closed_pipe_is_no_gate(console: Console) -> None:
    """`run … | head -1` ends with 0 and without a word of trouble."""
    command = f"{BIFROST} run {LOGS / 'travis'} --provider rules -q | head -1; echo ${{PIPESTATUS[0]}} >&2"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=console.folder,
        env=console.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.splitlines()[-1] == "0"
    assert "Traceback" not in done.stderr
    assert "nanobind" not in done.stderr


def test_a_failed_export_is_in_history_too(console: Console) -> None:
    """What the run says of itself and what its row says are the same."""
    (console.folder / "taken").write_text("")
    done = console.call("run", LOGS / "zuul", "--provider", "rules", "--json", "--out", "taken/report.md")
    assert (done.code, done.json["status"]) == (3, "partial")
    rows = json.loads(console.call("sql", "SELECT status, errors FROM runs", "--format", "json").out)
    assert rows == [{"status": "partial", "errors": 1}]


def test_a_run_that_fails_as_a_whole_is_an_alert(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slack and the webhook are told why a run came to nothing, and so is whoever started it."""
    (console.folder / "taken").write_text("")
    with record_requests(monkeypatch) as recorder:
        done = console.call(
            *("run", LOGS / "zuul", "--provider", "rules", "--warehouse", "taken/tables", "--json"),
            BIFROST_SLACK_WEBHOOK_URL=f"{recorder.url}/slack",
            BIFROST_WEBHOOK_URL=f"{recorder.url}/hook",
        )
    assert done.code == 2 and done.json["status"] == "failed"
    told = {path: body for (path, _, _), body in zip(recorder.requests, recorder.bodies(), strict=True)}
    assert told.keys() == {"/slack", "/hook"} and len(recorder.requests) == 2
    assert "default: the run itself failed" in str(told["/slack"]["blocks"])
    assert (told["/hook"]["event"], told["/hook"]["run"]["status"]) == ("run.failed", "failed")
    assert "taken" in told["/hook"]["error"] and "taken" in str(told["/slack"]["blocks"])


def test_a_dry_run_with_a_missing_input_is_partial(console: Console) -> None:
    """Exit code 3 tells that not all inputs were there, in a dry run too."""
    assert console.call("run", LOGS / "zuul", "absent.log", "--provider", "rules", "--dry-run").code == 3


def test_what_passed_last_night_is_no_news_tonight(console: Console) -> None:
    """A line that the job said when it passed is no finding when it fails, unless that is switched off."""
    steps = "".join(f"compiling unit {n} of 300\n" for n in range(300))
    noise = "ERROR: cache server 10.0.0.7 gave no answer, building without it\n"
    for night, end in enumerate(("", "deploy: cannot open release.tar\n")):
        verdict = "Finished: FAILURE\n" if end else "Finished: SUCCESS\n"
        log = console.folder / f"night-{night}" / f"deploy-{night}.log"
        log.parent.mkdir()
        log.write_text(f"Started by timer\n{steps}{noise}{steps}{end}{verdict}")
    bad = console.folder / "night-1"

    def read_best(*words: str | Path) -> tuple[str, float]:
        summary = run_json(console, bad, "--provider", "rules", *words, BIFROST_MLFLOW_ENABLED="false")
        with duckdb.connect(str(console.folder / summary["warehouse"] / "bifrost.duckdb")) as tables:
            query = """
                SELECT (SELECT text FROM chunks WHERE run_id = $run AND rank = 1), value
                FROM metrics WHERE run_id = $run AND name = 'files_with_baseline'
            """
            found = tables.execute(query, {"run": summary["run_id"]}).fetchone()
        assert found is not None
        return found

    run_json(console, console.folder / "night-0", "--provider", "rules", BIFROST_MLFLOW_ENABLED="false")
    second = read_best()
    assert "cannot open release.tar" in second[0]
    assert second[1] == 1
    without = read_best("--no-baseline")
    assert "cache server" in without[0]
    assert without[1] == 0
    assert read_best("--warehouse", "fresh", "--baseline", console.folder / "night-0") == second
    refused = console.call("run", bad, "--baseline", "none.log", "--json")
    assert (refused.code, refused.json["status"]) == (2, "failed")

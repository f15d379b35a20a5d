"""MLflow tracking on real stores: what is written, and what happens when a store can't be."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bifrost_flow.language import ROOT
from bifrost_flow.records import Report
from bifrost_flow.tracked import TrackedRun, describe_run
from connectors import tracking_process
from connectors.tracking import Tracker, TrackingResult, open_tracker
from tests.samples import make_file, make_report


def open_at(warehouse: Path, **options: object) -> Tracker:
    chosen = {"tracking_uri": None, "experiment": "bifrost-flow"} | options
    return open_tracker(str(warehouse), **chosen)  # ty: ignore[invalid-argument-type]


def log(tracker: Tracker, report: Report | None = None) -> TrackingResult:
    run = describe_run(report or make_report(), {"files": 3, "duration_s": 5.0, "ratio": float("nan")})
    parameters = {"model": "rules", "budget tokens (n)": 2000, "long": "x" * 10_000}
    artifacts = {"report.md": "# 보고서", "prompts/system.txt": "Explain."}
    return tracker.log(replace(run, parameters=parameters, artifacts={**run.artifacts, **artifacts}))


def read_run(tracker: Tracker, result: TrackingResult):
    from mlflow import MlflowClient

    assert result.mlflow_run_id
    return MlflowClient(tracker.tracking_uri).get_run(result.mlflow_run_id)


def test_run_is_written_whole(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Parameters, metrics, tags, times and artifacts are in the warehouse's store; nothing is printed."""
    tracker = open_at(tmp_path / "우리 창고")
    tracker.start()
    report = make_report()
    result = log(tracker, report)
    assert (result.status, capfd.readouterr()) == ("tracked", ("", ""))
    run = read_run(tracker, result)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "nightly 2026-03-01 02:30:00")
    assert (run.info.end_time - run.info.start_time) == 5000
    assert run.data.params["model"] == "rules"
    assert run.data.params["budget tokens _n_"] == "2000"
    assert run.data.metrics == {"files": 3.0, "duration_s": 5.0}
    assert (run.data.tags["run_id"], run.data.tags["project"]) == (report.run.run_id, "nightly")
    assert (run.data.tags["status"], run.data.tags["source"]) == ("completed", "logs")
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    assert folder.is_relative_to(tmp_path / "우리 창고" / "mlflow-artifacts")
    assert (folder / "report.md").read_text(encoding="utf-8") == "# 보고서"
    assert (folder / "prompts/system.txt").read_text() == "Explain."


def test_only_the_warehouse_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the working directory nor a place beside the warehouse gets a file of MLflow's."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert log(open_at(Path("warehouse"))).status == "tracked"
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["warehouse"]
    assert {path.name for path in Path("warehouse").iterdir()} == {
        "mlflow.db",
        "mlflow.db.lock",
        "mlflow-artifacts",
    }


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("partial", "FINISHED"),
        ("budget_exhausted", "FINISHED"),
        ("failed", "FAILED"),
        ("interrupted", "KILLED"),
    ],
)
def test_how_a_run_ended_is_told(
    tmp_path_factory: pytest.TempPathFactory, status: str, expected: str
) -> None:
    """MLflow's status follows ours, and ours is kept as a tag."""
    tracker = open_at(tmp_path_factory.getbasetemp() / "shared")
    run = read_run(tracker, log(tracker, make_report(status)))
    assert (run.info.status, run.data.tags["status"]) == (expected, status)


def test_two_processes_make_one_store(tmp_path: Path) -> None:
    """Runs that start at once on a new warehouse all end up in its one store."""
    program = (
        "import sys; from pathlib import Path; from tests.integration.test_tracking import *; "
        "print(log(open_at(Path(sys.argv[1]))).status)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "w")]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=120)[0].strip() for process in processes] == ["tracked"] * 3
    with sqlite3.connect(tmp_path / "w" / "mlflow.db") as store:
        assert store.execute("SELECT count(*) FROM runs").fetchone() == (3,)
        assert store.execute("SELECT count(*) FROM experiments WHERE name = 'bifrost-flow'").fetchone() == (
            1,
        )
    store.close()


def test_what_a_killed_setup_left_is_no_obstacle(tmp_path: Path) -> None:
    """Half a store, left by a process that was killed at making it, is made anew."""
    (tmp_path / "mlflow.db.new").write_bytes(b"half")
    assert log(open_at(tmp_path)).status == "tracked"
    assert not (tmp_path / "mlflow.db.new").exists()


@pytest.mark.parametrize("obstacle", ["folder", "garbage", "warehouse is a file"])
def test_store_that_cannot_be_written(
    tmp_path: Path, obstacle: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A store that can't be opened is told at once, names the address, raises nothing and prints nothing."""
    if obstacle == "folder":
        (tmp_path / "mlflow.db").mkdir()
    elif obstacle == "garbage":
        (tmp_path / "mlflow.db").write_bytes(b"no database, but long enough to be looked at" * 100)
    else:
        (tmp_path / "w").write_text("")
    tracker = open_at(tmp_path / "w" if obstacle == "warehouse is a file" else tmp_path)
    started = time.monotonic()
    tracker.start()
    result = log(tracker)
    assert (result.status, result.mlflow_run_id) == ("failed", None)
    assert "mlflow.db" in result.detail
    assert time.monotonic() - started < 60
    assert capfd.readouterr() == ("", "")


HOLD = """
import sqlite3, sys
holder = sqlite3.connect(sys.argv[1], isolation_level=None)
holder.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


def test_locked_store_costs_no_more_than_the_timeout(tmp_path: Path) -> None:
    """While another program holds the store the run goes on after the time-out; later it can be sent."""
    log(open_at(tmp_path))
    report = make_report()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "mlflow.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    try:
        started = time.monotonic()
        result = log(open_at(tmp_path, timeout_s=1.0), report)
        assert time.monotonic() - started < 60
    finally:
        holder.communicate(timeout=240)
    assert result.status == "failed"
    assert "1 s" in result.detail
    later = open_at(tmp_path)
    assert log(later, report).status == "tracked"
    assert [run.data.tags["run_id"] for run in later.read_runs()].count(report.run.run_id) == 1


READ_ONLY = """
import os, sys
from pathlib import Path
from connectors.tracking_store import import_quietly, prepare_store
from tests.integration.test_tracking import log, open_at
import_quietly()
import mlflow.store.tracking.sqlalchemy_store
if os.geteuid() == 0:
    os.setegid(65534)
    os.seteuid(65534)  # root may write anywhere
result = log(open_at(Path(sys.argv[1])))
print(result.status, result.detail)
"""


@pytest.mark.parametrize("made", [True, False])
def test_a_folder_that_may_not_be_written(tmp_path: Path, made: bool) -> None:
    """Neither making a store nor writing to one in a read-only folder fails the run; it is told at once."""
    folder = tmp_path / "w"
    folder.mkdir()
    if made:
        log(open_at(folder))
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.geteuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o555)
    started = time.monotonic()
    command = [sys.executable, "-c", READ_ONLY, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.startswith("failed "), done.stderr
    assert "mlflow.db" in done.stdout
    assert time.monotonic() - started < 60
    folder.chmod(0o755)


def test_server_that_is_down(tmp_path: Path) -> None:
    """A refused connection is a result, and the password in the address isn't shown."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    result = log(open_at(tmp_path, tracking_uri=f"http://me:geheim@127.0.0.1:{port}"))
    assert result.status == "failed"
    assert f"127.0.0.1:{port}" in result.detail
    assert "geheim" not in result.detail
    assert list(tmp_path.iterdir()) == []


class _Reluctant(BaseHTTPRequestHandler):
    """Answers nothing, drips its answer, or refuses, as the address says."""

    done = threading.Event()

    def do_GET(self) -> None:
        if self.path.startswith("/refuse"):
            self.send_error(403, "not you")
        elif self.path.startswith("/drip"):
            self.send_response(200)
            self.end_headers()
            while not self.done.wait(0.1):
                try:
                    self.wfile.write(b" ")
                except OSError:
                    return
        else:
            self.done.wait(240)

    do_POST = do_GET  # noqa: N815 - the name that http.server looks for

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def reluctant() -> Iterator[str]:
    _Reluctant.done.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Reluctant)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    _Reluctant.done.set()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("how", ["silent", "drip", "refuse"])
def test_server_that_is_slow_or_refuses(tmp_path: Path, reluctant: str, how: str) -> None:
    """A server that doesn't answer, or a byte at a time, holds the run up for the time-out and no longer."""
    started = time.monotonic()
    result = log(open_at(tmp_path, tracking_uri=f"{reluctant}/{how}", timeout_s=1.5))
    assert result.status == "failed"
    assert ("403" if how == "refuse" else "1.5 s") in result.detail
    assert time.monotonic() - started < 60


def test_switched_off(tmp_path: Path) -> None:
    """With mlflow.enabled off nothing is imported, asked or written."""
    tracker = open_at(tmp_path, enabled=False)
    tracker.start()
    tracker.prepare()
    assert (log(tracker).status, list(tmp_path.iterdir())) == ("disabled", [])


@pytest.mark.parametrize("warehouse", ["s3://bucket/logs", "a%20b", "what?"])
def test_warehouse_that_holds_no_store(
    warehouse: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where SQLite's address can't point, nothing is tracked and the setting to mend it is named."""
    monkeypatch.chdir(tmp_path)
    result = log(open_tracker(warehouse, tracking_uri=None, experiment="e"))
    assert result.status == "disabled"
    assert "mlflow.tracking_uri" in result.detail
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_sent_to_mlflows_makers(tmp_path: Path) -> None:
    """Telemetry is off before MLflow is imported, and what the user has set for it stays."""
    program = (
        "import os, sys; from pathlib import Path; from tests.integration.test_tracking import *; "
        "print(log(open_at(Path(sys.argv[1]))).status); "
        "from mlflow.telemetry.utils import is_telemetry_disabled; print(is_telemetry_disabled()); "
        "print(os.environ['MLFLOW_HTTP_REQUEST_TIMEOUT'])"
    )
    environment = {
        name: value for name, value in os.environ.items() if "TELEMETRY" not in name and "TRACK" not in name
    }
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=ROOT,
        env={**environment, "MLFLOW_HTTP_REQUEST_TIMEOUT": "9"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout.split(), done.stderr) == (["tracked", "True", "9"], "")


def test_prompt_registry_is_in_the_store(tmp_path: Path) -> None:
    """The build of MLflow that we install keeps prompts: versions, aliases and roll-back."""
    tracker = open_at(tmp_path)
    tracker.prepare()
    from mlflow import MlflowClient

    client = MlflowClient(tracker.tracking_uri)
    client.register_prompt("errors", "Explain {{ log }}.")
    client.register_prompt("errors", "Explain {{ log }} in {{ lang }}.")
    client.set_prompt_alias("errors", "production", 1)
    assert client.get_prompt_version_by_alias("errors", "production").template == "Explain {{ log }}."
    assert client.get_prompt_version("errors", "2").variables == {"log", "lang"}


def test_a_run_names_its_logs_and_its_prompt(tmp_path: Path) -> None:
    """MLflow has the logs as a dataset, the same for the same bytes, and the prompt's version linked."""
    tracker = open_at(tmp_path)
    tracker.prepare()
    from mlflow import MlflowClient

    client = MlflowClient(tracker.tracking_uri)
    chat = [{"role": "system", "content": "Explain."}, {"role": "user", "content": "{{ log }} {{ lang }}"}]
    client.register_prompt("mine", chat)
    files = (make_file("a.log", size=10), make_file("b.log", size=20))
    digests = set()
    for order in (files, files[::-1]):
        report = make_report()
        run = replace(report.run, versions='{"prompt": "mine 1"}')
        result = tracker.log(describe_run(replace(report, run=run, files=order), {}))
        stored = read_run(tracker, result)
        (data,) = stored.inputs.dataset_inputs
        assert (data.dataset.name, json.loads(data.dataset.profile)["num_bytes"]) == ("logs", 30)
        digests.add(data.dataset.digest)
        assert json.loads(stored.data.tags["mlflow.linkedPrompts"]) == [{"name": "mine", "version": "1"}]
        folder = Path(stored.info.artifact_uri.removeprefix("file://"))
        assert (folder / "prompt.txt").read_text() == "Explain.\n\n{{ log }} {{ lang }}\n"
    assert len(digests) == 1


def test_a_run_that_was_sent_is_not_sent_again(tmp_path: Path) -> None:
    """The second time tells the first one's id; half a run, of a sending that broke off, is made anew."""
    tracker, report = open_at(tmp_path), make_report()
    first, second = log(tracker, report), log(tracker, report)
    assert (first.existed, second.existed) == (False, True)
    assert first.mlflow_run_id == second.mlflow_run_id
    from mlflow import MlflowClient

    MlflowClient(tracker.tracking_uri).update_run(str(first.mlflow_run_id), status="RUNNING")
    third = log(tracker, report)
    assert third.existed is False
    assert [run.info.run_id for run in tracker.read_runs()] == [third.mlflow_run_id]


def test_a_run_can_hold_others(tmp_path: Path) -> None:
    """A run that is no run of the pipeline is written as it is described, with those nested in it."""
    now = datetime(2026, 3, 1, 2, 30, tzinfo=UTC)
    inner = TrackedRun("inner", now, now, "completed", parameters={"budget": 500}, metrics={"hit": 0.5})
    tracker = open_at(tmp_path)
    result = tracker.log(replace(inner, name="outer", artifacts={"a.json": "{}"}, nested=(inner,)))
    assert result.status == "tracked", result.detail
    outer = read_run(tracker, result)
    assert (outer.info.run_name, outer.data.metrics, outer.data.params) == (
        "outer",
        {"hit": 0.5},
        {"budget": "500"},
    )
    with sqlite3.connect(tmp_path / "mlflow.db") as store:
        query = "SELECT name, value FROM runs JOIN tags USING (run_uuid) WHERE key = 'mlflow.parentRunId'"
        assert store.execute(query).fetchall() == [("inner", result.mlflow_run_id)]


def test_any_run_can_go_through_the_preloaded_process(tmp_path: Path) -> None:
    """The process writes described runs as it does the pipeline's."""
    tracking_process.preload()
    tracker = tracking_process.open_tracker(
        str(tmp_path), tracking_uri=None, experiment="e", enabled=True, timeout_s=60
    )
    assert isinstance(tracker, tracking_process.RemoteTracker)
    tracker.start()
    now = datetime(2026, 3, 1, tzinfo=UTC)
    assert tracker.log(TrackedRun("one", now, None, "completed")).status == "tracked"

"""What batch runs leave for Prometheus: the warehouse's numbers, as a file and at a real push gateway."""

import asyncio
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from bifrost_flow.records import CachedAnswer, Call, Report, new_run_id
from connectors.metrics import Recorder
from connectors.metrics_publish import PublishResult, publish_metrics
from connectors.metrics_store import DEFINITIONS, PREFIX, MetricStore, render_metrics
from connectors.metrics_warehouse import read_warehouse_metrics
from connectors.warehouse import Warehouse
from tests.samples import STARTED, make_file, make_finding, make_report
from tests.servers import free_port, stop, wait_until_up

PROJECT = "nightly"


def make_run(status: str = "completed", **values: object) -> Report:
    """Return a run with three files and two findings."""
    report = make_report(status)
    return replace(
        report,
        run=replace(report.run, run_id=new_run_id(), **values),
        files=(make_file(size=500), make_file("b", size=5_000_000), make_file("c", size=0, status="empty")),
        findings=(make_finding(severity="critical"), make_finding("f1:2", status="resolved")),
    )


def write(warehouse: Warehouse, report: Report, calls: tuple[Call, ...] = ()) -> None:
    run_id = report.run.run_id
    warehouse.write_calls(run_id, calls)
    warehouse.write_files(run_id, report.files)
    warehouse.write_findings(run_id, report.findings)
    warehouse.write_metrics(run_id, [("errors_read", 1.0, "1"), ("errors_analyse", 0.0, "1")])
    warehouse.write_run(report.run)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse.open(str(tmp_path / "w"), project=PROJECT)


def pick_lines(text: str) -> list[str]:
    return sorted(line for line in text.splitlines() if not line.startswith("#"))


def test_the_tables_tell_what_the_process_counted(warehouse: Warehouse) -> None:
    """Two runs with calls give the same series and values from the warehouse as when they were counted."""
    counted, answer = MetricStore(), '{"title": "끝"}'
    recorder = Recorder(counted.apply)
    for number in range(2):
        report = make_run("partial", cache_hits=3, tokens_saved=70, errors=2, cost_usd=0.25)
        call = Call(f"k{number}", "f1:1", "ollama", "m", 1, "ok", None, 1500.0, 90, 10, 0.25, STARTED)
        failed = replace(call, cache_key="other", status="failed", cost_usd=0.0)
        kept = CachedAnswer(f"k{number}", answer, "ollama", "m", "1", 90, 10, STARTED)
        write(warehouse, report, (call, failed))
        warehouse.write_answers([kept])
        recorder.record_run(report, duration_s=5.0)
        recorder.record_call(call, project=PROJECT, response=answer)
        recorder.record_call(failed, project=PROJECT, response=None)
    told = pick_lines(render_metrics(read_warehouse_metrics(warehouse)))

    # In the process each problem has its stage; in the tables what is not of reading or asking is delivery.
    def without_errors(lines: list[str]) -> list[str]:
        return [line for line in lines if not line.startswith("bifrost_errors_total")]

    assert without_errors(told) == without_errors(pick_lines(render_metrics(counted)))
    assert 'bifrost_errors_total{project="nightly",stage="read"} 2.0' in told
    assert 'bifrost_errors_total{project="nightly",stage="deliver"} 2.0' in told
    assert {re.split(r"[{ ]", line)[0].removesuffix("_bucket") for line in told} >= {
        PREFIX + name for name, each in DEFINITIONS.items() if each.kind == "counter"
    }


def test_one_run_and_one_project_can_be_told_alone(warehouse: Warehouse) -> None:
    """A run's numbers are its own, and the last run is the newest of each project."""
    later = STARTED + timedelta(hours=1)
    first, second = make_run(cache_hits=1), make_run("interrupted", cache_hits=5, started_at=later)
    for report in (first, second):
        write(warehouse, report)
    other = Warehouse.open(warehouse.location, project="elsewhere")
    write(other, replace(first, run=replace(first.run, run_id=new_run_id(), project="elsewhere")))
    alone = render_metrics(read_warehouse_metrics(warehouse, run_id=first.run.run_id))
    assert 'bifrost_cache_hits_total{project="nightly"} 1.0' in alone
    assert "elsewhere" not in alone
    of_project = render_metrics(read_warehouse_metrics(warehouse, project=PROJECT))
    assert 'bifrost_cache_hits_total{project="nightly"} 6.0' in of_project
    assert "elsewhere" not in of_project
    assert 'bifrost_last_run_status{project="nightly",status="interrupted"} 1.0' in of_project
    (success,) = [line for line in of_project.splitlines() if line.startswith("bifrost_last_success")]
    assert first.run.finished_at
    assert float(success.split()[1]) == first.run.finished_at.timestamp()


@pytest.mark.parametrize("target", ["m.prom", "folder/", "made/", "deep/er/m.prom"])
def test_the_text_file_appears_whole(warehouse: Warehouse, tmp_path: Path, target: str) -> None:
    """A file is that file, a folder gets one for the project; nothing else is left there."""
    (tmp_path / "folder").mkdir()
    write(warehouse, make_run())
    place = str(tmp_path / target) + ("/" if target.endswith("/") else "")
    for _ in range(2):
        result = publish_metrics(warehouse, PROJECT, textfile=place, pushgateway=None, timeout_s=30)
        assert result.status == "published", result.detail
    path = Path(result.detail)
    assert path == (tmp_path / target / "bifrost-nightly.prom" if target.endswith("/") else tmp_path / target)
    assert [each.name for each in path.parent.iterdir() if each.suffix in (".prom", ".tmp")] == [path.name]
    assert "bifrost_last_success_timestamp_seconds{" in path.read_text()


def test_a_failed_run_is_told_with_what_earlier_ones_did(warehouse: Warehouse, tmp_path: Path) -> None:
    """It counts as failed and as the last run, and the last success stays when it was; without tables too."""
    write(warehouse, make_run())
    for number, store in enumerate((warehouse, None)):
        target = tmp_path / f"{number}.prom"
        publish_metrics(store, PROJECT, textfile=str(target), pushgateway=None, timeout_s=30, failed=True)
        text = target.read_text()
        assert 'bifrost_analysis_total{project="nightly",status="failed"} 1.0' in text
        assert 'bifrost_last_run_status{project="nightly",status="failed"} 1.0' in text
        assert ("bifrost_last_success_timestamp_seconds{" in text) == (store is not None)


@pytest.fixture
def pushgateway(tmp_path: Path) -> Iterator[str]:
    """Yield the address of a real push gateway."""
    program = shutil.which("prometheus-pushgateway") or shutil.which("pushgateway")
    if program is None:
        pytest.skip("no pushgateway here: apt-get install prometheus-pushgateway")
    port = free_port()
    process = subprocess.Popen(
        [program, f"--web.listen-address=127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_up(f"{url}/-/ready", process)
        yield url
    finally:
        stop(process)


def test_a_push_gateway_shows_what_was_pushed(warehouse: Warehouse, pushgateway: str) -> None:
    """The numbers are at the gateway under job and project, and a second push replaces them."""
    for hits in (2, 5):
        write(warehouse, make_run(cache_hits=hits))
        result = publish_metrics(warehouse, PROJECT, textfile=None, pushgateway=pushgateway, timeout_s=30)
        assert result == PublishResult("published", f"{pushgateway}/metrics/job/bifrost-flow/project/nightly")
    lines = httpx.get(f"{pushgateway}/metrics", timeout=60).text.splitlines()
    hits = [line for line in lines if line.startswith("bifrost_cache_hits_total")]
    assert hits == ['bifrost_cache_hits_total{instance="",job="bifrost-flow",project="nightly"} 7']
    assert not [line for line in lines if line.startswith("push_failure") and not line.endswith(" 0")]


class _Refusing(BaseHTTPRequestHandler):
    """Refuses what is put to /refuse, and answers elsewhere a byte at a time."""

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith("/refuse"):
            self.send_error(400, explain="no\x1b[31m")
            return
        try:
            for _ in range(600):
                self.wfile.write(b"H")
                time.sleep(0.1)
        except OSError:
            return

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def refusing() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_gateway_that_is_down_slow_or_refuses_is_told(
    warehouse: Warehouse, tmp_path: Path, refusing: str
) -> None:
    """None of it raises, outlasts the time-out, shows a password or keeps the file from being written."""
    write(warehouse, make_run())
    for url, told, timeout_s in (
        (f"http://me:geheim@127.0.0.1:{free_port()}", "127.0.0.1", 60.0),
        (f"http://me:geheim@{refusing}/drip", "1 s", 1.0),
        (f"http://me:geheim@{refusing}/refuse", "HTTP 400", 60.0),
        ("http://[", "http://[", 60.0),
    ):
        started = time.monotonic()
        result = publish_metrics(
            warehouse, PROJECT, textfile=str(tmp_path / "m.prom"), pushgateway=url, timeout_s=timeout_s
        )
        assert time.monotonic() - started < 60
        assert result.status == "failed"
        assert told in result.detail
        assert "geheim" not in result.detail
        assert "\x1b" not in result.detail
        assert str(tmp_path / "m.prom") in result.detail


def test_a_place_that_cannot_be_written_is_told(warehouse: Warehouse) -> None:
    """Where no file can be made, that is the outcome."""
    write(warehouse, make_run())
    result = publish_metrics(warehouse, PROJECT, textfile="/proc/m.prom", pushgateway=None, timeout_s=30)
    assert result.status == "failed"
    assert "/proc/m.prom" in result.detail


def test_an_audit_that_failed_is_told_by_its_hook(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Prefect calls for a failed flow run leaves it in the text file; a slip of the caller does not."""
    from prefect.client.schemas.objects import FlowRun
    from prefect.states import Failed

    from flows.audit import alert_about_failure, audit

    write(warehouse, make_run())
    target = tmp_path / "m.prom"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIFROST_METRICS_TEXTFILE", str(target))
    parameters = {"paths": ["x"], "warehouse": warehouse.location, "project": PROJECT}
    run = FlowRun(flow_id=uuid4(), parameters=parameters)
    asyncio.run(alert_about_failure(audit, run, Failed(message="SettingsError: no such thing")))
    assert not target.exists()
    asyncio.run(alert_about_failure(audit, run, Failed(message="disk full")))
    text = target.read_text()
    assert 'bifrost_last_run_status{project="nightly",status="failed"} 1.0' in text
    assert 'bifrost_analysis_total{project="nightly",status="completed"} 1.0' in text

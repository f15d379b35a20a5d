"""Metrics over HTTP: this process', and those of the processes that it starts."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx
import pytest

from bifrost_flow.errors import DeliveryError
from bifrost_flow.language import ROOT
from connectors.metrics import MetricsServer, metrics, start_metrics_server

CHILD = """
import os, signal, sys
from connectors.metrics import metrics
from tests.samples import make_report
with metrics().analysing(sys.argv[1]):
    print("begun", flush=True)
    sys.stdin.readline()
    metrics().record_run(make_report("completed"), duration_s=2.0)
    if sys.argv[2] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    with start_metrics_server() as started:
        yield started


def start_child(project: str, end: str) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, project, end],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "begun\n"
    return child


def wait_for(server: MetricsServer, *lines: str) -> str:
    """Return what the server tells once it holds all of `lines`."""
    deadline = time.monotonic() + 120
    while True:
        told = httpx.get(server.url, timeout=60).text
        if all(line in told.splitlines() for line in lines):
            return told
        assert time.monotonic() < deadline, told
        time.sleep(0.05)


def count_runs(server: MetricsServer) -> float:
    told = httpx.get(server.url, timeout=60).text
    start = 'bifrost_analysis_total{project="nightly",status="completed"} '
    return sum(float(line.removeprefix(start)) for line in told.splitlines() if line.startswith(start))


def test_this_process_is_seen_in_both_formats(server: MetricsServer) -> None:
    """What a flow counts here is at /metrics, on loopback, as text and as OpenMetrics."""
    assert ip_address(urlsplit(server.url).hostname or "").is_loopback
    with metrics().analysing("served-here"):
        wait_for(server, 'bifrost_in_progress{project="served-here"} 1.0')
    told = wait_for(server, 'bifrost_in_progress{project="served-here"} 0.0')
    assert "# TYPE bifrost_in_progress gauge" in told
    asked = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = httpx.get(server.url, headers=asked, timeout=60)
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


@pytest.mark.parametrize("end", ["leave", "die"])
def test_children_are_counted(server: MetricsServer, end: str) -> None:
    """A run in a process of its own counts here; killed at its end, it does not go on for ever."""
    before = count_runs(server)
    child = start_child(f"child-{end}", end)
    wait_for(server, f'bifrost_in_progress{{project="child-{end}"}} 1.0')
    child.communicate("\n", timeout=240)
    wait_for(server, f'bifrost_in_progress{{project="child-{end}"}} 0.0')
    assert count_runs(server) == before + 1


def test_a_serving_process_that_is_gone_holds_up_no_child() -> None:
    """A child whose parent no longer serves goes on without being counted."""
    with start_metrics_server():
        child = start_child("orphan", "leave")
    child.communicate("\n", timeout=240)
    assert child.returncode == 0


def test_a_port_that_is_taken_is_told(server: MetricsServer) -> None:
    """The error names the address; nothing is left behind."""
    port = urlsplit(server.url).port
    assert port
    with pytest.raises(DeliveryError, match=f"127.0.0.1:{port}"):
        start_metrics_server(port=port)


def test_a_closed_server_lets_go_of_its_port() -> None:
    """Closed and started anew on the same port it answers again."""
    with start_metrics_server() as first:
        port: int | None = urlsplit(first.url).port
    assert port
    with start_metrics_server(port=port) as second:
        assert httpx.get(second.url, timeout=60).status_code == 200
    refused: Callable[[], httpx.Response] = lambda: httpx.get(second.url, timeout=60)  # noqa: E731
    with pytest.raises(httpx.ConnectError):
        refused()

"""Servers: an embedded one for a run, one kept warm, and nothing left running that nobody asked for."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.console import BIFROST, LOGS, Console
from tests.model_server import ModelServer


def _servers_of(home: Path) -> list[int]:
    """Return the processes that run a Prefect server on the database in `home`."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes()
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if b"prefect.server.api.server" in command and f"PREFECT_HOME={home}".encode() in environment:
            found.append(int(entry.name))
    return found


def _wait_until_gone(home: Path) -> None:
    deadline = time.monotonic() + 120
    while _servers_of(home):
        assert time.monotonic() < deadline, "a server was left running"
        time.sleep(0.1)


@pytest.fixture
def alone(tmp_path: Path, prefect_home: Path) -> Console:
    """Return a shell without a configured Prefect server, on the session's database."""
    return Console(tmp_path, prefect_home)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Console]:
    """Return a shell in which Prefect was never used."""
    yield Console(tmp_path, tmp_path / "prefect-home")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_a_run_without_a_server_starts_one_on_a_new_database_and_stops_it(fresh: Console) -> None:
    """The very first run works with nothing set up, says nothing of Prefect, and leaves no process behind."""
    done = fresh.call("run", LOGS / "zuul", "--provider", "rules", "--json")
    assert done.code == 0, done.err
    assert done.json["status"] == "completed"
    assert "prefect" not in done.err.lower()
    assert "Traceback" not in done.err
    assert _servers_of(fresh.prefect_home) == []


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_a_killed_run_leaves_no_server_behind(alone: Console, prefect_api: str) -> None:
    """SIGKILL of the run ends its embedded server too."""
    before = set(_servers_of(alone.prefect_home))
    with ModelServer(delay_s=5.0) as server:
        words = ("run", LOGS / "travis", "--provider", "ollama", "--model", "scripted")
        started = alone.start(*words, BIFROST_OLLAMA_URL=server.url)
        deadline = time.monotonic() + 240
        while not server.chats:
            assert time.monotonic() < deadline, "the run never asked"
            time.sleep(0.05)
        assert set(_servers_of(alone.prefect_home)) - before
        started.kill()
        started.communicate()
    deadline = time.monotonic() + 120
    while set(_servers_of(alone.prefect_home)) - before:
        assert time.monotonic() < deadline, "a server was left running"
        time.sleep(0.1)


def _assert_schedules(api: str) -> None:
    """Wait until the server notes when a deployment is due."""
    flow = httpx.post(f"{api}/flows/", json={"name": "nobody's"}, timeout=60).json()
    hourly = {"schedule": {"cron": "0 * * * *", "timezone": "UTC"}, "active": True}
    made = {"name": "hourly", "flow_id": flow["id"], "schedules": [hourly]}
    assert httpx.post(f"{api}/deployments/", json=made, timeout=60).is_success
    deadline = time.monotonic() + 180
    wanted = {"flows": {"name": {"any_": ["nobody's"]}}}
    while not httpx.post(f"{api}/flow_runs/filter", json=wanted, timeout=60).json():
        assert time.monotonic() < deadline, "the server does not schedule"
        time.sleep(0.5)


def test_up_keeps_a_server_that_runs_use_until_down(fresh: Console) -> None:
    """`up` starts a server that keeps schedules; `status` and `run` find it; `down` stops it."""
    assert "No Prefect server is kept warm" in fresh.call("status").out
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    try:
        up = fresh.call("up", "--port", str(port))
        assert up.code == 0, up.err
        assert f"http://127.0.0.1:{port}/api" in up.out
        kept = _servers_of(fresh.prefect_home)
        assert len(kept) == 1
        # Into a pipe that nobody reads any more, the first line of log would be its last.
        said = {str(Path(f"/proc/{kept[0]}/fd/{number}").readlink()) for number in (1, 2)}
        assert said == {str(fresh.prefect_home / "bifrost-server.log")}
        assert f"127.0.0.1:{port}" in fresh.call("status").out
        assert "already" in fresh.call("up").out or str(port) in fresh.call("up").out
        done = fresh.call("run", LOGS / "zuul", "--provider", "rules", "--json")
        assert done.code == 0, done.err
        assert _servers_of(fresh.prefect_home) == kept
        _assert_schedules(f"http://127.0.0.1:{port}/api")
    finally:
        down = fresh.call("down")
    assert down.code == 0
    assert "stopped" in down.out
    _wait_until_gone(fresh.prefect_home)
    assert "No Prefect server" in fresh.call("down").out


def test_a_configured_server_that_is_down_is_an_error(tmp_path: Path, prefect_home: Path) -> None:
    """The run says which server does not answer rather than quietly using another."""
    console = Console(tmp_path, prefect_home, "http://127.0.0.1:9/api")
    done = console.call("run", LOGS / "zuul", "--provider", "rules")
    assert done.code == 3
    assert "http://127.0.0.1:9/api" in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "bifrost-warehouse").exists()


def test_up_on_a_taken_port_says_so(fresh: Console) -> None:
    """A port that something else listens on is named."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = fresh.call("up", "--port", str(port))
    assert done.code == 3
    assert str(port) in done.err


def test_interrupt_during_start_up_ends_with_130(fresh: Console) -> None:
    """Ctrl-C before the flow has begun ends at once, without a trace and without a server left."""
    started = fresh.start("run", LOGS / "zuul", "--provider", "rules")
    deadline = time.monotonic() + 120
    while not _servers_of(fresh.prefect_home):
        assert started.poll() is None and time.monotonic() < deadline, "it starts no server"
        time.sleep(0.02)
    os.kill(started.pid, signal.SIGINT)
    _out, err = started.communicate(timeout=240)
    assert started.returncode == 130, err
    assert "Traceback" not in err
    _wait_until_gone(fresh.prefect_home)


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to see connections")
def test_no_network_is_touched(alone: Console, tmp_path: Path) -> None:
    """A run with its embedded server connects to nothing but this machine, and asks no name server."""
    trace = tmp_path / "trace.txt"
    watched = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg", "-o", str(trace)]
    words = ["run", str(LOGS / "zuul"), "--provider", "rules", "--quiet"]
    done = subprocess.run(
        [*watched, BIFROST, *words], cwd=tmp_path, env=alone.environment(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    addresses = re.findall(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"', trace.read_text())
    assert addresses
    assert {first or second for first, second in addresses} <= {"127.0.0.1", "::1"}


def test_down_stops_no_process_of_others(fresh: Console) -> None:
    """A process that something else has noted as Prefect's server stays."""
    fresh.prefect_home.mkdir()
    with subprocess.Popen(["sleep", "60"]) as other:
        note = json.dumps({"pid": other.pid, "url": "http://127.0.0.1:9/api"})
        (fresh.prefect_home / "bifrost-server.json").write_text(note)
        assert "No Prefect server" in fresh.call("down").out
        assert other.poll() is None
        other.kill()

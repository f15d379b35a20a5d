"""`serve` and `request` against a real Prefect server: by our commands, Prefect's own, and its API."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.console import BIFROST, LOGS, Console
from tests.servers import free_port

LOG = LOGS / "travis" / "alacritty-rust-564527447.log"
PREFECT = str(Path(sys.executable).with_name("prefect"))


class Served:
    """A process that serves, in the folder of `console`."""

    def __init__(self, console: Console, process: subprocess.Popen[str], metrics: str) -> None:
        self.console, self.process, self.metrics = console, process, metrics

    def read_metric(self, name: str) -> float:
        """Return the sum of a metric's series."""
        lines = httpx.get(self.metrics).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, prefect_home: Path, prefect_api: str
) -> Generator[Served]:
    """Serve two logs for the length of this module."""
    folder = tmp_path_factory.mktemp("served")
    console, port = Console(folder, prefect_home, prefect_api), free_port()
    words = ("serve", LOGS / "zuul", "--metrics-port", str(port), "--warehouse", "w")
    with (folder / "said.txt").open("w") as said:
        process = subprocess.Popen(
            [BIFROST, *map(str, words)],
            cwd=folder,
            env=console.environment(BIFROST_PROVIDER="rules", BIFROST_MLFLOW_ENABLED="false"),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            text=True,
        )
    try:
        deadline = time.monotonic() + 90
        while not find_deployment(prefect_api, "analyze/adhoc"):
            assert process.poll() is None and time.monotonic() < deadline, (folder / "said.txt").read_text()
            time.sleep(0.3)
        yield Served(console, process, f"http://127.0.0.1:{port}/metrics")
    finally:
        process.kill()
        process.wait()


def find_deployment(api: str, name: str) -> dict[str, Any] | None:
    answer = httpx.get(f"{api}/deployments/name/{name}")
    return answer.json() if answer.status_code == 200 else None


def wait_for_end(api: str, run_id: str) -> dict[str, Any]:
    """Return a flow run's last state."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        run = httpx.get(f"{api}/flow_runs/{run_id}").json()
        if run["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            return run
        time.sleep(0.5)
    raise AssertionError("the run never ended")


def test_a_request_is_answered_and_the_same_one_costs_nothing(served: Served) -> None:
    """`request` prints what `analyze` would, with the secrets of the log kept from Prefect's database."""
    log = served.console.folder / "build.log"
    token = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    log.write_bytes(b"export GITHUB_TOKEN=" + token.encode() + b"\n" + LOG.read_bytes())
    before = served.read_metric("bifrost_analysis_total")
    first = served.console.call("request", log, "--format", "json")
    assert first.code == 0, first.err
    (finding,) = first.json["findings"]
    assert finding["title"].startswith("error[E0658]")
    assert finding["evidence"][0]["line"] == 440
    again = served.console.call("request", log)
    assert again.code == 0 and again.out.startswith("error[E0658]"), again.err
    deadline = time.monotonic() + 20
    while served.read_metric("bifrost_analysis_total") < before + 2:
        assert time.monotonic() < deadline, "the runs were not counted"
        time.sleep(0.2)
    assert served.read_metric("bifrost_cache_hits_total") >= 1
    # The server is shared by many tests: only what was requested is looked at.
    wanted = {"flow_runs": {"tags": {"all_": ["request"]}}, "sort": "START_TIME_DESC", "limit": 2}
    runs = httpx.post(f"{served.console.api_url}/flow_runs/filter", json=wanted).text
    assert "GITHUB_TOKEN" in runs and token not in runs


def test_prefects_own_command_runs_the_nightly_audit(served: Served) -> None:
    """`prefect deployment run` starts it; its rows are in the warehouse and its words in the run's log."""
    done = subprocess.run(
        [PREFECT, "deployment", "run", "audit/nightly", "--watch"],
        cwd=served.console.folder,
        env=served.console.environment(),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = (served.console.folder / "said.txt").read_text()
    assert "leaked" not in said and "Unclosed" not in said, said[-2000:]
    rows = served.console.call("history", "--warehouse", "w", "--format", "json").json
    (audit,) = [row for row in rows if row["source"] == "zuul"]
    assert audit["status"] == "completed" and audit["flow_run_id"]
    body = {"logs": {"flow_run_id": {"any_": [audit["flow_run_id"]]}}}
    logs = httpx.post(f"{served.console.api_url}/logs/filter", json=body).json()
    assert any("2" in line["message"] and "log" in line["message"].lower() for line in logs), logs


def test_prefects_api_takes_a_log_as_text(served: Served) -> None:
    """Another system posts a log and finds the answer as an artifact of the run."""
    api = str(served.console.api_url)
    deployment = find_deployment(api, "analyze/adhoc")
    assert deployment
    schema = deployment["parameter_openapi_schema"]["properties"]
    assert {"text", "path", "provider", "lang"} <= schema.keys() and schema["text"].get("description")
    body = {"parameters": {"text": "make: *** [all] Error 2\nsrc/a.c:3:5: error: 'x' undeclared\n"}}
    made = httpx.post(f"{api}/deployments/{deployment['id']}/create_flow_run", json=body)
    assert made.status_code == 201, made.text
    assert wait_for_end(api, made.json()["id"])["state"]["type"] == "COMPLETED"
    wanted = {"artifacts": {"flow_run_id": {"any_": [made.json()["id"]]}}}
    artifacts = httpx.post(f"{api}/artifacts/filter", json=wanted).json()
    (answer,) = [each["data"] for each in artifacts if each["type"] == "bifrost-answer"]
    values = answer if isinstance(answer, dict) else json.loads(answer)
    assert "undeclared" in values["findings"][0]["title"]


def test_what_is_too_long_is_refused_on_both_sides(served: Served) -> None:
    """The command says so at once, and the flow does not read what came past it."""
    log = served.console.folder / "long.log"
    log.write_bytes(b"x" * 450_000)
    refused = served.console.call("request", log)
    assert refused.code == 2 and "400" in refused.err
    api = str(served.console.api_url)
    deployment = find_deployment(api, "analyze/adhoc")
    assert deployment
    made = httpx.post(
        f"{api}/deployments/{deployment['id']}/create_flow_run", json={"parameters": {"text": "x" * 450_000}}
    )
    state = wait_for_end(api, made.json()["id"])["state"]
    assert state["type"] == "FAILED" and "400" in state["message"]


def test_terminated_it_ends_quietly(served: Served) -> None:
    """SIGTERM ends serving within seconds, with 0 and without a trace."""
    before = (served.console.folder / "said.txt").stat().st_size
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(timeout=30) == 0
    said = (served.console.folder / "said.txt").read_bytes()[before:].decode()
    assert "Traceback" not in said and "Warning" not in said, said


def test_without_a_server_the_way_to_one_is_named(tmp_path: Path) -> None:
    """`serve` and `request` need a server that stays up."""
    alone = Console(tmp_path, tmp_path / "prefect")
    for words in (("serve", LOGS), ("request", LOG)):
        done = alone.call(*words)
        assert done.code in (2, 3) and "bifrost-flow up" in done.err, done.err


def test_an_open_server_elsewhere_is_refused(tmp_path: Path) -> None:
    """A Prefect API that others reach is not used without a key, by any command."""
    alone = Console(tmp_path, tmp_path / "prefect", "http://prefect.example.org:4200/api")
    for words in (("serve", LOGS), ("request", LOG), ("run", LOG), ("analyze", LOG)):
        done = alone.call(*words)
        assert done.code == 2 and "PREFECT_API_AUTH_STRING" in done.err, done.err

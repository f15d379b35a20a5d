"""`serve` and `request` against a real Prefect server: by our commands, Prefect's own, and its API."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from gzip import compress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.console import BIFROST, LOGS, Console
from tests.model_server import ModelServer
from tests.servers import free_port

LOG = LOGS / "travis" / "alacritty-rust-564527447.log"
SETTINGS = {"BIFROST_PROVIDER": "rules", "BIFROST_MLFLOW_ENABLED": "false"}
LONG_AGO = datetime(2026, 9, 10, 2, tzinfo=UTC)
PREFECT = str(Path(sys.executable).with_name("prefect"))


class Served:
    """A process that serves, in the folder of `console`."""

    def __init__(
        self, console: Console, process: subprocess.Popen[str], metrics: str, model: ModelServer
    ) -> None:
        self.console, self.process, self.metrics, self.model = console, process, metrics, model

    def read_metric(self, name: str) -> float:
        """Return the sum of a metric's series."""
        lines = httpx.get(self.metrics, timeout=60).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, prefect_home: Path, prefect_api: str
) -> Generator[Served]:
    """Serve two logs, and those of each day, for the length of this module; its model takes very long."""
    folder = tmp_path_factory.mktemp("served")
    console, port = Console(folder, prefect_home, prefect_api), free_port()
    for day in (LONG_AGO, *(datetime.now(UTC) + timedelta(days=n) for n in (-1, 0, 1))):  # even at midnight
        log = folder / f"ci/{day:%Y/%m/%d}/build.log"
        log.parent.mkdir(parents=True)
        log.write_text("compiled\nERROR: the linker ran out of memory\n")
    words = ("serve", LOGS / "zuul", "ci/{date:%Y/%m/%d}", "--since", "last-success")
    words += ("--adhoc-limit", "2", "--metrics-port", str(port), "--warehouse", "w")
    model = ModelServer(delay_s=900)
    with model, (folder / "said.txt").open("w") as said:
        process = subprocess.Popen(
            [BIFROST, *map(str, words)],
            cwd=folder,
            env=console.environment(**SETTINGS, BIFROST_OLLAMA_URL=model.url),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            text=True,
        )
        try:
            deadline = time.monotonic() + 240
            while not find_deployment(prefect_api, "analyze/adhoc"):
                told = (folder / "said.txt").read_text()
                assert process.poll() is None and time.monotonic() < deadline, told
                time.sleep(0.3)
            yield Served(console, process, f"http://127.0.0.1:{port}/metrics", model)
        finally:
            process.kill()
            process.wait()


def find_deployment(api: str, name: str) -> dict[str, Any] | None:
    answer = httpx.get(f"{api}/deployments/name/{name}", timeout=60)
    return answer.json() if answer.status_code == 200 else None


def submit(api: str, deployment_id: str, *, due: datetime | None = None, **parameters: Any) -> httpx.Response:
    """Create a flow run as another system would: a 503 means that SQLite is locked, and to ask again."""
    body: dict[str, Any] = {"parameters": parameters}
    if due:
        body["state"] = {"type": "SCHEDULED", "state_details": {"scheduled_time": due.isoformat()}}
    url, deadline = f"{api}/deployments/{deployment_id}/create_flow_run", time.monotonic() + 240
    while True:
        answer = httpx.post(url, json=body, timeout=60)
        if answer.status_code != 503 or time.monotonic() > deadline:
            return answer
        time.sleep(0.3)


def read_state(api: str, run_id: str) -> dict[str, Any]:
    return httpx.get(f"{api}/flow_runs/{run_id}", timeout=60).json()["state"]


def wait_for_end(api: str, run_id: str) -> dict[str, Any]:
    """Return a flow run's last state."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        run = httpx.get(f"{api}/flow_runs/{run_id}", timeout=60).json()
        if run["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            return run
        time.sleep(0.5)
    raise AssertionError("the run never ended")


def test_a_request_is_answered_and_the_same_one_costs_nothing(served: Served) -> None:
    """`request` prints what `analyze` would, with the secrets of the log kept from Prefect's database."""
    log = served.console.folder / "build.log"
    token = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    log.write_bytes(b"export GITHUB_TOKEN=" + token.encode() + b"\n" + LOG.read_bytes())
    # What `analyze` paid for is not paid again by who asks the server, and the other way round.
    paid = served.console.call("analyze", log, "--warehouse", "w", "--format", "json", "--provider", "rules")
    assert paid.code == 0, (paid.code, paid.out, paid.err)
    assert paid.json["llm_calls"] == 1, paid.err
    before = served.read_metric("bifrost_analysis_total")
    first = served.console.call("request", log, "--format", "json")
    assert first.code == 0, first.err
    (finding,) = first.json["findings"]
    assert finding["title"].startswith("error[E0658]")
    assert (finding["evidence"][0]["path"], finding["evidence"][0]["line"]) == (str(log), 440)
    assert (first.json["llm_calls"], first.json["cache_hits"]) == (0, 1)
    packed = log.with_suffix(".log.gz")
    packed.write_bytes(compress(log.read_bytes()))
    again = served.console.call("request", packed)
    assert again.code == 0 and again.out.startswith("error[E0658]"), again.err
    deadline = time.monotonic() + 120
    while served.read_metric("bifrost_analysis_total") < before + 2:
        assert time.monotonic() < deadline, "the runs were not counted"
        time.sleep(0.2)
    assert served.read_metric("bifrost_cache_hits_total") >= 1
    # The server is shared by many tests: only what was requested is looked at.
    wanted = {"flow_runs": {"tags": {"all_": ["request"]}}, "sort": "START_TIME_DESC", "limit": 2}
    runs = httpx.post(f"{served.console.api_url}/flow_runs/filter", json=wanted, timeout=60).text
    assert "GITHUB_TOKEN" in runs and token not in runs


def test_prefects_own_command_runs_the_nightly_audit(served: Served) -> None:
    """`prefect deployment run` starts it; its rows are in the warehouse and its words in the run's log. It
    reads what is new, of folders and of days."""
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
    (audit,) = [row for row in rows if row["source"] == "zuul +1"]
    assert audit["status"] == "completed" and audit["flow_run_id"]
    assert (audit["files"], audit["skipped"]) == (4, 0)  # the folder's two, yesterday's and today's
    assert "{date:%Y/%m/%d}" in audit["nightly"]
    body = {"logs": {"flow_run_id": {"any_": [audit["flow_run_id"]]}}}
    logs = httpx.post(f"{served.console.api_url}/logs/filter", json=body, timeout=60).json()
    assert any("4 logs are new" in line["message"] for line in logs), logs


def test_prefects_api_takes_a_log_as_text(served: Served) -> None:
    """Another system posts a log and finds the answer as an artifact of the run, and in the tables."""
    api = str(served.console.api_url)
    deployment = find_deployment(api, "analyze/adhoc")
    assert deployment
    schema = deployment["parameter_openapi_schema"]["properties"]
    assert all(schema[name]["description"] for name in ("text", "path", "name", "provider", "lang"))
    choices = {name: schema[name]["anyOf"][0]["enum"] for name in ("provider", "lang", "severity")}
    assert choices["lang"] == ["en", "ko"] and {"auto", "rules"} <= {*choices["provider"]}
    refused = submit(api, deployment["id"], text="x", lang="tlh")
    assert refused.status_code in (409, 422) and "tlh" in refused.text, refused.text
    text = "make: *** [all] Error 2\nsrc/a.c:3:5: error: 'x' undeclared\n"
    made = submit(api, deployment["id"], text=text)
    assert made.status_code == 201, made.text
    assert wait_for_end(api, made.json()["id"])["state"]["type"] == "COMPLETED"
    wanted = {"artifacts": {"flow_run_id": {"any_": [made.json()["id"]]}}}
    artifacts = httpx.post(f"{api}/artifacts/filter", json=wanted, timeout=60).json()
    (answer,) = [each["data"] for each in artifacts if each["type"] == "bifrost-answer"]
    values = answer if isinstance(answer, dict) else json.loads(answer)
    assert "undeclared" in values["findings"][0]["title"]
    query = (
        f"SELECT kind, title FROM runs JOIN findings USING (run_id) WHERE flow_run_id = '{made.json()['id']}'"
    )
    (row,) = served.console.call("sql", query, "--warehouse", "w", "--format", "json").json
    assert row["kind"] == "analyze" and "undeclared" in row["title"]


def test_what_a_served_run_cannot_read_is_refused(served: Served) -> None:
    """A log that is too long: by the command at once, and by the flow; standard input, which nobody has; a
    file that no setting names, though a link in a served folder leads to it; a warehouse elsewhere."""
    log = served.console.folder / "long.log"
    log.write_bytes(b"x" * 450_000)
    refused = served.console.call("request", log)
    assert refused.code == 2 and "400" in refused.err
    api = str(served.console.api_url)
    deployment = find_deployment(api, "analyze/adhoc")
    assert deployment
    link = served.console.folder / f"ci/{datetime.now(UTC):%Y/%m/%d}/secret.log"
    link.symlink_to(log)
    asked: list[tuple[dict[str, Any], str]] = [
        ({"text": "x" * 450_000}, "400"),
        ({"path": "-"}, "standard input"),
    ]
    asked += [({"path": str(link)}, "serve.allow"), ({"text": "x", "warehouse": "/tmp/w"}, "serve.allow")]
    # All at once: each is a process that takes seconds to start.
    submitted = [(submit(api, deployment["id"], **each).json()["id"], reason) for each, reason in asked]
    for run_id, reason in submitted:
        state = wait_for_end(api, run_id)["state"]
        assert state["type"] == "FAILED" and reason in state["message"], state


def test_terminated_it_ends_what_runs(served: Served) -> None:
    """SIGTERM ends serving with 0, and its runs on the server too: they save what they have, without noise,
    and the night is submitted again. No more requests were under way than are allowed."""
    api, folder = str(served.console.api_url), served.console.folder
    nightly, adhoc = find_deployment(api, "audit/nightly"), find_deployment(api, "analyze/adhoc")
    assert nightly and adhoc
    slow: dict[str, Any] = {"provider": "ollama", "model": "scripted"}
    night = submit(api, nightly["id"], due=LONG_AGO, since=None, **slow).json()["id"]
    requests = [submit(api, adhoc["id"], text=f"src/a.c:{n}:5: error: x\n", **slow) for n in (1, 2, 3)]
    deadline = time.monotonic() + 240
    states: list[str] = []
    under_way = 4  # two requests, and a night with two failures
    while served.model.in_flight < under_way or states.count("AwaitingConcurrencySlot") != 1:
        assert time.monotonic() < deadline, (states, (folder / "said.txt").read_text())
        time.sleep(0.3)
        states = [read_state(api, each.json()["id"])["name"] for each in requests]
    assert served.model.in_flight == under_way

    before = (folder / "said.txt").stat().st_size
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(timeout=240) == 0
    said = (folder / "said.txt").read_bytes()
    last = said[before:].decode()
    assert not [each for each in ("Traceback", "Warning", "Unclosed") if each in last], last
    assert b"leaked" not in said and b"never awaited" not in said, said.decode()
    ended = [read_state(api, each)["type"] for each in (night, *(each.json()["id"] for each in requests))]
    assert sorted(ended) == ["CANCELLED", "CANCELLED", "CANCELLED", "SCHEDULED"], ended
    rows = served.console.call("history", "--warehouse", "w", "--format", "json").json
    (broken_off,) = [row for row in rows if row["flow_run_id"] == night]
    assert broken_off["status"] == "interrupted"
    query = f"SELECT path FROM files WHERE run_id = '{broken_off['run_id']}' AND path LIKE '%build.log'"
    (read,) = served.console.call("sql", query, "--warehouse", "w", "--format", "json").json
    assert f"{LONG_AGO:%Y/%m/%d}" in read["path"]  # a night's day is that on which it was due

    wanted = {"deployments": {"id": {"any_": [nightly["id"]]}}, "flow_runs": {"tags": {"all_": ["catch-up"]}}}
    (again,) = httpx.post(f"{api}/flow_runs/filter", json=wanted, timeout=60).json()
    assert (
        again["expected_start_time"]
        == httpx.get(f"{api}/flow_runs/{night}", timeout=60).json()["expected_start_time"]
    )
    assert again["state"]["type"] == "SCHEDULED" and again["parameters"]["provider"] == "ollama"
    nightly = find_deployment(api, "audit/nightly")
    assert nightly and nightly["schedules"][0]["active"]  # nights that nobody serves are noted


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

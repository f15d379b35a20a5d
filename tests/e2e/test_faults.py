"""What goes wrong outside of us, met by whole runs: what the user is told, the exit code, and that nothing
that was paid for or found is lost.

BIFROST_FAULTS_TABLE=docs/faults.md writes what was seen as a table; `make torture` does.
"""

import json
import os
import re
import sqlite3
import ssl
import subprocess
import threading
import time
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from connectors.prefect_server import EmbeddedServer
from tests.console import BIFROST, LOGS, Console, Done
from tests.model_server import Fault, ModelServer, answer_well
from tests.s3_fixtures import bucket, s3_server
from tests.s3_server import CREDENTIALS, REGION, Bucket, Request

__all__ = ["bucket", "s3_server"]

FAILED = tuple(
    LOGS / name
    for name in (
        "travis/alacritty-rust-564527447.log",
        "jenkins/node-osx1010-19307.log",
        "zuul/console-pep8.fail.log",
    )
)
ASK = ("--provider", "ollama", "--model", "scripted", "--concurrency", "1")
FAST: dict[str, Any] = {
    "BIFROST_OLLAMA_TIMEOUT": "1",
    "BIFROST_OLLAMA_MAX_RETRIES": "1",
    "BIFROST_MLFLOW_ENABLED": "false",
}
# The whole list takes minutes: the test suite meets a part of it, `make torture` all.
LONG = os.environ.get("BIFROST_TORTURE") == "1"
only_long = pytest.mark.skipif(not LONG, reason="takes its time: make torture meets it")
ANSWER = answer_well({"messages": [{"content": "1| error: x"}]})


@dataclass(frozen=True, slots=True)
class Met:
    """A fault, and what a run makes of it."""

    name: str
    faults: tuple[Fault, ...]  # what the second of three questions meets, attempt by attempt
    passes: bool  # a retry or a repair gets over it
    says: str = ""  # in the problem that the user is told


MODEL_FAULTS = (
    Met("429 with Retry-After", (Fault(429, {"Retry-After": "1"}),), True),
    Met("429 without Retry-After", (Fault(429),), True),
    Met("429 for good", (Fault(429, {"Retry-After": "0"}),) * 2, False, "429"),
    Met("500 once", (Fault(500),), True),
    Met("502 for good", (Fault(502),) * 2, False, "502"),
    Met("connection reset once", (Fault(drop=True),), True),
    Met("connection reset for good", (Fault(drop=True),) * 2, False, "closed the connection"),
    Met("no answer in time", (Fault(delay_s=3.0),) * 2, False, "ollama.timeout"),
    Met("an answer that never ends", (Fault(endless=True),), False, "which no answer has"),
    Met("truncated JSON once", (Fault(content=ANSWER[:60]),), True),
    Met("invalid JSON for good", (Fault(content="I think that it broke."),) * 2, False, "JSON"),
    Met(
        "HTML instead of an answer",
        (Fault(body=b"<html>Bad gateway</html>"),) * 2,
        False,
        "no reply of its protocol",
    ),
    Met(
        "an answer of 10 MB", (Fault(content='{"title": "' + "x" * 10_000_000),), False, "which no answer has"
    ),
    Met(
        "half a surrogate in the answer",
        (Fault(body=rb'{"message": {"content": "{\"title\": \"\ud800"}, "done": true}'),) * 2,
        False,
        "no JSON object",
    ),
    Met(
        "a redirect to elsewhere",
        (Fault(302, {"Location": "http://127.0.0.1:9/"}, body=b""),),
        False,
        "which is not followed",
    ),
    Met("refused (403)", (Fault(403, error="no access"),), False, "403"),
)


def note(seam: str, name: str, code: int, said: str) -> None:
    """Add a row to the table of faults, if one is being made."""
    table = os.environ.get("BIFROST_FAULTS_TABLE")
    if table:
        shown = " ".join(said.split()).replace("|", "\\|") or "nothing: a retry gets over it"
        # What differs from run to run: ports, folders, run ids.
        shown = re.sub(r"127\.0\.0\.1:\d{4,5}", "127.0.0.1:PORT", shown)
        shown = re.sub(r"bifrost-[0-9a-f]{12}", "BUCKET", shown)
        shown = re.sub(r"/tmp/\S+?/(?=disk|w\b|bifrost-warehouse)", "", shown)
        shown = shown if len(shown) <= 300 else shown[:299] + "…"
        with Path(table).open("a", encoding="utf-8") as out:
            out.write(f"| {seam} | {name} | {code} | {shown} |\n")


def pick_problem(done: Done) -> str:
    return "; ".join(done.json["problems"])


@pytest.mark.parametrize(
    "met", MODEL_FAULTS if LONG else MODEL_FAULTS[::7], ids=lambda met: met.name.replace(" ", "-")
)
def test_model(console: Console, met: Met) -> None:
    """Whatever one call meets, the others are answered and kept, and the next run asks for that one alone."""
    words = ("run", *FAILED, *ASK, "--json", "--quiet")
    with ModelServer() as server:
        environment: dict[str, Any] = {**FAST, "BIFROST_OLLAMA_URL": server.url}
        server.script(Fault(), *met.faults)
        done = console.call(*words, **environment)
        problem = pick_problem(done)
        note("model", met.name, done.code, problem)
        assert "Traceback" not in done.err
        if met.passes:
            assert (done.code, done.json["status"], done.json["findings"]) == (0, "completed", 3), problem
        else:
            assert (done.code, done.json["status"], done.json["findings"]) == (3, "partial", 2), problem
            assert met.says in problem
        server.script()
        server.chats.clear()
        again = console.call(*words, **environment)
        assert (again.code, again.json["findings"]) == (0, 3)
        assert again.json["llm_calls"] == len(server.chats) == (0 if met.passes else 1)


def test_a_certificate_that_nobody_vouches_for(console: Console, tmp_path: Path) -> None:
    """A server that shows its own certificate gets no log and no key, and the user is told why."""
    seen: list[str] = []
    with serve_https(tmp_path, seen) as url:

        def ask(**extra: str) -> Done:
            return console.call(
                *("run", FAILED[2], "--provider", "openai", "--model", "scripted", "--json", "--quiet"),
                **FAST,
                BIFROST_OPENAI_BASE_URL=url,
                BIFROST_OPENAI_API_KEY="sk-secret",
                BIFROST_OPENAI_MAX_RETRIES="0",
                **extra,
            )

        done = ask()
        note("model", "a certificate that nobody vouches for", done.code, pick_problem(done))
        assert done.code == 3
        assert "certificate" in pick_problem(done) and "SSL_CERT_FILE" in pick_problem(done)
        assert seen == []
        assert "sk-secret" not in done.out + done.err
        ask(SSL_CERT_FILE=str(tmp_path / "cert.pem"))
        assert seen == ["/v1/chat/completions"], "the way out that the message names is none"


@contextmanager
def serve_https(folder: Path, seen: list[str]) -> Generator[str]:
    """Serve with a certificate of our own making; `seen` gets each request's path."""
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=127.0.0.1",
            ),
            *(
                "-addext",
                "subjectAltName=IP:127.0.0.1",
                "-keyout",
                folder / "key.pem",
                "-out",
                folder / "cert.pem",
            ),
        ],
        check=True,
        capture_output=True,
    )

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(self.path)
            self.send_error(403)

        do_GET = do_POST  # noqa: N815 - the base class looks for this name

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # ty: ignore[invalid-assignment] - the client hangs up, as it should
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def serve(*answers: tuple[int, dict[str, str], float]) -> Generator[tuple[str, list[bytes]]]:
    """Serve POSTs with `answers`, each a status, headers and a delay in seconds, the last one for good; yield
    the address and the bodies that arrive."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            status, headers, delay_s = answers[min(len(bodies), len(answers)) - 1]
            time.sleep(delay_s)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):  # who waited too long has hung up
                self.wfile.write(b"ok")

        do_GET = do_POST  # noqa: N815 - the base class looks for this name

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", bodies
    finally:
        server.shutdown()
        server.server_close()


SLACK_FAULTS = (
    ("429, then fine", ((429, {"Retry-After": "1"}, 0.0), (200, {}, 0.0)), 2),
    ("404: the webhook is gone", ((404, {}, 0.0),), 1),
    ("no answer in time", ((200, {}, 20.0),), 1),
)


@pytest.mark.parametrize(
    ("name", "answers", "posts"),
    SLACK_FAULTS if LONG else SLACK_FAULTS[:1],
    ids=lambda value: str(value)[:12],
)
def test_slack(console: Console, name: str, answers: Any, posts: int) -> None:
    """Slack may refuse or hang: the run is complete and says what became of its message."""
    with serve(*answers) as (url, bodies):
        done = console.call(
            *("run", FAILED[2], "--provider", "rules", "--json", "--quiet"),
            BIFROST_MLFLOW_ENABLED="false",
            BIFROST_SLACK_WEBHOOK_URL=f"{url}/services/T0/B0/secret",
        )
    note("Slack", name, done.code, f"Slack: {done.json['slack']}")
    assert (done.code, done.json["findings"], len(bodies)) == (0, 1, posts)
    assert done.json["slack"] == "posted" if posts == 2 else "posted" not in done.json["slack"]
    assert "secret" not in done.out + done.err


@dataclass(frozen=True, slots=True)
class MetInBucket:
    """What the server of a bucket does to the requests for one of three logs, or to all requests."""

    name: str
    fault: str
    times: int | None = None  # None: for good
    everywhere: bool = False
    code: int = 3
    says: str = ""


S3_FAULTS = (
    MetInBucket("404 between list and get", "gone", says="not any more"),
    MetInBucket("SlowDown, then fine", "slow", times=3, code=0),
    MetInBucket("SlowDown for good", "slow", says="SlowDown"),
    MetInBucket("a body that breaks off, then fine", "cut", times=3, code=0),
    MetInBucket("connection reset, then fine", "reset", times=3, code=0),
    MetInBucket("a body that breaks off for good", "cut", says="two.log"),
    MetInBucket("our clock is wrong", "skewed", everywhere=True, says="set the clock"),
    MetInBucket("credentials have expired", "expired", everywhere=True, says="aws sso login"),
)


@pytest.mark.parametrize(
    "met", S3_FAULTS if LONG else S3_FAULTS[:1], ids=lambda met: met.name.replace(" ", "-")
)
def test_s3(console: Console, bucket: Bucket, met: MetInBucket) -> None:
    """Whatever one object or the bucket meets, other logs are read, and the next run finds all of them."""
    names = ("one.log", "two.log", "three.log")
    bucket.fill({f"ci/{name}": path.read_bytes() for name, path in zip(names, FAILED, strict=True)})
    (console.folder / "bifrost.yaml").write_text(
        f"s3:\n  endpoint: {bucket.endpoint}\n  region: {REGION}\nmlflow:\n  enabled: false\n"
    )
    words = ("run", f"{bucket.url}/ci/", "--provider", "rules", "--json", "--quiet")
    left = [met.times]

    def plan(request: Request) -> str | None:
        if left[0] == 0 or not (met.everywhere or "two.log" in request.path):
            return None
        left[0] = left[0] and left[0] - 1
        return met.fault

    bucket.plan = plan
    done = console.call(*words, stdin=None, **CREDENTIALS)
    said = done.json.get("error") or pick_problem(done)
    note("S3", met.name, done.code, said)
    assert done.code == met.code, done.out + done.err
    assert met.says in said and "Traceback" not in done.err
    if not met.everywhere:
        assert done.json["findings"] == (2 if met.code else 3)
    bucket.plan = lambda _: None
    again = console.call(*words, stdin=None, **CREDENTIALS)
    assert (again.code, again.json["findings"]) == (0, 3)


def hold_lock(warehouse: Path) -> Any:
    """Return a connection that holds the MLflow store of `warehouse` for itself."""
    connection = sqlite3.connect(warehouse / "mlflow.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    return connection


@only_long
def test_mlflow_down_slow_or_locked(console: Console) -> None:
    """Tracking that fails or hangs costs its time limit at most, and never a finding or the exit code."""
    words = ("run", FAILED[2], "--provider", "rules", "--json", "--quiet")
    limits: dict[str, Any] = {"BIFROST_MLFLOW_TIMEOUT": "6"}
    cases: dict[str, Done] = {
        "down": console.call(*words, **limits, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    }
    with serve((200, {}, 30.0)) as (url, _):
        cases["slow"] = console.call(*words, **limits, MLFLOW_TRACKING_URI=url)
    assert "tracked" in console.call(*words).json["mlflow"]
    with closing(hold_lock(console.folder / "bifrost-warehouse")):
        cases["its database is locked"] = console.call(*words, **limits)
    for name, done in cases.items():
        note("MLflow", name, done.code, f"MLflow: {done.json['mlflow']}")
        assert (done.code, done.json["findings"], done.json["errors"]) == (0, 1, 0), name
        assert done.json["mlflow"].startswith("failed: "), name
        assert "Traceback" not in done.err


def call_apart(console: Console, script: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script in mounts of its own."""
    return subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-ec", script],
        cwd=console.folder,
        env=console.environment(**extra) | {"BIFROST": BIFROST},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


needs_mounts = pytest.mark.skipif(
    not which("unshare")
    or subprocess.run(["unshare", "--map-root-user", "--mount", "true"], capture_output=True).returncode != 0,
    reason="no mounts of one's own here (unshare)",
)


@needs_mounts
def test_disk_full(console: Console) -> None:
    """A run without room on the disk says so and leaves no half file; once there is room, all is there."""
    log = console.folder / "many.log"
    log.write_text(
        "".join(f"step {n}\nerror: module_{'abcdefghij'[n % 10] * (n // 10 + 1)} broke\n" for n in range(60))
    )
    script = """
        ASK="--provider ollama --model scripted --json --quiet --warehouse disk/w"
        mkdir disk && mount -t tmpfs -o size=200k tmpfs disk
        $BIFROST run many.log $ASK >full.json 2>full.txt || echo $? >full.code
        mount -o remount,size=100m disk
        $BIFROST run many.log $ASK >roomy.json
        find disk -name '*.tmp*' >left.txt
        $BIFROST sql "SELECT count(*) AS n FROM findings" --format json --warehouse disk/w >rows.json
    """
    with ModelServer() as server:
        done = call_apart(console, script, **FAST, BIFROST_OLLAMA_URL=server.url)
        calls = len(server.chats)
    assert done.returncode == 0, done.stderr
    full_code = int((console.folder / "full.code").read_text())
    said = (console.folder / "full.txt").read_text() + (console.folder / "full.json").read_text()
    note("disk", "full", full_code, json.loads((console.folder / "full.json").read_text()).get("error", said))
    assert full_code in (2, 3)
    assert "No space left" in said and "Traceback" not in said
    roomy = json.loads((console.folder / "roomy.json").read_text())
    assert roomy["findings"] == roomy["groups"] > 0
    assert calls <= roomy["groups"] + 4
    assert (console.folder / "left.txt").read_text() == ""


@needs_mounts
def test_read_only_warehouse(console: Console) -> None:
    """A warehouse that can only be read can be read; a run into it is refused before a call is paid for."""
    words = "run many --provider ollama --model scripted --json --quiet --warehouse w"
    (console.folder / "many").mkdir()
    for path in FAILED:
        (console.folder / "many" / path.name).write_bytes(path.read_bytes())
    script = f"""
        $BIFROST {words} >first.json
        mount --bind w w && mount -o remount,ro,bind w
        $BIFROST {words} >refused.json 2>refused.txt || echo $? >refused.code
        $BIFROST history --warehouse w --format json >history.json
        $BIFROST sql 'SELECT count(*) AS n FROM findings' --warehouse w --format json >rows.json
    """
    with ModelServer() as server:
        done = call_apart(console, script, **FAST, BIFROST_OLLAMA_URL=server.url)
        assert len(server.chats) == 3
    assert done.returncode == 0, done.stderr
    error = json.loads((console.folder / "refused.json").read_text())["error"]
    code = int((console.folder / "refused.code").read_text())
    note("disk", "read-only warehouse", code, error)
    assert code == 2
    assert "w" in error and "Traceback" not in (console.folder / "refused.txt").read_text()
    assert len(json.loads((console.folder / "history.json").read_text())) == 1
    assert json.loads((console.folder / "rows.json").read_text()) == [{"n": 3}]


@only_long
def test_prefect_server_lost_in_the_middle(tmp_path: Path, prefect_home: Path) -> None:
    """With its Prefect server gone a run ends with a reason, and what was answered is not asked again."""
    server = EmbeddedServer()
    server.start()
    console = Console(tmp_path, prefect_home, server.wait())
    with ModelServer(delay_s=0.5) as model:
        environment: dict[str, Any] = {
            **FAST,
            "BIFROST_OLLAMA_URL": model.url,
            "PREFECT_CLIENT_MAX_RETRIES": "1",
        }
        words = ("run", *FAILED, *ASK, "--json", "--quiet")
        started = console.start(*words, **environment)
        while not model.chats:
            time.sleep(0.02)
            assert started.poll() is None
        server.stop()
        out, err = started.communicate(timeout=240)
        note(
            "Prefect",
            "its server is lost in the middle",
            started.returncode,
            json.loads(out)["error"],
        )
        assert "Traceback" not in err
        assert started.returncode == 3
        assert "stopped answering" in json.loads(out)["error"]
        asked = len(model.chats)
        model.delay_s = 0.0
        last = Console(tmp_path, prefect_home).call(*words, **environment)
        assert last.code == 0, last.err
        assert last.json["findings"] == 3
        assert last.json["llm_calls"] == len(model.chats) - asked <= 3 - asked + 1


@only_long
def test_a_clock_that_was_set_back(console: Console) -> None:
    """After a night that was dated a year ahead, runs still know what is new and what is not."""
    library = next(Path("/usr/lib").rglob("libfaketime.so.1"), None)
    if library is None:
        pytest.skip("libfaketime is not installed")
    words = ("run", FAILED[2], "--provider", "rules", "--json", "--quiet")
    ahead: dict[str, Any] = {
        "LD_PRELOAD": str(library),
        "FAKETIME": "+365d",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    first = console.call(*words, BIFROST_MLFLOW_ENABLED="false", **ahead)
    assert (first.code, first.json["new"]) == (0, 1), first.err
    second = console.call(*words, BIFROST_MLFLOW_ENABLED="false")
    note(
        "clock",
        "set back by a year",
        second.code,
        f"{second.json['recurring']} recurring, {second.json['new']} new",
    )
    assert (second.code, second.json["new"], second.json["recurring"]) == (0, 0, 1)
    other = console.call(
        "run", FAILED[1], "--provider", "rules", "--json", "--quiet", BIFROST_MLFLOW_ENABLED="false"
    )
    assert (other.json["new"], other.json["resolved"]) == (1, 0)

"""What `doctor` finds, against real servers on loopback, real stores and AWS's own chain of credentials."""

import json
import os
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bifrost_flow.language import LANGUAGES
from connectors import checks
from connectors.checks import Check, run_checks

SLACK_OK = {"ok": True, "team": "Platform", "user": "bifrost"}


@contextmanager
def serve(answers: dict[str, object], *, headers: list[str] | None = None) -> Generator[str]:
    """Answer GET and POST on the paths with JSON, all else with 404; collect the Authorization headers."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if headers is not None:
                headers.append(self.headers.get("Authorization", ""))
            found = answers.get(self.path)
            body = json.dumps(found).encode()
            self.send_response(200 if found is not None else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No AWS, Prefect or proxy settings of whoever runs the tests."""
    for name in os.environ:
        if name.startswith(("AWS_", "PREFECT_", "BOTO")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr("bifrost_flow.language._current", "en")


def find_free_url() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_this_installation_is_sound() -> None:
    """Python and the packages that are installed here are those that the product asks for."""
    assert checks.check_python().status == "ok"
    found = checks.check_packages()
    assert found.status == "ok"
    assert "prefect 3" in found.detail


def test_wrong_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package in a version that doesn't fit, and one that isn't there, are told with what is needed."""
    (tmp_path / "probe-1.dist-info").mkdir()
    (tmp_path / "probe-1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: probe\nVersion: 1\nRequires-Python: <3\n"
        "Requires-Dist: httpx<0.1\nRequires-Dist: no-such-package\n"
        "Requires-Dist: other; python_version < '3'\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    found = checks.check_packages("probe")
    assert found.status == "failed"
    assert "<0.1" in found.detail
    assert "no-such-package is not installed" in found.detail
    assert "other" not in found.detail
    assert checks.check_python("probe").status == "failed"


@pytest.mark.parametrize(
    ("language", "encoding", "status"),
    [("en", "ascii", "ok"), ("ko", "utf-8", "ok"), ("ko", "ascii", "failed"), ("ko", "no-such", "failed")],
)
def test_language_that_the_terminal_cannot_show(language: str, encoding: str, status: str) -> None:
    """Korean on an output that can't carry it is told, English never is."""
    assert checks.check_language(language, encoding).status == status


def test_warehouse(tmp_path: Path) -> None:
    """A warehouse that can be written or made is fine; a file in its place, or an address, isn't."""
    assert checks.check_warehouse(str(tmp_path / "new" / "deep")).status == "ok"
    assert not (tmp_path / "new").exists()
    assert checks.check_warehouse(str(tmp_path)).status == "ok"
    (tmp_path / "file").write_text("")
    assert checks.check_warehouse(str(tmp_path / "file")).status == "failed"
    assert checks.check_warehouse("ftp://host/logs").status == "failed"


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk with too little room left fails before a run does."""
    monkeypatch.setattr(checks, "MIN_FREE_BYTES", 10**18)
    assert checks.check_warehouse(str(tmp_path)).status == "failed"


def test_ollama() -> None:
    """Ollama is asked for its models; the one that is set must be among them."""
    tags = {
        "models": [
            {"name": "qwen:3b", "size": 2, "details": {}},
            {"name": "tiny:latest", "size": 1, "details": {}},
        ]
    }
    with serve({"/api/tags": tags}) as url:
        found = checks.check_ollama(url, None, wanted=False)
        assert (found.status, "qwen:3b" in found.detail) == ("ok", True)
        assert checks.check_ollama(url, "tiny", wanted=True).status == "ok"
        lacking = checks.check_ollama(url, "llama3", wanted=False)
        assert (lacking.status, "ollama pull llama3" in lacking.remedy) == ("failed", True)
    with serve({"/api/tags": {"models": []}}) as url:
        assert checks.check_ollama(url, None, wanted=False).status == "missing"
        assert checks.check_ollama(url, None, wanted=True).status == "failed"


def test_ollama_that_is_down() -> None:
    """Without a server, Ollama is missing; where the settings name it, that is a failure."""
    url = find_free_url()
    assert checks.check_ollama(url, None, wanted=False).status == "missing"
    down = checks.check_ollama(url, None, wanted=True)
    assert (down.status, "ollama serve" in down.remedy) == ("failed", True)


def test_openai() -> None:
    """The server is asked with the key, and the key is not shown."""
    headers: list[str] = []
    with serve({"/v1/models": {"data": []}}, headers=headers) as url:
        assert checks.check_openai(f"{url}/v1", "sk-geheim", "m", wanted=True).status == "ok"
        assert checks.check_openai(f"{url}/v1", "sk-geheim", None, wanted=True).status == "failed"
        wrong = checks.check_openai(f"{url}/v2", "sk-geheim", "m", wanted=True)
    assert headers[0] == "Bearer sk-geheim"
    assert (wrong.status, "404" in wrong.detail, "geheim" in str(wrong)) == ("failed", True, False)
    assert checks.check_openai(None, None, None, wanted=False).status == "missing"
    assert checks.check_openai(None, None, None, wanted=True).status == "failed"


def test_mlflow_stores(tmp_path: Path) -> None:
    """Local stores must be writable, servers must answer, and looking makes no file."""
    uri = f"sqlite:///{tmp_path}/w/mlflow.db"
    assert checks.check_mlflow(uri, None).status == "ok"
    assert not (tmp_path / "w").exists()
    (tmp_path / "w").mkdir()
    with sqlite3.connect(tmp_path / "w" / "mlflow.db") as store:
        store.execute("CREATE TABLE runs (id)")
    store.close()
    assert checks.check_mlflow(uri, None).status == "ok"
    (tmp_path / "w" / "mlflow.db").write_bytes(b"garbage" * 1000)
    assert checks.check_mlflow(uri, None).status == "failed"
    with serve({"/health": "OK"}) as url:
        assert checks.check_mlflow(url, None).status == "ok"
    down = checks.check_mlflow(url.replace("//", "//me:geheim@"), None)
    assert (down.status, "geheim" in str(down)) == ("failed", False)
    assert checks.check_mlflow("", "switched off").status == "missing"


def test_slack_token_is_tried_and_nothing_posted() -> None:
    """Only auth.test is called, with the token."""
    headers: list[str] = []
    with serve({"/auth.test": SLACK_OK}, headers=headers) as url:
        found = checks.check_slack(None, "xoxb-geheim", "#ci", api_url=f"{url}/")
    assert (found.status, headers) == ("ok", ["Bearer xoxb-geheim"])
    assert "Platform" in found.detail
    assert "geheim" not in str(found)


def test_slack_that_is_not_right() -> None:
    """A refused token, a missing channel, a server that is down and a webhook that is no address all fail."""
    with serve({"/auth.test": {"ok": False, "error": "invalid_auth"}}) as url:
        refused = checks.check_slack(None, "xoxb-1", "#ci", api_url=f"{url}/")
    assert (refused.status, "invalid_auth" in refused.detail) == ("failed", True)
    assert checks.check_slack(None, "xoxb-1", "#ci", api_url=f"{url}/").status == "failed"
    assert checks.check_slack(None, "xoxb-1", None).status == "failed"
    assert checks.check_slack("hooks.slack.com", None, None).status == "failed"
    assert checks.check_slack("https://hooks.slack.com/services/geheim", None, None).status == "ok"
    assert checks.check_slack(None, None, None).status == "missing"


def test_webhook() -> None:
    """A webhook is looked at and not tried; that it is unsigned is told."""
    assert checks.check_webhook(None, "s").status == "missing"
    assert checks.check_webhook("alerts.example", "s").status == "failed"
    signed = checks.check_webhook("https://alerts.example/geheim", "geheim")
    unsigned = checks.check_webhook("https://alerts.example/geheim", None)
    assert (signed.status, unsigned.status) == ("ok", "ok")
    assert "not signed" in unsigned.detail and "not signed" not in signed.detail
    assert "geheim" not in f"{signed}{unsigned}"


def test_aws_credentials_are_found_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source is named: nothing, a file, the environment, a role of the container."""
    assert checks.check_s3(wanted=False).status == "missing"
    assert checks.check_s3(wanted=True).status == "failed"
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/role")
    assert "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI" in checks.check_s3(wanted=True).detail
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id = A\naws_secret_access_key = geheim\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    assert "shared-credentials-file" in checks.check_s3(wanted=True).detail
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "A")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "geheim")
    found = checks.check_s3(wanted=True)
    assert (found.status, found.detail, "geheim" in str(found)) == ("ok", "AWS credentials from: env", False)
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert checks.check_s3(wanted=False).status == "failed"


def test_aws_asks_no_other_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the host's metadata service, nor a container's, nor a credential program is asked."""
    ran = tmp_path / "ran"
    config = tmp_path / "config"
    config.write_text(
        f"[profile program]\ncredential_process = touch {ran}\n"
        "[profile role]\nrole_arn = arn:aws:iam::1:role/r\ncredential_source = Ec2InstanceMetadata\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    headers: list[str] = []
    with serve({}, headers=headers) as url:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{url}/role")
        assert checks.check_s3(wanted=False).status == "ok"
        assert "Ec2InstanceMetadata" in checks.check_bedrock("r", "role", "m", wanted=True).detail
        assert "credential_process" in checks.check_bedrock("r", "program", "m", wanted=True).detail
    assert headers == []
    assert not ran.exists()


def test_bedrock_needs_region_and_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials alone are not enough: what is lacking is named by its setting."""
    assert checks.check_bedrock(None, None, None, wanted=False).status == "missing"
    assert checks.check_bedrock(None, "nobody", None, wanted=False).status == "failed"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "A")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "B")
    assert "bedrock.region" in checks.check_bedrock(None, None, "m", wanted=True).detail
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert "bedrock.model" in checks.check_bedrock(None, None, None, wanted=True).detail
    assert checks.check_bedrock(None, None, "m", wanted=True).status == "ok"
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "geheim")
    keyed = checks.check_bedrock(None, None, "m", wanted=True)
    assert (keyed.status, "AWS_BEARER_TOKEN_BEDROCK" in keyed.detail) == ("ok", True)
    assert "geheim" not in str(keyed)


def test_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    """A configured API must answer; without one the embedded server serves."""
    assert checks.check_prefect().status == "ok"
    with serve({"/api/health": True}) as url:
        monkeypatch.setenv("PREFECT_API_URL", f"{url}/api")
        assert checks.check_prefect().status == "ok"
    assert checks.check_prefect().status == "failed"


@pytest.mark.parametrize(
    ("variable", "right"),
    [
        ("PREFECT_API_AUTH_STRING", "Basic dTpw"),
        ("PREFECT_API_KEY", "Bearer u:p"),
    ],
)
def test_a_prefect_server_that_refuses_us_is_no_good(
    variable: str, right: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its /health answers everybody; with no password, or the wrong one, no run would get through."""

    class Guarded(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/api/health" or self.headers.get("Authorization") == right
            self.send_response(200 if known else 401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    for name in ("PREFECT_API_AUTH_STRING", "PREFECT_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Guarded) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/api")
            found = []
            for given in ("", "u:wrong", "u:p"):
                monkeypatch.setenv(variable, given)
                found.append(checks.check_prefect().status)
                assert "wrong" not in str(checks.check_prefect())
        finally:
            server.shutdown()
    assert found == ["failed", "failed", "ok"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_checks_run_at_once_and_never_hang(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow checks run beside each other; one that hangs or breaks fails alone, in its place."""
    monkeypatch.setattr("bifrost_flow.language._current", language)
    hung = threading.Event()

    def sleep(name: str) -> Callable[[], Check]:
        def check() -> Check:
            time.sleep(0.3)
            return Check(name, "ok", "")

        return check

    def hang() -> Check:
        hung.wait(300)
        return Check("hang", "ok", "")

    def crash() -> Check:
        raise ValueError("broken")

    started = time.monotonic()
    planned = {"a": sleep("a"), "hang": hang, "crash": crash, **{name: sleep(name) for name in "bcdefg"}}
    found = run_checks(planned, timeout_s=4)
    assert time.monotonic() - started < 60
    hung.set()
    assert [each.name for each in found] == list(planned)
    assert {each.name for each in found if each.status == "failed"} == {"hang", "crash"}
    assert "broken" in found[2].detail

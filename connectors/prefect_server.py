"""Prefect servers as processes: find one that is up, or start one of our own beside the reading of logs.

Prefect would start its embedded server by itself, but only when the flow is called, with block registration
(6 s on a new database) and telemetry. This module starts the same application earlier and leaner. It never
imports Prefect: that takes over a second, which the server can use.
"""

import base64
import fcntl
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from bifrost_flow.errors import BifrostError
from bifrost_flow.language import t

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 120.0
DEFAULT_PORT = 4200
# Prefect's own client and server send usage data unless told otherwise; nothing leaves the machine unasked.
QUIET_ENVIRONMENT = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
# What one run does not need: a UI, block types, schedules, automations, clean-up of other people's runs.
EMBEDDED_ENVIRONMENT = {
    **QUIET_ENVIRONMENT,
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_UI_ENABLED": "0",
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_FOREMAN_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_REPOSSESSOR_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
}


# The pipe that is its standard input closes when our process ends, however it ends: nothing is left running.
RUN_UNTIL_ORPHANED = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.buffer.read(), os._exit(0)), daemon=True).start()
import uvicorn.main
uvicorn.main.main()
"""


class ServerError(BifrostError):
    """The Prefect server could not be started."""


def get_prefect_home() -> Path:
    """Return the folder of Prefect's profiles and database."""
    return Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect").expanduser()


def find_configured_url() -> str | None:
    """Return the API address that the user has configured for Prefect, by its own rules, or None."""
    return find_prefect_setting("PREFECT_API_URL")


def find_prefect_setting(name: str) -> str | None:
    """Return a setting of Prefect's client, `PREFECT_API_…`, by its own rules, or None.

    Source: Prefect's order: environment, `.env`, `prefect.toml`, `pyproject.toml`, active profile.
    """
    if value := os.environ.get(name):
        return value
    dotenv = Path(".env")
    if dotenv.is_file():
        for line in dotenv.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.removeprefix("export ").partition("=")
            if key.strip() == name and value.strip():
                return value.strip().strip("'\"")
    project = _read_toml(Path("pyproject.toml")).get("tool", {}).get("prefect", {})
    local = _read_toml(Path("prefect.toml")) or project
    if value := local.get("api", {}).get(name.removeprefix("PREFECT_API_").lower()):
        return str(value)
    path = os.environ.get("PREFECT_PROFILES_PATH")
    profiles = _read_toml(Path(path) if path else get_prefect_home() / "profiles.toml")
    active = os.environ.get("PREFECT_PROFILE") or profiles.get("active")
    return profiles.get("profiles", {}).get(active, {}).get(name)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def is_healthy(url: str, *, timeout_s: float = 2.0) -> bool:
    """Return whether a Prefect API answers at `url`."""
    try:
        with _make_opener(url).open(f"{url}/health", timeout=timeout_s) as answer:
            return answer.status == 200
    except (OSError, ValueError):
        return False


def is_refused(url: str, *, timeout_s: float = 2.0) -> bool:
    """Return whether the Prefect API at `url` wants other credentials than those set (not for `/health`)."""
    try:
        request = urllib.request.Request(f"{url}/admin/version")
        if password := find_prefect_setting("PREFECT_API_AUTH_STRING"):
            words = f"Basic {base64.b64encode(password.encode()).decode()}"
            request.add_unredirected_header("Authorization", words)
        elif key := find_prefect_setting("PREFECT_API_KEY"):
            request.add_unredirected_header("Authorization", f"Bearer {key}")
        with _make_opener(url).open(request, timeout=timeout_s):
            return False
    except urllib.error.HTTPError as error:
        with error:
            return error.code in (401, 403)
    except (OSError, ValueError):
        return False


def _make_opener(url: str) -> urllib.request.OpenerDirector:
    # An HTTP proxy of the environment must not see, or answer for, a server on loopback.
    local = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
    return urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if local else []))


@dataclass(frozen=True, slots=True)
class KeptServer:
    """A local server that `bifrost-flow up` has started and that stays up until `down`."""

    pid: int
    url: str

    @property
    def ui_url(self) -> str:
        return self.url.removesuffix("/api")


def _kept_file() -> Path:
    return get_prefect_home() / "bifrost-server.json"


def _read_kept_server() -> KeptServer | None:
    try:
        return KeptServer(**json.loads(_kept_file().read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def find_kept_server() -> KeptServer | None:
    """Return the server that `up` has started, if it still answers."""
    server = _read_kept_server()
    return server if server and _is_alive(server.pid) and is_healthy(server.url) else None


def start_kept_server(*, port: int = DEFAULT_PORT, timeout_s: float = START_TIMEOUT_S) -> KeptServer:
    """Start a local server that outlives us and wait until it answers.

    What it says goes to a file in Prefect's home. Prefect's own background mode (3.8.8) gives it pipes whose
    readers end at once, and the first line of log that it writes into them ends the server.

    Raises:
        ServerError: the port is taken, or the server did not come up within `timeout_s` seconds.
    """
    home = get_prefect_home()
    log = home / "bifrost-server.log"
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
        home.mkdir(parents=True, exist_ok=True)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    except OSError as error:
        raise ServerError(t("server.not_started", port=port, reason=error.strerror or error)) from error
    server_url = f"http://127.0.0.1:{port}/api"
    try:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"),
                *("--lifespan", "on", "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"),
            ],
            env={
                **os.environ,
                **QUIET_ENVIRONMENT,
                "PREFECT_API_URL": server_url,
                "PREFECT__SERVER_FINAL": "1",
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    finally:
        os.close(output)
    server = KeptServer(pid=process.pid, url=server_url)
    _note_kept_server(server)
    deadline = time.monotonic() + timeout_s
    while not is_healthy(server.url):
        if process.poll() is not None:
            reason = log.read_text(encoding="utf-8", errors="replace").strip()[-2000:]
            raise ServerError(t("server.not_started", port=port, reason=reason))
        if time.monotonic() > deadline:
            stop_kept_server()
            raise ServerError(t("server.not_up", port=port, seconds=f"{timeout_s:.0f}"))
        time.sleep(0.1)
    return server


def _note_kept_server(server: KeptServer) -> None:
    _kept_file().write_text(json.dumps({"pid": server.pid, "url": server.url}), encoding="utf-8")


def stop_kept_server() -> bool:
    """Stop the server that `up` has started, and no other process; return whether there was one."""
    kept = _read_kept_server()
    _kept_file().unlink(missing_ok=True)
    if kept is None or not _is_prefect_server(kept.pid):
        return False
    os.kill(kept.pid, signal.SIGTERM)
    deadline = time.monotonic() + 10
    while _is_alive(kept.pid):
        if time.monotonic() > deadline:
            os.kill(kept.pid, signal.SIGKILL)
        time.sleep(0.05)
    return True


def _is_prefect_server(pid: int) -> bool:
    """Return whether process `pid` is a Prefect server: a pid may be another's by now."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        done = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, check=False)
        command = done.stdout
    return b"prefect.server.api.server" in command


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    # A zombie answers to signals: it is dead unless its state says otherwise.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return True


class EmbeddedServer:
    """A Prefect server for the length of one run, on a free port of the loopback interface.

    Start it first, do other work, then `wait`. It shares Prefect's database with all other local servers, so
    that the run can be looked at later with `prefect server start`.
    """

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}/api"
        self._process: subprocess.Popen[bytes] | None = None
        # A file, not a pipe: nobody would empty it while the run goes on.
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `stop`

    def start(self) -> None:
        """Start the process and return at once."""
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", RUN_UNTIL_ORPHANED),
                *("--factory", "prefect.server.api.server:create_app", "--lifespan", "on"),
                *("--host", "127.0.0.1", "--port", str(self._port), "--log-level", "error"),
            ],
            env={**os.environ, **EMBEDDED_ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            # Ctrl-C in the terminal is for us: the server lives until the run's last word is in its database.
            start_new_session=True,
        )

    def wait(self, *, timeout_s: float = START_TIMEOUT_S) -> str:
        """Wait until the server answers and return its API address.

        Raises:
            ServerError: it ended, or did not answer within `timeout_s` seconds; with what it printed.
        """
        deadline = time.monotonic() + timeout_s
        while not is_healthy(self.url):
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                self._output.seek(0)
                printed = self._output.read().decode("utf-8", "replace").strip()[-2000:]
                self.stop()
                raise ServerError(t("server.embedded_failed", reason=printed))
            time.sleep(0.05)
        return self.url

    def stop(self) -> None:
        """Stop the process, gently for five seconds."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()
        self._process = None
        self._output.close()


@contextmanager
def hold_start_lock() -> Generator[None]:
    """Let one process at a time start a server: two that create the same database break each other."""
    home = get_prefect_home()
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock_file = (home / "bifrost-start.lock").open("w")
    except OSError as error:
        raise ServerError(t("server.no_home", path=home, reason=error.strerror or error)) from error
    with lock_file as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

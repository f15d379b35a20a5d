"""The container image and the compose file: checked by the tools that read them, and the image's steps
carried out without an engine, in a venv that a user without rights runs."""

import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from bifrost_flow.language import ROOT
from bifrost_flow.settings import FOREIGN_NAMES, name_variable, setting_fields
from tests.prove_image import list_context
from tests.tools import call_tool

DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
EXAMPLE = ROOT / "docker" / ".env.example"
UV = ROOT / ".venv" / "bin" / "uv"
NEEDED = ("PREFECT_AUTH_STRING", "POSTGRES_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY", "GRAFANA_PASSWORD")
LOG = next((ROOT / "tests" / "data" / "logs" / "zuul").glob("*.fail.log"))


def read_lock(path: Path) -> dict[str, str]:
    """Return the pins of a lock, each with its hashes."""
    lines = path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    return {line.partition(" --hash")[0].strip(): line for line in lines if line.strip()}


def test_the_dockerfile_is_sound() -> None:
    """hadolint has nothing to say."""
    done = call_tool("hadolint", "docker/Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_says_who_it_runs_as_and_sets_no_setting() -> None:
    """Not root, by number, so that Kubernetes can tell; and no setting, which would go before a mounted
    file."""
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001:10001$", final, re.MULTILINE)
    assert "BIFROST_" not in final
    assert len(re.findall(r"^FROM \$\{PYTHON_IMAGE\} AS \w+$", DOCKERFILE, re.MULTILINE)) == 2
    assert re.search(r"^ARG PYTHON_IMAGE=python:\d+\.\d+\.\d+-slim-\w+$", DOCKERFILE, re.MULTILINE)


@pytest.mark.parametrize("name", ["requirements.txt", "build-requirements.txt"])
def test_the_image_installs_what_is_locked(name: str) -> None:
    """The image's locks are parts of the project's own, hash for hash: `make lock` writes all three."""
    whole, part = read_lock(ROOT / "requirements.txt"), read_lock(ROOT / "docker" / name)
    assert part.items() <= whole.items(), "run make lock"
    named = DOCKERFILE.replace("${REQUIREMENTS}", "requirements.txt").replace('"', "")
    assert "ARG REQUIREMENTS=requirements.txt\n" in DOCKERFILE
    assert "--require-hashes -r " + name in named
    assert not any(line.startswith(("pytest", "ruff", "hypothesis")) for line in part)


def test_the_image_for_clusters_adds_dask_and_ray_and_changes_nothing_else() -> None:
    """Its lock is the image's, hash for hash, with what the extras install."""
    plain, more = (
        read_lock(ROOT / "docker" / name) for name in ("requirements.txt", "cluster-requirements.txt")
    )
    assert plain.items() <= more.items(), "run make lock"
    added = {pin.partition("==")[0] for pin in more.keys() - plain.keys()}
    assert {"distributed", "ray"} <= added
    assert len(added) < 20
    assert all("--hash=sha256:" in line and "://" not in line for line in more.values())


# -- compose ----------------------------------------------------------------------------------------------


def fill_example(folder: Path, **values: str) -> Path:
    """Write the example with what a user has to fill in, and return its path."""
    text = EXAMPLE.read_text(encoding="utf-8")
    for name, value in values.items():
        text, count = re.subn(rf"^{name}=$", f"{name}={value}", text, flags=re.MULTILINE)
        assert count == 1, name
    path = folder / "filled.env"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    values = {name: f"made-up:{name.lower()}" for name in NEEDED}
    return fill_example(tmp_path, LOGS_FOLDER=str(tmp_path), **values)


@pytest.fixture
def composed(filled: Path) -> dict[str, Any]:
    """Return the compose file as Compose itself understands it."""
    words = ("-f", "docker/compose.yaml", "--env-file", filled, "config", "--format", "json")
    done = call_tool("docker-compose", *words)
    assert done.returncode == 0, done.stderr
    assert "variable is not set" not in done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("missing", [*NEEDED, "LOGS_FOLDER"])
def test_nothing_starts_with_a_default_password(tmp_path: Path, missing: str) -> None:
    """Each secret has to be given: the example as it is, or with one left out, is refused by name."""
    given = {name: "x:y" for name in (*NEEDED, "LOGS_FOLDER") if name != missing}
    env = fill_example(tmp_path, **given)
    done = call_tool("docker-compose", "-f", "docker/compose.yaml", "--env-file", env, "config", "-q")
    assert done.returncode != 0 and f"{missing} is missing a value" in done.stderr


def test_compose_has_every_part(composed: dict[str, Any]) -> None:
    """All that bifrost-flow can use is there, with a health check, limits and few rights."""
    assert set(composed["services"]) == {
        *("postgres", "prefect", "serve", "worker", "ollama", "mlflow", "s3"),
        *("prometheus", "pushgateway", "grafana"),
    }
    for name, service in composed["services"].items():
        assert service["healthcheck"]["test"], name
        assert int(service["mem_limit"]) > 0, name
        assert service["cap_drop"] == ["ALL"] and service["restart"] == "unless-stopped", name
        assert re.search(r":[^:]*\d", service["image"]) and "latest" not in service["image"], name
        assert not service.get("privileged") and "docker.sock" not in str(service.get("volumes")), name


def test_only_this_machine_reaches_compose(composed: dict[str, Any]) -> None:
    """Each port that is published is one of 127.0.0.1, and the database has none."""
    ports = [
        (name, port) for name, service in composed["services"].items() for port in service.get("ports", ())
    ]
    assert {port["host_ip"] for _, port in ports} == {"127.0.0.1"}
    assert "postgres" not in {name for name, _ in ports}
    assert list(composed["services"]["postgres"]["networks"]) == ["database"]
    assert composed["networks"]["database"]["internal"] is True


def test_our_own_containers_are_read_only_and_persist(composed: dict[str, Any]) -> None:
    """What is ours runs on a read-only root, reads logs it can't change, and keeps its tables."""
    for name in ("serve", "worker", "prefect"):
        assert composed["services"][name]["read_only"] is True
    for name in ("serve", "worker"):
        mounts = {mount["target"]: mount for mount in composed["services"][name]["volumes"]}
        assert mounts["/logs"]["read_only"] is True
        assert mounts["/var/lib/bifrost"]["source"] == "bifrost-data"
        assert composed["services"][name]["depends_on"]["prefect"]["condition"] == "service_healthy"


def test_prefects_server_asks_who_is_there(composed: dict[str, Any]) -> None:
    """It listens beyond its container, so it has a password, and its clients bring the same."""
    services = composed["services"]
    password = services["prefect"]["environment"]["PREFECT_SERVER_API_AUTH_STRING"]
    assert password == "made-up:prefect_auth_string"
    for name in ("serve", "worker"):
        assert services[name]["environment"]["PREFECT_API_AUTH_STRING"] == password


def test_variables_in_compose_are_settings(composed: dict[str, Any]) -> None:
    """A variable of ours that is no setting would be refused when the container starts."""
    known = {name_variable(key) for key in setting_fields()}
    for name in ("serve", "worker"):
        given = composed["services"][name]["environment"]
        assert {each for each in given if each.startswith("BIFROST_")} <= known
        assert set(FOREIGN_NAMES) & set(given) >= {"GITHUB_TOKEN", "GITLAB_TOKEN", "MLFLOW_TRACKING_URI"}


def test_files_that_compose_mounts_are_there(composed: dict[str, Any]) -> None:
    """Compose would make an empty folder of a file that is missing."""
    mounts = [mount for service in composed["services"].values() for mount in service.get("volumes", ())]
    sources = [Path(mount["source"]) for mount in mounts if mount["type"] == "bind"]
    assert len(sources) >= 5
    assert [str(source) for source in sources if not source.exists()] == []


def test_prometheus_in_compose_scrapes_what_runs_there(composed: dict[str, Any]) -> None:
    """Its targets are services of the compose file, with the jobs that the alerts are written for."""
    ours = yaml.safe_load((ROOT / "docker" / "prometheus.yml").read_text())
    theirs = yaml.safe_load((ROOT / "deployments" / "prometheus" / "prometheus.yml").read_text())
    jobs = {job["job_name"]: job["static_configs"][0]["targets"][0] for job in ours["scrape_configs"]}
    assert {target.partition(":")[0] for target in jobs.values()} <= set(composed["services"])
    assert set(jobs) == {job["job_name"] for job in theirs["scrape_configs"]}


# -- the image's steps ------------------------------------------------------------------------------------


def test_what_is_sent_to_the_builder() -> None:
    """All that the Dockerfile copies, and nothing else: no logs, tests, settings or secrets."""
    sent = {str(path) for path in list_context()}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    wanted = [word for line in copied for word in line.split()]
    for each in wanted:
        assert each in sent or any(path.startswith(f"{each}/") for path in sent), each
    assert {path.partition("/")[0] for path in sent} == {word.partition("/")[0] for word in wanted}
    assert not [path for path in sent if path.endswith((".pyc", ".log", ".env", "bifrost.yaml"))]


def find_open_python() -> str:
    """Return a Python that any user may run."""
    for name in ("python3.13", "python3.12", "python3.11", "python3"):
        path = shutil.which(name, path="/usr/local/bin:/usr/bin")
        if path is None:
            continue
        version = subprocess.run(
            [path, "-c", "import sys; print(sys.version_info >= (3, 11))"], capture_output=True
        )
        if version.stdout.strip() == b"True":
            return path
    pytest.skip("no Python 3.11 or newer that every user may run")


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """Yield what the Dockerfile's steps make: a venv of locked packages and our wheel, which nobody may write
    to."""
    if not UV.exists():
        pytest.skip("uv is not installed; make install does it")
    python = find_open_python()
    # Not below pytest's own folder, which is closed to other users.
    folder = Path(tempfile.mkdtemp(prefix="bifrost-image-"))
    folder.chmod(0o755)
    try:
        context = folder / "context"
        for path in list_context():
            (context / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, context / path)
        build, app = folder / "tools", folder / "app"
        for venv, lock in ((build, "build-requirements.txt"), (app, "requirements.txt")):
            subprocess.run([UV, "venv", "--quiet", "--python", python, venv], check=True)
            words = ["--require-hashes", "--compile-bytecode", "-r", context / "docker" / lock]
            install(venv, *words)
        dist = folder / "dist"
        subprocess.run(
            [build / "bin" / "hatchling", "build", "-t", "wheel", "-d", dist],
            cwd=context,
            check=True,
            capture_output=True,
        )
        install(app, "--no-deps", "--offline", *dist.glob("*.whl"))
        # What is root's nobody else may write to; who isn't root takes the right from themselves.
        set_writable(app, False)
        yield app
    finally:
        set_writable(app, True)
        shutil.rmtree(folder)


def set_writable(folder: Path, writable: bool) -> None:
    """Let files be made in `folder`, or not; files themselves may be shared with uv's cache, and stay as they
    are."""
    if os.getuid() == 0:
        return
    for path in (folder, *folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755 if writable else 0o555)


def install(venv: Path, *words: str | Path) -> None:
    done = subprocess.run(
        [UV, "pip", "install", "--quiet", "--python", venv / "bin" / "python", *words],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def home() -> Iterator[Path]:
    """Yield the one folder that the image's user may write to."""
    folder = Path(tempfile.mkdtemp(prefix="bifrost-home-"))
    if os.getuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    yield folder
    shutil.rmtree(folder)


def describe_process(image: Path, home: Path, **variables: str) -> dict[str, Any]:
    """Return how a process of the image is started: its environment, its user, its folder."""
    block = DOCKERFILE.rpartition("ENV PATH=")[2].partition("WORKDIR")[0]
    named = dict(re.findall(r"^\s+(\w+)=(\S+)", block, re.MULTILINE))
    environment = {name: text.replace("/var/lib/bifrost", str(home)) for name, text in named.items()}
    started: dict[str, Any] = {
        "cwd": home,
        "env": environment | {"PATH": f"{image / 'bin'}:/usr/bin:/bin", "TMPDIR": str(home)} | variables,
        "stdin": subprocess.DEVNULL,
    }
    if os.getuid() == 0:
        nobody = pwd.getpwnam("nobody")
        started |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    return started


def run_in_image(image: Path, home: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the program as the image does."""
    return subprocess.run(
        [image / "bin" / "bifrost-flow", *words],
        **describe_process(image, home, **variables),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_image_works_for_a_user_without_rights(image: Path, home: Path) -> None:
    """Installed from the locks alone and read-only, it passes its own health check and does the whole job as
    somebody who may write to one folder."""
    (words,) = re.findall(r"^\s+CMD (\[.*\])$", DOCKERFILE.partition("HEALTHCHECK")[2], re.MULTILINE)
    checked = run_in_image(image, home, *json.loads(words)[1:])
    assert checked.returncode == 0, checked.stdout + checked.stderr
    touched = subprocess.run(["touch", image / "new"], **describe_process(image, home), capture_output=True)
    assert touched.returncode != 0
    logs = home / "logs"
    logs.mkdir(mode=0o755)
    shutil.copy(LOG, logs)
    done = run_in_image(image, home, "run", "logs", "--provider", "rules", "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["status"], summary["files"]) == ("completed", 1) and summary["groups"] > 0
    assert Path(summary["warehouse"]) == home.resolve() / "bifrost-warehouse"
    assert "Permission denied" not in done.stderr and "Read-only" not in done.stderr


@contextmanager
def run_service(
    image: Path, home: Path, service: dict[str, Any], **variables: str
) -> Generator[subprocess.Popen[Any]]:
    """Run a service of the compose file with its own words; it ends well when it is stopped as by Docker."""
    words = [*service["entrypoint"], *service["command"]]
    log = (home / f"{words[1]}.log").open("wb")
    # A group of its own: what it starts ends with it.
    process = subprocess.Popen(
        [image / "bin" / words[0], *words[1:]],
        **describe_process(image, home, **variables),
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
        process.send_signal(signal.SIGINT)
        assert process.wait(240) == 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()


def ask(url: str, password: str = "") -> int:
    """Return the status of the answer, 0 for none."""
    name, _, secret = password.partition(":")
    try:
        return httpx.get(
            url, auth=(name, secret) if password else None, timeout=5, trust_env=False
        ).status_code
    except httpx.TransportError:
        return 0


def wait_for(url: str, process: subprocess.Popen[Any]) -> None:
    for _ in range(180):
        if ask(url) == 200:
            return
        assert process.poll() is None, "it has ended"
        time.sleep(0.5)
    pytest.fail(f"{url} does not answer")


def test_prefects_server_and_worker_run_in_the_image(
    image: Path, home: Path, composed: dict[str, Any]
) -> None:
    """With the words of the compose file: the server asks for its password, the worker brings it, both say
    that they are well where their health checks look, and end well on the image's signal."""
    api, health = find_port(), find_port()
    services = composed["services"]
    password = services["prefect"]["environment"]["PREFECT_SERVER_API_AUTH_STRING"]
    given = {
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(api),
        "PREFECT_SERVER_API_AUTH_STRING": password,
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(home / "ui"),
    }
    client = {
        "PREFECT_API_URL": f"http://127.0.0.1:{api}/api",
        "PREFECT_API_AUTH_STRING": password,
        "PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1",
        "PREFECT_WORKER_WEBSERVER_PORT": str(health),
    }
    assert set(given) - {"PREFECT_SERVER_API_PORT"} <= set(services["prefect"]["environment"])
    assert set(client) <= set(services["worker"]["environment"])
    with run_service(image, home, services["prefect"], **given) as server:
        wait_for(f"{client['PREFECT_API_URL']}/health", server)
        version = f"{client['PREFECT_API_URL']}/admin/version"
        assert (ask(version), ask(version, password)) == (401, 200)
        with run_service(image, home, services["worker"], **client) as worker:
            wait_for(f"http://127.0.0.1:{health}/health", worker)
            assert run_in_image(image, home, "doctor", "--check", "prefect", **client).returncode == 0
        # The probe of a pod whose password is not the server's must not pass: no run of it would.
        wrong = client | {"PREFECT_API_AUTH_STRING": "made-up:wrong"}
        refused = run_in_image(image, home, "doctor", "--check", "prefect", **wrong)
        assert refused.returncode != 0 and "PREFECT_API_AUTH_STRING" in refused.stdout


def find_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]

"""Carry out the Dockerfile, line by line, in a clean Debian root, and run what comes of it; no engine needed.

    sudo .venv/bin/python -m tests.prove_image [FOLDER]

Takes root, debootstrap, a network, 3 GB. The base is Debian with its own Python in place of `python:…-slim`.
What runs has the image's user and environment, no capabilities, a read-only root and a network of its own.
Prefect's server and what serves are started, watched and stopped with the words of the compose file; its
database is SQLite.
"""

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bifrost_flow.language import ROOT

SUITE = "bookworm"  # as the image's base
PIP = "25.0.1"  # as the image's base brings along; Debian's own, 23.0.1, takes no locks with extras in them
LOGS = ROOT / "tests" / "data" / "logs" / "zuul"
DATA = "/var/lib/bifrost"
HOSTS = ("prefect", "serve", "postgres", "ollama", "mlflow", "s3", "pushgateway")
WAIT_S = 180
# The root $0 with the folder $1 at $2, and the logs $3; only that folder and /tmp can be written to.
MOUNTS = """
set -e
ip link set lo up
cd "$0"
mount --rbind "$0" "$0"
mount -t proc proc "$0/proc"
mount -t tmpfs -o mode=1777 tmpfs "$0/tmp"
mkdir -p "$0$2"
mount --bind "$1" "$0$2"
mount --bind "$3" "$0/logs"
mount -o remount,ro,bind "$0/logs"
mount -o remount,ro,bind "$0"
echo up
exec sleep infinity
"""
# How this machine reaches others, which the steps of the build need.
PASSED = re.compile(r"(?i)(.*_proxy|PIP_(CERT|INDEX_URL|DEFAULT_TIMEOUT)|SSL_CERT_FILE)")


@dataclass(slots=True)
class Stage:
    """A stage of the Dockerfile as it is carried out."""

    root: Path
    environment: dict[str, str]
    folder: str = "/"
    user: str = "0:0"
    last: dict[str, str] = field(
        default_factory=dict
    )  # the words of what an image merely notes: HEALTHCHECK, …


def list_context() -> list[Path]:
    """Return the files of the checkout that .dockerignore lets through, relative: its last match decides."""
    rules = [
        line.strip()
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.strip() and not line.startswith("#")
    ]

    def is_sent(path: Path) -> bool:
        sent = True
        # A rule holds for what lies below what it names, too.
        names = [str(path), *(str(parent) for parent in path.parents)][:-1]
        for rule in rules:
            pattern = rule.removeprefix("!")
            forms = (pattern, pattern.removeprefix("**/"))
            parts = (*names, *path.parts) if pattern.startswith("**/") else names
            if any(fnmatch.fnmatch(name, form) for name in parts for form in forms):
                sent = rule.startswith("!")
        return sent

    skipped = {".git", ".venv", ".tools-venv", ".llama-venv", ".ollama-venv"}
    paths = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in skipped]
        paths += [(Path(folder) / name).relative_to(ROOT) for name in names]
    return [path for path in paths if is_sent(path)]


def read_dockerfile(text: str) -> list[tuple[str, str]]:
    """Return each instruction and its words: comments left out, lines that go on joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(line.split(None, 1)[0], line.split(None, 1)[1].strip()) for line in joined]


def build(instructions: Sequence[tuple[str, str]], folder: Path, base: Path, context: Path) -> Stage:
    """Carry out `instructions` below `folder` and return the last stage.

    Raises:
        ValueError: there is an instruction that this doesn't know.
        subprocess.CalledProcessError: a step failed.
    """
    stages: dict[str, Stage] = {}
    stage = Stage(base, {})
    for word, rest in instructions:
        print(f"{word} {rest[:100]}", flush=True)
        if word == "FROM":
            name = rest.rpartition(" AS ")[2]
            stage = stages[name] = Stage(
                folder / name, {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
            )
            subprocess.run(["cp", "-a", "--reflink=auto", base, stage.root], check=True)
        elif word == "ARG":
            stage.environment.setdefault(*rest.split("=", 1))
        elif word == "ENV":
            pairs = (pair.split("=", 1) for pair in shlex.split(rest))
            stage.environment |= {
                key: text.replace("$PATH", stage.environment["PATH"]) for key, text in pairs
            }
        elif word == "WORKDIR":
            stage.folder = rest
            (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "COPY":
            _copy(rest.split(), stage, stages, context)
        elif word == "RUN":
            _run_step(rest, stage)
        elif word == "USER":
            stage.user = rest
        elif word in ("LABEL", "VOLUME", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"):
            stage.last[word] = rest
        else:
            raise ValueError(word)
    return stage


def _copy(words: list[str], stage: Stage, stages: dict[str, Stage], context: Path) -> None:
    origin = context
    if words[0].startswith("--from="):
        origin = stages[words.pop(0).removeprefix("--from=")].root
    *sources, target = words
    place = stage.root / str(Path(stage.folder, target)).lstrip("/")
    for source in sources:
        path = origin / source.lstrip("/")
        if path.is_dir():
            shutil.copytree(path, place, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy2(path, place / path.name if target.endswith("/") else place)


def _run_step(command: str, stage: Stage) -> None:
    passed = {key: text for key, text in os.environ.items() if PASSED.fullmatch(key)}
    inside = 'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && cd / && exec chroot "$0" "$@"'
    shell = ["/bin/sh", "-c", f"cd {stage.folder} && {command}"]
    subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "sh", "-c", inside, stage.root, *shell],
        env=passed | stage.environment,
        check=True,
    )


class Container:
    """The image as an engine would run it: read-only, its user, no capabilities, a network of its own."""

    def __init__(self, image: Stage, written: str, folder: Path) -> None:
        """Start it; `written` is the only folder beside /tmp that may be written to."""
        self._image = image
        folder.mkdir()
        os.chown(folder, *map(int, image.user.split(":")))
        apart = ("unshare", "--mount", "--pid", "--net", "--fork", "--kill-child")
        self._holder = subprocess.Popen(
            [*apart, "sh", "-c", MOUNTS, image.root, folder, written, LOGS],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None and self._holder.stdout.readline() == "up\n"
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text()
        self._inside = children.split()[0]

    def start(
        self, *words: str, variables: dict[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        """Start a process in it, as `docker exec` does."""
        user, _, group = self._image.user.partition(":")
        rights = ["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--clear-groups"]
        enter = ["nsenter", "--target", self._inside, "--mount", "--pid", "--net", "chroot", self._image.root]
        become = ["setpriv", f"--reuid={user}", f"--regid={group}", *rights]
        return subprocess.Popen(
            [*enter, *become, "sh", "-c", 'cd "$0" && exec "$@"', self._image.folder, *words],
            env=self._image.environment | (variables or {}),
            stdin=subprocess.DEVNULL,
            text=True,
            **options,
        )

    def call(self, *words: str, variables: dict[str, str] | None = None) -> tuple[int, str]:
        """Run a process in it to its end; return its exit code and what it printed."""
        process = self.start(*words, variables=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said, _ = process.communicate(timeout=600)
        return process.returncode, said

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()


def read_compose(name: str) -> dict[str, Any]:
    """Return a service of the compose file, with values made up for the variables that have none."""
    text = (ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8")
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
    text = re.sub(r"\$\{(\w+):\?[^}]*\}", r"made-up:\1", text)
    service = yaml.safe_load(text)["services"][name]
    service["environment"] = {key: str(value or "") for key, value in service["environment"].items()}
    return service


def wait_until(check: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + WAIT_S
    while not check():
        if time.monotonic() > until:
            raise TimeoutError(what)
        time.sleep(1)


def expect(true: object, what: str) -> None:
    """Say that `what` holds, or end."""
    print(f"{'ok  ' if true else 'FAIL'} {what}", flush=True)
    if not true:
        sys.exit(1)


def prove_job(image: Stage, folder: Path) -> None:
    """The health check passes, the whole job is done, and nothing but its folder can be written to."""
    container = Container(image, DATA, folder)
    try:
        words = json.loads(image.last["HEALTHCHECK"].partition("CMD ")[2])
        code, said = container.call(*words)
        expect(code == 0, f"the health check passes: {said}")
        for place in ("/x", "/opt/bifrost/x", "/logs/x"):
            expect(container.call("touch", place)[0] != 0, f"{place} can't be made")
        _run_logs(container, {})
    finally:
        container.close()


def prove_kubernetes(image: Stage, folder: Path) -> None:
    """With the variables and the settings of the manifests, and the volume where they mount it."""
    base = ROOT / "deployments" / "k8s" / "base"
    lines = (base / "environment.env").read_text(encoding="utf-8").splitlines()
    variables = dict(line.split("=", 1) for line in lines if line)
    mounted = image.root / variables["XDG_CONFIG_HOME"].lstrip("/") / "bifrost-flow"
    mounted.mkdir(parents=True)
    shutil.copy(base / "bifrost.yaml", mounted)
    del variables["PREFECT_API_URL"]  # no server of its own: the run brings one
    container = Container(image, f"{DATA}/shared", folder)
    try:
        expect(container.call("touch", f"{DATA}/x")[0] != 0, "the image's own folder is read-only here")
        summary = _run_logs(container, variables)
        expect(summary["warehouse"] == f"{DATA}/shared/warehouse", "the mounted settings are read")
    finally:
        container.close()


def _run_logs(container: Container, variables: dict[str, str]) -> dict[str, Any]:
    words = ("run", "/logs", "--provider", "rules", "--json", "--quiet")
    process = container.start("bifrost-flow", *words, variables=variables, stdout=subprocess.PIPE)
    said, _ = process.communicate(timeout=600)
    summary = json.loads(said)
    expect((process.returncode, summary["status"]) == (0, "completed"), f"a run of {summary['files']} logs")
    expect(summary["groups"] > 0, f"{summary['groups']} distinct failures")
    return summary


def prove_services(image: Stage, folder: Path) -> None:
    """Prefect's server and what serves, with the compose file's words: checks fail, pass, a night is done."""
    container = Container(image, DATA, folder)
    server, serve = read_compose("prefect"), read_compose("serve")
    given = {key: text for key, text in server["environment"].items() if "_DATABASE_" not in key}
    client = serve["environment"] | {"MLFLOW_TRACKING_URI": "", "BIFROST_METRICS_PUSHGATEWAY": ""}
    log = (folder / "services.log").open("w")

    def is_well(service: dict[str, Any]) -> bool:
        return container.call(*service["healthcheck"]["test"][1:])[0] == 0

    try:
        expect(not is_well(server) and not is_well(serve), "health checks fail where nothing runs")
        words = [*server["entrypoint"], *server["command"]]
        api = container.start(*words, variables=given, stdout=log, stderr=log)
        wait_until(lambda: is_well(server), "the server is well")
        code, _ = container.call("bifrost-flow", "doctor", "--check", "prefect", variables=client)
        expect(code == 0, "the server answers who brings the password")
        stranger = client | {"PREFECT_API_AUTH_STRING": "made-up:wrong"}
        code, _ = container.call("bifrost-flow", "doctor", "--check", "prefect", variables=stranger)
        expect(code != 0, "and nobody else")
        night = container.start("bifrost-flow", *serve["command"], variables=client, stdout=log, stderr=log)
        wait_until(lambda: is_well(serve), "what serves is well")
        asked = ("prefect", "deployment", "run", "audit/nightly", "--watch", "--param", "provider=rules")
        code, said = container.call(*asked, variables=client)
        expect(code == 0, f"a night by request: {said[-200:]}")
        fetch = "import urllib.request as u; print(u.urlopen('http://serve:9464/metrics').read())"
        code, said = container.call("python", "-c", fetch)
        expect(code == 0 and "bifrost_" in said, "the metrics are where Prometheus looks for them")
        for process, what in ((night, "what serves"), (api, "the server")):
            _interrupt(process)
            expect(process.wait(WAIT_S) == 0, f"{what} ends well on {image.last['STOPSIGNAL']}")
    finally:
        container.close()
        log.close()


def _interrupt(process: subprocess.Popen[str]) -> None:
    # nsenter and all after it replaced themselves, but for the fork that entering a PID namespace takes.
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    subprocess.run(["kill", "-INT", children[0] if children else str(process.pid)], check=True)


def make_base(base: Path) -> None:
    """Install Debian and its Python into `base`, with names as the image's base has them."""
    words = ["--variant=minbase", "--include=ca-certificates,python3,python3-venv", SUITE]
    subprocess.run(["debootstrap", *words, base], check=True, stdout=subprocess.DEVNULL)
    (base / "usr/bin/python").symlink_to("python3")
    wheels = base / "usr/share/python-wheels"
    for path in wheels.glob("pip-*.whl"):
        path.unlink()
    download = ["download", "--quiet", "--no-deps", "--dest", wheels, f"pip=={PIP}"]
    subprocess.run([sys.executable, "-m", "pip", *download], check=True)
    for name in ("etc/resolv.conf", "etc/ssl/certs/ca-certificates.crt"):
        if Path("/", name).exists():
            shutil.copy(Path("/", name), base / name)
    (base / "etc/hosts").write_text(f"127.0.0.1 localhost {' '.join(HOSTS)}\n", encoding="utf-8")
    (base / "logs").mkdir()


def main(folder: Path) -> None:
    folder.chmod(0o755)
    base, context = folder / "base", folder / "context"
    for path in folder.iterdir():
        if path != base:  # which takes the longest to make, and stays the same
            shutil.rmtree(path)
    if not base.exists():
        make_base(base)
    for path in list_context():
        (context / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, context / path)
    text = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
    image = build(read_dockerfile(text), folder, base, context)
    prove_job(image, folder / "data")
    prove_kubernetes(image, folder / "shared")
    prove_services(image, folder / "served")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory(prefix="bifrost-image-") as made:
            main(Path(made))

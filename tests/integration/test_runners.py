"""`runner: dask|ray` on real local clusters: the same evidence as with threads, whoever is lost meanwhile."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from zipfile import ZipFile

import psutil
import pytest
from distributed import Client, LocalCluster

from bifrost_flow.errors import SettingsError
from bifrost_flow.progress import Silent, watch
from bifrost_flow.records import FileEvidence
from connectors import extraction, extraction_remote
from connectors.extraction_pool import ExtractionPlan
from connectors.extraction_remote import Errand, Runner, RunnerKind, check_runner, extract_remotely
from connectors.sources import Source, find_sources
from tests.s3_fixtures import bucket, s3_server
from tests.s3_server import Bucket

__all__ = ["bucket", "s3_server"]

LOGS = Path(__file__).parents[1] / "data" / "logs"
NEEDS_RAY = pytest.mark.skipif(
    find_spec("ray") is None,
    reason="Ray is not installed: pip install --require-hashes -r docker/cluster-requirements.txt",
)
# A busy machine is slow, and nothing here is about time.
PATIENCE_S = 240


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of thirty logs in eight batches, of which one is large, one empty and one binary."""
    made = tmp_path / "logs"
    made.mkdir()
    text = (LOGS / "travis" / "alacritty-rust-564527447.log").read_bytes()
    for number in range(30):
        (made / f"{number:02}.log").write_bytes(text[number * 500 : number * 500 + 20_000])
    (made / "07.log").write_bytes(text * 60)
    (made / "11.log").write_bytes(b"")
    (made / "13.log").write_bytes(bytes(range(256)) * 40)
    monkeypatch.setattr(extraction, "BATCH_FILES", 5)
    monkeypatch.setattr(extraction, "_count_cpus", lambda: 2)
    return made


@pytest.fixture
def told() -> Iterator[list[str]]:
    """Yield what people are told, as it is said."""
    said: list[str] = []

    class Listener(Silent):
        def tell(self, message: str) -> None:
            said.append(message)

    watch(Listener())
    yield said
    watch(Silent())


def extract(place: Path | str, runner: Runner = Runner()) -> list[FileEvidence]:  # noqa: B008 - frozen
    sources, _, _ = find_sources([str(place)])
    return list(extraction.extract_evidence(sources, budget_tokens=500, runner=runner, learn=True))


def refuse(*_: object) -> None:
    raise AssertionError("a batch was extracted here")


def hold_until(marks: Path) -> Callable[[Errand], list[FileEvidence]]:
    """Return what workers call in place of `extract_remotely`: they say who has a batch in hand, and wait for
    leave to go on."""
    place = str(marks)

    # By value, since workers can't import a test; so it imports what it needs.
    def hold_and_extract(errand: Errand) -> list[FileEvidence]:
        import os
        import time
        from pathlib import Path

        from connectors.extraction_remote import extract_remotely

        (Path(place) / f"{os.getpid()}.pid").touch()
        while not (Path(place) / "go").exists():
            time.sleep(0.01)
        return extract_remotely(errand)

    return hold_and_extract


@contextmanager
def killing_whoever_starts(marks: Path) -> Generator[list[int]]:
    """Kill the first worker that has a batch in hand, and let the others go on."""
    killed: list[int] = []

    def kill() -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not killed and time.monotonic() < deadline:
            for mark in marks.glob("*.pid"):
                os.kill(int(mark.stem), signal.SIGKILL)
                killed.append(int(mark.stem))
                break
            time.sleep(0.01)
        (marks / "go").touch()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield killed
    finally:
        killer.join()


def skip_where_ray_cannot_start() -> None:
    """Skip the test if Ray by itself does not start here either: then nothing is said about us."""
    code = "import ray; ray.init(address='local', num_cpus=1, include_dashboard=False)"
    if subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=PATIENCE_S).returncode:
        pytest.skip("Ray does not start on this machine")


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("kind", ["dask", pytest.param("ray", marks=NEEDS_RAY)])
def test_a_cluster_finds_what_threads_find_though_a_worker_is_killed(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: list[str],
    capsys: pytest.CaptureFixture[str],
    kind: RunnerKind,
) -> None:
    """The worker that has a batch in hand is killed: another extracts it, here nobody does, and nothing is
    lost, doubled or out of order."""
    alone = extract(folder)
    marks = tmp_path / "marks"
    marks.mkdir()
    monkeypatch.setattr(extraction_remote, "extract_remotely", hold_until(marks))
    monkeypatch.setattr(extraction, "extract_batch", refuse)
    meant = signal.getsignal(signal.SIGTERM)
    try:
        with killing_whoever_starts(marks) as killed:
            found = extract(folder, Runner(kind))
    except SettingsError:
        if kind == "ray":
            skip_where_ray_cannot_start()
        raise
    assert found == alone
    assert len(killed) == 1
    # Somebody else has worked as well, in the killed one's place.
    assert len(list(marks.glob("*.pid"))) > 1
    # Standard output is for answers.
    assert (told, capsys.readouterr().out) == ([], "")
    assert signal.getsignal(signal.SIGTERM) == meant


def listened_to_by_all() -> list[str]:
    """Return the places where a process that we started, or we, listen for other machines."""
    ours = psutil.Process()
    return [
        str(each.laddr)
        for process in (ours, *ours.children(recursive=True))
        for each in process.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN and not each.laddr.ip.startswith("127.")
    ]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_objects_are_read_by_workers_and_nobody_else_reaches_them(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How a bucket is reached goes with the errand, and the cluster takes none without its certificate."""
    bucket.fill({f"logs/{number}.log": b"ok\nERROR: disk full\n" * (number + 1) for number in range(4)})
    alone = extract(f"{bucket.url}/logs/")
    found_open: list[str] = []
    submit = extraction_remote.DaskPool.submit

    def submit_and_knock(pool: extraction_remote.DaskPool, batch: list[Source]) -> extraction_remote.Pending:
        assert pool.cluster is not None
        address = pool.cluster.scheduler_address
        assert address.startswith("tls://127.0.0.1:")
        with pytest.raises(OSError):
            Client(address.replace("tls://", "tcp://"), set_as_default=False, timeout=5)
        assert listened_to_by_all() == []
        found_open.append(address)
        return submit(pool, batch)

    monkeypatch.setattr(extraction_remote.DaskPool, "submit", submit_and_knock)
    monkeypatch.setattr(extraction, "extract_batch", refuse)
    assert extract(f"{bucket.url}/logs/", Runner("dask")) == alone
    assert len(alone) == 4
    assert len(found_open) == 1


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_cluster_without_workers_is_not_waited_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    """A scheduler that nobody works for gives no answer: the run reads all itself, and says so once."""
    alone = extract(folder)
    monkeypatch.setattr(extraction_remote, "POLL_S", 0.05)
    monkeypatch.setattr(extraction_remote, "WORKERLESS_S", 0)
    told.clear()
    with LocalCluster(
        n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=50
    ) as nobody:
        assert extract(folder, Runner("dask", nobody.scheduler_address)) == alone
    (said,) = told
    assert "no worker for 0 seconds" in said


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_scheduler_that_is_lost_is_not_waited_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    """The scheduler dies while batches are out: the run reads them, and the others, itself."""
    monkeypatch.setattr(extraction_remote, "CONNECT_TIMEOUT_S", 15)
    alone = extract(folder)
    file = tmp_path / "scheduler.json"
    words = [
        "scheduler",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--no-dashboard",
        "--scheduler-file",
        str(file),
    ]
    scheduler = subprocess.Popen(
        [sys.executable, "-m", "dask", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not (file.exists() and file.stat().st_size):
            assert scheduler.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        submit, sent = extraction_remote.DaskPool.submit, []

        def submit_and_kill(
            pool: extraction_remote.DaskPool, batch: list[Source]
        ) -> extraction_remote.Pending:
            sent.append(submit(pool, batch))
            if len(sent) == 2:
                scheduler.kill()
            return sent[-1]

        monkeypatch.setattr(extraction_remote.DaskPool, "submit", submit_and_kill)
        told.clear()
        assert extract(folder, Runner("dask", json.loads(file.read_text())["address"])) == alone
    finally:
        scheduler.kill()
        scheduler.wait()
    assert len(sent) > 2
    assert told


def test_what_a_cluster_cannot_do_is_done_here(
    folder: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    """Batches whose workers fail are extracted by whoever asked; each kind of failure is told once."""
    alone = extract(folder)
    crew = extraction_remote._Crew(lambda: 2)

    def fail() -> list[FileEvidence]:
        raise RuntimeError("ModuleNotFoundError: bifrost_flow")

    class Failing:
        processes = 2

        def __enter__(self) -> "Failing":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def submit(self, _: list[Source]) -> extraction_remote.Pending:
            return extraction_remote._Waiting(fail, (RuntimeError,), crew)

    monkeypatch.setattr(extraction, "open_cluster", lambda *_: Failing())
    told.clear()
    assert extract(folder, Runner("dask")) == alone
    (said,) = told
    assert "ModuleNotFoundError: bifrost_flow" in said


def test_a_worker_refuses_what_is_not_meant_for_it(folder: Path) -> None:
    """Another version of ours, and a path that leads nowhere or to another file there, end an errand."""
    sources, _, _ = find_sources([str(folder)])
    errand = extraction_remote._write_errand(sources[:3], ExtractionPlan(500))
    assert [each.file.path for each in extract_remotely(errand)] == [each.path for each in sources[:3]]
    with pytest.raises(LookupError, match=r"this run 0\.0\.1"):
        extract_remotely(replace(errand, version="0.0.1"))
    for name, text in (("00.log", b"another"), ("01.log", None)):
        path = folder / name
        path.unlink() if text is None else path.write_bytes(text)
        with pytest.raises(LookupError, match=name):
            extract_remotely(replace(errand, batch=[each for each in sources if each.path == str(path)]))
    packed = folder / "ci.zip"
    with ZipFile(packed, "w") as archive:
        archive.writestr("a.log", "ERROR: disk full\n")
    (member,), _, _ = find_sources([str(packed)])
    assert [each.file.status for each in extract_remotely(replace(errand, batch=[member]))] == ["read"]
    with ZipFile(packed, "a") as archive:
        archive.writestr("b.log", "another\n")
    with pytest.raises(LookupError, match=r"ci\.zip"):
        extract_remotely(replace(errand, batch=[member]))


def test_what_lies_on_this_machine_alone_stays_here(tmp_path: Path) -> None:
    """Temporary copies and pipes are read where they are."""
    log, pipe = tmp_path / "a.log", tmp_path / "b.log"
    log.write_bytes(b"")
    os.mkfifo(pipe)
    assert extraction._is_for_cluster([Source(str(log), log, 0)])
    assert not extraction._is_for_cluster([Source(str(log), log, 0), Source(str(pipe), pipe, 0)])
    assert not extraction._is_for_cluster([Source("c", log, 0, spooled=True)])


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        ("dask", "tcp://127.0.0.1:9"),
        ("dask", "nonsense"),
        pytest.param("ray", "127.0.0.1:9", marks=NEEDS_RAY),
    ],
)
def test_an_address_where_nobody_answers_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kind: RunnerKind, address: str
) -> None:
    """The message names the address, and what was the matter there."""
    monkeypatch.setattr(extraction_remote, "CONNECT_TIMEOUT_S", 1)
    with pytest.raises(SettingsError) as refused:
        extract(folder, Runner(kind, address))
    assert f"No {kind} cluster answers at {address}: " in str(refused.value)


def test_a_runner_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install, in the version that we know."""
    monkeypatch.setattr(extraction_remote, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"pip install 'ray\[client\]==\d"):
        check_runner("ray")
    with pytest.raises(SettingsError, match=r"pip install 'distributed==\d"):
        check_runner("dask")
    check_runner("threads")


def test_a_ray_cluster_that_is_lost_leaves_its_batches_to_us(told: list[str]) -> None:
    """Its client raises what is none of Ray's errors, whatever it is asked: nothing fails, we read all."""

    class RayError(Exception):
        pass

    class GetTimeoutError(RayError, TimeoutError):
        pass

    def lose(*_: object, **__: object) -> None:
        raise ConnectionError("Ray Client is not connected")

    pool = object.__new__(extraction_remote.RayPool)
    names = SimpleNamespace(RayError=RayError, GetTimeoutError=GetTimeoutError)
    pool._ray = SimpleNamespace(get=lose, cluster_resources=lose, exceptions=names)
    pool._plan, pool._least, pool._lost = ExtractionPlan(500), 2, (RayError, OSError, RuntimeError)
    pool._crew = extraction_remote._Crew(pool._count)
    assert pool.processes == 2
    told.clear()
    for send in (lose, lambda _: "answer"):
        pool._call = SimpleNamespace(remote=send)
        assert pool.submit([]).result() is None
    (said,) = told
    assert "not connected" in said

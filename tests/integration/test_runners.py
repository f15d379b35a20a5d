"""`runner: dask|ray` on real local clusters: the same tables as with threads, whoever is lost meanwhile."""

import os
import signal
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from bifrost_flow.errors import SettingsError
from bifrost_flow.records import FileEvidence
from connectors import extraction, extraction_remote
from connectors.extraction_pool import ExtractionPlan
from connectors.extraction_remote import DaskPool, RayPool, Runner, check_runner
from connectors.sources import Source, find_sources

LOGS = Path(__file__).parents[1] / "data" / "logs"
needs_dask = pytest.mark.skipif(find_spec("distributed") is None, reason="the extra dask is not installed")
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="the extra ray is not installed")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of thirty logs in eight batches, of which one is large, one empty and one binary."""
    text = (LOGS / "travis" / "alacritty-rust-564527447.log").read_bytes()
    for number in range(30):
        (tmp_path / f"{number:02}.log").write_bytes(text[number * 500 : number * 500 + 20_000])
    (tmp_path / "07.log").write_bytes(text * 60)
    (tmp_path / "11.log").write_bytes(b"")
    (tmp_path / "13.log").write_bytes(bytes(range(256)) * 40)
    monkeypatch.setattr(extraction, "BATCH_FILES", 5)
    monkeypatch.setattr(extraction, "_count_cpus", lambda: 2)
    return tmp_path


def extract(folder: Path, runner: Runner) -> list[FileEvidence]:
    sources, _, _ = find_sources([str(folder)])
    return list(extraction.extract_evidence(sources, budget_tokens=500, runner=runner, learn=True))


def refuse(*_: object) -> None:
    raise AssertionError("a batch was extracted here")


@needs_dask
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_dask_finds_what_threads_find_though_a_worker_is_killed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker that holds batches is killed: another computes them, here nobody does, nothing differs."""
    alone = extract(folder, Runner())
    killed: list[int] = []
    submit = DaskPool.submit

    def submit_and_kill(pool: DaskPool, batch: list[Source]) -> extraction_remote.Pending:
        pending = submit(pool, batch)
        if len(asked) == 3:
            assert pool.cluster is not None
            worker = next(iter(pool.cluster.workers.values()))
            os.kill(worker.pid, signal.SIGKILL)
            killed.append(worker.pid)
        asked.append(pending)
        return pending

    asked: list[extraction_remote.Pending] = []
    monkeypatch.setattr(DaskPool, "submit", submit_and_kill)
    monkeypatch.setattr(extraction, "extract_batch", refuse)
    assert extract(folder, Runner("dask")) == alone
    assert len(killed) == 1
    assert len(asked) > 5


def kill_ray_worker() -> int:
    """Kill the process that has our batch in hand, and return its number."""
    psutil = pytest.importorskip("psutil")
    ours = psutil.Process()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for process in ours.children(recursive=True):
            with suppress(psutil.Error):
                if "ray::extract_remotely" in process.cmdline():
                    process.kill()
                    return process.pid
        time.sleep(0.005)
    raise AssertionError("no worker took the batch")


@needs_ray
def test_ray_finds_what_threads_find_though_a_worker_is_killed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker process of Ray is killed: another computes its batch, here nobody does, nothing differs."""
    alone = extract(folder, Runner())
    killed: list[int] = []
    submit = RayPool.submit

    def submit_and_kill(pool: RayPool, batch: list[Source]) -> extraction_remote.Pending:
        pending = submit(pool, batch)
        if not killed:
            killed.append(kill_ray_worker())
        return pending

    monkeypatch.setattr(RayPool, "submit", submit_and_kill)
    monkeypatch.setattr(extraction, "extract_batch", refuse)
    assert extract(folder, Runner("ray")) == alone
    assert len(killed) == 1


@needs_dask
def test_what_a_cluster_cannot_do_is_done_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches whose workers fail, or do not see the files, are extracted by whoever asked."""
    alone = extract(folder, Runner())
    sources, _, _ = find_sources([str(folder)])
    batch = extraction.split_batches(sources)[0]
    plan = ExtractionPlan(500)
    pending = extraction_remote._Waiting(lambda: list(extraction.extract_batch(batch, plan)), (), set())
    assert pending.result() == list(extraction.extract_batch(batch, plan))
    gone = [Source(str(folder / "gone.log"), folder / "gone.log", 5)]
    missed = extraction_remote._Waiting(lambda: list(extraction.extract_batch(gone, plan)), (), set())
    assert missed.result() is None

    def fail() -> list[FileEvidence]:
        raise RuntimeError("ModuleNotFoundError: bifrost_flow")

    class Failing:
        processes = 2

        def __enter__(self) -> "Failing":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def submit(self, _: list[Source]) -> extraction_remote.Pending:
            return extraction_remote._Waiting(fail, (RuntimeError,), set())

    monkeypatch.setattr(extraction, "open_cluster", lambda *_: Failing())
    assert extract(folder, Runner("dask")) == alone


@needs_dask
def test_an_address_where_nobody_answers_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the address."""
    monkeypatch.setattr(extraction_remote, "CONNECT_TIMEOUT_S", 1)
    with pytest.raises(SettingsError, match=r"127\.0\.0\.1:9"):
        extract(folder, Runner("dask", "tcp://127.0.0.1:9"))


def test_a_runner_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""
    monkeypatch.setattr(extraction_remote, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"bifrost-flow\[ray\]"):
        check_runner("ray")
    check_runner("threads")

"""MLflow in a process of its own: the same runs in the same store, whatever becomes of the process."""

import sqlite3
from pathlib import Path

import pytest

from bifrost_flow.tracked import describe_run
from connectors import tracking, tracking_process
from connectors.tracking_process import RemoteTracker, open_tracker, preload
from tests.samples import make_report


def _count_runs(folder: Path) -> int:
    with sqlite3.connect(folder / "mlflow.db") as store:
        return store.execute("SELECT count(*) FROM runs").fetchone()[0]


def _open(folder: Path, *, enabled: bool = True) -> tracking_process.RunTracker:
    return open_tracker(str(folder), tracking_uri=None, experiment="e", enabled=enabled, timeout_s=60)


def test_the_preloaded_process_writes_the_run_and_ends(tmp_path: Path) -> None:
    """A run logged through the process is in the store, and the process is gone afterwards."""
    preload()
    tracker = _open(tmp_path)
    assert isinstance(tracker, RemoteTracker)
    tracker.start()
    result = tracker.log(describe_run(make_report(), {"m": 2.0}))
    assert result.status == "tracked", result.detail
    assert _count_runs(tmp_path) == 1
    assert tracker._process.returncode is not None


def test_a_lost_process_loses_no_run(tmp_path: Path) -> None:
    """When the process is killed the run is written from here."""
    preload()
    tracker = _open(tmp_path)
    assert isinstance(tracker, RemoteTracker)
    tracker._process.kill()
    tracker._process.wait()
    tracker.start()
    assert tracker.log(describe_run(make_report(), {"m": 2.0})).status == "tracked"
    assert _count_runs(tmp_path) == 1


@pytest.mark.parametrize("enabled", [True, False])
def test_without_a_process_or_tracking_it_is_the_plain_tracker(tmp_path: Path, enabled: bool) -> None:
    """Nothing preloaded, or nothing to track: no process is used, and a preloaded one is ended."""
    if not enabled:
        preload()
    assert isinstance(_open(tmp_path, enabled=enabled), tracking.Tracker)
    assert tracking_process._preloaded is None

"""Old runs go, and no status changes."""

import random
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bifrost_flow.status import assign_statuses
from connectors.storage import LocalStorage
from connectors.warehouse import TABLES, Warehouse
from connectors.warehouse.compaction import compact
from connectors.warehouse.retention import Forgotten, forget_runs
from tests.integration.test_compaction import Killed, kill_at
from tests.warehouse_rows import CALL, CHUNK, FILE, FINDING, NIGHT, RUN, make_run_id

A, B = "f1:a", "f1:b"


def when(night: int) -> datetime:
    return NIGHT + timedelta(days=night)


def run_night(store: Warehouse, night: int, found: dict[str, list[str]]) -> dict[str, str]:
    """Write the run of a night that read the logs of the jobs in `found`, with these failures in them; return
    the statuses."""
    now, run_id = when(night), make_run_id(when(night), len(store.project))
    paths = {job: f"logs/{now:%Y-%m-%d}/{job}.log" for job in found}
    files = [replace(FILE, path=path, job=job) for job, path in paths.items()]
    seen: dict[str, list[str]] = {}
    for job, fingerprints in found.items():
        for fingerprint in fingerprints:
            seen.setdefault(fingerprint, []).append(paths[job])
    findings = assign_statuses(
        [replace(FINDING, fingerprint=each, first_seen=now, last_seen=now) for each in seen],
        seen=seen,
        files=files,
        history=store.read_history(before=datetime(2100, 1, 1, tzinfo=UTC)),
    )
    store.write_calls(run_id, [replace(CALL, started_at=now)])
    store.write_files(run_id, files)
    store.write_chunks(
        run_id,
        [replace(CHUNK, fingerprint=each, path=path) for each, where in seen.items() for path in where],
    )
    store.write_findings(run_id, findings)
    store.write_metrics(run_id, [("seconds", 1.0, "s")])
    store.write_run(replace(RUN, run_id=run_id, project=store.project, started_at=now))
    return {finding.fingerprint: finding.status for finding in findings}


@pytest.fixture
def store(tmp_path: Path) -> Warehouse:
    return Warehouse.open(str(tmp_path / "w"))


def list_nights(store: Warehouse, table: str = "runs") -> list[int]:
    """Return the nights that have rows in a table."""
    sql = {
        "runs": "SELECT started_at FROM runs",
        "llm_calls": "SELECT started_at FROM llm_calls",
    }.get(table, f"SELECT started_at FROM {table} JOIN runs USING (run_id)")
    return sorted({(at - NIGHT).days for (at,) in store.query(sql).rows})


@pytest.mark.parametrize("packed", [False, True])
def test_old_runs_go_whole_from_all_tables(store: Warehouse, packed: bool) -> None:
    """What began before the time is gone from every table, merged into packs or not; the rest stays."""
    for night in range(6):
        run_night(store, night, {"lint": [A]})
    other = Warehouse.open(store.location, project="other")
    run_night(other, 0, {"lint": [A]})
    run_night(other, 5, {"lint": []})
    if packed:
        compact(store.location, grace_s=0)
    planned = forget_runs(store.location, when(4), project="default", grace_s=0, dry_run=True)
    assert list_nights(store) == [0, 1, 2, 3, 4, 5]
    done = forget_runs(store.location, when(4), project="default", grace_s=0)
    assert (done.runs, done.kept) == (planned.runs, planned.kept) == (4, 0)
    of_other = {"runs": [0, 5], "findings": [0, 5], "metrics": [0, 5]}
    for table in (table for table in TABLES if table not in ("cache", "known_good")):
        rows = store.query(f"SELECT DISTINCT project, run_id FROM {table}").rows
        assert sorted(run for project, run in rows if project == "default") == sorted(
            make_run_id(when(night), len("default")) for night in (4, 5)
        ), table
        nights = of_other.get(table)
        assert nights is None or len([run for project, run in rows if project == "other"]) == len(nights)
    assert forget_runs(store.location, when(4), project="default", grace_s=0) == Forgotten()


def test_what_an_open_failure_rests_on_stays(store: Warehouse) -> None:
    """A failure in a job that has not run since is still open, with its first time and its place, and is
    resolved by that job alone; of its last run only that is kept."""
    run_night(store, 0, {"lint": [A], "unit": [A, B]})
    run_night(store, 1, {"lint": [], "unit": [A, B]})
    for night in range(2, 9):
        run_night(store, night, {"docs": []})
    run_night(store, 9, {"lint": [B]})
    before = store.read_history(before=datetime(2100, 1, 1, tzinfo=UTC))
    done = forget_runs(store.location, when(8), grace_s=0)
    assert (done.runs, done.kept) == (7, 1)
    assert store.read_history(before=datetime(2100, 1, 1, tzinfo=UTC)) == before
    assert list_nights(store) == [1, 8, 9]
    assert list_nights(store, "llm_calls") == [8, 9]
    assert run_night(store, 10, {"lint": [], "docs": []}) == {}
    assert run_night(store, 11, {"unit": []}) == {A: "resolved", B: "resolved"}
    assert store.query("SELECT DISTINCT first_seen FROM findings").rows == [(NIGHT,)]


def test_a_failure_resolved_long_ago_is_forgotten(store: Warehouse) -> None:
    """What was resolved before the time is new when it comes back; what was resolved after it, is back."""
    run_night(store, 0, {"lint": [A, B]})
    run_night(store, 1, {"lint": [B]})
    run_night(store, 5, {"lint": []})
    run_night(store, 6, {"docs": []})
    forget_runs(store.location, when(4), grace_s=0)
    assert run_night(store, 7, {"lint": [A, B]}) == {A: "new", B: "regressed"}


def test_the_newest_run_of_a_project_stays(store: Warehouse) -> None:
    """A project that has not run for long can still be looked at."""
    run_night(store, 0, {"lint": [A]})
    run_night(store, 1, {"lint": []})
    forget_runs(store.location, when(99), grace_s=0)
    assert list_nights(store) == [1]
    assert store.query("SELECT count(*) FROM files").rows == [(1,)]


def test_remains_of_killed_runs_go_with_their_time(store: Warehouse) -> None:
    """Rows of a run that never completed, which no view shows, are removed when they are old; younger ones
    may belong to a run that is at work."""
    old, young = make_run_id(when(0), 7), make_run_id(when(5), 7)
    for run_id in (old, young):
        store.write_files(run_id, [FILE])
        store.write_calls(run_id, [CALL])
    run_night(store, 6, {"lint": []})
    forget_runs(store.location, when(4), grace_s=0)
    left = {path.stem for path in Path(store.location).glob("*/project=default/*.parquet")}
    assert old not in left and young in left
    assert store.query("SELECT count(*) FROM llm_calls WHERE run_id = $run", {"run": young}).rows == [(1,)]


@pytest.mark.parametrize("seed", range(2))
def test_statuses_are_those_of_a_warehouse_that_forgets_nothing(tmp_path: Path, seed: int) -> None:
    """Over weeks of jobs that run or don't, and failures that come and go, forgetting changes one thing: what
    was resolved before is new when it comes back."""
    chance = random.Random(seed)
    full = Warehouse.open(str(tmp_path / "full"))
    kept = Warehouse.open(str(tmp_path / "kept"))
    jobs, failures = ["lint", "unit", "docs"], [f"f1:{n}" for n in range(5)]
    nights = []
    for night in range(20):
        ran = {job for job in jobs if chance.random() < (0.6 if night < 10 else 0.4)}
        if night > 5:
            ran.discard("docs" if seed else "unit")  # retired for a while
        if night > 15:
            ran |= set(jobs)
        nights.append({job: [each for each in failures if chance.random() < 0.3] for job in sorted(ran)})
    forgotten: set[str] = set()
    for night, found in enumerate(nights):
        statuses, ours = run_night(full, night, found), run_night(kept, night, found)
        renewed = {name for name in forgotten & ours.keys() if statuses[name] == "regressed"}
        expected = statuses | dict.fromkeys(renewed, "new")
        assert ours == expected, f"night {night}"
        forgotten -= ours.keys()
        if night in (9, 14):
            before = kept.read_history(before=datetime(2100, 1, 1, tzinfo=UTC))
            if night == 14:
                compact(kept.location, grace_s=0)
            forget_runs(kept.location, when(night - 2), grace_s=0)
            after = kept.read_history(before=datetime(2100, 1, 1, tzinfo=UTC))
            assert {name for name, past in before.items() if past.latest} <= after.keys()
            assert all(before[name] == past for name, past in after.items() if past.latest)
            forgotten |= before.keys() - after.keys()
    assert len(list_nights(kept)) < 20 - 5


def test_killed_at_any_moment_runs_are_whole_or_gone(
    store: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the process ends, each run that is seen has all its rows, and the next time finishes."""
    for night in range(2):
        run_night(store, night, {"lint": [A]})
    compact(store.location, grace_s=0)
    for night in range(2, 4):
        run_night(store, night, {"lint": [A]})
    sql = """
        SELECT count(DISTINCT chunks.run_id), count(DISTINCT findings.run_id), count(DISTINCT metrics.run_id)
        FROM runs
        LEFT JOIN chunks USING (run_id)
        LEFT JOIN findings ON findings.run_id = runs.run_id
        LEFT JOIN metrics ON metrics.run_id = runs.run_id
        GROUP BY runs.run_id
    """
    step = 0
    while True:
        step += 1
        copy = Warehouse.open(str(tmp_path / f"copy{step}"))
        shutil.copytree(store.location, copy.location, dirs_exist_ok=True)
        with monkeypatch.context() as patch:
            kill_at(patch, step)
            try:
                forget_runs(copy.location, when(3), grace_s=0)
            except Killed:
                pass
            else:
                break
        assert set(copy.query(sql).rows) == {(1, 1, 1)}, f"killed at change {step}"
        if step % 2:
            continue  # to be quick
        compact(copy.location, grace_s=0)
        assert set(copy.query(sql).rows) == {(1, 1, 1)}, f"killed at change {step}, then merged"
        forget_runs(copy.location, when(3), grace_s=0)
        assert list_nights(copy) == [3]
    assert step > 10


def test_readers_see_a_run_whole_until_it_is_gone(store: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of a run are removed only after its own row is gone from `runs`, and some time later."""
    for night in range(3):
        run_night(store, night, {"lint": [A]})
    compact(store.location, grace_s=0)
    run_night(store, 3, {"lint": []})
    events: list[Any] = []
    delete = LocalStorage.delete

    def note(self: LocalStorage, name: str) -> None:
        events.append(name.partition("/")[0])
        delete(self, name)

    monkeypatch.setattr(LocalStorage, "delete", note)
    forget_runs(store.location, when(3), grace_s=0.01, on_wait=lambda seconds: events.append(seconds))
    assert events.index("runs") < events.index(0.01) < events.index("files")
    assert "runs" not in events[events.index("files") :]

"""Many at once on one warehouse: writers, readers, compaction and pruning; no error, nothing lost or double.

BIFROST_CROWD_SECONDS makes it last longer and the crowd larger (8 writers, 20 readers); BIFROST_CROWD_SEED
picks other pauses. `make torture` does.
"""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from connectors.warehouse import Warehouse
from tests.console import Console
from tests.crowd import FINDINGS, RUNS, write_run

SECONDS = float(os.environ.get("BIFROST_CROWD_SECONDS", "12"))
SEED = int(os.environ.get("BIFROST_CROWD_SEED", "1"))
WRITERS, READERS = (8, 20) if "BIFROST_CROWD_SECONDS" in os.environ else (3, 4)
ROOT = Path(__file__).parents[2]


def start(kind: str, place: Path, number: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.crowd", kind, str(place), str(SECONDS), str(SEED * 1000 + number)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_crowd_on_one_warehouse(tmp_path: Path) -> None:
    """Every run is there once and whole, for each reader at any time, while files are merged and removed."""
    place = tmp_path / "w"
    old = Warehouse.open(str(place), project="old")
    for year in range(2000, 2010):
        write_run(old, datetime(year, 1, 1, tzinfo=UTC), ["f1:a", "f1:b"])
    console = Console(tmp_path, tmp_path / "prefect")
    end = time.monotonic() + SECONDS
    crowd = [
        *(start("write", place, number) for number in range(WRITERS)),
        *(start("read", place, 100 + number) for number in range(READERS)),
    ]
    rounds = 0
    try:
        while time.monotonic() < end:
            for words in (
                ("compact", "--grace", "3"),
                ("prune", "--older-than", "365d", "--project", "old", "--grace", "3"),
            ):
                done = console.call(*words, "--warehouse", place, "--json", "--quiet")
                assert done.code == 0, done.err
            rounds += 1
        said = [(process.communicate(timeout=120), process.returncode) for process in crowd]
    finally:
        for process in crowd:
            process.kill()
    assert [err for (_, err), code in said if code] == []
    written = [line for (out, _), _ in said[:WRITERS] for line in out.split()]
    assert rounds >= 1 and len(written) > WRITERS and all(int(out) > 0 for (out, _), _ in said[WRITERS:])
    last = console.call("compact", "--grace", "0", "--warehouse", place, "--json", "--quiet")
    assert last.code == 0, last.err
    store = Warehouse.open(str(place), create=False)
    runs = [run_id for (run_id,) in store.query(RUNS).rows]
    assert sorted(runs) == sorted(written)
    counts = store.query(
        "SELECT count(*), count(DISTINCT fingerprint) FROM findings WHERE project = 'default'"
    )
    assert counts.rows == [(len(written) * FINDINGS, len(written) * FINDINGS)]
    # The newest run of a project is kept, however old, and what says that its failures are open.
    assert store.query("SELECT max(started_at) FROM runs WHERE project = 'old'").rows[0][0].year == 2009
    assert store.query("SELECT count(*) FROM runs WHERE project = 'old'").rows[0][0] < 10

"""Many at once on one warehouse: writers, readers, compaction and pruning; no error, nothing lost or double.

BIFROST_CROWD_SECONDS makes it last longer and the crowd larger (8 writers, 20 readers); BIFROST_CROWD_SEED
picks other pauses. `make torture` does.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from connectors.warehouse import Warehouse
from tests.console import Console, Done
from tests.crowd import FINDINGS, RUNS, write_run
from tests.s3_fixtures import bucket, s3_server
from tests.s3_server import CREDENTIALS, REGION, Bucket

__all__ = ["bucket", "s3_server"]

SECONDS = float(os.environ.get("BIFROST_CROWD_SECONDS", "10"))
SEED = int(os.environ.get("BIFROST_CROWD_SEED", "1"))
LONG = "BIFROST_CROWD_SECONDS" in os.environ
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Crowd:
    """Where it meets; `endpoint` is of a bucket's server."""

    place: str
    console: Console
    endpoint: str = ""

    def start(self, kind: str, number: int) -> subprocess.Popen[str]:
        seed = str(SEED * 1000 + number)
        words = [
            "tests.crowd",
            kind,
            self.place,
            str(SECONDS),
            seed,
            *([self.endpoint] if self.endpoint else []),
        ]
        return subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=ROOT,
            env={**os.environ, **CREDENTIALS},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, *words: str) -> Done:
        done = self.console.call(
            *words, "--warehouse", self.place, "--json", "--quiet", stdin=None, **CREDENTIALS
        )
        assert done.code == 0, done.err
        return done


def test_a_crowd_on_one_warehouse(tmp_path: Path) -> None:
    """Every run is there once and whole, for each reader at any time, while files are merged and removed."""
    crowd = Crowd(str(tmp_path / "w"), Console(tmp_path, tmp_path / "prefect"))
    meet(crowd, *((8, 20) if LONG else (3, 4)))


def test_a_crowd_on_one_bucket(tmp_path: Path, bucket: Bucket) -> None:
    """The same in a bucket."""
    (tmp_path / "bifrost.yaml").write_text(f"s3:\n  endpoint: {bucket.endpoint}\n  region: {REGION}\n")
    crowd = Crowd(f"{bucket.url}/tables", Console(tmp_path, tmp_path / "prefect"), bucket.endpoint)
    meet(crowd, *((8, 20) if LONG else (2, 2)))


def meet(crowd: Crowd, writers: int, readers: int) -> None:
    """Let writers, readers, compaction and pruning work side by side, and look at what is left."""
    old = Warehouse.open(crowd.place, project="old")
    for year in range(2000, 2010):
        write_run(old, datetime(year, 1, 1, tzinfo=UTC), ["f1:a", "f1:b"])
    end = time.monotonic() + SECONDS
    processes = [
        *(crowd.start("write", number) for number in range(writers)),
        *(crowd.start("read", 100 + number) for number in range(readers)),
    ]
    rounds = 0
    try:
        while time.monotonic() < end:
            crowd.call("compact", "--grace", "3")
            crowd.call("prune", "--older-than", "365d", "--project", "old", "--grace", "3")
            rounds += 1
        said = [(process.communicate(timeout=240), process.returncode) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [err for (_, err), code in said if code] == []
    written = [line for (out, _), _ in said[:writers] for line in out.split()]
    asked = [int(out) for (out, _), _ in said[writers:]]
    assert rounds >= 1 and len(written) >= writers and min(asked) > 0
    crowd.call("compact", "--grace", "0")
    store = Warehouse.open(crowd.place, create=False)
    runs = [run_id for (run_id,) in store.query(RUNS).rows]
    assert sorted(runs) == sorted(written)
    counts = store.query(
        "SELECT count(*), count(DISTINCT fingerprint) FROM findings WHERE project = 'default'"
    )
    assert counts.rows == [(len(written) * FINDINGS, len(written) * FINDINGS)]
    # The newest run of a project is kept, however old, and what says that its failures are open.
    assert store.query("SELECT max(started_at) FROM runs WHERE project = 'old'").rows[0][0].year == 2009
    assert store.query("SELECT count(*) FROM runs WHERE project = 'old'").rows[0][0] < 10
    note_crowd(crowd, len(written), asked, rounds)


def note_crowd(crowd: Crowd, written: int, asked: Sequence[int], rounds: int) -> None:
    """Add a row to the table of what was done, if one is being made."""
    if table := os.environ.get("BIFROST_CROWD_TABLE"):
        where = "a bucket" if crowd.endpoint else "a folder"
        with Path(table).open("a", encoding="utf-8") as out:
            out.write(f"| {where} | {SECONDS:g} s | {written} | {sum(asked)} by {len(asked)} | {rounds} |\n")

"""What one process of a crowd does: `python -m tests.crowd write|read WAREHOUSE SECONDS SEED [ENDPOINT]`.

A writer prints the id of each run that it has written; a reader asks again and again whether a run is there
twice or only in part, and prints how often it asked. Any trouble ends the process with its trace.
"""

import random
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from bifrost_flow.records import new_run_id
from connectors.s3.access import S3Access, use_access
from connectors.warehouse import Warehouse
from tests.s3_server import REGION
from tests.warehouse_rows import CALL, CHUNK, FILE, FINDING, RUN

FINDINGS, FILES = 5, 3
# A run that is in `runs` has all its rows: its own row is written last.
PARTS = f"""
SELECT run_id
FROM runs
LEFT JOIN (SELECT run_id, count(*) AS told FROM findings GROUP BY ALL) USING (run_id)
LEFT JOIN (SELECT run_id, count(*) AS listed FROM files GROUP BY ALL) USING (run_id)
LEFT JOIN (SELECT run_id, count(*) AS kept FROM chunks GROUP BY ALL) USING (run_id)
WHERE project = 'default'
    AND (
        told IS DISTINCT FROM {FINDINGS}
        OR kept IS DISTINCT FROM {FINDINGS}
        OR listed IS DISTINCT FROM {FILES}
    )
"""
RUNS = "SELECT run_id FROM runs WHERE project = 'default'"
TWICE = "SELECT run_id FROM runs GROUP BY ALL HAVING count(*) > 1"


def write(warehouse: Warehouse, end: float, dice: random.Random) -> None:
    """Write runs until `end`."""
    while time.monotonic() < end:
        print(write_run(warehouse, datetime.now(UTC)), flush=True)
        time.sleep(dice.uniform(0, 0.2))


def write_run(warehouse: Warehouse, at: datetime, names: Sequence[str] = ()) -> str:
    """Write a whole run with findings of its own, or those named, and return its id."""
    run_id = new_run_id()
    names = names or [f"f1:{run_id[-6:]}{number}" for number in range(FINDINGS)]
    warehouse.write_calls(run_id, [replace(CALL, fingerprint=name, started_at=at) for name in names])
    warehouse.write_files(run_id, [replace(FILE, path=f"logs/{number}.log") for number in range(FILES)])
    warehouse.write_chunks(run_id, [replace(CHUNK, chunk_id=name, fingerprint=name) for name in names])
    warehouse.write_findings(run_id, [replace(FINDING, fingerprint=name, last_seen=at) for name in names])
    warehouse.write_run(replace(RUN, run_id=run_id, started_at=at, project=warehouse.project))
    return run_id


def read(warehouse: Warehouse, end: float, dice: random.Random) -> None:
    """Ask until `end`; what was there once must stay there."""
    asked, known = 0, set[str]()
    while time.monotonic() < end:
        for query in (PARTS, TWICE):
            wrong = warehouse.query(query).rows
            assert not wrong, (query, wrong)
        now = {
            run_id for (run_id,) in warehouse.query("SELECT run_id FROM runs WHERE project = 'default'").rows
        }
        assert known <= now, sorted(known - now)
        known, asked = now, asked + 1
        time.sleep(dice.uniform(0, 0.1))
    print(asked)


def main() -> None:
    """Do as the arguments say."""
    kind, place, seconds, seed, *endpoint = sys.argv[1:]
    if endpoint:
        use_access(S3Access(endpoint=endpoint[0], region=REGION))
    warehouse = Warehouse.open(place, create=kind == "write")
    task = {"write": write, "read": read}[kind]
    task(warehouse, time.monotonic() + float(seconds), random.Random(int(seed)))


if __name__ == "__main__":
    main()

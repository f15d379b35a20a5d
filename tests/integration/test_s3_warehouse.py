"""A warehouse in a bucket: the same answers as in a folder, many writers, killed runs, and other clients."""

import io
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest

from bifrost_flow.errors import WarehouseError
from bifrost_flow.records import new_run_id
from connectors.journal import Journal, fold_orphans, read_orphans
from connectors.s3 import storage as s3_storage
from connectors.s3.access import S3Access, use_access
from connectors.storage import LocalStorage, Storage, open_storage
from connectors.warehouse import TABLES, Warehouse
from connectors.warehouse import bucket as warehouse_bucket
from connectors.warehouse.pruning import Pruning, prune_answers
from tests.integration.test_journal import build_call
from tests.integration.test_warehouse import build_answer, write_run
from tests.s3_fixtures import bucket, s3_server
from tests.s3_server import Bucket
from tests.samples import find_answers

__all__ = ["bucket", "s3_server"]


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return LocalStorage(str(tmp_path / "here"))
    made: Bucket = request.getfixturevalue("bucket")
    return open_storage(f"{made.url}/some/where/")


@pytest.fixture
def warehouse(bucket: Bucket) -> Warehouse:
    return Warehouse.open(f"{bucket.url}/tables [x]/")


# The seam


def test_storages_do_the_same(storage: Storage) -> None:
    """A folder and a bucket list, find, read, replace and remove files alike."""
    assert storage.list_files() == []
    assert storage.list_top() == set()
    storage.write("runs/project=웹/a b.parquet", b"one")
    storage.write("runs/.hidden", b"x")
    storage.write("top.json", b"{}")
    storage.write("runs/project=웹/a b.parquet", memoryview(b"three"))
    names = ["runs/project=웹/a b.parquet", "top.json"]
    assert [(file.name, file.size) for file in storage.list_files()] == list(zip(names, (5, 2), strict=True))
    assert [file.name for file in storage.list_files("runs/")] == names[:1]
    assert storage.list_top() == {"runs", "top.json"}
    found = storage.find(names[0])
    assert found == storage.list_files("runs/")[0]
    assert storage.read(names[0]) == b"three"
    with storage.open(names[0]) as file:
        file.seek(2)
        assert file.read(2) == b"re"
    storage.write(names[0], b"other")
    changed = storage.find(names[0])
    assert found and changed and changed.etag != found.etag
    storage.delete(names[0])
    storage.delete(names[0])
    assert storage.find(names[0]) is None
    for missing in (storage.read, storage.open):
        with pytest.raises(FileNotFoundError):
            missing(names[0])
    assert names[1] in storage.place(names[1])


def test_lock_is_held_by_one(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wants the same lock waits until it is let go of."""
    monkeypatch.setattr(s3_storage, "_POLL_S", 0.02)
    seen = []

    def enter() -> None:
        with storage.hold_alone("cache/.lock"):
            seen.append("second")

    with storage.hold_alone("cache/.lock"):
        other = threading.Thread(target=enter)
        other.start()
        other.join(0.3)
        seen.append("first")
    other.join(240)
    assert seen == ["first", "second"]


def test_lock_of_a_dead_owner_is_taken_over(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was killed in the block doesn't shut others out for ever."""
    storage = open_storage(bucket.url)
    storage.write("lock", b"{}")
    monkeypatch.setattr(s3_storage, "_POLL_S", 0.02)
    monkeypatch.setattr(s3_storage, "LEASE_S", -30.0)
    with storage.hold_alone("lock"):
        assert storage.read("lock") != b"{}"
    assert storage.find("lock") is None


# Tables


def test_bucket_answers_as_a_folder_does(warehouse: Warehouse, tmp_path: Path) -> None:
    """History, reports, cache, views and queries give the same rows from both."""
    warehouse.write_answers([build_answer("k1"), build_answer("k2")])
    run_id = write_run(warehouse)
    copy = LocalStorage(str(tmp_path / "tables"))
    for file in warehouse.storage.list_files():
        copy.write(file.name, warehouse.storage.read(file.name))
    folder = Warehouse.open(copy.location)
    assert warehouse.location.startswith("s3://")
    now = datetime.now(UTC)
    assert warehouse.read_history(before=now) == folder.read_history(before=now) != {}
    assert find_answers(warehouse, ["k1", "k3"]) == find_answers(folder, ["k1", "k3"]) != {}
    here, there = (each.read_report(run_id, language="en") for each in (folder, warehouse))
    assert (there.run, there.findings, there.files) == (here.run, here.findings, here.files)
    for table in (*TABLES, "trend_per_day", "latest_run"):
        assert warehouse.query(f"SELECT * FROM {table}") == folder.query(f"SELECT * FROM {table}")
    assert warehouse.has_calls(run_id) == folder.has_calls(run_id)
    assert warehouse.has_known_good() == folder.has_known_good()
    assert warehouse.query("SELECT 1").rows == [(1,)]
    prune_answers(warehouse.location, Pruning(model="qwen"))
    assert warehouse.query("SELECT count(*) FROM cache").rows == [(0,)]


def test_only_the_warehouse_can_be_read(warehouse: Warehouse, bucket: Bucket) -> None:
    """No query reaches another prefix of the bucket, the journal or the disk, or writes anything."""
    bucket.fill({"secret/x.parquet": b"PAR1"})
    for query in (
        f"FROM read_parquet('{bucket.url}/secret/x.parquet')",
        f"FROM read_parquet('{bucket.url}/**/*.parquet')",
        f"FROM read_json('{warehouse.location}/warehouse.json')",
        "FROM read_text('/etc/passwd')",
        f"COPY (SELECT 1) TO '{warehouse.location}/runs/x.parquet'",
    ):
        with pytest.raises(WarehouseError):
            warehouse.query(query)
    assert warehouse.storage.find("runs/x.parquet") is None


def test_wrong_places_are_told_apart(bucket: Bucket) -> None:
    """Other things, a missing warehouse, a missing bucket and refused access have words of their own."""
    bucket.fill({"logs/app.log": b"x"})
    for location, create, said in (
        (f"{bucket.url}/logs", True, "app.log"),
        (f"{bucket.url}/none", False, "no warehouse"),
        ("s3://bifrost-none/x", True, "no bucket"),
    ):
        with pytest.raises(WarehouseError, match=said):
            Warehouse.open(location, create=create)
    store = Warehouse.open(f"{bucket.url}/w")
    write_run(store)
    bucket.plan = lambda _: "denied"
    with pytest.raises(WarehouseError, match="access denied"):
        store.query("FROM runs")


def test_large_file_is_read_in_parts(
    warehouse: Warehouse, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a large file, the footer and the columns that a query asks for are fetched, not the rest."""
    run_id = write_run(warehouse)
    (row,) = pl.read_parquet(
        io.BytesIO(warehouse.storage.read(f"chunks/project=default/{run_id}.parquet"))
    ).to_dicts()[:1]
    many = 300_000
    texts = pl.int_range(many, eager=True).hash().cast(pl.String)
    frame = pl.DataFrame([row]).select(pl.all().repeat_by(many).explode()).with_columns(text=texts + texts)
    content = io.BytesIO()
    frame.write_parquet(content, compression="uncompressed", row_group_size=50_000)
    warehouse.storage.write("chunks/project=default/large.parquet", content.getbuffer())
    monkeypatch.setattr(warehouse_bucket, "SMALL_BYTES", 100_000)
    bucket.requests.clear()
    assert warehouse.query("SELECT count(DISTINCT run_id) FROM chunks").rows == [(1,)]
    spans = [
        [int(part) for part in request.range.removeprefix("bytes=").split("-")]
        for request in bucket.requests
        if "large.parquet" in request.path
    ]
    fetched = sum(last - first + 1 for first, last in spans)
    assert 0 < fetched < content.tell() / 4


def test_file_that_goes_while_it_is_asked_for(warehouse: Warehouse, bucket: Bucket) -> None:
    """When one was replaced by another after the listing, the query is made again over what is there now."""
    run_id = write_run(warehouse)
    warehouse_bucket._kept._contents.clear()
    bucket.fail_first("gone", 2, part=run_id)
    assert warehouse.query("SELECT run_id FROM runs").rows == [(run_id,)]


def test_other_clients_read_the_bucket(warehouse: Warehouse, bucket: Bucket, tmp_path: Path) -> None:
    """A DuckDB client with a file system for s3:// attaches the catalogue and sees the views."""
    run_id = write_run(warehouse)
    catalogue = tmp_path / "copy.duckdb"
    catalogue.write_bytes(warehouse.storage.read("bifrost.duckdb"))
    with duckdb.connect() as client:
        prefixes = [f"{table}/" for table in TABLES]
        warehouse_bucket.open_bucket(client, warehouse.storage, prefixes)
        client.execute(f"ATTACH '{catalogue}' AS tables (READ_ONLY)")
        assert client.execute("SELECT run_id FROM tables.runs").fetchall() == [(run_id,)]


RUNS_EACH = 4


def write_runs(location: str, endpoint: str) -> None:
    use_access(S3Access(endpoint=endpoint, region="us-east-1"))
    for _ in range(RUNS_EACH):
        store = Warehouse.open(location)
        store.write_answers([build_answer(new_run_id())])
        write_run(store)


def test_two_processes_write_at_once(bucket: Bucket) -> None:
    """Two processes make one warehouse and write runs at once; all rows are there, each exactly once."""
    location = f"{bucket.url}/both"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_runs, args=(location, bucket.endpoint)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert [writer.exitcode for writer in writers] == [0, 0]
    store = Warehouse.open(location)
    for table in TABLES:
        assert store.query(f"SELECT count(*) FROM {table}").rows == [(2 * RUNS_EACH,)], table


# Journal

APPENDING = """
import os, sys
from connectors.journal import Journal
from connectors.s3.access import S3Access, use_access
from tests.integration.test_journal import build_answer, build_call
use_access(S3Access(endpoint=sys.argv[3], region="us-east-1"))
journal = Journal(sys.argv[1], sys.argv[2], project="web")
for number in range(100_000):
    journal.append(build_answer(f"k{number}"), build_call(f"k{number}"))
    os.write(1, b"x")
    import time; time.sleep(0.01)
"""


def start_run(bucket: Bucket, location: str, run_id: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", APPENDING, location, run_id, bucket.endpoint],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


def test_killed_run_loses_what_was_on_its_way_at_most(warehouse: Warehouse, bucket: Bucket) -> None:
    """After SIGKILL the next run on this machine finds all that was put, and nobody folds a living run's."""
    run_id = new_run_id()
    with start_run(bucket, warehouse.location, run_id) as process:
        assert process.stdout
        process.stdout.read(100)
        assert read_orphans(warehouse.location) == ()
        assert fold_orphans(warehouse) == ()
        process.send_signal(signal.SIGKILL)
        appended = 100 + len(process.stdout.read())
    (orphan,) = fold_orphans(warehouse)
    assert (orphan.run_id, orphan.project) == (run_id, "web")
    assert appended - 60 <= len(orphan.answers) <= appended
    keys = [f"k{number}" for number in range(len(orphan.answers))]
    assert sorted(find_answers(warehouse, keys)) == sorted(keys)
    assert warehouse.query("SELECT project, count(*) FROM llm_calls GROUP BY ALL").rows == [
        ("web", len(keys))
    ]
    assert warehouse.storage.list_files("journal/") == []


def test_answers_of_a_run_elsewhere_are_copied(warehouse: Warehouse) -> None:
    """A run elsewhere may live: what it paid for is used, and its journal stays until it is silent."""
    journal = Journal(warehouse.location, run_id := new_run_id())
    journal.append(build_answer("k1"), build_call("k1"))
    journal.close()
    alive = f"journal/{run_id}/alive"
    owner = {"host": f"not-{socket.gethostname()}", "process": 1}
    warehouse.storage.write(alive, json.dumps(owner).encode())
    assert fold_orphans(warehouse) == fold_orphans(warehouse) == ()
    assert list(find_answers(warehouse, ["k1"])) == ["k1"]
    assert warehouse.query("SELECT count(*) FROM cache").rows == [(1,)]
    warehouse.storage.delete(alive)
    assert [orphan.run_id for orphan in fold_orphans(warehouse)] == [run_id]
    assert warehouse.storage.list_files("journal/") == []


def test_journal_that_could_not_be_put_is_folded_all_the_same(warehouse: Warehouse, bucket: Bucket) -> None:
    """While the bucket refuses, appends tell it; the run still has its answers when it ends."""
    journal = Journal(warehouse.location, new_run_id())
    bucket.plan = lambda request: "denied" if "journal" in request.path else None
    deadline = time.monotonic() + 120
    number = 0
    with pytest.raises(WarehouseError, match="access denied"):
        while time.monotonic() < deadline:
            journal.append(build_answer(f"k{number}"), build_call(f"k{number}"))
            number += 1
            time.sleep(0.02)
    bucket.plan = lambda _: None
    assert journal.fold(warehouse) == number + 1
    assert warehouse.storage.list_files("journal/") == []
    assert len(find_answers(warehouse, [f"k{each}" for each in range(number + 1)])) == number + 1

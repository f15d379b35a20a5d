"""Many files become few while others read and write, and whenever it is cut short."""

import itertools
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from fsspec.implementations.local import LocalFileSystem

from bifrost_flow.evidence.baseline import KnownGood
from bifrost_flow.records import CachedAnswer, new_run_id
from connectors.storage import LocalStorage
from connectors.warehouse import TABLES, Warehouse
from connectors.warehouse.catalog import read_views, render_views
from connectors.warehouse.compaction import compact
from connectors.warehouse.packs import list_folders, merge_rows, write_pack
from tests.warehouse_rows import CALL, CHUNK, FILE, FINDING, NIGHT, RUN, make_run_id

FINDINGS_A_RUN = 3
KILLED = new_run_id()  # lately, so that its calls may yet be written down


def write_run(store: Warehouse, run_id: str, at: datetime, *, complete: bool = True) -> None:
    """Write a run with rows in every table."""
    files = [FILE, replace(FILE, path="logs/unit.log", job="unit")]
    store.write_calls(run_id, [replace(CALL, started_at=at)] * 2)
    store.write_files(run_id, files)
    store.write_chunks(run_id, [CHUNK, replace(CHUNK, path="logs/unit.log", chunk_id="2")])
    store.write_findings(
        run_id, [replace(FINDING, fingerprint=f"f1:{n}", last_seen=at) for n in range(FINDINGS_A_RUN)]
    )
    store.write_metrics(run_id, [("seconds", 1.5, "s")])
    known = pl.Series([1, 2**64 - 1], dtype=pl.UInt64)
    store.write_known_good(
        run_id, [KnownGood("lint", None, "b1", known, whole=True, files=1, lines=2, created_at=at)]
    )
    if complete:
        store.write_run(replace(RUN, run_id=run_id, project=store.project, started_at=at))


def write_answers(store: Warehouse, *keys: str, response: str = "{}", at: datetime = NIGHT) -> None:
    store.write_answers([CachedAnswer(key, response, "ollama", "qwen", "1", 100, 20, at) for key in keys])


@pytest.fixture
def store(tmp_path: Path) -> Warehouse:
    """Two projects over two months, a run that was killed, and answers in the cache."""
    web, api = (Warehouse.open(str(tmp_path / "w"), project=name) for name in ("web", "../api [1]"))
    for number in range(5):
        at = NIGHT + timedelta(days=number - 2)
        write_run(web, make_run_id(at), at)
        write_run(api, make_run_id(at, 1), at)
    write_run(web, KILLED, NIGHT, complete=False)
    write_answers(web, "k1", "k2")
    write_answers(web, "k3")
    return web


def look(store: Warehouse) -> dict[str, Any]:
    """Return all that can be seen of a warehouse: each view's rows, and what a run is compared with."""
    rows = {view: store.query(f"FROM {view}").rows for view in read_views()}
    seen: dict[str, Any] = {view: sorted(map(repr, found)) for view, found in rows.items()}
    seen["cache"] = sorted(set(seen["cache"]))  # an answer may be there twice, which means what once means
    return seen | {
        "history": store.read_history(before=datetime(2100, 1, 1, tzinfo=UTC)),
        "known": store.has_known_good(),
    }


def count_files(store: Warehouse) -> Counter[str]:
    """Return how many files with rows each table has."""
    files = Path(store.location).rglob("[!_.]*.parquet")
    return Counter(path.relative_to(store.location).parts[0] for path in files)


def test_all_rows_stay_and_few_files_are_left(store: Warehouse) -> None:
    """A table has one file a project and month, whoever looks sees the same as before, and a second time
    there is nothing to do."""
    before = look(store)
    done = compact(store.location, grace_s=0)
    assert look(store) == before
    # Two projects and two months; the killed run's files wait: its calls, too, may yet be written.
    waiting = dict.fromkeys(("files", "chunks", "findings", "metrics", "known_good"), 5)
    assert count_files(store) == {"runs": 4, "cache": 1, "llm_calls": 4 + 1, **waiting}
    assert (done.files_after, done.files_removed) == (count_files(store).total(), done.files_merged)
    assert compact(store.location, grace_s=0).packs == 0
    with duckdb.connect(str(Path(store.location) / "bifrost.duckdb"), read_only=True) as client:
        assert client.execute("SELECT count(*) FROM findings").fetchone() == (10 * FINDINGS_A_RUN,)


def test_new_runs_join_the_pack_of_their_month(store: Warehouse) -> None:
    """Night after night the number of files stays the same."""
    compact(store.location, grace_s=0)
    files = count_files(store)
    for number in range(3):
        at = NIGHT + timedelta(days=10 + number)
        write_run(store, make_run_id(at), at)
        before = look(store)
        compact(store.location, grace_s=0)
        assert look(store) == before
    assert count_files(store) == files


def test_a_run_that_completes_later_is_seen_whole(store: Warehouse) -> None:
    """Files of a run that is still at work are left to it, and merged once it is complete."""
    run_id = KILLED
    compact(store.location, grace_s=0)
    assert store.query("SELECT * FROM findings WHERE run_id = $run", {"run": run_id}).rows == []
    store.write_run(replace(RUN, run_id=run_id, project=store.project))
    compact(store.location, grace_s=0)
    rows = store.query("SELECT fingerprint FROM findings WHERE run_id = $run", {"run": run_id}).rows
    assert len(rows) == FINDINGS_A_RUN
    assert count_files(store)["findings"] == 4


def test_calls_of_a_killed_run_are_known_when_they_are_merged(store: Warehouse) -> None:
    """Calls of a run that died days ago are merged, and are not written again from its journal."""
    old = make_run_id(NIGHT - timedelta(days=400))
    store.write_calls(old, [CALL])
    older = make_run_id(NIGHT - timedelta(days=401))
    store.write_calls(older, [CALL])
    compact(store.location, grace_s=0)
    assert not (Path(store.location) / "llm_calls" / "project=web" / f"{old}.parquet").exists()
    assert store.has_calls(old) and store.has_calls(older)
    assert not store.has_calls(new_run_id())


def test_a_retried_write_after_a_merge_doubles_nothing(store: Warehouse) -> None:
    """A run that is written again beside the pack that holds it is seen once."""
    compact(store.location, grace_s=0)
    before = look(store)
    at = NIGHT - timedelta(days=2)
    write_run(store, make_run_id(at), at)
    assert look(store) == before
    compact(store.location, grace_s=0)
    assert look(store) == before


def test_of_several_answers_for_a_key_the_newest_is_kept(store: Warehouse) -> None:
    """What the cache answers is the same after a merge, and takes no more room than it must."""
    write_answers(store, "k1", response='{"new": 1}', at=NIGHT + timedelta(days=1))
    compact(store.location, grace_s=0)
    rows = store.query("SELECT cache_key, response FROM cache ORDER BY ALL").rows
    assert rows == [("k1", '{"new": 1}'), ("k2", "{}"), ("k3", "{}")]


def test_files_of_an_older_schema_gain_the_new_columns(store: Warehouse) -> None:
    """Rows that were written before a column existed have NULL there, and lose none of theirs."""
    path = next(Path(store.location, "files", "project=web").glob("*.parquet"))
    pl.read_parquet(path).drop("location", "ci_system").write_parquet(path)
    before = look(store)
    compact(store.location, grace_s=0)
    assert look(store) == before


def test_one_project_alone_can_be_merged(store: Warehouse) -> None:
    """Files of other projects are left as they are."""
    compact(store.location, project="web", grace_s=0)
    folders = {
        path.name: len(list(path.glob("*.parquet"))) for path in Path(store.location, "runs").iterdir()
    }
    assert folders == {"project=web": 2, "project=%2E%2E%2Fapi%20%5B1%5D": 5, "_schema.parquet": 0}


def test_dry_run_counts_and_changes_nothing(store: Warehouse) -> None:
    """What would be merged is what then is."""
    before = sorted(Path(store.location).rglob("*.parquet"))
    planned = compact(store.location, grace_s=0, dry_run=True)
    assert sorted(Path(store.location).rglob("*.parquet")) == before
    done = compact(store.location, grace_s=0)
    assert (planned.files_merged, planned.packs, planned.files_after) == (
        done.files_merged,
        done.packs,
        done.files_after,
    )


class Killed(BaseException):
    """Stands for the end of the process."""


def kill_at(monkeypatch: pytest.MonkeyPatch, step: int) -> Callable[[], int]:
    """Have the process end at that change of the storage, before or after it was made; returns how many
    changes there were."""
    changes = 0
    originals = {name: getattr(LocalStorage, name) for name in ("write", "delete")}

    def change(name: str) -> Callable[..., None]:
        def do(self: LocalStorage, *words: Any) -> None:
            nonlocal changes
            changes += 1
            if changes == step and step % 2:
                raise Killed
            originals[name](self, *words)
            if changes == step:
                raise Killed

        return do

    for name in originals:
        monkeypatch.setattr(LocalStorage, name, change(name))
    return lambda: changes


def test_killed_at_any_moment_nothing_is_lost_or_doubled(
    store: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each of its changes the process may end: all rows are there once, and the next time finishes."""
    before, step = look(store), 0
    while True:
        step += 1
        with monkeypatch.context() as patch:
            count = kill_at(patch, step)
            try:
                compact(store.location, project="web", grace_s=0)
            except Killed:
                # Looked at after each third change, to be quick: the steps shift, since ever less is to do.
                assert step % 3 or look(store) == before, f"killed at change {step}"
            else:
                break
        assert count() == step
    assert step > 8
    assert look(store) == before
    assert compact(store.location, project="web", grace_s=0).packs == 0


def test_two_at_once_without_a_lock_double_nothing(store: Warehouse) -> None:
    """Where nobody can lock, two packs of the same files count once, and become one the next time."""
    before = look(store)
    storage = store.storage
    for table in TABLES:
        for files in list_folders(storage, table, "web"):
            chosen = [file for file in files if table != "cache" and KILLED not in file.name]
            for part in (chosen, chosen[:-1], chosen):
                if part:
                    rows = merge_rows(storage, table, part)
                    write_pack(storage, part[0].folder, "2026-10", rows, part)
    assert look(store) == before
    compact(store.location, project="web", grace_s=0)
    assert look(store) == before
    assert count_files(store)["runs"] == 1 + 5


def test_readers_and_writers_beside_it_see_each_run_once(tmp_path: Path) -> None:
    """While runs are written and merged over and over, each look, ours and any client's, sees all runs that
    were complete before it, each with all of its rows and none twice."""
    store = Warehouse.open(str(tmp_path / "w"))
    written: list[str] = []
    wrong: list[object] = []
    done = threading.Event()
    looks = Counter[str]()

    def write() -> None:
        number = 0
        while not done.is_set():
            number += 1
            at = NIGHT + timedelta(minutes=number)
            write_run(store, make_run_id(at), at)
            written.append(make_run_id(at))

    def check(kind: str, ask: Callable[[], list[tuple[Any, ...]]]) -> None:
        while not done.is_set():
            known = set(written)
            try:
                counts = dict(ask())
            except duckdb.IOException as error:
                # A client that begins while files are removed is told so, and asks again, as ours does.
                if kind == "ours" or "No such file" not in str(error):
                    wrong.append((kind, str(error)))
                continue
            looks[kind] += 1
            if missing := known - counts.keys():
                wrong.append((kind, "missing", len(missing)))
            wrong.extend((kind, run, n) for run, n in counts.items() if n != FINDINGS_A_RUN)

    sql = "SELECT run_id, count(*) FROM runs JOIN findings USING (run_id) GROUP BY run_id"
    client = duckdb.connect(str(tmp_path / "w" / "bifrost.duckdb"), read_only=True)
    threads = [
        threading.Thread(target=write),
        threading.Thread(target=check, args=("ours", lambda: store.query(sql).rows)),
        threading.Thread(target=check, args=("client", lambda: client.cursor().execute(sql).fetchall())),
    ]
    for thread in threads:
        thread.start()
    packs = 0
    try:
        for _ in range(4):
            packs += compact(store.location, grace_s=1.0).packs
    finally:
        done.set()
        for thread in threads:
            thread.join(60)
        client.close()
    assert wrong == []
    assert packs >= 4 and min(looks["ours"], looks["client"]) > 5 and len(written) > 20
    assert store.query("SELECT count(*) FROM runs").rows == [(len(written),)]


class ScriptedFiles(LocalFileSystem):
    """A file system whose lists of files are as a test says, one a call."""

    protocol = "scripted"
    cachable = False

    def __init__(self, *lists: list[str]) -> None:
        super().__init__()
        self.lists = list(lists)
        self.calls = 0

    def glob(self, path: str, maxdepth: int | None = None, **_: Any) -> list[str]:
        names = self.lists[min(self.calls, len(self.lists) - 1)]
        self.calls += 1
        folder = path.partition("/**")[0]
        return sorted(f"{folder}/{name}" for name in names)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return str(path).removeprefix("scripted://")


def test_each_view_lists_the_files_once(tmp_path: Path) -> None:
    """Whichever lists the views of one query get, from before a pack was there to after it is alone, no run
    is missing or doubled: a view never compares one list with another."""
    store = Warehouse.open(str(tmp_path / "w"))
    runs = [make_run_id(NIGHT, number) for number in range(4)]
    for run_id in runs:
        write_run(store, run_id, NIGHT)
    packs = []
    for table in ("runs", "findings"):
        (files,) = list_folders(store.storage, table)
        for part in (files[:3], files):
            rows = merge_rows(store.storage, table, part)
            pack = write_pack(store.storage, files[0].folder, "2026-11", rows, part)
            alike = f"pack-2026-11-{len(part)}.parquet"
            Path(store.location, pack.name).rename(Path(store.location, files[0].folder, alike))
            packs.append(alike)
    single = f"project=default/{runs[3]}.parquet"
    first, second = (f"project=default/{name}" for name in packs[:2])
    lists = ([first, single], [first, single, second], [second])
    query = "SELECT run_id, count(*) FROM runs JOIN findings USING (run_id) GROUP BY run_id ORDER BY run_id"
    for chosen in itertools.product(lists, repeat=3):
        files = ScriptedFiles(lists[1])
        with duckdb.connect() as client:
            client.register_filesystem(files)
            for name in ("runs", "findings"):
                script = render_views(store.location)[name]
                client.execute(script.replace("read_parquet('", "read_parquet('scripted://"))
            files.lists, files.calls = list(chosen), 0
            assert client.execute(query).fetchall() == [(run_id, FINDINGS_A_RUN) for run_id in runs]
        assert files.calls == 3

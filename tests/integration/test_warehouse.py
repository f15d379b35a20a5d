"""The warehouse on a real disk, read through DuckDB."""

import json
import multiprocessing
import os
import re
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import polars as pl
import pytest

from bifrost_flow.errors import WarehouseError
from bifrost_flow.evidence.baseline import KnownGood
from bifrost_flow.records import CachedAnswer, Call, Chunk, Evidence, Finding, LogFile, Run, new_run_id
from bifrost_flow.status import assign_statuses
from connectors.comparison import find_pair, load_difference
from connectors.storage import fill_file
from connectors.warehouse import TABLES, Warehouse
from connectors.warehouse.catalog import read_migrations, read_queries, read_views, run_migrations
from tests.samples import find_answers
from tests.warehouse_rows import CALL, CHUNK, FILE, FINDING, RUN

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

NOW = datetime(2026, 11, 1, 2, 0, 0, 123456, tzinfo=UTC)
ROOT = Path(__file__).resolve().parents[2]


def build_run(
    run_id: str, *, project: str = "default", started_at: datetime = NOW, status: str = "completed"
) -> Run:
    return replace(
        RUN,
        run_id=run_id,
        project=project,
        started_at=started_at,
        finished_at=started_at + timedelta(seconds=3),
        status=status,
        settings='{"provider": "rules"}',
        bytes=2**40,
        lines=12,
        llm_calls=1,
        tokens_in=10,
        tokens_out=5,
        cost_usd=0.25,
    )


def build_file(path: str = "logs/lint.log", *, job: str | None = "lint", status: str = "read") -> LogFile:
    return replace(FILE, path=path, job=job, first_ts=NOW, status=status)


def build_chunk(fingerprint: str = "f1:a", path: str = "logs/lint.log") -> Chunk:
    return replace(
        CHUNK,
        chunk_id=f"{path}#1",
        path=path,
        fingerprint=fingerprint,
        text="a\nb\nc\n한글",
        redactions=1,
    )


def build_finding(fingerprint: str = "f1:a", *, at: datetime = NOW) -> Finding:
    evidence = (Evidence("logs/lint.log", 4, "boom 7"), Evidence("logs/lint.log", 5, ""))
    return replace(
        FINDING, fingerprint=fingerprint, evidence=evidence, occurrences=2, first_seen=at, last_seen=at
    )


def build_call(*, model: str = "qwen", status: str = "ok", at: datetime = NOW) -> Call:
    return replace(
        CALL,
        model=model,
        status=status,
        latency_ms=12.5,
        tokens_in=100,
        tokens_out=20,
        cost_usd=0.5,
        started_at=at,
    )


def build_answer(key: str, response: str = "{}", *, at: datetime = NOW) -> CachedAnswer:
    return CachedAnswer(key, response, "ollama", "qwen", "1", 100, 20, at)


def build_known_good() -> KnownGood:
    templates = pl.Series([1, 2**64 - 1], dtype=pl.UInt64)
    return KnownGood("lint", "github-actions", "b1", templates, whole=True, files=1, lines=2, created_at=NOW)


def write_run(
    warehouse: Warehouse, *, started_at: datetime = NOW, findings: Sequence[Finding] | None = None
) -> str:
    """Write a small whole run, and return its id."""
    run_id = new_run_id()
    warehouse.write_files(run_id, [build_file()])
    warehouse.write_chunks(run_id, [build_chunk()])
    warehouse.write_findings(run_id, [build_finding(at=started_at)] if findings is None else findings)
    warehouse.write_calls(run_id, [build_call(at=started_at)])
    warehouse.write_metrics(run_id, [("seconds", 1.5, "s")])
    warehouse.write_known_good(run_id, [build_known_good()])
    warehouse.write_run(build_run(run_id, project=warehouse.project, started_at=started_at))
    return run_id


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse.open(str(tmp_path / "warehouse"))


def list_files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


# Opening


def test_new_warehouse_is_private_and_complete(tmp_path: Path) -> None:
    """A new folder is closed to other users, and has all columns and the catalogue from the start."""
    warehouse = Warehouse.open(str(tmp_path / "a" / "b"), project="web")
    root = Path(warehouse.location)
    assert root == tmp_path / "a" / "b"
    assert root.stat().st_mode & 0o077 == 0
    assert {path.name for path in root.iterdir()} == {*TABLES, "bifrost.duckdb", "warehouse.json"}
    assert warehouse.project == "web"


@pytest.mark.parametrize("location", ["s3://", "S3:///logs", "GS://bucket", "file:///tmp/x"])
def test_url_that_is_no_bucket_is_refused(location: str) -> None:
    """A URL isn't taken for a folder's name."""
    with pytest.raises(WarehouseError, match="a folder or an S3 prefix"):
        Warehouse.open(location)


def test_wrong_places_are_told_apart(tmp_path: Path) -> None:
    """A file, a folder of something else and a missing warehouse each get a message of their own."""
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(WarehouseError, match="is a file"):
        Warehouse.open(str(file))
    with pytest.raises(WarehouseError, match="can't be used"):
        Warehouse.open(str(file / "below"))
    with pytest.raises(WarehouseError, match=r"isn't a bifrost-flow warehouse.*'file'"):
        Warehouse.open(str(tmp_path))
    with pytest.raises(WarehouseError, match="no warehouse at"):
        Warehouse.open(str(tmp_path / "none"), create=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions don't bind root")
def test_folder_that_cannot_be_written_is_told_and_still_read(warehouse: Warehouse) -> None:
    """Without write permission a run is refused at the start; reading goes on."""
    write_run(warehouse)
    root = Path(warehouse.location)
    root.chmod(0o500)
    try:
        with pytest.raises(WarehouseError, match="can't be written"):
            Warehouse.open(warehouse.location)
        assert len(Warehouse.open(warehouse.location, create=False).query("FROM runs").rows) == 1
    finally:
        root.chmod(0o700)


def test_folder_that_a_crash_left_half_made_is_finished(warehouse: Warehouse) -> None:
    """A creation that was cut short is no obstacle, nor what MLflow put there meanwhile."""
    root = Path(warehouse.location)
    for path in [root / "warehouse.json", root / "runs" / "_schema.parquet", root / "bifrost.duckdb"]:
        path.unlink()
    (root / "mlflow.db").touch()
    assert Warehouse.open(warehouse.location).query("FROM runs").rows == []


def test_warehouse_of_a_newer_version_is_left_alone(warehouse: Warehouse) -> None:
    """An older program doesn't write into tables that it doesn't know."""
    marker = Path(warehouse.location) / "warehouse.json"
    marker.write_text('{"schema_version": 99}')
    with pytest.raises(WarehouseError, match=r"schema version 99.*Upgrade"):
        Warehouse.open(warehouse.location)


@pytest.mark.parametrize("name", ["it's", "a[1]*?", "{b}", "한글 폴더", "-dash", 'quo"te; DROP', "per%cent"])
def test_any_folder_name_works(tmp_path: Path, name: str) -> None:
    """Quotes, patterns and other scripts in the path reach neither SQL nor globs."""
    warehouse = Warehouse.open(str(tmp_path / name))
    run_id = write_run(warehouse)
    assert warehouse.query("SELECT run_id FROM findings").rows == [(run_id,)]
    with duckdb.connect(str(tmp_path / name / "bifrost.duckdb"), read_only=True) as client:
        assert client.execute("SELECT run_id FROM findings").fetchall() == [(run_id,)]


@pytest.mark.parametrize("project", ["web", "팀-가", "../../etc", "a/b", ".", "project=x", "42"])
def test_any_project_name_stays_inside(tmp_path: Path, project: str) -> None:
    """A project's name makes one folder in each table, and comes back as text."""
    warehouse = Warehouse.open(str(tmp_path / "w"), project=project)
    write_run(warehouse)
    assert warehouse.query("SELECT project FROM chunks").rows == [(project,)]
    files = [path for path in tmp_path.rglob("*.parquet") if path.name != "_schema.parquet"]
    assert {len(path.relative_to(tmp_path / "w").parts) for path in files} == {3}
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


# Writing and reading


def test_run_comes_back_as_it_was_written(warehouse: Warehouse) -> None:
    """Every field of run, files and findings survives the tables."""
    run_id = write_run(warehouse)
    report = warehouse.read_report(run_id, language="ko")
    assert report.run == build_run(run_id)
    assert report.findings == (build_finding(),)
    assert report.files == (build_file(),)
    assert (report.warehouse, report.language) == (warehouse.location, "ko")


@pytest.mark.parametrize(
    ("table", "record"),
    [
        ("runs", Run),
        ("files", LogFile),
        ("chunks", Chunk),
        ("findings", Finding),
        ("llm_calls", Call),
        ("cache", CachedAnswer),
    ],
)
def test_table_has_a_column_for_each_field(
    warehouse: Warehouse, table: str, record: "type[DataclassInstance]"
) -> None:
    """A field that is added to a record can't be forgotten in its table."""
    renamed = {"spans": "lines"}
    columns = set(warehouse.query(f"FROM {table}").columns)
    assert {renamed.get(field.name, field.name) for field in fields(record)} <= columns
    assert table == "cache" or {"project", "run_id"} <= columns


def test_nested_columns_keep_their_shape(warehouse: Warehouse) -> None:
    """Spans are lists of first and last line, evidence is a list of path, line and quote."""
    write_run(warehouse)
    assert warehouse.query("SELECT lines, line_start, line_end, anchor, text FROM chunks").rows == [
        ([[3, 5], [9, 9]], 3, 9, 4, "a\nb\nc\n한글")
    ]
    assert warehouse.query("SELECT evidence[1].line, evidence[2].quote FROM findings").rows == [(4, "")]


def test_times_are_utc_microseconds(warehouse: Warehouse) -> None:
    """A time in another zone is stored as the same moment in UTC, to the microsecond."""
    run_id = write_run(warehouse)
    path = next(Path(warehouse.location).glob(f"runs/*/{run_id}.parquet"))
    assert pl.read_parquet_schema(path)["started_at"] == pl.Datetime("us", "UTC")
    assert warehouse.query("SELECT started_at FROM runs").rows == [(NOW,)]
    assert warehouse.query("SELECT started_at::VARCHAR FROM runs").rows == [
        ("2026-11-01 02:00:00.123456+00",)
    ]


def test_no_rows_are_rows_too(warehouse: Warehouse) -> None:
    """A run without findings, files, chunks and calls is written and read like any other."""
    run_id = new_run_id()
    warehouse.write_files(run_id, [])
    warehouse.write_chunks(run_id, [])
    warehouse.write_findings(run_id, [])
    warehouse.write_calls(run_id, [])
    warehouse.write_metrics(run_id, [])
    warehouse.write_answers([])
    warehouse.write_run(build_run(run_id))
    assert warehouse.query("SELECT count(*) FROM runs").rows == [(1,)]
    assert warehouse.read_report(run_id, language="en").findings == ()


def test_text_that_is_not_utf8_is_stored_visibly(warehouse: Warehouse) -> None:
    """A file name with a byte that is no text doesn't lose the run; NUL stays what it is."""
    run_id = new_run_id()
    path = os.fsdecode(b"caf\xe9.log")
    warehouse.write_files(run_id, [build_file(path)])
    warehouse.write_chunks(run_id, [replace(build_chunk(path=path), text="a\0b")])
    warehouse.write_findings(run_id, [replace(build_finding(), evidence=(Evidence(path, 1, path),))])
    warehouse.write_run(build_run(run_id))
    assert warehouse.query("SELECT path FROM files").rows == [("caf\\udce9.log",)]
    assert warehouse.query("SELECT text FROM chunks").rows == [("a\0b",)]
    assert warehouse.query("SELECT evidence[1].quote FROM findings").rows == [("caf\\udce9.log",)]


def test_run_is_seen_whole_or_not_at_all(warehouse: Warehouse) -> None:
    """Before the row in `runs`, views hide what is written; calls show at once, since they were paid for."""
    run_id = new_run_id()
    warehouse.write_files(run_id, [build_file()])
    warehouse.write_chunks(run_id, [build_chunk()])
    warehouse.write_findings(run_id, [build_finding()])
    warehouse.write_metrics(run_id, [("seconds", 1.5, "s")])
    warehouse.write_calls(run_id, [build_call()])
    for table in ("files", "chunks", "findings", "metrics"):
        assert warehouse.query(f"FROM {table}").rows == [], table
    assert warehouse.query("SELECT calls FROM cost_per_model_day").rows == [(1,)]
    assert warehouse.read_history(before=NOW) == {}
    warehouse.write_run(build_run(run_id))
    for table in ("files", "chunks", "findings", "metrics"):
        assert len(warehouse.query(f"FROM {table}").rows) == 1, table


def test_writing_a_run_again_replaces_it(warehouse: Warehouse) -> None:
    """A retried write doesn't double its rows."""
    run_id = write_run(warehouse)
    warehouse.write_findings(run_id, [build_finding(), build_finding("f1:b")])
    warehouse.write_run(build_run(run_id))
    assert warehouse.query("SELECT count(*) FROM findings").rows == [(2,)]
    assert warehouse.query("SELECT count(*) FROM runs").rows == [(1,)]


def test_run_of_another_project_is_refused(warehouse: Warehouse) -> None:
    """A mix-up of projects is an error, not a row in the wrong place."""
    with pytest.raises(WarehouseError, match=r"'web'.*'default'"):
        warehouse.write_run(build_run(new_run_id(), project="web"))


def test_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    """A write that breaks off neither shows half a file nor leaves its temporary one."""

    def break_off(_file: object) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fill_file(tmp_path / "table" / "x.parquet", break_off)
    assert list((tmp_path / "table").iterdir()) == []


def test_temporary_files_match_no_pattern_of_readers(warehouse: Warehouse) -> None:
    """Half a file that a killed run left is never read."""
    run_id = write_run(warehouse)
    folder = Path(warehouse.location) / "runs" / "project=default"

    def look(file: object) -> None:
        (temporary,) = set(folder.iterdir()) - {folder / f"{run_id}.parquet"}
        temporary.write_bytes(b"PAR1 half a file")
        assert len(warehouse.query("FROM runs").rows) == 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill_file(folder / "other.parquet", look)


# Cache


def test_answers_are_found_by_key_in_any_project(warehouse: Warehouse) -> None:
    """The cache belongs to all projects; of two answers for one key the newest counts."""
    warehouse.write_answers([build_answer("k1", "old"), build_answer("k2")])
    Warehouse.open(warehouse.location, project="web").write_answers(
        [build_answer("k1", "new", at=NOW + timedelta(seconds=1))]
    )
    found = find_answers(warehouse, ["k1", "k2", "k3", "k1"])
    assert found == {"k1": build_answer("k1", "new", at=NOW + timedelta(seconds=1)), "k2": build_answer("k2")}
    assert find_answers(warehouse, []) == {}


def test_thousands_of_keys_are_one_query(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of keys doesn't change the number of queries."""
    warehouse.write_answers([build_answer(f"k{number}", str(number)) for number in range(3000)])
    asked: list[str] = []
    original = Warehouse.query

    def count(self: Warehouse, sql: str, parameters: dict[str, object] | None = None) -> object:
        asked.append(sql)
        return original(self, sql, parameters)

    monkeypatch.setattr(Warehouse, "query", count)
    found = find_answers(warehouse, [f"k{number}" for number in range(0, 6000, 2)])
    assert {key: answer.response for key, answer in found.items()} == {
        f"k{number}": str(number) for number in range(0, 3000, 2)
    }
    assert len(asked) == 1


def build_sighting(key: str, fingerprint: str, *, identity: str = "i1:a", second: int = 0) -> CachedAnswer:
    at = NOW + timedelta(seconds=second)
    return replace(build_answer(key, at=at), identity=identity, fingerprint=fingerprint, sighting="{}")


def test_candidates_are_the_answer_itself_or_others_to_the_failure(warehouse: Warehouse) -> None:
    """An answer under the key comes alone, the newest; without one come five of that identity and
    fingerprint, the newest first. All in one query."""
    warehouse.write_answers([build_sighting(f"k{second}", "f1:a", second=second) for second in range(7)])
    warehouse.write_answers([build_sighting("other", "f1:a", identity="i1:b", second=9)])
    warehouse.write_answers([build_sighting("k1", "f1:a", second=8), build_sighting("k8", "f1:b")])
    found = warehouse.find_candidates(
        "i1:a", [("k1", "f1:a"), ("new", "f1:a"), ("k1", "f1:x"), ("y", "f1:y")]
    )
    assert {pair: [answer.cache_key for answer in answers] for pair, answers in found.items()} == {
        ("k1", "f1:a"): ["k1"],
        ("k1", "f1:x"): ["k1"],
        ("new", "f1:a"): ["k1", "k6", "k5", "k4", "k3"],
    }
    assert found["k1", "f1:a"] == [build_sighting("k1", "f1:a", second=8)]
    assert warehouse.find_candidates("", [("new", "f1:a")]) == {}


def test_answers_of_an_older_version_are_found_by_key(tmp_path: Path) -> None:
    """Files without the newer columns are read like any others; their answers serve their own key only."""
    warehouse = Warehouse.open(str(tmp_path / "old"))
    warehouse.write_answers([build_answer("k1")])
    (path,) = (tmp_path / "old" / "cache").glob("[!_]*.parquet")
    pl.read_parquet(path).drop("identity", "fingerprint", "sighting").write_parquet(path)
    assert find_answers(warehouse, ["k1"]) == {"k1": build_answer("k1")}
    found = warehouse.find_candidates("i1:a", [("k1", "f1:a"), ("k2", "")])
    assert found == {("k1", "f1:a"): [build_answer("k1")]}


# History


def run_night(warehouse: Warehouse, night: int, found: dict[str, list[str]]) -> dict[str, str]:
    """Write a night's run of the jobs in `found`, with the fingerprints in their logs."""
    run_id, now = new_run_id(), NOW + timedelta(days=night)
    paths = {job: f"logs/{now:%Y-%m-%d}/{job}.log" for job in found}
    files = [build_file(path, job=job) for job, path in paths.items()]
    seen: dict[str, list[str]] = {}
    for job, fingerprints in found.items():
        for fingerprint in fingerprints:
            seen.setdefault(fingerprint, []).append(paths[job])
    findings = assign_statuses(
        [build_finding(fingerprint, at=now) for fingerprint in seen],
        seen=seen,
        files=files,
        history=warehouse.read_history(before=now),
    )
    warehouse.write_files(run_id, files)
    warehouse.write_chunks(
        run_id, [build_chunk(name, path) for name, where in seen.items() for path in where]
    )
    warehouse.write_findings(run_id, findings)
    warehouse.write_run(build_run(run_id, project=warehouse.project, started_at=now))
    return {finding.fingerprint: finding.status for finding in findings}


def test_a_failure_through_its_nights(warehouse: Warehouse) -> None:
    """New, recurring, untold while its job doesn't run, resolved once, regressed; its first time is kept."""
    a = "f1:a"
    assert run_night(warehouse, 0, {"lint": [a], "test": [a]}) == {a: "new"}
    assert run_night(warehouse, 1, {"lint": [a], "test": [a]}) == {a: "recurring"}
    assert run_night(warehouse, 2, {"lint": []}) == {}, "test did not run"
    assert run_night(warehouse, 3, {"docs": []}) == {}
    assert run_night(warehouse, 4, {"test": []}) == {a: "resolved"}, "lint was clean two nights ago"
    assert run_night(warehouse, 5, {"lint": [], "test": []}) == {}, "told once"
    assert run_night(warehouse, 6, {"test": [a]}) == {a: "regressed"}
    assert run_night(warehouse, 7, {"lint": []}) == {}, "only test has it now"
    assert run_night(warehouse, 8, {"test": []}) == {a: "resolved"}
    seen = warehouse.query("SELECT DISTINCT first_seen FROM findings").rows
    assert seen == [(NOW,)]
    past = warehouse.read_history(before=NOW + timedelta(days=9))[a]
    assert (past.latest, past.locations, past.last_seen) == (None, frozenset(), NOW + timedelta(days=6))


def test_failure_by_older_rules_stays_open_while_it_may_have_another_name(warehouse: Warehouse) -> None:
    """A log that shows failures by newer rules, none of which is known to be the old one, has not lost that;
    once the log is clean it is resolved with them, even if other nights lie between."""
    assert run_night(warehouse, 0, {"lint": ["f1:a"]}) == {"f1:a": "new"}
    assert run_night(warehouse, 1, {"lint": ["f2:x"]}) == {"f2:x": "new"}
    assert run_night(warehouse, 2, {"docs": []}) == {}
    assert run_night(warehouse, 3, {"lint": ["f2:y"]}) == {"f2:y": "new", "f2:x": "resolved"}
    assert run_night(warehouse, 4, {"lint": []}) == {"f1:a": "resolved", "f2:y": "resolved"}
    assert run_night(warehouse, 5, {"lint": []}) == {}


def test_what_a_passing_job_says_is_no_place_of_a_failure(warehouse: Warehouse) -> None:
    """A job that passed may repeat a failure's words; that it is still there is not known from that."""
    assert run_night(warehouse, 0, {"lint": ["f1:a"], "test": ["f1:a"]}) == {"f1:a": "new"}
    run_id = new_run_id()
    file = replace(build_file("logs/2026-11-02/lint.log"), outcome="passed")
    warehouse.write_files(run_id, [file])
    warehouse.write_chunks(run_id, [build_chunk("f1:a", file.path)])
    warehouse.write_findings(run_id, [])
    warehouse.write_run(build_run(run_id, started_at=NOW + timedelta(days=1)))
    assert run_night(warehouse, 2, {"test": []}) == {"f1:a": "resolved"}


def test_failure_that_is_a_detail_of_another_is_still_there(warehouse: Warehouse) -> None:
    """A log of a job that failed still shows it, even as a warning far down; it is not gone from there."""
    assert run_night(warehouse, 0, {"lint": ["f1:a"], "test": ["f1:a"]}) == {"f1:a": "new"}
    run_id = new_run_id()
    file = build_file("logs/2026-11-02/lint.log")
    warehouse.write_files(run_id, [file])
    detail = replace(build_chunk("f1:a", file.path), rank=3, severity="warning", score=2.0)
    warehouse.write_chunks(run_id, [detail])
    warehouse.write_findings(run_id, [])
    warehouse.write_run(build_run(run_id, started_at=NOW + timedelta(days=1)))
    assert run_night(warehouse, 2, {"test": []}) == {}
    assert run_night(warehouse, 3, {"lint": []}) == {"f1:a": "resolved"}


def test_warehouse_of_an_older_version_is_compared_without_migrating_it(warehouse: Warehouse) -> None:
    """Its runs and findings lack newer columns, and a look at them or a dry run must not add these."""
    first, second = write_run(warehouse), write_run(warehouse, started_at=NOW + timedelta(days=1))
    root = Path(warehouse.location)
    newer = {"runs": ["kind", "filtered"], "files": ["unshown"], "findings": ["formerly"]}
    for table, columns in newer.items():
        for path in (root / table).rglob("*.parquet"):
            pl.read_parquet(path, hive_partitioning=False).drop(columns).write_parquet(path)
    marker = json.loads((root / "warehouse.json").read_text())
    (root / "warehouse.json").write_text(json.dumps(marker | {"schema_version": 3}))
    old = Warehouse.open(str(root), create=False)
    assert old.read_history(before=NOW + timedelta(days=2))["f1:a"].locations == {"logs/lint.log|lint"}
    pair = find_pair(old, "latest", None)
    assert (pair.older, pair.newer) == (first, second)
    difference = load_difference(old, pair, language="en")
    assert [(each.change, each.before, each.after) for each in difference.changes] == [("recurring", 2, 2)]
    assert (difference.newer.kind, difference.newer.filtered) == ("audit", False)


def test_projects_have_histories_of_their_own(warehouse: Warehouse) -> None:
    """What one project knows is new to another."""
    other = Warehouse.open(warehouse.location, project="web")
    assert run_night(warehouse, 0, {"lint": ["f1:a"]}) == {"f1:a": "new"}
    assert run_night(other, 1, {"lint": ["f1:a"]}) == {"f1:a": "new"}
    assert run_night(other, 2, {"lint": []}) == {"f1:a": "resolved"}
    assert run_night(warehouse, 3, {"lint": ["f1:a"]}) == {"f1:a": "recurring"}


# Views and migrations


@pytest.mark.parametrize("view", read_views())
def test_each_view_works_without_rows(warehouse: Warehouse, view: str) -> None:
    """On an empty warehouse every table and view answers with no rows, here and in any client."""
    assert warehouse.query(f"FROM {view}").rows == []
    with duckdb.connect(str(Path(warehouse.location) / "bifrost.duckdb"), read_only=True) as client:
        assert client.execute(f"FROM {view}").fetchall() == []


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        (path.stem, name)
        for path in sorted((ROOT / "sql" / "queries").glob("*.sql"))
        for name in read_queries(path.stem)
    ],
)
def test_each_named_query_works_without_rows(warehouse: Warehouse, topic: str, name: str) -> None:
    """Every named query binds against the schema, and says its grain."""
    script = read_queries(topic)[name]
    assert "-- Grain:" in script
    values: dict[str, object] = {
        "keys": ["k"],
        "fingerprints": ["f1:a"],
        "locations": ["a.log|"],
        "kinds": ["audit"],
        "run_ids": ["r"],
        "since": NOW,
        "min_score": 30.0,
        "limit": 1,
        "runs": 1,
        "most": 1,
    }
    texts = dict.fromkeys(("fingerprint", "category", "title", "root_cause", "template"), "x")
    values |= {"wanted": [texts], "before": NOW, "common_words": ["x"], "least": 0.5}
    values |= {"rarest": 1, "most_a_word": 1, "most_compared": 1, "since": None}
    values |= {"bounds": [1.0], "successes": ["completed"], "run_ids": ["x"]}
    values |= {"paths": ["x"], "versions": ["x"], "window": 30}
    words = set(re.findall(r"\$(\w+)", re.sub(r"--.*", "", script)))
    found = warehouse.query_named(topic, name, {word: values.get(word, "x") for word in words})
    # A sum without GROUP BY is a row of zeros.
    assert [row for row in found.rows if any(row)] == []


def test_views_say_what_they_should(warehouse: Warehouse) -> None:
    """Latest run, news, trend, cost, noise and slowness come out right over three nights of two projects."""
    run_night(warehouse, 0, {"lint": ["f1:a"]})
    run_night(warehouse, 1, {"lint": ["f1:a", "f1:b"]})
    other = Warehouse.open(warehouse.location, project="web")
    run_night(other, 1, {"lint": []})
    latest = warehouse.query("SELECT project, started_at FROM latest_run").rows
    assert latest == [("default", NOW + timedelta(days=1)), ("web", NOW + timedelta(days=1))]
    assert warehouse.query("SELECT project, fingerprint FROM new_findings").rows == [("default", "f1:b")]
    trend = "SELECT project, day::VARCHAR, runs, findings, new, recurring FROM trend_per_day"
    assert warehouse.query(trend).rows == [
        ("default", "2026-11-01", 1, 1, 1, 0),
        ("default", "2026-11-02", 1, 2, 1, 1),
        ("web", "2026-11-02", 1, 0, 0, 0),
    ]
    noisy = warehouse.query("SELECT fingerprint, runs, occurrences, status FROM noisiest_fingerprints").rows
    assert noisy == [("f1:a", 2, 4, "recurring"), ("f1:b", 1, 2, "new")]
    warehouse.write_calls(
        new_run_id(), [build_call(model="a"), build_call(model="b", status="failed"), build_call(model="b")]
    )
    costs = warehouse.query("SELECT model, calls, failed, tokens_in, cost_usd FROM cost_per_model_day").rows
    assert costs == [("b", 2, 1, 200, 1.0), ("a", 1, 0, 100, 0.5)]
    assert len(warehouse.query("FROM slowest_calls").rows) == 3


def test_days_are_utc_in_every_client(warehouse: Warehouse) -> None:
    """A client in another time zone counts a run on the same day."""
    write_run(warehouse, started_at=datetime(2026, 11, 1, 23, 30, tzinfo=UTC))
    with duckdb.connect(str(Path(warehouse.location) / "bifrost.duckdb"), read_only=True) as client:
        client.execute("SET TimeZone = 'Asia/Seoul'")
        assert client.execute("SELECT day::VARCHAR FROM trend_per_day").fetchall() == [("2026-11-01",)]


def test_dry_run_is_no_latest_run(warehouse: Warehouse) -> None:
    """A dry run found nothing because it looked for nothing."""
    run_id = write_run(warehouse)
    warehouse.write_run(build_run(new_run_id(), started_at=NOW + timedelta(days=1), status="dry_run"))
    assert warehouse.query("SELECT run_id FROM latest_run").rows == [(run_id,)]


def test_migrations_run_from_empty_and_record_their_versions() -> None:
    """All scripts run in order, and each leaves its row."""
    with duckdb.connect() as connection:
        run_migrations(connection)
        versions = connection.execute("SELECT version FROM schema_versions ORDER BY version").fetchall()
        tables = {row[0] for row in connection.execute("SHOW TABLES").fetchall()}
    assert versions == [(version,) for version, _ in read_migrations()]
    assert versions[0] == (1,)
    assert tables == {*TABLES, "schema_versions"}


def test_files_of_an_older_schema_are_read_with_the_new_columns(warehouse: Warehouse) -> None:
    """A file that was written before a column existed gives NULL there."""
    run_id = write_run(warehouse)
    path = next(Path(warehouse.location).glob(f"files/*/{run_id}.parquet"))
    old = pl.read_parquet(path).drop("location", "ci_system")
    old.write_parquet(path)
    assert warehouse.query("SELECT path, location, ci_system FROM files").rows == [
        ("logs/lint.log", None, None)
    ]
    assert warehouse.read_history(before=NOW)["f1:a"].locations is None


def test_catalogue_follows_when_the_warehouse_is_moved(warehouse: Warehouse, tmp_path: Path) -> None:
    """After a move, any look at it makes the views of `bifrost.duckdb` anew."""
    run_id = write_run(warehouse)
    moved = tmp_path / "elsewhere"
    Path(warehouse.location).rename(moved)
    assert Warehouse.open(str(moved), create=False).query("SELECT run_id FROM runs").rows == [(run_id,)]
    with duckdb.connect(str(moved / "bifrost.duckdb"), read_only=True) as client:
        assert client.execute("SELECT run_id FROM runs").fetchall() == [(run_id,)]


def test_any_client_finds_a_warehouse_that_was_moved(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of ours runs after the move: the views look beside the database, however its path is given."""
    run_id = write_run(warehouse)
    moved = tmp_path / "else where" / "it's [1]*"
    moved.parent.mkdir()
    Path(warehouse.location).rename(moved)
    ask = "SELECT run_id FROM findings"
    for cwd, path in [
        (Path("/"), str(moved / "bifrost.duckdb")),
        (moved, "bifrost.duckdb"),
        (moved.parent, f"./{moved.name}/bifrost.duckdb"),
        (moved / "runs", "../bifrost.duckdb"),
    ]:
        monkeypatch.chdir(cwd)
        with duckdb.connect(path, read_only=True) as client:
            assert client.execute(ask).fetchall() == [(run_id,)], path


def test_attached_database_is_told_where_the_warehouse_is(warehouse: Warehouse, tmp_path: Path) -> None:
    """Attached to another database the views look where they were made, or where the client says."""
    run_id = write_run(warehouse)
    attach = "ATTACH '{}/bifrost.duckdb' AS w (READ_ONLY)"
    with duckdb.connect() as client:
        client.execute(attach.format(warehouse.location))
        assert client.execute("SELECT run_id FROM w.findings").fetchall() == [(run_id,)]
    moved = tmp_path / "moved"
    Path(warehouse.location).rename(moved)
    with duckdb.connect() as client:
        client.execute(attach.format(moved))
        with pytest.raises(duckdb.IOException, match="No files found"):
            client.execute("FROM w.findings")
        client.execute(f"SET VARIABLE bifrost_warehouse = '{moved}'")
        assert client.execute("SELECT run_id FROM w.findings").fetchall() == [(run_id,)]


def test_any_client_can_read_what_columns_mean(warehouse: Warehouse) -> None:
    """Each table, view and column has its comment in the database, each number its unit."""
    with duckdb.connect(str(Path(warehouse.location) / "bifrost.duckdb"), read_only=True) as client:
        views = dict(
            client.execute("SELECT view_name, comment FROM duckdb_views() WHERE NOT internal").fetchall()
        )
        columns = client.execute(
            "SELECT table_name, column_name, data_type, comment FROM duckdb_columns() WHERE NOT internal"
        ).fetchall()
    assert views.keys() == read_views().keys()
    assert all(comment and "Grain: " in comment for comment in views.values())
    assert [column for column in columns if not column[3]] == []
    numbers = [column for column in columns if re.match(r"U?BIGINT|DOUBLE", column[2])]
    assert [column for column in numbers if not column[3].startswith("[")] == []
    assert ("llm_calls", "latency_ms", "DOUBLE", "[ms] until the answer was complete") in columns


def test_damaged_file_is_named(warehouse: Warehouse) -> None:
    """A table's file that is no Parquet is an error of ours that names it, for queries and runs."""
    bad = Path(warehouse.location) / "runs" / "project=default" / "bad.parquet"
    bad.parent.mkdir()
    bad.write_text("not parquet, but long enough to look at its end")
    with pytest.raises(WarehouseError, match=r"bad\.parquet"):
        warehouse.query("FROM runs")
    (Path(warehouse.location) / "bifrost.duckdb").unlink()
    with pytest.raises(WarehouseError, match=r"bad\.parquet"):
        Warehouse.open(warehouse.location).read_history(before=NOW)


def test_reading_does_not_migrate(warehouse: Warehouse) -> None:
    """A warehouse of an older schema is read as it is; only a run brings it forward."""
    run_id = write_run(warehouse)
    root = Path(warehouse.location)
    marker = json.loads((root / "warehouse.json").read_text())
    (root / "warehouse.json").write_text(json.dumps(marker | {"schema_version": 0}))
    (root / "files" / "_schema.parquet").unlink()
    before = list_files(root)
    assert Warehouse.open(str(root), create=False).query("SELECT run_id FROM files").rows == [(run_id,)]
    assert list_files(root) == before
    Warehouse.open(str(root))
    assert json.loads((root / "warehouse.json").read_text()) == marker
    assert (root / "files" / "_schema.parquet").exists()


def test_catalogue_comes_back_when_it_is_deleted(warehouse: Warehouse) -> None:
    """`bifrost.duckdb` holds nothing that isn't elsewhere."""
    run_id = write_run(warehouse)
    catalogue = Path(warehouse.location) / "bifrost.duckdb"
    catalogue.unlink()
    Warehouse.open(warehouse.location)
    with duckdb.connect(str(catalogue), read_only=True) as client:
        assert client.execute("SELECT run_id FROM runs").fetchall() == [(run_id,)]


def test_clients_see_runs_that_came_after_the_catalogue(warehouse: Warehouse) -> None:
    """The views look at the folder when they are asked; no run writes to `bifrost.duckdb`."""
    catalogue = Path(warehouse.location) / "bifrost.duckdb"
    before = catalogue.stat()
    write_run(warehouse)
    Warehouse.open(warehouse.location)
    with duckdb.connect(str(catalogue), read_only=True) as client:
        assert client.execute("SELECT count(*) FROM findings").fetchall() == [(1,)]
    assert (catalogue.stat().st_ino, catalogue.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def hold_for_writing(path: str, ready: Event, done: Event) -> None:
    with duckdb.connect(path):
        ready.set()
        done.wait(240)


def test_client_that_holds_the_catalogue_for_writing_stops_nobody(warehouse: Warehouse) -> None:
    """A client that opened `bifrost.duckdb` read-write has it locked; runs and queries go on."""
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    path = str(Path(warehouse.location) / "bifrost.duckdb")
    holder = context.Process(target=hold_for_writing, args=(path, ready, done))
    holder.start()
    try:
        assert ready.wait(240)
        again = Warehouse.open(warehouse.location)
        write_run(again)
        assert len(again.query("FROM findings").rows) == 1
    finally:
        done.set()
        holder.join(60)


# SQL that only reads


@pytest.mark.parametrize(
    "sql",
    [
        "COPY (SELECT 1) TO '{inside}/x.parquet'",
        "COPY (SELECT 1) TO '{outside}/x.parquet'",
        "WITH c AS (COPY (SELECT 1) TO '{inside}/x.parquet') FROM c",
        "SELECT * FROM (WITH c AS (COPY (SELECT 1) TO '{inside}/x.parquet') FROM c)",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{inside}/x.parquet'",
        "FROM query('WITH c AS (COPY (SELECT 1) TO ''{inside}/x.parquet'') FROM c')",
        "FROM query('FROM json_execute_serialized_sql(''{{}}'')')",
        "FROM system.main.json_execute_serialized_sql('{{}}')",
        "FROM \"JSON_EXECUTE_SERIALIZED_SQL\"('{{}}')",
        "ATTACH '{inside}/x.db' AS x",
        "ATTACH '{outside}/x.db' AS x",
        "EXPORT DATABASE '{inside}/x'",
        "CREATE TABLE x AS SELECT 1",
        "CREATE VIEW runs2 AS SELECT 1",
        "INSERT INTO runs SELECT * FROM runs",
        "DELETE FROM runs",
        "DROP VIEW runs",
        "SET enable_external_access = true",
        "RESET lock_configuration",
        "PRAGMA enable_profiling",
        "FROM enable_logging(storage = 'file', storage_path = '{inside}/log')",
        "INSTALL httpfs",
        "LOAD '{outside}/x.duckdb_extension'",
        "CALL enable_logging()",
        "FROM read_text('{outside}/secret.txt')",
        "FROM '{outside}/secret.txt'",
        "FROM read_csv('{outside}/secret.txt')",
        "FROM read_blob('{inside}/../secret.txt')",
        "FROM glob('{outside}/*')",
        "FROM read_text('/etc/passwd')",
        "FROM read_csv('http://127.0.0.1:9/x.csv')",
        "SELECT 1; SELECT 2",
        "SELECT 1; COPY (SELECT 1) TO '{inside}/x.parquet'",
        "",
        "-- nothing",
        "SELEC 1",
        "FROM no_such_table",
    ],
)
def test_anything_but_reading_the_warehouse_is_refused(
    warehouse: Warehouse, tmp_path: Path, sql: str
) -> None:
    """No statement writes, attaches, configures, or reads outside; nothing on disk changes."""
    write_run(warehouse)
    (tmp_path / "secret.txt").write_text("hidden")
    before = list_files(tmp_path)
    with pytest.raises(WarehouseError) as caught:
        warehouse.query(sql.format(inside=warehouse.location, outside=tmp_path))
    assert str(caught.value)
    assert "hidden" not in str(caught.value)
    assert list_files(tmp_path) == before


def test_copy_inside_serialised_sql_is_refused(warehouse: Warehouse, tmp_path: Path) -> None:
    """DuckDB would run a COPY that is hidden in JSON; this one never gets there."""
    copy = f"WITH c AS (COPY (SELECT 1) TO '{warehouse.location}/x.parquet') FROM c"
    with duckdb.connect() as connection:
        hidden = connection.execute("SELECT json_serialize_sql($sql)", {"sql": copy}).fetchone()
    assert hidden
    before = list_files(tmp_path)
    with pytest.raises(WarehouseError, match="json_execute_serialized_sql"):
        warehouse.query("FROM json_execute_serialized_sql($json)", {"json": hidden[0]})
    assert list_files(tmp_path) == before


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM runs",
        "FROM runs",
        "VALUES (1)",
        "SHOW TABLES",
        "DESCRIBE findings",
        "SUMMARIZE runs",
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 3) FROM n",
        "SELECT 1 UNION ALL SELECT 2",
        'SELECT "runs".run_id FROM "runs"',
        "SELECT 1 -- done",
        "SELECT 1;",
        "SELECT table_name FROM information_schema.tables",
        "SELECT unnest(evidence, recursive := true) FROM findings",
    ],
)
def test_any_way_to_read_works(warehouse: Warehouse, sql: str) -> None:
    """What only reads is allowed, however it is written."""
    write_run(warehouse)
    assert warehouse.query(sql).columns


def test_query_takes_named_parameters(warehouse: Warehouse) -> None:
    """Values go in as parameters, never as text."""
    run_id = write_run(warehouse)
    found = warehouse.query("SELECT run_id AS a, project AS a FROM runs WHERE run_id = $id", {"id": run_id})
    assert found.as_dicts() == [{"a": run_id, "a_1": "default"}]


def test_message_is_that_of_duckdb(warehouse: Warehouse) -> None:
    """A mistake in a query is told in DuckDB's words, with the name that was meant."""
    with pytest.raises(WarehouseError, match=r"findingz(.|\n)*Did you mean \"findings\""):
        warehouse.query("FROM findingz")


# Many at once

RUNS_EACH = 6


def write_runs(location: str, project: str) -> None:
    for _ in range(RUNS_EACH):
        warehouse = Warehouse.open(location, project=project)
        warehouse.write_answers([build_answer(new_run_id())])
        write_run(warehouse)


def read_until(location: str, done: Event) -> None:
    """Read as long as others write; what is seen is always whole."""
    while True:
        last = done.is_set()
        with duckdb.connect(f"{location}/bifrost.duckdb", read_only=True) as client:
            client.execute("FROM trend_per_day").fetchall()
        torn = Warehouse.open(location, create=False).query(
            "SELECT run_id FROM runs WHERE run_id NOT IN (SELECT run_id FROM findings)"
        )
        assert torn.rows == []
        if last:
            return


def test_two_writers_and_readers_at_once(tmp_path: Path) -> None:
    """Two processes make a warehouse and write runs at once, with readers beside them, and all succeed."""
    location = str(tmp_path / "warehouse")
    context = multiprocessing.get_context("spawn")
    done = context.Event()
    writers = [context.Process(target=write_runs, args=(location, name)) for name in ("default", "default")]
    for writer in writers:
        writer.start()
    Warehouse.open(location)
    reader = context.Process(target=read_until, args=(location, done))
    reader.start()
    for writer in writers:
        writer.join(120)
    done.set()
    reader.join(120)
    assert [process.exitcode for process in (*writers, reader)] == [0, 0, 0]
    warehouse = Warehouse.open(location)
    for table in TABLES:
        assert warehouse.query(f"SELECT count(*) FROM {table}").rows == [(2 * RUNS_EACH,)], table
    assert list(tmp_path.rglob("*.tmp")) == []

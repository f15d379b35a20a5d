"""Warehouses as each released version left them: opened, read and gone on with by today's program."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from connectors.warehouse import TABLES, Warehouse
from connectors.warehouse.catalog import read_migrations, read_views
from connectors.warehouse.compaction import compact
from connectors.warehouse.named import read_named_queries
from tests.integration.test_retention import when
from tests.warehouse_rows import NIGHT, make_run_id

RUNS = tuple(make_run_id(when(night)) for night in range(2))
VERSIONS = [version for version, _ in read_migrations()]

# A released migration must not change any more: there are warehouses that it made. What counts are its
# statements; comments may be bettered. A new version adds a line here, and rows below if it has a new table.
RELEASED = {
    1: "d0b3d85a",
    2: "115c73a2",
    3: "57413c01",
    4: "d4031c21",
    5: "049a407c",
}


def strip_comments(script: str) -> str:
    lines = (line.partition("--")[0].split() for line in script.splitlines())
    return "\n".join(" ".join(words) for words in lines if words)


def test_released_migrations_stay_as_they_were() -> None:
    """Only new migrations are added; those that have made warehouses are as they were then."""
    digests = {
        version: hashlib.sha256(strip_comments(script).encode()).hexdigest()[:8]
        for version, script in read_migrations()
    }
    assert digests.items() >= RELEASED.items()
    assert digests.keys() - RELEASED.keys() <= {VERSIONS[-1]}, "released versions without a digest"


# Rows as SQL, since the records of today may have fields that were not there then.
ROWS: dict[int, dict[str, str]] = {
    1: {
        "runs": """SELECT 'web' AS project, $run AS run_id, './logs' AS source, $at AS started_at,
            $at AS finished_at, 'completed' AS status, '{}' AS settings, '{}' AS versions, 1 AS files,
            100 AS bytes, 10 AS lines, 1 AS chunks, 1 AS groups, 1 AS llm_calls, 0 AS cache_hits,
            50 AS tokens_in,
            10 AS tokens_out, 0 AS tokens_saved, 0.25 AS cost_usd, 0 AS errors""",
        "files": """SELECT 'web' AS project, $run AS run_id, 'logs/lint.log' AS path,
            'logs/lint.log|lint' AS location, 9 AS bytes, 2 AS lines, 'utf-8' AS encoding, 'plain' AS format,
            'lint' AS job, $at AS first_ts, 'failed' AS outcome, 'read' AS status""",
        "chunks": """SELECT 'web' AS project, $run AS run_id, '1' AS chunk_id, 'logs/lint.log' AS path,
            1 AS rank,
            3 AS line_start, 5 AS line_end, [[3, 5]] AS lines, 4 AS anchor, 'error' AS severity,
            'crash' AS category, 1.5 AS score, 'f1:a' AS fingerprint, 'boom <n>' AS template, 4 AS tokens,
            'boom 7' AS text, 0 AS redactions""",
        "findings": """SELECT 'web' AS project, $run AS run_id, 'f1:a' AS fingerprint, $status AS status,
            'Boom' AS title, 'crash' AS category, 'error' AS severity, 'cause' AS root_cause,
            'why' AS explanation,
            'do' AS suggestion, 0.75 AS confidence,
            [{'path': 'logs/lint.log', 'line': 4, 'quote': 'boom 7'}] AS evidence, true AS grounded,
            1 AS occurrences, 1 AS files, $first AS first_seen, $at AS last_seen, 'ollama' AS provider,
            'qwen' AS model, 'error_analysis' AS prompt, '1' AS prompt_version, false AS cached,
            'en' AS language""",
        "llm_calls": """SELECT 'web' AS project, $run AS run_id, 'k1' AS cache_key, 'f1:a' AS fingerprint,
            'ollama' AS provider, 'qwen' AS model, 1 AS attempt, 'ok' AS status, 100.0 AS latency_ms,
            50 AS tokens_in, 10 AS tokens_out, 0.25 AS cost_usd, $at AS started_at""",
        "metrics": "SELECT 'web' AS project, $run AS run_id, 'seconds' AS name, 1.5 AS value, 's' AS unit",
        "cache": """SELECT $key AS cache_key, '{"title": "Boom"}' AS response, 'ollama' AS provider,
            'qwen' AS model, '1' AS prompt_version, 50 AS tokens_in, 10 AS tokens_out, $at AS created_at""",
    },
    2: {
        "known_good": """SELECT 'web' AS project, $run AS run_id, 'unit' AS job_key, 'b1' AS rules,
            [1, 18446744073709551615]::UBIGINT[] AS templates, true AS whole, 1 AS files, 2 AS lines,
            $at AS created_at""",
    },
    3: {
        "cache": """SELECT $key AS cache_key, '{"title": "Boom"}' AS response, 'ollama' AS provider,
            'qwen' AS model, '1' AS prompt_version, 50 AS tokens_in, 10 AS tokens_out, $at AS created_at,
            'i1:a' AS identity, 'f1:a' AS fingerprint, '{}' AS sighting""",
    },
}


def make_warehouse(root: Path, version: int) -> dict[str, list[dict[str, Any]]]:
    """Make the warehouse that two nights of a program of schema `version` left; return its rows by table."""
    rows: dict[str, str] = {}
    for number in VERSIONS[: VERSIONS.index(version) + 1]:
        rows |= ROWS.get(number, {})
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for number, script in read_migrations():
            if number <= version:
                connection.execute(script)
        for table, query in rows.items():
            folder = root / table
            folder.mkdir(parents=True)
            connection.table(table).write_parquet(str(folder / "_schema.parquet"), compression="zstd")
            for night, run_id in enumerate(RUNS):
                values = {"run": run_id, "key": f"k{night}", "at": when(night), "first": NIGHT}
                values["status"] = "recurring" if night else "new"
                used = {name: value for name, value in values.items() if f"${name}" in query}
                connection.execute(f"INSERT INTO {table} BY NAME {query}", used)
                place = folder if table == "cache" else folder / "project=web"
                place.mkdir(exist_ok=True)
                last = connection.sql(f"FROM {table} OFFSET {night}")
                last.write_parquet(str(place / f"{run_id}.parquet"), compression="zstd")
        made = {table: connection.sql(f"FROM {table}").pl().to_dicts() for table in rows}
    state = {"product": "bifrost-flow", "schema_version": version, "views": f"sha256:{version}"}
    (root / "warehouse.json").write_text(json.dumps(state))
    with duckdb.connect(str(root / "bifrost.duckdb")) as old:
        old.execute(
            f"CREATE VIEW runs AS FROM read_parquet('{root}/runs/**/*.parquet', union_by_name = true)"
        )
    return made


def look(store: Warehouse, made: dict[str, list[dict[str, Any]]]) -> None:
    """Check that all rows are there as they were, and that everything that asks them gets an answer."""
    for table, rows in made.items():
        columns = ", ".join(rows[0])
        found = store.query(f"SELECT {columns} FROM {table}").as_dicts()
        order = "run_id" if table != "cache" else "created_at"
        assert sorted(found, key=lambda row: row[order]) == sorted(rows, key=lambda row: row[order]), table
    for view in read_views():
        assert store.query(f"FROM {view}").columns
    for query in read_named_queries().values():
        store.query(query.sql, query.bind({}, project="web", since=None))
    past = store.read_history(before=datetime(2100, 1, 1, tzinfo=UTC))["f1:a"]
    assert (past.first_seen, past.last_seen, past.locations) == (NIGHT, when(1), {"logs/lint.log|lint"})
    assert past.latest and past.latest.status == "recurring"
    report = store.read_report(RUNS[1], language="en")
    assert [file.path for file in report.files] == ["logs/lint.log"]
    assert report.findings[0].evidence[0].quote == "boom 7"
    (answers,) = store.find_candidates("i1:a", [("k1", "f1:a")]).values()
    assert [answer.response for answer in answers] == ['{"title": "Boom"}']
    known = store.read_known_good(["unit"], rules="b1", runs=5, most=10)
    assert [len(templates) for _, templates, _ in known] == ([2] if "known_good" in made else [])


@pytest.mark.parametrize("version", VERSIONS)
def test_an_old_warehouse_is_read_without_being_changed(tmp_path: Path, version: int) -> None:
    """Whoever only looks at a warehouse of an older version sees everything, newer tables and columns empty;
    its program can go on with it."""
    made = make_warehouse(tmp_path / "w", version)
    before = {path: path.read_bytes() for path in (tmp_path / "w").rglob("*") if path.is_file()}
    look(Warehouse.open(str(tmp_path / "w"), project="web", create=False), made)
    if version != VERSIONS[-1]:
        assert {path: path.read_bytes() for path in (tmp_path / "w").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("version", VERSIONS)
def test_an_old_warehouse_is_carried_forward(tmp_path: Path, version: int) -> None:
    """A run brings it up to date: no row is lost, also when its files are merged, and any client sees all."""
    made = make_warehouse(tmp_path / "w", version)
    store = Warehouse.open(str(tmp_path / "w"), project="web")
    look(store, made)
    compact(store.location, grace_s=0)
    look(store, made)
    assert json.loads((tmp_path / "w" / "warehouse.json").read_text())["schema_version"] == VERSIONS[-1]
    with duckdb.connect(str(tmp_path / "w" / "bifrost.duckdb"), read_only=True) as client:
        for table in TABLES:
            count = client.execute(f"SELECT count(*) FROM {table}").fetchone()
            assert count == (len(made.get(table, ())),), table
    packs = (tmp_path / "w" / "cache").glob("pack-*.parquet")
    assert {"identity", "fingerprint", "sighting"} <= set(pl.read_parquet_schema(next(packs)))

"""JSON, JSON Lines, CSV and Parquet carry the warehouse's columns, exact and harmless."""

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import duckdb
import polars as pl
import pytest

from bifrost_flow.errors import SettingsError
from bifrost_flow.records import Finding, LogFile, Report, Run
from bifrost_flow.render import FORMATS, find_format, render_file, render_report
from bifrost_flow.render.defuse import make_visible
from connectors.warehouse import Warehouse


def read_csv(report: Report) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(render_report(report, "csv"), newline=""), strict=True))


def test_json_has_the_warehouse_columns(report: Report) -> None:
    """Run, findings, files and problems are one object; names and times are those of the tables."""
    body = json.loads(render_report(report, "json"))
    assert set(body["run"]) == {field.name for field in fields(Run)}
    assert body["run"]["started_at"] == "2026-11-23T02:14:09.482913Z"
    assert body["run"]["versions"] == {"engine": "0.1.0", "schema": 1}
    assert set(body["findings"][0]) == {"run_id", "similar"} | {field.name for field in fields(Finding)}
    assert body["findings"][0]["evidence"][1] == {
        "path": "ci/build-1184/test.log",
        "line": 20743,
        "quote": "thread 'constant_pool::unused_values' panicked at tests/constant_pool.rs:88:5:",
    }
    assert set(body["files"][0]) == {"run_id"} | {field.name for field in fields(LogFile)}
    assert body["problems"][1]["stage"] == "analyse"
    assert body["findings"][4]["title"].startswith("링커가")


def test_json_tells_what_new_findings_are_like(with_similar: Callable[[str], Report]) -> None:
    """Each finding has a list of earlier ones, empty where there are none."""
    findings = json.loads(render_report(with_similar("Pin left-pad"), "json"))["findings"]
    (like,) = [finding["similar"] for finding in findings if finding["similar"]]
    assert like == [
        {
            "fingerprint": "f1:past",
            "status": "resolved",
            "title": "Pin left-pad",
            "suggestion": "Pin left-pad",
            "last_seen": "2026-11-20T02:14:09.482913Z",
            "likeness": 0.5,
        }
    ]


def test_json_is_exact_and_safe_to_print(
    build_report: Callable[[list[str]], Report], hostile_strings: list[str]
) -> None:
    """Hostile text comes back letter by letter, and the file itself holds no control or direction mark."""
    text = render_report(build_report([*hostile_strings, "caf\udce9"]), "json")
    text.encode()
    assert [finding["title"] for finding in json.loads(text)["findings"]] == [*hostile_strings, "caf\udce9"]
    assert not re.search(
        r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]", text
    )


def test_jsonl_has_a_line_a_finding(
    report: Report,
    clean: Report,
    build_report: Callable[[list[str]], Report],
    hostile_strings: list[str],
) -> None:
    """Each line is one finding as JSON has it, whatever line ends a log holds; no finding is no line."""
    lines = render_report(report, "jsonl").split("\n")
    assert lines.pop() == ""
    assert [json.loads(line) for line in lines] == json.loads(render_report(report, "json"))["findings"]
    assert render_report(clean, "jsonl") == ""
    hostile = render_report(build_report(hostile_strings), "jsonl")
    assert [json.loads(line)["title"] for line in hostile.splitlines()] == hostile_strings


def test_parquet_has_the_columns_of_the_table(report: Report, clean: Report, tmp_path: Path) -> None:
    """DuckDB and Polars read what the table `findings` would hold, with its columns, types and order."""
    path = tmp_path / "findings.parquet"
    path.write_bytes(render_file(report, "parquet"))
    root = tmp_path / "tables"
    warehouse = Warehouse.open(str(root), project=report.run.project)
    warehouse.write_findings(report.run.run_id, report.findings)
    warehouse.write_run(report.run)
    with duckdb.connect(str(root / "bifrost.duckdb"), read_only=True) as connection:
        exported = connection.sql(f"FROM '{path}' ORDER BY fingerprint")
        stored = connection.sql("FROM findings ORDER BY fingerprint")
        assert list(zip(exported.columns, exported.types, strict=True)) == list(
            zip(stored.columns, stored.types, strict=True)
        )
        assert exported.fetchall() == stored.fetchall()
    frame = pl.read_parquet(path)
    assert frame["title"].to_list() == [finding.title for finding in report.findings]
    assert frame["first_seen"].to_list() == [finding.first_seen for finding in report.findings]
    assert frame["evidence"][1][0] == {
        "path": "ci/build-1184/install-node-20.log",
        "line": 88,
        "quote": "npm error code ETARGET",
    }
    path.write_bytes(render_file(clean, "parquet"))
    assert pl.read_parquet(path).schema == frame.schema and pl.read_parquet(path).height == 0


def test_parquet_takes_any_text(
    build_report: Callable[[list[str]], Report], hostile_strings: list[str]
) -> None:
    """Hostile text comes back letter by letter; bytes that were no text are spelled out."""
    frame = pl.read_parquet(io.BytesIO(render_file(build_report([*hostile_strings, "caf\udce9"]), "parquet")))
    assert frame["title"].to_list() == [*hostile_strings, "caf\\udce9"]


def test_csv_has_a_row_a_finding(report: Report) -> None:
    """Each finding is a row with its evidence as `path:line: quote`, and numbers stay numbers."""
    rows = read_csv(report)
    assert list(rows[0]) == ["run_id", *(field.name for field in fields(Finding))]
    assert [row["status"] for row in rows] == [finding.status for finding in report.findings]
    assert (
        rows[1]["evidence"].splitlines()[0] == "ci/build-1184/install-node-20.log:88: npm error code ETARGET"
    )
    assert (rows[0]["confidence"], rows[0]["cached"], rows[1]["occurrences"]) == ("0.86", "false", "12")
    assert rows[2]["first_seen"] == "2026-10-02T03:10:00Z"
    assert "\r\n" in render_report(report, "csv")


def test_csv_cells_are_no_formulas(
    build_report: Callable[[list[str]], Report], hostile_strings: list[str]
) -> None:
    """No cell starts with a sign that a spreadsheet computes, and nothing else is changed."""
    rows = read_csv(build_report(hostile_strings))
    assert len(rows) == len(hostile_strings)
    for row, text in zip(rows, hostile_strings, strict=True):
        assert row["title"] in (make_visible(text), f"'{make_visible(text)}")
        for name, cell in row.items():
            assert not re.match(r"\s*[=+\-@＝＋－＠]|[\t\r\n]", cell), (name, cell)
    assert [row["title"] for row in rows if row["title"].startswith("'")] == [
        f"'{text}" for text in map(make_visible, hostile_strings) if re.match(r"\s*[=+\-@＝]", text)
    ]


def test_formats_are_registered(report: Report) -> None:
    """Each format renders under its file name, and an unknown one is refused with the names that exist."""
    names = {name: (known.file_name, known.suffix) for name, known in FORMATS.items()}
    assert names == {
        "markdown": ("report.md", ".md"),
        "html": ("report.html", ".html"),
        "json": ("findings.json", ".json"),
        "jsonl": ("findings.jsonl", ".jsonl"),
        "csv": ("findings.csv", ".csv"),
        "parquet": ("findings.parquet", ".parquet"),
        "sarif": ("findings.sarif", ".sarif"),
        "pr-comment": ("report.pr-comment.md", ".pr-comment.md"),
    }
    assert all(render_file(report, name) for name in FORMATS)
    with pytest.raises(SettingsError, match=r"'pdf'.*markdown, html, json, jsonl, csv"):
        find_format("pdf")


def test_a_newer_table_renders(report: Report) -> None:
    """Words that this version does not know are shown as they are instead of failing."""
    odd = replace(report.findings[0], status="muted", severity="fatal", category="gremlins")
    recurring = replace(odd, status="new")
    for name in FORMATS:
        shown = recurring if name == "pr-comment" else odd
        assert b"gremlins" in render_file(replace(report, findings=(shown,)), name)

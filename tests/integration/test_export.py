"""`export` and `slack` on a real warehouse."""

import asyncio
import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from typer.testing import CliRunner, Result

from bifrost_flow.cli import app
from bifrost_flow.errors import DeliveryError, WarehouseError
from bifrost_flow.progress import Silent
from bifrost_flow.records import Call, Report, new_run_id
from connectors.files import write_text_file
from connectors.reports import load_report
from connectors.warehouse import Warehouse
from tasks.export import refresh_dashboard

DATA = Path(__file__).parents[1] / "data" / "reports"


@pytest.fixture
def report() -> Report:
    return TypeAdapter(Report).validate_json((DATA / "storefront.json").read_bytes())


@pytest.fixture
def warehouse(tmp_path: Path, report: Report, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """Two runs of one project; the newer one has a call that failed twice and one that failed once."""
    monkeypatch.chdir(tmp_path)
    for name in ("BIFROST_LANG", "BIFROST_SLACK_WEBHOOK_URL", "BIFROST_SLACK_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    store = Warehouse.open(str(tmp_path / "tables"), project=report.run.project)
    older = replace(report.run, run_id=new_run_id(), started_at=report.run.started_at.replace(day=22))
    store.write_run(older)
    run_id = report.run.run_id
    store.write_files(run_id, report.files)
    store.write_findings(run_id, report.findings)
    failed = Call("k", "f1:dead", "ollama", "m", 1, "failed", "busy", 1.0, 0, 0, 0.0, report.run.started_at)
    store.write_calls(
        run_id,
        [
            failed,
            replace(failed, attempt=2, error="Ollama did not answer within 120 s."),
            replace(failed, fingerprint="f1:fine"),
            replace(failed, fingerprint="f1:fine", attempt=2, status="ok", error=None),
        ],
    )
    store.write_run(report.run)
    return store


def call(warehouse: Warehouse, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--warehouse", warehouse.location])


def test_a_report_survives_the_warehouse(warehouse: Warehouse, report: Report) -> None:
    """What is read back equals what was written, and calls that failed in the end are problems."""
    loaded = load_report(warehouse, "latest", "ko")
    assert loaded.run == report.run
    assert sorted(loaded.findings, key=repr) == sorted(report.findings, key=repr)
    assert sorted(loaded.files, key=repr) == sorted(report.files, key=repr)
    assert [(each.subject, each.message) for each in loaded.problems] == [
        ("f1:dead", "Ollama did not answer within 120 s.")
    ]
    assert loaded.language == "ko"


def test_runs_are_found_by_prefix(warehouse: Warehouse, report: Report) -> None:
    """A unique start of an id is enough; an ambiguous one lists the candidates, an unknown one says so."""
    assert load_report(warehouse, "019ab2f4", "en").run.run_id == report.run.run_id
    with pytest.raises(WarehouseError, match=f"2 runs: .*{report.run.run_id}"):
        load_report(warehouse, "0", "en")
    with pytest.raises(WarehouseError, match="starts with 'zz'"):
        load_report(warehouse, "zz", "en")
    with pytest.raises(WarehouseError, match="no run"):
        load_report(warehouse, "latest", "en", project="another")


def test_exports_to_standard_output(warehouse: Warehouse) -> None:
    """Markdown without a word, another format by name, and nothing else on standard output."""
    assert call(warehouse, "export").stdout.startswith("# Log report: storefront\n")
    body = json.loads(call(warehouse, "export", "latest", "--format", "json").stdout)
    assert len(body["findings"]) == 6
    korean = call(warehouse, "export", "--lang", "ko")
    assert "확인할 문제 3건" in korean.stdout and korean.stderr == ""


def test_exports_files(warehouse: Warehouse, tmp_path: Path) -> None:
    """The suffix names the format, several formats go to a folder, and no temporary file is left."""
    assert call(warehouse, "export", "-o", str(tmp_path / "new" / "night.html")).exit_code == 0
    assert (tmp_path / "new" / "night.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    result = call(warehouse, "export", "-f", "csv,json", "-f", "markdown", "-o", str(tmp_path / "all"))
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == [
        "findings.csv",
        "findings.json",
        "report.md",
    ]
    assert result.stderr.count("Written: ") == 3
    assert call(warehouse, "export", "-f", "parquet", "--output", str(tmp_path / "f.parquet")).exit_code == 0
    piped = call(warehouse, "export", "-f", "parquet")
    assert piped.stdout_bytes == (tmp_path / "f.parquet").read_bytes()
    (tmp_path / "link.sarif").symlink_to(tmp_path / "target.sarif")
    assert call(warehouse, "export", "-o", str(tmp_path / "link.sarif")).exit_code == 0
    assert (tmp_path / "link.sarif").is_symlink()
    assert json.loads((tmp_path / "target.sarif").read_text(encoding="utf-8"))["version"] == "2.1.0"
    assert not list(tmp_path.rglob("*.tmp"))
    assert (tmp_path / "all" / "findings.csv").read_bytes().count(b"\r\n") == 7


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-f", "pdf"], "No such format: 'pdf'"),
        (["-f", "csv,json"], "Only one format"),
        (["zz"], "starts with 'zz'"),
    ],
)
def test_wrong_calls_are_explained(warehouse: Warehouse, words: list[str], message: str) -> None:
    """What the user must mend is one line on standard error and exit code 2."""
    result = call(warehouse, "export", *words)
    assert result.exit_code == 2
    assert message in result.stderr and result.stdout == ""


def test_unwritable_file(warehouse: Warehouse, tmp_path: Path) -> None:
    """A file that can't be written is exit code 3 with the reason; a device is written to as it is."""
    (tmp_path / "file").write_text("x")
    result = call(warehouse, "export", "-o", str(tmp_path / "file" / "report.md"))
    assert result.exit_code == 3 and "can't be written" in result.stderr
    result = call(warehouse, "export", "-o", "ftp://host.example/reports/")
    assert result.exit_code == 3 and "no place that can be written to" in result.stderr
    write_text_file(Path("/dev/null"), "x")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(DeliveryError, match="is a folder"):
        write_text_file(tmp_path, "x")


def test_slack_dry_run(warehouse: Warehouse) -> None:
    """A dry run prints the message as JSON and needs no settings."""
    result = call(warehouse, "slack", "--dry-run", "--link", "https://ci.example/r.html")
    message = json.loads(result.stdout)
    assert message["text"].startswith("storefront: 3 failures to look at")
    assert message["blocks"][0]["type"] == "header"
    assert "https://ci.example/r.html" in result.stdout


def test_slack_without_settings(warehouse: Warehouse) -> None:
    """Without webhook and token the command says what to set, with exit code 2."""
    result = call(warehouse, "slack")
    assert result.exit_code == 2
    assert "not configured" in result.stderr and "slack.webhook_url" in result.stderr


def test_slack_failure(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that could not be delivered is exit code 3, and the webhook's address stays secret."""
    monkeypatch.setenv("BIFROST_SLACK_WEBHOOK_URL", "http://evil.example/s3cr3t")
    result = call(warehouse, "slack")
    assert result.exit_code == 3
    assert "https://" in result.stderr and "s3cr3t" not in result.output


class Listener(Silent):
    """Keeps what a person was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def tell(self, message: str) -> None:
        self.told.append(message)


def test_a_dashboard_never_fails_or_holds_up_a_run(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It's written where the run's tables are; where that fails or lasts, a person hears it, no more."""
    listener = Listener()
    monkeypatch.setattr("bifrost_flow.progress._listener", listener)

    def refresh(timeout_s: float = 120) -> tuple[str, ...]:
        return asyncio.run(refresh_dashboard(warehouse, language="en", base_url=None, timeout_s=timeout_s))

    page = Path(warehouse.location) / "dashboard.html"
    assert refresh() == (str(page),)
    assert "left-pad" in page.read_text(encoding="utf-8")
    assert listener.told == []
    page.unlink()
    page.mkdir()
    assert refresh() == ()
    go_on = threading.Event()
    monkeypatch.setattr("tasks.export.write_dashboard", lambda *_, **__: go_on.wait(120))
    assert refresh(timeout_s=0.01) == ()
    go_on.set()
    assert ["dashboard.html" in listener.told[0], "0.01 s" in listener.told[1]] == [True, True]

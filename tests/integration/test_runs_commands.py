"""`runs` and `track`: from the warehouse without MLflow, from MLflow with it, and later to MLflow."""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bifrost_flow.cli import app
from bifrost_flow.language import current_language, set_language
from bifrost_flow.records import Report, new_run_id
from bifrost_flow.tracked import TrackedRun, describe_run
from connectors.tracking import open_tracker
from connectors.warehouse import Warehouse
from tests.samples import STARTED, make_file, make_finding, make_report
from tests.servers import free_port

SETTINGS = {
    "lang": "en",
    "evidence": {"budget_tokens": 2000},
    "fanout": {"concurrency": 4},
    "provider": "auto",
}


def make_run(hours: int, model: str, cost_usd: float) -> Report:
    """Return a run with a finding, `hours` after the first one."""
    report = make_report()
    versions = {"engine": "1", "prompt": "error_analysis p9", "provider": "openai", "model": model}
    run = replace(
        report.run,
        run_id=new_run_id(),
        started_at=STARTED + timedelta(hours=hours),
        finished_at=STARTED + timedelta(hours=hours, seconds=5),
        settings=json.dumps(SETTINGS),
        versions=json.dumps(versions),
        cost_usd=cost_usd,
    )
    return replace(report, run=run, findings=(make_finding(),), files=(make_file(),))


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Yield the ids of two runs, oldest first, in a warehouse in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    language = current_language()
    ids = []
    store = Warehouse.open("bifrost-warehouse", project="nightly")
    for number, (model, cost) in enumerate((("small", 1.0), ("large", 4.0))):
        report = make_run(number, model, cost)
        store.write_files(report.run.run_id, report.files)
        store.write_findings(report.run.run_id, report.findings)
        store.write_metrics(report.run.run_id, [("cost", cost, "USD"), ("files", 1.0, "1")])
        store.write_run(report.run)
        ids.append(report.run.run_id)
    yield ids
    set_language(language)


def call(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def read_tags(key: str) -> list[str]:
    """Return the values of a tag over MLflow's runs that were not deleted."""
    with sqlite3.connect("bifrost-warehouse/mlflow.db") as store:
        query = (
            "SELECT value FROM tags JOIN runs USING (run_uuid) WHERE key = ? AND lifecycle_stage = 'active'"
        )
        found = store.execute(query, (key,)).fetchall()
    store.close()
    return sorted(value for (value,) in found)


def test_the_warehouse_is_what_is_listed_and_compared(
    runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of MLflow is needed or made: with its server down, runs are listed, shown and compared."""
    monkeypatch.setenv("BIFROST_MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    listed = json.loads(call("runs", "list", "-f", "json").stdout)
    assert [run["run_id"] for run in listed] == runs[::-1]
    shown = json.loads(call("runs", "show", runs[0], "-f", "json").stdout)
    assert shown["parameters"]["model"] == "small"
    assert shown["metrics"] == {"cost": 1.0, "files": 1.0}
    compared = json.loads(call("runs", "compare", runs[0], "latest", "-f", "json").stdout)
    rows = {row["name"]: row for row in compared["compared"]}
    assert (rows["model"]["values"], rows["model"]["differs"]) == (["small", "large"], True)
    assert (rows["cost"]["values"], rows["files"]["differs"]) == ([1.0, 4.0], False)
    table = call("runs", "compare", runs[0], runs[1], "-d")
    lines = {line.split()[1]: line.split() for line in table.stdout.splitlines() if line.startswith("≠")}
    assert lines == {"model": ["≠", "model", "small", "large"], "cost": ["≠", "cost", "1", "4", "+300.0%"]}
    rows = call("runs", "compare", runs[0], runs[1], "-f", "csv").stdout.splitlines()
    assert rows[0] == f"kind,name,{runs[0]},{runs[1]},differs"
    assert "metric,cost,1.0,4.0,true" in rows
    assert not Path("bifrost-warehouse/mlflow.db").exists()


def test_wrong_references_are_wrong_usage(runs: list[str]) -> None:
    """One run is nothing to compare, and a run that is not there is named."""
    for words, told in (
        (("runs", "compare", "latest"), "two runs"),
        (("runs", "show", "ffff"), "ffff"),
        (("runs", "compare", "latest", "0"), runs[0]),
        (("runs", "show", "ffff", "--mlflow"), "ffff"),
        (("track", runs[0], "--missing"), "not both"),
    ):
        done = call(*words)
        assert done.exit_code == 2, words
        assert told in done.stderr, words
    assert not Path("bifrost-warehouse/mlflow.db").exists()


def test_what_could_not_be_tracked_is_sent_later_and_once(runs: list[str]) -> None:
    """One run, then all that are missing, then none: MLflow has each once, as it would have been then."""
    first = call("track", runs[0])
    assert (first.exit_code, first.stderr) == (0, "")
    assert "was there already" in call("track", runs[0]).stdout
    missing = call("track", "--missing")
    assert missing.exit_code == 0
    assert runs[1] in missing.stdout
    assert runs[0] not in missing.stdout
    assert "all runs" in call("track", "--missing").stderr
    assert read_tags("run_id") == sorted(runs)
    (sent,) = json.loads(call("runs", "list", "--mlflow", "-n", "1", "-f", "json").stdout)
    at_its_time = describe_run(make_run(1, "large", 4.0), {"cost": 4.0, "files": 1.0})
    assert sent["parameters"] == {name: str(value) for name, value in at_its_time.parameters.items()}
    assert sent["metrics"] == at_its_time.metrics
    assert sent["our_id"] == runs[1]
    assert list(Path("bifrost-warehouse/mlflow-artifacts").rglob("report.md"))


def test_evaluations_and_their_points_are_shown_from_mlflow(runs: list[str]) -> None:
    """With --mlflow runs that only MLflow has can be listed and compared, each point below its whole."""
    points = tuple(
        TrackedRun(f"point {budget}", STARTED, STARTED, "completed", {"budget_tokens": budget}, {"hit": hit})
        for budget, hit in ((500, 0.5), (2000, 1.0))
    )
    whole = TrackedRun("evaluate x", STARTED, STARTED, "completed", nested=points)
    tracker = open_tracker("bifrost-warehouse", tracking_uri=None, experiment="bifrost-flow")
    assert tracker.log(whole).status == "tracked"
    listed = json.loads(call("runs", "list", "--mlflow", "-f", "json").stdout)
    assert [run["name"] for run in listed if not run["parent_id"]] == ["evaluate x"]
    assert {run["parent_id"] for run in listed[1:]} == {listed[0]["run_id"]}
    done = call("runs", "compare", "--mlflow", "point 500", "point 2000", "-d", "-f", "csv")
    assert done.stdout.splitlines()[1:] == [
        "parameter,budget_tokens,500,2000,true",
        "metric,hit,0.5,1.0,true",
    ]


def test_mlflow_that_is_down_is_exit_code_3(runs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for MLflow, or sends to it, learns that it is down, and what is left to be sent."""
    monkeypatch.setenv("BIFROST_MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    for words in (("runs", "list", "--mlflow"), ("track", "latest"), ("track", "--missing")):
        done = call(*words)
        assert done.exit_code == 3, words
        assert "127.0.0.1" in done.stderr, words

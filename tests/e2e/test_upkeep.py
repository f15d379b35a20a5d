"""`sql --query`, `compact` and `prune` as users call them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from connectors.warehouse import Warehouse
from tests.console import Console
from tests.warehouse_rows import FINDING, RUN, make_run_id

TODAY = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def shell(tmp_path: Path, prefect_home: Path) -> Console:
    """Return a shell without a Prefect server, beside a warehouse of four runs of two projects."""
    for number, (days, project) in enumerate([(200, "web"), (100, "api"), (1, "web"), (1, "api")]):
        store = Warehouse.open(str(tmp_path / "bifrost-warehouse"), project=project)
        at = TODAY - timedelta(days=days)
        run_id = make_run_id(at, number)
        finding = replace(FINDING, fingerprint=f"f1:{days}", status="resolved" if days > 1 else "new")
        store.write_findings(run_id, [replace(finding, first_seen=at, last_seen=at)])
        store.write_run(replace(RUN, run_id=run_id, project=project, started_at=at))
    return Console(tmp_path, prefect_home)


def test_queries_by_name(shell: Console) -> None:
    """They are listed without a warehouse; one is run with project, time and parameters; a slip is told."""
    listed = shell.call("sql", "--list", "--format", "json")
    assert {"trend", "flaky", "unread_files"} <= {row["name"] for row in listed.json}
    assert "가장 느린" in shell.call("sql", "--list", "--lang", "ko").out
    done = shell.call("sql", "--query", "newest", "--project", "web", "--since", "7d ago", "-f", "json")
    assert [(row["project"], row["fingerprint"]) for row in done.json] == [("web", "f1:1")]
    assert len(shell.call("sql", "--query", "newest", "--param", "limit=1", "-f", "json").json) == 1
    slip = shell.call("sql", "--query", "newst")
    assert (slip.code, slip.out) == (2, "") and "Did you mean newest?" in slip.err


def test_parameters_of_ones_own_sql(shell: Console) -> None:
    """`$name` in the user's SQL is a value, never SQL; numbers are numbers."""
    sql = "SELECT project, $n + 1 AS n FROM runs WHERE project = $p ORDER BY ALL LIMIT 1"
    done = shell.call("sql", sql, "--param", "p=web", "--param", "n=41", "-f", "csv")
    assert (done.out, done.err) == ("project,n\r\nweb,42\r\n", "")
    assert shell.call("sql", sql, "--param", "p=' OR 1=1 --", "--param", "n=1", "-f", "json").json == []
    for words in (["--param", "p"], ["--query", "trend"], ["--since", "7d"]):
        assert shell.call("sql", sql, *words).code == 2
    assert shell.call("sql").code == 2


def test_compact_and_prune_in_a_terminal_and_a_script(shell: Console) -> None:
    """Both say what they would do and what they did; JSON is one object; what stays is still there."""
    assert shell.call("compact", "--dry-run").out == "Would merge 0 files into 0: 8 now, 8 then.\n"
    old = shell.call("prune", "--older-than", "90d", "--dry-run", "--json").json
    assert (old["pruned"]["runs"], old["merged"], old["dry_run"]) == (2, None, True)
    done = shell.call("prune", "--older-than", "90d", "--grace", "0")
    assert done.code == 0 and done.out.startswith("Forgot 2 runs: 4 files")
    at = TODAY - timedelta(days=1)
    store = Warehouse.open(str(shell.folder / "bifrost-warehouse"), project="web")
    store.write_run(replace(RUN, run_id=make_run_id(at, 99), project="web", started_at=at))
    merged = shell.call("compact", "--grace", "0.1", "--json")
    assert (merged.code, merged.err) == (0, "")
    assert merged.json["merged"]["tables"] == {"runs": {"files": 2, "packs": 1}}
    assert len(shell.call("history", "--format", "json").json) == 3
    assert "지웠습니다" in shell.call("prune", "--older-than", "90d", "--grace", "0", "--lang", "ko").out
    for words in (["prune"], ["prune", "--older-than", "90"], ["compact", "-w", "none"]):
        wrong = shell.call(*words)
        assert (wrong.code, wrong.out) == (2, "") and "Traceback" not in wrong.err
    assert not (shell.folder / "none").exists()


def test_with_a_server_it_is_a_flow_run(shell: Console, prefect_api: str) -> None:
    """Where a Prefect server is configured, the command is a run of the flow `compact`, which does both."""
    console = replace(shell, api_url=prefect_api)
    done = console.call("prune", "--older-than", "90d", "--grace", "0", "--json")
    assert (done.code, done.json["pruned"]["runs"]) == (0, 2), done.err
    with httpx.Client(base_url=prefect_api) as api:
        flows = api.post("/flows/filter", json={"flows": {"name": {"any_": ["compact"]}}}).json()
        runs = api.post("/flow_runs/filter", json={"flows": {"name": {"any_": ["compact"]}}}).json()
    assert len(flows) == 1 and runs[0]["state_type"] == "COMPLETED"
    assert runs[0]["parameters"]["older_than"] == "90d"

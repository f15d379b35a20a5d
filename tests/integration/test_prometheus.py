"""Alerts, scrape configuration and dashboard, held against what we export and against a real Prometheus."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from bifrost_flow.language import ROOT
from connectors.metrics_store import DEFINITIONS, PREFIX, MetricStore, render_metrics
from tests.console import LOGS
from tests.servers import free_port, stop, wait_until_up

PROMETHEUS = ROOT / "deployments" / "prometheus"
GRAFANA = ROOT / "deployments" / "grafana"
DASHBOARD = GRAFANA / "dashboards" / "bifrost-flow.json"

# What Grafana fills in before it asks.
VARIABLES = {"$__rate_interval": "5m", "$job": ".*", "$project": ".*", "${datasource}": "x"}

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool here: apt-get install prometheus"
)

SERVE = """
import asyncio, sys
from connectors.metrics import start_metrics_server
from flows.analysis import analyze_log

with start_metrics_server(port=int(sys.argv[1])):
    for project in ("nightly", "hourly"):
        wanted = {"warehouse": sys.argv[2], "provider": "rules", "project": project}
        asyncio.run(analyze_log(sys.argv[3], overrides=wanted))
    print("done", flush=True)
    sys.stdin.read()
"""


def promtool(*words: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *map(str, words)],
        cwd=PROMETHEUS,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def read_dashboard() -> dict[str, Any]:
    return json.loads(DASHBOARD.read_text(encoding="utf-8"))


def list_queries() -> list[str]:
    """Return what the dashboard's panels ask, as Grafana sends it."""
    queries = [target["expr"] for panel in read_dashboard()["panels"] for target in panel.get("targets", ())]
    for name, value in VARIABLES.items():
        queries = [query.replace(name, value) for query in queries]
    assert not [query for query in queries if "$" in query]
    return queries


def list_rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "rules.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def find_metrics(expression: str) -> set[str]:
    return set(re.findall(rf"\b{PREFIX}\w+", expression))


def list_exported() -> set[str]:
    """Return the names of all series that we export, a histogram's three among them."""
    names = set()
    for name, each in DEFINITIONS.items():
        suffixes = ("_bucket", "_sum", "_count") if each.kind == "histogram" else ("",)
        names |= {PREFIX + name + suffix for suffix in suffixes}
    return names


def test_alerts_and_dashboard_ask_for_what_is_exported_and_leave_nothing_out() -> None:
    """Each metric in a rule or panel exists with the labels that are asked for; each that exists is shown."""
    used: set[str] = set()
    for expression in [*(rule["expr"] for rule in list_rules()), *list_queries()]:
        used |= find_metrics(expression)
        for name, selector in re.findall(rf"\b{PREFIX}(\w+)\{{([^}}]*)\}}", expression):
            definition = DEFINITIONS[re.sub(r"_(bucket|sum|count)$", "", name)]
            wanted = set(re.findall(r"(\w+)=", selector))
            assert wanted <= {*definition.labels, "job"}, expression
    assert used <= list_exported()
    shown = {PREFIX + name for name in DEFINITIONS}
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in used} == shown


@needs_promtool
def test_promtool_accepts_metrics_rules_and_config() -> None:
    """promtool has nothing to say against names, texts, rules or the scrape configuration."""
    for done in (
        promtool("check", "metrics", stdin=render_metrics(MetricStore())),
        promtool("check", "config", "--lint=all", "--lint-fatal", "prometheus.yml"),
        promtool("check", "rules", "--lint=all", "--lint-fatal", "rules.yml"),
    ):
        assert done.returncode == 0, done.stdout + done.stderr
    assert promtool("check", "metrics", stdin=render_metrics(MetricStore())).stderr == ""


@needs_promtool
def test_alerts_fire_when_they_should() -> None:
    """promtool's own tests of the rules pass, and they have every alert fire once and be silent once."""
    done = promtool("test", "rules", "rules_test.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    tests = yaml.safe_load((PROMETHEUS / "rules_test.yml").read_text(encoding="utf-8"))["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    fired = {case["alertname"] for case in cases if case["exp_alerts"]}
    assert fired == {rule["alert"] for rule in list_rules()}


@needs_promtool
def test_the_dashboards_queries_can_be_parsed(tmp_path: Path) -> None:
    """Each is a recording rule that promtool accepts."""
    rules = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(list_queries())]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = promtool("check", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_is_sound_and_provisioned() -> None:
    """Panels have ids of their own, do not overlap, fit the grid and use the provisioned data source."""
    dashboard = read_dashboard()
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [(panel["title"], panel["gridPos"]) for panel in panels]
    for title, place in places:
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24, title
    for (first, a), (second, b) in combinations(places, 2):
        apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        apart = apart or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert apart, (first, second)
    for panel in (panel for panel in panels if panel["type"] != "row"):
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    (source,) = yaml.safe_load(
        (GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text(encoding="utf-8")
    )["datasources"]
    chosen = next(each for each in dashboard["templating"]["list"] if each["type"] == "datasource")
    assert chosen["current"]["value"] == source["uid"]
    providers = yaml.safe_load(
        (GRAFANA / "provisioning" / "dashboards" / "bifrost-flow.yml").read_text(encoding="utf-8")
    )["providers"]
    assert [each["type"] for each in providers] == ["file"]


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Yield the port of a process that serves metrics, and has analysed a log for each of two projects."""
    port, folder = free_port(), tmp_path_factory.mktemp("serving")
    log = next((LOGS / "zuul").glob("*.fail.log"))
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(port), str(folder / "w"), str(log)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        yield port
    finally:
        process.communicate(timeout=240)


@pytest.fixture(scope="module")
def prometheus(serving: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield a real Prometheus with our rules and configuration: it scrapes twice a second."""
    if shutil.which("prometheus") is None:
        pytest.skip("no prometheus here: apt-get install prometheus")
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    text = (PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8")
    changed = text.replace("127.0.0.1:9464", f"127.0.0.1:{serving}").replace("30s", "500ms")
    assert changed != text
    (folder / "prometheus.yml").write_text(changed)
    shutil.copy(PROMETHEUS / "rules.yml", folder)
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_up(f"{url}/-/ready", process)
        yield url
    finally:
        stop(process)


def ask(prometheus: str, query: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": query}, timeout=60).json()
    assert answer["status"] == "success", answer
    return answer["data"]["result"]


def test_a_real_prometheus_sees_what_a_serving_process_did(prometheus: str) -> None:
    """Runs, calls, sizes and findings of both projects arrive; rules evaluate, and panels get answers."""
    deadline = time.monotonic() + 240
    while not ask(prometheus, 'bifrost_analysis_total{project="hourly"} offset 1s'):
        assert time.monotonic() < deadline, "nothing was scraped"
        time.sleep(0.2)
    runs = ask(prometheus, "sum by (project, status) (bifrost_analysis_total)")
    assert {(each["metric"]["project"], each["metric"]["status"], each["value"][1]) for each in runs} == {
        ("nightly", "completed", "1"),
        ("hourly", "completed", "1"),
    }
    for query, value in (
        ("sum(bifrost_in_progress)", "0"),
        ("sum(bifrost_log_size_bytes_count)", "2"),
        ('sum(bifrost_llm_calls_total{provider="rules", outcome="ok"})', "1"),
        ('bifrost_cache_hits_total{project="hourly"}', "1"),
        ("sum(bifrost_response_size_bytes_count)", "1"),
        ('sum(bifrost_last_run_findings{status="new"})', "2"),
        ('up{job="bifrost-flow-serve"}', "1"),
    ):
        assert [each["value"][1] for each in ask(prometheus, query)] == [value], query
    answered = [query for query in list_queries() if ask(prometheus, query)]
    assert len(answered) > len(list_queries()) / 2
    groups = httpx.get(f"{prometheus}/api/v1/rules", timeout=60).json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["name"] for rule in rules} == {rule["alert"] for rule in list_rules()}
    assert [rule for rule in rules if rule["health"] == "err"] == []

"""The numbers for Prometheus: what is counted for a run and a call, and how it is told."""

import asyncio
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from bifrost_flow.errors import SettingsError, WarehouseError
from bifrost_flow.records import Call, Problem
from connectors.metrics import Recorder, is_loopback, render_metrics, start_metrics_server
from connectors.metrics_store import DEFINITIONS, MAX_LABEL_VALUES, OTHER, PREFIX, Change, MetricStore
from tests.samples import STARTED, make_file, make_finding, make_report

MODEL = {"project": "nightly", "provider": "openai", "model": "small"}


@pytest.fixture
def store() -> MetricStore:
    return MetricStore()


@pytest.fixture
def recorder(store: MetricStore) -> Recorder:
    return Recorder(store.apply)


def read(store: MetricStore, name: str, **labels: str) -> float | None:
    """Return the value of a series by its name in the text format, None where there is none."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(store)
    return registry.get_sample_value(PREFIX + name, labels)


def make_call(status: str = "ok") -> Call:
    return Call("k", "f1:1", "openai", "small", 1, status, None, 400.0, 900, 100, 0.002, STARTED)


def test_a_run_is_counted_with_what_it_found(store: MetricStore, recorder: Recorder) -> None:
    """Status, duration, sizes, findings, errors by stage and the gauges of the last run are all set."""
    report = make_report("partial")
    files = (make_file(size=500), make_file(size=5_000_000), make_file(size=0, status="unreadable"))
    findings = (
        make_finding(status="new", severity="critical", category="crash"),
        make_finding(status="new", severity="critical", category="crash"),
        make_finding(status="resolved", severity="error", category="timeout"),
    )
    problems = (Problem("extract", "a", "b"), Problem("analyse", "a", "b"), Problem("export", "a", "b"))
    run = replace(report.run, cache_hits=4, tokens_saved=800, errors=3, cost_usd=0.5)
    recorder.record_run(
        replace(report, run=run, files=files, findings=findings, problems=problems), duration_s=7.0
    )
    project = {"project": "nightly"}
    assert read(store, "analysis_total", **project, status="partial") == 1
    assert read(store, "analysis_duration_seconds_sum", **project) == 7
    assert read(store, "analysis_duration_seconds_bucket", **project, le="5.0") == 0
    assert read(store, "analysis_duration_seconds_bucket", **project, le="10.0") == 1
    assert read(store, "cache_hits_total", **project) == 4
    assert read(store, "tokens_saved_total", **project) == 800
    assert read(store, "log_lines_total", **project) == 10
    assert read(store, "log_size_bytes_count", **project) == 3
    assert read(store, "log_size_bytes_sum", **project) == 5_000_500
    assert read(store, "files_total", **project, status="read") == 2
    assert read(store, "files_total", **project, status="unreadable") == 1
    for stage in ("read", "analyse", "deliver"):
        assert read(store, "errors_total", **project, stage=stage) == 1
    kind = {"status": "new", "severity": "critical"}
    assert read(store, "findings_total", **project, **kind, category="crash") == 2
    assert read(store, "last_run_findings", **project, **kind) == 2
    assert read(store, "last_run_findings", **project, status="new", severity="error") == 0
    assert read(store, "last_run_status", **project, status="partial") == 1
    assert read(store, "last_run_status", **project, status="failed") == 0
    assert read(store, "last_run_cost_usd", **project) == 0.5
    ended = STARTED.timestamp() + 5
    assert read(store, "last_success_timestamp_seconds", **project) == ended
    assert read(store, "last_run_timestamp_seconds", **project) == ended


def test_calls_are_counted_by_model_and_outcome(store: MetricStore, recorder: Recorder) -> None:
    """Each attempt counts, with its time, tokens and cost; the answer's size is that in bytes."""
    recorder.record_call(make_call(), project="nightly", response='{"제목": 1}')
    recorder.record_call(make_call("failed"), project="nightly", response=None)
    assert read(store, "llm_calls_total", **MODEL, outcome="ok") == 1
    assert read(store, "llm_calls_total", **MODEL, outcome="failed") == 1
    assert read(store, "llm_call_duration_seconds_sum", **MODEL) == pytest.approx(0.8)
    assert read(store, "tokens_total", **MODEL, direction="in") == 1800
    assert read(store, "tokens_total", **MODEL, direction="out") == 200
    assert read(store, "cost_usd_total", **MODEL) == pytest.approx(0.004)
    assert read(store, "response_size_bytes_sum", **MODEL) == 13
    assert read(store, "response_size_bytes_count", **MODEL) == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (WarehouseError("full"), "failed"),
        (asyncio.CancelledError(), "interrupted"),
        (SettingsError("slip"), None),
    ],
)
def test_a_run_that_raises_is_counted_and_no_longer_goes_on(
    store: MetricStore, recorder: Recorder, error: BaseException, status: str | None
) -> None:
    """Failing is failing, being cancelled is being interrupted, and a wrong call is no run at all."""
    with pytest.raises(type(error)), recorder.analysing("nightly"):
        assert read(store, "in_progress", project="nightly") == 1
        raise error
    assert read(store, "in_progress", project="nightly") == 0
    for each in ("failed", "interrupted"):
        counted = read(store, "analysis_total", project="nightly", status=each)
        assert counted == (1 if each == status else None)
    assert read(store, "last_success_timestamp_seconds", project="nightly") is None


def test_a_dry_run_counts_nothing(store: MetricStore, recorder: Recorder) -> None:
    """What only says what it would do has done nothing."""
    recorder.record_run(make_report("dry_run"), duration_s=1.0)
    assert read(store, "analysis_total", project="nightly", status="dry_run") is None


def test_labels_are_bounded(store: MetricStore) -> None:
    """Whoever makes up projects without end gets one series for all that are too many."""
    for number in range(MAX_LABEL_VALUES + 50):
        store.apply([Change("count", "cache_hits_total", 1, {"project": f"p{number}"})])
    assert read(store, "cache_hits_total", project=OTHER) == 50


def test_hostile_labels_stay_in_their_quotes(store: MetricStore) -> None:
    """A model's name with quotes and newlines is read back as it is, by Prometheus' own parser."""
    name = 'a"} 1\nevil_total 7\\'
    store.apply([Change("count", "llm_calls_total", 2, {**MODEL, "model": name, "outcome": "ok"})])
    families = list(text_string_to_metric_families(render_metrics(store)))
    assert {family.name for family in families} <= {
        PREFIX + each.removesuffix("_total") for each in DEFINITIONS
    }
    (sample,) = next(each for each in families if each.name == "bifrost_llm_calls").samples
    assert (sample.labels["model"], sample.value) == (name, 2)


def test_whole_buckets_add_up_as_single_values_do(store: MetricStore) -> None:
    """Values that come summed by bucket give what they would give one by one."""
    single, project = MetricStore(), {"project": "p"}
    for size in (900.0, 5_000.0, 7_000.0, 2e12):
        single.apply([Change("observe", "log_size_bytes", size, project)])
    for bucket, count, total in ((1e3, 1, 900.0), (1e4, 2, 12_000.0), (float("inf"), 1, 2e12)):
        store.observe("log_size_bytes", project, bucket=bucket, count=count, total=total)
    assert render_metrics(store) == render_metrics(single)
    assert render_metrics(store, openmetrics=True).endswith("# EOF\n")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *((host, True) for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost")),
        *((host, False) for host in ("0.0.0.0", "::", "", "10.0.0.1", "localhost.example.org")),
    ],
)
def test_what_others_can_reach(host: str, loopback: bool) -> None:
    """Only addresses of this machine itself count as loopback."""
    assert is_loopback(host) is loopback
    if not loopback:
        with pytest.raises(SettingsError, match=r"PREFECT_API_AUTH_STRING"):
            start_metrics_server(host)

"""The numbers of a warehouse for Prometheus: all that its runs add up to, and how the last one went.

For runs that nobody scrapes: a process that ends with its run can't count, the tables can. So counters only
grow, from run to run and whatever machine they ran on, until runs are pruned; Prometheus then takes them for
begun anew.
"""

from collections import defaultdict
from collections.abc import Mapping

from connectors.metrics import ERROR_STAGES, SUCCESSES, LastRun
from connectors.metrics_store import DEFINITIONS, Change, MetricStore
from connectors.warehouse import Warehouse

_MODEL = ("project", "provider", "model")

# Query, metric, and the labels in its first columns; then bucket, count and total.
_HISTOGRAMS = (
    ("bucket_runs", "analysis_duration_seconds", ("project",)),
    ("bucket_files", "log_size_bytes", ("project",)),
    ("bucket_calls", "llm_call_duration_seconds", _MODEL),
    ("bucket_answers", "response_size_bytes", _MODEL),
)


def read_warehouse_metrics(
    warehouse: Warehouse, *, project: str | None = None, run_id: str | None = None
) -> MetricStore:
    """Return what the runs of `project` (None: any) add up to, or the run `run_id` alone.

    Raises:
        WarehouseError: the tables can't be read.
    """
    store, scope = MetricStore(), {"project": project, "run_id": run_id}
    _count_runs(store, warehouse, scope)
    _count_calls(store, warehouse, scope)
    for query, name, labels in _HISTOGRAMS:
        bounds = list(DEFINITIONS[name].bounds)
        for row in warehouse.query_named("metrics", query, {**scope, "bounds": bounds}).rows:
            values, (bucket, count, total) = row[: len(labels)], row[len(labels) :]
            named = dict(zip(labels, map(_name, values), strict=True))
            least = float("inf") if bucket is None else bucket
            store.observe(name, named, bucket=least, count=count, total=total)
    store.apply(read_last_runs(warehouse, project=project, run_id=run_id))
    return store


def _count_runs(store: MetricStore, warehouse: Warehouse, scope: Mapping[str, object]) -> None:
    for project, status, runs, hits, saved, lines in warehouse.query_named("metrics", "sum_runs", scope).rows:
        named = {"project": project}
        store.apply(
            [
                Change("count", "analysis_total", runs, {**named, "status": _name(status)}),
                Change("count", "cache_hits_total", hits or 0, named),
                Change("count", "tokens_saved_total", saved or 0, named),
                Change("count", "log_lines_total", lines or 0, named),
            ]
        )
    for project, *errors in warehouse.query_named("metrics", "sum_errors", scope).rows:
        store.apply(
            Change("count", "errors_total", count or 0, {"project": project, "stage": stage})
            for stage, count in zip(ERROR_STAGES, errors, strict=True)
        )
    for query, name, labels in (
        ("count_files", "files_total", ("project", "status")),
        ("count_findings", "findings_total", ("project", "status", "severity", "category")),
    ):
        store.apply(
            Change("count", name, count, dict(zip(labels, map(_name, values), strict=True)))
            for *values, count in warehouse.query_named("metrics", query, scope).rows
        )


def _count_calls(store: MetricStore, warehouse: Warehouse, scope: Mapping[str, object]) -> None:
    for row in warehouse.query_named("metrics", "sum_calls", scope).as_dicts():
        named = {label: _name(row[label]) for label in _MODEL}
        store.apply(
            [
                Change("count", "llm_calls_total", row["calls"], {**named, "outcome": _name(row["status"])}),
                Change("count", "tokens_total", row["tokens_in"] or 0, {**named, "direction": "in"}),
                Change("count", "tokens_total", row["tokens_out"] or 0, {**named, "direction": "out"}),
                Change("count", "cost_usd_total", row["cost_usd"] or 0, named),
            ]
        )


def read_last_runs(
    warehouse: Warehouse, *, project: str | None = None, run_id: str | None = None
) -> list[Change]:
    """Return the gauges of each project's last run; a serving process begins with them.

    Raises:
        WarehouseError: the tables can't be read.
    """
    scope = {"project": project, "run_id": run_id, "successes": sorted(SUCCESSES)}
    rows = warehouse.query_named("metrics", "read_last_runs", scope).as_dicts()
    kinds: dict[str, dict[tuple[str, str], int]] = defaultdict(dict)
    wanted = {"run_ids": [row["run_id"] for row in rows]}
    for run, status, severity, count in warehouse.query_named("metrics", "count_last_findings", wanted).rows:
        kinds[run][(status, severity)] = count
    last = [
        LastRun(
            project=row["project"],
            status=row["status"],
            ended=row["ended"],
            succeeded=row["succeeded"],
            duration_s=row["seconds"],
            errors=row["errors"] or 0,
            cost_usd=row["cost_usd"] or 0.0,
            findings=kinds[row["run_id"]],
        )
        for row in rows
    ]
    return [change for run in last for change in run.describe()]


def _name(value: object) -> str:
    """Return a column's value as a label; old rows may lack one."""
    return "unknown" if value is None else str(value)

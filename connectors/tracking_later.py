"""Runs that MLflow does not have, sent from the warehouse."""

from collections.abc import Iterator, Sequence

from bifrost_flow.tracked import TrackedRun, describe_run
from connectors.reports import load_report
from connectors.similar import add_similar
from connectors.tracking import Tracker, TrackingResult
from connectors.warehouse import Warehouse


def list_missing(warehouse: Warehouse, tracker: Tracker, *, project: str | None = None) -> list[str]:
    """Return the warehouse's runs of `project` (None: any) that MLflow does not have whole, oldest first.

    Raises:
        WarehouseError: the tables can't be read.
        DeliveryError: MLflow can't be asked.
    """
    there = {run.data.tags.get("run_id") for run in tracker.read_runs() if run.info.status != "RUNNING"}
    rows = warehouse.query_named("runs", "list_run_ids", {"project": project}).rows
    return [run_id for (run_id,) in rows if run_id not in there]


def send_runs(
    warehouse: Warehouse, tracker: Tracker, run_ids: Sequence[str], *, language: str
) -> Iterator[tuple[str, TrackingResult]]:
    """Send the runs one after another and yield what became of each; after one that failed, no more.

    Raises:
        WarehouseError: a run's tables can't be read.
    """
    for run_id in run_ids:
        result = tracker.log(read_tracked_run(warehouse, run_id, language=language))
        yield run_id, result
        if result.status != "tracked":
            return


def read_tracked_run(warehouse: Warehouse, run_id: str, *, language: str) -> TrackedRun:
    """Return a run as it would have been told when it ended.

    Raises:
        WarehouseError: there is no such run, or its tables can't be read.
    """
    report = load_report(warehouse, run_id, language)
    rows = warehouse.query_named("runs", "read_metrics", {"run_ids": [run_id]}).rows
    metrics = {name: float(value) for _, name, value in rows}
    return describe_run(add_similar(warehouse, report), metrics)

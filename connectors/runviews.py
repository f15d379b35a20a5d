"""Runs to be listed and compared: from the warehouse, which is the record, or from MLflow."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bifrost_flow.errors import SettingsError
from bifrost_flow.language import t
from bifrost_flow.records import Run
from bifrost_flow.runview import RunView, find_views
from bifrost_flow.tracked import list_parameters
from connectors.reports import MAX_CANDIDATES, find_run
from connectors.tracking import Tracker
from connectors.tracking_write import PARENT
from connectors.warehouse import Warehouse
from connectors.warehouse.restore import restore

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

_EVERY = 1_000_000_000


def read_views(
    warehouse: Warehouse, *, project: str | None = None, limit: int | None = None
) -> list[RunView]:
    """Return the warehouse's runs of `project` (None: any), newest first, `limit` at most.

    Raises:
        WarehouseError: the tables can't be read.
    """
    parameters = {"project": project, "limit": limit or _EVERY, "since": None, "fingerprints": None}
    rows = warehouse.query_named("runs", "list_runs", parameters).as_dicts()
    return _restore_views(warehouse, rows)


def find_warehouse_views(
    warehouse: Warehouse, references: Sequence[str], *, project: str | None = None
) -> list[RunView]:
    """Return the runs that `references` name, in that order.

    Raises:
        WarehouseError: one names none, or several.
    """
    ids = [find_run(warehouse, each, project=project) for each in references]
    rows = [warehouse.query_named("runs", "read_run", {"run_id": each}).as_dicts()[0] for each in ids]
    return _restore_views(warehouse, rows)


def _restore_views(warehouse: Warehouse, rows: Sequence[dict[str, Any]]) -> list[RunView]:
    metrics: dict[str, dict[str, float]] = defaultdict(dict)
    wanted = {"run_ids": [row["run_id"] for row in rows]}
    for run_id, name, value in warehouse.query_named("runs", "read_metrics", wanted).rows:
        metrics[run_id][name] = float(value)
    return [_view_row(row, metrics[row["run_id"]]) for row in rows]


def _view_row(row: dict[str, Any], metrics: dict[str, float]) -> RunView:
    run = restore(Run, row)
    return RunView(
        run_id=run.run_id,
        name=run.source,
        project=run.project,
        status=run.status,
        started_at=run.started_at,
        parameters={name: str(value) for name, value in list_parameters(run).items()},
        metrics=metrics,
    )


def read_tracked_views(
    tracker: Tracker, *, project: str | None = None, limit: int | None = None
) -> list[RunView]:
    """Return MLflow's runs, newest first: those of evaluations and their points too, each below its whole.

    Raises:
        DeliveryError: MLflow can't be asked.
    """
    if not tracker.exists():
        return []
    views = [_view_tracked(run) for run in tracker.read_runs(most=limit)]
    if project is not None:
        views = [view for view in views if view.project == project]
    known = {view.run_id for view in views}
    nested = defaultdict(list)
    for view in views:
        if view.parent_id in known:
            nested[view.parent_id].append(view)
    tops = [view for view in views if view.parent_id not in known]
    return [each for view in tops for each in (view, *reversed(nested[view.run_id]))]


def find_tracked_views(
    tracker: Tracker, references: Sequence[str], *, project: str | None = None
) -> list[RunView]:
    """Return the runs in MLflow that `references` name, by its ids, ours or names, in that order.

    Raises:
        SettingsError: one names none, or several.
        DeliveryError: MLflow can't be asked.
    """
    views = read_tracked_views(tracker, project=project)
    found = []
    for reference in references:
        named = find_views(views, reference)
        # A whole and its points bear the same id of ours: the whole is meant.
        named = [view for view in named if view.parent_id is None] or named
        if not named:
            raise SettingsError(t("runs.not_in_mlflow", run=reference))
        if len(named) > 1:
            names = ", ".join(view.run_id for view in named[:MAX_CANDIDATES])
            raise SettingsError(t("reports.ambiguous", run=reference, count=len(named), names=names))
        found += named
    return found


def _view_tracked(run: "MlflowRun") -> RunView:
    tags = run.data.tags
    return RunView(
        run_id=run.info.run_id,
        name=run.info.run_name or "",
        project=tags.get("project"),
        status=tags.get("status") or run.info.status.lower(),
        started_at=datetime.fromtimestamp(run.info.start_time / 1000, UTC) if run.info.start_time else None,
        parameters=dict(run.data.params),
        metrics={name: float(value) for name, value in run.data.metrics.items()},
        parent_id=tags.get(PARENT),
        our_id=tags.get("run_id"),
    )

"""Reports of past runs, read back from the warehouse."""

from dataclasses import replace

from bifrost_flow.errors import WarehouseError
from bifrost_flow.language import t
from bifrost_flow.records import Problem, Report
from connectors.warehouse import Warehouse

LATEST = "latest"
MAX_CANDIDATES = 10


def load_report(warehouse: Warehouse, run_ref: str, language: str, *, project: str | None = None) -> Report:
    """Return the report of a run: `latest`, or its id, or the start of its id when only one starts so.

    `project` narrows the choice; None is any. Problems are restored as far as tables hold them: model calls
    that failed in the end. Unread inputs are in `files`.

    Raises:
        WarehouseError: there is no such run, several, or the tables can't be read.
    """
    run_id = find_run(warehouse, run_ref, project=project)
    report = warehouse.read_report(run_id, language=language)
    failed = warehouse.query_named("problems", "read_failed_calls", {"run_id": run_id}).rows
    problems = tuple(Problem("analyse", fingerprint, error or "") for fingerprint, error in failed)
    return replace(report, problems=(*report.problems, *problems))


def find_run(warehouse: Warehouse, run_ref: str, *, project: str | None = None) -> str:
    """Return the full id of the run that `run_ref` names: `latest`, an id, or the start of one.

    Raises:
        WarehouseError: it names none, or several.
    """
    if run_ref == LATEST:
        latest = warehouse.query_named("runs", "find_latest", {"project": project}).rows
        if not latest:
            raise WarehouseError(t("reports.no_runs", warehouse=warehouse.location))
        return latest[0][0]
    found = [
        row[0]
        for row in warehouse.query_named("runs", "find_runs", {"prefix": run_ref, "project": project}).rows
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        raise WarehouseError(t("reports.no_run", run=run_ref, warehouse=warehouse.location))
    names = ", ".join(found[:MAX_CANDIDATES])
    raise WarehouseError(t("reports.ambiguous", run=run_ref, count=len(found), names=names))

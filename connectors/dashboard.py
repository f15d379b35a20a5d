"""What the dashboard shows, read from a warehouse in three queries."""

from datetime import datetime

from bifrost_flow.render.dashboard import Board
from connectors.storage import is_remote, open_storage
from connectors.warehouse import Warehouse

# A page that a phone opens, too: what is older or beyond is counted and left out.
MAX_RUNS, MAX_FINDINGS = 1000, 2000


def read_board(
    warehouse: Warehouse, *, project: str | None = None, since: datetime | None = None, linked: bool = True
) -> Board:
    """Return the runs since `since`, their findings with their history, and what they cost.

    `linked` if the page will lie in the warehouse, from where it can link the runs' reports.

    Raises:
        WarehouseError: the tables can't be read.
    """
    runs = warehouse.query_named(
        "runs",
        "list_runs",
        {"project": project, "since": since, "fingerprints": None, "limit": MAX_RUNS + 1},
    ).as_dicts()
    findings = warehouse.query_named(
        "dashboard", "list_findings", {"project": project, "since": since, "limit": MAX_FINDINGS + 1}
    ).as_dicts()
    costs = warehouse.query_named("dashboard", "list_costs", {"project": project, "since": since}).as_dicts()
    return Board(
        location=warehouse.location,
        runs=tuple(runs[:MAX_RUNS]),
        findings=tuple(findings[:MAX_FINDINGS]),
        costs=tuple(costs),
        has_more_runs=len(runs) > MAX_RUNS,
        has_more_findings=len(findings) > MAX_FINDINGS,
        reports=_list_reports(warehouse.location) if linked else frozenset(),
    )


def _list_reports(location: str) -> frozenset[str]:
    """Return the runs whose HTML report lies in the warehouse, where a page beside it can link it."""
    if is_remote(location):
        return frozenset()
    names = (entry.name for entry in open_storage(location).list_files("reports/"))
    return frozenset(
        name.split("/")[1] for name in names if name.endswith("/report.html") and name.count("/") == 2
    )

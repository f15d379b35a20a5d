"""What the dashboard shows, read from a warehouse, and where its page goes."""

import os
from datetime import datetime
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from bifrost_flow.render.dashboard import WINDOW_DAYS, Board, render_dashboard
from bifrost_flow.reportlink import REPORT_PATH, name_address
from connectors.files import write_file
from connectors.storage import is_remote
from connectors.warehouse import Warehouse
from connectors.warehouse.location import translating_os_errors

FILE_NAME = "dashboard.html"
# A page that a phone opens, too: what is older or beyond is counted and left out.
MAX_RUNS, MAX_FINDINGS = 5000, 20_000


def write_dashboard(warehouse: Warehouse, *, language: str, base_url: str | None = None) -> str:
    """Write the page over all of `warehouse` into it, and return where it is.

    Raises:
        DeliveryError: the page can't be written.
        WarehouseError: the tables can't be read.
    """
    target = f"{warehouse.location}/{FILE_NAME}"
    board = read_board(warehouse, target=target, base_url=base_url)
    write_file(target, render_dashboard(board, language=language).encode())
    return target


def read_board(
    warehouse: Warehouse,
    *,
    target: str,
    project: str | None = None,
    since: datetime | None = None,
    base_url: str | None = None,
) -> Board:
    """Return the runs since `since`, their findings with their history, and what they cost.

    The page will be at `target` (`-`: anywhere), and links the reports that are in the warehouse: below
    `base_url` where that is given, else from where it lies, if they can be reached from there.

    Raises:
        WarehouseError: the tables can't be read.
    """

    def query(name: str, **more: int) -> tuple[dict[str, object], ...]:
        parameters = {"project": project, "since": since, **more}
        return tuple(warehouse.query_named("dashboard", name, parameters).as_dicts())

    link = name_address(base_url) if base_url else _reach_reports(warehouse.location, target)
    return Board(
        location=warehouse.location,
        runs=query("list_runs", limit=MAX_RUNS),
        days=query("list_days"),
        findings=query("list_findings", limit=MAX_FINDINGS, window=WINDOW_DAYS),
        costs=query("list_costs"),
        reports=_list_reports(warehouse) if link else frozenset(),
        link=link,
    )


def _reach_reports(location: str, target: str) -> str:
    """Return the relative address of a report in the warehouse for a page at `target`; nothing if there is
    none."""
    if target == "-" or is_remote(location) != is_remote(target):
        return ""
    if is_remote(location):
        place, page = (PurePosixPath("/", address.partition("://")[2]) for address in (location, target))
        if place.parts[1] != page.parts[1]:  # another bucket
            return ""
    else:
        place, page = Path(location).resolve(), Path(target).resolve()
    return f"{quote(os.path.relpath(place / 'reports', page.parent))}/{REPORT_PATH}"


def _list_reports(warehouse: Warehouse) -> frozenset[str]:
    """Return the runs whose HTML report lies in the warehouse."""
    with translating_os_errors(warehouse.storage):
        names = (entry.name.split("/") for entry in warehouse.storage.list_files("reports/"))
        return frozenset(name[1] for name in names if len(name) == 3 and name[2] == "report.html")

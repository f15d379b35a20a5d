"""Merge a warehouse's small files and forget its old runs, as a flow: to be scheduled."""

from datetime import UTC, datetime
from typing import Any

from prefect import flow

from bifrost_flow.settings import load_settings
from connectors.warehouse.packs import GRACE_S
from flows.upkeep import keep_up


def name_run() -> str:
    """Return what a person looks for in Prefect's list of runs: the date."""
    return f"compact {datetime.now(UTC):%Y-%m-%d %H:%M}"


@flow(name="compact", flow_run_name=name_run, persist_result=True, result_serializer="json")
async def compact(
    warehouse: str | None = None,
    project: str | None = None,
    older_than: str | None = None,
    merge: bool = True,
    grace_s: float = GRACE_S,
    dry_run: bool = False,
    lang: str | None = None,
) -> dict[str, Any]:
    """Merge the small files of a warehouse, so that thousands of runs stay fast; runs and readers go on.

    Args:
        warehouse: folder of the tables.
        project: only this project's files; default: all.
        older_than: first forget runs that began longer ago, such as 90d; default: none.
        merge: merge files; without it only old runs are forgotten.
        grace_s: seconds for which files that are replaced stay for those who read them.
        dry_run: say what would be done, and do nothing.
        lang: language of messages: en or ko.
    """
    return keep_up(
        load_settings({"warehouse": warehouse, "lang": lang}),
        project=project,
        older_than=older_than,
        merge=merge,
        grace_s=grace_s,
        dry_run=dry_run,
    )

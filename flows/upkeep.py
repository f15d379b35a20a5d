"""What keeps a warehouse of many runs fast and small: pruning, then merging. A flow and commands do this."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from bifrost_flow.age import parse_age
from bifrost_flow.settings import Settings
from connectors.warehouse import Warehouse
from tasks.compact import compact
from tasks.prune import prune


def keep_up(
    settings: Settings,
    *,
    project: str | None = None,
    older_than: str | None = None,
    merge: bool = True,
    grace_s: float,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Prune the runs that are `older_than` an age, such as 90d, if one is given, then `merge` small files.

    All projects are meant unless `project` names one. A dry run says what would be done.

    Raises:
        SettingsError: `older_than` is no age.
        WarehouseError: there is no warehouse, or a file can't be read or written.
    """
    before = None if older_than is None else datetime.now(UTC) - parse_age(older_than)
    store = Warehouse.open(settings.warehouse, create=False)
    if not dry_run:
        store = Warehouse.open(settings.warehouse)
    chosen: dict[str, Any] = {"project": project, "grace_s": grace_s, "dry_run": dry_run}
    pruned = None if before is None else prune(store.location, before, **chosen)
    merged = compact(store.location, **chosen) if merge else None
    return {
        "warehouse": store.location,
        "project": project,
        "dry_run": dry_run,
        "before": None if before is None else before.isoformat(),
        "pruned": pruned and asdict(pruned),
        "merged": merged and asdict(merged) | {"files_after": merged.files_after},
    }

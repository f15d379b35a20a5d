"""Two runs of a warehouse, found by the names that people give them, and compared."""

from dataclasses import dataclass

from bifrost_flow.diff import Difference, Sighting, compare_runs, unite_names
from bifrost_flow.errors import WarehouseError
from bifrost_flow.language import t
from connectors.reports import LATEST, find_run
from connectors.warehouse import Warehouse

PREVIOUS = "previous"


@dataclass(frozen=True, slots=True)
class Pair:
    """The ids of two runs to compare."""

    older: str
    newer: str


def find_pair(warehouse: Warehouse, first: str, second: str | None, *, project: str | None = None) -> Pair:
    """Return the runs that `first` and `second` name; without `second`, `first` and the run before it.

    A name is `latest` (the newest audit), `previous` (the one before it of the same project), an id, or the
    start of one. `project` narrows the choice; None is any.

    Raises:
        WarehouseError: one names no run or several, both name the same, or none came before.
    """
    newer = _find(warehouse, second or first, project)
    if second is not None:
        pair = Pair(_find(warehouse, first, project), newer)
        if pair.older == pair.newer:
            raise WarehouseError(t("diff.same_run", run=newer))
        return pair
    before = warehouse.query_named("diff", "find_run_before", {"run_id": newer}).rows
    if not before:
        raise WarehouseError(t("diff.none_before", run=newer))
    return Pair(before[0][0], newer)


def _find(warehouse: Warehouse, name: str, project: str | None) -> str:
    if name not in (LATEST, PREVIOUS):
        return find_run(warehouse, name, project=project)
    audits = warehouse.query_named("diff", "find_audits", {"project": project, "limit": 1}).rows
    if not audits:
        raise WarehouseError(t("reports.no_runs", warehouse=warehouse.location))
    latest, project = audits[0]
    if name == LATEST:
        return latest
    audits = warehouse.query_named("diff", "find_audits", {"project": project, "limit": 2}).rows
    if len(audits) == 1:
        raise WarehouseError(t("diff.none_before", run=latest))
    return audits[1][0]


def load_difference(warehouse: Warehouse, pair: Pair, *, language: str) -> Difference:
    """Return what the runs of `pair` differ in.

    Raises:
        WarehouseError: the tables can't be read.
    """
    ids = (pair.older, pair.newer)
    older, newer = (warehouse.read_report(run_id, language=language) for run_id in ids)
    seen: dict[str, list[Sighting]] = {run_id: [] for run_id in ids}
    for run_id, *sighting in warehouse.query_named("diff", "read_sightings", {"run_ids": list(ids)}).rows:
        seen[run_id].append(Sighting(*sighting))
    return compare_runs(
        older,
        newer,
        seen=(seen[pair.older], seen[pair.newer]),
        successions=warehouse.query_named("diff", "read_successions").rows,
    )


def list_names(warehouse: Warehouse, fingerprint: str) -> list[str]:
    """Return all fingerprints of the failure that has `fingerprint`: other rules made others of it.

    Raises:
        WarehouseError: the tables can't be read.
    """
    names = unite_names(warehouse.query_named("diff", "read_successions").rows)
    kept = names.get(fingerprint)
    return sorted(name for name, united in names.items() if united == kept) or [fingerprint]

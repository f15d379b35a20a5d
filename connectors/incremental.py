"""What of the logs found is new or changed since the last run, and which days are to be looked at."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from bifrost_flow.language import t
from bifrost_flow.records import LogFile, Problem
from bifrost_flow.window import (
    check_window,
    choose_window,
    expand_targets,
    has_date,
    list_empty_days,
    split_since,
)
from connectors.permitted import Permitted
from connectors.sources import Source, remove_spooled, show_path
from connectors.warehouse import Warehouse


@dataclass(frozen=True, slots=True)
class Reading:
    """What a run is to read: `targets`, each with the days it is of, and of these all or what is new."""

    targets: Mapping[str, Sequence[date]]
    incremental: bool = False
    warehouse: Warehouse | None = field(default=None, repr=False)  # None where there was no run yet
    nightly: str | None = None  # for runs.nightly
    groups: Sequence[Sequence[str]] = ()  # those of `targets` that one path with a place for days stands for
    permitted: Permitted | None = None  # where links may lead; None: anywhere


def plan_reading(
    paths: Sequence[str],
    *,
    since: str | None,
    date_from: str | None,
    date_to: str | None,
    warehouse: Warehouse | None,
    now: datetime,
) -> Reading:
    """Return what a run that was given `paths` at `now` (UTC) reads.

    Raises:
        SettingsError: a date or a pattern is wrong, or there is a date and no place for it.
    """
    check_window(paths, date_from, date_to)
    incremental, _ = split_since(since)
    # With a beginning or an end of its own a run says nothing of the days before or after.
    whole = incremental and date_from is None and date_to is None
    nightly = json.dumps(sorted(set(paths)), ensure_ascii=True) if whole else None
    if not has_date(paths):
        return Reading(dict.fromkeys(paths, ()), incremental, warehouse, nightly)
    window = choose_window(
        date_from,
        date_to,
        today=now.date(),
        incremental=incremental,
        last_night=_find_last_night(paths, warehouse) if incremental else None,
    )
    groups = [list(expand_targets([path], window)) for path in paths if has_date([path])]
    return Reading(expand_targets(paths, window), incremental, warehouse, nightly, groups)


def _find_last_night(paths: Sequence[str], warehouse: Warehouse | None) -> date | None:
    if warehouse is None:
        return None
    nightly = json.dumps(sorted(set(paths)), ensure_ascii=True)
    parameters = {"project": warehouse.project, "nightly": nightly}
    ((started_at,),) = warehouse.query_named("incremental", "find_last_night", parameters).rows
    return _to_utc_day(started_at)


def _to_utc_day(moment: datetime | None) -> date | None:
    return None if moment is None else moment.astimezone(UTC).date()


def leave_out_done(
    sources: Sequence[Source], warehouse: Warehouse | None
) -> tuple[list[Source], list[Source]]:
    """Return those of `sources` that are new or changed since a run of the project was done with them, and
    the others. One query for all; nothing of a log is read."""
    known = {source.path: source.identity for source in sources if source.identity is not None}
    if warehouse is None or not known:
        return list(sources), []
    parameters = {
        "project": warehouse.project,
        "paths": list(known),
        "versions": list(known.values()),
    }
    rows = warehouse.query_named("incremental", "find_done", parameters).rows
    done = {path for (path,) in rows}
    kept = [source for source in sources if source.path not in done]
    skipped = [source for source in sources if source.path in done]
    # Members of a compressed tar share one temporary copy.
    needed = {source.location for source in kept}
    remove_spooled([source for source in skipped if source.location not in needed])
    return kept, skipped


def leave_out_empty_days(
    reading: Reading, unread: Sequence[LogFile], problems: Sequence[Problem]
) -> tuple[list[LogFile], list[Problem], list[date]]:
    """Return `unread` and `problems` without the days of a window that have no logs, and these days.

    That nothing at all is there for any day of a path is one problem; that the only day asked for has nothing
    is told as of any other path.
    """
    absent = {file.path for file in unread if file.status == "missing"}
    gone: set[str] = set()  # which are told of in other words, or not at all
    told = []
    for group in reading.groups:
        missing = [path for path in group if show_path(path) in absent]
        if not missing or len(group) == 1:
            continue
        gone.update(missing)
        if len(missing) == len(group):
            days = [day for path in group for day in reading.targets[path]]
            path = show_path(group[-1])
            message = t("window.all_empty", path=path, first=min(days), last=max(days))
            told.append(Problem("ingest", path, message))
    shown = {show_path(path) for path in gone}
    return (
        [file for file in unread if file.path not in shown],
        [*(problem for problem in problems if problem.subject not in shown), *told],
        list_empty_days(reading.targets, sorted(gone)),
    )

"""What is new: this run's findings against the earlier runs of its project.

* `new`: no earlier run told of it.
* `recurring`: it was open.
* `regressed`: it had been resolved, and is back.
* `resolved`: it was open, and each location where it still was has been read whole in this run and shows it
  no more.

Only reading resolves: a job that did not run, and a file that could not be read or only in part, resolves
nothing.

When the rules of fingerprints change, an old fingerprint can't be found again, though its failure may be
there under a new one. So an old one is resolved only once its locations show no failure at all.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from bifrost_flow.records import Finding, LogFile

# Names that tools give to standard input: today's and yesterday's need have nothing in common.
_NAMELESS = frozenset({"-", "stdin", "<stdin>", "/dev/stdin"})

# What changes in a log's path from one night to the next: UUIDs, dates, hashes of seven hex digits or more
# that hold a digit, and numbers of five digits or more. Shorter numbers tell jobs apart: `shard-2`, `py3.11`.
_VARYING = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|\d{4}-\d{2}-\d{2}(?:[T_ -]?\d{2}[:.-]?\d{2}(?:[:.-]?\d{2})?(?:\.\d+)?Z?)?"
    r"|(?<=/)\d{4}/\d{2}/\d{2}(?=/)"
    r"|(?<![0-9a-z])(?=[a-f]*\d)[0-9a-f]{7,}(?![0-9a-z])"
    r"|\d{5,}",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class PastFinding:
    """What earlier runs of a project know of one fingerprint."""

    first_seen: datetime
    last_seen: datetime
    latest: Finding | None  # as last told; None when it is resolved
    locations: frozenset[str]  # where it still is, as `name_location` names them


def name_location(path: str, job: str | None) -> str | None:
    """Return the name that a job's log keeps from run to run, or None where there is none (standard input).

    >>> name_location("logs/2026-11-23/run_8812345/lint.log", "lint")
    'logs/#/run_#/lint.log|lint'
    """
    if path in _NAMELESS:
        return job and f"|{job}"
    location = f"{_VARYING.sub('#', path)}|{job or ''}"
    # A file name that isn't UTF-8 must read here as it does when it comes back from the warehouse.
    return location.encode("utf-8", "backslashreplace").decode("utf-8")


def assign_statuses(
    findings: Sequence[Finding],
    *,
    seen: Mapping[str, Iterable[str]],
    files: Sequence[LogFile],
    history: Mapping[str, PastFinding],
) -> tuple[Finding, ...]:
    """Return `findings` with `status` and `first_seen` as history has them, then those that this run
    resolved.

    `seen` has the paths in which each fingerprint of the run occurred, also of those that got no finding
    because a budget ran out or the model failed. A resolved finding is as last told, with no occurrences and
    no files.
    """
    present = tuple(compare(finding, history.get(finding.fingerprint)) for finding in findings)
    locations = {file.path: name_location(file.path, file.job) for file in files}
    shown: dict[str, set[str]] = {}
    for fingerprint, paths in seen.items():
        for path in paths:
            location = locations.get(path)
            if location is not None:
                shown.setdefault(location, set()).add(fingerprint)
    incomplete = {locations[file.path] for file in files if file.status != "read"}
    covered = {location for location in locations.values() if location is not None} - incomplete
    known = seen.keys() | {finding.fingerprint for finding in findings}
    resolved = (
        replace(past.latest, status="resolved", first_seen=past.first_seen, occurrences=0, files=0)
        for fingerprint, past in history.items()
        if past.latest is not None
        and fingerprint not in known
        and past.locations
        and past.locations <= covered
        and not any(_may_be_renamed(fingerprint, shown.get(location, set())) for location in past.locations)
    )
    return (*present, *sorted(resolved, key=lambda finding: finding.fingerprint))


def compare(finding: Finding, past: PastFinding | None) -> Finding:
    """Return `finding` with `status` and `first_seen` as what is known of its fingerprint has them."""
    if past is None:
        return replace(finding, status="new")
    status = "recurring" if past.latest is not None else "regressed"
    return replace(finding, status=status, first_seen=min(past.first_seen, finding.first_seen))


def _may_be_renamed(fingerprint: str, shown: Iterable[str]) -> bool:
    """Tell whether one of `shown` was made by other rules, and so may be the same failure."""
    rules = fingerprint.partition(":")[0]
    return any(other.partition(":")[0] != rules for other in shown)

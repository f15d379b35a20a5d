"""What two runs differ in, failure by failure.

* `new`: in the newer run, and nobody knew of it when the older one began.
* `regressed`: in the newer run, known before the older one, and gone in that.
* `recurring`: in both; or in the newer one, known before the older one, which did not look where it is.
* `resolved`: in the older run, and the newer one has read all its logs whole without it.
* `not_seen`: in the older run, and the newer one has not looked at all its logs: their jobs did not run, they
  could not be read, or only some of their events were looked at.

Failures that neither run has a finding of are left out. A job is told by what its log's path keeps from run
to run, as for the statuses.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bifrost_flow.records import SEVERITIES, Finding, Report, Run
from bifrost_flow.status import list_covered, name_location

CHANGES = ("new", "regressed", "recurring", "resolved", "not_seen")


@dataclass(frozen=True, slots=True)
class Sighting:
    """A failure at a place in a run."""

    fingerprint: str
    location: str | None  # as `status.name_location` names it
    occurrences: int


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one failure from the older run to the newer."""

    change: str  # one of CHANGES
    finding: Finding  # as the newer run told it, else the older
    before: int | None  # occurrences in the older run; None where it did not look
    after: int | None  # and in the newer
    not_looked_at: tuple[str, ...] = ()  # the older run's logs of which the newer one says nothing


@dataclass(frozen=True, slots=True)
class Difference:
    """Two runs and what they differ in, in the order of CHANGES."""

    older: Run
    newer: Run
    changes: tuple[Change, ...]

    def count(self) -> dict[str, int]:
        """Return how many failures changed in each way, all ways being present."""
        counts = Counter(each.change for each in self.changes)
        return {change: counts[change] for change in CHANGES}


@dataclass(slots=True)
class _Failure:
    """One failure in one run, whatever rules its fingerprint was made by."""

    finding: Finding | None
    occurrences: int
    locations: set[str | None]


@dataclass(frozen=True, slots=True)
class _Side:
    run: Run
    failures: Mapping[str, _Failure]
    covered: frozenset[str]
    paths: Mapping[str | None, str]


def compare_runs(
    older: Report,
    newer: Report,
    *,
    seen: tuple[Sequence[Sighting], Sequence[Sighting]],
    successions: Iterable[tuple[str, str]] = (),
) -> Difference:
    """Return what became of each failure from `older` to `newer`.

    `seen` are the failures of both runs with their places, those without a finding included. `successions`
    are pairs of fingerprints that different rules made of the same failures.
    """
    names = unite_names(successions)
    before, after = (
        _build_side(report, sightings, names) for report, sightings in zip((older, newer), seen, strict=True)
    )
    changes = [
        change
        for name in before.failures.keys() | after.failures.keys()
        if (change := _compare(before.failures.get(name), after.failures.get(name), before, after))
    ]
    return Difference(older.run, newer.run, tuple(sorted(changes, key=_order)))


def _compare(old: _Failure | None, new: _Failure | None, before: _Side, after: _Side) -> Change | None:
    findings = [failure.finding for failure in (new, old) if failure is not None]
    finding = next((finding for finding in findings if finding is not None), None)
    if finding is None:
        return None
    if new is None:
        assert old is not None
        unseen = _list_unseen(old, before, after)
        return Change(
            "not_seen" if unseen else "resolved", finding, old.occurrences, None if unseen else 0, unseen
        )
    if old is not None:
        return Change("recurring", finding, old.occurrences, new.occurrences)
    looked = new.locations <= before.covered
    if finding.first_seen >= before.run.started_at:
        return Change("new", finding, 0 if looked else None, new.occurrences)
    return Change("regressed" if looked else "recurring", finding, 0 if looked else None, new.occurrences)


def _list_unseen(old: _Failure, before: _Side, after: _Side) -> tuple[str, ...]:
    """Return the logs of a failure that the later run says nothing of."""
    paths = (before.paths.get(location, "-") for location in old.locations - after.covered)
    return tuple(sorted(paths))


def _build_side(report: Report, sightings: Sequence[Sighting], names: Mapping[str, str]) -> _Side:
    failures: dict[str, _Failure] = {}
    for each in sightings:
        name = names.get(each.fingerprint, each.fingerprint)
        failure = failures.setdefault(name, _Failure(None, 0, set()))
        failure.occurrences += each.occurrences
        failure.locations.add(each.location)
    told: dict[str, int] = {}
    for finding in report.findings:
        if finding.status != "resolved":
            name = names.get(finding.fingerprint, finding.fingerprint)
            failure = failures.setdefault(name, _Failure(None, 0, {None}))
            failure.finding = failure.finding or finding
            told[name] = told.get(name, 0) + finding.occurrences
    for name, occurrences in told.items():
        failures[name].occurrences = occurrences
    run = report.run
    looked_at_all = not run.filtered and run.status != "interrupted"
    covered = frozenset(list_covered(report.files)) if looked_at_all else frozenset()
    paths = {name_location(file.path, file.job): file.path for file in report.files}
    return _Side(run, failures, covered, paths)


def unite_names(successions: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return one name for each of the fingerprints that are of the same failure."""
    names: dict[str, str] = {}
    for one, other in successions:
        kept, dropped = names.get(one, one), names.get(other, other)
        if dropped != kept and other in names:
            names |= {name: kept for name, united in names.items() if united == dropped}
        names |= {one: kept, other: kept}
    return names


def _order(change: Change) -> tuple[int, int, int, str, str]:
    finding = change.finding
    return (
        CHANGES.index(change.change),
        -SEVERITIES.index(finding.severity) if finding.severity in SEVERITIES else 0,
        -(change.after or change.before or 0),
        finding.title,
        finding.fingerprint,
    )

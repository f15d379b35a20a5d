"""What is new: this run's findings against the earlier runs of its project.

* `new`: no earlier run told of it.
* `recurring`: it was open.
* `regressed`: it had been resolved, and is back.
* `resolved`: it was open, and each location where it still was has been read whole since it was last there,
  and shows it no more.

Only an audit's reading resolves. A job that did not run, a file that could not be read or only in part, a
failure that nobody explained, and a run that was interrupted or looked at some events only resolve nothing.
See docs/decisions/0013-statuses.md.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from bifrost_flow.records import Finding, LogFile

# Names that tools give to standard input: today's and yesterday's need have nothing in common.
_NAMELESS = frozenset({"-", "stdin", "<stdin>", "/dev/stdin"})

# What changes in a log's path, or a job's name, from one night to the next: names of Kubernetes pods after
# the controller's own (`-7d9f8b6c5d-x2x9k`, `-28273460-x2x9k`; its letters are those of SafeEncodeString in
# k8s.io/apimachinery), UUIDs, dates and times, folders of year, month, day and hour, hashes of seven hex
# digits or more that hold a digit, and numbers of five digits or more. Shorter numbers tell jobs apart:
# `shard-2`, `py3.11`.
_POD = "[bcdfghjklmnpqrstvwxz2456789]"
_VARYING = re.compile(
    rf"(?<=-)(?:{_POD}{{8,10}}|\d{{5,}})-{_POD}{{5}}(?![0-9a-z])|"
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|\d{4}([-_.])\d{2}\1\d{2}(?:[T_ -]?\d{2}[:._-]?\d{2}(?:[:._-]?\d{2})?(?:\.\d+)?Z?)?"
    r"|(?<!\d)\d{2}([-_.])\d{2}\2(?:19|20)\d{2}(?!\d)"
    r"|(?<!\d)(?:19|20)\d{2}-?(?:(?:0[1-9]|1[0-2])|W\d{2})(?!\d)"
    r"|(?<![^/])\d{4}/\d{2}/\d{2}(?:/\d{2})?(?=[/.]|$)"
    r"|(?<![^/])(?:year|month|day|hour|date|dt)=[^/]+"
    r"|(?<![0-9a-z])(?=[a-f]*\d)[0-9a-f]{7,}(?![0-9a-z])"
    r"|\d{5,}",
    re.IGNORECASE,
)
# Numbers of builds may be short: a folder `builds/87`, `run-12`, or a file `build-1234.log`.
_BUILD = re.compile(
    r"(?<![^/!])((?:builds?|runs?|attempts?|pipelines?)[-_#/])#?(?:\d+(?=[/!])|\d{3,}(?=[.]|$))",
    re.IGNORECASE,
)
# Of these, hashes, UUIDs and pods have no order, other than pods of a CronJob, whose number is a time.
_NO_ORDER = re.compile(r"[^\dTWZ:._\-/ ]", re.IGNORECASE)
_CRON_POD = re.compile(rf"\d{{5,}}-{_POD}{{5}}$")
_DAY_FIRST = re.compile(r"\d{2}([-_.])\d{2}\1\d{4}")


@dataclass(frozen=True, slots=True)
class PastFinding:
    """What other runs of a project know of one fingerprint."""

    first_seen: datetime
    last_seen: datetime
    latest: Finding | None  # as last told; None when it is resolved
    # Where it still is, as `name_location` names them: empty when all were read clean since, None when
    # nothing can tell that it is gone.
    locations: frozenset[str] | None
    is_successor: bool = False  # it took the place of one that other rules had made


def name_location(path: str, job: str | None) -> str | None:
    """Return the name that a job's log keeps from run to run, or None where there is none (standard input).

    >>> name_location("logs/2026-11-23/run_8812345/lint.log", "lint")
    'logs/#/run_#/lint.log|lint'
    """
    if path in _NAMELESS and not job:
        return None
    return _name_path(path) + _to_stored(_VARYING.sub("#", job or ""))


def _name_path(path: str) -> str:
    """Return the part of a location that a log's path gives it."""
    if path in _NAMELESS:
        return "|"
    return _to_stored(_VARYING.sub("#", _BUILD.sub(r"\1#", path.removeprefix("./")))) + "|"


def _to_stored(name: str) -> str:
    # A name that isn't UTF-8 must read here as it does when it comes back from the warehouse.
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def assign_statuses(
    findings: Sequence[Finding],
    *,
    seen: Mapping[str, Iterable[str]],
    files: Sequence[LogFile],
    history: Mapping[str, PastFinding],
    mentioned: Collection[str] = (),
    formerly: Mapping[str, Collection[str]] | None = None,
    resolving: bool = True,
) -> tuple[Finding, ...]:
    """Return `findings` with `status` and `first_seen` as history has them, then those that this run
    resolved, if it is one that resolves.

    `seen` has the paths in which each fingerprint of the run occurred, also of those that got no finding
    because a budget ran out or the model failed. `mentioned` are fingerprints that the logs of jobs that did
    not pass show beside their failures: what was a failure and is now a detail is not gone. `formerly` has,
    by fingerprint, those of `history` that other rules made of the same failures. A resolved finding is as
    last told, with no occurrences and no files.
    """
    formerly = formerly or {}
    present = tuple(
        compare(finding, list_past(finding.fingerprint, history, formerly)) for finding in findings
    )
    if not resolving:
        return present
    covered, shown = list_covered(files), _list_shown(seen, files)
    known = {*seen, *mentioned, *(finding.fingerprint for finding in findings), *_flatten(formerly.values())}
    renamed = {*formerly, *(name for name, past in history.items() if past.is_successor)}
    resolved = (
        replace(past.latest, status="resolved", first_seen=past.first_seen, occurrences=0, files=0)
        for fingerprint, past in history.items()
        if past.latest is not None
        and fingerprint not in known
        and past.locations is not None
        and past.locations <= covered
        and not any(
            _may_be_renamed(fingerprint, shown.get(location, set()) - renamed) for location in past.locations
        )
    )
    return (*present, *sorted(resolved, key=lambda finding: finding.fingerprint))


def compare(finding: Finding, past: Sequence[PastFinding]) -> Finding:
    """Return `finding` with `status` and `first_seen` as what is known of its fingerprints has them."""
    if not past:
        return replace(finding, status="new")
    status = "recurring" if any(each.latest is not None for each in past) else "regressed"
    first_seen = min(finding.first_seen, *(each.first_seen for each in past))
    return replace(finding, status=status, first_seen=first_seen)


def list_past(
    fingerprint: str, history: Mapping[str, PastFinding], formerly: Mapping[str, Collection[str]]
) -> list[PastFinding]:
    """Return what is known of a fingerprint, and of those that it takes the place of."""
    names = (fingerprint, *formerly.get(fingerprint, ()))
    return [history[name] for name in names if name in history]


def list_covered(files: Sequence[LogFile]) -> set[str]:
    """Return the locations whose files were all read whole, and of which none was read aside of others.

    What job an unread file is of is not known, so it stands for all jobs of its path.
    """
    unread = {_name_path(file.path) for file in files if file.status != "read" or file.aside}
    return {
        location
        for file in files
        if _name_path(file.path) not in unread and (location := name_location(file.path, file.job))
    }


def set_aside(
    files: Sequence[LogFile], failing: Iterable[str], *, left_out: Collection[str] = ()
) -> list[LogFile]:
    """Return `files`, those marked `aside` that tell nothing of how their place is now.

    `failing` are other logs of the project that showed a failure when they were last read. One that is later
    than a file, by the dates and numbers in their paths, or that the run left out and is not earlier, still
    stands for the place.
    """
    own = {file.path for file in files}
    others: dict[str, list[str]] = {}
    for path in set(failing) - own:
        others.setdefault(_name_path(path), []).append(path)

    def is_aside(path: str) -> bool:
        for other in others.get(_name_path(path), ()):
            is_later = _is_later(other, path)
            if is_later or (is_later is None and other in left_out):
                return True
        return False

    return (
        [replace(file, aside=True) if is_aside(file.path) else file for file in files] if others else [*files]
    )


def _is_later(path: str, other: str) -> bool | None:
    """Tell which of two logs of a place is the later one; None where their paths don't say.

    >>> _is_later("ci/2026-11-02/run_12345/x.log", "ci/2026-11-02/run_9999/x.log")
    True
    """
    for mine, theirs in zip(_list_order(path), _list_order(other), strict=False):
        if mine and theirs and mine != theirs:
            return mine > theirs
    return None


def _list_order(path: str) -> list[tuple[int, ...]]:
    """Return the dates and numbers that vary in a path; one of names without an order is empty."""
    varying = [_read_order(match[0]) for match in _VARYING.finditer(_BUILD.sub(r"\1#", path))]
    return [*varying, *(_read_numbers(match[0]) for match in _BUILD.finditer(path))]


def _read_order(text: str) -> tuple[int, ...]:
    numbers = _read_numbers(text)
    if _CRON_POD.match(text):
        return numbers[:1]
    if _NO_ORDER.search(text.rpartition("=")[2]):
        return ()
    return numbers[::-1] if _DAY_FIRST.fullmatch(text) else numbers


def _read_numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)))


def _list_shown(seen: Mapping[str, Iterable[str]], files: Sequence[LogFile]) -> dict[str, set[str]]:
    """Return the fingerprints that each location shows."""
    locations = {file.path: name_location(file.path, file.job) for file in files}
    shown: dict[str, set[str]] = {}
    for fingerprint, paths in seen.items():
        for path in paths:
            location = locations.get(path)
            if location is not None:
                shown.setdefault(location, set()).add(fingerprint)
    return shown


def _flatten(names: Iterable[Collection[str]]) -> Iterable[str]:
    return (name for each in names for name in each)


def name_rules(fingerprint: str) -> str:
    """Return the tag of the rules that made a fingerprint."""
    return fingerprint.partition(":")[0]


def _may_be_renamed(fingerprint: str, shown: Iterable[str]) -> bool:
    """Tell whether one of `shown` was made by other rules, and so may be the same failure."""
    return any(name_rules(other) != name_rules(fingerprint) for other in shown)

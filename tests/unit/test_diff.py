"""What two runs differ in, by failure, and what can't be told since nobody looked."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bifrost_flow.diff import CHANGES, Difference, Sighting, compare_runs
from bifrost_flow.records import Finding, LogFile, Report
from bifrost_flow.status import name_location
from tests.samples import STARTED, make_report
from tests.unit.test_status import build_file, build_finding

Failures = dict[str, dict[str, int]]  # by fingerprint, how often in which log


def build_report(day: int, failures: Failures, files: list[LogFile], *, since: dict[str, int]) -> Report:
    """Return the report of a run on `day`; `since` is the day of a failure's first sight, if not that day."""
    now = STARTED + timedelta(days=day)
    report = make_report()
    findings = [
        replace(
            build_finding(name),
            occurrences=sum(places.values()),
            first_seen=STARTED + timedelta(days=since.get(name, day)),
        )
        for name, places in failures.items()
    ]
    run = replace(report.run, started_at=now, run_id=f"run-{day}")
    return replace(report, run=run, findings=tuple(findings), files=tuple(files))


def list_sightings(failures: Failures) -> list[Sighting]:
    return [
        Sighting(name, name_location(path, None), count)
        for name, places in failures.items()
        for path, count in places.items()
    ]


def compare(
    old: Failures,
    new: Failures,
    *,
    old_files: tuple[str, ...] = ("1/lint.log", "1/test.log"),
    new_files: tuple[str, ...] = ("1/lint.log", "1/test.log"),
    since: dict[str, int] | None = None,
    successions: tuple[tuple[str, str], ...] = (),
) -> Difference:
    since = {**dict.fromkeys(old, 1), **(since or {})}
    return compare_runs(
        build_report(1, old, [build_file(path) for path in old_files], since=since),
        build_report(3, new, [build_file(path) for path in new_files], since=since),
        seen=(list_sightings(old), list_sightings(new)),
        successions=successions,
    )


def read(difference: Difference) -> dict[str, tuple[str, int | None, int | None]]:
    return {each.finding.fingerprint: (each.change, each.before, each.after) for each in difference.changes}


def test_each_way_to_change() -> None:
    """New, regressed, recurring with its counts, resolved, and not seen since its log is not there."""
    difference = compare(
        {"f1:stays": {"1/lint.log": 2}, "f1:goes": {"1/lint.log": 1}, "f1:absent": {"1/test.log": 4}},
        {"f1:stays": {"1/lint.log": 5}, "f1:comes": {"1/lint.log": 1}, "f1:back": {"1/lint.log": 3}},
        new_files=("1/lint.log",),
        since={"f1:back": 0},
    )
    assert read(difference) == {
        "f1:comes": ("new", 0, 1),
        "f1:back": ("regressed", 0, 3),
        "f1:stays": ("recurring", 2, 5),
        "f1:goes": ("resolved", 1, 0),
        "f1:absent": ("not_seen", 4, None),
    }
    assert [each.change for each in difference.changes] == list(CHANGES)
    assert difference.changes[-1].not_looked_at == ("1/test.log",)
    assert set(difference.count().values()) == {1}


def test_failure_of_two_logs_is_gone_once_both_are_clean() -> None:
    """One log without it is not enough; which one is missing is told."""
    old = {"f1:a": {"1/lint.log": 1, "1/test.log": 1}}
    (change,) = compare(old, {}, new_files=("1/lint.log",)).changes
    assert (change.change, change.not_looked_at) == ("not_seen", ("1/test.log",))
    assert read(compare(old, {})) == {"f1:a": ("resolved", 2, 0)}


def test_what_the_older_run_did_not_look_at_is_not_called_regressed() -> None:
    """A failure that was known, in a log that the older run lacks, was there for all that is known."""
    difference = compare(
        {},
        {"f1:a": {"1/test.log": 2}, "f1:b": {"1/test.log": 1}},
        old_files=("1/lint.log",),
        since={"f1:a": 0},
    )
    assert read(difference) == {"f1:a": ("recurring", None, 2), "f1:b": ("new", None, 1)}


@pytest.mark.parametrize("change", [{"filtered": True}, {"status": "interrupted"}])
def test_run_that_looked_at_a_part_resolves_nothing(change: dict) -> None:
    """A filtered or interrupted run has not seen that something is gone."""
    old: Failures = {"f1:a": {"1/lint.log": 1}}
    files = [build_file("1/lint.log")]
    newer = build_report(3, {}, files, since={})
    difference = compare_runs(
        build_report(1, old, files, since={}),
        replace(newer, run=replace(newer.run, **change)),
        seen=(list_sightings(old), []),
    )
    assert read(difference) == {"f1:a": ("not_seen", 1, None)}


def test_failure_without_an_answer_is_there_all_the_same() -> None:
    """What the newer run saw and nobody explained recurs, told as the older run did; what neither explained
    is left out."""
    old: Failures = {"f1:a": {"1/lint.log": 2}}
    files = [build_file("1/lint.log")]
    difference = compare_runs(
        build_report(1, old, files, since={}),
        build_report(3, {}, files, since={}),
        seen=(
            [*list_sightings(old), Sighting("f1:x", "1/lint.log|", 1)],
            [Sighting("f1:a", "1/lint.log|", 3), Sighting("f1:y", "1/lint.log|", 1)],
        ),
    )
    assert read(difference) == {"f1:a": ("recurring", 2, 3)}


def test_names_by_other_rules_are_of_the_same_failure() -> None:
    """Across a change of rules a failure recurs, through several names, and those that became one count
    together."""
    old: Failures = {"f1:a": {"1/lint.log": 2}, "f1:b": {"1/lint.log": 1}}
    new: Failures = {"f3:a": {"1/lint.log": 4}}
    pairs = (("f2:a", "f1:a"), ("f3:a", "f2:a"), ("f2:a", "f1:b"))
    assert read(compare(old, new, since={"f3:a": 1}, successions=pairs)) == {"f3:a": ("recurring", 3, 4)}


logs = st.sampled_from(["1/lint.log", "1/test.log", "1/docs.log"])
failures = st.dictionaries(
    st.sampled_from(["f1:a", "f1:b", "f1:c"]), st.dictionaries(logs, st.integers(1, 3), min_size=1)
)


@given(old=failures, new=failures, old_read=st.sets(logs), new_read=st.sets(logs))
def test_changes_follow_from_what_was_seen_and_read(
    old: Failures, new: Failures, old_read: set[str], new_read: set[str]
) -> None:
    """Each failure of either run changes in exactly one way, and only reading makes one gone."""
    old_read |= {path for places in old.values() for path in places}
    new_read |= {path for places in new.values() for path in places}
    difference = compare(old, new, old_files=tuple(old_read), new_files=tuple(new_read))
    changes = {each.finding.fingerprint: each.change for each in difference.changes}
    assert len(changes) == len(difference.changes)
    expected = {}
    for name in old.keys() | new.keys():
        if name in old and name in new:
            expected[name] = "recurring"
        elif name in new:
            expected[name] = "new"
        else:
            expected[name] = "resolved" if old[name].keys() <= new_read else "not_seen"
    assert changes == expected
    assert all(isinstance(each.finding, Finding) for each in difference.changes)

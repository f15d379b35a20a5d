"""New, recurring, regressed and resolved, over nights kept in plain values instead of a warehouse."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bifrost_flow.records import Evidence, Finding, LogFile
from bifrost_flow.status import PastFinding, assign_statuses, list_covered, name_location, set_aside
from tests.warehouse_rows import FINDING

FIRST_NIGHT = datetime(2026, 11, 1, 2, tzinfo=UTC)


def build_finding(fingerprint: str, night: int = 0) -> Finding:
    now = FIRST_NIGHT + timedelta(days=night)
    return replace(
        FINDING,
        fingerprint=fingerprint,
        title=f"{fingerprint} failed",
        evidence=(Evidence("lint.log", 3, "boom"),),
        occurrences=2,
        first_seen=now,
        last_seen=now,
    )


def build_file(path: str, *, job: str | None = None, status: str = "read") -> LogFile:
    return LogFile(path, None, 1, 1, "utf-8", "plain", None, job, None, None, "failed", status, None)


def build_past(fingerprint: str, *locations: str | None, is_open: bool = True) -> PastFinding:
    latest = build_finding(fingerprint) if is_open else None
    named = frozenset(location for location in locations if location)
    return PastFinding(FIRST_NIGHT, FIRST_NIGHT, latest, named or None)


def compare(
    seen: Mapping[str, Sequence[str]],
    files: Sequence[LogFile],
    history: Mapping[str, PastFinding],
    *,
    found: Sequence[str] | None = None,
) -> dict[str, str]:
    """Return the status of each fingerprint; `found` are those that got a finding (default: all seen)."""
    findings = [build_finding(fingerprint, night=5) for fingerprint in (seen if found is None else found)]
    result = assign_statuses(findings, seen=seen, files=files, history=history)
    return {finding.fingerprint: finding.status for finding in result}


LINT = name_location("lint.log", None)
TEST = name_location("test.log", None)


def test_unknown_fingerprint_is_new() -> None:
    """A fingerprint that no earlier run told of is new."""
    assert compare({"f1:a": ["lint.log"]}, [build_file("lint.log")], {}) == {"f1:a": "new"}


def test_open_fingerprint_recurs_with_its_first_time() -> None:
    """What was open and is there again recurs, and keeps when it was first seen."""
    history = {"f1:a": build_past("f1:a", LINT)}
    (finding,) = assign_statuses(
        [build_finding("f1:a", night=5)],
        seen={"f1:a": ["lint.log"]},
        files=[build_file("lint.log")],
        history=history,
    )
    assert (finding.status, finding.first_seen) == ("recurring", FIRST_NIGHT)
    assert finding.last_seen == FIRST_NIGHT + timedelta(days=5)


def test_resolved_fingerprint_that_is_back_regressed() -> None:
    """What had been resolved and is there again regressed."""
    history = {"f1:a": build_past("f1:a", is_open=False)}
    assert compare({"f1:a": ["lint.log"]}, [build_file("lint.log")], history) == {"f1:a": "regressed"}


def test_finding_gone_from_a_log_that_was_read_is_resolved() -> None:
    """What was open, and isn't in the log any more, gets a row as it was last told, without occurrences."""
    history = {"f1:a": build_past("f1:a", LINT)}
    (finding,) = assign_statuses([], seen={}, files=[build_file("lint.log")], history=history)
    assert finding == replace(build_finding("f1:a"), status="resolved", occurrences=0, files=0)


def test_what_is_resolved_already_is_not_resolved_again() -> None:
    """A resolved finding is told once, not every night from then on."""
    assert compare({}, [build_file("lint.log")], {"f1:a": build_past("f1:a", LINT, is_open=False)}) == {}


def test_job_that_did_not_run_resolves_nothing() -> None:
    """Without its log in the run, a finding stays open."""
    assert compare({}, [build_file("test.log")], {"f1:a": build_past("f1:a", LINT)}) == {}


@pytest.mark.parametrize("status", ["truncated", "empty", "binary", "unreadable", "missing", "too_large"])
def test_file_that_was_not_read_whole_resolves_nothing(status: str) -> None:
    """A log that gave no lines, or only some, says nothing of what is gone."""
    assert compare({}, [build_file("lint.log", status=status)], {"f1:a": build_past("f1:a", LINT)}) == {}


def test_all_logs_must_be_clean_to_resolve() -> None:
    """A failure of two jobs is resolved once both ran without it, not when the first did."""
    history = {"f1:a": build_past("f1:a", LINT, TEST)}
    assert compare({}, [build_file("lint.log")], history) == {}
    assert compare({}, [build_file("lint.log"), build_file("test.log")], history) == {"f1:a": "resolved"}


def test_failure_without_an_answer_is_not_resolved() -> None:
    """A failure that the budget left out, or that the model gave no answer for, is still there."""
    history = {"f1:a": build_past("f1:a", LINT)}
    assert compare({"f1:a": ["lint.log"]}, [build_file("lint.log")], history, found=[]) == {}


def test_log_of_another_night_is_the_same_log() -> None:
    """Dates, run numbers and commit hashes in a path don't keep a finding from being resolved."""
    before = name_location("logs/2026-11-01/run_8812345/3f2a9bc1/lint.log", "lint")
    files = [build_file("logs/2026-11-02/run_8812399/77aa01d/lint.log", job="lint")]
    assert compare({}, files, {"f1:a": build_past("f1:a", before)}) == {"f1:a": "resolved"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("shard-1.log", None), ("shard-2.log", None)),
        (("py3.11/test.log", None), ("py3.12/test.log", None)),
        (("build-php82.log", None), ("build-php74.log", None)),
        (("pods/web-0/app.log", None), ("pods/web-1/app.log", None)),
        (("build-1.log", None), ("build-2.log", None)),
        (("web/build.log", "build"), ("api/build.log", "build")),
        (("build.log", "lint"), ("build.log", "test")),
    ],
)
def test_other_job_is_another_log(one: tuple[str, str | None], other: tuple[str, str | None]) -> None:
    """Shards, matrix versions, repositories and jobs are told apart."""
    assert name_location(*one) != name_location(*other)


@pytest.mark.parametrize(
    "path",
    [
        "logs/{}/app.log",
        "s3/app-{}.log",
        "app.{}.log",
    ],
)
@pytest.mark.parametrize(
    ("tonight", "tomorrow"),
    [
        ("2026-11-01", "2026-12-31"),
        ("2026-11-01T02:00:00Z", "2026-11-02T02:00:17Z"),
        ("20261101", "20261102"),
        ("2026-11-01_0200", "2026-11-02_0213"),
        ("8812345678", "8812399999"),
        ("550e8400-e29b-41d4-a716-446655440000", "6fa459ea-ee8a-3ca4-894e-db77e160355e"),
        ("3f2a9bc1d0", "77aa01d9fe"),
    ],
)
def test_varying_part_of_a_path_is_masked(path: str, tonight: str, tomorrow: str) -> None:
    """Whatever marks one night's log among others is no part of the log's name."""
    assert name_location(path.format(tonight), None) == name_location(path.format(tomorrow), None)


def test_folders_of_year_month_and_day_are_masked() -> None:
    """S3's usual prefix of year, month and day is a date."""
    assert name_location("ci/2026/11/01/lint.log", None) == name_location("ci/2026/12/24/lint.log", None)


@pytest.mark.parametrize(
    "path",
    [
        "{}/11/{}/lint.log",
        "logs/year={}/month=11/day={}/hour=02/lint.log",
        "logs/{}/11/{}/02/lint.log.gz",
        "ci/{}/11/{}.log",
        "logs/{}.11.{}/lint.log",
        "logs/{}_11_{}T02-00-00/lint.log",
        "logs/lint-{}-11/lint.log",
        "jobs/web/builds/{1}/log",
        "ci/run-{1}/lint.log",
        "ci/attempt-{1}/lint.log",
        "ci/build-9{1}.log",
        "./logs/lint-{}-11.log",
        "pods/web-7d9f8b6c{1}-x2x9k_default_app.log",
        "pods/backup-282734{1}-x2x9k/app.log",
    ],
)
def test_layouts_of_nights_and_builds_are_masked(path: str) -> None:
    """A night is a folder, a partition, a part of the name or a build's number, however it is written."""
    one, other = (name_location(path.format(year, day), None) for year, day in ((2026, 24), (2027, 25)))
    assert one == other
    assert name_location(path.replace("l", "x").format(2026, 24), None) != one


def test_name_of_a_job_is_masked_too() -> None:
    """A run's number in what the log calls its job does not make another job of it."""
    assert name_location("lint.log", "lint 2026-11-24 (8812345)") == name_location(
        "lint.log", "lint 2026-11-25 (8812399)"
    )


def test_unread_log_stands_for_all_jobs_of_its_path() -> None:
    """What job an unread log is of is not known, so nothing of its name is gone."""
    history = {"f1:a": build_past("f1:a", name_location("2026-11-01/ci.log", "lint"))}
    files = [
        build_file("2026-11-01/ci.log", job="lint"),
        build_file("2026-11-02/ci.log", status="unreadable"),
    ]
    assert compare({}, files[:1], history) == {"f1:a": "resolved"}
    assert compare({}, files, history) == {}


def test_failure_that_became_a_detail_is_not_gone() -> None:
    """Where something else fails first, a failure may stand beside it as a warning; it is still there."""
    files, history = [build_file("lint.log")], {"f1:a": build_past("f1:a", LINT)}
    assert assign_statuses([], seen={}, files=files, history=history, mentioned={"f1:a"}) == ()
    assert len(assign_statuses([], seen={}, files=files, history=history, mentioned={"f1:b"})) == 1


def test_run_that_did_not_look_at_everything_resolves_nothing() -> None:
    """A filtered or interrupted run, or a look at one log, tells what is there and no more."""
    history = {"f1:a": build_past("f1:a", LINT), "f1:b": build_past("f1:b", LINT)}
    found = assign_statuses(
        [build_finding("f1:b")],
        seen={"f1:b": ["lint.log"]},
        files=[build_file("lint.log")],
        history=history,
        resolving=False,
    )
    assert [(finding.fingerprint, finding.status) for finding in found] == [("f1:b", "recurring")]


def test_what_was_read_clean_meanwhile_is_resolved_by_the_next_run() -> None:
    """Where an overlapping run has read the last place clean without knowing of the failure, the next one
    tells; where nothing can tell, it stays open."""
    clean = PastFinding(FIRST_NIGHT, FIRST_NIGHT, build_finding("f1:a"), frozenset())
    assert compare({}, [build_file("test.log")], {"f1:a": clean}) == {"f1:a": "resolved"}
    assert compare({}, [build_file("test.log")], {"f1:a": replace(clean, locations=None)}) == {}


def test_failure_that_was_found_again_under_new_rules_goes_on() -> None:
    """It keeps its first time and its state; the old fingerprint is not resolved, others of its log are."""
    history = {
        "f1:a": build_past("f1:a", LINT),
        "f1:b": build_past("f1:b", LINT, is_open=False),
        "f1:c": build_past("f1:c", LINT),
    }
    found = assign_statuses(
        [build_finding("f2:x", night=5), build_finding("f2:y", night=5)],
        seen={"f2:x": ["lint.log"], "f2:y": ["lint.log"]},
        files=[build_file("lint.log")],
        history=history,
        formerly={"f2:x": ["f1:a"], "f2:y": ["f1:b"]},
    )
    assert [(finding.fingerprint, finding.status, finding.first_seen) for finding in found] == [
        ("f2:x", "recurring", FIRST_NIGHT),
        ("f2:y", "regressed", FIRST_NIGHT),
        ("f1:c", "resolved", FIRST_NIGHT),
    ]


@pytest.mark.parametrize("path", ["-", "<stdin>"])
def test_standard_input_resolves_nothing(path: str) -> None:
    """What is piped in today has nothing to do with what was piped in yesterday."""
    assert name_location(path, None) is None
    assert compare({}, [build_file(path)], {"f1:a": build_past("f1:a", name_location(path, None))}) == {}


def test_failure_under_new_rules_keeps_the_old_one_open() -> None:
    """After the rules changed, a log's failure may be the old one; a clean log still resolves it."""
    history = {"f1:a": build_past("f1:a", LINT)}
    assert compare({"f2:x": ["lint.log"]}, [build_file("lint.log")], history) == {"f2:x": "new"}
    assert compare({}, [build_file("lint.log")], history) == {"f1:a": "resolved"}


def test_name_that_is_not_utf8_compares_with_what_the_tables_hold() -> None:
    """A byte that is no text is named as the warehouse stores it."""
    location = name_location("caf\udce9.log", None)
    assert location == "caf\\udce9.log|"


names = st.sampled_from(["f1:a", "f1:b", "f1:c", "f2:d"])
paths = st.sampled_from(["lint.log", "test.log", "-", "shard-1.log"])


@given(
    seen=st.dictionaries(names, st.lists(paths, min_size=1, max_size=3)),
    read=st.dictionaries(paths, st.sampled_from(["read", "truncated", "unreadable"])),
    past=st.dictionaries(names, st.tuples(st.booleans(), st.sets(paths))),
)
def test_every_status_follows_from_history(
    seen: dict[str, list[str]], read: dict[str, str], past: dict[str, tuple[bool, set[str]]]
) -> None:
    """Present findings have their status by history alone; only absent open ones are resolved."""
    history = {
        name: build_past(name, *(name_location(path, None) for path in where), is_open=is_open)
        for name, (is_open, where) in past.items()
    }
    files = [build_file(path, status=status) for path, status in read.items()]
    statuses = compare(seen, files, history)
    for name in seen:
        expected = "new" if name not in past else "recurring" if past[name][0] else "regressed"
        assert statuses.pop(name) == expected
    for name, status in statuses.items():
        assert status == "resolved"
        assert past[name][0]
        assert past[name][1] - {"-"}
        assert all(read.get(path) == "read" for path in past[name][1] - {"-"})


@pytest.mark.parametrize(
    ("failing", "read", "aside"),
    [
        ("ci/2026/11/02/x.log", "ci/2026/11/01/x.log", "always"),
        ("ci/2026/11/02/x.log", "ci/2026/11/03/x.log", "never"),
        ("30-10-2026/x.log", "02-11-2026/x.log", "never"),
        ("02-11-2026/x.log", "30-10-2026/x.log", "always"),
        ("year=2026/month=9/x.log", "year=2026/month=10/x.log", "never"),
        ("run_99999/x.log", "run_100000/x.log", "never"),
        ("builds/12/x.log", "builds/9/x.log", "always"),
        ("1a2b3c4d5e/2026-11-02/x.log", "9f8e7d6c5b/2026-11-01/x.log", "always"),
        ("1a2b3c4d5e/x.log", "9f8e7d6c5b/x.log", "left out"),
        ("web-7d9f8b6c5d-x2x9k.log", "web-7d9f8b6c5d-bcdfg.log", "left out"),
        ("sync-28273460-x2x9k.log", "sync-28273520-bcdfg.log", "never"),
        ("ci/2026-11-02/y.log", "ci/2026-11-01/x.log", "never"),
        ("x.log", "x.log", "never"),
    ],
)
def test_a_failing_log_stands_for_its_place(failing: str, read: str, aside: str) -> None:
    """A log tells nothing of its place where a later one failed, or one of no order that was left out."""
    for left_out in (set(), {failing}):
        (file,) = set_aside([build_file(read)], [failing], left_out=left_out)
        assert file.aside is (aside == "always" or (aside == "left out" and bool(left_out)))
        assert bool(list_covered([file])) is not file.aside

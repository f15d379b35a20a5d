"""A job's key: what its log's name keeps from run to run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bifrost_flow.jobkey import name_job


@pytest.mark.parametrize(
    ("path", "job", "key"),
    [
        ("nightly-2026-05-01/build-linux.log", None, "build-linux"),
        ("nightly-20260502/build-linux.log.gz", None, "build-linux"),
        ("/data/logs/run_8812345/4_test (ubuntu, 3.12).txt", None, "test (ubuntu)"),
        ("ci.zip/build/3_Run tests.txt", None, "run tests"),
        ("builds/1234/console.log", None, "builds"),
        ("jobs/0196f5a0-7ad1-7bb4-9bd0-d0d1cba1ac33/raw.log", None, "jobs"),
        ("deploy-2026-05-01T02:00:03Z.log.1", None, "deploy"),
        ("feature_1f3c9ad_win32.log", None, "feature-win32"),
        ("py3.11-unit.log", None, "py3.11-unit"),
        ("shard-2.log", None, "shard"),
        ("12345.log", "lint", "lint"),
        ("build.log", "test (ubuntu, 3.12)", "test (ubuntu)|build"),
        ("-", "lint", "lint"),
        ("단위테스트-3.log", None, "단위테스트"),
        ("-", None, None),
        ("2026/05/01/12.log", None, None),
    ],
)
def test_what_varies_goes(path: str, job: str | None, key: str | None) -> None:
    """Dates, hashes, numbers, folders and endings go; the log's name for its job goes before the file's."""
    assert name_job(path, job) == key


@given(st.integers(0, 10**9), st.dates(), st.integers(0, 10**9), st.dates())
def test_two_nights_have_one_key(one: int, then, other: int, now) -> None:
    """Whatever the run's number and date, the key is last night's."""
    form = "logs/{day:%Y-%m-%d}/run-{run}/{run}_unit tests-{day:%Y%m%d}.log"
    assert name_job(form.format(run=one, day=then), None) == name_job(form.format(run=other, day=now), None)


@given(st.text(max_size=300), st.none() | st.text(max_size=300))
def test_any_name_gives_a_key_that_a_table_can_hold(path: str, job: str | None) -> None:
    """No name is refused, and a key comes back from UTF-8 as it went in."""
    key = name_job(path, job)
    assert key != ""
    assert key is None or key.encode().decode() == key

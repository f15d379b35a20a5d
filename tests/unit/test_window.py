"""`{date}` in a path stands for the days of a window, and a slip in one is told with what to write."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bifrost_flow.errors import SettingsError
from bifrost_flow.language import set_language
from bifrost_flow.window import (
    Window,
    check_window,
    choose_window,
    expand_targets,
    list_empty_days,
    split_since,
)

TODAY = date(2026, 11, 25)


def choose(
    first: str | None = None,
    last: str | None = None,
    *,
    incremental: bool = False,
    night: date | None = None,
) -> tuple[str, str]:
    chosen = choose_window(first, last, today=TODAY, incremental=incremental, last_night=night)
    return str(chosen.first), str(chosen.last)


def test_expansion() -> None:
    """Each day gives a path, in order, over the ends of months and years and leap days; months give one."""
    days = Window(date(2027, 12, 30), date(2028, 1, 2))
    found = expand_targets(["s3://b/{date:%Y/%m/%d}/{date}.log", "x/{date:%Y-%m}", "plain {dates}"], days)
    assert list(found) == [
        "s3://b/2027/12/30/2027-12-30.log",
        "s3://b/2027/12/31/2027-12-31.log",
        "s3://b/2028/01/01/2028-01-01.log",
        "s3://b/2028/01/02/2028-01-02.log",
        "x/2027-12",
        "x/2028-01",
        "plain {dates}",
    ]
    assert found["x/2027-12"] == days.days[:2]
    assert found["plain {dates}"] == ()
    leap = expand_targets(["{date}"], Window(date(2028, 2, 28), date(2028, 3, 1)))
    assert list(leap) == ["2028-02-28", "2028-02-29", "2028-03-01"]


@given(st.dates(date(1970, 1, 1)), st.integers(0, 400))
def test_every_day_is_read_once(first: date, length: int) -> None:
    """A window holds each of its days, both ends included, and no path comes twice."""
    last = date.fromordinal(min(first.toordinal() + length, date.max.toordinal()))
    found = expand_targets(["logs/{date}"], Window(first, last))
    assert list(found) == [
        f"logs/{date.fromordinal(n)}" for n in range(first.toordinal(), last.toordinal() + 1)
    ]


def test_what_is_not_given() -> None:
    """Without ends it is today; after a night it begins the day before that, however long ago it was."""
    assert choose() == ("2026-11-25", "2026-11-25")
    assert choose("2026-11-01") == ("2026-11-01", "2026-11-25")
    assert choose("2026-11-01", "2026-11-10", incremental=True) == ("2026-11-01", "2026-11-10")
    assert choose(last="2026-11-10") == ("2026-11-10", "2026-11-10")
    assert choose(incremental=True) == ("2026-11-24", "2026-11-25")
    assert choose(incremental=True, night=date(2026, 11, 19)) == ("2026-11-18", "2026-11-25")
    assert choose(incremental=True, night=TODAY) == ("2026-11-24", "2026-11-25")
    assert choose(last="2026-11-10", incremental=True, night=TODAY) == ("2026-11-09", "2026-11-10")


@pytest.mark.parametrize(
    ("target", "first", "last", "said"),
    [
        ("logs/{date}", "2026-02-30", None, "--from 2026-02-30: no date"),
        ("logs/{date}", None, "yesterday", "--to yesterday: no date"),
        ("logs/{date}", "0001-01-01", None, "--from 0001-01-01: no date"),
        ("logs/{date}", "20261101", None, "Write it as 2026-11-01"),
        ("logs/{date}", "2026-11-10", "2026-11-09", "2026-11-10 to 2026-11-09"),
        ("logs/{date}", "1990-01-01", "2026-11-09", "longer than 3700 days"),
        ("logs/", "2026-11-10", None, "--from is given, but no path has a {date}"),
        ("logs/", None, "2026-11-10", "--to is given"),
        ("logs/{date:%H}", None, None, "{date:%H} does not name a day"),
        ("logs/{date:}", None, None, "{date:} does not name a day"),
        ("logs/{date:YYYY}", None, None, "as in {date:%Y/%m/%d}"),
        ("logs/{date:%Y%}", None, None, "does not name a day"),
    ],
)
def test_slips(target: str, first: str | None, last: str | None, said: str) -> None:
    """Each slip is told with the value and what to write."""
    set_language("en")
    with pytest.raises(SettingsError) as error:
        check_window([target], first, last)
    assert said in str(error.value)


def test_empty_days() -> None:
    """A day is empty if none of its paths was there."""
    found = expand_targets(["a/{date}", "b/{date}"], Window(date(2026, 11, 1), date(2026, 11, 2)))
    absent = ["a/2026-11-01", "b/2026-11-01", "b/2026-11-02"]
    assert list_empty_days(found, absent) == [date(2026, 11, 1)]


def test_since() -> None:
    """Only last-success asks for what is new; all else stays a time."""
    assert split_since("Last-Success") == (True, None)
    assert split_since("yesterday") == (False, "yesterday")
    assert split_since(None) == (False, None)

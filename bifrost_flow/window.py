"""Which days' logs a run reads: `{date}` in a path stands for each day of a window."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from bifrost_flow.errors import SettingsError
from bifrost_flow.language import t

LAST_SUCCESS = "last-success"
# Logs may come late: the day before the last night is looked at once more.
LATE_DAYS = 1
# Some ten years; more is a slip of the pen.
MAX_DAYS = 3700

_DEFAULT_FORMAT = "%Y-%m-%d"
_PLACE = re.compile(r"\{date(?::(?P<format>[^{}]*))?\}")
_DIRECTIVE = re.compile(r"%(.?)", re.DOTALL)
# Those of `strftime` that say something of a day.
_DIRECTIVES = frozenset("YymdjGVuBbaA%")
# Before it there were no logs, and `strftime` writes years in fewer than four digits.
_FIRST_DAY = date(1970, 1, 1)
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True, slots=True)
class Window:
    """Days, both ends included."""

    first: date
    last: date

    @property
    def days(self) -> tuple[date, ...]:
        return tuple(self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1))


def split_since(since: str | None) -> tuple[bool, str | None]:
    """Return whether `since` asks for what is new since the last run, and the time that it names otherwise.

    >>> split_since("last-success"), split_since("2h ago")
    ((True, None), (False, '2h ago'))
    """
    if since is not None and since.strip().lower() == LAST_SUCCESS:
        return True, None
    return False, since


def has_date(targets: Sequence[str]) -> bool:
    """Tell whether one of `targets` has a place for days."""
    return any(_PLACE.search(target) for target in targets)


def check_window(targets: Sequence[str], date_from: str | None, date_to: str | None) -> None:
    """Check what can be checked of a window before anything is looked up.

    Raises:
        SettingsError: a date or a pattern is wrong, or there is a date and no place for it.
    """
    first, last = _read_day(date_from, "--from"), _read_day(date_to, "--to")
    if not has_date(targets):
        if first or last:
            raise SettingsError(t("window.no_place", option="--from" if first else "--to"))
        return
    for target in targets:
        _check_pattern(target)
    if first and last:
        _check_order(first, last)


def choose_window(
    date_from: str | None, date_to: str | None, *, today: date, incremental: bool, last_night: date | None
) -> Window:
    """Return the days that a run reads.

    An end that is not given is `today`. A beginning that is not given is the end, or if the run is
    `incremental` the day before `last_night`, the day of the last run that was done with all, or before
    today if there was none.

    Raises:
        SettingsError: a date is wrong, or the window ends before it begins or is absurdly long.
    """
    first, last = _read_day(date_from, "--from"), _read_day(date_to, "--to") or today
    if first is None:
        late = min(last_night or today, last) - timedelta(days=LATE_DAYS)
        first = late if incremental else last
    _check_order(first, last)
    return Window(first, last)


def expand_targets(targets: Sequence[str], window: Window) -> dict[str, tuple[date, ...]]:
    """Return the paths that `targets` stand for, in order, each with the days of `window` it is of: none
    where a target has no place for a day.

    >>> list(expand_targets(["ci/{date}", "x.log"], Window(date(2026, 11, 1), date(2026, 11, 2))))
    ['ci/2026-11-01', 'ci/2026-11-02', 'x.log']
    """
    found: dict[str, tuple[date, ...]] = {}
    for target in targets:
        if not _PLACE.search(target):
            found.setdefault(target, ())
            continue
        for day in window.days:
            path = _PLACE.sub(lambda place, day=day: f"{day:{place['format'] or _DEFAULT_FORMAT}}", target)
            found[path] = (*found.get(path, ()), day)
    return found


def to_glob(target: str) -> str:
    """Return `target` with a glob in place of its days.

    >>> to_glob("ci/{date:%Y/%m}/x-{date}.log")
    'ci/*/*/x-*.log'
    """
    return _PLACE.sub(lambda place: _DIRECTIVE.sub("*", place["format"] or "*"), target)


def list_empty_days(expanded: Mapping[str, Sequence[date]], absent: Sequence[str]) -> list[date]:
    """Return the days of which no path was there, oldest first; `absent` are the paths that were not."""
    gone = frozenset(absent)
    days = {day for path, of_path in expanded.items() if path in gone for day in of_path}
    return sorted(days - {day for path, of_path in expanded.items() if path not in gone for day in of_path})


def _read_day(text: str | None, option: str) -> date | None:
    if text is None:
        return None
    try:
        day = date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None or day < _FIRST_DAY:
        raise SettingsError(t("window.bad_date", option=option, value=text))
    return day


def _check_pattern(target: str) -> None:
    for place in _PLACE.finditer(target):
        if place["format"] is None:
            continue
        used = _DIRECTIVE.findall(place["format"])
        if not set(used) <= _DIRECTIVES or not set(used) - {"%"}:
            raise SettingsError(t("window.bad_format", place=place[0], path=target))


def _check_order(first: date, last: date) -> None:
    if first > last:
        raise SettingsError(t("window.backwards", first=first, last=last))
    if (last - first).days >= MAX_DAYS:
        raise SettingsError(t("window.too_long", first=first, last=last, limit=MAX_DAYS))

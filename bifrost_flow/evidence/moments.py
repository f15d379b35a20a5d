"""Understand the times that a user types: `2h ago`, `yesterday`, `2026-11-23 10:00 Asia/Seoul`."""

import re
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bifrost_flow.errors import SettingsError
from bifrost_flow.evidence.times import ZONES, find_stamp, read_epoch, read_time
from bifrost_flow.language import t

_UNIT = r"(?:s|sec|secs|seconds?|m|min|mins|minutes?|h|hrs?|hours?|d|days?|w|weeks?)"
_AGO = re.compile(rf"^((?:\d+(?:\.\d+)?\s*{_UNIT}\s*)+)(?:ago)?$", re.IGNORECASE)
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])", re.IGNORECASE)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_ZONE = re.compile(
    r"^(.*?)\s*(?<![A-Za-z])([A-Za-z_]+/[A-Za-z_+-]+(?:/[A-Za-z_]+)?|[A-Z]{3,5}|[+-]\d\d:?\d\d)$"
)
_CLOCK = re.compile(r"^(\d{1,2}):(\d\d)(?::(\d\d))?$")
_DATE = re.compile(r"^\d{4}-?\d\d-?\d\d$")


def parse_when(text: str, now: datetime, *, end: bool = False) -> datetime:
    """Return the time that `text` names: ago, a date, a time, a number since 1970; in UTC unless it names a
    zone.

    Of a whole day, the first moment, or with `end` the last.

    Raises:
        SettingsError: it names none.
    """
    try:
        return _parse(text.strip(), now, end=end).astimezone(UTC)
    except (ValueError, OverflowError, ZoneInfoNotFoundError) as error:
        raise SettingsError(t("evidence.bad_time", value=text)) from error


def _parse(text: str, now: datetime, *, end: bool) -> datetime:
    if found := _AGO.match(text):
        amounts = _AMOUNT.findall(found[1])
        return now - timedelta(seconds=sum(float(number) * _UNITS[unit.lower()] for number, unit in amounts))
    if text.isdecimal() and len(text) >= 10 and (epoch := read_epoch(int(text))):
        return epoch
    zone: tzinfo = UTC
    if (found := _ZONE.match(text)) and (named := _find_zone(found[2])):
        text, zone = found[1], named
    if text.lower() == "now":
        return now
    today = now.astimezone(zone).date()
    days = {"today": today, "yesterday": today - timedelta(days=1)}
    if (day := days.get(text.lower())) or _DATE.match(text):
        day = day or datetime.fromisoformat(text).date()
        return datetime.combine(day, time.max if end else time.min, tzinfo=zone)
    if found := _CLOCK.match(text):
        hour, minute, second = (int(part or 0) for part in found.groups())
        return datetime.combine(today, time(hour, minute, second), tzinfo=zone)
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        stamp = find_stamp(text)
        found_time = read_time(text, stamp, now=lambda: now) if stamp and stamp.start == 0 else None
        if found_time is None:
            raise
        when = found_time.replace(tzinfo=None)
    return when if when.tzinfo else when.replace(tzinfo=zone)


def _find_zone(name: str) -> tzinfo | None:
    if name in ZONES:
        return timezone(timedelta(hours=ZONES[name]))
    if "/" in name:
        return ZoneInfo(name)
    if name[0] in "+-":
        offset = datetime.strptime(name, "%z").utcoffset()
        return timezone(offset) if offset is not None else None
    return None

"""Find and read the time in front of a line, in the forms that logs use; all times become UTC."""

# ruff: noqa: E501 -- a pattern is read as a whole

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

# How far from the start of a line a time may stand and still be the line's own.
REACH = 120

_MONTHS = {
    name: number
    for number, name in enumerate(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], start=1
    )
}
_MON = "(?P<mon>[JFMASOND][a-z]{2})"
_TIME = r"(?P<h>\d{1,2}):(?P<m>\d\d):(?P<s>\d\d)(?:[.,:](?P<f>\d{1,9}))?"
_ZONE = r"(?: ?(?P<z>Z|UTC|GMT|[+-]\d\d:?\d\d|[ECMP][SD]T)(?![\w:]))?"
_ZONES = {"EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7}

FORMS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?P<y>20\d\d|19\d\d)[-/.](?P<mo>\d\d)[-/.](?P<d>\d\d)(?:[T_]| +|-)(?P<h>\d{{1,2}})[:.](?P<m>\d\d)[:.](?P<s>\d\d)(?:[.,:](?P<f>\d{{1,9}}))?{_ZONE}",
        rf"(?P<d>\d\d)/{_MON}/(?P<y>\d{{4}})[: ]{_TIME}{_ZONE}",
        rf"(?:[A-Z][a-z]{{2}},? )?{_MON} +(?P<d>\d{{1,2}}) {_TIME}{_ZONE} (?P<y>\d{{4}})(?!\d)",
        rf"(?:[A-Z][a-z]{{2}},? )?(?P<d>\d{{1,2}})[ -]{_MON}[ -](?P<y>\d{{4}}) {_TIME}{_ZONE}",
        rf"(?:[A-Z][a-z]{{2}},? )?{_MON} +(?P<d>\d{{1,2}}),? (?P<y>\d{{4}}),? {_TIME}(?: (?P<ap>[AP]M))?{_ZONE}",
        rf"(?:[A-Z][a-z]{{2}},? )?{_MON} +(?P<d>\d{{1,2}}) {_TIME}{_ZONE}",
        rf"(?:^[IWEFDC])?(?P<y>20\d\d)(?P<mo>\d\d)(?P<d>\d\d)[-T ]{_TIME}{_ZONE}",
        r"(?P<y>20\d\d)(?P<mo>\d\d)(?P<d>\d\d)[-T ]?(?P<h>\d\d)(?P<m>\d\d)(?P<s>\d\d)(?:[.,](?P<f>\d{1,9}))?(?P<z>Z)?(?!\d)",
        rf"(?P<mo>\d\d)/(?P<d>\d\d)/(?P<y>20\d\d)[ ,T]+{_TIME}(?: (?P<ap>[AP]M))?{_ZONE}",
        rf"(?P<y2>\d\d)/(?P<mo>\d\d)/(?P<d>\d\d) {_TIME}",
        r"(?P<y2>\d\d)(?P<mo>[01]\d)(?P<d>[0-3]\d) +(?P<h>\d{1,2}):(?P<m>\d\d):(?P<s>\d\d)",
        r"(?P<y2>\d\d)(?P<mo>[01]\d)(?P<d>[0-3]\d) (?P<h>[0-2]\d)(?P<m>[0-5]\d)(?P<s>[0-5]\d)(?!\d)",
        r"(?P<lvl>[IWEFD])(?P<mo>[01]\d)(?P<d>[0-3]\d) (?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d)\.(?P<f>\d{1,9})",
        rf"(?P<mo>[01]\d)[-.](?P<d>[0-3]\d) {_TIME}",
        r"(?P<epoch>1[0-9]{9})(?:[.,](?P<f>\d{1,9})|(?P<ms>\d{3}))?(?!\d)",
        rf"{_TIME}",
    )
)  # fmt: skip
_STARTS = re.compile(r"[\s\[\](<>{|\"'=,:;-]")


@dataclass(frozen=True, slots=True)
class Stamp:
    """A time found in a line: where it stands, and when it is; None when the line tells no day."""

    start: int
    end: int
    form: int
    when: datetime | None


def find_stamp(line: str, *, reach: int = REACH, now: Callable[[], datetime] | None = None) -> Stamp | None:
    """Return the first time within the first `reach` characters of `line`.

    A time without a year is put into the last twelve months before `now`, one without a zone is taken for UTC.
    """
    head = line[: reach + 40]
    best: Stamp | None = None
    for number, form in enumerate(FORMS):
        for found in form.finditer(head, 0, reach + 40):
            if found.start() > reach or (best is not None and found.start() >= best.start):
                break
            before = head[found.start() - 1 : found.start()]
            if before and not _STARTS.match(before):
                continue
            when = _read(found, now)
            if when is not None or "epoch" not in form.groupindex:
                best = Stamp(found.start(), found.end(), number, when)
            break
        if best is not None and best.start <= 1:
            break
    return best


def _read(found: re.Match[str], now: Callable[[], datetime] | None) -> datetime | None:
    part = {name: value for name, value in found.groupdict().items() if value is not None}
    try:
        fraction = int(f"{part.get('f', '0')[:6]:0<6}")
        if "epoch" in part:
            millis = int(part["ms"]) * 1000 if "ms" in part else fraction
            return datetime.fromtimestamp(int(part["epoch"]), UTC) + timedelta(microseconds=millis)
        if "mo" not in part and "mon" not in part:
            return None
        month = int(part["mo"]) if "mo" in part else _MONTHS[part["mon"].lower()]
        hour = int(part["h"])
        if part.get("ap") == "PM" and hour < 12:
            hour += 12
        elif part.get("ap") == "AM" and hour == 12:
            hour = 0
        year = int(part["y"]) if "y" in part else 2000 + int(part["y2"]) if "y2" in part else None
        zone = _read_zone(part.get("z"))
        present = (now or _present)()
        when = datetime(
            year or present.year,
            month,
            int(part["d"]),
            hour,
            int(part["m"]),
            int(part["s"]),
            fraction,
            tzinfo=zone,
        )
        if year is None and when > present + timedelta(days=1):
            when = when.replace(year=when.year - 1)
        return when.astimezone(UTC)
    except (ValueError, KeyError, OverflowError):
        return None


def _present() -> datetime:
    return datetime.now(UTC)


def _read_zone(zone: str | None) -> timezone:
    if zone is None or zone in ("Z", "UTC", "GMT"):
        return UTC
    if zone in _ZONES:
        return timezone(timedelta(hours=_ZONES[zone]))
    sign = -1 if zone[0] == "-" else 1
    digits = zone[1:].replace(":", "")
    return timezone(sign * timedelta(hours=int(digits[:2]), minutes=int(digits[2:])))


def read_epoch(value: float) -> datetime | None:
    """Return the time of a number of seconds, milliseconds, microseconds or nanoseconds since 1970, by its size."""
    for scale in (1, 1e3, 1e6, 1e9):
        if 1e8 <= value / scale < 1e10:
            return datetime.fromtimestamp(value / scale, UTC)
    return None

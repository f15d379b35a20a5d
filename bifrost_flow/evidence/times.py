"""Find and read the time in front of a line, in the forms that logs use; all times become UTC."""

# ruff: noqa: E501 -- a pattern is read as a whole

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

# How far from the start of a line a time may stand and still be the line's own.
REACH = 120
# The longest form; a line is looked at no further than this behind `REACH`.
MAX_FORM = 48

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# Hours from UTC. Names that several places share are taken for the one that writes most logs.
ZONES = {
    "Z": 0, "UTC": 0, "GMT": 0, "WET": 0, "WEST": 1, "BST": 1, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "MSK": 3, "TRT": 3, "SAST": 2,
    "IST": 5.5, "PKT": 5, "ICT": 7, "WIB": 7, "HKT": 8, "SGT": 8, "AWST": 8, "PHT": 8, "JST": 9, "KST": 9, "ACST": 9.5, "AEST": 10, "AEDT": 11,
    "NZST": 12, "NZDT": 13, "BRT": -3, "ART": -3, "AST": -4, "ADT": -3, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6,
    "PST": -8, "PDT": -7, "AKST": -9, "AKDT": -8, "HST": -10,
}  # fmt: skip
_MON = f"(?P<mon>(?i:{'|'.join(_MONTHS)}))"
_DAY = r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? )?"
_NAMED = "|".join(sorted(ZONES, key=len, reverse=True))
_REGION = r"(?:Africa|America|Asia|Atlantic|Australia|Europe|Indian|Pacific)/[A-Z][A-Za-z_/]+"
_ZONE = rf"(?:(?: ?(?P<z>[+-]\d\d:?\d\d|(?:UTC|GMT)[+-]\d{{1,2}}(?::?\d\d)?|{_NAMED}|{_REGION})|(?P<zh>[+-]\d\d))(?!\w|:\d))?"
# `@` stands for seconds and fraction, which are read as numbers; the rest is the same for all lines of a minute.
_CLOCK = r"(?P<h>\d{1,2}):(?P<m>\d\d):@"
_AMPM = r"(?: ?(?P<ap>[AaPp][Mm])(?!\w))?"
_SECONDS = r"(?P<s>\d\d)(?:[.,:](?P<f>\d{1,9}))?"

_FORMS = (
    rf"(?P<y>20\d\d|19\d\d)[-/.](?P<mo>\d\d)[-/.](?P<d>\d\d)(?:[T_]| +|-|, )(?P<h>\d{{1,2}})[:.](?P<m>\d\d)[:.]@{_AMPM}(?:(?P<zm>[+-]\d{{3}})(?!\d)|{_ZONE})",
    rf"(?P<d>\d{{1,2}})/{_MON}/(?P<y>\d{{4}})[: ]{_CLOCK}{_ZONE}",
    rf"{_DAY}{_MON} +(?P<d>\d{{1,2}}) {_CLOCK}(?: ?(?P<z1>{_NAMED}))? (?P<y>\d{{4}})(?!\d){_ZONE}",
    rf"{_DAY}(?P<d>\d{{1,2}})[ -]{_MON},?[ -](?P<y>\d{{4}})(?:[ :]|::){_CLOCK}{_AMPM}{_ZONE}",
    rf"{_DAY}{_MON} +(?P<d>\d{{1,2}}),? (?P<y>\d{{4}}),?(?: at)? {_CLOCK}{_AMPM}{_ZONE}",
    rf"{_DAY}{_MON} +(?P<d>\d{{1,2}}) {_CLOCK}{_ZONE}",
    rf"{_DAY}(?P<d>\d{{1,2}}) {_MON} {_CLOCK}{_ZONE}",
    rf"(?P<y>20\d\d)(?P<mo>[01]\d)(?P<d>[0-3]\d)[-T ]{_CLOCK}{_ZONE}",
    # Numbers without leading zeros, the last of them milliseconds.
    r"(?P<y>20\d\d)(?P<mo>[01]\d)(?P<d>[0-3]\d)-(?P<h>\d{1,2}):(?P<m>\d{1,2}):(?P<s>\d{1,2}):(?P<ms>\d{1,3})(?!\d)",
    r"(?P<y>20\d\d)(?P<mo>[01]\d)(?P<d>[0-3]\d)[-T _]?(?P<h>[0-2]\d)(?P<m>[0-5]\d)@(?P<z>Z|[+-]\d\d:?\d\d)?(?!\d)",
    rf"(?P<mo>\d{{1,2}})/(?P<d>\d{{1,2}})/(?P<y>20\d\d)(?:[ T]+|, ?|[-:]){_CLOCK}{_AMPM}{_ZONE}",
    rf"(?P<d>\d{{1,2}})[.-](?P<mo>\d\d)[.-](?P<y>20\d\d)(?:[ T]+|, ?){_CLOCK}{_AMPM}{_ZONE}",
    rf"(?P<y2>\d\d)[/-](?P<mo>\d\d)[/-](?P<d>\d\d) +{_CLOCK}{_ZONE}",
    rf"(?P<mo>\d{{1,2}})/(?P<d>\d{{1,2}})/(?P<y2>\d\d)(?:,? |-){_CLOCK}{_AMPM}{_ZONE}",
    rf"(?P<y2>\d\d)(?P<mo>[01]\d)(?P<d>[0-3]\d) +{_CLOCK}",
    r"(?P<y2>\d\d)(?P<mo>[01]\d)(?P<d>[0-3]\d) (?P<h>[0-2]\d)(?P<m>[0-5]\d)@(?![\d.])",
    r"(?P<mo>[01]\d)(?P<d>[0-3]\d) (?P<h>\d\d):(?P<m>\d\d):@",
    r"(?P<mo>[01]\d)(?P<d>[0-3]\d)/(?P<h>[0-2]\d)(?P<m>[0-5]\d)@(?![\w/])",
    rf"(?P<mo>[01]\d)[-./](?P<d>[0-3]\d)[ -]{_CLOCK}",
    r"(?P<y>20\d\d)[-/](?P<mo>[01]\d)[-/](?P<d>[0-3]\d)[T ](?P<h>[0-2]\d):(?P<m>[0-5]\d)(?P<z>Z)?(?![\d:])",
    rf"(?P<d>\d{{1,2}})-{_MON}(?:-(?P<y>\d{{4}}))? (?P<h>[0-2]\d):(?P<m>[0-5]\d)(?![\d:])",
    # Seconds since 1970, with a fraction or as milli-, micro- or nanoseconds.
    r"(?P<s>1[0-9]{9})(?:[.,](?P<f>\d{1,9})|(?P<sub>\d{3}|\d{6}|\d{9}))?(?![\d-])",
    r"(?<=@)(?P<tai>4[0-9a-f]{23})(?![0-9a-f])",
    _CLOCK,
)  # fmt: skip
FORMS = tuple(re.compile(form.replace("@", _SECONDS) if "(?<=@)" not in form else form) for form in _FORMS)
_BASES = tuple(re.compile(re.sub(r"@|\(\?P<s>.*\(\?P<ms>[^)]*\)", "\x00", form)) for form in _FORMS)
_EPOCH = next(number for number, form in enumerate(_FORMS) if "(?P<sub>" in form)
_TAI = next(number for number, form in enumerate(_FORMS) if "(?P<tai>" in form)
YEARLESS = frozenset(
    number
    for number, form in enumerate(_FORMS)
    if "(?P<mo" in form and "(?P<y>" not in form and "(?P<y2>" not in form
)
# Some write the day first, some the month.
SLASHED = frozenset(number for number, form in enumerate(_FORMS) if r"(?P<mo>\d{1,2})/(?P<d>" in form)
_MONTHLY = frozenset(number for number, form in enumerate(_FORMS) if "(?P<mon>" in form)
_ANY_MONTH = re.compile(f"(?i:{'|'.join(_MONTHS)})[ /,-]")
_STARTS = " \t[](<>{|\"'=,:;-*#@\u00a0\ufeff"
# What every form holds: a line without it is not looked at.
HINT = r"[0-9][:.][0-9]{1,2}[:.][0-9]|[0-9]{8}|[0-9]{6} [0-9]{6}|[0-9]{4}/[0-9]{6}|[0-9][T ][0-9]{2}:[0-9]{2}|-[A-Z][a-z]{2} [0-9]{2}:|@4[0-9a-f]{23}"
# In front of a number that dates its line: digits, punctuation, one key.
_BEFORE_EPOCH = re.compile(r"^(?:[^A-Za-z]*(?:[\w.-]+[=:]\"?)?|.*[(\[{<])$")


class Stamp(NamedTuple):
    """Where the time of a line stands, in characters.

    Lines of one shape (all digits alike) have the same stamp, but for its numbers.
    """

    start: int  # of what is taken out of the line
    end: int
    form: int
    time_start: int  # of what is read, which may stand further behind
    time_end: int
    sec_at: int  # -1: tells no seconds
    sec_end: int
    frac_at: int
    frac_end: int
    frac_scale: int  # microseconds of the last digit of a whole fraction; 0: by its length


def find_stamp(line: str, *, reach: int = REACH) -> Stamp | None:
    """Return where the first time within the first `reach` characters of `line` stands.

    A time without a year gives way to one of the same day with a year that follows soon: of a relay's time and the
    writer's own, the latter says more.
    """
    best = _find(line, 0, reach)
    if best is None or best.form not in YEARLESS:
        return best
    own = _find(line, best.end, min(reach, best.end + 80))
    if own is None or own.form in YEARLESS or (fine := read_time(line, own)) is None:
        return best
    coarse = read_time(line, best)
    if coarse is None or abs((coarse.replace(year=fine.year, day=min(coarse.day, 28)) - fine).days) > 4:
        return best
    return own._replace(start=best.start, end=best.end)


def _find(line: str, first: int, reach: int) -> Stamp | None:
    head = line[: reach + MAX_FORM]
    best: tuple[int, int, re.Match[str]] | None = None
    months = _ANY_MONTH.search(head, first) is not None
    for number, form in enumerate(FORMS):
        if number in _MONTHLY and not months:
            continue
        for found in form.finditer(head, first, best[0] + MAX_FORM if best else len(head)):
            start = found.start()
            if start > reach or (best is not None and start >= best[0]):
                break
            if start and head[start - 1] not in _STARTS and not (start == 1 and head[0] in "IWEFDC"):
                continue
            if number == _EPOCH and not _BEFORE_EPOCH.match(head[first:start]):
                continue
            best = (start, number, found)
            break
        if best is not None and best[0] <= first:
            break
    return _lay_out(best[2], best[1]) if best else None


def _lay_out(found: re.Match[str], form: int) -> Stamp:
    names = found.re.groupindex
    seconds = found.span("s") if "s" in names else (-1, -1)
    name = next((name for name in ("f", "sub", "ms") if name in names and found[name]), None)
    fraction = found.span(name) if name else (-1, -1)
    scale = 1000 if name == "ms" else 0
    return Stamp(*found.span(), form, *found.span(), *seconds, *fraction, scale)


def read_time(line: str, stamp: Stamp, *, now: Callable[[], datetime] | None = None) -> datetime | None:
    """Return the time that stands at `stamp`; None if it tells no day.

    A time without a year is put into the last twelve months before `now`, one without a zone is taken for UTC.
    """
    base = read_base(cut_base(line, stamp), stamp.form, now=now)
    if base is None or stamp.sec_at < 0:
        return base
    micros = 0
    if stamp.frac_at >= 0:
        digits = line[stamp.frac_at : stamp.frac_end][:6]
        micros = int(digits) * (stamp.frac_scale or 10 ** (6 - len(digits)))
    return base + timedelta(seconds=int(line[stamp.sec_at : stamp.sec_end]), microseconds=micros)


def cut_base(line: str, stamp: Stamp) -> str:
    """Return the text of a time without its seconds and fraction."""
    if stamp.sec_at < 0:
        return line[stamp.time_start : stamp.time_end]
    behind = max(stamp.sec_end, stamp.frac_end)
    return f"{line[stamp.time_start : stamp.sec_at]}\x00{line[behind : stamp.time_end]}"


def read_base(
    base: str, form: int, *, now: Callable[[], datetime] | None = None, day_first: bool = False
) -> datetime | None:
    """Return the minute that `base` tells, the text of a time without seconds; of a number, 1970.

    `day_first` tells that a date with slashes of `SLASHED` forms begins with its day.
    """
    if form == _EPOCH:
        return datetime(1970, 1, 1, tzinfo=UTC)
    if form == _TAI:
        return _read_tai(base)
    found = _BASES[form].match(base)
    part = {name: text for name, text in found.groupdict().items() if text} if found else {}
    if "d" not in part:
        return None
    year, month, day = _read_date(part)
    if day_first and form in SLASHED and day <= 12 and int(part["mo"]) <= 12:
        month, day = day, month
    hour = int(part["h"]) % 12 if "ap" in part else int(part["h"])
    if part.get("ap", "").lower() == "pm":
        hour += 12
    present = (now or _present)()
    try:
        clock = (hour, int(part["m"]))
        zone = _read_zone(part)
        if year is not None:
            return datetime(year, month, day, *clock, tzinfo=zone).astimezone(UTC)
        return _place(month, day, clock, zone, present)
    except (ValueError, OverflowError):
        return None


def _read_date(part: dict[str, str]) -> tuple[int | None, int, int]:
    month = int(part["mo"]) if "mo" in part else _MONTHS.index(part["mon"].lower()) + 1
    year = int(part["y"]) if "y" in part else 2000 + int(part["y2"]) if "y2" in part else None
    day = int(part["d"])
    if month > 12 and "y2" in part:
        # Written as month, day and year.
        return 2000 + day, int(part["y2"]), month
    return (year, day, month) if month > 12 else (year, month, day)


def names_day_first(base: str) -> bool | None:
    """Tell whether the date of a `SLASHED` form begins with its day; None if it may as well begin with its month."""
    first, second = base.split("/", 2)[:2]
    return True if int(first) > 12 else False if int(second) > 12 else None


def _place(month: int, day: int, clock: tuple[int, int], zone: tzinfo, present: datetime) -> datetime | None:
    for year in range(present.year, present.year - 5, -1):
        if month == 2 and day == 29 and (year % 4 or (not year % 100 and year % 400)):
            continue
        when = datetime(year, month, day, *clock, tzinfo=zone)
        if when <= present + timedelta(days=1):
            return when.astimezone(UTC)
    return None


def _read_tai(label: str) -> datetime | None:
    # TAI64N as daemontools writes it: 2^62 is 1970, ten seconds ahead of UTC.
    seconds = int(label[:16], 16) - (1 << 62) - 10
    if not 0 <= seconds < 1 << 34:
        return None
    return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=int(label[16:], 16) // 1000)


def _present() -> datetime:
    return datetime.now(UTC)


def _read_zone(part: dict[str, str]) -> tzinfo:
    if "zm" in part:
        return timezone(timedelta(minutes=int(part["zm"])))
    zone = part.get("z") or part.get("zh") or part.get("z1") or "Z"
    if zone in ZONES:
        return timezone(timedelta(hours=ZONES[zone]))
    if "/" in zone:
        try:
            return ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            return UTC
    zone = zone.removeprefix("UTC").removeprefix("GMT")
    hours, minutes = (zone[1:].split(":") if ":" in zone else (zone[1:-2] or "0", zone[-2:]) if len(zone) > 3 else (zone[1:], "0"))  # fmt: skip
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-offset if zone[0] == "-" else offset)


def read_epoch(value: float) -> datetime | None:
    """Return the time of a number of seconds, milliseconds, microseconds or nanoseconds since 1970, by its size."""
    for scale in (1, 1_000, 1_000_000, 1_000_000_000):
        if 1e8 <= value / scale < 1e10:
            whole, rest = divmod(value, scale)
            micros = round(rest * 1_000_000) if scale == 1 else int(rest * 1_000_000 // scale)
            return datetime.fromtimestamp(int(whole), UTC) + timedelta(microseconds=micros)
    return None

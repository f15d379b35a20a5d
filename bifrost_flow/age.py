"""The ages that a user types: `90d`."""

import re
from datetime import timedelta

from bifrost_flow.errors import SettingsError
from bifrost_flow.language import t

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_age(text: str) -> timedelta:
    """Return the time that `30d`, `12h`, `45m` or `2w` stands for.

    Raises:
        SettingsError: it is none of these.
    """
    found = re.fullmatch(r"(\d{1,6})([mhdw])", text.strip())
    if not found:
        raise SettingsError(t("cache.bad_age", value=repr(text)))
    return timedelta(**{_UNITS[found[2]]: int(found[1])})

"""The queries that people call by name: `sql/queries/named.sql`."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from bifrost_flow.errors import WarehouseError
from bifrost_flow.language import t
from connectors.warehouse.catalog import read_queries

TOPIC = "named"

_COMMENT_LINE = re.compile(r"^-- ?(?P<text>.*)\n", re.MULTILINE)
_PARAMETER = re.compile(r"Parameter: (?P<name>\w+) (?P<type>[A-Z]+) = (?P<default>[^:]*): (?P<meaning>.+)")
_READERS = {"BIGINT": int, "DOUBLE": float, "VARCHAR": str}


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a query takes beside `project` and `since`."""

    name: str
    type: str
    default: str
    meaning: str

    def read(self, text: str) -> object:
        """Return the value that `text` stands for.

        Raises:
            WarehouseError: it isn't of this type.
        """
        try:
            return _READERS[self.type](text)
        except ValueError as error:
            raise WarehouseError(
                t("sql.bad_value", name=self.name, value=repr(text), type=self.type)
            ) from error


@dataclass(frozen=True, slots=True)
class NamedQuery:
    """A query with a name; `comment` gives grain and order."""

    name: str
    sql: str
    comment: str
    parameters: tuple[Parameter, ...]

    def bind(
        self, given: Mapping[str, str], *, project: str | None, since: datetime | None
    ) -> dict[str, object]:
        """Return the values of all parameters: those `given` as text, else their defaults.

        Raises:
            WarehouseError: one of `given` is not known, or not of its type.
        """
        known = {each.name: each for each in self.parameters}
        for name in given.keys() - known.keys():
            raise WarehouseError(
                t("sql.no_parameter", query=self.name, name=name, known=", ".join(known) or "–")
                + suggest(name, known)
            )
        values = {each.name: each.read(given.get(each.name, each.default)) for each in self.parameters}
        return values | {"project": project, "since": since}


@cache
def read_named_queries() -> dict[str, NamedQuery]:
    """Return the queries by name, in the order of their file."""
    return {name: _describe(name, script) for name, script in read_queries(TOPIC).items()}


def find_query(name: str) -> NamedQuery:
    """Return the query `name`.

    Raises:
        WarehouseError: there is none; the message has the name that comes closest.
    """
    queries = read_named_queries()
    wanted = name.strip().lower().replace("-", "_")
    if wanted not in queries:
        raise WarehouseError(t("sql.no_query", name=name) + suggest(wanted, queries))
    return queries[wanted]


def suggest(name: str, known: Mapping[str, object]) -> str:
    """Return a question after the known name that `name` may have been meant to be, or nothing."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    close = close or [each for each in known if name in each or each in name][:1]
    return f" {t('sql.did_you_mean', name=close[0])}" if close else ""


def _describe(name: str, script: str) -> NamedQuery:
    lines = [found["text"] for found in _COMMENT_LINE.finditer(script)]
    parameters = [Parameter(**found.groupdict()) for line in lines if (found := _PARAMETER.fullmatch(line))]
    comment = " ".join(line.strip() for line in lines if not _PARAMETER.fullmatch(line))
    return NamedQuery(name, script.strip(), comment, tuple(parameters))
